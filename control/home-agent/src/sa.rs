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

use core::net::Ipv6Addr;
use core::time::Duration;

use hearth_wire::Spi;
use hearth_wire::directory::SpiRange;

use crate::HomeAgent;
use crate::event::{Action, Notice, SaEnd, SaInfo};
use crate::node::Node;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::timer::{Sweep, Timer};
use crate::view::{Reinit, SaState};
use crate::wheel::TimerId;

/// How far two readings of one wall clock may be apart without it having been stepped.
const JITTER: Duration = Duration::from_millis(5);

impl HomeAgent {
    pub(crate) fn watch_begun(&mut self) {
        self.sas.watch += 1;
    }

    /// R-50: what the replay of the directory did not name is gone; of `spis`, where one of several
    /// HACs is through. Ended part by part.
    pub(crate) fn synced(&mut self, now: Timestamp, spis: Option<SpiRange>, out: &mut Vec<Action>) {
        self.sweep = Some(Sweep::begin(self.sweep.take(), self.sas.watch, spis));
        self.run_timers(now, crate::SLICE, out);
    }

    /// The SA of `spi`, if it is alive. One that has ended, and whose timer has not run yet, is
    /// seen off first: it authenticates nothing any more (R-43).
    pub(crate) fn settle_sa(
        &mut self,
        now: Timestamp,
        spi: Spi,
        out: &mut Vec<Action>,
    ) -> Option<Id<Sa>> {
        let id = self.sas.find(spi)?;
        let sa = self.sas.at(id)?;
        if self.sweep.as_ref().is_some_and(|sweep| sweep.takes(sa)) {
            self.end_sa(now, id, SaEnd::Revoked, out);
        } else if sa.ends <= now {
            self.sa_timer(now, id, out);
        }
        self.sas.find(spi)
    }

    pub(crate) fn sa_issued(&mut self, now: Timestamp, info: &SaInfo, out: &mut Vec<Action>) {
        let Some(id) = self.settle_sa(now, info.spi, out) else {
            return self.add_sa(now, info, out);
        };
        let Some(sa) = self.sas.at(id) else { return };
        if self.sas.is_of(sa, info) {
            self.update_sa(id, info);
            self.update_services(id, info, out);
        } else {
            // R-51 says that this does not happen; if it does, the new SA is the one to trust.
            self.end_sa(now, id, SaEnd::Revoked, out);
            self.add_sa(now, info, out);
        }
    }

    pub(crate) fn sa_revoked(&mut self, now: Timestamp, spi: Spi, out: &mut Vec<Action>) {
        if let Some(id) = self.settle_sa(now, spi, out) {
            self.end_sa(now, id, SaEnd::Revoked, out);
        }
    }

    fn add_sa(&mut self, now: Timestamp, info: &SaInfo, out: &mut Vec<Action>) {
        // A directory may replay what has ended here: it stays gone (R-15, R-23).
        let spi = info.spi;
        let name = (spi, info.generation, self.sas.nodes.digest(&info.mn_id));
        let over = if info.validity_end <= now {
            Some(SaEnd::Validity)
        } else if self.sas.is_superseded(&info.mn_id, info.generation) {
            Some(SaEnd::Superseded)
        } else {
            self.sas.ended.why(now, name, info.validity_end)
        };
        if let Some(why) = over {
            out.push(Action::Notice(Notice::SaEnded { spi, why }));
            return;
        }
        let Some(ha_address) = self.sas.number_ha_address(info.ha_address) else {
            // No home agent has 65,536 addresses: the record is not one to act on.
            out.push(Action::Notice(Notice::SaEnded { spi, why: SaEnd::TooMany }));
            return;
        };
        let Some(node) = self.sas.nodes.find_or_add(&info.mn_id) else { return };
        let inserted = self.sas.insert(Sa {
            spi,
            node,
            next: None,
            binding: None,
            watch: self.sas.watch,
            suite: info.suite,
            scope: info.scope,
            state: SaState::Unused,
            wanted: None,
            home_address: info.home_address,
            ha_address,
            ipv4_home_address: info.ipv4_home_address,
            generation: info.generation,
            learned: now,
            validity_end: info.validity_end,
            ends: info.validity_end,
            timer: TimerId::NONE,
        });
        let Some(id) = inserted else { return };
        let timer = self.wheel.set(info.validity_end, Timer::SaEnd(id).into());
        if let Some(sa) = self.sas.fleeting_mut(id) {
            sa.timer = timer;
        }
        out.push(Action::InstallSa(spi));
        self.carriers_changed(node, info.home_address, out);
        self.update_services(id, info, out);
        // R-15: at most so many per mn-id.
        if let Some(excess) = self.sas.excess(node, self.policy.max_sas_per_node) {
            self.end_sa(now, excess, SaEnd::TooMany, out);
        }
    }

