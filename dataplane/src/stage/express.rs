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
    ETHERNET_LEN, IPV4_LEN, IPV6_LEN, UDP_LEN, be16, be32, ipv4_header_sum, proto,
};
use crate::stage::classify::{Content, Envelope};

/// An Ethernet and an IPv6 header.
const HEAD6: usize = ETHERNET_LEN + IPV6_LEN;
/// An Ethernet and an IPv4 header without options.
const HEAD4: usize = ETHERNET_LEN + IPV4_LEN;
/// UDP header and frame header.
const UDP_AND_FRAME: usize = UDP_LEN + 8;
/// The six octets of a MAC address in a little-endian word.
const MAC_BITS: u64 = 0x0000_ffff_ffff_ffff;

/// What a frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Express {
    /// An envelope whose header is sound.
    Envelope(Envelope),
    /// An IP packet of this length, to look up by its destination.
    Routed(u16),
}

/// A port's MAC address and the service, as numbers to compare with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matcher {
    mac: u64,
    ip6: Option<[u8; 16]>,
    ip4: Option<[u8; 4]>,
    port: u16,
}

impl Matcher {
    pub(crate) fn new(mac: [u8; 6], service: &Service) -> Self {
        let [a, b, c, d, e, f] = mac;
        Self {
            mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            ip6: service.ip6.map(|ip| ip.octets()),
            ip4: service.ip4.map(|ip| ip.octets()),
            port: service.port,
        }
    }

    /// Tells a frame of a common shape.
    #[inline]
    pub(crate) fn tell(&self, frame: &[u8]) -> Option<Express> {
        let head = frame.first_chunk::<HEAD4>()?;
        let to = u64::from_le_bytes([
            head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7],
        ]);
        if to & MAC_BITS != self.mac || head[0] & 1 != 0 {
            return None;
        }
        match [head[12], head[13], head[14]] {
            [0x86, 0xdd, version] if version >> 4 == 6 => self.tell6(frame),
            [0x08, 0x00, 0x45] => self.tell4(frame, head),
            _ => None,
        }
    }

    #[inline]
    fn tell6(&self, frame: &[u8]) -> Option<Express> {
        let (head, payload) = frame.split_first_chunk::<HEAD6>()?;
        let payload_len = be16(head, ETHERNET_LEN + 4);
        let total_len = payload_len.checked_add(40)?;
        let source: [u8; 16] = *head.get(22..)?.first_chunk()?;
        let destination: [u8; 16] = *head.get(38..)?.first_chunk()?;
        let link_local = u16::from_be_bytes([destination[0], destination[1]]) & 0xffc0 == 0xfe80;
        if usize::from(payload_len) > payload.len()
            // Multicast, unspecified, loopback.
            || source[0] == 0xff
            || u128::from_be_bytes(source) <= 1
            || destination[0] == 0xff
            || link_local
        {
            return None;
        }
        let next_header = head[ETHERNET_LEN + 6];
        if Some(destination) != self.ip6 {
            return (next_header != proto::ICMPV6).then_some(Express::Routed(total_len));
        }
        let ecn = head[ETHERNET_LEN + 1] >> 4 & 3;
        if next_header != proto::UDP || [payload.get(6), payload.get(7)] == [Some(&0), Some(&0)] {
            return None;
        }
        self.envelope(payload, payload_len, 40, ecn)
    }

    #[inline]
    fn tell4(&self, frame: &[u8], head: &[u8; HEAD4]) -> Option<Express> {
        let total_len = be16(head, ETHERNET_LEN + 2);
        let payload_len = total_len.checked_sub(20)?;
        let payload = frame.get(HEAD4..)?;
        let source: [u8; 4] = *head.get(26..)?.first_chunk()?;
        let destination: [u8; 4] = *head.get(30..)?.first_chunk()?;
        if usize::from(payload_len) > payload.len()
            || ipv4_header_sum(head.last_chunk()?) != 0
            // Multicast, reserved and broadcast, loopback, unspecified.
            || source[0] >= 224
            || source[0] == 127
            || source == [0; 4]
            || destination[0] >= 224
            || destination[..2] == [169, 254]
            || head[ETHERNET_LEN + 9] == proto::ICMPV6
        {
            return None;
        }
        if Some(destination) != self.ip4 {
            return Some(Express::Routed(total_len));
        }
        // More fragments, or an offset.
        if be16(head, ETHERNET_LEN + 6) & 0x3fff != 0 || head[ETHERNET_LEN + 9] != proto::UDP {
            return None;
        }
        self.envelope(payload, payload_len, 20, head[ETHERNET_LEN + 1] & 3)
    }

    /// PType 1 alone: its UDP checksum need not be looked at.
    #[inline]
    fn envelope(&self, payload: &[u8], payload_len: u16, ip_len: u16, ecn: u8) -> Option<Express> {
        let head = payload.first_chunk::<UDP_AND_FRAME>()?;
        let udp_len = be16(head, 4);
        if be16(head, 2) != self.port
            || udp_len > payload_len
            || usize::from(udp_len) < UDP_AND_FRAME
            || head[8] >> 4 != PType::ProtectedData.bits()
        {
            return None;
        }
        let spi = Spi::new(be32(head, 8) & 0x0fff_ffff).ok()?;
        let content =
            Content::Protected { ptype: PType::ProtectedData, spi, seq: SeqNo(be32(head, 12)) };
        let frame_len = udp_len - 8;
        Some(Express::Envelope(Envelope { udp_offset: ip_len, frame_len, ecn, content }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            Some(Express::Routed(total_len)) => match classify(frame, receiver) {
                Class::Routed(ip) => assert_eq!(ip.total_len, total_len),
                other => panic!("{other:?}"),
            },
        }
        told
    }

    #[test]
    fn common_shapes_are_told() {
        for v6 in [true, false] {
            assert!(matches!(agree(&frame(v6, true, &[1; 40])), Some(Express::Envelope(_))));
            assert!(matches!(agree(&frame(v6, false, &[1; 40])), Some(Express::Routed(_))));
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
