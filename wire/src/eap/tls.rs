//! How EAP-TLS carries TLS records: flags, fragmentation and reassembly, the same for both ends.
//!
//! Read first: RFC 5216 s.2.1.5, 3.1, 3.2; RFC 9190 s.2.1.9; reading R-10.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |L M S R R R R R|      TLS Message Length (only with L)
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                 |     TLS Data...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-
//! ```
//!
//! This is the Type-Data. "Message" below is what RFC 5216 calls a TLS message or set of messages:
//! all the records that one end sends before the other has to speak.

use core::fmt;

/// Octets of the longest message that is taken (RFC 5216 s.2.1.5: "might be 64 KB").
pub const MAX_MESSAGE: usize = 64 << 10;

/// Octets of the flags and the TLS Message Length: what a fragment needs beside its data.
pub const MAX_OVERHEAD: usize = 5;

const LENGTH_INCLUDED: u8 = 0x80;
const MORE_FRAGMENTS: u8 = 0x40;
const START: u8 = 0x20;

/// Type-Data of EAP-TLS Start.
pub const TLS_START: [u8; 1] = [START];

/// Type-Data without TLS data: it acknowledges a fragment, or ends the conversation.
pub const TLS_EMPTY: [u8; 1] = [0];

/// Why Type-Data is no EAP-TLS, or not what comes now: each a 400 (R-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsError {
    /// No flags, or fewer than the four octets of the TLS Message Length that L announces.
    Truncated,
    /// The TLS Message Length is more than [`MAX_MESSAGE`].
    TooLong,
    /// The first of several fragments does not say how long they are together.
    NoLength,
    /// The fragments are not as long together as the TLS Message Length says, or it changes.
    Length,
    /// More fragments are announced by one that has no data.
    EmptyFragment,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "flags or TLS Message Length are missing",
            Self::TooLong => "the TLS Message Length is more than 65536",
            Self::NoLength => "a first fragment without the TLS Message Length",
            Self::Length => "the fragments do not add up to the TLS Message Length",
            Self::EmptyFragment => "a fragment without data announces more",
        })
    }
}

impl core::error::Error for TlsError {}

/// Type-Data of one EAP-TLS packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// S: EAP-TLS Start, in Requests only.
    pub start: bool,
    /// M: more fragments follow.
    pub more: bool,
    /// TLS Message Length, where L says that it is there.
    pub length: Option<u32>,
    /// TLS records, or a part of them.
    pub data: &'a [u8],
}

/// TLS data is long and may be secret, so only its length is shown.
impl fmt::Debug for Fragment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("start", &self.start)
            .field("more", &self.more)
            .field("length", &self.length)
            .field("data", &self.data.len())
            .finish()
    }
}

impl<'a> Fragment<'a> {
    /// Reads Type-Data. Reserved flags are ignored (RFC 5216 s.3.1).
    ///
    /// # Errors
    /// [`TlsError::Truncated`].
    pub fn parse(type_data: &'a [u8]) -> Result<Self, TlsError> {
        let (flags, mut data) = type_data.split_first().ok_or(TlsError::Truncated)?;
        let mut length = None;
        if flags & LENGTH_INCLUDED != 0 {
            let (octets, rest) = data.split_first_chunk().ok_or(TlsError::Truncated)?;
            (length, data) = (Some(u32::from_be_bytes(*octets)), rest);
        }
        let (start, more) = (flags & START != 0, flags & MORE_FRAGMENTS != 0);
        Ok(Self { start, more, length, data })
    }

    /// The Type-Data.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut out = Vec::with_capacity(MAX_OVERHEAD + self.data.len());
        out.push(
            flag(self.length.is_some(), LENGTH_INCLUDED)
                | flag(self.more, MORE_FRAGMENTS)
                | flag(self.start, START),
        );
        if let Some(length) = self.length {
            out.extend_from_slice(&length.to_be_bytes());
        }
        out.extend_from_slice(self.data);
        out
    }

    /// Whether it says nothing: the acknowledgement of a fragment, or of the end.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.data.is_empty() && !self.more
    }
}

