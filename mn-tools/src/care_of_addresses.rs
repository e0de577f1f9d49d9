//! One registration, or one for each of several care-of addresses.
//!
//! Read first: RFC 5648 s.5; RFC 6089 s.5.2.
//!
//! ```text
//!                     +--> Registration (BID 1, eth0) --+
//!   events -----------+--> Registration (BID 2, wlan0) -+--> Action
//!                     +--> ...                          |
//!                            one line of sequence numbers, one bootstrap
//! ```
//!
//! Each care-of address is registered by Binding Updates of its own, from itself: the home agent
//! sees what its NAT does. When one can't be reached any more another one tells the home agent so,
//! which moves its flows at once. Without `care_of_addresses` in YAML there is one registration
//! without a Binding ID, for whichever interface is best.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hearth_wire::Spi;
use hearth_wire::mh::{Bid, Status};

use crate::config::CareOf;
use crate::path::Path;
use crate::registration::{
    self, Ack, Association, Binding, Probe, Purpose, Registration, Report, Sequence, Timers,
    Traffic, Update, Why,
};

/// A way for data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Binding ID; 0 without.
    pub bid: u16,
    /// The care-of address.
    pub path: Path,
    /// The SA.
    pub spi: Spi,
}

/// What the caller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a socket for this path.
    Open(Path),
    /// Close it.
    Close(Path),
    /// Send a Binding Update.
    Send(BidUpdate),
    /// Send a Heartbeat.
    Probe(Probe),
    /// Send an echo request to the home agent under this SA, by another port than this path's.
    Echo(Path, Spi),
    /// Send data these ways, the most wanted first.
    Carry(Vec<Way>),
    /// Drop this SA.
    Forget(Spi),
    /// Fetch a new SA from the HAC.
    Bootstrap,
    /// Tell a person.
    Report(Report),
    /// Everything is over; nothing more will come.
    Stopped,
}

/// A Binding Update with its Binding IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BidUpdate {
    /// The update.
    pub update: Update,
    /// Binding Identifier options; none where all of the home address is meant.
    pub bids: Vec<Bid>,
    /// The Binding IDs that flows can be bound to with it: those that are registered, and its own.
    pub bound: Vec<u16>,
}

/// One care-of address.
#[derive(Debug)]
struct Place {
    care_of: Option<CareOf>,
    registration: Registration,
    way: Option<(Path, Spi)>,
    reachable: bool,
}

impl Place {
    fn bid(&self) -> u16 {
        self.care_of.as_ref().map_or(0, |care_of| care_of.bid)
    }
}

/// All care-of addresses.
#[derive(Debug)]
pub struct CareOfAddresses {
    /// The most wanted first; never empty.
    places: Vec<Place>,
    bootstrapping: bool,
    /// Which of them de-registers all, once that has begun.
    stopping: Option<usize>,
    actions: VecDeque<Action>,
}

impl CareOfAddresses {
    /// A node without an SA: with one registration, or one for each of `care_of`. `sequence` is
    /// random, as it knows of no earlier Binding Update.
    #[must_use]
    pub fn new(timers: &Timers, care_of: &[CareOf], sequence: u16) -> Self {
        let sequence = Sequence::new(sequence);
        let place = |care_of| Place {
            care_of,
            registration: Registration::sharing(timers.clone(), sequence.clone()),
            way: None,
            reachable: false,
        };
        let mut places: Vec<_> = care_of.iter().cloned().map(Some).map(place).collect();
        places.sort_by_key(|place| place.care_of.as_ref().map(|care_of| care_of.priority));
        if places.is_empty() {
            places.push(place(None));
        }
        let places = places.into_iter().zip(0u32..).map(|(place, index)| Place {
            registration: place.registration.numbering_probes_from(index << 24),
            ..place
        });
        let places = places.collect();
        Self { places, bootstrapping: false, stopping: None, actions: VecDeque::new() }
    }

    /// The next thing to do, if there is one.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The binding that data prefers.
    #[must_use]
    pub fn binding(&self) -> Option<&Binding> {
        self.places.iter().find_map(|place| place.registration.binding())
    }

    /// All bindings with their Binding IDs, the most wanted first.
    pub fn bindings(&self) -> impl Iterator<Item = (&CareOf, &Binding)> {
        self.places
            .iter()
            .filter_map(|place| Some((place.care_of.as_ref()?, place.registration.binding()?)))
    }

    /// Why a Binding Update is on its way, if one is.
    #[must_use]
    pub fn pending(&self) -> Option<Purpose> {
        self.places.iter().find_map(|place| place.registration.pending())
    }

    /// Asks for the first SA.
    pub fn start(&mut self) {
        self.each(|place| place.registration.start());
    }

