//! Heartbeat.
//!
//! Read first: RFC 5847 s.4.
//!
//! ```text
//!                                 +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                                 |            Reserved       |U|R|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        Sequence Number                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                        Mobility Options                       :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::MhError;
use super::option::{first, option_type};
use super::writer::Writer;

/// U and R in the low octet of the flags.
const UNSOLICITED: u8 = 0x02;
const RESPONSE: u8 = 0x01;

/// Heartbeat: asks whether the peer is there, or says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// U: a response that nobody asked for, sent after a restart.
    pub unsolicited: bool,
    /// R: a response.
    pub response: bool,
    /// Sequence Number; a response copies it.
    pub seq: u32,
    /// Restart Counter (type 28): grows with every restart of the sender; in responses.
    pub restart_counter: Option<u32>,
}

impl Heartbeat {
    pub(super) fn parse(data: &[u8]) -> Result<Self, MhError> {
        let ([_, flags, seq @ ..], options) =
            data.split_first_chunk::<6>().ok_or(MhError::HeaderLen)?;
        Ok(Self {
            unsolicited: flags & UNSOLICITED != 0,
            response: flags & RESPONSE != 0,
            seq: u32::from_be_bytes(*seq),
            restart_counter: first(options, option_type::RESTART_COUNTER)?.map(u32::from_be_bytes),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        let flags = if self.unsolicited { UNSOLICITED } else { 0 }
            | if self.response { RESPONSE } else { 0 };
        writer.put(&[0, flags])?;
        writer.put(&self.seq.to_be_bytes())?;
        if let Some(counter) = self.restart_counter {
            writer.align(4, 2)?;
            writer.option(option_type::RESTART_COUNTER, &counter.to_be_bytes())?;
        }
        Some(())
    }
}
