//! What happened to connections and sessions.

use hearth_wire::hac::message::StatusCode;

use crate::tally::{Counted, Tally};

/// A counter, named as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// TCP connections accepted.
    Connections,
    /// Connections closed at once: their source had too many, or there were too many in all.
    ConnectionsRefused,
    /// Connections closed at once: their source, or all together, shake hands too often.
    HandshakesRefused,
    /// TLS handshakes that failed or took too long.
    HandshakesFailed,
    /// Sessions that ended without a request, or with half of one, in time.
    TimedOut,
    /// Sessions whose mobile node went away after the challenge.
    LeftAfterChallenge,
    /// SAs issued (status 200).
    Issued,
    /// Status 400.
    BadRequest,
    /// Status 401.
    Unauthorized,
    /// Answers with status 401 that were held back: their mn-id has failed often.
    Delayed,
    /// Status 500.
    InternalServerError,
    /// Status 501.
    NotImplemented,
    /// Status 503.
    ServiceUnavailable,
    /// Status 504.
    GatewayTimeout,
    /// Warnings about connections that were not logged: there were too many in a short time.
    WarningsSuppressed,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Connections,
        Self::ConnectionsRefused,
        Self::HandshakesRefused,
        Self::HandshakesFailed,
        Self::TimedOut,
        Self::LeftAfterChallenge,
        Self::Issued,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Delayed,
        Self::InternalServerError,
        Self::NotImplemented,
        Self::ServiceUnavailable,
        Self::GatewayTimeout,
        Self::WarningsSuppressed,
    ];

    /// As operators see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// What it counts.
    #[must_use]
    pub const fn description(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Connections => ("connections", "TCP connections accepted"),
            Self::ConnectionsRefused => {
                ("connections_refused", "connections closed at once: too many")
            }
            Self::HandshakesRefused => {
                ("handshakes_refused", "connections closed at once: too many handshakes a second")
            }
            Self::HandshakesFailed => {
                ("handshakes_failed", "TLS handshakes that failed or took too long")
            }
            Self::TimedOut => ("timed_out", "sessions whose request did not come in time"),
            Self::LeftAfterChallenge => (
                "left_after_challenge",
                "sessions whose mobile node went away unanswered: its key may be another",
            ),
            Self::Issued => ("issued", "SAs issued (status 200)"),
            Self::BadRequest => ("bad_request", "sessions refused as malformed (400)"),
            Self::Unauthorized => ("unauthorized", "sessions not authenticated (401)"),
            Self::Delayed => ("delayed", "answers (401) held back: their mn-id has failed often"),
            Self::InternalServerError => {
                ("internal_server_error", "sessions that met a fault of this server (500)")
            }
            Self::NotImplemented => {
                ("not_implemented", "sessions that asked for what is not offered (501)")
            }
            Self::ServiceUnavailable => {
                ("service_unavailable", "sessions asked to come back later (503)")
            }
            Self::GatewayTimeout => {
                ("gateway_timeout", "sessions whose AAA server was silent (504)")
            }
            Self::WarningsSuppressed => {
                ("warnings_suppressed", "warnings not logged: too many in a short time")
            }
        }
    }

    /// The counter of sessions that ended with this status code. 100 never ends one.
    #[must_use]
    pub const fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::Ok | StatusCode::Continue => Self::Issued,
            StatusCode::BadRequest => Self::BadRequest,
            StatusCode::Unauthorized => Self::Unauthorized,
            StatusCode::InternalServerError => Self::InternalServerError,
            StatusCode::NotImplemented => Self::NotImplemented,
            StatusCode::ServiceUnavailable => Self::ServiceUnavailable,
            StatusCode::GatewayTimeout => Self::GatewayTimeout,
        }
    }
}

/// All counters; any thread may count.
pub type Counters = Tally<Counter>;

impl Counted for Counter {
    const EVERY: &'static [Self] = &Self::ALL;

    fn place(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        Self::name(self)
    }
}
