//! The binding cache: bindings by home address, at most one for each (RFC 6275 s.9.1).

use core::net::{Ipv4Addr, Ipv6Addr};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use ipnet::IpNet;

use crate::binding::{Binding, More};
use crate::prefix_table::PrefixTable;
use crate::sa_table::Sa;
use crate::slab::{Id, Slab};
use crate::time::Timestamp;
use crate::timer::{Packed, Timer};
use crate::touched::Touched;
use crate::wheel::Wheel;

/// Bindings by home address of either family.
#[derive(Debug, Default)]
pub(crate) struct BindingCache {
    bindings: Slab<Binding>,
    homes6: HashTable<Id<Binding>>,
    homes4: HashTable<Id<Binding>>,
    hasher: RandomState,
    /// Mobile network prefixes of the bindings.
    pub(crate) prefixes: PrefixTable,
    held: usize,
    /// What is to be kept has changed of these; those that have gone by home address.
    pub(crate) touched: Touched<Binding, Ipv6Addr>,
}

impl BindingCache {
    pub(crate) fn reserve(&mut self, more: usize) {
        self.bindings.reserve(more);
        let Self { bindings, homes6, homes4, hasher, .. } = self;
        homes6.reserve(more, |id| hash6(bindings, hasher, *id));
        homes4.reserve(more, |id| hash4(bindings, hasher, *id));
    }

    /// Bindings that are not merely held after their de-registration.
    pub(crate) fn live(&self) -> usize {
        self.bindings.len() - self.held
    }

    /// Where the entry of `home_address` is, held ones included.
    pub(crate) fn find(&self, home_address: Ipv6Addr) -> Option<Id<Binding>> {
        let named =
            |id: &Id<Binding>| self.at(*id).is_some_and(|entry| entry.home_address == home_address);
        self.homes6.find(self.hasher.hash_one(home_address), named).copied()
    }

    pub(crate) fn at(&self, id: Id<Binding>) -> Option<&Binding> {
        self.bindings.get(id)
    }

    /// An entry, for changes to what is no key of the cache.
    pub(crate) fn at_mut(&mut self, id: Id<Binding>) -> Option<&mut Binding> {
        self.touched.touch(id);
        self.bindings.get_mut(id)
    }

    /// An entry, for changes to what does not outlive a restart: its timers.
    pub(crate) fn fleeting_mut(&mut self, id: Id<Binding>) -> Option<&mut Binding> {
        self.bindings.get_mut(id)
    }

    /// The entry of `home_address`, held ones included.
    pub(crate) fn entry(&self, home_address: Ipv6Addr) -> Option<&Binding> {
        self.at(self.find(home_address)?)
    }

    /// The binding of `home_address`.
    pub(crate) fn get(&self, home_address: Ipv6Addr) -> Option<&Binding> {
        self.entry(home_address).filter(|binding| binding.is_bound())
    }

    /// The binding of `home_address`, for changes to what is no key of the cache.
    pub(crate) fn get_mut(&mut self, home_address: Ipv6Addr) -> Option<&mut Binding> {
        let id = self.find(home_address)?;
        self.at_mut(id).filter(|binding| binding.is_bound())
    }

    /// The binding that `ipv4_home_address` is in.
    pub(crate) fn holder_of(&self, ipv4_home_address: Ipv4Addr) -> Option<Id<Binding>> {
        let named = |id: &Id<Binding>| {
            self.at(*id).is_some_and(|entry| entry.ipv4_home_address == Some(ipv4_home_address))
        };
        self.homes4.find(self.hasher.hash_one(ipv4_home_address), named).copied()
    }

    /// How many places there are, for a walk over all entries in parts.
    pub(crate) fn places(&self) -> usize {
        self.bindings.places()
    }

