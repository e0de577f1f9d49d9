//! The file is refused before anything starts, with line, key and what would be right.

use hearth_wire::mh::selector::Addresses;

use super::*;

const CA: &str = include_str!("test-ca.pem");

/// A folder with a CA file, a key file and `mn.yaml` holding `text`.
fn load_text(text: &str) -> (tempfile::TempDir, Result<Config, String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), CA).unwrap();
    std::fs::write(folder.path().join("mn.psk"), "00112233445566778899aabbccddeeff\n").unwrap();
    let file = folder.path().join("mn.yaml");
    std::fs::write(&file, text).unwrap();
    let prefix = format!("{}:", file.display());
    let outcome = load(&file).map_err(|error| error.to_string().replace(&prefix, ""));
    (folder, outcome)
}

const GOOD: &str = "\
mn_id: mn1@example.net
psk:
  file: mn.psk
hac:
  name: hac.example.net
  port: 7873
  ca: ca.pem
";

fn error_of(text: &str) -> String {
    load_text(text).1.expect_err("the file is wrong")
}

#[test]
fn seven_lines_are_enough() {
    let config = load_text(GOOD).1.unwrap();
    assert_eq!(config.mn_id.as_str(), "mn1@example.net");
    assert!(matches!(&config.auth, Auth::Psk(psk) if psk.octets().len() == 16));
    let eap = GOOD.replace("psk:\n", "auth: eap-gpsk\npsk:\n");
    assert!(matches!(load_text(&eap).1.unwrap().auth, Auth::Gpsk(_)));
    assert_eq!(config.suites, [Suite::Aes128CbcSha256, Suite::Aes128CbcSha]);
    assert_eq!(config.scope, Scope::SignallingAndData);
    assert_eq!((config.tun.as_str(), config.link_mtu, config.table), ("hearth0", 1500, 6618));
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.timers, Timers::default());
    assert_eq!(config.hac.addresses, Vec::<IpAddr>::new());
}

/// The port of all examples is the default, and SRV records need none.
#[test]
fn the_hac_is_found_by_its_name_alone() {
    let config = load_text(&GOOD.replace("  port: 7873\n", "")).1.unwrap();
    assert_eq!((config.hac.port, config.hac.srv), (7873, None));
    let config = load_text(&GOOD.replace("port: 7873", "srv: _hac._tcp.example.net.")).1.unwrap();
    assert_eq!(config.hac.srv.as_deref(), Some("_hac._tcp.example.net"));
}

