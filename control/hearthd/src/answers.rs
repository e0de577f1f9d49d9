//! Rows for the API.

use std::time::SystemTime;

use hearth_api::status::{StatusRow, TrafficRow};
use hearth_api::{CounterRow, DropRow, PortRow, WorkerRow};
use hearth_dataplane::{Snapshot, Total};
use hearth_dpdk::Offloads;
use hearth_wire::frame::PType;

use crate::control::{Control, Parts};
use crate::drops::{Stop, drop_reasons};
use crate::load;
use crate::metrics::UNREGISTERED;
use crate::persist::Persist;
use crate::server::Question;

impl Control {
    /// Answers questions, up to one that takes long; whether there may be more.
    pub(crate) fn answer_some(&mut self) -> bool {
        while let Ok(question) = self.parts.questions.try_recv() {
            let is_page = matches!(
                question,
                Question::Bindings(..) | Question::Sas(..) | Question::Routes(..)
            );
            self.answer(question);
            if is_page {
                return true;
            }
        }
        false
    }

    /// Answers a question; a client that has gone is no error.
    fn answer(&mut self, question: Question) {
        match question {
            Question::Status(to) => drop(to.send(self.status())),
            Question::Bindings(from, to) => drop(to.send(self.bindings(from))),
            Question::Sas(from, to) => drop(to.send(self.sas(from))),
            Question::Routes(from, to) => drop(to.send(self.route_rows(from))),
            Question::Neighbours(to) => drop(to.send(self.neighbour_rows())),
            Question::Ports(to) => drop(to.send(self.ports())),
            Question::Workers(to) => drop(to.send(self.workers())),
            Question::Drops(to) => drop(to.send(self.drops())),
            Question::Metrics(to) => drop(to.send(self.metrics())),
            Question::Counters(to) => drop(to.send(self.counters())),
            Question::Groups(to) => drop(to.send(self.groups())),
            Question::HomeLinks(to) => drop(to.send(self.home_links())),
            Question::HomeAgents(to) => drop(to.send(self.home_agents())),
            Question::Events(to) => drop(to.send(self.chronicle.listen())),
            Question::MobileNode(mn_id, to) => drop(to.send(self.mobile_node(&mn_id))),
            Question::Operate(request, peer, to) => drop(to.send(self.operate(&request, &peer))),
            Question::Trace(request, peer, to) => self.begin_trace(request, &peer, to),
            Question::Capture(request, peer, to) => self.begin_capture(request, &peer, to),
        }
    }

    fn status(&self) -> StatusRow {
        let Parts { config, home_agent, pool, counters, .. } = &self.parts;
        let snapshot = counters.snapshot();
        let traffic = |total: Total| TrafficRow { packets: total.packets, octets: total.octets };
        let time_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        StatusRow {
            version: env!("CARGO_PKG_VERSION").into(),
            home_agent: config.home_agent.name.value.clone(),
            time_ms: u64::try_from(time_ms.as_millis()).unwrap_or(u64::MAX),
            uptime: self.started.elapsed().as_secs(),
            bindings: home_agent.binding_count() as u64,
            bindings_max: config.tables.max_bindings.value.into(),
            sas: home_agent.sa_count() as u64,
            routes: self.routes.as_ref().map_or(0, |routes| routes.count),
            mbufs_in_use: pool.in_use().into(),
            mbufs_available: pool.available().into(),
            draining: home_agent.is_draining(),
            uplink: traffic(snapshot.uplink),
            downlink: traffic(snapshot.downlink),
            forwarded: traffic(snapshot.forwarded),
            signalling_in: snapshot.signalling_in,
            signalling_out: snapshot.signalling_out,
            dropped: self.drops().iter().map(|row| row.packets).sum(),
            alarms: self.alarms_now(),
        }
    }

    /// What is wrong now.
    fn alarms_now(&self) -> Vec<String> {
        let workers = 0..self.parts.config.workers.len();
        let stuck = workers.filter(|worker| self.watchdog.stuck(*worker).is_some());
        let stuck = stuck.map(|worker| format!("worker {worker} is stuck: it takes no turns"));
        stuck.chain(self.alarms.now().map(str::to_owned)).collect()
    }

