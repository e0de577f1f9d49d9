//! What happened to connections and sessions.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hearth_wire::hac::message::StatusCode;

/// A counter, named as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// TCP connections accepted.
    Connections,
    /// Connections closed at once: their source had too many, or there were too many in all.
    ConnectionsRefused,
    /// TLS handshakes that failed or took too long.
    HandshakesFailed,
    /// Sessions that ended without a request, or with half of one, in time.
    TimedOut,
    /// SAs issued (status 200).
    Issued,
    /// Status 400.
    BadRequest,
    /// Status 401.
    Unauthorized,
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
    pub const ALL: [Self; 12] = [
        Self::Connections,
        Self::ConnectionsRefused,
        Self::HandshakesFailed,
        Self::TimedOut,
        Self::Issued,
        Self::BadRequest,
        Self::Unauthorized,
        Self::InternalServerError,
        Self::NotImplemented,
        Self::ServiceUnavailable,
        Self::GatewayTimeout,
        Self::WarningsSuppressed,
    ];

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
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Counters {
    /// Adds one.
    pub fn count(&self, counter: Counter) {
        if let Some(value) = self.0.get(counter as usize) {
            value.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).map_or(0, |value| value.load(Ordering::Relaxed))
    }
}

/// `Name=value` for each counter.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{counter:?}={}", self.get(counter))?;
        }
        Ok(())
    }
}
