//! The YAML of the SA directory.

use std::path::PathBuf;

use hearth_config::{ConfigError, Document, Location, Spanned};
use serde::Deserialize;

use crate::config::Config;

/// The longest time in milliseconds that a Binding Update may wait for its SA. By then the mobile
/// node has sent it again (RFC 6275 s.11.8: after a second, or one and a half the first time).
const LONGEST_HOLD: u32 = 10_000;

/// The SA directory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaDirectory {
    /// The HAC's Unix socket.
    pub socket: Spanned<PathBuf>,
    /// User that the HAC must run as, by number; nobody else's directory is believed. Default:
    /// root or this daemon's own user.
    pub uid: Option<u32>,
    /// How long a Binding Update under an SA that is not here yet waits for it, in milliseconds:
    /// the HAC is asked meanwhile. 0: it is dropped at once, and the mobile node has to send
    /// it again. Some tens wait at a time. Default: 500.
    pub signalling_hold_ms: Spanned<u32>,
}

impl Default for SaDirectory {
    fn default() -> Self {
        let at = Location::UNKNOWN;
        Self {
            socket: Spanned::new("/run/hearth/directory.sock".into(), at, at),
            uid: None,
            signalling_hold_ms: Spanned::new(500, at, at),
        }
    }
}

/// Checks the section.
pub(crate) fn check(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let hold = &config.sa_directory.signalling_hold_ms;
    if hold.value <= LONGEST_HOLD {
        return Ok(());
    }
    let message = format!("{} is out of range; 0 to {LONGEST_HOLD} milliseconds", hold.value);
    Err(document.error(hold.referenced, "sa_directory.signalling_hold_ms", message))
}
