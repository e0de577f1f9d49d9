//! Who helps whom: a worker with more to do than it can lets others run a part of its crypto.
//!
//! One mobile router is one SA, and an SA belongs to one worker, which alone draws its numbers and
//! moves its window. What can be shared is what takes the time: encryption and integrity. So a
//! loaded worker gives large packets away by a ring and gets them back by another, finished, and
//! settles them in the order in which they went out (`stage::assist`). Small packets are not worth
//! the way.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;

use hearth_dpdk::{Burst, Mbuf, RingConsumer, SharedRingProducer};

use crate::clock;

/// Packets that one worker has given to another and not got back, at most: enough that the helper
/// has the next burst while it gives the last one back.
const WINDOW: u16 = 128;
/// Packets that go to a worker at once: each push takes the ring's line from the core that looks
/// into it.
pub(crate) const LOT: usize = 32;
/// Octets of a frame from which on it is worth the way.
pub(crate) const WORTH_SHARING: u16 = 400;
/// Turns in a row with a full share of packets after which a worker looks for help.
const LOADED_TURNS: u8 = 2;
/// How long a worker that was asked for stays awake, in microseconds.
const WANTED_US: u64 = 10_000;
/// How long the owner waits for a packet that another worker has, in microseconds: many times what
/// a helper needs that runs at all.
const PATIENCE_US: u64 = 20_000;
/// What one turn counts of that at most, in microseconds. Where the owner itself did not run, or
/// the whole machine, nobody has stalled.
const TURN_US: u64 = 1_000;

/// What a worker lets the others know, on a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Post {
    /// It polls, and has little to do. the worker: rw, others: ro
    offers: AtomicBool,
    /// When somebody last had need of it. others: wo, the worker: ro
    wanted: AtomicU64,
    /// It has stopped, and takes nothing back. the worker: wo, others: ro
    is_gone: AtomicBool,
}

/// All workers' posts.
#[derive(Debug)]
pub(crate) struct Board(Box<[Post]>);

impl Board {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Post::default()).collect())
    }
}

/// What one worker has of it: the ring by which packets come, the rings by which they go, and the
/// posts.
pub(crate) struct AssistEnds {
    pub(crate) inbox: RingConsumer,
    /// By worker.
    pub(crate) peers: Vec<SharedRingProducer>,
    pub(crate) board: Arc<Board>,
}

impl AssistEnds {
    /// For all workers, with rings that `ring` makes by worker.
    pub(crate) fn new<E>(
        workers: usize,
        ring: impl Fn(usize) -> Result<(SharedRingProducer, RingConsumer), E>,
    ) -> Result<Vec<Self>, E> {
        let rings = (0..workers).map(ring).collect::<Result<Vec<_>, E>>()?;
        let board = Arc::new(Board::new(workers));
        let (peers, inboxes): (Vec<_>, Vec<_>) = rings.into_iter().unzip();
        let ends = inboxes.into_iter().map(|inbox| Self {
            inbox,
            peers: peers.clone(),
            board: Arc::clone(&board),
        });
        Ok(ends.collect())
    }
}

/// One worker's side of it.
pub(crate) struct Sharing {
    board: Arc<Board>,
    index: usize,
    /// Packets that each worker has of this one's.
    lent: Box<[u16]>,
    /// Whether there are others to share with, and it is wanted.
    shares: bool,
    /// Whose turn it is to be asked.
    next: usize,
    loaded_turns: u8,
    /// Whether a frame that is worth the way came in this turn.
    worth_it: bool,
    /// Whether packets of this turn may be given away.
    on: bool,
    /// What goes to the worker whose turn it is.
    lot: Box<Burst<LOT>>,
    /// Others' packets that are done and have not found room in their ring yet, and whose they are.
    pub(crate) returning: VecDeque<(usize, Mbuf)>,
    wanted_cycles: u64,
    /// Cycles of this worker's turns, as far as they count for its patience.
    time: u64,
    /// When the last turn began.
    last_turn: u64,
    turn_cycles: u64,
    patience: u64,
}

