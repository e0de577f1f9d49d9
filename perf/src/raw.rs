//! The limit: ipsec-mb alone, no packet work.
//!
//! It plays fair: the worker's own burst and riding rule, buffers prefetched a burst ahead, and
//! both ways to submit.

use std::collections::VecDeque;

use hearth_dpdk::{Completed, Mbuf, MultiBuffer, Op, Rejected, Submission};

use crate::buffers::Slots;
use crate::cycles;
use crate::fault::Fault;

/// Packets that arrive together.
pub(crate) const BURST: usize = 32;

/// Cache lines of a packet's data that are asked for ahead; the processor follows by itself.
const LINES: usize = 4;

/// How jobs go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// One by one.
    Job,
    /// A burst in one call.
    Burst,
}

impl Api {
    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Burst => "burst",
        }
    }
}

/// One manager, for jobs of one suite and size.
pub(crate) struct Raw<'k> {
    manager: MultiBuffer<'k>,
    /// How long a job may ride, in ticks.
    max_age: u64,
}

/// Where a pass stands.
struct Pass<'s> {
    slots: &'s mut Slots,
    submitted: usize,
    finished: usize,
    fault: Option<Fault>,
}

impl Pass<'_> {
    fn finish(&mut self, done: Completed) {
        if !done.ok {
            self.fault = Some(Fault::NotDone);
        }
        self.put(done.mbuf);
    }

    fn put(&mut self, mbuf: Mbuf) {
        if let Some(slot) = self.slots.get_mut(self.finished) {
            *slot = Some(mbuf);
        }
        self.finished += 1;
    }

    fn refuse(&mut self, rejected: Rejected) {
        self.fault = Some(rejected.error.into());
        self.put(rejected.mbuf);
    }
}

impl<'k> Raw<'k> {
    /// A manager whose jobs ride for at most `max_age` ticks.
    pub(crate) fn new(max_age: u64) -> Result<Self, Fault> {
        Ok(Self { manager: MultiBuffer::new()?, max_age })
    }

    /// Does `op` to every packet; they are in their places afterwards. Returns the ticks it took.
    pub(crate) fn pass(&mut self, api: Api, op: &Op<'k>, slots: &mut Slots) -> Result<u64, Fault> {
        let mut pass = Pass { slots, submitted: 0, finished: 0, fault: None };
        let mut riding = VecDeque::with_capacity(8);
        let begin = cycles::now();
        while pass.submitted < pass.slots.len() {
            let start = cycles::now();
            ahead(&pass);
            match api {
                Api::Job => self.submit_jobs(op, &mut pass),
                Api::Burst => self.submit_burst(op, &mut pass),
            }
            while let Some(done) = self.manager.completed() {
                pass.finish(done);
            }
            riding.push_back((start, pass.submitted));
            self.flush_due(&mut pass, &mut riding, start.saturating_sub(self.max_age));
        }
        while let Some(done) = self.manager.flush() {
            pass.finish(done);
        }
        let ticks = cycles::now().wrapping_sub(begin);
        pass.fault.map_or(Ok(ticks), Err)
    }

    fn submit_jobs(&mut self, op: &Op<'k>, pass: &mut Pass<'_>) {
        for _ in 0..BURST {
            let Some(mbuf) = pass.slots.get_mut(pass.submitted).and_then(Option::take) else {
                return;
            };
            pass.submitted += 1;
            match self.manager.submit(mbuf, op, 0) {
                Ok(Some(done)) => pass.finish(done),
                Ok(None) => {}
                Err(rejected) => pass.refuse(rejected),
            }
        }
    }

    fn submit_burst(&mut self, op: &Op<'k>, pass: &mut Pass<'_>) {
        let mut burst = [const { None }; BURST];
        let mut count = 0;
        for (place, slot) in burst.iter_mut().zip(pass.slots.iter_mut().skip(pass.submitted)) {
            *place = slot.take();
            count += 1;
        }
        pass.submitted += count;
        let submissions =
            burst.into_iter().flatten().map(|mbuf| Submission { mbuf, op: *op, user: 0 });
        let mut refused = Vec::new();
        self.manager.submit_burst(submissions, |no| refused.push(no), |done| pass.finish(done));
        refused.into_iter().for_each(|no| pass.refuse(no));
    }

    /// The worker's rule: what went in at `time` or before comes out now.
    fn flush_due(&mut self, pass: &mut Pass<'_>, riding: &mut VecDeque<(u64, usize)>, time: u64) {
        while let Some(&(since, up_to)) = riding.front() {
            if pass.finished >= up_to {
                riding.pop_front();
            } else if since <= time
                && let Some(done) = self.manager.completed().or_else(|| self.manager.flush())
            {
                pass.finish(done);
            } else {
                return;
            }
        }
    }
}

/// Asks for the next burst's data, and for the headers of the one behind it.
#[inline]
fn ahead(pass: &Pass<'_>) {
    let packets = |bursts: usize| {
        pass.slots.iter().skip(pass.submitted + bursts * BURST).take(BURST).flatten()
    };
    packets(2).for_each(Mbuf::prefetch_header);
    packets(1).for_each(|mbuf| cycles::prefetch(mbuf.data(), LINES));
}
