//! The life of the SAs: issue, use, supersession, end.
//!
//! Read first: RFC 6618 s.4.3; readings R-15, R-23, R-31, R-43, R-50.
//!
//! ```text
//!            first accepted BU under it        first accepted BU under a newer one
//! issued --> unused ----------------------> used ----------------------> superseded --> gone
//!              |                             |                           (data only,     ^
//!              +-----------------------------+----- revoked, validity ------- grace) ----+
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::HashMap;
use std::sync::Arc;

use hearth_wire::{MobileNodeId, Scope, Spi, Suite};

use crate::HomeAgent;
use crate::ended::EndedSas;
use crate::event::{Action, Notice, SaEnd, SaInfo};
use crate::rate::Bucket;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::view::{Reinit, SaState};
use crate::wheel::TimerId;

/// One SA, without its keys.
#[derive(Debug)]
pub(crate) struct Sa {
    pub(crate) mn_id: Arc<MobileNodeId>,
    pub(crate) suite: Suite,
    pub(crate) scope: Scope,
    pub(crate) home_address: Ipv6Addr,
    pub(crate) ipv4_home_address: Option<Ipv4Addr>,
    pub(crate) ha_address: Ipv6Addr,
    pub(crate) generation: u64,
    pub(crate) state: SaState,
    /// When it came to this home agent: its validity is counted from here (R-31).
    learned: Timestamp,
    validity_end: Timestamp,
    /// The end of its validity, or of its grace time if that is earlier.
    pub(crate) ends: Timestamp,
    /// Why it is to be replaced, apart from its age.
    wanted: Option<Reinit>,
    /// The watch of the directory that named it last.
    watch: u64,
    timer: TimerId,
}

impl Sa {
    /// Why the mobile node is to fetch a new SA, if it is (R-31).
    pub(crate) fn reinit(&self, now: Timestamp) -> Option<Reinit> {
        let last_tenth = self.validity_end.since(self.learned) / 10;
        let old = (self.validity_end.since(now) <= last_tenth).then_some(Reinit::Validity);
        self.wanted.or(old)
    }
}

/// One mobile node: what its SAs have in common.
#[derive(Debug, Default)]
pub(crate) struct Node {
    sas: Vec<Spi>,
    /// The newest generation under which a Binding Update was accepted.
    used_generation: Option<u64>,
    pub(crate) errors: Bucket,
}

/// SAs by SPI, and what they say about mobile nodes and addresses.
#[derive(Debug, Default)]
pub(crate) struct SaTable {
    /// Boxed: a hash table of a million wide entries would be half empty.
    sas: HashMap<Spi, Box<Sa>>,
    nodes: HashMap<Arc<MobileNodeId>, Node>,
    /// In how many SAs an address is the home address.
    homes: HashMap<IpAddr, u32>,
    ended: EndedSas,
    watch: u64,
}

impl SaTable {
    pub(crate) fn get(&self, spi: Spi) -> Option<&Sa> {
        self.sas.get(&spi).map(Box::as_ref)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Spi, &Sa)> {
        self.sas.iter().map(|(spi, sa)| (*spi, sa.as_ref()))
    }

    pub(crate) fn len(&self) -> usize {
        self.sas.len()
    }

    pub(crate) fn node_mut(&mut self, mn_id: &MobileNodeId) -> Option<&mut Node> {
        self.nodes.get_mut(mn_id)
    }

    /// Whether `address` is the home address of some mobile node.
    pub(crate) fn is_home_address(&self, address: IpAddr) -> bool {
        self.homes.contains_key(&address)
    }

    /// The SAs from which data of `home_address` is accepted, growing (R-15, R-27).
    pub(crate) fn carriers(&self, mn_id: &MobileNodeId, home_address: Ipv6Addr) -> Vec<Spi> {
        let all = self.nodes.get(mn_id).map_or(&[][..], |node| &node.sas);
        let names_it =
            |spi: &&Spi| self.sas.get(spi).is_some_and(|sa| sa.home_address == home_address);
        let mut carriers: Vec<_> = all.iter().filter(names_it).copied().collect();
        carriers.sort_unstable();
        carriers
    }

    fn insert(&mut self, spi: Spi, sa: Sa) {
        for home in homes_of(&sa) {
            *self.homes.entry(home).or_default() += 1;
        }
        self.nodes.entry(Arc::clone(&sa.mn_id)).or_default().sas.push(spi);
        self.sas.insert(spi, Box::new(sa));
    }

