//! Valid packets of one mobile node, and where their parts stand.
//!
//! Read first: RFC 6618 s.6.3, 6.4; readings R-20 to R-22.
//!
//! ```text
//! uplink, as it is received        Ethernet | IPv6 | UDP | PType SPI Seq IV | inner, trailer | ICV
//! downlink, as it is received      Ethernet | inner
//! downlink, as it goes to crypto              IPv6 | UDP | PType SPI Seq IV | inner, trailer | ICV
//! ```
//!
//! Everything is built here but ciphertext, ICV and outer UDP checksum, which [`crate::raw`] and
//! [`seal_udp`] fill in.

use core::net::{Ipv6Addr, SocketAddr};

use clap::ValueEnum;
use hearth_dpdk::{Mbuf, Op, Tag};
use hearth_wire::frame::{FrameHeader, GcmIv, PType, padding_len, protected_len, write_trailer};
use hearth_wire::ip::{
    ETHERTYPE_IPV6, EthernetHeader, Ipv6Header, PROTO_IPV6, PROTO_UDP, UdpHeader, udp_checksum_v6,
};
use hearth_wire::{MIPV6TLS_PORT, SeqNo, Spi, Suite};
use serde::Serialize;
use zerocopy::IntoBytes;

use crate::fault::Fault;
use crate::keys::Schedules;

/// The home agent.
pub(crate) const HOME_AGENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
/// The next hop towards all care-of addresses.
pub(crate) const GATEWAY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0xff);
/// A correspondent on the home link.
pub(crate) const CORRESPONDENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0xc0);
/// The lowest SPI.
pub(crate) const SPI_BASE: u32 = 1000;
/// MAC address of whoever sends to the home agent.
const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0xaa, 0xfe];
/// Octets in front of a protected frame: IPv6 and UDP.
pub(crate) const OUTER_LEN: usize = Ipv6Header::LEN + UdpHeader::LEN;

/// Direction of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// From the mobile node: decapsulated.
    Uplink,
    /// To the mobile node: encapsulated.
    Downlink,
}

impl Direction {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Uplink, Self::Downlink];

    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Downlink => "downlink",
        }
    }
}

/// A mobile node behind IPv6.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Station {
    pub(crate) suite: Suite,
    pub(crate) spi: Spi,
    pub(crate) home: Ipv6Addr,
    /// Care-of address and port.
    pub(crate) remote: SocketAddr,
    number: u32,
}

