//! The lanes: packets go in one by one, come out in order, and ride with later ones under load.
//!
//! 3DES has a manager of its own, because one lone 3DES packet holds up everything behind it for
//! hundreds of microseconds.

use hearth_dpdk::{
    Cipher, Completed, CryptoQueue, CryptoSession, KEPT_TAGS, Mbuf, MultiBuffer, Op, OpError,
};

use crate::config::BuildError;
use crate::crypto::device::DeviceQueue;
use crate::drop_reason::DropReason;
use crate::stage::classify::Envelope;
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
    /// To a mobile node: finish the outer headers and send.
    Outbound {
        /// Towards the care-of address.
        hop: OuterHop,
    },
}

/// A packet that came out.
pub(crate) struct Done {
    pub(crate) mbuf: Mbuf,
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

/// How far the managers and the device have come: submitted and come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark([u64; 3]);

/// What rides with a packet, outside of it.
#[derive(Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) job: Job,
    /// When it went in.
    pub(super) since: u64,
}

impl Flight {
    /// Of no packet.
    pub(super) const NONE: Self = Self { job: Job::Outbound { hop: OuterHop::Routed }, since: 0 };
}

/// One manager and the packets in it. They come out in the order in which they went in.
pub(crate) struct Lanes {
    manager: MultiBuffer<'static>,
    /// By number modulo [`FLIGHTS`].
    flights: Box<[Flight; FLIGHTS]>,
    /// Came out and are not settled yet.
    ready: Vec<Done>,
    /// Packets that went in, and those of them that were settled.
    submitted: u64,
    settled: u64,
}

// A tag is known as long as the flight.
const _: () = assert!(FLIGHTS <= KEPT_TAGS);

impl Lanes {
    fn new() -> Result<Self, BuildError> {
        Ok(Self {
            manager: MultiBuffer::new().map_err(|_| BuildError::Crypto)?,
            flights: Box::new([Flight::NONE; FLIGHTS]),
            ready: Vec::with_capacity(FLIGHTS),
            submitted: 0,
            settled: 0,
        })
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    fn stage(&mut self, mbuf: Mbuf, op: &Op<'static>, job: Job, now: u64) -> Result<(), Mbuf> {
        if self.manager.stage_is_full() {
            self.submit();
        }
        if self.submitted - self.settled >= FLIGHTS as u64 {
            return Err(mbuf);
        }
        let number = self.submitted;
        self.manager.stage(mbuf, op, number).map_err(|rejected| rejected.mbuf)?;
        self.flights[place(number)] = Flight { job, since: now };
        self.submitted += 1;
        Ok(())
    }

    /// Sends what was staged into the lanes.
    fn submit(&mut self) {
        let Self { manager, ready, .. } = self;
        manager.submit_staged(|completed| ready.push(completed.into()));
    }

    /// Takes out what is done, and finishes what went in at `due` or before.
    fn collect(&mut self, due: Option<u64>) {
        while self.submitted - self.settled > self.ready.len() as u64 {
            let oldest = self.settled + self.ready.len() as u64;
            let completed = self.manager.completed().or_else(|| {
                let since = self.flights[place(oldest)].since;
                if due.is_some_and(|due| since <= due) { self.manager.flush() } else { None }
            });
            let Some(completed) = completed else { return };
            self.ready.push(completed.into());
        }
    }

    /// Hands what came out to `settle`, with its flight and its tag, which mean nothing to a packet
    /// that asked for none.
    #[inline]
    pub(crate) fn settle(&mut self, mut settle: impl FnMut(Done, &Flight, &[u8; 16])) -> usize {
        let Self { manager, flights, ready, settled, .. } = self;
        let count = ready.len();
        for done in ready.drain(..) {
            settle(done, &flights[place(*settled)], manager.tag(*settled));
            *settled += 1;
        }
        count
    }
}

impl From<Completed> for Done {
    #[inline]
    fn from(Completed { mbuf, ok, .. }: Completed) -> Self {
        Self { mbuf, ok }
    }
}

/// Where a number's flight stands.
#[inline]
const fn place(number: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below FLIGHTS")]
    let place = (number % FLIGHTS as u64) as usize;
    place
}

/// A worker's crypto.
pub(crate) struct Engine {
    common: Lanes,
    triple_des: Lanes,
    /// Where a crypto device is configured.
    device: Option<Box<DeviceQueue>>,
}

impl Engine {
    pub(crate) fn new(device: Option<CryptoQueue<'static>>) -> Result<Self, BuildError> {
        let device = device.map(|queue| Box::new(DeviceQueue::new(queue)));
        Ok(Self { common: Lanes::new()?, triple_des: Lanes::new()?, device })
    }

