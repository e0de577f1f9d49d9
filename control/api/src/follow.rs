//! Trace and capture: what is asked for, and the lines of a trace.
//!
//! `POST` of a [`TraceRequest`] answers with a stream of [`TraceLine`]s, one JSON object per line;
//! `POST` of a [`CaptureRequest`] with a pcapng file. Either ends when it has what it was asked
//! for, at its time limit, or when the client closes the connection.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest time limit in seconds: a day.
pub const MAX_SECONDS: u32 = 86_400;

/// Most packets that a trace follows.
pub const MAX_TRACE_PACKETS: u32 = 1_000_000;

/// Which packets are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Every packet.
    All,
    /// Envelopes under this SPI, and packets from and to the home addresses of its SA.
    Spi(u32),
    /// The same for all SAs of a mobile node.
    MnId(String),
    /// Packets from and to these addresses, outer or inner; where they are home addresses, also
    /// the envelopes under their SAs.
    Address(Prefix),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all packets"),
            Self::Spi(spi) => write!(f, "SPI {spi}"),
            Self::MnId(mn_id) => write!(f, "mn-id {mn_id}"),
            Self::Address(prefix) => write!(f, "address {prefix}"),
        }
    }
}

/// An address, or a prefix of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// An address in it.
    pub address: IpAddr,
    /// Its length; 32 or 128 for one address.
    pub length: u8,
}

impl Prefix {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let same = |a: u128, b: u128, bits: u32| {
            let behind = bits.saturating_sub(self.length.into());
            (a ^ b).checked_shr(behind).unwrap_or(0) == 0
        };
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        if self.length == whole {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

/// Why a text is no [`Prefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPrefix;

impl fmt::Display for NoPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give an address, or an address and a prefix length as in 2001:db8::/32")
    }
}

impl std::error::Error for NoPrefix {}

impl FromStr for Prefix {
    type Err = NoPrefix;

    fn from_str(text: &str) -> Result<Self, NoPrefix> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoPrefix)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => {
                length.parse().ok().filter(|length| *length <= whole).ok_or(NoPrefix)?
            }
            None => whole,
        };
        Ok(Self { address, length })
    }
}

/// Asks for a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// Of which packets.
    pub target: Target,
    /// Of how many; 1 to [`MAX_TRACE_PACKETS`].
    pub packets: u32,
    /// Time limit, 1 to [`MAX_SECONDS`].
    pub seconds: u32,
}

/// A line of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceLine {
    /// The first line, as soon as packets are followed.
    Begin(TraceBegin),
    /// A packet at a stage.
    Step(TraceStep),
    /// The last line.
    End(TraceEnd),
}

/// What is followed, as of now: it changes when the mobile node has another SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceBegin {
    /// What was asked for.
    pub target: Target,
    /// Envelopes under these SPIs.
    pub spis: Vec<u32>,
    /// Packets from and to these, outside or inside of tunnels.
    pub prefixes: Vec<Prefix>,
}

/// A packet at a stage of a worker, and what became of it there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceStep {
    /// Number of the packet in this trace, from 1.
    pub packet: u32,
    /// Microseconds since its first step.
    pub microseconds: f64,
    /// The worker.
    pub worker: usize,
    /// `rx`, `reassembled`, `from_control`, `tunnel_in`, `settle`, `forward`, `tunnel_out`, `egress` or `tx`.
    pub stage: String,
    /// Name of the port, where the stage has one.
    pub port: Option<String>,
    /// Source of the first IP header.
    pub source: Option<IpAddr>,
    /// Its destination.
    pub destination: Option<IpAddr>,
    /// Its protocol or first Next Header.
    pub protocol: u8,
    /// Octets of the packet from there on.
    pub length: u16,
    /// The envelope's header, where it is one.
    pub envelope: Option<TraceEnvelope>,
    /// What became of it.
    pub verdict: TraceVerdict,
}

