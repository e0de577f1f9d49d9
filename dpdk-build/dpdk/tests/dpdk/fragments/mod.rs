//! Fragmentation and reassembly, against each other and against scapy's.

mod reassembly;
mod scapy;

use hearth_dpdk::{Burst, FragmentError, FragmentPools, Mbuf, Mempool, fragment4, fragment6};

use crate::{all_back, eal, pool};

/// A protocol that nobody looks into (RFC 3692).
const EXPERIMENT: u8 = 253;

/// Octets that do not repeat with the 8 of a fragment's unit.
fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// The checksum of an IPv4 header, 0 if the header holds the right one.
fn ipv4_checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// An IPv4 packet, or a fragment of one.
fn ipv4(id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let flags = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    let mut packet = vec![0x45, 0];
    packet.extend([total, id, flags].map(u16::to_be_bytes).concat());
    packet.extend([64, EXPERIMENT, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7]);
    let checksum = ipv4_checksum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// An IPv6 packet with this next header.
fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    for last in [1, 2] {
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(payload);
    packet
}

/// A fragment of an IPv6 packet that carries an experiment.
fn ipv6_fragment(id: u32, offset: usize, more: bool, part: &[u8]) -> Vec<u8> {
    let mut payload = vec![EXPERIMENT, 0];
    payload.extend((offset as u16 | u16::from(more)).to_be_bytes());
    payload.extend(id.to_be_bytes());
    payload.extend(part);
    ipv6(44, &payload)
}

/// The whole packet, however many segments it has.
fn octets(mbuf: &Mbuf) -> Vec<u8> {
    let octets = mbuf.segment_data().collect::<Vec<_>>().concat();
    assert_eq!(octets.len(), mbuf.len());
    octets
}

/// The pools of a test: for packets, headers, and segments that point into packets.
struct Pools {
    packets: Mempool,
    direct: Mempool,
    indirect: Mempool,
}

impl Pools {
    fn new(name: &str) -> Self {
        let small = |kind: &str, room| {
            Mempool::new(eal(), &format!("{name}_{kind}"), 511, 0, room).expect("a pool")
        };
        Self { packets: pool(name), direct: small("direct", 192), indirect: small("indirect", 0) }
    }

    fn for_fragments(&self) -> FragmentPools<'_> {
        FragmentPools { direct: &self.direct, indirect: &self.indirect }
    }

    /// A packet of any length, in segments of up to 2048 octets.
    fn packet(&self, octets: &[u8]) -> Mbuf {
        let mut parts = octets.chunks(2048).map(|part| self.packets.alloc_with(part));
        let mut packet = parts.next().flatten().expect("an mbuf");
        for part in parts {
            packet.append_chain(part.expect("an mbuf")).expect("few segments");
        }
        packet
    }

    #[track_caller]
    fn all_back(&self) {
        for pool in [&self.packets, &self.direct, &self.indirect] {
            all_back(pool);
        }
    }
}

/// The fragments of an IPv4 or IPv6 packet.
fn fragments(pools: &Pools, packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    let mut out = Burst::<64>::new();
    let mut mbuf = pools.packet(packet);
    *mbuf.meta_mut::<u64>() = 0x1122;
    let pieces = pools.for_fragments();
    let made = match packet[0] >> 4 {
        4 => fragment4(mbuf, mtu, pieces, &mut out),
        _ => fragment6(mbuf, mtu, 0x0a0b_0c0d, pieces, &mut out),
    };
    assert_eq!(made.expect("it can be cut"), out.len());
    assert!(out.iter().all(|fragment| fragment.len() <= mtu.into()));
    assert!(out.iter().all(|fragment| *fragment.meta::<u64>() == 0x1122));
    out.drain().map(|fragment| octets(&fragment)).collect()
}

#[test]
fn an_ipv4_packet_is_cut_at_the_mtu_with_right_headers() {
    let pools = Pools::new("frag_v4");
    let text = payload(4000);
    let cut = fragments(&pools, &ipv4(0x4242, 0, false, &text), 1500);
    // 1480 is a multiple of 8.
    let expected = [
        ipv4(0x4242, 0, true, &text[..1480]),
        ipv4(0x4242, 1480, true, &text[1480..2960]),
        ipv4(0x4242, 2960, false, &text[2960..]),
    ];
    assert!(cut == expected);
    assert!(cut.iter().all(|fragment| ipv4_checksum(&fragment[..20]) == 0));
    pools.all_back();
}

