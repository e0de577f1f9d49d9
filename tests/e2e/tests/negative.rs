//! Packets that somebody sends who should not: each is dropped for its own reason, once, nothing
//! comes back, and window and binding stay as they were.
//!
//! ```text
//!  hearth-mn: hearth-mn stopped, this test in its place
//!      --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn: a UDP socket
//! ```
//!
//! ENC rows are those of the conformance table. The mobile node registers, is stopped, and the test
//! goes on with its keys, which it has from the SA directory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use hearth_api::{BindingRow, SaRow};
use hearth_e2e::{
    TestLab, directory,
    packet::{self, BLOCK, HEADER, ICV, IPV6, Sealer, header, trailed, udp6},
    payload,
};
use hearth_lab::{
    capture::Capture,
    netns::{output, run},
    node::MobileNode,
    plan::{CN6, HA_PORT, HA6, Subscriber, Visited},
};
use hearth_wire::suite::Suite;
use rustix::process::Signal;

/// A registered mobile node that has been stopped, and what it takes to speak for it.
struct Forger {
    lab: TestLab,
    who: Subscriber,
    node: MobileNode,
    up: Sealer,
    down: Sealer,
    spi: u32,
    to_ha: UdpSocket,
    at_cn: UdpSocket,
    seq: u32,
    binding: BindingRow,
}

impl Forger {
    fn new(name: &str, scope: u8) -> Self {
        let lab = TestLab::up(name);
        let who = lab.subscriber(Suite::Aes128CbcSha, scope);
        let node = lab.register(&who, Visited::Net6);
        node.program.signal(Signal::STOP);
        let spi = node.status().unwrap().spi.unwrap();
        let record = directory::record(&lab.options.files.directory_socket(), spi);
        let at_cn = lab.network.cn.enter(|| UdpSocket::bind((CN6, 0))).unwrap().unwrap();
        at_cn.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let to_ha = packet::socket(&lab.network.mobile_nodes[0], (HA6, HA_PORT).into());
        let binding = lab.bindings().unwrap().remove(0);
        Self {
            up: Sealer::new(spi, &record.mn_to_ha),
            down: Sealer::new(spi, &record.ha_to_mn),
            // Behind everything that the node itself has sent.
            seq: 500,
            lab,
            who,
            node,
            spi,
            to_ha,
            at_cn,
            binding,
        }
    }

    fn next_seq(&mut self) -> u32 {
        self.seq += 1;
        self.seq
    }

    /// An inner packet to the correspondent.
    fn inner(&self, text: &[u8]) -> Vec<u8> {
        self.inner_from(self.who.home6, text)
    }

    fn inner_from(&self, source: Ipv6Addr, text: &[u8]) -> Vec<u8> {
        udp6((source, 4000), (CN6, self.at_cn.local_addr().unwrap().port()), text)
    }

    fn send(&self, frame: &[u8]) {
        self.to_ha.send(frame).unwrap();
    }

    /// Sends frames that must all be dropped for one reason, once each.
    fn refused(&self, what: &str, reason: &str, frames: &[Vec<u8>]) {
        let before = self.lab.dropped(reason);
        let total = self.total();
        let window = self.sa().highest_sequence;
        for frame in frames {
            self.send(frame);
        }
        let count = frames.len() as u64;
        println!("{what}: {count} x {reason}");
        self.lab.expect_dropped(reason, before + count);
        assert_eq!(self.total(), total + count, "{what}: counted once, for one reason");
        assert_eq!(self.sa().highest_sequence, window, "{what}: the window moved");
        let binding = self.lab.bindings().unwrap().remove(0);
        assert_eq!(
            (binding.care_of_address, binding.care_of_port, binding.sequence),
            (self.binding.care_of_address, self.binding.care_of_port, self.binding.sequence),
            "{what}: the binding moved"
        );
        self.to_ha.set_nonblocking(true).unwrap();
        // An answer, or an ICMP error, would be here: the counter came after it.
        let answer = self.to_ha.recv(&mut [0; 2048]).unwrap_err();
        assert_eq!(answer.kind(), std::io::ErrorKind::WouldBlock, "{what}: answered");
        let mut explain = self.lab.options.programs.command("hearth").unwrap();
        explain.arg("--socket").arg(self.lab.options.files.api_socket()).args(["explain", reason]);
        let said = String::from_utf8(output(&mut explain).unwrap().stdout).unwrap();
        let counted = format!("{reason}: {} packets\n", before + count);
        assert!(said.starts_with(&counted) && said.contains("\n  remedy  "), "{what}: {said}");
    }

