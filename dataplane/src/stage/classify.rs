//! What a received frame is: an envelope for this home agent, a packet to route, or the kernel's.
//!
//! Read first: RFC 6618 s.6.1 to 6.4, 8.1; RFC 8200 s.4; readings R-24 (its first three checks),
//!
//!
//! Nothing is looked up here except the port's own addresses: the SA is the next stage's matter.

use core::net::{IpAddr, Ipv6Addr};

use hearth_wire::frame::{FrameHeader, PType};
use hearth_wire::{SeqNo, Spi};
use zerocopy::FromBytes;

use crate::config::Service;
use crate::drop_reason::DropReason;
use crate::layout::{
    ETHERNET_LEN, IPV6_LEN, Ip, IpError, UDP_LEN, destination_port, ethertype, is_bad_source,
    proto, upper_layer_v6,
};
use crate::outer::udp_checksum_ok;
use crate::stage::envelope::{Content, Envelope};
use crate::stage::icmp_outer::{self, OuterError, Reading};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// An envelope to the service address and port whose header is sound.
    Envelope(Envelope),
    /// An IP packet to look up by its destination.
    Routed(Ip),
    /// ARP or a neighbour solicitation: answered for bound home addresses, else the kernel's.
    NeighbourQuery,
    /// A fragment of an outer packet, of IPv6 or IPv4.
    Fragment { v6: bool },
    /// An ICMP error about an outer packet.
    OuterError(OuterError),
    /// To a link-local address, which may be a mobile node's.
    LinkLocal(Ipv6Addr),
    /// For the kernel behind the port's TAP.
    Host,
    /// Stops here. The PType, where that is the reason.
    Drop(DropReason),
    /// Stops here for its packet type.
    UnregisteredPType(u8),
}

/// What classification knows of the port and the box.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receiver<'a> {
    pub(crate) mac: [u8; 6],
    pub(crate) service: &'a Service,
    /// The NIC has verified the UDP checksum.
    pub(crate) udp_checksum_verified: bool,
}

/// Classifies one Ethernet frame.
pub(crate) fn classify(frame: &[u8], receiver: Receiver<'_>) -> Class {
    let Some((header, packet)) = frame.split_first_chunk::<ETHERNET_LEN>() else {
        return Class::Drop(DropReason::EthernetShort);
    };
    let group = header[0] & 1 != 0;
    if !group && header[..6] != receiver.mac {
        return Class::Drop(DropReason::EthernetNotForUs);
    }
    let ethertype = [header[12], header[13]];
    if ethertype == ethertype::ARP {
        return Class::NeighbourQuery;
    }
    if ethertype != ethertype::IPV4 && ethertype != ethertype::IPV6 {
        return Class::Host;
    }
    let ip = match Ip::parse(packet) {
        Ok(ip) if ip.ethertype() == ethertype => ip,
        Ok(_) => return Class::Drop(DropReason::IpHeader),
        Err(error) => return Class::Drop(outer_error(error)),
    };
    if group || is_kernel_matter(&ip) {
        return match ip.destination {
            _ if is_solicitation(&ip, packet) => Class::NeighbourQuery,
            IpAddr::V6(to) if !group && to.is_unicast_link_local() => Class::LinkLocal(to),
            _ => Class::Host,
        };
    }
    if is_bad_source(ip.source) {
        return Class::Drop(DropReason::IpSource);
    }
    if receiver.service.is_at(ip.destination) {
        return to_service(&ip, packet, receiver);
    }
    if is_solicitation(&ip, packet) {
        return Class::NeighbourQuery;
    }
    Class::Routed(ip)
}

/// Classifies a packet to the service address that came out of a mobile router's tunnel.
pub(crate) fn classify_inside(packet: &[u8], service: &Service) -> Class {
    // Its NIC saw the outermost checksum.
    let receiver = Receiver { mac: [0; 6], service, udp_checksum_verified: false };
    match Ip::parse(packet) {
        Ok(ip) => to_service(&ip, packet, receiver),
        Err(error) => Class::Drop(outer_error(error)),
    }
}

const fn outer_error(error: IpError) -> DropReason {
    match error {
        IpError::Version | IpError::Truncated | IpError::Malformed => DropReason::IpHeader,
        IpError::Checksum => DropReason::Ipv4Checksum,
        IpError::BeyondData => DropReason::IpLengthBeyondData,
    }
}

/// Groups and link-local destinations never leave the link; the kernel knows what they want.
const fn is_kernel_matter(ip: &Ip) -> bool {
    match ip.destination {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
    }
}

