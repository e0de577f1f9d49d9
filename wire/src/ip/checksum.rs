//! The Internet checksum and its pseudo-headers.
//!
//! Read first: RFC 1071; RFC 1624 s.3; RFC 768; RFC 8200 s.8.1.
//!
//! The sum is taken over native 32-bit words and put into network order once at the end, which
//! one's complement arithmetic allows (RFC 1071 s.2 (B)) and which compilers turn into SIMD.

use core::net::{Ipv4Addr, Ipv6Addr};

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

/// The sum of the IPv4 pseudo-header (RFC 768), to which the upper layer is added.
#[must_use]
pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, upper_len: u16, proto: u8) -> Sum {
    let [high, low] = upper_len.to_be_bytes();
    Sum::new().plus(&source.octets()).plus(&destination.octets()).plus(&[0, proto, high, low])
}
