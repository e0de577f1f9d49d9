//! The YAML of packet sizes and ICMP errors.

use core::fmt;

use hearth_config::{ConfigError, Document, Location, Spanned};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::Config;

/// What tunnels carry.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tunnel {
    /// Largest outer packet in octets of IP. Default: the smallest MTU of the ports.
    pub path_mtu: Option<Spanned<u16>>,
    /// Seconds for which a smaller path MTU is believed that an ICMP error told, and after which
    /// the old one is tried again (RFC 8201 s.4). Default: 600.
    pub path_mtu_lifetime: Spanned<u32>,
    /// Lower the MSS of TCP connections inside tunnels to what they carry whole. Default: off;
    /// path MTU discovery does without.
    pub mss_clamp: bool,
    /// DSCP of outer packets that carry data: `copy` for that of the inner packet, or 0 to 63.
    /// Signalling has CS6, and ECN is the inner packet's in any case. Default: `copy`.
    #[schemars(schema_with = "dscp_schema")]
    pub dscp: Dscp,
    /// Outer packets of which one worker keeps fragments at a time. Default: 256.
    pub reassembly: Spanned<u32>,
    /// Seconds that a fragment waits for the others. Default: 2.
    pub reassembly_timeout: Spanned<u32>,
}

impl Default for Tunnel {
    fn default() -> Self {
        let at = Location::UNKNOWN;
        Self {
            path_mtu: None,
            path_mtu_lifetime: Spanned::new(600, at, at),
            mss_clamp: false,
            dscp: Dscp::Copy,
            reassembly: Spanned::new(256, at, at),
            reassembly_timeout: Spanned::new(2, at, at),
        }
    }
}

/// Where outer packets get their DSCP from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dscp {
    /// From the inner packet.
    Copy,
    /// All have this one, 0 to 63.
    Pinned(u8),
}

impl Dscp {
    /// The one that all have.
    #[must_use]
    pub const fn pinned(self) -> Option<u8> {
        match self {
            Self::Copy => None,
            Self::Pinned(dscp) => Some(dscp),
        }
    }
}

impl<'de> Deserialize<'de> for Dscp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DscpVisitor)
    }
}

fn dscp_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "oneOf": [
            { "const": "copy" },
            { "type": "integer", "minimum": 0, "maximum": 63 },
        ],
        "default": "copy",
    })
}

struct DscpVisitor;

impl Visitor<'_> for DscpVisitor {
    type Value = Dscp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("copy, or a DSCP from 0 to 63 (46 is EF),")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Dscp, E> {
        match text {
            "copy" => Ok(Dscp::Copy),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Dscp, E> {
        match u8::try_from(number) {
            Ok(dscp @ 0..64) => Ok(Dscp::Pinned(dscp)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Dscp, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

/// ICMP errors that the home agent sends (RFC 4443 s.2.4 (f)).
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Icmp {
    /// Errors that a worker sends in a second at most; 0 for none at all, which breaks path MTU
    /// discovery through the tunnels. Default: 1000.
    pub errors_per_second: Spanned<u32>,
    /// Errors to one address in a second at most, and in a burst. Default: 10.
    pub errors_per_peer: Spanned<u32>,
}

impl Default for Icmp {
    fn default() -> Self {
        let at = Location::UNKNOWN;
        Self {
            errors_per_second: Spanned::new(1000, at, at),
            errors_per_peer: Spanned::new(10, at, at),
        }
    }
}

/// Checks both sections.
pub(crate) fn check(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let (tunnel, icmp) = (&config.tunnel, &config.icmp);
    let ranges = [
        (&tunnel.path_mtu_lifetime, "tunnel.path_mtu_lifetime", 300, 86_400, " seconds"),
        (&tunnel.reassembly, "tunnel.reassembly", 1, 65_536, ""),
        (&tunnel.reassembly_timeout, "tunnel.reassembly_timeout", 1, 60, " seconds"),
        (&icmp.errors_per_second, "icmp.errors_per_second", 0, 1_000_000, ""),
        (&icmp.errors_per_peer, "icmp.errors_per_peer", 0, 1_000_000, ""),
    ];
    for (value, key, least, most, unit) in ranges {
        if !(least..=most).contains(&value.value) {
            let message = format!("{} is out of range; {least} to {most}{unit}", value.value);
            return Err(document.error(value.referenced, key, message));
        }
    }
    let smallest = config.ports.iter().map(|port| port.mtu.value).min().unwrap_or(1500);
    match &tunnel.path_mtu {
        Some(mtu) if !(1280..=smallest).contains(&mtu.value) => {
            let message = format!(
                "{} is out of range; 1280 to {smallest}, the smallest MTU of the ports",
                mtu.value
            );
            Err(document.error(mtu.referenced, "tunnel.path_mtu", message))
        }
        _ => Ok(()),
    }
}
