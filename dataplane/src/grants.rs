//! SAs whose outbound numbers come to the end of what is granted: a hint for control, which reserves
//! more of them against a restart.
//!
//! A worker names an SA once in 65,536 packets, and again for each packet that has no number left.
//! What finds no place is named again then, so that nothing is lost for good.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use hearth_wire::Spi;

/// SPIs that one worker's hints have room for at a time.
const PLACES: usize = 256;

/// Hints of one worker.
#[derive(Debug)]
#[repr(align(64))]
struct Hints {
    /// Counts what was noted, so that control need not look at all places. worker: rw, control: ro
    noted: AtomicU32,
    /// 0: free. worker: fills, control: empties
    places: [AtomicU32; PLACES],
}

impl Default for Hints {
    fn default() -> Self {
        Self { noted: AtomicU32::new(0), places: [const { AtomicU32::new(0) }; PLACES] }
    }
}

/// Both sides: one for each worker, and control's.
pub(crate) fn grants(workers: usize) -> (Vec<Grants>, NearGrants) {
    let hints: Arc<[Hints]> = (0..workers).map(|_| Hints::default()).collect();
    let side = |worker| Grants { hints: Arc::clone(&hints), worker };
    let sides = (0..workers).map(side).collect();
    (sides, NearGrants { seen: vec![0; workers], hints })
}

/// A worker's side.
#[derive(Debug)]
pub(crate) struct Grants {
    hints: Arc<[Hints]>,
    worker: usize,
}

impl Grants {
    /// Tells control that this SA needs more numbers.
    #[cold]
    #[inline(never)]
    pub(crate) fn note(&self, spi: Spi) {
        let Some(hints) = self.hints.get(self.worker) else { return };
        let start = spi.get() as usize % PLACES;
        let (before, from) = hints.places.split_at(start);
        for place in from.iter().chain(before) {
            match place.load(Ordering::Relaxed) {
                0 => {
                    place.store(spi.get(), Ordering::Relaxed);
                    let noted = hints.noted.load(Ordering::Relaxed).wrapping_add(1);
                    return hints.noted.store(noted, Ordering::Release);
                }
                known if known == spi.get() => return,
                _ => {}
            }
        }
    }
}

/// Control's side.
#[derive(Debug)]
pub(crate) struct NearGrants {
    /// By worker: how many hints had been noted at the last look.
    seen: Vec<u32>,
    hints: Arc<[Hints]>,
}

impl NearGrants {
    /// Takes the hints.
    pub(crate) fn take(&mut self, mut each: impl FnMut(Spi)) {
        for (hints, seen) in self.hints.iter().zip(&mut self.seen) {
            let noted = hints.noted.load(Ordering::Acquire);
            if noted == *seen {
                continue;
            }
            *seen = noted;
            for place in &hints.places {
                if place.load(Ordering::Relaxed) != 0
                    && let Ok(spi) = Spi::new(place.swap(0, Ordering::Relaxed))
                {
                    each(spi);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(near: &mut NearGrants) -> Vec<u32> {
        let mut spis = Vec::new();
        near.take(|spi| spis.push(spi.get()));
        spis.sort_unstable();
        spis
    }

    #[test]
    fn an_sa_is_told_once_until_control_looks() {
        let (workers, mut near) = grants(2);
        let [five, other] = [5, 5 + 256].map(|spi| Spi::new(spi).unwrap());
        workers[1].note(five);
        workers[1].note(five);
        workers[1].note(other);
        workers[0].note(five);
        assert_eq!(taken(&mut near), [5, 5, 261]);
        assert!(taken(&mut near).is_empty());
        workers[1].note(five);
        assert_eq!(taken(&mut near), [5]);
    }

    #[test]
    fn what_finds_no_place_is_told_when_it_is_noted_again() {
        let (workers, mut near) = grants(1);
        for spi in 1..=300 {
            workers[0].note(Spi::new(spi).unwrap());
        }
        assert_eq!(taken(&mut near).len(), PLACES);
        workers[0].note(Spi::new(300).unwrap());
        assert_eq!(taken(&mut near), [300]);
    }
}
