//! The lab of network namespaces, and the demo in it.
//!
//! [`plan`] has the map. [`lab::Lab`] brings it up, the end-to-end tests use it under names of
//! their own.
#![forbid(unsafe_code)]

pub mod capture;
pub mod config;
pub mod demo;
mod describe;
pub mod error;
pub mod fleet;
pub mod lab;
pub mod netns;
pub mod network;
pub mod node;
pub mod pki;
pub mod plan;
pub mod program;
pub mod report;
pub mod restart;
pub mod roam;
pub mod traffic;
pub mod wait;

pub use error::{LabError, Result};
pub use lab::{Lab, LabOptions};
