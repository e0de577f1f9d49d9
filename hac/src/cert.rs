//! The server certificate: its lint at start, and the channel binding made of it.
//!
//! Read first: RFC 6618 s.9.2; RFC 5929 s.4.1; readings.

use core::fmt;

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{self as oids, Oid};
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::time::ASN1Time;

/// Why this certificate can't serve: the HAC's own mobile nodes would have to reject it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateError {
    /// Not a DER certificate.
    Unreadable,
    /// Its end of validity has passed.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// No subjectAltName with a dNSName or an iPAddress; the CN is never looked at.
    NoSubjectAltName,
    /// A dNSName with a wildcard.
    Wildcard,
    /// A CA's certificate, which TLS clients refuse for a server.
    CertificateAuthority,
    /// An extended key usage without serverAuth.
    NotForServers,
    /// The signature algorithm has no hash of its own: `tls-server-end-point` is undefined.
    NoChannelBinding,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "not an X.509 certificate",
            Self::Expired => "the certificate has expired; renew it",
            Self::NotYetValid => "the certificate is not valid yet; check the clock",
            Self::NoSubjectAltName => {
                "the certificate names its server in the CN only, which mobile nodes never look \
                 at; it needs a subjectAltName with a dNSName or an iPAddress"
            }
            Self::Wildcard => {
                "the certificate has a wildcard name, which mobile nodes reject (RFC 6618 s.9.2); \
                 name the server in full"
            }
            Self::CertificateAuthority => {
                "this is a CA certificate; a server needs one with CA:FALSE"
            }
            Self::NotForServers => {
                "the certificate's extended key usage lacks serverAuth; mobile nodes reject it"
            }
            Self::NoChannelBinding => {
                "the certificate's signature algorithm has no tls-server-end-point channel binding \
                 (RFC 5929 s.4.1; Ed25519 and Ed448 are such); use one signed with RSA or ECDSA \
                 and SHA-224, SHA-256, SHA-384 or SHA-512"
            }
        })
    }
}

impl std::error::Error for CertificateError {}

/// CB-octets of RFC 6618 s.5.8: the raw hash of the DER server certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelBinding(Box<[u8]>);

impl ChannelBinding {
    /// The octets that go into `auth`.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// The binding of the certificate `der`.
    ///
    /// # Errors
    /// [`CertificateError::Unreadable`], [`CertificateError::NoChannelBinding`].
    pub fn of_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        let hash = binding_hash(&certificate).ok_or(CertificateError::NoChannelBinding)?;
        Ok(Self(hash.digest(der)))
    }
}

/// Checks a server certificate as this HAC's mobile nodes will, at `now` (unix seconds).
///
/// # Errors
/// The first of [`CertificateError`] that applies.
pub fn lint(der: &[u8], now: u64) -> Result<(), CertificateError> {
    let certificate = parse(der)?;
    let now = i64::try_from(now)
        .ok()
        .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok())
        .ok_or(CertificateError::NotYetValid)?;
    if now > certificate.validity().not_after {
        return Err(CertificateError::Expired);
    }
    if now < certificate.validity().not_before {
        return Err(CertificateError::NotYetValid);
    }
    if certificate.is_ca() {
        return Err(CertificateError::CertificateAuthority);
    }
    let usage = certificate.extended_key_usage().map_err(|_| CertificateError::Unreadable)?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(CertificateError::NotForServers);
    }
    lint_names(&certificate)?;
    ChannelBinding::of_certificate(der).map(|_| ())
}

/// When the certificate `der` ends, in unix seconds; `None`: it is no certificate.
#[must_use]
pub fn not_after(der: &[u8]) -> Option<i64> {
    Some(parse(der).ok()?.validity().not_after.timestamp())
}

/// RFC 6618 s.9.2: dNSName or iPAddress identities; no "*"; the CN-ID must not be used.
fn lint_names(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| CertificateError::Unreadable)?
        .ok_or(CertificateError::NoSubjectAltName)?;
    let mut usable = false;
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(name) if name.contains('*') => {
                return Err(CertificateError::Wildcard);
            }
            GeneralName::DNSName(_) | GeneralName::IPAddress(_) => usable = true,
            _ => {}
        }
    }
    if usable { Ok(()) } else { Err(CertificateError::NoSubjectAltName) }
}

/// The dNSNames of a certificate, in lower case.
#[must_use]
pub fn dns_names(der: &[u8]) -> Vec<String> {
    let Ok(certificate) = parse(der) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok((&[], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Unreadable),
    }
}

/// A hash function that a certificate signature may name.
#[derive(Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn digest(self, data: &[u8]) -> Box<[u8]> {
        match self {
            Self::Sha224 => Box::from(Sha224::digest(data).as_slice()),
            Self::Sha256 => Box::from(Sha256::digest(data).as_slice()),
            Self::Sha384 => Box::from(Sha384::digest(data).as_slice()),
            Self::Sha512 => Box::from(Sha512::digest(data).as_slice()),
        }
    }
}

/// RFC 5929 s.4.1: the hash of the certificate's signatureAlgorithm, SHA-256 for MD5 and SHA-1.
fn binding_hash(certificate: &X509Certificate<'_>) -> Option<Hash> {
    let algorithm = &certificate.signature_algorithm;
    // rsassa-pss names its hash in the parameters.
    if algorithm.algorithm == oids::OID_PKCS1_RSASSAPSS {
        return match SignatureAlgorithm::try_from(algorithm) {
            Ok(SignatureAlgorithm::RSASSA_PSS(params)) => hash_of(params.hash_algorithm_oid()),
            _ => None,
        };
    }
    let table: [(Oid<'_>, Hash); 12] = [
        (oids::OID_PKCS1_MD5WITHRSAENC, Hash::Sha256),
        (oids::OID_PKCS1_SHA1WITHRSA, Hash::Sha256),
        (oids::OID_SHA1_WITH_RSA, Hash::Sha256),
        (oids::OID_PKCS1_SHA224WITHRSA, Hash::Sha224),
        (oids::OID_PKCS1_SHA256WITHRSA, Hash::Sha256),
        (oids::OID_PKCS1_SHA384WITHRSA, Hash::Sha384),
        (oids::OID_PKCS1_SHA512WITHRSA, Hash::Sha512),
        (oid!(1.2.840.10045.4.1), Hash::Sha256), // ecdsa-with-SHA1
        (oids::OID_SIG_ECDSA_WITH_SHA224, Hash::Sha224),
        (oids::OID_SIG_ECDSA_WITH_SHA256, Hash::Sha256),
        (oids::OID_SIG_ECDSA_WITH_SHA384, Hash::Sha384),
        (oids::OID_SIG_ECDSA_WITH_SHA512, Hash::Sha512),
    ];
    table.into_iter().find(|(oid, _)| *oid == algorithm.algorithm).map(|(_, hash)| hash)
}

fn hash_of(oid: &Oid<'_>) -> Option<Hash> {
    let table: [(Oid<'_>, Hash); 4] = [
        (oids::OID_HASH_SHA1, Hash::Sha256),
        (oids::OID_NIST_HASH_SHA256, Hash::Sha256),
        (oids::OID_NIST_HASH_SHA384, Hash::Sha384),
        (oids::OID_NIST_HASH_SHA512, Hash::Sha512),
    ];
    table.into_iter().find(|(known, _)| known == oid).map(|(_, hash)| hash)
}
