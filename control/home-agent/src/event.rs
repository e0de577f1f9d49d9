//! What comes in and what goes out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use hearth_wire::directory::{SaRecord, Services, SpiRange};
use hearth_wire::mh::Status;
use hearth_wire::{MobileNodeId, Scope, Spi, Suite};

use crate::link::LinkEvent;
use crate::operate::{Command, OperationNotice};
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::tunnels::{LinkId, Tunnels};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A watch of the SA directory begins: the records that follow replay it, as far as
    /// [`Event::WatchSynced`].
    WatchBegun,
    /// The replay is complete: SAs that were not replayed are dropped as if revoked.
    WatchSynced,
    /// The replay is complete as far as these SPIs go, which one of several HACs deals out: those of
    /// them that were not replayed are dropped as if revoked.
    SpisSynced(SpiRange),
    /// The HAC issued an SA. The caller installs the keys only where [`Action::InstallSa`] says so:
    /// a replayed record of an SA in use must not restart its replay window.
    SaIssued(SaInfo),
    /// The HAC revoked an SA.
    SaRevoked(Spi),
    /// An authentic PType 8 packet: the dataplane has checked sequence number, ICV and padding.
    Signalling(SignallingPacket<'a>),
    /// A sequence number or the octet count of an SA reached its limit in either direction,
    /// or comes nearer to its end and was told before: the mobile node has not heeded it.
    SequenceNearEnd(Spi),
    /// The operator wants the mobile node to fetch a new SA.
    ReinitWanted(Spi),
    /// The operator wants something; [`HomeAgent::operate`](crate::HomeAgent::operate) does the same
    /// and says what came of it.
    Operator(Command),
    /// Nothing came under this SA for a while (RFC 5847).
    Silent(Spi),
    /// The dataplane had no room for what [`Action::Bind`] said of this home address, and holds
    /// what it held before. To be told before the next event that is handed in with an empty list
    /// of actions; what follows in the same list of that binding, answer and notice, is not to be
    /// carried out.
    BindRefused(Ipv6Addr),
    /// A packet out of a tunnel that is for the home agent itself.
    Inner(InnerPacket<'a>),
    /// Something on a home link, or about one.
    Link(LinkEvent<'a>),
    /// Nothing but time: [`HomeAgent::tick`](crate::HomeAgent::tick) with a budget of its own.
    Tick,
}

/// An SA without its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaInfo {
    /// The SPI.
    pub spi: Spi,
    /// Whose SA it is.
    pub mn_id: MobileNodeId,
    /// The ciphersuite.
    pub suite: Suite,
    /// The scope (`mip6-sas`).
    pub scope: Scope,
    /// The home address of the SA; no other can be registered under it.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address, where one was assigned.
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// The HA's IPv6 address that was handed out: one end of the checksum of R-30.
    pub ha_address: Ipv6Addr,
    /// The instant at which the SA ends, tolerance 0; see
    /// [`WallClock`](crate::WallClock).
    pub validity_end: Timestamp,
    /// Number of the issue for this mn-id; a higher one is newer.
    pub generation: u64,
    /// What the subscriber may beyond a home address; a record that is replayed may have others.
    pub services: Services,
}

impl SaInfo {
    /// The SA of a record, its end moved onto the caller's line of time.
    #[must_use]
    pub fn from_record(record: &SaRecord, validity_end: Timestamp) -> Self {
        Self {
            spi: record.spi,
            mn_id: record.mn_id.clone(),
            suite: record.suite,
            scope: record.scope,
            home_address: record.home_address,
            ipv4_home_address: record.ipv4_home_address,
            ha_address: record.ha_address,
            validity_end,
            generation: record.generation,
            services: record.services.clone(),
        }
    }
}

/// An authentic PType 8 packet, decrypted, its padding taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignallingPacket<'a> {
    /// The SA that authenticated it.
    pub spi: Spi,
    /// Outer source address and port.
    pub remote: SocketAddr,
    /// Outer destination address and port: an HA address and the service port.
    pub local: SocketAddr,
    /// Next Header of the trailer: names the first header in `payload`.
    pub next_header: u8,
    /// Extension headers and the Mobility Header.
    pub payload: &'a [u8],
}

