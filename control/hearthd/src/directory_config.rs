//! The YAML of the SA directory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hearth_config::{ConfigError, Document, Location, Spanned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;

use crate::config::Config;
use crate::directory::Source;
use crate::directory_tls::{self, Identity, Remote};

/// The longest time in milliseconds that a Binding Update may wait for its SA. By then the mobile
/// node has sent it again (RFC 6275 s.11.8: after a second, or one and a half the first time).
const LONGEST_HOLD: u32 = 10_000;

/// The SA directory.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SaDirectory {
    /// The HAC's Unix socket.
    pub socket: Spanned<PathBuf>,
    /// User that the HAC must run as, by number; nobody else's directory is believed. Default:
    /// root or this daemon's own user.
    pub uid: Option<Spanned<u32>>,
    /// How long a Binding Update under an SA that is not here yet waits for it, in milliseconds:
    /// the HAC is asked meanwhile. 0: it is dropped at once, and the mobile node has to send
    /// it again. Some tens wait at a time. Default: 500.
    pub signalling_hold_ms: Spanned<u32>,
    /// The HAC's address and TCP port, where it is on another machine; in the place of `socket`.
    pub address: Option<Spanned<SocketAddr>>,
    /// The name that the HAC's certificate for this must have. Needed with `address`.
    pub name: Option<Spanned<String>>,
    /// PEM: the authority of that certificate. Needed with `address`, as the next two are. All three are
    /// read again on SIGHUP: the next connection goes by them.
    pub ca: Option<Spanned<PathBuf>>,
    /// PEM: this home agent's certificate, which has its name in the HAC's YAML.
    pub certificate: Option<Spanned<PathBuf>>,
    /// PEM: its key.
    pub key: Option<Spanned<PathBuf>>,
    /// The other HACs of the deployment, where it has several (`replica` in their YAML). All are
    /// watched. Default: none.
    pub replicas: Vec<Spanned<Replica>>,
    /// What follows of all that.
    #[serde(skip)]
    pub sources: Vec<Source>,
}

/// Another HAC; one of both.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replica {
    /// Its Unix socket.
    pub socket: Option<Spanned<PathBuf>>,
    /// Its address and TCP port, with `ca`, `certificate` and `key` as above.
    pub address: Option<Spanned<SocketAddr>>,
    /// The name in its certificate; default: as above.
    pub name: Option<Spanned<String>>,
}

impl Default for SaDirectory {
    fn default() -> Self {
        let at = Location::UNKNOWN;
        Self {
            socket: Spanned::new("/run/hearth/directory.sock".into(), at, at),
            uid: None,
            signalling_hold_ms: Spanned::new(500, at, at),
            address: None,
            name: None,
            ca: None,
            certificate: None,
            key: None,
            replicas: Vec::new(),
            sources: Vec::new(),
        }
    }
}

/// Checks the section; where the directory is.
pub(crate) fn check(
    document: &Document<Config>,
    config: &Config,
) -> Result<Vec<Source>, ConfigError> {
    let section = &config.sa_directory;
    let hold = &section.signalling_hold_ms;
    if hold.value > LONGEST_HOLD {
        let message = format!("{} is out of range; 0 to {LONGEST_HOLD} milliseconds", hold.value);
        return Err(document.error(hold.referenced, "sa_directory.signalling_hold_ms", message));
    }
    let tls = tls(document, section)?;
    let first = match &section.address {
        Some(address) => {
            let name = section.name.as_ref();
            remote(document, tls.as_ref(), address, name, "sa_directory")?
        }
        None => Source::Socket(section.socket.value.clone()),
    };
    let mut sources = vec![first];
    for (index, replica) in section.replicas.iter().enumerate() {
        let key = format!("sa_directory.replicas[{index}]");
        let name = replica.value.name.as_ref().or(section.name.as_ref());
        let source = match (&replica.value.socket, &replica.value.address) {
            (Some(socket), None) => Source::Socket(socket.value.clone()),
            (None, Some(address)) => remote(document, tls.as_ref(), address, name, &key)?,
            _ => {
                let message = "give exactly one of socket and address";
                return Err(document.error(replica.referenced, key, message));
            }
        };
        if sources.iter().any(|other| other.is_at(&source)) {
            let message = format!("{source} is watched already; name each HAC once");
            return Err(document.error(replica.referenced, key, message));
        }
        sources.push(source);
    }
    without_effect(document, section, &sources)?;
    Ok(sources)
}

