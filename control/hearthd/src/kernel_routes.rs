//! Routes that the kernel is given: home prefixes and mobile network prefixes, by `hearth0`.
//!
//! With them the box itself reaches its mobile nodes, whatever source it sends from, and FRR can
//! announce them (`redistribute kernel`). They carry a protocol number and a metric of their own,
//! so that whose they are can be seen, and nobody else's is touched. A mobile network prefix is
//! there while its mobile router is bound (RFC 3963 s.6.4). Those that somebody deletes, or that go
//! because the device is taken down, are put back ([`crate::given_watch`] hears of it).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::net::Ipv6Addr;

use hearth_config::Spanned;
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::Deserialize;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::given_watch::{Kept, is_given};
use crate::home_link_config::Mode;
use crate::kernel::Kernel;

/// The protocol number of these routes (`ip route show proto 201`): none of the kernel's, of FRR's
/// or of BIRD's.
pub(crate) const PROTOCOL: u8 = 201;

/// Their metric.
const METRIC: u32 = 201;

/// Most changes in a turn of the control thread.
const BATCH: usize = 128;

/// Which routes the kernel is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// Home prefixes that are routed to the home agent.
    HomePrefixes,
    /// Mobile network prefixes of bound mobile routers.
    MobileNetworkPrefixes,
}

/// The default: both.
pub(crate) fn all() -> Vec<Spanned<Given>> {
    let at = hearth_config::Location::UNKNOWN;
    [Given::HomePrefixes, Given::MobileNetworkPrefixes].map(|g| Spanned::new(g, at, at)).into()
}

/// Home prefixes that are on no port's link, so that only bindings lead there.
fn routed_home_prefixes(config: &Config) -> impl Iterator<Item = IpNet> + '_ {
    let on_a_link = |prefix: &IpNet| {
        let mut links = config.ports.iter().flat_map(|port| &port.addresses);
        links.any(|link| link.value.contains(prefix) || prefix.contains(&link.value.trunc()))
    };
    let prefixes = config.home_agent.home_prefixes.iter().map(|home| &home.value);
    let routed = prefixes.filter(|home| home.about.mode == Mode::Routed).map(|home| home.prefix);
    routed.filter(move |prefix| !on_a_link(prefix))
}

fn is_given_to(config: &Config, what: Given) -> bool {
    config.kernel_routes.iter().any(|given| given.value == what)
}

/// The routes that the kernel should have, and those that it has.
#[derive(Debug, Default)]
pub(crate) struct KernelRoutes {
    networks_too: bool,
    /// Home prefixes.
    home: Vec<IpNet>,
    /// Mobile network prefixes by the home address that they are bound with.
    networks: HashMap<Ipv6Addr, Vec<IpNet>>,
    /// All that the kernel should have once `add` and `remove` are carried out.
    wanted: HashSet<IpNet>,
    add: BTreeSet<IpNet>,
    remove: BTreeSet<IpNet>,
}

impl KernelRoutes {
    /// Those that `config` asks for before anybody is bound.
    pub(crate) fn new(config: &Config) -> Self {
        let networks_too = is_given_to(config, Given::MobileNetworkPrefixes);
        let mut routes = Self { networks_too, ..Self::default() };
        routes.set_home_prefixes(config);
        routes
    }

    /// Those of the home prefixes that there are now, and of no others.
    pub(crate) fn set_home_prefixes(&mut self, config: &Config) {
        let given = is_given_to(config, Given::HomePrefixes);
        let now: Vec<_> = routed_home_prefixes(config).filter(|_| given).collect();
        let before = std::mem::replace(&mut self.home, now.clone());
        self.change(&before, &now);
    }

    /// A mobile node is bound, with these mobile network prefixes and no others.
    pub(crate) fn bound(&mut self, home_address: Ipv6Addr, prefixes: &[IpNet]) {
        if prefixes.is_empty() || !self.networks_too {
            // Most mobile nodes have none and had none.
            return self.unbound(home_address);
        }
        let before = self.networks.insert(home_address, prefixes.to_vec()).unwrap_or_default();
        self.change(&before, prefixes);
    }