    pub(crate) fn ports(&self) -> Vec<PortRow> {
        let snapshot = self.parts.counters.snapshot();
        let Parts { config, macs, offloads, .. } = &self.parts;
        let ports = config.ports.iter().zip(macs).zip(offloads).zip(&snapshot.ports);
        ports
            .map(|(((port, mac), offloads), totals)| PortRow {
                name: port.name.value.clone(),
                device: port.device.value.clone(),
                mac: mac.map(|octet| format!("{octet:02x}")).join(":"),
                mtu: port.mtu.value,
                checksum_offload: checksum_offload(*offloads).into(),
                rx_packets: totals.rx.packets,
                rx_octets: totals.rx.octets,
                tx_packets: totals.tx.packets,
                tx_octets: totals.tx.octets,
                tx_checksums: totals.tx_checksums,
            })
            .collect()
    }

    pub(crate) fn workers(&self) -> Vec<WorkerRow> {
        let counters = &self.parts.counters;
        let (cycles, snapshot) = (counters.cycles(), counters.snapshot());
        let device = self.parts.config.crypto.as_ref();
        let crypto = device.map_or_else(|| "cpu".into(), |crypto| crypto.device.value.clone());
        let cores = self.parts.config.workers.iter().map(|worker| worker.core.value);
        cores
            .zip(&snapshot.workers)
            .enumerate()
            .map(|(worker, (core, totals))| {
                let now = self.loads.last_second(worker, cycles, totals);
                let ever = load::since_start(cycles, totals);
                WorkerRow {
                    worker,
                    core,
                    utilisation: now.utilisation,
                    utilisation_since_start: ever.utilisation,
                    cycles_per_packet: now.cycles_per_packet,
                    cycles_per_packet_since_start: ever.cycles_per_packet,
                    stuck_ms: self
                        .watchdog
                        .stuck(worker)
                        .map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
                    busy_turns: totals.busy_turns,
                    idle_turns: totals.idle_turns,
                    rx_packets: totals.rx_packets,
                    handed_over: totals.handed_over,
                    lent: totals.lent,
                    assisted: totals.assisted,
                    crypto: crypto.clone(),
                    device_packets: totals.device_packets,
                }
            })
            .collect()
    }

    /// Every place where a packet can stop: the workers, the control thread, the home agent.
    pub(crate) fn drops(&self) -> Vec<DropRow> {
        let snapshot = self.parts.counters.snapshot();
        let counters = self.parts.home_agent.counters();
        drop_reasons()
            .map(|(stop, row)| DropRow {
                packets: match stop {
                    Stop::Worker(reason) => snapshot.dropped(reason),
                    Stop::HostQueue => self.host_queue_full,
                    Stop::NeighbourQueue => self.neighbours.crowded_out(),
                    Stop::Signalling(refusal) => counters.refused(refusal),
                },
                ..row
            })
            .collect()
    }
}

impl Control {
    /// What is counted and is no drop: by the workers, and by the control thread.
    pub(crate) fn counters(&self) -> Vec<CounterRow> {
        let mut rows = counter_rows(&self.parts.counters.snapshot());
        rows.push(CounterRow {
            counter: "sa_records_refused".into(),
            count: self.sa_records_refused,
            description: "SA records of the HAC that were refused; the log says which and why."
                .into(),
        });
        rows.push(CounterRow {
            counter: "spi_ranges_refused".into(),
            count: self.spi_ranges_refused,
            description: "Times that a HAC said it deals out SPIs that are another HAC's.".into(),
        });
        let Persist { withheld, failed, .. } = self.parts.persist;
        let state = [
            ("state_write_failed", failed, "Turns while the disk did not take what had changed."),
            ("state_withheld", withheld, "Answers not sent, as the disk did not take their cause."),
        ];
        rows.extend(state.map(|(counter, count, description)| CounterRow {
            counter: counter.into(),
            count,
            description: description.into(),
        }));
        rows.push(CounterRow {
            counter: "routes".into(),
            count: self.routes.as_ref().map_or(0, |routes| routes.count),
            description: "Routes of the kernel that are in use now.".into(),
        });
        rows.extend(self.message_counters());
        rows.extend(self.link_counters());
        rows
    }

