//! Bindings: home addresses, mobile network prefixes, tunnels and flow rules.
//!
//! Read first: RFC 3963 s.6.2, 6.4; RFC 5648 s.6.2; RFC 6089 s.5.3; readings.
//!
//! What is new is written first: cells for the tunnels, their fan, prefixes that nobody had. Then
//! home addresses, prefixes and SAs are pointed to it. What the binding has no more goes last. Where
//! something is refused, what was written is taken back and the binding is as it was.

use core::net::{Ipv4Addr, Ipv6Addr};

use hearth_wire::Spi;

use super::TableWriter;
use crate::config::{Binding, FlowRule, TableError, Tunnel};
use crate::layout::Address6;
use crate::sa::slot::{BindingIndex, Sender};
use crate::table::binding::BindingEntry;
use crate::table::fan::{Fan, FanNumber, MOST, MOST_COPIES, Rule, Way};
use crate::table::grace::Retired;
use crate::table::homes::Full;
use crate::table::prefix::{NOBODY, Prefix, RouterIndex};

/// What control remembers of a binding beyond what its entry says. Most have nothing of it: one
/// tunnel, from whose SA alone their data is accepted, and no network behind it.
#[derive(Default)]
pub(super) struct Unusual {
    /// The SAs from which data is accepted; none where it is that of the tunnel alone.
    carriers: Vec<Spi>,
    more: More,
}

/// What only mobile routers have, and mobile nodes with several care-of addresses.
#[derive(Default)]
struct More {
    /// Growing.
    prefixes: Vec<Prefix>,
    /// The number that they lead to; there is one where there are prefixes.
    router: Option<RouterIndex>,
    /// Where there are several tunnels, their fan and their cells.
    fan: Option<FanNumber>,
    tunnels: Vec<BindingIndex>,
}

impl More {
    fn is_nothing(&self) -> bool {
        self.prefixes.is_empty() && self.fan.is_none()
    }
}

/// A binding that was replaced, or has ended.
struct Old {
    index: BindingIndex,
    ipv4_home_address: Option<Ipv4Addr>,
    carriers: Vec<Spi>,
    more: More,
}

/// What was written and leads nowhere yet.
#[derive(Default)]
struct Draft {
    index: Option<BindingIndex>,
    more: More,
    /// Whether the number of `more` is a new one.
    is_new_router: bool,
    /// Of the prefixes, those that the binding had not.
    added: Vec<Prefix>,
}

/// Whether care-of addresses may lie in a network that was nobody's when their next hop was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewPrefixes {
    /// No.
    None,
    /// No more: workers have been told since the last reclaim.
    Told,
    /// They are told at the next reclaim.
    ToTell,
}

impl TableWriter {
    /// Binds a home address, or moves it if it is bound: what is not told again is no more.
    /// `carriers` are the SAs whose data is accepted under the binding, besides those
    /// of its tunnels; all others no longer are.
    ///
    /// # Errors
    /// [`TableError::Tunnels`]; [`TableError::SpiUnknown`] for the SPI of a tunnel;
    /// [`TableError::Address`], [`TableError::Ipv4HomeAddressInUse`], [`TableError::Prefix`],
    /// [`TableError::PrefixInUse`], [`TableError::Full`]. The binding is as it was then.
    pub fn bind(&mut self, binding: &Binding<'_>, carriers: &[Spi]) -> Result<(), TableError> {
        let (home, ipv4) = (binding.home_address, binding.ipv4_home_address);
        let before = self.index_of(home);
        self.check(binding, before)?;
        let mut draft = Draft::default();
        let (index, sender) =
            self.draft(binding, before, &mut draft).inspect_err(|_| self.undo(&mut draft))?;
        let mut carriers = carriers.to_vec();
        for tunnel in binding.tunnels {
            if !carriers.contains(&tunnel.spi) {
                carriers.push(tunnel.spi);
            }
        }
        if let Some(router) = draft.more.router {
            self.tables.prefixes.point(router, Some(index));
        }
        self.point_carriers(&carriers, (index, sender));
        self.guarded.set(&self.tables, home, ipv4, binding.defended);
        let Draft { more, added, .. } = draft;
        let old = before.map(|index| self.old(home, index));
        self.bound += usize::from(old.is_none());
        if carriers.len() > 1 || !more.is_nothing() {
            self.unusual.insert(home, Unusual { carriers, more });
        }
        let old_ipv4 = old.as_ref().map(|old| old.ipv4_home_address);
        if old_ipv4.is_none_or(|old| ipv4.is_some() && old != ipv4) || !added.is_empty() {
            self.tables.home_added();
        }
        if !added.is_empty() {
            self.prefixes_added();
        }
        if let Some(old) = old {
            self.let_go(&old, Some((home, ipv4)));
        }
        Ok(())
    }

