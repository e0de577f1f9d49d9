//! Mobile network prefixes: which ones a registration is to have.
//!
//! Read first: RFC 3963 s.4.2, 6.1.2, 6.2, 6.7; RFC 5555 s.3.1.1, 4.5; readings.
//!
//! A mobile router names its prefixes (explicit mode), or gets all that its subscriber has (implicit
//! mode). They are looked up in what the HAC says of the subscriber, the prefix table of RFC 3963,
//! and a prefix that another mobile node has registered is not given away.

use core::net::{IpAddr, Ipv6Addr};

use hearth_wire::directory::Services;
use hearth_wire::mh::{BuOptions, Status};
use ipnet::IpNet;

use crate::HomeAgent;
use crate::binding::Binding;
use crate::dsmipv6;
use crate::event::Action;
use crate::node::Node;
use crate::plan::Prefixes;
use crate::policy::Policy;
use crate::prefix_table::{normal, overlap};
use crate::registration::Request;
use crate::sa_table::Sa;
use crate::slab::Id;

/// A binding that lost prefixes to another one of the same mobile node: its home address, and the
/// prefixes that it had.
pub(crate) type Lost = (Ipv6Addr, Vec<IpNet>);

/// The prefixes that a mobile router asks for.
pub(crate) fn asked(
    services: &Services,
    options: &BuOptions<'_>,
    policy: &Policy,
) -> Result<Vec<IpNet>, Status> {
    if options.prefixes.is_empty() {
        // RFC 3963 s.6.2: "If there is no information that the Home Agent can use, it MUST reject
        // the Binding Update and send a Binding Acknowledgement with status set to 143".
        let prefixes = normal(services.prefixes.iter().copied());
        if prefixes.is_empty() || !prefixes.iter().all(|prefix| policy.may_be_mobile(*prefix)) {
            return Err(Status::FORWARDING_SETUP_FAILED);
        }
        return Ok(prefixes);
    }
    let mut prefixes = Vec::new();
    for option in options.prefixes {
        let option = option.map_err(|_| Status::INVALID_PREFIX)?;
        let prefix = IpNet::new(option.prefix.into(), option.len);
        prefixes.push(prefix.map_err(|_| Status::INVALID_PREFIX)?);
    }
    let prefixes = normal(prefixes);
    // "If the Home Agent fails to set up forwarding to all the prefixes listed in the Binding
    // Update, then it MUST NOT forward traffic to any of the prefixes."
    if prefixes.len() > Services::MAX_PREFIXES
        || !prefixes.iter().all(|prefix| policy.may_be_mobile(*prefix))
    {
        return Err(Status::INVALID_PREFIX);
    }
    let has = |prefix: &IpNet| services.prefixes.iter().any(|own| own.contains(prefix));
    if prefixes.iter().all(has) { Ok(prefixes) } else { Err(Status::NOT_AUTHORIZED_FOR_PREFIX) }
}

/// The IPv4 prefix that a mobile node gets that asks for one of `len` bits: of that length where
/// its subscriber has such a one, else the first (RFC 5555 s.4.5).
pub(crate) fn ipv4_prefix(services: &Services, len: u8, policy: &Policy) -> Option<IpNet> {
    let of_ipv4 = |prefix: &&IpNet| prefix.addr().is_ipv4() && policy.may_be_mobile(**prefix);
    let mut prefixes = services.prefixes.iter().filter(of_ipv4);
    let exact = prefixes.clone().find(|prefix| prefix.prefix_len() == len);
    exact.or_else(|| prefixes.next()).copied()
}

impl Policy {
    /// Whether `prefix` can be a mobile network's: unicast and more than link-local, and nothing of
    /// the home agent's own in it, neither an address nor a whole home prefix. It may lie in a home
    /// prefix.
    pub(crate) fn may_be_mobile(&self, prefix: IpNet) -> bool {
        prefix.prefix_len() > 0
            && dsmipv6::is_routable(prefix.network())
            && (prefix.addr().is_ipv4() || dsmipv6::is_routable(prefix.broadcast()))
            && !self.ha_addresses.iter().any(|address| prefix.contains(address))
            && !self.home_prefixes.iter().any(|home| prefix.contains(home))
    }
}