    /// A record of an SA that is known: its end may have moved, its keys have not.
    fn update_sa(&mut self, id: Id<Sa>, info: &SaInfo) {
        let watch = self.sas.watch;
        let Some(sa) = self.sas.fleeting_mut(id) else { return };
        sa.watch = watch;
        let (known, told) = (sa.validity_end, info.validity_end);
        if known.since(told).max(told.since(known)) < JITTER {
            return;
        }
        let Some(sa) = self.sas.at_mut(id) else { return };
        sa.validity_end = info.validity_end;
        sa.ends = match sa.state {
            SaState::Superseded => sa.ends.min(info.validity_end),
            SaState::Unused | SaState::Used => info.validity_end,
        };
        sa.timer = self.wheel.reset(sa.timer, sa.ends, Timer::SaEnd(id).into());
        self.cache.cap(&mut self.wheel, id, sa.home_address, sa.ends);
    }

    /// What the subscriber may goes with the record, not with the SA.
    fn update_services(&mut self, id: Id<Sa>, info: &SaInfo, out: &mut Vec<Action>) {
        if let Some(node) = self.sas.at(id).map(|sa| sa.node)
            && self.sas.set_services(node, info)
        {
            // The record that is kept of the SA says it too.
            let _touched = self.sas.at_mut(id);
            self.services_changed(node, out);
        }
    }

    /// Ends an SA, and the binding that was made under it: a binding never outlives its SA (R-31).
    pub(crate) fn end_sa(&mut self, now: Timestamp, id: Id<Sa>, why: SaEnd, out: &mut Vec<Action>) {
        let Some((spi, home_address)) = self.sas.at(id).map(|sa| (sa.spi, sa.home_address)) else {
            return;
        };
        let binding = self.cache.find(home_address);
        let under_it = |entry: &Id<_>| self.cache.at(*entry).is_some_and(|entry| entry.sa == id);
        let binding = binding.filter(under_it);
        if let Some(binding) = binding
            && self.remove_binding(binding, out)
        {
            out.push(Action::Notice(Notice::EndedWithSa { home_address, spi }));
        }
        let digest = self.digest_of(id);
        let Some(sa) = self.sas.remove(id) else { return };
        self.wheel.cancel(sa.timer);
        let name = (spi, sa.generation, digest);
        self.sas.ended.remember(now, name, sa.validity_end, why);
        if binding.is_none() {
            self.carriers_changed(sa.node, home_address, out);
        }
        out.push(Action::RemoveSa(spi));
        out.push(Action::Notice(Notice::SaEnded { spi, why }));
    }

    fn digest_of(&self, id: Id<Sa>) -> u64 {
        let mn_id = self.sas.at(id).and_then(|sa| self.sas.mn_id(sa.node));
        mn_id.map_or(0, |mn_id| self.sas.nodes.digest(mn_id))
    }

    /// Tells the dataplane from which SAs data is accepted now, if it concerns a binding.
    fn carriers_changed(&self, node: Id<Node>, home_address: Ipv6Addr, out: &mut Vec<Action>) {
        if self.cache.get(home_address).is_some_and(|binding| binding.node == node) {
            self.rebind(home_address, out);
        }
    }

    /// The end of an SA has come, if it was not put off since the timer was set.
    pub(crate) fn sa_timer(&mut self, now: Timestamp, id: Id<Sa>, out: &mut Vec<Action>) {
        let Some(sa) = self.sas.at(id) else { return };
        if sa.ends <= now {
            let superseded = sa.state == SaState::Superseded && sa.validity_end > now;
            let why = if superseded { SaEnd::Superseded } else { SaEnd::Validity };
            self.end_sa(now, id, why, out);
        }
    }

    /// R-15: the first accepted Binding Update under an SA supersedes the older ones of that
    /// mobile node: they carry data only, for the grace time.
    pub(crate) fn use_sa(&mut self, now: Timestamp, id: Id<Sa>) {
        if self.sas.at(id).is_none_or(|sa| sa.state == SaState::Used) {
            return;
        }
        let Some(sa) = self.sas.at_mut(id) else { return };
        sa.state = SaState::Used;
        let (node, generation) = (sa.node, sa.generation);
        let Some(node) = self.sas.nodes.get_mut(node) else { return };
        node.set_used_generation(Some(generation));
        let grace_end = now.after(self.policy.sa_grace);
        let mut next = node.first;
        while let Some(other) = next {
            let Some(older) = self.sas.at(other) else { return };
            next = older.next;
            if older.generation < generation
                && older.state != SaState::Superseded
                && let Some(older) = self.sas.at_mut(other)
            {
                older.state = SaState::Superseded;
                older.ends = older.validity_end.min(grace_end);
                older.timer = self.wheel.reset(older.timer, older.ends, Timer::SaEnd(other).into());
                self.cache.cap(&mut self.wheel, other, older.home_address, older.ends);
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
        let Some(id) = self.settle_sa(now, spi, out) else { return };
        let Some(sa) = self.sas.at_mut(id) else { return };
        if why != Reinit::SequenceLimit {
            sa.wanted = sa.wanted.or(Some(why));
            return;
        }
        sa.wanted = Some(why);
        let home_address = sa.home_address;
        self.invite_refresh(now, id, home_address, out);
    }
}
