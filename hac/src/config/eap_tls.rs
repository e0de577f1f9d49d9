//! The `eap_tls` section: certificates of EAP-TLS, and how it is spoken.
//!
//! Read first: RFC 5216 s.2.1.5, 5.2; RFC 9190; reading R-11.

use std::path::PathBuf;
use std::sync::Arc;

use hearth_config::{ConfigError, Document, Spanned};
use hearth_wire::eap::EapType;
use serde::Deserialize;

use super::auth::Auth;
use super::check::{in_range, start};
use super::raw::Root;
use crate::auth::eap::server::Offer;
use crate::auth::eap::tls::names::NameKind;
use crate::auth::eap::tls::server::{EapTls, Files, LoadError, Policy};

/// Octets of Type-Data; the longest has room in one MHAuth message, in hex.
const MTU: std::ops::RangeInclusive<u64> = 64..=16_384;

/// The section as it stands in the file.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EapTls")]
pub(super) struct Raw {
    /// PEM: the HAC's certificate inside EAP.
    certificate: Spanned<PathBuf>,
    /// PEM: its key.
    key: Spanned<PathBuf>,
    /// PEM: who signs the certificates of mobile nodes.
    client_ca: Spanned<PathBuf>,
    /// PEM: what these authorities have revoked. Default: nothing.
    #[serde(default)]
    crl: Vec<Spanned<PathBuf>>,
    /// Of "1.2" and "1.3". Default: both.
    tls_versions: Option<Spanned<Vec<Spanned<String>>>>,
    /// Octets of EAP-TLS in one message, 64 to 16384. Default: 4096.
    mtu: Option<Spanned<u64>>,
    /// Which subjectAltNames can be the mn-id: email, upn, dns. Default: email.
    identity: Option<Spanned<Vec<Spanned<String>>>>,
}

/// Reads and checks it, and every file it names; `now` in unix seconds.
pub(super) fn check(
    file: &Document<Root>,
    auth: &Auth,
    now: u64,
) -> Result<Option<Arc<EapTls>>, ConfigError> {
    let Some(raw) = &file.value.eap_tls else {
        if auth.offers(Offer::Local(EapType::TLS)) {
            let message = "is missing, but auth offers tls; give certificate, key and client_ca";
            return Err(file.error(start(), "eap_tls", message));
        }
        return Ok(None);
    };
    let files = Files {
        certificate: file.resolve(&raw.certificate.value),
        key: file.resolve(&raw.key.value),
        client_ca: file.resolve(&raw.client_ca.value),
        crls: raw.crl.iter().map(|path| file.resolve(&path.value)).collect(),
    };
    let versions = match &raw.tls_versions {
        None => vec![Version::Tls12, Version::Tls13],
        Some(names) => list(file, names, "eap_tls.tls_versions", &Version::ALL, Version::name)?,
    };
    let mtu = match &raw.mtu {
        None => Policy::DEFAULT_MTU,
        Some(mtu) => {
            usize::try_from(in_range(file, mtu, "eap_tls.mtu", MTU)?).unwrap_or(Policy::DEFAULT_MTU)
        }
    };
    let names = match &raw.identity {
        None => vec![NameKind::Email],
        Some(names) => list(file, names, "eap_tls.identity", &NameKind::ALL, NameKind::name)?,
    };
    let policy = Policy {
        tls12: versions.contains(&Version::Tls12),
        tls13: versions.contains(&Version::Tls13),
        mtu,
        names: names.into(),
    };
    let loaded = EapTls::load(files, policy, now);
    loaded.map(|eap_tls| Some(Arc::new(eap_tls))).map_err(|error| {
        let (place, key) = match &error {
            LoadError::Certificate(_) => (&raw.certificate, "eap_tls.certificate".to_owned()),
            LoadError::Key(_) => (&raw.key, "eap_tls.key".to_owned()),
            LoadError::ClientCa(_) => (&raw.client_ca, "eap_tls.client_ca".to_owned()),
            LoadError::Crl(index, _) => {
                let place = raw.crl.get(*index).unwrap_or(&raw.client_ca);
                (place, format!("eap_tls.crl[{index}]"))
            }
        };
        file.error(place.referenced, key, error.to_string())
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

impl Version {
    const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    const fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// A list of names that is neither empty nor has one of them twice.
fn list<T: Copy + PartialEq>(
    file: &Document<Root>,
    names: &Spanned<Vec<Spanned<String>>>,
    key: &str,
    all: &[T],
    name_of: fn(T) -> &'static str,
) -> Result<Vec<T>, ConfigError> {
    let known = all.iter().map(|value| name_of(*value)).collect::<Vec<_>>().join(", ");
    let mut values = Vec::new();
    for (index, name) in names.value.iter().enumerate() {
        let wrong =
            |message: String| Err(file.error(name.referenced, format!("{key}[{index}]"), message));
        match all.iter().find(|value| name_of(**value) == name.value) {
            None => return wrong(format!("{} is unknown; one of {known}", name.value)),
            Some(value) if values.contains(value) => {
                return wrong(format!("{} stands twice; remove one", name.value));
            }
            Some(value) => values.push(*value),
        }
    }
    if values.is_empty() {
        let message = format!("is empty; name at least one of {known}");
        return Err(file.error(names.referenced, key, message));
    }
    Ok(values)
}
