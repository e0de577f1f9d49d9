//! The Home Agent Controller: authenticates mobile nodes over TLS, issues security associations
//! (RFC 6618 s.5).
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | the YAML file, checked as a whole before anything starts |
//! | [`cert`], [`tls`] | server certificates: lint, channel binding, choice, reading them again |
//! | [`auth`] | how mobile nodes prove who they are |
//! | [`radius`] | AAA servers behind it |
//! | [`subscribers`] | who can get an SA |
//! | [`policy`], [`keys`] | what an SA gets: suite, scope, validity, keys |
//! | [`lockstep`], [`session`] | the protocol without I/O: containers, then MHAuth messages |
//! | [`directory`] | what was issued: durable, told to home agents over a Unix socket |
//! | [`listener`], [`handshake`], [`connection`] | sockets and deadlines around it |
//! | [`sources`], [`failures`], [`buckets`] | what one source, or who guesses, may take |
//! | [`admin`] | the socket that operators ask |
//! | [`reload`], [`live`] | reading the YAML again |
//! | [`daemon`], [`hardening`], [`notify`], [`counters`], [`tally`] | the running process |
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod admin;
pub mod auth;
pub mod buckets;
pub mod cert;
pub mod config;
pub mod connection;
pub mod counters;
pub mod daemon;
pub mod directory;
pub mod failures;
mod file_mark;
pub mod handshake;
pub mod hardening;
pub mod keys;
pub mod listener;
pub mod live;
pub mod lockstep;
pub mod methods;
mod metrics;
mod overlap;
pub mod policy;
pub mod radius;
pub mod reload;
pub mod session;
pub mod sources;
pub mod subscribers;
pub mod tally;
#[cfg(test)]
mod testing;
pub mod tls;
