//! Home links: real ones, where home addresses are defended, and virtual ones, where they are
//! only routed.
//!
//! Read first: RFC 6275 s.10.3.1, 10.4.1, 10.5, 10.6; RFC 5555 s.4.5; RFC 3963 s.6.2, 7.
//!
//! ```text
//! judge --> claim ----------> commit --> announce
//!             |                 ^
//!             v                 | silence
//!           probe --------------+
//!             | somebody else has it
//!             +--> status 134
//! ```
//!
//! | module | what | clause |
//! |---|---|---|
//! | `prefixes` | lifetimes, by configuration or by the box's own advertisements | RFC 6275 s.10.3.1, 10.6.4 |
//! | `claim` | which addresses a plan needs; what a claim becomes | RFC 6275 s.10.3.1 |
//! | `probe` | duplicate address detection | RFC 4862 s.5.4; RFC 5227 s.2.1 |
//! | `announce` | announcements, paced; defence | RFC 6275 s.10.4.1; RFC 4861 s.7.2.6 |
//! | `frames` | their octets | RFC 4861 s.4; RFC 5227 s.1.1 |
//! | `advertise` | Mobile Prefix Advertisements | RFC 6275 s.6.8, 10.6 |
//! | `home_agents` | the Home Agents List; discovery | RFC 6275 s.10.5 |

mod advertise;
mod announce;
mod claim;
mod frames;
mod home_agents;
mod prefixes;
mod probe;

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::HashMap;

use hearth_wire::icmp6::{self, Message};
use hearth_wire::ip::Ipv6Header;
use hearth_wire::mh::{self, BindingError};
use ipnet::IpNet;
use zerocopy::IntoBytes;

use crate::HomeAgent;
use crate::binding::Binding;
use crate::dsmipv6::is_routable_v6;
use crate::event::{Action, InnerPacket, Notice};
use crate::rate::Bucket;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::timer::Timer;
pub(crate) use crate::tunnels::{Defended, LinkId};

use advertise::{Schedule, Why};
use announce::{Announcements, Defences};
use home_agents::HomeAgents;
use prefixes::Prefixes;
use probe::Probes;

pub use advertise::MobilePrefixPolicy;
pub use home_agents::{DiscoveryPolicy, HomeAgentView, anycast};
pub use prefixes::{HomePrefix, Lifetime};

/// Answers to strangers, each kind: so many a second, and as many in one burst.
const ANSWERS_PER_SECOND: u32 = 100;
/// Status of a Binding Error: a Home Address option without a binding (RFC 6275 s.6.1.9).
const UNKNOWN_BINDING: u8 = 1;
const HOP_LIMIT: u8 = 64;

/// The home agent's end of a real home link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeLink {
    /// The link.
    pub id: LinkId,
    /// The port's link-layer address.
    pub mac: [u8; 6],
    /// The home agent's own address on it: the source of announcements.
    pub ip6: Ipv6Addr,
}

/// Home prefixes, and what is done for the home addresses in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPolicy {
    /// Links that home addresses are defended on. Default: none.
    pub links: Vec<HomeLink>,
    /// All home prefixes; they take the place of [`Policy::home_prefixes`]. Default: none.
    ///
    /// [`Policy::home_prefixes`]: crate::Policy::home_prefixes
    pub prefixes: Vec<HomePrefix>,
    /// Questions of duplicate address detection in front of a first registration
    /// (`DupAddrDetectTransmits`, RFC 4862 s.5.1); 0: none is made. Default: 1.
    pub probes: u8,
    /// How long an answer to each is waited for (`RetransTimer`). Default: 1 s.
    pub probe_wait: Duration,
    /// Registrations that may wait for it; one beyond is refused with status 130. Default: 4096.
    pub max_probing: usize,
    /// Home addresses announced a second. Default: 1000.
    pub announcements_per_second: u32,
    /// Mobile Prefix Advertisements.
    pub mobile_prefixes: MobilePrefixPolicy,
    /// Dynamic home agent address discovery. Default: off (DHD-08).
    pub discovery: Option<DiscoveryPolicy>,
}

impl Default for LinkPolicy {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            prefixes: Vec::new(),
            probes: 1,
            probe_wait: Duration::from_secs(1),
            max_probing: 4096,
            announcements_per_second: 1000,
            mobile_prefixes: MobilePrefixPolicy::default(),
            discovery: None,
        }
    }
}

