//! Datagrams to and from the home agent, several with one call of the kernel where it can.
//!
//! Read first: udp(7), `UDP_SEGMENT` and `UDP_GRO`; recvmmsg(2). A kernel, or a network card, that
//! can't segment is found out at the first try; then, and for what does not fit the path's MTU,
//! datagrams go one by one.

use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, sendmsg, setsockopt,
    sockopt,
};

/// Datagrams that the kernel takes in one piece (`UDP_MAX_SEGMENTS` of Linux before 6.9).
pub(super) const MOST: usize = 64;
/// Octets that fit into one UDP datagram over either family, with room for headers.
pub(super) const LONGEST: usize = 65_000;
/// Trains that are sent one by one before segmentation is tried again.
const PAUSE: u32 = 256;

/// Sends equal datagrams together.
#[derive(Debug, Default)]
pub(super) struct Sender {
    /// Trains until segmentation is tried again.
    pause: u32,
}

impl Sender {
    /// Sends `frames`, of which each but the last has `len` octets, with this traffic class; how many
    /// were sent.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        frames: &[u8],
        len: usize,
        class: u8,
    ) -> usize {
        let count = frames.len().div_ceil(len.max(1));
        let size = u16::try_from(len).unwrap_or_default();
        if count > 1 && size > 0 && self.pause == 0 {
            let parts = [io::IoSlice::new(frames)];
            let (tos, tclass) = (class, i32::from(class));
            let control = [ControlMessage::UdpGsoSegments(&size), marking(socket, &tos, &tclass)];
            let control = control.get(..if class == 0 { 1 } else { 2 }).unwrap_or_default();
            let send =
                || sendmsg::<()>(socket.as_raw_fd(), &parts, control, MsgFlags::empty(), None);
            // The first attempt may only report an ICMP error about an earlier datagram.
            match send().or_else(|error| if is_reported(error) { send() } else { Err(error) }) {
                Ok(_) => return count,
                Err(Errno::ENOBUFS) => return 0,
                Err(_) => self.pause = PAUSE,
            }
        }
        self.pause = self.pause.saturating_sub(1);
        frames.chunks(len.max(1)).filter(|frame| send_one(socket, frame, class).is_ok()).count()
    }
}

/// An ICMP error about an earlier datagram.
fn is_reported(error: Errno) -> bool {
    matches!(error, Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH)
}

/// The control message that marks datagrams with a traffic class.
fn marking<'a>(socket: &UdpSocket, tos: &'a u8, tclass: &'a i32) -> ControlMessage<'a> {
    if socket.local_addr().is_ok_and(|address| address.is_ipv4()) {
        ControlMessage::Ipv4Tos(tos)
    } else {
        ControlMessage::Ipv6TClass(tclass)
    }
}

/// Sends one; an ICMP error about an earlier one is reported here, and the datagram then not sent.
pub(super) fn send_one(socket: &UdpSocket, frame: &[u8], class: u8) -> io::Result<usize> {
    if class == 0 {
        return socket.send(frame).or_else(|_| socket.send(frame));
    }
    let (tos, tclass) = (class, i32::from(class));
    let control = [marking(socket, &tos, &tclass)];
    let parts = [io::IoSlice::new(frame)];
    let send = || sendmsg::<()>(socket.as_raw_fd(), &parts, &control, MsgFlags::empty(), None);
    Ok(send().or_else(|_| send())?)
}

/// Datagrams that are received with one call.
const BATCH: usize = 32;
/// Room for whatever comes as one: several datagrams of a flow, put together.
const ROOM: usize = 65_536;

/// One or several datagrams of the same length, the last of which may be shorter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Where they begin in the arena.
    pub(super) start: usize,
    /// Octets of all of them.
    pub(super) len: usize,
    /// Octets of each but the last.
    pub(super) segment: usize,
    /// Congestion as the outer headers tell of it (RFC 3168).
    pub(super) ecn: u8,
}

