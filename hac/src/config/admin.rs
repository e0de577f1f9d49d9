//! The socket that `hearth` talks to.

use std::path::PathBuf;

use hearth_api::server::Operators;
use hearth_config::Document;
use serde::Deserialize;

use super::raw::Root;

/// The `admin` section as it stands in the file.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Admin")]
pub(super) struct Raw {
    /// The Unix socket. Default: `/run/hearth/hac.sock`.
    socket: PathBuf,
    /// Who may change something, beside root and the daemon's own user.
    operators: Operators,
    /// Operators may have the keys of SAs, to read captures. Default: off.
    key_export: bool,
}

impl Default for Raw {
    fn default() -> Self {
        let socket = "/run/hearth/hac.sock".into();
        Self { socket, operators: Operators::default(), key_export: false }
    }
}

/// Where operators ask, and who may change something.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Who may change something, beside root and this process's own user.
    pub operators: Operators,
    /// Whether they may have the keys of SAs. Default: they may not.
    pub key_export: bool,
}

pub(super) fn check(file: &Document<Root>) -> Option<AdminConfig> {
    let raw = file.value.admin.as_ref()?;
    let Raw { socket, operators, key_export } = raw;
    Some(AdminConfig {
        socket: file.resolve(socket),
        operators: operators.clone(),
        key_export: *key_export,
    })
}
