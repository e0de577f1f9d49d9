//! What a traffic selector of RFC 6088 can ask of a packet.
//!
//! Read first: RFC 6088 s.3; RFC 8200 s.4.1, 4.5; RFC 4303 s.2.

use core::net::IpAddr;

use crate::ip::{IpError, Ipv4Header, Ipv6Header};

/// Protocol numbers of headers that are walked over or read.
mod proto {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const DCCP: u8 = 33;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const ESP: u8 = 50;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
    pub(super) const SCTP: u8 = 132;
    pub(super) const UDP_LITE: u8 = 136;
}

/// Extension headers that are walked over; behind more of them a packet has neither ports nor SPI.
const MAX_EXTENSION_HEADERS: usize = 8;

/// The fields of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same IP version.
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label; 0 in IPv4.
    pub flow_label: u32,
    /// Protocol, or the next header behind the extension headers.
    pub protocol: u8,
    /// Source and destination port of TCP, UDP, UDP-Lite, SCTP and DCCP.
    pub ports: Option<(u16, u16)>,
    /// SPI of ESP.
    pub spi: Option<u32>,
}

impl FlowKey {
    /// Reads the IP packet at the start of `packet`. Later fragments have neither ports nor SPI,
    /// nor has a packet that ends in front of them.
    ///
    /// # Errors
    /// [`IpError`] of the IP header.
    pub fn of(packet: &[u8]) -> Result<Self, IpError> {
        match packet.first().ok_or(IpError::Truncated)? >> 4 {
            4 => {
                let (header, payload) = Ipv4Header::parse(packet)?;
                let later = header.flags_fragment.get() & 0x1fff != 0;
                let upper = if later { &[] } else { payload };
                Ok(Self {
                    source: header.source().into(),
                    destination: header.destination().into(),
                    traffic_class: header.traffic_class,
                    flow_label: 0,
                    protocol: header.proto,
                    ports: ports(header.proto, upper),
                    spi: spi(header.proto, upper),
                })
            }
            6 => {
                let (header, payload) = Ipv6Header::parse(packet)?;
                let (protocol, upper) = upper_layer(header.next_header, payload);
                Ok(Self {
                    source: header.source().into(),
                    destination: header.destination().into(),
                    traffic_class: header.traffic_class(),
                    flow_label: header.flow_label(),
                    protocol,
                    ports: ports(protocol, upper),
                    spi: spi(protocol, upper),
                })
            }
            _ => Err(IpError::Version),
        }
    }
}

/// The first header that is no extension header, and its octets; none in a later fragment.
fn upper_layer(mut next_header: u8, mut octets: &[u8]) -> (u8, &[u8]) {
    for _ in 0..MAX_EXTENSION_HEADERS {
        let len = match (next_header, octets) {
            (proto::FRAGMENT, [_, _, high, low, ..]) => {
                if u16::from_be_bytes([*high, *low]) & 0xfff8 != 0 {
                    return (octets.first().copied().unwrap_or(next_header), &[]);
                }
                8
            }
            (proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION_OPTIONS, [_, len, ..]) => {
                (usize::from(*len) + 1) * 8
            }
            _ => break,
        };
        let (Some(next), Some(rest)) = (octets.first(), octets.get(len..)) else { break };
        (next_header, octets) = (*next, rest);
    }
    (next_header, octets)
}

