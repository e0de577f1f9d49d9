//! The kernel's routes and addresses on their way into the dataplane's FIB, on a thread of its own.
//!
//! The kernel's routing table is the operator's: whatever `ip route`, FRR or an RA put on a port's
//! TAP ends up in the FIB. Of several tables (VRFs, policy routing) the main one counts and no
//! other.
//!
//! With a hundred thousand routes reading them and building the FIB take hundreds of milliseconds.
//! So the control thread only publishes what this thread has built. Routes are read whole: the
//! kernel does not tell of every route that goes with an interface, and of one that replaces
//! another it does not say which; changes are gathered meanwhile, and the thread rests longer than
//! it works.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use hearth_dataplane::{BuiltRoutes, PortId, Route, RouteBuilder, TableError};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::given_watch::{GivenWatch, Kept};
use crate::netlink::{Netlink, Notifications};

/// Multicast groups of rtnetlink that concern the FIB: interfaces, IPv4 and IPv6 addresses and
/// routes (`RTNLGRP_*`).
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

/// Least time between two builds.
const GATHER: Duration = Duration::from_millis(10);

/// How many times as long as it has worked the thread rests, so that a flapping table does not cost
/// a core.
const REST: u32 = 3;

/// Work without rest: a few changes after a quiet time, an interface with its addresses and routes
/// say, are in the FIB as soon as it is built.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The longest wait for a notification: then there may be something to free, or the end has come.
const LOOK: Duration = Duration::from_millis(100);

/// What the thread has to say.
pub(crate) enum Found {
    /// Routes and addresses as they are now, and what they were built of.
    Built(BuiltRoutes, Arc<Read>),
    /// They did not fit; it is tried again.
    Refused(TableError),
    /// What became of the routes that the kernel was given.
    Given(Kept),
    /// The kernel does not answer: the thread has ended.
    Broken(io::Error),
}

/// The thread.
pub(crate) struct RouteWatch {
    monitor: Netlink,
    command: Netlink,
    ports: HashMap<u32, u16>,
    home_prefixes: Vec<(IpAddr, u8)>,
    /// Addresses of the box that the kernel does not know.
    anycast: Vec<IpAddr>,
    builder: RouteBuilder,
    given: GivenWatch,
    /// What the last build was made of.
    built: Option<Arc<Read>>,
    found: SyncSender<Found>,
}

/// A prefix and its length.
pub(crate) type Prefix = (IpAddr, u8);

/// What the kernel has.
#[derive(PartialEq, Eq)]
pub(crate) struct Read {
    /// Routes that leave by a port, by prefix.
    pub(crate) routes: Vec<Route>,
    /// Prefixes that lead nowhere.
    pub(crate) blocked: Vec<Prefix>,
    /// The box's addresses on its ports, and what counts as such.
    addresses: Vec<IpAddr>,
}

impl Read {
    fn has(&self, prefix: Prefix) -> bool {
        self.routes.binary_search_by_key(&prefix, |route| route.prefix).is_ok()
    }
}

/// Where a route of the main table leads.
#[derive(Clone, Copy)]
enum Way {
    /// Out of a port, by a gateway or on the link.
    Port(u16, Option<IpAddr>),
    /// Nowhere: a blackhole, or as good as one. FRR makes them for what it aggregates.
    Nowhere,
}

/// What the thread has worked and not rested from.
#[derive(Default)]
struct Effort {
    owed: Duration,
    since: Option<Instant>,
}

impl Effort {
    /// How long to rest after having worked for `worked` until `now`.
    fn rest(&mut self, now: Instant, worked: Duration) -> Duration {
        let rested = self.since.map(|since| now.saturating_duration_since(since + worked));
        self.owed = self.owed.saturating_sub(rested.unwrap_or_default() / REST) + worked;
        self.since = Some(now);
        if self.owed > AT_ONCE { GATHER.max(worked * REST) } else { GATHER }
    }
}

