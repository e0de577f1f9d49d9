//! Who can get an SA: one look-up over everything that says so.
//!
//! Read first: readings.

pub mod sealed;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use hearth_wire::MobileNodeId;

use crate::auth::psk::Psk;
use crate::config::Subscriber;
use crate::keys::{Entropy, EntropyError};
use sealed::{SealedPsk, SealingKey};

/// The subscribers of a deployment, as they are now.
#[derive(Debug)]
pub struct Subscribers {
    known: RwLock<HashMap<MobileNodeId, Arc<Subscriber>>>,
    /// Wraps what stands in YAML in the clear, for the life of this process.
    key: Arc<SealingKey>,
    /// Is opened for an mn-id that nobody has.
    decoy: (MobileNodeId, SealedPsk),
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
        Ok(Self { known: RwLock::default(), key, decoy: (nobody, decoy) })
    }

    /// What wraps keys that stand in YAML.
    #[must_use]
    pub const fn key(&self) -> &Arc<SealingKey> {
        &self.key
    }

    /// The subscriber, as it is now.
    #[must_use]
    pub fn find(&self, mn_id: &MobileNodeId) -> Option<Arc<Subscriber>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(mn_id).cloned()
    }

    /// The pre-shared key of `mn_id`; `stand_in` where it has none or nobody has this mn-id, which
    /// takes as long.
    #[must_use]
    pub fn psk(&self, mn_id: &MobileNodeId, stand_in: Psk) -> Psk {
        let found = self.find(mn_id);
        let sealed = found.as_ref().and_then(|subscriber| subscriber.psk.as_ref());
        let (decoy_id, decoy) = &self.decoy;
        let opened = match sealed {
            Some(sealed) => sealed.open(mn_id),
            None => decoy.open(decoy_id),
        };
        opened.filter(|_| sealed.is_some()).unwrap_or(stand_in)
    }

    /// Everybody, as they are now, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<(MobileNodeId, Arc<Subscriber>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(mn_id, subscriber)| (mn_id.clone(), subscriber.clone())).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds or replaces one; gives the one that was there.
    pub fn insert(&self, mn_id: MobileNodeId, subscriber: Subscriber) -> Option<Arc<Subscriber>> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(mn_id, Arc::new(subscriber))
    }

    /// Removes one; gives the one that was there.
    pub fn remove(&self, mn_id: &MobileNodeId) -> Option<Arc<Subscriber>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(mn_id)
    }
}
