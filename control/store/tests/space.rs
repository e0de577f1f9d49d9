//! No space left: nothing that was acknowledged is lost, and it goes on when there is space again.
//!
//! Each test starts itself once more, under the limit.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Model, collect, open};
use hearth_store::{Kind, Options, Store, StoreError};

const FOLDER: &str = "HEARTH_STORE_FOLDER";

fn options() -> Options {
    Options { segment_octets: 1 << 20, ..Options::new(1) }
}

/// Runs the test `name` of this file again behind `shell`, which ends in `exec "$@"`.
fn again(name: &str, shell: &str, folder: &Path) {
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-ec", shell, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(FOLDER, folder)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

fn limited() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Puts and flushes until there is no room, nor any for a next segment; `model` has what was
/// acknowledged, and the last record, which is pending.
fn fill(store: &mut Store, model: &mut Model) {
    for turn in 0..100_000_u32 {
        let key = turn.to_le_bytes();
        let value = vec![u8::try_from(turn % 251).unwrap(); 3000];
        store.put(Kind::Sa, &key, &value).unwrap();
        model.insert((Kind::Sa, key.to_vec()), value);
        while let Err(error) = store.flush_turn(1) {
            assert_eq!(error, StoreError::Full);
            // Before, the next segment is being made: then that has taken the room.
            if store.trouble() == Some(StoreError::Full) {
                return;
            }
            std::thread::yield_now();
        }
    }
    panic!("never full");
}

fn until_flushed(store: &mut Store) {
    let end = Instant::now() + Duration::from_secs(20);
    while let Err(error) = store.flush_turn(2) {
        assert_eq!(error, StoreError::Full);
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}

#[test]
fn a_full_file_system() {
    let Some(root) = limited() else {
        let dir = tempfile::tempdir().unwrap();
        let shell =
            format!("mount -t tmpfs -o size=6m none '{0}'; exec \"$@\"", dir.path().display());
        return again("a_full_file_system", &shell, dir.path());
    };
    let folder = root.join("state");
    // What somebody else keeps there, and takes away again.
    fs::write(root.join("others"), vec![1; 2 << 20]).unwrap();
    let (mut store, _) = open(&folder, options());
    let mut model = Model::new();
    fill(&mut store, &mut model);
    for _ in 0..3 {
        assert_eq!(store.flush_turn(1), Err(StoreError::Full));
    }
    // A process that ends here leaves what was acknowledged: all but the last.
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("state");
    let made = Command::new("cp").arg("-a").arg(&folder).arg(&copied).status().unwrap();
    assert!(made.success());
    let last = model.last_key_value().map(|(key, _)| key.clone());
    let (_other, recovered) = open(&copied, options());
    let found = collect(&recovered.live);
    assert_eq!(found.len() + 1, model.len());
    assert!(found.iter().all(|(key, value)| model[key] == *value), "{last:?}");

    fs::remove_file(root.join("others")).unwrap();
    until_flushed(&mut store);
    drop(store);
    let (_store, recovered) = open(&folder, options());
    assert_eq!(recovered.lost, None);
    assert!(collect(&recovered.live) == model);
}

#[test]
fn a_limit_on_the_size_of_files() {
    let Some(root) = limited() else {
        let dir = tempfile::tempdir().unwrap();
        // In blocks of 512 octets: below one segment, so that none is made ahead.
        let shell = "trap '' XFSZ; ulimit -f 1000; exec \"$@\"";
        return again("a_limit_on_the_size_of_files", shell, dir.path());
    };
    let folder = root.join("state");
    let (mut store, _) = open(&folder, options());
    let mut model = Model::new();
    fill(&mut store, &mut model);
    let acknowledged = model.len() - 1;
    drop(store);
    let (_store, recovered) = open(&folder, options());
    assert_eq!(collect(&recovered.live).len(), acknowledged);
}

/// What can't be written is bounded in memory.
#[test]
fn pending_records_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { behind: 10_000, ..options() };
    let (mut store, _) = open(&dir.path().join("state"), options);
    let refused = (0..100_u8).find_map(|n| store.put(Kind::Sa, &[n], &[0; 1000]).err());
    assert_eq!(refused, Some(StoreError::Behind));
    store.flush_turn(1).unwrap();
}
