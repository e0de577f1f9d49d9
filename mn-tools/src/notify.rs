//! Tells the service manager how the node is (sd_notify(3)); nothing where there is none.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, if one started this process and waits to hear.
#[derive(Debug)]
pub struct ServiceManager {
    place: Option<OsString>,
    last: String,
}

impl ServiceManager {
    /// The one that NOTIFY_SOCKET names: a path, or `@` and an abstract name.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::at(std::env::var_os("NOTIFY_SOCKET"))
    }

    fn at(place: Option<OsString>) -> Self {
        Self { place, last: String::new() }
    }

    /// The node has begun: it keeps trying from now on, whatever the network is like.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// What `systemctl status` shows.
    pub fn status(&mut self, text: &str) {
        if self.place.is_some() && self.last != text {
            text.clone_into(&mut self.last);
            self.tell(&format!("STATUS={text}"));
        }
    }

    /// The node ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, what: &str) {
        if let Some(place) = &self.place
            && let Err(error) = tell(place, what)
        {
            tracing::warn!(%error, "the service manager can't be told: {what}");
        }
    }
}

fn tell(place: &OsStr, what: &str) -> io::Result<()> {
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut manager = ServiceManager::at(Some(path.into_os_string()));
        manager.ready();
        manager.status("registered");
        manager.status("registered");
        manager.stopping();
        let mut message = [0; 64];
        for expected in ["READY=1", "STATUS=registered", "STOPPING=1"] {
            let len = socket.recv(&mut message).unwrap();
            assert_eq!(&message[..len], expected.as_bytes());
        }
    }
}
