//! Control's end of the rings: packets for control, and packets from it.
//!
//! Workers never wait for control: what does not fit into a ring is dropped and counted. Signalling
//! has a ring of its own, so that a flood of host packets does not delay registrations.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use hearth_dpdk::{Burst, Mbuf, Mempool, RingConsumer, RingProducer};
use hearth_wire::Spi;

use crate::capture::{CaptureFile, CaptureProgress, CaptureReader, CaptureStage, Captured};
use crate::config::PortId;
use crate::contests::Contest;
use crate::filter::Filter;
use crate::hints::Hinted;
use crate::layout::{ETHERNET_LEN, Ip, ethertype};
use crate::missing::HeldForSa;
use crate::note::Note;
use crate::trace::{Step, TraceProgress, TraceReader};
use crate::watch::Shared;

/// A PType 8 packet that passed every check of R-24 (to control): its sender holds the SA's keys,
/// and the number was fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignallingPacket<'a> {
    /// The SA.
    pub spi: Spi,
    /// Outer source address and port.
    pub remote: SocketAddr,
    /// The service address and port it was sent to.
    pub local: SocketAddr,
    /// What `payload` starts with; an IPv6 extension header or the Mobility Header.
    pub next_header: u8,
    /// The decrypted content without padding and trailer.
    pub payload: &'a [u8],
    /// Destination and source of the IPv6 frame that it came in. Where it came another way, out of a
    /// tunnel or in fragments, there may be none, or octets that say nothing: only a destination
    /// that is a port's own address makes the source worth a look.
    pub frame: Option<LinkEnds>,
}

/// MAC addresses of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkEnds {
    /// Where it was sent to.
    pub destination: [u8; 6],
    /// Who sent it.
    pub source: [u8; 6],
}

impl LinkEnds {
    /// Of the frame whose header was cut off in front of a packet.
    fn of(packet: &mut Mbuf) -> Option<Self> {
        let header = *packet.prepend(ETHERNET_LEN)?.first_chunk::<ETHERNET_LEN>()?;
        packet.adj(ETHERNET_LEN)?;
        let [a, b, c, d, e, f, source @ .., high, low] = header;
        let is_unicast = source[0] & 1 == 0;
        (is_unicast && [high, low] == ethertype::IPV6)
            .then_some(Self { destination: [a, b, c, d, e, f], source })
    }
}

/// A packet whose next hop has no MAC address yet. Give it back with [`ControlPort::resend`] or
/// [`ControlPort::unreachable`]; what is only dropped is counted by nobody.
#[derive(Debug)]
pub struct HeldPacket(Mbuf);

impl HeldPacket {
    /// The IP packet.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        self.0.data()
    }
}

/// What a worker hands to control.
#[derive(Debug)]
pub enum FromWorker<'a> {
    /// Signalling from a mobile node.
    Signalling(SignallingPacket<'a>),
    /// An Ethernet frame for the kernel, to be written to the TAP of this port.
    Host {
        /// The port.
        port: PortId,
        /// The frame.
        frame: &'a [u8],
    },
    /// A neighbour has to be resolved before this packet can leave.
    Unresolved {
        /// The port it would leave by.
        port: PortId,
        /// The neighbour.
        next_hop: IpAddr,
        /// The packet, from its IP header on.
        packet: HeldPacket,
    },
    /// A PType 8 packet named an SPI that is not in the table. Told at most once per worker and
    /// poll. The packet goes on by itself if its SA comes soon (`signalling_hold_ms` of
    /// [`crate::Config`]), else it is dropped.
    UnknownSpi(Spi),
    /// The SA has used half of a unit of its outbound numbers, or has none left: it needs a
    /// [`TableWriter::grant`](crate::TableWriter::grant).
    NearGrant(Spi),
    /// A packet out of a tunnel that is for the home agent itself: a listener report or IGMP
    /// membership report, or a Mobile Prefix Solicitation. Its source is an address of the mobile
    /// node's; nothing else of it has been checked.
    Inner {
        /// The SA that it came under, or that its sender's data is sent under (PType 0).
        spi: Spi,
        /// The home address of the binding.
        home_address: Ipv6Addr,
        /// The packet, from its IP header on.
        packet: &'a [u8],
    },
    /// Somebody else on a link uses an address that is defended there
    /// ([`Defended`](crate::Defended)), or asks for it in order to use it. Told of an address once
    /// a second and worker at most. What is said of other addresses is in the kernel's frames.
    Contested {
        /// The port that the link is on.
        port: PortId,
        /// The address, of either family.
        address: IpAddr,
        /// Who.
        mac: [u8; 6],
        /// It asks: duplicate address detection, or an ARP Probe.
        probing: bool,
    },
    /// An ICMPv6 packet to one of the addresses of
    /// [`TableWriter::set_anycast`](crate::TableWriter::set_anycast): a Home Agent Address Discovery
    /// Request by its type. Nothing else has been checked.
    HomeAgentDiscovery {
        /// The packet, from its IPv6 header on.
        packet: &'a [u8],
    },
    /// A packet to the box itself, not out of a tunnel and not to the service port, that has a Home
    /// Address option of which there is no binding with this care-of address (RFC 6275 s.9.3.1).
    /// There are not many of them in a second.
    PlainHomeAddress {
        /// Its source.
        from: Ipv6Addr,
        /// Its destination.
        to: Ipv6Addr,
        /// The address in the option.
        home_address: Ipv6Addr,
    },
}

