//! Judges what one client, and all of them together, may take.

use std::time::Duration;

use hearth_config::{ConfigError, Document, Spanned};

use super::check::in_range;
use super::raw::Root;

/// What one client, and all of them together, may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sessions at a time.
    pub connections: usize,
    /// Connections at a time from one IPv4 address or IPv6 /64.
    pub connections_per_source: usize,
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest wait for one request.
    pub request_timeout: Duration,
    /// Longest session.
    pub session_timeout: Duration,
    /// What a 503 asks the mobile node to wait, in seconds.
    pub retry_after: u64,
}

pub(super) fn check(file: &Document<Root>) -> Result<Limits, ConfigError> {
    let raw = &file.value.limits;
    let value = |given: &Option<Spanned<u64>>, name: &str, default: u64, max: u64| match given {
        Some(given) => in_range(file, given, &format!("limits.{name}"), 1..=max),
        None => Ok(default),
    };
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let per_source = &raw.connections_per_source;
    Ok(Limits {
        connections: count(value(&raw.connections, "connections", 4096, 1_000_000)?),
        connections_per_source: count(value(per_source, "connections_per_source", 64, 1_000_000)?),
        handshake_timeout: Duration::from_secs(value(
            &raw.handshake_timeout,
            "handshake_timeout",
            10,
            3600,
        )?),
        request_timeout: Duration::from_secs(value(
            &raw.request_timeout,
            "request_timeout",
            10,
            3600,
        )?),
        session_timeout: Duration::from_secs(value(
            &raw.session_timeout,
            "session_timeout",
            30,
            3600,
        )?),
        retry_after: value(&raw.retry_after, "retry_after", 30, 86_400)?,
    })
}
