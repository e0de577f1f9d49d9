//! Where subscribers lie beside those of this file: the store and its key, and watched files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_config::{ConfigError, Document, Spanned};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::check::unreadable;
use super::raw::Root;
use super::subscribers::{decode_hex, read_key};
use crate::subscribers::sealed::SealingKey;

/// The `subscriber_store` section as it stands in the file.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SubscriberStore")]
pub(super) struct Raw {
    /// The file. Default: `/var/lib/hearth-hac/subscribers.redb`.
    #[serde(default = "default_path")]
    path: PathBuf,
    /// A file with 64 hexadecimal digits that wraps the pre-shared keys; or `credential`.
    key_file: Option<Spanned<PathBuf>>,
    /// The same as a credential of systemd's, by its name.
    credential: Option<Spanned<String>>,
    /// The former key, which still opens what it wrapped. Default: none.
    previous_key_file: Option<Spanned<PathBuf>>,
}

fn default_path() -> PathBuf {
    "/var/lib/hearth-hac/subscribers.redb".into()
}

/// The store, and the keys that wrap what lies in it.
#[derive(Debug, Clone)]
pub struct SubscriberStoreConfig {
    /// The file.
    pub path: PathBuf,
    /// Wraps pre-shared keys.
    pub key: Arc<SealingKey>,
    /// Still opens those that were wrapped before.
    pub previous: Option<Arc<SealingKey>>,
}

/// Who is a subscriber beside those that stand in the configuration itself.
#[derive(Debug, Clone, Default)]
pub struct SubscriberSources {
    /// Files, and folders whose `.yaml` files count.
    pub files: Vec<PathBuf>,
    /// The store.
    pub store: Option<SubscriberStoreConfig>,
}

pub(super) fn check(file: &Document<Root>) -> Result<SubscriberSources, ConfigError> {
    let files = file.value.subscriber_files.iter().map(|path| file.resolve(path)).collect();
    let Some(raw) = &file.value.subscriber_store else {
        return Ok(SubscriberSources { files, store: None });
    };
    let raw_store = &raw.value;
    let key = match (&raw_store.key_file, &raw_store.credential) {
        (Some(path), None) => {
            let key = "subscriber_store.key_file";
            key_of(&file.resolve(&path.value))
                .map_err(|message| file.error(path.referenced, key, message))?
        }
        (None, Some(name)) => {
            let key = "subscriber_store.credential";
            credential(&name.value).map_err(|message| file.error(name.referenced, key, message))?
        }
        _ => {
            let message = "give exactly one of key_file and credential: what wraps the \
                           pre-shared keys";
            return Err(file.error(raw.referenced, "subscriber_store", message));
        }
    };
    let previous = match &raw_store.previous_key_file {
        Some(path) => {
            let key = "subscriber_store.previous_key_file";
            let previous = key_of(&file.resolve(&path.value));
            Some(previous.map_err(|message| file.error(path.referenced, key, message))?)
        }
        None => None,
    };
    let path = file.resolve(&raw_store.path);
    Ok(SubscriberSources { files, store: Some(SubscriberStoreConfig { path, key, previous }) })
}

/// A key that systemd hands in (`LoadCredential=`, `LoadCredentialEncrypted=`).
fn credential(name: &str) -> Result<Arc<SealingKey>, String> {
    let is_name = !name.is_empty() && !name.contains('/') && name != ".." && name != ".";
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|_| is_name);
    let folder = folder.ok_or_else(|| {
        format!("there is no credential {name}; name one of LoadCredential= in the unit")
    })?;
    key_of(&Path::new(&folder).join(name))
}

fn key_of(path: &Path) -> Result<Arc<SealingKey>, String> {
    if let Err(error) = std::fs::metadata(path) {
        return Err(unreadable(path, &error));
    }
    let octets = decode_hex(&read_key(path)?);
    let octets = octets.and_then(|octets| {
        let octets: Option<&[u8; SealingKey::LEN]> = octets.as_slice().try_into().ok();
        octets.map(|octets| Zeroizing::new(*octets))
    });
    match octets {
        Some(octets) => Ok(Arc::new(SealingKey::new(&octets))),
        None => Err(format!(
            "{} is no key: 64 hexadecimal digits, as `openssl rand -hex 32` writes them",
            path.display()
        )),
    }
}
