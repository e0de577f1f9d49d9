//! SPIs: dealt out densely, never again while the old SA may be alive.

use std::ops::RangeInclusive;

use hearth_wire::Spi;
use redb::{ReadableTable, StorageError, Table, TableDefinition, WriteTransaction};

/// Home agent -> the lowest SPI of its range that was never dealt.
const NEXT: TableDefinition<'_, &str, u32> = TableDefinition::new("next-spi");
/// SPI of a dead SA -> service time ([`super::time`]) from which it may be dealt again.
const RESTING: TableDefinition<'_, u32, u64> = TableDefinition::new("resting-spi");
/// The same by home agent and time, for finding the first one.
const RESTING_BY_TIME: TableDefinition<'_, (&str, u64, u32), ()> =
    TableDefinition::new("resting-spi-by-time");

/// Seconds that an SPI rests after the validity of its SA has ended: more than clocks differ and
/// packets live.
pub(super) const REST: u64 = 300;

/// The tables of one write transaction.
pub(super) struct Spis<'txn> {
    next: Table<'txn, &'static str, u32>,
    resting: Table<'txn, u32, u64>,
    by_time: Table<'txn, (&'static str, u64, u32), ()>,
}

impl<'txn> Spis<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            next: transaction.open_table(NEXT)?,
            resting: transaction.open_table(RESTING)?,
            by_time: transaction.open_table(RESTING_BY_TIME)?,
        })
    }

    /// Takes an SPI of `range` for `home_agent`: the one that has rested longest, else the lowest
    /// that was never used. `alive` says whether a record of this SPI exists.
    ///
    /// A range that was moved in the configuration may run over SPIs that another home agent had;
    /// those still alive or resting are passed over.
    pub(super) fn take(
        &mut self,
        home_agent: &str,
        range: &RangeInclusive<u32>,
        service: u64,
        alive: impl Fn(u32) -> Result<bool, StorageError>,
    ) -> Result<Option<Spi>, StorageError> {
        if let Some((at, spi)) = self.rested(home_agent, range, service)? {
            self.by_time.remove((home_agent, at, spi))?;
            self.resting.remove(spi)?;
            return Ok(Spi::new(spi).ok());
        }
        let next = self.next.get(home_agent)?.map_or(*range.start(), |next| next.value());
        for spi in next.max(*range.start())..=*range.end() {
            if !alive(spi)? && self.resting.get(spi)?.is_none() {
                self.next.insert(home_agent, spi + 1)?;
                return Ok(Spi::new(spi).ok());
            }
        }
        Ok(None)
    }

    fn rested(
        &self,
        home_agent: &str,
        range: &RangeInclusive<u32>,
        service: u64,
    ) -> Result<Option<(u64, u32)>, StorageError> {
        for entry in self.by_time.range((home_agent, 0, 0)..=(home_agent, service, u32::MAX))? {
            let (key, _) = entry?;
            let (_, at, spi) = key.value();
            if range.contains(&spi) {
                return Ok(Some((at, spi)));
            }
        }
        Ok(None)
    }

    /// Lays `spi` to rest; its SA was to be valid until the service time `end`.
    pub(super) fn rest(
        &mut self,
        home_agent: &str,
        spi: u32,
        end: u64,
    ) -> Result<(), StorageError> {
        let until = end.saturating_add(REST);
        self.resting.insert(spi, until)?;
        self.by_time.insert((home_agent, until, spi), ())?;
        Ok(())
    }
}
