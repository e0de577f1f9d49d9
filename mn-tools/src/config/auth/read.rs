//! `auth` as it stands in the file, checked.

use std::path::PathBuf;

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_wire::MobileNodeId;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::secret::{self, Asking, Form, RawSecret};
use super::super::{Hac, Raw, psk};
use super::{AkaAuth, Auth, Password, Server, TlsAuth, TtlsAuth, in_words};
use crate::eap::Inner;
use crate::eap::aka_prime::usim::Keys;
use crate::eap::aka_prime::{Usim, permanent_identity};
use crate::tls::{
    IdentityFault, IdentityFiles, ReferenceName, TrustAnchors, TrustError, anonymous_client,
};

/// Octets of the longest Type-Data of EAP-TLS and EAP-TTLS: an AAA server's RADIUS packet holds
/// them (RFC 3579 s.2.4).
pub(super) const DEFAULT_MTU: usize = 1400;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Auth")]
pub(crate) enum RawAuth {
    Psk,
    EapGpsk,
    EapTls(RawTls),
    EapTtls(RawTtls),
    EapAkaPrime(RawAka),
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
pub(crate) struct RawTls {
    /// PEM: ours, then those between it and the authority.
    certificate: Spanned<RawFile>,
    /// PEM: its key.
    key: Spanned<RawFile>,
    /// PEM: of the EAP server's certificate. Default: hac.ca.
    ca: Option<Spanned<PathBuf>>,
    /// What that must say. Default: hac.name.
    server_name: Option<Spanned<String>>,
    /// EAP-Response/Identity. Default: the realm of mn_id alone.
    identity: Option<Spanned<String>>,
    /// Octets of the longest EAP-TLS fragment, 64 to 4000. Default: 1400.
    mtu: Option<Spanned<u16>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ttls")]
pub(crate) struct RawTtls {
    /// The inner method.
    inner: RawInner,
    /// Who we are, said inside. Default: mn_id.
    user: Option<Spanned<String>>,
    /// The password.
    password: Spanned<RawSecret>,
    /// PEM: of the EAP server's certificate.
    ca: Spanned<PathBuf>,
    /// What that must say.
    server_name: Spanned<String>,
    /// Said outside. Default: the realm of mn_id alone.
    identity: Option<Spanned<String>>,
    /// Octets of the longest fragment, 64 to 4000. Default: 1400.
    mtu: Option<Spanned<u16>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Inner")]
enum RawInner {
    Pap,
    MsChapV2,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Aka")]
pub(crate) struct RawAka {
    /// The IMSI, digits.
    imsi: Spanned<String>,
    /// A USIM in software (Milenage).
    usim: Spanned<RawUsim>,
    /// A file for the sequence number that was used last, and a pseudonym.
    state: Spanned<PathBuf>,
    /// Digits of the network's code in the IMSI, 2 or 3. Default: 2.
    mnc_digits: Option<Spanned<u8>>,
    /// The name that the server must use. Default: any.
    network: Option<String>,
    /// Say those that the server hands out. Default: on.
    #[serde(default = "yes")]
    pseudonyms: bool,
}

const fn yes() -> bool {
    true
}

/// `k`, and `op` or `opc`, 16 octets each.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Usim")]
struct RawUsim {
    /// The key K, 16 octets.
    k: Spanned<RawSecret>,
    /// OP, 16 octets; or `opc`.
    op: Option<Spanned<RawSecret>>,
    /// OPc, 16 octets.
    opc: Option<Spanned<RawSecret>>,
}

/// A file by its name, or one of systemd's credentials.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "File")]
enum RawFile {
    Path(PathBuf),
    Credential(RawCredential),
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Credential")]
struct RawCredential {
    /// A credential of systemd's, by its name.
    credential: String,
}

pub(crate) fn auth(
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
        (Some((RawAuth::EapAkaPrime(raw), _)), None) => aka(file, raw).map(Auth::AkaPrime),
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

fn aka(file: &Document<Raw>, raw: &RawAka) -> Result<AkaAuth, ConfigError> {
    let key = "auth.eap-aka-prime";
    let imsi = &raw.imsi.value;
    if !(6..=15).contains(&imsi.len()) || !imsi.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(file.error(raw.imsi.referenced, format!("{key}.imsi"), "6 to 15 digits"));
    }
    let mnc_digits = match &raw.mnc_digits {
        None => 2,
        Some(digits) if (2..=3).contains(&digits.value) => usize::from(digits.value),
        Some(digits) => {
            return Err(file.error(digits.referenced, format!("{key}.mnc_digits"), "2 or 3"));
        }
    };
    let octets = |secret: &Spanned<RawSecret>, of: &str| {
        let at = format!("{key}.usim.{of}");
        let octets = secret::read(file, secret, &at, Form::Hex)?;
        // A check takes 32 octets for a secret that it can't see.
        let whole: Option<[u8; 16]> = match file.value.reading.asking {
            Asking::Never => octets.first_chunk().copied().filter(|_| octets.len() % 16 == 0),
            Asking::Person => octets.as_slice().try_into().ok(),
        };
        whole.map(Zeroizing::new).ok_or_else(|| {
            file.error(secret.referenced, at, "16 octets are wanted: 32 hexadecimal digits")
        })
    };
    let RawUsim { k, op, opc } = &raw.usim.value;
    let (operator, is_op) = match (op, opc) {
        (Some(op), None) => (octets(op, "op")?, true),
        (None, Some(opc)) => (octets(opc, "opc")?, false),
        _ => {
            let what = "op or opc is wanted, and not both";
            return Err(file.error(raw.usim.referenced, format!("{key}.usim"), what));
        }
    };
    let keys = Keys { k: *octets(k, "k")?, operator: *operator, is_op };
    let usim = Usim::new(&keys, file.resolve(&raw.state.value));
    usim.check().map_err(|error| {
        let what = format!("{} can't be read: {error}", usim.state().display());
        file.error(raw.state.referenced, format!("{key}.state"), what)
    })?;
    let (permanent, realm) = permanent_identity(imsi, mnc_digits);
    Ok(AkaAuth { usim, permanent, realm, network: raw.network.clone(), pseudonyms: raw.pseudonyms })
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