/// Why a packet could not be sent. It is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlError {
    /// The mempool is empty.
    NoBuffer,
    /// The packet does not fit into one buffer.
    TooLarge,
    /// The worker does not keep up.
    RingFull,
    /// The capture file can't be written.
    CaptureFile,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBuffer => "no packet buffer is free",
            Self::TooLarge => "the packet is larger than a buffer",
            Self::RingFull => "the worker's ring is full",
            Self::CaptureFile => "the capture file can't be written",
        })
    }
}

impl std::error::Error for ControlError {}

/// Control's end of the rings.
pub struct ControlPort {
    pool: Mempool,
    to_workers: Vec<RingProducer>,
    signalling: RingConsumer,
    host: RingConsumer,
    batch: Burst<32>,
    held: HeldForSa,
    hinted: Hinted,
    watched: Arc<Shared>,
    trace: TraceReader,
    capture: CaptureReader,
}

impl fmt::Debug for ControlPort {
    /// The tables it looks at hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPort").finish_non_exhaustive()
    }
}

/// Its ends of the rings.
pub(crate) struct ControlRings {
    pub(crate) to_workers: Vec<RingProducer>,
    pub(crate) signalling: RingConsumer,
    pub(crate) host: RingConsumer,
}

/// What it is made of.
pub(crate) struct ControlPortParts {
    pub(crate) pool: Mempool,
    pub(crate) rings: ControlRings,
    pub(crate) held: HeldForSa,
    pub(crate) hinted: Hinted,
    pub(crate) watched: Arc<Shared>,
    pub(crate) capture: CaptureReader,
}

impl ControlPort {
    pub(crate) fn new(parts: ControlPortParts) -> Self {
        let trace = TraceReader::new(Arc::clone(&parts.watched));
        let ControlPortParts { pool, rings, held, hinted, watched, capture } = parts;
        let ControlRings { to_workers, signalling, host } = rings;
        let batch = Burst::new();
        Self { pool, to_workers, signalling, host, batch, held, hinted, watched, trace, capture }
    }

    /// Follows the next `packets` packets that `filter` means through the workers' stages. A trace
    /// that was on ends.
    pub fn start_trace(&mut self, filter: &Filter, packets: u32) {
        self.watched.set_trace(0);
        let generation = self.trace.begin(packets);
        self.watched.trace.filter.set(filter);
        self.watched.set_trace(generation);
    }

    /// Changes which packets the trace is about: a mobile node has a new SA or another binding.
    pub fn aim_trace(&mut self, filter: &Filter) {
        self.watched.trace.filter.set(filter);
    }

    /// Gives up to `max` of the steps that workers have noted to `each`, in the order of each
    /// packet's way. Never waits.
    pub fn trace_steps(&mut self, max: usize, each: impl FnMut(Step)) -> TraceProgress {
        self.trace.read(max, each)
    }

    /// Ends the trace; `each` gets what is left of it.
    pub fn stop_trace(&mut self, each: impl FnMut(Step)) -> TraceProgress {
        self.watched.set_trace(0);
        self.trace.flush(each)
    }

    /// Copies the next `packets` packets that `filter` means at these stages. A capture that was
    /// on ends.
    ///
    /// # Errors
    /// [`ControlError::NoBuffer`] where there is no memory for the copies.
    pub fn start_capture(
        &mut self,
        stages: &[CaptureStage],
        filter: &Filter,
        packets: u64,
    ) -> Result<(), ControlError> {
        self.watched.set_capture(0);
        let stages = self.capture.begin(stages, packets)?;
        self.watched.capture.filter.set(filter);
        self.watched.set_capture(stages);
        Ok(())
    }

