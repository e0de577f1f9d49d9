//! A worker's queue of a crypto device, beside the lanes where a deployment names one.
//!
//! Packets of an SA that has sessions in the device go here, all others into the lanes. They come
//! out in the order in which they went in. Under load the device is asked for what is done when a
//! burst has gone in, or when the oldest packet has waited as long as it may in the lanes: asked
//! sooner, a software device would finish half-filled batches. It is never waited for in a turn.

use hearth_dpdk::{
    BURST, Completed, CryptoQueue, CryptoSession, DeviceOp, Mbuf, Op, OpError, Rejected, Tag,
};

use crate::crypto::engine::{Flight, Icv, Job};
use crate::layout::len32;
use crate::private_area::{TAG, TAG_LEN};

/// Operations that the queue is made for.
pub(crate) const DESCRIPTORS: u32 = 512;
/// Packets between going in and being settled at most: in the queue, or out of it.
const FLIGHTS: usize = 2 * DESCRIPTORS as usize;
/// Packets that are taken out at a time, so that what settles them needs room for no more.
const TAKEN: usize = 256;

/// The queue and the packets in it.
pub(crate) struct DeviceQueue {
    queue: CryptoQueue<'static>,
    /// By number modulo [`FLIGHTS`].
    flights: Box<[Flight; FLIGHTS]>,
    /// Came out and are not settled yet.
    ready: Vec<Completed>,
    /// Packets that went in, and those of them that were settled.
    submitted: u64,
    settled: u64,
}

impl DeviceQueue {
    pub(crate) fn new(queue: CryptoQueue<'static>) -> Self {
        Self {
            queue,
            flights: Box::new([Flight::NONE; FLIGHTS]),
            ready: Vec::with_capacity(FLIGHTS),
            submitted: 0,
            settled: 0,
        }
    }

    /// Lets a packet go in. `op` is what the lanes would do.
    ///
    /// # Errors
    /// The packet: with [`OpError::Queue`] where the session is another worker's, with
    /// [`OpError::Busy`] where the device takes no more, else where the operation does not fit it.
    pub(crate) fn stage(
        &mut self,
        mbuf: Mbuf,
        op: &Op<'static>,
        session: &'static CryptoSession,
        job: Job,
        now: u64,
    ) -> Result<(), Rejected> {
        if self.submitted - self.settled >= FLIGHTS as u64 {
            return Err(Rejected { mbuf, error: OpError::Busy });
        }
        let number = self.submitted;
        let op = DeviceOp {
            session,
            iv_offset: op.iv_offset,
            cipher_offset: op.cipher_offset,
            cipher_len: op.cipher_len,
            auth_offset: op.auth_offset,
            auth_len: op.auth_len,
            tag: match op.tag {
                Tag::Kept => Tag::Meta(len32(TAG)),
                tag => tag,
            },
        };
        let oldest = self.queue.submit(mbuf, &op, number)?;
        self.ready.extend(oldest);
        self.flights[place(number)] = Flight { job, since: now };
        self.submitted += 1;
        Ok(())
    }

    /// Takes out what is done, where it is time to ask: a burst is in, or what went in at `due` or
    /// before.
    pub(crate) fn collect(&mut self, due: Option<u64>) {
        let oldest = self.settled + self.ready.len() as u64;
        let since = self.flights[place(oldest)].since;
        if self.queue.len() < BURST && due.is_none_or(|due| since > due) {
            return;
        }
        while self.ready.len() < TAKEN
            && let Some(completed) = self.queue.completed()
        {
            self.ready.push(completed);
        }
    }

    /// Hands what came out to `settle`, with its flight and, where it came from a mobile node, its
    /// tag as it should be: the received one, or the device has said that it is wrong.
    pub(crate) fn settle(&mut self, mut settle: impl FnMut(Mbuf, &Flight, Icv)) -> usize {
        let Self { flights, ready, settled, .. } = self;
        let count = ready.len();
        for Completed { mbuf, ok, .. } in ready.drain(..) {
            let mut tag = [0; TAG_LEN];
            tag.copy_from_slice(&mbuf.meta::<[u8; TAG + TAG_LEN]>()[TAG..]);
            let Flight { job, since } = flights[place(*settled)];
            let job = if ok { job } else { job.failed() };
            settle(mbuf, &Flight { job, since }, Icv::from_le_bytes(tag));
            *settled += 1;
        }
        count
    }

    /// Waits for what is in the device, when the worker stops. A device that does not answer for
    /// milliseconds keeps its packets.
    pub(crate) fn stop(&mut self, mut give: impl FnMut(Mbuf)) {
        for done in self.ready.drain(..) {
            self.settled += 1;
            give(done.mbuf);
        }
        while let Some(completed) = self.queue.flush() {
            self.settled += 1;
            give(completed.mbuf);
        }
    }

    /// How many packets have gone in so far.
    pub(crate) const fn submitted(&self) -> u64 {
        self.submitted
    }

    /// How many of them were settled.
    pub(crate) const fn settled(&self) -> u64 {
        self.settled
    }
}

/// Where a number's flight stands.
const fn place(number: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below FLIGHTS")]
    let place = (number % FLIGHTS as u64) as usize;
    place
}
