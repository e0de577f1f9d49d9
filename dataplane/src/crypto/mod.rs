//! Crypto: the lanes that packets ride in, and initialisation vectors.

pub(crate) mod clock;
pub(crate) mod engine;
pub(crate) mod gcm;
pub(crate) mod iv;
