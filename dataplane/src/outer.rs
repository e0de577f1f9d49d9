//! The outer headers of a packet to a mobile node: IPv6 or IPv4, and UDP.
//!
//! Read first: RFC 8200 s.3, 8.1; RFC 791 s.3.1; RFC 6864; RFC 6040 s.4; readings R-32, R-40, R-41.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use hearth_dpdk::sum_words;
use hearth_wire::ip::{Ipv4Header, Ipv6Header, UdpHeader};
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::U16;

use crate::layout::{IPV4_LEN, IPV6_LEN, Ip, UDP_LEN, fold, ipv4_header_sum, proto};

/// Hop limit and TTL of outer packets.
const HOP_LIMIT: u8 = 64;
/// Room for the longer of the two: IPv6 and UDP.
const ROOM: usize = OVER_IPV6;
/// Octets of outer headers over IPv6.
pub(crate) const OVER_IPV6: usize = IPV6_LEN + UDP_LEN;
/// Octets of outer headers over IPv4.
pub(crate) const OVER_IPV4: usize = IPV4_LEN + UDP_LEN;

/// Outer headers with everything filled in that does not change from packet to packet.
///
/// IPv4 leaves with DF clear: NATs and firewalls on the way lose ICMP too often, so a router in
/// between has to be able to fragment (R-42), and the identification counts up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OuterHeaders {
    octets: [u8; ROOM],
    len: u8,
    /// What is kept of a packet's traffic class, and what is put into it.
    class_mask: u8,
    class_value: u8,
}

/// What changes from packet to packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OuterFields {
    /// UDP header and payload, in octets.
    pub(crate) udp_len: u16,
    /// DSCP and ECN of what they carry.
    pub(crate) traffic_class: u8,
    /// IPv4 identification.
    pub(crate) identification: u16,
}

impl OuterHeaders {
    /// Headers from the home agent's address and service port to the mobile node's; `None` where
    /// the two are not of one family.
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Option<Self> {
        let mut octets = [0; ROOM];
        // Lengths are those of no payload until `write`.
        let ip_len = match (local.ip().to_canonical(), remote.ip().to_canonical()) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = Ipv6Header::new(from, to, proto::UDP, HOP_LIMIT, UDP_LEN)?;
                header.write_to_prefix(&mut octets).ok()?;
                IPV6_LEN
            }
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = Ipv4Header::new(from, to, proto::UDP, HOP_LIMIT, UDP_LEN)?;
                header.checksum = U16::ZERO;
                header.write_to_prefix(&mut octets).ok()?;
                IPV4_LEN
            }
            _ => return None,
        };
        let udp = UdpHeader::new(local.port(), remote.port(), 0)?;
        udp.write_to_prefix(octets.get_mut(ip_len..)?).ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "at most 48")]
        let len = (ip_len + UDP_LEN) as u8;
        Some(Self { octets, len, class_mask: 0xff, class_value: 0 })
    }

    /// The same with this DSCP, 0 to 63, whatever they carry; ECN goes on as RFC 6040 says (R-41).
    pub(crate) const fn with_dscp(self, dscp: u8) -> Self {
        Self { class_mask: 0x03, class_value: dscp << 2, ..self }
    }

    /// Care-of address and port.
    pub(crate) fn remote(&self) -> SocketAddr {
        let port = |at: usize| u16::from_be_bytes([self.octets[at], self.octets[at + 1]]);
        match Ip::addresses(&self.octets) {
            Some((_, ip)) => SocketAddr::new(ip, port(usize::from(self.len) - UDP_LEN + 2)),
            None => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        }
    }

    /// Octets of both headers.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether the outer header is IPv6.
    pub(crate) const fn is_ipv6(&self) -> bool {
        self.len as usize == ROOM
    }

    /// Writes the headers at the start of `space`, which has room for [`Self::len`] octets. The UDP
    /// checksum stays 0 until [`seal`].
    pub(crate) fn write(&self, space: &mut [u8], fields: OuterFields) {
        if self.is_ipv6() {
            if let Some(header) = space.first_chunk_mut() {
                self.write_over::<OVER_IPV6>(header, fields);
            }
        } else if let Some(header) = space.first_chunk_mut() {
            self.write_over::<OVER_IPV4>(header, fields);
        }
    }

    /// The same where the family is known: `N` is [`OVER_IPV6`] or [`OVER_IPV4`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "once per packet, and a few words")]
    pub(crate) fn write_over<const N: usize>(&self, header: &mut [u8; N], fields: OuterFields) {
        const { assert!(N == OVER_IPV6 || N == OVER_IPV4) };
        if let Some(template) = self.octets.first_chunk() {
            *header = *template;
        }
        let class = fields.traffic_class & self.class_mask | self.class_value;
        let udp_len = fields.udp_len.to_be_bytes();
        [header[N - 4], header[N - 3]] = udp_len;
        if N == OVER_IPV6 {
            [header[0], header[1]] = [0x60 | class >> 4, class << 4];
            [header[4], header[5]] = udp_len;
            return;
        }
        header[1] = class;
        [header[2], header[3]] = fields.udp_len.saturating_add(20).to_be_bytes();
        [header[4], header[5]] = fields.identification.to_be_bytes();
        if let Some(ip) = header.first_chunk() {
            let sum = ipv4_header_sum(ip);
            [header[10], header[11]] = sum.to_ne_bytes();
        }
    }
}

