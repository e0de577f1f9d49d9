//! ICMP errors that the home agent makes about packets that it can't carry.
//!
//! Read first: RFC 4443 s.2.2, 2.4, 3.1 to 3.3; RFC 792; RFC 1191 s.4; RFC 1812 s.4.3.2, 5.2.7;
//! RFC 2473 s.7, 8.2, 8.3; readings R-33, R-42.
//!
//! ```text
//! IPv6 or IPv4 header | Type Code Checksum | 0 or MTU | the packet, as much as may be quoted
//! ```
//!
//! The packet itself becomes its error: it is cut to what is quoted, and headers are put in front.
//! So this needs no buffer, and can't fail for want of one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_dpdk::Mbuf;
use hearth_wire::ip::{Ipv4Header, Ipv6Header, checksum, pseudo_v6, updated};
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use crate::config::Service;
use crate::layout::{
    IPV4_LEN, IPV6_LEN, UpperLayer, behind_extensions, is_bad_source, len32, proto, upper_layer_v6,
};

/// Octets of an ICMP header with the word behind it.
const ICMP_LEN: usize = 8;
/// Room for the headers of an error.
const ROOM: usize = IPV6_LEN + ICMP_LEN;
/// "As much of the invoking packet as possible without the ICMPv6 packet exceeding the minimum
/// IPv6 MTU" (RFC 4443 s.2.4 (c)).
const MOST_V6: usize = 1280;
/// "As much of the original datagram as possible without the length of the ICMP datagram
/// exceeding 576 bytes" (RFC 1812 s.4.3.2.3).
const MOST_V4: usize = 576;
const HOP_LIMIT: u8 = 64;
/// CS6: "ICMP error messages [...] SHOULD have their precedence value set to 6" (RFC 1812
/// s.4.3.2.5).
const TRAFFIC_CLASS: u8 = 0xc0;
/// Whence a home agent without an IPv4 address speaks: the IPv4 dummy address of RFC 7600 s.4.8.
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// The least that every IPv6 link carries (RFC 8200 s.5).
pub(crate) const IPV6_MIN_MTU: u16 = 1280;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No route leads to the destination.
    NoRoute,
    /// The destination is not there.
    AddressUnreachable,
    /// The source is link-local and the destination is not.
    BeyondScope,
    /// The packet is larger than this many octets, the most that can be carried.
    TooBig(u16),
    /// The hop limit ran out.
    HopLimit,
}

impl Problem {
    /// Type, code, and what stands behind the checksum; RFC 2473 s.8.2.
    const fn v6(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (1, 0, 0),
            Self::BeyondScope => (1, 2, 0),
            Self::AddressUnreachable => (1, 3, 0),
            Self::TooBig(mtu) => (2, 0, mtu as u32),
            Self::HopLimit => (3, 0, 0),
        }
    }

    /// The same for IPv4; RFC 2473 s.8.3, RFC 1812 s.5.2.7.1.
    const fn v4(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (3, 0, 0),
            Self::AddressUnreachable | Self::BeyondScope => (3, 1, 0),
            Self::TooBig(mtu) => (3, 4, mtu as u32),
            Self::HopLimit => (11, 0, 0),
        }
    }
}

/// An error that is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Whom it goes to: the source of the packet.
    pub(crate) to: IpAddr,
    from: IpAddr,
    problem: Problem,
    /// Octets of the packet that it quotes.
    quoted: usize,
}

