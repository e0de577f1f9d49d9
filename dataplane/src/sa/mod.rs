//! Security associations: the slot of one, the table of all, the replay window.

pub(crate) mod keys;
pub(crate) mod observer;
pub(crate) mod replay;
pub(crate) mod session;
pub(crate) mod slot;
pub(crate) mod table;
