//! ICMP errors about outer packets: whether this home agent sent the packet, and what follows.
//!
//! Read first: RFC 2473 s.8, 8.1 to 8.3; RFC 4443 s.2.4 (d); RFC 8201 s.4; RFC 792; reading R-42.
//!
//! ```text
//! IP | ICMP | quoted outer IP | UDP | PType SPI | Seq | IV | ciphertext, cut off somewhere
//! ```
//!
//! RFC 2473 s.8 wants such an error relayed to the source of the inner packet, whose address is
//! in the ciphertext. A CBC ciphertext can be decrypted from its start as far as it goes, and the
//! home agent has the key: so nothing about sent packets has to be kept. What comes out is also
//! the proof that the error is about a packet of ours. Nobody without the key can invent octets
//! that decrypt to a header with the mobile node's home address; who saw a packet on its way may
//! answer it, as any router there may. Under NULL, and for PType 0, that proof is only as good as
//! the rest: SPI, a sequence number sent lately, care-of address and port, and both inner
//! addresses.
//!
//! Therefore an error is believed only if it quotes enough: up to the inner header. IPv4 routers
//! that quote eight octets (RFC 792) show the UDP header and nothing of the SA; those errors are
//! dropped and counted (TUN-13). Packet Too Big lowers the tunnel's path MTU; it and all others
//! are relayed by RFC 2473 s.8.2 and 8.3. Errors about PType 8 have nobody to be relayed to, and
//! mobility signalling has its own retransmissions.

use core::net::{IpAddr, SocketAddr};

use hearth_wire::frame::FrameHeader;

use crate::config::Service;
use crate::layout::{IPV4_LEN, IPV6_LEN, Ip, UDP_LEN, len16, proto};
use crate::stage::icmp::{checksum_ok_v4, checksum_ok_v6};

/// Octets of an ICMP header with the word behind it.
const ICMP_LEN: usize = 8;

/// What an error says of the way to the mobile node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// The outer packet is larger than this.
    TooBig(u16),
    /// It can't get there: unreachable, or the hop limit ran out (RFC 2473 s.8.1).
    Unreachable,
}

/// An error about an envelope from the service address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OuterError {
    pub(crate) complaint: Complaint,
    /// The care-of address and port that the quoted packet went to.
    pub(crate) remote: SocketAddr,
    /// Octets of the quoted packet when it was whole.
    pub(crate) outer_len: u16,
    /// What is there of the quoted frame, from PType on: offset in the packet, and octets.
    pub(crate) frame: (u16, u16),
}

/// What an ICMP packet to the service address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing about envelopes: the kernel's.
    Kernel,
    /// About an envelope, but without the start of its frame.
    TooLittle,
    /// About an envelope.
    Error(OuterError),
}

/// Reads an ICMP packet to the service address, which starts with its IP header.
pub(crate) fn read(ip: &Ip, packet: &[u8], service: &Service) -> Reading {
    let message = packet.get(usize::from(ip.header_len)..usize::from(ip.total_len));
    let Some((header, quote)) = message.and_then(<[u8]>::split_first_chunk::<ICMP_LEN>) else {
        return Reading::Kernel;
    };
    let Some(complaint) = complaint(ip, header) else { return Reading::Kernel };
    let Some(quoted) = Quoted::read(quote, ip.destination) else { return Reading::Kernel };
    if ip.fragment || quoted.from_port != service.port {
        return Reading::Kernel;
    }
    let sound = match (ip.source, ip.destination) {
        (IpAddr::V6(from), IpAddr::V6(to)) => checksum_ok_v6(from, to, message.unwrap_or_default()),
        _ => checksum_ok_v4(message.unwrap_or_default()),
    };
    let offset = usize::from(ip.header_len) + ICMP_LEN;
    match quoted.error(complaint, offset, quote.len()).filter(|_| sound) {
        Some(error) => Reading::Error(error),
        None => Reading::TooLittle,
    }
}

/// An outer packet from the service address that could not even leave: as if somebody had answered
/// it by this error. `None` where it is no envelope, or not the first fragment of one.
pub(crate) fn of_own(packet: &[u8], service: &Service, complaint: Complaint) -> Option<OuterError> {
    let (from, _) = Ip::addresses(packet)?;
    if !service.is_at(from) {
        return None;
    }
    let own = Quoted::read(packet, from).filter(|own| own.from_port == service.port)?;
    own.error(complaint, 0, packet.len())
}

