//! Frames of RFC 6618 s.6 sealed and opened with portable cryptography.
//!
//! Mobile nodes use it, and `hearth capture decrypt`. The home agent never does: its cryptography is
//! ipsec-mb's, so that a test of the two together means something.
//!
//! | module | what | clause |
//! |---|---|---|
//! | [`xcbc`] | AES-XCBC-MAC-96 | RFC 3566 |
//! | [`gcm`] | AES-GCM, the extension's combined algorithm | RFC 4106, R-16 |
//! | `lanes` | AES-CBC of several frames at once | RFC 3602 |
//! | [`transform`] | one direction of an SA: seal and open frames | RFC 6618 s.6, R-20 to R-22 |
//! | [`replay`] | the window of received sequence numbers | RFC 4303 s.3.4.3, R-23, R-24 |

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod gcm;
mod lanes;
pub mod replay;
pub mod transform;
pub mod xcbc;

pub use replay::{ReplayError, ReplayWindow, Tally};
pub use transform::{OpenError, Transform};

#[cfg(test)]
pub(crate) mod testing {
    /// Octets of a hex text; white space is skipped.
    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        hearth_scapy::unhex(&digits).unwrap()
    }
}