impl RouteWatch {
    /// Connects; `interfaces` are the kernel's numbers of the TAPs, in the order of the ports, and of
    /// the TUN that the kernel is given routes by.
    pub(crate) fn connect(
        (interfaces, tun): (impl IntoIterator<Item = u32>, Option<u32>),
        (home_prefixes, anycast): (Vec<(IpAddr, u8)>, Vec<IpAddr>),
        builder: RouteBuilder,
        found: SyncSender<Found>,
    ) -> io::Result<Self> {
        Ok(Self {
            monitor: Netlink::for_notifications(&GROUPS)?,
            command: Netlink::for_requests()?,
            ports: interfaces.into_iter().zip(0..).collect(),
            home_prefixes,
            anycast,
            builder,
            given: GivenWatch::new(tun),
            built: None,
            found,
        })
    }

    /// Runs until `stop`, or until nobody listens.
    pub(crate) fn run(mut self, stop: &AtomicBool) {
        let (mut due, mut earliest, mut effort) = (true, Instant::now(), Effort::default());
        while !stop.load(Ordering::Relaxed) {
            let step = self.changed().and_then(|changed| {
                due |= changed;
                let began = Instant::now();
                if !due || began < earliest {
                    return Ok(None);
                }
                let found = self.build()?;
                due = matches!(found, Some(Found::Refused(_)));
                let now = Instant::now();
                earliest = now + effort.rest(now, now - began);
                Ok(found)
            });
            let step = step.and_then(|found| {
                let kept = self.given.kept(&mut self.command)?.map(Found::Given);
                Ok([found, kept])
            });
            let (found, broken) = match step {
                Ok(found) => (found, false),
                Err(error) => ([Some(Found::Broken(error)), None], true),
            };
            let heard = found.into_iter().flatten().all(|found| self.found.send(found).is_ok());
            if broken || !heard {
                return;
            }
            self.builder.free_retired();
            let rest = earliest.saturating_duration_since(Instant::now());
            self.sleep(if due { rest.min(LOOK) } else { LOOK }, due);
        }
    }

    /// Waits so long; until a notification, unless one is known of.
    fn sleep(&self, most: Duration, known: bool) {
        if known {
            return std::thread::sleep(most);
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(most.subsec_nanos()) };
        // Whatever the poll says: the next turn looks.
        let _ = poll(
            &mut [PollFd::from_borrowed_fd(self.monitor.as_fd(), PollFlags::IN)],
            Some(&timeout),
        );
    }

    /// Whether something was told since the last call that concerns a port.
    fn changed(&mut self) -> io::Result<bool> {
        let mut changed = false;
        loop {
            match self.monitor.notifications()? {
                Notifications::None => return Ok(changed),
                Notifications::Overrun => {
                    self.given.overrun();
                    changed = true;
                }
                Notifications::Some(messages) => {
                    self.given.hear(&messages);
                    changed |= messages.iter().any(|message| self.concerns_a_port(message));
                }
            }
        }
    }

