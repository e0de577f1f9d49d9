//! What a worker looks at: tables, its counters, and the rings that lead away from it.

use core::net::IpAddr;
use std::sync::Arc;

use hearth_dpdk::{HashReader, Mbuf, SharedRingProducer};

use crate::clock;
use crate::config::PortId;
use crate::contests::Contests;
use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;
use crate::grants::Grants;
use crate::layout::Address6;
use crate::missing::MissingSas;
use crate::note::Note;
use crate::sa::slot::{BindingIndex, SaSlot};
use crate::stage::envelope::Envelope;
use crate::table::binding::BindingEntry;
use crate::table::fan::Fan;
use crate::table::fib::Target;
use crate::table::neighbour::{self, KEY_LEN};
use crate::table::next_hop::NeighbourIndex;
use crate::table::prefix::NOBODY;
use crate::table::shared::Tables;
use crate::trace::{TraceId, Verdict};
use crate::watch::Watch;

/// The part of a worker that its stages only read.
pub(crate) struct View {
    pub(crate) index: usize,
    pub(crate) tables: Arc<Tables>,
    pub(crate) neighbours: HashReader<KEY_LEN>,
    /// By port.
    pub(crate) macs: Vec<[u8; 6]>,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) missing: MissingSas,
    pub(crate) grants: Grants,
    pub(crate) contests: Contests,
    /// By worker.
    pub(crate) peers: Vec<SharedRingProducer>,
    /// By worker: for crypto, and back.
    pub(crate) assist: Vec<SharedRingProducer>,
    pub(crate) signalling: SharedRingProducer,
    pub(crate) host: SharedRingProducer,
    pub(crate) watch: Watch,
}

impl View {
    /// Stops a packet that is in hand. It is counted here, once; what stops where nobody has it in
    /// hand, in [`WorkerCounters::stopped_many`].
    pub(crate) fn drop(&self, mut mbuf: Mbuf, reason: DropReason) {
        self.stopped(&mut mbuf, reason);
        drop(mbuf);
    }

    /// Notes that a packet stops here; its buffer goes on as something else.
    #[inline]
    pub(crate) fn stopped(&self, mbuf: &mut Mbuf, reason: DropReason) {
        self.counters.stopped(reason);
        if self.watch.is_on() {
            self.watch.ends(mbuf, Verdict::Dropped(reason));
        }
    }

    /// Frees a packet that was counted under this reason before it came back.
    #[cold]
    pub(crate) fn counted(&self, mut mbuf: Mbuf, reason: DropReason) {
        if self.watch.is_on() {
            self.watch.ends(&mut mbuf, Verdict::Dropped(reason));
        }
        drop(mbuf);
    }

    /// Frees a part of a packet of which it has been told what became.
    #[cold]
    pub(crate) fn forget(&self, mut mbuf: Mbuf) {
        if self.watch.is_on() {
            self.watch.lift(&mut mbuf);
        }
        drop(mbuf);
    }

    /// Notes that an ICMP error has been acted on; its buffer may go on as another one.
    pub(crate) fn heeded(&self, mbuf: &mut Mbuf) {
        if self.watch.is_on() {
            self.watch.ends(mbuf, Verdict::Heeded);
        }
    }

    /// Hands a packet to the worker that owns its SA.
    pub(crate) fn hand_over(&self, owner: usize, note: Note, mut mbuf: Mbuf) {
        note.store(&mut mbuf);
        if self.watch.is_on() {
            self.watch.leaves(&mbuf, Verdict::HandedOver(owner));
        }
        let refused = match self.peers.get(owner) {
            Some(ring) => ring.push(mbuf).err(),
            None => Some(mbuf),
        };
        match refused {
            None => self.counters.handed_over.add(1),
            Some(mbuf) => self.drop(mbuf, DropReason::HandoverRingFull),
        }
    }

    /// Gives an Ethernet frame to the kernel behind a port's TAP.
    pub(crate) fn to_host(&self, port: PortId, mut mbuf: Mbuf) {
        Note::Host { port }.store(&mut mbuf);
        let octets = mbuf.len();
        if self.give(&self.host, mbuf, Verdict::ToKernel, DropReason::HostRingFull) {
            self.counters.to_host.add(octets);
        }
    }

    /// Lets control find a neighbour's MAC address.
    pub(crate) fn to_resolve(&self, port: PortId, next_hop: IpAddr, mut mbuf: Mbuf) {
        Note::Unresolved { port, next_hop }.store(&mut mbuf);
        if self.watch.is_on() {
            self.watch.leaves(&mbuf, Verdict::ToResolve);
        }
        match self.host.push(mbuf) {
            Ok(()) => self.counters.unresolved.add(1),
            Err(mbuf) => self.drop(mbuf, DropReason::HostRingFull),
        }
    }

