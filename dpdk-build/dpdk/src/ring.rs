//! Rings that hand packets from one thread to another.
//!
//! The ends are values with one owner each, so that a single-producer ring cannot get a second
//! producer. Packets that are in a ring when its last end is dropped are freed.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::sync::Arc;

use hearth_dpdk_sys as sys;

use crate::burst::Burst;
use crate::eal::{Eal, c_name};
use crate::errno::Errno;
use crate::mbuf::Mbuf;

#[derive(Debug)]
pub(crate) struct RingInner {
    raw: NonNull<sys::rte_ring>,
    _eal: Eal,
}

// SAFETY: rte_ring synchronises its ends by itself; the handles below keep to the number of
// producers and consumers that it was made for.
unsafe impl Send for RingInner {}
// SAFETY: as above.
unsafe impl Sync for RingInner {}

impl RingInner {
    fn new(
        eal: &Eal,
        name: &str,
        size: u32,
        kind: sys::hearth_ring_kind,
    ) -> Result<Arc<Self>, Errno> {
        let name = c_name(name)?;
        // SAFETY: the EAL runs; the name outlives the call, which copies it.
        let raw = unsafe { sys::hearth_ring_create(name.as_ptr(), size, kind) };
        let raw = NonNull::new(raw).ok_or_else(Errno::last)?;
        Ok(Arc::new(Self { raw, _eal: eal.clone() }))
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_ring {
        self.raw.as_ptr()
    }

    fn send<const N: usize>(&self, burst: &mut Burst<N>) -> usize {
        burst.offer_to(|mbufs, n| {
            // SAFETY: `mbufs` holds `n` owned mbufs; those counted are the ring's from here on.
            let sent = unsafe {
                sys::hearth_ring_enqueue_burst(self.as_ptr(), mbufs.cast_const(), n.into())
            };
            u16::try_from(sent).unwrap_or(n)
        })
    }

    fn push(&self, mbuf: Mbuf) -> Result<(), Mbuf> {
        let raw = mbuf.into_raw();
        let pointer = raw.as_ptr().cast::<sys::rte_mbuf>();
        // SAFETY: one owned mbuf, the ring's if it was taken and ours again if not.
        match unsafe { sys::hearth_ring_enqueue_burst(self.as_ptr(), &raw const pointer, 1) } {
            // SAFETY: the ring was full and did not take it.
            0 => Err(unsafe { Mbuf::from_raw(raw) }),
            _ => Ok(()),
        }
    }

    fn receive<const N: usize>(&self, burst: &mut Burst<N>) -> usize {
        burst.fill_with(|slots, room| {
            // SAFETY: `slots` has place for `room` pointers; what is in the ring is owned mbufs.
            let got = unsafe { sys::hearth_ring_dequeue_burst(self.as_ptr(), slots, room.into()) };
            u16::try_from(got).unwrap_or(room)
        })
    }

    fn len(&self) -> usize {
        // SAFETY: the ring is alive; the counters are read atomically.
        unsafe { sys::hearth_ring_count(self.as_ptr()) as usize }
    }
}

impl Drop for RingInner {
    fn drop(&mut self) {
        let mut burst = Burst::<32>::new();
        while self.receive(&mut burst) > 0 {
            burst.clear();
        }
        // SAFETY: both ends are gone, and the ring is empty.
        unsafe { sys::rte_ring_free(self.as_ptr()) };
    }
}

/// Makes a ring for `size` packets with one producer and one consumer. The name is unique among
/// DPDK's rings and at most 25 octets.
///
/// # Errors
/// DPDK's error number: `EEXIST` for a name in use, `ENAMETOOLONG`, `ENOMEM`.
pub fn spsc_ring(eal: &Eal, name: &str, size: u32) -> Result<(RingProducer, RingConsumer), Errno> {
    let inner = RingInner::new(eal, name, size, sys::HEARTH_RING_SPSC)?;
    Ok((
        RingProducer { inner: Arc::clone(&inner), _one_thread: PhantomData },
        RingConsumer { inner, _one_thread: PhantomData },
    ))
}

/// Makes a ring for `size` packets with any number of producers and one consumer.
///
/// # Errors
/// As [`spsc_ring`].
pub fn mpsc_ring(
    eal: &Eal,
    name: &str,
    size: u32,
) -> Result<(SharedRingProducer, RingConsumer), Errno> {
    let inner = RingInner::new(eal, name, size, sys::HEARTH_RING_MPSC)?;
    Ok((
        SharedRingProducer { inner: Arc::clone(&inner) },
        RingConsumer { inner, _one_thread: PhantomData },
    ))
}

/// The only producer of a ring.
#[derive(Debug)]
pub struct RingProducer {
    inner: Arc<RingInner>,
    _one_thread: PhantomData<Cell<()>>,
}

impl RingProducer {
    /// Hands over the first packets of the burst, as many as fit, and keeps the rest in it;
    /// returns how many went.
    pub fn send<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        self.inner.send(burst)
    }

    /// Hands over one packet.
    ///
    /// # Errors
    /// The packet, when the ring is full.
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        self.inner.push(mbuf)
    }

    /// Packets in the ring.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether the ring is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn into_inner(self) -> Arc<RingInner> {
        self.inner
    }
}

/// One of any number of producers of a ring.
#[derive(Debug, Clone)]
pub struct SharedRingProducer {
    inner: Arc<RingInner>,
}

impl SharedRingProducer {
    /// As [`RingProducer::send`].
    pub fn send<const N: usize>(&self, burst: &mut Burst<N>) -> usize {
        self.inner.send(burst)
    }

    /// As [`RingProducer::push`].
    ///
    /// # Errors
    /// The packet, when the ring is full.
    pub fn push(&self, mbuf: Mbuf) -> Result<(), Mbuf> {
        self.inner.push(mbuf)
    }

    /// Packets in the ring.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether the ring is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The only consumer of a ring.
#[derive(Debug)]
pub struct RingConsumer {
    inner: Arc<RingInner>,
    _one_thread: PhantomData<Cell<()>>,
}

impl RingConsumer {
    /// Takes packets until the burst is full or the ring empty; returns how many came.
    pub fn receive<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        self.inner.receive(burst)
    }

    /// Packets in the ring.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether the ring is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn into_inner(self) -> Arc<RingInner> {
        self.inner
    }
}
