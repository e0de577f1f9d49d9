//! Route optimisation: correspondents are asked to send to the care-of address directly.
//!
//! Read first: RFC 6275 s.5.2, 11.3.1, 11.6, 11.7.2, 11.7.3, 11.8; RFC 6618 s.7.
//!
//! ```text
//!   first packet -> Home Test Init by the tunnel, Care-of Test Init directly
//!                -> Home Test, Care-of Test -> Binding Update -> Binding Acknowledgement -> direct
//!   anything else, and whenever anything ends: the tunnel
//! ```
//!
//! Without clock and socket: events and times go in, packets and routes come out. A packet goes directly
//! only under a binding that the correspondent has acknowledged. Bindings are taken away with the home
//! address as care-of address, through the tunnel: that works where the direct way does not.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hearth_wire::mh::{self, KeygenToken, Message, ReturnRoutability, TestedAddress};
use ipnet::Ipv6Net;

use crate::tunnel::IvSource;

mod binding;
mod correspondent;
mod keys;
mod messages;
mod rate;
#[cfg(test)]
mod tests;

use binding::Ack;
use correspondent::{Correspondent, Means};
pub use messages::{IcmpError, Trouble};

/// Correspondents at a time; all others have the tunnel.
pub const MAX_CORRESPONDENTS: usize = 256;
/// The smallest MTU of any IPv6 link (RFC 8200 s.5).
const MIN_MTU: u32 = 1280;

/// Why a correspondent is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It does not answer.
    Silent,
    /// It does not know Mobile IPv6.
    NotSupported,
    /// It can't be reached directly.
    Unreachable,
    /// It refused the binding with this status.
    Refused(u8),
    /// It forgot the binding at once.
    Forgotten,
}

impl Why {
    /// Its name in status and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::NotSupported => "not_supported",
            Self::Unreachable => "unreachable",
            Self::Refused(_) => "refused",
            Self::Forgotten => "forgotten",
        }
    }
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// From the home address: through the tunnel, or on the home link.
    Home,
    /// From the care-of address, directly.
    CareOf,
}

/// What the caller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this whole IPv6 packet.
    Send(By, Vec<u8>),
    /// [`RouteOptimisation::routes`] has changed.
    Routes,
    /// Tell a person: this correspondent sends to this care-of address for so long.
    Optimised(Ipv6Addr, Ipv6Addr, Duration),
    /// Tell a person: this correspondent is left alone.
    LeftAlone(Ipv6Addr, Why),
}

/// Packets that went directly, counted by the data path.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// One packet was sent to the correspondent directly.
    pub fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// One packet came from it directly.
    pub fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    fn both(&self) -> u64 {
        let (sent, received) = self.get();
        sent.wrapping_add(received)
    }
}

/// How packets to one correspondent go.
#[derive(Debug, Clone)]
pub struct Route {
    /// The correspondent.
    pub correspondent: Ipv6Addr,
    /// Whether they go directly.
    pub direct: bool,
    /// Octets of the longest direct packet, where a router has named an MTU.
    pub mtu: Option<u32>,
    /// Where they are counted.
    pub traffic: Arc<Traffic>,
}

/// What a person sees of a correspondent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is being asked; packets go by the tunnel.
    Asked,
    /// Packets go directly to and from this care-of address until then.
    Optimised(Ipv6Addr, Instant),
    /// It is being told to forget the care-of address.
    Ending,
    /// It is not asked again before then.
    LeftAlone(Why, Instant),
}

/// Where the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The home address.
    pub home: Option<Ipv6Addr>,
    /// The registered care-of address; none at home, over IPv4 and without a binding.
    pub care_of: Option<Ipv6Addr>,
}

/// The Binding Update List, as far as it is about correspondents.
pub struct RouteOptimisation {
    prefixes: Vec<Ipv6Net>,
    place: Place,
    random: IvSource,
    entries: HashMap<Ipv6Addr, Correspondent>,
    actions: VecDeque<Action>,
    /// What the data path was told.
    told: Vec<(Ipv6Addr, bool, Option<u32>)>,
    stopping: bool,
}

