//! The SA directory of a HAC on another machine: mutual TLS over TCP.
//!
//! Read first: RFC 6618 s.4.2, 9.3; reading R-50.
//!
//! The rest of the daemon sees a Unix stream, as from a HAC on its own machine: a thread carries
//! between that and TLS, and ends when either end does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tracing::warn;
use zeroize::Zeroizing;

/// Longest wait for a TCP connection and for each step of the handshake.
const PATIENCE: Duration = Duration::from_secs(5);
/// Milliseconds without an acknowledgement after which the HAC counts as gone.
const USER_TIMEOUT: u32 = 5000;

/// Where a HAC on another machine is, and what proves who is who.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its address and TCP port.
    pub address: SocketAddr,
    /// The name that its certificate must have.
    pub name: ServerName<'static>,
    /// Whose certificates are believed, and this home agent's own.
    pub tls: Identity,
    /// That it does not let this home agent in was logged.
    pub complained: Arc<AtomicBool>,
}

/// Whose certificates are believed, and this home agent's own, as they are now: the next connection
/// goes by them. A clone is a handle to the same.
#[derive(Debug, Clone)]
pub struct Identity(Arc<RwLock<Arc<ClientConfig>>>);

impl Identity {
    /// These, for now.
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self(Arc::new(RwLock::new(tls)))
    }

    fn now(&self) -> Arc<ClientConfig> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From the next connection on those of `fresh`.
    pub(crate) fn renew(&self, fresh: &Self) {
        let fresh = fresh.now();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}

