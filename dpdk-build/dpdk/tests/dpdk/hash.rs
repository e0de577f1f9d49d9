//! Tables that readers read without locks, and when a slot is used again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hearth_dpdk::{HashError, HashWriter, Qsbr};

use crate::eal;

fn key(n: u32) -> [u8; 16] {
    let mut key = [0x20; 16];
    key[12..].copy_from_slice(&n.to_be_bytes());
    key
}

#[test]
fn keys_are_added_replaced_found_and_removed() {
    let qsbr = Qsbr::new(eal(), 4).expect("a group");
    let mut table = HashWriter::<16>::new(eal(), "hash_basic", 1000, &qsbr).expect("a table");
    let reader = table.reader();
    for n in 0..1000 {
        table.insert(&key(n), n).expect("room for all that were asked for");
    }
    assert_eq!((table.len(), reader.lookup(&key(999))), (1000, Some(999)));
    assert_eq!(reader.lookup(&key(1000)), None);
    table.insert(&key(5), u32::MAX).expect("a replacement needs no room");
    assert_eq!((reader.lookup(&key(5)), table.len()), (Some(u32::MAX), 1000));
    assert!(table.remove(&key(5)) && !table.remove(&key(5)));
    assert_eq!((reader.lookup(&key(5)), table.get(&key(6))), (None, Some(6)));
}

#[test]
fn a_removed_slot_is_used_again_only_after_a_quiescent_point() {
    let qsbr = Qsbr::new(eal(), 2).expect("a group");
    let mut table = HashWriter::<16>::new(eal(), "hash_rcu", 8, &qsbr).expect("a table");
    let mut reader = qsbr.reader().expect("room for a reader");
    let mut filled = 0;
    while table.insert(&key(filled), filled).is_ok() {
        filled += 1;
    }
    assert!(filled >= 8, "{filled}");
    assert!(table.remove(&key(0)));
    assert_eq!(table.insert(&key(1000), 1), Err(HashError::Full), "a reader may look still");
    reader.quiescent();
    assert_eq!(table.insert(&key(1000), 1), Ok(()));
}

#[test]
fn slots_do_not_leak_over_many_rounds() {
    let qsbr = Qsbr::new(eal(), 1).expect("a group");
    let mut table = HashWriter::<16>::new(eal(), "hash_leak", 64, &qsbr).expect("a table");
    let mut reader = qsbr.reader().expect("room for a reader");
    for n in 0..10_000 {
        table.insert(&key(n), n).expect("the slot of an earlier key");
        assert!(table.remove(&key(n)));
        reader.quiescent();
    }
    assert!(table.is_empty());
}

#[test]
fn readers_see_old_or_new_while_the_writer_changes_everything() {
    let qsbr = Qsbr::new(eal(), 2).expect("a group");
    let mut table = HashWriter::<16>::new(eal(), "hash_race", 64, &qsbr).expect("a table");
    table.insert(&key(0), 1).expect("room");
    let (looked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (reader, mut quiescent) = (table.reader(), qsbr.reader().expect("room"));
        let (looked, stop) = (&looked, &stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let value = reader.lookup(&key(0));
                assert!(matches!(value, Some(1 | 2)), "{value:?}");
                quiescent.quiescent();
                looked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut round = 0;
        while round < 20_000 || looked.load(Ordering::Relaxed) < 20_000 {
            table.insert(&key(0), 1 + round % 2).expect("no room needed");
            // The other keys churn through the buckets beside it.
            if table.insert(&key(1 + round % 40), round).is_ok() {
                table.remove(&key(1 + (round + 20) % 40));
            }
            round += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_grace_period_ends_when_every_reader_has_reported() {
    let qsbr = Qsbr::new(eal(), 2).expect("a group");
    let mut a = qsbr.reader().expect("room");
    let mut b = qsbr.reader().expect("room");
    assert!(qsbr.reader().is_none(), "a third of two");
    let token = qsbr.start();
    assert!(!qsbr.check(token));
    a.quiescent();
    assert!(!qsbr.check(token), "b has not reported");
    b.offline();
    assert!(qsbr.check(token), "b takes no part");
    b.online();
    let token = qsbr.start();
    a.quiescent();
    assert!(!qsbr.check(token));
    drop(b);
    assert!(qsbr.check(token), "b is gone");
    assert!(qsbr.reader().is_some(), "and its number is free");
    a.quiescent();
    drop(a);
    qsbr.synchronize();
}

#[test]
fn an_epoch_is_reported_when_its_jobs_are_back_not_before_and_not_for_later() {
    let qsbr = Qsbr::new(eal(), 1).expect("a group");
    let mut reader = qsbr.reader().expect("room");
    let before = reader.epoch();
    let token = qsbr.start();
    // A job submitted before the grace period is in a lane; one from afterwards, too.
    let after = reader.epoch();
    assert!(before < after);
    reader.quiescent_at(before);
    assert!(!qsbr.check(token), "references from before the grace period are left");
    reader.quiescent_at(after);
    assert!(qsbr.check(token));
    let later = qsbr.start();
    reader.quiescent_at(before);
    assert!(!qsbr.check(later), "an old epoch says nothing new");
    // Offline stays offline.
    reader.offline();
    reader.quiescent_at(after);
    assert!(qsbr.check(later));
}
