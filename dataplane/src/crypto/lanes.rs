//! One manager of the crypto library and the packets in it.
//!
//! Packets come out in the order in which they went in, wherever their crypto was done: a packet may
//! be out at another worker ([`crate::sharing`]), and those behind it wait for it here.

use hearth_dpdk::{Completed, KEPT_TAGS, Mbuf, MultiBuffer, Op};

use crate::config::BuildError;
use crate::stage::envelope::Envelope;
use crate::table::next_hop::OuterHop;

/// Packets between going in and being settled at most, of one manager; a power of two. A manager
/// holds 255 at most, and what came out is settled before a burst goes in.
const FLIGHTS: usize = 512;

/// What is to be done with a packet when it comes out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Job {
    /// From a mobile node: compare the tag, then judge.
    Inbound {
        /// Index of the SA.
        sa: u32,
        envelope: Envelope,
    },
    /// Another worker's: give it back to him.
    Assisted {
        /// Whose it is.
        worker: u8,
        inbound: bool,
        /// Whether the library carried it out.
        ok: bool,
    },
    /// To a mobile node: finish the outer headers and send.
    Outbound {
        /// Towards the care-of address.
        hop: OuterHop,
    },
    /// The library has not carried it out.
    Failed,
}

impl Job {
    /// What is to be done instead where the library has not carried the job out.
    pub(super) const fn failed(self) -> Self {
        match self {
            Self::Assisted { worker, inbound, .. } => Self::Assisted { worker, inbound, ok: false },
            Self::Inbound { .. } | Self::Outbound { .. } | Self::Failed => Self::Failed,
        }
    }
}

/// A computed ICV, its first octet in the lowest bits; those behind it mean nothing.
pub(crate) type Icv = u128;

/// What rides with a packet, outside of it.
#[derive(Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) job: Job,
    /// When it went in; beyond [`REMOTE`] when it went to another worker, by the lender's own time.
    pub(super) since: u64,
}

impl Flight {
    /// Of no packet.
    pub(super) const NONE: Self = Self { job: Job::Failed, since: 0 };

    /// Whether another worker's lanes did it: the tag is in the private area, and what goes out is
    /// sealed.
    #[inline]
    pub(crate) const fn is_remote(&self) -> bool {
        self.since >= REMOTE
    }
}

/// The bit of the time at which a packet went to another worker's lanes. No time stamp counter gets
/// as far.
const REMOTE: u64 = 1 << 63;

/// One manager and the packets in it. They are settled in the order in which they went in.
pub(crate) struct Lanes {
    manager: MultiBuffer<'static>,
    /// By number modulo [`FLIGHTS`].
    flights: Box<[Flight; FLIGHTS]>,
    /// What came out, in the same places.
    done: Box<[Option<Mbuf>; FLIGHTS]>,
    /// Packets that went in; those that came out with all before them; those that were settled.
    pub(super) submitted: u64,
    ready: u64,
    pub(super) settled: u64,
    /// Packets that were given up and are still out at other workers.
    out: u64,
}

// A tag is known as long as the flight.
const _: () = assert!(FLIGHTS <= KEPT_TAGS);

impl Lanes {
    pub(super) fn new() -> Result<Self, BuildError> {
        Ok(Self {
            manager: MultiBuffer::new().map_err(|_| BuildError::Crypto)?,
            flights: Box::new([Flight::NONE; FLIGHTS]),
            done: Box::new([const { None }; FLIGHTS]),
            submitted: 0,
            ready: 0,
            settled: 0,
            out: 0,
        })
    }

