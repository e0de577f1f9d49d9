//! Who the HAC is: certificate verification and channel binding.
//!
//! Read first: RFC 6618 s.9.2; RFC 5929 s.4.1; readings.
//!
//! rustls and webpki verify the chain; the name is checked here, because R-1 is stricter than they
//! are: no wildcard, and an iPAddress only for a literal address.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

mod eap;

pub use eap::{IdentityFault, IdentityFiles, TlsFault, anonymous_client};

#[cfg(test)]
pub(crate) mod tests;

/// The name that the HAC's certificate must carry (the "reference identifier" of RFC 6125).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceName {
    /// A dNSName, compared as a whole without regard to case.
    Dns(String),
    /// An iPAddress: only where the configuration holds a literal address.
    Address(IpAddr),
}

impl ReferenceName {
    /// Takes a literal address or a DNS name; `None` where `text` is neither. A wildcard is no name.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        match ServerName::try_from(text) {
            Ok(ServerName::DnsName(_)) => Some(Self::Dns(text.trim_end_matches('.').to_owned())),
            _ => None,
        }
    }

    /// What goes into the TLS handshake (SNI for a DNS name).
    ///
    /// # Errors
    /// Never for a name that [`Self::new`] made.
    pub fn server_name(&self) -> Result<ServerName<'static>, rustls::Error> {
        match self {
            Self::Address(address) => Ok((*address).into()),
            Self::Dns(name) => ServerName::try_from(name.clone())
                .map_err(|_| rustls::Error::General("not a DNS name".to_owned())),
        }
    }
}

impl fmt::Display for ReferenceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why a file of trust anchors is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustError {
    /// It can't be read, or is no PEM.
    Unreadable,
    /// It holds no certificate.
    Empty,
    /// A certificate in it can't be a trust anchor.
    NotAnAnchor,
}

/// Certification authorities whose certificates are trusted.
#[derive(Debug, Clone)]
pub struct TrustAnchors(Arc<RootCertStore>);

impl TrustAnchors {
    /// Reads the PEM file at `path`.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|_| TrustError::Unreadable)?;
        if certificates.is_empty() {
            return Err(TrustError::Empty);
        }
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            store.add(certificate).map_err(|_| TrustError::NotAnAnchor)?;
        }
        Ok(Self(Arc::new(store)))
    }
}

/// Why a certificate whose chain is in order is refused all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// It can't be read.
    Unreadable,
    /// Its signature algorithm has no `tls-server-end-point` binding: Ed25519, Ed448.
    NoChannelBinding,
    /// It has no subjectAltName; the CN does not count.
    NoAlternativeName,
    /// A dNSName holds a wildcard (RFC 6618 s.9.2).
    Wildcard,
    /// No subjectAltName is the configured name.
    OtherName,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "can't be read",
            Self::NoChannelBinding => {
                "is signed with Ed25519 or Ed448, which has no channel binding (RFC 5929 s.4.1)"
            }
            Self::NoAlternativeName => {
                "has no subjectAltName; the common name does not count (RFC 6618 s.9.2)"
            }
            Self::Wildcard => "holds a wildcard, which RFC 6618 s.9.2 forbids",
            Self::OtherName => "does not name it as subjectAltName",
        })
    }
}

impl std::error::Error for CertificateFault {}

