//! The Internet checksum and its pseudo-headers.
//!
//! Read first: RFC 1071; RFC 1624 s.3; RFC 768; RFC 8200 s.8.1.
//!
//! The sum is taken over native 32-bit words and put into network order once at the end, which
//! one's complement arithmetic allows (RFC 1071 s.2 (B)) and which compilers turn into SIMD.

use core::net::Ipv6Addr;

use super::PROTO_UDP;

/// A one's complement sum that is not finished.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds `bytes`. All but the last piece of a sum must have an even length.
    #[must_use]
    pub fn plus(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        // A packet has less than 2^32 words, so 64 bits do not overflow.
        self.0 += words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>();
        let mut tail = [0; 4];
        for (octet, value) in tail.iter_mut().zip(rest) {
            *octet = *value;
        }
        self.0 += u64::from(u32::from_ne_bytes(tail));
        self
    }

    /// The one's complement of the folded sum, in host order: the checksum, or 0 where the sum
    /// ran over data with a valid checksum in it.
    #[must_use]
    pub const fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits above")]
        let folded = sum as u16;
        !u16::from_be(folded)
    }
}

/// The Internet checksum of `bytes` in host order; 0 over data whose checksum field is valid.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::new().plus(bytes).finish()
}

/// The sum of the IPv6 pseudo-header (RFC 8200 s.8.1), to which the upper layer is added.
#[must_use]
pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, upper_len: u32, proto: u8) -> Sum {
    Sum::new()
        .plus(&source.octets())
        .plus(&destination.octets())
        .plus(&upper_len.to_be_bytes())
        .plus(&[0, 0, 0, proto])
}

/// The checksum of a datagram to be sent over IPv6, whose own checksum field holds 0. Never 0,
/// which over IPv6 no datagram may carry (RFC 8200 s.8.1).
#[must_use]
pub fn udp_checksum_v6(source: Ipv6Addr, destination: Ipv6Addr, datagram: &[u8]) -> u16 {
    let len = u32::try_from(datagram.len()).unwrap_or_default();
    never_0(pseudo_v6(source, destination, len, PROTO_UDP).plus(datagram).finish())
}

const fn never_0(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// Whether a datagram that was received over IPv6 has a right checksum; 0 is none.
#[must_use]
pub fn udp_valid_v6(source: Ipv6Addr, destination: Ipv6Addr, datagram: &[u8]) -> bool {
    let Ok(len) = u32::try_from(datagram.len()) else {
        return false;
    };
    match udp_checksum_field(datagram) {
        None | Some([0, 0]) => false,
        Some(_) => pseudo_v6(source, destination, len, PROTO_UDP).plus(datagram).finish() == 0,
    }
}

fn udp_checksum_field(datagram: &[u8]) -> Option<[u8; 2]> {
    datagram.get(6..8)?.try_into().ok()
}

/// `checksum` after one 16-bit word of the data changed from `old` to `new` (RFC 1624 s.3, eqn. 3).
#[inline]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "three words of 16 bits are folded to one")]
pub const fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = !checksum as u32 + !old as u32 + new as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 as it is written: 16-bit words in network order, one at a time.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn example_of_rfc1071() {
        // s.3: the sum of 0001 f203 f4f5 f6f7 is ddf2
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[]), 0xffff);
    }

    #[test]
    fn example_of_rfc1624() {
        // s.4: checksum DD2F, a word changes from 5555 to 3285, and the new checksum is 0000
        assert_eq!(updated(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn udp_over_ipv6() {
        // Worked out by hand: "hi" from 2001:db8::1 port 1 to 2001:db8::2 port 2.
        let (source, destination) = (
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
        );
        let mut datagram = [0, 1, 0, 2, 0, 10, 0, 0, b'h', b'i'];
        // 2001+0db8+1 + 2001+0db8+2 + 000a + 0011 + 1+2+a + 6869 = c406
        let six = udp_checksum_v6(source, destination, &datagram);
        assert_eq!(six, !0xc406);
        datagram[6..8].copy_from_slice(&six.to_be_bytes());
        assert!(udp_valid_v6(source, destination, &datagram));
        assert!(!udp_valid_v6(source, source, &datagram));
    }

    #[test]
    fn udp_without_checksum() {
        //
        let datagram = [0, 1, 0, 2, 0, 10, 0, 0, b'h', b'i'];
        assert!(!udp_valid_v6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &datagram));
        assert!(!udp_valid_v6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &datagram[..7]));
        assert!(!udp_valid_v6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &[]));
    }

    #[test]
    fn udp_checksum_0_is_sent_as_ffff() {
        // The data word brings the sum to ffff, whose complement is 0.
        let (source, destination) = (Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        let mut datagram = [0, 0, 0, 0, 0, 10, 0, 0, 0, 0];
        let word = udp_checksum_v6(source, destination, &datagram);
        datagram[8..10].copy_from_slice(&word.to_be_bytes());
        let checksum = udp_checksum_v6(source, destination, &datagram);
        assert_eq!(checksum, 0xffff);
        assert!(
            !udp_valid_v6(source, destination, &datagram),
            "0 is none, though the sum is right"
        );
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        assert!(udp_valid_v6(source, destination, &datagram));
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_sum(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(checksum(&bytes), naive(&bytes));
        }

        #[test]
        fn pieces_of_even_length_add_up(
            bytes in prop::collection::vec(any::<u8>(), 2..100), at in 0..50_usize,
        ) {
            let (start, end) = bytes.split_at((at * 2).min(bytes.len() / 2 * 2));
            prop_assert_eq!(Sum::new().plus(start).plus(end).finish(), naive(&bytes));
        }

        /// Over data that is not all 0, as no header is.
        #[test]
        fn update_agrees_with_a_new_sum(
            mut words in prop::collection::vec(any::<[u8; 2]>(), 2..20), new: [u8; 2],
        ) {
            words[1] = [0x45, 0];
            let old = words[0];
            let before = checksum(words.as_flattened());
            words[0] = new;
            let update = updated(before, u16::from_be_bytes(old), u16::from_be_bytes(new));
            prop_assert_eq!(update, checksum(words.as_flattened()));
        }
    }
}
