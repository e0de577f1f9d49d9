//! What the fleet has seen: counts and latencies; `configs/fleet.yaml` explains the JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

use super::Plan;
use super::config::Kind;
use crate::tunnel::DropReason;

/// Counts by name.
pub(super) type Tally = BTreeMap<String, u64>;

/// Latencies: microseconds, three digits.
#[derive(Debug, Clone)]
pub(super) struct Latency(Option<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new(3).ok())
    }
}

impl Latency {
    pub(super) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(histogram) = &mut self.0 {
            // One that grows by itself takes any value.
            let _ = histogram.record(micros);
        }
    }

    fn merge(&mut self, other: &Self) {
        if let (Some(all), Some(other)) = (&mut self.0, &other.0) {
            let _ = all.add(other);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// In milliseconds; null where there is none.
    fn json(&self) -> Value {
        let Some(histogram) = self.0.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Value::Null;
        };
        let ms = |micros: u64| micros as f64 / 1e3;
        let quantile = |part: f64| ms(histogram.value_at_quantile(part));
        json!({
            "count": histogram.len(),
            "min": ms(histogram.min()),
            "mean": histogram.mean() / 1e3,
            "p50": quantile(0.5),
            "p90": quantile(0.9),
            "p99": quantile(0.99),
            "p999": quantile(0.999),
            "max": ms(histogram.max()),
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(histogram) = self.0.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return f.write_str("none");
        };
        let ms = |part: f64| histogram.value_at_quantile(part) as f64 / 1e3;
        let (p50, p99, max) = (ms(0.5), ms(0.99), histogram.max() as f64 / 1e3);
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}

/// What a fleet, or one shard of it, has seen.
#[derive(Debug, Default)]
pub struct Results {
    pub(super) bootstrapped: u64,
    pub(super) bootstraps_failed: Tally,
    pub(super) bootstrap: Latency,
    pub(super) registered_nodes: u64,
    pub(super) updates_sent: Tally,
    pub(super) updates_accepted: Tally,
    pub(super) updates_refused: Tally,
    pub(super) updates_given_up: u64,
    pub(super) troubles: Tally,
    pub(super) round_trip: Latency,
    pub(super) handovers_begun: u64,
    pub(super) handovers_given_up: u64,
    pub(super) handover: Latency,
    pub(super) gap: Latency,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) reordered: u64,
    pub(super) duplicated: u64,
    pub(super) late: u64,
    pub(super) foreign: u64,
    pub(super) packets_given_up: u64,
    pub(super) data_round_trip: Latency,
    pub(super) drops: Tally,
    run: Run,
}

/// The run as a whole.
#[derive(Debug, Default, Serialize)]
struct Run {
    nodes: u32,
    one_way: bool,
    has_traffic: bool,
    start_s: f64,
    load_s: f64,
    resident_octets: u64,
}

/// Counts one more.
pub(super) fn tell(tally: &mut Tally, name: &str) {
    match tally.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(tally.insert(name.to_owned(), 1)),
    }
}

fn add(tally: &mut Tally, other: &Tally) {
    for (name, count) in other {
        *tally.entry(name.clone()).or_default() += count;
    }
}

