//! YAML's `state`: what survives a restart, and how.

use std::path::PathBuf;

use hearth_config::{ConfigError, Document, Location, Spanned};
use serde::Deserialize;

use crate::config::Config;

/// What survives a restart of the daemon, a crash, and a power cut.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// The folder; its part `log` holds keys and is this user's alone. A second hearthd on the same
    /// folder does not start. Default: `/var/lib/hearth`.
    pub folder: Spanned<PathBuf>,
    /// What an answer waits for. Default: `relaxed`.
    pub sync: Sync,
    /// Whether keys of SAs are in the folder. Default: `kept`.
    pub keys: Keys,
}

impl Default for State {
    fn default() -> Self {
        let at = Location::UNKNOWN;
        Self {
            folder: Spanned::new("/var/lib/hearth".into(), at, at),
            sync: Sync::default(),
            keys: Keys::default(),
        }
    }
}

/// What the answer to a Binding Update waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// Until it is written, so that a crash of the daemon loses nothing that was answered. A power
    /// cut loses some 20 ms of registrations and refreshes, which mobile nodes make good; only what
    /// ended a binding waits for the disk. While the disk can't be written, registrations are
    /// answered all the same, and bindings that end are not.
    #[default]
    Relaxed,
    /// Until it is on the disk: a power cut loses nothing either, answers take as long as the disk,
    /// and while that fails nothing is answered.
    Strict,
}

/// Where keys of SAs are after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// In the folder: packets flow before the HAC is reached.
    #[default]
    Kept,
    /// In the HAC's directory alone: after a restart SAs wait for it.
    Directory,
}

/// Checks it.
pub(crate) fn check(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let folder = &config.state.folder;
    if folder.value.as_os_str().is_empty() {
        let message =
            "empty; give the folder for what has to survive a restart, as /var/lib/hearth";
        return Err(document.error(folder.referenced, "state.folder", message));
    }
    Ok(())
}
