//! The manager of the lanes: one per worker.

use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use hearth_ipsec_mb_sys as sys;
use thiserror::Error;

use super::job::{Job, TripleDesPointers};
use super::op::{Op, OpError};
use crate::mbuf::Mbuf;

/// Jobs that a manager holds at most.
const MAX_JOBS: usize = sys::HEARTH_MAX_JOBS as usize;

/// Jobs that are submitted together at most.
const MAX_BURST: usize = sys::HEARTH_MAX_BURST as usize;

/// Packets that [`MultiBuffer::stage`] collects at most.
pub const STAGE: usize = 32;

/// Tags that a manager keeps ([`MultiBuffer::tag`]): more than packets in it.
pub const KEPT_TAGS: usize = 512;

const _: () = assert!(KEPT_TAGS > MAX_JOBS);

/// The instruction set that a manager uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// SSE4.2 with AES-NI.
    Sse,
    /// AVX.
    Avx,
    /// AVX2.
    Avx2,
    /// AVX-512.
    Avx512,
    /// Another, such as the emulation without AES-NI.
    Other,
}

/// Why a manager could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MultiBufferError {
    /// No memory.
    #[error("no memory for a crypto manager")]
    Memory,
    /// The processor lacks the instruction set, or the library's self-test failed.
    #[error("ipsec-mb does not run on this processor (its error {0})")]
    Unsupported(i32),
}

/// A packet on its way into the lanes ([`MultiBuffer::submit_burst`]).
pub struct Submission<'k> {
    /// The packet.
    pub mbuf: Mbuf,
    /// What is to be done with it.
    pub op: Op<'k>,
    /// A number that comes back with it.
    pub user: u64,
}

/// A packet that came out of the lanes.
#[derive(Debug)]
pub struct Completed {
    /// The packet, encrypted or decrypted in place.
    pub mbuf: Mbuf,
    /// The number given at submission.
    pub user: u64,
    /// Whether the operation was carried out. False is a fault of the library: drop the packet.
    pub ok: bool,
}

/// A packet that was not taken, and why.
#[derive(Debug)]
pub struct Rejected {
    /// The packet, unchanged.
    pub mbuf: Mbuf,
    /// What was wrong with the operation.
    pub error: OpError,
}

/// The lanes of one thread, for jobs of all suites and both directions mixed. `'k` is how long
/// the keys of its jobs live; packets that are in it when it is dropped are finished and freed.
///
/// A worker whose keys are in shared tables uses `MultiBuffer<'static>` and answers for their
/// life itself: it reports a quiescent state only for epochs whose jobs have come back.
pub struct MultiBuffer<'k> {
    pub(super) raw: NonNull<sys::IMB_MGR>,
    /// Key pointer arrays of the TripleDES jobs in the lanes. Jobs come back in order, so that
    /// the array used [`MAX_JOBS`] jobs ago is free.
    des_pointers: Box<[TripleDesPointers; MAX_JOBS + 1]>,
    next_des: usize,
    /// Packets in the lanes. IMB_QUEUE_SIZE of ipsec-mb 1.3 is wrong once its ring has wrapped.
    pending: usize,
    /// Slots that were got together ([`MultiBuffer::stage`]): those in front are filled.
    slots: [*mut sys::IMB_JOB; STAGE],
    /// By number modulo [`KEPT_TAGS`].
    tags: Box<[UnsafeCell<[u8; 16]>; KEPT_TAGS]>,
    got: usize,
    staged: usize,
    _keys: PhantomData<&'k ()>,
    _one_thread: PhantomData<Cell<()>>,
}

// SAFETY: a manager is plain memory without ties to a thread; the packets in it are Send, and
// keys may be read from any thread.
unsafe impl Send for MultiBuffer<'_> {}

impl<'k> MultiBuffer<'k> {
    /// A manager for the best instruction set of this processor.
    ///
    /// # Errors
    /// [`MultiBufferError`].
    pub fn new() -> Result<Self, MultiBufferError> {
        Self::init(sys::HEARTH_ARCH_AUTO)
    }

