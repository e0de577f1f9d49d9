//! A worker: one core, and a packet's whole path on one screen.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_dpdk::{BURST, Burst, Eal, Epoch, QsbrReader, RingConsumer, SharedRingProducer};

use crate::clock;
use crate::config::{BuildError, Config, PortId};
use crate::counters::Counters;
use crate::crypto::engine::{Job, Mark, Rule};
use crate::dataplane::WorkerQueues;
use crate::drop_reason::DropReason;
use crate::hints::Hints;
use crate::missing::MissingSas;
use crate::sharing::{AssistEnds, Sharing};
use crate::side::Pools;
use crate::stage::{
    assist, egress, forward, members, pieces, receive, settle, tunnel_in, tunnel_out,
};
use crate::table::shared::Tables;
use crate::table::writer::TableWriter;
use crate::view::View;
use crate::watch::Watch;
use crate::work::{Lanes, Work, WorkParts};

/// Packets that have to come at once for the burst to wait for its cache lines, which it does until
/// the next burst comes or none.
const WORTH_WAITING: usize = 16;
/// Empty turns before a worker starts to sleep.
const PATIENCE: u32 = 1000;
/// How long it sleeps at a time when nothing has come for so long, the longest silence first.
/// Looking 20 000 times a second costs an idle machine several percent of a core.
const NAPS: [(Duration, Duration); 3] = [
    (Duration::from_secs(1), Duration::from_millis(1)),
    (Duration::from_millis(100), Duration::from_micros(250)),
    (Duration::ZERO, Duration::from_micros(50)),
];

/// The next nap of a worker that has had nothing to do for this long.
fn nap(silence: Duration) -> Duration {
    NAPS.iter().find(|(from, _)| silence >= *from).map_or(Duration::ZERO, |(_, nap)| *nap)
}

/// One worker. It moves to the thread that runs it.
pub struct Worker {
    view: View,
    work: Work,
    rx: Vec<(PortId, hearth_dpdk::RxQueue)>,
    inbox: RingConsumer,
    assist: RingConsumer,
    from_control: RingConsumer,
    burst: Burst,
    /// A burst that waits for its prefetches while another one is worked on, and its port.
    ahead: (PortId, Burst),
    reader: QsbrReader,
    /// The epoch to report as soon as the packets up to this mark have left the lanes.
    riding: Option<(Epoch, Mark)>,
    /// What this turn takes out of the lanes, besides what is done.
    due: Rule,
    max_job_age: u64,
    max_triple_des_age: u64,
    busy_poll: bool,
    eal: Eal,
}

