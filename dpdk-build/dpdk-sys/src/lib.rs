//! Bindings to DPDK, generated at build time from the installed headers.
