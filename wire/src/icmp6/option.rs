//! Options of Neighbour Discovery.
//!
//! Read first: RFC 4861 s.4.6; RFC 6275 s.7.2 to 7.4; RFC 3963 s.7.3.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      | Length (8 o.) |              ...              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! | type | option | length |
//! |---|---|---|
//! | 1 | Source Link-Layer Address | 1 for Ethernet |
//! | 2 | Target Link-Layer Address | 1 for Ethernet |
//! | 3 | Prefix Information | 4 |
//! | 5 | MTU | 1 |
//! | 7 | Advertisement Interval | 1 |
//! | 8 | Home Agent Information | 1 |
//!
//! Unknown options are skipped, and so are known ones of another length; of one that may stand once
//! the first counts.

use core::fmt;
use core::net::Ipv6Addr;

use super::IcmpError;
use crate::mh::writer::Writer;

/// Option types.
pub(super) mod option_type {
    pub(crate) const SOURCE_LINK_LAYER: u8 = 1;
    pub(crate) const TARGET_LINK_LAYER: u8 = 2;
    pub(super) const PREFIX_INFORMATION: u8 = 3;
    pub(crate) const MTU: u8 = 5;
    pub(crate) const ADVERTISEMENT_INTERVAL: u8 = 7;
    pub(super) const HOME_AGENT_INFORMATION: u8 = 8;
}

/// Lifetime of a prefix that does not end.
pub const INFINITE: u32 = u32::MAX;

/// Flags of Prefix Information.
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;
const ROUTER_ADDRESS: u8 = 0x20;
/// R of Home Agent Information.
const MOBILE_ROUTERS: u8 = 0x80;

/// Splits one option off `options`: type and data. `None` at the end.
fn next_option<'a>(options: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, IcmpError> {
    if options.is_empty() {
        return Ok(None);
    }
    let ([option_type, units], _) = options.split_first_chunk().ok_or(IcmpError::Option)?;
    let (option, rest) =
        options.split_at_checked(usize::from(*units) * 8).ok_or(IcmpError::Option)?;
    // RFC 4861 s.4.6: "Nodes MUST silently discard an ND packet that contains an option with
    // length zero."
    let data = option.get(2..).ok_or(IcmpError::Option)?;
    *options = rest;
    Ok(Some((*option_type, data)))
}

/// Checks that every option ends where it says.
pub(super) fn walk(mut options: &[u8]) -> Result<(), IcmpError> {
    while next_option(&mut options)?.is_some() {}
    Ok(())
}

/// The data of the first option of a type and length; options have been walked.
pub(super) fn first<const N: usize>(mut options: &[u8], wanted: u8) -> Option<[u8; N]> {
    while let Ok(Some((option_type, data))) = next_option(&mut options) {
        if option_type == wanted
            && let Ok(data) = data.try_into()
        {
            return Some(data);
        }
    }
    None
}

/// Writes an option of Source or Target Link-Layer Address for Ethernet.
pub(super) fn emit_link_layer(
    option_type: u8,
    address: Option<[u8; 6]>,
    writer: &mut Writer<'_>,
) -> Option<()> {
    let Some(address) = address else { return Some(()) };
    writer.put(&[option_type, 1])?;
    writer.put(&address)
}

/// Writes an option of one unit: two reserved octets and a value.
pub(super) fn emit_value(
    option_type: u8,
    value: Option<u32>,
    writer: &mut Writer<'_>,
) -> Option<()> {
    let Some(value) = value else { return Some(()) };
    writer.put(&[option_type, 1, 0, 0])?;
    writer.put(&value.to_be_bytes())
}

/// The first value of such an option.
pub(super) fn value(options: &[u8], option_type: u8) -> Option<u32> {
    let [_, _, value @ ..] = first::<6>(options, option_type)?;
    Some(u32::from_be_bytes(value))
}

/// Home Agent Information option (RFC 6275 s.7.4, RFC 3963 s.7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HomeAgentInformation {
    /// R: the home agent serves mobile routers.
    pub mobile_routers: bool,
    /// Home Agent Preference: the higher, the better.
    pub preference: u16,
    /// Home Agent Lifetime in seconds.
    pub lifetime: u16,
}

