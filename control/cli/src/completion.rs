//! Completion on Tab: scripts for shells, and what daemons know as candidates.
//!
//! A script runs `hearth` itself, with COMPLETE in its environment, for what can follow.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{EnvCompleter, Fish, Shells, Zsh};
use hearth_api::subscribers::{self, PageRequest};
use hearth_api::{BindingRow, DropRow, SaRow, paths};
use serde::de::DeserializeOwned;

use crate::arguments::Arguments;
use crate::client::{self, Daemon, Error};

/// How long somebody who pressed Tab is kept waiting at most.
const PATIENCE: Duration = Duration::from_millis(800);
/// Octets of a daemon's list that are looked at: some thousand rows.
const MOST: usize = 4 << 20;
/// Candidates that are shown; more help nobody.
const SHOWN: usize = 200;

/// Shells that there is a script for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
}

/// The same, for who answers them.
pub const SHELLS: Shells<'static> = Shells(&[&Bash, &Zsh, &Fish]);

/// Prints the script for `shell`.
///
/// # Errors
/// [`Error::Io`].
pub fn print(shell: Shell) -> Result<(), Error> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    completer.write_registration("COMPLETE", "hearth", "hearth", "hearth", &mut script)?;
    client::print(&String::from_utf8_lossy(&script));
    Ok(())
}

/// Bash, whose words end at colons and at signs: addresses and mn-ids would be torn to pieces by
/// the script of clap.
struct Bash;

const BASH_SCRIPT: &str = r#"_hearth() {
    local line=${COMP_LINE:0:COMP_POINT} words current head
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    local IFS=$'\n'
    COMPREPLY=($(VAR=bash _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) \
        COMPLETER -- "${words[@]}" 2>/dev/null))
    # Readline puts a candidate in the place of what stands behind the last of its word breaks.
    head=${current%"${current##*[$COMP_WORDBREAKS]}"}
    COMPREPLY=("${COMPREPLY[@]#"$head"}")
    [[ ${COMPREPLY-} == *[=/] ]] && compopt -o nospace
    return 0
}
complete -o default -F _hearth BIN
"#;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        var: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        let script = BASH_SCRIPT.replace("VAR", var);
        let script = script.replace("BIN", bin).replace("COMPLETER", completer);
        buf.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        cmd: &mut clap::Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        clap_complete::env::Bash.write_complete(cmd, args, current_dir, buf)
    }
}

/// The mn-ids that hearthd has SAs for.
pub(crate) fn mn_ids() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let rows = known::<SaRow>(paths::SAS);
        candidates(typed, rows.iter().map(|row| &row.mn_id))
    })
}

/// The SPIs of its SAs.
pub(crate) fn spis() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let rows = known::<SaRow>(paths::SAS);
        candidates(typed, rows.iter().map(|row| row.spi))
    })
}

/// The home addresses that are bound.
pub(crate) fn home_addresses() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let rows = known::<BindingRow>(paths::BINDINGS);
        let of_both = rows.iter().flat_map(|row| {
            let ipv4 = row.ipv4_home_address.map(|address| address.to_string());
            [Some(row.home_address.to_string()), ipv4].into_iter().flatten()
        });
        candidates(typed, of_both)
    })
}

/// The reasons that it drops packets for.
pub(crate) fn drop_reasons() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let rows = known::<DropRow>(paths::DROPS);
        candidates(typed, rows.iter().map(|row| &row.reason))
    })
}

/// The mn-ids of the HAC's subscribers.
pub(crate) fn subscribers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        // Pages are in order; what begins as typed stands behind what is just before it.
        let after = typed.to_str().map(just_before).unwrap_or_default();
        let request = PageRequest { after, count: SHOWN };
        let hac = daemon("--hac-socket", "hac_socket", "hearth-hac");
        let rows: Vec<subscribers::Row> =
            hac.post(subscribers::paths::LIST, &request).unwrap_or_default();
        candidates(typed, rows.iter().map(|row| &row.mn_id))
    })
}

/// Something that comes before all that begins with `typed`, and behind nearly all else that does.
fn just_before(typed: &str) -> String {
    let mut letters = typed.chars();
    letters.next_back();
    letters.as_str().to_owned()
}

/// What hearthd lists at `path`; nothing where it can't be asked, as there is nobody to tell.
fn known<T: DeserializeOwned>(path: &str) -> Vec<T> {
    daemon("--socket", "socket", "hearthd").beginning(path, MOST).unwrap_or_default()
}

/// The daemon at the socket that is named on the line so far by `option`, else at the usual one.
fn daemon(option: &str, id: &str, name: &'static str) -> Daemon {
    let words: Vec<OsString> = std::env::args_os().collect();
    let socket = named(&words, option).or_else(|| usual(id)).unwrap_or_default();
    Daemon { socket, name, patience: PATIENCE }
}

/// The value of `option` among `words`.
fn named(words: &[OsString], option: &str) -> Option<PathBuf> {
    words.iter().zip(words.iter().skip(1).map(Some).chain([None])).find_map(|(word, next)| {
        let behind = word.to_str().and_then(|word| word.strip_prefix(option));
        match behind {
            Some("") => next.map(PathBuf::from),
            Some(behind) => behind.strip_prefix('=').map(PathBuf::from),
            None => None,
        }
    })
}

fn usual(id: &str) -> Option<PathBuf> {
    let command = Arguments::command();
    let argument = command.get_arguments().find(|argument| argument.get_id() == id)?;
    argument.get_default_values().first().map(PathBuf::from)
}

/// Those of `all` that begin as typed, each once.
fn candidates(typed: &OsStr, all: impl Iterator<Item = impl Display>) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let mut fitting: Vec<String> =
        all.map(|one| one.to_string()).filter(|one| one.starts_with(typed)).collect();
    fitting.sort_unstable();
    fitting.dedup();
    fitting.into_iter().take(SHOWN).map(CompletionCandidate::new).collect()
}
