//! Trace and capture on real packets, turn by turn; and workers that have nothing to do.
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::too_many_lines)]
#![allow(missing_docs, unreachable_pub)]

mod copies;
mod idle;
mod pieces;
mod steps;

#[path = "../packets/codec.rs"]
#[allow(dead_code)]
mod codec;
#[path = "../packets/rig.rs"]
#[allow(dead_code)]
mod rig;

use hearth_dataplane::Filter;
use hearth_wire::Spi;
use std::net::IpAddr;

/// A filter of SPIs and single addresses.
pub fn only(spis: &[Spi], addresses: &[IpAddr]) -> Filter {
    let whole = |address: &IpAddr| (*address, if address.is_ipv4() { 32 } else { 128 });
    Filter {
        everything: false,
        spis: spis.to_vec(),
        prefixes: addresses.iter().map(whole).collect(),
    }
}
