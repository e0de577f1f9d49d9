//! The directory for home agents on other machines: mutual TLS over TCP.
//!
//! Read first: RFC 6618 s.4.2, 9.3; reading R-50.
//!
//! TLS 1.3 alone, so that there is neither a suite without encryption nor one without integrity. A
//! client without a certificate of the deployment's authority ends in the handshake, and one with a
//! certificate watches the home agents whose names are in it and no others: a home agent that was
//! broken into gets no keys but its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_api::tls;
use hearth_log::LogLimit;
use rustix::net::sockopt;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::server::{CONNECTIONS, Peer};
use super::writer::Directory;
use crate::config::Realm;
use crate::live::Live;

/// Longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Milliseconds without an acknowledgement after which a home agent counts as gone.
const USER_TIMEOUT: u32 = 5000;

/// Why certificates can't serve.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RemoteError(String);

/// TLS settings for home agents: `chain` and `key` are this HAC's, clients have certificates of
/// `authorities`.
///
/// # Errors
/// [`RemoteError`]: they don't fit each other.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<Arc<ServerConfig>, RemoteError> {
    let config = tls::server_config(chain, key, authorities);
    config.map(Arc::new).map_err(|error| RemoteError(error.to_string()))
}

/// A listener for home agents of other machines.
pub struct Remote {
    listener: TcpListener,
    tls: Arc<Live<ServerConfig>>,
    realm: Arc<Realm>,
    log_limit: Arc<LogLimit>,
}

impl Remote {
    /// Listens on `address` for the home agents of `realm`; `tls` is what they meet at the time.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub fn bind(
        address: SocketAddr,
        tls: Arc<Live<ServerConfig>>,
        realm: Arc<Realm>,
    ) -> io::Result<Self> {
        let listener = crate::listener::bind(address)?;
        Ok(Self { listener, tls, realm, log_limit: Arc::default() })
    }

    /// The address, with the port that the kernel chose for port 0.
    ///
    /// # Errors
    /// The socket has none.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends.
    pub async fn serve(&self, directory: Arc<Directory>) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(suppressed) = self.log_limit.admit(Instant::now()) {
                        warn!(%error, suppressed, "accept for home agents");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = connections.clone().try_acquire_owned() else {
                if let Some(suppressed) = self.log_limit.admit(Instant::now()) {
                    warn!(%peer, suppressed, "too many connections to the directory");
                }
                continue;
            };
            let (directory, log_limit) = (directory.clone(), self.log_limit.clone());
            let (acceptor, realm) = (TlsAcceptor::from(self.tls.get()), self.realm.clone());
            tokio::spawn(async move {
                if let Err(error) =
                    serve(stream, &acceptor, &realm, directory, log_limit.clone()).await
                    && let Some(suppressed) = log_limit.admit(Instant::now())
                {
                    warn!(%peer, %error, suppressed, "refused at the directory");
                }
                drop(permit);
            });
        }
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    realm: &Realm,
    directory: Arc<Directory>,
    log_limit: Arc<LogLimit>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, Duration::from_secs(2))?;
    sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(1))?;
    sockopt::set_tcp_user_timeout(&stream, USER_TIMEOUT)?;
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let names = certificates.first().map(tls::dns_names).unwrap_or_default();
    let may: Box<[Box<str>]> = realm
        .home_agents
        .iter()
        .filter(|agent| names.contains(&agent.certificate_name))
        .map(|agent| agent.name.clone())
        .collect();
    if may.is_empty() {
        let message = format!("its certificate, of {names:?}, is no home agent's");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let (reader, writer) = tokio::io::split(stream);
    let ended = Peer::new(reader, writer, Some(may), directory, log_limit).run().await;
    debug!(?ended, "a directory connection ended");
    Ok(())
}
