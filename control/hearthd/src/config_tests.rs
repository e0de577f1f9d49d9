//! What wrong input gets: one row a mistake, with the line and key that must be named.

use std::path::Path;

use hearth_dpdk::CryptoError;

use super::*;

const GOOD: &str = include_str!("../../../configs/hearthd.yaml");

fn check_text(text: &str) -> Result<Config, ConfigError> {
    check(hearth_config::parse(Path::new("hearthd.yaml"), text)?)
}

/// The example with `from` replaced by `to`, and what the daemon says of it.
fn complaint(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the example lost {from:?}");
    check_text(&GOOD.replace(from, to)).unwrap_err().to_string()
}

fn line_of(needle: &str) -> usize {
    GOOD.lines().position(|line| line.contains(needle)).unwrap() + 1
}

/// What is replaced by what, the text of its line in the example, the key, and words of the remedy.
type Mistake<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn all_are_named(mistakes: &[Mistake<'_>]) {
    for (from, to, line, key, remedy) in mistakes {
        let complaint = complaint(from, to);
        let place = format!("hearthd.yaml:{}: {key}", line_of(line));
        assert!(complaint.starts_with(&place), "{to}: {complaint}, not at {place}");
        assert!(complaint.contains(remedy), "{to}: {complaint} lacks {remedy:?}");
    }
}

#[test]
fn the_example_is_good() {
    let config = check_text(GOOD).unwrap();
    assert_eq!(config.ports.len(), 2);
    assert_eq!(config.home_agent.port.value, 7872);
    assert!(config.ports.iter().all(|port| port.checksum_offload), "on where nobody says");
}

#[test]
fn every_mistake_names_line_key_and_remedy() {
    let device = "\"0000:01:00.1\"";
    let rows = [
        ("mtu: 1500", "speed: 9", "mtu: 1500", "ports[0]", "speed"),
        (device, "\"0000:01:00.0\"", device, "ports[1].device", "device of its own"),
        (device, "\"eth0\"", device, "ports[1].device", "PCI address"),
        ("name: home ", "name: access ", "name: home ", "ports[1].name", "already"),
        ("203.0.113.1/26", "198.51.100.1/27", "203.0.113.1/26", "ports[1].addresses[1]", "already"),
        ("203.0.113.1/26", "203.0.113.0/26", "203.0.113.1/26", "ports[1].addresses[1]", "network"),
        ("mtu: 1500", "mtu: 900", "mtu: 1500", "ports[0].mtu", "1280 to 9600"),
        ("core: 1", "core: 4711", "- core: 1", "workers[0].core", "does not exist"),
        (
            "2001:db8:100::/64",
            "2001:db8:100::1/64",
            "home_prefixes",
            "home_agent.home_prefixes[0]",
            "2001:db8:100::/64 would be right",
        ),
        (
            "\"203.0.113.128/25\"",
            "\"2001:db8::/32\"",
            "home_prefixes",
            "home_agent.home_prefixes[1]",
            "overlaps",
        ),
        (
            "address_ip6: \"2001:db8:a::1\"",
            "address_ip6: \"2001:db8:a::9\"",
            "address_ip6",
            "home_agent.address_ip6",
            "on no port",
        ),
        ("[1, 1048576]", "[0, 5]", "spi_range", "home_agent.spi_range", "268435455"),
        (
            "max_lifetime: 3600",
            "max_lifetime: 3",
            "max_lifetime",
            "home_agent.max_lifetime",
            "4 to 262140",
        ),
        (
            "replay_window: 1024",
            "replay_window: 1000",
            "replay_window",
            "tables.replay_window",
            "power of two",
        ),
        (
            "path_mtu_lifetime: 600",
            "path_mtu_lifetime: 299",
            "path_mtu_lifetime",
            "tunnel.path_mtu_lifetime",
            "300 to 86400",
        ),
        (
            "mss_clamp: false ",
            "path_mtu: 1501",
            "mss_clamp",
            "tunnel.path_mtu",
            "the smallest MTU of the ports",
        ),
        (
            "errors_per_peer: 10",
            "errors_per_peer: 1000001",
            "errors_per_peer",
            "icmp.errors_per_peer",
            "0 to 1000000",
        ),
    ];
    all_are_named(&rows);
}

/// REG-09, REG-11: whom the home agent serves, and what it grants.
#[test]
fn policy_is_what_yaml_says() {
    use std::time::Duration;
    // The example spells out the defaults.
    let untold = home_agent_config::policy(&check_text(GOOD).unwrap());
    let default = hearth_home_agent::Policy::default();
    assert!(untold.home_registration && untold.denied.is_empty());
    assert_eq!(untold.max_sas_per_node, default.max_sas_per_node);
    assert_eq!(untold.deregistration_hold, default.deregistration_hold);
    assert_eq!(untold.reinit_margin, default.reinit_margin);
    assert_eq!(untold.errors_per_second, default.errors_per_second);
    assert_eq!(untold.care_of_moves_per_minute, default.care_of_moves_per_minute);
    let text = GOOD
        .replace("home_registration: true", "home_registration: false")
        .replace("denied: []", "denied: [mn7@example.net]")
        .replace("denied_realms: []", "denied_realms: [Old.example]")
        .replace("max_sas_per_node: 64", "max_sas_per_node: 4")
        .replace("deregistration_hold: 10", "deregistration_hold: 20")
        .replace("reinit_margin: 7", "reinit_margin: 9")
        .replace("care_of_moves_per_minute: 30", "care_of_moves_per_minute: 0")
        .replace("errors_per_node: 10", "errors_per_node: 3");
    let told = home_agent_config::policy(&check_text(&text).unwrap());
    assert!(!told.home_registration);
    let denied: Vec<_> = told.denied.iter().map(ToString::to_string).collect();
    assert_eq!(denied, ["mn7@example.net"]);
    assert_eq!(told.denied_realms, ["Old.example".into()]);
    assert_eq!((told.max_sas_per_node, told.errors_per_second), (4, 3));
    assert_eq!(told.care_of_moves_per_minute, 0);
    assert_eq!(told.deregistration_hold, Duration::from_secs(20));
    assert_eq!(told.reinit_margin, Duration::from_secs(9));
    all_are_named(&[
        ("denied: []", "denied: [mn7@]", "denied: []", "home_agent.denied[0]", "user@realm"),
        (
            "denied_realms: []",
            "denied_realms: [example.net, '@x']",
            "denied_realms: []",
            "home_agent.denied_realms[1]",
            "behind the @",
        ),
        (
            "max_sas_per_node: 64",
            "max_sas_per_node: 65",
            "max_sas_per_node",
            "home_agent.max_sas_per_node",
            "2 to 64",
        ),
        (
            "deregistration_hold: 10",
            "deregistration_hold: 3601",
            "deregistration_hold",
            "home_agent.deregistration_hold",
            "0 to 3600 seconds",
        ),
    ]);
}

#[test]
fn the_kernel_gets_routes_unless_told_otherwise() {
    let all = "kernel_routes: [home_prefixes, mobile_network_prefixes]";
    let given = |to: &str| {
        let config = check_text(&GOOD.replace(all, to)).unwrap();
        config.kernel_routes.iter().map(|given| given.value).collect::<Vec<_>>()
    };
    assert_eq!(given(""), given(all));
    assert_eq!(given("kernel_routes: []"), []);
    assert_eq!(given("kernel_routes: [home_prefixes]"), [kernel_routes::Given::HomePrefixes]);
    all_are_named(&[
        (all, "kernel_routes: [homes]", all, "kernel_routes[0]", "home_prefixes"),
        ("name: home ", "name: hearth0 ", "name: home ", "ports[1].name", "another name"),
    ]);
}

#[test]
fn paths_that_nothing_can_be_at_and_buffers_without_room() {
    let (api, directory) = ("/run/hearth/hearthd.sock", "/run/hearth/directory.sock");
    let long = format!("/run/{}", "x".repeat(103));
    all_are_named(&[
        (api, "\"\"", api, "api.socket", "give the path"),
        (api, &long, api, "api.socket", "107 at most"),
        (api, "/run/hearth/", api, "api.socket", "a folder"),
        (api, directory, api, "api.socket", "another path"),
        (directory, "\"\"", directory, "sa_directory.socket", "give the path"),
        ("/var/lib/hearth", "\"\"", "folder", "state.folder", "give the folder"),
        ("mbufs: 16384", "mbufs: 500000", "mbufs", "tables.mbufs", "raise eal.memory_mb"),
    ]);
    let longest = format!("/run/{}", "x".repeat(102));
    assert!(check_text(&GOOD.replace(api, &longest)).is_ok());
}

#[test]
fn a_value_of_a_wrong_kind_says_which_would_be_right() {
    all_are_named(&[
        (
            "203.0.113.1/26",
            "203.0.113.1/33",
            "203.0.113.1/26",
            "ports[1].addresses[1]",
            "prefix length",
        ),
        ("mss_clamp: false", "mss_clamp: [no]", "mss_clamp", "tunnel.mss_clamp", "single value"),
        (
            "signalling_hold_ms: 500",
            "signalling_hold_ms: 10001",
            "signalling_hold_ms",
            "sa_directory.signalling_hold_ms",
            "0 to 10000 milliseconds",
        ),
        (
            "signalling_hold_ms: 500",
            "signalling_hold_ms: half a second",
            "signalling_hold_ms",
            "sa_directory.signalling_hold_ms",
            "a whole number",
        ),
        ("port: 7872", "port: 78720", "port: 7872", "home_agent.port", "0 to 65535"),
        ("[1, 1048576]", "[1]", "spi_range", "home_agent.spi_range", "2 are wanted"),
    ]);
}

#[test]
fn outer_packets_get_their_dscp_from_the_inner_one_or_from_yaml() {
    let given = |value: &str| {
        let text = GOOD.replace("dscp: copy", &format!("dscp: {value}"));
        check_text(&text).unwrap().tunnel.dscp.pinned()
    };
    let values = [("copy", None), ("0", Some(0)), ("46", Some(46)), ("0x3f", Some(63))];
    for (value, dscp) in values {
        assert_eq!(given(value), dscp, "{value}");
    }
    assert_eq!(given("copy"), hearth_dataplane::Config::default().dscp);
    let remedy = "copy, or a DSCP from 0 to 63";
    let all = ["64", "-1", "1.5", "EF", "[46]", "true", "256", "~"];
    let rows = all.map(|value| format!("dscp: {value}"));
    let rows =
        rows.each_ref().map(|to| ("dscp: copy", to.as_str(), "dscp: copy", "tunnel.dscp", remedy));
    all_are_named(&rows);
    let dataplane =
        daemon::dataplane_config(&check_text(&GOOD.replace("dscp: copy", "dscp: 46")).unwrap());
    assert_eq!(dataplane.dscp, Some(46));
}

#[test]
fn a_binding_update_waits_half_a_second_for_its_sa_unless_told_otherwise() {
    let hold = |text: &str| check_text(text).unwrap().sa_directory.signalling_hold_ms.value;
    assert_eq!(hold(&GOOD.replace("signalling_hold_ms: 500", "signalling_hold_ms: 0")), 0);
    assert_eq!(hold(&GOOD.replace("  signalling_hold_ms: 500 ", "  # ")), 500);
    let without = crate::directory_config::SaDirectory::default();
    let dataplane = hearth_dataplane::Config::default();
    assert_eq!(without.signalling_hold_ms.value, dataplane.signalling_hold_ms);
}

#[test]
fn mistakes_about_switches_and_a_crypto_device() {
    all_are_named(&[
        ("busy_poll: false", "busy_poll: 7", "busy_poll", "busy_poll", "true or false"),
        (
            "checksum_offload: true",
            "checksum_offload: 7",
            "checksum_offload",
            "ports[0].checksum_offload",
            "true or false",
        ),
        ("share_crypto: true", "share_crypto: 7", "share_crypto", "share_crypto", "true or false"),
        ("api:", "crypto: {}\napi:", "api:", "crypto", "device"),
        ("api:", "crypto: { device: eth0 }\napi:", "api:", "crypto.device", "crypto_openssl0"),
        ("api:", "crypto: { device: crypto_ }\napi:", "api:", "crypto.device", "PCI address"),
        (
            "api:",
            "crypto: { device: \"0000:01:00.0\" }\napi:",
            "api:",
            "crypto.device",
            "the device of the port in line 23",
        ),
        (
            "api:",
            "crypto: { device: crypto_openssl0, max_sas: 0 }\napi:",
            "api:",
            "crypto.max_sas",
            "1 to 1000000",
        ),
    ]);
}

#[test]
fn a_crypto_device_gets_a_queue_for_each_worker() {
    let device = |device: &str, workers| {
        let text = GOOD.replace("api:", &format!("crypto: {{ device: \"{device}\" }}\napi:"));
        check_text(&text).unwrap().crypto.unwrap().dataplane_config(workers).device
    };
    assert_eq!(device("crypto_openssl0", 8), "crypto_openssl0");
    assert_eq!(device("crypto_openssl0", 9), "crypto_openssl0,max_nb_queue_pairs=9");
    let told = "crypto_aesni_mb,max_nb_queue_pairs=16";
    assert_eq!(device(told, 12), told);
    assert_eq!(device("0000:3D:01.0", 12), "0000:3d:01.0");
    assert!(check_text(GOOD).unwrap().crypto.is_none(), "the CPU is the default");
}

/// What only shows when the device is opened names the place in the file too.
#[test]
fn a_crypto_device_that_cannot_be_opened() {
    let text = GOOD.replace("api:", "crypto: { device: crypto_openssl0 }\napi:");
    let config = check_text(&text).unwrap();
    let place = format!("hearthd.yaml:{}: crypto.device: ", line_of("api:"));
    for (error, remedy) in [
        (CryptoError::NoSuchDevice, "vfio-pci"),
        (CryptoError::Queues { max: 0 }, "for each of 1 workers"),
        (CryptoError::NotSymmetric, "symmetric"),
    ] {
        let complaint = crypto_config::unusable(&config, error).to_string();
        assert!(complaint.starts_with(&place) && complaint.contains(remedy), "{complaint}");
    }
}

#[test]
fn two_ports_on_one_kernel_interface_are_one_device() {
    let text = GOOD
        .replace("\"0000:01:00.0\"", "\"net_af_packet,iface=eth1\"")
        .replace("\"0000:01:00.1\"", "\"net_af_packet,iface=eth1,blocksz=4096\"");
    let complaint = check_text(&text).unwrap_err().to_string();
    assert!(complaint.contains("eth1 is the device of the port in line"), "{complaint}");
}

#[test]
fn devices_become_arguments_of_the_eal() {
    let device = Device::parse("net_af_packet,iface=eth1").unwrap();
    assert_eq!(device.vdev(1, 1).as_deref(), Some("net_af_packet1,iface=eth1"));
    assert_eq!(device.eal_name(1), "net_af_packet1");
    assert_eq!(device.vdev(1, 2).as_deref(), Some("net_af_packet1,iface=eth1,qpairs=2"));
    let device = Device::parse("net_ring7").unwrap();
    assert_eq!(device.vdev(0, 2).as_deref(), Some("net_ring7"));
    let device = Device::parse("0000:AF:00.1").unwrap();
    assert_eq!((device.vdev(0, 2), device.eal_name(0)), (None, "0000:af:00.1".into()));
    for wrong in ["", "0000:01:00", "0000:01:00.8", "00:01:00.0", "eth0", "crypto_null"] {
        assert_eq!(Device::parse(wrong), None, "{wrong}");
    }
}

/// The example with one home prefix in full.
fn with_home_prefix(lines: &[&str]) -> String {
    let section = format!("home_prefixes:\n    - {}\n", lines.join("\n      "));
    let from = "home_prefixes: [\"2001:db8:100::/64\", \"203.0.113.128/25\"]\n";
    assert!(GOOD.contains(from));
    GOOD.replace(from, &section)
}

#[test]
fn a_home_prefix_in_full() {
    let lines = [
        "prefix: \"2001:db8:b::/64\"",
        "mode: link",
        "port: home",
        "valid_until: \"2027-03-01T00:00:00Z\"",
        "preferred_lifetime: 600",
    ];
    let config = check_text(&with_home_prefix(&lines)).unwrap();
    let home = &config.home_agent.home_prefixes[0].value;
    assert_eq!(home.port(&config.ports), Some(1));
    let now = hearth_home_agent::Timestamp::from_secs(5);
    let clock =
        hearth_home_agent::WallClock::new(now, std::time::Duration::from_secs(1_803_816_000));
    let (valid, preferred) = home.lifetimes(clock);
    let day = std::time::Duration::from_secs(86_400 / 2);
    assert_eq!(valid.unwrap().left(now), Some(day));
    assert_eq!(preferred.unwrap().left(now), Some(std::time::Duration::from_secs(600)));
}

#[test]
fn what_is_wrong_with_a_home_prefix() {
    let link = ["mode: link", "port: home"];
    let (home, elsewhere) = ("prefix: \"2001:db8:b::/64\"", "prefix: \"2001:db8:77::/64\"");
    let v4 = "prefix: \"203.0.113.0/26\"";
    // Lines of the section, the key that is wrong, and words of the remedy.
    let rows: [(&[&str], &str, &str); 12] = [
        (&[home], "", "say mode: link and port: home"),
        (&[home, "mode: link"], "", "name of a port"),
        (&[home, "mode: link", "port: lan"], ".port", "access, home"),
        (&[elsewhere, link[0], link[1]], ".port", "whose network holds"),
        (&[elsewhere, "port: home"], ".port", "mode: link"),
        (&[home, link[0], link[1], "valid: 1"], "", "valid"),
        (&[home, "mode: bridged"], ".mode", "link"),
        (&[elsewhere, "valid_lifetime: 3"], ".valid_lifetime", "at least 4"),
        (
            &[elsewhere, "valid_lifetime: 90", "preferred_lifetime: 91"],
            ".preferred_lifetime",
            "at most",
        ),
        (
            &[elsewhere, "valid_lifetime: 90", "valid_until: \"2027-03-01T00:00:00Z\""],
            ".valid_until",
            "one of them",
        ),
        (&[elsewhere, "valid_until: tomorrow"], ".valid_until", "2027-03-01T00:00:00Z"),
        (&[v4, link[0], link[1], "valid_lifetime: 90"], ".valid_lifetime", "only IPv6"),
    ];
    for (lines, key, remedy) in rows {
        let complaint = check_text(&with_home_prefix(lines)).unwrap_err().to_string();
        let key = format!("home_agent.home_prefixes[0]{key}");
        assert!(
            complaint.starts_with("hearthd.yaml:") && complaint.contains(&key),
            "{lines:?}: {complaint}, not at {key}"
        );
        assert!(complaint.contains(remedy), "{lines:?}: {complaint} lacks {remedy:?}");
    }
}

#[test]
fn what_is_wrong_with_home_links() {
    for (good, bad, key, remedy) in [
        ("dad_transmits: 1 ", "dad_transmits: 11 ", "home_link.dad_transmits", "0 to 10"),
        ("max_probing: 4096", "max_probing: 0", "home_link.max_probing", "1 to 65536"),
        ("max_interval: 86400", "max_interval: 599", "mobile_prefixes.max_interval", "600 to"),
        ("    enabled: false ", "    enable: false ", "discovery.enable", "enabled"),
    ] {
        let key = format!("home_agent.{key}");
        assert_eq!(GOOD.matches(good).count(), 1, "{good}");
        let text = GOOD.replace(good, bad);
        let complaint = check_text(&text).unwrap_err().to_string();
        assert!(complaint.contains(&format!(": {key}: ")), "{complaint}");
        assert!(complaint.contains(remedy), "{complaint} lacks {remedy:?}");
    }
}

#[test]
fn mistakes_in_what_goes_on_by_itself_are_named() {
    let home_agents = "home_agents: []";
    all_are_named(&[
        ("before: 20", "before: 4000", "before: 20", "refresh_request.before", "0 to 3600 seconds"),
        ("delay_ms: 1000", "delay_ms: 499", "delay_ms", "revocation.delay_ms", "500 to 60000"),
        ("retries: 1", "retries: 11", "retries: 1", "revocation.retries", "0 to 10"),
        (
            home_agents,
            "home_agents: [\"2001:db8:a::1\"]",
            home_agents,
            "drain.home_agents[0]",
            "addresses of others",
        ),
        (home_agents, "home_agents: [\"ff02::1\"]", home_agents, "drain.home_agents[0]", "unicast"),
        ("within: 60", "within: 0", "within: 60", "drain.within", "1 to 86400"),
        ("missing: 3", "missing: 0", "missing: 3", "heartbeat.missing", "1 to 100"),
        ("uids: []", "uids: [root]", "uids: []", "api.operators.uids[0]", "whole number"),
        (
            "# multicast: ",
            "multicast: {ports: [home, hme]} # ",
            "# multicast: ",
            "multicast.ports[1]",
            "one of access, home",
        ),
        (
            "# multicast: ",
            "multicast: {ports: [home], groups: 0} # ",
            "# multicast: ",
            "multicast.groups",
            "1 to 1024",
        ),
    ]);
}

#[test]
fn what_goes_on_by_itself_is_taken_from_yaml() {
    use hearth_home_agent::Policy;
    let text = GOOD
        .replace("home_agents: []", "home_agents: [\"2001:db8:a::2\"]")
        .replace("interval: 0", "interval: 60")
        .replace("# multicast: ", "multicast: {ports: [home], query_interval: 30} # ");
    let config = check_text(&text).unwrap();
    let policy = operations_config::add(&config, Some(7), Policy::default());
    let seconds = |n| std::time::Duration::from_secs(n);
    let operations = &policy.operations;
    assert_eq!(operations.heartbeat_interval, seconds(60));
    assert_eq!(operations.refresh_request_before, seconds(20));
    assert_eq!((operations.restart_counter, operations.switches_per_second), (Some(7), 1));
    assert_eq!(policy.multicast.unwrap().query_interval, seconds(30));
    let config = check_text(GOOD).unwrap();
    assert_eq!(operations_config::add(&config, None, Policy::default()).multicast, None);
}

#[test]
fn the_dashboard_is_for_loopback() {
    let with = |listen: &str| check_text(&format!("{GOOD}\ndashboard: {{listen: '{listen}'}}\n"));
    for right in ["127.0.0.1:9680", "[::1]:80"] {
        assert!(with(right).unwrap().dashboard.listen.is_some());
    }
    for wrong in ["0.0.0.0:9680", "[::]:9680", "192.0.2.1:80"] {
        let complaint = with(wrong).unwrap_err().to_string();
        assert!(
            complaint.contains("dashboard.listen: ") && complaint.contains("ssh -L"),
            "{complaint}"
        );
    }
}

#[test]
fn the_schema_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/schema/hearthd.json");
    hearth_config::same_schema::<Config>(
        "hearthd.yaml of hearthd, the home agent (RFC 6618)",
        path.as_ref(),
    )
    .unwrap();
}
