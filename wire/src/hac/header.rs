//! TV-headers: names, values, folding and the end of the message.
//!
//! Read first: RFC 6618 s.5.2, 5.5.7; RFC 2616 s.2.1, 2.2; reading R-4.
//!
//! ```text
//! content        = *( name *LWS ":" *LWS value *LWS CRLF ) end-of-message
//! end-of-message = 2CRLF                  ; 1CRLF is accepted
//! LWS            = [CRLF] 1*( SP | HT )
//! ```

use super::MessageError;

/// The known TV-headers (RFC 6618 s.5.5 to 5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the header of its name()")]
pub enum HeaderName {
    MnId,
    AuthMethod,
    EapPayload,
    StatusCode,
    Auth,
    RetryAfter,
    MnRand,
    HacRand,
    Spi,
    MnToHaIkey,
    HaToMnIkey,
    MnToHaEkey,
    HaToMnEkey,
    ValidityEnd,
    Scope,
    Ciphersuite,
    SuiteList,
    HaIp6,
    HaIp4,
    Port,
    HoaIp6,
    HoaIp4,
    HnpIp6,
    HnpIp4,
    DnsIp6,
    DnsIp4,
}

impl HeaderName {
    /// All known headers.
    pub const ALL: [Self; 26] = [
        Self::MnId,
        Self::AuthMethod,
        Self::EapPayload,
        Self::StatusCode,
        Self::Auth,
        Self::RetryAfter,
        Self::MnRand,
        Self::HacRand,
        Self::Spi,
        Self::MnToHaIkey,
        Self::HaToMnIkey,
        Self::MnToHaEkey,
        Self::HaToMnEkey,
        Self::ValidityEnd,
        Self::Scope,
        Self::Ciphersuite,
        Self::SuiteList,
        Self::HaIp6,
        Self::HaIp4,
        Self::Port,
        Self::HoaIp6,
        Self::HoaIp4,
        Self::HnpIp6,
        Self::HnpIp4,
        Self::DnsIp6,
        Self::DnsIp4,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MnId => "mn-id",
            Self::AuthMethod => "auth-method",
            Self::EapPayload => "eap-payload",
            Self::StatusCode => "status-code",
            Self::Auth => "auth",
            Self::RetryAfter => "retry-after",
            Self::MnRand => "mn-rand",
            Self::HacRand => "hac-rand",
            Self::Spi => "mip6-spi",
            Self::MnToHaIkey => "mip6-mn-to-ha-ikey",
            Self::HaToMnIkey => "mip6-ha-to-mn-ikey",
            Self::MnToHaEkey => "mip6-mn-to-ha-ekey",
            Self::HaToMnEkey => "mip6-ha-to-mn-ekey",
            Self::ValidityEnd => "mip6-sa-validity-end",
            Self::Scope => "mip6-sas",
            Self::Ciphersuite => "mip6-ciphersuite",
            Self::SuiteList => "mip6-suitelist",
            Self::HaIp6 => "mip6-haa-ip6",
            Self::HaIp4 => "mip6-haa-ip4",
            Self::Port => "mip6-port",
            Self::HoaIp6 => "mip6-ip6-hoa",
            Self::HoaIp4 => "mip6-ip4-hoa",
            Self::HnpIp6 => "mip6-ip6-hnp",
            Self::HnpIp4 => "mip6-ip4-hnp",
            Self::DnsIp6 => "dns-ip6",
            Self::DnsIp4 => "dns-ip4",
        }
    }

    /// The known header of this name; names are case-insensitive.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether the header may stand more than once (R-4).
    #[must_use]
    pub const fn repeats(self) -> bool {
        matches!(self, Self::DnsIp6 | Self::DnsIp4)
    }
}

/// One header line, folds included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The name as it was written.
    pub(super) name: &'a [u8],
    /// The value without the white space around it. A CR or LF in it belongs to a fold.
    pub(super) value: &'a [u8],
    /// First octet of the line, counted from the start of the content.
    pub(super) start: usize,
}

/// The header lines of a content portion.
pub(super) struct Lines<'a> {
    content: &'a [u8],
    place: usize,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(content: &'a [u8]) -> Self {
        Self { content, place: 0 }
    }

    /// Octets read, which after the last line is where the end-of-message begins.
    pub(super) const fn place(&self) -> usize {
        self.place
    }

    /// The next header, or `None` at a valid end-of-message.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'a>>, MessageError> {
        let rest = self.content.get(self.place..).unwrap_or_default();
        if rest.starts_with(b"\r\n") {
            return match rest {
                b"\r\n" | b"\r\n\r\n" => Ok(None),
                _ => Err(MessageError::OctetsBehindEnd),
            };
        }
        let len = line_len(rest)?;
        let line = rest.get(..len).unwrap_or_default();
        let colon = line.iter().position(|octet| *octet == b':').ok_or(MessageError::NoColon)?;
        let (name, value) = line.split_at_checked(colon).ok_or(MessageError::NoColon)?;
        let name = name.trim_ascii_end();
        if name.is_empty() || !name.iter().all(|octet| is_token(*octet)) {
            return Err(MessageError::Name);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let line = Line { name, value, start: self.place };
        self.place += len + 2;
        Ok(Some(line))
    }
}