    /// Sends a frame that the correspondent must get, with this text.
    fn accepted(&self, what: &str, frame: &[u8], text: &[u8]) {
        self.send(frame);
        let mut buffer = [0; 2048];
        let (len, from) = self.at_cn.recv_from(&mut buffer).expect(what);
        assert_eq!(&buffer[..len], text, "{what}");
        assert_eq!(from, SocketAddr::from((self.who.home6, 4000)), "{what}");
    }

    fn sa(&self) -> SaRow {
        self.lab.sas().unwrap().into_iter().find(|row| row.spi == self.spi).unwrap()
    }

    fn total(&self) -> u64 {
        self.lab.drops().unwrap().iter().map(|row| row.packets).sum()
    }

    /// The node goes on and its binding is still good.
    fn end(mut self) {
        self.node.program.signal(Signal::CONT);
        self.lab.ping_both(&self.who);
        self.node.stop().unwrap();
    }
}

#[test]
fn envelopes_that_are_wrong_in_themselves() {
    let mut forger = Forger::new("negative-envelope", 1);
    let inner = forger.inner(b"never");

    // ENC-04: with valid SPI and ICV.
    let unregistered: Vec<_> = (2..=7)
        .chain(9..=15)
        .map(|ptype| {
            let seq = forger.next_seq();
            forger.up.seal(ptype, seq, &inner, IPV6)
        })
        .collect();
    forger.refused("ENC-04", "ptype_unregistered", &unregistered);

    let seq = forger.next_seq();
    let with_spi = |ptype, spi: u32| {
        let mut frame = forger.up.seal(ptype, seq, &inner, IPV6);
        frame[..HEADER].copy_from_slice(&header(ptype, spi, seq));
        forger.up.authenticate(frame[..frame.len() - ICV].to_vec())
    };
    forger.refused("ENC-05", "signalling_spi_zero", &[with_spi(8, 0)]);
    forger.refused("ENC-06", "protected_spi_zero", &[with_spi(1, 0)]);
    let plain = |spi, seq| [header(0, spi, seq), inner.clone()].concat();
    forger.refused("ENC-07", "plain_spi_not_zero", &[plain(forger.spi, 0), plain(9, 7)]);
    forger.refused("ENC-08", "plain_sequence_not_zero", &[plain(0, 1)]);
    // R-25: this SA's scope is 1.
    forger.refused("scope 1", "plain_data_forbidden", &[plain(0, 0)]);
    let unknown = forger.spi + 1;
    forger.refused("ENC-14", "spi_unknown", &[with_spi(1, unknown), with_spi(8, 4000)]);

    // ENC-25.
    let short: Vec<_> = (0..8).map(|len| header(1, forger.spi, seq)[..len].to_vec()).collect();
    forger.refused("ENC-25, no header", "frame_short", &short);
    let authentic =
        |len| forger.up.authenticate([header(1, forger.spi, seq), vec![0; len]].concat());
    let no_room = [authentic(0), authentic(BLOCK - 1), authentic(BLOCK), authentic(2 * BLOCK - 1)];
    forger.refused("ENC-25, no IV or no block", "frame_short", &no_room);
    let ragged = [authentic(2 * BLOCK + 1), authentic(3 * BLOCK - 1)];
    forger.refused("ENC-25, ragged", "frame_not_whole_blocks", &ragged);
    forger.end();
}

