//! A queue pair of a device: what goes in comes out in order.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use std::sync::Arc;

use hearth_dpdk_sys as sys;

use super::device::DeviceInner;
use super::session::{CryptoSession, Way};
use crate::errno::Errno;
use crate::mb::{Completed, OpError, Places, Rejected, Tag, within};
use crate::mbuf::Mbuf;

/// Operations that are handed to the device together.
const BURST: u64 = sys::HEARTH_CRYPTO_BURST as u64;

/// Times that the device is asked for a packet that has to come now: some milliseconds.
const PATIENCE: u32 = 100_000;

/// One cipher and one tag over one packet in place, like [`crate::Op`], by a session's keys.
#[derive(Clone, Copy)]
pub struct DeviceOp<'k> {
    /// Suite, keys and direction.
    pub session: &'k CryptoSession,
    /// Where the IV stands in the packet, or the nonce of AES-GCM in the private area.
    pub iv_offset: u32,
    /// Where the octets to encrypt or decrypt start.
    pub cipher_offset: u32,
    /// How many there are: a multiple of the block, not 0 (but 0 for NULL).
    pub cipher_len: u32,
    /// Where the octets under the tag start; for AES-GCM the additional data.
    pub auth_offset: u32,
    /// How many there are, not 0; 8 for AES-GCM.
    pub auth_len: u32,
    /// Where the tag goes. To encrypt it is [`Tag::Packet`]. To decrypt it is [`Tag::Meta`], and
    /// the received tag stands right behind the octets that it covers: the device compares it
    /// (crypto_aesni_mb not in constant time), and what comes to that place is the received tag
    /// if it was right, else its complement. So the caller compares as with the lanes.
    pub tag: Tag,
}

impl DeviceOp<'_> {
    /// Whether every part of the operation lies within the packet; where its tag stands.
    fn check(&self, mbuf: &Mbuf) -> Result<u32, OpError> {
        let suite = self.session.suite();
        let gcm = suite.is_gcm();
        let places = Places {
            gcm,
            block: suite.block(),
            iv_len: suite.iv_len(),
            tag_len: suite.tag_len(),
            iv_offset: self.iv_offset,
            cipher_offset: self.cipher_offset,
            cipher_len: self.cipher_len,
            auth_offset: self.auth_offset,
            auth_len: self.auth_len,
            tag: self.tag,
        };
        places.check(mbuf)?;
        if gcm && self.auth_len != sys::HEARTH_GCM_AAD {
            return Err(OpError::Range);
        }
        match (self.session.way(), self.tag) {
            (Way::Encrypt, Tag::Packet(offset)) => Ok(offset),
            (Way::Decrypt, Tag::Meta(_)) => {
                // No overflow: both were within the packet.
                let end = if gcm {
                    self.cipher_offset + self.cipher_len
                } else {
                    self.auth_offset + self.auth_len
                };
                within(end, suite.tag_len(), mbuf.len()).then_some(end).ok_or(OpError::Range)
            }
            _ => Err(OpError::Suite),
        }
    }
}

/// A packet in the device.
struct Flight {
    mbuf: Option<Mbuf>,
    user: u64,
    /// To decrypt: where the verdict goes in the private area, where the received tag stands,
    /// and how long it is.
    verdict: Option<(u32, u32, usize)>,
}

/// A queue pair, for the thread that has it. `'k` is how long the sessions of its packets live,
/// as in [`crate::MultiBuffer`]; packets that are in it when it is dropped are waited for.
pub struct CryptoQueue<'k> {
    device: Arc<DeviceInner>,
    queue: u16,
    /// Operation and packet of number n stand at n modulo their length.
    ops: Box<[*mut sys::rte_crypto_op]>,
    flights: Box<[Flight]>,
    /// Numbers of the next packet to be submitted, to be handed to the device, to be given back.
    submitted: u64,
    enqueued: u64,
    delivered: u64,
    _keys: PhantomData<&'k ()>,
    _one_thread: PhantomData<Cell<()>>,
}