/// What a worker is made of.
pub(crate) struct WorkerParts<'a> {
    pub(crate) index: usize,
    pub(crate) eal: &'a Eal,
    pub(crate) config: &'a Config,
    pub(crate) pools: Pools,
    pub(crate) queues: WorkerQueues,
    pub(crate) tables: Arc<Tables>,
    pub(crate) writer: &'a TableWriter,
    pub(crate) reader: QsbrReader,
    pub(crate) counters: Arc<Counters>,
    pub(crate) missing: MissingSas,
    pub(crate) hints: Hints,
    pub(crate) inbox: RingConsumer,
    pub(crate) assist: AssistEnds,
    pub(crate) from_control: RingConsumer,
    pub(crate) peers: Vec<SharedRingProducer>,
    pub(crate) signalling: SharedRingProducer,
    pub(crate) host: SharedRingProducer,
    pub(crate) watch: Watch,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts<'_>) -> Result<Self, BuildError> {
        let counters = parts.counters.worker(parts.index).ok_or(BuildError::Config("workers"))?;
        let view = View {
            index: parts.index,
            tables: parts.tables,
            neighbours: parts.writer.neighbours().reader(),
            macs: parts.queues.tx.iter().map(|port| port.mac).collect(),
            counters,
            missing: parts.missing,
            grants: parts.hints.grants,
            contests: parts.hints.contests,
            peers: parts.peers,
            assist: parts.assist.peers,
            signalling: parts.signalling,
            host: parts.host,
            watch: parts.watch,
        };
        let shares = parts.config.share_crypto && parts.config.workers > 1;
        let work = Work::new(WorkParts {
            index: parts.index,
            eal: parts.eal,
            config: parts.config,
            pools: parts.pools,
            tx: parts.queues.tx,
            device: parts.queues.device,
            sharing: Sharing::new(parts.assist.board, parts.index, shares),
            shares,
        })?;
        let cycles = |us: u32| u64::from(us) * clock::cycles_per_us();
        Ok(Self {
            view,
            work,
            rx: parts.queues.rx,
            inbox: parts.inbox,
            assist: parts.assist.inbox,
            from_control: parts.from_control,
            burst: Burst::new(),
            ahead: (PortId(0), Burst::new()),
            reader: parts.reader,
            riding: None,
            due: Rule::Ready,
            max_job_age: cycles(parts.config.max_job_age_us),
            max_triple_des_age: cycles(parts.config.max_triple_des_job_age_us),
            busy_poll: parts.config.busy_poll,
            eal: parts.eal.clone(),
        })
    }

    /// Takes turns until `stop` is set. To be called on the worker's own thread, which the caller
    /// has put on a core of its own.
    pub fn run(mut self, stop: &AtomicBool) {
        // Without it mempools work too, only without a cache for this thread; so a refusal (no
        // lcore id left, or the thread is DPDK's already) is no reason to stop.
        let _registration = self.eal.clone().register_thread();
        let mut empty = 0_u32;
        let mut busy_until = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if self.turn() > 0 {
                empty = 0;
            } else if !self.busy_poll {
                empty = empty.saturating_add(1);
                if empty == PATIENCE {
                    busy_until = Instant::now();
                } else if empty > PATIENCE && !self.work.sharing.is_wanted(clock::now()) {
                    self.work.sharing.withdraw();
                    std::thread::sleep(nap(busy_until.elapsed()));
                }
            }
        }
    }

    /// One turn: everything that has arrived goes on, most of it out again. Returns how many
    /// packets came in or out of the crypto lanes; 0 says that there was nothing to do. Never
    /// waits.
    pub fn turn(&mut self) -> usize {
        let start = clock::now();
        self.view.watch.look();
        let mut waited = self.work.begin(&self.view, start);
        waited += members::copy(&self.view, &mut self.work);
        if waited > 0 {
            Self::stages(&self.view, &mut self.work);
        }
        self.work.triple_des.released();
        // Under load packets ride on until the lanes are full or their time is up.
        self.due = Rule::Since {
            common: start.saturating_sub(self.max_job_age),
            triple_des: start.saturating_sub(self.max_triple_des_age),
        };
        self.begin_sharing();
        let received = waited + self.receive();
        if received == 0 {
            self.settle(Rule::All);
        } else if self.ahead.1.is_empty() {
            self.settle(self.due);
        }
        assist::send_back(&self.view, &mut self.work);
        pieces::age(&self.view, &mut self.work);
        self.work.flush(&self.view);
        self.quiesce();

        let handled = received + self.work.settled;
        self.account(start, handled);
        handled
    }

    /// Decides whether packets of this turn may go to other workers. Those that went in before
    /// sharing begins come out before it does, so that no packet overtakes them.
    fn begin_sharing(&mut self) {
        let Some(shared) = &self.work.engine.shared else { return };
        self.work.sharing.begin(self.work.now);
        let riding = !shared.is_empty();
        if self.work.sharing.decide(riding) && !self.work.engine.nothing_unshared() {
            self.settle(self.due.all_common());
        }
    }

    /// Takes in what has arrived, a burst at a time.
    fn receive(&mut self) -> usize {
        let mut received = 0;
        if self.assist.receive(&mut self.burst) > 0 {
            received += self.burst.len();
            assist::take_in(&self.view, &mut self.work, &mut self.burst);
            self.process();
        }
        if assist::give_up(&self.view, &mut self.work) {
            self.settle(self.due);
        }
        if !self.has_room() {
            // What only rides need not.
            self.settle(self.due.all_common());
        }
        let mut full = !self.has_room();
        received += self.receive_rings(&mut full) + self.receive_wires(&mut full);
        self.work.sharing.note_turn(full, self.work.now);
        if received > 0 {
            self.view.counters.taken_in.add(received as u64);
        } else if self.has_room() {
            self.take_up_ahead();
        }
        received
    }

    /// What is out at other workers has to come back before more is taken in than can wait for it:
    /// two bursts at a time, and what they set off. Rings and queues hold the rest meanwhile, and
    /// name what they have no room for.
    fn has_room(&self) -> bool {
        self.work.engine.shared.as_ref().is_none_or(|shared| shared.room() > 4 * BURST)
    }

    /// From control and from other workers. `full` becomes true where many packets came.
    fn receive_rings(&mut self, full: &mut bool) -> usize {
        let mut received = 0;
        if self.has_room() && self.from_control.receive(&mut self.burst) > 0 {
            received += self.burst.len();
            receive::from_control(&self.view, &mut self.work, &mut self.burst);
            self.process();
        }
        if self.has_room() && self.inbox.receive(&mut self.burst) > 0 {
            received += self.burst.len();
            *full |= self.burst.len() >= WORTH_WAITING;
            receive::from_peers(&self.view, &mut self.work, &mut self.burst);
            self.process();
        }
        received
    }

    /// From the ports. `full` becomes true where many packets came.
    fn receive_wires(&mut self, full: &mut bool) -> usize {
        let mut received = 0;
        for queue in 0..self.rx.len() {
            if !self.has_room() {
                break;
            }
            let Some((port, rx)) = self.rx.get_mut(queue) else { break };
            let (port, count) = (*port, rx.receive(&mut self.burst));
            if count > 0 {
                received += count;
                *full |= count >= WORTH_WAITING;
                receive::look_ahead(&self.burst);
                self.take_up(port, count >= WORTH_WAITING);
            }
        }
        received
    }

    /// Takes up the burst that came before this one, which has its cache lines by now, and keeps
    /// this one for later; or takes up both, where few packets come at a time.
    fn take_up(&mut self, port: PortId, wait: bool) {
        self.take_up_ahead();
        core::mem::swap(&mut self.ahead.1, &mut self.burst);
        self.ahead.0 = port;
        if !wait {
            self.take_up_ahead();
        }
    }

    /// Takes up the burst that was kept, if there is one.
    fn take_up_ahead(&mut self) {
        let (port, burst) = &mut self.ahead;
        if !burst.is_empty() {
            receive::from_wire(&self.view, &mut self.work, *port, burst);
            self.process();
        }
    }

    /// Empties the lanes between the stages, in a packet's order.
    fn process(&mut self) {
        tunnel_in::look_ahead(&self.view, &self.work);
        forward::look_ahead(&self.view, &self.work);
        if let Some((_, envelope)) = self.work.lanes.protected.last() {
            self.work.sharing.note_frame(envelope.frame_len().into());
        }
        tunnel_in::plain(&self.view, &mut self.work);
        // While the lines of this burst's SAs are on their way: what is done of earlier ones.
        self.settle(self.due);
        tunnel_in::protected(&self.view, &mut self.work);
        Self::onward(&self.view, &mut self.work);
    }

    fn stages(view: &View, work: &mut Work) {
        tunnel_in::plain(view, work);
        tunnel_in::protected(view, work);
        Self::onward(view, work);
    }

    /// The stages behind the tunnel's end.
    fn onward(view: &View, work: &mut Work) {
        if !work.lanes.behind.is_empty() {
            Self::from_behind(view, work);
        }
        Self::outward(view, work);
        if !work.lanes.errors.is_empty() {
            Self::errors(view, work);
        }
    }

    fn outward(view: &View, work: &mut Work) {
        forward::route(view, work);
        if let Some(packet) = work.lanes.downlink.last() {
            work.sharing.note_frame(packet.mbuf.len());
        }
        tunnel_out::encapsulate(view, work);
        egress::send(view, work);
        // What goes through one tunnel into another; each adds to its depth.
        while !work.lanes.downlink.is_empty() {
            tunnel_out::encapsulate(view, work);
            egress::send(view, work);
        }
    }

    /// Takes in the envelopes of mobile nodes behind mobile routers; each was in a tunnel more than
    /// the one before.
    #[cold]
    fn from_behind(view: &View, work: &mut Work) {
        while !work.lanes.behind.is_empty() {
            receive::from_behind(view, work);
            tunnel_in::plain(view, work);
            tunnel_in::protected(view, work);
        }
    }

    /// Sends the ICMP errors that were made. About an error there is none, so that this ends.
    #[cold]
    fn errors(view: &View, work: &mut Work) {
        let Lanes { routed, errors, .. } = &mut work.lanes;
        core::mem::swap(routed, errors);
        Self::outward(view, work);
        let Lanes { routed, errors, .. } = &mut work.lanes;
        core::mem::swap(routed, errors);
    }

    fn settle(&mut self, rule: Rule) {
        while settle::settle(&self.view, &mut self.work, rule) > 0 {
            Self::onward(&self.view, &mut self.work);
        }
    }

    /// Reports a quiescent state: between turns the only references to tables are those of the
    /// jobs in the lanes.
    fn quiesce(&mut self) {
        if self.work.engine.is_empty() {
            self.riding = None;
            self.reader.quiescent();
            return;
        }
        match self.riding {
            Some((epoch, mark)) if self.work.engine.has_passed(mark) => {
                self.reader.quiescent_at(epoch);
                self.riding = None;
            }
            Some(_) => {}
            None => self.riding = Some((self.reader.epoch(), self.work.engine.submitted())),
        }
    }

    fn account(&self, start: u64, handled: usize) {
        let cycles = clock::now().wrapping_sub(start);
        let counters = &self.view.counters;
        let (turns, time) = if handled > 0 {
            (&counters.busy_turns, &counters.busy_cycles)
        } else {
            (&counters.idle_turns, &counters.idle_cycles)
        };
        turns.add(1);
        time.add(cycles);
    }
}

