//! A frame of RFC 6618 s.6.3 or 6.4 as an operation of the crypto layer, the same for the worker
//! whose packet it is and for one that helps it.
//!
//! ```text
//! outer IP | UDP | PType SPI | Seq | IV | content, padding, Pad Length, Next Header | ICV
//!                |<---- 8 octets ->|    |<-------------- encrypted --------------->|
//!                |<----------------------- authenticated ------------------------->|
//! ```

use hearth_dpdk::{Mbuf, Op, Tag};
use hearth_wire::frame::FrameHeader;

use crate::crypto::gcm;
use crate::layout::len32;
use crate::sa::keys::{KeySchedule, Material};

/// A frame in its packet, and whose keys are for it.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) keys: &'static KeySchedule,
    /// First octet of PType.
    pub(crate) offset: usize,
    /// Octets from there to the end of the ICV.
    pub(crate) len: usize,
    /// From a mobile node: the ICV is to be compared. Else it goes into the packet.
    pub(crate) inbound: bool,
}

/// What the suite has to do with a frame; `compare` is where the ICV of a packet from a mobile node
/// goes. `None` where the frame is too short for the suite.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the suite is known where it is called")]
pub(crate) fn operation<'k>(
    material: &Material<'k>,
    mbuf: &mut Mbuf,
    frame: &Frame,
    compare: Tag,
) -> Option<Op<'k>> {
    let header = FrameHeader::LEN + material.iv_len();
    let covered = frame.len.checked_sub(material.icv_len())?;
    let content = covered.checked_sub(header)?;
    let icv = len32(frame.offset + covered);
    let op = Op {
        cipher: material.cipher,
        auth: material.auth,
        iv_offset: len32(frame.offset + FrameHeader::LEN),
        cipher_offset: len32(frame.offset + header),
        cipher_len: if material.encrypts() { len32(content) } else { 0 },
        auth_offset: len32(frame.offset),
        auth_len: len32(covered),
        tag: if frame.inbound { compare } else { Tag::Packet(icv) },
    };
    match material.nonce {
        None => Some(op),
        Some((salt, _)) => {
            let iv = mbuf.data().get(frame.offset + FrameHeader::LEN..)?.first_chunk().copied()?;
            Some(gcm::operation(op, mbuf, *salt, iv))
        }
    }
}