// SAFETY: a queue pair is used by one thread at a time and has no ties to it; the packets are
// Send, and sessions may be referred to from any thread.
unsafe impl Send for CryptoQueue<'_> {}

impl<'k> CryptoQueue<'k> {
    pub(super) fn new(
        device: Arc<DeviceInner>,
        queue: u16,
        pool: NonNull<sys::rte_mempool>,
        slots: u16,
    ) -> Result<Self, Errno> {
        let mut ops = vec![ptr::null_mut(); slots.into()].into_boxed_slice();
        // SAFETY: the pool was made for this many operations; `ops` has place for them.
        let code = unsafe { sys::hearth_crypto_op_alloc(pool.as_ptr(), ops.as_mut_ptr(), slots) };
        Errno::check(code)?;
        let empty = || Flight { mbuf: None, user: 0, verdict: None };
        let flights = core::iter::repeat_with(empty).take(slots.into()).collect();
        Ok(Self {
            device,
            queue,
            ops,
            flights,
            submitted: 0,
            enqueued: 0,
            delivered: 0,
            _keys: PhantomData,
            _one_thread: PhantomData,
        })
    }

    /// The queue's number at its device.
    #[must_use]
    pub const fn queue(&self) -> u16 {
        self.queue
    }

    /// Where the packet of a number stands.
    fn place(&self, number: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "below the length")]
        let place = (number % self.ops.len() as u64) as usize;
        place
    }

    /// Submits one packet, like [`crate::MultiBuffer::submit`]: returns a packet that is done, the
    /// oldest, when the queue was full. It reaches the device with the next 32, or when somebody
    /// asks for what is done.
    ///
    /// # Errors
    /// [`Rejected`] when the operation does not fit the packet, when the session belongs to
    /// another queue, or with [`OpError::Busy`] when the device has finished nothing and takes
    /// nothing more.
    pub fn submit(
        &mut self,
        mbuf: Mbuf,
        op: &DeviceOp<'k>,
        user: u64,
    ) -> Result<Option<Completed>, Rejected> {
        let tag_offset = match op.check(&mbuf) {
            Ok(_) if !op.session.belongs_to(&self.device, self.queue) => {
                return Err(Rejected { mbuf, error: OpError::Queue });
            }
            Ok(tag_offset) => tag_offset,
            Err(error) => return Err(Rejected { mbuf, error }),
        };
        let oldest = if self.len() == self.ops.len() {
            match self.completed() {
                None => return Err(Rejected { mbuf, error: OpError::Busy }),
                oldest => oldest,
            }
        } else {
            None
        };
        let suite = op.session.suite();
        let iv = if suite.is_gcm() { mbuf.meta_ptr() } else { mbuf.data_ptr() };
        let what = sys::hearth_crypto_op {
            iv: iv.wrapping_add(op.iv_offset as usize),
            // NULL has no IV.
            iv_len: u32::try_from(suite.iv_len()).unwrap_or(0),
            cipher_offset: op.cipher_offset,
            cipher_len: op.cipher_len,
            auth_offset: op.auth_offset,
            auth_len: op.auth_len,
            tag_offset,
        };
        let verdict = match op.tag {
            Tag::Meta(meta) => Some((meta, tag_offset, suite.tag_len())),
            // The check refuses a kept tag.
            Tag::Packet(_) | Tag::Kept => None,
        };
        let place = self.place(self.submitted);
        // SAFETY: the place is free, so its operation is ours; all of `what` lies within the
        // packet or its private area, by the check; the session is this queue's and lives as long
        // as the packet is in it.
        unsafe {
            let session = op.session.as_ptr();
            sys::hearth_crypto_fill(self.ops[place], suite.number(), session, mbuf.raw(), &what);
        }
        self.flights[place] = Flight { mbuf: Some(mbuf), user, verdict };
        self.submitted += 1;
        if self.submitted - self.enqueued >= BURST {
            self.push();
        }
        Ok(oldest)
    }

    /// A packet that is done, the oldest. Asks the device where none is known (crypto_aesni_mb
    /// flushes its lanes when it is asked and has nothing else to do).
    pub fn completed(&mut self) -> Option<Completed> {
        if self.is_empty() {
            return None;
        }
        if let Some(completed) = self.deliver() {
            return Some(completed);
        }
        self.push();
        // SAFETY: the queue pair is ours alone; what comes back was enqueued here.
        unsafe { sys::hearth_crypto_dequeue(self.device.id(), self.queue) };
        self.deliver()
    }

    /// The oldest packet, waited for some milliseconds at most; None when there is none, or when
    /// the device does not answer.
    pub fn flush(&mut self) -> Option<Completed> {
        for _ in 0..PATIENCE {
            match self.completed() {
                None if !self.is_empty() => core::hint::spin_loop(),
                completed => return completed,
            }
        }
        None
    }

    /// Packets in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "at most as many as there are places")]
        let len = (self.submitted - self.delivered) as usize;
        len
    }

    /// Whether no packet is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands the device what was submitted.
    fn push(&mut self) {
        while self.enqueued < self.submitted {
            let place = self.place(self.enqueued);
            let waiting = usize::try_from(self.submitted - self.enqueued).unwrap_or(usize::MAX);
            // As far as the places are in one piece.
            let piece = waiting.min(self.ops.len() - place);
            let n = u16::try_from(piece).unwrap_or(u16::MAX);
            // SAFETY: the queue pair is ours alone; these operations are filled and not in it.
            let taken = unsafe {
                let first = self.ops.as_mut_ptr().add(place);
                sys::hearth_crypto_enqueue(self.device.id(), self.queue, first, n)
            };
            self.enqueued += u64::from(taken);
            if taken < n {
                break;
            }
        }
    }

    /// The oldest packet, if it has come back.
    fn deliver(&mut self) -> Option<Completed> {
        if self.delivered == self.enqueued {
            return None;
        }
        let place = self.place(self.delivered);
        let op = *self.ops.get(place)?;
        // SAFETY: the operation was filled; only this thread marks it.
        if unsafe { sys::hearth_crypto_is_back(op) } == 0 {
            return None;
        }
        let flight = self.flights.get_mut(place)?;
        let mut mbuf = flight.mbuf.take()?;
        self.delivered += 1;
        // SAFETY: the device has given the operation back.
        let verdict = unsafe { sys::hearth_crypto_verdict(op) };
        if let Some((meta, tag, len)) = flight.verdict {
            write_verdict(&mut mbuf, verdict == sys::HEARTH_CRYPTO_DONE, meta, tag, len);
        }
        let ok = verdict != sys::HEARTH_CRYPTO_FAILED;
        Some(Completed { mbuf, user: flight.user, ok })
    }
}

