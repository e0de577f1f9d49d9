//! What EAP-TLS authenticates with: the HAC's certificate, the CAs of mobile nodes, their CRLs; and
//! reading them again while the HAC runs.
//!
//! Read first: RFC 5216 s.5.3, 5.4; RFC 9190 s.5; readings.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tracing::{info, warn};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

use super::Run;
use super::names::NameKind;
use crate::cert::{self, CertificateError};
use crate::file_mark::FileMark;

/// The files that EAP-TLS is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The HAC's certificate chain for mobile nodes, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// CAs that sign the certificates of mobile nodes, PEM.
    pub client_ca: PathBuf,
    /// What they have revoked, PEM; one list for each CA of a chain, or none at all.
    pub crls: Vec<PathBuf>,
}

impl Files {
    fn all(&self) -> impl Iterator<Item = &Path> {
        let single = [&self.certificate, &self.key, &self.client_ca];
        single.into_iter().chain(&self.crls).map(PathBuf::as_path)
    }

    /// What is in the files.
    fn marks(&self) -> Vec<Option<FileMark>> {
        self.all().map(FileMark::of).collect()
    }
}

/// What does not change while the HAC runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether TLS 1.2 is spoken.
    pub tls12: bool,
    /// Whether TLS 1.3 is spoken.
    pub tls13: bool,
    /// Octets of the longest Type-Data.
    pub mtu: usize,
    /// Kinds of subjectAltNames that can be an mn-id.
    pub names: Arc<[NameKind]>,
}

impl Policy {
    /// Octets of the longest Type-Data where nothing else is said.
    pub const DEFAULT_MTU: usize = 4096;
}

/// Which of the files EAP-TLS can't serve with, and why.
#[derive(Debug)]
pub enum LoadError {
    /// The HAC's certificate.
    Certificate(String),
    /// Its key, or the two together.
    Key(String),
    /// The CAs of mobile nodes.
    ClientCa(String),
    /// The CRL of this index.
    Crl(usize, String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(message)
            | Self::Key(message)
            | Self::ClientCa(message)
            | Self::Crl(_, message) => f.write_str(message),
        }
    }
}

/// The EAP-TLS server of a HAC.
pub struct EapTls {
    files: Files,
    policy: Policy,
    /// What a new run gets.
    current: RwLock<Arc<ServerConfig>>,
    /// The files as they were when they were last read, with success or without.
    seen: Mutex<Vec<Option<FileMark>>>,
}

impl fmt::Debug for EapTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EapTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Two are the same that read the same files by the same policy.
impl PartialEq for EapTls {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files && self.policy == other.policy
    }
}

impl Eq for EapTls {}

impl EapTls {
    /// Reads and checks the files at `now` (unix seconds).
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(files: Files, policy: Policy, now: u64) -> Result<Self, LoadError> {
        let seen = Mutex::new(files.marks());
        let current = RwLock::new(config(&files, &policy, now)?);
        Ok(Self { files, policy, current, seen })
    }

    /// CRLs that say at `now` (unix seconds) that there is a newer one, or can't be read: every
    /// certificate that they speak for is refused.
    #[must_use]
    pub fn outdated(&self, now: u64) -> Vec<&Path> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let lists = self.files.crls.iter().map(PathBuf::as_path);
        lists.filter(|path| is_outdated(path, now).unwrap_or(true)).collect()
    }

    /// A run for one mobile node; `None` by a fault of this server.
    #[must_use]
    pub fn run(&self) -> Option<Run> {
        let server = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        Run::new(server, self.policy.mtu, self.policy.names.clone()).ok()
    }

    /// Reads again what has changed at `now` (unix seconds), or everything. What can't serve leaves
    /// in place what was there. Runs that have begun go on as they began.
    pub fn reload(&self, everything: bool, now: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before: what changes while it is read is read once more.
        let marks = self.files.marks();
        if !everything && *seen == marks {
            return;
        }
        *seen = marks;
        match config(&self.files, &self.policy, now) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                info!(certificate = %self.files.certificate.display(), "EAP-TLS files read");
                warn_of(&self.outdated(now));
            }
            Err(error) => warn!(%error, "EAP-TLS stays as it was"),
        }
    }
}

