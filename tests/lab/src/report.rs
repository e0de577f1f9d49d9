//! What the demo measured: a table for people, JSON for programs.

use std::fmt;

use serde::Serialize;

use crate::capture::Findings;

/// The whole report. `ok` stands first, for who reads no further.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Whether every step did what it should.
    pub ok: bool,
    /// The step that failed, and why.
    pub failed_step: Option<String>,
    /// What went wrong in it.
    pub error: Option<String>,
    /// Seconds from the start of the demo to its end.
    pub seconds: f64,
    /// The MN-HAC exchange, as the mobile node timed it.
    pub bootstrap_ms: Option<f64>,
    /// From Binding Update to Binding Acknowledgement.
    pub bu_round_trip: RoundTrips,
    /// Pings of the correspondent from the home addresses.
    pub pings: Vec<Ping>,
    /// Each move.
    pub handovers: Vec<HandoverReport>,
    /// The TCP connection that outlived them.
    pub transfer: Option<TransferReport>,
    /// A host behind a mobile router that moved.
    pub mobile_router: Option<MobileRouterReport>,
    /// Flows that moved because a network died.
    pub flows: Vec<FlowReport>,
    /// Packets that hearthd dropped, by reason.
    pub drops: Vec<DropReport>,
    /// What tshark made of the access link.
    pub capture: Option<Findings>,
}

/// Binding Update round trips in milliseconds.
#[derive(Debug, Default, Serialize)]
pub struct RoundTrips {
    /// How many.
    pub count: usize,
    /// The shortest.
    pub min_ms: Option<f64>,
    /// The median.
    pub median_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
    /// The median at the access link: the home agent's own part.
    pub median_at_access_link_ms: Option<f64>,
}

impl RoundTrips {
    /// Sums up times in milliseconds.
    #[must_use]
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self {
            count: times.len(),
            min_ms: times.first().copied(),
            median_ms: times.get(times.len() / 2).copied(),
            max_ms: times.last().copied(),
            median_at_access_link_ms: None,
        }
    }
}

/// One ping.
#[derive(Debug, Serialize)]
pub struct Ping {
    /// From a home address.
    pub from: String,
    /// To the correspondent.
    pub to: String,
    /// Requests.
    pub sent: u32,
    /// Answers.
    pub answered: u32,
}

/// One move.
#[derive(Debug, Serialize)]
pub struct HandoverReport {
    /// Visited network that it left.
    pub from: String,
    /// Visited network that it came to.
    pub to: String,
    /// Longest silence between two answers to the probe stream.
    pub gap_ms: f64,
    /// Probes that were never answered.
    pub packets_lost: usize,
    /// Probes sent from the move to the first answer after it.
    pub packets_sent: usize,
    /// Time between two probes.
    pub probe_period_ms: f64,
    /// From the mobile node's notice of the move to its new binding.
    pub registration_ms: Option<f64>,
    /// Octets of the transfer that had arrived when the move began.
    pub transferred_before: u64,
}

/// The transfer.
#[derive(Debug, Serialize)]
pub struct TransferReport {
    /// Octets that arrived.
    pub octets: u64,
    /// How long it took.
    pub seconds: f64,
    /// Mean rate.
    pub mbit_per_second: f64,
    /// The limit that the sender kept to, so that the moves fell into the transfer.
    pub limit_mbit_per_second: f64,
    /// SHA-256 of what was sent.
    pub sha256_sent: String,
    /// SHA-256 of what arrived.
    pub sha256_received: String,
    /// Whether the two are the same.
    pub intact: bool,
}

/// What a host behind the mobile router saw of its move.
#[derive(Debug, Serialize)]
pub struct MobileRouterReport {
    /// The network behind it.
    pub prefix: String,
    /// Longest silence between two answers to the host's probes.
    pub gap_ms: f64,
    /// The host's probes that were never answered.
    pub packets_lost: usize,
    /// Octets of the host's TCP transfer, which went on.
    pub octets: u64,
    /// Whether they arrived as they were sent.
    pub intact: bool,
}

