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
//! Unsafe code is allowed here for these things only: the tables' shared memory; jobs of the crypto
//! library, which refer to packets and keys by pointer while they wait in its lanes; addresses of
//! keys that go along with packets that one worker lends to another.
#![allow(unsafe_code)]
#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

pub mod capture;
mod clock;
pub mod config;
mod contests;
pub mod control_port;
pub mod counters;
mod crypto;
mod dataplane;
pub mod drop_reason;
pub mod filter;
mod grants;
mod hints;
mod layout;
mod limiter;
mod missing;
mod note;
mod outer;
mod private_area;
mod sa;
mod sharing;
mod side;
mod size_counters;
mod stage;
mod table;
pub mod trace;
mod view;
mod watch;
mod work;
pub mod worker;

pub use config::{
    Binding, BuildError, Config, CryptoDeviceConfig, Defended, FlowRule, GroupMember, PortId,
    RestoredSa, Route, SaParameters, SaUsage, Service, TableError, Tunnel,
};
pub use control_port::{
    ControlError, ControlPort, FromWorker, HeldPacket, LinkEnds, SignallingPacket,
};
pub use counters::{Counters, PortTotals, Snapshot, Total, WorkerTotals};
pub use dataplane::{Dataplane, PortSetup};
pub use drop_reason::DropReason;
pub use filter::Filter;
pub use sa::observer::{SaNumbers, SaObserver};
pub use size_counters::SizeTotals;
pub use table::route_builder::{BuiltRoutes, RouteBuilder};
pub use table::writer::TableWriter;
pub use worker::Worker;
