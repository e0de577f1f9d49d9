//! Packets that are too large, in pieces, or impossible, and what ICMP says of them (MTU-01 to
//! MTU-07, TUN-03, TUN-12 to TUN-14, ENC-39, R-33, R-42).
//!
//! The same rig and the same codec as in `packets`; ICMP errors are read by [`tools`], which shares
//! no code with the dataplane, and once by scapy.
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::too_many_lines)]
#![allow(missing_docs, unreachable_pub)]

mod boundary;
#[path = "../packets/codec.rs"]
#[allow(dead_code)]
mod codec;
mod fragments;
mod mss;
mod outer_errors;
#[path = "../packets/rig.rs"]
#[allow(dead_code)]
mod rig;
mod scapy;
mod tools;
mod tunnels;
mod unreachable;
mod unresolved;
