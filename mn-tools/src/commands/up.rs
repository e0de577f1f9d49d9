//! `hearth-mn up`, in the foreground and in the background.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

use super::{Outcome, complain};
use crate::config::{self, Asking, Config};
use crate::control::{Question, ask, next};
use crate::place::Place;
use crate::run::run;
use crate::syslog::Syslog;

/// How long `up --detach` waits for the first registration.
const FIRST_REGISTRATION: Duration = Duration::from_secs(30);
/// How often it looks for the control socket of the node that begins.
const LOOK: Duration = Duration::from_millis(20);

/// What `hearth-mn up` was told.
#[derive(Debug)]
pub struct Up {
    /// The YAML file.
    pub file: PathBuf,
    /// Where the status goes, before what YAML says.
    pub status_file: Option<PathBuf>,
    /// What to log.
    pub filter: EnvFilter,
    /// This is the node of `up --detach`: it leaves the terminal once it has started.
    pub in_background: bool,
}

/// Runs the node until it is told to end.
#[must_use]
pub fn up(up: Up) -> Outcome {
    let mut config = match config::load_with(&up.file, Asking::Person) {
        Ok(config) => config,
        Err(error) => {
            complain(&error.to_string());
            return Outcome::WrongUse;
        }
    };
    config.status_file = up.status_file.or(config.status_file);
    let place = Place::of_file(&up.file);
    let _log = if up.in_background {
        let log = tracing_subscriber::fmt().with_env_filter(up.filter).with_ansi(false);
        log.without_time().with_writer(Syslog::new(place.name())).init();
        None
    } else {
        Some(hearth_log::begin("hearth-mn", up.filter))
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    serve(config, &place, up.in_background)
}

fn serve(config: Config, place: &Place, in_background: bool) -> Outcome {
    let started = || {
        if in_background && let Err(error) = leave_terminal() {
            tracing::warn!(%error, "stays with the terminal");
        }
    };
    match run(config, place, started) {
        Ok(()) => Outcome::Done,
        Err(error) => {
            tracing::error!("{error}");
            if in_background {
                complain(&error.to_string());
            }
            if error.is_not_permitted() { Outcome::NotPermitted } else { Outcome::Failed }
        }
    }
}

/// A session of its own, and standard error nowhere.
fn leave_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    Ok(())
}

/// `up --detach`: starts a node in the background and waits until it is registered.
#[must_use]
pub fn detach(file: &Path, status_file: Option<&Path>, log: Option<&str>) -> Outcome {
    match start(file, status_file, log) {
        Ok(child) => wait(child, &Place::of_file(file)),
        Err(error) => {
            complain(&format!("can't be started: {error}"));
            Outcome::Failed
        }
    }
}

fn start(file: &Path, status_file: Option<&Path>, log: Option<&str>) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["up", "--in-background", "--config"]).arg(std::path::absolute(file)?);
    if let Some(path) = status_file {
        command.arg("--status-file").arg(std::path::absolute(path)?);
    }
    if let Some(log) = log {
        command.args(["--log", log]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

/// Follows the node's events until it is registered or its time is over.
fn wait(mut child: Child, place: &Place) -> Outcome {
    let until = Instant::now() + FIRST_REGISTRATION;
    let mut trouble = String::new();
    let mut events = loop {
        if let Ok(Some(status)) = child.try_wait() {
            // It has said itself what is wrong.
            return match status.code() {
                Some(2) => Outcome::WrongUse,
                Some(4) => Outcome::NotPermitted,
                _ => Outcome::Failed,
            };
        }
        if let Some(events) = events_of(&child, place) {
            break events;
        }
        // A secret may be asked for meanwhile: there is no end to this but the child's.
        std::thread::sleep(LOOK);
    };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || events.get_ref().set_read_timeout(Some(left)).is_err() {
            break;
        }
        let Ok(Some(event)) = next(place, &mut events) else { break };
        match (event.get("event").and_then(|it| it.as_str()), event.get("state")) {
            (Some("state"), Some(state)) if state == "registered" => {
                println!("mobile node {} is up", place.name());
                return Outcome::Done;
            }
            (Some("error"), _) => {
                let text = event.get("text").and_then(|it| it.as_str()).unwrap_or_default();
                trouble = format!(": {text}");
            }
            _ => {}
        }
    }
    if let Ok(Some(_)) = child.try_wait() {
        complain("the mobile node ended; its log says why");
        return Outcome::Failed;
    }
    complain(&format!("mobile node {} runs, but is not registered yet{trouble}", place.name()));
    Outcome::NotYet
}

/// The events of this very child: another node of the same name may run.
fn events_of(
    child: &Child,
    place: &Place,
) -> Option<io::BufReader<std::os::unix::net::UnixStream>> {
    let events = ask(place, Question::Monitor).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(events.get_ref()).ok()?;
    let pid = u32::try_from(peer.pid.as_raw_nonzero().get()).ok()?;
    (pid == child.id()).then_some(events)
}
