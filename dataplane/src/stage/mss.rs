//! TCP's maximum segment size, lowered to what a tunnel carries whole. A switch; off by default,
//! because path MTU discovery does the same without a hand in other people's headers.
//!
//! Read first: RFC 9293 s.3.2, 3.7.1; RFC 6691 s.2; RFC 1624 s.3.

use hearth_wire::Scope;
use hearth_wire::ip::updated;

use crate::layout::{IPV4_LEN, IPV6_LEN, Ip, proto, upper_layer};
use crate::sa::slot::BindingIndex;
use crate::table::binding::BindingEntry;
use crate::view::View;

/// Octets of a TCP header without options, which the MSS does not count (RFC 6691 s.2).
const TCP_LEN: usize = 20;
const SYN: u8 = 0x02;
/// Option kinds.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// As [`clamp_packet`], for a packet of an SA with this binding, where it has one.
#[cold]
pub(crate) fn clamp_under(view: &View, packet: &mut [u8], binding: Option<BindingIndex>) {
    if let Some(binding) = binding.and_then(|index| view.tables.bindings.entry(index)) {
        let preferred = view.tunnels(binding).next().unwrap_or(binding);
        clamp_packet(view, packet, preferred);
    }
}

/// Lowers the MSS of a packet that goes through a tunnel, either way, to what the tunnel carries
/// towards the mobile node.
#[cold]
pub(crate) fn clamp_packet(view: &View, packet: &mut [u8], binding: &BindingEntry) {
    let protected = binding.facts.scope == Scope::SignallingAndData;
    if let Ok(ip) = Ip::parse(packet)
        && clamp(&ip, packet, binding.path.tunnel_mtu(protected))
    {
        view.counters.sizes.mss_clamped.add(1);
    }
}

/// Lowers the MSS option of a packet with SYN to what a tunnel of this MTU carries; returns
/// whether it had to.
fn clamp(ip: &Ip, packet: &mut [u8], tunnel_mtu: u16) -> bool {
    let Some(place) = option(ip, packet) else { return false };
    let headers = if ip.destination.is_ipv6() { IPV6_LEN } else { IPV4_LEN } + TCP_LEN;
    let most = tunnel_mtu.saturating_sub(u16::try_from(headers).unwrap_or(u16::MAX));
    let Some(tcp) = packet.get_mut(place.tcp..) else { return false };
    let Some(value) = tcp.get_mut(place.value..).and_then(<[u8]>::first_chunk_mut::<2>) else {
        return false;
    };
    let old = u16::from_be_bytes(*value);
    if old <= most {
        return false;
    }
    *value = most.to_be_bytes();
    if let Some(field) = tcp.get_mut(16..18).and_then(<[u8]>::first_chunk_mut::<2>) {
        // At an odd offset the two octets stand in the other halves of two words.
        let word = |value: u16| if place.value % 2 == 0 { value } else { value.swap_bytes() };
        let checksum = updated(u16::from_be_bytes(*field), word(old), word(most));
        *field = checksum.to_be_bytes();
    }
    true
}

/// Where a TCP header stands, and the value of its MSS option counted from there.
struct Place {
    tcp: usize,
    value: usize,
}