impl Answer {
    /// The error about a packet that starts with its IP header; `None` where there must be none.
    /// The packet may be cut off, and octets behind its own length are not quoted.
    pub(crate) fn new(packet: &[u8], problem: Problem, service: &Service) -> Option<Self> {
        let (to, from, len, most) = match packet.first()? >> 4 {
            6 => {
                let (header, _) = Ipv6Header::ref_from_prefix(packet).ok()?;
                may_answer_v6(header, packet, problem).then_some(())?;
                let len = usize::from(header.payload_len.get()) + IPV6_LEN;
                (header.source().into(), service.ip6?.into(), len, MOST_V6 - ROOM)
            }
            4 => {
                let (header, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
                may_answer_v4(header, packet).then_some(())?;
                let from = service.ip4.unwrap_or(DUMMY).into();
                let most = MOST_V4 - IPV4_LEN - ICMP_LEN;
                (header.source().into(), from, usize::from(header.total_len.get()), most)
            }
            _ => return None,
        };
        Some(Self { to, from, problem, quoted: packet.len().min(len).min(most) })
    }

    /// Makes the error out of the packet that [`Self::new`] saw.
    ///
    /// # Errors
    /// The packet, cut, where there is no room in front of it.
    pub(crate) fn enclose(&self, mut mbuf: Mbuf) -> Result<Mbuf, Mbuf> {
        let cut = mbuf.data().len().checked_sub(self.quoted).and_then(|behind| mbuf.trim(behind));
        let mut octets = [0; ROOM];
        let headers = cut.and_then(|()| self.headers(mbuf.data(), &mut octets));
        let Some(headers) = headers else { return Err(mbuf) };
        match mbuf.prepend(headers.len()) {
            Some(front) => {
                front.copy_from_slice(headers);
                Ok(mbuf)
            }
            None => Err(mbuf),
        }
    }

    /// Writes the headers in front of what is quoted.
    fn headers<'a>(&self, quoted: &[u8], space: &'a mut [u8; ROOM]) -> Option<&'a [u8]> {
        let len = ICMP_LEN + quoted.len();
        match (self.from, self.to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut header = Ipv6Header::new(from, to, proto::ICMPV6, HOP_LIMIT, len)?;
                header.set_traffic_class(TRAFFIC_CLASS);
                let mut icmp = icmp_header(self.problem.v6());
                let sum = pseudo_v6(from, to, len32(len), proto::ICMPV6).plus(&icmp).plus(quoted);
                icmp[2..4].copy_from_slice(&sum.finish().to_be_bytes());
                write(space, header.as_bytes(), &icmp)
            }
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = Ipv4Header::new(from, to, proto::ICMP, HOP_LIMIT, len)?;
                header.set_traffic_class(TRAFFIC_CLASS);
                // Nothing splits 576 octets; a datagram that is never split needs no identification
                // (RFC 6864 s.4.1).
                let flags = Ipv4Header::DONT_FRAGMENT;
                header.checksum = U16::new(updated(header.checksum.get(), 0, flags));
                header.flags_fragment = U16::new(flags);
                let mut icmp = icmp_header(self.problem.v4());
                let sum = hearth_wire::ip::Sum::new().plus(&icmp).plus(quoted);
                icmp[2..4].copy_from_slice(&sum.finish().to_be_bytes());
                write(space, header.as_bytes(), &icmp)
            }
            _ => None,
        }
    }
}

/// With the checksum 0.
fn icmp_header((kind, code, rest): (u8, u8, u32)) -> [u8; ICMP_LEN] {
    let [a, b, c, d] = rest.to_be_bytes();
    [kind, code, 0, 0, a, b, c, d]
}

fn write<'a>(space: &'a mut [u8; ROOM], ip: &[u8], icmp: &[u8; ICMP_LEN]) -> Option<&'a [u8]> {
    let headers = space.get_mut(..ip.len() + ICMP_LEN)?;
    let (front, back) = headers.split_at_mut_checked(ip.len())?;
    front.copy_from_slice(ip);
    back.copy_from_slice(icmp);
    Some(headers)
}

