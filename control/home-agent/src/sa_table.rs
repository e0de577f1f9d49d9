//! Where the SAs are kept, and what they say about mobile nodes and addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hearth_wire::directory::Services;
use hearth_wire::{MobileNodeId, Scope, Spi, Suite};

use crate::binding::Binding;
use crate::ended::EndedSas;
use crate::event::SaInfo;
use crate::node::{Node, Nodes};
use crate::slab::{Id, Slab};
use crate::spi_index::SpiIndex;
use crate::time::Timestamp;
use crate::touched::Touched;
use crate::view::{Reinit, SaState};
use crate::wheel::TimerId;

/// One SA, without its keys.
#[derive(Debug)]
pub(crate) struct Sa {
    pub(crate) spi: Spi,
    pub(crate) node: Id<Node>,
    /// The next SA of the same mobile node.
    pub(crate) next: Option<Id<Sa>>,
    /// Where the binding of its home address was last. It may be another's place now.
    pub(crate) binding: Option<Id<Binding>>,
    /// The watch of the directory that named it last.
    pub(crate) watch: u32,
    pub(crate) suite: Suite,
    pub(crate) scope: Scope,
    pub(crate) state: SaState,
    /// Why it is to be replaced, apart from its age.
    pub(crate) wanted: Option<Reinit>,
    pub(crate) home_address: Ipv6Addr,
    /// The HA address that was handed out with it, by [`SaTable::ha_address`].
    pub(crate) ha_address: HaAddress,
    pub(crate) ipv4_home_address: Option<Ipv4Addr>,
    pub(crate) generation: u64,
    /// When it came to this home agent: its validity is counted from here.
    pub(crate) learned: Timestamp,
    pub(crate) validity_end: Timestamp,
    /// The end of its validity, or of its grace time if that is earlier. From then on it is gone,
    /// whether or not its timer has run.
    pub(crate) ends: Timestamp,
    pub(crate) timer: TimerId,
}

impl Sa {
    /// Why the mobile node is to fetch a new SA, if it is.
    pub(crate) fn reinit(&self, now: Timestamp) -> Option<Reinit> {
        let last_tenth = self.validity_end.since(self.learned) / 10;
        let old = (self.validity_end.since(now) <= last_tenth).then_some(Reinit::Validity);
        self.wanted.or(old)
    }
}

/// One of the HA addresses that SAs name. There are a handful of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HaAddress(u16);

/// SAs by SPI, by mobile node and by home address.
#[derive(Debug, Default)]
pub(crate) struct SaTable {
    sas: Slab<Sa>,
    by_spi: SpiIndex,
    pub(crate) nodes: Nodes,
    /// Every SA, by its home address: an address as often as there are SAs that name it.
    homes6: HashTable<Id<Sa>>,
    /// SAs with an IPv4 home address, by that.
    homes4: HashTable<Id<Sa>>,
    hasher: RandomState,
    ha_addresses: Vec<Ipv6Addr>,
    pub(crate) ended: EndedSas,
    pub(crate) watch: u32,
    /// What is to be kept has changed of these; those that have gone by SPI and generation.
    pub(crate) touched: Touched<Sa, (Spi, u64)>,
}

impl SaTable {
    pub(crate) fn reserve(&mut self, more: usize) {
        self.sas.reserve(more);
        self.nodes.reserve(more);
        let Self { sas, homes6, homes4, hasher, .. } = self;
        homes6.reserve(more, |id| hash6(sas, hasher, *id));
        homes4.reserve(more, |id| hash4(sas, hasher, *id));
    }

    /// The number of an HA address; `None` for one more than there are numbers for.
    pub(crate) fn number_ha_address(&mut self, address: Ipv6Addr) -> Option<HaAddress> {
        let known = self.ha_addresses.iter().position(|known| *known == address);
        let number = u16::try_from(known.unwrap_or(self.ha_addresses.len())).ok()?;
        if known.is_none() {
            self.ha_addresses.push(address);
        }
        Some(HaAddress(number))
    }

    /// The HA address that was handed out with an SA.
    pub(crate) fn ha_address(&self, sa: &Sa) -> Ipv6Addr {
        let number = usize::from(sa.ha_address.0);
        self.ha_addresses.get(number).copied().unwrap_or(Ipv6Addr::UNSPECIFIED)
    }

