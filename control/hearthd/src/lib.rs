//! hearthd, the home agent daemon: where the dataplane and the sans-I/O home agent meet.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | reads and checks `hearthd.yaml` |
//! | [`directory`] | watches the HAC's SA directory |
//! | [`host_path`] | the TAP of each port |
//! | [`kernel`] | routes, neighbours and addresses by netlink |
//! | [`server`] | the API on a Unix socket |
//! | [`spi_horizon`] | which SPIs must not be used again after a restart |
//! | [`wake`] | wakes the control thread |
#![forbid(unsafe_code)]

pub mod config;
pub mod directory;
pub mod host_path;
pub mod kernel;
pub mod server;
pub mod spi_horizon;
pub mod wake;
