//! The performance lab: every figure a ratio taken in one run.
//!
//! [`main`] is the program; [`stages`] is what the Criterion benches measure.

/// Prints a line. Where nobody reads any more (`| head`), measuring goes on all the same.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod buffers;
mod capture;
mod cli;
mod controller;
mod cycles;
mod directory;
mod efficiency;
mod fault;
mod figures;
mod frames;
mod generator;
mod home_agent;
mod issuer;
mod keys;
mod kinds;
mod lab;
mod machine;
mod memory;
mod mixture;
mod nic;
mod pipeline;
mod raw;
mod report;
mod rig;
mod run;
mod search;
mod signalling;
pub mod stages;
mod stats;
#[cfg(test)]
mod testing;
mod traffic;
mod trial;
mod tunnels;

pub use cli::main;
