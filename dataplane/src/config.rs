//! What the dataplane is told: its sizes at start, then SAs, bindings, routes.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hearth_dpdk::CryptoError;
use hearth_wire::directory::DirectionKeys;
use hearth_wire::mh::TrafficSelector;
use hearth_wire::{MIPV6TLS_PORT, Scope, SeqNo, Spi, Suite};

/// A port, by its place in the list given to [`crate::Dataplane::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

/// Where mobile nodes reach the home agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// The home agent's IPv6 address, also the one that signalling names.
    pub ip6: Option<Ipv6Addr>,
    /// The home agent's IPv4 address.
    pub ip4: Option<Ipv4Addr>,
    /// UDP port, `mip6-port`; 7872 unless the deployment names another (RFC 6618 s.6.1).
    pub port: u16,
}

impl Service {
    /// Whether this is the home agent's address, of either family.
    pub(crate) fn is_at(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.ip4 == Some(v4),
            IpAddr::V6(v6) => self.ip6 == Some(v6),
        }
    }
}

/// A crypto device behind DPDK's cryptodev.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CryptoDeviceConfig {
    /// A virtual device and its arguments, which is made (`crypto_openssl0`), or the PCI address of
    /// a device that DPDK was started with.
    pub device: String,
    /// SAs that it holds at the same time, those in a grace period included. Each takes two
    /// sessions of 1 to 3 KiB out of DPDK's memory, at once. All others go by ipsec-mb.
    pub max_sas: u32,
}

