//! What workers read and control writes.

pub(crate) mod reserve;
