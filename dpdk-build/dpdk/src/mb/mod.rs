//! SIMD crypto: intel-ipsec-mb, called directly.
//!
//! Read first: RFC 3602, RFC 2451, RFC 2404, RFC 3566, RFC 4106; `readings.md` R-13, R-16,
//! R-20 to R-22.
//!
//! ```text
//!  submit(mbuf, op) --> [ lanes of AES | lanes of SHA-1 | ... ] --> Completed { mbuf, .. }
//! ```
//!
//! A packet that was submitted belongs to the [`MultiBuffer`] until it comes back, in the order
//! of submission whatever the suites. A job may lie in a lane until others fill the lanes beside
//! it: [`MultiBuffer::flush`] finishes the oldest at once, at a price.

mod job;
mod keys;
mod manager;
mod op;

pub use keys::{
    Aes128DecryptKey, Aes128EncryptKey, Aes128GcmKey, HmacSha1Key, TripleDesKey, XcbcKey,
    burn_stack,
};
pub use manager::{
    Arch, Completed, KEPT_TAGS, MultiBuffer, MultiBufferError, Rejected, STAGE, Submission,
};
pub use op::{Auth, Cipher, Op, OpError, Tag};
pub(crate) use op::{Places, within};
