//! Packets to one mobile node come in trains: what holds for all of them is looked at once.
//!
//! Nothing is decided here that [`tunnel_out`] would decide otherwise; a packet that needs more than
//! headers, trailer and encryption is given to it in its turn.

use hearth_wire::frame::PType;
use hearth_wire::{Cipher, Scope};

use crate::layout::{IPV6_LEN, be64, decrement_hop_limit, proto};
use crate::outer::{OVER_IPV4, OVER_IPV6};
use crate::sa::keys::{Direction, KeySchedule, Material, PerSuite};
use crate::sa::slot::BindingIndex;
use crate::sa::table::SaRef;
use crate::stage::tunnel_out::{self, Content, Protection, protect_over, version_and_class};
use crate::table::binding::BindingEntry;
use crate::table::next_hop::{NeighbourIndex, OuterHop};
use crate::view::View;
use crate::work::{Downlink, Work};

/// What holds for all packets of a train.
pub(crate) struct Train<'a> {
    index: BindingIndex,
    binding: &'a BindingEntry,
    sa: SaRef<'a>,
    keys: &'static KeySchedule,
    hop: NeighbourIndex,
    /// Octets of the largest inner packet.
    mtu: usize,
}

impl<'a> Train<'a> {
    /// A train to this binding, if nothing but encryption stands in the way of common packets.
    #[inline]
    pub(crate) fn to(
        view: &'a View,
        work: &Work,
        index: BindingIndex,
        binding: &'a BindingEntry,
    ) -> Option<Self> {
        let facts = binding.facts;
        if facts.scope != Scope::SignallingAndData
            || facts.suite.cipher() == Cipher::TripleDesCbc
            || view.tables.owner(binding.spi.get()) != view.index
            || view.tables.mss_clamp
            || view.watch.is_on()
        {
            return None;
        }
        let hop = view.tables.bindings.hop(index, work.recent.hops())?;
        let sa = view.tables.sas.find(binding.spi.get())?;
        // SAFETY: `find` has just seen the SA published, and this worker reports quiescent only for
        // epochs whose jobs have left the lanes (`Worker::quiesce`).
        let keys: &'static KeySchedule = unsafe { sa.slot.keys(Direction::Outbound) };
        Some(Self { index, binding, sa, keys, hop, mtu: binding.path.tunnel_mtu(true).into() })
    }

    /// Encapsulates `first` and those behind it to the same binding. The first that is to another
    /// one comes back.
    #[inline]
    pub(crate) fn carry(
        &self,
        view: &View,
        work: &mut Work,
        first: Downlink,
        rest: &mut impl Iterator<Item = Downlink>,
    ) -> Option<Downlink> {
        self.keys.with(Carriage { train: self, view, work, first, rest })
    }
}

/// A train and its packets.
struct Carriage<'a, 't, I> {
    train: &'a Train<'t>,
    view: &'a View,
    work: &'a mut Work,
    first: Downlink,
    rest: &'a mut I,
}

impl<I: Iterator<Item = Downlink>> PerSuite<'static> for Carriage<'_, '_, I> {
    type Output = Option<Downlink>;

    #[inline(always)]
    fn run(self, material: Material<'static>) -> Self::Output {
        if self.train.binding.outer.is_ipv6() {
            self.carry_over::<OVER_IPV6>(&material)
        } else {
            self.carry_over::<OVER_IPV4>(&material)
        }
    }
}

impl<I: Iterator<Item = Downlink>> Carriage<'_, '_, I> {
    /// With `OUTER` octets of outer headers.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    fn carry_over<const OUTER: usize>(self, material: &Material<'static>) -> Option<Downlink> {
        let Self { train, view, work, first, rest } = self;
        let mut packet = first;
        loop {
            one::<OUTER>(train, view, work, packet, material);
            packet = rest.next()?;
            if packet.binding != train.index {
                return Some(packet);
            }
        }
    }
}

/// One packet of a train.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the suite is known where it is called")]
fn one<const OUTER: usize>(
    train: &Train<'_>,
    view: &View,
    work: &mut Work,
    mut packet: Downlink,
    material: &Material<'static>,
) {
    let Train { binding, sa, keys, hop, mtu, .. } = *train;
    let len = packet.mbuf.len();
    let travels = if len <= mtu { travels(&mut packet) } else { None };
    let Some((next_header, traffic_class)) = travels else {
        return tunnel_out::downlink(view, work, packet, binding);
    };
    let hop = OuterHop::Neighbour(hop);
    let content = Content { ptype: PType::ProtectedData, next_header, traffic_class, hop };
    let mbuf = packet.mbuf;
    let protection = Protection { view, work, mbuf, sa, keys, outer: &binding.outer, content };
    if protect_over::<OUTER>(protection, material) {
        view.counters.downlink.add(len);
    }
}

/// Takes one hop off the packet, unless it comes from the box itself; the next header value that
/// names it inside a tunnel, and its DSCP and ECN. `None`, and nothing changes, where it may not
/// travel on.
#[inline(always)]
#[expect(clippy::inline_always, reason = "once per packet, and one word for most")]
fn travels(packet: &mut Downlink) -> Option<(u8, u8)> {
    let from_host = packet.from_host;
    let octets = packet.mbuf.data_mut();
    if let Some(header) = octets.first_chunk_mut::<IPV6_LEN>() {
        // Version, traffic class, flow label, length, next header, hop limit.
        let word = be64(header, 0);
        if word >> 60 == 6 {
            let hop_limit = header[7];
            if !from_host {
                header[7] = hop_limit.checked_sub(1).filter(|left| *left > 0)?;
            }
            return Some((proto::IPV6, (word >> 52 & 0xff) as u8));
        }
    }
    if !from_host && !decrement_hop_limit(octets) {
        return None;
    }
    version_and_class(octets)
}
