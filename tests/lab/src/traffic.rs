//! What the lab sends through the tunnel, and what it measures of it.

mod probe;
mod stream;
mod transfer;

pub use probe::{Echo, Probe, Samples};
pub use stream::{Meter, Stream};
pub use transfer::{Direction, Outcome, Transfer, TransferPlan};

/// Stands in every datagram and every few octets of every transfer, so that a capture shows at
/// once whether payload crosses a link in the clear.
pub const MARKER: &[u8; 16] = b"HEARTH-CLEARTEXT";
