//! A real home link: the correspondent's kernel, radvd and Scapy are hosts and routers on it.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home, captured]-- hearth-cn
//!                                                  ::1, .129    2001:db8:b:1::/64     ::2, .130
//!                                                               203.0.113.128/25
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::net::UnixListener,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use hearth_e2e::{
    PATIENCE, TestLab,
    packet::{self, Sealer},
};
use hearth_lab::{
    capture::Capture,
    config::NodeTuning,
    netns::{output, run},
    plan::{HA_HOME4, HA_HOME6, HA_PORT, HA6, HOME_PREFIX4, HOME_PREFIX6, Subscriber, Visited},
    program::Program,
    wait,
};
use hearth_wire::directory::{DirectionKeys, SaRecord, Services, Update, encode_update};
use hearth_wire::mh::{self, BindingUpdate, BuFlags, BuOptions, Message};
use hearth_wire::{MobileNodeId, Scope, Spi, Suite, exthdr};
use serde_json::{Value, json};

const HA_ON_LINK6: &str = "2001:db8:b:1::1";
const HA_ON_LINK4: &str = "203.0.113.129";
const CN_ON_LINK6: &str = "2001:db8:b:1::2";
const CN_ON_LINK4: &str = "203.0.113.130";
const ANYCAST: &str = "2001:db8:b:1:fdff:ffff:ffff:fffe";

/// A lab whose home prefixes are on the correspondent's link; `more` goes under `home_agent`.
fn link_lab(name: &str, more: &str) -> TestLab {
    let mut lab = on_link(TestLab::prepare(name), more);
    lab.start_hac().unwrap();
    lab.start_hearthd().unwrap();
    lab
}

fn on_link(lab: TestLab, more: &str) -> TestLab {
    let path = lab.options.files.config("hearthd");
    let text = fs::read_to_string(&path).unwrap();
    let addresses = format!("addresses: [\"{HA_HOME6}/64\", \"{HA_HOME4}/27\"");
    let on_link = format!("{addresses}, \"{HA_ON_LINK6}/64\", \"{HA_ON_LINK4}/25\"");
    let routed = format!("home_prefixes: [\"{HOME_PREFIX6}\", \"{HOME_PREFIX4}\"]\n");
    assert!(text.contains(&addresses) && text.contains(&routed));
    let section = |prefix| format!("    - {{prefix: \"{prefix}\", mode: link, port: home}}\n");
    let (six, four) = (section(HOME_PREFIX6), section(HOME_PREFIX4));
    let text = text.replace(&addresses, &on_link);
    let text = text.replace(&routed, &format!("{more}home_prefixes:\n{six}{four}"));
    fs::write(&path, text).unwrap();
    let cn = &lab.network.cn;
    cn.ip(&format!("-6 route del {HOME_PREFIX6} via {HA_HOME6}")).unwrap();
    cn.ip(&format!("-4 route del {HOME_PREFIX4} via {HA_HOME4}")).unwrap();
    cn.ip(&format!("-6 address add {CN_ON_LINK6}/64 dev home nodad")).unwrap();
    cn.ip(&format!("-4 address add {CN_ON_LINK4}/25 dev home")).unwrap();
    lab
}

fn who(lab: &TestLab) -> Subscriber {
    lab.subscriber(Suite::Aes128CbcSha, 1)
}

/// Answers to two pings from the link to each home address.
fn answers(lab: &TestLab, who: &Subscriber) -> [u32; 2] {
    let pairs: [(&str, IpAddr); 2] =
        [(CN_ON_LINK6, who.home6.into()), (CN_ON_LINK4, who.home4.into())];
    pairs.map(|(from, to)| lab.ping(&lab.network.cn, from.parse().unwrap(), to, 2).unwrap())
}

/// The link-layer address that the correspondent's kernel has of a neighbour.
fn neighbour(lab: &TestLab, address: IpAddr) -> Option<String> {
    let mut ip = lab.network.cn.command("ip");
    let said = run(ip.args(["neighbour", "show", &address.to_string(), "dev", "home"])).unwrap();
    let mut words = said.split_whitespace().skip_while(|word| *word != "lladdr");
    words.nth(1).map(Into::into)
}

fn capture(lab: &TestLab) -> Capture {
    let path = lab.options.files.dir.join("home.pcapng");
    Capture::start(&lab.network.cn, "home", &path).unwrap()
}

