//! From the name of the HAC to addresses and ports: A, AAAA and SRV records.
//!
//! Read first: RFC 6618 s.5.4, RFC 2782; docs/discovery.md; reading R-1.
//!
//! Queries bypass the tunnel as all does that leads to the HAC: they carry the node's mark and go to
//! the name servers of the visited network. So a tunnel that is broken, or closed, can be mended,
//! and the host's resolver, whose queries carry no mark, need not be asked.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use socket2::{Domain, Protocol, Socket, Type};

/// How long one server may take to answer one question.
const PER_SERVER: Duration = Duration::from_millis(1500);
/// Servers that are asked; as many as a resolver reads (resolv.conf(5)).
const MAX_SERVERS: usize = 3;
/// Answers that are looked at.
const MAX_RECORDS: usize = 16;
const PORT: u16 = 53;

/// What is looked for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The name with A and AAAA records.
    pub name: &'a str,
    /// Its port.
    pub port: u16,
    /// The name with SRV records, which is asked for instead.
    pub srv: Option<&'a str>,
    /// No answer is waited for longer than this.
    pub until: Instant,
}

/// Where names are looked up.
#[derive(Debug)]
pub struct Resolver {
    mark: u32,
    files: Files,
    /// Name servers that are reached through the tunnel.
    inside: Mutex<Vec<IpAddr>>,
    /// Those that were found last: the files may name none but the tunnel's now.
    outside: Mutex<Vec<SocketAddr>>,
}

/// The host's own files.
#[derive(Debug)]
struct Files {
    hosts: &'static str,
    /// The first that names a server that is no stub counts.
    servers: [&'static str; 2],
}

const FILES: Files = Files {
    hosts: "/etc/hosts",
    // Behind its stub at 127.0.0.53 systemd-resolved lists those that it was given.
    servers: ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"],
};

/// A service behind a name (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The lower, the earlier tried.
    pub priority: u16,
    /// Its chance among those of the same priority.
    pub weight: u16,
    /// Its port, not 0.
    pub port: u16,
    /// The host that it is on.
    pub target: String,
}

impl Resolver {
    /// Looks up by packets with this mark.
    #[must_use]
    pub fn new(mark: u32) -> Self {
        Self { mark, files: FILES, inside: Mutex::default(), outside: Mutex::default() }
    }

