//! SAs: those that the HAC issues, and those that were there before a restart.
//!
//! Read first: readings.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use hearth_dpdk::{MultiBuffer, burn_stack};
use hearth_wire::{Spi, Suite};

use super::TableWriter;
use crate::config::{RestoredSa, SaParameters, SaUsage, TableError};
use crate::sa::keys::{Direction, KeySchedule};
use crate::sa::observer::{self, SaObserver};
use crate::sa::session::Sessions;
use crate::sa::slot::{Beginning, SaFacts, UNIT};
use crate::table::grace::Retired;
use crate::table::shared::Tables;

/// SAs that a thread takes at a time when many are restored.
const PART: usize = 256;

impl TableWriter {
    /// Adds an SA. Packets under it are accepted at once; data needs a binding too.
    ///
    /// # Errors
    /// [`TableError::SpiOutOfRange`], [`TableError::SpiInUse`], [`TableError::SpiDraining`],
    /// [`TableError::OutboundGrant`], [`TableError::KeyLength`].
    pub fn insert_sa(&mut self, sa: &SaParameters<'_>) -> Result<(), TableError> {
        self.has_room(sa)?;
        let makers = (&self.crypto, self.sessions.as_ref());
        // SAFETY: there is room, and this is the only writer.
        let inserted = unsafe { expand_and_insert(makers, &self.tables, sa, [0; 2]) };
        burn_stack();
        inserted
    }

    /// Whether there is a place for the SA, and a number for its first packet.
    fn has_room(&self, sa: &SaParameters<'_>) -> Result<(), TableError> {
        let spi = sa.spi.get();
        let index = self.tables.sas.index_of(spi).ok_or(TableError::SpiOutOfRange)?;
        if self.tables.sas.find(spi).is_some() {
            return Err(TableError::SpiInUse);
        }
        if self.draining.contains(&index) {
            return Err(TableError::SpiDraining);
        }
        // At the very end of the grant it waits for more.
        if u64::from(sa.next_outbound.0) > u64::from(sa.grant) * UNIT {
            return Err(TableError::OutboundGrant);
        }
        Ok(())
    }

    /// Adds the SAs of before a restart, on so many threads: most of it is the expansion of their
    /// keys. What becomes of each, as [`Self::insert_sa`] says it, stands at its place in the
    /// answer.
    pub fn restore(
        &mut self,
        sas: &[RestoredSa<'_>],
        threads: usize,
    ) -> Vec<Result<(), TableError>> {
        let mut taken = HashSet::with_capacity(sas.len());
        let admit = |sa: &RestoredSa<'_>| {
            self.has_room(&sa.parameters)?;
            // A place is one thread's.
            taken.insert(sa.parameters.spi).then_some(()).ok_or(TableError::SpiInUse)
        };
        let mut results: Vec<_> = sas.iter().map(admit).collect();
        self.restore_admitted(sas, &mut results, threads);
        results
    }