    /// Lets a packet go in, at the latest with [`Self::submit`]: into the lanes, or by its session
    /// into the device.
    ///
    /// # Errors
    /// The packet, where the operation does not fit it or the device takes no more.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    pub(crate) fn stage(
        &mut self,
        mbuf: Mbuf,
        op: &Op<'static>,
        session: Option<&'static CryptoSession>,
        job: Job,
        now: u64,
    ) -> Result<(), (Mbuf, DropReason)> {
        if let Some(session) = session {
            return self.stage_in_device(mbuf, op, session, job, now);
        }
        let lanes = match op.cipher {
            Cipher::TripleDesEncrypt(_) | Cipher::TripleDesDecrypt(_) => &mut self.triple_des,
            _ => &mut self.common,
        };
        lanes.stage(mbuf, op, job, now).map_err(|mbuf| (mbuf, DropReason::CryptoFailed))
    }

    #[cold]
    #[inline(never)]
    fn stage_in_device(
        &mut self,
        mbuf: Mbuf,
        op: &Op<'static>,
        session: &'static CryptoSession,
        job: Job,
        now: u64,
    ) -> Result<(), (Mbuf, DropReason)> {
        let Some(device) = &mut self.device else {
            return self.stage(mbuf, op, None, job, now);
        };
        match device.stage(mbuf, op, session, job, now) {
            Ok(()) => Ok(()),
            // Another worker's, which has given the packet away: the lanes have the keys too.
            Err(rejected) if rejected.error == OpError::Queue => {
                self.stage(rejected.mbuf, op, None, job, now)
            }
            Err(rejected) if rejected.error == OpError::Busy => {
                Err((rejected.mbuf, DropReason::CryptoDeviceFull))
            }
            Err(rejected) => Err((rejected.mbuf, DropReason::CryptoFailed)),
        }
    }

    /// Sends what was staged into the lanes.
    pub(crate) fn submit(&mut self) {
        self.common.submit();
        self.triple_des.submit();
    }

    /// Takes out what comes out under this rule. The lanes that have something to settle.
    #[inline]
    pub(crate) fn collect(&mut self, rule: Rule) -> [&mut Lanes; 2] {
        let (common, triple_des) = match rule {
            Rule::Ready => (None, None),
            Rule::Since { common, triple_des } => (Some(common), Some(triple_des)),
            Rule::All => (Some(u64::MAX), Some(u64::MAX)),
        };
        self.common.collect(common);
        self.triple_des.collect(triple_des);
        [&mut self.common, &mut self.triple_des]
    }

    /// The device, if there is one, with what comes out of it under this rule.
    #[inline]
    pub(crate) fn collect_from_device(&mut self, rule: Rule) -> Option<&mut DeviceQueue> {
        let device = self.device.as_deref_mut()?;
        device.collect(match rule {
            Rule::Ready => None,
            Rule::Since { common, .. } => Some(common),
            Rule::All => Some(u64::MAX),
        });
        Some(device)
    }

    /// Takes everything out, when the worker stops.
    pub(crate) fn stop(&mut self, mut give: impl FnMut(Mbuf)) {
        for side in self.collect(Rule::All) {
            side.settle(|done, _, _| give(done.mbuf));
        }
        if let Some(device) = &mut self.device {
            device.stop(give);
        }
    }

    /// How many packets have gone in so far.
    pub(crate) const fn submitted(&self) -> Mark {
        let device = match &self.device {
            Some(device) => device.submitted(),
            None => 0,
        };
        Mark([self.common.submitted, self.triple_des.submitted, device])
    }

    /// Whether all packets that had gone in at `mark` have come out.
    pub(crate) const fn has_passed(&self, mark: Mark) -> bool {
        let device = match &self.device {
            Some(device) => device.settled(),
            None => 0,
        };
        self.common.settled >= mark.0[0]
            && self.triple_des.settled >= mark.0[1]
            && device >= mark.0[2]
    }

    /// Whether nothing rides.
    pub(crate) const fn is_empty(&self) -> bool {
        self.has_passed(self.submitted())
    }
}