/// A message on its way out, in fragments.
pub struct Fragments {
    message: Vec<u8>,
    sent: usize,
    /// Octets of the longest Type-Data.
    mtu: usize,
}

impl Fragments {
    /// Splits `message` so that no Type-Data is longer than `mtu` octets (16 at least).
    #[must_use]
    pub fn new(message: Vec<u8>, mtu: usize) -> Self {
        Self { message, sent: 0, mtu: mtu.max(16) }
    }

    /// Whether all of it was sent.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.sent == self.message.len()
    }
}

/// Yields Type-Data; each but the last waits for an acknowledgement (RFC 5216 s.2.1.5).
impl Iterator for Fragments {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let rest = self.message.get(self.sent..).filter(|rest| !rest.is_empty())?;
        let fragmented = self.sent > 0 || rest.len() > self.mtu - 1;
        // L "MUST be set for the first fragment of a fragmented TLS message".
        let total = u32::try_from(self.message.len()).ok();
        let length = total.filter(|_| fragmented && self.sent == 0);
        let room = self.mtu - if length.is_some() { MAX_OVERHEAD } else { 1 };
        let data = rest.get(..room).unwrap_or(rest);
        let fragment = Fragment { start: false, more: data.len() < rest.len(), length, data };
        let type_data = fragment.emit();
        self.sent += data.len();
        Some(type_data)
    }
}

/// A message on its way in.
#[derive(Default)]
pub struct Reassembly {
    received: Vec<u8>,
    /// The TLS Message Length of the first fragment, while more are to come.
    expected: Option<usize>,
}

