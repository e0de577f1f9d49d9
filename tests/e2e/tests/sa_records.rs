//! SA records that must not be installed (ENC-21), and an SA that has carried too much (ENC-30).
//!
//! ```text
//!  hearth-mn: this test as mobile node --[visit6]-- hearth-net6 --[access]-- hearth-ha
//!                                              this test as HAC --[socket]-- hearth-ha
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use hearth_api::CounterRow;
use hearth_e2e::{
    PATIENCE, TestLab,
    packet::{self, HEADER, IPV6, Sealer, udp6},
};
use hearth_lab::{
    plan::{CN6, HA_PORT, HA6, Visited},
    wait,
};
use hearth_wire::{
    MobileNodeId, Scope, Spi, Suite,
    directory::{DirectionKeys, SaRecord, Services, Update, encode_update},
    exthdr,
    mh::{self, BindingUpdate, BuFlags, BuOptions, Message},
};

const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 0x10);
/// An octet of a key, in decimal and in hex no other word of a log.
const KEY: u8 = 0xd7;

fn keys(suite: Suite) -> DirectionKeys {
    let key = |len| vec![KEY; len].into_boxed_slice();
    DirectionKeys::new(suite, key(suite.ikey_len()), key(suite.ekey_len())).unwrap()
}

/// A record as the HAC would send it.
fn record(spi: u32, suite: Suite) -> Vec<u8> {
    let hour = SystemTime::now() + Duration::from_secs(3600);
    let record = SaRecord {
        spi: Spi::new(spi).unwrap(),
        mn_id: MobileNodeId::new(&format!("mn{spi}@example.net")).unwrap(),
        home_agent: "lab".into(),
        suite,
        scope: Scope::SignallingAndData,
        mn_to_ha: keys(suite),
        ha_to_mn: keys(suite),
        validity_end: hour.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
        home_address: Ipv6Addr::from_bits(HOME.to_bits() + u128::from(spi)),
        ipv4_home_address: None,
        ha_address: HA6,
        generation: 1,
        services: Services::default(),
    };
    encode_update(&Update::Issued(Box::new(record))).unwrap().to_vec()
}

/// The same with another suite's code: the keys stay as they are.
fn relabelled(spi: u32, suite: Suite, code: [u8; 2]) -> Vec<u8> {
    let mut frame = record(spi, suite);
    let [high, low] = suite.code();
    let at = frame.windows(3).position(|octets| octets == [high, low, 1]).unwrap();
    frame[at..at + 2].copy_from_slice(&code);
    frame
}

/// A directory that answers every watch with these frames, and nothing else.
fn directory(at: &Path, frames: Vec<Vec<u8>>) -> JoinHandle<UnixStream> {
    let listener = UnixListener::bind(at).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        for frame in frames {
            stream.write_all(&frame).unwrap();
        }
        stream.write_all(&encode_update(&Update::Synced(None)).unwrap()).unwrap();
        stream
    })
}

/// hearthd with a directory of the test's own.
fn with_directory(name: &str, frames: Vec<Vec<u8>>) -> (TestLab, UnixStream) {
    let socket = |run: &Path| run.join("test.sock");
    let mut lab = TestLab::prepare_with(name, |options| {
        options.tuning.directory = Some(socket(&options.files.run));
    });
    let directory = directory(&socket(&lab.options.files.run), frames);
    lab.start_hearthd().unwrap();
    let stream = directory.join().unwrap();
    (lab, stream)
}

fn counter(lab: &TestLab, name: &str) -> u64 {
    let rows = lab.show::<CounterRow>("counters").unwrap();
    rows.iter().find(|row| row.counter == name).expect("a counter of this name").count
}

/// ENC-21: each is refused by itself, with an alarm, and what is good is installed.
#[test]
fn a_record_without_integrity_is_refused_with_an_alarm() {
    let (lab, _directory) = with_directory(
        "sa-refused",
        vec![
            record(1, Suite::Aes128CbcSha),
            // NULL_WITH_NULL_NULL, AES_256_GCM_SHA384, NULL_SHA256 with the keys of NULL_SHA.
            relabelled(2, Suite::NullSha, [0, 0]),
            relabelled(3, Suite::Aes128CbcSha, [0, 0x9d]),
            relabelled(4, Suite::NullSha, [0, 0x3b]),
            record(5, Suite::Aes128CbcSha),
        ],
    );
    let installed = || lab.sas().unwrap().iter().map(|row| row.spi).collect::<Vec<_>>();
    wait::until("both SAs", PATIENCE, || Ok((installed() == [1, 5]).then_some(()))).unwrap();
    assert_eq!(counter(&lab, "sa_records_refused"), 3);
    let refused = |log: &str| log.matches("SA record refused").count() == 3;
    let log = lab.hearthd_log("three refused records", refused);
    let alarms: Vec<_> = log.lines().filter(|line| line.contains("SA record refused")).collect();
    assert_eq!(alarms.len(), 3, "{log}");
    for (alarm, words) in alarms.iter().zip(["unknown ciphersuite", "unknown ciphersuite", "key"]) {
        assert!(alarm.contains("ERROR") && alarm.contains(words), "{alarm}");
    }
    for secret in ["215, 215", "d7d7", "D7D7"] {
        assert!(!log.contains(secret), "a key is in the log");
    }
}

/// A mobile node that counts as it likes.
struct Node {
    up: Sealer,
    down: Sealer,
    home: Ipv6Addr,
    to_ha: UdpSocket,
}