impl Sharing {
    pub(crate) fn new(board: Arc<Board>, index: usize, shares: bool) -> Self {
        let workers = board.0.len();
        Self {
            board,
            index,
            lent: vec![0; workers].into_boxed_slice(),
            shares,
            next: index,
            loaded_turns: 0,
            worth_it: false,
            on: false,
            lot: Box::default(),
            // What all others may have lent, so that it never grows.
            returning: VecDeque::with_capacity(usize::from(WINDOW) * workers.saturating_sub(1)),
            wanted_cycles: WANTED_US * clock::cycles_per_us(),
            time: 0,
            last_turn: 0,
            turn_cycles: TURN_US * clock::cycles_per_us(),
            patience: PATIENCE_US * clock::cycles_per_us(),
        }
    }

    /// Whether packets of this turn may be given away.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Notes the length of a frame, or of what becomes one. One of a burst stands for it: packets
    /// that are worth the way come in trains.
    #[inline]
    pub(crate) fn note_frame(&mut self, len: usize) {
        self.worth_it |= len >= usize::from(WORTH_SHARING);
    }

    /// Notes whether a turn had a full share of packets from the wire.
    pub(crate) fn note_turn(&mut self, full: bool, now: u64) {
        if !self.shares {
            return;
        }
        self.loaded_turns = if full { self.loaded_turns.saturating_add(1) } else { 0 };
        let loaded = self.is_loaded();
        let posts = &self.board.0;
        if let Some(own) = posts.get(self.index)
            && own.offers.load(Ordering::Relaxed) == loaded
        {
            own.offers.store(!loaded, Ordering::Release);
        }
        // Whoever is asked stays awake: only for what he could be given.
        if core::mem::take(&mut self.worth_it) && loaded {
            posts.iter().for_each(|post| post.wanted.store(now, Ordering::Relaxed));
        }
    }

    const fn is_loaded(&self) -> bool {
        self.loaded_turns >= LOADED_TURNS
    }

    /// Decides at the start of a turn; `riding` says that shared packets are still out, which all
    /// others have to stay behind. Whether this begins it.
    pub(crate) fn decide(&mut self, riding: bool) -> bool {
        let before = self.on;
        self.on = riding || self.is_loaded() && (0..self.lent.len()).any(|peer| self.offers(peer));
        self.on && !before
    }

    fn offers(&self, peer: usize) -> bool {
        peer != self.index
            && self.board.0.get(peer).is_some_and(|post| post.offers.load(Ordering::Acquire))
    }

    /// Who takes the next packet; `None` where nobody has room for it. Whoever has been given a
    /// packet is given the rest of the lot, as long as there is room.
    pub(crate) fn pick(&mut self) -> Option<usize> {
        if !self.lot.is_empty() {
            return Some(self.next).filter(|peer| self.has_room(*peer) && !self.lot.is_full());
        }
        for _ in 0..self.lent.len() {
            if self.has_room(self.next) && self.offers(self.next) {
                return Some(self.next);
            }
            self.pass_on();
        }
        None
    }

    fn has_room(&self, peer: usize) -> bool {
        self.lent.get(peer).is_some_and(|lent| *lent < WINDOW)
    }

    fn pass_on(&mut self) {
        self.next = if self.next + 1 < self.lent.len() { self.next + 1 } else { 0 };
    }

    /// Puts a packet into the lot of `peer`, who was picked for it.
    ///
    /// # Errors
    /// The packet, where the lot is full.
    pub(crate) fn lend(&mut self, peer: usize, mbuf: Mbuf) -> Result<(), Mbuf> {
        self.lot.push(mbuf)?;
        if let Some(lent) = self.lent.get_mut(peer) {
            *lent += 1;
        }
        Ok(())
    }

    /// Hands the lot over by the ring of the worker whose turn it is, and passes the turn on. What
    /// the ring has no room for stays in the lot.
    pub(crate) fn hand_over(&mut self, rings: &[SharedRingProducer]) {
        if let Some(ring) = rings.get(self.next) {
            ring.send(&mut self.lot);
        }
        self.pass_on();
    }

    /// Takes a packet out of the lot again.
    pub(crate) fn take_from_lot(&mut self) -> Option<Mbuf> {
        self.lot.pop()
    }

    /// Whether nothing waits to be handed over.
    #[inline]
    pub(crate) fn lot_is_empty(&self) -> bool {
        self.lot.is_empty()
    }