impl Reassembly {
    /// Takes a fragment. The whole message is there with the last one; `None`: acknowledge this one
    /// with [`TLS_EMPTY`].
    ///
    /// Memory grows with what was received, never with what was announced.
    ///
    /// # Errors
    /// [`TlsError`]; the conversation can't go on then.
    pub fn push(&mut self, fragment: &Fragment<'_>) -> Result<Option<Vec<u8>>, TlsError> {
        let announced = match fragment.length.map(usize::try_from) {
            None => None,
            Some(Ok(length)) if length <= MAX_MESSAGE => Some(length),
            Some(_) => return Err(TlsError::TooLong),
        };
        if fragment.more && fragment.data.is_empty() {
            return Err(TlsError::EmptyFragment);
        }
        let total = match (self.expected, announced) {
            // Some peers say it in every fragment.
            (Some(expected), Some(announced)) if expected != announced => {
                return Err(TlsError::Length);
            }
            (Some(total), _) | (None, Some(total)) => total,
            (None, None) if fragment.more => return Err(TlsError::NoLength),
            (None, None) if fragment.data.len() > MAX_MESSAGE => return Err(TlsError::TooLong),
            (None, None) => fragment.data.len(),
        };
        let received = self.received.len() + fragment.data.len();
        // With M there is something still to come.
        if received > total || (received < total) != fragment.more {
            return Err(TlsError::Length);
        }
        self.received.extend_from_slice(fragment.data);
        if fragment.more {
            self.expected = Some(total);
            return Ok(None);
        }
        self.expected = None;
        Ok(Some(core::mem::take(&mut self.received)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 5216 s.3.1: bytes and value, both ways.
    #[test]
    fn fragments_are_read_and_written() {
        let fragment = |start, more, length, data| Fragment { start, more, length, data };
        for (octets, value) in [
            (&[0x20][..], fragment(true, false, None, &[][..])),
            (&[0x00], fragment(false, false, None, &[])),
            (&[0x00, 0x16, 0x03], fragment(false, false, None, &[0x16, 0x03])),
            (&[0xc0, 0, 0, 1, 0, 0x16], fragment(false, true, Some(256), &[0x16])),
            (&[0x40, 0x17], fragment(false, true, None, &[0x17])),
        ] {
            assert_eq!(Fragment::parse(octets).unwrap(), value);
            assert_eq!(value.emit(), octets);
        }
        // Reserved flags are ignored.
        assert_eq!(Fragment::parse(&[0x1f]).unwrap(), fragment(false, false, None, &[]));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for octets in [&[][..], &[0x80], &[0x80, 0, 0, 0]] {
            assert_eq!(Fragment::parse(octets), Err(TlsError::Truncated));
        }
    }

    fn pushed(fragments: &[(bool, Option<u32>, &[u8])]) -> Result<Option<Vec<u8>>, TlsError> {
        let mut reassembly = Reassembly::default();
        let mut last = Ok(None);
        for &(more, length, data) in fragments {
            assert_eq!(last, Ok(None), "only the last one ends it");
            last = reassembly.push(&Fragment { start: false, more, length, data });
        }
        last
    }

    #[test]
    fn the_whole_message_comes_with_its_last_fragment() {
        assert_eq!(pushed(&[(false, None, b"abc")]), Ok(Some(b"abc".to_vec())));
        assert_eq!(pushed(&[(false, Some(3), b"abc")]), Ok(Some(b"abc".to_vec())));
        let three = [(true, Some(5), &b"ab"[..]), (true, None, b"cd"), (false, Some(5), b"e")];
        assert_eq!(pushed(&three), Ok(Some(b"abcde".to_vec())));
    }

    #[test]
    fn hostile_fragments_are_refused() {
        let long = vec![0; MAX_MESSAGE + 1];
        for (fragments, error) in [
            // No length where more is announced; one that is a lie, changes, or is out of bounds.
            (&[(true, None, &b"ab"[..])][..], TlsError::NoLength),
            (&[(false, Some(4), b"abc")], TlsError::Length),
            (&[(false, Some(2), b"abc")], TlsError::Length),
            (&[(true, Some(3), b"abc")], TlsError::Length),
            (&[(true, Some(3), b"ab"), (false, None, b"cd")], TlsError::Length),
            (&[(true, Some(9), b"ab"), (false, None, b"cd")], TlsError::Length),
            (&[(true, Some(9), b"ab"), (true, Some(10), b"cd")], TlsError::Length),
            (&[(true, Some(65_537), b"ab")], TlsError::TooLong),
            (&[(true, Some(u32::MAX), b"ab")], TlsError::TooLong),
            (&[(false, None, &long)], TlsError::TooLong),
            // Nothing, and more of it.
            (&[(true, Some(9), b"")], TlsError::EmptyFragment),
            (&[(true, Some(9), b"ab"), (true, None, b"")], TlsError::EmptyFragment),
        ] {
            assert_eq!(pushed(fragments), Err(error), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn every_message_survives_every_mtu(
            message in prop::collection::vec(any::<u8>(), 1..3000), mtu in 16_usize..400,
        ) {
            let mut reassembly = Reassembly::default();
            let mut fragments = Fragments::new(message.clone(), mtu);
            let mut whole = None;
            while let Some(type_data) = fragments.next() {
                prop_assert!(type_data.len() <= mtu);
                prop_assert_eq!(whole, None);
                let fragment = Fragment::parse(&type_data).unwrap();
                prop_assert_eq!(fragment.more, !fragments.is_sent());
                whole = reassembly.push(&fragment).unwrap();
            }
            prop_assert_eq!(whole, Some(message));
        }

        #[test]
        fn no_octets_panic_or_grow_beyond_the_bound(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let mut reassembly = Reassembly::default();
            for packet in packets {
                if let Ok(fragment) = Fragment::parse(&packet) {
                    let _ = reassembly.push(&fragment);
                    prop_assert!(reassembly.received.len() <= MAX_MESSAGE);
                }
            }
        }
    }
}