/// RFC 4443 s.2.4 (e).
fn may_answer_v6(header: &Ipv6Header, packet: &[u8], problem: Problem) -> bool {
    // (e.6): "a packet whose source address does not uniquely identify a single node".
    if is_bad_source(header.source().into()) {
        return false;
    }
    // (e.3), and its exception.
    if header.destination().is_multicast() && !matches!(problem, Problem::TooBig(_)) {
        return false;
    }
    let Some(mut upper) = upper_layer_v6(packet) else { return false };
    if upper.proto == proto::FRAGMENT {
        let Some(&[next, _, high, low, ..]) =
            packet.get(upper.offset..).and_then(<[u8]>::first_chunk::<8>)
        else {
            return false;
        };
        if u16::from_be_bytes([high, low]) >> 3 != 0 {
            // Of another than the first fragment nobody can say whether an error is inside.
            return !matches!(next, proto::ICMPV6 | proto::MOBILITY | proto::DESTINATION_OPTIONS);
        }
        let behind = UpperLayer { proto: next, offset: upper.offset + 8 };
        match behind_extensions(packet, behind) {
            Some(behind) => upper = behind,
            None => return false,
        }
    }
    match upper.proto {
        // (e.1) and (e.2): errors are the types below 128, 137 is a redirect.
        proto::ICMPV6 => packet.get(upper.offset).is_some_and(|kind| *kind >= 128 && *kind != 137),
        // What came encrypted must not leave as a quotation in the clear. A Home Test Init comes
        // encrypted where data does not (RFC 6275 s.10.4.6), and its cookie is a secret.
        proto::MOBILITY => false,
        _ => true,
    }
}

/// RFC 1812 s.4.3.2.7.
fn may_answer_v4(header: &Ipv4Header, packet: &[u8]) -> bool {
    let (source, destination) = (header.source(), header.destination());
    // "A source address that does not define a single host": class E and network 0 as well.
    let single = !is_bad_source(source.into()) && (1..240).contains(&source.octets()[0]);
    let first = header.flags_fragment.get() & Ipv4Header::FRAGMENT_OFFSET == 0;
    if !single || !first || destination.is_multicast() || destination.is_broadcast() {
        return false;
    }
    header.proto != proto::ICMP
        || packet.get(header.header_len()).is_some_and(|kind| !is_error_v4(*kind))
}

/// Destination Unreachable, Source Quench, Redirect, Time Exceeded, Parameter Problem.
pub(crate) const fn is_error_v4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// Whether the checksum of an ICMPv6 message is right.
pub(crate) fn checksum_ok_v6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> bool {
    let len = len32(message.len());
    pseudo_v6(source, destination, len, proto::ICMPV6).plus(message).finish() == 0
}