    /// Messages that the home agent sends of its own accord.
    fn message_counters(&self) -> impl Iterator<Item = CounterRow> + use<> {
        let counters = self.parts.home_agent.counters();
        let operations = *counters.operations();
        let rows = [
            ("binding_errors", counters.binding_errors(), "Binding Errors sent."),
            ("refresh_requests", counters.refresh_requests(), "Binding Refresh Requests sent."),
            ("revocations", operations.revocations, "Binding Revocation Indications sent."),
            ("home_agent_switches", operations.switches, "Home Agent Switch messages sent."),
            ("heartbeats", operations.heartbeats, "Heartbeat requests sent."),
            ("heartbeats_answered", operations.heartbeats_answered, "Heartbeat responses sent."),
            ("group_queries", operations.group_queries, "Questions sent to multicast listeners."),
        ];
        rows.into_iter().map(|(counter, count, description)| CounterRow {
            counter: counter.into(),
            count,
            description: description.into(),
        })
    }
}

/// What workers count that is no drop.
fn counter_rows(snapshot: &Snapshot) -> Vec<CounterRow> {
    let row = |counter: &str, count, description: &str| CounterRow {
        counter: counter.into(),
        count,
        description: description.into(),
    };
    let flows = [
        ("uplink", snapshot.uplink, "out of tunnels"),
        ("uplink_plain", snapshot.uplink_plain, "out of tunnels as PType 0"),
        ("downlink", snapshot.downlink, "into tunnels"),
        ("downlink_plain", snapshot.downlink_plain, "into tunnels as PType 0"),
        ("forwarded", snapshot.forwarded, "routed, out of tunnels or between ports"),
        ("to_host", snapshot.to_host, "given to the kernel"),
        ("from_host", snapshot.from_host, "taken from the kernel"),
    ];
    let flows = flows.into_iter().flat_map(|(name, total, which)| {
        [
            row(&format!("{name}_packets"), total.packets, &format!("Packets {which}.")),
            row(&format!("{name}_octets"), total.octets, &format!("Octets of packets {which}.")),
        ]
    });
    let others = [
        ("signalling_in", snapshot.signalling_in, "PType 8 packets that passed all checks."),
        ("signalling_out", snapshot.signalling_out, "PType 8 packets sent."),
        ("unresolved", snapshot.unresolved, "Packets that waited for a neighbour's MAC address."),
        (
            "neighbour_answers",
            snapshot.neighbour_answers,
            "ARP and neighbour discovery answered for bound home addresses.",
        ),
    ];
    let all = others.into_iter().chain(snapshot.sizes.all());
    let ptypes = snapshot.unregistered_ptypes.iter().zip(0..);
    let ptypes = ptypes.filter(|(_, ptype)| PType::from_bits(*ptype).is_none());
    let ptypes = ptypes.map(|(count, ptype)| {
        let meaning = format!("Packets dropped as ptype_unregistered whose PType was {ptype}.");
        row(&format!("{UNREGISTERED}{ptype}"), *count, &meaning)
    });
    let all = all.map(|(name, count, meaning)| row(name, count, meaning));
    flows.chain(all).chain(ptypes).collect()
}

/// The checksums that are left to a device.
const fn checksum_offload(offloads: Offloads) -> &'static str {
    match (offloads.rx_udp_checksum, offloads.fills_in_checksums()) {
        (true, true) => "rx tx",
        (true, false) => "rx",
        (false, true) => "tx",
        (false, false) => "none",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_port_says_which_checksums_are_left_to_it() {
        let none = Offloads::default();
        let rx = Offloads { rx_udp_checksum: true, ..none };
        // Without the header's under IPv4 nothing is asked for.
        let half = Offloads { tx_udp_checksum: true, ..none };
        let tx = Offloads { tx_ip_checksum: true, ..half };
        let both = Offloads { rx_udp_checksum: true, ..tx };
        let all = [none, rx, half, tx, both].map(checksum_offload);
        assert_eq!(all, ["none", "rx", "none", "tx", "rx tx"]);
    }

    #[test]
    fn every_counter_has_a_name_of_its_own_and_a_sentence() {
        let counters = hearth_dataplane::SizeTotals::default();
        let names: HashSet<_> = counters.all().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), counters.all().count());
        assert!(counters.all().all(|(_, _, meaning)| meaning.ends_with('.')));
    }
}