    /// These servers are the tunnel's from now on.
    pub fn set_inside(&self, servers: &[IpAddr]) {
        servers.clone_into(&mut self.inside.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Where to connect to, in this order.
    ///
    /// # Errors
    /// In words.
    pub fn find(&self, wanted: &Wanted<'_>) -> Result<Vec<SocketAddr>, String> {
        let Some(srv) = wanted.srv else {
            let found = self.addresses(wanted.name, wanted.until)?;
            return Ok(found.into_iter().map(|address| (address, wanted.port).into()).collect());
        };
        let services = self.services(srv, wanted.until)?;
        let mut all: Vec<SocketAddr> = Vec::new();
        let mut trouble = format!("{srv} names no service");
        for service in services {
            match self.addresses(&service.target, wanted.until) {
                Ok(found) => {
                    all.extend(found.iter().map(|ip| SocketAddr::from((*ip, service.port))));
                }
                Err(error) => trouble = error,
            }
        }
        if all.is_empty() { Err(trouble) } else { Ok(all) }
    }

    /// Addresses of a host, IPv6 first.
    fn addresses(&self, name: &str, until: Instant) -> Result<Vec<IpAddr>, String> {
        if let Ok(text) = std::fs::read_to_string(self.files.hosts) {
            let found = in_hosts(&text, name);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let mut found = Vec::new();
        let mut trouble = None;
        for kind in [TYPE::AAAA, TYPE::A] {
            match self.ask(name, kind, until) {
                Ok(answer) => found.extend(addresses_of(&answer)),
                Err(error) => trouble = Some(error),
            }
        }
        if found.is_empty() {
            // What the host knows by other ways: mDNS, NIS.
            found.extend((name, 0).to_socket_addrs().into_iter().flatten().map(|at| at.ip()));
        }
        match (found.is_empty(), trouble) {
            (false, _) => Ok(found),
            (true, Some(error)) => Err(format!("{name} can't be resolved: {error}")),
            (true, None) => Err(format!("{name} has no address")),
        }
    }

    /// The services behind a name, in the order in which they are to be tried.
    fn services(&self, name: &str, until: Instant) -> Result<Vec<Service>, String> {
        let answer = self.ask(name, TYPE::SRV, until);
        let answer = answer.map_err(|error| format!("{name} can't be resolved: {error}"))?;
        let mut services = services_of(&answer);
        if services.is_empty() {
            return Err(format!("{name} has no SRV record"));
        }
        order(&mut services, || {
            let mut octets = [0; 4];
            let _ = getrandom::fill(&mut octets);
            u32::from_ne_bytes(octets)
        });
        Ok(services)
    }

    /// The name servers to ask.
    fn servers(&self) -> Vec<SocketAddr> {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        for file in self.files.servers {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let found: Vec<SocketAddr> = name_servers(&text)
                .into_iter()
                .filter(|server| !inside.contains(server) && !is_stub(*server))
                .map(|server| (server, PORT).into())
                .take(MAX_SERVERS)
                .collect();
            if !found.is_empty() {
                *outside = found;
                break;
            }
        }
        outside.clone()
    }

    /// The first answer that says something, of whichever server.
    fn ask(&self, name: &str, kind: TYPE, until: Instant) -> Result<Vec<u8>, String> {
        let mut trouble = "there is no name server".to_owned();
        for server in self.servers() {
            match self.ask_one(server, name, kind, until) {
                Ok(answer) => return Ok(answer),
                Err(error) => trouble = format!("{}: {error}", server.ip()),
            }
        }
        Err(trouble)
    }

    fn ask_one(
        &self,
        server: SocketAddr,
        name: &str,
        kind: TYPE,
        until: Instant,
    ) -> io::Result<Vec<u8>> {
        let until = until.min(Instant::now() + PER_SERVER);
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let id = u16::from_ne_bytes(id);
        let query = query(id, name, kind).map_err(io::Error::other)?;
        let mut udp = self.socket(server, Type::DGRAM, Protocol::UDP, until)?;
        udp.send(&query)?;
        let mut room = [0; 4096];
        loop {
            udp.set_read_timeout(Some(left(until)?))?;
            let len = udp.read(&mut room)?;
            let answer = room.get(..len).unwrap_or_default();
            match judge(answer, id, name, kind) {
                Judgement::Answer => return Ok(answer.to_vec()),
                Judgement::Truncated => return self.ask_by_tcp(server, &query, until),
                Judgement::Refused(why) => return Err(io::Error::other(why)),
                // Of somebody else, or of an earlier question.
                Judgement::Unrelated => {}
            }
        }
    }

    /// RFC 7766 s.8: two octets of length in front of each message.
    fn ask_by_tcp(&self, server: SocketAddr, query: &[u8], until: Instant) -> io::Result<Vec<u8>> {
        let mut tcp = self.socket(server, Type::STREAM, Protocol::TCP, until)?;
        let len = u16::try_from(query.len()).map_err(io::Error::other)?;
        tcp.write_all(&[&len.to_be_bytes()[..], query].concat())?;
        let mut len = [0; 2];
        tcp.read_exact(&mut len)?;
        let mut answer = vec![0; u16::from_be_bytes(len).into()];
        tcp.set_read_timeout(Some(left(until)?))?;
        tcp.read_exact(&mut answer)?;
        Ok(answer)
    }

    fn socket(
        &self,
        server: SocketAddr,
        kind: Type,
        protocol: Protocol,
        until: Instant,
    ) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(server), kind, Some(protocol))?;
        if self.mark != 0 {
            socket.set_mark(self.mark)?;
        }
        let left = left(until)?;
        socket.set_read_timeout(Some(left))?;
        socket.set_write_timeout(Some(left))?;
        // A connected socket hears its peer only.
        socket.connect_timeout(&server.into(), left)?;
        Ok(socket)
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn query(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, simple_dns::SimpleDnsError> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let (kind, class) = (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(Name::new(name)?, kind, class, false));
    packet.build_bytes_vec()
}

#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Answer,
    Truncated,
    Refused(String),
    Unrelated,
}

/// What a message is to the question that was asked.
fn judge(answer: &[u8], id: u16, name: &str, kind: TYPE) -> Judgement {
    let Ok(packet) = Packet::parse(answer) else { return Judgement::Unrelated };
    let asked = packet.questions.first().is_some_and(|question| {
        question.qtype == QTYPE::TYPE(kind)
            && question.qname.to_string().eq_ignore_ascii_case(name.trim_end_matches('.'))
    });
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !asked {
        return Judgement::Unrelated;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Judgement::Truncated;
    }
    match packet.rcode() {
        RCODE::NoError => Judgement::Answer,
        RCODE::NameError => Judgement::Refused("there is no such name".to_owned()),
        other => Judgement::Refused(format!("the name server says {other:?}")),
    }
}

/// The addresses in an answer, 16 at most. Whose they are does not matter: behind an alias they have
/// another name, and whoever forges them does not have the certificate.
#[must_use]
pub fn addresses_of(answer: &[u8]) -> Vec<IpAddr> {
    let Ok(packet) = Packet::parse(answer) else { return Vec::new() };
    let address = |rdata: &RData<'_>| match rdata {
        RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(a.address))),
        RData::AAAA(aaaa) => Some(IpAddr::V6(Ipv6Addr::from(aaaa.address))),
        _ => None,
    };
    let all = packet.answers.iter().filter_map(|record| address(&record.rdata));
    all.filter(|ip| !ip.is_unspecified() && !ip.is_multicast()).take(MAX_RECORDS).collect()
}

