//! Discovery of home agents and of home prefixes.
//!
//! Read first: RFC 6275 s.6.5 to 6.8, 10.5, 10.6; RFC 3963 s.7.1, 7.2.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Identifier           |R|          Reserved           |  144, 145
//! |          Identifier           |            Reserved           |  146
//! |          Identifier           |M|O|        Reserved           |  147
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :   145: Home Agent Addresses; 146, 147: options of Neighbour   :
//! :   Discovery                                                   :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::option::{Prefixes, walk};
use super::{IcmpError, emit_addresses};
use crate::addresses::{Address, Addresses};
use crate::mh::writer::Writer;

/// R of home agent discovery; M and O of a Mobile Prefix Advertisement.
const MOBILE_ROUTERS: u8 = 0x80;
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;

/// Identifier, the octet with the flags, and what follows.
fn split(body: &[u8]) -> Result<(u16, u8, &[u8]), IcmpError> {
    let ([a, b, flags, _], rest) = body.split_first_chunk().ok_or(IcmpError::Truncated)?;
    Ok((u16::from_be_bytes([*a, *b]), *flags, rest))
}

fn emit_head(id: u16, flags: u8, writer: &mut Writer<'_>) -> Option<()> {
    writer.put(&id.to_be_bytes())?;
    writer.put(&[flags, 0])
}

/// Home Agent Address Discovery Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HomeAgentDiscoveryRequest {
    /// Identifier, which the reply copies.
    pub id: u16,
    /// R: home agents that serve mobile routers are wanted.
    pub mobile_routers: bool,
}

impl HomeAgentDiscoveryRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, IcmpError> {
        let (id, flags, _) = split(body)?;
        Ok(Self { id, mobile_routers: flags & MOBILE_ROUTERS != 0 })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        emit_head(self.id, if self.mobile_routers { MOBILE_ROUTERS } else { 0 }, writer)
    }
}

/// Home Agent Address Discovery Reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeAgentDiscoveryReply<'a> {
    /// Identifier of the request.
    pub id: u16,
    /// R: the home agents serve mobile routers.
    pub mobile_routers: bool,
    /// Home agents, the best first.
    pub addresses: Addresses<'a>,
}

impl<'a> HomeAgentDiscoveryReply<'a> {
    /// An address that is cut off makes the whole message [`IcmpError::Truncated`].
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, IcmpError> {
        let (id, flags, rest) = split(body)?;
        let (addresses, rest) =
            core::net::Ipv6Addr::split(rest, rest.len() / 16).ok_or(IcmpError::Truncated)?;
        if !rest.is_empty() {
            return Err(IcmpError::Truncated);
        }
        let mobile_routers = flags & MOBILE_ROUTERS != 0;
        Ok(Self { id, mobile_routers, addresses: Addresses::Wire(addresses) })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        emit_head(self.id, if self.mobile_routers { MOBILE_ROUTERS } else { 0 }, writer)?;
        emit_addresses(self.addresses, writer)
    }
}

/// Mobile Prefix Solicitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MobilePrefixSolicitation {
    /// Identifier, which the advertisement copies.
    pub id: u16,
}

impl MobilePrefixSolicitation {
    /// s.6.7: options are ignored.
    pub(super) fn parse(body: &[u8]) -> Result<Self, IcmpError> {
        let (id, _, options) = split(body)?;
        walk(options)?;
        Ok(Self { id })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        emit_head(self.id, 0, writer)
    }
}

/// Mobile Prefix Advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MobilePrefixAdvertisement<'a> {
    /// Identifier of the solicitation; of an unsolicited one anything (RFC 6275 s.10.6.3).
    pub id: u16,
    /// M: addresses by DHCPv6.
    pub managed: bool,
    /// O: other configuration by DHCPv6.
    pub other: bool,
    /// The prefixes of the home link.
    pub prefixes: Prefixes<'a>,
}

impl<'a> MobilePrefixAdvertisement<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, IcmpError> {
        let (id, flags, options) = split(body)?;
        walk(options)?;
        Ok(Self {
            id,
            managed: flags & MANAGED != 0,
            other: flags & OTHER != 0,
            prefixes: Prefixes::Wire(options),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        let flags = (if self.managed { MANAGED } else { 0 }) | (if self.other { OTHER } else { 0 });
        emit_head(self.id, flags, writer)?;
        self.prefixes.emit(writer)
    }
}
