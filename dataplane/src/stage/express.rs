//! The common shapes of a frame, told by fixed offsets: an envelope of PType 1 to the service, and
//! a unicast packet to look up. Everything else is [`classify`](super::classify)'s, and so is
//! everything that has to be dropped.
//!
//! Nothing is decided here that [`classify`](super::classify::classify) would decide otherwise; a
//! property test holds the two together.

use hearth_wire::frame::PType;
use hearth_wire::{SeqNo, Spi};

use crate::config::Service;
use crate::layout::{
    Address6, ETHERNET_LEN, IPV4_LEN, IPV6_LEN, UDP_LEN, be16, be32, be64, ipv4_header_sum,
    is_global4, proto,
};
use crate::stage::envelope::{Content, Envelope};

/// An Ethernet and an IPv6 header.
const HEAD6: usize = ETHERNET_LEN + IPV6_LEN;
/// An Ethernet and an IPv4 header without options.
const HEAD4: usize = ETHERNET_LEN + IPV4_LEN;
/// UDP header and frame header.
const UDP_AND_FRAME: usize = UDP_LEN + 8;

/// What a frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Express {
    /// An envelope whose header is sound.
    Envelope(Envelope),
    /// An IP packet between two addresses that are beyond their links for certain.
    Routed {
        /// Octets by its own length field.
        len: u16,
        /// Where it goes.
        to: Address6,
    },
}

/// A port's MAC address and the service, as numbers to compare with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matcher {
    /// In the upper 48 bits.
    mac: u64,
    /// The unspecified address, which is no packet's destination, where there is none.
    ip6: Address6,
    ip4: u32,
    port: u16,
}

impl Matcher {
    pub(crate) fn new(mac: [u8; 6], service: &Service) -> Self {
        let [a, b, c, d, e, f] = mac;
        Self {
            mac: u64::from_be_bytes([a, b, c, d, e, f, 0, 0]),
            ip6: service.ip6.map(Address6::from).unwrap_or_default(),
            ip4: service.ip4.map_or(0, core::net::Ipv4Addr::to_bits),
            port: service.port,
        }
    }

    /// Tells a frame of a common shape.
    #[inline]
    pub(crate) fn tell(&self, frame: &[u8]) -> Option<Express> {
        let head = frame.first_chunk::<HEAD4>()?;
        let to = be64(head, 0);
        // The lowest bit of the first octet says that it is a group.
        if (to ^ self.mac) >> 16 != 0 || to >> 56 & 1 != 0 {
            return None;
        }
        match be32(head, 12) >> 8 {
            kind if kind & 0xff_fff0 == 0x86_dd60 => self.tell6(frame),
            0x08_0045 => self.tell4(frame, head),
            _ => None,
        }
    }

    #[inline]
    fn tell6(&self, frame: &[u8]) -> Option<Express> {
        let (head, payload) = frame.split_first_chunk::<HEAD6>()?;
        let payload_len = be16(head, ETHERNET_LEN + 4);
        let next_header = head[ETHERNET_LEN + 6];
        let (source, destination) = (Address6::at(head, 22), Address6::at(head, 38));
        if usize::from(payload_len) > payload.len()
            || payload_len > u16::MAX - 40
            || !source.is_global()
            || !destination.is_global()
        {
            return None;
        }
        if destination != self.ip6 {
            let routed = Express::Routed { len: payload_len + 40, to: destination };
            return (next_header != proto::ICMPV6).then_some(routed);
        }
        if next_header != proto::UDP {
            return None;
        }
        let ecn = head[ETHERNET_LEN + 1] >> 4 & 3;
        self.envelope(payload, payload_len, 40, ecn)
    }

    #[inline]
    fn tell4(&self, frame: &[u8], head: &[u8; HEAD4]) -> Option<Express> {
        let total_len = be16(head, ETHERNET_LEN + 2);
        let payload_len = total_len.checked_sub(20)?;
        let payload = frame.get(HEAD4..)?;
        let (source, destination) = (be32(head, 26), be32(head, 30));
        let next_header = head[ETHERNET_LEN + 9];
        if usize::from(payload_len) > payload.len()
            || ipv4_header_sum(head.last_chunk()?) != 0
            || !is_global4(source)
            || !is_global4(destination)
            || next_header == proto::ICMPV6
        {
            return None;
        }
        if destination != self.ip4 {
            return Some(Express::Routed { len: total_len, to: Address6::mapped(destination) });
        }
        // More fragments, or an offset.
        if be16(head, ETHERNET_LEN + 6) & 0x3fff != 0 || next_header != proto::UDP {
            return None;
        }
        self.envelope(payload, payload_len, 20, head[ETHERNET_LEN + 1] & 3)
    }

