//! What `hearth-mn status`, `monitor`, `down`, `check` and `keygen` do.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::config::{self, Asking};
use crate::control::{AskError, Question, ask, is_running, next};
use crate::place::{self, Place};
use crate::repair::Notes;
use crate::show;
use crate::status::unix_ms;

mod keygen;
mod up;

pub use keygen::keygen;
pub use up::{Up, detach, up};

/// How a command ended, as the exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Done.
    Done = 0,
    /// It went wrong.
    Failed = 1,
    /// The command line or a YAML file is wrong.
    WrongUse = 2,
    /// The node is not up.
    NotRunning = 3,
    /// This takes root.
    NotPermitted = 4,
    /// `up --detach`: the node runs, but is not registered yet.
    NotYet = 5,
}

/// Says on standard error what is wrong.
pub fn complain(what: &str) {
    eprintln!("hearth-mn: {what}");
}

fn failed(error: &AskError) -> Outcome {
    complain(&error.to_string());
    match error {
        AskError::NotRunning(_) => Outcome::NotRunning,
        AskError::NotPermitted(_) => Outcome::NotPermitted,
        AskError::Refused(..) | AskError::Broken(..) => Outcome::Failed,
    }
}

/// The nodes that a command without a name is about: all that were started here.
fn places(word: Option<&Path>) -> Vec<Place> {
    match word {
        Some(_) => vec![Place::of_file(&place::config_file(word))],
        None => match Place::all() {
            none if none.is_empty() => vec![Place::of_file(&place::config_file(None))],
            all => all,
        },
    }
}

/// The one node that a command is about: without a name, the one that runs, whatever others left that
/// were killed. Their network namespace may be another, for the kernel gives numbers again.
fn only_place(word: Option<&Path>) -> Result<Place, Outcome> {
    let mut all = places(word);
    if all.len() > 1 {
        let running: Vec<Place> = all.iter().filter(|place| is_running(place)).cloned().collect();
        if !running.is_empty() {
            all = running;
        }
    }
    match (all.pop(), all.is_empty()) {
        (Some(place), true) => Ok(place),
        (last, _) => {
            all.extend(last);
            let names: Vec<&str> = all.iter().map(Place::name).collect();
            complain(&format!(
                "several mobile nodes are up or were killed: {}; say which",
                names.join(", ")
            ));
            Err(Outcome::WrongUse)
        }
    }
}

/// `hearth-mn status`: of one node, or of all in this network namespace.
#[must_use]
pub fn status(word: Option<&Path>, json: bool) -> Outcome {
    let mut outcome = Outcome::NotRunning;
    let places = places(word);
    let several = places.len() > 1;
    for place in places {
        let answer = ask(&place, Question::Status).and_then(|mut node| {
            wait_at_most(&place, &node, Duration::from_secs(10))?;
            next(&place, &mut node)
        });
        match answer {
            Ok(Some(status)) if json => println!("{status}"),
            Ok(Some(status)) => print!("{}", show::status(&status, unix_ms())),
            // One of several that was killed: the others are what is asked for.
            Err(AskError::NotRunning(_)) if several => continue,
            Ok(None) => return failed(&broken(&place, "it ends")),
            Err(error) => return failed(&error),
        }
        outcome = Outcome::Done;
    }
    if several && outcome == Outcome::NotRunning {
        complain("no mobile node is up in this network namespace");
    }
    outcome
}

fn wait_at_most(
    place: &Place,
    node: &io::BufReader<UnixStream>,
    patience: Duration,
) -> Result<(), AskError> {
    let broken = |error| AskError::Broken(place.name().to_owned(), error);
    node.get_ref().set_read_timeout(Some(patience)).map_err(broken)
}

fn broken(place: &Place, why: &str) -> AskError {
    AskError::Broken(place.name().to_owned(), io::Error::other(why.to_owned()))
}

/// `hearth-mn monitor`: events until the node ends.
#[must_use]
pub fn monitor(word: Option<&Path>, json: bool) -> Outcome {
    let place = match only_place(word) {
        Ok(place) => place,
        Err(outcome) => return outcome,
    };
    let mut node = match ask(&place, Question::Monitor) {
        Ok(node) => node,
        Err(error) => return failed(&error),
    };
    let mut out = io::stdout().lock();
    loop {
        let said = match next(&place, &mut node) {
            Ok(Some(event)) if json => writeln!(out, "{event}"),
            Ok(Some(event)) => writeln!(out, "{}", show::event(&event)),
            Ok(None) => return Outcome::Done,
            Err(error) => return failed(&error),
        };
        // Nobody reads any more: `hearth-mn monitor | head`.
        if said.and_then(|()| out.flush()).is_err() {
            return Outcome::Done;
        }
    }
}

/// `hearth-mn down`: ends the node, and waits until the host is as it was before.
#[must_use]
pub fn down(word: Option<&Path>) -> Outcome {
    let place = match only_place(word) {
        Ok(place) => place,
        Err(outcome) => return outcome,
    };
    let ended = ask(&place, Question::Down).and_then(|mut node| {
        // A de-registration takes `stop_timeout` (60 s at most).
        wait_at_most(&place, &node, Duration::from_secs(90))?;
        next(&place, &mut node)
    });
    match ended {
        Ok(Some(_)) => Outcome::Done,
        // It was killed, now or long ago.
        Ok(None) | Err(AskError::NotRunning(_)) => put_back(&place),
        Err(error) => failed(&error),
    }
}

/// What a node left that was killed.
fn put_back(place: &Place) -> Outcome {
    let Some(notes) = Notes::read(place) else {
        return failed(&AskError::NotRunning(place.name().to_owned()));
    };
    match notes.put_back() {
        Ok(()) => {
            Notes::remove(place);
            let _ = std::fs::remove_file(place.socket());
            println!("mobile node {} was killed; what it left is put back", place.name());
            Outcome::Done
        }
        Err(error) => {
            complain(&format!("what {} left can't be put back: {error}", place.name()));
            if error.kind() == io::ErrorKind::PermissionDenied {
                return Outcome::NotPermitted;
            }
            Outcome::Failed
        }
    }
}

/// `hearth-mn check`: the file and every file it names.
#[must_use]
pub fn check(file: &Path) -> Outcome {
    match config::load_with(file, Asking::Never) {
        Ok(config) => {
            for warning in &config.warnings {
                complain(&format!("{warning} (warning)"));
            }
            for advice in config.router_advice() {
                complain(&format!("{advice} (warning)"));
            }
            println!("{}: ok", file.display());
            Outcome::Done
        }
        Err(error) => {
            complain(&error.to_string());
            Outcome::WrongUse
        }
    }
}
