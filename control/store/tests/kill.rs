//! kill -9 while it writes: every acknowledged record is there.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{collect, folder, small};
use hearth_store::{Kind, Store};

const FOLDER: &str = "HEARTH_STORE_KILLED";
const KEYS: u64 = 50;

/// The child: writes turns, says which are acknowledged, rewrites where it is due.
fn write_for_ever(folder: PathBuf) {
    let (mut store, recovered) = Store::open(&folder, small()).unwrap();
    let turn_at = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().unwrap());
    let mut values = vec![0; usize::try_from(KEYS).unwrap()];
    for (key, value) in collect(&recovered.live) {
        values[usize::from(key.1[0])] = turn_at(&value);
    }
    let mut turn = values.iter().copied().max().unwrap();
    let mut out = std::io::stdout();
    let mut passing = false;
    loop {
        turn += 1;
        let key = usize::try_from(turn % KEYS).unwrap();
        values[key] = turn;
        let mut value = vec![0; 20 + key];
        value[..8].copy_from_slice(&turn.to_le_bytes());
        store.put(Kind::Binding, &[u8::try_from(key).unwrap()], &value).unwrap();
        if passing {
            for (key, turn) in values.iter().enumerate().filter(|(_, turn)| **turn > 0) {
                let mut value = vec![0; 20 + key];
                value[..8].copy_from_slice(&turn.to_le_bytes());
                store.rewrite(Kind::Binding, &[u8::try_from(key).unwrap()], &value).unwrap();
            }
            store.end_rewrite();
        }
        store.flush_turn(turn).unwrap();
        passing = store.rewrite_due(KEYS) && store.begin_rewrite();
        // One write of less than a page to a pipe: whole or not at all.
        out.write_all(format!("ack {turn}\n").as_bytes()).unwrap();
    }
}

#[test]
fn what_was_acknowledged_outlives_the_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_for_ever(folder.into());
    }
    let (_dir, folder) = folder();
    let mut rotated = 0;
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_acknowledged_outlives_the_process", "--nocapture"])
            .env(FOLDER, &folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        let mut take = |line: String| {
            if let Some(turn) = line.strip_prefix("ack ") {
                acknowledged = turn.parse().unwrap();
            }
        };
        // At different places of its work.
        for _ in 0..40 + 97 * round % 400 {
            take(lines.next().unwrap().unwrap());
        }
        child.kill().unwrap();
        lines.map_while(Result::ok).for_each(&mut take);
        child.wait().unwrap();

        let (_store, recovered) = Store::open(&folder, small()).unwrap();
        let last = recovered.last_turn.unwrap();
        // The turn after the last one acknowledged may have been written as well.
        assert!(last == acknowledged || last == acknowledged + 1, "{last}, {acknowledged}");
        assert!(recovered.lost.is_none_or(|lost| lost.turns == 0));
        let found = collect(&recovered.live);
        for back in 0..KEYS.min(last) {
            let turn = last - back;
            let key = (Kind::Binding, vec![u8::try_from(turn % KEYS).unwrap()]);
            assert_eq!(found[&key][..8], turn.to_le_bytes(), "turn {turn} of {last}");
        }
        rotated = common::segments(&folder)
            .last()
            .map_or(0, |last| last.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    }
    assert!(rotated > 60, "{rotated} segments");
}
