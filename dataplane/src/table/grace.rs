//! What was taken away and waits for a grace period, and the numbers that are free again after it.

use crate::sa::slot::BindingIndex;
use crate::table::fan::FanNumber;
use crate::table::group::RetiredGroups;
use crate::table::prefix::{Prefix, RouterIndex};
use crate::table::route_builder::Bin;
use crate::table::shared::{RetiredRoutes, Tables};

/// Something that workers may still be using.
pub(crate) enum Retired {
    /// An SA slot with its keys.
    Sa(u32),
    /// A binding's cell.
    Binding(BindingIndex),
    /// A neighbour's cell.
    Mac(u32),
    /// A list of groups.
    Groups(RetiredGroups),
    /// A generation of routes.
    Routes(RetiredRoutes),
    /// The ways of a binding.
    Fan(FanNumber),
    /// A prefix that its mobile router has no more.
    Prefix(Prefix),
    /// A mobile router's number.
    Router(RouterIndex),
}

impl Retired {
    /// Frees what it stands for; routes go to the `bin`.
    ///
    /// # Safety
    /// Every worker has been quiescent since it was taken away. Once for each.
    pub(crate) unsafe fn release(&self, tables: &Tables, bin: &Bin) {
        match self {
            Self::Sa(index) => {
                if let Some(slot) = tables.sas.slot(*index) {
                    // SAFETY: promised by the caller.
                    unsafe { slot.wipe() };
                }
            }
            // SAFETY: promised by the caller.
            Self::Binding(index) => unsafe { tables.bindings.free(*index) },
            Self::Mac(_) | Self::Prefix(_) | Self::Router(_) => {}
            // SAFETY: promised by the caller.
            Self::Fan(number) => unsafe { tables.fans.free(*number) },
            // SAFETY: promised by the caller.
            Self::Groups(groups) => unsafe { groups.free() },
            // SAFETY: promised by the caller.
            Self::Routes(routes) => bin.take(unsafe { routes.reclaim() }),
        }
    }
}

/// Numbers of cells that are free: those given back first, then fresh ones.
pub(crate) struct FreeList {
    free: Vec<u32>,
    next: u32,
    end: u32,
}

impl FreeList {
    /// The numbers below `end`, all free.
    pub(crate) const fn new(end: u32) -> Self {
        Self { free: Vec::new(), next: 0, end }
    }

    pub(crate) fn take(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| {
            let fresh = (self.next < self.end).then_some(self.next)?;
            self.next += 1;
            Some(fresh)
        })
    }

    pub(crate) fn give(&mut self, number: u32) {
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_out_once() {
        let mut list = FreeList::new(3);
        assert_eq!([list.take(), list.take()], [Some(0), Some(1)]);
        list.give(0);
        assert_eq!([list.take(), list.take(), list.take()], [Some(0), Some(2), None]);
    }
}
