//! The datapath: what a worker core does to a burst of packets, and the tables it reads.
//!
//! ```text
//! rx -> classify -> { tunnel in | to a bound home address | host | forward }
//!          -> crypto batch -> settle -> egress -> tx
//! ```
//!
//! [`worker::Worker::turn`] shows the whole path on one screen; each stage is one file in `stage`.
//! Control writes the tables through [`TableWriter`] while workers read them without locks; what is
//! replaced is freed after every worker has been quiescent. Packets for control, and from it, cross
//! rings that end in [`ControlPort`].
//!
//! Unsafe code is allowed here for two things only: the tables' shared memory, and jobs of the
//! crypto library, which refer to packets and keys by pointer while they wait in its lanes.
#![allow(unsafe_code)]
#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

pub mod config;
pub mod counters;
pub mod drop_reason;
mod layout;
mod outer;
mod sa;
mod table;

pub use config::{
    Binding, BuildError, Config, PortId, Route, SaParameters, SaUsage, Service, TableError,
};
pub use counters::{Counters, Snapshot};
pub use drop_reason::DropReason;