    /// Where the entry of a bound home address is.
    fn index_of(&self, home: Ipv6Addr) -> Option<BindingIndex> {
        self.tables.homes.get(Address6::of_home(home.into())?)
    }

    /// All that was known of the binding of `home`, whose entry is at `index`; what is remembered of
    /// it is forgotten.
    fn old(&mut self, home: Ipv6Addr, index: BindingIndex) -> Old {
        let Unusual { mut carriers, more } = self.unusual.remove(&home).unwrap_or_default();
        // It is there until a grace period has passed.
        let entry = self.tables.bindings.entry(index);
        if carriers.is_empty() {
            carriers.extend(entry.map(|entry| entry.spi));
        }
        let ipv4_home_address = entry.and_then(|entry| entry.sender().ipv4());
        Old { index, ipv4_home_address, carriers, more }
    }

    /// What is wrong with a binding whatever it leads to.
    fn check(&self, binding: &Binding<'_>, before: Option<BindingIndex>) -> Result<(), TableError> {
        let Binding { home_address: home, tunnels, flows, .. } = *binding;
        let several = tunnels.len() > 1;
        let is_named = |tunnel: &Tunnel| {
            let same = tunnels.iter().filter(|other| other.bid == tunnel.bid);
            tunnel.bid != 0 && same.count() == 1
        };
        if tunnels.is_empty() || tunnels.len() > MOST || flows.len() > MOST {
            return Err(TableError::Tunnels);
        }
        if several && !tunnels.iter().all(is_named) {
            return Err(TableError::Tunnels);
        }
        if binding.ipv4_home_address.is_some_and(|ipv4| ipv4.is_unspecified()) {
            return Err(TableError::Address);
        }
        let holder = binding.ipv4_home_address.map(|ipv4| Address6::mapped(ipv4.to_bits()));
        let holder = holder.and_then(|ipv4| self.tables.homes.get(ipv4));
        let holder = holder.and_then(|index| self.tables.bindings.entry(index));
        if holder.is_some_and(|holder| !holder.is_home(home.into())) {
            return Err(TableError::Ipv4HomeAddressInUse);
        }
        if before.is_none() && self.bound >= self.max_bindings {
            return Err(TableError::Full);
        }
        Ok(())
    }

    /// Writes all that is new, and points the home addresses to it; returns the cell that they lead
    /// to.
    fn draft(
        &mut self,
        binding: &Binding<'_>,
        before: Option<BindingIndex>,
        draft: &mut Draft,
    ) -> Result<(BindingIndex, Sender), TableError> {
        let home = binding.home_address;
        let first = binding.tunnels.first().ok_or(TableError::Tunnels)?;
        let mut entry = self.entry(binding, first, before)?;
        self.draft_prefixes(binding, draft)?;
        if binding.tunnels.len() > 1 {
            self.draft_fan(binding, before, draft)?;
        }
        entry.fan = draft.more.fan;
        entry.router = draft.more.router.unwrap_or(NOBODY);
        let sender = entry.sender();
        let index = self.fill(entry)?;
        draft.index = Some(index);
        self.point_home_addresses(home, binding.ipv4_home_address, index)?;
        Ok((index, sender))
    }

    /// The entry of one tunnel.
    fn entry(
        &self,
        binding: &Binding<'_>,
        tunnel: &Tunnel,
        before: Option<BindingIndex>,
    ) -> Result<BindingEntry, TableError> {
        let sa = self.tables.sas.find(tunnel.spi.get());
        let facts = sa.and_then(|sa| sa.facts()).ok_or(TableError::SpiUnknown)?;
        let (path_mtu, dscp) = (self.tables.path_mtu, self.tables.dscp);
        let entry = BindingEntry::new(binding, tunnel, facts, path_mtu, dscp);
        let entry = entry.ok_or(TableError::Address)?;
        if let Some(before) = &before {
            let several = self.unusual.get(&binding.home_address).map(|unusual| &unusual.more);
            let paths = match several {
                Some(more) if more.fan.is_some() => more.tunnels.as_slice(),
                _ => core::slice::from_ref(before),
            };
            let paths = paths.iter().filter_map(|index| self.tables.bindings.entry(*index));
            paths.for_each(|before| entry.remember(before));
        }
        Ok(entry)
    }

