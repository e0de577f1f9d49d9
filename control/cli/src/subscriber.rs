//! `hearth subscriber`: who can get an SA.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hearth_api::subscribers::{Done, Name, PageRequest, Row, paths};
use serde_json::{Map, Value, json};

use crate::client::{self, Daemon, Error};
use crate::completion;
use crate::table::{self, Table};

/// Octets of a key that is generated.
const GENERATED: usize = 32;
/// Octets of a key file at most.
const LONGEST_KEY: u64 = 4096;
/// Subscribers that are fetched at a time.
const PAGE: usize = 1000;

/// What is done with subscribers of the HAC's store.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Add one.
    Add(Change),
    /// Change one: the values that are given replace those that it has.
    ///
    /// SAs that say what no longer holds (home agent, home addresses, mobile networks, services) end
    /// at once; all else counts from the next SA on.
    Set(Change),
    /// Remove one, and end its SAs.
    Remove {
        /// Its network access identifier.
        #[arg(add = completion::subscribers())]
        mn_id: String,
    },
    /// List all: those of the configuration, of files and of the store.
    List {
        /// Print JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Show one.
    Show {
        /// Its network access identifier.
        #[arg(add = completion::subscribers())]
        mn_id: String,
    },
    /// Add those of a file of JSON lines, as export writes it: all of them, or none where anything is
    /// wrong.
    Import {
        /// The file; - for standard input.
        file: PathBuf,
        /// Replace those that are there already.
        #[arg(long)]
        replace: bool,
    },
    /// Write the store to a new file of JSON lines, mode 0600. Pre-shared keys stay wrapped.
    Export {
        /// The file.
        file: PathBuf,
    },
    /// Wrap all pre-shared keys by the key that hearth-hac's YAML names now; then
    /// previous_key_file is no longer needed.
    Rewrap,
}

/// One subscriber, and its values.
#[derive(Debug, Clone, Args)]
pub struct Change {
    /// Its network access identifier.
    #[arg(add = completion::subscribers())]
    mn_id: String,
    /// KEY=VALUE with the keys of YAML, as in home_address_ip6=2001:db8:100::10 or
    /// prefixes=2001:db8:200::/56,192.0.2.0/28; KEY= takes a value away.
    #[arg(value_name = "KEY=VALUE", value_parser = value)]
    values: Vec<(String, Value)>,
    #[command(flatten)]
    psk: Psk,
}

/// Where the pre-shared key is: never on the command line, which others can see.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
struct Psk {
    /// The pre-shared key: a file with hexadecimal digits, as `openssl rand -hex 32` writes it; - for
    /// standard input.
    #[arg(long, value_name = "FILE")]
    psk_file: Option<PathBuf>,
    /// Make a pre-shared key and write it to a new file, mode 0600.
    #[arg(long, value_name = "FILE")]
    psk_generate: Option<PathBuf>,
    /// No pre-shared key: it authenticates otherwise.
    #[arg(long)]
    no_psk: bool,
}

/// Keys whose values are lists.
const LISTS: [&str; 2] = ["prefixes", "suites"];

fn value(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    if matches!(key, "mn_id" | "psk") {
        return Err(format!("{key} is no value; see --psk-file"));
    }
    let value = match value {
        "" => Value::Null,
        value if LISTS.contains(&key) => value.split(',').map(scalar).collect(),
        value => scalar(value),
    };
    Ok((key.to_owned(), value))
}

fn scalar(text: &str) -> Value {
    match text {
        "true" | "false" => Value::Bool(text == "true"),
        text => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
    }
}

/// Does it.
///
/// # Errors
/// [`Error`].
pub fn run(hac: &Daemon, command: Command) -> Result<(), Error> {
    match command {
        Command::Add(change) => put(hac, paths::ADD, change, "added"),
        Command::Set(change) => put(hac, paths::SET, change, "changed"),
        Command::Remove { mn_id } => {
            let done = hac.post(paths::REMOVE, &Name { mn_id: mn_id.clone() })?;
            say(&format!("{mn_id} is removed"), done);
            Ok(())
        }
        Command::List { json } => list(hac, json),
        Command::Show { mn_id } => {
            let row: Row = hac.post(paths::SHOW, &Name { mn_id })?;
            client::print(&(serde_json::to_string_pretty(&row)? + "\n"));
            Ok(())
        }
        Command::Import { file, replace } => import(hac, &file, replace),
        Command::Export { file } => export(hac, &file),
        Command::Rewrap => {
            let done: Done = hac.post(paths::REWRAP, &())?;
            client::print(&format!("{} pre-shared keys are wrapped anew\n", done.subscribers));
            Ok(())
        }
    }
}

