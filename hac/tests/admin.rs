//! The admin socket, asked as an operator asks it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod place;

use std::os::unix::fs::PermissionsExt;

use hearth_api::hac::{LeaseKind, LeaseRow, Status};
use hearth_api::keys::KeyFile;
use hearth_wire::directory::{Request, encode_request};
use place::Place;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_for_everybody_who_may_open_the_socket() {
    let place = Place::start("");
    let (status, text) = place.get("/v1/hac").await;
    assert_eq!(status, 200);
    let status: hearth_api::hac::Status = serde_json::from_str(&text).unwrap();
    assert_eq!((status.subscribers, status.open_connections), (1, 0));
    let [agent] = status.home_agents.as_slice() else { panic!("{text}") };
    assert_eq!(
        (agent.name.as_str(), agent.alive, agent.sas, agent.room),
        ("ha1", false, 0, 100_000)
    );
    assert!(status.counters.iter().any(|row| row.counter == "issued" && row.count == 0));
    let mode = std::fs::metadata(place.path("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let socket = place.path("admin.sock");
    place.stop().await;
    assert!(!socket.exists(), "the socket is left behind");
}

/// Each AAA and accounting server with what happened; nobody answers on port 9.
#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_how_radius_servers_are() {
    let place = Place::start(
        "\
auth: {methods: [eap], eap: {methods: [radius]}}
radius:
  servers:
    - {address: 127.0.0.1, port: 9, secret_file: hac.pem, returns_authenticated_name: true}
  accounting:
    servers: [{address: '::1', port: 9, secret_file: hac.pem, status_server: false}]
",
    );
    let (_, text) = place.get("/v1/hac").await;
    let status: hearth_api::hac::Status = serde_json::from_str(&text).unwrap();
    let count = |name: &str| {
        let row = status.counters.iter().find(|row| row.counter == name);
        row.unwrap_or_else(|| panic!("{name} in {text}")).count
    };
    let servers: Vec<_> =
        status.radius.iter().map(|row| (row.server.as_str(), row.role.as_str())).collect();
    assert_eq!(servers, [("127.0.0.1:9", "authentication"), ("[::1]:9", "accounting")]);
    assert!(status.radius.iter().all(|row| ["alive", "suspect", "dead"].contains(&&*row.state)));
    assert_eq!(count("radius [::1]:9 is_dead"), 0);
    assert_eq!(count("radius [::1]:9 status_servers"), 0);
    assert_eq!(count("radius 127.0.0.1:9 access_accepts"), 0);
    assert_eq!((count("accounting_sessions"), count("accounting_lost")), (0, 0));
    place.stop().await;
}

/// A second HAC on the same socket does not start, and the first goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_taken_stays_whose_it_is() {
    let place = Place::start("");
    let text = place.try_another().unwrap_err().to_string();
    assert!(text.contains("admin.socket of its own"), "{text}");
    assert_eq!(place.get("/v1/hac").await.0, 200);
}

const SUBSCRIBERS: &str = "  - {mn_id: a@example.net, psk: {hex: 000102030405060708090a0b0c0d0e0f}}
  - {mn_id: b@example.net, psk: {hex: 000102030405060708090a0b0c0d0e0f}, prefixes: [pool-ip6]}
";

