//! What travels with an mbuf through a ring, in its private area: why it is there.
//!
//! Nothing here is a pointer into a table: a packet may lie in a ring for longer than a grace
//! period, so the receiver looks everything up again.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use hearth_dpdk::Mbuf;
use hearth_wire::frame::PType;
use hearth_wire::{SeqNo, Spi};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::config::PortId;
use crate::layout::mapped;
use crate::stage::envelope::{Content, Envelope};

/// Why a packet is in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// To the owner of an SA: a protected envelope; the packet starts with its outer IP header.
    Envelope(Envelope),
    /// To the owner of an SA: a packet to a bound home address; it starts with its IP header.
    Downlink {
        /// From the box itself, so that no hop is counted.
        from_host: bool,
        /// The Binding ID of the tunnel that was chosen; 0 where none was.
        bid: u16,
        /// The tunnels that it is in already.
        depth: u8,
    },
    /// Between control and workers: a PType 8 envelope whose SA was not there; back from control it
    /// has waited.
    Waiting(Envelope),
    /// Between control and workers: the content of a PType 8 packet under this SA. To control it
    /// stands where `payload` says; from control it is the whole packet.
    Signalling {
        spi: Spi,
        local: SocketAddr,
        remote: SocketAddr,
        next_header: u8,
        /// Offset and length.
        payload: (u16, u16),
        /// From control: to its neighbour on this port, whose address is bound.
        link: Option<PortId>,
    },
    /// Between control and workers: an Ethernet frame from or to this port's TAP.
    Host { port: PortId },
    /// Between control and workers: an IP packet to this neighbour, whose MAC address is to be
    /// found.
    Unresolved { port: PortId, next_hop: IpAddr },
    /// From control: an IP packet whose next hop on this port could not be found.
    Unreachable { port: PortId },
    /// To control: a packet out of a tunnel, under this SA, of the binding of this home address
    ///
    Inner { spi: Spi, home_address: Ipv6Addr },
    /// From control, and between workers: a packet for the mobile node with this home address,
    /// whatever its destination is.
    Member {
        home_address: Ipv6Addr,
        /// From the box itself, so that no hop is counted.
        from_host: bool,
    },
    /// From control: an Ethernet frame to leave by this port as it is.
    Frame { port: PortId },
    /// From control: an IP packet that the box sends.
    Packet,
    /// To control: a packet to a home agents' anycast address.
    Discovery,
    /// To control: a packet with the Home Address option, of which there is no binding.
    PlainHomeAddress { home_address: Ipv6Addr },
}

/// The private area.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Area {
    local: [u8; 16],
    remote: [u8; 16],
    spi: u32,
    seq: u32,
    local_port: u16,
    remote_port: u16,
    offset: u16,
    len: u16,
    port: u16,
    kind: u8,
    /// Next header, PType, or whether the packet comes from the host.
    detail: u8,
    ecn: u8,
    depth: u8,
    pad: [u8; 2],
}

/// Octets of the private area that a note takes.
pub(crate) const AREA_LEN: usize = size_of::<Area>();

const ENVELOPE: u8 = 1;
const DOWNLINK: u8 = 2;
const SIGNALLING: u8 = 3;
const HOST: u8 = 4;
const UNRESOLVED: u8 = 5;
const WAITING: u8 = 6;
const UNREACHABLE: u8 = 7;
const INNER: u8 = 8;
const MEMBER: u8 = 9;
const FRAME: u8 = 10;
const PACKET: u8 = 11;
const DISCOVERY: u8 = 12;
const PLAIN_HOME_ADDRESS: u8 = 13;

/// In the place of a port.
const NO_PORT: u16 = u16::MAX;

impl Area {
    const EMPTY: Self = Self {
        local: [0; 16],
        remote: [0; 16],
        spi: 0,
        seq: 0,
        local_port: 0,
        remote_port: 0,
        offset: 0,
        len: 0,
        port: 0,
        kind: 0,
        detail: 0,
        ecn: 0,
        depth: 0,
        pad: [0; 2],
    };

    fn envelope(kind: u8, envelope: &Envelope) -> Self {
        let (detail, spi, seq) = match envelope.content() {
            Content::Plain => (0, 0, 0),
            Content::Protected { ptype, spi, seq } => (ptype.bits(), spi.get(), seq.0),
        };
        Self {
            kind,
            spi,
            seq,
            detail,
            offset: envelope.udp_offset(),
            len: envelope.frame_len(),
            ecn: envelope.ecn(),
            depth: envelope.depth(),
            ..Self::EMPTY
        }
    }

    fn as_envelope(&self) -> Option<Envelope> {
        let content = match PType::from_bits(self.detail)? {
            PType::PlainData => Content::Plain,
            ptype => {
                let (spi, seq) = (Spi::new(self.spi).ok()?, SeqNo(self.seq));
                Content::Protected { ptype, spi, seq }
            }
        };
        Some(Envelope::new(self.offset, self.len, self.ecn, content).at_depth(self.depth))
    }
}

impl Note {
    /// Writes the note into the mbuf.
    pub(crate) fn store(self, mbuf: &mut Mbuf) {
        *mbuf.meta_mut::<Area>() = self.pack();
    }

    /// Reads the note that [`Self::store`] left.
    pub(crate) fn load(mbuf: &Mbuf) -> Option<Self> {
        Self::unpack(mbuf.meta::<Area>())
    }

