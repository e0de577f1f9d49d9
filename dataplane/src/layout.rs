//! Where things stand in a packet: reading IP headers as the stages need them.
//!
//! Read first: RFC 791 s.3.1, RFC 8200 s.3, RFC 1624.
//!
//! Everything here works on octets that may be anything: a length is checked before it is used.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_wire::ip::{Ipv4Header, Ipv6Header, checksum};
use zerocopy::FromBytes;

/// Octets of an Ethernet header without VLAN tags.
pub(crate) const ETHERNET_LEN: usize = 14;
/// Octets of an IPv6 header.
pub(crate) const IPV6_LEN: usize = 40;
/// Octets of an IPv4 header without options.
pub(crate) const IPV4_LEN: usize = 20;
/// Octets of a UDP header.
pub(crate) const UDP_LEN: usize = 8;

/// A length or an offset in one buffer as a 16-bit number; all ones for what no buffer has.
pub(crate) const fn len16(octets: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "compared before")]
    if octets < 0xffff { octets as u16 } else { 0xffff }
}

/// A length or an offset in one buffer, of 16 bits therefore, as the crypto layer counts it, which
/// checks it.
#[inline]
pub(crate) const fn len32(octets: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "buffers have less than 2^16 octets")]
    let octets = octets as u32;
    octets
}

/// The 16-bit number at `at`, which has to lie within the array.
#[inline]
pub(crate) const fn be16<const N: usize>(octets: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

/// The 32-bit number at `at`, which has to lie within the array.
#[inline]
pub(crate) const fn be32<const N: usize>(octets: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

/// An address of either family as one of IPv6: IPv4 in its mapped form, which no packet can have in a
/// header here.
pub(crate) const fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Writes an Ethernet header into 14 octets.
#[inline]
pub(crate) fn write_ethernet(header: &mut [u8], to: [u8; 6], from: [u8; 6], ethertype: [u8; 2]) {
    if let Some(header) = header.first_chunk_mut::<ETHERNET_LEN>() {
        header[..6].copy_from_slice(&to);
        header[6..12].copy_from_slice(&from);
        header[12..].copy_from_slice(&ethertype);
    }
}

/// An IPv6 address as two numbers, which is how it is compared fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Address6 {
    high: u64,
    low: u64,
}

impl Address6 {
    /// The address at `at`, which has to lie within the array.
    #[inline]
    pub(crate) fn at<const N: usize>(octets: &[u8; N], at: usize) -> Self {
        Self { high: be64(octets, at), low: be64(octets, at + 8) }
    }

    /// A home address of either family; `None` for one that is none, and might be taken for another.
    pub(crate) fn of_home(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(v4) => Some(Self::mapped(v4.to_bits())),
            IpAddr::V6(v6) => v6.to_ipv4_mapped().is_none().then(|| v6.into()),
        }
    }

    /// The address.
    pub(crate) const fn address(self) -> Ipv6Addr {
        Ipv6Addr::from_bits((self.high as u128) << 64 | self.low as u128)
    }

    /// Its two halves.
    #[inline]
    pub(crate) const fn words(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// The address with these halves.
    #[inline]
    pub(crate) const fn of_words([high, low]: [u64; 2]) -> Self {
        Self { high, low }
    }

    /// An IPv4 address in its mapped form.
    #[inline]
    pub(crate) const fn mapped(v4: u32) -> Self {
        Self { high: 0, low: 0xffff << 32 | v4 as u64 }
    }

    /// Whether it is beyond its link for certain: no group, neither link-local nor the unspecified
    /// address or loopback. Says so of hardly any address that nobody uses.
    #[inline]
    pub(crate) const fn is_global(self) -> bool {
        matches!(self.high >> 56, 1..=0xfd)
    }

    /// A number in which addresses differ, with `bits` bits.
    #[inline]
    pub(crate) const fn mix(self, bits: u32) -> u64 {
        (self.high ^ self.low).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)
    }
}

impl From<Ipv6Addr> for Address6 {
    fn from(address: Ipv6Addr) -> Self {
        Self::at(&address.octets(), 0)
    }
}

/// Whether an IPv4 address is beyond its link for certain, as [`Address6::is_global`].
#[inline]
pub(crate) const fn is_global4(address: u32) -> bool {
    matches!(address >> 24, 1..=126 | 128..=223) && address >> 16 != 0xa9fe
}

/// The 64-bit number at `at`, which has to lie within the array.
#[inline]
pub(crate) fn be64<const N: usize>(octets: &[u8; N], at: usize) -> u64 {
    octets.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_be_bytes(*word))
}

