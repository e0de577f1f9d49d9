//! `hearth-hac`: the Home Agent Controller as a daemon.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser};
use hearth_hac::config::Config;
use hearth_hac::daemon::{Hac, StartError, system_clock};
use hearth_hac::hardening::harden;
use hearth_hac::subscribers::files;
use hearth_manual::Section;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

/// Signals and exit codes, in `--help`.
const SIGNALS: &str = "\
Signals: SIGHUP reads the configuration, and every file it names, again; SIGTERM and SIGINT stop it.
Exit codes: 0 stopped, or the configuration is good; 1 it went wrong; 2 the command line or the \
configuration is wrong.";

/// Home Agent Controller: authenticates mobile nodes over TLS and issues their security
/// associations (RFC 6618).
#[derive(Parser)]
#[command(name = "hearth-hac", version, after_help = SIGNALS)]
struct Arguments {
    /// The configuration (see configs/hac.yaml)
    #[arg(long, value_name = "FILE", default_value = "/etc/hearth/hac.yaml")]
    config: PathBuf,
    /// Check the configuration and every file it names, then exit
    #[arg(long)]
    check: bool,
    /// The clock is right, also where the store has seen a later time: issue SAs by it
    #[arg(long)]
    trust_clock: bool,
    /// What to log: error, warn, info, debug, trace, or a filter as in RUST_LOG [default: RUST_LOG,
    /// else info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Write the manual pages into a folder, as a package does.
    #[arg(long, hide = true, value_name = "FOLDER")]
    man: Option<PathBuf>,
}

/// The configuration is wrong.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.man {
        return manual(folder);
    }
    if let Err(error) = harden() {
        eprintln!("hearth-hac: can't be hardened: {error}");
        return ExitCode::FAILURE;
    }
    let filter = match hearth_log::filter(arguments.log.as_deref()) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("hearth-hac: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let clock = system_clock();
    let mut config = match Config::load(&arguments.config, clock()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("hearth-hac: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    config.directory.trust_clock = arguments.trust_clock;
    if arguments.check {
        return check(&arguments.config, &config, clock());
    }
    let _log = hearth_log::begin("hearth-hac", filter);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        // Before the daemon says that it is ready: an order to stop counts from then on.
        let mut orders = Orders::listen().map_err(StartError::Thread)?;
        let hac = Hac::start(config, clock)?;
        notify(&[NotifyState::Ready]);
        while orders.next().await == Order::Reload {
            notify_reloading();
            // What is wrong is in the log; what was goes on.
            let _ = hac.reload().await;
            notify(&[NotifyState::Ready]);
        }
        notify(&[NotifyState::Stopping]);
        hac.stop().await;
        Ok::<(), StartError>(())
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Says what the files that the YAML names are good for at `now`.
fn check(path: &Path, config: &Config, now: u64) -> ExitCode {
    if let Err(error) = files::load(&config.realm, &config.sources.files) {
        eprintln!("hearth-hac: {error}");
        return ExitCode::from(EXIT_CONFIG);
    }
    println!("{}: {}", path.display(), config.realm.summary());
    for warning in &config.warnings {
        println!("{warning}");
    }
    for (path, error) in config.tls.unstapled() {
        println!("{}: is not stapled: {error}", path.display());
    }
    let eap_tls = config.realm.auth.eap_tls.as_ref();
    for path in eap_tls.map(|eap_tls| eap_tls.outdated(now)).unwrap_or_default() {
        println!(
            "{}: has expired: who has a certificate that it speaks for is refused",
            path.display()
        );
    }
    println!("{}: ok", path.display());
    ExitCode::SUCCESS
}

/// Tells the service manager, where there is one (sd_notify(3)).
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager can't be told");
    }
}

/// With the time, for which a unit of `Type=notify-reload` asks.
fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// What a signal asks for.
#[derive(PartialEq, Eq)]
enum Order {
    Reload,
    Stop,
}

/// The signals that the daemon listens to.
struct Orders {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Orders {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for SIGHUP, SIGTERM or SIGINT.
    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.reload.recv() => {
                info!("SIGHUP");
                return Order::Reload;
            }
            _ = self.terminate.recv() => info!("SIGTERM"),
            _ = self.interrupt.recv() => info!("SIGINT"),
        }
        Order::Stop
    }
}

fn manual(folder: &Path) -> ExitCode {
    match hearth_manual::write(&Arguments::command(), Section::Administration, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth-hac: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
