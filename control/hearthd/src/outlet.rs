//! An answer that goes on: the control thread puts octets in at one end, a client of the API takes
//! them out at the other.
//!
//! The control thread never waits: what a slow client has not taken yet is bounded, and a client
//! that has gone is noticed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Chunks that may wait for the client.
const CHUNKS: usize = 64;

/// The client has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// The control thread's end.
#[derive(Debug)]
pub struct Outlet(mpsc::Sender<Bytes>);

/// The body of the answer.
#[derive(Debug)]
pub struct Inlet(mpsc::Receiver<Bytes>);

/// Both ends. Dropping the outlet ends the answer.
#[must_use]
pub fn outlet() -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    (Outlet(sender), Inlet(receiver))
}

impl Outlet {
    /// Whether [`Self::send`] has room. One place is kept for the last words.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn is_ready(&self) -> Result<bool, Gone> {
        if self.0.is_closed() { Err(Gone) } else { Ok(self.0.capacity() > 1) }
    }

    /// Sends a chunk; one that has no room is lost.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send(&self, chunk: impl Into<Bytes>) -> Result<(), Gone> {
        match self.0.try_send(chunk.into()) {
            Err(TrySendError::Closed(_)) => Err(Gone),
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
        }
    }

    /// Sends a chunk when there is room for it.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) async fn send_when_ready(&self, chunk: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(chunk.into()).await.map_err(|_| Gone)
    }

    /// Returns when the client has gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

impl Body for Inlet {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_have_room_and_a_gone_client_is_noticed() {
        let (outlet, mut inlet) = outlet();
        let mut sent = 0;
        while outlet.is_ready().unwrap() {
            outlet.send(vec![1]).unwrap();
            sent += 1;
        }
        assert_eq!(sent, CHUNKS - 1);
        outlet.send(&b"end"[..]).unwrap();
        outlet.send(&b"lost"[..]).unwrap();
        let got: Vec<Bytes> = std::iter::from_fn(|| inlet.0.try_recv().ok()).collect();
        assert_eq!((got.len(), got.last().unwrap().as_ref()), (CHUNKS, &b"end"[..]));
        drop(inlet);
        assert_eq!((outlet.is_ready(), outlet.send(vec![2])), (Err(Gone), Err(Gone)));
    }
}
