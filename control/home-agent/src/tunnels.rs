//! A binding as the dataplane carries it.
//!
//! Read first: RFC 6275 s.10.4; RFC 3963 s.6.4, 6.5; RFC 5648 s.6; RFC 6089 s.5.3.6; readings R-27,
//!

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hearth_wire::Spi;
use hearth_wire::mh::TrafficSelector;
use ipnet::IpNet;

use crate::HomeAgent;
use crate::endpoint::Endpoint;
use crate::event::Action;

/// Everything that is carried for one home address, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnels {
    /// The home address.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address, where one is bound as well.
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// Where the home address is defended on a home link; `None` where it is routed.
    pub link: Option<Defended>,
    /// Mobile network prefixes of both families, growing; they overlap neither each other nor those
    /// of another binding.
    pub prefixes: Vec<IpNet>,
    /// Where packets may go, the one to be preferred first; never empty.
    pub tunnels: Vec<Tunnel>,
    /// Which packets go elsewhere than by the first tunnel, by growing priority: the first rule
    /// that matches counts.
    pub flows: Vec<FlowRule>,
    /// The SAs from which data of this binding is accepted: all of that mobile node that are alive
    /// growing.
    pub carriers: Vec<Spi>,
}

/// A home address that is defended on a home link (RFC 6275 s.10.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defended {
    /// The home link.
    pub link: LinkId,
    /// The link-local address of the same interface identifier, where L was set.
    pub link_local: Option<Ipv6Addr>,
    /// Advertise it as a router's (RFC 3963 s.6.2).
    pub router: bool,
}

/// A home link, by the number of the port that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// One way to a mobile node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// Binding ID; 0 where the mobile node has one care-of address and no Binding ID
    /// (RFC 5648 s.4.3).
    pub bid: u16,
    /// BID-PRI, the lower the earlier used (RFC 6089 s.4.1); 128 where there is none.
    pub priority: u8,
    /// The SA that protects packets to the mobile node.
    pub spi: Spi,
    /// Outer source of packets to the mobile node.
    pub local: SocketAddr,
    /// Outer destination: the registered care-of address, and the port of the last accepted Binding
    /// Update for it.
    pub remote: SocketAddr,
}

impl Tunnel {
    /// Priority of a care-of address without a BID-PRI: behind all that have one.
    pub const NO_PRIORITY: u8 = 128;
}

/// A flow binding that is active (RFC 6089 s.4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRule {
    /// FID-PRI, the lower the earlier matched; no two rules of a binding have the same.
    pub priority: u16,
    /// Which packets.
    pub selector: TrafficSelector,
    /// Binding IDs of [`Tunnels::tunnels`], at least one: each gets a copy (RFC 6089 s.5.3.6).
    pub tunnels: Vec<u16>,
}

impl HomeAgent {
    /// Tells the dataplane the binding of `home_address`, if there is one, as a whole.
    pub(crate) fn rebind(&self, home_address: Ipv6Addr, out: &mut Vec<Action>) {
        let Some(binding) = self.cache.get(home_address) else { return };
        let Some(sa) = self.sas.at(binding.sa) else { return };
        let tunnel = |(bid, priority, local, remote): (u16, u8, Endpoint, Endpoint)| Tunnel {
            bid,
            priority,
            spi: sa.spi,
            local: local.into(),
            remote: remote.into(),
        };
        out.push(Action::Bind(Box::new(Tunnels {
            home_address,
            ipv4_home_address: binding.ipv4_home_address,
            link: self.defended(binding),
            prefixes: binding.prefixes().to_vec(),
            tunnels: binding.ways().map(tunnel).collect(),
            flows: binding.flow_rules().collect(),
            carriers: self.sas.carriers(binding.node, home_address),
        })));
    }
}