    /// How many more packets may go in before some are settled.
    #[inline]
    pub(crate) const fn room(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "at most FLIGHTS")]
        let inside = (self.submitted - self.settled) as usize;
        FLIGHTS - inside
    }

    /// Whether nothing is in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.submitted == self.settled
    }

    /// Lets a packet go in, at the latest with [`Self::submit`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    pub(crate) fn stage(
        &mut self,
        mbuf: Mbuf,
        op: &Op<'static>,
        job: impl FnOnce() -> Job,
        now: u64,
    ) -> Result<(), Mbuf> {
        if self.manager.stage_is_full() {
            self.submit();
        }
        if self.room() == 0 {
            return Err(mbuf);
        }
        let number = self.submitted;
        self.manager.stage(mbuf, op, number).map_err(|rejected| rejected.mbuf)?;
        self.flights[place(number)] = Flight { job: job(), since: now };
        self.submitted += 1;
        Ok(())
    }

    /// The number of a packet that goes to another worker's lanes now, and comes back by
    /// [`Self::put_back`]; to be called with room, and the lender's own time.
    pub(crate) fn reserve(&mut self, job: Job, time: u64) -> u64 {
        let number = self.submitted;
        self.flights[place(number)] = Flight { job, since: REMOTE | time };
        self.submitted += 1;
        number
    }

    /// Takes back the last [`Self::reserve`].
    pub(crate) fn cancel(&mut self) {
        self.submitted -= 1;
    }

    /// Takes a packet back from another worker's lanes, or gives it back where it was given up.
    pub(crate) fn put_back(&mut self, number: u64, mbuf: Mbuf, ok: bool) -> Option<Mbuf> {
        if number < self.settled {
            self.out = self.out.saturating_sub(1);
            return Some(mbuf);
        }
        put(&mut self.flights, &mut self.done, number, mbuf, ok);
        None
    }

    /// Passes over those next in line that went to other workers at `until` of the lender's own
    /// time or before, and are not back; returns how many. To be called when all is settled that
    /// came out.
    pub(crate) fn give_up(&mut self, until: u64) -> u64 {
        let first = self.settled;
        while self.settled == self.ready && self.ready < self.submitted {
            let place = place(self.ready);
            let since = self.flights[place].since;
            if since < REMOTE || since > REMOTE | until || self.done[place].is_some() {
                break;
            }
            self.ready += 1;
            self.settled = self.ready;
        }
        let given_up = self.settled - first;
        self.out += given_up;
        given_up
    }

    /// Whether none that was given up is still out, with the keys that it was lent with.
    pub(super) const fn is_all_back(&self) -> bool {
        self.out == 0
    }

    /// Sends what was staged into the lanes.
    #[inline]
    pub(crate) fn submit(&mut self) {
        let Self { manager, flights, done, .. } = self;
        manager.submit_staged(|Completed { mbuf, user, ok }| put(flights, done, user, mbuf, ok));
    }

    /// Takes out what is done, and finishes what went in at `due` or before.
    #[inline]
    pub(super) fn collect(&mut self, due: Option<u64>) {
        loop {
            while self.ready < self.submitted && self.done[place(self.ready)].is_some() {
                self.ready += 1;
            }
            if self.ready == self.submitted {
                return;
            }
            let since = self.flights[place(self.ready)].since;
            let is_due = since < REMOTE && due.is_some_and(|due| since <= due);
            let completed = self.manager.completed();
            match completed.or_else(|| if is_due { self.manager.flush() } else { None }) {
                Some(Completed { mbuf, user, ok }) => {
                    put(&mut self.flights, &mut self.done, user, mbuf, ok);
                }
                None => return,
            }
        }
    }

    /// Hands over all packets that are here, whatever became of them: at the end.
    pub(crate) fn abandon(&mut self, mut each: impl FnMut(Mbuf, Job)) {
        self.submit();
        while let Some(completed) = self.manager.completed().or_else(|| self.manager.flush()) {
            each(completed.mbuf, self.flights[place(completed.user)].job);
        }
        for (done, flight) in self.done.iter_mut().zip(self.flights.iter()) {
            if let Some(mbuf) = done.take() {
                each(mbuf, flight.job);
            }
        }
    }

    /// Hands what came out to `settle`, with its flight and its tag, which means nothing to a packet
    /// that asked for none.
    #[inline]
    pub(crate) fn settle(&mut self, mut settle: impl FnMut(Mbuf, &Flight, Icv)) -> usize {
        let count = self.ready - self.settled;
        while self.settled < self.ready {
            let (number, place) = (self.settled, place(self.settled));
            self.settled += 1;
            let Some(mbuf) = self.done[place].take() else { break };
            let flight = &self.flights[place];
            let tag = if flight.is_remote() { *mbuf.meta() } else { *self.manager.tag(number) };
            settle(mbuf, flight, Icv::from_le_bytes(tag));
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most FLIGHTS")]
        let count = count as usize;
        count
    }
}

/// Puts a packet that came out of crypto where its flight stands.
#[inline]
fn put(
    flights: &mut [Flight; FLIGHTS],
    done: &mut [Option<Mbuf>; FLIGHTS],
    number: u64,
    mbuf: Mbuf,
    ok: bool,
) {
    let place = place(number);
    done[place] = Some(mbuf);
    if !ok {
        flights[place].job = flights[place].job.failed();
    }
}

/// Where a number's flight stands.
#[inline]
const fn place(number: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below FLIGHTS")]
    let place = (number % FLIGHTS as u64) as usize;
    place
}
