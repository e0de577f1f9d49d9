//! The corpus of a fuzz target, as it is and changed in a few places: what a fuzzer has found stays
//! mended. HEARTH_FUZZ_SECONDS=600 goes on with changes for that long.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a finding is a panic"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Changed inputs of a run that is not told otherwise.
const ROUNDS: u64 = 3000;

/// A sequence that is the same in each run (xorshift).
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound.max(1)).expect("a small number");
        usize::try_from(self.0 % bound).expect("a small number")
    }

    /// One of the inputs, with one to eight changes: an octet set, put in or taken out, a part of
    /// another input put in its place, the end cut off.
    fn changed(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut octets = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(8) {
            let place = self.below(octets.len());
            let octet = u8::try_from(self.below(256)).expect("an octet");
            match self.below(6) {
                0 | 1 if !octets.is_empty() => octets[place] = octet,
                2 if !octets.is_empty() => octets[place] ^= 1 << (octet % 8),
                3 => octets.insert(place, octet),
                4 if !octets.is_empty() => drop(octets.remove(place)),
                5 if octet < 16 => octets.truncate(place),
                _ => {
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len());
                    let part = other[from..].iter().take(usize::from(octet)).copied();
                    octets.splice(place.., part);
                }
            }
        }
        octets
    }
}

/// Runs each file of the target's corpus, then changes of them.
pub(crate) fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).expect("the corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let mut inputs = Vec::new();
    for path in &files {
        let octets = fs::read(path).expect("a readable file");
        // The name of the file that panics is the last one printed.
        println!("{}", path.display());
        target(&octets);
        inputs.push(octets);
    }
    assert!(inputs.len() > 3, "{} is nearly empty", folder.display());
    let seconds = std::env::var("HEARTH_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut sequence = Sequence(0x9e37_79b9_7f4a_7c15);
    let mut rounds = 0;
    while until.map_or(rounds < ROUNDS, |until| Instant::now() < until) {
        let octets = sequence.changed(&inputs);
        let outcome = std::panic::catch_unwind(|| target(&octets));
        assert!(outcome.is_ok(), "{name}, round {rounds}: {octets:02x?}");
        rounds += 1;
    }
    println!("{name}: {rounds} changed inputs");
}
