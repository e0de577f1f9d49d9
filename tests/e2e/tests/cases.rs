//! Conformance cases over the wire: the same files that the core is tested with, in which nothing
//! takes time, with the lab's addresses and packets that Scapy builds.
//!
//! ```text
//!  hearth-mn: this test as mobile nodes --[visit6]-- hearth-net6 --[access]-- hearth-ha
//!                                                this test as HAC --[socket]-- hearth-ha
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use hearth_conformance::case::{self, Case, Head, Octets};
use hearth_e2e::{
    PATIENCE, TestLab,
    cases::{Wired, WiredSa, WiredStep, Wiring, is_playable, words},
    packet::Sealer,
};
use hearth_lab::{
    plan::{HA_PORT, HA6, Visited},
    wait,
};
use hearth_wire::{
    MobileNodeId, Scope, Spi, Suite,
    directory::{DirectionKeys, SaRecord, Update, encode_update},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../control/home-agent/tests/cases");

/// What the last SA is asked until it answers: then all before it are in use.
const LAST: &str = "\
DRG-02 S RFC 6275 s.10.3.2
No binding
given sa 1 a
> BU(seq=1 lt=0 AH) HaO from [2001:db8:1::c]:5000 under 1
< BA(status=133 seq=1 lt=0) RH2 to [2001:db8:1::c]:5000 under 1
";

fn keys() -> DirectionKeys {
    let suite = Suite::Aes128CbcSha;
    let key = |len| vec![0x5a; len].into_boxed_slice();
    DirectionKeys::new(suite, key(suite.ikey_len()), key(suite.ekey_len())).unwrap()
}

fn record(sa: &WiredSa) -> Vec<u8> {
    let hour = SystemTime::now() + Duration::from_secs(3600);
    let record = SaRecord {
        spi: Spi::new(sa.spi).unwrap(),
        mn_id: MobileNodeId::new(&sa.mn_id).unwrap(),
        home_agent: "lab".into(),
        suite: Suite::Aes128CbcSha,
        scope: Scope::SignallingAndData,
        mn_to_ha: keys(),
        ha_to_mn: keys(),
        validity_end: hour.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
        home_address: sa.home,
        ipv4_home_address: sa.home4,
        ha_address: HA6,
        generation: u64::from(sa.spi),
        services: sa.services.clone(),
    };
    encode_update(&Update::Issued(Box::new(record))).unwrap().to_vec()
}

/// A directory that has nothing when the watch begins.
fn directory(at: &Path) -> JoinHandle<UnixStream> {
    let listener = UnixListener::bind(at).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(&encode_update(&Update::Synced(None)).unwrap()).unwrap();
        stream
    })
}

/// All mobile nodes of all cases.
struct Nodes {
    lab: TestLab,
    sockets: HashMap<SocketAddr, UdpSocket>,
    numbers: HashMap<u32, u32>,
}

impl Nodes {
    fn socket(&mut self, from: SocketAddr) -> &UdpSocket {
        let namespace = &self.lab.network.mobile_nodes[0];
        self.sockets.entry(from).or_insert_with(|| {
            let open = || {
                let socket = UdpSocket::bind(from)?;
                socket.connect((HA6, HA_PORT))?;
                socket.set_read_timeout(Some(Duration::from_secs(5)))?;
                Ok::<_, std::io::Error>(socket)
            };
            namespace.enter(open).unwrap().unwrap_or_else(|error| panic!("{from}: {error}"))
        })
    }

    fn send(&mut self, from: SocketAddr, spi: u32, octets: &Octets) {
        let Head::Next(next_header) = octets.head else { panic!("no signalling") };
        let number = self.numbers.entry(spi).or_default();
        let frame = Sealer::new(spi, &keys()).seal(8, *number, &octets.payload, next_header);
        *number += 1;
        self.socket(from).send(&frame).unwrap();
    }

    fn receive(&mut self, at: SocketAddr, spi: u32) -> Option<Octets> {
        let mut buffer = [0; 2048];
        let len = match self.socket(at).recv(&mut buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{at}: {error}"),
        };
        assert_eq!(buffer[..4], (8 << 28 | spi).to_be_bytes(), "PType and SPI");
        let mut text = Sealer::new(spi, &keys()).open(&buffer[..len]).expect("ICV");
        let (next_header, padding) = (text.pop().unwrap(), text.pop().unwrap());
        text.truncate(text.len() - usize::from(padding));
        Some(Octets { head: Head::Next(next_header), payload: text })
    }

    /// Sends the packet of a case again and again, as a mobile node would, until it is answered.
    fn wait_for(&mut self, last: &Wired) {
        let [WiredStep::Packet { from, spi, octets, .. }] = &last.steps[..] else {
            panic!("one packet");
        };
        let short = Some(Duration::from_millis(500));
        self.socket(*from).set_read_timeout(short).unwrap();
        wait::until("the first answer", PATIENCE, || {
            self.send(*from, *spi, octets);
            Ok(self.receive(*from, *spi).map(drop))
        })
        .unwrap();
        // Late answers to what was sent in vain.
        while self.receive(*from, *spi).is_some() {}
        self.socket(*from).set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }

