//! Mutual TLS between machines: what a server asks of its clients, and what their certificates say.
//!
//! TLS 1.3 alone: it knows no suite without encryption or integrity.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(10);

/// Settings of a server: `chain` and `key` are its own, clients have certificates of `authorities`.
///
/// # Errors
/// They don't fit each other.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<ServerConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    // Each connection proves anew who it is.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The DNS names of a certificate's subjectAltName, in lower case; never its CN.
#[must_use]
pub fn dns_names(certificate: &CertificateDer<'_>) -> Box<[Box<str>]> {
    names(certificate, |name| match name {
        GeneralName::DNSName(name) => Some(name),
        _ => None,
    })
}

/// The names of people and programs in a certificate's subjectAltName, in lower case: DNS names,
/// mail addresses and URIs; never its CN.
#[must_use]
pub fn client_names(certificate: &CertificateDer<'_>) -> Box<[Box<str>]> {
    names(certificate, |name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some(name)
        }
        _ => None,
    })
}

fn names(
    certificate: &CertificateDer<'_>,
    wanted: impl for<'a> Fn(&GeneralName<'a>) -> Option<&'a str>,
) -> Box<[Box<str>]> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Box::default();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Box::default() };
    let names = names.value.general_names.iter();
    names.filter_map(|name| Some(wanted(name)?.to_ascii_lowercase().into())).collect()
}

/// The PEM files of a server with mutual TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Its certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// The key of that.
    pub key: PathBuf,
    /// The authorities of clients' certificates.
    pub client_ca: PathBuf,
}

/// Which of [`Files`] can't be used, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct FileError {
    /// Its key in YAML.
    pub key: &'static str,
    /// Why, with the path.
    pub message: String,
}

/// What the files hold. The key is wiped on drop.
#[derive(PartialEq, Eq)]
pub struct Pem {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Vec<u8>,
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// One can't be read.
    pub fn read(&self) -> Result<Pem, FileError> {
        let read = |key, path: &Path| fs::read(path).map_err(|error| wrong(key, path, &error));
        Ok(Pem {
            certificate: read("certificate", &self.certificate)?,
            key: Zeroizing::new(read("key", &self.key)?),
            client_ca: read("client_ca", &self.client_ca)?,
        })
    }

    /// The settings of an HTTP server by `pem`, which they hold.
    ///
    /// # Errors
    /// One holds no PEM, or they don't fit each other.
    pub fn http_server(&self, pem: &Pem) -> Result<Arc<ServerConfig>, FileError> {
        let certificates = |key, path, octets| {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(octets).collect();
            found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
                wrong(key, path, &io::Error::other("no PEM certificate can be read"))
            })
        };
        let chain = certificates("certificate", &self.certificate, &pem.certificate)?;
        let authorities = certificates("client_ca", &self.client_ca, &pem.client_ca)?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key)
            .map_err(|error| wrong("key", &self.key, &format!("no PEM private key: {error}")))?;
        let mut config = server_config(chain, key, authorities).map_err(|error| {
            let message = format!("does not fit the key or the authority: {error}");
            wrong("certificate", &self.certificate, &message)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again and again, and gives `settings` those of new ones. What can't be used is
    /// logged once, and the settings stay.
    pub async fn follow(self, mut pem: Pem, settings: watch::Sender<Arc<ServerConfig>>) {
        let mut complained = false;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let fresh = self.read().and_then(|fresh| {
                if pem == fresh {
                    return Ok(None);
                }
                let config = self.http_server(&fresh)?;
                pem = fresh;
                Ok(Some(config))
            });
            match fresh {
                Ok(None) => complained = false,
                Ok(Some(config)) => {
                    complained = false;
                    tracing::info!("the certificates of api.tls are read anew");
                    settings.send_replace(config);
                }
                Err(FileError { key, message }) if !complained => {
                    complained = true;
                    tracing::error!(key, message, "certificates of api.tls; those before stay");
                }
                Err(_) => {}
            }
        }
    }
}

fn wrong(key: &'static str, path: &Path, why: &dyn std::fmt::Display) -> FileError {
    FileError { key, message: format!("{}: {why}", path.display()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    /// A certificate of its own authority, in place of what `files` held.
    fn renew(files: &Files) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["ha1.example.net".to_owned()]).unwrap();
        fs::write(&files.certificate, cert.pem()).unwrap();
        fs::write(&files.client_ca, cert.pem()).unwrap();
        fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn new_files_take_the_place_of_old_ones_and_bad_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name| folder.path().join(name);
        let files =
            Files { certificate: at("api.pem"), key: at("api.key"), client_ca: at("ca.pem") };
        renew(&files);
        let pem = files.read().unwrap();
        let (sender, mut settings) = watch::channel(files.http_server(&pem).unwrap());
        tokio::spawn(files.clone().follow(pem, sender));
        // Neither the same octets nor a key of something else.
        for key in [fs::read(&files.key).unwrap(), b"no key".to_vec()] {
            fs::write(&files.key, key).unwrap();
            assert!(tokio::time::timeout(INTERVAL * 3, settings.changed()).await.is_err());
        }
        renew(&files);
        tokio::time::timeout(INTERVAL * 3, settings.changed()).await.unwrap().unwrap();
    }

    #[test]
    fn a_file_that_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name| folder.path().join(name);
        let files =
            Files { certificate: at("api.pem"), key: at("api.key"), client_ca: at("ca.pem") };
        renew(&files);
        for (path, key) in [
            (&files.certificate, "certificate"),
            (&files.key, "key"),
            (&files.client_ca, "client_ca"),
        ] {
            let good = fs::read(path).unwrap();
            fs::write(path, "no PEM").unwrap();
            let pem = files.read().unwrap_or_else(|error| panic!("{}", error.message));
            let error = files.http_server(&pem).err().unwrap();
            assert_eq!(error.key, key);
            assert!(error.message.contains(path.to_str().unwrap()), "{}", error.message);
            fs::write(path, good).unwrap();
        }
        fs::remove_file(&files.key).unwrap();
        assert_eq!(files.read().err().unwrap().key, "key");
    }
}
