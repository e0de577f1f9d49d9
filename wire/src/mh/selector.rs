//! Binary traffic selectors.
//!
//! Read first: RFC 6088 s.3; RFC 6089 s.4.2.1.4.
//!
//! A flag word says which fields follow it. Fields come in pairs, the start and the end of a range;
//! an end that is missing equals the start.
//!
//! | IPv4 | IPv6 | field | octets |
//! |---|---|---|---|
//! | A B | A B | source address | 4 or 16 |
//! | C D | C D | destination address | 4 or 16 |
//! | E F | E F | SPI of IPsec | 4 |
//! | | G H | flow label | 4 |
//! | G H | I J | source port | 2 |
//! | I J | K L | destination port | 2 |
//! | K L | M N | DS field or traffic class, without its two bits of ECN | 1 |
//! | M N | O P | protocol or next header | 1 |

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::writer::Writer;
use crate::flow_key::FlowKey;

/// TS Format of an IPv4 binary traffic selector.
pub const FORMAT_IPV4: u8 = 1;
/// TS Format of an IPv6 binary traffic selector.
pub const FORMAT_IPV6: u8 = 2;

/// "The receiver SHOULD ignore the first 8 bits" of a flow label field.
const FLOW_LABEL: u32 = 0x00ff_ffff;

/// All values from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range<T> {
    /// The smallest value.
    pub first: T,
    /// The largest value, not below `first`.
    pub last: T,
}

impl<T: Copy + Ord> Range<T> {
    /// One value.
    #[must_use]
    pub const fn only(value: T) -> Self {
        Self { first: value, last: value }
    }

    /// Whether `value` is in the range.
    #[inline]
    #[must_use]
    pub fn contains(&self, value: T) -> bool {
        self.first <= value && value <= self.last
    }
}

/// What packets belong to a flow: those that every given field matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrafficSelector {
    /// The IP version, and the fields of one version only.
    pub addresses: Addresses,
    /// SPI of ESP.
    pub spi: Option<Range<u32>>,
    /// Source port.
    pub source_port: Option<Range<u16>>,
    /// Destination port.
    pub destination_port: Option<Range<u16>>,
    /// The six bits of the DS field.
    pub dscp: Option<Range<u8>>,
    /// Protocol, or the next header behind all extension headers.
    pub protocol: Option<Range<u8>>,
}

/// The fields of a [`TrafficSelector`] that differ by IP version. Packets of the other version do
/// not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// TS Format 1.
    V4 {
        /// Source address.
        source: Option<Range<Ipv4Addr>>,
        /// Destination address.
        destination: Option<Range<Ipv4Addr>>,
    },
    /// TS Format 2.
    V6 {
        /// Source address.
        source: Option<Range<Ipv6Addr>>,
        /// Destination address.
        destination: Option<Range<Ipv6Addr>>,
        /// Flow label, 24 bits wide as RFC 6088 has it.
        flow_label: Option<Range<u32>>,
    },
}

impl TrafficSelector {
    /// A selector that every packet of IPv4 matches.
    pub const ANY_IPV4: Self = Self::any(Addresses::V4 { source: None, destination: None });

    /// A selector that every packet of IPv6 matches.
    pub const ANY_IPV6: Self =
        Self::any(Addresses::V6 { source: None, destination: None, flow_label: None });

    const fn any(addresses: Addresses) -> Self {
        Self {
            addresses,
            spi: None,
            source_port: None,
            destination_port: None,
            dscp: None,
            protocol: None,
        }
    }

    /// Whether a packet belongs to the flow. A field that the packet has not (a port in a later
    /// fragment, say) matches no range.
    #[must_use]
    pub fn matches(&self, key: &FlowKey) -> bool {
        self.matches_addresses(key)
            && is_in(self.protocol, Some(key.protocol))
            && is_in(self.source_port, key.ports.map(|(source, _)| source))
            && is_in(self.destination_port, key.ports.map(|(_, destination)| destination))
            && is_in(self.spi, key.spi)
            && is_in(self.dscp, Some(key.traffic_class >> 2))
    }

    fn matches_addresses(&self, key: &FlowKey) -> bool {
        match (self.addresses, key.source, key.destination) {
            (Addresses::V4 { source, destination }, IpAddr::V4(from), IpAddr::V4(to)) => {
                is_in(source, Some(from)) && is_in(destination, Some(to))
            }
            (
                Addresses::V6 { source, destination, flow_label },
                IpAddr::V6(from),
                IpAddr::V6(to),
            ) => {
                is_in(source, Some(from))
                    && is_in(destination, Some(to))
                    && is_in(flow_label, Some(key.flow_label))
            }
            _ => false,
        }
    }

