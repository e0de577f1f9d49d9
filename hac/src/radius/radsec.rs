//! RADIUS over TLS.
//!
//! Read first: RFC 6614.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::link::{Flight, Link};
use super::packet::MAX_PACKET;
use super::server::Peer;

/// What stands in for a shared secret (RFC 6614 s.2.3).
pub const SECRET: &[u8] = b"radsec";

/// Requests that wait to be written.
const QUEUE: usize = 64;

/// How a server over TLS is known, and this client to it.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Settings for rustls: the server's CA, our certificate.
    pub config: Arc<ClientConfig>,
    /// What the server's certificate has to name.
    pub name: ServerName<'static>,
    /// SHA-256 over the octets of all that `config` was made of.
    pub digest: [u8; 32],
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.digest == other.digest
    }
}

pub(super) async fn connect(
    address: SocketAddr,
    tls: &Tls,
    peer: Arc<Peer>,
    first: u8,
) -> io::Result<Link> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(tls.config.clone()).connect(tls.name.clone(), stream).await?;
    let (sender, outgoing) = mpsc::channel(QUEUE);
    let flight = Arc::new(Flight::new(first));
    let task = tokio::spawn(run(stream, outgoing, flight.clone(), peer));
    Ok(Link::stream(flight, sender, task))
}

/// Owns the connection until one of both sides ends it.
async fn run(
    stream: TlsStream<TcpStream>,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    flight: Arc<Flight>,
    peer: Arc<Peer>,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let send = async {
        while let Some(octets) = outgoing.recv().await {
            writer.write_all(&octets).await?;
            writer.flush().await?;
        }
        Ok::<_, io::Error>(())
    };
    let receive = async {
        while let Some(octets) = packet(&mut reader).await? {
            flight.hear(&octets, &peer);
        }
        Ok::<_, io::Error>(())
    };
    tokio::select! {
        _ = send => {}
        _ = receive => {}
    }
    flight.close();
}

/// The next packet; `None` where its Length is none, after which nothing can be read
/// (RFC 6614 s.2.6).
async fn packet(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    reader.read_exact(&mut head).await?;
    let [.., high, low] = head;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if !(20..=MAX_PACKET).contains(&len) {
        return Ok(None);
    }
    let mut octets = head.to_vec();
    octets.resize(len, 0);
    reader.read_exact(octets.get_mut(head.len()..).unwrap_or_default()).await?;
    Ok(Some(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_cut_into_packets_by_their_lengths() {
        let one = [&[2, 1, 0, 20][..], &[7; 16]].concat();
        let two = [&[2, 2, 0, 23][..], &[8; 19]].concat();
        let octets = [&one[..], &two, &[2, 3, 0, 19], &[9; 15]].concat();
        let mut reader = &octets[..];
        assert_eq!(packet(&mut reader).await.unwrap(), Some(one));
        assert_eq!(packet(&mut reader).await.unwrap(), Some(two));
        assert_eq!(packet(&mut reader).await.unwrap(), None, "19 octets are no packet");
        for wrong in [&[2, 1, 0x10, 1][..], &[2, 1, 0xff, 0xff]] {
            assert_eq!(packet(&mut &wrong[..]).await.unwrap(), None);
        }
        assert!(packet(&mut &[2, 1, 0, 20, 5][..]).await.is_err(), "half of one");
    }
}
