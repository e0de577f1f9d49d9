//! Values in one array, named by 32-bit indices; places that became free are used again.
//!
//! A million SAs and bindings that name each other by such an index take a quarter of what maps of
//! pointers take, and one of them is found with one look at memory.

use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU32;

/// The place of a `T` in its [`Slab`]. Whoever keeps one lets go of it when the value is removed:
/// the place may be another's then.
pub(crate) struct Id<T> {
    /// One more than the index, so that an `Option<Id<T>>` takes four octets too.
    place: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// Bits of an index: a billion places, so that two bits are left to those who pack.
    pub(crate) const BITS: u32 = 30;

    /// The place `index`; `None` beyond the last one that there can be.
    pub(crate) fn from_index(index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok().filter(|number| number >> Self::BITS == 0)?;
        Some(Self { place: NonZeroU32::new(number + 1)?, of: PhantomData })
    }

    pub(crate) const fn number(self) -> u32 {
        self.place.get() - 1
    }

    pub(crate) const fn index(self) -> usize {
        self.number() as usize
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.index())
    }
}

/// An array with holes.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<Id<T>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Makes room for `more` values, so that none of the next ones has to wait for it.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.slots.reserve(more.saturating_sub(self.free.len()));
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts `value` somewhere; `None` where 2^30 are there already.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id<T>> {
        if let Some(id) = self.free.pop() {
            if let Some(slot) = self.slots.get_mut(id.index()) {
                *slot = Some(value);
            }
            return Some(id);
        }
        let id = Id::from_index(self.slots.len())?;
        self.slots.push(Some(value));
        Some(id)
    }

    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        self.slots.get(id.index())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    pub(crate) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let value = self.slots.get_mut(id.index())?.take()?;
        self.free.push(id);
        Some(value)
    }

    /// All values, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(Option::as_ref)
    }

    /// How many places there are, taken and free ones: the end of a walk by [`Id::from_index`].
    pub(crate) fn places(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again() {
        let mut slab = Slab::default();
        let (a, b) = (slab.insert('a').unwrap(), slab.insert('b').unwrap());
        assert_eq!((slab.remove(a), slab.remove(a), slab.get(a)), (Some('a'), None, None));
        assert_eq!((slab.len(), slab.places()), (1, 2));
        let c = slab.insert('c').unwrap();
        assert_eq!((a, slab.get(c), slab.get(b)), (c, Some(&'c'), Some(&'b')));
        *slab.get_mut(b).unwrap() = 'B';
        assert_eq!(slab.iter().collect::<String>(), "cB");
    }

    #[test]
    fn an_index_takes_four_octets_with_and_without_none() {
        assert_eq!((size_of::<Id<u64>>(), size_of::<Option<Id<u64>>>()), (4, 4));
        assert!(Id::<u64>::from_index(1 << 30).is_none());
        assert_eq!(Id::<u64>::from_index((1 << 30) - 1).unwrap().index(), (1 << 30) - 1);
        assert_eq!(Id::<u64>::from_index(0).unwrap().index(), 0);
    }
}