/// Writes the UDP checksum of a whole packet that starts with headers of [`OuterHeaders::write`]:
/// always valid over IPv6, and over IPv4 too (R-40).
#[inline]
pub(crate) fn seal(packet: &mut [u8]) {
    let (addresses, ip_len) = match packet.first().map(|first| first >> 4) {
        Some(6) => (8, IPV6_LEN),
        Some(4) => (12, IPV4_LEN),
        _ => return,
    };
    // UDP stands behind the addresses.
    let covered = packet.get(addresses..).unwrap_or_default();
    let sum = fold(sum_words(covered) + pseudo_header(packet.len().saturating_sub(ip_len)));
    if let Some(field) = packet.get_mut(ip_len + 6..).and_then(|rest| rest.first_chunk_mut()) {
        // A sum of 0 is sent as all ones: 0 would say that there is none (RFC 768).
        *field = if sum == 0 { [0xff; 2] } else { sum.to_ne_bytes() };
    }
}

/// In the place of [`seal`], where a port is asked to fill the checksums in: the UDP field holds the
/// sum of the pseudo-header, not complemented, and that of an IPv4 header 0, as DPDK wants them.
pub(crate) fn leave_checksums_to_port(packet: &mut [u8]) {
    let is_ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let (addresses, ip_len) = if is_ipv6 { (8, IPV6_LEN) } else { (12, IPV4_LEN) };
    let covered = packet.get(addresses..ip_len).unwrap_or_default();
    let udp_len = packet.len().saturating_sub(ip_len);
    let sum = !fold(sum_words(covered) + pseudo_header(udp_len));
    if !is_ipv6 && let Some(field) = packet.get_mut(10..12) {
        field.fill(0);
    }
    if let Some(field) = packet.get_mut(ip_len + 6..).and_then(|rest| rest.first_chunk_mut()) {
        *field = sum.to_ne_bytes();
    }
}

/// Length and protocol of the pseudo-header, in the order of the octets in memory.
#[inline]
fn pseudo_header(udp_len: usize) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "an IP packet has at most 65575 octets")]
    let udp_len = udp_len as u32;
    u64::from(u32::from_ne_bytes(udp_len.to_be_bytes()))
        + u64::from(u32::from_ne_bytes([0, 0, 0, proto::UDP]))
}

/// Whether the UDP checksum of a packet without extension headers is right, `udp_len` octets of
/// UDP behind `header_len` octets of IP.
pub(crate) fn udp_checksum_ok(packet: &[u8], header_len: usize, udp_len: usize) -> bool {
    packet.get(..header_len + udp_len).is_some_and(|packet| udp_sum(packet, header_len) == 0)
}

/// The checksum over the addresses as they stand in the header, the rest of the pseudo-header, and
/// UDP, `ip_len` octets behind the start; in the order of the octets in memory.
fn udp_sum(packet: &[u8], ip_len: usize) -> u16 {
    let is_ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let addresses = if is_ipv6 { 8..IPV6_LEN } else { 12..IPV4_LEN };
    fold(
        sum_words(packet.get(addresses).unwrap_or_default())
            + sum_words(packet.get(ip_len..).unwrap_or_default())
            + pseudo_header(packet.len().saturating_sub(ip_len)),
    )
}

