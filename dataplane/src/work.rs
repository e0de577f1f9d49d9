//! What a worker works with: packets between stages, crypto, transmit queues.

use std::collections::VecDeque;

use hearth_dpdk::{BURST, Burst, CryptoQueue, Eal, Mbuf, TxQueue};

use crate::config::{BuildError, Config, PortId};
use crate::crypto::engine::Engine;
use crate::crypto::iv::IvSource;
use crate::dataplane::PortOut;
use crate::drop_reason::DropReason;
use crate::layout::{Address6, ETHERNET_LEN, IPV4_LEN, IPV6_LEN, len16};
use crate::sa::slot::BindingIndex;
use crate::sharing::Sharing;
use crate::side::{Pools, Side};
use crate::stage::envelope::Envelope;
use crate::stage::select::{self, Selection};
use crate::table::next_hop::{NextHop, RecentHops};
use crate::view::View;

/// Where a packet that is looked up by its destination comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// A port; the Ethernet header still stands in front of the packet.
    Wire(PortId),
    /// A tunnel, or another worker.
    Inside,
    /// The box itself.
    Host,
}

/// A packet to be looked up by its destination. It starts with its IP header, which was checked,
/// and ends with its last octet.
pub(crate) struct Routed {
    pub(crate) mbuf: Mbuf,
    pub(crate) via: Via,
}

/// A packet to a destination that is not remembered.
pub(crate) struct Unknown {
    pub(crate) packet: Routed,
    pub(crate) to: Address6,
    /// Whether both its ends are beyond their links for certain.
    pub(crate) is_global: bool,
    /// Whether its destination is that of the packet before.
    pub(crate) repeats: bool,
}

/// A packet to a bound home address, or to a network behind one; whole as in [`Routed`].
pub(crate) struct Downlink {
    pub(crate) mbuf: Mbuf,
    pub(crate) binding: BindingIndex,
    pub(crate) from_host: bool,
    /// The tunnels that it is in already, where a mobile node is behind a mobile router.
    pub(crate) depth: u8,
}

/// A packet as in [`Downlink`], while no reference to a table is kept.
pub(crate) struct Chosen {
    pub(crate) mbuf: Mbuf,
    pub(crate) from_host: bool,
    /// The Binding ID of its tunnel, where that is one of several; else 0.
    pub(crate) bid: u16,
    pub(crate) depth: u8,
}

/// A finished packet; it starts with its IP header.
pub(crate) struct Outgoing {
    pub(crate) mbuf: Mbuf,
    pub(crate) hop: NextHop,
}

/// Packets between stages. All are empty between turns, and none ever holds more than have room:
/// a burst, or what the crypto lanes can give back at once.
pub(crate) struct Lanes {
    pub(crate) plain: Vec<(Mbuf, Envelope)>,
    pub(crate) protected: Vec<(Mbuf, Envelope)>,
    /// To the home agent, from behind mobile routers: in so many tunnels.
    pub(crate) behind: Vec<(Mbuf, u8)>,
    pub(crate) routed: Vec<Routed>,
    /// Of those, packets to destinations that are not remembered.
    pub(crate) unknown: Vec<Unknown>,
    pub(crate) downlink: Vec<Downlink>,
    pub(crate) outgoing: Vec<Outgoing>,
    /// ICMP errors made on the way; they are routed when the packets are through.
    pub(crate) errors: Vec<Routed>,
}

/// Packets that a lane has room for, so that it never grows: what is in the crypto lanes of both
/// managers, what a crypto device gives back at a time, and a burst on top.
const LANE: usize = 1024;

impl Default for Lanes {
    fn default() -> Self {
        Self {
            plain: Vec::with_capacity(LANE),
            protected: Vec::with_capacity(LANE),
            behind: Vec::with_capacity(LANE),
            routed: Vec::with_capacity(LANE),
            unknown: Vec::with_capacity(LANE),
            downlink: Vec::with_capacity(LANE),
            outgoing: Vec::with_capacity(LANE),
            errors: Vec::with_capacity(LANE),
        }
    }
}

/// 3DES packets of either direction that wait at most.
const WAITING: usize = 512;

/// 3DES packets that the turn's budget has no room for. They go through all checks again when
/// their turn comes; no reference to a table is kept.
pub(crate) struct TripleDesQueue {
    budget: u16,
    /// What this turn may still take.
    left: u16,
    /// Those that waited are in the lanes now; all others come behind those that still wait.
    releasing: bool,
    uplink: VecDeque<(Mbuf, Envelope)>,
    downlink: VecDeque<Chosen>,
}

