//! One session with the HAC over TCP and TLS.
//!
//! Read first: RFC 6618 s.5.1, 5.3, 5.4; readings.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use zeroize::Zeroizing;

use crate::bootstrap::{BootstrapError, Grant, Progress, Proposal, Session};
use crate::config::Config;
use crate::discovery::{Resolver, Wanted};
use crate::network::mark;
use crate::tls::{self, ReferenceName};

#[cfg(test)]
mod tests;

/// Limit for one connection attempt, so that an address that swallows packets leaves time for the
/// next one.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Why a bootstrap failed, in words, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For a person.
    pub text: String,
    /// What a 503 asked for.
    pub retry_after: Option<Duration>,
    /// The HAC was not reached: another network may help.
    pub by_network: bool,
}

impl Failure {
    fn network(text: String) -> Self {
        Self { text, retry_after: None, by_network: true }
    }

    fn other(text: String) -> Self {
        Self { text, retry_after: None, by_network: false }
    }
}

/// What is needed to talk to the HAC.
pub struct HacClient {
    tls: Arc<ClientConfig>,
    name: ReferenceName,
    server_name: ServerName<'static>,
    addresses: Vec<IpAddr>,
    port: u16,
    srv: Option<String>,
    resolver: Resolver,
    timeout: Duration,
    mark: u32,
    /// What the name led to last: DNS may be out of reach when it is needed again.
    resolved: Mutex<Vec<SocketAddr>>,
}

impl HacClient {
    /// Prepares sessions.
    ///
    /// # Errors
    /// Where TLS can't be set up.
    pub fn new(config: &Config) -> Result<Self, rustls::Error> {
        let hac = &config.hac;
        Ok(Self {
            tls: tls::client_config(&hac.ca, &hac.name)?,
            name: hac.name.clone(),
            server_name: hac.name.server_name()?,
            addresses: hac.addresses.clone(),
            port: hac.port,
            srv: hac.srv.clone(),
            resolver: Resolver::new(config.table),
            timeout: config.hac_timeout,
            mark: config.table,
            resolved: Mutex::default(),
        })
    }

    /// Bootstraps: what the HAC issued, and its address.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn bootstrap(&self, proposal: Proposal<'_>) -> Result<(Grant, IpAddr), Failure> {
        let until = Instant::now() + self.timeout;
        let (tcp, address) = self.connect(until)?;
        let mut tls = self.handshake(tcp, until)?;
        let certificate = tls.conn.peer_certificates().and_then(<[_]>::first);
        let binding = certificate
            .ok_or_else(|| Failure::other(format!("{} showed no certificate", self.name)))
            .and_then(|certificate| {
                tls::server_end_point(certificate).map_err(|fault| {
                    Failure::other(format!("the certificate of {} {fault}", self.name))
                })
            })?;
        let (mn_rand, rand_peer) = (random()?, random()?);
        let (session, request) = Session::begin(proposal, binding, mn_rand, rand_peer)
            .map_err(|error| refused(&error))?;
        let grant = self.exchange(&mut tls, session, request)?;
        tls.conn.send_close_notify();
        let _ = tls.flush();
        Ok((grant, address.ip()))
    }

    fn exchange(
        &self,
        tls: &mut Tls,
        mut session: Session<'_>,
        request: Zeroizing<Vec<u8>>,
    ) -> Result<Grant, Failure> {
        let mut request = Some(request);
        let mut buffer = Zeroizing::new([0; 4096]);
        loop {
            if let Some(request) = request.take() {
                tls.write_all(&request).and_then(|()| tls.flush()).map_err(|e| self.lost(&e))?;
            }
            let len = tls.read(buffer.as_mut_slice()).map_err(|error| self.lost(&error))?;
            if len == 0 {
                return Err(Failure::network(format!("{} closed the connection", self.name)));
            }
            match session.receive(buffer.get(..len).unwrap_or_default()) {
                Ok(Progress::Wait) => {}
                Ok(Progress::Send(next)) => request = Some(next),
                Ok(Progress::Done(grant)) => return Ok(*grant),
                Err(error) => return Err(refused(&error)),
            }
        }
    }

    fn connect(&self, until: Instant) -> Result<(TcpStream, SocketAddr), Failure> {
        let mut reasons = Vec::new();
        for address in self.socket_addresses(until)? {
            match self.connect_to(address, until) {
                Ok(tcp) => return Ok((tcp, address)),
                Err(error) => reasons.push(format!("{address}: {}", in_words(&error))),
            }
        }
        Err(Failure::network(format!("the HAC can't be reached ({})", reasons.join("; "))))
    }

    fn connect_to(&self, address: SocketAddr, until: Instant) -> io::Result<TcpStream> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Like the outer packets, this connection stays out of the tunnel.
        mark(&socket, self.mark)?;
        socket.connect_timeout(&address.into(), left.min(CONNECT_LIMIT))?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }

    fn socket_addresses(&self, until: Instant) -> Result<Vec<SocketAddr>, Failure> {
        if !self.addresses.is_empty() {
            return Ok(self.addresses.iter().map(|ip| (*ip, self.port).into()).collect());
        }
        let name = match (&self.name, &self.srv) {
            (ReferenceName::Address(ip), None) => return Ok(vec![(*ip, self.port).into()]),
            // The name of SRV records is asked for in its place.
            (ReferenceName::Address(_), Some(_)) => "",
            (ReferenceName::Dns(name), _) => name,
        };
        let wanted = Wanted { name, port: self.port, srv: self.srv.as_deref(), until };
        let found = self.resolver.find(&wanted);
        let mut known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(found) => *known = found,
            Err(error) if known.is_empty() => return Err(Failure::network(error)),
            Err(_) => {}
        }
        Ok(known.clone())
    }

    /// DNS servers that lie behind the tunnel, and are not to be asked for the way to it.
    pub fn set_inner_dns(&self, servers: &[IpAddr]) {
        self.resolver.set_inside(servers);
    }

    fn handshake(&self, tcp: TcpStream, until: Instant) -> Result<Tls, Failure> {
        let connection = ClientConnection::new(Arc::clone(&self.tls), self.server_name.clone())
            .map_err(|error| Failure::other(tls::explain(&error, &self.name)))?;
        let mut tls = StreamOwned::new(connection, Bounded { tcp, until });
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).map_err(|error| self.lost(&error))?;
        }
        Ok(tls)
    }

    /// What an I/O error on the session means.
    fn lost(&self, error: &io::Error) -> Failure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(error) = inner {
            return Failure::other(tls::explain(error, &self.name));
        }
        let name = &self.name;
        Failure::network(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("{name} did not answer within {} s", self.timeout.as_secs_f64())
            }
            _ => format!("the connection to {name} broke: {}", in_words(error)),
        })
    }
}

type Tls = StreamOwned<ClientConnection, Bounded>;

/// A connection that is given up at a certain time, however slowly the peer dribbles.
struct Bounded {
    tcp: TcpStream,
    until: Instant,
}

impl Bounded {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Bounded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(buf)
    }
}

impl Write for Bounded {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

fn refused(error: &BootstrapError) -> Failure {
    let retry_after = match error {
        BootstrapError::Refused { retry_after, .. } => *retry_after,
        _ => None,
    };
    let retry_after = retry_after.map(|at| Duration::from_secs(at.saturating_sub(unix_now())));
    Failure { text: error.to_string(), retry_after, by_network: false }
}

fn random() -> Result<[u8; 32], Failure> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets)
        .map_err(|error| Failure::other(format!("no random numbers: {error}")))?;
    Ok(octets)
}

/// An error of the operating system without its number.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "no way there".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