/// Neighbour Solicitation (RFC 4861 s.4.3); its contents are checked by who answers it.
fn is_solicitation(ip: &Ip, packet: &[u8]) -> bool {
    ip.proto == proto::ICMPV6 && packet.get(IPV6_LEN) == Some(&135)
}

/// A packet to the service address: an envelope if it goes to the service port, else the kernel's.
/// What can't be told apart from an envelope must not reach the kernel, which would answer it.
fn to_service(ip: &Ip, packet: &[u8], receiver: Receiver<'_>) -> Class {
    let packet = packet.get(..usize::from(ip.total_len)).unwrap_or_default();
    let header_len = usize::from(ip.header_len);
    let port = receiver.service.port;
    match ip.proto {
        proto::UDP if ip.fragment => Class::Fragment { v6: false },
        proto::UDP => udp_to_service(ip, packet, header_len, receiver),
        proto::ICMP if ip.destination.is_ipv4() => icmp_to_service(ip, packet, receiver),
        proto::ICMPV6 if ip.destination.is_ipv6() => icmp_to_service(ip, packet, receiver),
        _ if ip.destination.is_ipv4() => Class::Host,
        _ => match upper_layer_v6(packet) {
            Some(upper) if upper.proto == proto::FRAGMENT => match packet.get(upper.offset) {
                Some(&(proto::TCP | proto::ICMPV6)) => Class::Host,
                // What stands between the headers is not looked at before all is there.
                Some(&proto::UDP) if upper.offset == IPV6_LEN => Class::Fragment { v6: true },
                _ => Class::Drop(DropReason::OuterFragment),
            },
            Some(upper) if upper.proto != proto::UDP => Class::Host,
            Some(upper) if destination_port(packet, upper).is_some_and(|to| to != port) => {
                Class::Host
            }
            _ => Class::Drop(DropReason::OuterExtensionHeader),
        },
    }
}

fn icmp_to_service(ip: &Ip, packet: &[u8], receiver: Receiver<'_>) -> Class {
    match icmp_outer::read(ip, packet, receiver.service) {
        Reading::Kernel => Class::Host,
        Reading::TooLittle => Class::Drop(DropReason::OuterErrorTooShort),
        Reading::Error(error) => Class::OuterError(error),
    }
}

fn udp_to_service(ip: &Ip, packet: &[u8], header_len: usize, receiver: Receiver<'_>) -> Class {
    let payload = packet.get(header_len..).unwrap_or_default();
    let Some(&[_, _, d0, d1, l0, l1, c0, c1]) = payload.first_chunk::<UDP_LEN>() else {
        return Class::Drop(DropReason::UdpLength);
    };
    if u16::from_be_bytes([d0, d1]) != receiver.service.port {
        return Class::Host;
    }
    let udp_len = usize::from(u16::from_be_bytes([l0, l1]));
    let Some(frame) = payload.get(UDP_LEN..udp_len) else {
        return Class::Drop(DropReason::UdpLength);
    };
    // IPv6 has no packets without checksum, IPv4 has.
    let no_checksum = [c0, c1] == [0, 0];
    if no_checksum && ip.destination.is_ipv6() {
        return Class::Drop(DropReason::UdpChecksumZero);
    }
    let content = match read_header(frame) {
        Ok(content) => content,
        Err(class) => return class,
    };
    // PType 0 and 8 may move a binding or are found by their source; PType 1 has its ICV.
    let relies_on_icv = matches!(content, Content::Protected { ptype: PType::ProtectedData, .. });
    if !relies_on_icv
        && !no_checksum
        && !receiver.udp_checksum_verified
        && !udp_checksum_ok(packet, header_len, udp_len)
    {
        return Class::Drop(DropReason::UdpChecksum);
    }
    #[expect(clippy::cast_possible_truncation, reason = "within an IP packet's 16-bit length")]
    let frame_len = frame.len() as u16;
    let ecn = ip.traffic_class & 3;
    Class::Envelope(Envelope::new(ip.header_len, frame_len, ecn, content))
}

