//! The EAL goes when its last object is gone. A process of its own: DPDK starts once.
#![allow(clippy::expect_used)]

use hearth_dpdk::{Eal, EalOptions, Mempool, Port, spsc_ring};

#[test]
fn the_eal_is_cleaned_up_after_its_last_object() {
    let options = EalOptions { memory_mb: 64, ..EalOptions::default() };
    let eal = Eal::init(&options).expect("DPDK starts");
    let pool = Mempool::new(&eal, "pool", 127, 0, 2176).expect("a pool");
    let (mut inject, rx) = spsc_ring(&eal, "rx", 8).expect("a ring");
    let (tx, collect) = spsc_ring(&eal, "tx", 8).expect("a ring");
    let (port, queues) = Port::from_rings(&eal, "port", vec![rx], vec![tx], &pool).expect("a port");
    inject.push(pool.alloc().expect("an mbuf")).expect("room");
    let running = mapped_pages();
    // The EAL first: the others keep it.
    drop(eal);
    assert_eq!(pool.in_use(), 1);
    drop((port, pool, inject, collect));
    assert!(mapped_pages() + HEAP_PAGES / 2 > running, "a queue keeps everything");
    drop(queues);
    assert!(mapped_pages() + HEAP_PAGES / 2 < running, "DPDK's memory is there still");
}

/// DPDK's heap in pages of 4 KiB.
const HEAP_PAGES: usize = 64 * 256;

/// Pages of this process's address space.
fn mapped_pages() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    statm.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number")
}
