//! How mobile nodes may authenticate, and which EAP methods they are offered.
//!
//! Read first: RFC 6618 s.5.5.2, 5.9; RFC 3748 s.5.3; RFC 5433 s.5, 6; readings.

use std::sync::Arc;

use hearth_config::{ConfigError, Document, Spanned};
use hearth_wire::MobileNodeId;
use hearth_wire::eap::EapType;
use hearth_wire::eap::gpsk::{Ciphersuite, MAX_ID};
use hearth_wire::hac::AuthMethod;
use serde::Deserialize;

use super::raw::Root;
use crate::auth::eap::gpsk;
use crate::auth::eap::server::Offer;
use crate::auth::eap::tls::EapTls;

/// The `auth` section as it stands in the file.
#[derive(Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Auth")]
pub(super) struct Raw {
    /// Of psk (RFC 6618 s.5.8) and eap (s.5.9), the most wanted first. Default: psk.
    methods: Option<Spanned<Vec<Spanned<String>>>>,
    /// EAP.
    #[serde(default)]
    eap: RawEap,
    /// Other methods for mobile nodes of a realm. Default: none.
    #[serde(default)]
    realms: Vec<RawRealm>,
}

#[derive(Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Eap")]
struct RawEap {
    /// EAP methods to offer, the most wanted first: gpsk, tls, radius. Default: gpsk.
    methods: Option<Spanned<Vec<Spanned<String>>>>,
    /// EAP methods behind radius that may open an SA without a key of theirs. Default: none.
    #[serde(default)]
    allow_without_msk: Vec<Spanned<String>>,
    /// EAP-GPSK (RFC 5433).
    #[serde(default)]
    gpsk: RawGpsk,
}

#[derive(Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Gpsk")]
struct RawGpsk {
    /// ID_Server, 1 to 254 octets. Default: hearth-hac.
    server_id: Option<Spanned<String>>,
    /// Of aes and sha256, the most wanted first. Default: both.
    ciphersuites: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Realm")]
struct RawRealm {
    /// What stands behind the `@` of mn-ids.
    realm: Spanned<String>,
    /// As above.
    methods: Option<Spanned<Vec<Spanned<String>>>>,
    /// As `eap.methods`.
    eap_methods: Option<Spanned<Vec<Spanned<String>>>>,
}

/// How mobile nodes may authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Those of realms that are not in `realms`, and without a realm.
    pub default: AuthChoice,
    /// By realm, in lower case.
    pub realms: Vec<(Box<str>, AuthChoice)>,
    /// EAP methods that may open an SA without an MSK (EAP-04).
    pub allow_without_msk: Vec<EapType>,
    /// EAP-GPSK.
    pub gpsk: gpsk::Settings,
    /// The EAP-TLS server; there where EAP-TLS is offered.
    pub eap_tls: Option<Arc<EapTls>>,
}

/// What the mobile nodes of one realm are offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthChoice {
    /// Authentication methods, the most wanted first; never empty.
    pub methods: Vec<AuthMethod>,
    /// EAP methods, the most wanted first; never empty.
    pub eap: Vec<Offer>,
}

impl Default for Auth {
    fn default() -> Self {
        let default =
            AuthChoice { methods: vec![AuthMethod::Psk], eap: vec![Offer::Local(EapType::GPSK)] };
        Self {
            default,
            realms: Vec::new(),
            allow_without_msk: Vec::new(),
            gpsk: gpsk::Settings::default(),
            eap_tls: None,
        }
    }
}

impl Auth {
    /// What `mn_id` is offered. It depends on the realm alone, so it is the same whether the mn-id
    /// exists or not.
    #[must_use]
    pub fn choice(&self, mn_id: &MobileNodeId) -> &AuthChoice {
        let realm = mn_id.realm().unwrap_or_default();
        let known = self.realms.iter().find(|(known, _)| known.eq_ignore_ascii_case(realm));
        known.map_or(&self.default, |(_, choice)| choice)
    }

    /// Whether some realm's mobile nodes can be offered `offer`.
    #[must_use]
    pub fn offers(&self, offer: Offer) -> bool {
        let choices = self.realms.iter().map(|(_, choice)| choice).chain([&self.default]);
        let mut eap = choices.filter(|choice| choice.methods.contains(&AuthMethod::Eap));
        eap.any(|choice| choice.eap.contains(&offer))
    }
}