/// Sizes and limits, fixed while the dataplane lives.
#[derive(Debug, Clone)]
pub struct Config {
    /// Number of workers; each is one core. An SA belongs to worker SPI mod `workers`.
    pub workers: usize,
    /// The lowest SPI that the HAC deals out to this home agent.
    pub spi_base: u32,
    /// SPIs from `spi_base` on. Address space is reserved for all, memory is used per live SA.
    pub max_sas: u32,
    /// Bindings at one time. One with several tunnels takes a place for each and one more, out of
    /// three times as many.
    pub max_bindings: u32,
    /// Mobile network prefixes at one time, of all bindings. Memory is used per prefix that there is.
    pub max_prefixes: u32,
    /// Routes at one time, of IPv4 and of IPv6 each, local addresses included.
    pub max_routes: u32,
    /// Neighbours at one time.
    pub max_neighbours: u32,
    /// Width of the replay window in packets: a power of two, 64 to 4096; at least 1024 unless
    /// memory is very short.
    pub replay_window: u32,
    /// Where mobile nodes reach the home agent.
    pub service: Service,
    /// Largest outer packet that is sent to a care-of address, in octets of IP; tunnel MTUs follow
    /// from it.
    pub path_mtu: u16,
    /// DSCP of outer packets that carry data, 0 to 63; `None`: that of the inner packet. ECN is the
    /// inner packet's in any case (RFC 6040), and signalling has CS6.
    pub dscp: Option<u8>,
    /// Keep polling at full speed when nothing happens: lowest latency, a whole core each.
    ///
    /// Otherwise a worker that finds nothing to do for 1000 turns sleeps between looks: 50 µs at a
    /// time at first, 250 µs after 100 ms of silence, 1 ms after a second. The first packet after
    /// a silence waits that much longer at most, and the kernel's timer slack on top (50 µs unless
    /// set otherwise); the packets behind it don't. A burst that breaks a silence waits in the
    /// port's receive queue meanwhile, which has to have room for it.
    pub busy_poll: bool,
    /// Let a worker that is loaded give the encryption and decryption of large packets to workers
    /// that have nothing to do, so that one mobile router is not held to one core. Order, sequence
    /// numbers and replay windows stay with the owner of the SA.
    pub share_crypto: bool,
    /// How long a packet may wait in a half-filled crypto batch under load, in microseconds of TSC.
    pub max_job_age_us: u32,
    /// The same for 3DES, in microseconds. Finishing a half-filled 3DES batch holds up everything
    /// else for hundreds of microseconds, so under load it should not happen often.
    pub max_triple_des_job_age_us: u32,
    /// 3DES packets that one worker takes per turn; some hundred more wait for later turns, so that
    /// they do not hold up everybody else.
    pub triple_des_budget: u16,
    /// Prefixes and their lengths that home addresses come from. Where no route as long or longer
    /// leads there, the home link is virtual, and a packet to an address without a binding is
    /// answered by ICMP (RFC 6275 s.10.3.1); else it is forwarded to the home link.
    pub home_prefixes: Vec<(IpAddr, u8)>,
    /// ICMP errors that one worker sends in a second at most; 0 for none (RFC 4443 s.2.4 (f)).
    /// As many ICMP errors about outer packets are looked at.
    pub icmp_errors_per_second: u32,
    /// ICMP errors to one address in a second at most, and in a burst.
    pub icmp_errors_per_peer: u32,
    /// How long a path MTU that an ICMP error told is believed, in seconds: 300 at least, 600 is
    /// recommended (RFC 8201 s.4).
    pub path_mtu_lifetime_s: u32,
    /// Lower the MSS of TCP connections through a tunnel to what it carries whole, both ways.
    pub mss_clamp: bool,
    /// Outer packets of which one worker keeps fragments at a time, 8 fragments each at most.
    /// Fewer where all workers' fragments would take more than a quarter of the packet buffers.
    pub reassembly_packets: u32,
    /// How long their fragments wait for the others, in milliseconds; 60 000 at most (RFC 8200
    /// s.4.5). They come one behind the other, if they come.
    pub reassembly_timeout_ms: u32,
    /// How long a PType 8 packet whose SPI is in the range, but not yet in the table, waits with
    /// control for its SA, in milliseconds; 0 where it is dropped at once. Some tens wait at
    /// a time at most, the newest.
    pub signalling_hold_ms: u32,
    /// Buffers for packets that came in several: reassembled, or larger than one of the pool's.
    /// Each has room for 16 000 octets.
    pub large_buffers: u32,
    /// A device that SAs go by whose suite it offers, instead of ipsec-mb on the worker's own core.
    pub crypto_device: Option<CryptoDeviceConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 1,
            spi_base: 1,
            max_sas: 65_536,
            max_bindings: 65_536,
            max_prefixes: 65_536,
            max_routes: 4096,
            max_neighbours: 4096,
            replay_window: 1024,
            service: Service { ip6: None, ip4: None, port: MIPV6TLS_PORT },
            path_mtu: 1500,
            dscp: None,
            busy_poll: false,
            share_crypto: true,
            max_job_age_us: 20,
            max_triple_des_job_age_us: 1000,
            triple_des_budget: 32,
            home_prefixes: Vec::new(),
            icmp_errors_per_second: 1000,
            icmp_errors_per_peer: 10,
            path_mtu_lifetime_s: 600,
            mss_clamp: false,
            reassembly_packets: 256,
            reassembly_timeout_ms: 2000,
            signalling_hold_ms: 500,
            large_buffers: 127,
            crypto_device: None,
        }
    }
}