    /// Reads the selector behind TS Format and the reserved octet. `None` where a field is cut off,
    /// where an end stands without its start or below it, and where octets are left over: a
    /// selector that was meant otherwise would send the wrong packets.
    #[must_use]
    pub fn parse(format: u8, octets: &[u8]) -> Option<Self> {
        let (flags, octets) = octets.split_first_chunk::<4>()?;
        let mut fields = Fields { flags: u32::from_be_bytes(*flags), octets };
        let mut selector = match format {
            FORMAT_IPV4 => {
                let source = fields.range(Ipv4Addr::from_octets)?;
                let destination = fields.range(Ipv4Addr::from_octets)?;
                Self::any(Addresses::V4 { source, destination })
            }
            FORMAT_IPV6 => {
                let source = fields.range(Ipv6Addr::from_octets)?;
                let destination = fields.range(Ipv6Addr::from_octets)?;
                Self::any(Addresses::V6 { source, destination, flow_label: None })
            }
            _ => return None,
        };
        selector.spi = fields.range(u32::from_be_bytes)?;
        if let Addresses::V6 { flow_label, .. } = &mut selector.addresses {
            *flow_label = fields.range(|octets| u32::from_be_bytes(octets) & FLOW_LABEL)?;
        }
        selector.source_port = fields.range(u16::from_be_bytes)?;
        selector.destination_port = fields.range(u16::from_be_bytes)?;
        selector.dscp = fields.range(|[ds]| ds >> 2)?;
        selector.protocol = fields.range(|[protocol]| protocol)?;
        fields.octets.is_empty().then_some(selector)
    }

    /// Writes TS Format, a reserved octet and the selector, as they stand in a traffic selector
    /// sub-option; how many octets. `None` where they do not fit.
    #[must_use]
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        self.emit(&mut writer)?;
        Some(writer.len())
    }

    /// Alignment of the whole sub-option, at least as strict as RFC 6088 s.3.1 and 3.2 want it.
    pub(super) const fn alignment(&self) -> usize {
        match self.addresses {
            Addresses::V4 { .. } => 4,
            Addresses::V6 { .. } => 8,
        }
    }

    /// Writes TS Format, the reserved octet, flags and fields.
    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        let format = match self.addresses {
            Addresses::V4 { .. } => FORMAT_IPV4,
            Addresses::V6 { .. } => FORMAT_IPV6,
        };
        if self.dscp.is_some_and(|dscp| dscp.last > 63) {
            return None;
        }
        writer.put(&[format, 0])?;
        let start = writer.len();
        writer.put(&[0; 4])?;
        let mut fields = FieldWriter { writer, flags: 0, next: 1 << 31 };
        let mut flow_labels = None;
        match self.addresses {
            Addresses::V4 { source, destination } => {
                fields.range(source, |address| address.octets())?;
                fields.range(destination, |address| address.octets())?;
            }
            Addresses::V6 { source, destination, flow_label } => {
                fields.range(source, |address| address.octets())?;
                fields.range(destination, |address| address.octets())?;
                flow_labels = Some(flow_label);
            }
        }
        fields.range(self.spi, u32::to_be_bytes)?;
        if let Some(flow_label) = flow_labels {
            if flow_label.is_some_and(|label| label.last > FLOW_LABEL) {
                return None;
            }
            fields.range(flow_label, u32::to_be_bytes)?;
        }
        fields.range(self.source_port, u16::to_be_bytes)?;
        fields.range(self.destination_port, u16::to_be_bytes)?;
        fields.range(self.dscp, |dscp| [dscp << 2])?;
        fields.range(self.protocol, |protocol| [protocol])?;
        let [a, b, _, _] = fields.flags.to_be_bytes();
        writer.set(start, a)?;
        writer.set(start + 1, b)
    }
}

/// Whether `value` is in `range`; anything is where there is no range.
fn is_in<T: Copy + Ord>(range: Option<Range<T>>, value: Option<T>) -> bool {
    range.is_none_or(|range| value.is_some_and(|value| range.contains(value)))
}

/// The fields that the flags tell of, from the first on.
struct Fields<'a> {
    flags: u32,
    octets: &'a [u8],
}

impl Fields<'_> {
    fn field<const N: usize>(&mut self) -> Option<Option<[u8; N]>> {
        let present = self.flags & 1 << 31 != 0;
        self.flags <<= 1;
        if !present {
            return Some(None);
        }
        let (field, rest) = self.octets.split_first_chunk()?;
        self.octets = rest;
        Some(Some(*field))
    }

    fn range<const N: usize, T: Copy + Ord>(
        &mut self,
        read: impl Fn([u8; N]) -> T,
    ) -> Option<Option<Range<T>>> {
        match (self.field()?.map(&read), self.field()?.map(&read)) {
            (None, None) => Some(None),
            (Some(first), Some(last)) => (first <= last).then_some(Some(Range { first, last })),
            (Some(only), None) => Some(Some(Range::only(only))),
            (None, Some(_)) => None,
        }
    }
}

/// Writes fields and gathers their flags.
struct FieldWriter<'a, 'b> {
    writer: &'a mut Writer<'b>,
    flags: u32,
    next: u32,
}

impl FieldWriter<'_, '_> {
    fn range<const N: usize, T: Copy + Ord>(
        &mut self,
        range: Option<Range<T>>,
        octets: impl Fn(T) -> [u8; N],
    ) -> Option<()> {
        if let Some(Range { first, last }) = range {
            if first > last {
                return None;
            }
            self.flags |= self.next;
            self.writer.put(&octets(first))?;
            if first != last {
                self.flags |= self.next >> 1;
                self.writer.put(&octets(last))?;
            }
        }
        self.next >>= 2;
        Some(())
    }
}
