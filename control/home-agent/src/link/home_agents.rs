//! The home agents of a link, and dynamic home agent address discovery.
//!
//! Read first: RFC 6275 s.10.5; RFC 3963 s.7; RFC 2526 s.3; RFC 6618 s.4.4.
//!
//! In RFC 6618 the HAC says which home agent a mobile node uses, so discovery is off unless the
//! deployment turns it on (DHD-08): an answer then names home agents that the HAC may not know.

use core::net::Ipv6Addr;
use core::time::Duration;
use std::collections::BTreeMap;

use hearth_wire::addresses::Addresses;
use hearth_wire::icmp6::{
    self, HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, Message, RouterAdvertisement,
};
use hearth_wire::ip::Ipv6Header;
use ipnet::Ipv6Net;
use zerocopy::IntoBytes;

use super::{LinkId, Random};
use crate::dsmipv6::is_routable_v6;
use crate::time::Timestamp;

/// Home agents that are remembered. Anybody on a link can claim to be one.
const MOST: usize = 1024;
/// Addresses of one.
const MOST_ADDRESSES: usize = 16;
/// Addresses that fit into a packet of 1280 octets behind IPv6 and ICMPv6 headers.
const FIT: usize = (1280 - Ipv6Header::LEN - 8) / 16;
const HOP_LIMIT: u8 = 64;

/// Home-Agents anycast address of a prefix (RFC 2526 s.3: 126): for prefixes of up to 64 bits the
/// interface identifier is an EUI-64 with the universal bit 0.
#[must_use]
pub fn anycast(prefix: Ipv6Net) -> Ipv6Addr {
    const EUI_64: u128 = 0xfdff_ffff_ffff_fffe;
    const OTHER: u128 = u128::MAX - 1;
    let host = u128::MAX.checked_shr(prefix.prefix_len().into()).unwrap_or(0);
    let identifier = if prefix.prefix_len() <= 64 { EUI_64 } else { OTHER & host };
    Ipv6Addr::from_bits(prefix.network().to_bits() | identifier)
}

/// What this home agent says of itself in dynamic home agent address discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryPolicy {
    /// Its own preference: the higher, the earlier it stands in the list. Default: 0.
    pub preference: u16,
    /// Whether it serves mobile routers. Default: yes.
    pub mobile_routers: bool,
    /// Its own global addresses, one at least; the first is the source of replies.
    pub addresses: Vec<Ipv6Addr>,
}

#[derive(Debug, Clone)]
struct Peer {
    preference: u16,
    mobile_routers: bool,
    ends: Timestamp,
    addresses: Vec<Ipv6Addr>,
}

/// A home agent of a link, to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeAgentView<'a> {
    /// The link that it was heard on.
    pub link: LinkId,
    /// Its link-local address.
    pub link_local: Ipv6Addr,
    /// Its preference.
    pub preference: u16,
    /// Whether it serves mobile routers.
    pub mobile_routers: bool,
    /// When it is forgotten unless it is heard again.
    pub ends: Timestamp,
    /// Its global addresses.
    pub addresses: &'a [Ipv6Addr],
}

/// The other home agents, by link and link-local address (RFC 6275 s.10.1, Home Agents List).
#[derive(Debug, Default)]
pub(crate) struct HomeAgents {
    peers: BTreeMap<(LinkId, Ipv6Addr), Peer>,
}

impl HomeAgents {
    /// Takes in a Router Advertisement of somebody else (RFC 6275 s.10.5.1).
    pub(crate) fn on_advertisement(
        &mut self,
        now: Timestamp,
        (link, source): (LinkId, Ipv6Addr),
        message: &RouterAdvertisement<'_>,
    ) {
        let information = message.home_agent_information;
        let lifetime = information.map_or(message.router_lifetime, |option| option.lifetime);
        if !message.home_agent || lifetime == 0 {
            self.peers.remove(&(link, source));
            return;
        }
        if self.peers.len() >= MOST {
            self.peers.retain(|_, peer| peer.ends > now);
        }
        if self.peers.len() >= MOST && !self.peers.contains_key(&(link, source)) {
            return;
        }
        let ends = now.after(Duration::from_secs(lifetime.into()));
        let before = self.peers.remove(&(link, source)).filter(|peer| peer.ends > now);
        // "Add all such global addresses to the list of global addresses in this Home Agents List
        // entry."
        let mut addresses = before.map(|peer| peer.addresses).unwrap_or_default();
        let told = message.prefixes.iter().filter(|option| option.router_address);
        for address in told.map(|option| option.prefix) {
            if is_routable_v6(address)
                && !addresses.contains(&address)
                && addresses.len() < MOST_ADDRESSES
            {
                addresses.push(address);
            }
        }
        let peer = Peer {
            preference: information.map_or(0, |option| option.preference),
            mobile_routers: information.is_some_and(|option| option.mobile_routers),
            ends,
            addresses,
        };
        self.peers.insert((link, source), peer);
    }

    pub(crate) fn views(&self, now: Timestamp) -> impl Iterator<Item = HomeAgentView<'_>> {
        self.peers.iter().filter(move |(_, peer)| peer.ends > now).map(|(key, peer)| {
            HomeAgentView {
                link: key.0,
                link_local: key.1,
                preference: peer.preference,
                mobile_routers: peer.mobile_routers,
                ends: peer.ends,
                addresses: &peer.addresses,
            }
        })
    }

    /// The packet that answers `request` from `to`; `link` is that of the prefix asked, where it
    /// is on one.
    pub(crate) fn reply(
        &self,
        now: Timestamp,
        own: &DiscoveryPolicy,
        (to, link): (Ipv6Addr, Option<LinkId>),
        request: HomeAgentDiscoveryRequest,
        random: &mut Random,
    ) -> Option<Vec<u8>> {
        let of_link = |view: &HomeAgentView<'_>| Some(view.link) == link;
        let mut all = vec![(own.preference, own.mobile_routers, own.addresses.clone())];
        all.extend(
            self.views(now)
                .filter(of_link)
                .map(|view| (view.preference, view.mobile_routers, view.addresses.to_vec())),
        );
        // RFC 3963 s.7.2: only those that serve mobile routers; where none does, the reply says so
        // by R=0.
        let mobile_routers = request.mobile_routers && all.iter().any(|agent| agent.1);
        all.retain(|agent| agent.1 || !mobile_routers);
        random.shuffle(&mut all);
        // Stable: equals stay in the order that chance gave them.
        all.sort_by_key(|(preference, ..)| core::cmp::Reverse(*preference));
        let mut addresses = Vec::new();
        for (.., mut of_one) in all {
            random.shuffle(&mut of_one);
            addresses.extend(of_one);
        }
        addresses.truncate(FIT);
        let message = Message::HomeAgentDiscoveryReply(HomeAgentDiscoveryReply {
            id: request.id,
            mobile_routers,
            addresses: Addresses::List(&addresses),
        });
        packet(*own.addresses.first()?, to, &message)
    }
}

fn packet(from: Ipv6Addr, to: Ipv6Addr, message: &Message<'_>) -> Option<Vec<u8>> {
    let mut octets = [0; 8 + FIT * 16];
    let len = icmp6::emit(message, from, to, &mut octets)?;
    let header = Ipv6Header::new(from, to, icmp6::PROTO, HOP_LIMIT, len)?;
    Some([header.as_bytes(), octets.get(..len)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anycast_address_is_that_of_rfc_2526() {
        let of = |text: &str| anycast(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:c::/64"), "2001:db8:c:0:fdff:ffff:ffff:fffe");
        assert_eq!(of("2001:db8:c::/112"), "2001:db8:c::fffe");
    }
}
