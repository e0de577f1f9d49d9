//! Talking rtnetlink: requests and their answers, dumps, notifications.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Octets of one read: larger than any datagram the kernel sends for a dump.
const READ_ROOM: usize = 64 * 1024;

/// "No buffer space available": more was to be told than the socket could hold.
const ENOBUFS: i32 = 105;

/// A socket for rtnetlink.
pub(crate) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What [`Netlink::notifications`] found.
pub(crate) enum Notifications {
    /// These, in order.
    Some(Vec<RouteNetlinkMessage>),
    /// Nothing more for now.
    None,
    /// Some are lost.
    Overrun,
}

impl Netlink {
    /// A socket for requests, which waits for their answers.
    pub(crate) fn for_requests() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, buffer: Vec::with_capacity(READ_ROOM) })
    }

    /// A socket for what the kernel tells these multicast groups (`RTNLGRP_*`).
    pub(crate) fn for_notifications(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        socket.set_non_blocking(true)?;
        // A burst (a BGP table) must not overrun the socket at once.
        socket.set_rx_buf_sz(4 << 20)?;
        Ok(Self { socket, buffer: Vec::with_capacity(READ_ROOM) })
    }

    /// The next notifications.
    pub(crate) fn notifications(&mut self) -> io::Result<Notifications> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer, 0) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Notifications::None),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                return Ok(Notifications::Overrun);
            }
            Err(error) => return Err(error),
        }
        let mut messages = Vec::new();
        for_each_message(&self.buffer, |message| {
            if let NetlinkPayload::InnerMessage(message) = message {
                messages.push(message);
            }
            Ok(true)
        })?;
        Ok(Notifications::Some(messages))
    }

    /// Calls `each` with all that the kernel has of what `request` asks for.
    pub(crate) fn dump(
        &mut self,
        request: RouteNetlinkMessage,
        each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.socket.send(&octets(request, NLM_F_REQUEST | NLM_F_DUMP, 0), 0)?;
        self.answers(each)
    }

    /// Has one change made, and waits until it is.
    pub(crate) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.socket.send(&octets(message, NLM_F_REQUEST | NLM_F_ACK | flags, 0), 0)?;
        self.answers(|_| {})
    }

    /// Has several changes made at once; what was refused, by its place in `messages`. The kernel
    /// makes them while they are sent.
    pub(crate) fn changes(
        &mut self,
        messages: Vec<(RouteNetlinkMessage, u16)>,
    ) -> io::Result<Vec<(usize, io::Error)>> {
        let mut batch = Vec::new();
        let mut count = 0;
        for (message, flags) in messages {
            batch.extend(octets(message, NLM_F_REQUEST | NLM_F_ACK | flags, count));
            count += 1;
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.socket.send(&batch, 0)?;
        let (mut refused, mut left) = (Vec::new(), count);
        while left > 0 {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            for_each_answer(&self.buffer, |number, answer| {
                if let NetlinkPayload::Error(error) = answer {
                    left = left.saturating_sub(1);
                    if error.code.is_some() {
                        let place = usize::try_from(number).unwrap_or(usize::MAX);
                        refused.push((place, error.to_io()));
                    }
                }
                Ok(true)
            })?;
        }
        Ok(refused)
    }

    /// Reads until the request is done, or acknowledged.
    fn answers(&mut self, mut each: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        let mut done = false;
        while !done {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            for_each_message(&self.buffer, |payload| {
                match payload {
                    NetlinkPayload::Done(_) => done = true,
                    NetlinkPayload::Error(error) => {
                        done = true;
                        if error.code.is_some() {
                            return Err(error.to_io());
                        }
                    }
                    NetlinkPayload::InnerMessage(message) => each(message),
                    _ => {}
                }
                Ok(!done)
            })?;
        }
        Ok(())
    }
}

/// Readable when there are notifications.
impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn octets(message: RouteNetlinkMessage, flags: u16, number: u32) -> Vec<u8> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = number;
    message.finalize();
    // Messages start at multiples of 4 octets.
    let mut octets = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut octets);
    octets
}

/// Calls `each` with every message in `octets`, until it says `false`.
fn for_each_message(
    octets: &[u8],
    mut each: impl FnMut(NetlinkPayload<RouteNetlinkMessage>) -> io::Result<bool>,
) -> io::Result<()> {
    for_each_answer(octets, |_, payload| each(payload))
}

/// The same with the number of the request that each message answers.
fn for_each_answer(
    octets: &[u8],
    mut each: impl FnMut(u32, NetlinkPayload<RouteNetlinkMessage>) -> io::Result<bool>,
) -> io::Result<()> {
    let mut rest = octets;
    while !rest.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
        let length = (message.header.length as usize).next_multiple_of(4);
        if !each(message.header.sequence_number, message.payload)? || length == 0 {
            break;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}