impl TripleDesQueue {
    fn new(budget: u16) -> Self {
        Self {
            budget: budget.max(1),
            left: 0,
            releasing: false,
            uplink: VecDeque::with_capacity(WAITING),
            downlink: VecDeque::with_capacity(WAITING),
        }
    }

    /// Whether an envelope need not wait; takes it out of the turn's budget then.
    pub(crate) fn admits_uplink(&mut self) -> bool {
        (self.releasing || self.uplink.is_empty()) && self.take()
    }

    /// Whether a packet to a mobile node need not wait; takes it out of the turn's budget then.
    pub(crate) fn admits_downlink(&mut self) -> bool {
        (self.releasing || self.downlink.is_empty()) && self.take()
    }

    fn take(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// Says that those that waited have left the lanes again.
    pub(crate) fn released(&mut self) {
        self.releasing = false;
    }

    /// Lets an envelope wait.
    pub(crate) fn hold_uplink(&mut self, view: &View, mbuf: Mbuf, envelope: Envelope) {
        if self.uplink.len() >= WAITING {
            return view.drop(mbuf, DropReason::TripleDesQueueFull);
        }
        self.uplink.push_back((mbuf, envelope));
    }

    /// Lets a packet to a mobile node wait.
    pub(crate) fn hold_downlink(&mut self, view: &View, packet: Chosen) {
        if self.downlink.len() >= WAITING {
            return view.drop(packet.mbuf, DropReason::TripleDesQueueFull);
        }
        self.downlink.push_back(packet);
    }

    /// Takes out all that wait, when the worker stops.
    pub(crate) fn stop(&mut self, mut give: impl FnMut(Mbuf)) {
        self.uplink.drain(..).for_each(|(mbuf, _)| give(mbuf));
        self.downlink.drain(..).for_each(|packet| give(packet.mbuf));
    }

    /// Puts those that this turn can take back into the lanes, half and half; returns how many.
    fn release(&mut self, view: &View, lanes: &mut Lanes) -> usize {
        let half = usize::from(self.budget.div_ceil(2)).min(BURST / 2);
        let (up, down) = (self.uplink.len().min(half), self.downlink.len().min(half));
        lanes.protected.extend(self.uplink.drain(..up));
        self.downlink.drain(..down).for_each(|chosen| select::take_up(view, lanes, chosen));
        self.releasing = true;
        up + down
    }
}

/// A port's transmit queue and what waits for it.
pub(crate) struct PortTx {
    pub(crate) mac: [u8; 6],
    /// The same in the upper 48 bits of a number.
    pub(crate) mac_word: u64,
    pub(crate) mtu: u16,
    /// Whether it fills in the checksums of outer headers.
    pub(crate) fills_in_checksums: bool,
    queue: TxQueue,
    waiting: Burst,
}

const fn mac_word([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([a, b, c, d, e, f, 0, 0])
}

/// The part of a worker that its stages change.
pub(crate) struct Work {
    pub(crate) lanes: Lanes,
    pub(crate) engine: Engine,
    pub(crate) ivs: IvSource,
    /// By port.
    pub(crate) tx: Vec<PortTx>,
    /// Whether there is a port that fills in the checksums of outer headers.
    pub(crate) leaves_checksums: bool,
    /// When this turn began.
    pub(crate) now: u64,
    /// Packets that came out of the lanes in this turn.
    pub(crate) settled: usize,
    identification: u16,
    pub(crate) triple_des: TripleDesQueue,
    pub(crate) recent: RecentHops,
    pub(crate) selection: Selection,
    pub(crate) sharing: Sharing,
    pub(crate) side: Side,
}

/// What it is made of.
pub(crate) struct WorkParts<'a> {
    pub(crate) index: usize,
    pub(crate) eal: &'a Eal,
    pub(crate) config: &'a Config,
    pub(crate) pools: Pools,
    pub(crate) tx: Vec<PortOut>,
    /// This worker's queue of the crypto device, where there is one.
    pub(crate) device: Option<CryptoQueue<'static>>,
    pub(crate) sharing: Sharing,
    /// Whether there are other workers to share with.
    pub(crate) shares: bool,
}

impl Work {
    pub(crate) fn new(parts: WorkParts<'_>) -> Result<Self, BuildError> {
        let WorkParts { index, eal, config, pools, tx, device, sharing, shares } = parts;
        let mut ivs = IvSource::new().ok_or(BuildError::Random)?;
        let tx = tx.into_iter().map(|port| PortTx {
            mac: port.mac,
            mac_word: mac_word(port.mac),
            mtu: port.mtu,
            fills_in_checksums: port.queue.fills_in_checksums(),
            queue: port.queue,
            waiting: Burst::new(),
        });
        let tx: Vec<_> = tx.collect();
        Ok(Self {
            lanes: Lanes::default(),
            engine: Engine::new(shares, device)?,
            identification: ivs.number(),
            side: Side::new(eal, config, pools, index, &mut ivs)?,
            ivs,
            leaves_checksums: tx.iter().any(|port| port.fills_in_checksums),
            tx,
            now: 0,
            settled: 0,
            triple_des: TripleDesQueue::new(config.triple_des_budget),
            recent: RecentHops::default(),
            selection: Selection::default(),
            sharing,
        })
    }

