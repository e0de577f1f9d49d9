//! SAs by SPI.
//!
//! SPIs are dealt out densely, so that an array finds an SA with one look. It is made of
//! pages that come and go with the SPIs in them: whichever range this home agent has, and wherever
//! in it its SPIs stand, an SA takes four octets here.

use hearth_wire::Spi;

use crate::sa_table::Sa;
use crate::slab::Id;

/// SPIs in one page.
const PAGE: usize = 1 << 12;

#[derive(Debug)]
struct Page {
    taken: usize,
    sas: Box<[Option<Id<Sa>>]>,
}

/// Where the SA of an SPI is.
#[derive(Debug, Default)]
pub(crate) struct SpiIndex {
    pages: Vec<Option<Page>>,
}

impl SpiIndex {
    pub(crate) fn get(&self, spi: Spi) -> Option<Id<Sa>> {
        let (page, slot) = place(spi);
        *self.pages.get(page)?.as_ref()?.sas.get(slot)?
    }

    /// Enters an SA under an SPI that is free.
    pub(crate) fn insert(&mut self, spi: Spi, id: Id<Sa>) {
        let (page, slot) = place(spi);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let Some(page) = self.pages.get_mut(page) else { return };
        let fresh = || Page { taken: 0, sas: vec![None; PAGE].into() };
        let page = page.get_or_insert_with(fresh);
        if let Some(slot) = page.sas.get_mut(slot)
            && slot.replace(id).is_none()
        {
            page.taken += 1;
        }
    }

    pub(crate) fn remove(&mut self, spi: Spi) -> Option<Id<Sa>> {
        let (number, slot) = place(spi);
        let page = self.pages.get_mut(number)?;
        let inside = page.as_mut()?;
        let id = inside.sas.get_mut(slot)?.take()?;
        inside.taken -= 1;
        if inside.taken == 0 {
            *page = None;
        }
        Some(id)
    }
}

const fn place(spi: Spi) -> (usize, usize) {
    let number = spi.get() as usize;
    (number / PAGE, number % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_and_go() {
        let mut index = SpiIndex::default();
        let id = |n| Id::from_index(n).unwrap();
        let spis = [1, 4095, 4096, 9000, Spi::MAX.get()].map(|spi| Spi::new(spi).unwrap());
        for (n, spi) in spis.iter().enumerate() {
            assert_eq!(index.get(*spi), None);
            index.insert(*spi, id(n));
        }
        assert_eq!(spis.map(|spi| index.get(spi)), [0, 1, 2, 3, 4].map(|n| Some(id(n))));
        assert_eq!(index.pages.iter().flatten().count(), 4);
        assert_eq!((index.remove(spis[0]), index.remove(spis[0])), (Some(id(0)), None));
        assert_eq!(index.get(spis[1]), Some(id(1)));
        for spi in spis {
            index.remove(spi);
        }
        assert_eq!(index.pages.iter().flatten().count(), 0);
    }
}