    /// Writes an entry into a free cell.
    fn fill(&mut self, entry: BindingEntry) -> Result<BindingIndex, TableError> {
        let index = BindingIndex(self.free_bindings.take().ok_or(TableError::Full)?);
        // SAFETY: the cell comes from the free list, and this is the only writer.
        unsafe { self.tables.bindings.fill(index, entry) };
        Ok(index)
    }

    /// Gives the mobile router the prefixes that it had not. They lead nowhere, or where the others
    /// lead that it has, until all are pointed to the new entry.
    fn draft_prefixes(
        &mut self,
        binding: &Binding<'_>,
        draft: &mut Draft,
    ) -> Result<(), TableError> {
        if binding.prefixes.is_empty() {
            return Ok(());
        }
        let prefixes = binding.prefixes.iter().map(|(address, len)| Prefix::new(*address, *len));
        let mut prefixes: Vec<_> = prefixes.collect::<Option<_>>().ok_or(TableError::Prefix)?;
        prefixes.sort_unstable();
        prefixes.dedup();
        let before = self.unusual.get(&binding.home_address).map(|unusual| &unusual.more);
        let router = before.and_then(|more| more.router);
        let by = router.unwrap_or(NOBODY);
        let table = &self.tables.prefixes;
        if prefixes.iter().any(|prefix| self.prefixes.is_taken(table, *prefix, by)) {
            return Err(TableError::PrefixInUse);
        }
        let had = before.map_or(&[][..], |more| &more.prefixes);
        let new: Vec<_> =
            prefixes.iter().copied().filter(|prefix| had.binary_search(prefix).is_err()).collect();
        draft.is_new_router = router.is_none();
        let router = match router {
            Some(router) => router,
            None => self.prefixes.take_router().ok_or(TableError::Full)?,
        };
        draft.more.router = Some(router);
        for prefix in new {
            let added = self.prefixes.add(&self.tables.prefixes, prefix, router);
            added.map_err(|Full| TableError::Full)?;
            draft.added.push(prefix);
        }
        draft.more.prefixes = prefixes;
        Ok(())
    }

    /// Writes a cell for each tunnel, and the fan.
    fn draft_fan(
        &mut self,
        binding: &Binding<'_>,
        before: Option<BindingIndex>,
        draft: &mut Draft,
    ) -> Result<(), TableError> {
        let mut ways = Vec::with_capacity(binding.tunnels.len());
        for tunnel in binding.tunnels {
            let mut entry = self.entry(binding, tunnel, before)?;
            entry.bid = tunnel.bid;
            let index = self.fill(entry)?;
            draft.more.tunnels.push(index);
            ways.push(Way { bid: tunnel.bid, tunnel: index });
        }
        let rules = binding.flows.iter().filter_map(|flow| rule(flow, &ways)).collect();
        let place = self.free_fans.take().ok_or(TableError::Full)?;
        let fan = Fan { ways: ways.into(), rules };
        draft.more.fan = self.tables.fans.put(place, fan);
        draft.more.fan.map(|_| ()).ok_or(TableError::Full)
    }

    /// Takes back what was written. Workers may have seen some of it, so that it waits for a grace
    /// period.
    fn undo(&mut self, draft: &mut Draft) {
        let Draft { index, more, is_new_router, added } = core::mem::take(draft);
        self.fresh.extend(index.map(Retired::Binding));
        self.retire_tunnels(&more);
        self.take_away(&added);
        if is_new_router {
            self.fresh.extend(more.router.map(Retired::Router));
        }
    }

    fn retire_tunnels(&mut self, more: &More) {
        self.fresh.extend(more.tunnels.iter().copied().map(Retired::Binding));
        self.fresh.extend(more.fan.map(Retired::Fan));
    }

    fn take_away(&mut self, prefixes: &[Prefix]) {
        for prefix in prefixes {
            self.prefixes.take_away(&self.tables.prefixes, *prefix);
            self.fresh.push(Retired::Prefix(*prefix));
        }
    }

