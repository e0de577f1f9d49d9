//! What AES-GCM wants otherwise than the other suites: a nonce that stands nowhere as a whole, and
//! the frame header as additional authenticated data.
//!
//! Read first: RFC 4106 s.3 to 5; reading R-16.

use hearth_dpdk::{Mbuf, Op};
use hearth_wire::frame::FrameHeader;

use crate::layout::len32;
use crate::private_area::{NONCE, NONCE_LEN};

/// The operation with a nonce of salt and explicit IV, which goes into the private area.
#[inline]
pub(crate) fn operation<'k>(op: Op<'k>, mbuf: &mut Mbuf, salt: [u8; 4], iv: [u8; 8]) -> Op<'k> {
    let area = mbuf.meta_mut::<[u8; NONCE + NONCE_LEN]>();
    area[NONCE..NONCE + 4].copy_from_slice(&salt);
    area[NONCE + 4..].copy_from_slice(&iv);
    Op { iv_offset: len32(NONCE), auth_len: len32(FrameHeader::LEN), ..op }
}