/// What happened on a home link, or is to hold for it from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent<'a> {
    /// Home prefixes and links from the configuration.
    Configured(&'a LinkPolicy),
    /// Somebody else uses an address, or asks for it in order to use it.
    Contested {
        /// The link.
        link: LinkId,
        /// The address, of either family.
        address: IpAddr,
        /// Who.
        mac: [u8; 6],
        /// It asks (duplicate address detection, ARP Probe).
        probing: bool,
    },
    /// A Router Advertisement.
    RouterAdvertisement {
        /// The link.
        link: LinkId,
        /// It was sent by the box itself.
        own: bool,
        /// Addresses and hop limit of its packet.
        envelope: icmp6::Envelope,
        /// The ICMPv6 message.
        octets: &'a [u8],
    },
    /// A packet to a Home-Agents anycast address (see [`anycast`]).
    HomeAgentDiscovery {
        /// Addresses and hop limit of the packet.
        envelope: icmp6::Envelope,
        /// The ICMPv6 message.
        octets: &'a [u8],
    },
    /// A plain packet to the box with a Home Address option for which there is no binding
    /// (RFC 6275 s.9.3.1).
    PlainHomeAddress {
        /// Its source.
        from: Ipv6Addr,
        /// Its destination.
        to: Ipv6Addr,
        /// The address in the option.
        home_address: Ipv6Addr,
    },
}

/// Counters of home links, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounters {
    /// Registrations that waited for duplicate address detection.
    pub probes: u64,
    /// Registrations that it refused with status 134.
    pub duplicates: u64,
    /// Home addresses announced, repetitions included.
    pub announcements: u64,
    /// Announcements left out because too many waited.
    pub announcements_lost: u64,
    /// Bound addresses that somebody else claimed.
    pub contested: u64,
    /// Mobile Prefix Advertisements sent.
    pub prefix_advertisements: u64,
    /// Home Agent Address Discovery Replies sent.
    pub discovery_replies: u64,
    /// Binding Errors sent to nodes without a binding.
    pub binding_errors: u64,
    /// Answers to strangers that the rate limit held back.
    pub answers_limited: u64,
}

/// Chance, from a seed that the caller chose: of no use to cryptography.
#[derive(Debug, Default)]
pub(crate) struct Random(u64);

impl Random {
    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let among = u64::try_from(last).unwrap_or(u64::MAX) + 1;
            items.swap(last, usize::try_from(self.next() % among).unwrap_or(0));
        }
    }
}

/// Bindings to be looked at because of prefixes that have changed.
#[derive(Debug)]
struct Review {
    prefixes: Vec<IpNet>,
    /// Whether mobile nodes are to be told; what a home agent starts with is no change.
    tell: bool,
    /// The first place of the cache that was not looked at since.
    next: usize,
}

/// Everything about home links.
#[derive(Debug, Default)]
pub(crate) struct Links {
    policy: LinkPolicy,
    pub(crate) prefixes: Prefixes,
    probes: Probes,
    announcements: Announcements,
    defences: Defences,
    /// Link-local addresses that are defended together with a home address (L).
    link_locals: HashMap<(LinkId, Ipv6Addr), Ipv6Addr>,
    schedule: Schedule,
    home_agents: HomeAgents,
    random: Random,
    review: Option<Review>,
    answers: [Bucket; 2],
    counters: LinkCounters,
}

impl Links {
    fn link(&self, id: LinkId) -> Option<&HomeLink> {
        self.policy.links.iter().find(|link| link.id == id)
    }

    /// The addresses of `home_address`'s binding are nobody's any more.
    pub(crate) fn released(&mut self, home_address: Ipv6Addr) {
        self.schedule.cancel(home_address);
        if let Some(link) = self.prefixes.link_of(home_address.into()) {
            self.release_link_local(link, home_address);
        }
    }

    /// `home_address` has its link-local address as well (L).
    pub(crate) fn hold_link_local(&mut self, home_address: Ipv6Addr) {
        if let Some(link) = self.prefixes.link_of(home_address.into()) {
            self.link_locals.insert((link, link_local(home_address)), home_address);
        }
    }

    fn release_link_local(&mut self, link: LinkId, home_address: Ipv6Addr) {
        let key = (link, link_local(home_address));
        if self.link_locals.get(&key) == Some(&home_address) {
            self.link_locals.remove(&key);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let announcement = self.announcements.next_deadline(self.policy.announcements_per_second);
        let deadlines = [self.probes.next_deadline(), self.schedule.next_deadline(), announcement];
        deadlines.into_iter().flatten().min()
    }
}

/// RFC 6275 s.10.3.1: "The link-local address is derived by replacing the subnet prefix in the
/// mobile node's home address with the link-local prefix."
fn link_local(home_address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = 0xfe80 << 112;
    Ipv6Addr::from_bits(PREFIX | home_address.to_bits() & u128::from(u64::MAX))
}

impl HomeAgent {
    /// Starts the chance by which discovery shuffles home agents and spreads prefix
    /// advertisements.
    pub fn seed(&mut self, seed: u64) {
        self.links.random = Random(seed);
    }