    /// A manager for a given instruction set: to compare, or to leave AVX-512 alone.
    ///
    /// # Errors
    /// [`MultiBufferError::Unsupported`] where the processor lacks it.
    pub fn with_arch(arch: Arch) -> Result<Self, MultiBufferError> {
        let wanted = match arch {
            Arch::Sse => sys::HEARTH_ARCH_SSE,
            Arch::Avx => sys::HEARTH_ARCH_AVX,
            Arch::Avx2 => sys::HEARTH_ARCH_AVX2,
            Arch::Avx512 => sys::HEARTH_ARCH_AVX512,
            Arch::Other => return Err(MultiBufferError::Unsupported(0)),
        };
        Self::init(wanted)
    }

    fn init(arch: sys::hearth_imb_arch) -> Result<Self, MultiBufferError> {
        // SAFETY: no flags; null is checked.
        let raw = NonNull::new(unsafe { sys::alloc_mb_mgr(0) }).ok_or(MultiBufferError::Memory)?;
        // From here on dropping `this` frees the manager; it has no jobs.
        let this = Self {
            raw,
            des_pointers: Box::new([[ptr::null(); 3]; MAX_JOBS + 1]),
            next_des: 0,
            pending: 0,
            slots: [ptr::null_mut(); STAGE],
            tags: Box::new([const { UnsafeCell::new([0; 16]) }; KEPT_TAGS]),
            got: 0,
            staged: 0,
            _keys: PhantomData,
            _one_thread: PhantomData,
        };
        // SAFETY: a fresh manager.
        match unsafe { sys::hearth_imb_init(raw.as_ptr(), arch) } {
            0 => Ok(this),
            error => {
                let this = core::mem::ManuallyDrop::new(this);
                // SAFETY: not set up, so not to be asked for jobs: only freed.
                unsafe { sys::free_mb_mgr(this.raw.as_ptr()) };
                Err(MultiBufferError::Unsupported(error))
            }
        }
    }

    /// The instruction set in use.
    #[must_use]
    pub fn arch(&self) -> Arch {
        // SAFETY: alive as long as `self`.
        match unsafe { sys::hearth_imb_arch_of(self.raw.as_ptr()) } {
            sys::HEARTH_ARCH_SSE => Arch::Sse,
            sys::HEARTH_ARCH_AVX => Arch::Avx,
            sys::HEARTH_ARCH_AVX2 => Arch::Avx2,
            sys::HEARTH_ARCH_AVX512 => Arch::Avx512,
            _ => Arch::Other,
        }
    }

    /// Submits one packet. Returns a packet that is done, the oldest; there may be more
    /// ([`MultiBuffer::completed`]). `user` comes back with the packet.
    ///
    /// # Errors
    /// [`Rejected`] when the operation does not fit the packet.
    pub fn submit(
        &mut self,
        mbuf: Mbuf,
        op: &Op<'k>,
        user: u64,
    ) -> Result<Option<Completed>, Rejected> {
        if let Err(error) = op.check(&mbuf) {
            return Err(Rejected { mbuf, error });
        }
        let mgr = self.raw.as_ptr();
        // SAFETY: the manager always has a free slot here: submitting the last one makes it
        // finish and return its oldest job.
        let Some(job) = Job::new(unsafe { sys::hearth_imb_next_job(mgr) }) else {
            return Err(Rejected { mbuf, error: OpError::Range });
        };
        let des = self.des_slot();
        // SAFETY: the slot is ours until it is submitted; `op` was checked; its keys live for
        // 'k, which outlives `self`; the pointer array is not used again before this job is back.
        unsafe { job.fill(mbuf, op, user, &mut *des, self.kept(user)) };
        // SAFETY: the slot that was just filled is submitted.
        let done = unsafe { sys::hearth_imb_submit_job(mgr) };
        self.pending += 1;
        // SAFETY: what comes back was filled above or in an earlier call.
        Ok(unsafe { self.done(done) })
    }

