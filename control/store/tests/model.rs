//! The store against a map, with crashes anywhere.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Model, collect, folder_in_memory, open, segments, small};
use hearth_store::{Kind, Store};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Put(Kind, u8, usize),
    Delete(Kind, u8),
    Flush,
    /// All of the model is handed in again, some keys per turn.
    Rewrite(usize),
    /// The process ends, as it should.
    Reopen,
}

/// How the last part of the log is spoilt.
#[derive(Debug, Clone)]
enum Crash {
    Cut,
    Flip(u8),
    Zeros(usize),
    Garbage(Vec<u8>),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(&Kind::ALL[..])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (kind(), 0..12_u8, 0..300_usize).prop_map(|(k, n, len)| Step::Put(k, n, len)),
        2 => (kind(), 0..12_u8).prop_map(|(k, n)| Step::Delete(k, n)),
        6 => Just(Step::Flush),
        1 => (1..20_usize).prop_map(Step::Rewrite),
        1 => Just(Step::Reopen),
    ]
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        Just(Crash::Cut),
        (1..=255_u8).prop_map(Crash::Flip),
        (1..2000_usize).prop_map(Crash::Zeros),
        prop::collection::vec(any::<u8>(), 1..600).prop_map(Crash::Garbage),
    ]
}

/// The states after each acknowledged turn: the history.
struct Run {
    store: Option<Store>,
    model: Model,
    history: Vec<Model>,
    clock: u64,
}

impl Run {
    fn flush(&mut self) {
        self.clock += 1;
        self.store.as_mut().unwrap().flush_turn(self.clock).unwrap();
        self.history.push(self.model.clone());
    }

    fn rewrite(&mut self, per_turn: usize) {
        // The one before may have to become durable first, and a segment to be made.
        while !self.store.as_mut().unwrap().begin_rewrite() {
            self.store.as_mut().unwrap().flush_turn(self.clock).unwrap();
            std::thread::yield_now();
        }
        let all: Vec<_> = self.model.clone().into_iter().collect();
        for some in all.chunks(per_turn) {
            for ((kind, key), value) in some {
                self.store.as_mut().unwrap().rewrite(*kind, key, value).unwrap();
            }
            self.flush();
        }
        self.store.as_mut().unwrap().end_rewrite();
        self.flush();
    }

    fn take(&mut self, step: &Step, folder: &Path) {
        let store = self.store.as_mut().unwrap();
        match step {
            Step::Put(kind, key, length) => {
                let value = vec![u8::try_from(self.history.len() % 251).unwrap(); *length];
                store.put(*kind, &[*key], &value).unwrap();
                self.model.insert((*kind, vec![*key]), value);
            }
            Step::Delete(kind, key) => {
                store.delete(*kind, &[*key]).unwrap();
                self.model.remove(&(*kind, vec![*key]));
            }
            Step::Flush => self.flush(),
            Step::Rewrite(per_turn) => {
                self.flush();
                self.rewrite(*per_turn);
            }
            Step::Reopen => {
                self.flush();
                self.store = None;
                let (store, recovered) = open(folder, small());
                assert_eq!(recovered.lost, None);
                assert_eq!(collect(&recovered.live), self.model);
                self.store = Some(store);
            }
        }
    }
}

fn spoil(folder: &Path, crash: &Crash, at: prop::sample::Index) {
    let path = segments(folder).pop().unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let at = at.index(usize::try_from(length).unwrap()) as u64;
    match crash {
        Crash::Cut => file.set_len(at).unwrap(),
        Crash::Flip(mask) => {
            let mut octet = [0];
            file.read_exact_at(&mut octet, at).unwrap();
            file.write_all_at(&[octet[0] ^ mask], at).unwrap();
        }
        Crash::Zeros(count) => file.write_all_at(&vec![0; *count], at).unwrap(),
        Crash::Garbage(octets) => file.write_all_at(octets, at).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_crash_leaves_a_prefix_of_the_history(
        steps in prop::collection::vec(step(), 1..80),
        crash in crash(),
        at in any::<prop::sample::Index>(),
    ) {
        let (_dir, folder) = folder_in_memory();
        let (store, _) = open(&folder, small());
        let mut run = Run { store: Some(store), model: Model::new(), history: vec![Model::new()], clock: 0 };
        for step in &steps {
            run.take(step, &folder);
        }
        // What was put and not flushed was not acknowledged.
        run.store = None;
        spoil(&folder, &crash, at);

        let (mut store, recovered) = open(&folder, small());
        let found = collect(&recovered.live);
        let place = run.history.iter().rposition(|state| *state == found);
        let rewritten = steps.iter().any(|step| matches!(step, Step::Rewrite(_)));
        // Damage to a log that begins with a rewriting leaves a part of that.
        prop_assert!(place.is_some() || rewritten, "{found:?}");
        // Whole turns cut off, or turned into zeros, look as if they had never been written.
        if found != *run.history.last().unwrap() && matches!(crash, Crash::Flip(_)) {
            prop_assert!(recovered.lost.is_some());
        }

        // And it goes on from there, durably.
        store.put(Kind::HomeAgent, b"after", b"the crash").unwrap();
        store.flush_turn(run.clock + 1).unwrap();
        drop(store);
        let (_store, recovered) = open(&folder, small());
        prop_assert_eq!(recovered.lost, None);
        let mut wanted = found;
        wanted.insert((Kind::HomeAgent, b"after".to_vec()), b"the crash".to_vec());
        prop_assert_eq!(collect(&recovered.live), wanted);
    }

    #[test]
    fn octets_of_any_kind_are_read_without_harm(
        files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..4),
    ) {
        let (_dir, folder) = folder_in_memory();
        drop(open(&folder, small()));
        for (number, octets) in files.iter().enumerate() {
            fs::write(folder.join(format!("{:012}.log", number + 2)), octets).unwrap();
        }
        let (_store, recovered) = open(&folder, small());
        prop_assert_eq!(recovered.live.records(), 0);
    }
}
