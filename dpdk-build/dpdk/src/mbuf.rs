//! One packet buffer, and who owns it.

mod chain;

use core::mem::{align_of, size_of};
use core::ptr::{self, NonNull};

use hearth_dpdk_sys as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::cycles::{prefetch_far, prefetch_line};

/// Octets in front of the data of a fresh mbuf.
pub const HEADROOM: usize = sys::HEARTH_MBUF_HEADROOM as usize;

/// Octets of an mbuf's private area ([`Mbuf::meta`]), the same for every pool.
pub const META_SIZE: usize = 128;

/// What a NIC found out about a received packet's checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RxChecksum {
    /// It did not look, or could not tell: verify in software.
    Unknown,
    /// Right.
    Good,
    /// Wrong.
    Bad,
}

/// A packet in a DPDK buffer. It belongs to whoever holds this value and is freed when that is
/// dropped, except through [`Mbuf::into_raw`].
///
/// Packets may be in several segments, as received, reassembled or fragmented: [`Mbuf::data`] is
/// the first, which nobody else holds. The others may share their octets with segments of other
/// packets, so that they can only be read ([`Mbuf::segment_data`]).
#[derive(Debug)]
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an mbuf is memory that one owner at a time uses; its pool takes it back from any
// thread.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes over an mbuf.
    ///
    /// # Safety
    /// `raw` is a direct mbuf of a pool made by [`crate::Mempool::new`] with reference count 1, or a
    /// chain that starts with such a one, and the caller gives up owning it.
    #[must_use]
    #[inline]
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw.cast())
    }

    /// Gives the mbuf up without freeing it; [`Mbuf::from_raw`] takes it over again.
    #[must_use]
    #[inline]
    pub fn into_raw(self) -> NonNull<u8> {
        let raw = self.0.cast();
        core::mem::forget(self);
        raw
    }

    /// The mbuf for a call into DPDK that takes it without owning it.
    #[inline]
    pub(crate) const fn raw(&self) -> *mut sys::rte_mbuf {
        self.0.as_ptr()
    }

    /// # Safety
    /// As for [`Mbuf::from_raw`], or null.
    #[inline]
    pub(crate) unsafe fn from_nullable(raw: *mut sys::rte_mbuf) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }

    /// A field of the mbuf's header, named by its offset in `shim.h`.
    #[inline]
    const fn field<T: Copy>(&self, offset: u32) -> *mut T {
        // SAFETY: the offsets come from offsetof() and are within the struct.
        unsafe { self.0.as_ptr().byte_add(offset as usize).cast() }
    }

    #[inline]
    fn get<T: Copy>(&self, offset: u32) -> T {
        // SAFETY: shim.c asserts that the field at this offset has this width, and it is
        // initialised in every mbuf that a pool hands out. `self` owns the mbuf.
        unsafe { self.field::<T>(offset).read() }
    }

    #[inline]
    fn set<T: Copy>(&mut self, offset: u32, value: T) {
        // SAFETY: as in `get`; `&mut self` makes this the only access.
        unsafe { self.field::<T>(offset).write(value) }
    }

    #[inline]
    fn data_len(&self) -> u16 {
        self.get(sys::HEARTH_MBUF_DATA_LEN)
    }

    #[inline]
    fn data_off(&self) -> u16 {
        self.get(sys::HEARTH_MBUF_DATA_OFF)
    }

    #[inline]
    fn buffer(&self) -> *mut u8 {
        self.get(sys::HEARTH_MBUF_BUF_ADDR)
    }

    #[inline]
    pub(crate) fn data_ptr(&self) -> *mut u8 {
        // SAFETY: data_off is within the buffer, by DPDK and by the methods below.
        unsafe { self.buffer().add(self.data_off().into()) }
    }

    /// Octets of the whole packet, all segments.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.get::<u32>(sys::HEARTH_MBUF_PKT_LEN) as usize
    }

    /// Whether there is no octet in it.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Segments of the packet, 1 or more.
    #[must_use]
    #[inline]
    pub fn segments(&self) -> u16 {
        self.get(sys::HEARTH_MBUF_NB_SEGS)
    }

    /// Whether the packet is in one segment, so that [`Mbuf::data`] is all of it.
    #[must_use]
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.segments() == 1
    }

    /// The octets of the first segment.
    #[must_use]
    #[inline]
    pub fn data(&self) -> &[u8] {
        // SAFETY: data_len octets from data_off are within the buffer, which the pool zeroed or
        // somebody wrote, and which only the owner of this mbuf touches.
        unsafe { core::slice::from_raw_parts(self.data_ptr(), self.data_len().into()) }
    }

    /// The octets of the first segment, to change.
    #[must_use]
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`; `&mut self` makes this the only access.
        unsafe { core::slice::from_raw_parts_mut(self.data_ptr(), self.data_len().into()) }
    }

    /// Free octets in front of the data.
    #[must_use]
    #[inline]
    pub fn headroom(&self) -> usize {
        self.data_off().into()
    }

    /// Free octets behind the data; 0 for a packet of several segments.
    #[must_use]
    #[inline]
    pub fn tailroom(&self) -> usize {
        if !self.is_contiguous() {
            return 0;
        }
        let end = usize::from(self.data_off()) + usize::from(self.data_len());
        usize::from(self.get::<u16>(sys::HEARTH_MBUF_BUF_LEN)).saturating_sub(end)
    }

    /// Grows the packet by `n` octets in front, whose content is whatever was there, and returns
    /// them; None when the headroom is smaller.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let off = usize::from(self.data_off()).checked_sub(n)?;
        self.resize_first(off, usize::from(self.data_len()) + n)?;
        self.data_mut().get_mut(..n)
    }

    /// Grows the packet by `front` octets in front and `back` octets at the end, whose content is
    /// whatever was there, and returns all of it; None, and nothing changes, where there is no room
    /// or the packet is in several segments.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "once per packet, and a few words")]
    pub fn surround(&mut self, front: usize, back: usize) -> Option<&mut [u8]> {
        let off = usize::from(self.data_off()).checked_sub(front)?;
        let len = usize::from(self.data_len()) + front + back;
        if off + len > usize::from(self.get::<u16>(sys::HEARTH_MBUF_BUF_LEN))
            || !self.is_contiguous()
        {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "within a 16-bit buffer length")]
        let (off, len) = (off as u16, len as u16);
        self.set(sys::HEARTH_MBUF_DATA_OFF, off);
        self.set(sys::HEARTH_MBUF_DATA_LEN, len);
        self.set(sys::HEARTH_MBUF_PKT_LEN, u32::from(len));
        Some(self.data_mut())
    }

    /// As [`Mbuf::prepend`], of a number of octets that is known beforehand.
    #[inline]
    pub fn prepend_array<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        const { assert!(N <= 4096) };
        #[expect(clippy::cast_possible_truncation, reason = "at most 4096")]
        let n = N as u16;
        let off = self.data_off().checked_sub(n)?;
        let len = self.data_len().checked_add(n)?;
        let packet = self.get::<u32>(sys::HEARTH_MBUF_PKT_LEN) + u32::from(n);
        self.set(sys::HEARTH_MBUF_DATA_OFF, off);
        self.set(sys::HEARTH_MBUF_DATA_LEN, len);
        self.set(sys::HEARTH_MBUF_PKT_LEN, packet);
        self.data_mut().first_chunk_mut()
    }

    /// Grows the packet by `n` octets at the end, whose content is whatever was there, and
    /// returns them; None when the tailroom is smaller.
    #[inline]
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        let len = usize::from(self.data_len());
        if n > self.tailroom() {
            return None;
        }
        self.resize_first(self.data_off().into(), len + n)?;
        self.data_mut().get_mut(len..)
    }

    /// Cuts `n` octets off the front; None when the first segment has fewer.
    #[inline]
    pub fn adj(&mut self, n: usize) -> Option<()> {
        let len = usize::from(self.data_len()).checked_sub(n)?;
        self.resize_first(usize::from(self.data_off()) + n, len)
    }

    /// Cuts `n` octets off the end; None when there are fewer, or several segments.
    #[inline]
    pub fn trim(&mut self, n: usize) -> Option<()> {
        let len = usize::from(self.data_len()).checked_sub(n)?;
        if !self.is_contiguous() {
            return None;
        }
        self.resize_first(self.data_off().into(), len)
    }

    /// Cuts the packet down to `len` octets from `offset` on; None when there are fewer, or several
    /// segments.
    #[inline]
    pub fn keep(&mut self, offset: usize, len: usize) -> Option<()> {
        if offset.checked_add(len)? > usize::from(self.data_len()) || !self.is_contiguous() {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "both within a 16-bit data length")]
        let (offset, len) = (offset as u16, len as u16);
        self.set(sys::HEARTH_MBUF_DATA_OFF, self.data_off() + offset);
        self.set(sys::HEARTH_MBUF_DATA_LEN, len);
        self.set(sys::HEARTH_MBUF_PKT_LEN, u32::from(len));
        Some(())
    }

    /// Sets where the first segment's data lies. The callers have checked that it is within the
    /// buffer.
    #[inline]
    fn resize_first(&mut self, off: usize, len: usize) -> Option<()> {
        let off = u16::try_from(off).ok()?;
        let len = u16::try_from(len).ok()?;
        let others = self.get::<u32>(sys::HEARTH_MBUF_PKT_LEN) - u32::from(self.data_len());
        self.set(sys::HEARTH_MBUF_DATA_OFF, off);
        self.set(sys::HEARTH_MBUF_DATA_LEN, len);
        self.set(sys::HEARTH_MBUF_PKT_LEN, others + u32::from(len));
        Some(())
    }

    /// Copies the private area.
    pub(crate) fn copy_meta(&mut self, from: &Self) {
        // SAFETY: both private areas are META_SIZE octets and belong to different mbufs.
        unsafe { ptr::copy_nonoverlapping(from.meta_ptr(), self.meta_ptr(), META_SIZE) };
    }

    fn copy_attributes(&mut self, from: &Self) {
        self.set(sys::HEARTH_MBUF_PORT, from.port());
        self.set(sys::HEARTH_MBUF_OL_FLAGS, from.flags());
        self.set(sys::HEARTH_MBUF_HASH_RSS, from.rss_hash());
        self.copy_meta(from);
    }

    /// The DPDK port that it came from.
    #[must_use]
    #[inline]
    pub fn port(&self) -> u16 {
        self.get(sys::HEARTH_MBUF_PORT)
    }

    /// The hash by which the NIC chose the queue; 0 where it has none.
    #[must_use]
    #[inline]
    pub fn rss_hash(&self) -> u32 {
        self.get(sys::HEARTH_MBUF_HASH_RSS)
    }

    #[inline]
    fn flags(&self) -> u64 {
        self.get(sys::HEARTH_MBUF_OL_FLAGS)
    }

    /// What the NIC says of the IPv4 header's checksum.
    #[must_use]
    #[inline]
    pub fn rx_ip_checksum(&self) -> RxChecksum {
        match self.flags() & sys::HEARTH_RX_IP_CKSUM_MASK {
            sys::HEARTH_RX_IP_CKSUM_GOOD => RxChecksum::Good,
            sys::HEARTH_RX_IP_CKSUM_BAD => RxChecksum::Bad,
            _ => RxChecksum::Unknown,
        }
    }

    /// What the NIC says of the UDP or TCP checksum.
    #[must_use]
    #[inline]
    pub fn rx_l4_checksum(&self) -> RxChecksum {
        match self.flags() & sys::HEARTH_RX_L4_CKSUM_MASK {
            sys::HEARTH_RX_L4_CKSUM_GOOD => RxChecksum::Good,
            sys::HEARTH_RX_L4_CKSUM_BAD => RxChecksum::Bad,
            _ => RxChecksum::Unknown,
        }
    }

    /// Asks the NIC to fill in the UDP checksum, and the header's under IPv4. Only for queues that
    /// do ([`crate::TxQueue::fills_in_checksums`]); the UDP field holds the pseudo-header's sum,
    /// the IPv4 field 0. Lengths are those of the Ethernet and IP headers in octets (at most 127
    /// and 511).
    #[inline]
    pub fn request_tx_checksums(&mut self, l2_len: u8, l3_len: u16, ipv6: bool) {
        let l2 = u64::from(l2_len) & 0x7f;
        let l3 = u64::from(l3_len) & 0x1ff;
        let family =
            if ipv6 { sys::HEARTH_TX_IPV6 } else { sys::HEARTH_TX_IPV4 | sys::HEARTH_TX_IP_CKSUM };
        self.set(sys::HEARTH_MBUF_TX_OFFLOAD, l2 | l3 << 7);
        self.set(sys::HEARTH_MBUF_OL_FLAGS, family | sys::HEARTH_TX_UDP_CKSUM);
    }

    /// Takes back what a NIC said or was asked to do: for a received packet that goes out again.
    #[inline]
    pub fn clear_offloads(&mut self) {
        // Without a flag no driver looks at the lengths beside them, which stand on another line.
        self.set(sys::HEARTH_MBUF_OL_FLAGS, 0_u64);
    }

    #[inline]
    pub(crate) fn meta_ptr(&self) -> *mut u8 {
        // SAFETY: the private area follows the header in the same pool element.
        unsafe { self.0.as_ptr().byte_add(sys::HEARTH_MBUF_SIZE as usize).cast() }
    }

    /// The private area as a `T`. A fresh or received mbuf holds what its last user left there,
    /// or zeros.
    #[must_use]
    #[inline]
    pub fn meta<T: FromBytes + Immutable>(&self) -> &T {
        const { assert!(size_of::<T>() <= META_SIZE && align_of::<T>() <= 64) };
        // SAFETY: the pool zeroed the area, so every octet is initialised, and any octets are a
        // `T`; it is 64-octet aligned as the mbuf is, and META_SIZE long.
        unsafe { &*self.meta_ptr().cast::<T>() }
    }

    /// The private area as a `T`, to change.
    #[must_use]
    #[inline]
    pub fn meta_mut<T: FromBytes + IntoBytes>(&mut self) -> &mut T {
        const { assert!(size_of::<T>() <= META_SIZE && align_of::<T>() <= 64) };
        // SAFETY: as in `meta`; IntoBytes keeps every octet initialised, `&mut self` makes this
        // the only access.
        unsafe { &mut *self.meta_ptr().cast::<T>() }
    }

    /// Asks for the mbuf's header and the start of its private area.
    #[inline]
    pub fn prefetch_header(&self) {
        prefetch_line(self.0.as_ptr().cast());
        prefetch_line(self.meta_ptr());
    }

    /// Asks for the header of a packet that was just received and for `lines` cache lines of its
    /// data, where a driver puts it, without waiting for the header to say so.
    #[inline]
    pub fn prefetch_received(&self, lines: usize) {
        const DATA: usize = sys::HEARTH_MBUF_SIZE as usize + META_SIZE + HEADROOM;
        let start = self.0.as_ptr().cast::<u8>();
        prefetch_line(start);
        for line in 0..lines {
            prefetch_line(start.wrapping_add(DATA + line * 64));
        }
    }

    /// Asks for the line of the data in which the octet at `offset` stands. Reads the header.
    #[inline]
    pub fn prefetch_at(&self, offset: usize) {
        prefetch_line(self.data_ptr().wrapping_add(offset));
    }

    /// Asks for the data from the octet at `offset` on, into the second cache: more than the first one
    /// has room for, until crypto comes to it. Reads the header.
    #[inline]
    pub fn prefetch_rest(&self, offset: usize) {
        let start = self.data_ptr();
        for at in (offset..usize::from(self.data_len())).step_by(64) {
            prefetch_far(start.wrapping_add(at));
        }
    }

    /// Asks for the first octets of the data. Reads the header.
    #[inline]
    pub fn prefetch_data(&self) {
        prefetch_line(self.data_ptr());
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `self` owns the mbuf and is gone after this.
        unsafe { sys::hearth_mbuf_free(self.0.as_ptr()) };
    }
}
