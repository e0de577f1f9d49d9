//! Octets of a TLS stream into requests, one at a time.
//!
//! Read first: RFC 6618 s.5.1, 5.3; reading R-3.

use hearth_wire::hac::container::{self, FIRST_IDENTIFIER, Header};
use zeroize::Zeroize;

/// One request of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The Identifier, which the response copies.
    pub identifier: u8,
    /// The Content portion.
    pub content: Vec<u8>,
}

/// The container is refused: 400 with this Identifier, then close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The request's Identifier where it can be copied, else 1.
    pub identifier: u8,
}

/// The receiving side of one session.
///
/// Identifiers are 1 to 255 and grow, so there are at most 255 exchanges (RFC 6618 s.5.3).
#[derive(Debug, Default)]
pub struct Lockstep {
    buffer: Vec<u8>,
    last: u8,
}

impl Lockstep {
    /// Takes received octets. What stands behind a request waits until [`Lockstep::next_request`] is
    /// called again, after the response.
    pub fn push(&mut self, octets: &[u8]) {
        self.reserve(octets.len());
        self.buffer.extend_from_slice(octets);
    }

    /// Makes room for `more` octets: no more of it than the request will take, and nothing of it is
    /// left behind elsewhere.
    fn reserve(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed <= self.buffer.capacity() {
            return;
        }
        let request = match self.buffer.first_chunk::<{ Header::LEN }>() {
            Some(&[_, _, high, low]) => Header::LEN + usize::from(u16::from_be_bytes([high, low])),
            None => needed,
        };
        let mut grown = Vec::with_capacity(needed.max(request.min(needed * 2)));
        grown.extend_from_slice(&self.buffer);
        self.buffer.zeroize();
        self.buffer = grown;
    }

    /// The next request; `None` where more octets have to come.
    ///
    /// # Errors
    /// [`Refused`]; the session is at its end.
    pub fn next_request(&mut self) -> Result<Option<Request>, Refused> {
        self.check_identifier()?;
        match container::decode(&self.buffer) {
            Ok(Some((container, used))) => {
                let request =
                    Request { identifier: container.identifier, content: container.content.into() };
                self.last = request.identifier;
                self.buffer.drain(..used);
                Ok(Some(request))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(Refused { identifier: error.response_identifier() }),
        }
    }

    /// Refuses a wrong Identifier as soon as the header is there. Other faults of the header are
    /// [`container::decode`]'s.
    fn check_identifier(&self) -> Result<(), Refused> {
        let Some(&[version, identifier, high, low]) = self.buffer.first_chunk::<{ Header::LEN }>()
        else {
            return Ok(());
        };
        let valid = version >> 5 == 0 && identifier != 0 && (high, low) != (0, 0);
        let in_order = match self.last {
            0 => identifier == FIRST_IDENTIFIER,
            last => identifier > last,
        };
        if valid && !in_order { Err(Refused { identifier }) } else { Ok(()) }
    }

    /// The refusal of a request that did not arrive in full; `None` where none has begun.
    #[must_use]
    pub fn abandon(&self) -> Option<Refused> {
        let identifier = match self.buffer.as_slice() {
            [] => return None,
            [_, identifier, ..] if *identifier != 0 => *identifier,
            _ => FIRST_IDENTIFIER,
        };
        Some(Refused { identifier })
    }
}

impl Drop for Lockstep {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(octets: &[u8]) -> Lockstep {
        let mut lockstep = Lockstep::default();
        lockstep.push(octets);
        lockstep
    }

    fn request(identifier: u8, content: &[u8]) -> Result<Option<Request>, Refused> {
        Ok(Some(Request { identifier, content: content.to_vec() }))
    }

    /// HAC-04, HAC-06, HAC-09.
    #[test]
    fn malformed_headers_are_refused() {
        for (header, identifier) in [
            ([0x20, 1, 0, 1], 1), // Ver 1
            ([0, 0, 0, 1], 1),    // Identifier 0
            ([0, 2, 0, 1], 2),    // the first is not 1
            ([0, 1, 0, 0], 1),    // Length 0
        ] {
            assert_eq!(feed(&header).next_request(), Err(Refused { identifier }), "{header:?}");
        }
    }

