//! A thread with a part of the nodes: their sockets, timers and paces.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::bootstraps::Bootstraps;
use super::mailbox::{Mailbox, hush};
use super::node::{BUFFER, Node, Tools};
use super::pace::Pace;
use super::results::Results;
use super::{Order, Plan, Told};
use crate::bootstrap::Grant;
use crate::hac_client::Failure;
use crate::tunnel::IvSource;

/// What the bell is waited for under.
const BELL: u64 = u64::MAX;
/// De-registrations a second, over the fleet.
const LEAVES_PER_SECOND: f64 = 2000.0;
/// Nodes that are looked at for one that rests.
const LOOKS: usize = 64;

/// How long all de-registrations take to be sent.
pub(super) fn leave_time(plan: &Plan) -> Duration {
    Duration::from_secs_f64(f64::from(plan.nodes) / LEAVES_PER_SECOND)
        + plan.node.timers.stop_timeout
}

/// What a shard hears of.
pub(super) enum Event {
    Order(Order),
    Bootstrapped { number: u32, outcome: Result<Box<Grant>, Failure>, took: Duration },
}

/// The paces of a shard.
struct Paces {
    starts: Pace,
    updates: Pace,
    handovers: Pace,
    packets: Pace,
    leaves: Pace,
}

impl Paces {
    fn all(&self) -> [&Pace; 5] {
        [&self.starts, &self.updates, &self.handovers, &self.packets, &self.leaves]
    }
}

/// A part of the fleet: the nodes whose numbers leave the same remainder.
pub(super) struct Shard {
    index: u32,
    of: u32,
    nodes: Vec<Node>,
    tools: Tools,
    events: Receiver<Event>,
    bell: Arc<OwnedFd>,
    tell: Sender<Told>,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    paces: Paces,
    /// Where the rounds of starts, updates, handovers, packets and ends have got to.
    started: usize,
    updated: usize,
    moved: usize,
    sent: usize,
    left: usize,
    /// Nodes that have not ended.
    alive: usize,
    leaving: bool,
}