/// The ECN field of the inner packet after decapsulation, RFC 6040 s.4.2 (normal mode); `None`
/// where the packet has to be dropped.
///
/// ```text
/// inner \ outer | Not-ECT   ECT(0)    ECT(1)    CE
/// --------------+---------------------------------
/// Not-ECT  00   | Not-ECT   Not-ECT   Not-ECT   drop
/// ECT(0)   10   | ECT(0)    ECT(0)    ECT(1)    CE
/// ECT(1)   01   | ECT(1)    ECT(1)    ECT(1)    CE
/// CE       11   | CE        CE        CE        CE
/// ```
pub(crate) const fn combine_ecn(inner: u8, outer: u8) -> Option<u8> {
    match (inner & 3, outer & 3) {
        (0b00, 0b11) => None,
        (0b00, _) => Some(0b00),
        (0b11, _) | (_, 0b11) => Some(0b11),
        (_, 0b01) => Some(0b01),
        (inner, _) => Some(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(v6: bool) -> OuterHeaders {
        let (local, remote) = if v6 {
            ("[2001:db8::1]:7872", "[2001:db8:1::2]:40000")
        } else {
            ("198.51.100.1:7872", "203.0.113.2:40000")
        };
        OuterHeaders::new(local.parse().unwrap(), remote.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_other_end_is_read_back() {
        let local = ["[2001:db8::1]:7872", "198.51.100.1:7872"];
        for (local, remote) in local.into_iter().zip(["[2001:db8:1::2]:40000", "203.0.113.2:9"]) {
            let remote = remote.parse().unwrap();
            let headers = OuterHeaders::new(local.parse().unwrap(), remote).unwrap();
            assert_eq!(headers.remote(), remote);
        }
    }

    #[test]
    fn families_do_not_mix() {
        let v6 = "[2001:db8::1]:7872".parse().unwrap();
        let v4 = "198.51.100.1:7872".parse().unwrap();
        assert!(OuterHeaders::new(v6, v4).is_none());
        assert!(OuterHeaders::new(v4, v6).is_none());
    }

    #[test]
    fn decapsulated_ecn_is_the_table_of_rfc6040() {
        let table = [
            (0b00, [Some(0b00), Some(0b00), Some(0b00), None]),
            (0b10, [Some(0b10), Some(0b10), Some(0b01), Some(0b11)]),
            (0b01, [Some(0b01), Some(0b01), Some(0b01), Some(0b11)]),
            (0b11, [Some(0b11), Some(0b11), Some(0b11), Some(0b11)]),
        ];
        for (inner, row) in table {
            for (outer, expected) in [0b00, 0b10, 0b01, 0b11].into_iter().zip(row) {
                assert_eq!(combine_ecn(inner, outer), expected, "{inner:02b} {outer:02b}");
            }
        }
    }

    /// What a NIC makes of a packet whose checksums are left to it: it sums up UDP with what stands
    /// in the field, and writes the complement there.
    fn filled_in(sealed: &[u8], ip_len: usize) -> Vec<u8> {
        let sum = |octets: &[u8]| {
            let words = octets
                .chunks(2)
                .map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
            let sum = words.sum::<u32>();
            let sum = (sum & 0xffff) + (sum >> 16);
            !(((sum & 0xffff) + (sum >> 16)) as u16)
        };
        let mut packet = sealed.to_vec();
        leave_checksums_to_port(&mut packet);
        if ip_len == IPV4_LEN {
            assert_eq!(packet[10..12], [0, 0]);
            let header = sum(&packet[..IPV4_LEN]);
            packet[10..12].copy_from_slice(&header.to_be_bytes());
        }
        let udp = match sum(&packet[ip_len..]) {
            0 => 0xffff_u16,
            sum => sum,
        };
        packet[ip_len + 6..ip_len + 8].copy_from_slice(&udp.to_be_bytes());
        packet
    }

    proptest! {
        #[test]
        fn what_is_sent_is_valid(
            v6 in any::<bool>(),
            traffic_class in any::<u8>(),
            identification in any::<u16>(),
            dscp in prop::option::of(0_u8..64),
            payload in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let headers = headers(v6);
            let headers = dscp.map_or(headers, |dscp| headers.with_dscp(dscp));
            let mut packet = vec![0; headers.len()];
            packet.extend(&payload);
            let udp_len = u16::try_from(payload.len() + UDP_LEN).unwrap();
            headers.write(&mut packet, OuterFields { udp_len, traffic_class, identification });
            seal(&mut packet);
            let ip = Ip::parse(&packet).unwrap();
            prop_assert_eq!(usize::from(ip.total_len), packet.len());
            let dscp = dscp.unwrap_or(traffic_class >> 2);
            prop_assert_eq!((ip.traffic_class >> 2, ip.traffic_class & 3), (dscp, traffic_class & 3));
            prop_assert_eq!((ip.hop_limit, ip.proto), (64, 17));
            let offset = usize::from(ip.header_len);
            prop_assert_eq!(&packet[offset..offset + 6][..4], &[0x1e, 0xc0, 0x9c, 0x40]);
            prop_assert_ne!(&packet[offset + 6..offset + 8], &[0, 0]);
            prop_assert!(udp_checksum_ok(&packet, offset, usize::from(udp_len)));
            prop_assert_eq!(&filled_in(&packet, offset), &packet);
            packet[offset + 7] ^= 1;
            prop_assert!(!udp_checksum_ok(&packet, offset, usize::from(udp_len)));
        }
    }
}
