//! `auth`: how the node proves who it is, and where what it proves that with is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_wire::MobileNodeId;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::secret::{self, Asking, Form, RawSecret};
use super::{Hac, Psk, Raw, psk};
use crate::eap::{Credentials, Inner, TlsCredentials, TtlsCredentials};
use crate::tls::{
    IdentityFault, IdentityFiles, ReferenceName, TrustAnchors, TrustError, anonymous_client,
};

/// Octets of the longest Type-Data of EAP-TLS and EAP-TTLS: an AAA server's RADIUS packet holds
/// them (RFC 3579 s.2.4).
const DEFAULT_MTU: usize = 1400;

/// How the node proves who it is.
#[derive(Debug)]
pub enum Auth {
    /// The pre-shared key as it is.
    Psk(Psk),
    /// The pre-shared key through EAP-GPSK.
    Gpsk(Psk),
    /// A certificate through EAP-TLS.
    Tls(TlsAuth),
    /// A password through EAP-TTLS.
    Ttls(TtlsAuth),
}

/// What EAP-TLS needs.
#[derive(Debug)]
pub struct TlsAuth {
    identity: String,
    files: IdentityFiles,
    anchors: TrustAnchors,
    server: Server,
}

/// What EAP-TTLS needs.
pub struct TtlsAuth {
    identity: String,
    config: Arc<ClientConfig>,
    server: Server,
    inner: Inner,
    user: String,
    password: Password,
}

/// Never printed; wiped on drop.
enum Password {
    Known(Zeroizing<Vec<u8>>),
    /// Its first line, read for each bootstrap.
    File(PathBuf),
}

impl fmt::Debug for TtlsAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, server, inner, user, .. } = self;
        f.debug_struct("TtlsAuth")
            .field("identity", identity)
            .field("server", server)
            .field("inner", inner)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// Who the EAP server is.
#[derive(Debug)]
struct Server {
    name: ServerName<'static>,
    mtu: usize,
}

/// What keeps a bootstrap from starting, and the file that it is about.
#[derive(Debug)]
pub struct CredentialError {
    path: PathBuf,
    what: &'static str,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.what)
    }
}

impl std::error::Error for CredentialError {}

impl Auth {
    /// What the node proves who it is with, read anew where it is in files that may be replaced
    /// while it runs. `now` in Unix seconds.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn credentials(&self, now: u64) -> Result<Credentials<'_>, CredentialError> {
        match self {
            Self::Psk(psk) => Ok(Credentials::Psk(psk.octets())),
            Self::Gpsk(psk) => Ok(Credentials::Gpsk(psk.octets())),
            Self::Tls(tls) => tls.credentials(now).map_err(|fault| CredentialError {
                path: tls.files.blamed(fault).to_owned(),
                what: in_words(fault),
            }),
            Self::Ttls(ttls) => ttls.credentials().map(Credentials::Ttls),
        }
    }
}

impl TlsAuth {
    fn credentials(&self, now: u64) -> Result<Credentials<'_>, IdentityFault> {
        let config = self.files.client(&self.anchors)?;
        self.files.check_validity(now)?;
        Ok(Credentials::Tls(TlsCredentials {
            identity: self.identity.clone(),
            config,
            server_name: self.server.name.clone(),
            mtu: self.server.mtu,
        }))
    }
}

impl TtlsAuth {
    fn credentials(&self) -> Result<TtlsCredentials, CredentialError> {
        let password = match &self.password {
            Password::Known(password) => password.clone(),
            Password::File(path) => secret::text_in(path).map_err(|_| CredentialError {
                path: path.clone(),
                what: "can't be read as a password",
            })?,
        };
        Ok(TtlsCredentials {
            identity: self.identity.clone(),
            config: Arc::clone(&self.config),
            server_name: self.server.name.clone(),
            mtu: self.server.mtu,
            inner: self.inner,
            user: self.user.clone(),
            password,
        })
    }
}

