//! Threads that turn signals, changes of the network and steps of the clock into events.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use super::Event;
use crate::clock::Steps;
use crate::netlink::Monitor;

pub(super) fn watch_signals(events: Sender<Event>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    // A terminal that is closed ends the node in order; nohup(1) says that it is not to end.
    let hang_up = (!is_hang_up_ignored()).then_some(SIGHUP);
    let mut signals =
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT].into_iter().chain(hang_up))?;
    let forward = move || {
        for _ in signals.forever() {
            if events.send(Event::Stop).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(forward).map(drop)
}

fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is 1, the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|it| it & 1 != 0)
}

pub(super) fn watch_network(events: Sender<Event>) -> io::Result<()> {
    let monitor = Monitor::open()?;
    let forward = move || {
        loop {
            match monitor.wait() {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => {
                    if events.send(Event::Network(changes)).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "changes of the network are no longer seen");
                    return;
                }
            }
        }
    };
    thread::Builder::new().name("network".to_owned()).spawn(forward).map(drop)
}

pub(super) fn watch_clock(events: Sender<Event>) -> io::Result<()> {
    let steps = Steps::watch()?;
    let forward = move || {
        while let Ok(()) = steps.wait() {
            if events.send(Event::Clock).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("clock".to_owned()).spawn(forward).map(drop)
}
