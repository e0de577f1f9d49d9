//! Crypto devices: engines behind DPDK's cryptodev, which take the place of the lanes where a
//! deployment names one.
//!
//! ```text
//!  submit(mbuf, op) --> staged --> [ queue pair of the device ] --> Completed { mbuf, .. }
//! ```
//!
//! A [`CryptoQueue`] has the calls of a [`crate::MultiBuffer`]: what is submitted belongs to it
//! until it comes back, in the order of submission whatever the device does. The keys are in
//! sessions ([`CryptoSession`]), which belong to one queue: drivers keep the state of a key in its
//! session, and crypto_openssl uses it without a guard.

mod device;
mod queue;
mod session;

pub use device::{CryptoConfig, CryptoDevice, CryptoError};
pub use queue::{CryptoQueue, DeviceOp};
pub use session::{CryptoSession, CryptoSuite, Way};