    /// Lets a packet wait with control for its SA; drops it where too many do.
    pub(crate) fn to_wait(&self, envelope: Envelope, mut mbuf: Mbuf, now: u64) {
        if !self.missing.admits(now) {
            return self.drop(mbuf, DropReason::SpiUnknown);
        }
        Note::Waiting(envelope).store(&mut mbuf);
        if self.watch.is_on() {
            self.watch.leaves(&mbuf, Verdict::AwaitsSa);
        }
        if let Err(mbuf) = self.missing.give(mbuf) {
            self.drop(mbuf, DropReason::SpiUnknown);
        }
    }

    /// Gives signalling to control.
    pub(crate) fn to_control(&self, note: Note, mut mbuf: Mbuf) {
        note.store(&mut mbuf);
        let full = DropReason::SignallingRingFull;
        if self.give(&self.signalling, mbuf, Verdict::ToHomeAgent, full) {
            self.counters.signalling_in.add(1);
        }
    }

    /// Gives a packet that is no signalling to control, in the order of those for the kernel.
    #[cold]
    pub(crate) fn for_control(&self, note: Note, mut mbuf: Mbuf) {
        note.store(&mut mbuf);
        self.give(&self.host, mbuf, Verdict::ToHomeAgent, DropReason::HostRingFull);
    }

    /// Gives control what a mobile node says to the home agent itself, but not so much of one
    /// that there is no room for others'.
    #[cold]
    pub(crate) fn asked_under(&self, slot: &SaSlot, note: Note, mbuf: Mbuf) {
        if slot.may_ask(clock::now(), clock::second()) {
            self.for_control(note, mbuf);
        } else {
            self.drop(mbuf, DropReason::ReportLimit);
        }
    }

    /// Gives a packet to control for good; whether control's ring took it.
    fn give(
        &self,
        ring: &SharedRingProducer,
        mut mbuf: Mbuf,
        verdict: Verdict,
        full: DropReason,
    ) -> bool {
        let on = self.watch.is_on();
        let id = if on { self.watch.lift(&mut mbuf) } else { TraceId::NONE };
        match ring.push(mbuf) {
            Ok(()) => {
                if on {
                    self.watch.ended(id, verdict);
                }
                true
            }
            Err(mut mbuf) => {
                if on {
                    id.store(&mut mbuf);
                }
                self.drop(mbuf, full);
                false
            }
        }
    }

    /// The binding of a home address.
    pub(crate) fn bound(&self, home: IpAddr) -> Option<(BindingIndex, &BindingEntry)> {
        let index = self.tables.homes.get(Address6::of_home(home)?)?;
        self.tables.bindings.entry(index).map(|entry| (index, entry))
    }

    /// The binding of an address that is a bound home address or in the network of a mobile router.
    pub(crate) fn carried_to(&self, address: IpAddr) -> Option<(BindingIndex, &BindingEntry)> {
        let index = self.tables.binding_of(Address6::of_home(address)?)?;
        self.tables.bindings.entry(index).map(|entry| (index, entry))
    }

    /// Whether a mobile node may send from this address: a home address of its own, or one in its
    /// network that is nobody's home address.
    pub(crate) fn may_send_from(&self, binding: &BindingEntry, source: IpAddr) -> bool {
        if binding.is_home(source) {
            return true;
        }
        let Some(source) = Address6::of_home(source).filter(|_| binding.router != NOBODY) else {
            return false;
        };
        let Tables { prefixes, homes, .. } = &*self.tables;
        prefixes.router(source) == Some(binding.router) && homes.get(source).is_none()
    }

    /// The ways to a mobile node that has several.
    pub(crate) fn fan(&self, index: BindingIndex) -> Option<&Fan> {
        self.tables.fans.get(self.tables.bindings.entry(index)?.fan?)
    }

    /// The tunnels of a binding, the preferred one first.
    pub(crate) fn tunnels<'v>(
        &'v self,
        binding: &'v BindingEntry,
    ) -> impl Iterator<Item = &'v BindingEntry> {
        let fan = binding.fan.and_then(|number| self.tables.fans.get(number));
        let ways = fan.map_or(&[][..], |fan| &fan.ways);
        let several = ways.iter().filter_map(|way| self.tables.bindings.entry(way.tunnel));
        ways.is_empty().then_some(binding).into_iter().chain(several)
    }

    /// Where a destination is.
    pub(crate) fn target(&self, destination: IpAddr) -> Target {
        self.tables.routes().map_or(Target::None, |routes| routes.lookup(destination))
    }

    /// A neighbour whose MAC address is known.
    pub(crate) fn neighbour(&self, port: PortId, next_hop: IpAddr) -> Option<NeighbourIndex> {
        self.neighbours.lookup(&neighbour::key(port, next_hop)).map(NeighbourIndex)
    }

    /// A port's own MAC address.
    pub(crate) fn own_mac(&self, port: PortId) -> Option<[u8; 6]> {
        self.macs.get(usize::from(port.0)).copied()
    }
}
