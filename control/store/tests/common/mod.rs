//! A naive twin of the store, and how both are filled.
#![allow(dead_code)] // each test binary uses a part

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hearth_store::{Kind, Live, Options, Recovered, Room, Store};

/// What the store should hold.
pub(crate) type Model = BTreeMap<(Kind, Vec<u8>), Vec<u8>>;

/// Small segments, so that a test sees several.
pub(crate) fn small() -> Options {
    Options { segment_octets: 4096, ..Options::new(1) }
}

/// A folder that does not exist yet, in memory: a property syncs thousands of times.
pub(crate) fn folder_in_memory() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = dir.path().join("state");
    (dir, folder)
}

/// A folder that does not exist yet, on disk.
pub(crate) fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state");
    (dir, folder)
}

pub(crate) fn open(folder: &Path, options: Options) -> (Store, Recovered) {
    Store::open(folder, options).unwrap()
}

/// Everything live, each key once.
pub(crate) fn collect(live: &Live) -> Model {
    let mut model = Model::new();
    for batch in live.batches() {
        batch
            .read(&mut Room::default(), |record| {
                let before = model.insert((record.kind, record.key.into()), record.value.into());
                assert!(before.is_none(), "{record:?} twice");
            })
            .unwrap();
    }
    assert_eq!(live.records(), model.len() as u64);
    for kind in Kind::ALL {
        let found = model.keys().filter(|(of, _)| *of == kind).count();
        assert_eq!(live.count(kind), found as u64);
    }
    model
}

/// The segments in a folder, in order.
pub(crate) fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    files.sort();
    files
}