    /// Home prefixes and links as they are configured.
    #[must_use]
    pub const fn link_policy(&self) -> &LinkPolicy {
        &self.links.policy
    }

    /// Counters of home links.
    #[must_use]
    pub fn link_counters(&self) -> LinkCounters {
        let announcements_lost = self.links.announcements.lost();
        LinkCounters { announcements_lost, ..self.links.counters }
    }

    /// Registrations that wait for duplicate address detection.
    #[must_use]
    pub fn probing(&self) -> usize {
        self.links.probes.len()
    }

    /// Other home agents that were heard on home links.
    pub fn home_agents(&self) -> impl Iterator<Item = HomeAgentView<'_>> {
        self.links.home_agents.views(self.now)
    }

    /// Valid and preferred lifetime of the home prefix that `address` is in, as they are told to
    /// mobile nodes; `None` where it does not end, or is no home address.
    #[must_use]
    pub fn prefix_lifetimes(&self, address: Ipv6Addr) -> (Option<Duration>, Option<Duration>) {
        let prefixes = &self.links.prefixes;
        (prefixes.left(address, self.now), prefixes.preferred_left(address, self.now))
    }

    /// The link that a home address is on; `None` where it is routed.
    #[must_use]
    pub fn home_link(&self, address: IpAddr) -> Option<LinkId> {
        self.links.prefixes.link_of(address)
    }

    /// When the prefix of `home_address` ends, and with it every binding in it: now, where it is
    /// not served any more.
    pub(crate) fn prefix_end(&self, now: Timestamp, home_address: Ipv6Addr) -> Timestamp {
        let left = self.links.prefixes.left(home_address, now).unwrap_or(Duration::MAX);
        if self.policy.serves(home_address.into()) { now.after(left) } else { now }
    }

    pub(crate) fn link_deadline(&self) -> Option<Timestamp> {
        if self.links.review.is_some() { Some(self.now) } else { self.links.next_deadline() }
    }

    /// Where the home address of a binding is defended.
    pub(crate) fn defended(&self, binding: &Binding) -> Option<Defended> {
        let home_address = binding.home_address;
        // RFC 3963 s.6.2: an address out of a mobile network is on no home link.
        if binding.is_in_own_network(home_address.into()) {
            return None;
        }
        let link = self.links.prefixes.link_of(home_address.into())?;
        let own = link_local(home_address);
        let compatible = self.links.link_locals.get(&(link, own)) == Some(&home_address);
        let router = binding.is_mobile_router();
        Some(Defended { link, link_local: compatible.then_some(own), router })
    }

    pub(crate) fn link_event(
        &mut self,
        now: Timestamp,
        event: &LinkEvent<'_>,
        out: &mut Vec<Action>,
    ) {
        match *event {
            LinkEvent::Configured(policy) => self.configure_links(policy),
            LinkEvent::Contested { link, address, mac, probing } => {
                self.contested(now, (link, address), mac, probing, out);
            }
            LinkEvent::RouterAdvertisement { link, own, ref envelope, octets } => {
                self.router_advertisement(now, (link, own), envelope, octets);
            }
            LinkEvent::HomeAgentDiscovery { ref envelope, octets } => {
                self.discovery(now, envelope, octets, out);
            }
            LinkEvent::PlainHomeAddress { from, to, home_address } => {
                self.plain_home_address(now, (from, to), home_address, out);
            }
        }
    }

    fn configure_links(&mut self, policy: &LinkPolicy) {
        if !policy.prefixes.is_empty() {
            let prefixes = policy.prefixes.iter().map(|home| home.prefix);
            self.policy.home_prefixes = prefixes.collect();
        }
        let tell = !self.links.prefixes.is_empty();
        let changed = self.links.prefixes.replace(&policy.prefixes);
        let links = &mut self.links;
        links.policy = policy.clone();
        let Links { prefixes, link_locals, .. } = links;
        link_locals.retain(|(link, _), home| prefixes.link_of((*home).into()) == Some(*link));
        self.review(changed, tell);
    }

    fn router_advertisement(
        &mut self,
        now: Timestamp,
        (link, own): (LinkId, bool),
        envelope: &icmp6::Envelope,
        octets: &[u8],
    ) {
        let Ok(Message::RouterAdvertisement(message)) = icmp6::parse(octets, envelope) else {
            return;
        };
        if own {
            let changed = self.links.prefixes.on_advertisement(now, link, &message);
            self.review(changed, true);
        } else if self.links.policy.discovery.is_some() {
            self.links.home_agents.on_advertisement(now, (link, envelope.source), &message);
        }
    }

