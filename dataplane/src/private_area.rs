//! Who has which octets of an mbuf's private area.
//!
//! | octets | who | as long as |
//! |---|---|---|
//! | 0 .. | [`crate::note`] | the packet is in a ring to or from another worker or control |
//! | 0 .. | the capture's tag | a copy is in the ring to control |
//! | 0 .. | the task, its tag first | the packet is out at another worker for its crypto |
//! | 0 .. 16 | a computed tag | from crypto until the packet is settled |
//! | 96 .. 108 | AES-GCM's nonce | the packet is in crypto |
//! | 120 .. 128 | [`crate::trace`] | the packet lives |
//!
//! A packet has one of the first four at a time: each is written by who gives the packet away and
//! read by who gets it. The other two stay beside them.

use hearth_dpdk::META_SIZE;

use crate::{capture, note, stage, trace};

/// Where a computed tag is put.
pub(crate) const TAG: usize = 0;
/// Octets of a tag, of whatever suite.
pub(crate) const TAG_LEN: usize = 16;
/// Where AES-GCM's nonce is put.
pub(crate) const NONCE: usize = 96;
/// Octets of the nonce.
pub(crate) const NONCE_LEN: usize = 12;
/// The word with a packet's number in a trace.
pub(crate) const TRACE_WORD: usize = META_SIZE / 8 - 1;

const _: () = assert!(TAG + TAG_LEN <= NONCE);
const _: () = assert!(note::AREA_LEN <= NONCE);
const _: () = assert!(capture::TAG_LEN <= NONCE);
const _: () = assert!(stage::assist::TASK_LEN <= NONCE);
const _: () = assert!(NONCE + NONCE_LEN <= TRACE_WORD * 8);
const _: () = assert!((TRACE_WORD + 1) * size_of::<trace::TraceId>() == META_SIZE);