    /// All bindings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(|binding| binding.is_bound())
    }

    /// Puts in an entry of a home address that has none.
    pub(crate) fn insert(&mut self, binding: Binding) -> Option<Id<Binding>> {
        let (home, ipv4) = (binding.home_address, binding.ipv4_home_address);
        let held = !binding.is_bound();
        let id = self.bindings.insert(binding)?;
        if let Some(entry) = self.bindings.get(id) {
            self.prefixes.enter(id, entry.prefixes());
        }
        self.touched.touch(id);
        self.held += usize::from(held);
        let Self { bindings, homes6, hasher, .. } = self;
        homes6.insert_unique(hasher.hash_one(home), id, |id| hash6(bindings, hasher, *id));
        self.enter_ipv4(id, ipv4);
        Some(id)
    }

    /// Puts `binding` in the place of the entry of the same home address.
    pub(crate) fn replace(&mut self, id: Id<Binding>, binding: Binding) -> Option<Binding> {
        let ipv4 = binding.ipv4_home_address;
        let held = !binding.is_bound();
        self.touched.touch(id);
        let entry = self.bindings.get_mut(id)?;
        self.prefixes.leave(id, entry.prefixes());
        self.prefixes.enter(id, binding.prefixes());
        let before = core::mem::replace(entry, binding);
        self.held = self.held + usize::from(held) - usize::from(!before.is_bound());
        if before.ipv4_home_address != ipv4 {
            self.leave_ipv4(id, before.ipv4_home_address);
            self.enter_ipv4(id, ipv4);
        }
        Some(before)
    }

    /// Lets an entry have these prefixes, and none but these.
    pub(crate) fn set_prefixes(&mut self, id: Id<Binding>, prefixes: Vec<IpNet>) {
        self.touched.touch(id);
        let Some(entry) = self.bindings.get_mut(id) else { return };
        self.prefixes.leave(id, entry.prefixes());
        self.prefixes.enter(id, &prefixes);
        let more = More { prefixes, ..entry.more.take().map_or_else(More::default, |more| *more) };
        entry.more = more.boxed();
    }

    /// Takes an entry out, held or not.
    pub(crate) fn remove(&mut self, id: Id<Binding>) -> Option<Binding> {
        let binding = self.bindings.remove(id)?;
        self.prefixes.leave(id, binding.prefixes());
        self.touched.gone(binding.home_address);
        let hash = self.hasher.hash_one(binding.home_address);
        if let Ok(entry) = self.homes6.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.leave_ipv4(id, binding.ipv4_home_address);
        self.held -= usize::from(!binding.is_bound());
        Some(binding)
    }

    /// Lets the binding of `home_address` under an SA end no later than the SA.
    pub(crate) fn cap(
        &mut self,
        wheel: &mut Wheel<Packed>,
        sa: Id<Sa>,
        home_address: Ipv6Addr,
        end: Timestamp,
    ) {
        let Some(id) = self.find(home_address) else { return };
        let outlives = |entry: &Binding| entry.is_bound() && entry.sa == sa && entry.expires > end;
        if !self.at(id).is_some_and(outlives) {
            return;
        }
        if let Some(binding) = self.at_mut(id) {
            binding.expires = end;
            binding.timer = wheel.no_later(binding.timer, end, Timer::BindingEnd(id).into());
        }
    }

    fn enter_ipv4(&mut self, id: Id<Binding>, ipv4: Option<Ipv4Addr>) {
        let Some(ipv4) = ipv4 else { return };
        let Self { bindings, homes4, hasher, .. } = self;
        homes4.insert_unique(hasher.hash_one(ipv4), id, |id| hash4(bindings, hasher, *id));
    }

    fn leave_ipv4(&mut self, id: Id<Binding>, ipv4: Option<Ipv4Addr>) {
        let Some(ipv4) = ipv4 else { return };
        let hash = self.hasher.hash_one(ipv4);
        if let Ok(entry) = self.homes4.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
    }
}

fn hash6(bindings: &Slab<Binding>, hasher: &RandomState, id: Id<Binding>) -> u64 {
    bindings.get(id).map_or(0, |binding| hasher.hash_one(binding.home_address))
}

fn hash4(bindings: &Slab<Binding>, hasher: &RandomState, id: Id<Binding>) -> u64 {
    let ipv4 = bindings.get(id).and_then(|binding| binding.ipv4_home_address);
    ipv4.map_or(0, |ipv4| hasher.hash_one(ipv4))
}
