//! Packets: requests as they are sent, responses as they are judged.
//!
//! Read first: RFC 2865 s.3; RFC 2866 s.3; RFC 3579 s.3.2; RFC 5997 s.3.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Code      |  Identifier   |            Length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Authenticator (16)                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Attributes ...
//! ```

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::attribute::{Attributes, MAX_VALUE, MESSAGE_AUTHENTICATOR};

/// Octets in front of the attributes.
const HEADER: usize = 20;
/// Octets of the longest packet.
pub const MAX_PACKET: usize = 4096;
/// Where the value of Message-Authenticator stands in our requests: it is their first attribute, so
/// that nobody can choose what stands in front of it.
const OWN_MESSAGE_AUTHENTICATOR: usize = HEADER + 2;

/// The secret shared with a server. No `Debug`, no `Clone`; wiped on drop.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets; `None` where there are none.
    #[must_use]
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Option<Self> {
        (!octets.is_empty()).then_some(Self(octets))
    }

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    fn hmac(&self) -> Option<Hmac<Md5>> {
        Hmac::new_from_slice(&self.0).ok()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 1
    AccessRequest,
    /// 2
    AccessAccept,
    /// 3
    AccessReject,
    /// 4
    AccountingRequest,
    /// 5
    AccountingResponse,
    /// 11
    AccessChallenge,
    /// 12 (RFC 5997)
    StatusServer,
}

impl Code {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::AccessRequest => 1,
            Self::AccessAccept => 2,
            Self::AccessReject => 3,
            Self::AccountingRequest => 4,
            Self::AccountingResponse => 5,
            Self::AccessChallenge => 11,
            Self::StatusServer => 12,
        }
    }

    /// The code of a response.
    const fn of_response(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::AccessAccept),
            3 => Some(Self::AccessReject),
            5 => Some(Self::AccountingResponse),
            11 => Some(Self::AccessChallenge),
            _ => None,
        }
    }

    /// Whether `self` answers a `request` (RFC 2865 s.4, RFC 2866 s.4, RFC 5997 s.3).
    const fn answers(self, request: Self) -> bool {
        match request {
            Self::AccessRequest => {
                matches!(self, Self::AccessAccept | Self::AccessReject | Self::AccessChallenge)
            }
            Self::AccountingRequest => matches!(self, Self::AccountingResponse),
            Self::StatusServer => matches!(self, Self::AccessAccept | Self::AccountingResponse),
            _ => false,
        }
    }
}

/// What a request can't hold: a value is empty or longer than 253 octets, or the packet would
/// be longer than 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// A request without Identifier and Authenticator: what is the same whichever server gets it.
#[derive(Debug, Clone)]
pub struct Request {
    code: Code,
    octets: Vec<u8>,
}

impl Request {
    /// A request without attributes but Message-Authenticator, which every one but an
    /// Accounting-Request has (RFC 3579 s.3.3, RFC 5997 s.3).
    #[must_use]
    pub fn new(code: Code) -> Self {
        let mut octets = vec![0; HEADER];
        if code != Code::AccountingRequest {
            octets.extend_from_slice(&[MESSAGE_AUTHENTICATOR, 18]);
            octets.extend_from_slice(&[0; 16]);
        }
        Self { code, octets }
    }

    /// What it is.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Adds an attribute of 1 to 253 octets.
    ///
    /// # Errors
    /// [`TooLong`]; nothing was added.
    pub fn put(&mut self, kind: u8, value: &[u8]) -> Result<(), TooLong> {
        let fits = !value.is_empty()
            && value.len() <= MAX_VALUE
            && self.octets.len() + 2 + value.len() <= MAX_PACKET;
        let len = u8::try_from(value.len() + 2).map_err(|_| TooLong)?;
        if !fits {
            return Err(TooLong);
        }
        self.octets.extend_from_slice(&[kind, len]);
        self.octets.extend_from_slice(value);
        Ok(())
    }