/// TLS settings: the HAC has a certificate of `authorities`, `chain` and `key` are this home agent's.
/// TLS 1.3 alone: it knows no suite without encryption or integrity.
///
/// # Errors
/// They don't fit each other.
pub fn client_config(
    authorities: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Connects and proves who both are; what is written to the stream and read from it goes by TLS.
///
/// # Errors
/// Nobody is there, or it is not the HAC that was meant.
pub(crate) fn connect(remote: &Remote) -> io::Result<UnixStream> {
    let mut tcp = TcpStream::connect_timeout(&remote.address, PATIENCE)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    sockopt::set_socket_keepalive(&tcp, true)?;
    sockopt::set_tcp_keepidle(&tcp, Duration::from_secs(2))?;
    sockopt::set_tcp_keepintvl(&tcp, Duration::from_secs(1))?;
    sockopt::set_tcp_user_timeout(&tcp, USER_TIMEOUT)?;
    let mut tls =
        ClientConnection::new(remote.tls.now(), remote.name.clone()).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    let (near, far) = UnixStream::pair()?;
    tcp.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let (outgoing, incoming) = (Buffer::new(), Buffer::new());
    let complained = Arc::clone(&remote.complained);
    let carrier = Carrier { tcp, tls, near: far, outgoing, incoming, complained };
    thread::Builder::new().name("directory-tls".into()).spawn(move || carrier.run())?;
    Ok(near)
}

/// Octets on their way; keys are among them.
struct Buffer {
    octets: Zeroizing<[u8; 16 * 1024]>,
    from: usize,
    to: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { octets: Zeroizing::new([0; 16 * 1024]), from: 0, to: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Takes what there is, once the rest is gone; `false` at the end.
    fn fill(&mut self, mut source: impl Read) -> io::Result<bool> {
        if !self.is_empty() {
            return Ok(true);
        }
        match source.read(&mut *self.octets) {
            Ok(0) => Ok(false),
            Ok(count) => {
                (self.from, self.to) = (0, count);
                Ok(true)
            }
            Err(error) if is_for_later(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn drain(&mut self, mut sink: impl Write) -> io::Result<()> {
        while !self.is_empty() {
            match sink.write(self.octets.get(self.from..self.to).unwrap_or_default()) {
                Ok(0) => return Ok(()),
                Ok(count) => self.from += count,
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Carries between TLS and the stream that the rest of the daemon has the other end of.
struct Carrier {
    tcp: TcpStream,
    tls: ClientConnection,
    near: UnixStream,
    outgoing: Buffer,
    incoming: Buffer,
    complained: Arc<AtomicBool>,
}

impl Carrier {
    fn run(mut self) {
        let ended = loop {
            match self.turn() {
                Ok(true) => {}
                ended => break ended,
            }
        };
        // By TLS 1.3 the HAC judges this home agent's certificate after the handshake.
        if let Err(error) = ended
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            warn!(%error, "the connection to the SA directory broke");
        }
        self.tls.send_close_notify();
        let _ = self.tls.write_tls(&mut self.tcp);
        let _ = self.tcp.shutdown(Shutdown::Both);
        let _ = self.near.shutdown(Shutdown::Both);
    }

    /// Carries what there is, then waits; `false` when an end has closed.
    fn turn(&mut self) -> io::Result<bool> {
        if !self.outgoing.fill(&self.near)? || !self.take_from_tls()? {
            return Ok(false);
        }
        self.outgoing.drain(self.tls.writer())?;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if !self.incoming.is_empty() {
            self.complained.store(false, Ordering::Relaxed);
        }
        self.incoming.drain(&self.near)?;
        self.wait()?;
        Ok(true)
    }

    /// Takes the next octets out of TLS, once the last ones are gone; `false` at the end.
    fn take_from_tls(&mut self) -> io::Result<bool> {
        if !self.incoming.is_empty() {
            return Ok(true);
        }
        if self.tls.wants_read() {
            match self.tls.read_tls(&mut self.tcp) {
                Ok(0) => return Ok(false),
                Ok(_) => {
                    self.tls.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.incoming.fill(self.tls.reader())
    }

    /// Waits until something can be carried.
    fn wait(&mut self) -> io::Result<()> {
        let when = |is_wanted, flags| if is_wanted { flags } else { PollFlags::empty() };
        let tcp = when(self.incoming.is_empty(), PollFlags::IN)
            | when(self.tls.wants_write(), PollFlags::OUT);
        let near = when(self.outgoing.is_empty(), PollFlags::IN)
            | when(!self.incoming.is_empty(), PollFlags::OUT);
        // More may lie in TLS than one turn has taken out.
        if self.incoming.is_empty()
            && self.incoming.fill(self.tls.reader())?
            && !self.incoming.is_empty()
        {
            return Ok(());
        }
        let mut waiting = [PollFd::new(&self.tcp, tcp), PollFd::new(&self.near, near)];
        match poll(&mut waiting, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        fn certificates(&self) -> Vec<CertificateDer<'static>> {
            vec![self.0.der().clone()]
        }

        fn identity(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &self.0).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            (vec![certificate.der().clone()], key)
        }
    }

    /// A HAC's end for one connection: it says back what it hears.
    fn echo(authority: &Authority) -> SocketAddr {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (chain, key) = authority.identity("hac.example.net");
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificates().remove(0)).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            let tls = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(tls, tcp);
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                if stream.write_all(&chunk[..count]).is_err() {
                    return;
                }
            }
        });
        address
    }

    fn remote(address: SocketAddr, name: &str, trusted: &Authority, own: &Authority) -> Remote {
        let (chain, key) = own.identity("ha1.example.net");
        let tls = client_config(trusted.certificates(), chain, key).unwrap();
        let tls = Identity::new(tls);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Remote { address, name, tls, complained: Arc::default() }
    }

    #[test]
    fn octets_go_there_and_back() {
        let authority = Authority::new();
        let remote = remote(echo(&authority), "hac.example.net", &authority, &authority);
        let mut stream = connect(&remote).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // More than any buffer on the way takes at once.
        let sent: Vec<u8> = (0..300_000u32).map(|number| number.to_be_bytes()[3]).collect();
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writing = thread::spawn(move || writer.write_all(&copy).unwrap());
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).unwrap();
        writing.join().unwrap();
        assert!(back == sent);
    }

    /// SA-16: a HAC of another authority, or of another name, hears nothing of this home agent's.
    #[test]
    fn sa_16_a_hac_that_is_not_the_one_meant_is_left() {
        let (authority, other) = (Authority::new(), Authority::new());
        let stranger = remote(echo(&other), "hac.example.net", &authority, &authority);
        assert!(connect(&stranger).is_err());
        let misnamed = remote(echo(&authority), "hac2.example.net", &authority, &authority);
        assert!(connect(&misnamed).is_err());
    }

    /// What goes on goes on by the old certificate, what begins by the new one.
    #[test]
    fn a_new_certificate_is_the_next_connections() {
        let (authority, other) = (Authority::new(), Authority::new());
        // The authority of before, of which the HAC has no certificate any more.
        let old = remote(echo(&other), "hac.example.net", &other, &other);
        let mut open = connect(&old).unwrap();
        let moved = Remote { address: echo(&authority), ..old };
        assert!(connect(&moved).is_err());
        let fresh = remote(echo(&authority), "hac.example.net", &authority, &authority);
        moved.tls.renew(&fresh.tls);
        let moved = Remote { address: echo(&authority), ..moved };
        for stream in [&mut open, &mut connect(&moved).unwrap()] {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(b"watch").unwrap();
            let mut back = [0; 5];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"watch");
        }
    }

    /// By TLS 1.3 it is known after the handshake only that the HAC does not let one in.
    #[test]
    fn sa_16_a_home_agent_with_another_authoritys_certificate_gets_nothing() {
        let (authority, other) = (Authority::new(), Authority::new());
        let refused = remote(echo(&authority), "hac.example.net", &authority, &other);
        let Ok(mut stream) = connect(&refused) else { return };
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(b"watch");
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)));
        assert!(refused.complained.load(Ordering::Relaxed), "the log says why");
    }
}
