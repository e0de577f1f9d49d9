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
    /// Connections at a time from one IPv4 /24 or IPv6 /56.
    pub connections_per_site: usize,
    /// TLS handshakes a second of one IPv4 address or IPv6 /64; a /24 or /56 has four times as many.
    pub handshakes_per_source: u32,
    /// TLS handshakes a second of all together.
    pub handshakes_per_second: Option<u32>,
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
    let rate = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let per_source = &raw.connections_per_source;
    let per_site = &raw.connections_per_site;
    let handshakes = &raw.handshakes_per_source;
    let overall = match &raw.handshakes_per_second {
        Some(_) => {
            Some(rate(value(&raw.handshakes_per_second, "handshakes_per_second", 1, 1_000_000)?))
        }
        None => None,
    };
    Ok(Limits {
        connections: count(value(&raw.connections, "connections", 4096, 1_000_000)?),
        connections_per_source: count(value(per_source, "connections_per_source", 64, 1_000_000)?),
        connections_per_site: count(value(per_site, "connections_per_site", 256, 1_000_000)?),
        handshakes_per_source: rate(value(handshakes, "handshakes_per_source", 200, 1_000_000)?),
        handshakes_per_second: overall,
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
