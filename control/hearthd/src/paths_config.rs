//! The sockets that YAML names.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use hearth_config::{ConfigError, Document, Spanned};

use crate::config::Config;

/// The longest path of a Unix socket in octets (`sun_path` of unix(7) with its NUL).
const LONGEST_SOCKET: usize = 107;

/// Checks them.
pub(crate) fn check(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let (api, section) = (&config.api.socket, &config.sa_directory);
    let replicas = section.replicas.iter().enumerate().filter_map(|(index, replica)| {
        let key = format!("sa_directory.replicas[{index}].socket");
        Some((replica.value.socket.as_ref()?, key))
    });
    let first = section.address.is_none().then(|| (&section.socket, "sa_directory.socket".into()));
    let directories: Vec<(_, String)> = first.into_iter().chain(replicas).collect();
    for (socket, key) in [(api, "api.socket".into())].iter().chain(&directories) {
        if let Some(message) = unusable_as_socket(socket) {
            return Err(document.error(socket.referenced, key, message));
        }
    }
    if let Some((_, key)) = directories.iter().find(|(socket, _)| socket.value == api.value) {
        let message = format!(
            "{key} is the same, and that is the HAC's; give hearthd's own clients another path"
        );
        return Err(document.error(api.referenced, "api.socket", message));
    }
    Ok(())
}

/// Why a path can't be a Unix socket's.
fn unusable_as_socket(path: &Spanned<PathBuf>) -> Option<String> {
    let octets = path.value.as_os_str().as_bytes();
    match octets.len() {
        0 => Some("empty; give the path of a Unix socket".into()),
        1..=LONGEST_SOCKET => {
            octets.ends_with(b"/").then(|| "a folder; give the path of a Unix socket in it".into())
        }
        len => Some(format!(
            "{len} octets long; the path of a Unix socket has {LONGEST_SOCKET} at most"
        )),
    }
}
