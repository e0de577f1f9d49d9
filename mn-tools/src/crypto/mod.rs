//! The MN's own cryptography on portable implementations, never the home agent's, so that a test
//! of the two together means something.
//!
//! | module | what | clause |
//! |---|---|---|
//! | [`xcbc`] | AES-XCBC-MAC-96 | RFC 3566 |
//! | [`gcm`] | AES-GCM, the extension's combined algorithm | RFC 4106, R-16 |
//! | `lanes` | AES-CBC of several frames at once | RFC 3602 |
//! | [`transform`] | one direction of an SA: seal and open frames | RFC 6618 s.6, R-20 to R-22 |
//! | [`replay`] | the window of received sequence numbers | RFC 4303 s.3.4.3, R-23, R-24 |

pub mod gcm;
mod lanes;
pub mod replay;
pub mod transform;
pub mod xcbc;

pub use replay::{ReplayError, ReplayWindow, Tally};
pub use transform::{OpenError, Transform};

#[cfg(test)]
pub(crate) mod testing {
    use std::fmt::Write;

    /// Octets as lower case hex digits.
    pub(crate) fn hex(octets: &[u8]) -> String {
        octets.iter().fold(String::new(), |mut text, octet| {
            write!(text, "{octet:02x}").unwrap();
            text
        })
    }

    /// Octets of a hex text; white space is skipped.
    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }
}