pub(super) fn check(file: &Document<Root>) -> Result<Auth, ConfigError> {
    let raw = &file.value.auth;
    let mut auth = Auth::default();
    if let Some(names) = &raw.methods {
        auth.default.methods = list(file, names, "auth.methods", auth_method, "psk, eap")?;
    }
    if let Some(names) = &raw.eap.methods {
        auth.default.eap = list(file, names, "auth.eap.methods", offer, OFFERS)?;
    }
    for (index, name) in raw.eap.allow_without_msk.iter().enumerate() {
        let key = format!("auth.eap.allow_without_msk[{index}]");
        let eap_type = EapType::from_name(&name.value).ok_or_else(|| {
            let known: Vec<_> = EapType::methods().map(|(_, name)| name).collect();
            let message = format!("{} is no EAP method; one of {}", name.value, known.join(", "));
            file.error(name.referenced, key, message)
        })?;
        auth.allow_without_msk.push(eap_type);
    }
    auth.gpsk = gpsk_settings(file, &raw.eap.gpsk)?;
    for (index, realm) in raw.realms.iter().enumerate() {
        let key = format!("auth.realms[{index}]");
        let name = realm.realm.value.to_ascii_lowercase();
        // The grammar of a realm is that of an NAI that has nothing else.
        if MobileNodeId::new(&format!("@{name}")).is_err() {
            let message = format!("{name} is no realm; what stands behind the @ of an mn-id");
            return Err(file.error(realm.realm.referenced, format!("{key}.realm"), message));
        }
        if auth.realms.iter().any(|(known, _)| **known == *name) {
            let message = format!("{name} stands twice; remove one");
            return Err(file.error(realm.realm.referenced, format!("{key}.realm"), message));
        }
        let mut choice = auth.default.clone();
        if let Some(names) = &realm.methods {
            let key = format!("{key}.methods");
            choice.methods = list(file, names, &key, auth_method, "psk, eap")?;
        }
        if let Some(names) = &realm.eap_methods {
            choice.eap = list(file, names, &format!("{key}.eap_methods"), offer, OFFERS)?;
        }
        auth.realms.push((name.into(), choice));
    }
    Ok(auth)
}

fn gpsk_settings(file: &Document<Root>, raw: &RawGpsk) -> Result<gpsk::Settings, ConfigError> {
    let mut settings = gpsk::Settings::default();
    if let Some(id) = &raw.server_id {
        if id.value.is_empty() || id.value.len() > MAX_ID {
            let message = format!("has {} octets; 1 to {MAX_ID}", id.value.len());
            return Err(file.error(id.referenced, "auth.eap.gpsk.server_id", message));
        }
        settings.id_server = id.value.as_bytes().into();
    }
    if let Some(names) = &raw.ciphersuites {
        let key = "auth.eap.gpsk.ciphersuites";
        settings.suites = list(file, names, key, Ciphersuite::from_name, "aes, sha256")?;
    }
    Ok(settings)
}

const OFFERS: &str = "gpsk, tls, radius";

fn offer(name: &str) -> Option<Offer> {
    match name {
        "gpsk" => Some(Offer::Local(EapType::GPSK)),
        "tls" => Some(Offer::Local(EapType::TLS)),
        "radius" => Some(Offer::Aaa),
        _ => None,
    }
}

fn auth_method(name: &str) -> Option<AuthMethod> {
    [AuthMethod::Psk, AuthMethod::Eap].into_iter().find(|method| method.name() == name)
}

/// A list of names that is neither empty nor has one of them twice.
fn list<T: PartialEq>(
    file: &Document<Root>,
    names: &Spanned<Vec<Spanned<String>>>,
    key: &str,
    known: fn(&str) -> Option<T>,
    expected: &str,
) -> Result<Vec<T>, ConfigError> {
    let mut values = Vec::new();
    for (index, name) in names.value.iter().enumerate() {
        let wrong =
            |message: String| Err(file.error(name.referenced, format!("{key}[{index}]"), message));
        match known(&name.value) {
            None => return wrong(format!("{} is unknown; one of {expected}", name.value)),
            Some(value) if values.contains(&value) => {
                return wrong(format!("{} stands twice; remove one", name.value));
            }
            Some(value) => values.push(value),
        }
    }
    if values.is_empty() {
        let message = format!("is empty; name at least one of {expected}");
        return Err(file.error(names.referenced, key, message));
    }
    Ok(values)
}