/// Why the dataplane can't be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildError {
    /// A number in [`Config`] is 0 or out of its stated range; the field's name.
    Config(&'static str),
    /// There are no ports.
    NoPorts,
    /// A port has fewer transmit queues than there are workers; its place in the list.
    TxQueues(PortId),
    /// A port has no receive queue; its place in the list.
    RxQueues(PortId),
    /// Memory for the tables could not be reserved; which.
    Memory(&'static str),
    /// DPDK refused to make an object; which.
    Dpdk(&'static str),
    /// The crypto library can't run on this machine.
    Crypto,
    /// The crypto device can't be used.
    CryptoDevice(CryptoError),
    /// The operating system gives no random numbers.
    Random,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(field) => write!(f, "{field} is out of range"),
            Self::NoPorts => f.write_str("there are no ports"),
            Self::TxQueues(port) => {
                write!(f, "port {} has fewer transmit queues than there are workers", port.0)
            }
            Self::RxQueues(port) => write!(f, "port {} has no receive queue", port.0),
            Self::Memory(what) => write!(f, "no memory for {what}"),
            Self::Dpdk(what) => write!(f, "DPDK refused to make {what}"),
            Self::Crypto => f.write_str("ipsec-mb can't run on this machine"),
            Self::CryptoDevice(error) => write!(f, "{error}"),
            Self::Random => f.write_str("the operating system gives no random numbers"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Why a change to the tables was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableError {
    /// The SPI is outside `spi_base .. spi_base + max_sas`.
    SpiOutOfRange,
    /// There is an SA with this SPI already.
    SpiInUse,
    /// The SA that had this SPI is still being cleared: try again after a few reclaims.
    SpiDraining,
    /// A key's length is not the suite's.
    KeyLength,
    /// The first outbound sequence number lies beyond what is granted.
    OutboundGrant,
    /// No SA has this SPI.
    SpiUnknown,
    /// The table is full.
    Full,
    /// Local and remote address are not of one family, or not usable as such.
    Address,
    /// The IPv4 home address is bound under another IPv6 home address.
    Ipv4HomeAddressInUse,
    /// A prefix that can be nobody's mobile network: without a length, or not beyond its link.
    Prefix,
    /// A prefix is bound under another home address.
    PrefixInUse,
    /// No tunnel, more than 16 tunnels or flow rules, or several tunnels with no Binding ID, or with
    /// one.
    Tunnels,
    /// A prefix length is beyond its family's, or the port does not exist.
    Route,
    /// DPDK refused the change.
    Dpdk,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SpiOutOfRange => "the SPI is outside this home agent's range",
            Self::SpiInUse => "the SPI is in use",
            Self::SpiDraining => "the SA that had this SPI is still being cleared",
            Self::KeyLength => "a key's length is not the suite's",
            Self::OutboundGrant => "the first outbound sequence number is not granted",
            Self::SpiUnknown => "no SA has this SPI",
            Self::Full => "the table is full",
            Self::Address => "local and remote address do not make a tunnel",
            Self::Ipv4HomeAddressInUse => "the IPv4 home address is bound elsewhere",
            Self::Prefix => "the prefix can't be a mobile network's",
            Self::PrefixInUse => "the prefix is bound elsewhere",
            Self::Tunnels => "these tunnels and flow rules do not make a binding",
            Self::Route => "the prefix or the port of a route does not exist",
            Self::Dpdk => "DPDK refused the change",
        })
    }
}

impl std::error::Error for TableError {}

/// An SA as the HAC issued it.
#[derive(Debug, Clone, Copy)]
pub struct SaParameters<'a> {
    /// Its SPI.
    pub spi: Spi,
    /// The ciphersuite.
    pub suite: Suite,
    /// What it protects (`mip6-sas`).
    pub scope: Scope,
    /// Keys for packets from MN to HA.
    pub mn_to_ha: &'a DirectionKeys,
    /// Keys for packets from HA to MN.
    pub ha_to_mn: &'a DirectionKeys,
    /// The first outbound sequence number: 0 for a new SA, and after a restart the first beyond
    /// what was granted before.
    pub next_outbound: SeqNo,
    /// Units of 65,536 outbound numbers, counted from 0, that may be drawn:
    /// [`FromWorker::NearGrant`](crate::FromWorker::NearGrant) says when half of each is used, and
    /// [`TableWriter::grant`](crate::TableWriter::grant) adds more. 0 lets nothing be sent. No grant
    /// covers the last 65,536 numbers of an SA, which are never used.
    pub grant: u16,
    /// Inbound numbers below this one count as seen: 0 for a new SA.
    pub inbound_floor: u32,
    /// AES-GCM's part of the IV that has never been used before under these keys; nothing to
    /// the other suites.
    pub epoch: u32,
}