/// What tshark reads in the fields of the packets that a filter lets through.
fn tshark(capture: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(capture).args(["-Y", filter, "-T", "fields"]);
    tshark.args(fields.iter().flat_map(|field| ["-e", field]));
    let text = String::from_utf8(output(&mut tshark).unwrap().stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(Into::into).collect()).collect()
}

/// What `peer/home_link.py` says in a namespace, which is on the home link unless it is the mobile
/// node's.
fn peer(namespace: &hearth_lab::netns::Netns, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/home_link.py");
    run(namespace.command("/usr/bin/python3").arg(script).args(arguments)).unwrap()
}

/// Waits until hearthd has logged `words` so often.
fn logged(lab: &mut TestLab, words: &str, count: usize) {
    let hearthd = lab.hearthd.as_mut().unwrap();
    hearthd
        .until(words, PATIENCE, |program| {
            let log = program.log();
            Ok((log.matches(words).count() >= count).then_some(()))
        })
        .unwrap();
}

#[test]
fn nd_03_and_dsm_14_the_kernel_on_the_link_finds_a_mobile_node_that_is_away() {
    let lab = link_lab("home-link", "");
    let who = who(&lab);
    // The home agent's own link-layer address, from its own address.
    let own = HA_ON_LINK6.parse().unwrap();
    assert_eq!(lab.ping(&lab.network.cn, CN_ON_LINK6.parse().unwrap(), own, 2).unwrap(), 2);
    let mac = neighbour(&lab, own).unwrap();
    let capture = capture(&lab);
    let mut node = lab.register(&who, Visited::Net6);
    assert_eq!(answers(&lab, &who), [2, 2]);
    for home in [IpAddr::from(who.home6), who.home4.into()] {
        assert_eq!(neighbour(&lab, home).as_ref(), Some(&mac), "{home}");
    }
    node.stop().unwrap();
    wait::until("the end of the binding", PATIENCE, || {
        Ok(lab.bindings()?.is_empty().then_some(()))
    })
    .unwrap();
    lab.network.cn.ip("neighbour flush dev home").unwrap();
    assert_eq!(answers(&lab, &who), [0, 0], "ND-06: nobody answers any more");
    assert_eq!(neighbour(&lab, who.home6.into()), None);
    judge(&capture.finish().unwrap(), &who, &mac);
}

/// What tshark has to say of detection and announcement.
fn judge(capture: &Path, who: &Subscriber, mac: &str) {
    let (home6, home4) = (who.home6, who.home4);
    let asked = format!(
        "icmpv6.type == 135 && ipv6.src == :: && icmpv6.nd.ns.target_address == {home6} \
         && eth.src == {mac}"
    );
    let asked = tshark(capture, &asked, &["frame.number"]);
    assert_eq!(asked.len(), 1, "ND-01: one question");
    let announced = format!(
        "icmpv6.type == 136 && ipv6.dst == ff02::1 && icmpv6.nd.na.target_address == {home6}"
    );
    let fields = [
        "ipv6.src",
        "icmpv6.nd.na.flag.r",
        "icmpv6.nd.na.flag.s",
        "icmpv6.nd.na.flag.o",
        "icmpv6.opt.linkaddr",
        "icmpv6.checksum.status",
        "ipv6.hlim",
    ];
    let announced = tshark(capture, &announced, &fields);
    assert!(!announced.is_empty(), "ND-03: announced");
    for fields in announced {
        // The home agent's first address on that port; R=0 S=0 O=1.
        let source = HA_HOME6.to_string();
        let [of, flags @ .., link, sum, hops] = &fields[..] else { panic!("{fields:?}") };
        assert_eq!((of, link.as_str()), (&source, mac));
        let flags: Vec<bool> = flags.iter().map(|flag| flag == "1" || flag == "True").collect();
        assert_eq!(flags, [false, false, true]);
        assert_eq!((sum.as_str(), hops.as_str()), ("1", "255"), "a good checksum");
    }
    let probe = format!("arp.isprobe == 1 && arp.dst.proto_ipv4 == {home4} && eth.src == {mac}");
    assert_eq!(tshark(capture, &probe, &["frame.number"]).len(), 1, "an ARP Probe");
    let own = format!("arp.isgratuitous == 1 && arp.src.proto_ipv4 == {home4}");
    let own = tshark(capture, &own, &["arp.src.hw_mac", "eth.dst"]);
    assert!(!own.is_empty(), "a gratuitous ARP");
    assert!(own.iter().all(|fields| fields[..] == [mac, "ff:ff:ff:ff:ff:ff"]), "{own:?}");
}