#[test]
fn every_key_can_be_set() {
    let text = format!(
        "{GOOD}  addresses: [\"2001:db8::1\", 192.0.2.1]
suites: [AES_128_GCM, 3DES_EDE_CBC_SHA, NULL_SHA]
scope: 0
interfaces: [eth0, wlan0]
tun: tun7
link_mtu: 1400
routes: [\"2001:db8:1::/48\", 198.51.100.0/24]
exclude: [\"2001:db8:1:e::/64\"]
fail_closed: true
dns: resolvconf
table: 300
status_file: mn.json
timers:
  lifetime: 60
  initial_timeout: 0.5
  first_registration_timeout: 2
  max_timeout: 16
  attempts_per_path: 2
  nat_keepalive: 20
  renew_before: 0.5
  hac_timeout: 5
  hac_retry: 2
  hac_max_retry: 20
  stop_timeout: 1
"
    );
    let (folder, config) = load_text(&text);
    let config = config.unwrap();
    assert_eq!(config.suites, [Suite::Aes128Gcm, Suite::TripleDesEdeCbcSha, Suite::NullSha]);
    assert_eq!(config.scope, Scope::Signalling);
    assert_eq!(config.hac.addresses.len(), 2);
    assert_eq!((config.exclude.len(), config.fail_closed), (1, true));
    assert_eq!(config.dns, Choice::Resolvconf);
    assert_eq!(config.status_file, Some(folder.path().join("mn.json")));
    assert_eq!(config.timers.initial_timeout, Duration::from_millis(500));
    assert_eq!(config.timers.attempts_per_path, 2);
    assert_eq!(config.hac_timeout, Duration::from_secs(5));
}

#[test]
fn what_is_wrong_is_named_with_line_and_key() {
    let cases = [
        ("mn_id: mn1@example.net", "mn_id: \"a b\"", "1: mn_id: not a network access"),
        ("  file: mn.psk", "  hex: \"0011\"", ": psk.hex: the key is too short"),
        ("  file: mn.psk", "  hex: \"00112\"", ": psk.hex: not an even number"),
        ("  file: mn.psk", "  text: short", ": psk.text: the key is too short"),
        ("  file: mn.psk", "  file: none", ": psk.file: "),
        ("  file: mn.psk", "  words: none", "psk"),
        (
            "  file: mn.psk",
            "  file: mn.psk\nauth: otp",
            ": auth: unknown; one of psk, eap-gpsk, eap-tls, eap-ttls, eap-aka-prime is wanted",
        ),
        ("  name: hac.example.net", "  name: \"*.example.net\"", "5: hac.name: not a DNS name"),
        ("  port: 7873", "  port: 0", "6: hac.port: 0 is no port"),
        ("  port: 7873", "  port: 70000", "6: hac.port: "),
        ("  port: 7873", "  srv: hac", "6: hac.srv: not a DNS name"),
        ("  port: 7873", "  port: 1\n  srv: _h._tcp.a.b", "7: hac.srv: the records name addresses"),
        ("  ca: ca.pem", "  ca: mn.psk", "7: hac.ca: "),
        ("  ca: ca.pem", "  ca: none.pem", "7: hac.ca: "),
        ("  ca: ca.pem", "  ca: ca.pem\n  proxy: x", "proxy"),
    ];
    for (old, new, expected) in cases {
        let error = error_of(&GOOD.replace(old, new));
        assert!(error.contains(expected), "{new:?}: {error}");
    }
    let appended = [
        ("colour: red", "8"),
        ("suites: []", "8: suites: empty"),
        ("suites: [AES]", "8: suites[0]: no ciphersuite"),
        ("suites: [NULL_SHA, NULL_SHA]", "8: suites[1]: stands twice"),
        ("scope: 2", "8: scope: 0 (signalling)"),
        ("interfaces: [\"a b\"]", "8: interfaces[0]: no interface name"),
        ("interfaces: [a, a]", "8: interfaces[1]: stands twice"),
        ("tun: a-name-that-is-too-long", "8: tun: no interface name"),
        ("link_mtu: 1000", "8: link_mtu: out of range"),
        ("routes: [\"2001:db8::1/64\"]", "8: routes[0]: has bits behind the prefix"),
        ("routes: [0.0.0.0/0, 0.0.0.0/0]", "8: routes[1]: stands twice"),
        ("routes: [0.0.0.0/33]", "8: routes[0]: "),
        ("exclude: [192.0.2.1/24]", "8: exclude[0]: has bits behind the prefix"),
        ("exclude: [0.0.0.0/0]", "8: exclude[0]: that is everything"),
        ("dns: always", "8: dns: "),
        ("fail_closed: perhaps", "8: fail_closed: "),
        ("table: 254", "8: table: out of range"),
        ("timers:\n  lifetime: 3", "9: timers.lifetime: out of range; 4 to 65535"),
        ("timers:\n  lifetime: .nan", "9: timers.lifetime: out of range; 4 to 65535"),
        ("timers:\n  attempts_per_path: 0", "9: timers.attempts_per_path: out of range"),
        ("timers:\n  renew_before: 1", "9: timers.renew_before: out of range"),
    ];
    for (line, expected) in appended {
        let error = error_of(&format!("{GOOD}{line}\n"));
        assert!(error.contains(expected), "{line:?}: {error}");
    }
}

#[test]
fn errors_and_debug_show_no_key() {
    let secret = "a very secret pass phrase";
    let text = GOOD.replace("  file: mn.psk", &format!("  text: {secret}"));
    let config = load_text(&text).1.unwrap();
    assert!(!format!("{config:?}").contains(secret));
    let error = error_of(&text.replace("port: 7873", "port: x"));
    assert!(!error.contains(secret), "{error}");
}

/// The example explains every key: it is accepted as it stands, and with its comments removed.
#[test]
fn the_commented_example_is_accepted() {
    let example = include_str!("../../../configs/mn.yaml");
    let here =
        example.replace("/etc/hearth/mn1.psk", "mn.psk").replace("/etc/hearth/ca.pem", "ca.pem");
    load_text(&here).1.unwrap();
    let keys = [
        "  # addresses",
        "# interfaces",
        "# tun",
        "# link_mtu",
        "# routes",
        "# exclude",
        "# fail_closed",
        "# dns",
        "# table",
        "# status_file",
        "# timers",
        "#   lifetime",
        "#   initial_timeout",
        "#   first_registration_timeout",
        "#   max_timeout",
        "#   attempts_per_path",
        "#   nat_keepalive",
        "#   renew_before",
        "#   hac_timeout",
        "#   hac_retry",
        "#   hac_max_retry",
        "#   stop_timeout",
    ];
    let mut all = here;
    for key in keys {
        assert!(all.contains(&format!("\n{key}: ")), "{key}");
        all = all.replacen(&format!("\n{key}: "), &format!("\n{}: ", key.replacen("# ", "", 1)), 1);
    }
    load_text(&all).1.unwrap();
}

#[test]
fn a_mobile_router_names_its_networks() {
    let text = format!("{GOOD}mobile_router:\n  prefixes: [\"2001:db8:a00::/56\"]\n");
    let router = load_text(&text).1.unwrap().mobile_router.unwrap();
    assert_eq!(router.mode, PrefixMode::Explicit);
    assert_eq!(router.prefixes, ["2001:db8:a00::/56".parse().unwrap()]);
    for (prefixes, words) in [
        ("[]", "8: mobile_router.prefixes: 0 prefixes; 1 to 16"),
        ("[\"2001:db8::1/64\"]", "has bits behind the prefix; 2001:db8::/64 would be right"),
        ("[\"fe80::/64\"]", "no prefix that can be routed"),
        ("[\"2001:db8::/48\", \"2001:db8::/64\"]", "[1]: overlaps 2001:db8::/48"),
    ] {
        let text = format!("{GOOD}mobile_router: {{prefixes: {prefixes}}}\n");
        let error = error_of(&text);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_mobile_router_has_addresses_in_its_networks_and_nowhere_else() {
    let text = |more: &str, lan: &str| {
        format!("{GOOD}{more}mobile_router: {{prefixes: [\"2001:db8:a00::/56\"], lan: [{lan}]}}\n")
    };
    let good = "{interface: lan0, address: \"2001:db8:a00:1::1/64\"}";
    let router = load_text(&text("", good)).1.unwrap().mobile_router.unwrap();
    assert_eq!(router.lan.len(), 1);
    assert_eq!(router.lan[0].interface, "lan0");
    assert_eq!(router.lan[0].address, "2001:db8:a00:1::1/64".parse().unwrap());
    let of = |address: &str| format!("{{interface: lan0, address: \"{address}\"}}");
    for (lan, words) in [
        (of("2001:db8:b00:1::1/64"), "lan[0].address: lies in none of the prefixes"),
        (of("2001:db8:a00:1::1/48"), "lies in none of the prefixes"),
        (of("2001:db8:a00:1::/64"), "is the subnet-router anycast address"),
        (format!("{good}, {good}"), "lan[1].address: stands twice"),
        (good.replace("lan0", "a/b"), "lan[0].interface: no interface name"),
        (vec![good; 17].join(", "), "mobile_router.lan: 17 addresses; at most 16"),
    ] {
        let error = error_of(&text("", &lan));
        assert!(error.contains(words), "{error}");
    }
    let error = error_of(&text("interfaces: [lan0]\n", good));
    assert!(error.contains("lan[0].interface: is among the visited networks"), "{error}");
}

#[test]
fn several_care_of_addresses_and_their_flows() {
    let text = format!(
        "{GOOD}care_of_addresses:
  - {{bid: 7, interface: eth0}}
  - {{bid: 8, interface: wlan0, priority: 9}}
flows:
  - {{bid: 8, protocol: tcp, remote_port: 5001-5003}}
  - {{bid: 7, remote: 192.0.2.0/24, dscp: 46}}
  - {{bid: 8, local: \"2001:db8:200:5::1/64\"}}
"
    );
    let config = load_text(&text).1.unwrap();
    let priorities: Vec<_> = config.care_of_addresses.iter().map(|c| (c.bid, c.priority)).collect();
    assert_eq!(priorities, [(7, 1), (8, 9)]);
    // The first rule says nothing of the IP version: it takes a selector for each.
    let rules: Vec<_> = config.flows.iter().map(|rule| (rule.id, rule.bid)).collect();
    assert_eq!(rules, [(1, 8), (2, 8), (3, 7), (4, 8)]);
    // As the home agent sends: what is local here is the destination there.
    let Addresses::V6 { source: None, destination: Some(local), .. } =
        config.flows[3].selector.addresses
    else {
        panic!("{:?}", config.flows[3]);
    };
    let ends = [local.first, local.last].map(|end| end.to_string());
    assert_eq!(ends, ["2001:db8:200:5::", "2001:db8:200:5:ffff:ffff:ffff:ffff"]);
    for (text, words) in [
        ("care_of_addresses: [{bid: 1, interface: a}]", "2 to 8 of them"),
        (
            "care_of_addresses: [{bid: 0, interface: a}, {bid: 1, interface: b}]",
            "care_of_addresses[0].bid: 0 is reserved",
        ),
        (
            "care_of_addresses: [{bid: 1, interface: a}, {bid: 2, interface: a}]",
            "care_of_addresses[1].interface: stands twice",
        ),
        ("flows: [{bid: 1}]", "flows: needs `care_of_addresses`"),
        (
            "care_of_addresses: [{bid: 1, interface: a}, {bid: 2, interface: b}]\nflows: [{bid: 3}]",
            "flows[0].bid: no care-of address has this Binding ID",
        ),
        (
            "care_of_addresses: [{bid: 1, interface: a}, {bid: 2, interface: b}]\nflows: [{bid: 2, remote_port: 9-1}]",
            "flows[0].remote_port: no port",
        ),
        (
            "care_of_addresses: [{bid: 1, interface: a}, {bid: 2, interface: b}]\nflows: [{bid: 2, remote: \"2001:db8::/32\", local: 10.0.0.0/8}]",
            "flows[0].local: is not of the IP version of `remote`",
        ),
    ] {
        let error = error_of(&format!("{GOOD}{text}\n"));
        assert!(error.contains(words), "{error}");
    }
}

/// A check asks nobody and needs no credentials; a start that gets none says so.
#[test]
fn secrets_from_elsewhere_are_not_needed_for_a_check() {
    for (secret, expected) in [
        ("credential: mn.psk", "3: psk.credential: no credentials here"),
        ("credential: ../mn.psk", "3: psk.credential: not the name of a credential"),
    ] {
        let text = GOOD.replace("file: mn.psk", secret);
        let (folder, checked) = load_text(&text);
        assert_eq!(checked.is_ok(), !secret.contains('/'), "{checked:?}");
        let error = load_with(&folder.path().join("mn.yaml"), Asking::Person).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(load_text(&GOOD.replace("file: mn.psk", "prompt: text")).1.is_ok());
    assert!(error_of(&GOOD.replace("file: mn.psk", "prompt: words")).contains("psk"));
}

#[test]
fn secrets_that_others_can_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, _) = load_text(GOOD);
    let (key, file) = (folder.path().join("mn.psk"), folder.path().join("mn.yaml"));
    let warnings = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        load(&file).unwrap().warnings
    };
    assert_eq!(warnings(0o600), []);
    let warned = warnings(0o640);
    assert_eq!((warned.len(), warned[0].line(), warned[0].key()), (1, Some(3), "psk"));
    assert!(warned[0].message().contains("chmod 600"), "{}", warned[0]);
}

/// At home packets go in the clear by whatever link shows the home prefix: only who asks for it gets it.
#[test]
fn returning_home_is_asked_for_and_bears_no_contradiction() {
    assert!(!load_text(GOOD).1.unwrap().home_link);
    assert!(load_text(&format!("{GOOD}\nhome_link: true\n")).1.unwrap().home_link);
    let error = error_of(&format!("{GOOD}\nhome_link: true\nfail_closed: true\n"));
    assert!(error.contains("home_link: at home nothing goes through the tunnel"), "{error}");
    let two = "[{bid: 1, interface: a}, {bid: 2, interface: b}]";
    let error = error_of(&format!("{GOOD}\nhome_link: true\ncare_of_addresses: {two}\n"));
    assert!(error.contains("home_link: with `care_of_addresses`"), "{error}");
}

/// A carrier's NAT may be told to be no more patient than that.
#[test]
fn the_shortest_keepalive_has_bounds() {
    let with = |seconds: &str| format!("{GOOD}\ntimers: {{nat_keepalive_min: {seconds}}}\n");
    let config = load_text(&with("2.5")).1.unwrap();
    assert_eq!(config.timers.nat_keepalive_min, Duration::from_millis(2500));
    let error = error_of(&with("0.5"));
    assert!(error.contains("timers.nat_keepalive_min: out of range; 1 to 3600"), "{error}");
}

#[test]
fn route_optimisation_names_prefixes() {
    let load = |more: &str| load_text(&format!("{GOOD}\nroute_optimisation: {more}\n"));
    assert_eq!(load_text(GOOD).1.unwrap().correspondents, []);
    let config = load("{correspondents: [\"2001:db8:c::/64\", \"::/0\"]}").1.unwrap();
    let expected: Vec<Ipv6Net> = ["2001:db8:c::/64", "::/0"].map(|net| net.parse().unwrap()).into();
    assert_eq!(config.correspondents, expected);
    let two = "[{bid: 1, interface: a}, {bid: 2, interface: b}]";
    for (more, what) in [
        ("{correspondents: []}".to_owned(), "names nobody"),
        ("{correspondents: [\"2001:db8:c::1/64\"]}".to_owned(), "2001:db8:c::/64 would be right"),
        ("{}".to_owned(), "correspondents"),
        ("{correspondents: [\"::/0\"]}\nfail_closed: true".to_owned(), "`fail_closed` forbids"),
        (
            format!("{{correspondents: [\"::/0\"]}}\ncare_of_addresses: {two}"),
            "can't stand beside `care_of_addresses`",
        ),
    ] {
        let error = load(&more).1.unwrap_err();
        assert!(error.contains(what), "{more}: {error}");
    }
}

#[test]
fn the_schema_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/schema/mn.json");
    hearth_config::same_schema::<Raw>(
        "mn.yaml of hearth-mn, a mobile node (RFC 6618)",
        path.as_ref(),
    )
    .unwrap();
}