#[test]
fn forgeries_and_mutants() {
    let mut forger = Forger::new("negative-forgery", 1);
    let seq = forger.next_seq();
    let text = b"the original";
    let original = forger.up.seal(1, seq, &forger.inner(text), IPV6);
    let end = original.len();

    // ENC-16: one bit in turn of every field.
    let flip = |octet: usize, bit: u8| {
        let mut mutant = original.clone();
        mutant[octet] ^= 1 << bit;
        mutant
    };
    forger.refused("ENC-16, PType", "ptype_unregistered", &[flip(0, 5)]);
    forger.refused("ENC-16, SPI", "spi_unknown", &[flip(3, 7), flip(1, 0)]);
    let sequence: Vec<_> = (4..8).map(|octet| flip(octet, 1)).collect();
    forger.refused("ENC-16, sequence", "icv_mismatch", &sequence);
    let body: Vec<_> = (HEADER..end).map(|octet| flip(octet, 3)).collect();
    forger.refused("ENC-16, IV to ICV", "icv_mismatch", &body);

    // ENC-17: PType 1 made 8 and back.
    let relabelled = [(1, 8), (8, 1)].map(|(from, to)| {
        let mut frame = forger.up.seal(from, seq, &forger.inner(text), IPV6);
        frame[0] = to << 4 | frame[0] & 0x0f;
        frame
    });
    forger.refused("ENC-17", "icv_mismatch", &relabelled);
    // ENC-18: what the home agent itself could have sent.
    let reflected = forger.down.seal(1, seq, &forger.inner(text), IPV6);
    forger.refused("ENC-18", "icv_mismatch", &[reflected]);
    // ENC-29: far ahead, and then the normal one.
    let mut far = forger.up.seal(1, seq + 1_000_000, &forger.inner(text), IPV6);
    far[end - 1] ^= 1;
    forger.refused("ENC-29", "icv_mismatch", &[far]);
    forger.accepted("ENC-16 and ENC-29, the original", &original, text);
    forger.end();
}

#[test]
fn authentic_packets_with_a_wrong_inside() {
    let mut forger = Forger::new("negative-inside", 1);
    // These pass the ICV, so they move the window; `refused` would say so.
    let mut drop = |what: &str, reason: &str, text: &[u8]| {
        let seq = forger.next_seq();
        let (before, total) = (forger.lab.dropped(reason), forger.total());
        forger.send(&forger.up.seal_text(1, seq, text));
        println!("{what}: {reason}");
        forger.lab.expect_dropped(reason, before + 1);
        assert_eq!(forger.total(), total + 1, "{what}: counted once, for one reason");
    };
    // ENC-24, and R-22.
    drop("ENC-24", "pad_length", &[[0; 30].as_slice(), &[31, IPV6]].concat());
    drop("padding 0, 0, ...", "padding", &[[0; 30].as_slice(), &[4, IPV6]].concat());
    let whole = |payload: &[u8], next_header| {
        let padding = (0..16).find(|p| (payload.len() + usize::from(*p) + 2).is_multiple_of(BLOCK));
        trailed(payload, padding.unwrap(), next_header)
    };
    let home = "2001:db8:b:1::10".parse::<Ipv6Addr>().unwrap();
    let inner = |source| udp6((source, 4000), (CN6, 9), b"never");
    drop("next header 17", "data_next_header", &whole(&inner(home), 17));
    drop("next header 59", "dummy_packet", &whole(&inner(home), 59));
    drop("IPv6 as IPv4", "inner_version", &whole(&inner(home), 4));
    let cut = &inner(home)[..45];
    drop("cut short", "inner_length", &whole(cut, IPV6));
    // R-27: another subscriber's home address, the care-of address, the correspondent itself.
    for stranger in ["2001:db8:b:1::11", "2001:db8:6::100", "2001:db8:c::2"] {
        let source = stranger.parse().unwrap();
        drop("inner source", "inner_source", &whole(&inner(source), IPV6));
    }
    assert_eq!(forger.who.home6, home);
    forger.end();
}

#[test]
fn replays() {
    let mut forger = Forger::new("negative-replay", 1);
    // ENC-27 and ENC-28.
    forger.seq = 5000;
    let sealed = |forger: &Forger, seq: u32| {
        let text = seq.to_string();
        (forger.up.seal(1, seq, &forger.inner(text.as_bytes()), IPV6), text)
    };
    for seq in [5000, 4998, 4999, 4990, 5001] {
        let (frame, text) = sealed(&forger, seq);
        forger.accepted("ENC-28, inside the window", &frame, text.as_bytes());
    }
    for seq in [5000, 4998, 4990, 5001] {
        forger.refused("ENC-27", "replayed", &[sealed(&forger, seq).0]);
    }
    let old = [sealed(&forger, 5001 - 1024).0, sealed(&forger, 0).0];
    forger.refused("ENC-28, left of the window", "replay_too_old", &old);
    let (edge, text) = sealed(&forger, 5001 - 1023);
    forger.accepted("ENC-28, the window's last", &edge, text.as_bytes());
    // The mobile node's own numbers are left of the window now; it has nothing to say any more.
    forger.node.program.crash().unwrap();
}