impl Node {
    fn new(lab: &TestLab, spi: u32) -> Self {
        let keys = keys(Suite::Aes128CbcSha);
        let to_ha = packet::socket(&lab.network.mobile_nodes[0], (HA6, HA_PORT).into());
        to_ha.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self {
            up: Sealer::new(spi, &keys),
            down: Sealer::new(spi, &keys),
            home: Ipv6Addr::from_bits(HOME.to_bits() + u128::from(spi)),
            to_ha,
        }
    }

    fn send(&self, ptype: u8, seq: u32, payload: &[u8], next_header: u8) {
        self.to_ha.send(&self.up.seal(ptype, seq, payload, next_header)).unwrap();
    }

    /// Sends a Binding Update and gives the status that answers it.
    fn update(&self, seq: u32, number: u16) -> u8 {
        self.send_update(seq, number);
        let answer = self.receive();
        assert_eq!(answer[2], mh::mh_type::BA, "{answer:?}");
        answer[6]
    }

    fn send_update(&self, seq: u32, number: u16) {
        let update = Message::BindingUpdate(BindingUpdate {
            seq: number,
            flags: BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() },
            lifetime: 100,
            options: BuOptions::default(),
        });
        let mut header = [0; 128];
        let len = mh::emit(&update, self.home, HA6, &mut header).unwrap();
        let options = exthdr::home_address_header(mh::PROTO, self.home);
        let payload = [&options[..], &header[..len]].concat();
        self.send(8, seq, &payload, exthdr::DESTINATION_OPTIONS);
    }

    /// The Mobility Header of the next PType 8 packet.
    fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let len = self.to_ha.recv(&mut buffer).expect("signalling");
        assert_eq!(buffer[0] >> 4, 8);
        let text = self.down.open(&buffer[..len]).expect("ICV");
        assert!(text.len() > 24 + HEADER);
        // Behind the type 2 routing header.
        text[24..].to_vec()
    }
}

/// ENC-30, R-23, R-31: at 2^31 the home agent invites a refresh, and answers it by status 176; what
/// is registered stays so, and the SA works on.
#[test]
fn an_sa_near_its_last_number_is_to_be_replaced() {
    let (lab, _directory) = with_directory("sa-worn", vec![record(1, Suite::Aes128CbcSha)]);
    lab.network.attach(0, Visited::Net6).unwrap();
    wait::until("the SA", PATIENCE, || Ok((lab.sas().unwrap().len() == 1).then_some(()))).unwrap();
    let node = Node::new(&lab, 1);
    let at_cn = lab.network.cn.enter(|| UdpSocket::bind((CN6, 0))).unwrap().unwrap();
    at_cn.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let port = at_cn.local_addr().unwrap().port();
    let data = |seq: u32| {
        node.send(1, seq, &udp6((node.home, 4000), (CN6, port), &seq.to_be_bytes()), IPV6);
        let mut text = [0; 4];
        at_cn.recv(&mut text).expect("data");
        assert_eq!(u32::from_be_bytes(text), seq);
    };

    assert_eq!(node.update(0, 1), 0);
    data(0x7fff_fffe);
    data(0x7fff_ffff);
    assert_eq!(node.receive()[2], mh::mh_type::BRR);
    let before = lab.bindings().unwrap().remove(0);
    assert_eq!(node.update(0x8000_0000, 2), 176);
    let after = lab.bindings().unwrap().remove(0);
    // A rejection changes nothing (R-31), and comes once in a binding's lifetime.
    assert_eq!((before.sequence, after.sequence), (1, 1));
    assert_eq!(node.update(0x8000_0001, 3), 0);
    data(0x8000_0002);
    // To the last number, and not round.
    data(u32::MAX);
    node.send(1, 0, &udp6((node.home, 4000), (CN6, port), b"round"), IPV6);
    lab.expect_dropped("replay_too_old", 1);
}

/// SA-10: within a second nothing is accepted any more under an SA that the HAC revokes, and the
/// binding is gone.
#[test]
fn sa_10_what_the_hac_revokes_is_gone_within_a_second() {
    let records = vec![record(1, Suite::Aes128CbcSha)];
    let (lab, mut directory) = with_directory("sa-revoked", records);
    lab.network.attach(0, Visited::Net6).unwrap();
    wait::until("the SA", PATIENCE, || Ok((lab.sas().unwrap().len() == 1).then_some(()))).unwrap();
    let node = Node::new(&lab, 1);
    node.to_ha.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // Repeated as a mobile node does it: routes and neighbours may have to be learnt first.
    let mut number = 0;
    wait::until("an answer", PATIENCE, || {
        number += 1;
        node.send_update(number.into(), number);
        Ok(node.to_ha.recv(&mut [0; 2048]).ok())
    })
    .unwrap();
    let revoked = encode_update(&Update::Revoked(Spi::new(1).unwrap())).unwrap();
    directory.write_all(&revoked).unwrap();
    let begun = Instant::now();
    // As long as the SA is there, each Binding Update is answered.
    let mut last_answer = Duration::ZERO;
    loop {
        number += 1;
        node.send_update(number.into(), number);
        if node.to_ha.recv(&mut [0; 2048]).is_ok() {
            last_answer = begun.elapsed();
            assert!(last_answer < Duration::from_secs(1), "still accepted");
        } else if lab.sas().unwrap().is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the SA is still there");
    }
    println!("last answered {last_answer:?} after the revocation");
    assert!(lab.sas().unwrap().is_empty() && lab.bindings().unwrap().is_empty());
}