    /// Starts a turn; returns how many packets of earlier turns are in the lanes again.
    pub(crate) fn begin(&mut self, view: &View, now: u64) -> usize {
        self.recent.begin(view.tables.generation());
        self.now = now;
        self.settled = 0;
        self.triple_des.left = self.triple_des.budget;
        self.selection.begin();
        self.triple_des.release(view, &mut self.lanes)
    }

    /// The next IPv4 identification.
    pub(crate) fn next_identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    /// Sends an Ethernet frame by a port, at the latest with [`Self::flush`].
    pub(crate) fn transmit(&mut self, view: &View, port: PortId, mbuf: Mbuf) {
        match self.tx.get_mut(usize::from(port.0)) {
            Some(tx) => tx.transmit(view, port, mbuf),
            None => view.drop(mbuf, DropReason::PortUnknown),
        }
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self, view: &View) {
        for (port, tx) in (0..).map(PortId).zip(&mut self.tx) {
            tx.flush(view, port);
        }
    }
}

impl PortTx {
    /// Sends an Ethernet frame, at the latest with [`Work::flush`].
    #[inline]
    pub(crate) fn transmit(&mut self, view: &View, port: PortId, mut mbuf: Mbuf) {
        mbuf.clear_offloads();
        self.enqueue(view, port, mbuf);
    }

    /// Sends an outer packet on Ethernet whose checksums were left to this port, which fills them
    /// in.
    #[inline]
    pub(crate) fn transmit_unsealed(
        &mut self,
        view: &View,
        port: PortId,
        mut mbuf: Mbuf,
        is_ipv6: bool,
    ) {
        const L2_LEN: u8 = 14;
        const { assert!(L2_LEN as usize == ETHERNET_LEN) };
        let ip_len = if is_ipv6 { IPV6_LEN } else { IPV4_LEN };
        mbuf.request_tx_checksums(L2_LEN, len16(ip_len), is_ipv6);
        if let Some(flows) = view.counters.ports.get(usize::from(port.0)) {
            flows.checksums.add(1);
        }
        self.enqueue(view, port, mbuf);
    }

    #[inline]
    fn enqueue(&mut self, view: &View, port: PortId, mbuf: Mbuf) {
        if let Err(mbuf) = self.waiting.push(mbuf) {
            self.make_room(view, port, mbuf);
        }
    }

    #[cold]
    fn make_room(&mut self, view: &View, port: PortId, mbuf: Mbuf) {
        self.flush(view, port);
        if let Err(mbuf) = self.waiting.push(mbuf) {
            view.drop(mbuf, DropReason::TxFull);
        }
    }

    /// One try: what the port does not take now is dropped, or a slow port would hold up all.
    fn flush(&mut self, view: &View, port: PortId) {
        if self.waiting.is_empty() {
            return;
        }
        let offered: usize = self.waiting.iter().map(Mbuf::len).sum();
        let watched = view.watch.is_on().then(|| view.watch.sends(port, &mut self.waiting));
        let sent = self.queue.send(&mut self.waiting);
        if let Some(watched) = watched {
            view.watch.sent(&watched, sent, &mut self.waiting);
        }
        let refused: usize = self.waiting.iter().map(Mbuf::len).sum();
        if let Some(flows) = view.counters.ports.get(usize::from(port.0)) {
            flows.tx.add_many(sent as u64, (offered - refused) as u64);
        }
        for mbuf in self.waiting.drain() {
            view.drop(mbuf, DropReason::TxFull);
        }
    }
}
