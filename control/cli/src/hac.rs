//! What the HAC says of itself.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use hearth_api::CounterRow;
use hearth_api::hac::{
    HomeAgentRow, LeaseCount, LeaseKey, LeaseRow, LeasesRequest, RadiusRow, Reloaded, Revoke,
    Revoked, Status, paths,
};

use hearth_api::keys::{ExportKeys, KeyFile};
use zeroize::Zeroizing;

use crate::client::{self, Daemon, Error};
use crate::completion;
use crate::new_file;
use crate::table::{Row, Table, date, or_dash};

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
    let Status { open_connections, subscribers, home_agents, leases, radius, counters } = &status;
    let (home_agents, leases) = (Table::of(home_agents), Table::of(leases));
    let radius = if radius.is_empty() { String::new() } else { format!("{}\n", Table::of(radius)) };
    let counters = match CounterRow::NONE.filter(|_| counters.is_empty()) {
        Some(words) => format!("{words}\n"),
        None => Table::of(counters).to_string(),
    };
    client::print(&format!(
        "subscribers       {subscribers}\nopen connections  {open_connections}\n\n\
         {home_agents}\n{leases}\n{radius}{counters}"
    ));
    Ok(())
}

impl Row for HomeAgentRow {
    const HEADS: &'static [&'static str] = &["HOME AGENT", "REGION", "ALIVE", "SAS", "ROOM"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            or_dash(self.region.as_ref()),
            if self.alive { "yes" } else { "no" }.into(),
            self.sas.to_string(),
            self.room.to_string(),
        ]
    }
}

impl Row for LeaseCount {
    const HEADS: &'static [&'static str] = &["LEASES", "LEASED", "POOLS HOLD"];

    fn cells(&self) -> Vec<String> {
        vec![self.kind.name().into(), self.leased.to_string(), self.pool.to_string()]
    }
}

impl Row for RadiusRow {
    const HEADS: &'static [&'static str] = &["RADIUS SERVER", "ROLE", "STATE"];

    fn cells(&self) -> Vec<String> {
        vec![self.server.clone(), self.role.clone(), self.state.clone()]
    }
}

impl Row for LeaseRow {
    const HEADS: &'static [&'static str] = &["KIND", "LEASE", "MN-ID", "HOME AGENT", "ENDS", "SAS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.kind.name().into(),
            self.lease.clone(),
            self.mn_id.clone(),
            self.home_agent.clone(),
            or_dash(self.ends.map(date)),
            self.sas.to_string(),
        ]
    }
}

/// Leases that are fetched at a time.
const PAGE: usize = 1000;

/// Shows leases: all, or those of one mobile node, or those that a prefix has addresses of.
///
/// # Errors
/// [`Error`].
pub fn leases(
    hac: &Daemon,
    json: bool,
    mn_id: Option<String>,
    prefix: Option<String>,
) -> Result<(), Error> {
    let mut request = LeasesRequest { mn_id, prefix, after: None, count: PAGE };
    let mut rows: Vec<LeaseRow> = Vec::new();
    loop {
        let page: Vec<LeaseRow> = hac.post(paths::LEASES, &request)?;
        let Some(last) = page.last() else { break };
        request.after = Some(LeaseKey { kind: last.kind, lease: last.lease.clone() });
        rows.extend(page);
    }
    if json {
        client::print(&(serde_json::to_string_pretty(&rows)? + "\n"));
    } else if rows.is_empty() {
        client::print("there are no such leases\n");
    } else {
        client::print(&Table::of(&rows).to_string());
    }
    Ok(())
}

