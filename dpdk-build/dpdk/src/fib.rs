//! Route tables: longest prefix match for bursts of addresses.
//!
//! A table is built aside and published by pointer: it does not change while workers read it
//! (rte_fib6 of DPDK 22.11 has no RCU). That is what `&mut self` says here.

use core::ffi::{c_char, c_int, c_uint};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::ptr::NonNull;

use hearth_dpdk_sys as sys;
use thiserror::Error;

use crate::eal::{Eal, c_name};
use crate::errno::Errno;

/// Octets of a next hop in the table: what it may be at most, and what the table costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHopWidth {
    /// Up to 2^15 - 1.
    Two,
    /// Up to 2^31 - 1.
    Four,
    /// Up to 2^63 - 1.
    Eight,
}

impl NextHopWidth {
    const fn octets(self) -> u32 {
        match self {
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    const fn max(self) -> u64 {
        (1 << (self.octets() * 8 - 1)) - 1
    }
}

/// Size of a route table. Its first level alone takes 2^24 next hops: 32 MiB at a width of two
/// octets, 64 at four, 128 at eight.
#[derive(Debug, Clone, Copy)]
pub struct FibParameters {
    /// Prefixes at most.
    pub max_routes: u32,
    /// Groups of 256 next hops for prefixes longer than /24. An IPv4 /24 that holds longer ones
    /// takes one (DPDK rounds up to a multiple of 64); IPv6 takes one for each octet beyond the third on a prefix's way.
    pub tbl8_groups: u32,
    /// Width of next hops.
    pub next_hop: NextHopWidth,
    /// What a look-up gives where no prefix matches.
    pub default_next_hop: u64,
}

/// Why a route table could not be made or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FibError {
    /// DPDK refused to make it.
    #[error("the route table could not be made: {0}")]
    Create(Errno),
    /// The table is full.
    #[error("the route table is full: {0}")]
    Full(Errno),
    /// The prefix length or the next hop is out of range.
    #[error("the prefix length or the next hop is out of range")]
    Range,
    /// There is no such prefix.
    #[error("no such prefix")]
    NotFound,
}

/// What both families have in common: a table of DPDK's and what its next hops may be.
struct Table<T> {
    raw: NonNull<T>,
    max_next_hop: u64,
    _eal: Eal,
}

// SAFETY: changed through `&mut self` of the families only, and not tied to a thread.
unsafe impl<T> Send for Table<T> {}
// SAFETY: look-ups only read.
unsafe impl<T> Sync for Table<T> {}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.raw).finish()
    }
}

/// Name, most routes, groups, octets and default of next hops.
type Create<T> = unsafe extern "C" fn(*const c_char, c_int, u32, c_uint, u64) -> *mut T;

impl<T> Table<T> {
    /// Makes an empty table with `create`, which is one of the shim's two.
    fn new(
        eal: &Eal,
        name: &str,
        parameters: &FibParameters,
        create: Create<T>,
    ) -> Result<Self, FibError> {
        let FibParameters { max_routes, tbl8_groups, next_hop, default_next_hop } = *parameters;
        let max_routes = c_int::try_from(max_routes).map_err(|_| FibError::Range)?;
        if default_next_hop > next_hop.max() {
            return Err(FibError::Range);
        }
        let name = c_name(name).map_err(FibError::Create)?;
        // SAFETY: the EAL runs; the name is copied.
        let raw = unsafe {
            create(name.as_ptr(), max_routes, tbl8_groups, next_hop.octets(), default_next_hop)
        };
        let raw = NonNull::new(raw).ok_or_else(|| FibError::Create(Errno::last()))?;
        Ok(Self { raw, max_next_hop: next_hop.max(), _eal: eal.clone() })
    }
}

/// Routes for IPv4.
#[derive(Debug)]
pub struct Fib4(Table<sys::rte_fib>);

impl Fib4 {
    /// Makes an empty table. The name is unique among DPDK's IPv4 tables.
    ///
    /// # Errors
    /// [`FibError::Create`], [`FibError::Range`] for a default next hop that is too wide.
    pub fn new(eal: &Eal, name: &str, parameters: &FibParameters) -> Result<Self, FibError> {
        Table::new(eal, name, parameters, sys::hearth_fib_create).map(Self)
    }

