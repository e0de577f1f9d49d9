//! Accounting: what FreeRADIUS writes down.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hearth_hac::daemon::system_clock;
use hearth_hac::directory::Clock;
use hearth_peers::aaa::{self, FreeRadius};
use hearth_wire::Spi;
use hearth_wire::directory::{Request, Update, Usage, decode_update, deframe, encode_request};

use super::freeradius::{Running, server};
use super::until;

/// A clock that the test puts forward.
fn clock() -> (Arc<AtomicU64>, Clock) {
    let later = Arc::new(AtomicU64::new(0));
    let moved = later.clone();
    let system = system_clock();
    (later, Arc::new(move || system() + moved.load(Ordering::Relaxed)))
}

/// YAML for accounting to this server.
fn accounting(aaa: &FreeRadius) -> String {
    format!(
        "  accounting:
    servers: [{{address: 127.0.0.1, port: {}, secret_file: secret, timeout: 1, dead_time: 1}}]
    interim: 300
",
        aaa.acct
    )
}

fn records(aaa: &FreeRadius) -> Vec<String> {
    let text = fs::read_to_string(aaa.path("detail")).unwrap_or_default();
    let records = text.split("\n\n").filter(|record| record.contains("Timestamp"));
    records.map(str::to_owned).collect()
}

/// The value of an attribute in a record.
fn value<'a>(record: &'a str, attribute: &str) -> Option<&'a str> {
    record.lines().find_map(|line| line.trim().strip_prefix(attribute)?.strip_prefix(" = "))
}

fn kinds(aaa: &FreeRadius) -> Vec<String> {
    let records = records(aaa);
    let kind = |record: &String| value(record, "Acct-Status-Type").unwrap().to_owned();
    records.iter().map(kind).collect()
}

fn has(record: &str, attributes: &[&str]) {
    for attribute in attributes {
        assert!(record.contains(attribute), "{attribute} in\n{record}");
    }
}

/// What an SA has carried, `round` rounds of it.
fn usage(spi: Spi, round: u64, is_over: bool) -> Usage {
    Usage {
        spi,
        packets_in: 3 * round,
        octets_in: round << 32,
        packets_out: 7 * round,
        octets_out: 1000 * round,
        care_of: Some("2001:db8:c0::7".parse().unwrap()),
        is_over,
    }
}

/// A home agent of the test's: says one round when it is asked, and two when an SA ends.
fn home_agent(socket: &Path) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let watch = Request::Watch { home_agent: "ha1".into() };
    stream.write_all(&encode_request(&watch).unwrap()).unwrap();
    std::thread::spawn(move || {
        let mut octets = Vec::new();
        loop {
            while let Some((body, used)) = deframe(&octets).unwrap() {
                let said = match decode_update(body).unwrap() {
                    Update::UsageWanted(spi) => Some(usage(spi, 1, false)),
                    Update::Revoked(spi) => Some(usage(spi, 2, true)),
                    _ => None,
                };
                octets.drain(..used);
                if let Some(usage) = said {
                    let request = encode_request(&Request::Usage(usage)).unwrap();
                    stream.write_all(&request).unwrap();
                }
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(len @ 1..) => octets.extend_from_slice(&chunk[..len]),
                _ => return,
            }
        }
    });
}