    /// A mobile node is no longer bound.
    pub(crate) fn unbound(&mut self, home_address: Ipv6Addr) {
        if !self.networks.is_empty()
            && let Some(before) = self.networks.remove(&home_address)
        {
            self.change(&before, &[]);
        }
    }

    fn change(&mut self, before: &[IpNet], now: &[IpNet]) {
        for gone in before.iter().filter(|prefix| !now.contains(prefix)) {
            self.wanted.remove(gone);
            if !self.add.remove(gone) {
                self.remove.insert(*gone);
            }
        }
        for new in now.iter().filter(|prefix| !before.contains(prefix)) {
            self.wanted.insert(*new);
            if !self.remove.remove(new) {
                self.add.insert(*new);
            }
        }
    }

    /// Gives the kernel again what it has lost of what it should have.
    pub(crate) fn put_back(&mut self, kept: &Kept) {
        let lost: Vec<IpNet> = match kept {
            Kept::AllBut(gone) => {
                gone.iter().filter(|prefix| self.wanted.contains(prefix)).copied().collect()
            }
            Kept::Only(left) => self.wanted.difference(left).copied().collect(),
        };
        // Those that wait to be added are no news.
        let news = lost.into_iter().filter(|prefix| self.add.insert(*prefix)).count();
        if news > 0 {
            info!(routes = news, "routes that somebody took from the kernel are put back");
        }
    }

    /// Gives the kernel some of what has changed; whether there is more.
    ///
    /// # Errors
    /// Netlink failed.
    pub(crate) fn apply(&mut self, kernel: &mut Kernel, interface: u32) -> io::Result<bool> {
        if self.add.is_empty() && self.remove.is_empty() {
            return Ok(false);
        }
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        while remove.len() < BATCH
            && let Some(prefix) = self.remove.pop_first()
        {
            remove.push(prefix);
        }
        while add.len() + remove.len() < BATCH
            && let Some(prefix) = self.add.pop_first()
        {
            add.push(prefix);
        }
        kernel.set_routes(interface, &add, &remove)?;
        Ok(!self.add.is_empty() || !self.remove.is_empty())
    }
}

impl Kernel {
    /// Adds routes by `interface`, and takes others of ours away, in one go. What the kernel
    /// refuses is told and left.
    ///
    /// # Errors
    /// Netlink failed.
    pub fn set_routes(
        &mut self,
        interface: u32,
        add: &[IpNet],
        remove: &[IpNet],
    ) -> io::Result<()> {
        let removed = remove
            .iter()
            .map(|prefix| (RouteNetlinkMessage::DelRoute(route(*prefix, interface)), 0));
        // Of the same prefix and metric nobody but us has a route.
        let added = add.iter().map(|prefix| {
            let message = RouteNetlinkMessage::NewRoute(route(*prefix, interface));
            (message, NLM_F_CREATE | NLM_F_REPLACE)
        });
        let refused = self.command.changes(removed.chain(added).collect())?;
        for (place, error) in refused {
            match place.checked_sub(remove.len()).map(|place| add.get(place)) {
                Some(prefix) => warn!(?prefix, %error, "the kernel has no route to this prefix"),
                // It went with an interface, or somebody took it away.
                None => debug!(prefix = ?remove.get(place), %error, "a route was gone"),
            }
        }
        Ok(())
    }

    /// Takes away what an earlier process left behind.
    ///
    /// # Errors
    /// Netlink failed.
    pub fn sweep_routes(&mut self, interface: u32) -> io::Result<()> {
        let mut stale = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            self.command.dump(RouteNetlinkMessage::GetRoute(request), |message| {
                let RouteNetlinkMessage::NewRoute(mut route) = message else { return };
                if is_given(&route, interface) {
                    // What the kernel adds of its own it does not take back.
                    route.attributes.retain(|attribute| {
                        matches!(
                            attribute,
                            RouteAttribute::Destination(_)
                                | RouteAttribute::Oif(_)
                                | RouteAttribute::Priority(_)
                                | RouteAttribute::Table(_)
                        )
                    });
                    stale.push((RouteNetlinkMessage::DelRoute(route), 0));
                }
            })?;
        }
        while !stale.is_empty() {
            let rest = stale.split_off(stale.len().min(BATCH));
            for (_, error) in self.command.changes(std::mem::replace(&mut stale, rest))? {
                if error.kind() != ErrorKind::NotFound {
                    warn!(%error, "a route of an earlier process stays");
                }
            }
        }
        Ok(())
    }
}