/// The types that RFC 2473 s.8.1 relays and that this home agent's packets can provoke. Others
/// (redirects, source quench, a reassembly that took too long) are left to the kernel.
fn complaint(ip: &Ip, header: &[u8; ICMP_LEN]) -> Option<Complaint> {
    let &[kind, code, _, _, a, b, c, d] = header;
    if ip.destination.is_ipv6() {
        return match (kind, code) {
            (1, _) | (3, 0) => Some(Complaint::Unreachable),
            (2, _) => {
                let mtu = u32::from_be_bytes([a, b, c, d]);
                Some(Complaint::TooBig(u16::try_from(mtu).unwrap_or(u16::MAX)))
            }
            _ => None,
        };
    }
    match (kind, code) {
        (3, 4) => Some(Complaint::TooBig(u16::from_be_bytes([c, d]))),
        (3, _) | (11, 0) => Some(Complaint::Unreachable),
        _ => None,
    }
}

/// The quoted packet's outer headers.
struct Quoted {
    to: IpAddr,
    from_port: u16,
    to_port: u16,
    /// Octets of the whole packet.
    len: u16,
    /// Offset of the UDP header in the quotation.
    udp: usize,
}

impl Quoted {
    /// `None` where the quoted packet is not from `own`, not UDP, or not the first fragment.
    fn read(quote: &[u8], own: IpAddr) -> Option<Self> {
        let (from, to) = Ip::addresses(quote)?;
        let word = |at: usize| {
            quote.get(at..).and_then(<[u8]>::first_chunk::<2>).copied().map(u16::from_be_bytes)
        };
        if from != own {
            return None;
        }
        let (len, udp) = if from.is_ipv4() {
            let header_len = usize::from(quote.first()? & 0x0f) * 4;
            // DF may be set or not; an offset may not.
            let first = word(6)? & 0x1fff == 0;
            let sound = quote.first()? >> 4 == 4 && header_len >= IPV4_LEN;
            let is_udp = first && sound && quote.get(9) == Some(&proto::UDP);
            (word(2)?, is_udp.then_some(header_len)?)
        } else {
            let udp = match *quote.get(6)? {
                proto::UDP => IPV6_LEN,
                // Fragments are made of outer packets here (R-42).
                proto::FRAGMENT
                    if quote.get(IPV6_LEN) == Some(&proto::UDP)
                        && word(IPV6_LEN + 2)? >> 3 == 0 =>
                {
                    IPV6_LEN + 8
                }
                _ => return None,
            };
            (word(4)?.saturating_add(40), udp)
        };
        Some(Self { to, from_port: word(udp)?, to_port: word(udp + 2)?, len, udp })
    }

