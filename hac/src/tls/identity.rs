//! One certificate of the HAC with everything that hangs on it.
//!
//! Read first: readings; RFC 5077 s.5.5.
//!
//! Each certificate has a TLS server of its own with ticket keys of its own. So whoever resumes a
//! session got its ticket under the very certificate that the channel binding is made of, and a
//! ticket from before a change of the certificate is not understood.

use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::{ClientHello, ProducesTickets};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ServerConfig, SignatureAlgorithm, SupportedCipherSuite};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::ocsp::{self, Staple, StapleError};
use super::settings::Settings;
use crate::cert::{self, ChannelBinding};
use crate::file_mark::FileMark;

/// The files that an identity is read from.
#[derive(Debug, Clone)]
pub struct Files {
    /// PEM, end-entity certificate first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// DER, as `openssl ocsp -respout` writes it.
    pub ocsp: Option<PathBuf>,
}

/// Why an identity can't serve.
#[derive(Debug)]
pub enum LoadError {
    /// The certificate is at fault; in words.
    Certificate(String),
    /// The key is at fault; in words.
    Key(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Certificate(message) | Self::Key(message)) = self;
        f.write_str(message)
    }
}

/// What says whether files have changed: certificate, key, OCSP response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fingerprint([Option<FileMark>; 3]);

impl Files {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let of = FileMark::of;
        Fingerprint([of(&self.certificate), of(&self.key), self.ocsp.as_deref().and_then(of)])
    }
}

/// One certificate, its key, its channel binding and its TLS server.
#[derive(Debug, Clone)]
pub struct Identity {
    names: Vec<String>,
    certificate: CertificateDer<'static>,
    binding: ChannelBinding,
    key: Arc<dyn SigningKey>,
    ticketer: Option<Arc<dyn ProducesTickets>>,
    config: Arc<ServerConfig>,
    staple: Option<Result<Staple, StapleError>>,
}

impl Identity {
    /// Reads and checks an identity at `now` (unix seconds); `before` is what was read from the same
    /// files earlier: as long as the certificate is the same, its tickets stay good.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(
        files: &Files,
        settings: &Settings,
        before: Option<&Self>,
        now: u64,
    ) -> Result<Self, LoadError> {
        let chain = chain(&files.certificate)?;
        let about = |message: String| {
            LoadError::Certificate(format!("{}: {message}", files.certificate.display()))
        };
        let certificate =
            chain.first().ok_or_else(|| about("holds no PEM certificate".to_owned()))?.clone();
        cert::lint(&certificate, now).map_err(|error| about(error.to_string()))?;
        let binding = ChannelBinding::of_certificate(&certificate)
            .map_err(|error| about(error.to_string()))?;
        let issuer = chain.get(1).cloned();
        let staple = files
            .ocsp
            .as_deref()
            .map(|path| ocsp::load(path, &certificate, issuer.as_ref().map(AsRef::as_ref), now));

        let about = |message: String| LoadError::Key(format!("{}: {message}", files.key.display()));
        let serves = |error| about(format!("does not serve with this certificate: {error}"));
        let mut certified =
            CertifiedKey::from_der(chain, key(&files.key)?, settings.provider()).map_err(serves)?;
        certified.ocsp = staple.as_ref().and_then(|staple| Some(staple.as_ref().ok()?.response()));
        let kept = before.filter(|before| before.certificate == certificate);
        let ticketer = match kept {
            Some(before) => before.ticketer.clone(),
            None => settings.ticketer().map_err(serves)?,
        };
        let key = certified.key.clone();
        let names = cert::dns_names(&certificate);
        let config = settings.server_config(certified, ticketer.clone()).map_err(serves)?;
        Ok(Self { names, certificate, binding, key, ticketer, config, staple })
    }

    /// The same with the tickets of `former`, where both have some: it has the same certificate.
    #[must_use]
    pub(super) fn with_tickets_of(&self, former: &Self) -> Self {
        let mut own = self.clone();
        if let (Some(_), Some(ticketer)) = (&self.ticketer, &former.ticketer) {
            let mut config = (*self.config).clone();
            config.ticketer = ticketer.clone();
            own.config = Arc::new(config);
            own.ticketer = Some(ticketer.clone());
        }
        own
    }

    /// The TLS server with this certificate.
    #[must_use]
    pub const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// CB-octets of this certificate.
    #[must_use]
    pub const fn binding(&self) -> &ChannelBinding {
        &self.binding
    }

    /// The dNSNames of the certificate, in lower case.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The certificate itself, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Whether something is stapled, where something is to be: then until when, in unix seconds.
    pub fn staple(&self) -> Option<Result<u64, StapleError>> {
        self.staple.as_ref().map(|staple| match staple {
            Ok(staple) => Ok(staple.until()),
            Err(error) => Err(*error),
        })
    }

    /// Whether signatures of this key take so long that sessions would notice.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.key.algorithm() == SignatureAlgorithm::RSA
    }

    /// Whether a client of TLS 1.2 can meet it: its suites, unlike those of 1.3, go with a kind of key.
    #[must_use]
    pub fn has_tls12_suite(&self) -> bool {
        let algorithm = self.key.algorithm();
        let mut suites = self.config.crypto_provider().cipher_suites.iter();
        suites
            .any(|suite| suite.tls13().is_none() && suite.usable_for_signature_algorithm(algorithm))
    }

    /// Whether a client that says this can verify signatures of this key, and has a suite for it.
    pub(super) fn suits(&self, hello: &ClientHello<'_>) -> bool {
        let algorithm = self.key.algorithm();
        let offered = hello.cipher_suites();
        let has_suite = |suite: &SupportedCipherSuite| {
            offered.contains(&suite.suite()) && suite.usable_for_signature_algorithm(algorithm)
        };
        self.config.crypto_provider().cipher_suites.iter().any(has_suite)
            && self.key.choose_scheme(hello.signature_schemes()).is_some()
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let pem = read(path).map_err(LoadError::Certificate)?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| {
        let message = format!("{}: no PEM certificate chain: {error}", path.display());
        LoadError::Certificate(message)
    })
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    let pem = read(path).map_err(LoadError::Key)?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| LoadError::Key(format!("{}: no PEM private key: {error}", path.display())))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    match std::fs::read(path) {
        Ok(octets) => Ok(Zeroizing::new(octets)),
        Err(error) => Err(format!("{} can't be read: {error}", path.display())),
    }
}
