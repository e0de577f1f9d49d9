//! Judges the SA directory: its store, its Unix socket, its addresses for other machines.

use std::path::PathBuf;

use hearth_config::{ConfigError, Document, Spanned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::raw::Root;
use super::{DirectoryConfig, RemoteConfig};
use crate::directory::remote;

pub(super) fn check(file: &Document<Root>) -> Result<DirectoryConfig, ConfigError> {
    let raw = &file.value.directory;
    Ok(DirectoryConfig {
        store: file.resolve(&raw.store),
        socket: file.resolve(&raw.socket),
        allow_uids: raw.allow_uids.clone(),
        remote: remote(file)?,
        trust_clock: false,
    })
}

fn remote(file: &Document<Root>) -> Result<Option<RemoteConfig>, ConfigError> {
    let raw = &file.value.directory;
    let Some(first) = raw.listen.first() else {
        let given = [(&raw.certificate, "certificate"), (&raw.key, "key"), (&raw.ca, "ca")];
        return match given.into_iter().find_map(|(path, name)| Some((path.as_ref()?, name))) {
            None => Ok(None),
            Some((path, name)) => {
                let message = "is for home agents on other machines; give directory.listen, or \
                               leave it out";
                Err(file.error(path.referenced, format!("directory.{name}"), message))
            }
        };
    };
    let needed = |path: &'_ Option<Spanned<PathBuf>>, name: &str| match path {
        Some(path) => Ok(path.clone()),
        None => {
            let message =
                "is missing; home agents on other machines are served by mutual TLS alone";
            Err(file.error(first.referenced, format!("directory.{name}"), message))
        }
    };
    let certificate = needed(&raw.certificate, "certificate")?;
    let key_path = needed(&raw.key, "key")?;
    let ca = needed(&raw.ca, "ca")?;
    let chain = certificates(file, &certificate, "directory.certificate")?;
    let authorities = certificates(file, &ca, "directory.ca")?;
    let path = file.resolve(&key_path.value);
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| {
        let message = format!("{}: no PEM private key: {error}", path.display());
        file.error(key_path.referenced, "directory.key", message)
    })?;
    let tls = remote::server_config(chain, key, authorities).map_err(|error| {
        let message = format!("does not serve: {error}");
        file.error(certificate.referenced, "directory.certificate", message)
    })?;
    let listen = raw.listen.iter().map(|listen| listen.value).collect();
    Ok(Some(RemoteConfig { listen, tls }))
}

fn certificates(
    file: &Document<Root>,
    path: &Spanned<PathBuf>,
    key: &str,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let resolved = file.resolve(&path.value);
    let wrong = |message: String| {
        file.error(path.referenced, key, format!("{}: {message}", resolved.display()))
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(&resolved)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(format!("no PEM certificates: {error}")))?;
    if found.is_empty() {
        return Err(wrong("holds no PEM certificate".to_owned()));
    }
    Ok(found)
}