    /// HAC-05.
    #[test]
    fn reserved_bits_are_ignored() {
        assert_eq!(feed(&[0x1f, 1, 0, 1, b'x']).next_request(), request(1, b"x"));
    }

    /// HAC-07: repeated or smaller is refused, a gap is not.
    #[test]
    fn identifiers_grow() {
        for (second, accepted) in [(1, false), (2, true), (200, true)] {
            let mut lockstep = feed(&[0, 1, 0, 1, b'a', 0, second, 0, 1, b'b']);
            assert_eq!(lockstep.next_request(), request(1, b"a"));
            let expected = match accepted {
                true => request(second, b"b"),
                false => Err(Refused { identifier: second }),
            };
            assert_eq!(lockstep.next_request(), expected);
        }
        let mut lockstep = feed(&[0, 1, 0, 1, b'a', 0, 9, 0, 1, b'b', 0, 8, 0, 1, b'c']);
        assert!(lockstep.next_request().is_ok() && lockstep.next_request().is_ok());
        assert_eq!(lockstep.next_request(), Err(Refused { identifier: 8 }));
    }

    /// HAC-10: 255 exchanges are the most.
    #[test]
    fn there_is_no_256th_exchange() {
        let mut lockstep = Lockstep::default();
        for identifier in 1..=255 {
            lockstep.push(&[0, identifier, 0, 1, b'x']);
            assert_eq!(lockstep.next_request(), request(identifier, b"x"));
        }
        for identifier in 0..=255 {
            let mut full = Lockstep { buffer: Vec::new(), last: lockstep.last };
            full.push(&[0, identifier, 0, 1, b'x']);
            assert!(full.next_request().is_err());
        }
    }

    /// HAC-11, HAC-12: one at a time, however the octets arrive.
    #[test]
    fn octets_one_by_one_and_two_requests_at_once() {
        let octets = [0, 1, 0, 2, b'a', b'b', 0, 2, 0, 1, b'c'];
        let mut dribbled = Lockstep::default();
        let mut seen = Vec::new();
        for octet in octets {
            dribbled.push(&[octet]);
            seen.extend(dribbled.next_request().unwrap());
        }
        let mut at_once = feed(&octets);
        for expected in seen {
            assert_eq!(at_once.next_request(), Ok(Some(expected)));
        }
        assert_eq!(at_once.next_request(), Ok(None));
    }

    /// HAC-09.
    #[test]
    fn the_largest_content() {
        let content = vec![b'x'; 65535];
        let mut lockstep = feed(&[0, 1, 0xff, 0xff]);
        lockstep.push(&content[1..]);
        assert_eq!(lockstep.next_request(), Ok(None));
        lockstep.push(&content[..1]);
        assert_eq!(lockstep.next_request(), request(1, &content));
    }

    /// HAC-39: a slow request takes little more memory than it has octets.
    #[test]
    fn the_buffer_is_no_larger_than_its_request() {
        let mut lockstep = feed(&[0, 1, 0xff, 0xff]);
        for _ in 0..15 {
            lockstep.push(&[b'x'; 4096]);
            assert!(lockstep.buffer.capacity() <= 4 + 65535, "{}", lockstep.buffer.capacity());
            assert!(lockstep.buffer.capacity() <= 2 * lockstep.buffer.len());
        }
        lockstep.push(&[b'x'; 4095]);
        assert_eq!(lockstep.next_request(), request(1, &[b'x'; 65535]));
    }

    #[test]
    fn an_unfinished_request_is_refused_under_its_identifier() {
        assert_eq!(feed(&[]).abandon(), None);
        assert_eq!(feed(&[0]).abandon(), Some(Refused { identifier: 1 }));
        assert_eq!(feed(&[0, 0]).abandon(), Some(Refused { identifier: 1 }));
        assert_eq!(feed(&[0, 7, 0]).abandon(), Some(Refused { identifier: 7 }));
    }

    proptest::proptest! {
        /// Never panics, and never holds a request back that is complete.
        #[test]
        fn any_octets(octets: Vec<u8>) {
            let mut lockstep = feed(&octets);
            while let Ok(Some(request)) = lockstep.next_request() {
                assert!(!request.content.is_empty());
            }
        }
    }
}