    /// Has every binding looked at that these prefixes matter to.
    fn review(&mut self, changed: Vec<IpNet>, tell: bool) {
        if changed.is_empty() {
            return;
        }
        // Those of a review that is not over yet are looked at from the start.
        let mut review = self.links.review.take().unwrap_or(Review {
            prefixes: Vec::new(),
            tell: false,
            next: 0,
        });
        review.prefixes.extend(changed);
        review.prefixes.sort_unstable();
        review.prefixes.dedup();
        self.links.review = Some(Review { tell: tell || review.tell, next: 0, ..review });
    }

    /// Does what is due on home links, but not more than `budget` steps of it.
    pub(crate) fn run_links(&mut self, now: Timestamp, budget: usize, out: &mut Vec<Action>) {
        if self.link_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let mut left = budget;
        self.run_review(now, &mut left, out);
        while left > 0 && self.probe_due(now, out) {
            left -= 1;
        }
        let rate = self.links.policy.announcements_per_second;
        while left > 0
            && let Some(home_address) = self.links.announcements.next(now, rate)
        {
            left -= 1;
            self.announce(home_address, out);
        }
        while left > 0
            && let Some(due) = self.links.schedule.next(now)
        {
            left -= 1;
            if let Some((home_address, why)) = due {
                self.advertise(now, home_address, why, out);
            }
        }
    }

    fn run_review(&mut self, now: Timestamp, left: &mut usize, out: &mut Vec<Action>) {
        while *left > 0
            && let Some(mut review) = self.links.review.take()
        {
            if review.next >= self.cache.places() {
                return;
            }
            *left -= 1;
            if let Some(id) = Id::from_index(review.next) {
                self.review_binding(now, id, &review, out);
            }
            review.next += 1;
            self.links.review = Some(review);
        }
    }

    /// RFC 6275 s.10.3.1: "The home agent MUST remove a binding when the valid lifetime of the
    /// prefix associated with it expires." s.10.6.2: a change is told.
    fn review_binding(
        &mut self,
        now: Timestamp,
        id: Id<Binding>,
        review: &Review,
        out: &mut Vec<Action>,
    ) {
        let Some(binding) = self.cache.at_mut(id).filter(|binding| binding.is_bound()) else {
            return;
        };
        let home_address = binding.home_address;
        let served = self.policy.serves(home_address.into());
        let left = self.links.prefixes.left(home_address, now);
        let end = if served { left.map(|left| now.after(left)) } else { Some(now) };
        if let Some(end) = end.filter(|end| binding.expires > *end) {
            binding.expires = end;
            binding.timer = self.wheel.no_later(binding.timer, end, Timer::BindingEnd(id).into());
        }
        let told = review.tell && self.links.policy.mobile_prefixes.enabled;
        if self.settle_binding(now, id, out) || !told {
            return;
        }
        let concerns = |prefix: &IpNet| {
            matches!(prefix, IpNet::V6(_))
                && (prefix.contains(&IpAddr::V6(home_address))
                    || self.links.prefixes.is_neighbour(home_address, *prefix))
        };
        if review.prefixes.iter().any(concerns) {
            let random = self.links.random.next();
            let preferred = self.links.prefixes.preferred_left(home_address, now);
            let delay = self.links.policy.mobile_prefixes.delay(preferred, random);
            self.links.schedule.changed(now, home_address, delay);
        }
    }

    /// A packet out of a tunnel, to the home agent itself: whether it was a Mobile Prefix
    /// Solicitation (RFC 6275 s.10.6).
    pub(crate) fn prefix_solicitation(
        &mut self,
        now: Timestamp,
        inner: &InnerPacket<'_>,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some((envelope, octets)) = icmp_of(inner.packet) else { return false };
        let Ok(Message::MobilePrefixSolicitation(solicitation)) = icmp6::parse(octets, &envelope)
        else {
            return false;
        };
        let bound = self.cache.get(inner.home_address).filter(|binding| binding.expires > now);
        if bound.is_some() && self.links.policy.mobile_prefixes.enabled {
            let (home_address, to) = (inner.home_address, envelope.source);
            self.links.schedule.solicited(now, home_address, solicitation.id, to);
            self.run_links(now, 8, out);
        }
        true
    }