const fn in_words(fault: IdentityFault) -> &'static str {
    match fault {
        IdentityFault::Certificate => "can't be read as PEM certificates",
        IdentityFault::Key => "can't be read as a PEM private key",
        IdentityFault::KeyKind => "holds a key that TLS can't use; an RSA or ECDSA key would do",
        IdentityFault::Mismatch => "is not the certificate of the configured key",
        IdentityFault::Expired => "has expired; put a new certificate there",
        IdentityFault::NotYetValid => "is not valid yet (or the clock here is wrong)",
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawAuth {
    Psk,
    EapGpsk,
    EapTls(RawTls),
    EapTtls(RawTtls),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: Spanned<RawFile>,
    key: Spanned<RawFile>,
    ca: Option<Spanned<PathBuf>>,
    server_name: Option<Spanned<String>>,
    identity: Option<Spanned<String>>,
    mtu: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTtls {
    inner: RawInner,
    user: Option<Spanned<String>>,
    password: Spanned<RawSecret>,
    ca: Spanned<PathBuf>,
    server_name: Spanned<String>,
    identity: Option<Spanned<String>>,
    mtu: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawInner {
    Pap,
    MsChapV2,
}

/// A file by its name, or one of systemd's credentials.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawFile {
    Path(PathBuf),
    Credential(RawCredential),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCredential {
    credential: String,
}

pub(super) fn auth(
    file: &Document<Raw>,
    mn_id: &MobileNodeId,
    hac: &Hac,
) -> Result<Auth, ConfigError> {
    let Raw { auth, psk: key, .. } = &file.value;
    let wanted = auth.as_ref().map(|auth| (&auth.value, auth.referenced));
    match (wanted, key) {
        (None | Some((RawAuth::Psk, _)), Some(key)) => psk(file, key).map(Auth::Psk),
        (Some((RawAuth::EapGpsk, _)), Some(key)) => psk(file, key).map(Auth::Gpsk),
        (Some((RawAuth::Psk | RawAuth::EapGpsk, at)), None) => {
            Err(file.error(at, "auth", "wants a key; give one as psk: {file: ..}"))
        }
        (None, None) => Err(file.error(
            Location::UNKNOWN,
            "psk",
            "missing key, which has no default; psk: {file: ..}, or another auth",
        )),
        (Some(_), Some(key)) => {
            Err(file.error(key.referenced, "psk", "is not used with this auth; remove it"))
        }
        (Some((RawAuth::EapTls(raw), _)), None) => tls(file, raw, mn_id, hac).map(Auth::Tls),
        (Some((RawAuth::EapTtls(raw), _)), None) => ttls(file, raw, mn_id).map(Auth::Ttls),
    }
}

fn tls(
    file: &Document<Raw>,
    raw: &RawTls,
    mn_id: &MobileNodeId,
    hac: &Hac,
) -> Result<TlsAuth, ConfigError> {
    let key = "auth.eap-tls";
    let certificate = path(file, &raw.certificate, &format!("{key}.certificate"))?;
    let private = path(file, &raw.key, &format!("{key}.key"))?;
    let here = certificate.is_some() && private.is_some();
    if let (RawFile::Path(_), Some(private)) = (&raw.key.value, &private) {
        secret::warn_of_readers(file, raw.key.referenced, &format!("{key}.key"), private);
    }
    let files = IdentityFiles {
        certificate: certificate.unwrap_or_default(),
        key: private.unwrap_or_default(),
    };
    let anchors = match &raw.ca {
        None => hac.ca.clone(),
        Some(ca) => trusted(file, ca, &format!("{key}.ca"))?,
    };
    let name = match &raw.server_name {
        None => hac
            .name
            .server_name()
            .map_err(|_| file.error(raw.certificate.referenced, key, "no server_name; give one"))?,
        Some(name) => server_name(file, name, &format!("{key}.server_name"))?,
    };
    let mtu = mtu(file, raw.mtu.as_ref(), key)?;
    let identity = identity(file, raw.identity.as_ref(), key, mn_id)?;
    // Whether it is valid today shows when it is used.
    let checked = if here { files.client(&anchors).map(drop) } else { Ok(()) };
    checked.map_err(|fault| {
        let (at, of) = match fault {
            IdentityFault::Key | IdentityFault::KeyKind => (raw.key.referenced, "key"),
            _ => (raw.certificate.referenced, "certificate"),
        };
        let what = format!("{} {}", files.blamed(fault).display(), in_words(fault));
        file.error(at, format!("{key}.{of}"), what)
    })?;
    Ok(TlsAuth { identity, files, anchors, server: Server { name, mtu } })
}

fn ttls(
    file: &Document<Raw>,
    raw: &RawTtls,
    mn_id: &MobileNodeId,
) -> Result<TtlsAuth, ConfigError> {
    let key = "auth.eap-ttls";
    let anchors = trusted(file, &raw.ca, &format!("{key}.ca"))?;
    let config = anonymous_client(&anchors)
        .map_err(|error| file.error(raw.ca.referenced, format!("{key}.ca"), error.to_string()))?;
    let name = server_name(file, &raw.server_name, &format!("{key}.server_name"))?;
    let user = match &raw.user {
        None => mn_id.as_str().to_owned(),
        // What MS-CHAP2-Response and User-Name hold (RFC 2865 s.5.1).
        Some(user) if (1..=253).contains(&user.value.len()) => user.value.clone(),
        Some(user) => {
            let what = "1 to 253 octets, as in mn1@example.net";
            return Err(file.error(user.referenced, format!("{key}.user"), what));
        }
    };
    let at = format!("{key}.password");
    let octets = secret::read(file, &raw.password, &at, Form::Text)?;
    if octets.is_empty() || octets.len() > 256 || std::str::from_utf8(&octets).is_err() {
        return Err(file.error(raw.password.referenced, at, "1 to 256 octets of UTF-8"));
    }
    let password = match secret::source(file, &raw.password.value) {
        Some(path) => Password::File(path),
        None => Password::Known(octets),
    };
    let inner = match raw.inner {
        RawInner::Pap => Inner::Pap,
        RawInner::MsChapV2 => Inner::MsChapV2,
    };
    let mtu = mtu(file, raw.mtu.as_ref(), key)?;
    let identity = identity(file, raw.identity.as_ref(), key, mn_id)?;
    Ok(TtlsAuth { identity, config, server: Server { name, mtu }, inner, user, password })
}

/// The file that `raw` names; `None`: a credential, in a check outside the unit that has it.
fn path(
    file: &Document<Raw>,
    raw: &Spanned<RawFile>,
    key: &str,
) -> Result<Option<PathBuf>, ConfigError> {
    let name = match &raw.value {
        RawFile::Path(path) => return Ok(Some(file.resolve(path))),
        RawFile::Credential(RawCredential { credential }) => credential,
    };
    let wrong = |what| file.error(raw.referenced, format!("{key}.credential"), what);
    match secret::credential(name).map_err(wrong)? {
        None if file.value.reading.asking == Asking::Person => Err(wrong(
            "no credentials here: this is no systemd unit with LoadCredential=".to_owned(),
        )),
        path => Ok(path),
    }
}

fn trusted(
    file: &Document<Raw>,
    ca: &Spanned<PathBuf>,
    key: &str,
) -> Result<TrustAnchors, ConfigError> {
    let path = file.resolve(&ca.value);
    TrustAnchors::load(&path).map_err(|error| {
        let what = match error {
            TrustError::Unreadable => "can't be read as PEM",
            TrustError::Empty => "holds no certificate",
            TrustError::NotAnAnchor => "holds a certificate that can't be a trust anchor",
        };
        file.error(ca.referenced, key, format!("{} {what}", path.display()))
    })
}

fn server_name(
    file: &Document<Raw>,
    name: &Spanned<String>,
    key: &str,
) -> Result<ServerName<'static>, ConfigError> {
    let server_name = ReferenceName::new(&name.value).and_then(|name| name.server_name().ok());
    server_name.ok_or_else(|| {
        file.error(name.referenced, key, "not a DNS name or an address; no wildcard")
    })
}

fn mtu(file: &Document<Raw>, mtu: Option<&Spanned<u16>>, key: &str) -> Result<usize, ConfigError> {
    match mtu {
        None => Ok(DEFAULT_MTU),
        Some(mtu) if (64..=4000).contains(&mtu.value) => Ok(mtu.value.into()),
        Some(mtu) => {
            Err(file.error(mtu.referenced, format!("{key}.mtu"), "out of range; 64 to 4000"))
        }
    }
}

/// What EAP-Response/Identity says where the method says inside who we are: the realm alone
/// (RFC 7542 s.2.4; RFC 9190 s.2.1.4), unless it is configured.
fn identity(
    file: &Document<Raw>,
    identity: Option<&Spanned<String>>,
    key: &str,
    mn_id: &MobileNodeId,
) -> Result<String, ConfigError> {
    let Some(identity) = identity else {
        let realm = mn_id.as_str().rsplit_once('@').map(|(_, realm)| format!("@{realm}"));
        return Ok(realm.unwrap_or_else(|| "anonymous".to_owned()));
    };
    // A User-Name is no longer (RFC 2865 s.5.1).
    if (1..=253).contains(&identity.value.len()) && !identity.value.contains('\0') {
        return Ok(identity.value.clone());
    }
    let what = "1 to 253 octets, as in \"@example.net\"";
    Err(file.error(identity.referenced, format!("{key}.identity"), what))
}