/// The checksum over an IPv4 header without options, in the order of the octets in memory: 0 where
/// it is right.
#[inline]
pub(crate) fn ipv4_header_sum(header: &[u8; IPV4_LEN]) -> u16 {
    let (words, _) = header.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    fold(sum)
}

/// The Internet checksum of a sum of 32-bit words, in the order of the octets in memory; 0 where
/// the sum ran over data with a valid checksum in it.
#[inline]
pub(crate) const fn fold(sum: u64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "both halves")]
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    // After a carry there is room for it.
    let sum = sum.wrapping_add(carry as u32);
    // Both halves of this sum are those of `sum` added up, and the lower one carries into the upper.
    let folded = sum.wrapping_add(sum.rotate_left(16)) >> 16;
    let folded = folded as u16;
    !folded
}

/// EtherTypes that are looked at.
pub(crate) mod ethertype {
    pub(crate) const IPV4: [u8; 2] = [0x08, 0x00];
    pub(crate) const ARP: [u8; 2] = [0x08, 0x06];
    pub(crate) const IPV6: [u8; 2] = [0x86, 0xdd];
}

/// IP protocol numbers that are looked at.
pub(crate) mod proto {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const IPV4: u8 = 4;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const IPV6: u8 = 41;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const NONE: u8 = 59;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
    pub(crate) const MOBILITY: u8 = 135;
}

/// Why octets are no IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpError {
    /// The version nibble is neither 4 nor 6.
    Version,
    /// Fewer octets than the header.
    Truncated,
    /// A length field contradicts itself.
    Malformed,
    /// The IPv4 header checksum is wrong.
    Checksum,
    /// The packet's own length is beyond the octets that are there.
    BeyondData,
}

/// What the stages need to know of an IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Octets of the whole packet by its own length field.
    pub(crate) total_len: u16,
    /// Octets of the fixed header; with its options under IPv4.
    pub(crate) header_len: u16,
    /// Protocol, or the first Next Header.
    pub(crate) proto: u8,
    /// TTL or hop limit.
    pub(crate) hop_limit: u8,
    /// DSCP and ECN as they stand in the octet.
    pub(crate) traffic_class: u8,
    /// IPv4: a fragment.
    pub(crate) fragment: bool,
}

impl Ip {
    /// Reads and checks the header at the start of `octets`; more may follow the packet.
    pub(crate) fn parse(octets: &[u8]) -> Result<Self, IpError> {
        match octets.first().map(|first| first >> 4) {
            Some(6) => Self::parse_v6(octets),
            Some(4) => Self::parse_v4(octets),
            Some(_) => Err(IpError::Version),
            None => Err(IpError::Truncated),
        }
    }

    fn parse_v6(octets: &[u8]) -> Result<Self, IpError> {
        let Some(header) = octets.first_chunk::<IPV6_LEN>() else {
            return Err(IpError::Truncated);
        };
        let payload_len = u16::from_be_bytes([header[4], header[5]]);
        let Some(total_len) = payload_len.checked_add(40) else {
            return Err(IpError::BeyondData);
        };
        if usize::from(total_len) > octets.len() {
            return Err(IpError::BeyondData);
        }
        let [source, destination] = addresses_v6(header);
        Ok(Self {
            source: source.into(),
            destination: destination.into(),
            total_len,
            header_len: 40,
            proto: header[6],
            hop_limit: header[7],
            traffic_class: header[0] << 4 | header[1] >> 4,
            fragment: false,
        })
    }

    fn parse_v4(octets: &[u8]) -> Result<Self, IpError> {
        let Some(header) = octets.first_chunk::<IPV4_LEN>() else {
            return Err(IpError::Truncated);
        };
        let header_len = u16::from(header[0] & 0x0f) * 4;
        let total_len = u16::from_be_bytes([header[2], header[3]]);
        if header_len < 20 || total_len < header_len {
            return Err(IpError::Malformed);
        }
        let Some(whole_header) = octets.get(..usize::from(header_len)) else {
            return Err(IpError::Truncated);
        };
        if checksum(whole_header) != 0 {
            return Err(IpError::Checksum);
        }
        if usize::from(total_len) > octets.len() {
            return Err(IpError::BeyondData);
        }
        Ok(Self {
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
            total_len,
            header_len,
            proto: header[9],
            hop_limit: header[8],
            traffic_class: header[1],
            // More fragments, or an offset.
            fragment: u16::from_be_bytes([header[6] & 0x3f, header[7]]) != 0,
        })
    }

