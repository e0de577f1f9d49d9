//! What `hearth top` knows: two looks at the daemon, and the rates between them.

use std::collections::{HashMap, VecDeque};

use hearth_api::status::{StatusRow, TrafficRow};
use hearth_api::{BindingRow, DropRow, ListRequest, PortRow, WorkerRow, paths};
use serde::Serialize;

use crate::client::{Daemon, Error};

/// Looks whose throughput is remembered: two minutes of seconds.
const REMEMBERED: usize = 120;

/// Bindings that are asked for: more than a screen has lines.
const BINDINGS: usize = 200;

/// What the daemon said at one time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Look {
    pub(super) status: StatusRow,
    pub(super) workers: Vec<WorkerRow>,
    pub(super) ports: Vec<PortRow>,
    pub(super) drops: Vec<DropRow>,
    /// Some bindings, those that were searched for, by mn-id.
    pub(super) bindings: Vec<BindingRow>,
}

impl Look {
    /// Asks the daemon.
    pub(super) fn take(daemon: &Daemon, search: &str) -> Result<Self, Error> {
        let request = ListRequest { search: search.to_owned(), count: Some(BINDINGS) };
        let mut bindings: Vec<BindingRow> = daemon.list(paths::BINDINGS, &request)?;
        bindings.sort_by(|one, other| one.mn_id.cmp(&other.mn_id));
        Ok(Self {
            status: daemon.get(paths::STATUS)?,
            workers: daemon.get(paths::WORKERS)?,
            ports: daemon.get(paths::PORTS)?,
            drops: daemon.get(paths::DROPS)?,
            bindings,
        })
    }
}

/// Packets and bits of a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Rate {
    pub(super) packets: f64,
    pub(super) bits: f64,
}

impl Rate {
    fn between(before: TrafficRow, now: TrafficRow, seconds: f64) -> Self {
        Self {
            packets: per_second(before.packets, now.packets, seconds),
            bits: per_second(before.octets, now.octets, seconds) * 8.0,
        }
    }
}

fn per_second(before: u64, now: u64, seconds: f64) -> f64 {
    now.saturating_sub(before) as f64 / seconds
}

/// What happened between two looks, as of a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) uplink: Rate,
    pub(super) downlink: Rate,
    pub(super) forwarded: Rate,
    pub(super) signalling_in: f64,
    pub(super) dropped: f64,
    /// Drop reasons that grow, the fastest first.
    pub(super) drops: Vec<(String, f64)>,
    /// Of each port, in the order of the daemon's: received, sent.
    pub(super) ports: Vec<(Rate, Rate)>,
}

impl Rates {
    fn between(before: &Look, now: &Look) -> Self {
        let millis = now.status.time_ms.saturating_sub(before.status.time_ms).max(1);
        let seconds = millis as f64 / 1000.0;
        let (old, new) = (&before.status, &now.status);
        let known: HashMap<&str, u64> =
            before.drops.iter().map(|row| (row.reason.as_str(), row.packets)).collect();
        let mut drops: Vec<_> = now
            .drops
            .iter()
            .map(|row| {
                let had = known.get(row.reason.as_str()).copied().unwrap_or(0);
                (row.reason.clone(), per_second(had, row.packets, seconds))
            })
            .filter(|(_, rate)| *rate > 0.0)
            .collect();
        drops.sort_by(|one, other| other.1.total_cmp(&one.1));
        let ports = before.ports.iter().zip(&now.ports).map(|(old, new)| {
            let traffic = |packets, octets| TrafficRow { packets, octets };
            let rx = |row: &PortRow| traffic(row.rx_packets, row.rx_octets);
            let tx = |row: &PortRow| traffic(row.tx_packets, row.tx_octets);
            (Rate::between(rx(old), rx(new), seconds), Rate::between(tx(old), tx(new), seconds))
        });
        Self {
            uplink: Rate::between(old.uplink, new.uplink, seconds),
            downlink: Rate::between(old.downlink, new.downlink, seconds),
            forwarded: Rate::between(old.forwarded, new.forwarded, seconds),
            signalling_in: per_second(old.signalling_in, new.signalling_in, seconds),
            dropped: per_second(old.dropped, new.dropped, seconds),
            drops,
            ports: ports.collect(),
        }
    }
}

/// All that is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) last: Option<Look>,
    pub(super) rates: Rates,
    /// Bits of a second out of and into tunnels, the latest last.
    pub(super) uplink: VecDeque<u64>,
    pub(super) downlink: VecDeque<u64>,
    /// Why the daemon can't be asked.
    pub(super) trouble: Option<String>,
}

impl Model {
    /// Takes what the daemon said, or why it did not.
    pub(super) fn take(&mut self, look: Result<Look, Error>) {
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                self.trouble = Some(error.to_string());
                return;
            }
        };
        self.trouble = None;
        // A daemon that was started again counts from 0.
        let before = self.last.take().filter(|last| last.status.uptime <= look.status.uptime);
        self.rates = match &before {
            Some(before) => Rates::between(before, &look),
            None => Rates::default(),
        };
        if before.is_some() {
            remember(&mut self.uplink, self.rates.uplink.bits);
            remember(&mut self.downlink, self.rates.downlink.bits);
        }
        self.last = Some(look);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a height of a bar")]
fn remember(history: &mut VecDeque<u64>, bits: f64) {
    history.push_back(bits as u64);
    if history.len() > REMEMBERED {
        history.pop_front();
    }
}