fn option(ip: &Ip, packet: &[u8]) -> Option<Place> {
    let upper = upper_layer(ip, packet).filter(|upper| upper.proto == proto::TCP)?;
    let tcp = packet.get(upper.offset..)?;
    let fixed = tcp.first_chunk::<TCP_LEN>()?;
    if fixed[13] & SYN == 0 {
        return None;
    }
    let header = tcp.get(..usize::from(fixed[12] >> 4) * 4)?;
    let mut at = TCP_LEN;
    loop {
        match (*header.get(at)?, header.get(at + 1)) {
            (END, _) => return None,
            (NO_OPERATION, _) => at += 1,
            (MAXIMUM_SEGMENT_SIZE, Some(4)) => {
                header.get(at + 2..at + 4)?;
                return Some(Place { tcp: upper.offset, value: at + 2 });
            }
            (_, Some(&len)) if len >= 2 => at += usize::from(len),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use hearth_wire::ip::{Ipv4Header, Ipv6Header, Sum};
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    fn pseudo(len: usize) -> Sum {
        Sum::new().plus(&[0, proto::TCP]).plus(&u16::try_from(len).unwrap().to_be_bytes())
    }

    fn tcp_sum(packet: &[u8]) -> u16 {
        let (addresses, tcp) = if packet[0] >> 4 == 6 { (8..40, 40) } else { (12..20, 20) };
        let tcp = &packet[tcp..];
        pseudo(tcp.len()).plus(&packet[addresses]).plus(tcp).finish()
    }

    fn packet(v6: bool, flags: u8, options: &[u8]) -> Vec<u8> {
        assert_eq!(options.len() % 4, 0);
        let mut tcp = vec![0x1f, 0x90, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0];
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        tcp.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(options);
        let mut packet = if v6 {
            let (from, to) = (Ipv6Addr::from_bits(7), Ipv6Addr::from_bits(9));
            Ipv6Header::new(from, to, proto::TCP, 64, tcp.len()).unwrap().as_bytes().to_vec()
        } else {
            let (from, to) = (Ipv4Addr::from_bits(7), Ipv4Addr::from_bits(9));
            Ipv4Header::new(from, to, proto::TCP, 64, tcp.len()).unwrap().as_bytes().to_vec()
        };
        let start = packet.len();
        packet.extend(tcp);
        let sum = tcp_sum(&packet).to_be_bytes();
        packet[start + 16..start + 18].copy_from_slice(&sum);
        assert_eq!(tcp_sum(&packet), 0);
        packet
    }

    fn clamped(packet: &mut [u8], tunnel_mtu: u16) -> bool {
        let ip = Ip::parse(packet).unwrap();
        clamp(&ip, packet, tunnel_mtu)
    }

    #[test]
    fn a_syn_is_lowered_to_what_the_tunnel_carries() {
        for (v6, flags, mss) in [(true, SYN, 1346), (false, SYN, 1366), (true, SYN | 0x10, 1346)] {
            let mut octets = packet(v6, flags, &[2, 4, 0x05, 0xb4, 1, 3, 3, 7]);
            assert!(clamped(&mut octets, 1406));
            let at = if v6 { 62 } else { 42 };
            assert_eq!(u16::from_be_bytes([octets[at], octets[at + 1]]), mss);
            assert_eq!(tcp_sum(&octets), 0);
            assert!(!clamped(&mut octets, 1406));
        }
    }

    /// The option may stand at any octet.
    #[test]
    fn at_an_odd_offset_the_checksum_holds() {
        let mut octets = packet(true, SYN, &[1, 2, 4, 0x23, 0x28, 1, 1, 1]);
        assert!(clamped(&mut octets, 1406));
        assert_eq!(octets[63..65], 1346_u16.to_be_bytes());
        assert_eq!(tcp_sum(&octets), 0);
    }

    #[test]
    fn everything_else_is_left_alone() {
        let mss = [2, 4, 0x05, 0xb4];
        for mut octets in [
            packet(true, 0x10, &mss),
            packet(true, SYN, &[2, 4, 4, 0]),
            packet(true, SYN, &[]),
            packet(true, SYN, &[0, 2, 4, 9, 9, 9, 9, 9]),
            packet(true, SYN, &[3, 0, 2, 4, 9, 9, 0, 0]),
            packet(true, SYN, &[1, 1, 2, 4]),
            packet(true, SYN, &[1, 1, 1, 2]),
        ] {
            let before = octets.clone();
            assert!(!clamped(&mut octets, 1406));
            assert_eq!(octets, before);
        }
        let mut datagram = packet(false, SYN, &mss);
        datagram[9] = proto::UDP;
        let ip = Ip { proto: proto::UDP, ..Ip::parse(&packet(false, SYN, &mss)).unwrap() };
        assert!(!clamp(&ip, &mut datagram, 1406));
    }

    #[test]
    fn behind_extension_headers_and_in_a_first_fragment() {
        let plain = packet(true, SYN, &[2, 4, 0x05, 0xb4]);
        let fragment = |offset: u8| [proto::TCP, 0, offset, 1, 0, 0, 0, 1];
        for (extension, header, found) in [
            (proto::DESTINATION_OPTIONS, [proto::TCP, 0, 1, 4, 0, 0, 0, 0], true),
            (proto::FRAGMENT, fragment(0), true),
            (proto::FRAGMENT, fragment(1), false),
        ] {
            let mut octets = plain.clone();
            octets[6] = extension;
            octets[5] += 8;
            octets.splice(40..40, header);
            assert_eq!(clamped(&mut octets, 1406), found);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(
            v6 in any::<bool>(),
            octets in prop::collection::vec(any::<u8>(), 0..80),
            mtu in any::<u16>(),
        ) {
            let mut packet = packet(v6, SYN, &[2, 4, 0xff, 0xff]);
            let ip = Ip::parse(&packet).unwrap();
            let start = usize::from(ip.header_len) + 12;
            packet.truncate(start);
            packet.extend(octets);
            let before = packet.clone();
            clamp(&ip, &mut packet, mtu);
            prop_assert_eq!(&before[..start], &packet[..start]);
        }
    }
}
