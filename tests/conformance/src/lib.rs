//! The conformance list: the format of its cases, its rows with their proofs, and the report.
//!
//! ```text
//!   cases/AREA/ID.case --- read by `case` --- played against the core, and over the wire
//!   rows.tsv           --- read by `rows` -+
//!   junit.xml          --- read by `junit` +-- `report`: by area, pass, fail, exception, missing
//! ```
//!
//! docs/conformance.md says how to write a case.
#![forbid(unsafe_code)]

pub mod case;
pub mod junit;
pub mod map;
pub mod notation;
pub mod packet;
pub mod plan;
pub mod report;
pub mod rows;
pub mod scapy;
