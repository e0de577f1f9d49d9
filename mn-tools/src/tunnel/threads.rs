//! The threads of the data path, and how they end.

use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use zerocopy::IntoBytes as _;

use super::datagrams::Receiver;
use super::direct::{Inward, Sockets};
use super::downlink::Downlink;
use super::gso::VirtioHeader;
use super::uplink::Uplink;
use super::{IvSource, Tunnel};
use crate::tun::TunDevice;

/// A running thread. Dropping it ends the thread and waits for it.
#[derive(Debug)]
pub struct Worker {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Carries packets from the TUN to the home agent, a thread for each queue.
    ///
    /// # Errors
    /// Where the system has no thread, no event or no random numbers to give.
    pub fn uplinks(tunnel: &Arc<Tunnel>, tun: &TunDevice) -> io::Result<Vec<Self>> {
        tun.queues().map(|queue| Self::uplink(Arc::clone(tunnel), queue)).collect()
    }

    fn uplink(tunnel: Arc<Tunnel>, tun: TunDevice) -> io::Result<Self> {
        let ivs = IvSource::new().map_err(io::Error::other)?;
        let mut uplink = Uplink::new(tunnel, ivs, tun.has_offload());
        Self::spawn("uplink", move |stop| {
            run(stop, &[tun.as_fd()], || uplink.carry_one(|room| tun.read(room)));
        })
    }

    /// Carries packets from one socket to the TUN.
    ///
    /// # Errors
    /// Where the system has no thread or no event to give.
    pub fn downlink(
        tunnel: Arc<Tunnel>,
        socket: Arc<UdpSocket>,
        tun: TunDevice,
    ) -> io::Result<Self> {
        let mut downlink = Downlink::new(tunnel, tun.has_offload());
        Receiver::prepare(&socket);
        Self::spawn("downlink", move |stop| {
            run(stop, &[socket.as_fd()], || {
                downlink.carry(|receiver| receiver.receive(&socket), |parts| tun.write(parts))
            });
        })
    }

    /// Carries packets that come from correspondents directly to the TUN.
    ///
    /// # Errors
    /// As [`Self::downlink`].
    pub fn inward(tunnel: Arc<Tunnel>, sockets: Arc<Sockets>, tun: TunDevice) -> io::Result<Self> {
        let mut inward = Inward::new(tunnel, Arc::clone(&sockets));
        let plain = VirtioHeader::default();
        Self::spawn("inward", move |stop| {
            run(stop, &sockets.inward().map(AsFd::as_fd), || {
                inward.carry(|packet| {
                    tun.write(&[IoSlice::new(plain.as_bytes()), IoSlice::new(packet)])
                })
            });
        })
    }

    fn spawn(name: &str, work: impl FnOnce(&OwnedFd) + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if rustix::io::write(&*self.stop, &1u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Calls `step` until it would block, then waits for one of `sources`; ends when `stop` becomes readable
/// or a source is gone.
fn run(stop: &OwnedFd, sources: &[BorrowedFd<'_>], mut step: impl FnMut() -> io::Result<()>) {
    /// Packets between two looks at `stop`.
    const BURST: u32 = 256;
    loop {
        let mut left = BURST;
        while left > 0 {
            match step() {
                Ok(()) => left -= 1,
                // An ICMP error about an earlier packet: the next one may be fine.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => left -= 1,
                Err(error) if is_gone(&error) => return,
                Err(_) => break,
            }
        }
        let stop = PollFd::new(stop, PollFlags::IN);
        let sources = sources.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN));
        let mut fds: Vec<_> = [stop].into_iter().chain(sources).collect();
        if poll(&mut fds, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
            return;
        }
        let Some((stop, sources)) = fds.split_first() else { return };
        let gone = PollFlags::HUP | PollFlags::NVAL;
        if !stop.revents().is_empty() || sources.iter().any(|it| it.revents().intersects(gone)) {
            return;
        }
    }
}

/// Whether the device behind a descriptor was deleted.
fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::BADF, Errno::BADFD, Errno::NODEV]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}
