//! Bindings to intel-ipsec-mb, generated at build time from the installed headers.
