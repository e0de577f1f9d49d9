//! Crypto: the lanes that packets ride in, a device's queue beside them, initialisation vectors.

pub(crate) mod device;
pub(crate) mod engine;
pub(crate) mod frame;
pub(crate) mod gcm;
pub(crate) mod iv;
pub(crate) mod lanes;
pub(crate) mod quote;
