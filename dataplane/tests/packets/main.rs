//! The dataplane on real packets: a real EAL without huge pages, ports made of rings, one thread,
//! turn by turn. Packets come from a codec that shares no code with the dataplane.
#![allow(clippy::cast_possible_truncation, clippy::indexing_slicing, missing_docs)]
#![allow(unreachable_pub)]

mod codec;
mod envelope;
mod forwarding;
mod host;
mod inner;
mod replay;
mod rig;
mod suites;
mod tables;
mod workers;