    /// Adds a number of four octets.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn put_number(&mut self, kind: u8, number: u32) -> Result<(), TooLong> {
        self.put(kind, &number.to_be_bytes())
    }

    /// Adds a value of any length as consecutive attributes of one type (RFC 3579 s.3.1).
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn put_split(&mut self, kind: u8, value: &[u8]) -> Result<(), TooLong> {
        value.chunks(MAX_VALUE).try_for_each(|part| self.put(kind, part))
    }

    /// The packet for one server. `authenticator` is the Request Authenticator: unpredictable
    /// (RFC 2865 s.3); an Accounting-Request computes its own (RFC 2866 s.3). Both are returned.
    #[must_use]
    pub fn sign(
        &self,
        identifier: u8,
        mut authenticator: [u8; 16],
        secret: &Secret,
    ) -> ([u8; 16], Vec<u8>) {
        let mut octets = self.octets.clone();
        let len = u16::try_from(octets.len()).unwrap_or(u16::MAX).to_be_bytes();
        let put = |octets: &mut Vec<u8>, at: usize, value: &[u8]| {
            if let Some(place) = octets.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        put(&mut octets, 0, &[self.code.number(), identifier]);
        put(&mut octets, 2, &len);
        if self.code == Code::AccountingRequest {
            authenticator = md5(&[&octets, secret.octets()]);
            put(&mut octets, 4, &authenticator);
        } else {
            put(&mut octets, 4, &authenticator);
            if let Some(hmac) = secret.hmac() {
                let value = hmac.chain_update(&octets).finalize().into_bytes();
                put(&mut octets, OWN_MESSAGE_AUTHENTICATOR, &value);
            }
        }
        (authenticator, octets)
    }
}

/// What a response is judged by: the request it may answer.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// What was asked.
    pub code: Code,
    /// The Request Authenticator.
    pub authenticator: [u8; 16],
}

/// Why a response is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseError {
    /// Its length, or that of an attribute, is wrong.
    Malformed,
    /// Its Code is none that answers the request.
    Code,
    /// Its Response Authenticator is wrong: another secret, or another request.
    Authenticator,
    /// It has no Message-Authenticator, or several.
    NoMessageAuthenticator,
    /// Its Message-Authenticator is wrong.
    MessageAuthenticator,
}

/// A response that the server with the secret made for this request.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// What it is.
    pub code: Code,
    /// Its attributes, each whole.
    octets: Vec<u8>,
}

impl Response {
    /// Judges the octets of a packet (RFC 2865 s.3; RFC 3579 s.3.2). Every Access-Accept, -Reject
    /// and -Challenge needs a Message-Authenticator, with EAP inside or without: MD5 over a packet
    /// that ends in a secret is not what it was believed to be. Answers to Accounting-Request and
    /// Status-Server have the Response Authenticator, and servers in the field send nothing else.
    ///
    /// # Errors
    /// [`ResponseError`]; such a packet is dropped and the request is still unanswered.
    pub fn judge(octets: &[u8], asked: &Asked, secret: &Secret) -> Result<Self, ResponseError> {
        let (header, _) = octets.split_first_chunk::<HEADER>().ok_or(ResponseError::Malformed)?;
        let &[code, identifier, high, low, ref authenticator @ ..] = header;
        // RFC 2865 s.3: octets behind Length are padding; a packet shorter than it is invalid.
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > MAX_PACKET {
            return Err(ResponseError::Malformed);
        }
        let behind = octets.get(HEADER..len).ok_or(ResponseError::Malformed)?;
        let attributes = Attributes::checked(behind).ok_or(ResponseError::Malformed)?;
        let code = Code::of_response(code).ok_or(ResponseError::Code)?;
        if !code.answers(asked.code) {
            return Err(ResponseError::Code);
        }
        let head = [code.number(), identifier, high, low];
        let right = md5(&[&head, &asked.authenticator, behind, secret.octets()]);
        if !bool::from(right.ct_eq(authenticator)) {
            return Err(ResponseError::Authenticator);
        }
        if asked.code == Code::AccessRequest
            || attributes.all(MESSAGE_AUTHENTICATOR).next().is_some()
        {
            check_message_authenticator(&head, asked, attributes, secret)?;
        }
        Ok(Self { code, octets: behind.to_vec() })
    }

    /// Its attributes.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        // They were walked through when the packet was judged.
        Attributes::checked(&self.octets).unwrap_or_else(Attributes::none)
    }
}

/// RFC 3579 s.3.2: over the packet with the Request Authenticator and sixteen octets of zero.
fn check_message_authenticator(
    head: &[u8; 4],
    asked: &Asked,
    attributes: Attributes<'_>,
    secret: &Secret,
) -> Result<(), ResponseError> {
    let value =
        attributes.single(MESSAGE_AUTHENTICATOR).ok_or(ResponseError::NoMessageAuthenticator)?;
    let mut hmac = secret.hmac().ok_or(ResponseError::MessageAuthenticator)?;
    hmac.update(head);
    hmac.update(&asked.authenticator);
    for (kind, value) in attributes.iter() {
        hmac.update(&[kind, u8::try_from(value.len() + 2).unwrap_or(u8::MAX)]);
        if kind == MESSAGE_AUTHENTICATOR {
            hmac.update(&[0; 16]);
        } else {
            hmac.update(value);
        }
    }
    hmac.verify_slice(value).map_err(|_| ResponseError::MessageAuthenticator)
}

