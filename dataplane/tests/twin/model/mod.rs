//! The naive twin: what a home agent does to one packet, written from RFC 6618 s.6, RFC 6275
//! s.10.4, RFC 6040, RFC 8200, RFC 791 and the readings, with maps of the standard
//! library and portable ciphers. It shares no code with the dataplane and has no batches: a packet
//! goes in, a verdict comes out.

mod control;
mod envelope;
pub mod flows;
mod forward;
pub mod fragment;
mod inner;
mod ip;
mod link;
pub mod sent;
mod window;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hearth_dataplane::{DropReason, PortId, Route};
use hearth_wire::{Scope, Spi, Suite};

use crate::codec::Keys;
use crate::rig::Registration;
pub use ip::transport_checksum;
pub use window::Window;

/// Where the dataplane differs, and may.
pub mod known {
    /// An overlap is seen when as many octets have come as the packet has, or later than that; so
    /// nothing here depends on fragments that wait.
    pub const OVERLAPS_ARE_SEEN_LATE: bool = true;
}

/// Whose MAC address the kernel sees behind a TAP.
const AWAY: [u8; 6] = *b"\x02heart";

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Drop(DropReason),
    /// Several things are wrong with it, and nothing says which is seen first; or its ICV is wrong
    /// and its number was used by a packet of the same burst, so that it depends on how the burst
    /// is cut.
    DropOneOf(Vec<DropReason>),
    Out(Out),
    /// Several ends, as of a packet and its fragments; or none yet.
    All(Vec<Verdict>),
}

impl Verdict {
    /// Every end by itself.
    pub fn ends(&self) -> Vec<&Self> {
        match self {
            Self::All(several) => several.iter().flat_map(Self::ends).collect(),
            one => vec![one],
        }
    }
}

/// Where a packet came out, and what came out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Out {
    pub way: Way,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// With destination and source MAC address.
    Wire {
        port: PortId,
        to: [u8; 6],
        from: [u8; 6],
    },
    /// A whole Ethernet frame for the kernel, or as the kernel wrote it.
    Host {
        port: PortId,
    },
    /// As it is, Ethernet header included.
    Untouched {
        port: PortId,
    },
    Unresolved {
        port: PortId,
        next_hop: IpAddr,
    },
    /// A packet out of a tunnel that is for the home agent itself.
    ForControl {
        spi: u32,
        home_address: Ipv6Addr,
    },
    Signalling {
        spi: u32,
        remote: SocketAddr,
        local: SocketAddr,
        next_header: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    Octets(Vec<u8>),
    /// What the home agent sends to a care-of address, without what it draws: sequence number, IV
    /// and IPv4 identification.
    Envelope {
        local: SocketAddr,
        remote: SocketAddr,
        hop_limit: u8,
        class: u8,
        ptype: u8,
        spi: u32,
        next_header: u8,
        /// An envelope again, where the mobile node is behind a mobile router.
        payload: Box<Content>,
    },
}

/// Outbound numbers of an SA that can be granted.
pub const NUMBERS: u64 = 0xffff_0000;

pub struct Sa {
    pub suite: Suite,
    pub scope: Scope,
    pub up: Keys,
    pub down: Keys,
    pub window: Window,
    /// The window when the burst began, where it has moved since.
    pub window_before: Option<Window>,
    /// Numbers accepted since then.
    pub accepted: Vec<u32>,
    /// The next outbound number; [`NUMBERS`] when all are used.
    pub next_outbound: u64,
}