    fn concerns_a_port(&self, message: &RouteNetlinkMessage) -> bool {
        match message {
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                // One that leads elsewhere may have replaced one that we know: of that no more is told.
                let is_known = |prefix| self.built.as_ref().is_some_and(|built| built.has(prefix));
                main_route(&self.ports, route).is_some() || main_prefix(route).is_some_and(is_known)
            }
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                self.ports.contains_key(&address.header.index)
            }
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                self.ports.contains_key(&link.header.index)
            }
            _ => false,
        }
    }

    fn build(&mut self) -> io::Result<Option<Found>> {
        let ((routes, blocked), mut addresses) = (self.routes()?, self.addresses()?);
        addresses.extend_from_slice(&self.anycast);
        let read = Read { routes, blocked, addresses };
        if self.built.as_ref().is_some_and(|built| **built == read) {
            return Ok(None);
        }
        let Read { routes, blocked, addresses } = &read;
        Ok(Some(match self.builder.build(routes, blocked, addresses, &self.home_prefixes) {
            Ok(built) => {
                let read = Arc::new(read);
                self.built = Some(Arc::clone(&read));
                Found::Built(built, read)
            }
            Err(error) => Found::Refused(error),
        }))
    }

    /// The routes of the main table that leave by a port, and the prefixes that lead nowhere: the
    /// best of each prefix counts.
    fn routes(&mut self) -> io::Result<(Vec<Route>, Vec<Prefix>)> {
        let Self { command, ports, .. } = self;
        let mut request = RouteMessage::default();
        let mut best = BTreeMap::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            request.header.address_family = family;
            command.dump(RouteNetlinkMessage::GetRoute(request.clone()), |message| {
                if let RouteNetlinkMessage::NewRoute(message) = message
                    && let Some((prefix, metric, way)) = main_route(ports, &message)
                {
                    let kept = best.entry(prefix).or_insert((metric, way));
                    if metric < kept.0 {
                        *kept = (metric, way);
                    }
                }
            })?;
        }
        let (mut routes, mut blocked) = (Vec::new(), Vec::new());
        for (prefix, (_, way)) in best {
            match way {
                Way::Port(port, gateway) => {
                    routes.push(Route { prefix, port: PortId(port), gateway });
                }
                Way::Nowhere => blocked.push(prefix),
            }
        }
        Ok((routes, blocked))
    }

    /// The box's addresses on its ports.
    fn addresses(&mut self) -> io::Result<Vec<IpAddr>> {
        let Self { command, ports, .. } = self;
        let mut found = BTreeSet::new();
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        command.dump(request, |message| {
            let RouteNetlinkMessage::NewAddress(address) = message else { return };
            if !ports.contains_key(&address.header.index) {
                return;
            }
            for attribute in &address.attributes {
                if let AddressAttribute::Address(ip) | AddressAttribute::Local(ip) = attribute {
                    found.insert(*ip);
                }
            }
        })?;
        Ok(found.into_iter().collect())
    }
}

/// The prefix of a route of the main table, where it can be in the FIB.
fn main_prefix(message: &RouteMessage) -> Option<Prefix> {
    let header = &message.header;
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip_of(address),
        _ => None,
    });
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let prefix = (destination.unwrap_or(any), header.destination_prefix_length);
    let link_local = matches!(prefix.0, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let fits = header.table == RouteHeader::RT_TABLE_MAIN && !link_local;
    (fits && !prefix.0.is_multicast()).then_some(prefix)
}

/// A route of the main table with its metric, where it leaves by a port or leads nowhere.
fn main_route(ports: &HashMap<u32, u16>, message: &RouteMessage) -> Option<(Prefix, u32, Way)> {
    let prefix = main_prefix(message)?;
    let mut metric = 0;
    let mut hop = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(index) => hop.0 = Some(*index),
            RouteAttribute::Gateway(gateway) => hop.1 = ip_of(gateway),
            RouteAttribute::Via(via) => hop.1 = ip_of_via(via),
            // The first that leaves by a port: the FIB has one next hop for each prefix.
            RouteAttribute::MultiPath(hops) => {
                let leaves = |index: Option<u32>| index.is_some_and(|i| ports.contains_key(&i));
                hop = hops.iter().map(next_hop).find(|(index, _)| leaves(*index)).unwrap_or(hop);
            }
            _ => {}
        }
    }
    let way = match message.header.kind {
        RouteType::Unicast => Way::Port(*ports.get(&hop.0?)?, hop.1),
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => Way::Nowhere,
        _ => return None,
    };
    Some((prefix, metric, way))
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn ip_of_via(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteVia::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn next_hop(hop: &RouteNextHop) -> (Option<u32>, Option<IpAddr>) {
    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(gateway) => ip_of(gateway),
        RouteAttribute::Via(via) => ip_of_via(via),
        _ => None,
    });
    (Some(hop.interface_index), gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few changes are built at once; a table that flaps for long costs a quarter of a core.
    #[test]
    fn only_work_without_end_is_rested_from() {
        let (mut effort, mut now, work) = (Effort::default(), Instant::now(), 100);
        let work = Duration::from_millis(work);
        let mut rests = Vec::new();
        for _ in 0..20 {
            now += work;
            rests.push(effort.rest(now, work));
            now += rests[rests.len() - 1];
        }
        assert!(rests[..9].iter().all(|rest| *rest == GATHER), "{rests:?}");
        assert!(rests[12..].contains(&(work * REST)), "{rests:?}");
        now += Duration::from_secs(60) + work;
        assert_eq!(effort.rest(now, work), GATHER);
    }
}
