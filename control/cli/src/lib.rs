//! hearth, the command line of the home agent: the client of its API, the tables, traces and
//! captures that it shows.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod capture;
pub mod clear;
pub mod client;
pub mod completion;
pub mod config;
pub mod decrypt;
pub mod explain;
pub mod follow;
mod forwarding;
pub mod hac;
pub mod new_file;
pub mod operate;
pub mod setup;
pub mod subscriber;
pub mod table;
pub mod top;
pub mod trace;