/// Room for a batch of datagrams. Only what was written to occupies memory.
pub struct Receiver {
    pub(super) arena: Vec<u8>,
    pub(super) received: Vec<Received>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { arena: vec![0; BATCH * ROOM], received: Vec::with_capacity(BATCH) }
    }

    /// Asks the kernel to put datagrams together, and to tell what routers marked. Where it can't,
    /// they come one by one, or unmarked.
    pub fn prepare(socket: &UdpSocket) {
        let _ = setsockopt(socket, sockopt::UdpGroSegment, &true);
        let options = socket2::SockRef::from(socket);
        let _ = options.set_recv_tos_v4(true);
        let _ = options.set_recv_tclass_v6(true);
    }

    /// Takes what is there.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received.clear();
        let mut rooms = self.arena.chunks_exact_mut(ROOM);
        let mut parts: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        // Made anew, because the kernel shortens the room for control data to what it used.
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, Some(nix::cmsg_space!(i32, i32)));
        let flags = MsgFlags::MSG_DONTWAIT;
        let messages = recvmmsg(socket.as_raw_fd(), &mut headers, parts.iter_mut(), flags, None)?;
        for (message, start) in messages.zip((0..).step_by(ROOM)) {
            let len = message.bytes;
            let (mut segment, mut ecn) = (len, 0);
            for control in message.cmsgs().into_iter().flatten() {
                match control {
                    ControlMessageOwned::UdpGroSegments(size) if size > 0 => {
                        segment = usize::try_from(size).unwrap_or(len);
                    }
                    ControlMessageOwned::Ipv4Tos(tos) => ecn = tos & 3,
                    ControlMessageOwned::Ipv6TClass(class) => {
                        ecn = u8::try_from(class & 3).unwrap_or_default();
                    }
                    _ => {}
                }
            }
            self.received.push(Received { start, len, segment, ecn });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let (one, two) = (UdpSocket::bind(address).unwrap(), UdpSocket::bind(address).unwrap());
        one.connect(two.local_addr().unwrap()).unwrap();
        two.connect(one.local_addr().unwrap()).unwrap();
        Receiver::prepare(&two);
        (one, two)
    }

    /// What comes, datagram by datagram, and its ECN.
    fn received(receiver: &mut Receiver, socket: &UdpSocket, count: usize) -> Vec<(Vec<u8>, u8)> {
        let mut all = Vec::new();
        while all.len() < count {
            match receiver.receive(socket) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => panic!("{error}"),
            }
            for Received { start, len, segment, ecn } in &receiver.received {
                let octets = &receiver.arena[*start..start + len];
                all.extend(octets.chunks(*segment).map(|one| (one.to_vec(), *ecn)));
            }
        }
        all
    }

    #[test]
    fn a_train_arrives_as_its_datagrams_with_its_marks() {
        for address in ["[::1]:0", "127.0.0.1:0"] {
            let (from, to) = pair(address);
            let (mut sender, mut receiver) = (Sender::default(), Receiver::new());
            // In turns, so that room for control data is there again after a batch without any.
            for (class, len) in [(0, 1000), (0xb9, 1000), (0, 700), (3, 1000)] {
                let frames: Vec<u8> =
                    (0..5 * len - 300).map(|i| u8::try_from(i % 253).unwrap()).collect();
                assert_eq!(sender.send(&from, &frames, len, class), 5);
                let expected: Vec<_> =
                    frames.chunks(len).map(|frame| (frame.to_vec(), class & 3)).collect();
                assert_eq!(received(&mut receiver, &to, 5), expected, "{address} {class:#x}");
                assert_eq!(send_one(&from, b"alone", class).unwrap(), 5);
                let alone = vec![(b"alone".to_vec(), class & 3)];
                assert_eq!(received(&mut receiver, &to, 1), alone);
            }
            assert_eq!(sender.pause, 0, "this kernel segments");
        }
    }

    /// More than fits into one call, as where a frame does not fit the path's MTU.
    #[test]
    fn what_the_kernel_does_not_segment_goes_one_by_one() {
        let (from, to) = pair("[::1]:0");
        let (mut sender, mut receiver) = (Sender::default(), Receiver::new());
        let frames = vec![7; 90_000];
        assert_eq!(sender.send(&from, &frames, 30_000, 0), 3);
        let all = received(&mut receiver, &to, 3);
        assert!(all.iter().all(|(frame, _)| frame.len() == 30_000));
        assert_eq!(sender.pause, PAUSE - 1);
    }

    #[test]
    fn a_socket_that_says_no_is_told_once_and_nothing_is_counted_as_sent() {
        let from = UdpSocket::bind("[::1]:0").unwrap();
        assert_eq!(Sender::default().send(&from, &[1; 300], 100, 0), 0, "not connected");
    }
}
