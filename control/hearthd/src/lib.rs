//! hearthd, the home agent daemon: where the dataplane and the sans-I/O home agent meet.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | reads and checks `hearthd.yaml` |
#![forbid(unsafe_code)]

pub mod config;