    /// Starts a pcapng file for the copies of the capture that was started. `application` and
    /// `comment` go into its header.
    ///
    /// # Errors
    /// [`ControlError::CaptureFile`]; [`ControlError::NoBuffer`] where no capture was started.
    pub fn capture_file(
        &self,
        file: OwnedFd,
        application: &str,
        comment: &str,
    ) -> Result<CaptureFile, ControlError> {
        self.capture.file(file, application, comment)
    }

    /// As [`Self::aim_trace`].
    pub fn aim_capture(&mut self, filter: &Filter) {
        self.watched.capture.filter.set(filter);
    }

    /// Gives up to `max` copies to `each`, in the order in which they were taken. Never waits.
    pub fn captured(&mut self, max: usize, each: impl FnMut(Captured)) -> CaptureProgress {
        self.capture.read(max, each)
    }

    /// Ends the capture; `each` gets what has been copied.
    pub fn stop_capture(&mut self, each: impl FnMut(Captured)) -> CaptureProgress {
        self.watched.set_capture(0);
        self.capture.end(each)
    }

    /// Takes up to `max` packets of each kind, signalling first, and gives each to `handle`;
    /// returns how many there were. Never waits.
    pub fn poll(&mut self, max: usize, mut handle: impl FnMut(FromWorker<'_>)) -> usize {
        let mut handled = self.held.turn(&mut self.to_workers);
        self.held.hints(|spi| {
            handle(FromWorker::UnknownSpi(spi));
            handled += 1;
        });
        self.hinted.near_grants.take(|spi| {
            handle(FromWorker::NearGrant(spi));
            handled += 1;
        });
        self.hinted.contested.take(|Contest { port, address, mac, probing }| {
            handle(FromWorker::Contested { port, address, mac, probing });
            handled += 1;
        });
        for ring in [&mut self.signalling, &mut self.host] {
            let mut left = max;
            while left > 0 && ring.receive(&mut self.batch) > 0 {
                left = left.saturating_sub(self.batch.len());
                for mbuf in self.batch.drain() {
                    deliver(mbuf, &mut handle);
                    handled += 1;
                }
            }
        }
        handled
    }

    /// Sends a PType 8 packet under an SA: `payload` is IPv6 extension headers and a Mobility
    /// Header, of which `next_header` names the first.
    ///
    /// # Errors
    /// [`ControlError`]. A worker drops and counts the packet where the SA is gone by then.
    pub fn send_signalling(
        &mut self,
        spi: Spi,
        local: SocketAddr,
        remote: SocketAddr,
        next_header: u8,
        payload: &[u8],
    ) -> Result<(), ControlError> {
        let len = u16::try_from(payload.len()).map_err(|_| ControlError::TooLarge)?;
        let payload_at = (0, len);
        let link = None;
        let note = Note::Signalling { spi, local, remote, next_header, payload: payload_at, link };
        self.send(spi.get(), note, payload)
    }

    /// The same to a mobile node on the link of `port` whose home address is `remote` and bound: not
    /// into its tunnel, but to the link-layer address that it was given by
    /// [`TableWriter::set_neighbour`](crate::TableWriter::set_neighbour) (RFC 6275 s.10.3.2).
    ///
    /// # Errors
    /// As [`Self::send_signalling`].
    pub fn send_signalling_on_link(
        &mut self,
        port: PortId,
        spi: Spi,
        (local, remote): (SocketAddr, SocketAddr),
        next_header: u8,
        payload: &[u8],
    ) -> Result<(), ControlError> {
        let len = u16::try_from(payload.len()).map_err(|_| ControlError::TooLarge)?;
        let (payload_at, link) = ((0, len), Some(port));
        let note = Note::Signalling { spi, local, remote, next_header, payload: payload_at, link };
        self.send(spi.get(), note, payload)
    }

    /// Sends a frame that the kernel wrote to the TAP of `port`: to a bound home address it is
    /// tunnelled, else it leaves by the port as it is.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn send_from_host(&mut self, port: PortId, frame: &[u8]) -> Result<(), ControlError> {
        self.send(u32::from(port.0), Note::Host { port }, frame)
    }

