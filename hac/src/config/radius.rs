//! The AAA servers behind the HAC, and where accounting goes.
//!
//! Read first: RFC 2865, RFC 2866, RFC 5997, RFC 6614; readings.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth_config::{ConfigError, Document, Location, Spanned};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Auth;
use super::check::{in_range, unreadable};
use super::raw::Root;
use crate::auth::eap::server::Offer;
use crate::radius::packet::Secret;
use crate::radius::radsec::{self, Tls};
use crate::radius::{ServerConfig, Transport};

/// The `radius` section as it stands in the file.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Radius")]
pub(super) struct Raw {
    /// NAS-Identifier. Default: hearth-hac.
    nas_identifier: Option<Spanned<String>>,
    /// Servers that judge EAP, the most wanted first.
    #[serde(default)]
    servers: Vec<Spanned<RawServer>>,
    /// Accounting (RFC 2866). Default: none.
    accounting: Option<Spanned<RawAccounting>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Server")]
struct RawServer {
    /// Its address.
    address: Spanned<IpAddr>,
    /// Its port. Default: 1812, for accounting 1813, with `tls` 2083.
    port: Option<Spanned<u64>>,
    /// A file with the shared secret, one line of text.
    secret_file: Option<Spanned<PathBuf>>,
    /// The shared secret as a credential of systemd's, by its name.
    secret_credential: Option<Spanned<String>>,
    /// Seconds for one request with its retransmissions, 1 to 60. Default: 6.
    timeout: Option<Spanned<u64>>,
    /// Retransmissions in that time, 0 to 10. Default: 2.
    retries: Option<Spanned<u64>>,
    /// It knows Status-Server (RFC 5997). Default: on.
    status_server: Option<bool>,
    /// Seconds between questions whether a dead server is back. Default: 30.
    dead_time: Option<Spanned<u64>>,
    /// User-Name in its Access-Accept is who it has authenticated. Must be given where it judges
    /// EAP.
    returns_authenticated_name: Option<Spanned<bool>>,
    /// Who is no subscriber gets an SA if this server accepts it. Default: off.
    #[serde(default)]
    unlisted_subscribers: bool,
    /// RADIUS over TLS (RFC 6614) in the place of a shared secret. Default: none.
    tls: Option<RawTls>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
struct RawTls {
    /// PEM: the authority of the server's certificate.
    ca: Spanned<PathBuf>,
    /// PEM: the HAC's certificate.
    certificate: Spanned<PathBuf>,
    /// PEM: its key.
    key: Spanned<PathBuf>,
    /// The name in the server's certificate. Default: its address.
    name: Option<Spanned<String>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Accounting")]
struct RawAccounting {
    /// Servers that are told, the most wanted first.
    servers: Vec<Spanned<RawServer>>,
    /// Seconds between interim records, 60 to 604800. Default: only where the AAA server asks for
    /// it.
    interim: Option<Spanned<u64>>,
    /// Records that wait for a server; the oldest goes first. Default: 10000.
    queue: Option<Spanned<u64>>,
}

/// AAA servers and accounting.
#[derive(Debug)]
pub struct RadiusConfig {
    /// What this HAC calls itself towards servers.
    pub nas_identifier: Box<str>,
    /// Servers that judge EAP, the most wanted first.
    pub servers: Vec<ServerConfig>,
    /// Accounting, where it is wanted.
    pub accounting: Option<AccountingConfig>,
}

/// Where accounting goes.
#[derive(Debug)]
pub struct AccountingConfig {
    /// The servers, the most wanted first.
    pub servers: Vec<ServerConfig>,
    /// Time between interim records of an SA, where the AAA server does not say another one; `None`:
    /// no interim records then.
    pub interim: Option<Duration>,
    /// Records that wait for a server at most; beyond, the oldest is lost.
    pub queue: usize,
}

/// What a kind of server has where YAML says nothing.
struct Kind {
    port: u16,
    judges_eap: bool,
}

/// RFC 2865 s.3, RFC 2866 s.3, RFC 6614 s.2.1.
const AUTHENTICATION: Kind = Kind { port: 1812, judges_eap: true };
const ACCOUNTING: Kind = Kind { port: 1813, judges_eap: false };
const RADSEC_PORT: u16 = 2083;

pub(super) fn check(
    file: &Document<Root>,
    auth: &Auth,
    session_timeout: Duration,
) -> Result<Option<RadiusConfig>, ConfigError> {
    let Some(raw) = &file.value.radius else {
        if auth.offers(Offer::Aaa) {
            let message = "is missing; auth names radius as an EAP method, so name its servers";
            return Err(file.error(Location::UNKNOWN, "radius.servers", message));
        }
        return Ok(None);
    };
    let servers = servers(file, &raw.servers, &AUTHENTICATION, "radius.servers")?;
    match (auth.offers(Offer::Aaa), raw.servers.first()) {
        (true, None) => {
            let message = "is empty; auth names radius as an EAP method, so name its servers";
            return Err(file.error(Location::UNKNOWN, "radius.servers", message));
        }
        (false, Some(first)) => {
            let message =
                "are never asked; add radius to auth.eap.methods, and eap to auth.methods";
            return Err(file.error(first.referenced, "radius.servers", message));
        }
        _ => {}
    }
    // A mobile node is told 504 only while its session lasts.
    let longest: Duration = servers.iter().map(|server| server.timeout).sum();
    if let Some(first) = raw.servers.first().filter(|_| longest >= session_timeout) {
        let message = format!(
            "may take {} s one after the other; limits.session_timeout is {} s, so lower their \
             timeout or raise that",
            longest.as_secs(),
            session_timeout.as_secs(),
        );
        return Err(file.error(first.referenced, "radius.servers", message));
    }
    Ok(Some(RadiusConfig {
        nas_identifier: nas_identifier(file, raw.nas_identifier.as_ref())?,
        servers,
        accounting: match &raw.accounting {
            Some(accounting) => Some(accounting_config(file, accounting)?),
            None => None,
        },
    }))
}

fn nas_identifier(
    file: &Document<Root>,
    given: Option<&Spanned<String>>,
) -> Result<Box<str>, ConfigError> {
    let Some(name) = given else { return Ok("hearth-hac".into()) };
    if (1..=253).contains(&name.value.len()) {
        return Ok(name.value.as_str().into());
    }
    let message = format!("has {} octets; 1 to 253", name.value.len());
    Err(file.error(name.referenced, "radius.nas_identifier", message))
}

fn accounting_config(
    file: &Document<Root>,
    raw: &Spanned<RawAccounting>,
) -> Result<AccountingConfig, ConfigError> {
    let key = "radius.accounting";
    let servers = servers(file, &raw.value.servers, &ACCOUNTING, &format!("{key}.servers"))?;
    if servers.is_empty() {
        let message = "is empty; name at least one server";
        return Err(file.error(raw.referenced, format!("{key}.servers"), message));
    }
    // RFC 2869 s.5.16: not under 60 seconds.
    let interim = match &raw.value.interim {
        Some(given) => Some(in_range(file, given, &format!("{key}.interim"), 60..=604_800)?),
        None => None,
    };
    let queue = match &raw.value.queue {
        Some(given) => in_range(file, given, &format!("{key}.queue"), 1..=1_000_000)?,
        None => 10_000,
    };
    Ok(AccountingConfig {
        servers,
        interim: interim.map(Duration::from_secs),
        queue: usize::try_from(queue).unwrap_or(usize::MAX),
    })
}

fn servers(
    file: &Document<Root>,
    raw: &[Spanned<RawServer>],
    kind: &Kind,
    key: &str,
) -> Result<Vec<ServerConfig>, ConfigError> {
    let mut servers: Vec<ServerConfig> = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let key = format!("{key}[{index}]");
        let server = server(file, raw, kind, &key)?;
        if servers.iter().any(|known| known.address == server.address) {
            let message = format!("{} stands twice; remove one", server.address);
            return Err(file.error(
                raw.value.address.referenced,
                format!("{key}.address"),
                message,
            ));
        }
        servers.push(server);
    }
    Ok(servers)
}

fn server(
    file: &Document<Root>,
    spanned: &Spanned<RawServer>,
    kind: &Kind,
    key: &str,
) -> Result<ServerConfig, ConfigError> {
    let raw = &spanned.value;
    let number = |given: &Option<Spanned<u64>>, name: &str, default, range| match given {
        Some(given) => in_range(file, given, &format!("{key}.{name}"), range),
        None => Ok(default),
    };
    let default_port = if raw.tls.is_some() { RADSEC_PORT } else { kind.port };
    let port = number(&raw.port, "port", default_port.into(), 1..=65_535)?;
    let address = SocketAddr::new(raw.address.value, u16::try_from(port).unwrap_or(default_port));
    let retries = number(&raw.retries, "retries", 2, 0..=10)?;
    Ok(ServerConfig {
        address,
        transport: match &raw.tls {
            Some(tls) => Transport::Tls(client_tls(file, tls, raw.address.value, key)?),
            None => Transport::Udp,
        },
        secret: secret(file, spanned, key)?,
        timeout: Duration::from_secs(number(&raw.timeout, "timeout", 6, 1..=60)?),
        retries: u32::try_from(retries).unwrap_or_default(),
        status_server: raw.status_server.unwrap_or(true),
        dead_time: Duration::from_secs(number(&raw.dead_time, "dead_time", 30, 1..=3600)?),
        returns_authenticated_name: authenticated_name(file, spanned, kind, key)?,
        unlisted_subscribers: raw.unlisted_subscribers,
    })
}

/// the operator has to state it, because a server that returns the name that the mobile node
/// has sent along unproved lets one subscriber take another's SA.
fn authenticated_name(
    file: &Document<Root>,
    raw: &Spanned<RawServer>,
    kind: &Kind,
    key: &str,
) -> Result<bool, ConfigError> {
    let key = format!("{key}.returns_authenticated_name");
    match (&raw.value.returns_authenticated_name, kind.judges_eap) {
        (Some(stated), true) if !stated.value => {
            let message = "is false; then nobody can be authenticated by this server: have it \
                           return the authenticated name as User-Name, or remove it";
            Err(file.error(stated.referenced, key, message))
        }
        (Some(_), true) => Ok(true),
        (None, true) => {
            let message = "is missing; true where User-Name in this server's Access-Accept is the \
                           name that it has authenticated (with EAP-TTLS and PEAP the inner one)";
            Err(file.error(raw.referenced, key, message))
        }
        (Some(stated), false) => {
            Err(file.error(stated.referenced, key, "has no meaning for accounting; remove it"))
        }
        (None, false) => Ok(false),
    }
}

/// The shared secret, from exactly one of its forms; over TLS it is fixed.
fn secret(
    file: &Document<Root>,
    raw: &Spanned<RawServer>,
    key: &str,
) -> Result<Secret, ConfigError> {
    let RawServer { secret_file, secret_credential, tls, .. } = &raw.value;
    let (location, key, octets) = match (secret_file, secret_credential) {
        (None, None) if tls.is_some() => {
            (raw.referenced, key.to_owned(), Ok(Zeroizing::new(radsec::SECRET.to_vec())))
        }
        (Some(path), None) => {
            let octets = read_secret(&file.resolve(&path.value));
            (path.referenced, format!("{key}.secret_file"), octets)
        }
        (None, Some(name)) => {
            (name.referenced, format!("{key}.secret_credential"), credential(&name.value))
        }
        _ => {
            let message = "give exactly one of secret_file and secret_credential";
            return Err(file.error(raw.referenced, key, message));
        }
    };
    let wrong = |message: String| file.error(location, key.clone(), message);
    let octets = octets.map_err(wrong)?;
    Secret::new(octets).ok_or_else(|| wrong("holds no secret; one line of text".to_owned()))
}

/// A credential that systemd has passed to the service (LoadCredential=).
fn credential(name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
        .ok_or("can't be read: CREDENTIALS_DIRECTORY is not set; systemd sets it for a service")?;
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("{name} is no name of a credential"));
    }
    read_secret(&Path::new(&folder).join(name))
}