impl Drop for Worker {
    /// Counts what was under way; dropping it gives the mbufs back. Other workers' packets go back
    /// to them.
    fn drop(&mut self) {
        // Before its ring is emptied: nothing comes back from here on.
        self.work.sharing.leave();
        while self.assist.receive(&mut self.burst) > 0 {
            assist::refuse_all(&self.view, &mut self.work, &mut self.burst);
        }
        for mbuf in self.ahead.1.drain() {
            self.view.drop(mbuf, DropReason::Stopped);
        }
        for ring in [&mut self.inbox, &mut self.from_control] {
            while ring.receive(&mut self.burst) > 0 {
                self.burst.drain().for_each(|mbuf| self.view.drop(mbuf, DropReason::Stopped));
            }
        }
        self.work.triple_des.stop(|mbuf| self.view.drop(mbuf, DropReason::Stopped));
        self.work.side.deliveries.stop(|mbuf| self.view.drop(mbuf, DropReason::Stopped));
        let fragments = self.work.side.reassembly.held();
        self.view.counters.stopped_many(DropReason::Stopped, fragments.into());
        let Work { engine, sharing, .. } = &mut self.work;
        while let Some((owner, mbuf)) = sharing.returning.pop_front() {
            assist::go_back(&self.view, sharing, mbuf, owner);
        }
        engine.stop(|mbuf, job| match job {
            Job::Assisted { worker, .. } => {
                assist::go_back(&self.view, sharing, mbuf, worker.into());
            }
            Job::Inbound { .. } | Job::Outbound { .. } | Job::Failed => {
                self.view.drop(mbuf, DropReason::Stopped);
            }
        });
        self.work.lanes = Lanes::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_grow_with_the_silence() {
        for (silence, expected) in
            [(0, 50), (99_999, 50), (100_000, 250), (999_999, 250), (1_000_000, 1000)]
        {
            assert_eq!(nap(Duration::from_micros(silence)), Duration::from_micros(expected));
        }
        assert_eq!(nap(Duration::MAX), Duration::from_millis(1));
    }
}
