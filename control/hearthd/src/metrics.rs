//! The metrics that Prometheus scrapes: what the API's rows say, under names and labels.
//!
//! The control thread reads the workers' counters when it is asked; nothing happens on a packet's
//! path, and the text is made on the API's thread.

use hearth_api::metrics::{Labels, Sheet};
use hearth_dataplane::{Snapshot, Total, WorkerTotals};

use crate::control::Control;

/// Counter rows that are metrics of their own, or no counters.
const NOT_EVENTS: [&str; 3] = ["signalling_in", "signalling_out", "routes"];
/// Counter rows of unregistered PTypes: this, and the number.
pub(crate) const UNREGISTERED: &str = "ptype_unregistered_";
const FLOWS: [&str; 7] =
    ["uplink", "uplink_plain", "downlink", "downlink_plain", "forwarded", "to_host", "from_host"];

fn label(name: &'static str, value: impl ToString) -> Labels {
    vec![(name, value.to_string())]
}

impl Control {
    /// Everything that is counted, and how full everything is.
    pub(crate) fn metrics(&self) -> Sheet {
        let mut sheet = Sheet::default();
        let version = label("version", env!("CARGO_PKG_VERSION"));
        sheet.gauges("hearth_build_info", "Version of hearthd, the value is 1", [(version, 1.0)]);
        let snapshot = self.parts.counters.snapshot();
        tunnels(&mut sheet, &snapshot);
        self.port_metrics(&mut sheet);
        self.worker_metrics(&mut sheet, &snapshot.workers);
        self.home_agent_metrics(&mut sheet);
        let drops = self.drops().into_iter().map(|row| (label("reason", row.reason), row.packets));
        sheet.counters("hearth_drops", "Packets that stopped, by reason", drops);
        let events = self.counters().into_iter().filter(|row| is_event(&row.counter));
        let events = events.map(|row| (label("event", row.counter), row.count));
        let help = "Lines that the log lost because nobody took them in time";
        sheet.counter("hearth_log_lines_lost", help, hearth_log::lost());
        sheet.counters("hearth_events", "What `hearth show counters` explains, by name", events);
        sheet
    }

    fn port_metrics(&self, sheet: &mut Sheet) {
        let rows = self.ports();
        let both = |select: fn(&hearth_api::PortRow) -> [u64; 2]| {
            let of = |row: &hearth_api::PortRow| {
                let labels =
                    |way: &str| vec![("port", row.name.clone()), ("direction", way.to_owned())];
                let [rx, tx] = select(row);
                [(labels("rx"), rx), (labels("tx"), tx)]
            };
            rows.iter().flat_map(of).collect::<Vec<_>>()
        };
        let packets = both(|row| [row.rx_packets, row.tx_packets]);
        sheet.counters("hearth_port_packets", "Frames of a port", packets);
        let octets = both(|row| [row.rx_octets, row.tx_octets]);
        sheet.counters("hearth_port_octets", "Octets of a port's frames", octets);
        let checksums = rows.iter().map(|row| (label("port", &row.name), row.tx_checksums));
        let help = "Outer packets whose checksums the device filled in";
        sheet.counters("hearth_port_tx_checksums", help, checksums);
    }

    fn worker_metrics(&self, sheet: &mut Sheet, totals: &[WorkerTotals]) {
        let by_worker = |worker: usize| label("worker", worker);
        let count = |select: fn(&WorkerTotals) -> u64| {
            totals.iter().map(select).enumerate().map(|(at, n)| (by_worker(at), n))
        };
        let states = |busy: fn(&WorkerTotals) -> u64, idle: fn(&WorkerTotals) -> u64| {
            totals.iter().enumerate().flat_map(move |(at, totals)| {
                let labels =
                    |state: &str| vec![("worker", at.to_string()), ("state", state.to_owned())];
                [(labels("busy"), busy(totals)), (labels("idle"), idle(totals))]
            })
        };
        let turns = states(|it| it.busy_turns, |it| it.idle_turns);
        sheet.counters(
            "hearth_worker_turns",
            "Turns that found packets, and that found none",
            turns,
        );
        let cycles = states(|it| it.busy_cycles, |it| it.idle_cycles);
        let help =
            "Cycles of the time stamp counter in turns that found packets, and that found none";
        sheet.counters("hearth_worker_cycles", help, cycles);
        let help = "Packets that a worker took in";
        sheet.counters("hearth_worker_packets", help, count(|it| it.packets));
        let help = "Packets handed to the worker that owns their SA";
        sheet.counters("hearth_worker_handed_over", help, count(|it| it.handed_over));
        let help = "Packets whose cryptography another worker did";
        sheet.counters("hearth_worker_lent", help, count(|it| it.lent));
        let help = "Packets whose cryptography it did for another worker";
        sheet.counters("hearth_worker_assisted", help, count(|it| it.assisted));
        let help = "Packets that came out of the crypto device";
        sheet.counters("hearth_worker_device_packets", help, count(|it| it.device_packets));
        let rows = self.workers();
        let used = rows.iter().map(|row| (by_worker(row.worker), row.utilisation));
        let help = "Part of the last second in turns that found packets, 0 to 1";
        sheet.gauges("hearth_worker_utilisation", help, used);
        let stuck = rows.iter().map(|row| {
            let seconds = row.stuck_ms.map_or(0.0, |ms| ms as f64 / 1000.0);
            (by_worker(row.worker), seconds)
        });
        let help = "For how long a worker has taken no turn, 0 where it is not stuck";
        sheet.gauges("hearth_worker_stuck_seconds", help, stuck);
    }