/// Who holds which address: all, those of one mobile node, those that a prefix reaches.
#[tokio::test(flavor = "multi_thread")]
async fn leases_are_shown_by_holder_and_by_address() {
    let folder = Place::folder();
    let pools = "pools: {ip6: ['2001:db8:100::1000', '2001:db8:100::ffff'], \
                 mobile_networks_ip6: {within: '2001:db8:2000::/40', length: 56}}";
    let text = place::TEXT
        .replace("pools: {ip6: ['2001:db8:100::1000', '2001:db8:100::ffff']}", pools)
        .replace("subscribers:\n", &format!("subscribers:\n{SUBSCRIBERS}"));
    let place = Place::begin_with(folder, &text).unwrap();
    for mn_id in ["yaml@example.net", "a@example.net", "b@example.net", "a@example.net"] {
        let (issued, text) = place.bootstrap(mn_id, place::PSK).await;
        assert!(issued, "{text}");
    }
    let ask = |body: &str| {
        let (place, body) = (&place, body.to_owned());
        async move {
            let (status, text) = place.post("/v1/hac/leases", &body).await;
            assert_eq!(status, 200, "{text}");
            let rows: Vec<LeaseRow> = serde_json::from_str(&text).unwrap();
            rows
        }
    };
    let short = |rows: &[LeaseRow]| -> Vec<String> {
        rows.iter().map(|row| format!("{} {} {}", row.lease, row.mn_id, row.sas)).collect()
    };
    let all = ask("{\"count\": 100}").await;
    let expected = [
        "2001:db8:100::10/128 yaml@example.net 1",
        "2001:db8:100::1000/128 a@example.net 2",
        "2001:db8:100::1001/128 b@example.net 1",
        "2001:db8:2000::/56 b@example.net 1",
    ];
    assert_eq!(short(&all), expected);
    assert!(all.iter().all(|row| row.home_agent == "ha1" && row.ends.is_none()));
    // In pages of one.
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = ask(&format!("{{\"count\": 1{after}}}")).await;
        let [row] = page.as_slice() else { break };
        after =
            format!(", \"after\": {{\"kind\": {:?}, \"lease\": {:?}}}", row.kind.name(), row.lease);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let of = |key: &str, value: &str| ask(&format!("{{\"count\": 9, {key:?}: {value:?}}}"));
    let (a, b) = (of("mn_id", "a@example.net").await, of("mn_id", "b@example.net").await);
    assert_eq!((short(&a), short(&b)), (short(&all[1..2]), short(&all[2..])));
    // An address inside a leased prefix, and a prefix that holds some leases and not others.
    assert_eq!(of("prefix", "2001:db8:2000:7::1").await, all[3..]);
    assert_eq!(of("prefix", "2001:db8:100::1000/127").await, all[1..3]);
    assert_eq!(of("prefix", "203.0.113.0/24").await, []);
    let (status, text) = place.post("/v1/hac/leases", "{\"count\": 1, \"prefix\": \"x\"}").await;
    assert_eq!(status, 400, "{text}");

    let status: Status = serde_json::from_str(&place.get("/v1/hac").await.1).unwrap();
    assert_eq!(status.home_agents[0].sas, 4);
    let counts: Vec<_> =
        status.leases.iter().map(|count| (count.kind, count.leased, count.pool)).collect();
    let expected =
        [(LeaseKind::HomeAddressIp6, 2, 0xf000), (LeaseKind::MobileNetworkIp6, 1, 65_536)];
    assert_eq!(counts, expected);
    // Who watches the directory is alive.
    let mut watch = UnixStream::connect(place.path("directory.sock")).await.unwrap();
    let frame = encode_request(&Request::Watch { home_agent: "ha1".into() }).unwrap();
    watch.write_all(&frame).await.unwrap();
    watch.read_exact(&mut [0; 4]).await.unwrap();
    let status: Status = serde_json::from_str(&place.get("/v1/hac").await.1).unwrap();
    assert!(status.home_agents[0].alive);
}

/// Keys are given away only where YAML says so, and then those that the mobile node has.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_given_away_where_yaml_says_so() {
    let asked = "{\"mn_id\": \"yaml@example.net\"}";
    let place = Place::start("");
    let (status, text) = place.post("/v1/hac/keys", asked).await;
    assert_eq!(status, 403);
    assert!(text.contains("admin.key_export"), "{text}");
    let folder = place.stop().await;

    let yaml = place::TEXT.replace("admin.sock}", "admin.sock, key_export: true}");
    let place = Place::begin_with(folder, &yaml).unwrap();
    let (status, text) = place.post("/v1/hac/keys", asked).await;
    assert_eq!((status, &*text), (404, "yaml@example.net has no SA"));
    for _ in 0..2 {
        let (issued, text) = place.bootstrap("yaml@example.net", place::PSK).await;
        assert!(issued, "{text}");
    }
    let (status, text) = place.post("/v1/hac/keys", asked).await;
    assert_eq!(status, 200, "{text}");
    let file: KeyFile = serde_json::from_str(&text).unwrap();
    let [first, second] = &file.sas[..] else { panic!("{} SAs", file.sas.len()) };
    assert_ne!(first.spi, second.spi);
    assert_ne!(first.mn_to_ha.ikey.expose(), second.mn_to_ha.ikey.expose());
    assert_eq!(first.home_addresses, ["2001:db8:100::10".parse::<std::net::IpAddr>().unwrap()]);
    let suite = hearth_wire::Suite::from_name(&first.suite).unwrap();
    for way in [&first.mn_to_ha, &first.ha_to_mn] {
        let lengths = (way.ikey.expose().len(), way.ekey.expose().len());
        assert_eq!(lengths, (suite.ikey_len(), suite.ekey_len()));
    }
    let (_, text) = place.post("/v1/hac/keys", &format!("{{\"spi\": {}}}", second.spi)).await;
    let file: KeyFile = serde_json::from_str(&text).unwrap();
    assert_eq!(file.sas.len(), 1);
    assert_eq!(file.sas[0].mn_to_ha.ikey.expose(), second.mn_to_ha.ikey.expose());
    let text = place.post("/v1/hac/keys", "{\"spi\": 99999}").await;
    assert_eq!(text, (404, "no SA has SPI 99999".to_owned()));
    assert_eq!(place.post("/v1/hac/keys", "{\"spi\": 0}").await.0, 400);
}
