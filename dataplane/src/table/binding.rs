//! Bindings: what a worker needs to carry data to and from a mobile node.
//!
//! Read first: RFC 6275 s.10.4; RFC 5555 s.4.1; readings.
//!
//! A published entry never changes. A handover writes a new entry, lets the home addresses and the
//! SAs point to it, and frees the old one after a grace period.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hearth_wire::Spi;

use crate::config::{Binding, Tunnel};
use crate::layout::Address6;
use crate::outer::OuterHeaders;
use crate::sa::slot::{BindingIndex, SaFacts, Sender};
use crate::table::fan::FanNumber;
use crate::table::next_hop::NeighbourIndex;
use crate::table::path_mtu::PathMtu;
use crate::table::prefix::{NOBODY, RouterIndex};
use crate::table::reserve::{Reserve, Zeroed};

/// One binding as workers see it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BindingEntry {
    home6: Address6,
    /// What the tunnel carries.
    pub(crate) path: PathMtu,
    /// 0: none.
    home4: u32,
    /// The SA that data is sent under, and what it is.
    pub(crate) spi: Spi,
    pub(crate) facts: SaFacts,
    /// The tunnel's Binding ID, where this is one of several.
    pub(crate) bid: u16,
    /// The tunnels that packets go by instead, where the mobile node has several.
    pub(crate) fan: Option<FanNumber>,
    /// Care-of address and port among them.
    pub(crate) outer: OuterHeaders,
    /// Whose mobile network prefixes the mobile node may send from as well.
    pub(crate) router: RouterIndex,
}

impl BindingEntry {
    /// The entry of a binding whose outer packets may have `path_mtu` octets, and have this DSCP if
    /// there is one; `None` where its addresses make no tunnel.
    pub(crate) fn new(
        binding: &Binding<'_>,
        tunnel: &Tunnel,
        facts: SaFacts,
        path_mtu: u16,
        dscp: Option<u8>,
    ) -> Option<Self> {
        let outer = OuterHeaders::new(tunnel.local, tunnel.remote)?;
        let outer = dscp.map_or(outer, |dscp| outer.with_dscp(dscp));
        Some(Self {
            home6: binding.home_address.into(),
            path: PathMtu::new(facts.suite, path_mtu, outer.len()),
            home4: binding.ipv4_home_address.map_or(0, Ipv4Addr::to_bits),
            spi: tunnel.spi,
            facts,
            bid: 0,
            fan: None,
            outer,
            router: NOBODY,
        })
    }

    /// The home addresses.
    pub(crate) const fn sender(&self) -> Sender {
        Sender { home6: self.home6, home4: self.home4 }
    }

    /// Care-of address and port.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.outer.remote()
    }

    /// Whether this is one of the home addresses.
    pub(crate) fn is_home(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V6(address) => self.home6 == address.into(),
            IpAddr::V4(address) => self.home4 == address.to_bits() && self.home4 != 0,
        }
    }

    /// Takes over what an ICMP error told of the path, where both have the same care-of address.
    pub(crate) fn remember(&self, before: &Self) {
        if self.remote().ip() == before.remote().ip() {
            self.path.inherit(&before.path);
        }
    }
}

/// A place for an entry; all zero is an empty one.
#[repr(C, align(64))]
struct Cell {
    /// 1 while the entry may be read. control: rw, workers: ro
    live: AtomicU32,
    /// The neighbour towards the care-of address and the generation that it was found in, which is
    /// 0 where there is none. Whoever writes it writes what is right. workers: rw
    hop: AtomicU64,
    /// control: wo while not live, workers: ro while live
    entry: UnsafeCell<MaybeUninit<BindingEntry>>,
}

// Two lines hold all of it.
const _: () = assert!(size_of::<Cell>() == 128);

// SAFETY: the entry is written only while it is not live and read only while it is.
unsafe impl Sync for Cell {}
// SAFETY: `live` = 0 says that the entry is not to be read, so its octets do not matter.
unsafe impl Zeroed for Cell {}

/// All entries, by index.
pub(crate) struct BindingTable {
    cells: Reserve<Cell>,
}

impl BindingTable {
    pub(crate) fn new(cells: usize) -> Option<Self> {
        Some(Self { cells: Reserve::new(cells)? })
    }

    /// Asks for what a packet to the mobile node looks at.
    #[inline]
    pub(crate) fn prefetch(&self, index: BindingIndex) {
        self.cells.prefetch(index.0 as usize, 2);
    }

