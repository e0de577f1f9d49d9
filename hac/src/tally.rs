//! Counters of one kind: a number for each value of an enum.

use core::fmt;
use core::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
pub trait Counted: Copy + 'static {
    /// All of them, in the order of [`Self::place`].
    const EVERY: &'static [Self];

    /// Its place among them.
    fn place(self) -> usize;

    /// As operators see it.
    fn name(self) -> &'static str;
}

/// A counter for each; any thread may count.
#[derive(Debug)]
pub struct Tally<C>(Box<[AtomicU64]>, PhantomData<C>);

impl<C: Counted> Default for Tally<C> {
    fn default() -> Self {
        Self(C::EVERY.iter().map(|_| AtomicU64::new(0)).collect(), PhantomData)
    }
}

impl<C: Counted> Tally<C> {
    /// Adds one.
    pub fn count(&self, counter: C) {
        if let Some(value) = self.0.get(counter.place()) {
            value.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The value.
    #[must_use]
    pub fn get(&self, counter: C) -> u64 {
        self.0.get(counter.place()).map_or(0, |value| value.load(Ordering::Relaxed))
    }
}

/// `name=value` for each counter.
impl<C: Counted> fmt::Display for Tally<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, counter) in C::EVERY.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}={}", counter.name(), self.get(*counter))?;
        }
        Ok(())
    }
}