/// What the home agent's kernel knows of a neighbour behind the home port's TAP.
fn known_at_home_agent(lab: &TestLab, address: IpAddr) -> String {
    let mut ip = lab.network.ha.command("ip");
    run(ip.args(["neighbour", "show", &address.to_string(), "dev", "home"])).unwrap()
}

#[test]
fn drg_03_the_kernel_forgets_the_stand_in_when_a_binding_ends() {
    // The address under which it sees mobile nodes that are away.
    const STAND_IN: &str = "lladdr 02:68:65:61:72:74";
    let lab = link_lab("home-link-stand-in", "");
    let who = who(&lab);
    let home: IpAddr = who.home6.into();
    let mut node = lab.register(&who, Visited::Net6);
    // By the TAP of the home port, as a kernel without a better route finds it.
    let mut ping = lab.network.ha.command("ping");
    ping.args(["-c", "1", "-W", "2", "-I", "home", &home.to_string()]);
    run(&mut ping).unwrap();
    let known = known_at_home_agent(&lab, home);
    assert!(known.contains(STAND_IN), "{known}");
    node.stop().unwrap();
    wait::until("the end of the binding", PATIENCE, || {
        Ok(lab.bindings()?.is_empty().then_some(()))
    })
    .unwrap();
    let known = known_at_home_agent(&lab, home);
    assert!(!known.contains("lladdr"), "{known}");
    // What the box sends now is for whoever has the address on the link: the mobile node at home.
    let address = format!("{home}/128");
    lab.network.cn.ip(&format!("-6 address add {address} dev home nodad")).unwrap();
    assert_eq!(lab.ping(&lab.network.ha, HA_ON_LINK6.parse().unwrap(), home, 2).unwrap(), 2);
    let known = known_at_home_agent(&lab, home);
    assert!(known.contains("lladdr") && !known.contains(STAND_IN), "{known}");
}

/// The test as mobile node: the SA that it has, and the next number under it.
struct Node {
    home: Ipv6Addr,
    number: u32,
}

impl Node {
    const SPI: u32 = 7;

    fn keys() -> DirectionKeys {
        let suite = Suite::Aes128CbcSha;
        let key = |len| vec![0x5a; len].into_boxed_slice();
        DirectionKeys::new(suite, key(suite.ikey_len()), key(suite.ekey_len())).unwrap()
    }

    fn record(who: &Subscriber) -> Vec<u8> {
        let hour = SystemTime::now() + Duration::from_secs(3600);
        let record = SaRecord {
            spi: Spi::new(Self::SPI).unwrap(),
            mn_id: MobileNodeId::new("at-home@example.net").unwrap(),
            home_agent: "lab".into(),
            suite: Suite::Aes128CbcSha,
            scope: Scope::SignallingAndData,
            mn_to_ha: Self::keys(),
            ha_to_mn: Self::keys(),
            validity_end: hour.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
            home_address: who.home6,
            ipv4_home_address: None,
            ha_address: HA6,
            generation: 1,
            services: Services::default(),
        };
        encode_update(&Update::Issued(Box::new(record))).unwrap().to_vec()
    }

    /// A Binding Update; from home it has no Home Address option.
    fn send(&mut self, socket: &UdpSocket, at_home: bool, seq: u16, lifetime: u16) {
        let flags = BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() };
        let update = BindingUpdate { seq, flags, lifetime, options: BuOptions::default() };
        let mut header = [0; 256];
        let len = mh::emit(&Message::BindingUpdate(update), self.home, HA6, &mut header).unwrap();
        let option = exthdr::home_address_header(mh::PROTO, self.home);
        let (next_header, payload) = if at_home {
            (mh::PROTO, header[..len].to_vec())
        } else {
            (exthdr::DESTINATION_OPTIONS, [&option[..], &header[..len]].concat())
        };
        let sealer = Sealer::new(Self::SPI, &Self::keys());
        socket.send(&sealer.seal(8, self.number, &payload, next_header)).unwrap();
        self.number += 1;
    }

    /// The status of the Binding Acknowledgement that comes, without a routing header, if one does.
    fn status(socket: &UdpSocket) -> Option<u8> {
        let mut buffer = [0; 2048];
        let len = socket.recv(&mut buffer).ok()?;
        let text = Sealer::new(Self::SPI, &Self::keys()).open(&buffer[..len]).expect("ICV");
        assert_eq!((text.last(), text[2]), (Some(&mh::PROTO), 6), "{text:?}");
        Some(text[6])
    }
}

