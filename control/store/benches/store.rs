//! What the store costs: turns of 64 records, on tmpfs and on disk, and the read-back.
#![allow(missing_docs)] // `criterion_group!` makes undocumented items

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hearth_store::{Kind, Options, Record, Room, Store};

/// Records of a control turn.
const TURN: u64 = 64;
const LIVE: u64 = 1_000_000;

fn key(number: u64) -> [u8; 16] {
    let mut key = [0x20; 16];
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Puts and flushes one turn; the time without that of waiting for a disk that has fallen behind.
fn write(store: &mut Store, next: &mut u64) -> Duration {
    let began = Instant::now();
    for _ in 0..TURN {
        *next = (*next + 7919) % LIVE;
        let _taken = store.put(Kind::Binding, &key(*next), &[7; 90]);
    }
    let flushed = store.flush_turn(1);
    let spent = began.elapsed();
    if flushed.is_err() {
        until_flushed(store);
    }
    spent
}

fn until_flushed(store: &mut Store) {
    while store.flush_turn(1).is_err() {
        std::thread::yield_now();
    }
}

fn puts(c: &mut Criterion) {
    let mut group = c.benchmark_group("put");
    group.throughput(Throughput::Elements(TURN));
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.sample_size(10);
    for (name, root) in [("tmpfs", "/dev/shm"), ("disk", "/var/tmp")] {
        let Ok(dir) = tempfile::tempdir_in(root) else { continue };
        let Ok((mut store, _)) = Store::open(&dir.path().join("state"), Options::new(1)) else {
            continue;
        };
        let (mut times, mut next) = (Vec::new(), 0);
        group.bench_function(format!("turn_of_64_on_{name}"), |bench| {
            bench.iter_custom(|turns| {
                let mut all = Duration::ZERO;
                for _ in 0..turns {
                    let one = write(&mut store, &mut next);
                    times.push(one);
                    all += one;
                }
                all
            });
        });
        times.sort_unstable();
        let rank = |part: usize| times.get(times.len() * part / 1000);
        println!("{name}: p99 {:?}, p99.9 {:?}, longest {:?}", rank(990), rank(999), times.last());
    }
    group.finish();
}

fn read_all(folder: &Path) -> (Duration, Duration, u64) {
    let began = Instant::now();
    let Ok((_store, recovered)) = Store::open(folder, Options::new(1)) else {
        return (Duration::ZERO, Duration::ZERO, 0);
    };
    let opened = began.elapsed();
    let batches = recovered.live.batches();
    let read = |part: usize| {
        let (mut octets, mut room) = (0, Room::default());
        for batch in batches.iter().skip(part).step_by(2) {
            let each = |record: Record<'_>| octets += black_box(record).value.len() as u64;
            let _read = batch.read(&mut room, each);
        }
        octets
    };
    let octets = std::thread::scope(|scope| {
        let other = scope.spawn(|| read(1));
        read(0) + other.join().unwrap_or(0)
    });
    (opened, began.elapsed() - opened, octets)
}

/// 1M records of 300 octets, a quarter of them put twice: opened, and read by two threads.
fn read_back(_: &mut Criterion) {
    let Ok(dir) = tempfile::tempdir_in("/var/tmp") else { return };
    let folder = dir.path().join("state");
    let Ok((mut store, _)) = Store::open(&folder, Options::new(1)) else { return };
    for turn in 0..LIVE * 5 / 4 / 1000 {
        for one in 0..1000 {
            let _taken = store.put(Kind::Binding, &key((turn * 1000 + one) % LIVE), &[7; 276]);
        }
        until_flushed(&mut store);
    }
    drop(store);
    for _ in 0..3 {
        let (open, read, octets) = read_all(&folder);
        println!("1M records, 1.25M in the log: open {open:?}, read {read:?}, {octets} octets");
    }
}

criterion_group!(benches, puts, read_back);
criterion_main!(benches);