/// Warns of CRLs that have expired.
pub fn warn_of(outdated: &[&Path]) {
    for path in outdated {
        warn!(crl = %path.display(), "has expired: who has a certificate that it speaks for is refused");
    }
}

/// Whether one of the lists in a file says that there is a newer one at `now`.
fn is_outdated(path: &Path, now: i64) -> Option<bool> {
    let octets = read(path).ok()?;
    for list in CertificateRevocationListDer::pem_slice_iter(&octets) {
        let list = list.ok()?;
        let (_, list) = CertificateRevocationList::from_der(&list).ok()?;
        if list.next_update().is_none_or(|until| until.timestamp() <= now) {
            return Some(true);
        }
    }
    Some(false)
}

fn config(files: &Files, policy: &Policy, now: u64) -> Result<Arc<ServerConfig>, LoadError> {
    let chain = chain(&files.certificate, now).map_err(LoadError::Certificate)?;
    let key = key(&files.key).map_err(LoadError::Key)?;
    let mut roots = RootCertStore::empty();
    authorities(&files.client_ca, &mut roots).map_err(LoadError::ClientCa)?;
    let mut lists = Vec::new();
    let roots = Arc::new(roots);
    for (index, path) in files.crls.iter().enumerate() {
        let of_file = crls(path, &roots).map_err(|message| LoadError::Crl(index, message))?;
        lists.extend(of_file);
    }
    // With a CRL the whole chain is checked, and what no CRL speaks for, or an expired one, is
    // refused: a list that can be made to disappear would revoke nothing.
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(lists)
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| LoadError::ClientCa(format!("{}: {error}", files.client_ca.display())))?;
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    versions.extend(policy.tls13.then_some(&TLS13));
    versions.extend(policy.tls12.then_some(&TLS12));
    let wrong = |error: rustls::Error| {
        LoadError::Key(format!("{}: does not serve: {error}", files.key.display()))
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(wrong)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(wrong)?;
    // No resumption, so no tickets behind the success indication either.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    // RFC 7627 s.5.4: without it the exporter's keys can be those of two sessions.
    config.require_ems = true;
    Ok(Arc::new(config))
}

/// The certificate chain, checked as the HAC's other one, but for the channel binding, which
/// is not made of it.
fn chain(path: &Path, now: u64) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = certificates(path)?;
    match chain.first().map(|end_entity| cert::lint(end_entity, now)) {
        Some(Ok(()) | Err(CertificateError::NoChannelBinding)) => Ok(chain),
        Some(Err(error)) => Err(format!("{}: {error}", path.display())),
        None => Err(format!("{}: holds no PEM certificate", path.display())),
    }
}

fn authorities(path: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{}: no certificate of a CA: {error}", path.display()))?;
    }
    if roots.is_empty() {
        return Err(format!("{}: holds no PEM certificate", path.display()));
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: no PEM certificates: {error}", path.display()))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| format!("{}: no PEM private key: {error}", path.display()))
}

fn crls(
    path: &Path,
    roots: &Arc<RootCertStore>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let wrong = |error: &dyn fmt::Display| format!("{}: no PEM CRL: {error}", path.display());
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    if lists.is_empty() {
        return Err(wrong(&"it holds none (X509 CRL)"));
    }
    // Here, where it is known which file it is.
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(roots.clone(), provider)
        .with_crls(lists.clone())
        .build()
        .map_err(|error| wrong(&error))?;
    Ok(lists)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: io::Error| format!("{} can't be read: {error}", path.display());
    fs::read(path).map(Zeroizing::new).map_err(unreadable)
}
