//! Home Agent Switch.
//!
//! Read first: RFC 5142 s.4.
//!
//! ```text
//!                                 +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                                 |# of Addresses |   Reserved    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :               Home Agent Addresses (16 octets each)           :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                        Mobility Options                       :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv6Addr;

use super::MhError;
use super::option::{emit_refresh_advice, first, option_type};
use super::writer::Writer;
use crate::addresses::{Address, Addresses};

/// Home Agent Switch: the mobile node is to take another home agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeAgentSwitch<'a> {
    /// Other home agents, at most 255; none: the mobile node has to find one itself.
    pub addresses: Addresses<'a>,
    /// Binding Refresh Advice (type 2): interval in units of 4 seconds.
    pub refresh_advice: Option<u16>,
}

impl<'a> HomeAgentSwitch<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, MhError> {
        let ([count, _], rest) = data.split_first_chunk().ok_or(MhError::HeaderLen)?;
        let (addresses, options) =
            Ipv6Addr::split(rest, usize::from(*count)).ok_or(MhError::HeaderLen)?;
        let refresh_advice = first(options, option_type::REFRESH_ADVICE)?.map(u16::from_be_bytes);
        Ok(Self { addresses: Addresses::Wire(addresses), refresh_advice })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[u8::try_from(self.addresses.len()).ok()?, 0])?;
        self.addresses.iter().try_for_each(|address| writer.put(&address.octets()))?;
        emit_refresh_advice(self.refresh_advice, writer)
    }
}