    /// The ways to the home agent have changed; the most wanted first.
    pub fn on_paths(&mut self, paths: &[Path], now: Instant) {
        for place in &mut self.places {
            let wanted = |path: &&Path| {
                place.care_of.as_ref().is_none_or(|care_of| *care_of.interface == *path.interface)
            };
            let paths: Vec<_> = paths.iter().filter(wanted).cloned().collect();
            place.reachable = !paths.is_empty();
            place.registration.on_paths(paths, now);
        }
        self.tell_who_is_gone(now);
        self.collect();
    }

    /// The home agent hears of care-of addresses that can't speak for themselves any more.
    fn tell_who_is_gone(&mut self, now: Instant) {
        let back: Vec<_> = self.places.iter().filter(|p| p.reachable).map(Place::bid).collect();
        for place in &mut self.places {
            back.iter().for_each(|bid| place.registration.keep(*bid));
        }
        let speaks = |place: &Place| place.reachable && place.registration.binding().is_some();
        let Some(speaker) = self.places.iter().position(speaks) else { return };
        let mut gone = Vec::new();
        for place in self.places.iter_mut().filter(|place| !place.reachable) {
            if place.registration.binding().is_some() {
                gone.push(place.bid());
                place.registration.withdrawn();
            }
        }
        if let Some(speaker) = self.places.get_mut(speaker).filter(|_| !gone.is_empty()) {
            speaker.registration.withdraw(&gone, now);
        }
    }

    /// The HAC issued a new SA.
    pub fn on_association(&mut self, association: Association, now: Instant) {
        self.bootstrapping = false;
        self.each(|place| place.registration.on_association(association, now));
    }

    /// The bootstrap failed; see [`Registration::on_bootstrap_failed`].
    pub fn on_bootstrap_failed(
        &mut self,
        retry_after: Option<Duration>,
        by_network: bool,
        jitter: f64,
        now: Instant,
    ) -> Duration {
        self.bootstrapping = false;
        let mut pause = Duration::ZERO;
        self.each(|place| {
            let registration = &mut place.registration;
            pause = registration.on_bootstrap_failed(retry_after, by_network, jitter, now);
        });
        pause
    }

    /// What the data path has carried so far; see [`Registration::on_traffic`]. By which of several
    /// networks packets came nobody knows.
    pub fn on_traffic(&mut self, traffic: Traffic, now: Instant) {
        let received = if self.places.len() > 1 { 0 } else { traffic.received };
        let traffic = Traffic { received, ..traffic };
        self.each(|place| place.registration.on_traffic(traffic, now));
    }

    /// The home link is there, or not any more; see [`Registration::on_home`]. A node with several
    /// care-of addresses does not return home (RFC 5648 s.5.5 would ask more of it).
    pub fn on_home(&mut self, home: Option<(Path, Path)>, now: Instant) {
        if let [place] = &mut self.places[..] {
            place.registration.on_home(home, now);
        }
        self.collect();
    }

    /// Whether data goes by the home link.
    #[must_use]
    pub fn is_at_home(&self) -> bool {
        self.places.iter().any(|place| place.registration.is_at_home())
    }

    /// A Heartbeat was answered.
    pub fn on_heartbeat(&mut self, seq: u32, now: Instant) {
        self.each(|place| place.registration.on_heartbeat(seq, now));
    }

    /// How often a NAT hears of the preferred network's address, and why so often.
    #[must_use]
    pub fn nat_keepalive(&self) -> Option<(Duration, Why)> {
        let bound = self.places.iter().find(|place| place.registration.binding().is_some());
        bound.and_then(|place| place.registration.nat_keepalive())
    }

    /// The machine slept so long; see [`Registration::on_sleep`].
    pub fn on_sleep(&mut self, slept: Duration, now: Instant) {
        self.each(|place| place.registration.on_sleep(slept, now));
    }

    /// The clock was set; see [`Registration::on_clock`].
    pub fn on_clock(&mut self, now: Instant) {
        self.each(|place| place.registration.on_clock(now));
    }

    /// When an SA ends, by a clock that was set meanwhile.
    pub fn on_validity(&mut self, changed: Association) {
        self.each(|place| place.registration.on_validity(changed));
    }

    /// A sequence or volume limit of this SA comes near (R-23).
    pub fn on_worn(&mut self, spi: Spi) {
        self.each(|place| place.registration.on_worn(spi));
    }

    /// The home agent sends this node to the HAC: for a new SA, or for another home agent.
    pub fn on_switch(&mut self) {
        self.each(|place| place.registration.on_switch());
    }

    /// A Binding Refresh Request (RFC 6275 s.11.7.4).
    pub fn on_refresh_request(&mut self, now: Instant) {
        self.each(|place| place.registration.on_refresh_request(now));
    }

    /// A Binding Error, status 1: the home agent knows no binding for the home address.
    pub fn on_binding_error(&mut self, now: Instant) {
        self.each(|place| place.registration.on_binding_error(now));
    }

    /// The home agent revoked these bindings, by Binding ID; all where none is named (RFC 5846).
    pub fn on_revocation(&mut self, bids: &[u16], now: Instant) {
        self.each(|place| {
            if bids.is_empty() || bids.contains(&place.bid()) {
                place.registration.on_revocation(now);
            }
        });
    }