    /// The error about it, where `there` octets of it are quoted from `offset` on: `None` where
    /// they do not reach its frame.
    fn error(&self, complaint: Complaint, offset: usize, there: usize) -> Option<OuterError> {
        let start = self.udp + UDP_LEN;
        let there = there.min(usize::from(self.len)).saturating_sub(start);
        (there >= FrameHeader::LEN).then_some(OuterError {
            complaint,
            remote: SocketAddr::new(self.to, self.to_port),
            outer_len: self.len,
            frame: (len16(offset + start), len16(there)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use hearth_wire::ip::{Ipv4Header, Ipv6Header, checksum, pseudo_v6};
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    const HA6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
    const HA4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    const SERVICE: Service = Service { ip6: Some(HA6), ip4: Some(HA4), port: 7872 };
    const COA6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 5);
    const COA4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
    const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 1);
    const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

    /// UDP from the service port to port 40000 with 64 octets in it.
    fn udp() -> Vec<u8> {
        let mut udp = vec![0x1e, 0xc0, 0x9c, 0x40, 0, 72, 1, 2];
        udp.extend(0..64);
        udp
    }

    fn quote(v6: bool) -> Vec<u8> {
        let udp = udp();
        if v6 {
            let header = Ipv6Header::new(HA6, COA6, proto::UDP, 60, udp.len()).unwrap();
            [header.as_bytes(), &udp].concat()
        } else {
            let header = Ipv4Header::new(HA4, COA4, proto::UDP, 60, udp.len()).unwrap();
            [header.as_bytes(), &udp].concat()
        }
    }

    /// An ICMP error, with a right checksum.
    fn error(v6: bool, kind: u8, code: u8, rest: u32, quote: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0];
        message.extend(rest.to_be_bytes());
        message.extend(quote);
        let len = message.len();
        let (sum, header) = if v6 {
            let sum = pseudo_v6(ROUTER6, HA6, u32::try_from(len).unwrap(), 58);
            let header = Ipv6Header::new(ROUTER6, HA6, 58, 60, len).unwrap();
            (sum.plus(&message).finish(), header.as_bytes().to_vec())
        } else {
            let header = Ipv4Header::new(ROUTER4, HA4, 1, 60, len).unwrap();
            (checksum(&message), header.as_bytes().to_vec())
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        [header, message].concat()
    }

    fn reading(packet: &[u8]) -> Reading {
        read(&Ip::parse(packet).unwrap(), packet, &SERVICE)
    }

    fn complaint_of(packet: &[u8]) -> Option<Complaint> {
        match reading(packet) {
            Reading::Error(error) => Some(error.complaint),
            _ => None,
        }
    }

    #[test]
    fn the_frame_is_found_in_the_quotation() {
        for (v6, kind, remote, offset) in [
            (true, 1, SocketAddr::new(COA6.into(), 40_000), 40 + 8 + 48),
            (false, 3, SocketAddr::new(COA4.into(), 40_000), 20 + 8 + 28),
        ] {
            let packet = error(v6, kind, 0, 0, &quote(v6));
            let outer_len = len16(quote(v6).len());
            let expected = OuterError {
                complaint: Complaint::Unreachable,
                remote,
                outer_len,
                frame: (offset, 64),
            };
            assert_eq!(reading(&packet), Reading::Error(expected));
            assert_eq!(packet[usize::from(offset)..], udp()[8..]);
        }
    }

    /// RFC 2473 s.8.1.
    #[test]
    fn what_is_relayed_and_what_is_the_kernels() {
        let unreachable = Some(Complaint::Unreachable);
        for (v6, kind, code, rest, expected) in [
            (true, 1, 0, 0, unreachable),
            (true, 1, 4, 0, unreachable),
            (true, 2, 0, 1400, Some(Complaint::TooBig(1400))),
            (true, 2, 0, 1 << 16, Some(Complaint::TooBig(u16::MAX))),
            (true, 3, 0, 0, unreachable),
            (true, 3, 1, 0, None),
            (true, 4, 1, 0, None),
            (true, 128, 0, 0, None),
            (false, 3, 1, 0, unreachable),
            (false, 3, 4, 1400, Some(Complaint::TooBig(1400))),
            (false, 11, 0, 0, unreachable),
            (false, 11, 1, 0, None),
            (false, 5, 1, 0, None),
            (false, 8, 0, 0, None),
        ] {
            let packet = error(v6, kind, code, rest, &quote(v6));
            assert_eq!(complaint_of(&packet), expected, "{v6} {kind}/{code}");
        }
    }

    #[test]
    fn errors_about_other_packets_are_the_kernels() {
        for v6 in [true, false] {
            let kind = if v6 { 1 } else { 3 };
            let (source, proto, port) = if v6 { (23, 6, 40) } else { (15, 9, 20) };
            for (place, value) in [(source, 99), (proto, 6), (port, 0x50), (0, 0x50)] {
                let mut quote = quote(v6);
                quote[place] = value;
                assert_eq!(reading(&error(v6, kind, 0, 0, &quote)), Reading::Kernel, "{place}");
            }
        }
    }

    #[test]
    fn a_quotation_that_is_too_short_or_broken_helps_nobody() {
        for (v6, kind, headers) in [(true, 1, 48), (false, 3, 28)] {
            let cut = |len: usize| reading(&error(v6, kind, 0, 0, &quote(v6)[..len]));
            assert_eq!(cut(headers - 5), Reading::Kernel);
            assert_eq!(cut(headers), Reading::TooLittle);
            assert_eq!(cut(headers + 7), Reading::TooLittle);
            assert!(matches!(cut(headers + 8), Reading::Error(_)));
            let mut packet = error(v6, kind, 0, 0, &quote(v6));
            *packet.last_mut().unwrap() ^= 1;
            assert_eq!(reading(&packet), Reading::TooLittle);
        }
    }

    /// Outer packets may leave in fragments (R-42), and the first one is quoted.
    #[test]
    fn a_quoted_fragment() {
        for (offset, found) in [(0, true), (1, false)] {
            let mut six = quote(true);
            six[6] = proto::FRAGMENT;
            six[5] += 8;
            six.splice(40..40, [proto::UDP, 0, offset, 1, 0, 0, 0, 1]);
            let packet = error(true, 2, 0, 1280, &six);
            match reading(&packet) {
                Reading::Error(error) => assert_eq!((found, error.frame), (true, (104, 64))),
                reading => assert_eq!((found, reading), (false, Reading::Kernel)),
            }
            let mut four = quote(false);
            four[6..8].copy_from_slice(&[0x20, offset]);
            let found = if found { Some(Complaint::Unreachable) } else { None };
            assert_eq!(complaint_of(&error(false, 11, 0, 0, &four)), found);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(
            v6 in any::<bool>(),
            kind in 0..15_u8,
            junk in prop::collection::vec(any::<u8>(), 0..150),
            at in 0..100_usize,
            value in any::<u8>(),
        ) {
            let mut quote = quote(v6);
            if let Some(octet) = quote.get_mut(at) {
                *octet = value;
            }
            for packet in [error(v6, kind, 0, 9, &junk), error(v6, kind, 0, 9, &quote)] {
                if let Reading::Error(error) = reading(&packet) {
                    let (offset, len) = error.frame;
                    prop_assert!(usize::from(offset) + usize::from(len) <= packet.len());
                }
            }
        }
    }
}