/// What the home agent knows.
#[derive(Default)]
pub struct World {
    pub macs: Vec<[u8; 6]>,
    pub mtu: usize,
    pub path_mtu: usize,
    /// DSCP of what carries data, where it is pinned.
    pub dscp: Option<u8>,
    pub service: HashMap<bool, IpAddr>,
    pub service_port: u16,
    pub local: Vec<IpAddr>,
    pub routes: Vec<Route>,
    pub neighbours: HashMap<(PortId, IpAddr), [u8; 6]>,
    pub sas: HashMap<u32, Sa>,
    pub bindings: HashMap<Ipv6Addr, Registration>,
    /// SPI to the binding whose data it carries.
    pub carriers: HashMap<u32, Ipv6Addr>,
    /// Scope and suite of the SA that made the binding.
    pub facts: HashMap<Ipv6Addr, (Scope, Suite)>,
    pub home4: HashMap<Ipv4Addr, Ipv6Addr>,
    /// Fragments of outer packets that wait for others, by what they have in common.
    pub pieces: HashMap<Vec<u8>, Vec<fragment::Piece>>,
    /// SPIs that signalling named and that are unknown.
    pub missing: Vec<u32>,
    /// Tunnels that the packet at hand came in.
    pub depth: u8,
    /// What the counters that are no drops should have counted.
    pub tally: Tally,
}

/// Packets by what became of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    pub uplink: u64,
    pub uplink_plain: u64,
    pub uplink_protected_under_scope_0: u64,
    pub downlink: u64,
    pub downlink_plain: u64,
    pub signalling_in: u64,
    pub signalling_out: u64,
    pub neighbour_answers: u64,
    pub unregistered_ptypes: [u64; 16],
}

impl World {
    /// A burst begins: everything before it has left.
    pub fn begin_burst(&mut self) {
        for sa in self.sas.values_mut() {
            sa.window_before = None;
            sa.accepted.clear();
        }
        self.missing.clear();
    }

    pub fn bind(&mut self, binding: Registration, carriers: &[Spi]) {
        self.unbind(binding.home_address);
        if let Some(home4) = binding.ipv4_home_address {
            self.home4.insert(home4, binding.home_address);
        }
        for spi in carriers.iter().chain(binding.tunnels.iter().map(|tunnel| &tunnel.spi)) {
            self.carriers.insert(spi.get(), binding.home_address);
        }
        let sa = &self.sas[&binding.tunnels[0].spi.get()];
        self.facts.insert(binding.home_address, (sa.scope, sa.suite));
        self.bindings.insert(binding.home_address, binding);
    }

    pub fn unbind(&mut self, home: Ipv6Addr) {
        self.bindings.remove(&home);
        self.carriers.retain(|_, carried| *carried != home);
        self.home4.retain(|_, bound| *bound != home);
    }

    /// The binding of a home address of either family.
    fn bound(&self, address: IpAddr) -> Option<&Registration> {
        match address {
            IpAddr::V6(v6) => self.bindings.get(&v6),
            IpAddr::V4(v4) => self.home4.get(&v4).and_then(|home| self.bindings.get(home)),
        }
    }

    /// The longest prefix that covers the address.
    fn route(&self, to: IpAddr) -> Option<&Route> {
        let covers = |route: &&Route| match (route.prefix.0, to) {
            (IpAddr::V4(net), IpAddr::V4(to)) => {
                (net.to_bits() ^ to.to_bits()).leading_zeros() >= route.prefix.1.into()
            }
            (IpAddr::V6(net), IpAddr::V6(to)) => {
                (net.to_bits() ^ to.to_bits()).leading_zeros() >= route.prefix.1.into()
            }
            _ => false,
        };
        self.routes.iter().filter(covers).max_by_key(|route| route.prefix.1)
    }

    /// A burst's packet from a wire.
    pub fn take_from_wire(&mut self, port: PortId, frame: &[u8]) -> Verdict {
        self.link(port, frame).unwrap_or_else(Verdict::Drop)
    }
}

/// A drop, where anything is wrong.
fn stopped(wrong: Vec<DropReason>) -> Option<Verdict> {
    match wrong[..] {
        [] => None,
        [reason] => Some(Verdict::Drop(reason)),
        _ => Some(Verdict::DropOneOf(wrong)),
    }
}

/// What most steps end in.
type Step = Result<Verdict, DropReason>;