/// The octets of a file, but for a line's end.
fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let octets = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    let mut octets = Zeroizing::new(octets);
    while octets.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        octets.pop();
    }
    Ok(octets)
}

/// Reads a file that the configuration names.
fn read(
    file: &Document<Root>,
    path: &Spanned<PathBuf>,
    key: &str,
) -> Result<(PathBuf, Zeroizing<Vec<u8>>), ConfigError> {
    let resolved = file.resolve(&path.value);
    match std::fs::read(&resolved) {
        Ok(octets) => Ok((resolved, Zeroizing::new(octets))),
        Err(error) => Err(file.error(path.referenced, key, unreadable(&resolved, &error))),
    }
}

fn client_tls(
    file: &Document<Root>,
    raw: &RawTls,
    address: IpAddr,
    key: &str,
) -> Result<Tls, ConfigError> {
    let key = |name: &str| format!("{key}.tls.{name}");
    let wrong = |location, name: &str, message: String| file.error(location, key(name), message);
    let certificates = |path: &Spanned<PathBuf>, name: &str| {
        let (resolved, pem) = read(file, path, &key(name))?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let all = all.ok().filter(|all| !all.is_empty());
        let message = format!("{}: no PEM certificate", resolved.display());
        all.ok_or_else(|| wrong(path.referenced, name, message))
    };
    let mut roots = RootCertStore::empty();
    let mut digest = Sha256::new();
    for ca in certificates(&raw.ca, "ca")? {
        digest.update(&ca);
        roots.add(ca).map_err(|error| wrong(raw.ca.referenced, "ca", error.to_string()))?;
    }
    let chain = certificates(&raw.certificate, "certificate")?;
    chain.iter().for_each(|certificate| digest.update(certificate));
    let (resolved, pem) = read(file, &raw.key, &key("key"))?;
    digest.update(&*pem);
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let message = format!("{}: no PEM private key: {error}", resolved.display());
        wrong(raw.key.referenced, "key", message)
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots))
        .and_then(|builder| builder.with_client_auth_cert(chain, private))
        .map_err(|error| {
            wrong(raw.certificate.referenced, "certificate", format!("does not do: {error}"))
        })?;
    let name = match &raw.name {
        None => ServerName::from(address),
        Some(name) => ServerName::try_from(name.value.clone()).map_err(|_| {
            let message = format!("{} is no name of a server", name.value);
            wrong(name.referenced, "name", message)
        })?,
    };
    Ok(Tls { config: Arc::new(config), name, digest: digest.finalize().into() })
}