    /// The neighbour that was found in this generation for the care-of address at `index`.
    #[inline]
    pub(crate) fn hop(&self, index: BindingIndex, generation: u32) -> Option<NeighbourIndex> {
        let packed = self.cells.get(index.0 as usize)?.hop.load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let neighbour = packed as u32;
        (packed >> 32 == u64::from(generation)).then_some(NeighbourIndex(neighbour))
    }

    /// Remembers it.
    pub(crate) fn set_hop(&self, index: BindingIndex, generation: u32, hop: NeighbourIndex) {
        if let Some(cell) = self.cells.get(index.0 as usize) {
            let packed = u64::from(generation) << 32 | u64::from(hop.0);
            cell.hop.store(packed, Ordering::Relaxed);
        }
    }

    /// The entry at `index`. A worker may use it until it reports quiescent.
    #[inline]
    pub(crate) fn entry(&self, index: BindingIndex) -> Option<&BindingEntry> {
        let cell = self.cells.get(index.0 as usize)?;
        if cell.live.load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: live entries are initialised and are not written before a grace period has
        // passed since they stopped being reachable (`free`).
        Some(unsafe { (*cell.entry.get()).assume_init_ref() })
    }

    /// Writes an entry into a free cell.
    ///
    /// # Safety
    /// The cell has never been filled, or [`Self::free`] was called. Control is the only caller.
    pub(crate) unsafe fn fill(&self, index: BindingIndex, entry: BindingEntry) {
        if let Some(cell) = self.cells.get(index.0 as usize) {
            // SAFETY: not live, so nobody reads it, and there is one writer.
            unsafe { (*cell.entry.get()).write(entry) };
            cell.hop.store(0, Ordering::Relaxed);
            cell.live.store(1, Ordering::Release);
        }
    }

    /// Frees a cell.
    ///
    /// # Safety
    /// Every worker has been quiescent since the last pointer to the entry was taken away.
    pub(crate) unsafe fn free(&self, index: BindingIndex) {
        if let Some(cell) = self.cells.get(index.0 as usize) {
            cell.live.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_wire::{Scope, Suite};

    fn entry(remote: &str) -> BindingEntry {
        let v6 = remote.starts_with('[');
        let tunnel = Tunnel {
            bid: 0,
            spi: Spi::new(5).unwrap(),
            local: if v6 { "[2001:db8::1]:7872" } else { "198.51.100.1:7872" }.parse().unwrap(),
            remote: remote.parse().unwrap(),
        };
        let binding = Binding {
            home_address: "2001:db8:f::1".parse().unwrap(),
            ipv4_home_address: Some(Ipv4Addr::new(203, 0, 113, 7)),
            defended: None,
            prefixes: &[],
            tunnels: &[tunnel],
            flows: &[],
        };
        BindingEntry::new(&binding, &tunnel, FACTS, 1500, None).unwrap()
    }

    const FACTS: SaFacts = SaFacts { suite: Suite::Aes128CbcSha, scope: Scope::Signalling };

    #[test]
    fn tunnel_mtu_follows_from_suite_and_outer_family() {
        let over6 = entry("[2001:db8:1::2]:4000");
        // 1500 - 40 - 8 = 1452 = 8 + 16 + 88 * 16 + 8 left + 12; 2 octets of the last block go.
        assert_eq!(over6.path.tunnel_mtu(true), 88 * 16 - 2);
        assert_eq!(over6.path.tunnel_mtu(false), 1452 - 8);
        let over4 = entry("203.0.113.2:4000");
        assert_eq!(over4.path.tunnel_mtu(true), 89 * 16 - 2);
        assert_eq!(over4.path.tunnel_mtu(false), 1472 - 8);
    }

    #[test]
    fn only_home_addresses_are_home() {
        let entry = entry("203.0.113.2:4000");
        for (address, is) in [
            ("2001:db8:f::1", true),
            ("203.0.113.7", true),
            ("2001:db8:f::2", false),
            ("203.0.113.8", false),
            ("203.0.113.2", false),
        ] {
            assert_eq!(entry.is_home(address.parse().unwrap()), is, "{address}");
        }
    }

    #[test]
    fn an_entry_is_read_only_while_it_is_live() {
        let table = BindingTable::new(4).unwrap();
        let index = BindingIndex(2);
        assert!(table.entry(index).is_none());
        let entry = entry("203.0.113.2:4000");
        // SAFETY: single-threaded, the cell is empty.
        unsafe { table.fill(index, entry) };
        assert_eq!(table.entry(index).unwrap().spi.get(), 5);
        // SAFETY: no reference is left.
        unsafe { table.free(index) };
        assert!(table.entry(index).is_none());
        assert!(table.entry(BindingIndex(4)).is_none());
    }
}
