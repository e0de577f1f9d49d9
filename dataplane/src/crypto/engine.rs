//! The lanes: packets go in one by one, come out in order, and ride with later ones under load.
//!
//! 3DES has a manager of its own, because one lone 3DES packet holds up everything behind it for
//! hundreds of microseconds.

use std::collections::VecDeque;

use hearth_dpdk::{Completed, Mbuf, MultiBuffer, Op};
use hearth_wire::{Cipher, Suite};

use crate::config::BuildError;
use crate::stage::classify::Envelope;
use crate::table::next_hop::NextHop;

/// Packets that a manager holds at most, and a power of two.
const FLIGHTS: usize = 256;

/// What is to be done with a packet when it comes out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Job {
    /// From a mobile node: compare the tag, then judge.
    Inbound {
        /// Index of the SA.
        sa: u32,
        envelope: Envelope,
    },
    /// To a mobile node: finish the outer headers and send.
    Outbound {
        /// Towards the care-of address.
        hop: NextHop,
    },
}

/// A packet that came out.
pub(crate) struct Settled {
    pub(crate) mbuf: Mbuf,
    pub(crate) job: Job,
    /// Whether the library carried the job out.
    pub(crate) ok: bool,
}

/// Which packets are to come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Those that are done; the others ride on.
    Ready,
    /// And those that went in at this time or before; for 3DES, at the other.
    Since { common: u64, triple_des: u64 },
    /// All.
    All,
}

/// How far a manager has come: submitted and come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark([u64; 2]);

/// One manager and the packets in it.
struct Lanes {
    manager: MultiBuffer<'static>,
    /// What rides, by number modulo [`FLIGHTS`], with the time it went in.
    flights: Box<[(Job, u64); FLIGHTS]>,
    submitted: u64,
    finished: u64,
}

impl Lanes {
    fn new() -> Result<Self, BuildError> {
        Ok(Self {
            manager: MultiBuffer::new().map_err(|_| BuildError::Crypto)?,
            flights: Box::new([(Job::Outbound { hop: NextHop::Routed }, 0); FLIGHTS]),
            submitted: 0,
            finished: 0,
        })
    }

    fn submit(
        &mut self,
        mbuf: Mbuf,
        op: &Op<'static>,
        job: Job,
        now: u64,
    ) -> Result<Option<Settled>, Mbuf> {
        let number = self.submitted;
        match self.manager.submit(mbuf, op, number) {
            Ok(completed) => {
                if let Some(flight) = self.flights.get_mut(place(number)) {
                    *flight = (job, now);
                }
                self.submitted += 1;
                Ok(completed.and_then(|completed| self.settle(completed)))
            }
            Err(rejected) => Err(rejected.mbuf),
        }
    }

    fn settle(&mut self, completed: Completed) -> Option<Settled> {
        self.finished += 1;
        let (job, _) = *self.flights.get(place(completed.user))?;
        Some(Settled { mbuf: completed.mbuf, job, ok: completed.ok })
    }

    /// The oldest packet if it is done, or if it went in at `due` or before.
    fn next(&mut self, due: Option<u64>) -> Option<Settled> {
        if self.submitted == self.finished {
            return None;
        }
        let completed = self.manager.completed().or_else(|| {
            let (_, since) = self.flights.get(place(self.finished))?;
            if due.is_some_and(|due| *since <= due) { self.manager.flush() } else { None }
        })?;
        self.settle(completed)
    }
}

/// Where a number's flight stands.
const fn place(number: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below FLIGHTS")]
    let place = (number % FLIGHTS as u64) as usize;
    place
}

/// A worker's crypto.
pub(crate) struct Engine {
    common: Lanes,
    triple_des: Lanes,
    /// Came out while others went in.
    ready: VecDeque<Settled>,
}

impl Engine {
    pub(crate) fn new() -> Result<Self, BuildError> {
        Ok(Self {
            common: Lanes::new()?,
            triple_des: Lanes::new()?,
            ready: VecDeque::with_capacity(4 * FLIGHTS),
        })
    }

    /// Puts a packet in.
    ///
    /// # Errors
    /// The packet, where the operation does not fit it.
    pub(crate) fn submit(
        &mut self,
        suite: Suite,
        mbuf: Mbuf,
        op: &Op<'static>,
        job: Job,
        now: u64,
    ) -> Result<(), Mbuf> {
        let lanes = match suite.cipher() {
            Cipher::TripleDesCbc => &mut self.triple_des,
            Cipher::Null | Cipher::Aes128Cbc | Cipher::Aes128Gcm => &mut self.common,
        };
        if let Some(settled) = lanes.submit(mbuf, op, job, now)? {
            self.ready.push_back(settled);
        }
        Ok(())
    }

    /// The next packet that comes out under this rule.
    pub(crate) fn next(&mut self, rule: Rule) -> Option<Settled> {
        let (common, triple_des) = match rule {
            Rule::Ready => (None, None),
            Rule::Since { common, triple_des } => (Some(common), Some(triple_des)),
            Rule::All => (Some(u64::MAX), Some(u64::MAX)),
        };
        self.ready
            .pop_front()
            .or_else(|| self.common.next(common))
            .or_else(|| self.triple_des.next(triple_des))
    }

    /// How many packets have gone in so far.
    pub(crate) const fn submitted(&self) -> Mark {
        Mark([self.common.submitted, self.triple_des.submitted])
    }

    /// Whether all packets that had gone in at `mark` have come out.
    pub(crate) fn has_passed(&self, mark: Mark) -> bool {
        self.common.finished >= mark.0[0]
            && self.triple_des.finished >= mark.0[1]
            && self.ready.is_empty()
    }

    /// Whether nothing rides.
    pub(crate) fn is_empty(&self) -> bool {
        self.has_passed(self.submitted())
    }
}