    /// Source and destination alone, of a packet that was parsed before.
    pub(crate) fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
        if let (Some(0x60), Some(header)) =
            (packet.first().map(|first| first & 0xf0), packet.first_chunk::<IPV6_LEN>())
        {
            let [source, destination] = addresses_v6(header);
            return Some((source.into(), destination.into()));
        }
        let header = packet.first_chunk::<IPV4_LEN>()?;
        let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
        let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        Some((source.into(), destination.into()))
    }

    /// The EtherType that carries this packet.
    pub(crate) const fn ethertype(&self) -> [u8; 2] {
        match self.destination {
            IpAddr::V4(_) => ethertype::IPV4,
            IpAddr::V6(_) => ethertype::IPV6,
        }
    }
}

fn addresses_v6(header: &[u8; IPV6_LEN]) -> [Ipv6Addr; 2] {
    let at = |start: usize| -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[start..start + 16]);
        octets.into()
    };
    [at(8), at(24)]
}

/// Lowers the hop limit or TTL of the packet by one, and mends the IPv4 checksum. `false` where
/// it may not travel on; the packet is unchanged then.
#[inline(always)]
#[expect(clippy::inline_always, reason = "three instructions for most packets")]
pub(crate) fn decrement_hop_limit(packet: &mut [u8]) -> bool {
    if let Some(header) = packet.first_chunk_mut::<IPV6_LEN>()
        && header[0] >> 4 == 6
    {
        let may_travel = header[7] > 1;
        header[7] -= u8::from(may_travel);
        return may_travel;
    }
    decrement_any(packet)
}

#[inline(never)]
fn decrement_any(packet: &mut [u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(6) => Ipv6Header::mut_from_prefix(packet)
            .is_ok_and(|(header, _)| header.decrement_hop_limit()),
        Some(4) => {
            Ipv4Header::mut_from_prefix(packet).is_ok_and(|(header, _)| header.decrement_ttl())
        }
        _ => false,
    }
}

/// Replaces the ECN field of the packet, and mends the IPv4 checksum.
pub(crate) fn set_ecn(packet: &mut [u8], ecn: u8) {
    match packet.first().map(|first| first >> 4) {
        Some(6) => {
            if let Ok((header, _)) = Ipv6Header::mut_from_prefix(packet) {
                header.set_traffic_class(header.traffic_class() & 0xfc | ecn & 3);
            }
        }
        Some(4) => {
            if let Ok((header, _)) = Ipv4Header::mut_from_prefix(packet) {
                header.set_traffic_class(header.traffic_class & 0xfc | ecn & 3);
            }
        }
        _ => {}
    }
}

/// Where an IPv6 extension header chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpperLayer {
    pub(crate) proto: u8,
    pub(crate) offset: usize,
}

/// Follows the extension headers of an IPv6 packet to the first header that is none, or to a
/// fragment header. `None` where the chain is broken or longer than any honest one.
pub(crate) fn upper_layer_v6(packet: &[u8]) -> Option<UpperLayer> {
    behind_extensions(packet, UpperLayer { proto: *packet.get(6)?, offset: IPV6_LEN })
}

pub(crate) fn behind_extensions(packet: &[u8], from: UpperLayer) -> Option<UpperLayer> {
    let UpperLayer { proto: mut next, mut offset } = from;
    for _ in 0..8 {
        match next {
            proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION_OPTIONS => {
                let &[following, len] = packet.get(offset..)?.first_chunk::<2>()?;
                next = following;
                offset += (usize::from(len) + 1) * 8;
            }
            _ => return Some(UpperLayer { proto: next, offset }),
        }
    }
    None
}

/// The upper layer of a whole packet or of a first fragment. `None` in other fragments, and where
/// [`upper_layer_v6`] finds none.
pub(crate) fn upper_layer(ip: &Ip, packet: &[u8]) -> Option<UpperLayer> {
    if ip.destination.is_ipv4() {
        let &[high, low] = packet.get(6..)?.first_chunk::<2>()?;
        let first = u16::from_be_bytes([high & 0x1f, low]) == 0;
        return first.then(|| UpperLayer { proto: ip.proto, offset: ip.header_len.into() });
    }
    let upper = upper_layer_v6(packet)?;
    if upper.proto != proto::FRAGMENT {
        return Some(upper);
    }
    // RFC 8200 s.4.5: the offset is the upper 13 bits.
    let &[proto, _, high, low, ..] = packet.get(upper.offset..)?.first_chunk::<8>()?;
    let first = u16::from_be_bytes([high, low]) >> 3 == 0;
    let behind = UpperLayer { proto, offset: upper.offset + 8 };
    first.then(|| behind_extensions(packet, behind)).flatten()
}