fn say(words: &str, done: Done) {
    let revoked = match done.revoked {
        0 => String::new(),
        1 => "; 1 SA ended".into(),
        count => format!("; {count} SAs ended"),
    };
    let waiting = match done.waiting {
        0 => String::new(),
        count => format!("; SAs of {count} mobile nodes end as soon as the HAC's store works"),
    };
    client::print(&format!("{words}{revoked}{waiting}\n"));
}

fn put(hac: &Daemon, path: &str, change: Change, words: &str) -> Result<(), Error> {
    let Change { mn_id, values, psk } = change;
    let mut subscriber: Map<String, Value> = values.into_iter().collect();
    subscriber.insert("mn_id".into(), Value::String(mn_id.clone()));
    let mut made = None;
    if let Some(file) = &psk.psk_file {
        subscriber.insert("psk".into(), json!({ "hex": key_in(file)? }));
    } else if let Some(file) = &psk.psk_generate {
        let key = generate()?;
        write_new(file, format!("{key}\n").as_bytes())?;
        subscriber.insert("psk".into(), json!({ "hex": key }));
        made = Some(file);
    } else if psk.no_psk {
        subscriber.insert("psk".into(), Value::Null);
    } else if path == paths::SET && subscriber.len() == 1 {
        return Err(Error::NothingToSet(mn_id));
    }
    let done = hac.post(path, &Value::Object(subscriber));
    if let (Err(_), Some(file)) = (&done, made) {
        // A key that nobody has is of no use.
        let _ = std::fs::remove_file(file);
    }
    say(&format!("{mn_id} is {words}"), done?);
    Ok(())
}

fn key_in(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().lock().take(LONGEST_KEY).read_to_string(&mut text)?;
    } else {
        File::open(file).map_err(named(file))?.take(LONGEST_KEY).read_to_string(&mut text)?;
    }
    Ok(text.trim().to_owned())
}

fn generate() -> io::Result<String> {
    let mut octets = [0; GENERATED];
    File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

fn named(file: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// Writes a file that is not there yet, for its owner alone.
fn write_new(file: &Path, octets: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(file).map_err(named(file));
    let mut made = made?;
    made.write_all(octets).and_then(|()| made.sync_all()).map_err(named(file))
}

fn list(hac: &Daemon, json: bool) -> Result<(), Error> {
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let request = PageRequest { after, count: PAGE };
        let page: Vec<Row> = hac.post(paths::LIST, &request)?;
        let Some(last) = page.last() else { break };
        after = last.mn_id.clone();
        rows.extend(page);
    }
    if json {
        for row in &rows {
            client::print(&(serde_json::to_string(row)? + "\n"));
        }
        return Ok(());
    }
    client::print(&Table::of(&rows).to_string());
    Ok(())
}

impl table::Row for Row {
    const HEADS: &'static [&'static str] = &["MN-ID", "SOURCE", "PSK", "IN FORCE", "VALUES"];

    fn cells(&self) -> Vec<String> {
        let says = |yes| if yes { "yes" } else { "no" }.to_owned();
        let values = self.values.as_object().map(|values| {
            let values = values.iter().map(|(key, value)| match value {
                Value::String(text) => format!("{key}={text}"),
                value => format!("{key}={value}"),
            });
            values.collect::<Vec<_>>().join(" ")
        });
        vec![
            self.mn_id.clone(),
            self.source.clone(),
            says(self.has_psk),
            says(self.in_force),
            values.unwrap_or_default(),
        ]
    }
}

fn import(hac: &Daemon, file: &Path, replace: bool) -> Result<(), Error> {
    let mut lines = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut lines)?;
    } else {
        File::open(file).map_err(named(file))?.read_to_end(&mut lines)?;
    }
    let path = if replace { paths::IMPORT_OVER } else { paths::IMPORT };
    let done: Done = serde_json::from_slice(&hac.exchange(path, lines)?)?;
    say(&format!("{} subscribers are imported", done.subscribers), done);
    Ok(())
}

fn export(hac: &Daemon, file: &Path) -> Result<(), Error> {
    let lines = hac.exchange(paths::EXPORT, Vec::new())?;
    write_new(file, &lines)?;
    let count = lines.iter().filter(|octet| **octet == b'\n').count();
    client::print(&format!("{count} subscribers are exported\n"));
    Ok(())
}