#[test]
fn an_ipv6_packet_is_cut_at_the_mtu_with_the_identification() {
    let pools = Pools::new("frag_v6");
    let text = payload(3000);
    let cut = fragments(&pools, &ipv6(EXPERIMENT, &text), 1280);
    // 1280 - 48 = 1232, a multiple of 8.
    let expected = [
        ipv6_fragment(0x0a0b_0c0d, 0, true, &text[..1232]),
        ipv6_fragment(0x0a0b_0c0d, 1232, true, &text[1232..2464]),
        ipv6_fragment(0x0a0b_0c0d, 2464, false, &text[2464..]),
    ];
    assert!(cut == expected);
    pools.all_back();
}

#[test]
fn a_packet_that_fits_goes_as_it_is() {
    let pools = Pools::new("frag_fits");
    for (packet, mtu) in
        [(ipv4(1, 0, false, &payload(48)), 68), (ipv6(EXPERIMENT, &payload(1240)), 1280)]
    {
        let mut out = Burst::<1>::new();
        let mbuf = pools.packet(&packet);
        let address = mbuf.data().as_ptr();
        let made = if mtu == 68 {
            fragment4(mbuf, mtu, pools.for_fragments(), &mut out)
        } else {
            fragment6(mbuf, mtu, 1, pools.for_fragments(), &mut out)
        };
        assert_eq!(made.expect("nothing to do"), 1);
        assert_eq!((out[0].data().as_ptr(), out[0].data()), (address, &packet[..]));
    }
    pools.all_back();
}

#[test]
fn a_packet_that_cannot_be_cut_comes_back() {
    let pools = Pools::new("frag_refused");
    let v4 = ipv4(1, 0, false, &payload(1480));
    let v6 = ipv6(EXPERIMENT, &payload(1460));
    let dont_fragment = {
        let mut packet = v4.clone();
        packet[6] |= 0x40;
        packet
    };
    let longer = [&v4[..], &[0; 4]].concat();
    let options = {
        let mut packet = v4.clone();
        packet[0] = 0x44;
        packet
    };
    let rows = [
        (&dont_fragment, 1400, FragmentError::DontFragment),
        (&v4, 67, FragmentError::Mtu),
        (&v6, 1279, FragmentError::Mtu),
        (&v4, 68, FragmentError::NoRoom),
        (&longer, 1400, FragmentError::Malformed),
        (&options, 1400, FragmentError::Malformed),
    ];
    for (packet, mtu, error) in rows {
        let mut out = Burst::<8>::new();
        let mbuf = pools.packet(packet);
        let refused = match packet[0] >> 4 {
            4 => fragment4(mbuf, mtu, pools.for_fragments(), &mut out),
            _ => fragment6(mbuf, mtu, 1, pools.for_fragments(), &mut out),
        };
        let (mbuf, why) = refused.expect_err("it cannot be cut");
        assert_eq!((why, out.len()), (error, 0));
        assert_eq!(octets(&mbuf), *packet);
    }
    // Of the other family.
    let mut out = Burst::<8>::new();
    let wrong = fragment6(pools.packet(&v4), 1280, 1, pools.for_fragments(), &mut out);
    assert_eq!(wrong.expect_err("it is IPv4").1, FragmentError::Malformed);
    // Without mbufs: what was cut already goes back.
    let held: Vec<_> = std::iter::from_fn(|| pools.indirect.alloc()).skip(1).collect();
    let none = fragment4(pools.packet(&v4), 1000, pools.for_fragments(), &mut out);
    assert_eq!(none.expect_err("one mbuf is not enough").1, FragmentError::NoMbufs);
    drop(held);
    pools.all_back();
}

#[test]
fn the_packet_lives_as_long_as_its_last_fragment() {
    let pools = Pools::new("frag_life");
    let mut out = Burst::<8>::new();
    let packet = pools.packet(&ipv6(EXPERIMENT, &payload(2600)));
    fragment6(packet, 1280, 9, pools.for_fragments(), &mut out).expect("it can be cut");
    let last = out.pop().expect("three");
    drop(out);
    assert_eq!(pools.packets.in_use(), 1, "the segment that it points into");
    assert!(octets(&last).ends_with(&payload(2600)[2464..]));
    drop(last);
    pools.all_back();
}