fn sum(tally: &Tally) -> u64 {
    tally.values().sum()
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl Results {
    pub(super) fn dropped(&mut self, reason: DropReason) {
        tell(&mut self.drops, reason.name());
    }

    /// Adds what another shard has seen.
    pub(super) fn merge(&mut self, other: &Self) {
        self.bootstrapped += other.bootstrapped;
        self.registered_nodes += other.registered_nodes;
        self.updates_given_up += other.updates_given_up;
        self.handovers_begun += other.handovers_begun;
        self.handovers_given_up += other.handovers_given_up;
        self.sent += other.sent;
        self.received += other.received;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.late += other.late;
        self.foreign += other.foreign;
        self.packets_given_up += other.packets_given_up;
        add(&mut self.bootstraps_failed, &other.bootstraps_failed);
        add(&mut self.updates_sent, &other.updates_sent);
        add(&mut self.updates_accepted, &other.updates_accepted);
        add(&mut self.updates_refused, &other.updates_refused);
        add(&mut self.troubles, &other.troubles);
        add(&mut self.drops, &other.drops);
        self.bootstrap.merge(&other.bootstrap);
        self.round_trip.merge(&other.round_trip);
        self.handover.merge(&other.handover);
        self.gap.merge(&other.gap);
        self.data_round_trip.merge(&other.data_round_trip);
    }

    /// What belongs to the run as a whole: how long its start took, when the load was over, and the
    /// resident memory then.
    pub(super) fn of_run(&mut self, plan: &Plan, start: Duration, end: Duration, resident: u64) {
        self.run = Run {
            nodes: plan.nodes,
            has_traffic: plan.traffic.is_some(),
            one_way: plan.traffic.is_some_and(|traffic| traffic.kind == Kind::OneWay),
            start_s: start.as_secs_f64(),
            load_s: end.saturating_sub(start).as_secs_f64().min(plan.duration.as_secs_f64()),
            resident_octets: resident,
        };
    }

    /// Whether every node was registered at least once.
    #[must_use]
    pub fn all_registered(&self) -> bool {
        self.registered_nodes == u64::from(self.run.nodes)
    }

    /// Packets that did not come back; `None` where none is to.
    fn lost(&self) -> Option<u64> {
        (!self.run.one_way).then(|| self.sent.saturating_sub(self.received + self.late))
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let Run { nodes, start_s, load_s, resident_octets, .. } = self.run;
        let traffic = self.run.has_traffic.then(|| {
            json!({
                "sent": self.sent,
                "sent_per_second": rate(self.sent, load_s),
                "received": self.received,
                "lost": self.lost(),
                "reordered": self.reordered,
                "duplicated": self.duplicated,
                "late": self.late,
                "foreign": self.foreign,
                "given_up": self.packets_given_up,
                "round_trip_ms": self.data_round_trip.json(),
            })
        });
        json!({
            "nodes": nodes,
            "registered_nodes": self.registered_nodes,
            "start_s": start_s,
            "load_s": load_s,
            "bootstraps": {
                "succeeded": self.bootstrapped,
                "failed": self.bootstraps_failed,
                "per_second": rate(self.registered_nodes, start_s),
                "duration_ms": self.bootstrap.json(),
            },
            "binding_updates": {
                "sent": self.updates_sent,
                "accepted": self.updates_accepted,
                "refused": self.updates_refused,
                "given_up": self.updates_given_up,
                "round_trip_ms": self.round_trip.json(),
            },
            "handovers": {
                "begun": self.handovers_begun,
                "completed": self.handover.count(),
                "given_up": self.handovers_given_up,
                "duration_ms": self.handover.json(),
                "gap_ms": self.gap.json(),
            },
            "traffic": traffic,
            "dropped": self.drops,
            "troubles": self.troubles,
            "memory": {
                "resident_octets": resident_octets,
                "resident_octets_per_node": resident_octets / u64::from(nodes.max(1)),
            },
        })
    }

    /// For a person.
    #[must_use]
    pub fn summary(&self) -> String {
        let Run { nodes, start_s, load_s, resident_octets, .. } = self.run;
        let mut text = String::new();
        let mut line = |arguments: fmt::Arguments<'_>| {
            let _infallible = writeln!(text, "{arguments}");
        };
        let registered = self.registered_nodes;
        line(format_args!(
            "nodes       {registered} of {nodes} registered within {start_s:.1} s ({:.1}/s)",
            rate(registered, start_s)
        ));
        line(format_args!(
            "bootstraps  {} done, {} failed; {}",
            self.bootstrapped,
            sum(&self.bootstraps_failed),
            self.bootstrap
        ));
        line(format_args!(
            "updates     {} sent, {} accepted, {} refused; {}",
            sum(&self.updates_sent),
            sum(&self.updates_accepted),
            sum(&self.updates_refused),
            self.round_trip
        ));
        line(format_args!(
            "handovers   {} begun, {} completed; {}; silence {}",
            self.handovers_begun,
            self.handover.count(),
            self.handover,
            self.gap
        ));
        if self.run.has_traffic {
            let lost = self.lost().map_or(String::new(), |lost| format!(" {lost} lost,"));
            line(format_args!(
                "traffic     {} sent ({:.0}/s), {} back,{lost} {} reordered, {} duplicated; {}",
                self.sent,
                rate(self.sent, load_s),
                self.received,
                self.reordered,
                self.duplicated,
                self.data_round_trip
            ));
        }
        let given_up = self.updates_given_up + self.handovers_given_up + self.packets_given_up;
        if given_up > 0 {
            line(format_args!(
                "too slow    {given_up} of the load was given up: this machine is too slow"
            ));
        }
        for (name, count) in self
            .bootstraps_failed
            .iter()
            .chain(&self.updates_refused)
            .chain(&self.troubles)
            .chain(&self.drops)
        {
            line(format_args!("  {count:>8}  {name}"));
        }
        let mib = resident_octets as f64 / f64::from(1 << 20);
        line(format_args!("memory      {mib:.1} MiB resident"));
        text
    }
}
