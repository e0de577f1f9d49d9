//! What the HAC says of itself.

use hearth_api::hac::{Status, paths};

use crate::client::{self, Daemon, Error};
use crate::table::Table;

/// Shows what the HAC does and did; counters that are 0 too with `all`.
///
/// # Errors
/// [`Error`].
pub fn show(hac: &Daemon, json: bool, all: bool) -> Result<(), Error> {
    let mut status: Status = hac.get(paths::STATUS)?;
    status.counters.retain(|row| all || row.count > 0);
    if json {
        client::print(&(serde_json::to_string_pretty(&status)? + "\n"));
        return Ok(());
    }
    let Status { open_connections, subscribers, home_agents, counters } = &status;
    let home_agents = home_agents.join(", ");
    let table = Table::of(counters);
    client::print(&format!(
        "home agents       {home_agents}\nsubscribers       {subscribers}\n\
         open connections  {open_connections}\n\n{table}"
    ));
    Ok(())
}
