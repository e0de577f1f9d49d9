//! What happens, as it happens: `GET` of [`paths::EVENTS`](crate::paths::EVENTS) answers with
//! server-sent events, `data` of each an [`EventRow`] in JSON.
//!
//! A listener that reads too slowly loses events; then one of the name `lost` says how many, as a
//! [`LostRow`]. A listener hears what happens from then on; what has happened to a mobile node before
//! is in its [`MobileNodeRow`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{BindingRow, SaRow};

/// Events of one mobile node that are kept.
pub const KEPT_EVENTS: usize = 32;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Number since the daemon's start, from 1.
    pub number: u64,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    /// The mobile node, where it is about one and hearthd still knows which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mn_id: Option<String>,
    /// Its IPv6 home address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_address: Option<Ipv6Addr>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened: `event` is its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A binding was made.
    Registered {
        /// Where packets for the home addresses are tunnelled to.
        care_of_address: IpAddr,
        /// UDP port at it, as the home agent sees it.
        care_of_port: u16,
        /// Granted lifetime, in seconds.
        lifetime: u32,
    },
    /// A binding moved to another care-of address or port.
    HandedOver {
        /// The care-of address before.
        old_care_of_address: IpAddr,
        /// The port before.
        old_care_of_port: u16,
        /// The care-of address now.
        care_of_address: IpAddr,
        /// The port now.
        care_of_port: u16,
        /// Granted lifetime, in seconds.
        lifetime: u32,
    },
    /// A binding ended.
    BindingEnded {
        /// `deregistered` by the mobile node, `expired`, or `sa_ended`: with its SA.
        why: String,
    },
    /// One of several care-of addresses is gone (RFC 5648).
    CareOfEnded {
        /// Its Binding ID.
        bid: u16,
    },
    /// The home agent has revoked a binding or a part of it (RFC 5846).
    Revoked,
    /// The mobile node does not answer Heartbeats (RFC 5847).
    Unreachable,
    /// The mobile node says that it was restarted.
    Restarted,
    /// A Binding Update was refused.
    Refused {
        /// Why, as the `status` of the Binding Acknowledgement or in words.
        why: String,
    },
    /// The HAC has issued an SA, and it is installed.
    SaProvisioned {
        /// Its SPI.
        spi: u32,
        /// Its ciphersuite.
        suite: String,
    },
    /// An SA ended.
    SaEnded {
        /// Its SPI.
        spi: u32,
        /// `validity`, `revoked`, `superseded` or `too_many`.
        why: String,
    },
    /// An alarm: somebody should look.
    Alarm {
        /// What of, in words.
        text: String,
    },
    /// What an alarm was about is over.
    AlarmEnded {
        /// What, in words.
        text: String,
    },
}

impl What {
    /// A binding that was made.
    #[must_use]
    pub const fn registered(care_of: SocketAddr, lifetime: u32) -> Self {
        let (care_of_address, care_of_port) = (care_of.ip(), care_of.port());
        Self::Registered { care_of_address, care_of_port, lifetime }
    }

    /// A binding that moved.
    #[must_use]
    pub const fn handed_over(from: SocketAddr, to: SocketAddr, lifetime: u32) -> Self {
        Self::HandedOver {
            old_care_of_address: from.ip(),
            old_care_of_port: from.port(),
            care_of_address: to.ip(),
            care_of_port: to.port(),
            lifetime,
        }
    }
}

/// A listener was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRow {
    /// So many events did not reach it.
    pub events: u64,
}

/// The life of one mobile node, as far as it is remembered: `GET` of
/// [`paths::MOBILE_NODES`](crate::paths::MOBILE_NODES) and its mn-id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MobileNodeRow {
    /// Who it is.
    pub mn_id: String,
    /// Its bindings.
    pub bindings: Vec<BindingRow>,
    /// Its SAs.
    pub sas: Vec<SaRow>,
    /// Handovers that are remembered with it, since the daemon's start at most.
    pub handovers: u64,
    /// Binding Updates refused, as far.
    pub refused: u64,
    /// Its last [`KEPT_EVENTS`] events, oldest first.
    pub events: Vec<EventRow>,
}