/// A packet that came out of a mobile node's tunnel and is for the home agent itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerPacket<'a> {
    /// The SA that it came under.
    pub spi: Spi,
    /// The home address of the binding that the SA belongs to.
    pub home_address: Ipv6Addr,
    /// The whole inner packet.
    pub packet: &'a [u8],
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Protect and send a PType 8 packet.
    SendSignalling {
        /// The SA to protect it with.
        spi: Spi,
        /// Outer source address and port.
        local: SocketAddr,
        /// Outer destination address and port.
        remote: SocketAddr,
        /// Next Header of the trailer.
        next_header: u8,
        /// Extension headers and the Mobility Header.
        payload: Vec<u8>,
    },
    /// Send an IPv6 packet to a bound home address as if it had come from the home network: an
    /// ICMPv6 error.
    SendData {
        /// The home address, which is the packet's destination.
        home_address: Ipv6Addr,
        /// The whole packet.
        packet: Vec<u8>,
    },
    /// Install a binding, or replace the one of the same home address as a whole.
    Bind(Box<Tunnels>),
    /// Remove a binding, IPv4 home address included.
    Unbind {
        /// The home address.
        home_address: Ipv6Addr,
    },
    /// Install the keys of the SA of the [`Event::SaIssued`] at hand: it is new here.
    InstallSa(Spi),
    /// Forget an SA: nothing is accepted or sent under it any more.
    RemoveSa(Spi),
    /// Send an Ethernet frame on a home link as it is.
    Frame {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Send an IPv6 packet as any other that the box sends: to whom there is no binding.
    SendPlain {
        /// The whole packet.
        packet: Vec<u8>,
    },
    /// These bindings, by home address, get a copy of every packet to a multicast group: all that
    /// do, growing; none: the group is nobody's any more (RFC 6275 s.10.4.2).
    Group {
        /// The group, of either family.
        group: IpAddr,
        /// Its members.
        members: Vec<Ipv6Addr>,
        /// Those of them that listen to some sources only, growing, and to which, growing
        /// (RFC 3810 s.4.2, INCLUDE).
        only: Vec<(Ipv6Addr, Vec<IpAddr>)>,
    },
    /// Something that an operator may want to read.
    Notice(Notice),
    /// A packet was discarded without an answer; [`HomeAgent::counters`] has counted it already.
    ///
    /// [`HomeAgent::counters`]: crate::HomeAgent::counters
    Count(Refusal),
}

/// An event for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A binding was made.
    Registered {
        /// Whose.
        mn_id: MobileNodeId,
        /// The home address.
        home_address: Ipv6Addr,
        /// Care-of address and port.
        care_of: SocketAddr,
        /// The lifetime granted.
        lifetime: Duration,
    },
    /// A binding was refreshed, its care-of address and port unchanged.
    Refreshed {
        /// The home address.
        home_address: Ipv6Addr,
        /// The lifetime granted.
        lifetime: Duration,
    },
    /// A binding moved to another care-of address or port.
    HandedOver {
        /// The home address.
        home_address: Ipv6Addr,
        /// Care-of address and port before.
        from: SocketAddr,
        /// Care-of address and port now.
        to: SocketAddr,
        /// The lifetime granted.
        lifetime: Duration,
    },
    /// The mobile node ended its binding.
    Deregistered {
        /// The home address.
        home_address: Ipv6Addr,
    },
    /// One of several care-of addresses is gone, at the end of its lifetime, de-registered, or because
    /// the subscriber may have fewer; the binding has others.
    CareOfEnded {
        /// The home address.
        home_address: Ipv6Addr,
        /// Its Binding ID.
        bid: u16,
    },
    /// The subscriber of a binding has fewer mobile network prefixes than before, and so has the
    /// binding.
    PrefixesWithdrawn {
        /// The home address.
        home_address: Ipv6Addr,
        /// How many are not forwarded any more.
        gone: usize,
    },
    /// The subscriber of a binding may have fewer flow bindings than before, and so has the binding.
    FlowsWithdrawn {
        /// The home address.
        home_address: Ipv6Addr,
        /// How many are not matched any more.
        gone: usize,
    },
    /// A mobile node moves its care-of address more often than it may: the Binding Update was
    /// refused (RFC 5555 s.5).
    MovesTooOften {
        /// Whose.
        mn_id: MobileNodeId,
        /// The home address.
        home_address: Ipv6Addr,
        /// The care-of address that was not registered.
        care_of: SocketAddr,
    },
    /// A binding's lifetime ended.
    Expired {
        /// The home address.
        home_address: Ipv6Addr,
    },
    /// A binding ended because its SA did.
    EndedWithSa {
        /// The home address.
        home_address: Ipv6Addr,
        /// The SA.
        spi: Spi,
    },
    /// A Binding Update was refused by an answer.
    Refused {
        /// Whose.
        mn_id: MobileNodeId,
        /// The home address of its SA.
        home_address: Ipv6Addr,
        /// The status in the answer.
        status: Status,
    },
    /// A Binding Update under one SA named another home address than that SA's own.
    ForeignHomeAddress {
        /// Whose SA.
        mn_id: MobileNodeId,
        /// The SA.
        spi: Spi,
        /// The home address named.
        claimed: Ipv6Addr,
        /// Outer source of the packet.
        remote: SocketAddr,
    },
    /// A home address is in the SAs of two mobile nodes, and the other one has it bound.
    HomeAddressTaken {
        /// Who was refused it.
        mn_id: MobileNodeId,
        /// The home address, of either family.
        home_address: IpAddr,
    },
    /// Of a command, or of a message that was sent of the home agent's own accord.
    Operation(OperationNotice),
    /// A registration was refused because somebody else on the home link has an address of it.
    Duplicate {
        /// Who was refused.
        mn_id: MobileNodeId,
        /// The address, of either family.
        address: IpAddr,
        /// Who has it.
        mac: [u8; 6],
    },
    /// Somebody else on the home link claims the address of a mobile node that is away.
    AddressContested {
        /// The address, of either family.
        address: IpAddr,
        /// Who claims it.
        mac: [u8; 6],
    },
    /// An SA ended.
    SaEnded {
        /// The SA.
        spi: Spi,
        /// Why.
        why: SaEnd,
    },
}

/// Why an SA ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaEnd {
    /// Its validity ended.
    Validity,
    /// Revoked by the HAC, or gone from its directory.
    Revoked,
    /// The grace time behind a newer SA ended.
    Superseded,
    /// The mobile node has too many SAs.
    TooMany,
}