    fn play(&mut self, wired: &Wired) {
        let name = &wired.name;
        for step in &wired.steps {
            match step {
                WiredStep::Packet { line, from, spi, octets, answer, refused } => {
                    let place = format!("{name}:{line}");
                    let counter = refused.as_ref().map(|name| format!("signalling_{name}"));
                    let before = counter.as_ref().map(|counter| self.lab.dropped(counter));
                    self.send(*from, *spi, octets);
                    if let (Some(counter), Some(before)) = (counter, before) {
                        self.lab.expect_dropped(&counter, before + 1);
                    }
                    self.answered(&place, (*from, *spi), answer.as_ref(), refused.is_some());
                }
                WiredStep::State { line, home, bound } => {
                    let rows = self.lab.bindings().unwrap();
                    let row = rows.iter().find(|row| row.home_address == *home);
                    let got = row.map(|row| {
                        let at = SocketAddr::new(row.care_of_address, row.care_of_port);
                        (at, row.sequence)
                    });
                    match bound {
                        None => assert_eq!(got, None, "{name}:{line}"),
                        Some((at, seq)) => {
                            let (got_at, got_seq) = got.unwrap_or_else(|| panic!("{name}:{line}"));
                            assert_eq!(at.unwrap_or(got_at), got_at, "{name}:{line}");
                            assert_eq!(seq.unwrap_or(got_seq), got_seq, "{name}:{line}");
                        }
                    }
                }
            }
        }
    }

    /// The answer, octet by octet, or silence; `counted` says that the packet has been dealt with.
    fn answered(
        &mut self,
        place: &str,
        (at, spi): (SocketAddr, u32),
        answer: Option<&(String, Octets)>,
        counted: bool,
    ) {
        let Some((expected, octets)) = answer else {
            assert!(counted, "{place}: neither answered nor counted");
            self.socket(at).set_nonblocking(true).unwrap();
            let got = self.receive(at, spi);
            self.socket(at).set_nonblocking(false).unwrap();
            assert!(got.is_none(), "{place}: answered by {}", words(&got.unwrap()));
            return;
        };
        let got = self.receive(at, spi);
        let got = got.unwrap_or_else(|| {
            let drops = self.lab.drops().unwrap();
            let drops: Vec<_> = drops.iter().filter(|row| row.packets > 0).collect();
            panic!("{place}: no {expected}; dropped: {drops:?}")
        });
        assert_eq!(got, *octets, "{place}\n  expected {expected}\n       got {}\n", words(&got));
    }
}

#[test]
fn the_cases_of_the_core_over_the_wire() {
    let files = case::files(Path::new(FOLDER)).unwrap();
    let mut cases: Vec<_> = files.iter().map(|file| Case::read(file).unwrap()).collect();
    cases.retain(is_playable);
    assert!(cases.len() >= 25, "{} cases", cases.len());
    let wiring = Wiring::new(&cases);
    cases.push(Case::parse(Path::new("last.case"), LAST).unwrap());
    let mut wired = wiring.wire(&cases).unwrap();

    let socket = |run: &Path| run.join("test.sock");
    let mut lab = TestLab::prepare_with("cases", |options| {
        options.tuning.directory = Some(socket(&options.files.run));
    });
    let directory = directory(&socket(&lab.options.files.run));
    lab.start_hearthd().unwrap();
    let mut directory = directory.join().unwrap();
    lab.network.attach(0, Visited::Net6).unwrap();
    for address in wiring.care_of_addresses() {
        let interface = Visited::Net6.interface();
        let add = format!("addr add {address}/64 dev {interface} nodad");
        lab.network.mobile_nodes[0].ip(&add).unwrap();
    }
    let sas = wired.iter().flat_map(|case| &case.sas);
    let spis: Vec<_> = sas.clone().map(|sa| sa.spi).collect();
    for sa in sas {
        directory.write_all(&record(sa)).unwrap();
    }
    wait::until("all SAs", PATIENCE, || Ok((lab.sas()?.len() == spis.len()).then_some(())))
        .unwrap();

    // The first packet on a path may be lost while it is looked for; a mobile node sends it again.
    for address in wiring.care_of_addresses() {
        let node = &lab.network.mobile_nodes[0];
        let answered = || Ok((lab.ping(node, address.into(), HA6.into(), 1)? == 1).then_some(()));
        wait::until("the path", PATIENCE, answered).unwrap();
    }

    let mut nodes = Nodes { lab, sockets: HashMap::new(), numbers: HashMap::new() };
    nodes.wait_for(&wired.pop().unwrap());
    for case in &wired {
        println!("{}", case.name);
        nodes.play(case);
    }
}
