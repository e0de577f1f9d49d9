//! What happened between the HAC and one server (names after RFC 4668).

use hearth_api::metrics::Histogram;

use super::packet::ResponseError;
use crate::tally::{Counted, Tally};

/// A counter, named as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Requests, each counted once; Status-Server not included.
    Requests,
    /// Packets sent again because no answer came.
    Retransmissions,
    /// Requests given up without an answer.
    Timeouts,
    /// Status-Server sent.
    StatusServers,
    /// Valid answers to all of these.
    Responses,
    /// Access-Accept among them.
    AccessAccepts,
    /// Access-Reject among them.
    AccessRejects,
    /// Access-Challenge among them.
    AccessChallenges,
    /// Dropped: a length is wrong.
    MalformedResponses,
    /// Dropped: the code does not answer the request.
    UnknownTypes,
    /// Dropped: wrong Response Authenticator. Another secret, most likely.
    BadAuthenticators,
    /// Dropped: no Message-Authenticator.
    NoMessageAuthenticators,
    /// Dropped: wrong Message-Authenticator.
    BadMessageAuthenticators,
    /// Dropped: late, or a duplicate; nobody waits for it.
    Unexpected,
    /// Times that it died.
    Deaths,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Requests,
        Self::Retransmissions,
        Self::Timeouts,
        Self::StatusServers,
        Self::Responses,
        Self::AccessAccepts,
        Self::AccessRejects,
        Self::AccessChallenges,
        Self::MalformedResponses,
        Self::UnknownTypes,
        Self::BadAuthenticators,
        Self::NoMessageAuthenticators,
        Self::BadMessageAuthenticators,
        Self::Unexpected,
        Self::Deaths,
    ];

    /// As operators see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Retransmissions => "retransmissions",
            Self::Timeouts => "timeouts",
            Self::StatusServers => "status_servers",
            Self::Responses => "responses",
            Self::AccessAccepts => "access_accepts",
            Self::AccessRejects => "access_rejects",
            Self::AccessChallenges => "access_challenges",
            Self::MalformedResponses => "malformed_responses",
            Self::UnknownTypes => "unknown_types",
            Self::BadAuthenticators => "bad_authenticators",
            Self::NoMessageAuthenticators => "no_message_authenticators",
            Self::BadMessageAuthenticators => "bad_message_authenticators",
            Self::Unexpected => "unexpected",
            Self::Deaths => "deaths",
        }
    }

    /// What it means.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Requests => "requests, each counted once; Status-Server not included",
            Self::Retransmissions => "packets sent again because no answer came",
            Self::Timeouts => "requests given up without an answer",
            Self::StatusServers => "Status-Server sent",
            Self::Responses => "valid answers",
            Self::AccessAccepts => "Access-Accept",
            Self::AccessRejects => "Access-Reject",
            Self::AccessChallenges => "Access-Challenge",
            Self::MalformedResponses => "dropped: a length is wrong",
            Self::UnknownTypes => "dropped: the code does not answer the request",
            Self::BadAuthenticators => {
                "dropped: wrong Response Authenticator. Another secret, most likely"
            }
            Self::NoMessageAuthenticators => "dropped: no Message-Authenticator",
            Self::BadMessageAuthenticators => "dropped: wrong Message-Authenticator",
            Self::Unexpected => "dropped: late, or a duplicate; nobody waits for it",
            Self::Deaths => "times that it died",
        }
    }
}

impl From<ResponseError> for Counter {
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::Malformed => Self::MalformedResponses,
            ResponseError::Code => Self::UnknownTypes,
            ResponseError::Authenticator => Self::BadAuthenticators,
            ResponseError::NoMessageAuthenticator => Self::NoMessageAuthenticators,
            ResponseError::MessageAuthenticator => Self::BadMessageAuthenticators,
        }
    }
}

/// All counters of one server; any thread may count.
#[derive(Debug)]
pub struct Counters {
    tally: Tally<Counter>,
    /// Seconds from a request's first transmission to its answer.
    pub round_trips: Histogram,
}

/// Bounds of [`Counters::round_trips`] in seconds: a server in the same rack, a proxy's on another
/// continent, one that had to be asked again.
const ROUND_TRIPS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

impl Default for Counters {
    fn default() -> Self {
        Self { tally: Tally::default(), round_trips: Histogram::new(ROUND_TRIPS) }
    }
}

impl Counters {
    /// Adds one.
    pub fn count(&self, counter: Counter) {
        self.tally.count(counter);
    }

    /// The value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.tally.get(counter)
    }
}

impl Counted for Counter {
    const EVERY: &'static [Self] = &Self::ALL;

    fn place(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        Self::name(self)
    }
}