    /// Whether `info` describes this SA: keys and addresses of an SA never change.
    pub(crate) fn is_of(&self, sa: &Sa, info: &SaInfo) -> bool {
        self.mn_id(sa.node) == Some(&info.mn_id)
            && sa.suite == info.suite
            && sa.generation == info.generation
            && sa.home_address == info.home_address
            && sa.ipv4_home_address == info.ipv4_home_address
            && self.ha_address(sa) == info.ha_address
            && sa.scope == info.scope
    }

    pub(crate) fn find(&self, spi: Spi) -> Option<Id<Sa>> {
        self.by_spi.get(spi)
    }

    pub(crate) fn at(&self, id: Id<Sa>) -> Option<&Sa> {
        self.sas.get(id)
    }

    pub(crate) fn at_mut(&mut self, id: Id<Sa>) -> Option<&mut Sa> {
        self.touched.touch(id);
        self.sas.get_mut(id)
    }

    /// An SA, for changes to what does not outlive a restart: timers, places, the watch.
    pub(crate) fn fleeting_mut(&mut self, id: Id<Sa>) -> Option<&mut Sa> {
        self.sas.get_mut(id)
    }

    pub(crate) fn get(&self, spi: Spi) -> Option<&Sa> {
        self.at(self.find(spi)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sa> {
        self.sas.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.sas.len()
    }

    /// Places of SAs, for a walk over all of them in parts.
    pub(crate) fn places(&self) -> usize {
        self.sas.places()
    }

    /// Whose SA it is.
    pub(crate) fn mn_id(&self, node: Id<Node>) -> Option<&MobileNodeId> {
        self.nodes.get(node).map(|node| &node.mn_id)
    }

    /// What the subscriber of a mobile node may; `None` for what everybody may.
    pub(crate) fn services(&self, node: Id<Node>) -> Option<&Services> {
        self.nodes.get(node).and_then(Node::services)
    }

    /// What a record says of its subscriber; whether that is news. An older one than the newest SA's
    /// says nothing.
    pub(crate) fn set_services(&mut self, node: Id<Node>, info: &SaInfo) -> bool {
        let newer = |id| self.at(id).is_some_and(|sa: &Sa| sa.generation > info.generation);
        let is_old = self.of_node(node).any(newer);
        let node = self.nodes.get_mut(node).filter(|_| !is_old);
        node.is_some_and(|node| node.set_services(&info.services))
    }

    /// Whether `address` is the home address of some mobile node.
    pub(crate) fn is_home_address(&self, address: IpAddr, now: Timestamp) -> bool {
        let alive = |id: &Id<Sa>, names: &dyn Fn(&Sa) -> bool| {
            self.at(*id).is_some_and(|sa| sa.ends > now && names(sa))
        };
        match address {
            IpAddr::V6(ipv6) => {
                let names = |sa: &Sa| sa.home_address == ipv6;
                self.homes6.find(self.hasher.hash_one(ipv6), |id| alive(id, &names)).is_some()
            }
            IpAddr::V4(ipv4) => {
                let names = |sa: &Sa| sa.ipv4_home_address == Some(ipv4);
                self.homes4.find(self.hasher.hash_one(ipv4), |id| alive(id, &names)).is_some()
            }
        }
    }

    /// The SAs with this home address, of either family.
    pub(crate) fn with_home_address(&self, address: IpAddr) -> Vec<Id<Sa>> {
        let named = |id: &&Id<Sa>| {
            self.at(**id).is_some_and(|sa| match address {
                IpAddr::V6(ipv6) => sa.home_address == ipv6,
                IpAddr::V4(ipv4) => sa.ipv4_home_address == Some(ipv4),
            })
        };
        let same_hash = match address {
            IpAddr::V6(ipv6) => self.homes6.iter_hash(self.hasher.hash_one(ipv6)),
            IpAddr::V4(ipv4) => self.homes4.iter_hash(self.hasher.hash_one(ipv4)),
        };
        same_hash.filter(named).copied().collect()
    }

    /// The SAs of a mobile node.
    pub(crate) fn of_node(&self, node: Id<Node>) -> impl Iterator<Item = Id<Sa>> {
        let first = self.nodes.get(node).and_then(|node| node.first);
        core::iter::successors(first, |id| self.at(*id)?.next)
    }

    /// The SAs from which data of `home_address` is accepted, growing.
    pub(crate) fn carriers(&self, node: Id<Node>, home_address: Ipv6Addr) -> Vec<Spi> {
        let sas = self.of_node(node).filter_map(|id| self.at(id));
        let mut carriers: Vec<_> =
            sas.filter(|sa| sa.home_address == home_address).map(|sa| sa.spi).collect();
        carriers.sort_unstable();
        carriers
    }

    /// Enters an SA whose SPI is free, as one of its node's.
    pub(crate) fn insert(&mut self, sa: Sa) -> Option<Id<Sa>> {
        let (spi, node) = (sa.spi, sa.node);
        let (ipv6, ipv4) = (sa.home_address, sa.ipv4_home_address);
        let id = self.sas.insert(sa)?;
        self.touched.touch(id);
        self.by_spi.insert(spi, id);
        let Self { sas, homes6, homes4, hasher, nodes, .. } = self;
        homes6.insert_unique(hasher.hash_one(ipv6), id, |id| hash6(sas, hasher, *id));
        if let Some(ipv4) = ipv4 {
            homes4.insert_unique(hasher.hash_one(ipv4), id, |id| hash4(sas, hasher, *id));
        }
        if let Some(node) = nodes.get_mut(node) {
            node.sas += 1;
            let next = node.first.replace(id);
            if let Some(sa) = sas.get_mut(id) {
                sa.next = next;
            }
        }
        Some(id)
    }

    /// Takes an SA out, and its mobile node if it was the last one.
    pub(crate) fn remove(&mut self, id: Id<Sa>) -> Option<Sa> {
        let sa = self.sas.remove(id)?;
        self.touched.gone((sa.spi, sa.generation));
        self.by_spi.remove(sa.spi);
        let hash = self.hasher.hash_one(sa.home_address);
        if let Ok(entry) = self.homes6.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        if let Some(ipv4) = sa.ipv4_home_address
            && let Ok(entry) =
                self.homes4.find_entry(self.hasher.hash_one(ipv4), |other| *other == id)
        {
            entry.remove();
        }
        self.unchain(id, &sa);
        Some(sa)
    }

    /// Takes an SA, already gone from its place, out of its node's chain.
    fn unchain(&mut self, id: Id<Sa>, sa: &Sa) {
        let Some(node) = self.nodes.get_mut(sa.node) else { return };
        node.sas -= 1;
        if node.sas == 0 {
            self.nodes.remove(sa.node);
            return;
        }
        if node.first == Some(id) {
            node.first = sa.next;
            return;
        }
        let mut before = node.first;
        while let Some(here) = before.and_then(|before| self.sas.get_mut(before)) {
            if here.next == Some(id) {
                here.next = sa.next;
                return;
            }
            before = here.next;
        }
    }

    /// Whether a Binding Update was accepted under a newer SA than that of `generation`.
    pub(crate) fn is_superseded(&self, mn_id: &MobileNodeId, generation: u64) -> bool {
        let node = self.nodes.find(mn_id).and_then(|node| self.nodes.get(node));
        node.and_then(Node::used_generation).is_some_and(|used| generation < used)
    }

    /// The SA that goes when a mobile node has too many: the oldest unused one, or else the
    /// oldest superseded one.
    pub(crate) fn excess(&self, node: Id<Node>, most: usize) -> Option<Id<Sa>> {
        if self.nodes.get(node)?.sas as usize <= most {
            return None;
        }
        let oldest = |state: SaState| {
            self.of_node(node)
                .filter_map(|id| self.at(id).map(|sa| (id, sa)))
                .filter(|(_, sa)| sa.state == state)
                .min_by_key(|(_, sa)| (sa.generation, sa.spi))
                .map(|(id, _)| id)
        };
        oldest(SaState::Unused).or_else(|| oldest(SaState::Superseded))
    }
}

fn hash6(sas: &Slab<Sa>, hasher: &RandomState, id: Id<Sa>) -> u64 {
    sas.get(id).map_or(0, |sa| hasher.hash_one(sa.home_address))
}

fn hash4(sas: &Slab<Sa>, hasher: &RandomState, id: Id<Sa>) -> u64 {
    sas.get(id).and_then(|sa| sa.ipv4_home_address).map_or(0, |ipv4| hasher.hash_one(ipv4))
}