    /// Adds a prefix, or replaces its next hop.
    ///
    /// # Errors
    /// [`FibError::Full`], [`FibError::Range`].
    pub fn insert(&mut self, prefix: Ipv4Addr, len: u8, next_hop: u64) -> Result<(), FibError> {
        if len > 32 || next_hop > self.0.max_next_hop {
            return Err(FibError::Range);
        }
        // SAFETY: `&mut self` keeps readers away.
        let code =
            unsafe { sys::rte_fib_add(self.0.raw.as_ptr(), prefix.to_bits(), len, next_hop) };
        Errno::check(code).map_err(FibError::Full)
    }

    /// Takes a prefix out.
    ///
    /// # Errors
    /// [`FibError::NotFound`], [`FibError::Range`].
    pub fn remove(&mut self, prefix: Ipv4Addr, len: u8) -> Result<(), FibError> {
        if len > 32 {
            return Err(FibError::Range);
        }
        // SAFETY: `&mut self` keeps readers away.
        let code = unsafe { sys::rte_fib_delete(self.0.raw.as_ptr(), prefix.to_bits(), len) };
        Errno::check(code).map_err(|_| FibError::NotFound)
    }

    /// Looks up many addresses (as numbers, first octet highest). `next_hops[i]` is set for
    /// every address for which there is room.
    pub fn lookup_bulk(&self, addresses: &[u32], next_hops: &mut [u64]) {
        let n = i32::try_from(addresses.len().min(next_hops.len())).unwrap_or(i32::MAX);
        // SAFETY: both arrays hold n elements; DPDK reads the first and writes the second.
        unsafe {
            sys::rte_fib_lookup_bulk(
                self.0.raw.as_ptr(),
                addresses.as_ptr().cast_mut(),
                next_hops.as_mut_ptr(),
                n,
            );
        }
    }
}

impl Drop for Fib4 {
    fn drop(&mut self) {
        // SAFETY: nobody else has the table.
        unsafe { sys::rte_fib_free(self.0.raw.as_ptr()) };
    }
}

/// Routes for IPv6.
#[derive(Debug)]
pub struct Fib6(Table<sys::rte_fib6>);

impl Fib6 {
    /// Makes an empty table. The name is unique among DPDK's IPv6 tables.
    ///
    /// # Errors
    /// [`FibError::Create`], [`FibError::Range`] for a default next hop that is too wide.
    pub fn new(eal: &Eal, name: &str, parameters: &FibParameters) -> Result<Self, FibError> {
        Table::new(eal, name, parameters, sys::hearth_fib6_create).map(Self)
    }

    /// Adds a prefix, or replaces its next hop.
    ///
    /// # Errors
    /// [`FibError::Full`], [`FibError::Range`].
    pub fn insert(&mut self, prefix: Ipv6Addr, len: u8, next_hop: u64) -> Result<(), FibError> {
        if len > 128 || next_hop > self.0.max_next_hop {
            return Err(FibError::Range);
        }
        let prefix = prefix.octets();
        // SAFETY: `&mut self` keeps readers away; the prefix is 16 octets.
        let code =
            unsafe { sys::hearth_fib6_add(self.0.raw.as_ptr(), prefix.as_ptr(), len, next_hop) };
        Errno::check(code).map_err(FibError::Full)
    }

    /// Takes a prefix out.
    ///
    /// # Errors
    /// [`FibError::NotFound`], [`FibError::Range`].
    pub fn remove(&mut self, prefix: Ipv6Addr, len: u8) -> Result<(), FibError> {
        if len > 128 {
            return Err(FibError::Range);
        }
        let prefix = prefix.octets();
        // SAFETY: `&mut self` keeps readers away; the prefix is 16 octets.
        let code = unsafe { sys::hearth_fib6_delete(self.0.raw.as_ptr(), prefix.as_ptr(), len) };
        Errno::check(code).map_err(|_| FibError::NotFound)
    }

    /// Looks up many addresses. `next_hops[i]` is set for every address for which there is room.
    pub fn lookup_bulk(&self, addresses: &[[u8; 16]], next_hops: &mut [u64]) {
        let n = i32::try_from(addresses.len().min(next_hops.len())).unwrap_or(i32::MAX);
        // SAFETY: both arrays hold n elements; DPDK reads the first and writes the second.
        unsafe {
            sys::hearth_fib6_lookup_bulk(
                self.0.raw.as_ptr(),
                addresses.as_ptr().cast_mut(),
                next_hops.as_mut_ptr(),
                n,
            );
        }
    }
}

impl Drop for Fib6 {
    fn drop(&mut self) {
        // SAFETY: nobody else has the table.
        unsafe { sys::rte_fib6_free(self.0.raw.as_ptr()) };
    }
}