#[test]
fn drg_04_who_is_refused_at_home_is_told_so_there() {
    let socket = |run: &Path| run.join("test.sock");
    let lab = TestLab::prepare_with("home-link-refused", |options| {
        options.tuning.directory = Some(socket(&options.files.run));
    });
    let mut lab = on_link(lab, "");
    let listener = UnixListener::bind(socket(&lab.options.files.run)).unwrap();
    let directory = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(&encode_update(&Update::Synced(None)).unwrap()).unwrap();
        stream
    });
    lab.start_hearthd().unwrap();
    let mut directory = directory.join().unwrap();
    let who = who(&lab);
    directory.write_all(&Node::record(&who)).unwrap();
    wait::until("the SA", PATIENCE, || Ok((lab.sas()?.len() == 1).then_some(()))).unwrap();
    lab.network.attach(0, Visited::Net6).unwrap();
    let home_agent: SocketAddr = (HA6, HA_PORT).into();
    let away = packet::socket(&lab.network.mobile_nodes[0], home_agent);
    let mut node = Node { home: who.home6, number: 0 };
    wait::until("the binding", PATIENCE, || {
        node.send(&away, false, 5, 100);
        Ok((lab.bindings()?.len() == 1).then_some(()))
    })
    .unwrap();

    let cn = &lab.network.cn;
    cn.ip(&format!("-6 route add {HA6}/128 via {HA_HOME6}")).unwrap();
    assert_eq!(lab.ping(cn, CN_ON_LINK6.parse().unwrap(), HA6.into(), 2).unwrap(), 2);
    cn.ip(&format!("-6 address add {}/128 dev home nodad", who.home6)).unwrap();
    let open = || {
        let socket = UdpSocket::bind((who.home6, 5000))?;
        socket.connect(home_agent)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok::<_, std::io::Error>(socket)
    };
    let at_home = cn.enter(open).unwrap().unwrap();
    // Sent again, as a mobile node does: a router may drop the first while it looks for a neighbour.
    let mut status = None;
    wait::until("a Binding Acknowledgement", PATIENCE, || {
        node.send(&at_home, true, 4, 0);
        status = Node::status(&at_home);
        Ok(status.map(drop))
    })
    .unwrap();
    assert_eq!(status, Some(135), "an old number");
    assert_eq!(lab.bindings().unwrap().len(), 1);
    node.send(&at_home, true, 6, 0);
    assert_eq!(Node::status(&at_home), Some(0), "DRG-03");
    assert!(lab.bindings().unwrap().is_empty());
}

#[test]
fn nd_02_a_host_that_has_the_home_address_makes_134() {
    let mut lab = link_lab("home-link-duplicate", "");
    let who = who(&lab);
    let mut count = 0;
    for (family, address) in
        [("-6", format!("{}/128", who.home6)), ("-4", format!("{}/32", who.home4))]
    {
        let nodad = if family == "-6" { "nodad" } else { "" };
        lab.network.cn.ip(&format!("{family} address add {address} dev home {nodad}")).unwrap();
        lab.network.attach(0, Visited::Net6).unwrap();
        lab.hac_reachable(0, HA6.into()).unwrap();
        let mut node = lab.start_node(0, &who, &NodeTuning::default()).unwrap();
        count += 1;
        logged(&mut lab, "registration refused: the home link has the address", count);
        assert!(lab.bindings().unwrap().is_empty());
        let log = lab.hearthd.as_ref().unwrap().log();
        assert!(log.contains("134") && log.contains(address.split('/').next().unwrap()), "{log}");
        node.stop().unwrap();
        count = lab.hearthd.as_ref().unwrap().log().matches("has the address").count();
        lab.network.cn.ip(&format!("{family} address del {address} dev home")).unwrap();
    }
    let mut node = lab.register(&who, Visited::Net6);
    // The link's neighbour caches still have the host.
    wait::until("answers", PATIENCE, || Ok((answers(&lab, &who) == [2, 2]).then_some(()))).unwrap();
    node.stop().unwrap();
}