/// A flow that moved from a care-of address that died to the other one.
#[derive(Debug, Serialize)]
pub struct FlowReport {
    /// Visited network that died.
    pub from: String,
    /// Visited network that took the flow over.
    pub to: String,
    /// Longest silence between two answers to the flow's probes.
    pub gap_ms: f64,
    /// The flow's probes that were never answered.
    pub packets_lost: usize,
    /// Probes of the other flow that were never answered meanwhile.
    pub packets_lost_of_the_other: usize,
}

/// One drop reason.
#[derive(Debug, Serialize)]
pub struct DropReport {
    /// Its name.
    pub reason: String,
    /// How many packets.
    pub packets: u64,
}

impl Report {
    fn mobility(&self, mut row: impl FnMut(&str, String) -> fmt::Result) -> fmt::Result {
        if let Some(router) = &self.mobile_router {
            let MobileRouterReport { prefix, gap_ms, packets_lost, octets, intact } = router;
            let verdict = if *intact { "intact" } else { "DAMAGED" };
            let text = format!(
                "gap {gap_ms:.1} ms, {packets_lost} lost; {octets} octets to a host in {prefix} {verdict}"
            );
            row("mobile router moved", text)?;
        }
        for flow in &self.flows {
            let text = format!(
                "gap {:.1} ms, {} packets lost, {} of the other flow",
                flow.gap_ms, flow.packets_lost, flow.packets_lost_of_the_other
            );
            row(&format!("flow {} -> {}", flow.from, flow.to), text)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<28}{value}");
        row("bootstrap (TLS + PSK)", ms(self.bootstrap_ms))?;
        let trips = &self.bu_round_trip;
        let spread = format!(
            "{} median of {} ({} to {}; at the access link {})",
            ms(trips.median_ms),
            trips.count,
            ms(trips.min_ms),
            ms(trips.max_ms),
            ms(trips.median_at_access_link_ms)
        );
        row("BU round trip", spread)?;
        for ping in &self.pings {
            let Ping { from, to, sent, answered } = ping;
            row("ping", format!("{from} -> {to}: {answered} of {sent} answered"))?;
        }
        for h in &self.handovers {
            let text = format!(
                "gap {:.1} ms, {} of {} packets lost (one each {} ms), registered in {}",
                h.gap_ms,
                h.packets_lost,
                h.packets_sent,
                h.probe_period_ms,
                ms(h.registration_ms)
            );
            row(&format!("handover {} -> {}", h.from, h.to), text)?;
        }
        if let Some(t) = &self.transfer {
            let text = format!(
                "{} octets in {:.1} s, {:.0} Mbit/s (sender limited to {:.0})",
                t.octets, t.seconds, t.mbit_per_second, t.limit_mbit_per_second
            );
            row("TCP transfer", text)?;
            let verdict = if t.intact { "same at both ends" } else { "DIFFERENT" };
            row("SHA-256", format!("{verdict}: {}", t.sha256_received))?;
        }
        if let Some(c) = &self.capture {
            let text = format!(
                "{} TLS handshakes, {} PType 8, {} strangers, {} not TLS, {} in the clear",
                c.tls_handshakes,
                c.signalling,
                c.strangers.len(),
                c.not_tls.len(),
                c.cleartext.len()
            );
            row("access link", text)?;
        }
        self.mobility(&mut row)?;
        if self.drops.is_empty() {
            row("drops", "none".into())?;
        }
        for drop in &self.drops {
            row(&format!("drop {}", drop.reason), drop.packets.to_string())?;
        }
        match (&self.failed_step, &self.error) {
            (Some(step), Some(error)) => writeln!(f, "FAILED in \"{step}\": {error}"),
            _ => writeln!(f, "ok: {}, {:.1} s", self.ok, self.seconds),
        }
    }
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.1} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_report_names_the_step_in_both_forms() {
        let report = Report {
            failed_step: Some("register".into()),
            error: Some("nobody answered".into()),
            ..Report::default()
        };
        assert!(report.to_string().contains("FAILED in \"register\": nobody answered"));
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.starts_with(r#"{"ok":false,"failed_step":"register""#), "{json}");
    }

    #[test]
    fn round_trips_are_summed_up() {
        let trips = RoundTrips::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(
            (trips.min_ms, trips.median_ms, trips.max_ms),
            (Some(1.0), Some(2.0), Some(3.0))
        );
        assert_eq!(RoundTrips::of(vec![]).median_ms, None);
    }
}