/// Whether the checksum of an ICMP message is right.
pub(crate) fn checksum_ok_v4(message: &[u8]) -> bool {
    checksum(message) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Ip;
    use proptest::prelude::*;

    const SERVICE: Service = Service {
        ip6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1)),
        ip4: Some(Ipv4Addr::new(198, 51, 100, 1)),
        port: 7872,
    };
    const PROBLEMS: [Problem; 5] = [
        Problem::NoRoute,
        Problem::AddressUnreachable,
        Problem::BeyondScope,
        Problem::TooBig(1406),
        Problem::HopLimit,
    ];

    fn v6(source: &str, destination: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
        let [source, destination] = [source, destination].map(|text| text.parse().unwrap());
        let header = Ipv6Header::new(source, destination, next_header, 9, payload.len()).unwrap();
        [header.as_bytes(), payload].concat()
    }

    fn v4(source: &str, destination: &str, proto: u8, payload: &[u8]) -> Vec<u8> {
        let [source, destination] = [source, destination].map(|text| text.parse().unwrap());
        let header = Ipv4Header::new(source, destination, proto, 9, payload.len()).unwrap();
        [header.as_bytes(), payload].concat()
    }

    fn usual6(payload: &[u8]) -> Vec<u8> {
        v6("2001:db8:f::c0", "2001:db8:f::1", proto::UDP, payload)
    }

    fn usual4(payload: &[u8]) -> Vec<u8> {
        v4("203.0.113.200", "203.0.113.1", proto::UDP, payload)
    }

    /// The whole error, as it would leave.
    fn error(packet: &[u8], problem: Problem) -> Option<Vec<u8>> {
        let answer = Answer::new(packet, problem, &SERVICE)?;
        let quoted = &packet[..answer.quoted];
        let mut space = [0; ROOM];
        let headers = answer.headers(quoted, &mut space)?;
        Some([headers, quoted].concat())
    }

    #[test]
    fn types_codes_and_mtus_of_both_families() {
        let expected = [
            ([1, 0, 0, 0], [3, 0, 0, 0]),
            ([1, 3, 0, 0], [3, 1, 0, 0]),
            ([1, 2, 0, 0], [3, 1, 0, 0]),
            ([2, 0, 5, 126], [3, 4, 5, 126]),
            ([3, 0, 0, 0], [11, 0, 0, 0]),
        ];
        for (problem, (six, four)) in PROBLEMS.into_iter().zip(expected) {
            let packet = error(&usual6(b"hello"), problem).unwrap();
            assert_eq!([packet[40], packet[41], packet[46], packet[47]], six);
            assert_eq!(packet[44..46], [0, 0]);
            assert!(checksum_ok_v6(
                SERVICE.ip6.unwrap(),
                "2001:db8:f::c0".parse().unwrap(),
                &packet[40..]
            ));
            assert_eq!(packet[48..], usual6(b"hello"));
            let packet = error(&usual4(b"hello"), problem).unwrap();
            assert_eq!([packet[20], packet[21], packet[26], packet[27]], four);
            assert!(checksum_ok_v4(&packet[20..]));
            assert_eq!(packet[28..], usual4(b"hello"));
        }
    }

    #[test]
    fn the_headers_are_sound_and_lead_back_to_the_sender() {
        for (packet, from, to) in [
            (usual6(&[7; 2000]), "2001:db8:a::1", "2001:db8:f::c0"),
            (usual4(&[7; 2000]), "198.51.100.1", "203.0.113.200"),
        ] {
            let error = error(&packet, Problem::HopLimit).unwrap();
            let ip = Ip::parse(&error).unwrap();
            assert_eq!(ip.source, from.parse::<IpAddr>().unwrap());
            assert_eq!(ip.destination, to.parse::<IpAddr>().unwrap());
            assert_eq!((ip.hop_limit, ip.traffic_class, ip.fragment), (64, 0xc0, false));
            // As much as possible, and no more.
            let most = if ip.destination.is_ipv6() { 1280 } else { 576 };
            assert_eq!((error.len(), usize::from(ip.total_len)), (most, most));
        }
    }

    #[test]
    fn octets_behind_the_packet_are_not_quoted_and_a_cut_one_is() {
        let padded = [usual6(b"x"), vec![0; 20]].concat();
        assert_eq!(error(&padded, Problem::NoRoute).unwrap().len(), 48 + 41);
        let cut = &usual6(&[1; 900])[..77];
        assert_eq!(error(cut, Problem::NoRoute).unwrap().len(), 48 + 77);
        assert_eq!(error(&usual6(&[])[..39], Problem::NoRoute), None);
    }

    /// RFC 4443 s.2.4 (e).
    #[test]
    fn no_error_about_these_ipv6_packets() {
        let (cn, home) = ("2001:db8:f::c0", "2001:db8:f::1");
        let fragment = |next: u8, offset: u8, kind: u8| [next, 0, offset, 0, 0, 0, 0, 1, kind, 0];
        let options = [proto::ICMPV6, 0, 1, 4, 0, 0, 0, 0, 1, 0];
        for (packet, what) in [
            (v6("::", home, 17, &[]), "the unspecified address"),
            (v6("::1", home, 17, &[]), "loopback"),
            (v6("ff02::1", home, 17, &[]), "a group as source"),
            (v6(cn, "ff0e::1", 17, &[]), "a group as destination"),
            (v6(cn, home, 58, &[1, 0]), "an error"),
            (v6(cn, home, 58, &[127, 0]), "an error of unknown type"),
            (v6(cn, home, 58, &[137, 0]), "a redirect"),
            (v6(cn, home, 58, &[]), "something that may be an error"),
            (v6(cn, home, 60, &options), "an error behind an extension header"),
            (v6(cn, home, 44, &fragment(58, 0, 1)), "the first fragment of an error"),
            (v6(cn, home, 44, &fragment(58, 1, 200)), "perhaps another fragment of an error"),
            (v6(cn, home, 60, &[17]), "a broken chain"),
            (v6(cn, home, proto::MOBILITY, &[59, 1, 1, 0]), "a Home Test Init"),
        ] {
            assert_eq!(Answer::new(&packet, Problem::HopLimit, &SERVICE), None, "{what}");
        }
        for (packet, what) in [
            (v6(cn, home, 58, &[128, 0]), "an echo request"),
            (v6(cn, home, 44, &fragment(58, 0, 128)), "the first fragment of an echo request"),
            (v6(cn, home, 44, &fragment(17, 1, 0)), "a fragment of a datagram"),
            (v6("fe80::7", home, 17, &[]), "a link-local source"),
        ] {
            assert!(Answer::new(&packet, Problem::HopLimit, &SERVICE).is_some(), "{what}");
        }
        // The exception of (e.3).
        assert!(error(&v6(cn, "ff0e::1", 17, &[]), Problem::TooBig(1280)).is_some());
    }

    /// RFC 1812 s.4.3.2.7.
    #[test]
    fn no_error_about_these_ipv4_packets() {
        let (cn, home) = ("203.0.113.200", "203.0.113.1");
        let fragment = |offset: u8| {
            let mut packet = usual4(b"x");
            packet[7] = offset;
            packet
        };
        for (packet, what) in [
            (v4("0.0.0.0", home, 17, &[]), "this host"),
            (v4("0.1.2.3", home, 17, &[]), "this network"),
            (v4("127.0.0.1", home, 17, &[]), "loopback"),
            (v4("224.0.0.1", home, 17, &[]), "a group as source"),
            (v4("240.0.0.1", home, 17, &[]), "class E"),
            (v4("255.255.255.255", home, 17, &[]), "everybody as source"),
            (v4(cn, "224.0.0.1", 17, &[]), "a group as destination"),
            (v4(cn, "255.255.255.255", 17, &[]), "everybody as destination"),
            (v4(cn, home, 1, &[3, 1]), "an error"),
            (v4(cn, home, 1, &[5, 1]), "a redirect"),
            (v4(cn, home, 1, &[]), "something that may be an error"),
            (fragment(1), "another than the first fragment"),
        ] {
            assert_eq!(Answer::new(&packet, Problem::HopLimit, &SERVICE), None, "{what}");
        }
        assert!(Answer::new(&v4(cn, home, 1, &[8, 0]), Problem::HopLimit, &SERVICE).is_some());
        let mut first = usual4(b"x");
        first[6] = 0x20;
        assert!(Answer::new(&first, Problem::HopLimit, &SERVICE).is_some());
    }

    #[test]
    fn without_an_ipv4_address_the_dummy_speaks() {
        let service = Service { ip4: None, ..SERVICE };
        let answer = Answer::new(&usual4(b"x"), Problem::NoRoute, &service).unwrap();
        assert_eq!(answer.from, IpAddr::from([192, 0, 0, 8]));
        let service = Service { ip6: None, ..SERVICE };
        assert_eq!(Answer::new(&usual6(b"x"), Problem::NoRoute, &service), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(
            octets in prop::collection::vec(any::<u8>(), 0..200),
            six in any::<bool>(),
            problem in prop::sample::select(&PROBLEMS),
        ) {
            let mut octets = octets;
            if let Some(first) = octets.first_mut() {
                *first = if six { 0x60 } else { 0x45 };
            }
            if let Some(error) = error(&octets, problem) {
                let ip = Ip::parse(&error).unwrap();
                prop_assert_eq!(usize::from(ip.total_len), error.len());
                prop_assert!(error.len() <= 248);
                // And about the error there is none.
                prop_assert_eq!(Answer::new(&error, problem, &SERVICE), None);
            }
        }
    }
}
