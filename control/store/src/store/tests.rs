//! A disk that fails to sync; buffers.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Mark, Store};
use crate::buffer::SecretBuffer;
use crate::{Kind, Options, Recovered, Room, StoreError};

const LONG: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options { segment_octets: 8192, ..Options::new(1) }
}

fn values(recovered: &Recovered) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut values = BTreeMap::new();
    for batch in recovered.live.batches() {
        batch
            .read(&mut Room::default(), |record| {
                values.insert(record.key.to_vec(), record.value.to_vec());
            })
            .unwrap();
    }
    values
}

/// A disk that fails to sync has perhaps dropped what it was given: all of it is written again,
/// and what the failing segment says no longer counts.
#[test]
fn what_a_failed_sync_may_have_lost_is_written_again() {
    static FAIL: AtomicU32 = AtomicU32::new(0);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state");
    let (mut store, _) = Store::open_with(&folder, options(), |file| {
        let fails = FAIL.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        if fails.is_ok() { Err(Errno::IO.into()) } else { file.sync_data() }
    })
    .unwrap();
    store.put(Kind::Sa, b"durable", b"1").unwrap();
    let durable = store.flush_turn(1).unwrap();
    assert!(store.wait_durable(durable, LONG));
    // The place where the segment that is about to fail ends for sure.
    let kept = (store.current.file.clone(), store.current.at);

    FAIL.store(3, Ordering::Release);
    let mut last = durable;
    for turn in 0..100_u8 {
        store.put(Kind::Sa, &[b'k', turn], &[turn; 200]).unwrap();
        match store.flush_turn(2) {
            Ok(mark) => last = mark,
            Err(error) => assert_eq!(error, StoreError::Failed(Errno::IO.raw_os_error())),
        }
    }
    let end = Instant::now() + LONG;
    while store.durable() < last || !store.pending.is_empty() {
        assert!(Instant::now() < end);
        if let Ok(mark) = store.flush_turn(3) {
            last = mark;
        }
        std::thread::yield_now();
    }
    assert_eq!(FAIL.load(Ordering::Acquire), 0);
    assert_eq!(store.trouble(), None);
    drop(store);
    // The disk has dropped what it failed to sync.
    kept.0.set_len(kept.1).unwrap();
    let (store, recovered) = Store::open(&folder, options()).unwrap();
    assert_eq!(recovered.lost, None);
    let found = values(&recovered);
    assert_eq!(found.len(), 101);
    assert!((0..100_u8).all(|turn| found[&vec![b'k', turn]] == [turn; 200]));
    assert!(store.durable() > durable);
}

#[test]
fn a_disk_that_never_recovers_is_not_filled() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state");
    let (mut store, _) =
        Store::open_with(&folder, options(), |_| Err(io::Error::from(Errno::IO))).unwrap();
    store.put(Kind::Sa, b"k", &[1; 300]).unwrap();
    store.flush_turn(1).unwrap();
    let (mut anew, mut segment) = (0, store.current.id);
    let end = Instant::now() + LONG;
    while anew < 4 {
        let _ = store.flush_turn(1);
        anew += u32::from(std::mem::replace(&mut segment, store.current.id) != segment);
        assert!(Instant::now() < end);
    }
    assert!(!store.wait_durable(Mark(1), LONG));
    assert_eq!(store.trouble(), Some(StoreError::Failed(Errno::IO.raw_os_error())));
    assert!(store.octets() < 1000, "{}", store.octets());
    drop(store);
    let (_store, recovered) = Store::open(&folder, options()).unwrap();
    assert_eq!(values(&recovered).len(), 1);
}

#[test]
fn buffers_are_wiped_when_their_turn_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(&dir.path().join("state"), options()).unwrap();
    store.put(Kind::Sa, b"k", b"secret").unwrap();
    let mark = store.flush_turn(1).unwrap();
    assert!(store.wait_durable(mark, LONG));
    store.flush_turn(1).unwrap();
    assert!(store.undurable.is_empty() && store.undurable_octets == 0);
    assert!(store.spent.iter().all(SecretBuffer::is_empty));
}
