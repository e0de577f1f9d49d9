//! From the home agent to the TUN, in the order of R-24.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use hearth_wire::ip::Ipv6Header;

use super::datagrams::Receiver;
use super::gro::Gro;
use super::open::{Content, Opened, open};
use super::{DropReason, Event, IPV4, IPV6, Inner, State, Tunnel, View, ecn};
use crate::route_optimisation::By;

/// One thread's work on downlink packets.
pub struct Downlink {
    view: View,
    receiver: Receiver,
    /// Inner packets of a batch: places in the receiver's arena.
    packets: Vec<Range<usize>>,
    gro: Gro,
}

impl Downlink {
    /// `offload`: whether the TUN takes trains of packets.
    #[must_use]
    pub fn new(tunnel: Arc<Tunnel>, offload: bool) -> Self {
        Self {
            view: View::new(tunnel),
            receiver: Receiver::new(),
            packets: Vec::new(),
            gro: Gro::new(offload),
        }
    }

    /// Takes a batch of frames from `receive` and hands the packets in them to `write`, each behind the
    /// virtio header that the TUN wants; several that follow each other come as one (GSO).
    ///
    /// # Errors
    /// That of `receive`; what goes wrong later is counted.
    pub fn carry(
        &mut self,
        receive: impl FnOnce(&mut Receiver) -> io::Result<()>,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        receive(&mut self.receiver)?;
        let state = Arc::clone(self.view.state());
        let tunnel = &self.view.tunnel;
        let Receiver { arena, received } = &mut self.receiver;
        self.packets.clear();
        for several in received {
            let end = several.start + several.len;
            for start in (several.start..end.max(several.start + 1)).step_by(several.segment.max(1))
            {
                let place = start..(start + several.segment).min(end);
                match take(tunnel, &state, arena, place, several.ecn) {
                    Ok(Some(packet)) => self.packets.push(packet),
                    Ok(None) => {}
                    Err(reason) => tunnel.counters.drop(reason),
                }
            }
        }
        self.gro.deliver(arena, &self.packets, write, |written| {
            if written.taken {
                tunnel.counters.downlink.count(written.packets, written.octets);
            } else {
                tunnel.counters.drop_several(DropReason::TunFailed, written.packets);
            }
        });
        Ok(())
    }
}

/// Opens the frame at `place`; where the inner packet stands, if it holds one.
fn take(
    tunnel: &Tunnel,
    state: &State,
    arena: &mut [u8],
    place: Range<usize>,
    outer_ecn: u8,
) -> Result<Option<Range<usize>>, DropReason> {
    let start = place.start;
    let frame = arena.get_mut(place).ok_or(DropReason::FrameShort)?;
    let Opened { sa, payload, content, worn } = open(frame, &state.associations)?;
    if worn {
        tunnel.tell(Event::Worn(sa.spi));
    }
    let announced = match content {
        Content::PlainData => None,
        Content::ProtectedData { next_header } => Some(next_header),
        Content::Signalling { next_header } => {
            let payload = frame.get(payload).unwrap_or_default().to_vec();
            tunnel.tell(Event::Signalling { sa: Arc::clone(sa), next_header, payload });
            return Ok(None);
        }
    };
    let at = start + payload.start;
    let packet = frame.get_mut(payload).ok_or(DropReason::InnerLength)?;
    let inner = Inner::read(packet).ok_or(DropReason::InnerLength)?;
    match announced {
        Some(announced) if ![IPV4, IPV6].contains(&announced) => {
            return Err(DropReason::DataNextHeader);
        }
        Some(announced) if announced != inner.next_header => return Err(DropReason::InnerVersion),
        _ => {}
    }
    if !state.is_ours(inner.destination) {
        return Err(DropReason::DestinationNotHome);
    }
    if let Some(event) = of_correspondent(state, inner, packet) {
        tunnel.counters.downlink.count(1, inner.len);
        tunnel.tell(event);
        return Ok(None);
    }
    // what stands behind the inner packet's own length is padding against analysis.
    let packet = packet.get_mut(..inner.len).ok_or(DropReason::InnerLength)?;
    ecn::combine(packet, inner.class & 3, outer_ecn).ok_or(DropReason::EcnNotCapable)?;
    Ok(Some(at..at + inner.len))
}

/// A Mobility Header that a correspondent sends to the home address: a Home Test, say.
fn of_correspondent(state: &State, inner: Inner, packet: &[u8]) -> Option<Event> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (inner.source, inner.destination) else { return None };
    let known = state.correspondents.routes.contains_key(&from);
    if inner.mh_type.is_none() || state.correspondents.home != Some(to) || !known {
        return None;
    }
    let header = packet.get(size_of::<Ipv6Header>()..inner.len)?.to_vec();
    Some(Event::Mobility { from, to, by: By::Home, header })
}
