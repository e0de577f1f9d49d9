//! What is known here of SAs besides the home agent's knowledge, in little memory.
//!
//! SPIs are dealt out densely, so that an array of pages finds an SA with one look. Its keys
//! stand beside it at their own length: a million small allocations would cost as much again as what
//! is in them, and a table that doubles would leave copies of them behind.

use hearth_wire::Spi;
use zeroize::{Zeroize, Zeroizing};

/// SPIs in one page.
const PAGE: usize = 1 << 10;

/// What is known of one SA.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeptSa {
    pub(super) generation: u64,
    /// Seconds since 1970, as the directory says it.
    pub(super) validity_end: u64,
    /// Inbound numbers below it count as seen after a restart.
    pub(super) floor: u32,
    /// The inbound numbers when they were looked at last.
    pub(super) top: u32,
    /// When the last grant was made, in seconds from the start.
    pub(super) granted: u32,
    /// Outbound numbers below `grant << 16` may be used.
    pub(super) grant: u16,
    /// What the next grant adds.
    pub(super) step: u16,
}

/// One place of a page.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    sa: KeptSa,
    taken: bool,
    /// Octets of its keys; 0 without keys.
    keys: u8,
}

struct Page {
    taken: usize,
    places: Box<[Place]>,
    /// Octets between the keys of two places: those of the longest.
    stride: usize,
    keys: Zeroizing<Vec<u8>>,
}

impl Page {
    fn new() -> Self {
        let places = vec![Place::default(); PAGE].into();
        Self { taken: 0, places, stride: 0, keys: Zeroizing::default() }
    }

    /// Lets there be room for keys of this length.
    fn widen(&mut self, length: usize) {
        if length <= self.stride {
            return;
        }
        let mut wider = Zeroizing::new(vec![0; PAGE * length]);
        if self.stride > 0 {
            let places = wider.chunks_exact_mut(length).zip(self.keys.chunks_exact(self.stride));
            places.for_each(|(new, old)| new[..old.len()].copy_from_slice(old));
        }
        (self.keys, self.stride) = (wider, length);
    }

    fn keys_mut(&mut self, slot: usize) -> &mut [u8] {
        let start = slot * self.stride;
        self.keys.get_mut(start..start + self.stride).unwrap_or_default()
    }
}

/// All of them, by SPI.
#[derive(Default)]
pub(super) struct KeptSas {
    pages: Vec<Option<Page>>,
}

impl KeptSas {
    pub(super) fn get(&self, spi: Spi) -> Option<&KeptSa> {
        let (page, slot) = place(spi);
        let place = self.pages.get(page)?.as_ref()?.places.get(slot)?;
        place.taken.then_some(&place.sa)
    }

    pub(super) fn get_mut(&mut self, spi: Spi) -> Option<&mut KeptSa> {
        let (page, slot) = place(spi);
        let place = self.pages.get_mut(page)?.as_mut()?.places.get_mut(slot)?;
        place.taken.then_some(&mut place.sa)
    }

    /// The keys of an SA as they were given; empty where there are none.
    pub(super) fn keys(&self, spi: Spi) -> &[u8] {
        let (page, slot) = place(spi);
        let Some(Some(page)) = self.pages.get(page) else { return &[] };
        let length = page.places.get(slot).map_or(0, |place| usize::from(place.keys));
        let start = slot * page.stride;
        page.keys.get(start..start + length).unwrap_or_default()
    }

    /// Enters an SA with its keys in these pieces, in the place of one that had its SPI.
    pub(super) fn insert(&mut self, spi: Spi, sa: KeptSa, keys: &[&[u8]]) {
        let (page, slot) = place(spi);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let Some(page) = self.pages.get_mut(page) else { return };
        let page = page.get_or_insert_with(Page::new);
        let length: usize = keys.iter().map(|piece| piece.len()).sum();
        page.widen(length);
        let mut rest = page.keys_mut(slot);
        rest.zeroize();
        for piece in keys {
            let Some((to, behind)) = rest.split_at_mut_checked(piece.len()) else { return };
            to.copy_from_slice(piece);
            rest = behind;
        }
        // Four keys of 32 octets at most.
        let keys = u8::try_from(length).unwrap_or(0);
        let Some(place) = page.places.get_mut(slot) else { return };
        page.taken += usize::from(!place.taken);
        *place = Place { sa, taken: true, keys };
    }

    pub(super) fn remove(&mut self, spi: Spi) {
        let (number, slot) = place(spi);
        let Some(page) = self.pages.get_mut(number) else { return };
        let Some(inside) = page else { return };
        inside.keys_mut(slot).zeroize();
        let Some(place) = inside.places.get_mut(slot).filter(|place| place.taken) else { return };
        *place = Place::default();
        inside.taken -= 1;
        if inside.taken == 0 {
            *page = None;
        }
    }
}

const fn place(spi: Spi) -> (usize, usize) {
    let number = spi.get() as usize;
    (number / PAGE, number % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spi(number: u32) -> Spi {
        Spi::new(number).unwrap()
    }

    fn sa(generation: u64) -> KeptSa {
        KeptSa { generation, ..KeptSa::default() }
    }

    #[test]
    fn keys_of_all_lengths_stand_in_one_page() {
        let mut kept = KeptSas::default();
        let long = [7; 44];
        kept.insert(spi(5), sa(1), &[b"abc", b"", b"de"]);
        kept.insert(spi(6), sa(2), &[]);
        kept.insert(spi(7), sa(3), &[&long, &long]);
        kept.insert(spi(1), sa(4), &[b"x"]);
        let found = [1, 5, 6, 7, 8].map(|n| kept.keys(spi(n)));
        assert_eq!(found, [b"x", &b"abcde"[..], b"", &[7; 88], b""]);
        let of = |n| kept.get(spi(n)).map(|sa| sa.generation);
        assert_eq!([1, 5, 6, 7, 8].map(of), [Some(4), Some(1), Some(2), Some(3), None]);
        // An SPI comes back with shorter keys: nothing of the longer ones stays.
        kept.insert(spi(7), sa(5), &[b"y"]);
        assert_eq!(kept.keys(spi(7)), b"y");
        assert!(!kept.pages[0].as_ref().unwrap().keys.contains(&7));
    }

    #[test]
    fn what_is_gone_is_wiped_and_pages_go_with_their_last() {
        let mut kept = KeptSas::default();
        kept.insert(spi(9), sa(1), &[b"secret"]);
        kept.insert(spi(10), sa(1), &[b"other"]);
        kept.remove(spi(9));
        kept.remove(spi(9));
        assert!(kept.get(spi(9)).is_none() && kept.keys(spi(9)).is_empty());
        assert!(!kept.pages[0].as_ref().unwrap().keys.contains(&b's'));
        assert_eq!(kept.keys(spi(10)), b"other");
        kept.remove(spi(10));
        kept.remove(spi(Spi::MAX.get()));
        assert!(kept.pages.iter().all(Option::is_none));
    }

    /// A million of them.
    #[test]
    fn a_place_is_small() {
        assert!(size_of::<Place>() <= 40, "{}", size_of::<Place>());
    }
}