    fn advertise(
        &mut self,
        now: Timestamp,
        home_address: Ipv6Addr,
        why: Why,
        out: &mut Vec<Action>,
    ) {
        let (id, to) = match why {
            Why::Solicited { id, to } => (id, to),
            Why::Changed { .. } => {
                let [a, b, ..] = self.links.random.next().to_be_bytes();
                // "the advertisement's destination will be the mobile node's home address"
                (u16::from_be_bytes([a, b]), home_address)
            }
            Why::Rest => return,
        };
        let Some(binding) = self.cache.get(home_address) else { return };
        let Some(sa) = self.sas.at(binding.sa).filter(|_| binding.expires > now) else { return };
        let from = self.sas.ha_address(sa);
        let links = &mut self.links;
        let prefixes = links.prefixes.information(home_address, now);
        let dhcp = if links.policy.mobile_prefixes.dhcpv6 {
            links.prefixes.dhcp()
        } else {
            (false, false)
        };
        let packet = advertise::packet((from, to, home_address), id, dhcp, &prefixes);
        if let Some(packet) = packet {
            links.counters.prefix_advertisements += 1;
            out.push(Action::SendData { home_address, packet });
        }
    }

    fn discovery(
        &mut self,
        now: Timestamp,
        envelope: &icmp6::Envelope,
        octets: &[u8],
        out: &mut Vec<Action>,
    ) {
        let Ok(Message::HomeAgentDiscoveryRequest(request)) = icmp6::parse(octets, envelope) else {
            return;
        };
        let links = &mut self.links;
        let Some(own) = &links.policy.discovery else { return };
        let asked = links.policy.prefixes.iter().find(|home| {
            matches!(home.prefix, IpNet::V6(prefix) if anycast(prefix) == envelope.destination)
        });
        let Some(asked) = asked.filter(|_| is_routable_v6(envelope.source)) else { return };
        let [answers, _] = &mut links.answers;
        if !answers.take(now, ANSWERS_PER_SECOND) {
            links.counters.answers_limited += 1;
            return;
        }
        let to = (envelope.source, asked.link);
        let reply = links.home_agents.reply(now, own, to, request, &mut links.random);
        if let Some(packet) = reply {
            links.counters.discovery_replies += 1;
            out.push(Action::SendPlain { packet });
        }
    }

    /// RFC 6275 s.9.3.1: "the receiving node MUST silently discard the packet and SHOULD return a
    /// Binding Error"; s.9.3.3: not to what is not unicast, and within limits.
    fn plain_home_address(
        &mut self,
        now: Timestamp,
        (from, to): (Ipv6Addr, Ipv6Addr),
        home_address: Ipv6Addr,
        out: &mut Vec<Action>,
    ) {
        if !is_routable_v6(from) || !is_routable_v6(to) {
            return;
        }
        let links = &mut self.links;
        let [_, errors] = &mut links.answers;
        if !errors.take(now, ANSWERS_PER_SECOND) {
            links.counters.answers_limited += 1;
            return;
        }
        if let Some(packet) = binding_error(from, to, home_address) {
            links.counters.binding_errors += 1;
            out.push(Action::SendPlain { packet });
        }
    }

    /// What to tell the operator of an address that somebody else claims.
    fn notice_contested(address: IpAddr, mac: [u8; 6], out: &mut Vec<Action>) {
        out.push(Action::Notice(Notice::AddressContested { address, mac }));
    }
}

fn binding_error(from: Ipv6Addr, to: Ipv6Addr, home_address: Ipv6Addr) -> Option<Vec<u8>> {
    let error = BindingError { status: UNKNOWN_BINDING, home_address };
    let mut octets = [0; 24];
    let len = mh::emit(&mh::Message::BindingError(error), to, from, &mut octets)?;
    let header = Ipv6Header::new(to, from, mh::PROTO, HOP_LIMIT, len)?;
    Some([header.as_bytes(), octets.get(..len)?].concat())
}

/// The ICMPv6 message of an IPv6 packet without extension headers, and what its header says.
fn icmp_of(packet: &[u8]) -> Option<(icmp6::Envelope, &[u8])> {
    let (fixed, payload) = packet.split_first_chunk::<{ Ipv6Header::LEN }>()?;
    let [first, _, _, _, a, b, next_header, hop_limit, addresses @ ..] = fixed;
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let envelope = icmp6::Envelope {
        source: Ipv6Addr::from(*source),
        destination: Ipv6Addr::from(<[u8; 16]>::try_from(destination).ok()?),
        hop_limit: *hop_limit,
    };
    let octets = payload.get(..usize::from(u16::from_be_bytes([*a, *b])))?;
    (first >> 4 == 6 && *next_header == icmp6::PROTO).then_some((envelope, octets))
}