/// An SA is accounted for from its issue to its end, also where the server is away at its end; Class,
/// session and addresses are those of the SA, octets and care-of address those of its home agent.
#[tokio::test]
async fn freeradius_accounts_for_an_sa() {
    let mut aaa = FreeRadius::start();
    let (later, clock) = clock();
    let running = Running::start_at(&server(aaa.auth, ""), &accounting(&aaa), clock);
    until(|| kinds(&aaa) == ["Accounting-On"]).await;
    has(&records(&aaa)[0], &["NAS-Identifier = \"hac.example.net\"", "Acct-Session-Id = \"0\""]);
    let (code, text) = running.peer(aaa::NAME, &aaa.network("PEAP", "")).await;
    assert_eq!(code, Some(0), "{text}");
    home_agent(&running.folder.path().join("hac.sock"));
    until(|| records(&aaa).len() == 2).await;
    let start = records(&aaa).remove(1);
    let common = [
        "User-Name = \"mn1@example.net\"",
        "Framed-IPv6-Address = 2001:db8:100::10",
        "NAS-Identifier = \"hac.example.net\"",
        "Class = 0x636c617373",
        "PMIP6-Home-LMA-IPv6-Address = 2001:db8:1::1",
        "NAS-Port = 1\n",
        "Acct-Session-Id = \"0000001-1\"",
        "Acct-Authentic = RADIUS",
    ];
    has(&start, &common);
    has(&start, &["Acct-Status-Type = Start", "Calling-Station-Id = \"127.0.0.1\""]);
    assert!(!start.contains("Octets"), "{start}");
    later.store(301, Ordering::Relaxed);
    until(|| records(&aaa).len() == 3).await;
    let interim = records(&aaa).remove(2);
    has(&interim, &common);
    let interim_has = [
        "Acct-Status-Type = Interim-Update",
        "Acct-Session-Time = 30",
        "Calling-Station-Id = \"2001:db8:c0::7\"",
        "Acct-Input-Octets = 0\n",
        "Acct-Input-Gigawords = 1\n",
        "Acct-Output-Octets = 1000\n",
        "Acct-Input-Packets = 3\n",
        "Acct-Output-Packets = 7\n",
    ];
    has(&interim, &interim_has);
    assert!(!interim.contains("Output-Gigawords"), "{interim}");
    aaa.kill();
    later.store(90_000, Ordering::Relaxed);
    // Both the interim record and the end come late.
    let accounting = running.hac.accounting().unwrap().clone();
    until(|| accounting.sessions() == 0 && accounting.waiting() > 0).await;
    aaa.run();
    until(|| kinds(&aaa).last().is_some_and(|kind| kind == "Stop")).await;
    let stop = records(&aaa).pop().unwrap();
    has(&stop, &common);
    // The SA has ended after a day, whenever that was seen.
    has(&stop, &["Acct-Terminate-Cause = Session-Timeout", "Acct-Session-Time = 86400"]);
    has(&stop, &["Acct-Input-Gigawords = 2\n", "Acct-Output-Octets = 2000\n"]);
    until(|| accounting.waiting() == 0).await;
    assert_eq!(accounting.lost(), 0);
    // Nothing goes on.
    running.hac.stop().await;
    assert_eq!(kinds(&aaa).last().unwrap(), "Accounting-Off");
}

/// A HAC that is started anew goes on with the sessions that go on, and tells of those that have ended
/// meanwhile: with Class, and with the time of their end. A server that heard Accounting-On or -Off in
/// between would have ended all of them (RFC 2866 s.5.1).
#[tokio::test]
async fn freeradius_hears_of_what_ended_while_the_hac_was_away() {
    let aaa = FreeRadius::start();
    let (later, clock) = clock();
    let running = Running::start_at(&server(aaa.auth, ""), &accounting(&aaa), clock.clone());
    let (code, text) = running.peer(aaa::NAME, &aaa.network("PEAP", "")).await;
    assert_eq!(code, Some(0), "{text}");
    until(|| kinds(&aaa) == ["Accounting-On", "Start"]).await;
    let running = running.again(clock.clone()).await;
    assert_eq!(running.hac.accounting().unwrap().sessions(), 1);
    later.store(301, Ordering::Relaxed);
    until(|| kinds(&aaa) == ["Accounting-On", "Start", "Interim-Update"]).await;
    let interim = records(&aaa).pop().unwrap();
    has(&interim, &["Class = 0x636c617373", "Acct-Session-Time = 30"]);
    // It is away while the SA ends.
    let away = clock.clone();
    let running = running.again({
        later.store(90_000, Ordering::Relaxed);
        away
    });
    let running = running.await;
    until(|| kinds(&aaa).len() == 4).await;
    let stop = records(&aaa).pop().unwrap();
    let stop_has = [
        "Acct-Status-Type = Stop",
        "Acct-Session-Id = \"0000001-1\"",
        "Class = 0x636c617373",
        "Acct-Terminate-Cause = Session-Timeout",
        "Acct-Session-Time = 86400",
    ];
    has(&stop, &stop_has);
    running.hac.stop().await;
}
