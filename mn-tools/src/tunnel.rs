//! The data path: packets between the TUN and the sockets of the paths.
//!
//! Read first: RFC 6618 s.6; readings R-22 to R-28.
//!
//! ```text
//!   TUN  -> uplink   -> the socket that registration chose (a thread for each queue)
//!   TUN  <- downlink <- every open socket (a thread each)
//!                |
//!                +-> Mobility Headers to the control thread
//! ```
//!
//! With route optimisation packets to some correspondents go around the home agent: `direct`.
//!
//! With offloads the TUN hands over, and takes, several packets of a stream in one piece.
//!
//! The control thread replaces [`State`] as a whole; the threads look at its version before each
//! packet and take the new one when it has changed.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hearth_wire::Spi;
use hearth_wire::ip::{Ipv4Header, Ipv6Header};
use ipnet::Ipv6Net;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::association::SecurityAssociation;
use crate::flows::{self, FlowRule};
use crate::route_optimisation::{By, IcmpError};

mod counters;
mod datagrams;
mod direct;
mod downlink;
mod ecn;
mod gro;
mod gso;
pub(crate) mod open;
mod threads;
mod uplink;

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod tests;

pub use counters::{Counters, DropReason};
pub use datagrams::Receiver;
pub use direct::{Correspondents, Sockets};
pub use downlink::Downlink;
pub use threads::Worker;

/// Room for any packet that a TUN or a socket can hand over, and a frame around it.
const BUFFER: usize = 65536 + 256;

/// What the data path tells the control thread.
#[derive(Debug)]
pub enum Event {
    /// The payload of a PType 8 packet, its ICV checked and its number taken.
    Signalling {
        /// The SA.
        sa: Arc<SecurityAssociation>,
        /// What the payload begins with.
        next_header: u8,
        /// Extension headers and Mobility Header.
        payload: Vec<u8>,
    },
    /// This SA reached a limit of R-23.
    Worn(Spi),
    /// A packet goes to a correspondent that is wanted and not known.
    Correspondent(Ipv6Addr),
    /// A Mobility Header of a correspondent's.
    Mobility {
        /// The correspondent.
        from: Ipv6Addr,
        /// Our home address or care-of address.
        to: Ipv6Addr,
        /// The way that it came.
        by: By,
        /// The Mobility Header.
        header: Vec<u8>,
    },
    /// An ICMPv6 error that came outside the tunnel.
    Icmp(IcmpError),
}

/// A way for uplink data.
#[derive(Debug, Clone)]
pub struct Carry {
    /// Its Binding ID; 0 without.
    pub bid: u16,
    /// The socket of the path.
    pub socket: Arc<UdpSocket>,
    /// The SA.
    pub sa: Arc<SecurityAssociation>,
}

/// What the threads go by.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// SAs that are listened to.
    pub associations: Vec<Arc<SecurityAssociation>>,
    /// Where uplink data can go, the most wanted first.
    pub ways: Vec<Carry>,
    /// What prefers another one.
    pub flows: Vec<FlowRule>,
    /// Home addresses: with the mobile networks the only inner addresses that are ours (R-27).
    pub homes: Vec<IpAddr>,
    /// Mobile network prefixes.
    pub networks: Vec<Ipv6Net>,
    /// Correspondents that are spoken to directly.
    pub correspondents: Correspondents,
}

impl State {
    /// Where a packet from us goes.
    fn way(&self, packet: &[u8]) -> Option<&Carry> {
        let first = self.ways.first()?;
        if self.ways.len() == 1 || self.flows.is_empty() {
            return Some(first);
        }
        let of = |bid| self.ways.iter().find(|way| way.bid == bid);
        flows::preferred(&self.flows, packet, |bid| of(bid).is_some()).map_or(Some(first), of)
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        let in_network = |address: Ipv6Addr| self.networks.iter().any(|net| net.contains(&address));
        self.homes.contains(&address) || matches!(address, IpAddr::V6(v6) if in_network(v6))
    }
}

/// The tunnel, shared by all threads.
pub struct Tunnel {
    state: RwLock<Arc<State>>,
    version: AtomicU64,
    /// Packets, octets and drops.
    pub counters: Counters,
    tell: Box<dyn Fn(Event) + Send + Sync>,
}

impl Tunnel {
    /// An empty tunnel. `tell` gets what the control thread must know; it must not wait.
    #[must_use]
    pub fn new(tell: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            state: RwLock::default(),
            version: AtomicU64::new(0),
            counters: Counters::default(),
            tell: Box::new(tell),
        }
    }

    /// Replaces what the threads go by.
    pub fn publish(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn tell(&self, event: Event) {
        (self.tell)(event);
    }
}

/// One thread's copy of [`State`].
struct View {
    tunnel: Arc<Tunnel>,
    version: u64,
    state: Arc<State>,
}

impl View {
    fn new(tunnel: Arc<Tunnel>) -> Self {
        Self { tunnel, version: u64::MAX, state: Arc::default() }
    }

    fn state(&mut self) -> &Arc<State> {
        let version = self.tunnel.version.load(Ordering::Acquire);
        if version != self.version {
            let state = self.tunnel.state.read().unwrap_or_else(PoisonError::into_inner);
            self.state = Arc::clone(&state);
            self.version = version;
        }
        &self.state
    }
}

/// Unpredictable IVs (R-20) without a system call each.
pub struct IvSource(ChaCha20Rng);

impl IvSource {
    /// Seeded by the operating system.
    ///
    /// # Errors
    /// Where its generator fails.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        Ok(Self(ChaCha20Rng::from_seed(*seed)))
    }

    /// The next one.
    pub fn draw(&mut self) -> [u8; 16] {
        let mut iv = [0; 16];
        self.0.fill_bytes(&mut iv);
        iv
    }
}

/// An inner packet, as far as the tunnel looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inner {
    /// Next Header that announces it: 4 or 41.
    next_header: u8,
    source: IpAddr,
    destination: IpAddr,
    /// Its length by its own header.
    len: usize,
    /// DSCP and ECN.
    class: u8,
    /// The MH Type of an IPv6 packet that is a Mobility Header.
    mh_type: Option<u8>,
}

/// Next Header of a tunnelled IPv4 packet.
const IPV4: u8 = 4;
/// Next Header of a tunnelled IPv6 packet.
const IPV6: u8 = 41;

impl Inner {
    /// Reads the header; `None` where this is no whole IP packet.
    fn read(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let (header, payload) = Ipv4Header::parse(packet).ok()?;
                Some(Self {
                    next_header: IPV4,
                    source: header.source().into(),
                    destination: header.destination().into(),
                    len: header.header_len() + payload.len(),
                    class: *packet.get(1)?,
                    mh_type: None,
                })
            }
            6 => {
                let (header, payload) = Ipv6Header::parse(packet).ok()?;
                let mh_type = payload.get(2).copied();
                let is_mh = packet.get(6) == Some(&hearth_wire::mh::PROTO);
                Some(Self {
                    next_header: IPV6,
                    source: header.source().into(),
                    destination: header.destination().into(),
                    len: size_of::<Ipv6Header>() + payload.len(),
                    class: packet.first()? << 4 | packet.get(1)? >> 4,
                    mh_type: mh_type.filter(|_| is_mh),
                })
            }
            _ => None,
        }
    }
}