    /// Sends a frame by `port` as it is: announcements and questions of control's own.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn send_frame(&mut self, port: PortId, frame: &[u8]) -> Result<(), ControlError> {
        self.send(u32::from(port.0), Note::Frame { port }, frame)
    }

    /// Sends an IP packet as any other of the box: to a bound home address it is tunnelled, else it
    /// goes where the routes lead.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn send_packet(&mut self, packet: &[u8]) -> Result<(), ControlError> {
        self.send(0, Note::Packet, packet)
    }

    /// Sends an IP packet into the tunnel of this home address, whatever its destination is: a
    /// listener query, say. Where the home address is not bound it is counted as
    /// [`DropReason::GroupNoMember`](crate::DropReason::GroupNoMember).
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn send_inner(
        &mut self,
        home_address: Ipv6Addr,
        packet: &[u8],
    ) -> Result<(), ControlError> {
        self.send(0, Note::Member { home_address, from_host: true }, packet)
    }

    /// Gives back a packet of [`FromWorker::Unresolved`], when the neighbour has been told to
    /// [`crate::TableWriter::set_neighbour`].
    ///
    /// # Errors
    /// [`ControlError::RingFull`].
    pub fn resend(
        &mut self,
        port: PortId,
        next_hop: IpAddr,
        packet: HeldPacket,
    ) -> Result<(), ControlError> {
        self.push(u32::from(port.0), Note::Unresolved { port, next_hop }, packet.0)
    }

    /// Gives back a packet of [`FromWorker::Unresolved`] whose next hop could not be found: it is
    /// counted as [`DropReason::NeighbourUnresolved`](crate::DropReason::NeighbourUnresolved), and
    /// its sender is told by ICMP (RFC 4861 s.7.2.2, RFC 1812 s.5.2.7.1), within the limits that
    /// all ICMP errors have.
    ///
    /// # Errors
    /// [`ControlError::RingFull`].
    pub fn unreachable(&mut self, port: PortId, packet: HeldPacket) -> Result<(), ControlError> {
        self.push(u32::from(port.0), Note::Unreachable { port }, packet.0)
    }

    fn send(&mut self, spread: u32, note: Note, content: &[u8]) -> Result<(), ControlError> {
        let mut mbuf = self.pool.alloc().ok_or(ControlError::NoBuffer)?;
        mbuf.append(content.len()).ok_or(ControlError::TooLarge)?.copy_from_slice(content);
        self.push(spread, note, mbuf)
    }

    /// SPI mod workers is the SA's owner; everything else only wants to stay in order.
    fn push(&mut self, spread: u32, note: Note, mut mbuf: Mbuf) -> Result<(), ControlError> {
        let worker = spread as usize % self.to_workers.len().max(1);
        let ring = self.to_workers.get_mut(worker).ok_or(ControlError::RingFull)?;
        note.store(&mut mbuf);
        ring.push(mbuf).map_err(|_| ControlError::RingFull)
    }
}

fn deliver(mut mbuf: Mbuf, handle: &mut impl FnMut(FromWorker<'_>)) {
    match Note::load(&mbuf) {
        Some(Note::Signalling {
            spi, local, remote, next_header, payload: (offset, len), ..
        }) => {
            let (offset, len) = (usize::from(offset), usize::from(len));
            let frame = LinkEnds::of(&mut mbuf);
            if let Some(payload) = mbuf.data().get(offset..offset + len) {
                let packet = SignallingPacket { spi, remote, local, next_header, payload, frame };
                handle(FromWorker::Signalling(packet));
            }
        }
        Some(Note::Host { port }) => handle(FromWorker::Host { port, frame: mbuf.data() }),
        Some(Note::Inner { spi, home_address }) => {
            handle(FromWorker::Inner { spi, home_address, packet: mbuf.data() });
        }
        Some(Note::Discovery) => {
            handle(FromWorker::HomeAgentDiscovery { packet: mbuf.data() });
        }
        Some(Note::PlainHomeAddress { home_address }) => {
            if let Some((IpAddr::V6(from), IpAddr::V6(to))) = Ip::addresses(mbuf.data()) {
                handle(FromWorker::PlainHomeAddress { from, to, home_address });
            }
        }
        Some(Note::Unresolved { port, next_hop }) => {
            handle(FromWorker::Unresolved { port, next_hop, packet: HeldPacket(mbuf) });
        }
        Some(
            Note::Envelope(_)
            | Note::Waiting(_)
            | Note::Downlink { .. }
            | Note::Unreachable { .. }
            | Note::Member { .. }
            | Note::Frame { .. }
            | Note::Packet,
        )
        | None => {}
    }
}
