//! The node and its host: DNS servers, the clock, a device that others deleted, and what a node that
//! was killed left behind.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hearth_wire::Spi;
use ipnet::IpNet;

use super::{Event, Node, SETTLE};
use crate::hac_client::unix_now;
use crate::host_dns::Choice;
use crate::lan::{self, LanAddress};
use crate::place::Place;
use crate::registration::Association;
use crate::repair::Notes;
use crate::tunnel::Worker;

/// Puts back what a node that was killed at this place left; the rules of `table` are left to the
/// node that starts, which may have to keep them closed.
pub(super) fn repair(place: &Place, table: u32) {
    let Some(notes) = Notes::read(place) else { return };
    tracing::warn!("the mobile node did not end in order last time; puts back what it left");
    if notes.table == table {
        // The notes stay until the node writes its own.
        if let Err(error) = lan::take_away(&notes.lan) {
            tracing::error!(%error, "not every address in the mobile networks can be taken away");
        }
        return notes.restore_dns();
    }
    match notes.put_back() {
        Ok(()) => Notes::remove(place),
        Err(error) => tracing::error!(%error, "not everything can be put back"),
    }
}

/// Sets the host's DNS servers, one change after the other, in a thread: it may take seconds.
pub(super) struct DnsSetter {
    place: Place,
    notes: Notes,
    choice: Choice,
    everything: bool,
    /// What was wanted last.
    wanted: Vec<IpAddr>,
    at_work: Option<JoinHandle<()>>,
}

impl DnsSetter {
    pub(super) fn new(place: Place, notes: Notes, choice: Choice, routes: &[IpNet]) -> Self {
        let everything = routes.iter().any(|route| route.prefix_len() == 0);
        Self { place, notes, choice, everything, wanted: Vec::new(), at_work: None }
    }

    /// Wants these servers from now on.
    pub(super) fn want(&mut self, servers: &[IpAddr], events: &Sender<Event>) {
        if self.wanted == servers {
            return;
        }
        servers.clone_into(&mut self.wanted);
        self.set(events);
    }

    /// Notes addresses in the mobile networks as set by this node.
    pub(super) fn note_lan(&mut self, set: &[LanAddress]) {
        set.clone_into(&mut self.notes.lan);
        self.notes.write(&self.place);
    }

    /// The device is new: nobody remembers what was set for the old one.
    pub(super) fn again(&mut self, events: &Sender<Event>) {
        if !self.wanted.is_empty() {
            self.set(events);
        }
    }

    fn set(&mut self, events: &Sender<Event>) {
        let manager = match self.choice.manager() {
            Ok(Some(manager)) => manager,
            Ok(None) => return,
            Err(why) => {
                let servers = in_words(&self.wanted);
                tracing::warn!("the DNS servers of the HAC ({servers}) are not set: {why}");
                return;
            }
        };
        self.notes.dns = Some(manager);
        self.notes.write(&self.place);
        let before = self.at_work.take();
        let (device, events) = (self.notes.tun.clone(), events.clone());
        let (servers, everything) = (self.wanted.clone(), self.everything);
        let work = move || {
            before.map(JoinHandle::join);
            let outcome = match servers.is_empty() {
                true => manager.restore(&device),
                false => manager.set(&device, &servers, everything),
            };
            let outcome = outcome.map(|()| servers).map_err(|error| error.to_string());
            let _ = events.send(Event::Dns(outcome));
        };
        match thread::Builder::new().name("dns".to_owned()).spawn(work) {
            Ok(thread) => self.at_work = Some(thread),
            Err(error) => tracing::error!(%error, "no thread to set DNS servers"),
        }
    }
}

impl Drop for DnsSetter {
    fn drop(&mut self) {
        self.at_work.take().map(JoinHandle::join);
        self.notes.restore_dns();
    }
}

fn in_words(servers: &[IpAddr]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Node {
    /// Sets the addresses in the mobile networks, and says what would keep this from being a router.
    pub(super) fn set_lan(&mut self) {
        self.config.router_advice().iter().for_each(|advice| tracing::warn!("{advice}"));
        if let Some(set) = self.lan.set(&mut self.netlink) {
            self.dns.note_lan(set);
        }
    }

    /// When an SA ends for this node, by the clock as it is now.
    pub(super) fn association(
        &self,
        spi: Spi,
        issued: u64,
        validity_end: u64,
        now: Instant,
    ) -> Association {
        let left = Duration::from_secs(validity_end.saturating_sub(unix_now()));
        let whole = Duration::from_secs(validity_end.saturating_sub(issued));
        Association::issued(spi, left, whole, self.config.timers.renew_before, now)
    }

    /// The clock was set, as it also is after a sleep.
    pub(super) fn on_clock(&mut self, now: Instant) {
        let slept = self.sleep.take();
        if !slept.is_zero() {
            tracing::info!(
                slept_s = slept.as_secs(),
                "the machine has slept; refreshes the binding"
            );
            self.registration.on_sleep(slept, now);
            self.rescan_at.get_or_insert(now + SETTLE);
        }
        self.registration.on_clock(now);
        for index in 0..self.held.len() {
            let Some(held) = self.held.get(index) else { break };
            let (spi, issued, end) = (held.sa.spi, held.issued, held.validity_end);
            self.registration.on_validity(self.association(spi, issued, end, now));
        }
    }

    pub(super) fn on_dns(&mut self, outcome: Result<Vec<IpAddr>, String>) {
        match outcome {
            Ok(servers) => {
                tracing::info!(servers = in_words(&servers), "DNS servers set");
                self.status.set_dns(servers);
            }
            Err(error) => {
                let text = format!("the DNS servers of the HAC can't be set: {error}");
                tracing::warn!("{text}");
                self.status.on_error(&text);
            }
        }
    }

    /// What the kernel gave: where there are no offloads, or no second queue, a user sees why it is slow.
    pub(super) fn show_device(&mut self) {
        let device = self.tun.device();
        self.status.set_device(device.has_offload(), device.queues().count());
    }

    /// Threads for a device that took the place of a deleted one.
    pub(super) fn reconnect_tun(&mut self) {
        // It comes back with the new device.
        self.outside = None;
        let device = self.tun.device();
        let uplinks = Worker::uplinks(&self.tunnel, &device);
        self.show_device();
        let outcome = uplinks.map(|uplinks| self.uplinks = uplinks).and_then(|()| {
            for open in self.open.values_mut() {
                let (tunnel, socket) = (Arc::clone(&self.tunnel), Arc::clone(&open.socket));
                open.downlink = Worker::downlink(tunnel, socket, device.clone())?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "no threads for the new device");
        }
        self.dns.again(&self.events);
    }
}