impl Shard {
    /// Starts the thread.
    pub(super) fn start(
        index: u16,
        plan: &Arc<Plan>,
        bootstraps: &Bootstraps,
        tell: Sender<Told>,
    ) -> io::Result<Mailbox<Event>> {
        let (mailbox, events, bell) = Mailbox::new()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        let (index, of) = (u32::from(index), u32::from(plan.threads));
        let begun = Instant::now();
        let mut ivs = IvSource::new().map_err(io::Error::other)?;
        let nodes: Vec<Node> = (index..plan.nodes)
            .step_by(of as usize)
            .map(|number| {
                let iv = ivs.draw();
                let sequence = u16::from_ne_bytes([iv[0], iv[1]]);
                Node::new(number, u64::from(number / of), plan, sequence)
            })
            .collect();
        let never = Pace::new(0.0, begun);
        let per_shard = plan.bootstraps_per_second / f64::from(of);
        let mut shard = Self {
            index,
            of,
            alive: nodes.len(),
            nodes,
            tools: Tools {
                plan: Arc::clone(plan),
                bootstraps: bootstraps.clone(),
                mailbox: mailbox.clone(),
                epoll,
                ivs,
                results: Results::default(),
                begun,
                sources: HashMap::new(),
                interface: "fleet".into(),
                buffer: Box::new([0; BUFFER]),
            },
            events,
            bell,
            tell,
            timers: BinaryHeap::new(),
            paces: Paces {
                starts: Pace::new(per_shard, begun),
                updates: never,
                handovers: never,
                packets: never,
                leaves: never,
            },
            started: 0,
            updated: 0,
            moved: 0,
            sent: 0,
            left: 0,
            leaving: false,
        };
        let work = move || {
            if let Err(error) = shard.run() {
                tracing::error!(%error, "a thread of the fleet ends");
            }
            let results = Box::new(std::mem::take(&mut shard.tools.results));
            // Nobody is there any more where the fleet has run out of patience.
            let _ = shard.tell.send(Told::Ended(results));
        };
        thread::Builder::new().name(format!("fleet-{index}")).spawn(work)?;
        Ok(mailbox)
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(256);
        while !(self.leaving && self.alive == 0) {
            let timeout = self.patience();
            match epoll::wait(&self.tools.epoll, spare_capacity(&mut ready), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in ready.drain(..) {
                self.on_ready(event.data.u64());
            }
            let now = Instant::now();
            self.on_timers(now);
            self.keep_pace(now);
        }
        Ok(())
    }

    fn patience(&self) -> Timespec {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let paces = self.paces.all().into_iter().filter_map(Pace::next);
        let now = Instant::now();
        let next = paces.chain(timer).min().map(|at| at.saturating_duration_since(now));
        let wait = next.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(1));
        let nanoseconds = i64::from(wait.subsec_nanos());
        Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: nanoseconds }
    }

    fn on_ready(&mut self, token: u64) {
        if token == BELL {
            hush(&self.bell);
            while let Ok(event) = self.events.try_recv() {
                self.on_event(event);
            }
            return;
        }
        let now = Instant::now();
        self.with(usize::try_from(token).unwrap_or(usize::MAX), now, |node, tools| {
            node.receive(tools, now);
        });
    }

    fn on_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Bootstrapped { number, outcome, took } => {
                self.with((number / self.of) as usize, now, |node, tools| {
                    node.on_bootstrapped(tools, outcome, took, now);
                });
            }
            Event::Order(Order::Load) => self.load(now),
            Event::Order(Order::Quiet) => self.quiet(now),
            Event::Order(Order::Leave) => {
                self.quiet(now);
                self.paces.starts = Pace::new(0.0, now);
                self.paces.leaves = Pace::new(LEAVES_PER_SECOND / f64::from(self.of), now);
                self.leaving = true;
            }
        }
    }

    fn load(&mut self, now: Instant) {
        let plan = &self.tools.plan;
        let part = self.nodes.len() as f64 / f64::from(plan.nodes);
        self.paces.updates = Pace::new(plan.updates_per_second * part, now);
        self.paces.handovers = Pace::new(plan.handovers_per_second * part, now);
        if let Some(traffic) = &plan.traffic {
            let packets = traffic.packets_per_second * self.nodes.len() as f64;
            self.paces.packets = Pace::new(packets, now);
        }
    }

    fn quiet(&mut self, now: Instant) {
        let results = &mut self.tools.results;
        results.updates_given_up += self.paces.updates.given_up;
        results.handovers_given_up += self.paces.handovers.given_up;
        results.packets_given_up += self.paces.packets.given_up;
        let never = Pace::new(0.0, now);
        self.paces.updates = never;
        self.paces.handovers = never;
        self.paces.packets = never;
    }

    /// Lets a node do something, and sets its timer afterwards.
    fn with<T>(
        &mut self,
        at: usize,
        now: Instant,
        work: impl FnOnce(&mut Node, &mut Tools) -> T,
    ) -> Option<T> {
        let node = self.nodes.get_mut(at)?;
        if node.stopped {
            return None;
        }
        let before = node.was_registered;
        let done = work(node, &mut self.tools);
        if node.was_registered && !before {
            let _ = self.tell.send(Told::Registered);
        }
        if node.stopped {
            self.alive -= 1;
        }
        let deadline = node.deadline();
        if deadline.is_some() && deadline != node.armed {
            node.armed = deadline;
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            self.timers.extend(deadline.map(|deadline| Reverse((deadline.max(now), at))));
            node.armed = deadline.map(|deadline| deadline.max(now));
        }
        Some(done)
    }

    fn on_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, node))) = self.timers.peek().copied().filter(|t| t.0.0 <= now) {
            self.timers.pop();
            let index = node as usize;
            // Another time has been set since.
            if self.nodes.get(index).is_none_or(|node| node.armed != Some(at)) {
                continue;
            }
            if let Some(node) = self.nodes.get_mut(index) {
                node.armed = None;
            }
            self.with(index, now, |node, tools| node.on_timer(tools, now));
        }
    }

    fn keep_pace(&mut self, now: Instant) {
        for _ in 0..self.paces.starts.due(now) {
            self.with(self.started, now, Node::start);
            self.started += 1;
        }
        if self.started >= self.nodes.len() {
            self.paces.starts = Pace::new(0.0, now);
        }
        for _ in 0..self.paces.updates.due(now) {
            let done = self.next_that(now, |shard| &mut shard.updated, Node::refresh);
            self.tools.results.updates_given_up += u64::from(!done);
        }
        for _ in 0..self.paces.handovers.due(now) {
            let done = self.next_that(now, |shard| &mut shard.moved, Node::hand_over);
            self.tools.results.handovers_given_up += u64::from(!done);
        }
        if let Some(traffic) = self.tools.plan.traffic {
            for _ in 0..self.paces.packets.due(now) {
                let at = turn(&mut self.sent, self.nodes.len());
                let node = self.nodes.get_mut(at);
                let sent = node.is_some_and(|node| node.send_data(&mut self.tools, &traffic));
                self.tools.results.packets_given_up += u64::from(!sent);
            }
        }
        for _ in 0..self.paces.leaves.due(now) {
            self.with(self.left, now, |node, tools| node.stop(tools, now));
            self.left += 1;
        }
        if self.left >= self.nodes.len() && self.leaving {
            self.paces.leaves = Pace::new(0.0, now);
        }
    }

    /// Has the next node that rests do `work`; whether there was one.
    fn next_that(
        &mut self,
        now: Instant,
        round: impl Fn(&mut Self) -> &mut usize,
        work: impl Fn(&mut Node, &mut Tools, Instant) -> bool,
    ) -> bool {
        let count = self.nodes.len();
        (0..LOOKS.min(count)).any(|_| {
            let at = turn(round(self), count);
            self.with(at, now, |node, tools| work(node, tools, now)).unwrap_or_default()
        })
    }
}

/// The next of `count`, round and round.
const fn turn(at: &mut usize, count: usize) -> usize {
    let now = *at;
    *at = if now + 1 < count { now + 1 } else { 0 };
    now
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { index, alive, .. } = self;
        f.debug_struct("Shard").field("index", index).field("alive", alive).finish_non_exhaustive()
    }
}