/// The destination port of a UDP header.
pub(crate) fn destination_port(packet: &[u8], udp: UpperLayer) -> Option<u16> {
    let &[_, _, high, low] = packet.get(udp.offset..)?.first_chunk::<4>()?;
    Some(u16::from_be_bytes([high, low]))
}

/// Whether no packet of a stranger may have this source: multicast, loopback, unspecified.
pub(crate) const fn is_bad_source(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_multicast() || v4.is_loopback() || v4.is_unspecified() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_loopback() || v6.is_unspecified(),
    }
}

/// Whether the address has a meaning only on its link, or is a group's.
pub(crate) const fn is_link_scope(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_unspecified()
                || v4.is_loopback()
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                || v6.is_loopback()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Version 4, 20 octets, TTL 64, UDP, 192.0.2.1 to 198.51.100.2, 24 octets in all.
    fn v4() -> Vec<u8> {
        let mut packet = vec![0x45, 0x02, 0, 24, 0x12, 0x34, 0, 0, 64, 17, 0, 0];
        packet.extend([192, 0, 2, 1, 198, 51, 100, 2, 1, 2, 3, 4]);
        let sum = checksum(&packet[..20]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        packet
    }

    fn v6() -> Vec<u8> {
        let mut packet = vec![0x6b, 0x81, 2, 3, 0, 4, 58, 64];
        packet.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend([9, 9, 9, 9, 0xaa]);
        packet
    }

    #[test]
    fn fields_of_both_versions() {
        let ip = Ip::parse(&v6()).unwrap();
        assert_eq!((ip.total_len, ip.header_len, ip.proto, ip.hop_limit), (44, 40, 58, 64));
        assert_eq!(ip.traffic_class, 0xb8);
        assert_eq!(ip.destination, "2001:db8::2".parse::<IpAddr>().unwrap());
        let ip = Ip::parse(&v4()).unwrap();
        assert_eq!((ip.total_len, ip.header_len, ip.proto, ip.hop_limit), (24, 20, 17, 64));
        assert_eq!((ip.traffic_class, ip.fragment), (2, false));
        assert_eq!(ip.source, "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn broken_headers_have_names() {
        let changed = |mut packet: Vec<u8>, at: usize, to: u8| {
            packet[at] = to;
            Ip::parse(&packet)
        };
        assert_eq!(changed(v6(), 0, 0x50), Err(IpError::Version));
        assert_eq!(changed(v6(), 5, 6), Err(IpError::BeyondData));
        assert_eq!(changed(v6(), 4, 0xff), Err(IpError::BeyondData));
        assert_eq!(Ip::parse(&v6()[..39]), Err(IpError::Truncated));
        assert_eq!(changed(v4(), 0, 0x44), Err(IpError::Malformed));
        assert_eq!(changed(v4(), 3, 19), Err(IpError::Malformed));
        assert_eq!(changed(v4(), 8, 63), Err(IpError::Checksum));
        assert_eq!(Ip::parse(&v4()[..23]), Err(IpError::BeyondData));
        assert_eq!(Ip::parse(&[]), Err(IpError::Truncated));
    }

    #[test]
    fn hop_limit_and_ecn_keep_the_checksum_valid() {
        for mut packet in [v4(), v6()] {
            assert!(decrement_hop_limit(&mut packet));
            set_ecn(&mut packet, 3);
            let ip = Ip::parse(&packet).unwrap();
            assert_eq!((ip.hop_limit, ip.traffic_class & 3), (63, 3));
            while decrement_hop_limit(&mut packet) {
                Ip::parse(&packet).unwrap();
            }
            assert_eq!(Ip::parse(&packet).unwrap().hop_limit, 1);
        }
    }

    #[test]
    fn extension_headers_are_followed_to_the_upper_layer() {
        let mut packet = v6();
        packet[6] = proto::DESTINATION_OPTIONS;
        packet.truncate(IPV6_LEN);
        packet.extend([proto::MOBILITY, 0, 0, 0, 0, 0, 0, 0, 59, 1]);
        assert_eq!(
            upper_layer_v6(&packet),
            Some(UpperLayer { proto: proto::MOBILITY, offset: 48 })
        );
        // A chain that never ends.
        packet.truncate(IPV6_LEN);
        packet.extend([proto::DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0].repeat(20));
        assert_eq!(upper_layer_v6(&packet), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut octets = octets;
            let parsed = Ip::parse(&octets);
            if let Ok(ip) = parsed {
                prop_assert!(usize::from(ip.total_len) <= octets.len());
                prop_assert!(ip.header_len <= ip.total_len);
            }
            upper_layer_v6(&octets);
            decrement_hop_limit(&mut octets);
            set_ecn(&mut octets, 1);
        }
    }
}
