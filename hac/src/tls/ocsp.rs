//! Whether an OCSP response may be stapled: whose it is, what it says, how long it holds.
//!
//! Read first: RFC 6960 s.4.2; RFC 6066 s.8.
//!
//! The signature is the client's to verify, which has the issuer's key at hand. What is checked here
//! is what an operator gets wrong: a response that is old, another certificate's, or none at all.

use core::fmt;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::time::ASN1Time;

/// Octets of the longest response that is read.
const MAX_OCTETS: u64 = 64 << 10;
/// How far our clock may be behind the responder's, in seconds.
const SKEW: i64 = 300;

/// Why nothing is stapled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StapleError {
    /// The file can't be read.
    Unreadable,
    /// Not an OCSP response in DER, or one that reports an error.
    Malformed,
    /// Another certificate's.
    Foreign,
    /// Its nextUpdate has passed, or it names none.
    Expired,
    /// Its thisUpdate is yet to come.
    NotYetValid,
    /// It does not say that the certificate is good.
    NotGood,
}

impl fmt::Display for StapleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the file can't be read",
            Self::Malformed => "not a successful OCSP response in DER",
            Self::Foreign => "the response is another certificate's",
            Self::Expired => "the response has expired, or does not say when it will",
            Self::NotYetValid => "the response is not valid yet; check the clock",
            Self::NotGood => "the response does not say that the certificate is good",
        })
    }
}

impl std::error::Error for StapleError {}

/// A response that may be stapled.
#[derive(Debug, Clone)]
pub struct Staple {
    response: Vec<u8>,
    until: u64,
}

impl Staple {
    /// The response, DER.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        self.response.clone()
    }

    /// Its nextUpdate in unix seconds.
    #[must_use]
    pub const fn until(&self) -> u64 {
        self.until
    }
}

/// Reads the response at `path` and checks it; `issuer` is the certificate above, where it is known.
///
/// # Errors
/// [`StapleError`].
pub fn load(
    path: &Path,
    certificate: &[u8],
    issuer: Option<&[u8]>,
    now: u64,
) -> Result<Staple, StapleError> {
    let metadata = std::fs::metadata(path).map_err(|_| StapleError::Unreadable)?;
    if metadata.len() > MAX_OCTETS {
        return Err(StapleError::Malformed);
    }
    let response = std::fs::read(path).map_err(|_| StapleError::Unreadable)?;
    let until = check(&response, certificate, issuer, now)?;
    Ok(Staple { response, until })
}

/// Checks a response at `now` (unix seconds): its nextUpdate.
///
/// # Errors
/// [`StapleError`].
pub fn check(
    response: &[u8],
    certificate: &[u8],
    issuer: Option<&[u8]>,
    now: u64,
) -> Result<u64, StapleError> {
    let singles = single_responses(response).ok_or(StapleError::Malformed)?;
    let subject = Subject::new(certificate, issuer).ok_or(StapleError::Foreign)?;
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut rest = singles;
    while !rest.is_empty() {
        let (more, single) = Any::from_der(rest).map_err(|_| StapleError::Malformed)?;
        rest = more;
        let single = Single::parse(single.data).ok_or(StapleError::Malformed)?;
        if !subject.is_of(&single) {
            continue;
        }
        if !single.good {
            return Err(StapleError::NotGood);
        }
        if single.this_update > now.saturating_add(SKEW) {
            return Err(StapleError::NotYetValid);
        }
        let until = single.next_update.filter(|until| *until > now).ok_or(StapleError::Expired)?;
        return u64::try_from(until).map_err(|_| StapleError::Expired);
    }
    Err(StapleError::Foreign)
}

/// The first element of `input` if it has this tag (class and all): its content and what follows.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    if *input.first()? != tag {
        return None;
    }
    let (rest, any) = Any::from_der(input).ok()?;
    Some((any.data, rest))
}