/// Puts the received tag into the private area, or its complement if it was wrong.
fn write_verdict(mbuf: &mut Mbuf, right: bool, meta: u32, tag: u32, len: usize) {
    const NONE: [u8; 16] = [0; 16];
    let (meta, tag) = (meta as usize, tag as usize);
    let mut octets = NONE;
    if let (Some(octets), Some(tag)) = (octets.get_mut(..len), mbuf.data().get(tag..tag + len)) {
        octets.copy_from_slice(tag);
    }
    if !right {
        octets.iter_mut().for_each(|octet| *octet = !*octet);
    }
    let area = mbuf.meta_mut::<[u8; crate::META_SIZE]>();
    if let (Some(place), Some(octets)) = (area.get_mut(meta..meta + len), octets.get(..len)) {
        place.copy_from_slice(octets);
    }
}

impl Drop for CryptoQueue<'_> {
    fn drop(&mut self) {
        while self.flush().is_some() {}
        if !self.is_empty() {
            // The device does not answer, and may still write into packets: leave it all.
            core::mem::forget(Arc::clone(&self.device));
            for flight in core::mem::take(&mut self.flights) {
                core::mem::forget(flight.mbuf);
            }
            return;
        }
        for op in core::mem::take(&mut self.ops) {
            // SAFETY: none is in the device.
            unsafe { sys::hearth_crypto_op_free(op) };
        }
    }
}

impl core::fmt::Debug for CryptoQueue<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CryptoQueue")
            .field("queue", &self.queue)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