    /// Lets both home addresses point to the entry, or leaves them as they were.
    fn point_home_addresses(
        &mut self,
        home: Ipv6Addr,
        ipv4: Option<Ipv4Addr>,
        index: BindingIndex,
    ) -> Result<(), TableError> {
        let homes = &self.tables.homes;
        let home6 = Address6::of_home(home.into()).ok_or(TableError::Address)?;
        let before = homes.get(home6);
        homes.insert(home6, index).map_err(|Full| TableError::Full)?;
        let Some(v4) = ipv4 else { return Ok(()) };
        if homes.insert(Address6::mapped(v4.to_bits()), index).is_err() {
            match before {
                // It is there, so that this replaces the value and cannot be refused.
                Some(before) => _ = homes.insert(home6, before),
                None => homes.remove(home6),
            }
            return Err(TableError::Full);
        }
        Ok(())
    }

    fn point_carriers(&self, carriers: &[Spi], binding: (BindingIndex, Sender)) {
        for spi in carriers {
            if let Some(sa) = self.tables.sas.find(spi.get()) {
                sa.slot.set_binding(Some(binding));
            }
        }
    }

    /// Takes away what a replaced or ended binding had and its successor, with these home addresses
    /// if there is one, has not.
    fn let_go(&mut self, old: &Old, new: Option<(Ipv6Addr, Option<Ipv4Addr>)>) {
        for spi in &old.carriers {
            if let Some(sa) = self.tables.sas.find(spi.get())
                && sa.slot.binding() == Some(old.index)
            {
                sa.slot.set_binding(None);
            }
        }
        let ipv4 = new.and_then(|(_, ipv4)| ipv4);
        if let Some(v4) = old.ipv4_home_address.filter(|_| old.ipv4_home_address != ipv4) {
            self.tables.homes.remove(Address6::mapped(v4.to_bits()));
        }
        self.fresh.push(Retired::Binding(old.index));
        if old.more.is_nothing() {
            return;
        }
        let more = &old.more;
        let kept = new.and_then(|(home, _)| self.unusual.get(&home));
        let kept = kept.map_or(&[][..], |new| &new.more.prefixes);
        let gone = more.prefixes.iter().copied();
        let gone: Vec<_> = gone.filter(|prefix| kept.binary_search(prefix).is_err()).collect();
        if let Some(router) = more.router.filter(|_| kept.is_empty()) {
            self.tables.prefixes.point(router, None);
            self.fresh.push(Retired::Router(router));
        }
        self.take_away(&gone);
        self.retire_tunnels(more);
    }

    /// Ends a binding; false when there was none.
    pub fn unbind(&mut self, home_address: Ipv6Addr) -> bool {
        let Some(index) = self.index_of(home_address) else { return false };
        let old = self.old(home_address, index);
        self.bound -= 1;
        self.guarded.set(&self.tables, home_address, None, None);
        self.tables.homes.remove(home_address.into());
        self.let_go(&old, None);
        true
    }

    /// Home addresses that are bound.
    #[must_use]
    pub fn bindings(&self) -> usize {
        self.bound
    }

    /// A care-of address for which a next hop is remembered may lie in one of the new prefixes. That
    /// calls all that is remembered into question, so workers are told of it between two reclaims
    /// once.
    fn prefixes_added(&mut self) {
        self.new_prefixes = match self.new_prefixes {
            NewPrefixes::None => {
                self.tables.next_hops_changed();
                NewPrefixes::Told
            }
            NewPrefixes::Told | NewPrefixes::ToTell => NewPrefixes::ToTell,
        };
    }

    /// Tells workers of prefixes that they have not been told of.
    pub(super) fn question_next_hops(&mut self) {
        if self.new_prefixes == NewPrefixes::ToTell {
            self.tables.next_hops_changed();
        }
        self.new_prefixes = NewPrefixes::None;
    }
}

/// A rule over ways that there are; "If none of the BIDs pointed to in a flow binding entry is valid,
/// then the entry is considered to be inactive [...] and is skipped" (RFC 6089 s.5.3.6).
fn rule(flow: &FlowRule<'_>, ways: &[Way]) -> Option<Rule> {
    let mut chosen: Vec<Way> = Vec::with_capacity(MOST_COPIES);
    for bid in flow.tunnels {
        if let Some(way) = ways.iter().find(|way| way.bid == *bid)
            && !chosen.contains(way)
            && chosen.len() < MOST_COPIES
        {
            chosen.push(*way);
        }
    }
    (!chosen.is_empty()).then(|| Rule { selector: flow.selector, ways: chosen.into() })
}