impl HomeAgent {
    /// What RFC 3963 s.6.2 asks of a registration's prefixes.
    pub(crate) fn judge_prefixes(
        &self,
        sa: &Sa,
        request: &Request,
        options: &BuOptions<'_>,
    ) -> Result<Prefixes, Status> {
        if !request.flags.mobile_router {
            return Ok(Prefixes::default());
        }
        let services = self.sas.services(sa.node).ok_or(Status::MOBILE_ROUTER_NOT_PERMITTED)?;
        let prefixes = asked(services, options, &self.policy)?;
        if prefixes.iter().any(|prefix| self.is_taken(sa.node, *prefix)) {
            let implicit = options.prefixes.is_empty();
            let (here, named) = (Status::FORWARDING_SETUP_FAILED, Status::INVALID_PREFIX);
            return Err(if implicit { here } else { named });
        }
        Ok(Prefixes { mobile_router: true, prefixes })
    }

    /// Whether another mobile node has registered some of `prefix`.
    pub(crate) fn is_taken(&self, node: Id<Node>, prefix: IpNet) -> bool {
        let of_another = |id| self.cache.at(id).is_some_and(|binding| binding.node != node);
        self.cache.prefixes.overlapping(prefix).any(of_another)
    }

    /// Whether `address` is in a prefix that another mobile node has registered.
    pub(crate) fn is_in_mobile_network_of_another(&self, node: Id<Node>, address: IpAddr) -> bool {
        let owner = self.cache.prefixes.owner(address).and_then(|owner| self.cache.at(owner));
        owner.is_some_and(|owner| owner.node != node)
    }

    /// whether packets to `care_of` would come back here for the same binding, by way of the
    /// prefixes that it has or is to have and the bindings of others.
    pub(crate) fn leads_back(
        &self,
        request: &Request,
        care_of: IpAddr,
        own_prefixes: &[IpNet],
    ) -> bool {
        /// Care-of addresses that are looked at before it is called a loop: more than any nesting
        /// has that works.
        const MOST: usize = 32;
        if own_prefixes.is_empty() && self.cache.prefixes.is_empty() {
            return false;
        }
        let mut ahead = vec![care_of];
        for _ in 0..MOST {
            let Some(address) = ahead.pop() else { return false };
            if own_prefixes.iter().any(|prefix| prefix.contains(&address)) {
                return true;
            }
            let owner = self.cache.prefixes.owner(address).and_then(|id| self.cache.at(id));
            // Prefixes that it is about to lose lead nowhere.
            let other = owner.filter(|owner| owner.home_address != request.home_address);
            ahead.extend(other.into_iter().flat_map(Binding::care_of_ips));
        }
        !ahead.is_empty()
    }

    /// Takes what overlaps `prefixes` from other bindings of the mobile node: it has a new home
    /// address. Who lost what.
    pub(crate) fn take_prefixes(
        &mut self,
        request: &Request,
        node: Id<Node>,
        prefixes: &[IpNet],
        out: &mut Vec<Action>,
    ) -> Vec<Lost> {
        let mut lost = Vec::new();
        for prefix in prefixes {
            while let Some(id) = self.other_with(node, request.home_address, *prefix) {
                let Some(other) = self.cache.at(id) else { break };
                let (home_address, before) = (other.home_address, other.prefixes().to_vec());
                let keeps = |own: &&IpNet| !prefixes.iter().any(|prefix| overlap(**own, *prefix));
                let rest = before.iter().filter(keeps).copied().collect();
                self.cache.set_prefixes(id, rest);
                lost.push((home_address, before));
                self.rebind(home_address, out);
            }
        }
        lost
    }

    /// A binding of the mobile node, but for that of `home_address`, with some of `prefix`.
    fn other_with(
        &self,
        node: Id<Node>,
        home_address: Ipv6Addr,
        prefix: IpNet,
    ) -> Option<Id<Binding>> {
        self.cache.prefixes.overlapping(prefix).find(|id| {
            let other = self.cache.at(*id);
            other.is_some_and(|other| other.node == node && other.home_address != home_address)
        })
    }

    /// Gives prefixes back.
    pub(crate) fn return_prefixes(&mut self, lost: Vec<Lost>, out: &mut Vec<Action>) {
        // What was lost bit by bit comes back whole with the first bit.
        for (home_address, before) in lost.into_iter().rev() {
            let Some(id) = self.cache.find(home_address) else { continue };
            let Some(binding) = self.cache.at(id).filter(|binding| binding.is_bound()) else {
                continue;
            };
            let node = binding.node;
            let free = |prefix: &IpNet| !self.is_taken(node, *prefix);
            let before = before.into_iter().filter(free).collect();
            self.cache.set_prefixes(id, before);
            self.rebind(home_address, out);
        }
    }
}
