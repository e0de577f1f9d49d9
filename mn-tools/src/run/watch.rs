//! Threads that turn signals, changes of the network and steps of the clock into events.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use super::Event;
use crate::clock::Steps;
use crate::netlink::Monitor;

pub(super) fn watch_signals(events: Sender<Event>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let forward = move || {
        for _ in signals.forever() {
            if events.send(Event::Stop).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(forward).map(drop)
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
