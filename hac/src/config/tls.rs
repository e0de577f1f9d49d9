//! Judges the TLS server: certificates, versions, cipher suites.

use std::sync::Arc;

use hearth_config::{ConfigError, Document};
use rustls::SupportedCipherSuite;

use super::raw::{self, Root};
use crate::tls::{Files, LoadError, Server, Settings, UnknownName};

/// Certificates of one HAC: two kinds of keys for each of its names, and names for every purpose.
const MAX_CERTIFICATES: usize = 32;

/// Reads and checks everything that the TLS server needs; `now` in unix seconds.
pub(super) fn check(file: &Document<Root>, now: u64) -> Result<Arc<Server>, ConfigError> {
    let raw = &file.value.tls;
    let more = raw.more_certificates.iter();
    if let Some(excess) = more.clone().nth(MAX_CERTIFICATES) {
        let message = format!("more than {MAX_CERTIFICATES} certificates; remove some");
        return Err(file.error(excess.certificate.referenced, "tls.more_certificates", message));
    }
    let first = raw::Certificate {
        certificate: raw.certificate.clone(),
        key: raw.key.clone(),
        ocsp: raw.ocsp.clone(),
    };
    let certificates: Vec<_> = std::iter::once(&first).chain(more).collect();
    let files = certificates.iter().map(|raw| Files {
        certificate: file.resolve(&raw.certificate.value),
        key: file.resolve(&raw.key.value),
        ocsp: raw.ocsp.as_ref().map(|path| file.resolve(&path.value)),
    });
    let settings = Settings::new(raw.tls13, suites(file)?, raw.tickets);
    let server = Server::load(files.collect(), settings, unknown_name(file)?, now);
    if let (Ok(server), Some(names)) = (&server, &raw.suites) {
        let unserved = server.identities().iter().position(|identity| !identity.has_tls12_suite());
        if let Some(raw) = unserved.and_then(|index| certificates.get(index)) {
            let message = format!(
                "names no suite of TLS 1.2 for the kind of key in {}; add one",
                raw.certificate.value.display()
            );
            return Err(file.error(names.referenced, "tls.suites", message));
        }
    }
    server.map(Arc::new).map_err(|(index, error)| {
        let prefix = match index.checked_sub(1) {
            None => "tls".to_owned(),
            Some(more) => format!("tls.more_certificates[{more}]"),
        };
        let raw = certificates.get(index).copied().unwrap_or(&first);
        match error {
            LoadError::Certificate(message) => {
                file.error(raw.certificate.referenced, format!("{prefix}.certificate"), message)
            }
            LoadError::Key(message) => {
                file.error(raw.key.referenced, format!("{prefix}.key"), message)
            }
        }
    })
}

fn unknown_name(file: &Document<Root>) -> Result<UnknownName, ConfigError> {
    let Some(given) = &file.value.tls.unknown_name else { return Ok(UnknownName::default()) };
    match given.value.as_str() {
        "default" => Ok(UnknownName::Default),
        "refuse" => Ok(UnknownName::Refuse),
        other => {
            let message = format!("{other} is neither default nor refuse");
            Err(file.error(given.referenced, "tls.unknown_name", message))
        }
    }
}

fn suites(file: &Document<Root>) -> Result<Option<Vec<SupportedCipherSuite>>, ConfigError> {
    let raw = &file.value.tls;
    let Some(names) = &raw.suites else { return Ok(None) };
    let mut suites: Vec<SupportedCipherSuite> = Vec::new();
    for (index, name) in names.value.iter().enumerate() {
        let wrong =
            |message| Err(file.error(name.referenced, format!("tls.suites[{index}]"), message));
        let known = Settings::known_suites().iter();
        match known.clone().find(|suite| Settings::suite_name(**suite) == name.value) {
            Some(suite) if suites.contains(suite) => {
                return wrong(format!("{} stands twice", name.value));
            }
            Some(suite) => suites.push(*suite),
            None => {
                let known: Vec<_> = known.map(|suite| Settings::suite_name(*suite)).collect();
                let known = known.join(", ");
                return wrong(format!("{} is no suite of this server; one of {known}", name.value));
            }
        }
    }
    let has = |tls13: bool| suites.iter().any(|suite| suite.tls13().is_some() == tls13);
    let lacks = |version| {
        let message = format!("names no suite of TLS {version}; add one");
        Err(file.error(names.referenced, "tls.suites", message))
    };
    // TLS 1.2 always.
    if !has(false) {
        return lacks("1.2");
    }
    if raw.tls13 && !has(true) {
        return lacks("1.3, or switch it off with tls13: false");
    }
    Ok(Some(suites))
}
