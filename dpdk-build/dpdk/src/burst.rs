//! A fixed number of mbufs that move together.

use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};

use hearth_dpdk_sys as sys;

use crate::mbuf::Mbuf;

/// The usual capacity of a [`Burst`].
pub const BURST: usize = 64;

/// Up to `N` packets in order. It is a slice of [`Mbuf`]; what is in it when it is dropped is
/// freed.
#[derive(Debug)]
pub struct Burst<const N: usize = BURST> {
    /// `mbufs[..len]` are initialised, the rest is not.
    mbufs: [MaybeUninit<Mbuf>; N],
    len: usize,
}

impl<const N: usize> Default for Burst<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Burst<N> {
    /// An empty burst.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        const { assert!(N > 0 && N <= u16::MAX as usize) };
        Self { mbufs: [const { MaybeUninit::uninit() }; N], len: 0 }
    }

    /// How many it can hold.
    #[must_use]
    #[inline]
    pub const fn capacity(&self) -> usize {
        N
    }

    /// Whether nothing more fits.
    #[must_use]
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.len == N
    }

    /// How many more fit.
    #[must_use]
    #[inline]
    pub const fn room(&self) -> usize {
        N - self.len
    }

    /// Puts a packet at the end.
    ///
    /// # Errors
    /// The packet itself, when the burst is full.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.mbufs.get_mut(self.len) {
            Some(slot) => {
                slot.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Takes the last packet.
    #[inline]
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the slot was initialised, and the new `len` no longer covers it.
        Some(unsafe { self.mbufs[self.len].assume_init_read() })
    }

    /// Takes all packets, first to last. Those not asked for are freed.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_, N> {
        let len = self.len;
        self.len = 0;
        Drain { burst: self, next: 0, len }
    }

    /// Frees all packets.
    #[inline]
    pub fn clear(&mut self) {
        let len = self.len;
        self.len = 0;
        // SAFETY: the first `len` slots were initialised and belong to nobody now.
        unsafe { free(&mut self.mbufs, 0, len) };
    }

    /// Lets `f` write up to `room` owned mbufs at the end; it returns how many it wrote.
    #[inline]
    pub(crate) fn fill_with(
        &mut self,
        f: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
    ) -> usize {
        let room = short(self.room());
        // SAFETY: `len <= N`, so this is at most one past the array. Mbuf is a pointer to
        // rte_mbuf (repr(transparent)).
        let slots = unsafe { self.mbufs.as_mut_ptr().add(self.len) };
        let n = usize::from(f(slots.cast(), room).min(room));
        self.len += n;
        n
    }

    /// Offers all packets to `f`, which returns how many of the first ones it took over; the
    /// others move to the front.
    #[inline]
    pub(crate) fn offer_to(
        &mut self,
        f: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
    ) -> usize {
        let len = self.len;
        let taken = usize::from(f(self.mbufs.as_mut_ptr().cast(), short(len))).min(len);
        let base = self.mbufs.as_mut_ptr();
        // SAFETY: the slots taken..len are initialised and move within the array; those taken
        // belong to somebody else and are overwritten or left behind `len`.
        unsafe { core::ptr::copy(base.add(taken), base, len - taken) };
        self.len = len - taken;
        taken
    }
}

/// A number of packets as DPDK counts them. No burst is longer than this can say.
fn short(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// Frees the mbufs in `from..to`.
///
/// # Safety
/// The slots are initialised and nobody uses them afterwards.
unsafe fn free(mbufs: &mut [MaybeUninit<Mbuf>], from: usize, to: usize) {
    if from < to {
        let first = mbufs[from..to].as_mut_ptr().cast();
        // SAFETY: by the contract above; the pointers are mbufs that the burst owned.
        unsafe { sys::rte_pktmbuf_free_bulk(first, short(to - from).into()) };
    }
}

impl<const N: usize> Deref for Burst<N> {
    type Target = [Mbuf];

    #[inline]
    fn deref(&self) -> &[Mbuf] {
        // SAFETY: the first `len` slots are initialised.
        unsafe { core::slice::from_raw_parts(self.mbufs.as_ptr().cast(), self.len) }
    }
}

impl<const N: usize> DerefMut for Burst<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        // SAFETY: the first `len` slots are initialised; `&mut self` makes this the only access.
        unsafe { core::slice::from_raw_parts_mut(self.mbufs.as_mut_ptr().cast(), self.len) }
    }
}

impl<const N: usize> Drop for Burst<N> {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

/// The packets of a burst, first to last ([`Burst::drain`]).
#[derive(Debug)]
pub struct Drain<'a, const N: usize> {
    burst: &'a mut Burst<N>,
    next: usize,
    len: usize,
}

impl<const N: usize> Iterator for Drain<'_, N> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.len {
            return None;
        }
        // SAFETY: slots next..len are initialised and not covered by the burst's own length.
        let mbuf = unsafe { self.burst.mbufs[self.next].assume_init_read() };
        self.next += 1;
        Some(mbuf)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len - self.next, Some(self.len - self.next))
    }
}

impl<const N: usize> ExactSizeIterator for Drain<'_, N> {}

impl<const N: usize> Drop for Drain<'_, N> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: slots next..len are initialised and belong to nobody else.
        unsafe { free(&mut self.burst.mbufs, self.next, self.len) };
    }
}
