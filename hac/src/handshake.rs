//! The TLS handshake of one connection, and how many of them compute at a time.
//!
//! Read first: RFC 6618 s.9.2; readings R-1, R-2.
//!
//! ```text
//!  ClientHello --> choice of certificate --> a turn --> signature, key exchange --> Finished
//!   (waiting)                              (waiting)        (computing)            (waiting)
//! ```
//! A signature keeps a thread for as long as it takes: some ten microseconds with ECDSA, a millisecond
//! with RSA. So only a few handshakes at a time are let into the queue of what is ready to run, and
//! slow signatures are made on threads of their own, beside those that serve sessions: a request of an
//! open session does not wait for those who say hello, however many they are.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::cert::ChannelBinding;
use crate::connection::{Shared, drain};
use crate::counters::Counter;
use crate::tls::{Choice, Server};

/// Handshakes that may compute at a time, for each processor.
const TURNS_PER_PROCESSOR: usize = 2;

/// The alert unrecognized_name, fatal, in a record of its own (RFC 6066 s.3, RFC 8446 s.5.1, 6).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// TLS handshakes of one HAC.
#[derive(Debug)]
pub struct Handshakes {
    server: Arc<Server>,
    turns: Semaphore,
}

/// A handshake that failed; the stream may still have to tell the client.
struct Failed {
    error: io::Error,
    stream: Option<TcpStream>,
}

impl Handshakes {
    /// Handshakes with the certificates of `server`.
    #[must_use]
    pub fn new(server: Arc<Server>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { server, turns: Semaphore::new(processors * TURNS_PER_PROCESSOR) }
    }

    /// The certificates.
    #[must_use]
    pub const fn server(&self) -> &Arc<Server> {
        &self.server
    }

    async fn run(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, ChannelBinding), Failed> {
        let mut hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let mut start = match (&mut hello).await {
            Ok(start) => start,
            Err(error) => return Err(Failed { error, stream: hello.take_io() }),
        };
        let identity = match self.server.choose(&start.client_hello()) {
            Choice::Serve(identity) => identity,
            Choice::Refuse => {
                let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
                let error = io::Error::new(io::ErrorKind::InvalidData, "unrecognized name");
                return Err(Failed { error, stream: Some(start.io) });
            }
        };
        let config = identity.config().clone();
        let accept = {
            let _turn = self.turns.acquire().await;
            let compute = move || start.into_stream(config).into_fallible();
            if identity.is_slow() {
                let computed = tokio::task::spawn_blocking(compute).await;
                computed.map_err(|error| Failed { error: error.into(), stream: None })?
            } else {
                compute()
            }
        };
        match accept.await {
            Ok(stream) => Ok((stream, identity.binding().clone())),
            Err((error, stream)) => Err(Failed { error, stream: Some(stream) }),
        }
    }
}

/// Takes a connection through its handshake: then the stream, and CB-octets of the certificate that
/// the client has met, now or when it got its ticket (R-2).
pub async fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Shared,
) -> Option<(TlsStream<TcpStream>, ChannelBinding)> {
    let run = timeout(shared.limits.get().handshake_timeout, shared.handshakes.run(stream));
    let Failed { error, stream } = match run.await {
        Ok(Ok(established)) => return Some(established),
        Ok(Err(failed)) => failed,
        Err(_) => Failed { error: io::ErrorKind::TimedOut.into(), stream: None },
    };
    shared.counters.count(Counter::HandshakesFailed);
    debug!(%peer, %error, "TLS handshake failed");
    if let Some(mut stream) = stream {
        // The alert is on its way; unread input must not turn the close into a reset.
        let _ = stream.shutdown().await;
        drain(&mut stream).await;
    }
    None
}