impl RouteOptimisation {
    /// Route optimisation for correspondents in these prefixes.
    #[must_use]
    pub fn new(prefixes: Vec<Ipv6Net>, random: IvSource) -> Self {
        Self {
            prefixes,
            place: Place::default(),
            random,
            entries: HashMap::new(),
            actions: VecDeque::new(),
            told: Vec::new(),
            stopping: false,
        }
    }

    /// The next thing to do.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Correspondents whose first packet is to be told by [`Self::on_packet`]; none where they would not
    /// be asked now.
    #[must_use]
    pub fn wanted(&self) -> &[Ipv6Net] {
        let asks = self.place.care_of.is_some() && !self.stopping;
        if asks { &self.prefixes } else { &[] }
    }

    /// Where the node is.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// How packets go to the correspondents that are known.
    pub fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        self.entries.values().map(|entry| Route {
            correspondent: entry.address,
            direct: entry.is_direct(&self.place),
            mtu: entry.mtu,
            traffic: Arc::clone(&entry.traffic),
        })
    }

    /// The correspondents, by address.
    #[must_use]
    pub fn states(&self) -> Vec<(Ipv6Addr, State)> {
        let state = |entry: &Correspondent| match (entry.resting(), entry.binding) {
            (Some((why, until)), _) => State::LeftAlone(why, until),
            _ if entry.is_ending() => State::Ending,
            (_, Some(binding)) if entry.is_direct(&self.place) => {
                State::Optimised(binding.care_of, binding.expires)
            }
            _ => State::Asked,
        };
        let mut states: Vec<_> =
            self.entries.values().map(|entry| (entry.address, state(entry))).collect();
        states.sort_unstable_by_key(|(address, _)| *address);
        states
    }

    /// When [`Self::on_timer`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.entries.values().filter_map(Correspondent::deadline).min()
    }

    /// Whether nobody has to be told any more that this node goes.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.entries.values().any(Correspondent::is_ending)
    }

    /// A packet from the home address goes to somebody unknown.
    pub fn on_packet(&mut self, to: Ipv6Addr, now: Instant) {
        let odd = to.is_multicast() || to.is_unicast_link_local() || to.is_unspecified();
        let ours = [self.place.home, self.place.care_of].contains(&Some(to));
        let wanted = self.wanted().iter().any(|prefix| prefix.contains(&to));
        let full = self.entries.len() >= MAX_CORRESPONDENTS;
        if odd || ours || !wanted || full || self.entries.contains_key(&to) {
            return;
        }
        // RFC 6275 s.11.7.2: starts at a random value.
        let [a, b, ..] = self.random.draw();
        self.entries.insert(to, Correspondent::new(to, u16::from_be_bytes([a, b]), now));
        self.with(to, now, Correspondent::bind);
    }

    /// The node is somewhere else, or has another home address.
    pub fn on_place(&mut self, place: Place, now: Instant) {
        if place == self.place {
            return;
        }
        if place.home != self.place.home {
            // Nobody can take away what belongs to a home address that is gone.
            self.entries.clear();
        }
        self.place = place;
        self.with_all(now, Correspondent::on_place);
    }

    /// The node ends: all bindings are to go.
    pub fn on_stop(&mut self, now: Instant) {
        self.stopping = true;
        self.with_all(now, |entry, means| match entry.resting() {
            Some(_) => {}
            None => entry.unbind(None, means),
        });
    }

    /// Something is due.
    pub fn on_timer(&mut self, now: Instant) {
        self.with_all(now, Correspondent::on_timer);
    }

    /// A Mobility Header from `from` to `to`, that is our home address or our care-of address, and the
    /// way that it came: what has our home address in a type 2 routing header came directly.
    pub fn on_mobility_header(
        &mut self,
        (from, to): (Ipv6Addr, Ipv6Addr),
        by: By,
        header: &[u8],
        now: Instant,
    ) {
        let Ok(message) = mh::parse(header, from, to) else { return };
        let Place { home, care_of } = self.place;
        match message {
            Message::ReturnRoutability(ReturnRoutability::Test {
                address,
                nonce_index,
                cookie,
                token: KeygenToken(token),
            }) => {
                // RFC 6275 s.11.6.2: a Home Test comes in the tunnel.
                let expected = match address {
                    TestedAddress::Home => (home, By::Home),
                    TestedAddress::CareOf => (care_of, By::CareOf),
                };
                if expected == (Some(to), by) {
                    self.with(from, now, |entry, means| {
                        entry.on_test(address, to, cookie, (nonce_index, token), means);
                    });
                }
            }
            Message::BindingAck(ack) if home == Some(to) => {
                let authorization = mh::authorization(header);
                let (status, seq, lifetime) = (ack.status, ack.seq, ack.lifetime);
                let ack = Ack { status, seq, lifetime, authorization };
                self.with(from, now, |entry, means| entry.on_ack(&ack, means));
            }
            Message::BindingError(error) if error.status == 2 => {
                self.with(from, now, |entry, means| entry.fail(Why::NotSupported, means));
            }
            Message::BindingError(error) if Some(error.home_address) == home => {
                self.with(from, now, Correspondent::on_unknown_binding);
            }
            Message::BindingRefreshRequest { .. } if home == Some(to) => {
                self.with(from, now, Correspondent::on_refresh_request);
            }
            _ => {}
        }
    }

    /// An ICMPv6 error about a packet that went directly.
    pub fn on_icmp(&mut self, error: &IcmpError, now: Instant) {
        if Some(error.source) != self.place.care_of || !error.is_mobile {
            return;
        }
        self.with(error.destination, now, |entry, means| match error.trouble {
            Trouble::TooBig(mtu) => entry.mtu = Some(mtu.max(MIN_MTU)),
            Trouble::NotUnderstood => entry.fail(Why::NotSupported, means),
            Trouble::Unreachable => entry.fail(Why::Unreachable, means),
        });
    }

    fn with(
        &mut self,
        correspondent: Ipv6Addr,
        now: Instant,
        act: impl FnOnce(&mut Correspondent, &mut Means<'_>),
    ) {
        let Self { place, random, entries, .. } = self;
        let Some(entry) = entries.get_mut(&correspondent) else { return };
        let mut out = Vec::new();
        let before = entry.resting();
        act(entry, &mut Means { place, random, out: &mut out, now });
        out.extend(left_alone(entry, before));
        self.settle(out);
    }

    fn with_all(&mut self, now: Instant, mut act: impl FnMut(&mut Correspondent, &mut Means<'_>)) {
        let Self { place, random, entries, .. } = self;
        let mut out = Vec::new();
        for entry in entries.values_mut() {
            let before = entry.resting();
            act(entry, &mut Means { place, random, out: &mut out, now });
            out.extend(left_alone(entry, before));
        }
        self.settle(out);
    }

    /// What went directly and does not any more is told before anything is sent.
    fn settle(&mut self, out: Vec<Action>) {
        self.entries.retain(|_, entry| !entry.is_over());
        let now = self.routes().map(|route| (route.correspondent, route.direct, route.mtu));
        let mut now: Vec<_> = now.collect();
        now.sort_unstable();
        if now != self.told {
            self.told = now;
            self.actions.push_back(Action::Routes);
        }
        self.actions.extend(out);
    }
}

fn left_alone(entry: &Correspondent, before: Option<(Why, Instant)>) -> Option<Action> {
    let (why, _) = entry.resting().filter(|_| before.is_none())?;
    Some(Action::LeftAlone(entry.address, why))
}
