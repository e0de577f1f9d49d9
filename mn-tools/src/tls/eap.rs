//! TLS inside EAP: our certificate, who the server is, and what went wrong in words.
//!
//! Read first: RFC 5216 s.5.2, 5.3; RFC 9190 s.5.1.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{AlertDescription, CertificateError, ClientConfig, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TrustAnchors;

/// Why TLS inside EAP failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// No configured CA stands behind the server's certificate.
    UnknownIssuer,
    /// The server's certificate has ended.
    Expired,
    /// The server's certificate has not begun.
    NotYetValid,
    /// The server's certificate says another name than is configured.
    OtherName,
    /// Something else is wrong with the server's certificate.
    Certificate,
    /// The server sent this alert.
    Alert(AlertDescription),
    /// No version of TLS or no cipher in common.
    Incompatible,
    /// Anything else.
    Broken,
}

impl TlsFault {
    pub(crate) const fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(fault) => match fault {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::UnknownIssuer
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                _ => Self::Certificate,
            },
            rustls::Error::AlertReceived(alert) => Self::Alert(*alert),
            rustls::Error::PeerIncompatible(_) => Self::Incompatible,
            _ => Self::Broken,
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SERVER: &str = "the EAP server's certificate";
        match self {
            Self::UnknownIssuer => write!(f, "{SERVER} is not signed by a configured CA"),
            Self::Expired => write!(f, "{SERVER} has expired"),
            Self::NotYetValid => {
                write!(f, "{SERVER} is not valid yet (or the clock here is wrong)")
            }
            Self::OtherName => write!(f, "{SERVER} does not say the configured server_name"),
            Self::Certificate => write!(f, "{SERVER} is not acceptable"),
            Self::Alert(alert) => match alert {
                AlertDescription::CertificateExpired => {
                    f.write_str("the EAP server says that our certificate has expired")
                }
                AlertDescription::CertificateRevoked => {
                    f.write_str("the EAP server says that our certificate is revoked")
                }
                AlertDescription::UnknownCA => {
                    f.write_str("the EAP server does not know the CA of our certificate")
                }
                AlertDescription::CertificateRequired => {
                    f.write_str("the EAP server wants a certificate of us")
                }
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied => {
                    write!(f, "the EAP server does not accept our certificate ({alert:?})")
                }
                other => write!(f, "the EAP server ended TLS ({other:?})"),
            },
            Self::Incompatible => {
                f.write_str("the EAP server has no version of TLS or cipher that is known here")
            }
            Self::Broken => f.write_str("TLS with the EAP server failed"),
        }
    }
}

/// Why our own certificate or key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityFault {
    /// The file of certificates can't be read as PEM, or holds none.
    Certificate,
    /// The file of the key can't be read as PEM, or holds none.
    Key,
    /// The key is of a kind that TLS can't use.
    KeyKind,
    /// The key is not the certificate's.
    Mismatch,
    /// The certificate has ended.
    Expired,
    /// The certificate has not begun.
    NotYetValid,
}

/// Where our certificate and its key are. Both are read for each bootstrap, so that new ones are
/// used as soon as they are there.
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    /// PEM: our certificate, then those between it and the CA.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

impl IdentityFiles {
    /// The file that a fault is about.
    #[must_use]
    pub fn blamed(&self, fault: IdentityFault) -> &Path {
        match fault {
            IdentityFault::Key | IdentityFault::KeyKind => &self.key,
            _ => &self.certificate,
        }
    }

    /// A TLS client with this certificate.
    ///
    /// # Errors
    /// [`IdentityFault`].
    pub fn client(&self, anchors: &TrustAnchors) -> Result<Arc<ClientConfig>, IdentityFault> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or(IdentityFault::Certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|_| IdentityFault::Key)?;
        let builder = builder(anchors).map_err(|_| IdentityFault::KeyKind)?;
        let config = builder.with_client_auth_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                IdentityFault::Mismatch
            }
            rustls::Error::InvalidCertificate(_) => IdentityFault::Certificate,
            _ => IdentityFault::KeyKind,
        })?;
        Ok(finished(config))
    }

    /// Whether the certificate is valid at `now`, Unix seconds.
    ///
    /// # Errors
    /// [`IdentityFault`].
    pub fn check_validity(&self, now: u64) -> Result<(), IdentityFault> {
        let certificate = CertificateDer::from_pem_file(&self.certificate)
            .map_err(|_| IdentityFault::Certificate)?;
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| IdentityFault::Certificate)?;
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let validity = parsed.validity();
        if now < validity.not_before.timestamp() {
            return Err(IdentityFault::NotYetValid);
        }
        if now > validity.not_after.timestamp() {
            return Err(IdentityFault::Expired);
        }
        Ok(())
    }
}

/// A TLS client without a certificate.
///
/// # Errors
/// Where the provider lacks one of the protocol versions.
pub fn anonymous_client(anchors: &TrustAnchors) -> Result<Arc<ClientConfig>, rustls::Error> {
    Ok(finished(builder(anchors)?.with_no_client_auth()))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

/// TLS 1.2 and 1.3, with a server that is verified as webpki does it.
fn builder(anchors: &TrustAnchors) -> Result<Builder, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::clone(&anchors.0);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_webpki_verifier(verifier))
}

/// No resumption: each bootstrap proves everything anew. No SNI: an EAP server is not chosen by its
/// name (RFC 9190 s.2.2).
fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Arc::new(config)
}
