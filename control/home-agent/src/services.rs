//! A subscriber may less than before: what its bindings have of that is gone at once, not at the
//! next Binding Update.
//!
//! Read first: RFC 3963 s.6.6; RFC 5648 s.6.2; RFC 6089 s.5.3.2. None of them says what becomes of
//! a binding whose permission goes; a binding that lasts for hours must not outlive it.

use ipnet::IpNet;

use crate::HomeAgent;
use crate::binding::Binding;
use crate::event::{Action, Notice};
use crate::node::Node;
use crate::slab::Id;

impl HomeAgent {
    /// The HAC says something else of what a subscriber may.
    pub(crate) fn services_changed(&mut self, node: Id<Node>, out: &mut Vec<Action>) {
        let homes: Vec<_> =
            self.sas.of_node(node).filter_map(|id| Some(self.sas.at(id)?.home_address)).collect();
        for home_address in homes {
            let of_node = |id: &Id<Binding>| {
                self.cache.at(*id).is_some_and(|it| it.is_bound() && it.node == node)
            };
            let Some(id) = self.cache.find(home_address).filter(of_node) else { continue };
            self.withdraw_prefixes(id, out);
            self.withdraw_flows(id, out);
            self.withdraw_care_of(id, out);
            if !self.sas.services(node).is_some_and(|services| services.multicast) {
                self.leave_groups(id, out);
            }
        }
    }

    /// Mobile network prefixes that are not its subscriber's any more, and all where a mobile router
    /// may not be one any more.
    fn withdraw_prefixes(&mut self, id: Id<Binding>, out: &mut Vec<Action>) {
        let Some(binding) = self.cache.at(id) else { return };
        let services = self.sas.services(binding.node);
        let services = services.filter(|may| may.mobile_router || !binding.is_mobile_router());
        let has = |prefix: &&IpNet| {
            services.is_some_and(|may| may.prefixes.iter().any(|own| own.contains(*prefix)))
        };
        let rest: Vec<_> = binding.prefixes().iter().filter(has).copied().collect();
        let (home_address, gone) = (binding.home_address, binding.prefixes().len() - rest.len());
        if gone > 0 {
            self.cache.set_prefixes(id, rest);
            self.rebind(home_address, out);
            out.push(Action::Notice(Notice::PrefixesWithdrawn { home_address, gone }));
        }
    }

    /// Flow bindings beyond the number that is allowed; those go that are matched last.
    fn withdraw_flows(&mut self, id: Id<Binding>, out: &mut Vec<Action>) {
        let Some(binding) = self.cache.at(id) else { return };
        let services = self.sas.services(binding.node);
        let most = services.map_or(0, |services| usize::from(services.flows));
        let home_address = binding.home_address;
        let gone = binding.more.as_ref().map_or(0, |more| more.flows.len().saturating_sub(most));
        if gone == 0 {
            return;
        }
        if let Some(more) = self.cache.at_mut(id).and_then(|binding| binding.more.as_mut()) {
            more.flows.truncate(most);
        }
        self.rebind(home_address, out);
        out.push(Action::Notice(Notice::FlowsWithdrawn { home_address, gone }));
    }

    /// Care-of addresses beyond the number that is allowed, the least preferred first; where one is
    /// allowed, which then has no Binding Identifier, the preferred one stays until it is refreshed.
    fn withdraw_care_of(&mut self, id: Id<Binding>, out: &mut Vec<Action>) {
        let Some(binding) = self.cache.at(id) else { return };
        let services = self.sas.services(binding.node);
        let most = services.map_or(1, |services| usize::from(services.care_of_addresses).max(1));
        let home_address = binding.home_address;
        let beyond = binding.care_of_addresses().iter().skip(most);
        let gone: Vec<u16> = beyond.map(|care_of| care_of.bid).collect();
        if gone.is_empty() {
            return;
        }
        self.drop_care_of(id, &gone, out);
        let ended = |bid| Action::Notice(Notice::CareOfEnded { home_address, bid });
        out.extend(gone.into_iter().map(ended));
    }
}
