//! Reading what SAs have carried, from any thread.

use core::fmt;
use std::sync::Arc;

use hearth_wire::Spi;

use crate::config::SaUsage;
use crate::sa::table::SaRef;
use crate::table::shared::Tables;

/// The numbers of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaNumbers {
    /// The next outbound sequence number.
    pub next_outbound: u64,
    /// One more than the highest inbound number that was accepted, or counted as seen; 0 while
    /// there is none.
    pub inbound_top: u64,
}

/// Reads the numbers of SAs while workers draw them. While one lives, so do the tables.
#[derive(Clone)]
pub struct SaObserver {
    tables: Arc<Tables>,
}

impl fmt::Debug for SaObserver {
    /// The tables hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaObserver").finish_non_exhaustive()
    }
}

impl SaObserver {
    pub(crate) const fn new(tables: Arc<Tables>) -> Self {
        Self { tables }
    }

    /// The numbers of an SA; `None` where there is none with this SPI.
    #[must_use]
    pub fn numbers(&self, spi: Spi) -> Option<SaNumbers> {
        self.tables.sas.find(spi.get()).and_then(numbers)
    }

    /// What an SA has carried so far.
    #[must_use]
    pub fn usage(&self, spi: Spi) -> Option<SaUsage> {
        usage(&self.tables, spi)
    }

    /// Gives the numbers of the SAs at `most` places of the table to `each`, from place `from` on
    /// (SPI less the lowest SPI); the place to go on from, `None` at the end.
    pub fn sweep(&self, from: u32, most: u32, mut each: impl FnMut(Spi, SaNumbers)) -> Option<u32> {
        walk(&self.tables, from, most, |sa| {
            if let Some(numbers) = numbers(sa) {
                each(sa.spi, numbers);
            }
        })
    }
}

/// The SAs at `most` places of the table, from place `from` on; the place to go on from, `None` at
/// the end.
pub(crate) fn walk(
    tables: &Tables,
    from: u32,
    most: u32,
    each: impl FnMut(SaRef<'_>),
) -> Option<u32> {
    let end = tables.sas.used().min(from.saturating_add(most));
    (from..end).filter_map(|index| tables.sas.at(index)).for_each(each);
    (end < tables.sas.used()).then_some(end)
}

/// `None` where the SA went while it was looked at.
fn numbers(sa: SaRef<'_>) -> Option<SaNumbers> {
    let numbers = SaNumbers {
        next_outbound: sa.slot.outbound.sequence(),
        inbound_top: sa.slot.inbound.sequence(),
    };
    core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
    (sa.slot.spi() == Some(sa.spi)).then_some(numbers)
}

/// What an SA has carried so far.
pub(crate) fn usage(tables: &Tables, spi: Spi) -> Option<SaUsage> {
    tables.sas.find(spi.get()).map(|sa| usage_of(tables, sa))
}

pub(crate) fn usage_of(tables: &Tables, sa: SaRef<'_>) -> SaUsage {
    let (inbound, outbound) = (&sa.slot.inbound, &sa.slot.outbound);
    SaUsage {
        in_packets: inbound.packets(),
        in_octets: inbound.octets(),
        out_packets: outbound.packets(),
        out_octets: outbound.octets(),
        next_outbound: outbound.sequence(),
        highest_inbound: tables.sas.window(sa.index, sa.slot).highest(),
    }
}