/// Has the HACs that are watched meet the certificates of `fresh`, read just now. `false`: there are
/// others, or elsewhere, which counts from the next start on.
pub(crate) fn renew(watched: &[Source], fresh: &[Source]) -> bool {
    for source in watched {
        let same = fresh.iter().find(|fresh| fresh.is_at(source));
        if let (Source::Remote(remote), Some(Source::Remote(fresh))) = (source, same) {
            remote.tls.renew(&fresh.tls);
        }
    }
    let all = |these: &[Source], those: &[Source]| {
        these.iter().all(|this| those.iter().any(|that| that.is_at(this)))
    };
    all(watched, fresh) && all(fresh, watched)
}

/// A HAC on another machine.
fn remote(
    document: &Document<Config>,
    tls: Option<&Identity>,
    address: &Spanned<SocketAddr>,
    name: Option<&Spanned<String>>,
    key: &str,
) -> Result<Source, ConfigError> {
    let Some(tls) = tls else {
        let message = "needs sa_directory.ca, certificate and key: a HAC on another machine is \
                       reached by mutual TLS alone";
        return Err(document.error(address.referenced, format!("{key}.address"), message));
    };
    let Some(name) = name else {
        let message = "is missing; the name in the HAC's certificate";
        return Err(document.error(address.referenced, format!("{key}.name"), message));
    };
    let parsed = ServerName::try_from(name.value.clone()).map_err(|_| {
        let message = format!("{} is neither a DNS name nor an address", name.value);
        document.error(name.referenced, format!("{key}.name"), message)
    })?;
    let (address, tls, complained) = (address.value, tls.clone(), Arc::default());
    Ok(Source::Remote(Remote { address, name: parsed, tls, complained }))
}

/// What is given for HACs of a kind that there is none of would be thought to be in force.
fn without_effect(
    document: &Document<Config>,
    section: &SaDirectory,
    sources: &[Source],
) -> Result<(), ConfigError> {
    let socket = &section.socket;
    if section.address.is_some() && socket.referenced != Location::UNKNOWN {
        let message = "stands beside sa_directory.address, and only one of them is the HAC's; a \
                       second HAC belongs into sa_directory.replicas";
        return Err(document.error(socket.referenced, "sa_directory.socket", message));
    }
    let is_remote = |source: &Source| matches!(source, Source::Remote(_));
    if let Some(uid) = &section.uid
        && sources.iter().all(is_remote)
    {
        let message = "is about the user behind a Unix socket, and there is none; leave it out";
        return Err(document.error(uid.referenced, "sa_directory.uid", message));
    }
    let given = [(&section.ca, "ca"), (&section.certificate, "certificate"), (&section.key, "key")];
    let given = given.into_iter().find_map(|(path, name)| Some((path.as_ref()?.referenced, name)));
    let name = section.name.as_ref().map(|name| (name.referenced, "name"));
    if let Some((location, name)) = given.or(name)
        && !sources.iter().any(is_remote)
    {
        let message = "is for a HAC on another machine; give sa_directory.address, or leave it out";
        return Err(document.error(location, format!("sa_directory.{name}"), message));
    }
    Ok(())
}

/// What proves who is who between machines.
fn tls(
    document: &Document<Config>,
    section: &SaDirectory,
) -> Result<Option<Identity>, ConfigError> {
    let (ca, certificate, key) = match (&section.ca, &section.certificate, &section.key) {
        (Some(ca), Some(certificate), Some(key)) => (ca, certificate, key),
        (None, None, None) => return Ok(None),
        (ca, certificate, key) => {
            let given = ca.as_ref().or(certificate.as_ref()).or(key.as_ref());
            let location = given.map_or(Location::UNKNOWN, |given| given.referenced);
            let message = "ca, certificate and key belong together; give all three";
            return Err(document.error(location, "sa_directory", message));
        }
    };
    let pem = |path: &Spanned<PathBuf>, name: &str| {
        let resolved = document.resolve(&path.value);
        let found: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(&resolved).and_then(Iterator::collect);
        found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
            let message = format!("{}: no PEM certificate can be read", resolved.display());
            document.error(path.referenced, format!("sa_directory.{name}"), message)
        })
    };
    let (authorities, chain) = (pem(ca, "ca")?, pem(certificate, "certificate")?);
    let path = document.resolve(&key.value);
    let private = PrivateKeyDer::from_pem_file(&path).map_err(|error| {
        let message = format!("{}: no PEM private key: {error}", path.display());
        document.error(key.referenced, "sa_directory.key", message)
    })?;
    let tls = directory_tls::client_config(authorities, chain, private).map_err(|error| {
        let message = format!("does not fit the key or the authority: {error}");
        document.error(certificate.referenced, "sa_directory.certificate", message)
    })?;
    Ok(Some(Identity::new(tls)))
}

#[cfg(test)]
mod tests;
