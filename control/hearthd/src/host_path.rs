//! The host path: each port's TAP, through which the kernel sees the port.
//!
//! What the dataplane does not terminate (ARP, ND, ping to the box, TCP to a HAC or sshd) is
//! written to the TAP of its port; what the kernel sends comes back here and enters the pipeline
//! like any other packet.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// Octets of an Ethernet header, with one VLAN tag.
const ETHERNET_ROOM: usize = 18;

/// A port's TAP.
pub struct Tap {
    device: SyncDevice,
    index: u32,
    buffer: Vec<u8>,
}

impl Tap {
    /// Creates the TAP `name` with the port's MAC and MTU and takes it up.
    ///
    /// # Errors
    /// What the kernel said, with the step that failed.
    pub fn create(name: &str, mac: [u8; 6], mtu: u16) -> io::Result<Self> {
        let step = |what: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("TAP {name}: can't {what}: {error}"))
        };
        let device = DeviceBuilder::new()
            .name(name)
            .layer(Layer::L2)
            .mac_addr(mac)
            .mtu(mtu)
            .enable(true)
            .build_sync()
            .map_err(|error| step("create it", error))?;
        device.set_nonblocking(true).map_err(|error| step("make it non-blocking", error))?;
        let index = device.if_index().map_err(|error| step("find its index", error))?;
        Ok(Self { device, index, buffer: vec![0; usize::from(mtu) + ETHERNET_ROOM] })
    }

    /// The kernel's number of the interface.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The next frame that the kernel sent, if there is one.
    ///
    /// # Errors
    /// The TAP broke.
    pub fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        match self.device.recv(&mut self.buffer) {
            Ok(len) => Ok(self.buffer.get(..len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hands `frame` to the kernel; whether it took it (a full queue or a TAP that is down does
    /// not).
    #[must_use]
    pub fn send(&self, frame: &[u8]) -> bool {
        self.device.send(frame).is_ok()
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