#[test]
fn a_host_that_claims_a_bound_home_address_is_told_off() {
    let mut lab = link_lab("home-link-defence", "");
    let who = who(&lab);
    let mut node = lab.register(&who, Visited::Net6);
    let capture = capture(&lab);
    peer(&lab.network.cn, &["claim", &who.home6.to_string()]);
    peer(&lab.network.cn, &["arp", &who.home4.to_string()]);
    logged(&mut lab, "a host claims the address of a mobile node that is away", 2);
    let (home6, home4) = (who.home6, who.home4);
    let capture = capture.finish().unwrap();
    for filter in [
        format!("icmpv6.nd.na.target_address == {home6} && icmpv6.nd.na.flag.o == 1"),
        format!("arp.isgratuitous == 1 && arp.src.proto_ipv4 == {home4}"),
    ] {
        let frames = tshark(&capture, &filter, &["eth.src"]);
        let first = frames.first().expect("the claim");
        assert!(frames.iter().skip(1).any(|frame| frame != first), "{frames:?}: no defence");
    }
    assert_eq!(answers(&lab, &who), [2, 2]);
    node.stop().unwrap();
}

#[test]
fn dhd_01_and_dhd_02_a_host_asks_for_home_agents_and_strangers_get_binding_errors() {
    let lab = link_lab("home-link-discovery", "discovery: {enabled: true, preference: 5}\n  ");
    let cn = &lab.network.cn;
    peer(cn, &["peers", "2001:db8:b:1::"]);
    let reply: Value = serde_json::from_str(&peer(cn, &["discover", ANYCAST])).unwrap();
    let addresses = ["2001:db8:b:1::f1", &HA6.to_string(), "2001:db8:b:1::f2"];
    let expected = json!({ "from": HA6.to_string(), "id": 0x4321, "addresses": addresses });
    assert_eq!(reply, expected);
    // The same, as the operator sees it.
    let shown = |what: &str| -> Value {
        let mut hearth: Command = lab.options.programs.command("hearth").unwrap();
        hearth.arg("--socket").arg(lab.options.files.api_socket()).args(["show", what, "--json"]);
        serde_json::from_str(&run(&mut hearth).unwrap()).unwrap()
    };
    let heard: Vec<_> = shown("home-agents")
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["addresses"][0].clone())
        .collect();
    assert!(["2001:db8:b:1::f1", "2001:db8:b:1::f2"].iter().all(|it| heard.contains(&json!(it))));
    let links = shown("home-links");
    assert_eq!((&links[0]["prefix"], &links[0]["port"]), (&json!(HOME_PREFIX6), &json!("home")));
    let counters = shown("counters");
    let replies =
        counters.as_array().unwrap().iter().find(|it| it["counter"] == "discovery_replies");
    assert!(replies.unwrap()["count"].as_u64() >= Some(1));

    let stranger = "2001:db8:b:1::99";
    let error: Value = serde_json::from_str(&peer(cn, &["option", HA_ON_LINK6, stranger])).unwrap();
    assert_eq!(error, json!({ "status": 1, "home_address": stranger }), "TUN-15");
}

/// radvd on the TAP of the home port, with the file that the documentation gives.
fn radvd(lab: &TestLab) -> Program {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/radvd/radvd.conf");
    let text = fs::read_to_string(example).unwrap();
    let text = text.replace("AdvValidLifetime 86400", "AdvValidLifetime 300");
    let text = text.replace("AdvPreferredLifetime 14400", "AdvPreferredLifetime 120");
    let dir = &lab.options.files.dir;
    let path = dir.join("radvd.conf");
    fs::write(&path, text).unwrap();
    lab.network.ha.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    let place = |name: &str| dir.join(name).display().to_string();
    let (config, pid, log) = (place("radvd.conf"), place("radvd.pid"), place("radvd.log"));
    let arguments = ["-C", &config, "-p", &pid, "-n", "-d", "1", "-m", "logfile", "-l", &log];
    let (radvd, said) = (Path::new("/usr/sbin/radvd"), dir.join("radvd.said"));
    Program::start(&lab.network.ha, radvd, &arguments, &said).unwrap()
}

