//! The dataplane on real packets: a real EAL without huge pages, ports made of rings, one thread,
//! turn by turn. Packets come from a codec that shares no code with the dataplane.
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::too_many_lines)]
#![allow(missing_docs, unreachable_pub)]

mod carried;
mod codec;
mod envelope;
mod floods;
mod forwarding;
mod groups;
mod held;
mod home_link;
mod host;
mod inner;
mod nesting;
mod networks;
mod numbers;
mod replay;
mod rig;
mod routes;
mod scapy;
mod service;
mod sharing;
mod suites;
mod tables;
mod ways;
mod workers;