fn route(prefix: IpNet, interface: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (family, scope) = match prefix {
        IpNet::V4(_) => (AddressFamily::Inet, RouteScope::Link),
        IpNet::V6(_) => (AddressFamily::Inet6, RouteScope::Universe),
    };
    message.header.address_family = family;
    message.header.scope = scope;
    message.header.destination_prefix_length = prefix.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(prefix.network().into()),
        RouteAttribute::Oif(interface),
        RouteAttribute::Priority(METRIC),
    ];
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn routes() -> KernelRoutes {
        KernelRoutes { networks_too: true, ..KernelRoutes::default() }
    }

    fn pending(routes: &KernelRoutes) -> (Vec<String>, Vec<String>) {
        let texts = |set: &BTreeSet<IpNet>| set.iter().map(ToString::to_string).collect();
        (texts(&routes.add), texts(&routes.remove))
    }

    const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);

    /// NEM-08: of a mobile router's networks only those change that change.
    #[test]
    fn only_differences_are_given_to_the_kernel() {
        let mut routes = routes();
        routes.bound(HOME, &[net("2001:db8:a::/48"), net("192.0.2.0/28")]);
        assert_eq!(pending(&routes).0, ["192.0.2.0/28", "2001:db8:a::/48"]);
        routes.add.clear();
        routes.bound(HOME, &[net("2001:db8:a::/48"), net("2001:db8:b::/48")]);
        assert_eq!(pending(&routes), (vec!["2001:db8:b::/48".into()], vec!["192.0.2.0/28".into()]));
        // What the kernel was not told yet needs not be taken back.
        routes.bound(HOME, &[net("2001:db8:a::/48"), net("192.0.2.0/28")]);
        assert_eq!(pending(&routes), (vec![], vec![]));
        routes.bound(HOME, &[]);
        assert_eq!(pending(&routes).1, ["192.0.2.0/28", "2001:db8:a::/48"]);
        assert!(routes.networks.is_empty());
    }

    #[test]
    fn mobile_hosts_cost_nothing_and_switched_off_networks_are_not_given() {
        let mut routes = routes();
        routes.bound(HOME, &[]);
        routes.unbound(OTHER);
        assert!(routes.networks.is_empty());
        routes.networks_too = false;
        routes.bound(HOME, &[net("2001:db8:a::/48")]);
        assert_eq!(pending(&routes), (vec![], vec![]));
    }

    /// Own changes come back as notifications, and are no loss.
    #[test]
    fn what_the_kernel_lost_is_put_back_and_nothing_else() {
        let mut routes = routes();
        let (a, b) = (net("2001:db8:a::/48"), net("2001:db8:b::/48"));
        routes.bound(HOME, &[a, b]);
        routes.add.clear();
        routes.bound(HOME, &[a]);
        routes.remove.clear();
        routes.put_back(&Kept::AllBut(vec![b]));
        routes.put_back(&Kept::Only(HashSet::from([a, b])));
        assert_eq!(pending(&routes), (vec![], vec![]));
        routes.put_back(&Kept::AllBut(vec![b, a]));
        assert_eq!(pending(&routes), (vec![a.to_string()], vec![]));
        routes.add.clear();
        routes.put_back(&Kept::Only(HashSet::from([b])));
        assert_eq!(pending(&routes), (vec![a.to_string()], vec![]));
        // It went before it was given again.
        routes.unbound(HOME);
        assert_eq!(pending(&routes), (vec![], vec![]));
    }

    /// A network that moves from one mobile router to another stays where it is.
    #[test]
    fn a_network_that_changes_hands_stays() {
        let mut routes = routes();
        routes.bound(HOME, &[net("2001:db8:a::/48")]);
        routes.add.clear();
        routes.unbound(HOME);
        routes.bound(OTHER, &[net("2001:db8:a::/48")]);
        assert_eq!(pending(&routes), (vec![], vec![]));
    }
}
