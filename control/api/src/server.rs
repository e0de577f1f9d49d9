//! What both daemons' sockets have in common: HTTP over a Unix socket, who is at its other end, and
//! how a refusal is said.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use serde::Deserialize;
use tokio::net::UnixListener;

/// Who may change something through the API, apart from root. Whoever may open the socket may look.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Operators {
    /// Users, by number. Default: none.
    pub uids: Vec<u32>,
    /// Groups, by number, that are a client's own (not one of its supplementary ones). Default:
    /// none.
    pub gids: Vec<u32>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The user; `None` where the kernel does not say.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// The process.
    pub pid: Option<i32>,
    /// On another machine, where it has no user here: what its certificate allows.
    pub certified: Option<Certified>,
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The name in it that YAML knows.
    pub name: Arc<str>,
    /// What that allows.
    pub role: Role,
}

/// What somebody on another machine may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Look.
    Reader,
    /// Look, trace, capture, and change something.
    Operator,
}

impl Peer {
    /// Whether it may change something.
    #[must_use]
    pub fn may_operate(&self, operators: &Operators) -> bool {
        let is_one = |id: Option<u32>, ids: &[u32]| id.is_some_and(|id| ids.contains(&id));
        let certified = self.certified.as_ref().map(|certified| certified.role);
        self.uid == Some(0)
            || certified == Some(Role::Operator)
            || is_one(self.uid, &operators.uids)
            || is_one(self.gid, &operators.gids)
    }

    /// The name in its certificate, where it is on another machine.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certified.as_ref().map(|certified| &*certified.name)
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self {
            uid: credentials.map(|credentials| credentials.uid()),
            gid: credentials.map(|credentials| credentials.gid()),
            pid: credentials.and_then(|credentials| credentials.pid()),
            certified: None,
        }
    }
}

/// Why there is no answer, as the operator reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Others may.
    Forbidden(String),
    /// Something in the request is out of range.
    Request(String),
    /// What it names does not exist.
    Unknown(String),
    /// Another one is running, or what is asked for contradicts what is there.
    Busy(String),
    /// This daemon's own trouble.
    Fault(String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, text),
            Self::Request(text) => (StatusCode::BAD_REQUEST, text),
            Self::Unknown(text) => (StatusCode::NOT_FOUND, text),
            Self::Busy(text) => (StatusCode::CONFLICT, text),
            Self::Fault(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        };
        (status, text).into_response()
    }
}

/// Makes the socket, mode 0660. One that a daemon left behind is replaced; one that a living
/// daemon listens on is not. `taken` says what is wrong then and what would be right.
///
/// # Errors
/// The socket can't be made.
pub fn bind(socket: &Path, taken: &str) -> io::Result<StdListener> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", socket.display()));
    let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        fs::create_dir_all(folder).map_err(named)?;
        // Clients of other users pass through it, whatever the umask says.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(named)?;
    }
    if UnixStream::connect(socket).is_ok() {
        return Err(named(io::Error::new(io::ErrorKind::AddrInUse, taken)));
    }
    match fs::symlink_metadata(socket) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            fs::remove_file(socket).map_err(named)?;
        }
        Ok(_) => {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "exists and is no socket");
            return Err(named(error));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(named(error)),
    }
    let listener = StdListener::bind(socket).map_err(named)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).map_err(named)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the socket file when the daemon ends.
#[derive(Debug)]
pub struct SocketFile(pub PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn operators_are_root_and_those_of_yaml() {
        let peer = |uid, gid| Peer { uid: Some(uid), gid: Some(gid), ..Peer::default() };
        let operators = Operators { uids: vec![1000], gids: vec![4] };
        assert!(peer(0, 9).may_operate(&Operators::default()));
        assert!(peer(1000, 9).may_operate(&operators) && peer(7, 4).may_operate(&operators));
        assert!(!peer(7, 9).may_operate(&operators) && !peer(4, 1000).may_operate(&operators));
        // Who can't be told is nobody, and the root group is not root.
        let nobody = Peer::default();
        assert!(!nobody.may_operate(&operators) && !peer(7, 0).may_operate(&operators));
    }
}
