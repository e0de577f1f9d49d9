//! Who can get an SA: one look-up over everything that says so.
//!
//! Read first: readings.
//!
//! | module | what it is |
//! |---|---|
//! | [`registry`] | changes while the daemon runs: checked, kept, then in force |
//! | [`files`] | watched YAML files |
//! | `store`, [`sealed`] | the store; pre-shared keys, wrapped |
//! | `claims` | whose addresses and mobile networks are whose |
//! | `in_use` | who has SAs with which address |
//!
//! An mn-id stands in one source only. What contradicts another source is refused, whichever of them
//! comes later.

mod claims;
pub mod files;
mod in_use;
pub mod registry;
pub mod sealed;
mod store;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use hearth_wire::MobileNodeId;
use hearth_wire::directory::Services;
use ipnet::IpNet;

use crate::auth::psk::Psk;
use crate::config::{HomeAddress, LeasedNetworks, Realm, Subscriber};
use crate::directory::Directory;
use crate::keys::{Entropy, EntropyError};
use claims::Claims;
use in_use::InUse;
use sealed::{SealedPsk, SealingKey};

/// Where a subscriber stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the configuration itself.
    Configuration,
    /// In a watched file.
    File,
    /// In the store.
    Store,
}

impl Source {
    /// As operators see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::File => "file",
            Self::Store => "store",
        }
    }
}

/// What becomes of an mn-id: its new entry, or none any more.
pub(crate) type Change = (MobileNodeId, Option<(Source, Subscriber)>);

#[derive(Debug, Default)]
struct State {
    known: HashMap<MobileNodeId, (Source, Arc<Subscriber>)>,
    claims: Claims,
}

impl State {
    fn put(
        &mut self,
        mn_id: MobileNodeId,
        source: Source,
        subscriber: Subscriber,
    ) -> Option<Arc<Subscriber>> {
        let former = self.remove(&mn_id);
        self.claims.take(&mn_id, &subscriber);
        self.known.insert(mn_id, (source, Arc::new(subscriber)));
        former
    }

    fn remove(&mut self, mn_id: &MobileNodeId) -> Option<Arc<Subscriber>> {
        let (_, former) = self.known.remove(mn_id)?;
        self.claims.release(mn_id, &former);
        Some(former)
    }
}

/// The subscribers of a deployment, as they are now. A clone is a handle to the same ones.
#[derive(Debug, Clone)]
pub struct Subscribers {
    state: Arc<RwLock<State>>,
    /// Held by who changes several, from the check until they are in force.
    changing: Arc<Mutex<()>>,
    /// Once SAs are issued.
    in_use: Arc<OnceLock<InUse>>,
    /// Wraps what stands in YAML in the clear, for the life of this process.
    key: Arc<SealingKey>,
    /// Is opened for an mn-id that nobody has.
    decoy: Arc<(MobileNodeId, SealedPsk)>,
}

