//! What the HAC says of itself.

use clap::{Args, Subcommand};
use hearth_api::hac::{Revoke, Revoked, Status, paths};

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

/// `hearth hac`.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// End SAs: their home agents accept them no longer when this returns.
    ///
    /// Their mobile nodes can bootstrap anew as long as they subscribe.
    Revoke(RevokeArguments),
}

/// `hearth hac revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArguments {
    #[command(flatten)]
    which: Which,
    /// Yes, all of a realm.
    #[arg(long)]
    yes: bool,
    /// Print the daemon's JSON.
    #[arg(long)]
    json: bool,
}

/// Which SAs.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The one with this SPI.
    #[arg(long)]
    spi: Option<u32>,
    /// All of this mobile node.
    #[arg(long, value_name = "NAI")]
    mn_id: Option<String>,
    /// All of the mobile nodes of this realm.
    #[arg(long)]
    realm: Option<String>,
}

/// Does what the command line asks of the HAC.
///
/// # Errors
/// [`Error`].
pub fn run(hac: &Daemon, command: Command) -> Result<(), Error> {
    let Command::Revoke(RevokeArguments { which, yes, json }) = command;
    let request = match (which.spi, which.mn_id, which.realm) {
        (Some(spi), ..) => Revoke::Spi(spi),
        (None, Some(mn_id), _) => Revoke::MnId(mn_id),
        (None, None, realm) => {
            let realm = realm.unwrap_or_default();
            if !yes {
                return Err(Error::NotMeant(format!("all SAs of the realm {realm}")));
            }
            Revoke::Realm(realm)
        }
    };
    let answer: Revoked = hac.post(paths::REVOKE, &request)?;
    if json {
        client::print(&(serde_json::to_string_pretty(&answer)? + "\n"));
        return Ok(());
    }
    let text = match answer.revoked {
        0 => "there were no SAs\n".to_owned(),
        1 => "1 SA revoked\n".to_owned(),
        count => format!("{count} SAs revoked\n"),
    };
    client::print(&text);
    Ok(())
}