/// An SA as it was before a restart.
#[derive(Debug, Clone, Copy)]
pub struct RestoredSa<'a> {
    /// What it is, and where its numbers go on.
    pub parameters: SaParameters<'a>,
    /// Inbound octets that it has carried, as in [`SaUsage`].
    pub in_octets: u64,
    /// Outbound octets that it has carried, as in [`SaUsage`].
    pub out_octets: u64,
}

/// A mobile node's binding: its addresses, and the ways to it.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The IPv6 home address: the binding's name.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address, if one is bound too.
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// Where the home address is defended on a home link; `None` where it is routed.
    pub defended: Option<Defended>,
    /// Mobile network prefixes of either family and their lengths (RFC 3963 s.6.4); host bits are
    /// ignored.
    pub prefixes: &'a [(IpAddr, u8)],
    /// The ways to the mobile node, the preferred one first; at least one.
    pub tunnels: &'a [Tunnel],
    /// Which packets go another way than the preferred one: the first rule that matches counts
    /// (RFC 6089 s.5.3.6).
    pub flows: &'a [FlowRule<'a>],
}

/// A mobile node that listens to a multicast group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its home address.
    pub home_address: Ipv6Addr,
    /// The sources that it listens to, growing (RFC 3810 s.4.2, INCLUDE); `None`: all.
    pub sources: Option<Box<[IpAddr]>>,
}

impl GroupMember {
    /// Whether it is to have what this source sends.
    pub(crate) fn wants(&self, source: IpAddr) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.binary_search(&source).is_ok())
    }
}

impl From<Ipv6Addr> for GroupMember {
    /// One that listens to all sources.
    fn from(home_address: Ipv6Addr) -> Self {
        Self { home_address, sources: None }
    }
}

/// A home address that is defended on a home link (RFC 6275 s.10.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defended {
    /// The port that the home link is on.
    pub port: PortId,
    /// The link-local address of the same interface identifier, where it is defended too.
    pub link_local: Option<Ipv6Addr>,
    /// Whether it is advertised as a router's (RFC 3963 s.6.2).
    pub router: bool,
}

/// One way to a mobile node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// Its Binding ID, by which flow rules name it; 0 where the mobile node has one care-of address
    /// and no Binding ID (RFC 5648 s.4.1).
    pub bid: u16,
    /// The SA under which data is sent.
    pub spi: Spi,
    /// Home agent address and service port that the mobile node uses.
    pub local: SocketAddr,
    /// Care-of address and observed source port.
    pub remote: SocketAddr,
}

/// Which packets go by which tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowRule<'a> {
    /// The packets.
    pub selector: TrafficSelector,
    /// Binding IDs of [`Binding::tunnels`]: each of several gets a copy, the first four at most.
    /// Those that no tunnel has do not count, and a rule without any that counts is skipped.
    pub tunnels: &'a [u16],
}

/// A route of the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Network and prefix length; host bits are ignored.
    pub prefix: (IpAddr, u8),
    /// The port it leaves by.
    pub port: PortId,
    /// The next hop; `None` where destinations are on the link.
    pub gateway: Option<IpAddr>,
}

/// What an SA has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaUsage {
    /// Inbound packets that passed the ICV and the replay window.
    pub in_packets: u64,
    /// Their octets, counted as UDP payload.
    pub in_octets: u64,
    /// Outbound packets.
    pub out_packets: u64,
    /// Their octets, counted as UDP payload.
    pub out_octets: u64,
    /// The next outbound sequence number; 0xffff_0000 when all are used.
    pub next_outbound: u64,
    /// The highest sequence number accepted, or counted as seen since a restart.
    pub highest_inbound: Option<SeqNo>,
}