/// The services in an answer, 16 at most.
#[must_use]
pub fn services_of(answer: &[u8]) -> Vec<Service> {
    let Ok(packet) = Packet::parse(answer) else { return Vec::new() };
    let service = |rdata: &RData<'_>| match rdata {
        RData::SRV(srv) => Some(Service {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_string(),
        }),
        _ => None,
    };
    let all = packet.answers.iter().filter_map(|record| service(&record.rdata));
    // RFC 2782: a target "." says that there is no such service.
    all.filter(|it| !it.target.is_empty() && it.target != "." && it.port != 0)
        .take(MAX_RECORDS)
        .collect()
}

/// RFC 2782: the lowest priority first; among equals each is drawn with a chance by its weight.
fn order(services: &mut Vec<Service>, mut random: impl FnMut() -> u32) {
    // Those of weight 0 in front, so that they are drawn hardly ever, and not never.
    services.sort_by_key(|service| (service.priority, service.weight != 0));
    let mut rest = std::mem::take(services);
    while let Some(first) = rest.first() {
        let priority = first.priority;
        let equal = rest.iter().take_while(|service| service.priority == priority);
        let weights: Vec<u32> = equal.map(|service| service.weight.into()).collect();
        let sum: u32 = weights.iter().sum();
        let drawn = random() % (sum + 1);
        let mut so_far = 0;
        let at = weights.iter().position(|weight| {
            so_far += weight;
            so_far >= drawn
        });
        services.push(rest.remove(at.unwrap_or(0)));
    }
}

/// Addresses of `name` in the text of `/etc/hosts`.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let mut found: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
        .take(MAX_RECORDS)
        .collect();
    found.sort_by_key(IpAddr::is_ipv4);
    found
}

/// Addresses behind `nameserver` in the text of a `resolv.conf`.
fn name_servers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| line.trim().strip_prefix("nameserver")?.trim().parse().ok();
    text.lines().filter_map(server).collect()
}

/// systemd-resolved on this host: its own queries carry no mark.
fn is_stub(server: IpAddr) -> bool {
    matches!(server, IpAddr::V4(v4) if [[127, 0, 0, 53], [127, 0, 0, 54]].contains(&v4.octets()))
}

#[cfg(test)]
mod tests;
