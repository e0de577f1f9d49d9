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

/// The name of the interface by which the kernel reaches mobile nodes.
pub const MOBILE_NODES: &str = "hearth0";

/// A TUN: what the kernel routes into it is tunnelled to mobile nodes.
pub struct Tun {
    device: SyncDevice,
    index: u32,
    buffer: Vec<u8>,
}

impl Tun {
    /// Creates the TUN [`MOBILE_NODES`] and takes it up, without addresses.
    ///
    /// # Errors
    /// What the kernel said, with the step that failed.
    pub fn create(mtu: u16) -> io::Result<Self> {
        let step = |what: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("TUN {MOBILE_NODES}: can't {what}: {error}"))
        };
        let device = DeviceBuilder::new()
            .name(MOBILE_NODES)
            .layer(Layer::L3)
            .mtu(mtu)
            .enable(true)
            .build_sync()
            .map_err(|error| step("create it", error))?;
        device.set_nonblocking(true).map_err(|error| step("make it non-blocking", error))?;
        let index = device.if_index().map_err(|error| step("find its index", error))?;
        Ok(Self { device, index, buffer: vec![0; usize::from(mtu)] })
    }

    /// The kernel's number of the interface.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The next packet that the kernel sent, if there is one.
    ///
    /// # Errors
    /// The TUN broke.
    pub fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        match self.device.recv(&mut self.buffer) {
            Ok(len) => Ok(self.buffer.get(..len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// An Ethernet frame that carries `packet` of either version to the box's own port, as the kernel
/// would send it; `None` for what stays on a link, such as the kernel's router solicitations.
#[must_use]
pub fn frame_of(mac: [u8; 6], packet: &[u8]) -> Option<Vec<u8>> {
    let (ether_type, stays) = match packet.first()? >> 4 {
        // IPv6: multicast or link-local destination.
        6 => ([0x86, 0xdd], matches!(packet.get(24..26)?, [0xff, _] | [0xfe, 0x80..=0xbf])),
        4 => ([0x08, 0x00], matches!(packet.get(16)?, 224..)),
        _ => return None,
    };
    if stays {
        return None;
    }
    let mut frame = Vec::with_capacity(14 + packet.len());
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&ether_type);
    frame.extend_from_slice(packet);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_on_a_link_is_not_tunnelled() {
        let packet = |version: u8, at: usize, destination: &[u8]| {
            let mut packet = vec![0; 40];
            packet[0] = version << 4;
            packet[at..at + destination.len()].copy_from_slice(destination);
            packet
        };
        let frame = frame_of([2; 6], &packet(6, 24, &[0x20, 1])).unwrap();
        assert_eq!(frame[..14], [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0x86, 0xdd]);
        assert_eq!(frame_of([2; 6], &packet(4, 16, &[192])).unwrap()[12..14], [8, 0]);
        for stays in
            [packet(6, 24, &[0xff, 2]), packet(6, 24, &[0xfe, 0x80]), packet(4, 16, &[224])]
        {
            assert_eq!(frame_of([2; 6], &stays), None);
        }
        assert_eq!(frame_of([2; 6], &[0x60; 20]), None, "cut short");
        assert_eq!(frame_of([2; 6], &[]), None);
    }
}