#[test]
fn reg_13_and_mpd_01_radvd_says_how_long_home_prefixes_last() {
    let lab = link_lab("home-link-radvd", "");
    let who = who(&lab);
    let path = lab.options.files.dir.join("home.pcapng");
    let capture = Capture::start(&lab.network.cn, "home", &path).unwrap();
    let before = Instant::now();
    let mut router = radvd(&lab);
    wait::until("a Router Advertisement", PATIENCE, || {
        let filter = "icmpv6.type == 134";
        Ok((!tshark(&path, filter, &["frame.number"]).is_empty()).then_some(()))
    })
    .unwrap();
    let mut node = lab.register(&who, Visited::Net6);
    // It asks for 600 s, and an advertisement came after `before`; lifetimes are multiples of 4 s.
    let lifetime = lab.bindings().unwrap()[0].lifetime;
    let least = || 296_u64.saturating_sub(before.elapsed().as_secs());
    assert!((least()..=300).contains(&lifetime.into()), "{lifetime}");
    let mn = lab.network.mobile_node(0).unwrap();
    let (home, ha) = (who.home6.to_string(), HA6.to_string());
    let answer: Value =
        serde_json::from_str(&peer(mn, &["solicit", "hearth0", &home, &ha])).unwrap();
    let said = [&answer["from"], &answer["to"], &answer["id"]];
    assert_eq!(said, [&json!(ha), &json!(home), &json!(0x1234)], "{answer}");
    assert_eq!(answer["routing"], json!([2, home]));
    let prefix = &answer["prefixes"][0];
    assert_eq!((&prefix[0], &prefix[1]), (&json!(HA_ON_LINK6), &json!(64)));
    let valid = prefix[2].as_u64().unwrap();
    assert!((least()..=300).contains(&valid), "{valid}");
    node.stop().unwrap();
    router.crash().unwrap();
    let fields = [
        "icmpv6.nd.ra.flag.h",
        "icmpv6.opt.home_agent_preference",
        "icmpv6.opt.home_agent_lifetime",
    ];
    let heard = tshark(&capture.finish().unwrap(), "icmpv6.type == 134", &fields);
    assert!(heard.iter().all(|said| ["1", "True"].contains(&said[0].as_str())), "{heard:?}");
    assert_eq!(heard[0][1..], ["5", "1800"]);
}

/// The YAML of hearthd with another line for the IPv6 home prefix, read on SIGHUP.
fn reconfigure(lab: &TestLab, from: &str, to: &str) {
    let path = lab.options.files.config("hearthd");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
    lab.hearthd.as_ref().unwrap().signal(rustix::process::Signal::HUP);
}

#[test]
fn mpd_03_and_reg_15_a_renumbering_is_told_and_bindings_end_with_their_prefix() {
    let more = "mobile_prefixes: {min_interval: 1, max_interval: 2}\n  ";
    let mut lab = link_lab("home-link-renumbering", more);
    let who = who(&lab);
    let mut node = lab.register(&who, Visited::Net6);
    let path = lab.options.files.dir.join("tunnel.pcapng");
    let mn = lab.network.mobile_node(0).unwrap();
    let capture = Capture::start(mn, "hearth0", &path).unwrap();
    let place = "mode: link, port: home}";
    let six = format!("\"{HOME_PREFIX6}\", {place}");
    let shorter = format!("\"{HOME_PREFIX6}\", valid_lifetime: 400, {place}");
    reconfigure(&lab, &six, &shorter);
    wait::until("a Mobile Prefix Advertisement", PATIENCE, || {
        let told = tshark(&path, "icmpv6.type == 147", &["ipv6.dst"]);
        Ok(told.contains(&vec![who.home6.to_string()]).then_some(()))
    })
    .unwrap();
    drop(capture.finish().unwrap());
    assert!(lab.bindings().unwrap()[0].remaining <= 400);
    let over = shorter.replace("valid_lifetime: 400", "valid_until: \"2026-01-01T00:00:00Z\"");
    reconfigure(&lab, &shorter, &over);
    wait::until("the end of the binding", PATIENCE, || {
        Ok(lab.bindings()?.is_empty().then_some(()))
    })
    .unwrap();
    logged(&mut lab, "binding expired", 1);
    node.stop().unwrap();
}
