//! How sessions end, by the way their mobile nodes authenticate.

use hearth_wire::eap::EapType;

use crate::counters::{Counter, Counters};

/// How a mobile node authenticates, as far as a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// It has not said yet.
    #[default]
    None,
    /// MHAuth with a pre-shared key (RFC 6618 s.5.8).
    Psk,
    /// MHAuth with EAP (RFC 6618 s.5.9), whose method is not chosen yet.
    Eap,
    /// EAP-GPSK, here.
    EapGpsk,
    /// EAP-TLS, here.
    EapTls,
    /// EAP, at an AAA server.
    Radius,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Psk, Self::Eap, Self::EapGpsk, Self::EapTls, Self::Radius];

    /// As operators see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Psk => "psk",
            Self::Eap => "eap",
            Self::EapGpsk => "eap-gpsk",
            Self::EapTls => "eap-tls",
            Self::Radius => "radius",
        }
    }

    /// That of an EAP type which runs here.
    #[must_use]
    pub fn local(eap_type: EapType) -> Self {
        match eap_type {
            EapType::GPSK => Self::EapGpsk,
            EapType::TLS => Self::EapTls,
            _ => Self::Eap,
        }
    }
}

/// How a session ends.
pub const ENDS: [Counter; 8] = [
    Counter::Issued,
    Counter::BadRequest,
    Counter::Unauthorized,
    Counter::InternalServerError,
    Counter::NotImplemented,
    Counter::ServiceUnavailable,
    Counter::GatewayTimeout,
    Counter::LeftAfterChallenge,
];

/// Counters for each method; any thread may count.
#[derive(Debug, Default)]
pub struct ByMethod([Counters; Method::ALL.len()]);

impl ByMethod {
    /// A session ended so.
    pub fn count(&self, method: Method, end: Counter) {
        if let Some(counters) = self.0.get(method as usize) {
            counters.count(end);
        }
    }

    /// How often sessions ended so.
    #[must_use]
    pub fn get(&self, method: Method, end: Counter) -> u64 {
        self.0.get(method as usize).map_or(0, |counters| counters.get(end))
    }
}
