//! Against nsd, which serves the zone of `configs/dns`, and by answers that lie.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

/// An nsd that serves `configs/dns/example.net.zone` on a loopback port.
struct Nsd {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Nsd {
    fn serve() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let zone = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/dns/example.net.zone");
        let port = hearth_peers::free_port();
        let path = folder.path().display();
        let config = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n \
             zonesdir: \"/\"\n database: \"\"\n pidfile: \"{path}/pid\"\n xfrdfile: \"{path}/xfrd\"\n \
             zonelistfile: \"{path}/zones\"\n xfrdir: \"{path}\"\n cookie-secret-file: \"{path}/c\"\n\
             remote-control:\n control-enable: no\n\
             zone:\n name: example.net\n zonefile: \"{}\"\n",
            zone.canonicalize().unwrap().display()
        );
        let file = folder.path().join("nsd.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("/usr/sbin/nsd")
            .arg("-d")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, _folder: folder }
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A resolver that asks one server, and no file.
fn resolver(port: u16) -> Resolver {
    let files = Files { hosts: "/nonexistent", servers: ["/nonexistent"; 2] };
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    Resolver { mark: 0, files, inside: Mutex::default(), outside: Mutex::new(vec![server]) }
}

fn wanted<'a>(name: &'a str, srv: Option<&'a str>) -> Wanted<'a> {
    Wanted { name, port: 7873, srv, until: Instant::now() + Duration::from_secs(10) }
}

#[test]
fn addresses_and_services_of_the_example_zone() {
    let nsd = Nsd::serve();
    let resolver = resolver(nsd.port);
    let until = Instant::now() + Duration::from_secs(20);
    let found = loop {
        match resolver.ask("hac.example.net", TYPE::A, Instant::now() + Duration::from_secs(1)) {
            Ok(_) => break resolver.find(&wanted("hac.example.net", None)).unwrap(),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let at = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    assert_eq!(found, at(&["[2001:db8:a::10]:7873", "198.51.100.10:7873"]));
    // By SRV records: the one of the lower priority first, each with the addresses of its target.
    let found = resolver.find(&wanted("hac.example.net", Some("_hac._tcp.example.net"))).unwrap();
    let expected = at(&[
        "[2001:db8:a::10]:7873",
        "198.51.100.10:7873",
        "[2001:db8:a::11]:7873",
        "198.51.100.11:7873",
    ]);
    assert_eq!(found, expected);
    let error = resolver.find(&wanted("x", Some("_none._tcp.example.net"))).unwrap_err();
    assert!(
        error.contains("_none._tcp.example.net can't be resolved: 127.0.0.1: there is no such")
    );
    let error = resolver.find(&wanted("x", Some("hac.example.net"))).unwrap_err();
    assert_eq!(error, "hac.example.net has no SRV record");
}

fn reply(id: u16, name: &str, kind: TYPE, flags: PacketFlag) -> Vec<u8> {
    let mut packet = Packet::new_reply(id);
    packet.set_flags(flags);
    let class = QCLASS::CLASS(CLASS::IN);
    packet.questions.push(Question::new(Name::new(name).unwrap(), QTYPE::TYPE(kind), class, false));
    packet.build_bytes_vec().unwrap()
}

#[test]
fn only_the_answer_to_the_question_counts() {
    let none = PacketFlag::RECURSION_AVAILABLE;
    let judge = |octets: &[u8]| judge(octets, 7, "hac.example.net", TYPE::A);
    assert_eq!(judge(&reply(7, "HAC.example.NET", TYPE::A, none)), Judgement::Answer);
    for other in [
        reply(8, "hac.example.net", TYPE::A, none),
        reply(7, "hac.example.com", TYPE::A, none),
        reply(7, "hac.example.net", TYPE::AAAA, none),
        query(7, "hac.example.net", TYPE::A).unwrap(),
        b"\x00\x07".to_vec(),
    ] {
        assert_eq!(judge(&other), Judgement::Unrelated);
    }
    let truncated = reply(7, "hac.example.net", TYPE::A, PacketFlag::TRUNCATION);
    assert_eq!(judge(&truncated), Judgement::Truncated);
}

/// RFC 2782: "the lowest-numbered priority first", and a draw by weight among equals.
#[test]
fn services_come_by_priority_and_are_drawn_by_weight() {
    let service = |priority, weight, target: &str| Service {
        priority,
        weight,
        port: 1,
        target: target.to_owned(),
    };
    let all =
        || vec![service(2, 0, "d"), service(1, 0, "a"), service(1, 90, "b"), service(1, 10, "c")];
    let names = |drawn: &[u32]| {
        let (mut services, mut drawn) = (all(), drawn.iter().copied());
        order(&mut services, || drawn.next().unwrap());
        services.into_iter().map(|it| it.target).collect::<String>()
    };
    assert_eq!(names(&[0, 0, 0, 0]), "abcd");
    assert_eq!(names(&[90, 0, 0, 0]), "bacd");
    assert_eq!(names(&[100, 1, 0, 0]), "cbad");
}

#[test]
fn files_of_the_host_are_read() {
    let hosts =
        "127.0.0.1 localhost\n192.0.2.1 a Hac.Example.Net # b\n2001:db8::1\thac.example.net\n";
    let expected: [IpAddr; 2] = ["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
    assert_eq!(in_hosts(hosts, "hac.example.net."), expected);
    assert_eq!(in_hosts(hosts, "b"), Vec::<IpAddr>::new());
    let text = "# x\nnameserver 127.0.0.53\n  nameserver\t2001:db8::53\nsearch a\nnameserver x\n";
    let servers = name_servers(text);
    assert_eq!(servers.len(), 2);
    assert_eq!(servers.iter().map(|server| is_stub(*server)).collect::<Vec<_>>(), [true, false]);
}

/// The tunnel's own servers are never asked where the tunnel leads; those of before still are.
#[test]
fn servers_of_the_tunnel_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file: &'static str =
        Box::leak(folder.path().join("resolv.conf").display().to_string().into_boxed_str());
    let mut resolver = resolver(1);
    resolver.files.servers = [file, "/nonexistent"];
    std::fs::write(file, "nameserver 192.0.2.53\n").unwrap();
    let before = resolver.servers();
    assert_eq!(before, ["192.0.2.53:53".parse().unwrap()]);
    resolver.set_inside(&["2001:db8::53".parse().unwrap()]);
    std::fs::write(file, "nameserver 2001:db8::53\n").unwrap();
    assert_eq!(resolver.servers(), before);
}

proptest::proptest! {
    /// Whatever a name server says, nothing panics, and there is a bound to what is taken.
    #[test]
    fn any_octets_are_an_answer_or_none(octets: Vec<u8>, start in 0usize..64) {
        let mut answer = reply(7, "hac.example.net", TYPE::A, PacketFlag::RECURSION_AVAILABLE);
        answer.truncate(answer.len().saturating_sub(start));
        answer.extend(&octets);
        for message in [&octets, &answer] {
            let _ = judge(message, 7, "hac.example.net", TYPE::A);
            assert!(addresses_of(message).len() <= MAX_RECORDS);
            assert!(services_of(message).len() <= MAX_RECORDS);
        }
    }
}