    fn pack(self) -> Area {
        match self {
            Self::Envelope(envelope) => Area::envelope(ENVELOPE, &envelope),
            Self::Waiting(envelope) => Area::envelope(WAITING, &envelope),
            Self::Downlink { from_host, bid, depth } => {
                let detail = u8::from(from_host);
                Area { kind: DOWNLINK, detail, offset: bid, depth, ..Area::EMPTY }
            }
            Self::Signalling { spi, local, remote, next_header, payload: (offset, len), link } => {
                Area {
                    kind: SIGNALLING,
                    port: link.map_or(NO_PORT, |port| port.0),
                    spi: spi.get(),
                    local: mapped(local.ip()).octets(),
                    local_port: local.port(),
                    remote: mapped(remote.ip()).octets(),
                    remote_port: remote.port(),
                    detail: next_header,
                    offset,
                    len,
                    ..Area::EMPTY
                }
            }
            Self::Inner { spi, home_address } => {
                Area { kind: INNER, spi: spi.get(), local: home_address.octets(), ..Area::EMPTY }
            }
            Self::Member { home_address, from_host } => Area {
                kind: MEMBER,
                local: home_address.octets(),
                detail: u8::from(from_host),
                ..Area::EMPTY
            },
            Self::Frame { port } => Area { kind: FRAME, port: port.0, ..Area::EMPTY },
            Self::Packet => Area { kind: PACKET, ..Area::EMPTY },
            Self::Discovery => Area { kind: DISCOVERY, ..Area::EMPTY },
            Self::PlainHomeAddress { home_address } => {
                Area { kind: PLAIN_HOME_ADDRESS, local: home_address.octets(), ..Area::EMPTY }
            }
            Self::Host { port } => Area { kind: HOST, port: port.0, ..Area::EMPTY },
            Self::Unreachable { port } => Area { kind: UNREACHABLE, port: port.0, ..Area::EMPTY },
            Self::Unresolved { port, next_hop } => Area {
                kind: UNRESOLVED,
                port: port.0,
                remote: mapped(next_hop).octets(),
                ..Area::EMPTY
            },
        }
    }

    fn unpack(area: &Area) -> Option<Self> {
        Some(match area.kind {
            ENVELOPE => Self::Envelope(area.as_envelope()?),
            WAITING => Self::Waiting(area.as_envelope()?),
            DOWNLINK => {
                Self::Downlink { from_host: area.detail != 0, bid: area.offset, depth: area.depth }
            }
            SIGNALLING => Self::Signalling {
                spi: Spi::new(area.spi).ok()?,
                local: SocketAddr::new(address(area.local), area.local_port),
                remote: SocketAddr::new(address(area.remote), area.remote_port),
                next_header: area.detail,
                payload: (area.offset, area.len),
                link: (area.port != NO_PORT).then_some(PortId(area.port)),
            },
            HOST => Self::Host { port: PortId(area.port) },
            UNREACHABLE => Self::Unreachable { port: PortId(area.port) },
            INNER => Self::Inner { spi: Spi::new(area.spi).ok()?, home_address: area.local.into() },
            MEMBER => Self::Member { home_address: area.local.into(), from_host: area.detail != 0 },
            FRAME => Self::Frame { port: PortId(area.port) },
            PACKET => Self::Packet,
            DISCOVERY => Self::Discovery,
            PLAIN_HOME_ADDRESS => Self::PlainHomeAddress { home_address: area.local.into() },
            UNRESOLVED => {
                Self::Unresolved { port: PortId(area.port), next_hop: address(area.remote) }
            }
            _ => return None,
        })
    }
}

fn address(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_the_private_area() {
        let v6: SocketAddr = "[2001:db8::1]:7872".parse().unwrap();
        let v4: SocketAddr = "198.51.100.1:1024".parse().unwrap();
        let spi = Spi::MAX;
        let envelope = |content| Envelope::new(40, 1400, 3, content);
        let protected = |ptype| Content::Protected { ptype, spi, seq: SeqNo(u32::MAX) };
        for note in [
            Note::Envelope(envelope(Content::Plain)),
            Note::Envelope(envelope(protected(PType::ProtectedData))),
            Note::Envelope(envelope(protected(PType::MobilityHeader))),
            Note::Waiting(envelope(protected(PType::MobilityHeader))),
            Note::Envelope(envelope(protected(PType::ProtectedData)).at_depth(2)),
            Note::Downlink { from_host: true, bid: 0, depth: 0 },
            Note::Downlink { from_host: false, bid: u16::MAX, depth: 3 },
            Note::Signalling {
                spi,
                local: v6,
                remote: v4,
                next_header: 60,
                payload: (72, 56),
                link: None,
            },
            Note::Signalling {
                spi,
                local: v4,
                remote: v6,
                next_header: 43,
                payload: (0, 40),
                link: Some(PortId(1)),
            },
            Note::Host { port: PortId(7) },
            Note::Unresolved { port: PortId(1), next_hop: v4.ip() },
            Note::Unresolved { port: PortId(1), next_hop: v6.ip() },
            Note::Unreachable { port: PortId(1) },
            Note::Inner { spi, home_address: [7; 16].into() },
            Note::Member { home_address: [8; 16].into(), from_host: true },
            Note::Member { home_address: [8; 16].into(), from_host: false },
            Note::Frame { port: PortId(3) },
            Note::Packet,
            Note::Discovery,
            Note::PlainHomeAddress { home_address: [9; 16].into() },
        ] {
            assert_eq!(Note::unpack(&note.pack()), Some(note));
        }
        assert_eq!(Note::unpack(&Area::EMPTY), None);
    }
}
