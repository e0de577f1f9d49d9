//! The YAML read again while the daemon runs: what is in force then, what is not, and what a mistake
//! changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod place;

use std::fs;
use std::process::Command;
use std::time::Duration;

use hearth_api::hac::Reloaded;
use hearth_api::subscribers::Row;
use hearth_hac::counters::Counter;
use hearth_hac::subscribers::Source;
use hearth_wire::MobileNodeId;
use hearth_wire::directory::{Request, Update, decode_update, deframe, encode_request};
use place::{PSK, Place, TEXT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

const OTHER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff00112233445566778899aabbccddeeff";

fn mn_id(text: &str) -> MobileNodeId {
    MobileNodeId::new(text).unwrap()
}

/// `hearth hac reload` after the YAML was changed to `text`: the answer, or what is wrong.
async fn reload(place: &Place, text: &str) -> Result<Reloaded, String> {
    fs::write(place.path("hac.yaml"), text).unwrap();
    let (status, answer) = place.post("/v1/hac/reload", "null").await;
    if status == 200 { Ok(serde_json::from_str(&answer).unwrap()) } else { Err(answer) }
}

/// A watch of the home agent's records, behind its replay.
struct Watch {
    stream: UnixStream,
    octets: Vec<u8>,
}

impl Watch {
    async fn begin(place: &Place) -> Self {
        let mut stream = UnixStream::connect(place.path("directory.sock")).await.unwrap();
        let frame = encode_request(&Request::Watch { home_agent: "ha1".into() }).unwrap();
        stream.write_all(&frame).await.unwrap();
        let mut watch = Self { stream, octets: Vec::new() };
        while !matches!(watch.next().await, Update::Synced(_)) {}
        watch
    }

    async fn next(&mut self) -> Update {
        loop {
            if let Some((message, length)) = deframe(&self.octets).unwrap() {
                let update = decode_update(message).unwrap();
                self.octets.drain(..length);
                return update;
            }
            assert_ne!(self.stream.read_buf(&mut self.octets).await.unwrap(), 0);
        }
    }
}

/// What OpenSSL says of a handshake with these options.
async fn handshake(place: &Place, options: &str) -> String {
    let port = place.hac.addresses()[0].port();
    let command = format!("openssl s_client -connect 127.0.0.1:{port} {options} </dev/null 2>&1");
    let run = move || Command::new("sh").args(["-c", &command]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_limits_are_in_force_without_a_restart() {
    let place = Place::start("");
    let tickets = place.path("session").display().to_string();
    assert!(handshake(&place, "-tls1_3").await.contains("New, TLSv1.3"));
    // A session that is open while all of it changes.
    let mut open = TcpStream::connect(place.hac.addresses()[0]).await.unwrap();
    while place.hac.counters().get(Counter::Connections) < 2 {
        tokio::task::yield_now().await;
    }
    let text = TEXT.replace(
        "key: hac.key}",
        "key: hac.key, tls13: false, suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]}",
    ) + "limits: {connections_per_source: 2, request_timeout: 1}\n";
    let done = reload(&place, &text).await.unwrap();
    assert_eq!(done.applied, ["tls.suites", "tls.tls13", "limits"]);
    assert_eq!((done.needs_restart.len(), done.subscribers, done.revoked), (0, 1, 0));
    assert!(!handshake(&place, "-tls1_3").await.contains("New, TLSv1.3"));
    let shown = handshake(&place, &format!("-tls1_2 -sess_out {tickets} -ign_eof")).await;
    assert!(shown.contains("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"), "{shown}");
    // Tickets outlive a change of limits, and end where they are switched off.
    let text = text.replace("connections_per_source: 2", "connections_per_source: 3");
    assert_eq!(reload(&place, &text).await.unwrap().applied, ["limits.connections_per_source"]);
    let resume = format!("-tls1_2 -sess_in {tickets}");
    assert!(handshake(&place, &resume).await.contains("Reused, "));
    let text = text.replace("tls13: false", "tls13: false, tickets: false");
    assert_eq!(reload(&place, &text).await.unwrap().applied, ["tls.tickets"]);
    assert!(!handshake(&place, &resume).await.contains("Reused, "));
    // The limit counts those that were open before.
    let address = place.hac.addresses()[0];
    let more =
        [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let mut beyond = TcpStream::connect(address).await.unwrap();
    assert_eq!(beyond.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(place.hac.counters().get(Counter::ConnectionsRefused), 1);
    assert!(open.try_read(&mut [0; 1]).is_err(), "the open one goes on");
    drop(more);
    let _ = open.read(&mut [0; 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_realms_and_subscribers_are_in_force_without_a_restart() {
    let folder = Place::folder();
    fs::write(folder.path().join("wrap.key"), "11".repeat(32)).unwrap();
    let sources =
        "subscriber_store: {path: s.redb, key_file: wrap.key}\nsubscriber_files: [d.yaml]\n";
    let of_file = format!("subscribers: [{{mn_id: f@example.net, psk: {{hex: '{OTHER}'}}}}]\n");
    fs::write(folder.path().join("d.yaml"), of_file).unwrap();
    let place = Place::begin(folder, sources).unwrap();
    let stored = format!("{{\"mn_id\":\"s@example.net\",\"psk\":{{\"hex\":\"{OTHER}\"}}}}");
    assert_eq!(place.post("/v1/subscribers/add", &stored).await.0, 200);
    for (id, psk) in [("yaml@example.net", PSK), ("f@example.net", OTHER), ("s@example.net", OTHER)]
    {
        assert!(place.bootstrap(id, psk).await.0, "{id}");
    }
    let text = format!("{TEXT}{sources}");
    let validity = |id: &str| place.hac.subscribers().find(&mn_id(id)).unwrap().policy.sa_validity;

    // Rules alone: SAs stay as they are, and everybody's next one goes by them.
    let ruled = format!(
        "{text}realms: [{{realm: example.net, sa_validity: 600}}]\ndns: ['2001:db8:b::53']\n"
    );
    let done = reload(&place, &ruled).await.unwrap();
    assert_eq!((done.applied, done.revoked), (vec!["dns".into(), "realms".into()], 0));
    for id in ["yaml@example.net", "f@example.net", "s@example.net"] {
        assert_eq!(validity(id), 600, "{id}");
    }
    let (issued, shown) = place.bootstrap("s@example.net", OTHER).await;
    assert!(issued && shown.contains("2001:db8:b:0:0:0:0:53"), "{shown}");

    // What a subscriber may: its SAs stay, and home agents are told.
    let mut watch = Watch::begin(&place).await;
    let may = format!("{ruled}policy: {{care_of_addresses: 3}}\n");
    assert_eq!(reload(&place, &may).await.unwrap().revoked, 0);
    for _ in 0..4 {
        let Update::Issued(record) = watch.next().await else { panic!("an SA ended") };
        assert_eq!(record.services.care_of_addresses, 3);
    }
    assert_eq!(reload(&place, &ruled).await.unwrap().revoked, 0);

    // Another home address: the SA with the old one ends. Another subscriber: there at once.
    let changed = ruled.replace("100::10'", "100::11'") + "  # none\n";
    let changed = changed.replace(
        "subscribers:\n",
        &format!("subscribers:\n  - {{mn_id: new@example.net, psk: {{hex: '{OTHER}'}}}}\n"),
    );
    let done = reload(&place, &changed).await.unwrap();
    assert_eq!((done.applied.len(), done.revoked, done.subscribers), (0, 1, 4));
    assert!(place.bootstrap("new@example.net", OTHER).await.0);
    // Gone, with what it has; those of other sources stay.
    let done = reload(&place, &text).await.unwrap();
    assert_eq!((done.revoked, done.subscribers), (1, 3));
    assert!(!place.bootstrap("new@example.net", OTHER).await.0);
    assert_eq!(place.hac.subscribers().source(&mn_id("s@example.net")), Some(Source::Store));
    // Sources work on the new rules.
    place.hearth(&["set", "s@example.net", "max_lifetime=600"]).await.unwrap();
    assert_eq!(validity("s@example.net"), 86_400);

    // An mn-id that two sources have.
    let twice = text.replace("yaml@example.net", "f@example.net");
    let error = reload(&place, &twice).await.unwrap_err();
    assert!(error.contains("d.yaml:1") && error.contains("stands in the configuration"), "{error}");
    assert!(place.bootstrap("yaml@example.net", PSK).await.0);
}

/// The answer counts subscribers that are new, others or gone, by their key or what holds for them, names
/// files that hold something else, and who of the store is left out.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_says_what_has_changed() {
    let folder = Place::folder();
    fs::write(folder.path().join("wrap.key"), "11".repeat(32)).unwrap();
    fs::write(folder.path().join("psk"), PSK).unwrap();
    let store = "subscriber_store: {path: s.redb, key_file: wrap.key}\n";
    let place = Place::begin(folder, store).unwrap();
    let stored = format!("{{\"mn_id\":\"s@example.net\",\"psk\":{{\"hex\":\"{OTHER}\"}}}}");
    assert_eq!(place.post("/v1/subscribers/add", &stored).await.0, 200);
    let text = format!("{TEXT}{store}");
    let counts = |done: &Reloaded| (done.added, done.changed, done.removed);
    let with = |more: &str| text.replace("subscribers:\n", &format!("subscribers:\n{more}"));

    let done = reload(&place, &text).await.unwrap();
    assert_eq!((counts(&done), done.read_anew, done.left_out), ((0, 0, 0), vec![], vec![]));
    let two = with(&format!(
        "  - {{mn_id: a@example.net, psk: {{hex: '{OTHER}'}}}}\n  - {{mn_id: b@example.net, psk: {{file: psk}}}}\n"
    ));
    assert_eq!(counts(&reload(&place, &two).await.unwrap()), (2, 0, 0));
    // Another key: of the YAML, of a file.
    let done = reload(&place, &two.replace(OTHER, &"55".repeat(16))).await.unwrap();
    assert_eq!(counts(&done), (0, 1, 0));
    fs::write(place.path("psk"), OTHER).unwrap();
    assert_eq!(counts(&reload(&place, &two).await.unwrap()), (0, 2, 0));
    assert_eq!(counts(&reload(&place, &text).await.unwrap()), (0, 0, 2));

    // Files that a key names as before.
    let other = Place::folder();
    for name in ["hac.pem", "hac.key"] {
        fs::copy(other.path().join(name), place.path(name)).unwrap();
    }
    let done = reload(&place, &text).await.unwrap();
    assert_eq!(done.read_anew, ["tls.certificate", "tls.key"]);
    assert_eq!(reload(&place, &text).await.unwrap().read_anew, Vec::<String>::new());
    fs::write(place.path("wrap.key"), "22".repeat(32)).unwrap();
    let done = reload(&place, &text).await.unwrap();
    assert_eq!(
        (done.read_anew.len(), done.needs_restart),
        (0, vec!["subscriber_store.key_file".into()])
    );
    fs::write(place.path("wrap.key"), "11".repeat(32)).unwrap();

    // An mn-id of the store that the YAML has, too.
    let both = with(&format!("  - {{mn_id: s@example.net, psk: {{hex: '{PSK}'}}}}\n"));
    let done = reload(&place, &both).await.unwrap();
    assert_eq!(counts(&done), (0, 1, 0));
    assert_eq!((done.left_out, done.left_out_count), (vec!["s@example.net".to_owned()], 1));
    let (_, shown) = place.post("/v1/subscribers/show", "{\"mn_id\":\"s@example.net\"}").await;
    let shown: Row = serde_json::from_str(&shown).unwrap();
    let instead = shown.instead.unwrap();
    assert!(shown.source == "store" && !shown.in_force);
    assert!(instead.source == "configuration" && instead.in_force);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_changes_nothing_and_some_keys_need_a_restart() {
    let place = Place::start("");
    for (wrong, words) in [
        (format!("{TEXT}limits: {{connections: 0}}\n"), "limits.connections: 0 is out of range"),
        (format!("{TEXT}limits: {{connections: 9}}\nnonsense: 1\n"), "nonsense"),
        (format!("{TEXT}limits: {{connections: 9}}\n").replace("hac.pem", "no.pem"), "no.pem"),
        (format!("{TEXT}auth: {{methods: [eap], eap: {{methods: [radius]}}}}\n"), "radius"),
        // What the home agents that run have no place for.
        (
            TEXT.replace("[1, 100000]", "[1, 200000]")
                .replace("2001:db8:100::/64", "2001:db8:101::/64")
                .replace("2001:db8:100::1000", "2001:db8:101::1000")
                .replace("2001:db8:100::ffff", "2001:db8:101::ffff")
                .replace("2001:db8:100::10'", "2001:db8:101::10'"),
            "home_address_ip6",
        ),
    ] {
        let error = reload(&place, &wrong).await.unwrap_err();
        assert!(error.contains(words), "{error}");
        assert!(place.bootstrap("yaml@example.net", PSK).await.0, "{wrong}");
    }
    // Said each time until it is so.
    let text = TEXT
        .replace("[1, 100000]", "[1, 200000]")
        .replace("listen: ['127.0.0.1:0']", "listen: ['127.0.0.1:0', '[::1]:0']")
        + "policy: {max_sas: 7}\n";
    let done = reload(&place, &text).await.unwrap();
    assert_eq!(done.needs_restart, ["listen", "home_agents[0].spi_range[1]"]);
    assert_eq!(done.applied, ["policy"]);
    let done = reload(&place, &text).await.unwrap();
    assert_eq!((done.applied.len(), done.needs_restart.len()), (0, 2));
    assert_eq!(place.hac.realm().home_agents[0].room(), 100_000);
    assert_eq!(place.hac.realm().policy.max_sas, 7);
    assert!(place.bootstrap("yaml@example.net", PSK).await.0);
}

/// An operator who hangs up: what has begun is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_nobody_waits_for_is_not_left_half_done() {
    let place = Place::start("");
    assert!(place.bootstrap("yaml@example.net", PSK).await.0);
    let mut watch = Watch::begin(&place).await;
    let text = TEXT.replace("yaml@example.net", "other@example.net");
    fs::write(place.path("hac.yaml"), text).unwrap();
    let given_up = timeout(Duration::ZERO, place.hac.reload()).await;
    assert!(given_up.is_err());
    let told = timeout(Duration::from_secs(10), watch.next()).await;
    assert!(matches!(told, Ok(Update::Revoked(_))), "its SA goes on");
}