/// `hearth hac`.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// End SAs: their home agents accept them no longer when this returns.
    ///
    /// Their mobile nodes can bootstrap anew as long as they subscribe.
    Revoke(RevokeArguments),
    /// Write the keys of SAs into a file, to read captures with hearth capture decrypt.
    ///
    /// The HAC gives them away only where admin.key_export in its YAML says so, and its log tells of
    /// each. Whoever has the file can read and forge what the mobile nodes send: delete it soon.
    ExportKeys(ExportArguments),
    /// Have the YAML read again, and every file that it names; open sessions go on.
    ///
    /// Where anything is wrong nothing changes. Some keys need a restart; they are named.
    Reload {
        /// Print the daemon's JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `hearth hac export-keys`.
#[derive(Debug, Clone, Args)]
pub struct ExportArguments {
    #[command(flatten)]
    which: Whose,
    /// The file, which only its owner may read; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

/// Whose keys.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Those of the SA with this SPI.
    #[arg(long, add = completion::spis())]
    spi: Option<u32>,
    /// Those of all SAs of this mobile node.
    #[arg(long, value_name = "NAI", add = completion::subscribers())]
    mn_id: Option<String>,
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
    #[arg(long, value_name = "NAI", add = completion::subscribers())]
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
    match command {
        Command::Revoke(arguments) => revoke(hac, arguments),
        Command::Reload { json } => reload(hac, json),
        Command::ExportKeys(arguments) => export_keys(hac, arguments),
    }
}

fn export_keys(hac: &Daemon, arguments: ExportArguments) -> Result<(), Error> {
    let ExportArguments { which, file, force } = arguments;
    let request = match (which.spi, which.mn_id) {
        (Some(spi), _) => ExportKeys::Spi(spi),
        (None, mn_id) => ExportKeys::MnId(mn_id.unwrap_or_default()),
    };
    new_file::check(&file, force)?;
    let keys: KeyFile = hac.post(paths::KEYS, &request)?;
    let mut json = Zeroizing::new(Vec::with_capacity(1024 * (1 + keys.sas.len())));
    serde_json::to_writer_pretty(&mut *json, &keys)?;
    json.push(b'\n');
    let mut out = new_file::open(&file, force)?;
    out.write_all(&json)
        .and_then(|()| out.flush())
        .map_err(|error| new_file::named(&file, &error))?;
    let count = keys.sas.len();
    eprintln!("the keys of {count} SA{}", if count == 1 { "" } else { "s" });
    Ok(())
}

fn reload(hac: &Daemon, json: bool) -> Result<(), Error> {
    let answer: Reloaded = hac.post(paths::RELOAD, &())?;
    if json {
        client::print(&(serde_json::to_string_pretty(&answer)? + "\n"));
        return Ok(());
    }
    client::print(&words_of(&answer));
    Ok(())
}

fn words_of(answer: &Reloaded) -> String {
    let Reloaded { applied, needs_restart, read_anew, left_out, left_out_count, .. } = answer;
    let Reloaded { subscribers, added, changed, removed, revoked, waiting, .. } = answer;
    let mut lines = Vec::new();
    let mut named = |what: &str, keys: &[String]| {
        if !keys.is_empty() {
            lines.push(format!("{what:<18}{}", keys.join(", ")));
        }
    };
    named("in force", applied);
    named("read anew", read_anew);
    named("needs a restart", needs_restart);
    if lines.is_empty() && added + changed + removed == 0 {
        lines.push("nothing has changed".to_owned());
    }
    lines.push(format!(
        "subscribers       {subscribers} ({added} added, {changed} changed, {removed} removed)"
    ));
    if !left_out.is_empty() {
        let more = left_out_count.saturating_sub(left_out.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("left out of the store: {}{more}; see the log", left_out.join(", ")));
    }
    lines.push(format!("SAs ended         {revoked}"));
    if *waiting > 0 {
        lines.push(format!(
            "waiting           SAs of {waiting} mobile nodes, until the store works"
        ));
    }
    lines.join("\n") + "\n"
}

fn revoke(hac: &Daemon, arguments: RevokeArguments) -> Result<(), Error> {
    let RevokeArguments { which, yes, json } = arguments;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_reload_says_what_has_changed() {
        let nothing = Reloaded {
            applied: Vec::new(),
            needs_restart: Vec::new(),
            read_anew: Vec::new(),
            subscribers: 3,
            added: 0,
            changed: 0,
            removed: 0,
            left_out: Vec::new(),
            left_out_count: 0,
            revoked: 0,
            waiting: 0,
        };
        assert!(words_of(&nothing).starts_with("nothing has changed\n"));
        let some = Reloaded {
            changed: 2,
            read_anew: vec!["tls.key".into()],
            left_out: vec!["mn8@example.net".into()],
            left_out_count: 1,
            ..nothing
        };
        assert_eq!(
            words_of(&some),
            "read anew         tls.key\n\
             subscribers       3 (0 added, 2 changed, 0 removed)\n\
             left out of the store: mn8@example.net; see the log\n\
             SAs ended         0\n"
        );
    }
}
