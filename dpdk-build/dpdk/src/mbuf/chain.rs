//! Packets in several segments.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use hearth_dpdk_sys as sys;

use super::Mbuf;
use crate::mempool::Mempool;

impl Mbuf {
    /// The packet in one segment: itself if it is, else a copy from `pool`, whose mbufs have to
    /// be large enough, with the private area, the port and the NIC's findings copied along.
    ///
    /// # Errors
    /// The packet as it was, when the pool is empty or its mbufs are too small.
    pub fn linearize(self, pool: &Mempool) -> Result<Self, Self> {
        if self.is_contiguous() {
            return Ok(self);
        }
        self.copy(pool, usize::MAX).ok_or(self)
    }

    /// A copy of the first `limit` octets in one segment from `pool`, with the private area, the
    /// port and the NIC's findings: for a capture. None when the pool is empty or its mbufs are
    /// too small.
    #[must_use]
    pub fn copy(&self, pool: &Mempool, limit: usize) -> Option<Self> {
        let mut copy = pool.alloc()?;
        let mut place = copy.append(self.len().min(limit))?;
        for data in self.segment_data() {
            let n = data.len().min(place.len());
            let (head, rest) = place.split_at_mut_checked(n)?;
            head.copy_from_slice(data.get(..n)?);
            place = rest;
        }
        copy.copy_attributes(self);
        Some(copy)
    }

    /// The octets of each segment, first to last.
    pub fn segment_data(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(self.0);
        core::iter::from_fn(move || {
            // Not to be freed here: `self` owns the whole chain.
            let view = ManuallyDrop::new(Self(next?));
            next = NonNull::new(view.get(sys::HEARTH_MBUF_NEXT));
            // SAFETY: as in `data`; the segment lives as long as `self`. Who else holds its
            // octets only reads them: an Mbuf lets only its first segment be changed, and that
            // is never a shared one.
            let octets: &[u8] =
                unsafe { core::slice::from_raw_parts(view.data_ptr(), view.data_len().into()) };
            Some(octets)
        })
    }

    /// Puts another packet's segments behind this one's.
    ///
    /// # Errors
    /// The other packet, where the segments would be more than DPDK counts (65535).
    pub fn append_chain(&mut self, tail: Self) -> Result<(), Self> {
        // SAFETY: both chains are owned; the call takes the second over when it succeeds and
        // changes nothing when not.
        if unsafe { sys::hearth_mbuf_chain(self.0.as_ptr(), tail.0.as_ptr()) } != 0 {
            return Err(tail);
        }
        core::mem::forget(tail);
        Ok(())
    }

    /// Cuts `n` octets off the end; false when the last segment has fewer.
    pub(crate) fn trim_chain(&mut self, n: usize) -> bool {
        let Ok(n) = u16::try_from(n) else { return false };
        // SAFETY: the chain is owned; the call changes lengths alone, and none when it fails.
        unsafe { sys::hearth_mbuf_trim(self.0.as_ptr(), n) == 0 }
    }
}