    fn remove(&mut self, spi: Spi) -> Option<Sa> {
        let sa = *self.sas.remove(&spi)?;
        for home in homes_of(&sa) {
            if let Some(count) = self.homes.get_mut(&home) {
                *count -= 1;
                if *count == 0 {
                    self.homes.remove(&home);
                }
            }
        }
        if let Some(node) = self.nodes.get_mut(&sa.mn_id) {
            node.sas.retain(|other| *other != spi);
            if node.sas.is_empty() {
                self.nodes.remove(&sa.mn_id);
            }
        }
        Some(sa)
    }

    /// Whether a Binding Update was accepted under a newer SA than that of `generation`.
    fn is_superseded(&self, mn_id: &MobileNodeId, generation: u64) -> bool {
        let used = self.nodes.get(mn_id).and_then(|node| node.used_generation);
        used.is_some_and(|used| generation < used)
    }

    /// The SA that goes when a mobile node has too many: the oldest unused one, or else the
    /// oldest superseded one (R-15).
    fn excess(&self, mn_id: &MobileNodeId, most: usize) -> Option<Spi> {
        let node = self.nodes.get(mn_id)?;
        if node.sas.len() <= most {
            return None;
        }
        let oldest = |state: SaState| {
            let sas = node.sas.iter().filter_map(|spi| self.sas.get(spi).map(|sa| (*spi, sa)));
            sas.filter(|(_, sa)| sa.state == state)
                .min_by_key(|(spi, sa)| (sa.generation, *spi))
                .map(|(spi, _)| spi)
        };
        oldest(SaState::Unused).or_else(|| oldest(SaState::Superseded))
    }
}

fn homes_of(sa: &Sa) -> impl Iterator<Item = IpAddr> + use<> {
    let ipv4 = sa.ipv4_home_address.map(IpAddr::V4);
    core::iter::once(IpAddr::V6(sa.home_address)).chain(ipv4)
}

impl HomeAgent {
    pub(crate) fn watch_begun(&mut self) {
        self.sas.watch += 1;
    }

    /// R-50: what the replay of the directory did not name is gone.
    pub(crate) fn watch_synced(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let watch = self.sas.watch;
        let gone: Vec<_> =
            self.sas.iter().filter(|(_, sa)| sa.watch != watch).map(|(spi, _)| spi).collect();
        for spi in gone {
            self.end_sa(now, spi, SaEnd::Revoked, out);
        }
    }

    pub(crate) fn sa_issued(&mut self, now: Timestamp, info: SaInfo, out: &mut Vec<Action>) {
        let known = self.sas.get(info.spi).map(|sa| sa.is_of(&info));
        match known {
            Some(true) => self.update_sa(&info),
            // R-51 says that this does not happen; if it does, the new SA is the one to trust.
            Some(false) => {
                self.end_sa(now, info.spi, SaEnd::Revoked, out);
                self.add_sa(now, info, out);
            }
            None => self.add_sa(now, info, out),
        }
    }

    fn add_sa(&mut self, now: Timestamp, info: SaInfo, out: &mut Vec<Action>) {
        // A directory may replay what has ended here: it stays gone (R-15, R-23).
        let mn_id = self.sas.shared_id(info.mn_id);
        let name = (info.spi, info.generation, Arc::clone(&mn_id));
        let over = if info.validity_end <= now {
            Some(SaEnd::Validity)
        } else if self.sas.is_superseded(&mn_id, info.generation) {
            Some(SaEnd::Superseded)
        } else {
            self.sas.ended.why(now, &name, info.validity_end)
        };
        if let Some(why) = over {
            out.push(Action::Notice(Notice::SaEnded { spi: info.spi, why }));
            return;
        }
        let spi = info.spi;
        let home_address = info.home_address;
        let sa = Sa {
            mn_id: Arc::clone(&mn_id),
            suite: info.suite,
            scope: info.scope,
            home_address,
            ipv4_home_address: info.ipv4_home_address,
            ha_address: info.ha_address,
            generation: info.generation,
            state: SaState::Unused,
            learned: now,
            validity_end: info.validity_end,
            ends: info.validity_end,
            wanted: None,
            watch: self.sas.watch,
            timer: self.wheel.set(info.validity_end, Timer::SaEnd(spi)),
        };
        self.sas.insert(spi, sa);
        out.push(Action::InstallSa(spi));
        self.carriers_changed(&mn_id, home_address, out);
        // R-15: at most so many per mn-id.
        if let Some(excess) = self.sas.excess(&mn_id, self.policy.max_sas_per_node) {
            self.end_sa(now, excess, SaEnd::TooMany, out);
        }
    }

    /// A record of an SA that is known: its end may have moved, its keys have not.
    fn update_sa(&mut self, info: &SaInfo) {
        let watch = self.sas.watch;
        if let Some(sa) = self.sas.sas.get_mut(&info.spi) {
            sa.watch = watch;
            sa.validity_end = info.validity_end;
            sa.ends = match sa.state {
                SaState::Superseded => sa.ends.min(info.validity_end),
                SaState::Unused | SaState::Used => info.validity_end,
            };
            sa.timer = self.wheel.reset(sa.timer, sa.ends, Timer::SaEnd(info.spi));
            self.cache.cap(&mut self.wheel, info.spi, sa.home_address, sa.ends);
        }
    }

