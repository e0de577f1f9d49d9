//! `hearth config`: the YAML files of the daemons and the mobile node.
//!
//! Each program knows best what it reads, so that a check is its own. This finds out whose a file is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::{Subcommand, ValueEnum};
use serde::de::IgnoredAny;

use crate::client::{self, Error};

/// `hearth config`.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Check files by the programs that read them: file, line, key, and what would be right.
    ///
    /// Every file that they name is checked too. Whose a file is follows from its keys.
    Check {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Whose files they are, where their keys don't tell.
        #[arg(long, value_name = "PROGRAM")]
        of: Option<Kind>,
    },
    /// Print the JSON Schema of a program's file, for editors: keys, units, defaults.
    Schema {
        /// Whose file.
        #[arg(value_name = "PROGRAM")]
        of: Of,
    },
}

/// Programs whose files have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// The home agent.
    Hearthd,
    /// The Home Agent Controller.
    Hac,
    /// The mobile node.
    Mn,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// hearthd's.
    Hearthd,
    /// hearth-hac's.
    Hac,
    /// hearth-mn's.
    Mn,
    /// That of `hearth-mn fleet`.
    Fleet,
}

impl Kind {
    /// Keys on the top that this kind of file has, and no other.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Hearthd => &["workers", "ports", "home_agent", "eal"],
            Self::Hac => &["home_agents", "listen", "subscribers", "tls"],
            Self::Mn => &["hac", "psk", "auth"],
            Self::Fleet => &["nodes", "node"],
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Hearthd => "hearthd",
            Self::Hac => "hearth-hac",
            Self::Mn | Self::Fleet => "hearth-mn",
        }
    }

    /// Whose file has these keys: the one that most of them are of.
    fn of(keys: &BTreeMap<String, IgnoredAny>) -> Option<Self> {
        let count = |kind: &Self| kind.keys().iter().filter(|key| keys.contains_key(**key)).count();
        let best = Self::value_variants().iter().copied().max_by_key(count)?;
        let alone = |kind: &Self| *kind == best || count(kind) < count(&best);
        (count(&best) > 0 && Self::value_variants().iter().all(alone)).then_some(best)
    }

    /// The program's own check of `file`.
    fn check(self, file: &Path) -> Process {
        let mut process = Process::new(found(self.program()));
        match self {
            Self::Fleet => process.arg("fleet").arg("--config").arg(file).arg("check"),
            _ => process.arg("--config").arg(file).arg("--check"),
        };
        process
    }
}

/// The program beside this one, else by PATH.
fn found(program: &str) -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join(program)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| program.into())
}

/// Does it.
///
/// # Errors
/// [`Error`]; what is wrong with a file stands on standard error already.
pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Check { files, of } => check(&files, of),
        Command::Schema { of } => {
            client::print(match of {
                Of::Hearthd => include_str!("../../../configs/schema/hearthd.json"),
                Of::Hac => include_str!("../../../configs/schema/hac.json"),
                Of::Mn => include_str!("../../../configs/schema/mn.json"),
            });
            Ok(())
        }
    }
}

fn check(files: &[PathBuf], of: Option<Kind>) -> Result<(), Error> {
    let mut wrong = 0_usize;
    for file in files {
        match check_one(file, of) {
            Ok(true) => {}
            Ok(false) => wrong += 1,
            Err(error) => {
                eprintln!("hearth: {error}");
                wrong += 1;
            }
        }
    }
    match wrong {
        0 => Ok(()),
        wrong => {
            let files = files.len();
            Err(io::Error::other(format!("{wrong} of {files} files can't be used as they are"))
                .into())
        }
    }
}

/// Whether the file is good; its program says what is wrong.
fn check_one(file: &Path, of: Option<Kind>) -> Result<bool, String> {
    let kind = match of {
        Some(kind) => kind,
        None => {
            let read = hearth_config::load::<BTreeMap<String, IgnoredAny>>(file);
            let keys = read.map_err(|error| error.to_string())?.value;
            Kind::of(&keys).ok_or_else(|| {
                format!(
                    "{}: none of Hearth's files has such keys; say whose it is by --of",
                    file.display()
                )
            })?
        }
    };
    let program = kind.program();
    let status = kind.check(file).status().map_err(|error| {
        let file = file.display();
        format!("{file}: it takes {program} to check it, which is not beside hearth nor in PATH: {error}")
    })?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Option<Kind> {
        let read = hearth_config::parse::<BTreeMap<String, IgnoredAny>>(Path::new("a.yaml"), text);
        Kind::of(&read.unwrap().value)
    }

    #[test]
    fn whose_a_file_is_follows_from_its_keys() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        for (name, is) in [
            ("hearthd.yaml", Kind::Hearthd),
            ("hac.yaml", Kind::Hac),
            ("mn.yaml", Kind::Mn),
            ("fleet.yaml", Kind::Fleet),
        ] {
            let text = std::fs::read_to_string(configs.join(name)).unwrap();
            assert_eq!(kind(&text), Some(is), "{name}");
        }
        assert_eq!(kind("ports: [\n  {spead: 1}]\n"), Some(Kind::Hearthd), "one key will do");
        assert_eq!(kind("colour: red\n"), None);
        assert_eq!(kind("ports: []\nlisten: []\n"), None, "as much one's as the other's");
    }
}