/// Octets of the first header in `rest`, folds included, up to the CRLF that ends it.
fn line_len(rest: &[u8]) -> Result<usize, MessageError> {
    let mut octets = rest.iter().enumerate();
    while let Some((place, octet)) = octets.next() {
        match octet {
            b'\r' => {
                if octets.next().map(|(_, next)| *next) != Some(b'\n') {
                    return Err(MessageError::BareCr);
                }
                match rest.get(place + 2) {
                    Some(b' ' | b'\t') => {}
                    Some(_) => return Ok(place),
                    None => break,
                }
            }
            b'\n' => return Err(MessageError::BareLf),
            b'\t' => {}
            control if control.is_ascii_control() => return Err(MessageError::ControlCharacter),
            _ => {}
        }
    }
    Err(MessageError::NoEndOfMessage)
}

/// RFC 2616 s.2.2 `token`.
pub(super) fn is_token(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    type NameAndValue<'a> = (&'a [u8], &'a [u8]);

    fn lines(content: &[u8]) -> Result<Vec<NameAndValue<'_>>, MessageError> {
        let mut lines = Lines::new(content);
        let mut read = Vec::new();
        while let Some(line) = lines.next_line()? {
            read.push((line.name, line.value));
        }
        Ok(read)
    }

    #[test]
    fn every_name_is_found_in_any_case() {
        for name in HeaderName::ALL {
            assert_eq!(HeaderName::from_name(name.name().as_bytes()), Some(name));
            let upper = name.name().to_ascii_uppercase();
            assert_eq!(HeaderName::from_name(upper.as_bytes()), Some(name));
        }
        assert_eq!(HeaderName::from_name(b"mn-idx"), None);
        assert_eq!(HeaderName::from_name(b""), None);
    }

    #[test]
    fn white_space_around_the_colon_and_folds() {
        // HAC-15
        let content = b"a:1\r\nb \t: \t2 \r\nc:\r\n 3\r\n\t4 \r\nd\r\n :\r\n 5\r\ne:\r\n\r\n\r\n";
        let expected: [(&[u8], &[u8]); 5] =
            [(b"a", b"1"), (b"b", b"2"), (b"c", b"3\r\n\t4"), (b"d", b"5"), (b"e", b"")];
        assert_eq!(lines(content).unwrap(), expected);
    }

    #[test]
    fn end_of_message_is_one_or_two_crlf() {
        assert_eq!(lines(b"a:1\r\n\r\n"), lines(b"a:1\r\n\r\n\r\n"));
        assert_eq!(lines(b"\r\n\r\n").unwrap(), []);
        for content in [&b""[..], b"a:1", b"a:1\r", b"a:1\r\n", b"a:1\r\nb:2\r\n"] {
            assert!(
                matches!(lines(content), Err(MessageError::NoEndOfMessage | MessageError::BareCr)),
                "{content:?}"
            );
        }
    }

    #[test]
    fn nothing_stands_behind_the_end() {
        for tail in ["\r\n\r\n\r\n", "\r\nb:2\r\n\r\n", "\r\n\r\nb", "\r\n\r", "\r\n\n"] {
            let content = format!("a:1\r\n{tail}");
            assert_eq!(lines(content.as_bytes()), Err(MessageError::OctetsBehindEnd), "{tail:?}");
        }
    }

    #[test]
    fn bare_line_ends_and_control_characters() {
        // HAC-15
        for (content, error) in [
            (&b"a:1\n\r\n\r\n"[..], MessageError::BareLf),
            (b"a:1\n\n", MessageError::BareLf),
            (b"a:1\r\n\n", MessageError::BareLf),
            (b"a:1\rb:2\r\n\r\n", MessageError::BareCr),
            (b"a:\0\r\n\r\n", MessageError::ControlCharacter),
            (b"a:\x7f\r\n\r\n", MessageError::ControlCharacter),
        ] {
            assert_eq!(lines(content), Err(error), "{content:?}");
        }
    }

    #[test]
    fn names_are_tokens() {
        for (content, error) in [
            (&b"a\r\n\r\n"[..], MessageError::NoColon),
            (b":1\r\n\r\n", MessageError::Name),
            (b" a:1\r\n\r\n", MessageError::Name),
            (b"a b:1\r\n\r\n", MessageError::Name),
            (b"a{:1\r\n\r\n", MessageError::Name),
            (b"\xc3\xa4:1\r\n\r\n", MessageError::Name),
        ] {
            assert_eq!(lines(content), Err(error), "{content:?}");
        }
    }
}
