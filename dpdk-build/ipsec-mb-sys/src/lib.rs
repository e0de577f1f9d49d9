//! Bindings to intel-ipsec-mb, generated at build time from the installed headers.
//!
//! `hearth_*` stands for the library's macros and for the fields of `IMB_JOB` (see `shim.h`);
//! the structs are opaque. Nobody but the owning layer, `hearth-dpdk`, uses this crate.

// Foreign functions are unsafe to call and named by others.
#![allow(unsafe_code, missing_docs, unreachable_pub)]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(clippy::all)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
