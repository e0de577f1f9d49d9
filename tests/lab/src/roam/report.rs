//! What came of it.

use std::fmt;

use serde::Serialize;

/// The whole report. `ok` stands first, for who reads no further.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether the connection outlived everything, undamaged, and every event ended.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// Octets of the connection that arrived at the mobile node.
    pub octets_down: u64,
    /// Octets that arrived from it.
    pub octets_up: u64,
    /// Time between two probes.
    pub probe_period_ms: f64,
    /// Answers that came twice.
    pub duplicates: usize,
    /// What happened.
    pub events: Vec<EventReport>,
    /// Which path was in use when.
    pub timeline: Vec<Span>,
    /// How fast the connection was.
    pub throughput: Vec<Speed>,
}

/// One event.
#[derive(Debug, Clone, Serialize)]
pub struct EventReport {
    /// What happened.
    pub name: String,
    /// When it began, in seconds from the start.
    pub at_s: f64,
    /// When data flowed again both ways.
    pub until_s: f64,
    /// The path before.
    pub from: String,
    /// The path after.
    pub to: String,
    /// The longest silence between two answers to the probes.
    pub gap_ms: f64,
    /// Probes that were never answered.
    pub packets_lost: usize,
    /// Probes sent meanwhile.
    pub packets_sent: usize,
    /// From the node's notice to its new binding, where it moved.
    pub registration_ms: Option<f64>,
}

/// A time on one path: `ipv6`, `ipv4`, `ipv4 nat`, `home` or `none`.
#[derive(Debug, Clone, Serialize)]
pub struct Span {
    /// The path.
    pub path: String,
    /// From when.
    pub from_s: f64,
    /// Until when.
    pub until_s: f64,
}

/// The connection's throughput.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Speed {
    /// When.
    pub at_s: f64,
    /// To the mobile node, in Mbit/s.
    pub down_mbit: f64,
    /// From it.
    pub up_mbit: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (event, number) in self.events.iter().zip(1..) {
            writeln!(
                f,
                "  {number:>2}  {:<44} {:>8} -> {:<8} gap {:>6.0} ms, {:>4} of {:>4} lost",
                event.name,
                event.from,
                event.to,
                event.gap_ms,
                event.packets_lost,
                event.packets_sent
            )?;
        }
        let (down, up) = (self.octets_down, self.octets_up);
        match &self.error {
            None => writeln!(f, "ok: one connection, {down} octets down and {up} up, intact"),
            Some(error) => writeln!(f, "FAILED: {error}"),
        }
    }
}