fn ports(protocol: u8, upper: &[u8]) -> Option<(u16, u16)> {
    let has_ports =
        [proto::TCP, proto::UDP, proto::DCCP, proto::SCTP, proto::UDP_LITE].contains(&protocol);
    let [a, b, c, d] = *upper.first_chunk().filter(|_| has_ports)?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn spi(protocol: u8, upper: &[u8]) -> Option<u32> {
    upper.first_chunk().filter(|_| protocol == proto::ESP).copied().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An IPv6 packet from 2001:db8::1 to 2001:db8::2, traffic class 0xb8, flow label 0x12345.
    fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x6b, 0x81, 0x23, 0x45, 0, 0, next_header, 64];
        packet[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        packet.extend_from_slice(payload);
        packet
    }

    fn upper(packet: &[u8]) -> (u8, Option<(u16, u16)>, Option<u32>) {
        let key = FlowKey::of(packet).unwrap();
        (key.protocol, key.ports, key.spi)
    }

    const UDP: [u8; 8] = [0x13, 0x88, 0x00, 0x35, 0, 8, 0, 0];

    #[test]
    fn ipv6_behind_extension_headers() {
        let key = FlowKey::of(&v6(17, &UDP)).unwrap();
        assert_eq!(key.source, "2001:db8::1".parse::<IpAddr>().unwrap());
        assert_eq!(key.destination, "2001:db8::2".parse::<IpAddr>().unwrap());
        assert_eq!((key.traffic_class, key.flow_label), (0xb8, 0x12345));
        assert_eq!(upper(&v6(17, &UDP)), (17, Some((5000, 53)), None));
        let options = [&[17, 1], &[0; 14][..], &UDP].concat();
        assert_eq!(upper(&v6(60, &options)), (17, Some((5000, 53)), None));
        let chain = [&[60, 0, 0, 0, 0, 0, 0, 0], &options[..]].concat();
        assert_eq!(upper(&v6(0, &chain)), (17, Some((5000, 53)), None));
        let esp = [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1];
        assert_eq!(upper(&v6(50, &esp)), (50, None, Some(0x1122_3344)));
        assert_eq!(upper(&v6(58, &UDP)), (58, None, None));
    }

    #[test]
    fn fragments() {
        let first = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &UDP].concat();
        assert_eq!(upper(&v6(44, &first)), (17, Some((5000, 53)), None));
        let later = [&[17, 0, 0, 8, 0, 0, 0, 9][..], &UDP].concat();
        assert_eq!(upper(&v6(44, &later)), (17, None, None));
    }

    #[test]
    fn a_chain_that_ends_early_has_no_ports() {
        assert_eq!(upper(&v6(17, &UDP[..3])), (17, None, None));
        assert_eq!(upper(&v6(60, &[17, 1, 0, 0, 0, 0, 0, 0])), (60, None, None));
        let long = [0, 0, 0, 0, 0, 0, 0, 0].repeat(MAX_EXTENSION_HEADERS + 1);
        assert_eq!(upper(&v6(0, &long)).1, None);
    }

    #[test]
    fn ipv4() {
        let addresses = ([192, 0, 2, 1].into(), [198, 51, 100, 2].into());
        let mut header = Ipv4Header::new(addresses.0, addresses.1, 6, 64, UDP.len()).unwrap();
        header.set_traffic_class(0x2c);
        let packet = |header: &Ipv4Header| {
            let mut header = *header;
            header.checksum = 0.into();
            let sum = crate::ip::checksum(zerocopy::IntoBytes::as_bytes(&header));
            header.checksum = sum.into();
            [zerocopy::IntoBytes::as_bytes(&header), &UDP].concat()
        };
        let key = FlowKey::of(&packet(&header)).unwrap();
        assert_eq!(key.source, IpAddr::V4(addresses.0));
        assert_eq!(key.destination, IpAddr::V4(addresses.1));
        assert_eq!((key.traffic_class, key.flow_label), (0x2c, 0));
        assert_eq!((key.protocol, key.ports), (6, Some((5000, 53))));
        header.flags_fragment = 1.into();
        assert_eq!(upper(&packet(&header)), (6, None, None));
    }

    proptest! {
        #[test]
        fn never_panics(mut octets in prop::collection::vec(any::<u8>(), 0..120), version: bool) {
            if let [first, _, _, _, high, low, ..] = &mut octets[..] {
                *first = if version { 0x45 } else { 0x60 };
                (*high, *low) = (0, *low % 80);
            }
            let _ = FlowKey::of(&octets);
        }
    }
}
