//! `hearth show leases`, and how many there are.

use axum::Json;
use axum::extract::State;
use hearth_api::hac::{LeaseCount, LeaseRow, LeasesRequest};
use hearth_api::server::Refused;
use hearth_wire::MobileNodeId;
use ipnet::IpNet;
use tracing::error;

use super::Desk;
use crate::config::Realm;
use crate::connection::Shared;
use crate::directory::{Family, Lease, Wanted};

/// Rows of a page at most.
const MOST_ROWS: usize = 1000;

pub(super) async fn leases(
    State(desk): State<Desk>,
    Json(request): Json<LeasesRequest>,
) -> Result<Json<Vec<LeaseRow>>, Refused> {
    let wanted = wanted(request)?;
    let page =
        off(desk.shared, move |shared, realm| shared.directory.leases(realm, &wanted)).await?;
    let rows = page.into_iter().map(|lease| {
        let Lease { family, prefix, mn_id, home_agent, ends, sas } = lease;
        LeaseRow {
            kind: family.kind(),
            lease: prefix.to_string(),
            mn_id: mn_id.into(),
            home_agent: home_agent.into(),
            ends,
            sas: sas as u64,
        }
    });
    Ok(Json(rows.collect()))
}

fn wanted(request: LeasesRequest) -> Result<Wanted, Refused> {
    let LeasesRequest { mn_id, prefix, after, count } = request;
    let mn_id = mn_id.map(|mn_id| MobileNodeId::new(&mn_id)).transpose();
    let mn_id = mn_id.map_err(|error| Refused::Request(error.to_string()))?;
    let within = prefix.as_deref().map(prefix_of).transpose()?;
    let after = match after {
        None => None,
        Some(after) => {
            let family = Family::ALL.into_iter().find(|family| family.kind() == after.kind);
            family.zip(Some(prefix_of(&after.lease)?.network()))
        }
    };
    Ok(Wanted { mn_id, within, after, count: count.min(MOST_ROWS) })
}

fn prefix_of(text: &str) -> Result<IpNet, Refused> {
    let prefix =
        text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()));
    prefix.map_err(|_| Refused::Request(format!("{text} is neither a prefix nor an address")))
}

/// Leases of each kind that there are pools or leases of.
pub(crate) async fn counts(shared: std::sync::Arc<Shared>) -> Result<Vec<LeaseCount>, Refused> {
    off(shared, |shared, realm| {
        let counts = shared.directory.lease_counts(realm)?.into_iter().map(|(family, leased)| {
            let pools = realm.home_agents.iter().map(|agent| family.room(&agent.pools));
            let pool = pools.fold(0, u128::saturating_add);
            let pool = u64::try_from(pool).unwrap_or(u64::MAX);
            LeaseCount { kind: family.kind(), leased, pool }
        });
        Ok(counts.filter(|count| count.leased > 0 || count.pool > 0).collect())
    })
    .await
}

/// Reads the store where that may take its time.
pub(super) async fn off<T: Send + 'static>(
    shared: std::sync::Arc<Shared>,
    read: impl FnOnce(&Shared, &Realm) -> Result<T, redb::Error> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(move || read(&shared, &shared.realm.get())).await;
    match done {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            error!(%error, "the store can't be read");
            Err(Refused::Fault("the store can't be read; the log says why".into()))
        }
        Err(_) => Err(Refused::Fault("the request was given up".into())),
    }
}