    /// A Binding Acknowledgement; whether it belonged to an outstanding Binding Update.
    pub fn on_ack(&mut self, ack: &Ack, now: Instant) -> bool {
        // 135 does not carry the number of the Binding Update: it concerns every one that is out.
        let all = ack.status == Status::SEQUENCE_OUT_OF_WINDOW;
        let mut taken = false;
        for place in &mut self.places {
            if all || !taken {
                taken |= place.registration.on_ack(ack, now);
            }
        }
        self.collect();
        taken
    }

    /// When [`Self::on_timer`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.running().filter_map(|place| place.registration.deadline()).min()
    }

    /// Does what is due.
    pub fn on_timer(&mut self, now: Instant) {
        match self.stopping {
            Some(one) => self.places.iter_mut().skip(one).take(1).for_each(|place| {
                place.registration.on_timer(now);
            }),
            None => self.places.iter_mut().for_each(|place| place.registration.on_timer(now)),
        }
        self.collect();
    }

    fn running(&self) -> impl Iterator<Item = &Place> {
        let (skip, take) = self.stopping.map_or((0, usize::MAX), |one| (one, 1));
        self.places.iter().skip(skip).take(take)
    }

    /// De-registers and stops. One Binding Update without Binding IDs takes all away (RFC 5648
    /// s.5.4).
    pub fn on_stop(&mut self, now: Instant) {
        let bound = |place: &Place| place.registration.binding().is_some();
        let one = self.places.iter().position(|place| bound(place) && place.reachable);
        let one = one.or_else(|| self.places.iter().position(|place| place.reachable)).unwrap_or(0);
        let one = *self.stopping.get_or_insert(one);
        if let Some(place) = self.places.get_mut(one) {
            place.registration.on_stop(now);
        }
        self.collect();
    }

    fn each(&mut self, what: impl FnMut(&mut Place)) {
        self.places.iter_mut().for_each(what);
        self.collect();
    }

    /// Takes over what the registrations want done.
    fn collect(&mut self) {
        for index in 0..self.places.len() {
            while let Some(action) = self.next_of(index) {
                self.take(index, action);
            }
        }
    }

    fn next_of(&mut self, index: usize) -> Option<registration::Action> {
        self.places.get_mut(index)?.registration.action()
    }

    fn take(&mut self, index: usize, action: registration::Action) {
        use registration::Action as From;
        if self.stopping.is_some_and(|one| one != index) {
            return;
        }
        let action = match action {
            From::Open(path) => Action::Open(path),
            From::Close(path) => Action::Close(path),
            From::Send(update) => Action::Send(self.with_bids(index, update)),
            From::Probe(probe) => Action::Probe(probe),
            From::Echo(path, spi) => Action::Echo(path, spi),
            From::Carry(way) => {
                let Some(place) = self.places.get_mut(index) else { return };
                place.way = way;
                Action::Carry(self.ways())
            }
            // Every registration knows the SA; it goes when the last one needs it no more.
            From::Forget(spi) => {
                if self.places.iter().any(|place| place.registration.holds(spi)) {
                    return;
                }
                Action::Forget(spi)
            }
            From::Bootstrap => {
                if std::mem::replace(&mut self.bootstrapping, true) {
                    return;
                }
                Action::Bootstrap
            }
            // Of one of several that is not worth a word: those that are left carry on.
            From::Report(Report::NoNetwork) if self.places.iter().any(|place| place.reachable) => {
                return;
            }
            From::Report(report) => Action::Report(report),
            From::Stopped => Action::Stopped,
        };
        self.actions.push_back(action);
    }

    fn ways(&self) -> Vec<Way> {
        let way = |place: &Place| {
            let (path, spi) = place.way.clone()?;
            Some(Way { bid: place.bid(), path, spi })
        };
        self.places.iter().filter_map(way).collect()
    }

    fn with_bids(&self, index: usize, update: Update) -> BidUpdate {
        let own = self.places.get(index).and_then(|place| place.care_of.as_ref());
        let option = |id, priority, care_of| {
            let status = Status::ACCEPTED;
            Bid { id, status, home: false, priority, care_of }
        };
        let bids = match (update.purpose, own) {
            (Purpose::Deregistration | Purpose::Return, _) | (_, None) => Vec::new(),
            (Purpose::Withdrawal, _) => {
                update.withdraws.iter().map(|bid| option(*bid, 0, None)).collect()
            }
            (_, Some(own)) => vec![option(own.bid, own.priority, Some(update.path.care_of))],
        };
        let registered = self.bindings().map(|(care_of, _)| care_of.bid);
        let mut bound: Vec<_> = own.map(|own| own.bid).into_iter().chain(registered).collect();
        bound.sort_unstable();
        bound.dedup();
        BidUpdate { update, bids, bound }
    }
}

#[cfg(test)]
mod tests;