/// The first checks of R-24: length, PType, and SPI 0.
fn read_header(frame: &[u8]) -> Result<Content, Class> {
    let Ok((header, _)) = FrameHeader::read_from_prefix(frame) else {
        return Err(Class::Drop(DropReason::FrameShort));
    };
    let bits = header.ptype_bits();
    let Some(ptype) = PType::from_bits(bits) else {
        return Err(Class::UnregisteredPType(bits));
    };
    match (ptype, Spi::new(header.spi_bits())) {
        (PType::PlainData, Ok(_)) => Err(Class::Drop(DropReason::PlainSpiNotZero)),
        (PType::PlainData, Err(_)) if header.seq() != SeqNo(0) => {
            Err(Class::Drop(DropReason::PlainSequenceNotZero))
        }
        (PType::PlainData, Err(_)) => Ok(Content::Plain),
        (PType::ProtectedData, Err(_)) => Err(Class::Drop(DropReason::ProtectedSpiZero)),
        (PType::MobilityHeader, Err(_)) => Err(Class::Drop(DropReason::SignallingSpiZero)),
        (ptype, Ok(spi)) => Ok(Content::Protected { ptype, spi, seq: header.seq() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVICE: Service = Service {
        ip6: Some(core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ip4: Some(core::net::Ipv4Addr::new(198, 51, 100, 1)),
        port: 7872,
    };
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn receiver() -> Receiver<'static> {
        Receiver { mac: MAC, service: &SERVICE, udp_checksum_verified: true }
    }

    /// An Ethernet frame with an IPv6 packet to the service address.
    fn frame(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = [MAC, [2, 0, 0, 0, 0, 9]].concat();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend([next_header, 64]);
        frame.extend(core::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2).octets());
        frame.extend(SERVICE.ip6.unwrap().octets());
        frame.extend(payload);
        frame
    }

    fn udp(port: u16, content: &[u8]) -> Vec<u8> {
        let mut udp = vec![0x9c, 0x40];
        udp.extend(port.to_be_bytes());
        udp.extend(u16::try_from(content.len() + 8).unwrap().to_be_bytes());
        udp.extend([0xbe, 0xef]);
        udp.extend(content);
        udp
    }

    #[test]
    fn an_envelope_is_found_where_it_stands() {
        let content = [0x80, 0, 0, 7, 0, 0, 0, 9, 0xaa, 0xbb];
        let frame = frame(17, &udp(7872, &content));
        let Class::Envelope(envelope) = classify(&frame, receiver()) else {
            panic!("no envelope");
        };
        assert_eq!((envelope.frame_offset(), envelope.frame_len()), (48, 10));
        assert_eq!(
            envelope.endpoints(&frame[14..]),
            Some(("[2001:db8:1::2]:40000".parse().unwrap(), "[2001:db8::1]:7872".parse().unwrap()))
        );
        assert_eq!(
            envelope.content(),
            Content::Protected {
                ptype: PType::MobilityHeader,
                spi: Spi::new(7).unwrap(),
                seq: SeqNo(9)
            }
        );
    }

    #[test]
    fn nothing_that_might_be_an_envelope_reaches_the_kernel() {
        let inner = udp(7872, &[0; 8]);
        // Behind destination options, behind a broken chain, as a fragment.
        let options = [&[17, 0, 1, 4, 0, 0, 0, 0], &inner[..]].concat();
        let elsewhere = [&[17, 0, 1, 4, 0, 0, 0, 0], &udp(7873, &[0; 8])[..]].concat();
        let fragment = [&[17, 0, 0, 1, 0, 0, 0, 5], &inner[..]].concat();
        let odd_fragment = [&[60, 0, 0, 1, 0, 0, 0, 5], &inner[..]].concat();
        let ping_fragment = [&[58, 0, 0, 1, 0, 0, 0, 5], &inner[..]].concat();
        let drop = |reason| Class::Drop(reason);
        for (next_header, payload, expected) in [
            (60, &options[..], drop(DropReason::OuterExtensionHeader)),
            (60, &[17][..], drop(DropReason::OuterExtensionHeader)),
            (60, &options[..11], drop(DropReason::OuterExtensionHeader)),
            (60, &elsewhere[..], Class::Host),
            (44, &fragment[..], Class::Fragment { v6: true }),
            (44, &odd_fragment[..], drop(DropReason::OuterFragment)),
            (44, &ping_fragment[..], Class::Host),
            (17, &udp(7873, &[0; 8])[..], Class::Host),
            (6, &inner[..], Class::Host),
        ] {
            assert_eq!(classify(&frame(next_header, payload), receiver()), expected);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(
            junk in prop::collection::vec(any::<u8>(), 0..120),
            next_header in any::<u8>(),
        ) {
            classify(&junk, receiver());
            classify(&frame(next_header, &junk), receiver());
            classify(&frame(17, &udp(7872, &junk)), receiver());
        }
    }
}
