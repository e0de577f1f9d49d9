//! What `conformance-ha.md` asks of registration, Mobility Headers, SAs and dual stack: one row a
//! test or a small table, with real packets and a clock of the test's own.
//!
//! ```text
//!   MN  2001:db8:6618:100::a / 203.0.113.130
//!    |  CoA 2001:db8:1::c:5000 or 198.51.100.7:5000
//!    |                        HA 2001:db8:6618::1 / 192.0.2.1, port 7872
//!    +------- visited network -------+------- home prefixes 2001:db8:6618:100::/64,
//!                                             203.0.113.128/25 (routed)
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod care_of;
mod deregistration;
mod discovery;
mod dual_stack;
mod flows;
mod home_link;
mod lab;
mod mobility_header;
mod multicast;
mod nemo;
mod operations;
mod prefixes;
mod registration;
mod restart;
mod sa;
mod slices;