pub(super) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    md5.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::radius::attribute::{EAP_MESSAGE, USER_NAME};

    const SECRET: &[u8] = b"sixteen octets..";
    const ASKED: Asked = Asked { code: Code::AccessRequest, authenticator: [9; 16] };

    fn secret(octets: &[u8]) -> Secret {
        Secret::new(Zeroizing::new(octets.to_vec())).unwrap()
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }

    /// A response as a server makes it; `attributes` with sixteen zeros as Message-Authenticator.
    fn response(code: u8, attributes: &[u8], asked: &Asked) -> Vec<u8> {
        let len = u16::try_from(attributes.len() + HEADER).unwrap().to_be_bytes();
        let head = [code, 5, len[0], len[1]];
        let mut attributes = attributes.to_vec();
        let parts = [&head[..], &asked.authenticator, &attributes].concat();
        let hmac = secret(SECRET).hmac().unwrap().chain_update(&parts).finalize().into_bytes();
        let zeros = attributes.windows(18).position(|w| w == [&[80, 18][..], &[0; 16]].concat());
        if let Some(at) = zeros {
            attributes[at + 2..at + 18].copy_from_slice(&hmac);
        }
        let authenticator = md5(&[&head, &asked.authenticator, &attributes, SECRET]);
        [&head[..], &authenticator, &attributes].concat()
    }

    fn with_message_authenticator(more: &[u8]) -> Vec<u8> {
        [more, &[80, 18], &[0; 16]].concat()
    }

    fn judge(octets: &[u8]) -> Result<Response, ResponseError> {
        Response::judge(octets, &ASKED, &secret(SECRET))
    }

    /// RFC 2865 s.7.1: its Response Authenticator is right, and that alone is not enough (EAP-12).
    #[test]
    fn the_example_of_rfc_2865_lacks_a_message_authenticator() {
        let authenticator = hex("0f403f94 73978057 bd83d5cb 98f4227a").try_into().unwrap();
        let asked = Asked { code: Code::AccessRequest, authenticator };
        let accept = hex("02000026 86fe220e 7624ba2a 1005f6bf 9b55e0b2
            06060000 00010f06 00000000 0e06c0a8 0103");
        let judge = |octets: &[u8], secret| Response::judge(octets, &asked, secret);
        let right = secret(b"xyzzy5461");
        assert_eq!(judge(&accept, &right), Err(ResponseError::NoMessageAuthenticator));
        let wrong = secret(b"xyzzy5462");
        assert_eq!(judge(&accept, &wrong), Err(ResponseError::Authenticator));
        // RFC 5997: the same would do for Status-Server.
        let asked = Asked { code: Code::StatusServer, ..asked };
        assert!(Response::judge(&accept, &asked, &right).is_ok());
    }

    /// EAP-12.
    #[test]
    fn a_response_needs_both_authenticators() {
        for code in [2, 3, 11] {
            let good = response(code, &with_message_authenticator(&[79, 3, 1]), &ASKED);
            let judged = judge(&good).unwrap();
            assert_eq!(judged.code.number(), code);
            assert_eq!(judged.attributes().joined(EAP_MESSAGE), [1]);
            // RFC 2865 s.3: padding is no part of it.
            assert!(judge(&[&good[..], &[0; 9]].concat()).is_ok());
            let with = |change: &dyn Fn(&mut Vec<u8>)| {
                let mut octets = good.clone();
                change(&mut octets);
                judge(&octets)
            };
            for at in [1, 4, 22, 30] {
                let changed = with(&|octets| octets[at] ^= 1);
                assert_eq!(changed, Err(ResponseError::Authenticator), "{at}");
            }
            let bare = response(code, &[79, 3, 1], &ASKED);
            assert_eq!(judge(&bare), Err(ResponseError::NoMessageAuthenticator));
            let mut wrong = with_message_authenticator(&[79, 3, 1]);
            wrong[7] = 1; // not zero: nothing is filled in
            let wrong = response(code, &wrong, &ASKED);
            assert_eq!(judge(&wrong), Err(ResponseError::MessageAuthenticator));
            let twice = with_message_authenticator(&with_message_authenticator(&[]));
            let twice = response(code, &twice, &ASKED);
            assert_eq!(judge(&twice), Err(ResponseError::NoMessageAuthenticator));
            let short =
                response(code, &[80, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &ASKED);
            assert_eq!(judge(&short), Err(ResponseError::MessageAuthenticator));
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let right = with_message_authenticator(&[]);
        for (code, asked, answers) in [
            (2, Code::AccessRequest, true),
            (5, Code::AccessRequest, false),
            (5, Code::AccountingRequest, true),
            (2, Code::AccountingRequest, false),
            (2, Code::StatusServer, true),
            (5, Code::StatusServer, true),
            (3, Code::StatusServer, false),
            (1, Code::AccessRequest, false),
            (99, Code::AccessRequest, false),
        ] {
            let asked = Asked { code: asked, ..ASKED };
            let judged = Response::judge(&response(code, &right, &asked), &asked, &secret(SECRET));
            let expected = if answers { None } else { Some(ResponseError::Code) };
            assert_eq!(judged.err(), expected, "{code} {asked:?}");
        }
        let good = response(2, &right, &ASKED);
        for len in 0..good.len() {
            assert_eq!(judge(&good[..len]), Err(ResponseError::Malformed), "{len}");
        }
        for (at, value) in [(2, 0x10), (2, 0xff), (21, 1), (21, 0)] {
            let mut octets = good.clone();
            octets[at] = value;
            assert_eq!(judge(&octets), Err(ResponseError::Malformed));
        }
    }

    #[test]
    fn a_request_is_signed_with_message_authenticator_in_front() {
        let mut request = Request::new(Code::AccessRequest);
        request.put(USER_NAME, b"mn1@example.net").unwrap();
        let eap: Vec<u8> = (0..=255).cycle().take(600).collect();
        request.put_split(EAP_MESSAGE, &eap).unwrap();
        let (authenticator, octets) = request.sign(77, [3; 16], &secret(SECRET));
        assert_eq!(authenticator, [3; 16]);
        assert_eq!(octets[..2], [1, 77]);
        assert_eq!(octets[2..4], u16::try_from(octets.len()).unwrap().to_be_bytes());
        assert_eq!(octets[20..22], [80, 18]);
        let attributes = Attributes::checked(&octets[20..]).unwrap();
        assert_eq!(attributes.joined(EAP_MESSAGE), eap);
        let lens: Vec<usize> = attributes.all(EAP_MESSAGE).map(<[u8]>::len).collect();
        assert_eq!(lens, [253, 253, 94]);
        let mut zeroed = octets.clone();
        zeroed[22..38].fill(0);
        let hmac = secret(SECRET).hmac().unwrap().chain_update(&zeroed).finalize().into_bytes();
        assert_eq!(octets[22..38], hmac[..]);
    }

    /// RFC 2866 s.3.
    #[test]
    fn an_accounting_request_authenticates_itself() {
        let mut request = Request::new(Code::AccountingRequest);
        request.put_number(40, 1).unwrap();
        let (authenticator, octets) = request.sign(1, [3; 16], &secret(SECRET));
        let expected = md5(&[&[4, 1, 0, 26], &[0; 16], &[40, 6, 0, 0, 0, 1], SECRET]);
        assert_eq!(authenticator, expected);
        assert_eq!(octets, [&[4, 1, 0, 26][..], &expected, &[40, 6, 0, 0, 0, 1]].concat());
    }

    #[test]
    fn what_does_not_fit_is_not_put() {
        let mut request = Request::new(Code::AccessRequest);
        assert_eq!(request.put(USER_NAME, &[]), Err(TooLong));
        assert_eq!(request.put(USER_NAME, &[0; 254]), Err(TooLong));
        assert_eq!(request.put_split(EAP_MESSAGE, &[0; 4096]), Err(TooLong));
        assert!(request.octets.len() <= MAX_PACKET);
    }

    proptest! {
        #[test]
        fn any_octets_are_judged_without_a_panic(
            octets in prop::collection::vec(any::<u8>(), 0..200),
            len in 0..200_u16,
        ) {
            let mut octets = octets;
            if let Some(place) = octets.get_mut(2..4) {
                place.copy_from_slice(&len.to_be_bytes());
            }
            prop_assert!(judge(&octets).is_err());
        }

        #[test]
        fn every_attribute_survives_the_wire(
            attributes in prop::collection::vec(
                (81..=255_u8, prop::collection::vec(any::<u8>(), 1..=253)), 0..12,
            ),
        ) {
            let octets: Vec<u8> = attributes
                .iter()
                .flat_map(|(kind, value)| {
                    [&[*kind, u8::try_from(value.len() + 2).unwrap()], &value[..]].concat()
                })
                .collect();
            let judged = judge(&response(2, &with_message_authenticator(&octets), &ASKED)).unwrap();
            let mut read: Vec<_> =
                judged.attributes().iter().map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(read.pop().map(|(kind, _)| kind), Some(MESSAGE_AUTHENTICATOR));
            prop_assert_eq!(read, attributes);
        }
    }
}
