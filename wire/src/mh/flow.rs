//! Flow Identification and Flow Summary options.
//!
//! Read first: RFC 6089 s.4.2, 5.3.2, 5.3.3.
//!
//! RFC 6089 contradicts itself: its s.4.2 gives type 45 to Flow Identification and 44 to Flow
//! Summary, its s.8 the reverse. This follows s.4.2, where the formats are, as tshark does.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Type = 45   |  Option Len   |              FID              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             FID-PRI           |   Reserved    |     Status    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Sub-options ...
//! +-+-+-+-+-+-+-+-+-+-+-+-
//! ```
//!
//! | sub-option | content | aligned to |
//! |---|---|---|
//! | 0, 1 | padding as of mobility options | |
//! | 2 | binding reference: Binding IDs | 2n |
//! | 3 | traffic selector: format, a reserved octet, selector | by format |

use super::option::{next_option, option_type};
use super::repeated::{Ids, RepeatedOption, sealed};
use super::selector::{self, TrafficSelector};
use super::writer::Writer;

/// Sub-option types.
mod sub_option {
    pub(super) const BINDING_REFERENCE: u8 = 2;
    pub(super) const TRAFFIC_SELECTOR: u8 = 3;
}

/// Status of a Flow Identification option in a Binding Acknowledgement (RFC 6089 s.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowStatus(pub u8);

codes! {
    FlowStatus {
        /// Flow binding successful.
        SUCCESS = 0,
        /// Administratively prohibited.
        ADMINISTRATIVELY_PROHIBITED = 128,
        /// Rejected, reason unspecified.
        REASON_UNSPECIFIED = 129,
        /// Flow identification option malformed.
        MALFORMED = 130,
        /// BID not found.
        BID_NOT_FOUND = 131,
        /// FID not found.
        FID_NOT_FOUND = 132,
        /// Traffic selector format not supported.
        SELECTOR_NOT_SUPPORTED = 133,
    }
}

impl FlowStatus {
    /// Whether the flow is bound.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 < 128
    }
}

/// Flow Identification option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow<'a> {
    /// Flow Identifier, not 0.
    pub id: u16,
    /// FID-PRI, not 0: the lower, the earlier matched.
    pub priority: u16,
    /// Outcome, in a Binding Acknowledgement. Elsewhere ignored.
    pub status: FlowStatus,
    /// The Binding IDs of the binding reference; none where it is missing.
    pub bids: Ids<'a>,
    /// What belongs to the flow.
    pub selector: Option<Selector<'a>>,
}

/// Traffic selector sub-option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector<'a> {
    /// A format of RFC 6088.
    Binary(TrafficSelector),
    /// Another format: status 133.
    Other {
        /// TS Format, neither 1 nor 2.
        format: u8,
        /// Traffic Selector.
        octets: &'a [u8],
    },
}

/// A Flow Identification option that is not as RFC 6089 s.4.2 and RFC 6088 s.3 say: status 130.
///
/// Too short, FID or FID-PRI 0, a sub-option past its end, a binding reference or traffic selector
/// that stands twice or is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MalformedFlow {
    /// Flow Identifier and FID-PRI, where there are such.
    pub id: Option<(u16, u16)>,
}

impl<'a> RepeatedOption<'a> for Flow<'a> {
    type Malformed = MalformedFlow;

    const OPTION_TYPE: u8 = option_type::FLOW_IDENTIFICATION;

    fn parse(data: &'a [u8]) -> Result<Self, MalformedFlow> {
        let (fixed, sub_options) =
            data.split_first_chunk::<6>().ok_or(MalformedFlow { id: None })?;
        let [id_high, id_low, priority_high, priority_low, _, status] = *fixed;
        let id = u16::from_be_bytes([id_high, id_low]);
        let priority = u16::from_be_bytes([priority_high, priority_low]);
        let malformed = MalformedFlow { id: Some((id, priority)) };
        let (bids, selector) = parse_sub_options(sub_options).ok_or(malformed)?;
        if id == 0 || priority == 0 {
            return Err(malformed);
        }
        Ok(Self {
            id,
            priority,
            status: FlowStatus(status),
            bids: bids.unwrap_or_default(),
            selector,
        })
    }
}

/// RFC 6089 s.4.2.1: unknown sub-options are skipped; "A node MUST NOT include more than one" of
/// either known one.
fn parse_sub_options(mut sub_options: &[u8]) -> Option<(Option<Ids<'_>>, Option<Selector<'_>>)> {
    let (mut bids, mut selector) = (None, None);
    while let Some((sub_option, data)) = next_option(&mut sub_options).ok()? {
        let first = match sub_option {
            sub_option::BINDING_REFERENCE => bids.replace(Ids::parse(data)?).is_none(),
            sub_option::TRAFFIC_SELECTOR => selector.replace(parse_selector(data)?).is_none(),
            _ => true,
        };
        if !first {
            return None;
        }
    }
    Some((bids, selector))
}

fn parse_selector(data: &[u8]) -> Option<Selector<'_>> {
    let [format, _, octets @ ..] = data else { return None };
    match *format {
        selector::FORMAT_IPV4 | selector::FORMAT_IPV6 => {
            TrafficSelector::parse(*format, octets).map(Selector::Binary)
        }
        format => Some(Selector::Other { format, octets }),
    }
}

impl sealed::Emit for Flow<'_> {
    fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.align(2, 0)?;
        let start = writer.len();
        let [id_high, id_low] = self.id.to_be_bytes();
        let [priority_high, priority_low] = self.priority.to_be_bytes();
        let (option_type, len) = (option_type::FLOW_IDENTIFICATION, 0);
        let fixed = [id_high, id_low, priority_high, priority_low, 0, self.status.0];
        writer.put(&[option_type, len])?;
        writer.put(&fixed)?;
        if !self.bids.is_empty() {
            writer.align(2, 0)?;
            writer.put(&[sub_option::BINDING_REFERENCE])?;
            self.bids.emit(writer)?;
        }
        if let Some(selector) = self.selector {
            selector.emit(writer)?;
        }
        writer.set(start + 1, u8::try_from(writer.len() - start - 2).ok()?)
    }
}

impl Selector<'_> {
    fn emit(self, writer: &mut Writer<'_>) -> Option<()> {
        if let Self::Binary(selector) = self {
            writer.align(selector.alignment(), 0)?;
        }
        let start = writer.len();
        writer.put(&[sub_option::TRAFFIC_SELECTOR, 0])?;
        match self {
            Self::Binary(selector) => selector.emit(writer)?,
            Self::Other { format, octets } => {
                writer.put(&[format, 0])?;
                writer.put(octets)?;
            }
        }
        writer.set(start + 1, u8::try_from(writer.len() - start - 2).ok()?)
    }
}

/// Flow Summary option: flows that are to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowSummary<'a> {
    /// Flow Identifiers.
    pub flows: Ids<'a>,
}

/// A Flow Summary option without a Flow Identifier, or with half a one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MalformedSummary;

impl<'a> RepeatedOption<'a> for FlowSummary<'a> {
    type Malformed = MalformedSummary;

    const OPTION_TYPE: u8 = option_type::FLOW_SUMMARY;

    fn parse(data: &'a [u8]) -> Result<Self, MalformedSummary> {
        Ids::parse(data).map(|flows| Self { flows }).ok_or(MalformedSummary)
    }
}

impl sealed::Emit for FlowSummary<'_> {
    fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.align(2, 0)?;
        writer.put(&[option_type::FLOW_SUMMARY])?;
        self.flows.emit(writer)
    }
}