    fn home_agent_metrics(&self, sheet: &mut Sheet) {
        let home_agent = &self.parts.home_agent;
        let tables = &self.parts.config.tables;
        let bindings = home_agent.binding_count() as f64;
        sheet.gauge("hearth_bindings", "Bindings", bindings);
        let most = f64::from(tables.max_bindings.value);
        sheet.gauge("hearth_bindings_max", "Bindings that there is room for", most);
        sheet.gauge("hearth_sas", "Security associations", home_agent.sa_count() as f64);
        let routes = self.routes.as_ref().map_or(0, |routes| routes.count);
        sheet.gauge("hearth_routes", "Routes of the kernel in use", routes as f64);
        let buffers =
            [("in_use", self.parts.pool.in_use()), ("available", self.parts.pool.available())];
        let buffers = buffers.map(|(state, count)| (label("state", state), f64::from(count)));
        sheet.gauges("hearth_mbufs", "Packet buffers, by state", buffers);
        let answers = home_agent.counters();
        let answers = answers.answers().map(|(status, count)| (label("status", status.0), count));
        let help = "Binding Acknowledgements sent, by status";
        sheet.counters("hearth_binding_acknowledgements", help, answers);
    }
}

/// Whether a counter row is not told by a metric of its own.
fn is_event(name: &str) -> bool {
    let flow = name.strip_suffix("_packets").or_else(|| name.strip_suffix("_octets"));
    let own = NOT_EVENTS.contains(&name) || name.starts_with(UNREGISTERED);
    !own && flow.is_none_or(|flow| !FLOWS.contains(&flow))
}

fn tunnels(sheet: &mut Sheet, snapshot: &Snapshot) {
    let tunnels = [
        ("uplink", snapshot.uplink, snapshot.uplink_plain),
        ("downlink", snapshot.downlink, snapshot.downlink_plain),
    ];
    let tunnels = |select: fn(Total) -> u64| {
        tunnels.into_iter().flat_map(move |(way, all, plain)| {
            let labels = |protection: &str| {
                vec![("direction", way.to_owned()), ("protection", protection.to_owned())]
            };
            let protected = select(all).saturating_sub(select(plain));
            [(labels("protected"), protected), (labels("none"), select(plain))]
        })
    };
    let help = "Inner packets out of tunnels (uplink) and into them (downlink)";
    sheet.counters("hearth_tunnel_packets", help, tunnels(|it| it.packets));
    let help = "Octets of inner packets out of tunnels and into them";
    sheet.counters("hearth_tunnel_octets", help, tunnels(|it| it.octets));
    let signalling = [("in", snapshot.signalling_in), ("out", snapshot.signalling_out)];
    let signalling = signalling.map(|(way, count)| (label("direction", way), count));
    let help = "PType 8 packets that passed all checks (in), and sent (out)";
    sheet.counters("hearth_signalling_packets", help, signalling);
    let Total { packets, octets } = snapshot.forwarded;
    sheet.counter("hearth_forwarded_packets", "Packets routed", packets);
    sheet.counter("hearth_forwarded_octets", "Octets of packets routed", octets);
    let host = [("to_host", snapshot.to_host), ("from_host", snapshot.from_host)];
    let host = |select: fn(Total) -> u64| {
        host.map(|(way, total)| (label("direction", way), select(total)))
    };
    let help = "Frames given to the kernel, and taken from it";
    sheet.counters("hearth_host_packets", help, host(|it| it.packets));
    sheet.counters("hearth_host_octets", "Octets of these frames", host(|it| it.octets));
    let ptypes = snapshot.unregistered_ptypes.iter().enumerate();
    let ptypes = ptypes.filter(|(_, count)| **count > 0);
    let ptypes = ptypes.map(|(ptype, count)| (label("ptype", ptype), *count));
    let help = "Packets dropped as ptype_unregistered, by PType, once there was one";
    sheet.counters("hearth_unregistered_ptypes", help, ptypes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_told_once() {
        for own in [
            "uplink_packets",
            "from_host_octets",
            "signalling_in",
            "routes",
            "ptype_unregistered_5",
        ] {
            assert!(!is_event(own), "{own}");
        }
        for event in ["revocations", "some_packets", "uplink"] {
            assert!(is_event(event), "{event}");
        }
    }
}