impl Station {
    /// Number `number`, below 2^24.
    pub(crate) fn new(number: u32, suite: Suite) -> Result<Self, Fault> {
        let spi = Spi::new(SPI_BASE.saturating_add(number)).map_err(|_| Fault::Station(number))?;
        let address = |net: [u16; 3], host: u128| {
            let [a, b, c] = net;
            let prefix = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits();
            Ipv6Addr::from_bits(prefix | host << 32 | u128::from(number))
        };
        let care_of = address([0x2001, 0xdb8, 0x100], 1);
        Ok(Self {
            suite,
            spi,
            home: address([0x2001, 0xdb8, 0xf], 1),
            remote: SocketAddr::new(care_of.into(), 40_000),
            number,
        })
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// Octets in front of an inner packet in a protected packet without an Ethernet header.
    pub(crate) const fn front_len(&self) -> usize {
        OUTER_LEN + FrameHeader::LEN + self.suite.iv_len()
    }
}

/// The service's address and port.
pub(crate) fn service() -> SocketAddr {
    SocketAddr::new(HOME_AGENT.into(), MIPV6TLS_PORT)
}

/// An inner packet of `len` octets (at least 64) that names its number.
pub(crate) fn inner(station: &Station, direction: Direction, number: u32, len: usize) -> Vec<u8> {
    match direction {
        Direction::Uplink => between(station.home, CORRESPONDENT, number, len),
        Direction::Downlink => between(CORRESPONDENT, station.home, number, len),
    }
}

/// A UDP packet of `len` octets (at least 64) that names its number.
pub(crate) fn between(from: Ipv6Addr, to: Ipv6Addr, number: u32, len: usize) -> Vec<u8> {
    let payload_len = len.saturating_sub(OUTER_LEN).max(4);
    let mut payload = number.to_be_bytes().repeat(payload_len.div_ceil(4));
    payload.truncate(payload_len);
    udp_packet((from, 5001), (to, 5001), &payload)
}

/// What goes to crypto, not yet encrypted: outer headers, frame, trailer, room for the ICV.
pub(crate) fn envelope(
    station: &Station,
    direction: Direction,
    seq: SeqNo,
    inner: &[u8],
) -> Vec<u8> {
    envelope_of((PType::ProtectedData, PROTO_IPV6), station, direction, seq, inner)
}

/// An envelope of this packet type around a payload of this kind.
pub(crate) fn envelope_of(
    (ptype, next_header): (PType, u8),
    station: &Station,
    direction: Direction,
    seq: SeqNo,
    inner: &[u8],
) -> Vec<u8> {
    let suite = station.suite;
    let mut frame = FrameHeader::protected(ptype, station.spi, seq).as_bytes().to_vec();
    if suite == Suite::Aes128Gcm {
        frame.extend(GcmIv::new(1, seq).as_bytes());
    } else {
        // Crypto takes the same time for any IV; these differ from packet to packet.
        let iv = (0_u32..4)
            .flat_map(|i| seq.0.wrapping_mul(0x9e37_79b9).rotate_left(8 * i).to_be_bytes());
        frame.extend(iv.take(suite.iv_len()));
    }
    frame.extend(inner);
    let mut trailer = vec![0; padding_len(suite, inner.len()) + 2];
    write_trailer(&mut trailer, next_header);
    frame.extend(trailer);
    frame.resize(frame.len() + suite.icv_len(), 0);
    let (care_of, home_agent) =
        ((care_of(station), station.remote.port()), (HOME_AGENT, MIPV6TLS_PORT));
    match direction {
        Direction::Uplink => udp_packet(care_of, home_agent, &frame),
        Direction::Downlink => udp_packet(home_agent, care_of, &frame),
    }
}

/// An Ethernet frame to a port's MAC address.
pub(crate) fn ethernet(to: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let header =
        EthernetHeader { destination: to, source: SENDER_MAC, ethertype: ETHERTYPE_IPV6.into() };
    [header.as_bytes(), packet].concat()
}

/// Fills in the UDP checksum of an IPv6 packet without extension headers, once its content is
/// final.
pub(crate) fn seal_udp(packet: &mut [u8]) {
    let Some((header, datagram)) = packet.split_at_mut_checked(Ipv6Header::LEN) else { return };
    let Ok((header, _)) = <Ipv6Header as zerocopy::FromBytes>::ref_from_prefix(header) else {
        return;
    };
    if let Some(field) = datagram.get_mut(6..8) {
        field.fill(0);
    }
    let sum = udp_checksum_v6(header.source(), header.destination(), datagram);
    if let Some(field) = datagram.get_mut(6..8) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

fn care_of(station: &Station) -> Ipv6Addr {
    match station.remote.ip() {
        core::net::IpAddr::V6(v6) => v6,
        core::net::IpAddr::V4(v4) => v4.to_ipv6_mapped(),
    }
}

fn udp_packet(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(UdpHeader::LEN + payload.len()).unwrap_or(u16::MAX);
    let mut packet = Vec::with_capacity(Ipv6Header::LEN + usize::from(len));
    if let Some(header) = Ipv6Header::new(from.0, to.0, PROTO_UDP, 64, len.into()) {
        packet.extend(header.as_bytes());
    }
    let udp = UdpHeader {
        source_port: from.1.into(),
        destination_port: to.1.into(),
        length: len.into(),
        checksum: 0.into(),
    };
    packet.extend(udp.as_bytes());
    packet.extend(payload);
    seal_udp(&mut packet);
    packet
}

/// What crypto does with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Encrypt and write the ICV into the packet.
    Seal,
    /// Compute the ICV into the private area and decrypt.
    Open,
}

/// Where the private area holds the nonce of AES-GCM; the tag that is computed stands before it.
const NONCE: usize = 32;
/// Octets of that nonce: salt and explicit IV.
const NONCE_LEN: usize = 12;

/// The operation on the frame of an inner packet of `inner_len` octets that starts `offset`
/// octets into the mbuf's data: the same as the dataplane's. Under AES-GCM [`lay_nonce`] comes
/// first.
pub(crate) fn operation<'k>(
    keys: &'k Schedules,
    act: Act,
    suite: Suite,
    inner_len: usize,
    offset: usize,
) -> Op<'k> {
    let at = |place: usize| u32::try_from(offset + place).unwrap_or(u32::MAX);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let cipher_offset = FrameHeader::LEN + suite.iv_len();
    let icv_offset = protected_len(suite, inner_len) - suite.icv_len();
    let gcm = suite == Suite::Aes128Gcm;
    Op {
        cipher: keys.cipher(act),
        auth: keys.auth(),
        iv_offset: if gcm { number(NONCE) } else { at(FrameHeader::LEN) },
        cipher_offset: at(cipher_offset),
        cipher_len: if suite.encrypts() { number(icv_offset - cipher_offset) } else { 0 },
        auth_offset: at(0),
        // What AES-GCM encrypts is covered anyway (RFC 4106 s.5).
        auth_len: number(if gcm { FrameHeader::LEN } else { icv_offset }),
        tag: match act {
            Act::Seal => Tag::Packet(at(icv_offset)),
            Act::Open => Tag::Meta(0),
        },
    }
}

/// Under AES-GCM puts the nonce of the frame at `offset` where [`operation`] lets it be read.
pub(crate) fn lay_nonce(keys: &Schedules, offset: usize, mbuf: &mut Mbuf) {
    let Some(salt) = keys.salt() else { return };
    let iv_start = offset + FrameHeader::LEN;
    let mut nonce = [0; NONCE_LEN];
    let (head, tail) = nonce.split_at_mut(salt.len());
    head.copy_from_slice(&salt);
    if let Some(iv) = mbuf.data().get(iv_start..iv_start + GcmIv::LEN) {
        tail.copy_from_slice(iv);
    }
    let area = mbuf.meta_mut::<[u8; hearth_dpdk::META_SIZE]>();
    if let Some(place) = area.get_mut(NONCE..NONCE + NONCE_LEN) {
        place.copy_from_slice(&nonce);
    }
}
