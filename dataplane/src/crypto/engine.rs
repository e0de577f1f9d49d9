//! The lanes: packets go in one by one, come out in order, and ride with later ones under load.
//!
//! 3DES has a manager of its own, because one lone 3DES packet holds up everything behind it for
//! hundreds of microseconds.

use hearth_dpdk::{Cipher, CryptoQueue, CryptoSession, Mbuf, Op, OpError};

use crate::config::BuildError;
use crate::crypto::device::DeviceQueue;
pub(crate) use crate::crypto::lanes::{Flight, Icv, Job, Lanes};
use crate::drop_reason::DropReason;

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

impl Rule {
    /// The same, and all but 3DES.
    pub(crate) const fn all_common(self) -> Self {
        match self {
            Self::Since { triple_des, .. } => Self::Since { common: u64::MAX, triple_des },
            Self::Ready => Self::Since { common: u64::MAX, triple_des: 0 },
            Self::All => Self::All,
        }
    }
}

/// How many packets have gone into each of the lanes and into the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark([u64; 4]);

/// A worker's crypto.
pub(crate) struct Engine {
    common: Lanes,
    triple_des: Lanes,
    /// Instead of `common`, and not of `triple_des`, while this worker shares its work with others; where there are others.
    pub(crate) shared: Option<Lanes>,
    /// Where a crypto device is configured.
    device: Option<Box<DeviceQueue>>,
}

impl Engine {
    /// `shares` says that there are workers to share with.
    pub(crate) fn new(
        shares: bool,
        device: Option<CryptoQueue<'static>>,
    ) -> Result<Self, BuildError> {
        let device = device.map(|queue| Box::new(DeviceQueue::new(queue)));
        let shared = if shares { Some(Lanes::new()?) } else { None };
        Ok(Self { common: Lanes::new()?, triple_des: Lanes::new()?, shared, device })
    }

    /// Lets a packet go into the lanes, at the latest with [`Self::submit`].
    ///
    /// # Errors
    /// The packet, where the operation does not fit it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    pub(crate) fn stage(
        &mut self,
        mbuf: Mbuf,
        op: &Op<'static>,
        job: impl FnOnce() -> Job,
        now: u64,
    ) -> Result<(), (Mbuf, DropReason)> {
        let lanes = match op.cipher {
            Cipher::TripleDesEncrypt(_) | Cipher::TripleDesDecrypt(_) => &mut self.triple_des,
            _ => &mut self.common,
        };
        lanes.stage(mbuf, op, job, now).map_err(|mbuf| (mbuf, DropReason::CryptoFailed))
    }

    /// Lets a packet go into the device, or into the lanes where there is none.
    ///
    /// # Errors
    /// The packet, where the operation does not fit it or the device takes no more.
    pub(crate) fn stage_in_device(
        &mut self,
        mbuf: Mbuf,
        op: &Op<'static>,
        session: &'static CryptoSession,
        job: Job,
        now: u64,
    ) -> Result<(), (Mbuf, DropReason)> {
        let Some(device) = &mut self.device else {
            return self.stage(mbuf, op, || job, now);
        };
        match device.stage(mbuf, op, session, job, now) {
            Ok(()) => Ok(()),
            // Another worker's, which has given the packet away: the lanes have the keys too.
            Err(rejected) if rejected.error == OpError::Queue => {
                self.stage(rejected.mbuf, op, || job, now)
            }
            Err(rejected) if rejected.error == OpError::Busy => {
                Err((rejected.mbuf, DropReason::CryptoDeviceFull))
            }
            Err(rejected) => Err((rejected.mbuf, DropReason::CryptoFailed)),
        }
    }

    /// Sends what was staged into the lanes.
    #[inline]
    pub(crate) fn submit(&mut self) {
        self.common.submit();
        self.triple_des.submit();
        if let Some(shared) = &mut self.shared {
            shared.submit();
        }
    }

    /// Takes out what comes out under this rule. The lanes that may have something to settle.
    #[inline]
    pub(crate) fn collect(&mut self, rule: Rule) -> impl Iterator<Item = &mut Lanes> {
        let (common, triple_des) = match rule {
            Rule::Ready => (None, None),
            Rule::Since { common, triple_des } => (Some(common), Some(triple_des)),
            Rule::All => (Some(u64::MAX), Some(u64::MAX)),
        };
        self.common.collect(common);
        self.triple_des.collect(triple_des);
        if let Some(shared) = &mut self.shared {
            shared.collect(common);
        }
        let Self { common, triple_des, shared, .. } = self;
        [common, triple_des].into_iter().chain(shared.as_mut())
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
    pub(crate) fn stop(&mut self, mut give: impl FnMut(Mbuf, Job)) {
        let Self { common, triple_des, shared, device } = self;
        for lanes in [common, triple_des].into_iter().chain(shared) {
            lanes.abandon(&mut give);
        }
        if let Some(device) = device {
            device.stop(|mbuf| give(mbuf, Job::Failed));
        }
    }

    /// How many packets have gone in so far.
    pub(crate) fn submitted(&self) -> Mark {
        let shared = self.shared.as_ref().map_or(0, |shared| shared.submitted);
        let device = self.device.as_ref().map_or(0, |device| device.submitted());
        Mark([self.common.submitted, self.triple_des.submitted, shared, device])
    }

    /// Whether all packets that had gone in at `mark` have come out, and none that was given up is
    /// still out at another worker.
    pub(crate) fn has_passed(&self, mark: Mark) -> bool {
        if !self.shared.as_ref().is_none_or(Lanes::is_all_back) {
            return false;
        }
        let shared = self.shared.as_ref().map_or(0, |shared| shared.settled);
        let device = self.device.as_ref().map_or(0, |device| device.settled());
        let settled = [self.common.settled, self.triple_des.settled, shared, device];
        settled.iter().zip(&mark.0).all(|(settled, mark)| settled >= mark)
    }

    /// Whether nothing rides, here or elsewhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.has_passed(self.submitted())
    }

    /// Whether nothing rides of what may be shared but is not.
    pub(crate) const fn nothing_unshared(&self) -> bool {
        self.common.is_empty()
    }
}
