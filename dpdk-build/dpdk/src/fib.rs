//! Route tables: longest prefix match for bursts of addresses.
//!
//! A table is built aside and published by pointer: it does not change while workers read it
//! (rte_fib6 of DPDK 22.11 has no RCU). That is what `&mut self` says here.

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

/// Routes for IPv4.
#[derive(Debug)]
pub struct Fib4 {
    raw: NonNull<sys::rte_fib>,
    max_next_hop: u64,
    _eal: Eal,
}

// SAFETY: changed through `&mut self` only, and not tied to a thread.
unsafe impl Send for Fib4 {}
// SAFETY: look-ups only read.
unsafe impl Sync for Fib4 {}

impl Fib4 {
    /// Makes an empty table. The name is unique among DPDK's IPv4 tables.
    ///
    /// # Errors
    /// [`FibError::Create`], [`FibError::Range`] for a default next hop that is too wide.
    pub fn new(eal: &Eal, name: &str, parameters: &FibParameters) -> Result<Self, FibError> {
        let (name, max_routes) = checked(name, parameters)?;
        // SAFETY: the EAL runs; the name is copied.
        let raw = unsafe {
            sys::hearth_fib_create(
                name.as_ptr(),
                max_routes,
                parameters.tbl8_groups,
                parameters.next_hop.octets(),
                parameters.default_next_hop,
            )
        };
        let raw = NonNull::new(raw).ok_or_else(|| FibError::Create(Errno::last()))?;
        Ok(Self { raw, max_next_hop: parameters.next_hop.max(), _eal: eal.clone() })
    }

    /// Adds a prefix, or replaces its next hop.
    ///
    /// # Errors
    /// [`FibError::Full`], [`FibError::Range`].
    pub fn insert(&mut self, prefix: Ipv4Addr, len: u8, next_hop: u64) -> Result<(), FibError> {
        if len > 32 || next_hop > self.max_next_hop {
            return Err(FibError::Range);
        }
        // SAFETY: `&mut self` keeps readers away.
        let code = unsafe { sys::rte_fib_add(self.raw.as_ptr(), prefix.to_bits(), len, next_hop) };
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
        let code = unsafe { sys::rte_fib_delete(self.raw.as_ptr(), prefix.to_bits(), len) };
        Errno::check(code).map_err(|_| FibError::NotFound)
    }

    /// Looks up many addresses (as numbers, first octet highest). `next_hops[i]` is set for
    /// every address for which there is room.
    pub fn lookup_bulk(&self, addresses: &[u32], next_hops: &mut [u64]) {
        let n = i32::try_from(addresses.len().min(next_hops.len())).unwrap_or(i32::MAX);
        // SAFETY: both arrays hold n elements; DPDK reads the first and writes the second.
        unsafe {
            sys::rte_fib_lookup_bulk(
                self.raw.as_ptr(),
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
        unsafe { sys::rte_fib_free(self.raw.as_ptr()) };
    }
}

/// Routes for IPv6.
#[derive(Debug)]
pub struct Fib6 {
    raw: NonNull<sys::rte_fib6>,
    max_next_hop: u64,
    _eal: Eal,
}

// SAFETY: changed through `&mut self` only, and not tied to a thread.
unsafe impl Send for Fib6 {}
// SAFETY: look-ups only read.
unsafe impl Sync for Fib6 {}

impl Fib6 {
    /// Makes an empty table. The name is unique among DPDK's IPv6 tables.
    ///
    /// # Errors
    /// [`FibError::Create`], [`FibError::Range`] for a default next hop that is too wide.
    pub fn new(eal: &Eal, name: &str, parameters: &FibParameters) -> Result<Self, FibError> {
        let (name, max_routes) = checked(name, parameters)?;
        // SAFETY: the EAL runs; the name is copied.
        let raw = unsafe {
            sys::hearth_fib6_create(
                name.as_ptr(),
                max_routes,
                parameters.tbl8_groups,
                parameters.next_hop.octets(),
                parameters.default_next_hop,
            )
        };
        let raw = NonNull::new(raw).ok_or_else(|| FibError::Create(Errno::last()))?;
        Ok(Self { raw, max_next_hop: parameters.next_hop.max(), _eal: eal.clone() })
    }

    /// Adds a prefix, or replaces its next hop.
    ///
    /// # Errors
    /// [`FibError::Full`], [`FibError::Range`].
    pub fn insert(&mut self, prefix: Ipv6Addr, len: u8, next_hop: u64) -> Result<(), FibError> {
        if len > 128 || next_hop > self.max_next_hop {
            return Err(FibError::Range);
        }
        let prefix = prefix.octets();
        // SAFETY: `&mut self` keeps readers away; the prefix is 16 octets.
        let code =
            unsafe { sys::hearth_fib6_add(self.raw.as_ptr(), prefix.as_ptr(), len, next_hop) };
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
        let code = unsafe { sys::hearth_fib6_delete(self.raw.as_ptr(), prefix.as_ptr(), len) };
        Errno::check(code).map_err(|_| FibError::NotFound)
    }

    /// Looks up many addresses. `next_hops[i]` is set for every address for which there is room.
    pub fn lookup_bulk(&self, addresses: &[[u8; 16]], next_hops: &mut [u64]) {
        let n = i32::try_from(addresses.len().min(next_hops.len())).unwrap_or(i32::MAX);
        // SAFETY: both arrays hold n elements; DPDK reads the first and writes the second.
        unsafe {
            sys::hearth_fib6_lookup_bulk(
                self.raw.as_ptr(),
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
        unsafe { sys::rte_fib6_free(self.raw.as_ptr()) };
    }
}

fn checked(name: &str, parameters: &FibParameters) -> Result<(std::ffi::CString, i32), FibError> {
    let max_routes = i32::try_from(parameters.max_routes).map_err(|_| FibError::Range)?;
    if parameters.default_next_hop > parameters.next_hop.max() {
        return Err(FibError::Range);
    }
    Ok((c_name(name).map_err(FibError::Create)?, max_routes))
}
