//! The metrics that Prometheus scrapes, under names that begin with `hearth_hac_`.
//!
//! Everything is counted or known anyway; how much of the pools is leased is read from the store, beside
//! its writer.

use std::sync::Arc;

use axum::http::StatusCode;
use hearth_api::metrics::{Labels, Sheet};

use crate::admin::leases;
use crate::cert;
use crate::connection::Shared;
use crate::counters::Counter;
use crate::listener::Admission;
use crate::methods::{ENDS, Method};
use crate::radius::counters::{Counter as RadiusCounter, Counters as RadiusCounters};
use crate::radius::health::Standing;

/// Everything at one instant.
///
/// # Errors
/// 503: too much waits for the store.
pub(crate) async fn sheet(
    shared: Arc<Shared>,
    admission: Arc<Admission>,
) -> Result<Sheet, StatusCode> {
    let mut sheet = Sheet::default();
    let version = label("version", env!("CARGO_PKG_VERSION"));
    sheet.gauges(
        "hearth_hac_build_info",
        "Version of hearth-hac, the value is 1",
        [(version, 1.0)],
    );
    let help = "Lines that the log lost because nobody took them in time";
    sheet.counter("hearth_hac_log_lines_lost", help, hearth_log::lost());
    sessions(&mut sheet, &shared);
    let open = admission.open() as f64;
    sheet.gauge("hearth_hac_connections_open", "Connections that are open now", open);
    let most = shared.limits.get().connections as f64;
    sheet.gauge("hearth_hac_connections_max", "Connections that there is room for", most);
    certificates(&mut sheet, &shared);
    radius(&mut sheet, &shared);
    directory(&mut sheet, &shared).await?;
    Ok(sheet)
}

fn label(name: &'static str, value: impl ToString) -> Labels {
    vec![(name, value.to_string())]
}

fn sessions(sheet: &mut Sheet, shared: &Shared) {
    let ends = Method::ALL.into_iter().flat_map(|method| {
        ENDS.into_iter().map(move |end| {
            let labels =
                vec![("method", method.name().to_owned()), ("outcome", end.name().to_owned())];
            (labels, shared.by_method.get(method, end))
        })
    });
    let help = "Sessions that were answered or left, by way of authentication and outcome";
    sheet.counters("hearth_hac_sessions", help, ends);
    let others = Counter::ALL.into_iter().filter(|counter| !ENDS.contains(counter));
    let others =
        others.map(|counter| (label("event", counter.name()), shared.counters.get(counter)));
    let help =
        "What `hearth show hac` explains, by name: what happens before a session is answered";
    sheet.counters("hearth_hac_events", help, others);
}

/// A certificate that runs out turns every mobile node away at once: whoever is on call wants to know before.
fn certificates(sheet: &mut Sheet, shared: &Shared) {
    let identities = shared.handshakes.server().identities();
    let ends = identities.iter().filter_map(|identity| {
        let name = identity.names().first().map_or_else(String::new, Clone::clone);
        Some((label("name", name), cert::not_after(identity.certificate())? as f64))
    });
    let help = "When a certificate of the HAC ends, in unix seconds";
    sheet.gauges("hearth_hac_certificate_end_seconds", help, ends);
}

async fn directory(sheet: &mut Sheet, shared: &Arc<Shared>) -> Result<(), StatusCode> {
    let realm = shared.realm.get();
    let subscribers = realm.subscribers.len() as f64;
    sheet.gauge("hearth_hac_subscribers", "Subscribers, from all sources", subscribers);
    let loads = shared.directory.loads().await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let (mut alive, mut sas, mut room) = (Vec::new(), Vec::new(), Vec::new());
    for (agent, load) in realm.home_agents.iter().zip(loads) {
        let labels = || label("home_agent", &agent.name);
        alive.push((labels(), f64::from(u8::from(load.alive))));
        sas.push((labels(), f64::from(load.sas)));
        room.push((labels(), f64::from(agent.room())));
    }
    let help = "Whether a home agent watches the directory of this HAC (1) or not (0)";
    sheet.gauges("hearth_hac_home_agent_alive", help, alive);
    sheet.gauges("hearth_hac_sas", "Valid SAs that this HAC issued, by home agent", sas);
    sheet.gauges("hearth_hac_sas_max", "SAs that this HAC may have issued at a time", room);
    let counts = leases::counts(shared.clone()).await;
    let counts = counts.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let leased = counts.iter().map(|count| (label("kind", count.kind.name()), count.leased as f64));
    sheet.gauges("hearth_hac_leased", "What of the pools is taken, by kind", leased);
    let pool = counts.iter().map(|count| (label("kind", count.kind.name()), count.pool as f64));
    sheet.gauges("hearth_hac_pool", "What the pools of this HAC hold, by kind", pool);
    Ok(())
}

/// The rows of one AAA or accounting server.
struct Asked {
    labels: Labels,
    counters: Arc<RadiusCounters>,
    standing: Standing,
}

fn radius(sheet: &mut Sheet, shared: &Shared) {
    let asked = |role: &'static str| {
        move |((address, counters), standing): ((std::net::SocketAddr, _), _)| {
            let labels = vec![("server", address.to_string()), ("role", role.to_owned())];
            Asked { labels, counters, standing }
        }
    };
    let mut servers: Vec<Asked> = Vec::new();
    if let Some(client) = &shared.radius {
        servers.extend(client.counters().zip(client.standings()).map(asked("authentication")));
    }
    if let Some(accounting) = &shared.accounting {
        servers.extend(accounting.counters().zip(accounting.standings()).map(asked("accounting")));
        let sessions = accounting.sessions() as f64;
        sheet.gauge("hearth_hac_accounting_sessions", "SAs that are accounted for", sessions);
        let waiting = accounting.waiting() as f64;
        let help = "Accounting records that no server has taken yet";
        sheet.gauge("hearth_hac_accounting_waiting", help, waiting);
        let help = "Accounting records dropped because too many waited";
        sheet.counter("hearth_hac_accounting_lost", help, accounting.lost());
    }
    let alive = servers.iter().map(|server| {
        (server.labels.clone(), f64::from(u8::from(server.standing != Standing::Dead)))
    });
    let help = "Whether a RADIUS server is asked (1), or dead (0)";
    sheet.gauges("hearth_hac_radius_alive", help, alive);
    let events = servers.iter().flat_map(|server| {
        RadiusCounter::ALL.into_iter().map(|counter| {
            let mut labels = server.labels.clone();
            labels.push(("event", counter.name().to_owned()));
            (labels, server.counters.get(counter))
        })
    });
    let help = "What happened with a RADIUS server, by the names of `hearth show hac`";
    sheet.counters("hearth_hac_radius_events", help, events);
    let round_trips =
        servers.iter().map(|server| (server.labels.clone(), server.counters.round_trips.clone()));
    let help = "Seconds from a RADIUS request's first transmission to its answer";
    sheet.histograms("hearth_hac_radius_round_trip_seconds", help, round_trips);
}