    /// Ends an SA, and the binding that was made under it: a binding never outlives its SA (R-31).
    pub(crate) fn end_sa(&mut self, now: Timestamp, spi: Spi, why: SaEnd, out: &mut Vec<Action>) {
        let Some(sa) = self.sas.remove(spi) else { return };
        self.wheel.cancel(sa.timer);
        let name = (spi, sa.generation, Arc::clone(&sa.mn_id));
        self.sas.ended.remember(now, name, sa.validity_end, why);
        if self.cache.entry(sa.home_address).is_some_and(|binding| binding.spi == spi) {
            if self.remove_binding(sa.home_address, out) {
                let home_address = sa.home_address;
                out.push(Action::Notice(Notice::EndedWithSa { home_address, spi }));
            }
        } else {
            self.carriers_changed(&sa.mn_id, sa.home_address, out);
        }
        out.push(Action::RemoveSa(spi));
        out.push(Action::Notice(Notice::SaEnded { spi, why }));
    }

    /// Tells the dataplane from which SAs data is accepted now, if it concerns a binding.
    fn carriers_changed(
        &self,
        mn_id: &MobileNodeId,
        home_address: Ipv6Addr,
        out: &mut Vec<Action>,
    ) {
        if self.cache.get(home_address).is_some_and(|binding| *binding.mn_id == *mn_id) {
            self.rebind(home_address, out);
        }
    }

    /// The end of an SA has come, if it was not put off since the timer was set.
    pub(crate) fn sa_timer(&mut self, now: Timestamp, spi: Spi, out: &mut Vec<Action>) {
        let Some(sa) = self.sas.get(spi) else { return };
        if sa.ends <= now {
            let superseded = sa.state == SaState::Superseded && sa.validity_end > now;
            let why = if superseded { SaEnd::Superseded } else { SaEnd::Validity };
            self.end_sa(now, spi, why, out);
        }
    }

    /// R-15: the first accepted Binding Update under an SA supersedes the older ones of that
    /// mobile node: they carry data only, for the grace time.
    pub(crate) fn use_sa(&mut self, now: Timestamp, spi: Spi) {
        let Some(sa) = self.sas.sas.get_mut(&spi) else { return };
        if sa.state == SaState::Used {
            return;
        }
        sa.state = SaState::Used;
        let (mn_id, generation) = (Arc::clone(&sa.mn_id), sa.generation);
        let Some(node) = self.sas.nodes.get_mut(&mn_id) else { return };
        node.used_generation = Some(generation);
        let grace_end = now.after(self.policy.sa_grace);
        for other in &node.sas {
            let Some(older) = self.sas.sas.get_mut(other) else { continue };
            if older.generation < generation && older.state != SaState::Superseded {
                older.state = SaState::Superseded;
                older.ends = older.validity_end.min(grace_end);
                older.timer = self.wheel.reset(older.timer, older.ends, Timer::SaEnd(*other));
                self.cache.cap(&mut self.wheel, *other, older.home_address, older.ends);
            }
        }
    }

    /// The mobile node is to fetch a new SA (R-31). At a sequence limit a Binding Refresh Request
    /// invites the refresh that gets status 176; told again, it does so again.
    pub(crate) fn want_reinit(
        &mut self,
        now: Timestamp,
        spi: Spi,
        why: Reinit,
        out: &mut Vec<Action>,
    ) {
        let Some(sa) = self.sas.sas.get_mut(&spi) else { return };
        if why != Reinit::SequenceLimit {
            sa.wanted = sa.wanted.or(Some(why));
            return;
        }
        sa.wanted = Some(why);
        let home_address = sa.home_address;
        self.invite_refresh(now, spi, home_address, out);
    }
}

impl Sa {
    /// Whether `info` describes this SA: keys and addresses of an SA never change.
    fn is_of(&self, info: &SaInfo) -> bool {
        *self.mn_id == info.mn_id
            && self.suite == info.suite
            && self.generation == info.generation
            && self.home_address == info.home_address
            && self.ipv4_home_address == info.ipv4_home_address
            && self.ha_address == info.ha_address
            && self.scope == info.scope
    }
}

impl SaTable {
    /// `mn_id`, in one copy for all SAs and bindings of the mobile node.
    fn shared_id(&self, mn_id: MobileNodeId) -> Arc<MobileNodeId> {
        match self.nodes.get_key_value(&mn_id) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::new(mn_id),
        }
    }
}
