//! What the HAC hands out and takes back: addresses, prefixes, SPIs, home agents, over Unix sockets and
//! over mutual TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod addresses;
mod choice;
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod remote;
mod revoke;
mod rig;
mod room;
mod yaml;