/// Checks that the certificate names the HAC and has a channel binding.
///
/// # Errors
/// [`CertificateFault`].
pub fn check_identity(
    certificate: &CertificateDer<'_>,
    name: &ReferenceName,
) -> Result<(), CertificateFault> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateFault::Unreadable)?;
    end_point_hash(&parsed.signature_algorithm).ok_or(CertificateFault::NoChannelBinding)?;
    let names = match parsed.subject_alternative_name() {
        Ok(Some(extension)) => &extension.value.general_names,
        Ok(None) => return Err(CertificateFault::NoAlternativeName),
        Err(_) => return Err(CertificateFault::Unreadable),
    };
    let has_wildcard =
        |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(dns) if dns.contains('*'));
    if names.iter().any(has_wildcard) {
        return Err(CertificateFault::Wildcard);
    }
    let is_ours = |presented: &GeneralName<'_>| match (presented, name) {
        (GeneralName::DNSName(dns), ReferenceName::Dns(ours)) => dns.eq_ignore_ascii_case(ours),
        (GeneralName::IPAddress(octets), ReferenceName::Address(IpAddr::V4(ours))) => {
            *octets == ours.octets()
        }
        (GeneralName::IPAddress(octets), ReferenceName::Address(IpAddr::V6(ours))) => {
            *octets == ours.octets()
        }
        _ => false,
    };
    if names.iter().any(is_ours) { Ok(()) } else { Err(CertificateFault::OtherName) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndPointHash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The hash of RFC 5929 s.4.1: that of the certificate's signature, SHA-256 instead of MD5 and
/// SHA-1. `None` where the signature algorithm has no hash of its own.
fn end_point_hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<EndPointHash> {
    let hash = match SignatureAlgorithm::try_from(algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(params)) => params.hash_algorithm_oid().to_id_string(),
        _ => algorithm.algorithm.to_id_string(),
    };
    Some(match hash.as_str() {
        // md5WithRSA, sha1WithRSA, sha256WithRSA; ecdsa-with-SHA1, -SHA256; SHA-1, SHA-256 of PSS
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2"
        | "1.3.14.3.2.26"
        | "2.16.840.1.101.3.4.2.1" => EndPointHash::Sha256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => {
            EndPointHash::Sha384
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => {
            EndPointHash::Sha512
        }
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" | "2.16.840.1.101.3.4.2.4" => {
            EndPointHash::Sha224
        }
        _ => return None,
    })
}

/// CB-octets of `tls-server-end-point`: the raw hash of the server's certificate.
///
/// # Errors
/// [`CertificateFault::Unreadable`], [`CertificateFault::NoChannelBinding`].
pub fn server_end_point(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, CertificateFault> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateFault::Unreadable)?;
    match end_point_hash(&parsed.signature_algorithm) {
        None => Err(CertificateFault::NoChannelBinding),
        Some(EndPointHash::Sha224) => Ok(Sha224::digest(certificate).to_vec()),
        Some(EndPointHash::Sha256) => Ok(Sha256::digest(certificate).to_vec()),
        Some(EndPointHash::Sha384) => Ok(Sha384::digest(certificate).to_vec()),
        Some(EndPointHash::Sha512) => Ok(Sha512::digest(certificate).to_vec()),
    }
}

/// The TLS client of R-1: TLS 1.2 and 1.3, a server certificate always, no resumption (so that every
/// session has a certificate for its channel binding), no early data.
///
/// # Errors
/// Where the provider lacks one of the protocol versions.
pub fn client_config(
    anchors: &TrustAnchors,
    name: &ReferenceName,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = HacVerifier {
        anchors: anchors.clone(),
        name: name.clone(),
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct HacVerifier {
    anchors: TrustAnchors,
    name: ReferenceName,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for HacVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.anchors.0,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        check_identity(end_entity, &self.name).map_err(|fault| {
            rustls::Error::from(CertificateError::Other(OtherError(Arc::new(fault))))
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a failed handshake means, in words for the log.
#[must_use]
pub fn explain(error: &rustls::Error, name: &ReferenceName) -> String {
    let rustls::Error::InvalidCertificate(fault) = error else {
        return format!("TLS with {name} failed: {error}");
    };
    let what = match fault {
        CertificateError::Other(OtherError(fault)) => fault.to_string(),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not signed by a configured CA".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet (or the clock here is wrong)".to_owned()
        }
        other => format!("is not acceptable: {other}"),
    };
    format!("the certificate of {name} {what}")
}