/// The header of an envelope (RFC 6618 s.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEnvelope {
    /// Packet type.
    pub ptype: u8,
    /// Security Parameter Index.
    pub spi: u32,
    /// Sequence number.
    pub sequence: u32,
}

/// What became of a packet at a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceVerdict {
    /// It went on to this stage.
    Next(String),
    /// It went on to this worker, which owns its SA.
    HandedOver(usize),
    /// It is out at this worker for its crypto, and comes back.
    Lent(usize),
    /// It waits for its next hop's MAC address.
    ToResolve,
    /// It waits for its SA, which the HAC is asked for.
    AwaitsSa,
    /// It was split into so many fragments, which go on under its number.
    Fragmented(usize),
    /// A fragment, which waits for the others; the whole packet has a number of its own.
    AwaitsFragments,
    /// An ICMP error about a packet of the home agent's, which the worker itself acts on.
    Heeded,
    /// The port took it.
    Sent,
    /// It went to the kernel behind the port's TAP.
    ToKernel,
    /// It went to the home agent.
    ToHomeAgent,
    /// It stopped for this reason, as in the list of drops.
    Dropped(String),
    /// It was still there when the trace ended.
    UnderWay,
}

/// How a trace ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEnd {
    /// Why.
    pub why: EndReason,
    /// Packets that were followed.
    pub packets: u32,
    /// Of those, how many had not come to their end.
    pub unfinished: u32,
    /// Steps that are missing because the control thread did not keep up.
    pub lost: u64,
}

/// Why a trace ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// All packets that were asked for have been followed to their end.
    Complete,
    /// The time limit.
    TimeLimit,
    /// The daemon ends.
    Stopped,
}

/// Where packets are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Frames as ports receive and send them: on the home side, what tunnels contain in the clear.
    /// The daemon logs who asked.
    Wire,
    /// Envelopes before decryption and after encryption.
    Protected,
    /// Their contents in the clear. The daemon logs who asked.
    Decrypted,
}

impl Stage {
    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Protected => "protected",
            Self::Decrypted => "decrypted",
        }
    }
}

/// Asks for a capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRequest {
    /// Where; one or more. Decrypted traffic is copied only where it is named.
    pub stages: Vec<Stage>,
    /// Of which packets.
    pub target: Target,
    /// Of how many; no limit without.
    pub packets: Option<u64>,
    /// Time limit, 1 to [`MAX_SECONDS`].
    pub seconds: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_addresses_with_or_without_a_length() {
        for (text, contained, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.0/24", "192.0.2.9", "192.0.3.9"),
            ("0.0.0.0/0", "8.8.8.8", "::8"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("2001:db8::/32", "2001:db8:1::2", "2001:db9::"),
            ("::/0", "ff02::1", "192.0.2.1"),
        ] {
            let prefix: Prefix = text.parse().unwrap();
            assert_eq!(prefix.to_string(), text);
            assert!(prefix.contains(contained.parse().unwrap()), "{contained} in {text}");
            assert!(!prefix.contains(outside.parse().unwrap()), "{outside} in {text}");
        }
        for text in ["", "host", "192.0.2.0/33", "::/129", "::/", "1.2.3.4/-1", "::1/64/64"] {
            assert_eq!(text.parse::<Prefix>(), Err(NoPrefix), "{text}");
        }
    }

    #[test]
    fn lines_name_what_they_are() {
        let end = TraceEnd { why: EndReason::TimeLimit, packets: 1, unfinished: 0, lost: 0 };
        let text = serde_json::to_string(&TraceLine::End(end)).unwrap();
        let expected = r#"{"end":{"why":"time_limit","packets":1,"unfinished":0,"lost":0}}"#;
        assert_eq!(text, expected);
        let verdict = serde_json::to_string(&TraceVerdict::Dropped("replayed".into())).unwrap();
        assert_eq!(verdict, r#"{"dropped":"replayed"}"#);
        let target = Target::Address("2001:db8::/32".parse().unwrap());
        let text = serde_json::to_string(&target).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&text).unwrap(), target);
    }
}
