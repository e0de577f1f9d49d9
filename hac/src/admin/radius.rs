//! What `hearth show hac` says of AAA and accounting servers.

use std::net::SocketAddr;
use std::sync::Arc;

use hearth_api::CounterRow;
use hearth_api::hac::RadiusRow;

use crate::connection::Shared;
use crate::radius::counters::{Counter, Counters};
use crate::radius::health::Standing;

/// A row for each server.
pub(super) fn servers(shared: &Shared) -> Vec<RadiusRow> {
    let of = |role: &'static str| {
        move |((address, _), standing): ((SocketAddr, Arc<Counters>), Standing)| RadiusRow {
            server: address.to_string(),
            role: role.into(),
            state: match standing {
                Standing::Alive => "alive",
                Standing::Suspect => "suspect",
                Standing::Dead => "dead",
            }
            .into(),
        }
    };
    let mut rows = Vec::new();
    if let Some(client) = &shared.radius {
        rows.extend(client.counters().zip(client.standings()).map(of("authentication")));
    }
    if let Some(accounting) = &shared.accounting {
        rows.extend(accounting.counters().zip(accounting.standings()).map(of("accounting")));
    }
    rows
}

/// A row for each counter of each server.
pub(super) fn rows(shared: &Shared) -> Vec<CounterRow> {
    let mut rows = Vec::new();
    if let Some(client) = &shared.radius {
        of_servers(&mut rows, client.counters().zip(client.standings()));
    }
    if let Some(accounting) = &shared.accounting {
        of_servers(&mut rows, accounting.counters().zip(accounting.standings()));
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        rows.extend([
            row("accounting_sessions", count(accounting.sessions()), "SAs accounted for now"),
            row(
                "accounting_waiting",
                count(accounting.waiting()),
                "accounting records that no server has taken yet",
            ),
            row(
                "accounting_lost",
                accounting.lost(),
                "accounting records dropped because too many waited",
            ),
        ]);
    }
    rows
}

fn of_servers(
    rows: &mut Vec<CounterRow>,
    servers: impl Iterator<Item = ((SocketAddr, Arc<Counters>), Standing)>,
) {
    for ((address, counters), standing) in servers {
        let name = |name: &str| format!("radius {address} {name}");
        let is_dead = u64::from(standing == Standing::Dead);
        rows.push(row(&name("is_dead"), is_dead, "1: dead now, and not asked"));
        rows.extend(Counter::ALL.into_iter().map(|counter| {
            row(&name(counter.name()), counters.get(counter), counter.description())
        }));
    }
}

fn row(counter: &str, count: u64, description: &str) -> CounterRow {
    CounterRow { counter: counter.to_owned(), count, description: description.to_owned() }
}