    /// PType 1 alone: its UDP checksum need not be looked at.
    #[inline]
    fn envelope(&self, payload: &[u8], payload_len: u16, ip_len: u16, ecn: u8) -> Option<Express> {
        let head = payload.first_chunk::<UDP_AND_FRAME>()?;
        let (udp_len, word) = (be16(head, 4), be32(head, 8));
        if be16(head, 2) != self.port
            || udp_len > payload_len
            || usize::from(udp_len) < UDP_AND_FRAME
            || word >> 28 != u32::from(PType::ProtectedData.bits())
            // Over IPv6 there are no packets without checksum.
            || ip_len == 40 && be16(head, 6) == 0
        {
            return None;
        }
        let spi = Spi::from_word(word)?;
        let content =
            Content::Protected { ptype: PType::ProtectedData, spi, seq: SeqNo(be32(head, 12)) };
        Some(Express::Envelope(Envelope::new(ip_len, udp_len - 8, ecn, content)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::is_link_scope;
    use crate::stage::classify::{Class, Receiver, classify};
    use proptest::prelude::*;

    const SERVICE: Service = Service {
        ip6: Some(core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ip4: Some(core::net::Ipv4Addr::new(198, 51, 100, 1)),
        port: 7872,
    };
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// An envelope of PType 1, over IPv6 or IPv4, or with `inner` a packet to somebody else.
    fn frame(v6: bool, service: bool, payload: &[u8]) -> Vec<u8> {
        let udp_len = u16::try_from(payload.len() + 16).unwrap();
        let mut frame = [MAC, [2, 0, 0, 0, 0, 9]].concat();
        let last = if service { 1 } else { 7 };
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0x30, 0, 0]);
            frame.extend(udp_len.to_be_bytes());
            frame.extend([17, 64]);
            frame.extend(core::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2).octets());
            frame.extend(core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets());
        } else {
            frame.extend([0x08, 0x00, 0x45, 0x02]);
            frame.extend((udp_len + 20).to_be_bytes());
            frame.extend([0, 1, 0, 0, 64, 17, 0, 0, 203, 0, 113, 9, 198, 51, 100]);
            frame.push(u8::try_from(last).unwrap());
            let sum = hearth_wire::ip::checksum(&frame[14..34]).to_be_bytes();
            frame[24..26].copy_from_slice(&sum);
        }
        frame.extend([0x9c, 0x40, 0x1e, 0xc0]);
        frame.extend(udp_len.to_be_bytes());
        frame.extend([0xbe, 0xef, 0x10, 0, 0, 7, 0, 0, 0, 9]);
        frame.extend(payload);
        frame
    }

    fn agree(frame: &[u8]) -> Option<Express> {
        let told = Matcher::new(MAC, &SERVICE).tell(frame);
        let receiver = Receiver { mac: MAC, service: &SERVICE, udp_checksum_verified: false };
        match told {
            None => {}
            Some(Express::Envelope(envelope)) => {
                assert_eq!(classify(frame, receiver), Class::Envelope(envelope));
            }
            Some(Express::Routed { len, to }) => match classify(frame, receiver) {
                Class::Routed(ip) => {
                    assert_eq!((ip.total_len, Some(to)), (len, Address6::of_home(ip.destination)));
                    assert!(!is_link_scope(ip.source) && !is_link_scope(ip.destination));
                }
                other => panic!("{other:?}"),
            },
        }
        told
    }

    #[test]
    fn common_shapes_are_told() {
        for v6 in [true, false] {
            assert!(matches!(agree(&frame(v6, true, &[1; 40])), Some(Express::Envelope(_))));
            assert!(matches!(agree(&frame(v6, false, &[1; 40])), Some(Express::Routed { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// Octets that matter are replaced by octets that make a difference.
        #[test]
        fn whatever_is_told_classification_says_too(
            v6 in any::<bool>(),
            service in any::<bool>(),
            cut in 0_usize..40,
            changes in prop::collection::vec(
                (0_usize..80, prop::sample::select(vec![
                    0_u8, 1, 2, 17, 58, 0x20, 0x40, 0x45, 0x60, 127, 135, 169, 224, 239, 240, 254, 255,
                ])),
                0..3,
            ),
        ) {
            let mut frame = frame(v6, service, &[1; 40]);
            for (place, octet) in changes {
                if let Some(at) = frame.get_mut(place) {
                    *at = octet;
                }
            }
            if !v6 && frame[14] == 0x45 {
                frame[24..26].fill(0);
                let sum = hearth_wire::ip::checksum(&frame[14..34]).to_be_bytes();
                frame[24..26].copy_from_slice(&sum);
            }
            frame.truncate(frame.len() - cut);
            agree(&frame);
        }
    }
}
