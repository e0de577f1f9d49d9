//! What the tests of quiet turns have in common: the rig, and watchmen around each of its turns.
//!
//! A test of its own process is a crate of its own; its root says
//! `use watched::{codec, rig};`, since those find each other there.

#[path = "../packets/codec.rs"]
pub mod codec;
#[path = "../packets/rig.rs"]
pub mod rig;
pub mod watchmen;

use hearth_dataplane::{Config, Worker};
use rig::Rig;
use watchmen::{Watch, Witness};

/// A turn that must not do what the watchmen look for.
pub fn watched_turn(worker: &mut Worker) -> usize {
    let (handled, witness) = Watch::over(|| worker.turn());
    assert_eq!(witness, Witness::default(), "in a turn of {handled} packets");
    handled
}

/// A rig whose workers take watched turns. [`Watch::set_up`] comes before, in the same thread.
pub fn watched_rig(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::with(change);
    rig.turn = watched_turn;
    rig
}
