//! What a worker works with: packets between stages, crypto, transmit queues.

use core::net::IpAddr;

use hearth_dpdk::{BURST, Burst, Mbuf, TxQueue};

use crate::config::{BuildError, PortId};
use crate::crypto::engine::Engine;
use crate::crypto::iv::IvSource;
use crate::dataplane::PortOut;
use crate::drop_reason::DropReason;
use crate::layout::Ip;
use crate::sa::slot::BindingIndex;
use crate::stage::classify::Envelope;
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

/// A packet to be looked up by its destination; it starts with its IP header and ends with it.
pub(crate) struct Routed {
    pub(crate) mbuf: Mbuf,
    pub(crate) ip: Ip,
    pub(crate) via: Via,
}

/// A packet to a bound home address.
pub(crate) struct Downlink {
    pub(crate) mbuf: Mbuf,
    pub(crate) ip: Ip,
    pub(crate) binding: BindingIndex,
    pub(crate) from_host: bool,
}

/// Where a finished packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Wherever the routes lead.
    To(IpAddr),
    /// To this neighbour.
    Via(PortId, IpAddr),
}

/// A finished packet; it starts with its IP header.
pub(crate) struct Outgoing {
    pub(crate) mbuf: Mbuf,
    pub(crate) hop: Hop,
}

/// Packets between stages. All are empty between turns, and none ever holds more than one burst.
pub(crate) struct Lanes {
    pub(crate) plain: Vec<(Mbuf, Envelope)>,
    pub(crate) protected: Vec<(Mbuf, Envelope)>,
    pub(crate) routed: Vec<Routed>,
    pub(crate) downlink: Vec<Downlink>,
    pub(crate) outgoing: Vec<Outgoing>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            plain: Vec::with_capacity(BURST),
            protected: Vec::with_capacity(BURST),
            routed: Vec::with_capacity(BURST),
            downlink: Vec::with_capacity(BURST),
            outgoing: Vec::with_capacity(BURST),
        }
    }
}

/// A port's transmit queue and what waits for it.
pub(crate) struct PortTx {
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u16,
    queue: TxQueue,
    waiting: Burst,
}

/// The part of a worker that its stages change.
pub(crate) struct Work {
    pub(crate) lanes: Lanes,
    pub(crate) engine: Engine,
    pub(crate) ivs: IvSource,
    /// By port.
    pub(crate) tx: Vec<PortTx>,
    /// When this turn began.
    pub(crate) now: u64,
    /// Packets that came out of the lanes in this turn.
    pub(crate) settled: usize,
    identification: u16,
    triple_des_budget: u16,
    /// 3DES packets that this turn may still take.
    triple_des_left: u16,
}

/// What it is made of.
pub(crate) struct WorkParts {
    pub(crate) tx: Vec<PortOut>,
    pub(crate) triple_des_budget: u16,
}

impl Work {
    pub(crate) fn new(parts: WorkParts) -> Result<Self, BuildError> {
        let mut ivs = IvSource::new().ok_or(BuildError::Random)?;
        let tx = parts.tx.into_iter().map(|port| PortTx {
            mac: port.mac,
            mtu: port.mtu,
            queue: port.queue,
            waiting: Burst::new(),
        });
        Ok(Self {
            lanes: Lanes::default(),
            engine: Engine::new()?,
            identification: ivs.number() as u16,
            ivs,
            tx: tx.collect(),
            now: 0,
            settled: 0,
            triple_des_budget: parts.triple_des_budget,
            triple_des_left: 0,
        })
    }

    /// Starts a turn.
    pub(crate) fn begin(&mut self, now: u64) {
        self.now = now;
        self.settled = 0;
        self.triple_des_left = self.triple_des_budget;
    }

    /// Takes one packet out of the turn's 3DES budget.
    pub(crate) fn take_triple_des(&mut self) -> bool {
        let left = self.triple_des_left.checked_sub(1);
        self.triple_des_left = left.unwrap_or(0);
        left.is_some()
    }

    /// The next IPv4 identification.
    pub(crate) fn next_identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    /// Sends an Ethernet frame by a port.
    pub(crate) fn transmit(&mut self, view: &View, port: PortId, mut mbuf: Mbuf) {
        let Some(tx) = self.tx.get_mut(usize::from(port.0)) else {
            return view.drop(mbuf, DropReason::PortUnknown);
        };
        mbuf.clear_offloads();
        if let Err(mbuf) = tx.waiting.push(mbuf) {
            tx.flush(view, port);
            if let Err(mbuf) = tx.waiting.push(mbuf) {
                view.drop(mbuf, DropReason::TxFull);
            }
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
    /// One try: what the port does not take now is dropped, or a slow port would hold up all.
    fn flush(&mut self, view: &View, port: PortId) {
        if self.waiting.is_empty() {
            return;
        }
        let offered: usize = self.waiting.iter().map(Mbuf::len).sum();
        let sent = self.queue.send(&mut self.waiting);
        let refused: usize = self.waiting.iter().map(Mbuf::len).sum();
        if let Some(flows) = view.counters.ports.get(usize::from(port.0)) {
            flows.tx.add_many(sent as u64, (offered - refused) as u64);
        }
        for mbuf in self.waiting.drain() {
            view.drop(mbuf, DropReason::TxFull);
        }
    }
}