const SEQUENCE: u8 = 0x30;
const ENUMERATED: u8 = 0x0a;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;
/// `[0] IMPLICIT NULL`: good.
const GOOD: u8 = 0x80;
/// id-pkix-ocsp-basic.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// ```text
/// OCSPResponse ::= SEQUENCE { responseStatus ENUMERATED, [0] SEQUENCE { OID, OCTET STRING } }
/// BasicOCSPResponse ::= SEQUENCE { tbsResponseData, signatureAlgorithm, signature, [0] certs }
/// ResponseData ::= SEQUENCE { [0] version, responderID, producedAt, SEQUENCE OF SingleResponse, .. }
/// ```
fn single_responses(response: &[u8]) -> Option<&[u8]> {
    let (response, []) = element(response, SEQUENCE)? else { return None };
    let (status, rest) = element(response, ENUMERATED)?;
    if status != [0] {
        return None;
    }
    let (explicit, _) = element(rest, CONTEXT_0)?;
    let (bytes, _) = element(explicit, SEQUENCE)?;
    let (kind, rest) = element(bytes, OBJECT_IDENTIFIER)?;
    if kind != BASIC {
        return None;
    }
    let (basic, _) = element(rest, OCTET_STRING)?;
    let (basic, _) = element(basic, SEQUENCE)?;
    let (data, _) = element(basic, SEQUENCE)?;
    let data = element(data, CONTEXT_0).map_or(data, |(_, rest)| rest);
    let (data, _responder) = Any::from_der(data).ok()?;
    let (_, data) = element(data, GENERALIZED_TIME)?;
    element(data, SEQUENCE).map(|(singles, _)| singles)
}

/// ```text
/// SingleResponse ::= SEQUENCE { CertID, CertStatus, thisUpdate, [0] EXPLICIT nextUpdate, .. }
/// CertID ::= SEQUENCE { hashAlgorithm, issuerNameHash, issuerKeyHash, serialNumber }
/// ```
struct Single<'a> {
    hash: &'a [u8],
    name: &'a [u8],
    key: &'a [u8],
    serial: &'a [u8],
    good: bool,
    this_update: i64,
    next_update: Option<i64>,
}

impl<'a> Single<'a> {
    fn parse(single: &'a [u8]) -> Option<Self> {
        let (id, rest) = element(single, SEQUENCE)?;
        let (algorithm, id) = element(id, SEQUENCE)?;
        let (hash, _) = element(algorithm, OBJECT_IDENTIFIER)?;
        let (name, id) = element(id, OCTET_STRING)?;
        let (key, id) = element(id, OCTET_STRING)?;
        let (serial, _) = element(id, INTEGER)?;
        let good = *rest.first()? == GOOD;
        let (rest, _status) = Any::from_der(rest).ok()?;
        let (rest, this_update) = time(rest)?;
        let next_update = match element(rest, CONTEXT_0) {
            Some((explicit, _)) => Some(time(explicit)?.1),
            None => None,
        };
        Some(Self { hash, name, key, serial, good, this_update, next_update })
    }
}

fn time(input: &[u8]) -> Option<(&[u8], i64)> {
    let (rest, any) = Any::from_der(input).ok()?;
    if any.header.tag() != Tag::GeneralizedTime {
        return None;
    }
    let (_, time) = ASN1Time::from_der(input).ok()?;
    Some((rest, time.timestamp()))
}

/// The certificate that a response has to be about.
struct Subject<'a> {
    serial: &'a [u8],
    issuer: &'a [u8],
    key: Option<&'a [u8]>,
}

impl<'a> Subject<'a> {
    fn new(certificate: &'a [u8], issuer: Option<&'a [u8]>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let issuer_name = certificate.tbs_certificate.issuer.as_raw();
        let key = match issuer {
            Some(issuer) => {
                let (_, issuer) = X509Certificate::from_der(issuer).ok()?;
                Some(issuer.tbs_certificate.subject_pki.subject_public_key.data)
            }
            None => None,
        };
        let key = key.and_then(|key| match key {
            std::borrow::Cow::Borrowed(key) => Some(key),
            std::borrow::Cow::Owned(_) => None,
        });
        Some(Self { serial: certificate.tbs_certificate.raw_serial(), issuer: issuer_name, key })
    }

    fn is_of(&self, single: &Single<'_>) -> bool {
        let digest = |octets: &[u8]| match single.hash {
            [0x2b, 0x0e, 0x03, 0x02, 0x1a] => Some(Sha1::digest(octets).to_vec()),
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => {
                Some(Sha256::digest(octets).to_vec())
            }
            _ => None,
        };
        single.serial == self.serial
            && digest(self.issuer).is_some_and(|hash| hash == single.name)
            && self.key.is_none_or(|key| digest(key).is_some_and(|hash| hash == single.key))
    }
}
