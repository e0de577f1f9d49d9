//! What has changed since the caller last asked, for [`HomeAgent::changes`](crate::HomeAgent::changes).
//!
//! Tables note it themselves, where a value is handed out for a change, so that no change is
//! forgotten by those who make it.

use crate::slab::Id;

/// Places that were touched, and names of what has gone.
#[derive(Debug)]
pub(crate) struct Touched<T, N> {
    /// Whether anybody asks.
    on: bool,
    here: Vec<Id<T>>,
    gone: Vec<N>,
}

impl<T, N> Default for Touched<T, N> {
    fn default() -> Self {
        Self { on: false, here: Vec::new(), gone: Vec::new() }
    }
}

impl<T, N> Touched<T, N> {
    pub(crate) fn keep(&mut self) {
        self.on = true;
    }

    /// What is at `id` may be changed now. Several changes of one event stand together.
    pub(crate) fn touch(&mut self, id: Id<T>) {
        if self.on && self.here.last() != Some(&id) {
            self.here.push(id);
        }
    }

    pub(crate) fn gone(&mut self, name: N) {
        if self.on {
            self.gone.push(name);
        }
    }

    /// Hands everything out and forgets it: first what has gone, so that what came back stays.
    pub(crate) fn take(&mut self, gone: impl FnMut(N), here: impl FnMut(Id<T>)) {
        self.gone.drain(..).for_each(gone);
        self.here.drain(..).for_each(here);
    }
}
