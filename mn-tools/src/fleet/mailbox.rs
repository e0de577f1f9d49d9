//! Messages to a thread that waits for its sockets.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{EventfdFlags, eventfd};

/// The sender's end.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    sender: Sender<T>,
    bell: Arc<OwnedFd>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<T> Mailbox<T> {
    /// A mailbox, the messages in it, and the descriptor that becomes readable with each.
    pub(super) fn new() -> io::Result<(Self, Receiver<T>, Arc<OwnedFd>)> {
        let (sender, receiver) = channel();
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok((Self { sender, bell: Arc::clone(&bell) }, receiver, bell))
    }

    /// Sends; a thread that has ended misses nothing.
    pub(super) fn send(&self, message: T) {
        if self.sender.send(message).is_ok() {
            // Fails where it rings already.
            let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
        }
    }
}

/// Stops the ringing.
pub(super) fn hush(bell: &OwnedFd) {
    let _ = rustix::io::read(bell, &mut [0; 8]);
}