    /// Submits packets in bursts of up to 128, which spares some calls per packet. What is done
    /// goes to `done`, oldest first, what does not fit its operation to `rejected`. There may be
    /// more that is done ([`MultiBuffer::completed`]).
    pub fn submit_burst(
        &mut self,
        submissions: impl IntoIterator<Item = Submission<'k>>,
        mut rejected: impl FnMut(Rejected),
        mut done: impl FnMut(Completed),
    ) {
        let mut submissions = submissions.into_iter().filter_map(|submission| {
            let Submission { mbuf, op, user } = submission;
            match op.check(&mbuf) {
                Ok(()) => Some((mbuf, op, user)),
                Err(error) => {
                    rejected(Rejected { mbuf, error });
                    None
                }
            }
        });
        let mut jobs = [ptr::null_mut(); MAX_BURST];
        let mut next = submissions.next();
        while next.is_some() {
            let wanted = submissions.size_hint().1.map_or(MAX_BURST, |n| (n + 1).min(MAX_BURST));
            let slots = self.next_burst(&mut jobs[..wanted]);
            if slots == 0 {
                // The ring is full: finish the oldest.
                let oldest = self.completed().or_else(|| self.flush());
                oldest.into_iter().for_each(&mut done);
                continue;
            }
            let mut filled = 0;
            while filled < slots {
                let Some((mbuf, op, user)) = next.take() else { break };
                let Some(job) = Job::new(jobs[filled]) else { break };
                let des = self.des_slot();
                // SAFETY: as in `submit`.
                unsafe { job.fill(mbuf, &op, user, &mut *des, self.kept(user)) };
                filled += 1;
                next = submissions.next();
            }
            self.submit_filled(&mut jobs, filled, &mut done);
        }
    }

    /// Whether [`MultiBuffer::stage`] takes another packet before [`MultiBuffer::submit_staged`].
    #[inline]
    #[must_use]
    pub const fn stage_is_full(&self) -> bool {
        self.staged == STAGE || (self.staged > 0 && self.staged == self.got)
    }