impl Subscribers {
    /// Nobody yet.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn new(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let key = Arc::new(SealingKey::random(entropy)?);
        let nobody = MobileNodeId::new("nobody@invalid.invalid").map_err(|_| EntropyError)?;
        let decoy = SealedPsk::seal(&key, &nobody, &Psk::unknown(entropy)?, entropy)?;
        let (state, changing, in_use) = (Arc::default(), Arc::default(), Arc::default());
        Ok(Self { state, changing, in_use, key, decoy: Arc::new((nobody, decoy)) })
    }

    /// What wraps keys that stand in YAML.
    #[must_use]
    pub const fn key(&self) -> &Arc<SealingKey> {
        &self.key
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subscriber, as it is now.
    #[must_use]
    pub fn find(&self, mn_id: &MobileNodeId) -> Option<Arc<Subscriber>> {
        self.state().known.get(mn_id).map(|(_, subscriber)| subscriber.clone())
    }

    /// Where a subscriber stands.
    #[must_use]
    pub fn source(&self, mn_id: &MobileNodeId) -> Option<Source> {
        self.state().known.get(mn_id).map(|(source, _)| *source)
    }

    /// The pre-shared key of `mn_id`; `stand_in` where it has none or nobody has this mn-id, which
    /// takes as long.
    #[must_use]
    pub fn psk(&self, mn_id: &MobileNodeId, stand_in: Psk) -> Psk {
        let found = self.find(mn_id);
        let sealed = found.as_ref().and_then(|subscriber| subscriber.psk.as_ref());
        let (decoy_id, decoy) = &*self.decoy;
        let opened = match sealed {
            Some(sealed) => sealed.open(mn_id),
            None => decoy.open(decoy_id),
        };
        opened.filter(|_| sealed.is_some()).unwrap_or(stand_in)
    }

    /// Everybody, as they are now, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<(MobileNodeId, Arc<Subscriber>)> {
        let state = self.state();
        let all = state.known.iter();
        all.map(|(mn_id, (_, subscriber))| (mn_id.clone(), subscriber.clone())).collect()
    }

    /// Those of one source, in no order.
    pub(crate) fn of(&self, source: Source) -> Vec<MobileNodeId> {
        let state = self.state();
        let of = state.known.iter().filter(|(_, (from, _))| *from == source);
        of.map(|(mn_id, _)| mn_id.clone()).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().known.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds or replaces one of the configuration; gives the one that was there.
    pub fn insert(&self, mn_id: MobileNodeId, subscriber: Subscriber) -> Option<Arc<Subscriber>> {
        self.state_mut().put(mn_id, Source::Configuration, subscriber)
    }

    /// Removes one; gives the one that was there.
    pub fn remove(&self, mn_id: &MobileNodeId) -> Option<Arc<Subscriber>> {
        self.state_mut().remove(mn_id)
    }

    /// Whether somebody has this home address for good.
    #[must_use]
    pub fn is_fixed(&self, address: IpAddr) -> bool {
        self.state().claims.is_fixed(address)
    }

    /// Keeps others from changing subscribers until it is dropped.
    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `fresh` has that is not as here. Nobody may be changing either.
    pub(crate) fn difference(&self, fresh: &Self) -> Difference {
        let (before, after) = (self.state(), fresh.state());
        let mut difference = Difference::default();
        for (mn_id, (_, former)) in &before.known {
            match after.known.get(mn_id) {
                Some((_, new)) if former.is_as(new, mn_id) => {}
                Some(_) => difference.changed += 1,
                None => difference.removed += 1,
            }
        }
        let added = after.known.keys().filter(|mn_id| !before.known.contains_key(*mn_id));
        difference.added = added.count();
        difference
    }

    /// Puts those of `fresh` in the place of all.
    pub(crate) fn replace(&self, fresh: &Self) -> Replaced {
        let fresh = std::mem::take(&mut *fresh.state_mut());
        let mut state = self.state_mut();
        let mut replaced = Replaced::default();
        for (mn_id, (_, former)) in &state.known {
            match fresh.known.get(mn_id) {
                Some((_, new)) if former.same_grant(new) => {}
                Some((_, new)) if former.same_place(new) => replaced.changed.push(mn_id.clone()),
                _ => replaced.stale.push(mn_id.clone()),
            }
        }
        *state = fresh;
        replaced
    }

    /// What of `subscriber` is somebody else's: the key, and words.
    fn conflict(
        &self,
        mn_id: &MobileNodeId,
        subscriber: &Subscriber,
    ) -> Option<(&'static str, String)> {
        let claimed = self.state().claims.conflict(mn_id, subscriber);
        claimed.or_else(|| self.in_use(mn_id, subscriber, &|_| false))
    }

    /// From now on nobody gets an address for good that another one has SAs of `directory` with.
    pub(crate) fn heed(&self, directory: &Arc<Directory>) {
        let _ = self.in_use.set(InUse::of(Arc::downgrade(directory)));
    }

    /// What of `subscriber`, beside what it has already, somebody else has SAs with: the key, and words.
    fn in_use(
        &self,
        mn_id: &MobileNodeId,
        subscriber: &Subscriber,
        leaves: &dyn Fn(&str) -> bool,
    ) -> Option<(&'static str, String)> {
        let in_use = self.in_use.get()?;
        let former = self.find(mn_id);
        in_use.conflict(mn_id, subscriber, former.as_deref(), leaves)
    }

    /// Whether that is so of none of `fresh`.
    ///
    /// # Errors
    /// The first of whom it is: its mn-id, the key, and words.
    pub(crate) fn none_in_use(&self, fresh: &Self) -> Result<(), String> {
        // Whose SAs end with the same change stands in nobody's way.
        let leaves = |holder: &str| {
            let Ok(holder) = MobileNodeId::new(holder) else { return false };
            let new = fresh.find(&holder);
            let stays = |now: Arc<Subscriber>| new.is_some_and(|new| now.same_place(&new));
            self.find(&holder).is_some_and(|now| !stays(now))
        };
        for (mn_id, subscriber) in fresh.all() {
            if let Some((key, words)) = self.in_use(&mn_id, &subscriber, &leaves) {
                return Err(format!("{mn_id}: {key}: {words}"));
            }
        }
        Ok(())
    }

    /// Puts all of `changes` in force at once. Gives those whose SAs say what no longer holds: they
    /// are gone, or their home agent, addresses, mobile networks or services have changed.
    fn apply(&self, changes: Vec<Change>) -> Vec<MobileNodeId> {
        let mut state = self.state_mut();
        let mut stale = Vec::new();
        for (mn_id, change) in changes {
            let is_stale = match (state.known.get(&mn_id), &change) {
                (Some((_, former)), Some((_, new))) => !former.same_grant(new),
                (Some(_), None) => true,
                (None, _) => false,
            };
            if is_stale {
                stale.push(mn_id.clone());
            }
            match change {
                Some((source, subscriber)) => drop(state.put(mn_id, source, subscriber)),
                None => drop(state.remove(&mn_id)),
            }
        }
        stale
    }
}

