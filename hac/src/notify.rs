//! Tells the service manager how the daemon is (sd_notify(3)); nothing where there is none.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What the service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Ready,
    /// It reads its files again.
    Reloading,
    /// It ends.
    Stopping,
}

impl State {
    const fn text(self) -> &'static str {
        match self {
            Self::Ready => "READY=1",
            Self::Reloading => "RELOADING=1",
            Self::Stopping => "STOPPING=1",
        }
    }
}

/// Tells it to the socket at `place`, the value of NOTIFY_SOCKET: a path, or `@` and an abstract name.
///
/// # Errors
/// Nobody is there.
pub fn tell(place: &OsStr, state: State) -> io::Result<()> {
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(state.text().as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let named = UnixDatagram::bind(&path).unwrap();
        let name = format!("hearth-hac-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let unnamed = UnixDatagram::bind_addr(&address).unwrap();
        for (manager, place) in
            [(named, path.into_os_string()), (unnamed, format!("@{name}").into())]
        {
            for (state, text) in [(State::Ready, "READY=1"), (State::Stopping, "STOPPING=1")] {
                tell(&place, state).unwrap();
                let mut message = [0; 64];
                let length = manager.recv(&mut message).unwrap();
                assert_eq!(&message[..length], text.as_bytes());
            }
        }
        assert!(tell("/nowhere/at/all".as_ref(), State::Ready).is_err());
    }
}
