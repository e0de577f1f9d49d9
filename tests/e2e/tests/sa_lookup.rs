//! The home agent asks for an SA that it misses (RFC 6618 s.4.3, R-50).
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearthd --(relay of this test)-- hearth-hac
//! ```
//!
//! The relay hands everything on as it is, in both directions, except, where the test wants that, the
//! records that the HAC pushes: of those it loses every one until hearthd has asked for its SPI.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Sender, TryRecvError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hearth_e2e::{PATIENCE, TestLab, packet};
use hearth_lab::{
    config::NodeTuning,
    plan::{HA_PORT, HA6, Visited},
    wait,
};
use hearth_wire::{
    directory::{Request, Update, decode_request, decode_update, deframe},
    suite::Suite,
};

/// What the relay saw.
#[derive(Default)]
struct Seen {
    loses: bool,
    lost: HashSet<u32>,
    asked: Vec<u32>,
}

/// Relays connections to `at` to the HAC's socket for as long as the test runs.
fn relay(at: &Path, hac: PathBuf, loses: bool) -> Arc<Mutex<Seen>> {
    let seen = Arc::new(Mutex::new(Seen { loses, ..Seen::default() }));
    let listener = UnixListener::bind(at).unwrap();
    let notes = Arc::clone(&seen);
    thread::spawn(move || {
        for home_agent in listener.incoming() {
            let home_agent = home_agent.unwrap();
            // Where the HAC is gone, hearthd finds its connection closed.
            let Ok(hac) = UnixStream::connect(&hac) else { continue };
            let to_hac = (home_agent.try_clone().unwrap(), hac.try_clone().unwrap());
            let (asks, answers) = (Arc::clone(&notes), Arc::clone(&notes));
            thread::spawn(move || frames(to_hac.0, to_hac.1, |body| ask(&asks, body)));
            thread::spawn(move || frames(hac, home_agent, |body| answer(&answers, body)));
        }
    });
    seen
}

/// Hands frames on where `passes` says so, until an end closes.
fn frames(mut from: UnixStream, mut to: UnixStream, passes: impl Fn(&[u8]) -> bool) {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        buffer.extend(&chunk[..len]);
        while let Some((body, taken)) = deframe(&buffer).expect("frame") {
            if passes(body) && to.write_all(&buffer[..taken]).is_err() {
                return;
            }
            buffer.drain(..taken);
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn ask(seen: &Mutex<Seen>, body: &[u8]) -> bool {
    if let Request::Lookup { spi } = decode_request(body).expect("request") {
        seen.lock().unwrap().asked.push(spi.get());
    }
    true
}

fn answer(seen: &Mutex<Seen>, body: &[u8]) -> bool {
    let Update::Issued(record) = decode_update(body).expect("update") else { return true };
    let (mut seen, spi) = (seen.lock().unwrap(), record.spi.get());
    let asked = !seen.loses || seen.asked.contains(&spi);
    if !asked {
        seen.lost.insert(spi);
    }
    asked
}

/// A lab whose daemons talk through a relay.
fn relayed(name: &str, loses: bool) -> (TestLab, Arc<Mutex<Seen>>) {
    let at = |run: &Path| run.join("relay.sock");
    let mut lab = TestLab::prepare_with(name, |options| {
        options.tuning.directory = Some(at(&options.files.run));
        options.mobile_nodes = 2;
    });
    lab.start_hac().unwrap();
    let files = &lab.options.files;
    let seen = relay(&at(&files.run), files.directory_socket(), loses);
    lab.start_hearthd().unwrap();
    (lab, seen)
}

/// ENC-15.
#[test]
fn a_binding_update_under_an_sa_that_was_never_pushed_waits_for_the_hacs_answer() {
    let (lab, seen) = relayed("sa-lookup", true);
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    let tuning = NodeTuning { retransmit_after: 0.5, ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &tuning).unwrap();
    let status = node.registered_at(Visited::Net6, PATIENCE).unwrap();

    let spi = status.spi.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.lost.contains(&spi), "hearthd had the SA before it asked");
    assert_eq!(seen.asked, [spi]);
    drop(seen);
    // The first Binding Update waited, and was accepted.
    assert_eq!(status.bootstraps.len(), 1);
    assert_eq!((status.registrations[0].tries, status.registrations[0].status), (1, 0));
    assert_eq!(lab.dropped("spi_unknown"), 0);
    lab.ping_both(&who);
    node.stop().unwrap();
}

/// Frames that nobody seals, under SPIs that could be, until the other end is dropped.
fn flood(lab: &TestLab) -> (Sender<()>, JoinHandle<u64>) {
    let socket = packet::socket(&lab.network.mobile_nodes[1], (HA6, HA_PORT).into());
    let (stop, stopped) = channel();
    let flooding = thread::spawn(move || {
        let mut sent = 0;
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            for _ in 0..10 {
                // Every SPI of the range once before any comes again.
                let spi = u32::try_from(sent * 1237 % 4096).unwrap();
                let mut frame = vec![0x5a; 88];
                frame[..4].copy_from_slice(&(8 << 28 | (spi + 1)).to_be_bytes());
                // One that does not leave is none.
                let _ = socket.send(&frame);
                sent += 1;
            }
            thread::sleep(Duration::from_millis(2));
        }
        sent
    });
    (stop, flooding)
}

/// SA-12: somebody invents SPIs. The HAC is asked a hundred times a second at most, and who has an SA
/// is served as ever.
#[test]
fn sa_12_a_flood_of_invented_spis_neither_reaches_the_hac_nor_hurts_anybody() {
    let (lab, seen) = relayed("sa-flood", false);
    lab.network.attach(1, Visited::Net6).unwrap();
    let begun = Instant::now();
    let (stop, flooding) = flood(&lab);
    wait::until("a question", PATIENCE, || {
        Ok((!seen.lock().unwrap().asked.is_empty()).then_some(()))
    })
    .unwrap();
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    wait::until("a flood", PATIENCE, || Ok((lab.dropped("spi_unknown") > 2000).then_some(())))
        .unwrap();
    drop(stop);
    let (sent, took) = (flooding.join().unwrap(), begun.elapsed());
    let asked = seen.lock().unwrap().asked.len();
    println!("{sent} frames and {asked} questions in {took:?}");
    assert!(asked as u128 <= took.as_millis() / 10 + 1, "{asked} in {took:?}");
    assert_eq!(node.status().unwrap().bootstraps.len(), 1);
    node.stop().unwrap();
}
