//! hearth, the command line of the home agent: the client of its API and the tables it prints.
#![forbid(unsafe_code)]

pub mod client;
pub mod table;
