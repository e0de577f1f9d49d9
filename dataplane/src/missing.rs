//! SPIs that signalling named and nobody has: a hint for control, which may ask the HAC.
//!
//! One place per worker, and a new SPI replaces an old one: a flood of invented SPIs costs one
//! store each and cannot grow anything. A real mobile node retransmits.

use core::sync::atomic::{AtomicU32, Ordering};

use hearth_wire::Spi;

/// One place per worker.
#[derive(Debug)]
pub(crate) struct MissingSpis(Box<[Place]>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Place(AtomicU32); // worker: wo, control: rw

impl MissingSpis {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Place::default()).collect())
    }

    /// Notes that `worker` saw this SPI.
    pub(crate) fn note(&self, worker: usize, spi: Spi) {
        if let Some(place) = self.0.get(worker) {
            place.0.store(spi.get(), Ordering::Relaxed);
        }
    }

    /// Takes what was noted.
    pub(crate) fn take(&self, mut each: impl FnMut(Spi)) {
        for place in &self.0 {
            // Looking first keeps the line shared while there is nothing to take.
            if place.0.load(Ordering::Relaxed) != 0
                && let Ok(spi) = Spi::new(place.0.swap(0, Ordering::Relaxed))
            {
                each(spi);
            }
        }
    }
}