/// ENC-27 with the mobile node's own packets, its Binding Update among them, as somebody on the
/// path records and repeats them. Of these, some are older than the forged ones are new.
#[test]
fn recorded_packets_of_the_mobile_node() {
    let lab = TestLab::up("negative-recorded");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let path = lab.options.files.dir.join("access.pcapng");
    let capture = Capture::start(&lab.network.net6, "access", &path).unwrap();
    let node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    node.program.signal(Signal::STOP);
    let all = payload::of(&capture.finish().unwrap());
    let (up, down): (Vec<_>, Vec<_>) = all.into_iter().partition(|d| d.to_home_agent);
    assert!(up.iter().any(|d| d.ptype() == 8) && up.iter().any(|d| d.ptype() == 1));

    let before = lab.bindings().unwrap();
    let socket = packet::socket(&lab.network.mobile_nodes[0], (HA6, HA_PORT).into());
    for datagram in &up {
        socket.send(&datagram.payload).unwrap();
    }
    lab.expect_dropped("replayed", up.len() as u64);
    // ENC-18 with real packets: what the home agent sent, sent back to it. Each number of it is
    // either used in this direction, or fails the ICV.
    for datagram in &down {
        socket.send(&datagram.payload).unwrap();
    }
    let count = (up.len() + down.len()) as u64;
    let sum = || lab.dropped("replayed") + lab.dropped("icv_mismatch");
    hearth_lab::wait::until("all of them", Duration::from_secs(3), || {
        Ok((sum() == count).then_some(()))
    })
    .unwrap();
    let after = lab.bindings().unwrap();
    assert_eq!(
        (before[0].sequence, before[0].care_of_port),
        (after[0].sequence, after[0].care_of_port)
    );
    socket.set_nonblocking(true).unwrap();
    let answer = socket.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(answer.kind(), std::io::ErrorKind::WouldBlock, "an answer to a replay");
    node.program.signal(Signal::CONT);
    lab.ping_both(&who);
}

/// R-40 and R-26, from Scapy: it writes the outer headers as it is told.
#[test]
fn outer_headers_by_scapy() {
    let forger = Forger::new("negative-outer", 0);
    let inner = forger.inner(b"never");
    let frame: String =
        [header(0, 0, 0), inner].concat().iter().map(|o| format!("{o:02x}")).collect();
    let scapy = |udp: &str| {
        let script = format!(
            "from scapy.all import *\n\
             conf.verb = 0\n\
             ip = IPv6(src='2001:db8:6::100', dst='{HA6}')\n\
             send(ip / UDP({udp}, dport={HA_PORT}) / Raw(bytes.fromhex('{frame}')))\n"
        );
        let python = &mut forger.lab.network.mobile_nodes[0].command("/usr/bin/python3");
        run(python.args(["-c", &script])).unwrap();
    };
    let port = forger.binding.care_of_port;
    for (udp, reason) in [
        (format!("sport={port}, chksum=0"), "udp_checksum_zero"),
        (format!("sport={port}, chksum=0x1234"), "udp_checksum"),
        (format!("sport={port}, len=9999"), "udp_length"),
        // Another port than the binding's.
        (format!("sport={}", port ^ 1), "plain_outer_source"),
    ] {
        let total = forger.total();
        scapy(&udp);
        println!("{udp}: {reason}");
        forger.lab.expect_dropped(reason, 1);
        assert_eq!(forger.total(), total + 1, "{udp}: counted once, for one reason");
    }
    // And the right one, for comparison.
    scapy(&format!("sport={port}"));
    let len = forger.at_cn.recv(&mut [0; 64]).unwrap();
    assert_eq!(len, b"never".len());
    forger.end();
}
