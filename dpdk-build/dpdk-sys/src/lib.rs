//! Bindings to DPDK, generated at build time from the installed headers.
//!
//! The names are DPDK's own; `hearth_*` stands for its inline functions and for what differs
//! between releases (see `shim.h`). Everything else of DPDK is opaque. Nobody but the owning
//! layer, `hearth-dpdk`, uses this crate.

// Foreign functions are unsafe to call and named by others.
#![allow(unsafe_code, missing_docs, unreachable_pub)]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(clippy::all)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
