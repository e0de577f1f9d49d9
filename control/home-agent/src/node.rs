//! Mobile nodes: what the SAs of one mn-id have in common.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hearth_wire::MobileNodeId;
use hearth_wire::directory::Services;

use crate::rate::{Bucket, Pace};
use crate::sa_table::Sa;
use crate::slab::{Id, Slab};

/// One mobile node; it is here as long as it has an SA.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mn_id: MobileNodeId,
    /// The first of its SAs; [`Sa::next`] leads on.
    pub(crate) first: Option<Id<Sa>>,
    pub(crate) sas: u16,
    /// Whether a Binding Update was accepted under one of them.
    used: bool,
    /// The newest generation under which one was.
    generation: u64,
    pub(crate) errors: Bucket,
    /// Moves of its care-of addresses.
    pub(crate) moves: Pace,
    /// What its subscriber may; `None` for what everybody may. As the newest of its SAs says.
    services: Option<Box<Services>>,
}

impl Node {
    /// The newest generation under which a Binding Update was accepted.
    pub(crate) fn used_generation(&self) -> Option<u64> {
        self.used.then_some(self.generation)
    }

    /// What its subscriber may; `None` for what everybody may.
    pub(crate) fn services(&self) -> Option<&Services> {
        self.services.as_deref()
    }

    /// The subscriber may something else than before, perhaps; whether it does.
    pub(crate) fn set_services(&mut self, services: &Services) -> bool {
        let unusual = (*services != Services::default()).then_some(services);
        let changed = self.services() != unusual;
        if changed {
            self.services = unusual.cloned().map(Box::new);
        }
        changed
    }

    pub(crate) fn set_used_generation(&mut self, generation: Option<u64>) {
        self.used = generation.is_some();
        self.generation = generation.unwrap_or(0);
    }
}

/// Nodes by mn-id.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    nodes: Slab<Node>,
    by_name: HashTable<Id<Node>>,
    hasher: RandomState,
}

impl Nodes {
    pub(crate) fn reserve(&mut self, more: usize) {
        self.nodes.reserve(more);
        let Self { nodes, by_name, hasher } = self;
        by_name.reserve(more, |id| nodes.get(*id).map_or(0, |node| hasher.hash_one(&node.mn_id)));
    }

    /// What stands for `mn_id` where nothing but equality counts and the name itself is too long.
    pub(crate) fn digest(&self, mn_id: &MobileNodeId) -> u64 {
        self.hasher.hash_one(mn_id)
    }

    pub(crate) fn get(&self, id: Id<Node>) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: Id<Node>) -> Option<&mut Node> {
        self.nodes.get_mut(id)
    }

    pub(crate) fn find(&self, mn_id: &MobileNodeId) -> Option<Id<Node>> {
        let named = |id: &Id<Node>| self.nodes.get(*id).is_some_and(|node| node.mn_id == *mn_id);
        self.by_name.find(self.hasher.hash_one(mn_id), named).copied()
    }

    /// The node of `mn_id`, a new one if need be.
    pub(crate) fn find_or_add(&mut self, mn_id: &MobileNodeId) -> Option<Id<Node>> {
        if let Some(id) = self.find(mn_id) {
            return Some(id);
        }
        let hash = self.hasher.hash_one(mn_id);
        let id = self.nodes.insert(Node {
            mn_id: mn_id.clone(),
            first: None,
            sas: 0,
            used: false,
            generation: 0,
            errors: Bucket::default(),
            moves: Pace::default(),
            services: None,
        })?;
        let Self { nodes, by_name, hasher } = self;
        by_name.insert_unique(hash, id, |id| {
            nodes.get(*id).map_or(0, |node| hasher.hash_one(&node.mn_id))
        });
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: Id<Node>) {
        let Some(node) = self.nodes.remove(id) else { return };
        let hash = self.hasher.hash_one(&node.mn_id);
        if let Ok(entry) = self.by_name.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
    }
}