/// Whether `network` is not for `mn_id` to have: a part of it is somebody else's, a home agent's or
/// everybody's by the configuration.
pub(crate) fn is_anothers(realm: &Realm, mn_id: &MobileNodeId, network: IpNet) -> bool {
    let with_it = Subscriber {
        psk: None,
        home_agent: None,
        region: None,
        ip6: HomeAddress::Pool,
        ip4: HomeAddress::None,
        policy: realm.policy.clone(),
        services: Services { prefixes: [network].into(), ..Services::default() },
        leased_networks: LeasedNetworks::default(),
    };
    registry::conflict(realm, &Claims::default(), mn_id, &with_it).is_err()
}

/// What a replacement of all subscribers means for SAs.
#[derive(Debug, Default)]
pub struct Replaced {
    /// Whose SAs no longer hold: who is gone, or has another home agent, address or mobile network.
    pub stale: Vec<MobileNodeId>,
    /// Who may now something else with the SAs that it has.
    pub changed: Vec<MobileNodeId>,
    /// What operators are told of it.
    pub news: News,
}

/// What a replacement of all subscribers means for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Against those before.
    pub difference: Difference,
    /// Subscribers of the store that there is no place for.
    pub left_out: LeftOut,
}

/// How many subscribers are others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    /// They were not there.
    pub added: usize,
    /// Their key is another, or what holds for them.
    pub changed: usize,
    /// They are gone.
    pub removed: usize,
}

/// Subscribers of the store that are not in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The first ones.
    pub named: Vec<String>,
    /// All of them.
    pub count: usize,
}

impl Subscriber {
    /// Whether they differ in nothing but what they may do where they are.
    fn same_place(&self, other: &Self) -> bool {
        self.home_agent == other.home_agent
            && self.ip6 == other.ip6
            && self.ip4 == other.ip4
            && self.services.prefixes == other.services.prefixes
            && self.leased_networks == other.leased_networks
    }

    /// Whether nothing of `mn_id` has changed, its key neither.
    fn is_as(&self, other: &Self, mn_id: &MobileNodeId) -> bool {
        let same_key = match (&self.psk, &other.psk) {
            (None, None) => true,
            (Some(one), Some(two)) => one.is_same(two, mn_id),
            _ => false,
        };
        same_key
            && self.same_grant(other)
            && self.region == other.region
            && self.policy == other.policy
    }

    /// Whether SAs that were issued to one can be the other's.
    fn same_grant(&self, other: &Self) -> bool {
        self.home_agent == other.home_agent
            && self.ip6 == other.ip6
            && self.ip4 == other.ip4
            && self.services == other.services
            && self.leased_networks == other.leased_networks
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use hearth_wire::directory::Services;

    use crate::config::{HomeAddress, LeasedNetworks, Subscriber};
    use crate::policy::{HomeAgentChoice, Policy, ScopePolicy};

    pub(crate) fn subscriber() -> Subscriber {
        Subscriber {
            psk: None,
            home_agent: Some(0),
            region: None,
            ip6: HomeAddress::Pool,
            ip4: HomeAddress::None,
            policy: Policy {
                suites: Policy::DEFAULT_SUITES.to_vec(),
                scope: ScopePolicy::Proposed,
                sa_validity: 60,
                max_sas: Policy::MAX_SAS,
                home_agent_choice: HomeAgentChoice::Fixed,
            },
            services: Services::default(),
            leased_networks: LeasedNetworks::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Counting;

    /// HAC-22, R-8: a key is looked up with the same work for somebody with a short key, a long key or
    /// none, and for an mn-id that nobody has.
    #[test]
    fn hac_22_nobody_takes_as_long_as_somebody() {
        let entropy = &mut Counting::from(1);
        let subscribers = Subscribers::new(entropy).unwrap();
        let mn_id = |text: &str| MobileNodeId::new(text).unwrap();
        let names = ["short@example.net", "long@example.net"].map(mn_id);
        for (name, length) in names.iter().zip([16, 64]) {
            let psk = Psk::new(vec![7; length]).unwrap();
            let psk = Some(SealedPsk::seal(subscribers.key(), name, &psk, entropy).unwrap());
            subscribers.insert(name.clone(), Subscriber { psk, ..testing::subscriber() });
        }
        let keyless = mn_id("keyless@example.net");
        subscribers.insert(keyless.clone(), testing::subscriber());
        let work = |mn_id: &MobileNodeId, expected: usize| {
            let before = sealed::testing::OPENED.get();
            let psk = subscribers.psk(mn_id, Psk::new(vec![1; 32]).unwrap());
            assert_eq!(psk.octets().len(), expected, "{mn_id}");
            sealed::testing::OPENED.get() - before
        };
        let [short, long] = &names;
        let nobody = work(&mn_id("nobody@example.net"), 32);
        assert!(nobody > 0);
        assert_eq!(work(&keyless, 32), nobody);
        let own = |mn_id: &MobileNodeId| mn_id.as_str().len();
        let decoy = own(&subscribers.decoy.0);
        assert_eq!(work(short, 16) - own(short), nobody - decoy);
        assert_eq!(work(long, 64) - own(long), nobody - decoy);
    }
}