    /// Whether no more may be lent before it is.
    pub(crate) const fn lot_is_full(&self) -> bool {
        self.lot.is_full()
    }

    /// Counts one that came back.
    pub(crate) fn returned(&mut self, peer: usize) {
        if let Some(lent) = self.lent.get_mut(peer) {
            *lent = lent.saturating_sub(1);
        }
    }

    /// Notes when a turn began.
    pub(crate) fn begin(&mut self, now: u64) {
        self.time += now.saturating_sub(self.last_turn).min(self.turn_cycles);
        self.last_turn = now;
    }

    /// This worker's own time, in cycles.
    pub(crate) const fn time(&self) -> u64 {
        self.time
    }

    /// The own time at which a packet went out at the latest that should be back by now.
    pub(crate) fn overdue(&self) -> Option<u64> {
        self.time.checked_sub(self.patience)
    }

    /// Whether this worker had better not sleep.
    pub(crate) fn is_wanted(&self, now: u64) -> bool {
        self.board.0.get(self.index).is_some_and(|post| {
            let wanted = post.wanted.load(Ordering::Relaxed);
            wanted != 0 && now.saturating_sub(wanted) < self.wanted_cycles
        })
    }

    /// Says that this worker goes to sleep.
    pub(crate) fn withdraw(&self) {
        if let Some(own) = self.board.0.get(self.index) {
            own.offers.store(false, Ordering::Release);
        }
    }

    /// Says that this worker stops: it takes nothing, and takes nothing back.
    pub(crate) fn leave(&self) {
        self.withdraw();
        if let Some(own) = self.board.0.get(self.index) {
            own.is_gone.store(true, Ordering::Release);
        }
    }

    /// Whether a worker has stopped.
    pub(crate) fn is_gone(&self, worker: usize) -> bool {
        self.board.0.get(worker).is_none_or(|post| post.is_gone.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> [Sharing; 2] {
        let board = Arc::new(Board::new(2));
        [0, 1].map(|index| Sharing::new(Arc::clone(&board), index, true))
    }

    #[test]
    fn nobody_is_kept_awake_for_nothing() {
        for (shares, len, wanted) in
            [(true, WORTH_SHARING, true), (true, WORTH_SHARING - 1, false), (false, 1400, false)]
        {
            let board = Arc::new(Board::new(2));
            let [mut loaded, idle] =
                [0, 1].map(|index| Sharing::new(Arc::clone(&board), index, shares));
            for turn in 1..4 {
                loaded.note_frame(len.into());
                loaded.note_turn(true, turn);
            }
            assert_eq!(idle.is_wanted(4), wanted, "{shares} {len}");
        }
    }

    #[test]
    fn a_loaded_worker_asks_one_that_has_nothing_to_do() {
        let [mut loaded, mut idle] = pair();
        idle.note_turn(false, 1);
        loaded.note_turn(true, 1);
        assert!(!loaded.decide(false), "one full turn is no load");
        loaded.note_frame(1400);
        loaded.note_turn(true, 2);
        assert!(loaded.decide(false));
        assert!(!loaded.decide(false), "it is on already");
        assert!(idle.is_wanted(3));
        assert!(!idle.is_wanted(2 + idle.wanted_cycles));
        for _ in 0..WINDOW {
            assert_eq!(loaded.pick(), Some(1));
            loaded.lent[1] += 1;
        }
        assert_eq!(loaded.pick(), None);
        loaded.returned(1);
        assert_eq!(loaded.pick(), Some(1));
    }

    #[test]
    fn nobody_asks_who_sleeps_or_is_loaded() {
        let [mut loaded, mut other] = pair();
        for turn in 1..3 {
            loaded.note_turn(true, turn);
        }
        assert!(!loaded.decide(false));
        other.note_turn(false, 3);
        assert!(loaded.decide(false));
        other.withdraw();
        assert_eq!(loaded.pick(), None);
        for turn in 4..6 {
            other.note_turn(true, turn);
        }
        assert_eq!(loaded.pick(), None);
        // What is out keeps the order until it is back.
        assert!(!loaded.decide(true) && loaded.is_on());
        assert!(!loaded.decide(false) && !loaded.is_on());
    }
}