    fn restore_admitted(
        &self,
        sas: &[RestoredSa<'_>],
        results: &mut [Result<(), TableError>],
        threads: usize,
    ) {
        let parts = Mutex::new(sas.chunks(PART).zip(results.chunks_mut(PART)));
        // A crypto device has one hand.
        let threads = if self.sessions.is_some() { 1 } else { threads.clamp(1, 256) };
        thread::scope(|scope| {
            for _ in 1..threads {
                // What no thread is to be had for is done by the others.
                let Ok(crypto) = MultiBuffer::new() else { break };
                let (tables, parts) = (&self.tables, &parts);
                let work = move || restore_parts((&crypto, None), tables, parts);
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            restore_parts((&self.crypto, self.sessions.as_ref()), &self.tables, &parts);
        });
    }

    /// Lets outbound numbers of an SA be drawn up to so many units of 65,536, counted from 0; an SA
    /// that has more keeps them. Where numbers have to survive a restart, what is granted has been
    /// written down before.
    pub fn grant(&self, spi: Spi, units: u16) {
        if let Some(sa) = self.tables.sas.find(spi.get()) {
            sa.slot.grant(units);
        }
    }

    /// Somebody who reads from another thread what SAs have carried.
    #[must_use]
    pub fn observer(&self) -> SaObserver {
        SaObserver::new(Arc::clone(&self.tables))
    }

    /// Takes an SA away. Its packets are unknown from now on; its keys are wiped when no worker
    /// can be using them any more. Bindings that send under it are the caller's to move.
    ///
    /// # Errors
    /// [`TableError::SpiUnknown`].
    pub fn remove_sa(&mut self, spi: Spi) -> Result<(), TableError> {
        let sa = self.tables.sas.find(spi.get()).ok_or(TableError::SpiUnknown)?;
        let index = sa.index;
        sa.slot.withdraw();
        self.draining.insert(index);
        self.fresh.push(Retired::Sa(index));
        Ok(())
    }

    /// What an SA has carried so far.
    #[must_use]
    pub fn sa_usage(&self, spi: Spi) -> Option<SaUsage> {
        observer::usage(&self.tables, spi)
    }

    /// Gives what the SAs at `most` places of the table have carried to `each`, from place `from` on
    /// (SPI less the lowest SPI); the place to go on from, `None` at the end.
    pub fn sa_usages(
        &self,
        from: u32,
        most: u32,
        mut each: impl FnMut(Spi, Suite, &SaUsage),
    ) -> Option<u32> {
        observer::walk(&self.tables, from, most, |sa| {
            if let Some(facts) = sa.facts() {
                each(sa.spi, facts.suite, &observer::usage_of(&self.tables, sa));
            }
        })
    }

    /// Whether the SA is in the crypto device; `None` where there is no such SA.
    #[must_use]
    pub fn sa_is_in_device(&self, spi: Spi) -> Option<bool> {
        let sa = self.tables.sas.find(spi.get())?;
        // SAFETY: keys are wiped by this writer only, which is borrowed meanwhile.
        let keys = unsafe { sa.slot.keys(Direction::Inbound) };
        Some(keys.is_in_device())
    }

    /// Suites that the crypto device offers: SAs of these go by it while it has room. None without
    /// a device.
    pub fn device_suites(&self) -> impl Iterator<Item = Suite> + '_ {
        let offers = |suite: &Suite| self.sessions.as_ref().is_some_and(|all| all.offers(*suite));
        Suite::known().filter(offers)
    }
}

/// What keys are expanded with, and the crypto device that takes them, where there is one.
type Makers<'a> = (&'a MultiBuffer<'static>, Option<&'a Sessions>);

/// A thread's share of [`TableWriter::restore`]: SAs that have room, each of which nobody else
/// puts there.
fn restore_parts<'a, 'r>(
    makers: Makers<'_>,
    tables: &Tables,
    parts: &Mutex<impl Iterator<Item = (&'a [RestoredSa<'a>], &'r mut [Result<(), TableError>])>>,
) {
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some((sas, results)) = next() {
        for (sa, result) in sas.iter().zip(results).filter(|(_, result)| result.is_ok()) {
            let octets = [sa.in_octets, sa.out_octets];
            // SAFETY: the caller found room, gives each SPI to one thread, and is the only writer
            // while they run.
            *result = unsafe { expand_and_insert(makers, tables, &sa.parameters, octets) };
        }
    }
    burn_stack();
}

/// Expands an SA's keys, writes and publishes it. Leaves copies of key schedules behind on the
/// stack.
///
/// # Safety
/// Its slot is neither published nor draining, and nobody else writes it.
#[inline(never)]
unsafe fn expand_and_insert(
    (crypto, sessions): Makers<'_>,
    tables: &Tables,
    sa: &SaParameters<'_>,
    octets: [u64; 2],
) -> Result<(), TableError> {
    let expand = |direction, keys| {
        KeySchedule::expand(crypto, sa.suite, direction, keys, sa.epoch)
            .ok_or(TableError::KeyLength)
    };
    let mut keys =
        [expand(Direction::Inbound, sa.mn_to_ha)?, expand(Direction::Outbound, sa.ha_to_mn)?];
    if let Some(sessions) = sessions {
        keys = sessions.take_over(tables.owner(sa.spi.get()), sa, keys);
    }
    let facts = SaFacts { suite: sa.suite, scope: sa.scope };
    let &SaParameters { next_outbound, grant, inbound_floor, .. } = sa;
    let from = Beginning { next_outbound, grant, inbound_floor, octets };
    // SAFETY: promised by the caller.
    unsafe { tables.sas.insert(sa.spi, facts, from, keys) }.ok_or(TableError::SpiOutOfRange)
}