impl HomeAgentInformation {
    pub(super) fn first(options: &[u8]) -> Option<Self> {
        let [flags, _, a, b, c, d] = first(options, option_type::HOME_AGENT_INFORMATION)?;
        Some(Self {
            mobile_routers: flags & MOBILE_ROUTERS != 0,
            preference: u16::from_be_bytes([a, b]),
            lifetime: u16::from_be_bytes([c, d]),
        })
    }

    pub(super) fn emit(self, writer: &mut Writer<'_>) -> Option<()> {
        let flags = if self.mobile_routers { MOBILE_ROUTERS } else { 0 };
        writer.put(&[option_type::HOME_AGENT_INFORMATION, 1, flags, 0])?;
        writer.put(&self.preference.to_be_bytes())?;
        writer.put(&self.lifetime.to_be_bytes())
    }
}

/// Prefix Information option (RFC 4861 s.4.6.2, RFC 6275 s.7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrefixInformation {
    /// The prefix; with R the router's address.
    pub prefix: Ipv6Addr,
    /// Prefix length, 0 to 128.
    pub len: u8,
    /// L: the prefix is on the link.
    pub on_link: bool,
    /// A: good for stateless address autoconfiguration.
    pub autonomous: bool,
    /// R: `prefix` is the address of the router that sends it.
    pub router_address: bool,
    /// Valid Lifetime in seconds; see [`INFINITE`].
    pub valid: u32,
    /// Preferred Lifetime in seconds; see [`INFINITE`].
    pub preferred: u32,
}

impl PrefixInformation {
    fn parse(data: &[u8]) -> Option<Self> {
        let ([len, flags], rest) = data.split_first_chunk()?;
        let (valid, rest) = rest.split_first_chunk()?;
        let (preferred, rest) = rest.split_first_chunk()?;
        let ([_, _, _, _], prefix) = rest.split_first_chunk()?;
        let prefix = <[u8; 16]>::try_from(prefix).ok()?;
        (*len <= 128).then(|| Self {
            prefix: prefix.into(),
            len: *len,
            on_link: flags & ON_LINK != 0,
            autonomous: flags & AUTONOMOUS != 0,
            router_address: flags & ROUTER_ADDRESS != 0,
            valid: u32::from_be_bytes(*valid),
            preferred: u32::from_be_bytes(*preferred),
        })
    }

    fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        if self.len > 128 {
            return None;
        }
        let flags = (if self.on_link { ON_LINK } else { 0 })
            | (if self.autonomous { AUTONOMOUS } else { 0 })
            | (if self.router_address { ROUTER_ADDRESS } else { 0 });
        writer.put(&[option_type::PREFIX_INFORMATION, 4, self.len, flags])?;
        writer.put(&self.valid.to_be_bytes())?;
        writer.put(&self.preferred.to_be_bytes())?;
        writer.put(&[0; 4])?;
        writer.put(&self.prefix.octets())
    }
}

/// All Prefix Information options, as they stand in a message that was received or as values to be
/// sent.
#[derive(Clone, Copy)]
pub enum Prefixes<'a> {
    /// All options of a message, which have been walked once.
    Wire(&'a [u8]),
    /// Values.
    List(&'a [PrefixInformation]),
}

impl<'a> Prefixes<'a> {
    /// The options in their order. One of a wrong length, or with a prefix length above 128, is
    /// left out.
    pub fn iter(self) -> impl Iterator<Item = PrefixInformation> + use<'a> {
        let (mut wire, list): (&[u8], &[PrefixInformation]) = match self {
            Self::Wire(options) => (options, &[]),
            Self::List(prefixes) => (&[], prefixes),
        };
        core::iter::from_fn(move || next_option(&mut wire).ok().flatten())
            .filter(|(option_type, _)| *option_type == option_type::PREFIX_INFORMATION)
            .filter_map(|(_, data)| PrefixInformation::parse(data))
            .chain(list.iter().copied())
    }

    pub(super) fn emit(self, writer: &mut Writer<'_>) -> Option<()> {
        self.iter().try_for_each(|prefix| prefix.emit(writer))
    }
}

impl Default for Prefixes<'_> {
    fn default() -> Self {
        Self::List(&[])
    }
}

impl PartialEq for Prefixes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Prefixes<'_> {}

impl fmt::Debug for Prefixes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
