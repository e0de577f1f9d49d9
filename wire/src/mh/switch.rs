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

use core::fmt;
use core::net::Ipv6Addr;

use super::MhError;
use super::option::{emit_refresh_advice, first, option_type};
use super::writer::Writer;

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
            rest.split_at_checked(usize::from(*count) * 16).ok_or(MhError::HeaderLen)?;
        let (addresses, _) = addresses.as_chunks();
        let refresh_advice = first(options, option_type::REFRESH_ADVICE)?.map(u16::from_be_bytes);
        Ok(Self { addresses: Addresses::Wire(addresses), refresh_advice })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[u8::try_from(self.addresses.len()).ok()?, 0])?;
        self.addresses.iter().try_for_each(|address| writer.put(&address.octets()))?;
        emit_refresh_advice(self.refresh_advice, writer)
    }
}

/// IPv6 addresses one behind the other.
#[derive(Clone, Copy)]
pub enum Addresses<'a> {
    /// As on the wire.
    Wire(&'a [[u8; 16]]),
    /// Values.
    List(&'a [Ipv6Addr]),
}

impl<'a> Addresses<'a> {
    /// The addresses in their order.
    pub fn iter(self) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        let (wire, list): (&[[u8; 16]], &[Ipv6Addr]) = match self {
            Self::Wire(addresses) => (addresses, &[]),
            Self::List(addresses) => (&[], addresses),
        };
        wire.iter().map(|address| Ipv6Addr::from_octets(*address)).chain(list.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Wire(addresses) => addresses.len(),
            Self::List(addresses) => addresses.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl Default for Addresses<'_> {
    fn default() -> Self {
        Self::List(&[])
    }
}

impl PartialEq for Addresses<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Addresses<'_> {}

impl fmt::Debug for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