    /// Puts a packet behind those that go into the lanes together with
    /// [`MultiBuffer::submit_staged`], which is to be called before anything else is asked of the
    /// lanes. `user` comes back with the packet.
    ///
    /// # Errors
    /// [`Rejected`] when the operation does not fit the packet, or no more can be taken.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    pub fn stage(&mut self, mbuf: Mbuf, op: &Op<'k>, user: u64) -> Result<(), Rejected> {
        if let Err(error) = op.check(&mbuf) {
            return Err(Rejected { mbuf, error });
        }
        if self.staged == self.got {
            self.get_slots();
        }
        let Some(job) = self.slots.get(self.staged).copied().filter(|_| self.staged < self.got)
        else {
            return Err(Rejected { mbuf, error: OpError::Full });
        };
        let Some(job) = Job::new(job) else {
            return Err(Rejected { mbuf, error: OpError::Full });
        };
        let des = if op.cipher.is_triple_des() { self.des_slot() } else { self.unused_des() };
        // SAFETY: as in `submit`.
        unsafe { job.fill(mbuf, op, user, &mut *des, self.kept(user)) };
        self.staged += 1;
        Ok(())
    }

    /// Gets slots for a stage, if nothing is staged.
    fn get_slots(&mut self) {
        if self.staged == 0 {
            let mut slots = self.slots;
            self.got = self.next_burst(&mut slots);
            self.slots = slots;
        }
    }

    /// Sends what was staged into the lanes. What is done goes to `done`, oldest first; there may
    /// be more that is done ([`MultiBuffer::completed`]).
    #[inline]
    pub fn submit_staged(&mut self, mut done: impl FnMut(Completed)) {
        if self.staged == 0 {
            return;
        }
        let n = u32::try_from(self.staged).unwrap_or(0);
        let jobs = self.slots.as_mut_ptr();
        // SAFETY: the first n slots were got together and filled in this order; the library
        // writes what is done over them.
        let back = unsafe { sys::hearth_imb_submit_burst(self.raw.as_ptr(), n, jobs) };
        self.pending += self.staged;
        (self.staged, self.got) = (0, 0);
        for place in 0..back as usize {
            let Some(&job) = self.slots.get(place) else { break };
            // SAFETY: the library has just returned these jobs, which were filled by us.
            unsafe { self.done(job) }.into_iter().for_each(&mut done);
        }
        // As many have come back as leave room for the next stage.
        while self.pending + STAGE >= MAX_JOBS {
            let Some(oldest) = self.completed().or_else(|| self.flush()) else { break };
            done(oldest);
        }
    }

    /// Free slots, at most as many as there is room for in `jobs`. We count ourselves:
    /// IMB_GET_NEXT_BURST of ipsec-mb 1.3 goes by its wrong queue size and would hand out slots
    /// with packets in them.
    fn next_burst(&mut self, jobs: &mut [*mut sys::IMB_JOB]) -> usize {
        let free = MAX_JOBS - 1 - self.pending.min(MAX_JOBS - 1);
        let n = u32::try_from(jobs.len().min(free)).unwrap_or(0);
        if n == 0 {
            return 0;
        }
        // SAFETY: alive; `jobs` has room for n pointers.
        let slots = unsafe { sys::hearth_imb_next_burst(self.raw.as_ptr(), n, jobs.as_mut_ptr()) };
        slots.min(n) as usize
    }

    /// Submits the first slots of `jobs`, which become those that are done.
    fn submit_filled(
        &mut self,
        jobs: &mut [*mut sys::IMB_JOB; MAX_BURST],
        filled: usize,
        done: &mut impl FnMut(Completed),
    ) {
        let n = u32::try_from(filled).unwrap_or(0);
        // SAFETY: the first n slots were got together and filled in this order.
        let back = unsafe { sys::hearth_imb_submit_burst(self.raw.as_ptr(), n, jobs.as_mut_ptr()) };
        self.pending += filled;
        for job in jobs.iter().take(back as usize) {
            // SAFETY: the library has just returned these jobs, which were filled by us.
            unsafe { self.done(*job) }.into_iter().for_each(&mut *done);
        }
    }

    /// A packet that is done already, the oldest. Finishes nothing that is not.
    #[inline]
    pub fn completed(&mut self) -> Option<Completed> {
        // SAFETY: alive; a returned job was submitted by us and is returned once.
        unsafe {
            let job = sys::hearth_imb_completed_job(self.raw.as_ptr());
            self.done(job)
        }
    }

    /// Finishes the oldest packet, however empty the lanes beside it; None when there is none.
    pub fn flush(&mut self) -> Option<Completed> {
        // SAFETY: as in `completed`.
        unsafe {
            let job = sys::hearth_imb_flush_job(self.raw.as_ptr());
            self.done(job)
        }
    }

    /// Packets in the lanes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pending
    }

    /// Whether no packet is in the lanes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tag of a packet that came back and was submitted with [`super::Tag::Kept`] under this
    /// number: known until a packet is submitted whose number is the same modulo [`KEPT_TAGS`]. The
    /// octets behind a tag of 12 mean nothing.
    #[inline]
    #[must_use]
    pub fn tag(&self, user: u64) -> &[u8; 16] {
        // SAFETY: initialised at first, and written by the library only on behalf of packets whose
        // numbers lead here, which the caller looks at before it submits others: at worst another
        // packet's tag is read.
        unsafe { &*self.kept(user).cast() }
    }

    /// Where the tag of this number goes.
    #[inline]
    fn kept(&self, user: u64) -> *mut u8 {
        #[expect(clippy::cast_possible_truncation, reason = "below KEPT_TAGS")]
        let place = (user % KEPT_TAGS as u64) as usize;
        self.tags[place].get().cast()
    }

    /// A place for pointers that are not looked at.
    #[inline]
    const fn unused_des(&mut self) -> *mut TripleDesPointers {
        &raw mut self.des_pointers[0]
    }

    fn des_slot(&mut self) -> *mut TripleDesPointers {
        // The first place is `unused_des`.
        self.next_des = self.next_des % MAX_JOBS + 1;
        &raw mut self.des_pointers[self.next_des]
    }

    /// # Safety
    /// `raw` is null, or a job that was filled by us and has just been returned.
    #[inline]
    unsafe fn done(&mut self, raw: *mut sys::IMB_JOB) -> Option<Completed> {
        let job = Job::new(raw)?;
        // SAFETY: by the contract above.
        let (mbuf, user, ok) = unsafe { job.take() };
        self.pending -= 1;
        Some(Completed { mbuf, user, ok })
    }
}

impl Drop for MultiBuffer<'_> {
    fn drop(&mut self) {
        self.submit_staged(drop);
        while self.completed().or_else(|| self.flush()).is_some() {}
        // SAFETY: no job is left in it.
        unsafe { sys::free_mb_mgr(self.raw.as_ptr()) };
    }
}

impl core::fmt::Debug for MultiBuffer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MultiBuffer").field("arch", &self.arch()).field("len", &self.len()).finish()
    }
}
