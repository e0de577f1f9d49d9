//! The tables together, as every worker and control hold them.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::config::{BuildError, Config, Service};
use crate::layout::Address6;
use crate::sa::slot::BindingIndex;
use crate::sa::table::SaTable;
use crate::table::binding::BindingTable;
use crate::table::defended::DefendedTable;
use crate::table::fan::FanTable;
use crate::table::fib::Routes;
use crate::table::group::GroupTable;
use crate::table::homes::HomeTable;
use crate::table::neighbour::MacTable;
use crate::table::next_hop::Generation;
use crate::table::prefix::PrefixTable;

/// Entries beyond `max_bindings`: those that wait for a grace period while others replace them.
const SPARE_BINDINGS: u32 = 4096;

/// Cells of the binding table. What is not used of it costs no memory.
pub(crate) const fn binding_cells(config: &Config) -> u32 {
    // One for each binding, as many that wait or are tunnels of others, and as many again.
    config.max_bindings.saturating_mul(3).saturating_add(SPARE_BINDINGS)
}

/// Everything that control writes and workers read, besides the neighbours' hash table, which has
/// readers of its own.
pub(crate) struct Tables {
    pub(crate) sas: SaTable,
    pub(crate) bindings: BindingTable,
    pub(crate) homes: HomeTable,
    pub(crate) prefixes: PrefixTable,
    pub(crate) fans: FanTable,
    pub(crate) macs: MacTable,
    pub(crate) service: Service,
    pub(crate) path_mtu: u16,
    pub(crate) dscp: Option<u8>,
    pub(crate) mss_clamp: bool,
    pub(crate) defended: DefendedTable,
    pub(crate) groups: GroupTable,
    pub(crate) workers: u32,
    /// Null before the first routes. control: swaps, workers: ro
    routes: AtomicPtr<Routes>,
    /// Counts what changes next hops; never 0. control: rw, workers: ro
    hop_generation: AtomicU32,
    /// Counts home addresses and prefixes that were not bound before. control: rw, workers: ro
    home_generation: AtomicU32,
}

impl Tables {
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        let cells = binding_cells(config) as usize;
        let addresses = config.max_bindings.saturating_add(SPARE_BINDINGS);
        let prefixes = config.max_prefixes as usize;
        Ok(Self {
            sas: SaTable::new(config.spi_base, config.max_sas, config.replay_window)
                .ok_or(BuildError::Memory("SAs"))?,
            bindings: BindingTable::new(cells).ok_or(BuildError::Memory("bindings"))?,
            // Each binding has two at most.
            homes: HomeTable::new(addresses.saturating_mul(2) as usize)
                .ok_or(BuildError::Memory("addresses"))?,
            prefixes: PrefixTable::new(prefixes, cells).ok_or(BuildError::Memory("prefixes"))?,
            fans: FanTable::new(cells).ok_or(BuildError::Memory("tunnels"))?,
            macs: MacTable::new(config.max_neighbours as usize)
                .ok_or(BuildError::Memory("neighbours"))?,
            service: config.service,
            path_mtu: config.path_mtu,
            dscp: config.dscp,
            mss_clamp: config.mss_clamp,
            // Home address, IPv4 home address, link-local address; and some of the box's own.
            defended: DefendedTable::new(cells.saturating_mul(3).saturating_add(256))
                .ok_or(BuildError::Memory("home links"))?,
            groups: GroupTable::default(),
            workers: u32::try_from(config.workers).unwrap_or(1).max(1),
            routes: AtomicPtr::new(ptr::null_mut()),
            hop_generation: AtomicU32::new(1),
            home_generation: AtomicU32::new(0),
        })
    }

    /// The worker that owns the SA of this SPI.
    #[inline]
    pub(crate) const fn owner(&self, spi: u32) -> usize {
        // Most boxes have a power of two of workers, and a division costs more than a look.
        let mask = self.workers - 1;
        let owner = if self.workers & mask == 0 { spi & mask } else { spi % self.workers };
        owner as usize
    }

    /// The binding of an address: a bound home address, or one of a mobile network.
    #[inline]
    pub(crate) fn binding_of(&self, address: Address6) -> Option<BindingIndex> {
        let bound = self.homes.get(address);
        // Nearly all are found, and most deployments have no prefixes at all.
        if bound.is_none() && !self.prefixes.is_empty() {
            return self.prefixes.get(address);
        }
        bound
    }

    /// The generation of routes, neighbours and home addresses; another one says that a next hop found
    /// before may no longer be right.
    pub(crate) fn generation(&self) -> Generation {
        Generation {
            hops: self.hop_generation.load(Ordering::Acquire),
            homes: self.home_generation.load(Ordering::Acquire),
        }
    }

    /// Says that a home address or a prefix is bound that was not. Called behind the change.
    pub(crate) fn home_added(&self) {
        let next = self.home_generation.load(Ordering::Relaxed).wrapping_add(1);
        self.home_generation.store(next, Ordering::Release);
    }

    /// Says that next hops have changed. Called behind the change.
    pub(crate) fn next_hops_changed(&self) {
        let next = self.hop_generation.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.hop_generation.store(next, Ordering::Release);
    }

    /// The routes. A worker may use them until it reports quiescent.
    pub(crate) fn routes(&self) -> Option<&Routes> {
        // SAFETY: null, or a box that `swap_routes` published and that is freed after a grace
        // period or with `self`.
        unsafe { self.routes.load(Ordering::Acquire).as_ref() }
    }

    /// Publishes new routes; the old ones may be dropped after a grace period.
    pub(crate) fn swap_routes(&self, routes: Routes) -> Option<RetiredRoutes> {
        let old = self.routes.swap(Box::into_raw(Box::new(routes)), Ordering::AcqRel);
        self.next_hops_changed();
        (!old.is_null()).then_some(RetiredRoutes(old))
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        let routes = *self.routes.get_mut();
        if !routes.is_null() {
            // SAFETY: the box was made by `swap_routes`, and `&mut self` says that nobody has it.
            drop(unsafe { Box::from_raw(routes) });
        }
    }
}

/// Routes that are no longer published but may still be in use.
pub(crate) struct RetiredRoutes(*mut Routes);

// SAFETY: `Routes` is Send; the pointer is the only owner's.
unsafe impl Send for RetiredRoutes {}

impl RetiredRoutes {
    /// The routes themselves, to be freed.
    ///
    /// # Safety
    /// Every worker has been quiescent since they were swapped out, and this is the only call.
    pub(crate) unsafe fn reclaim(&self) -> Box<Routes> {
        // SAFETY: made by `swap_routes`; nobody uses it any more.
        unsafe { Box::from_raw(self.0) }
    }
}
