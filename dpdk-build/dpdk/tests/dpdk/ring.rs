//! Rings give back what does not fit, and free what is left in them.

use hearth_dpdk::{Burst, mpsc_ring, spsc_ring};

use crate::{all_back, eal, fill, pool};

#[test]
fn a_ring_keeps_the_order_and_gives_back_what_does_not_fit() {
    let pool = pool("ring_full");
    let (mut tx, mut rx) = spsc_ring(eal(), "ring_full", 10).expect("a ring");
    let mut burst = Burst::<16>::new();
    for n in 0..16_u8 {
        burst.push(pool.alloc_with(&[n]).expect("an mbuf")).expect("room");
    }
    assert_eq!(tx.send(&mut burst), 10);
    assert_eq!(burst.len(), 6);
    assert_eq!(burst[0].data(), [10], "the rest moves to the front in order");
    assert_eq!(tx.send(&mut burst), 0, "the ring is full");
    let refused = tx.push(burst.pop().expect("six are left")).expect_err("the ring is full");
    assert_eq!((refused.data(), tx.len(), pool.in_use()), (&[15][..], 10, 16));
    drop((refused, burst));

    let mut got = Burst::<64>::new();
    assert_eq!(rx.receive(&mut got), 10);
    let order: Vec<u8> = got.iter().map(|mbuf| mbuf.data()[0]).collect();
    assert_eq!(order, (0..10).collect::<Vec<u8>>());
    assert!(rx.is_empty());
    drop(got);
    all_back(&pool);
}

#[test]
fn a_ring_frees_what_is_in_it_with_its_last_end() {
    let pool = pool("ring_drop");
    let (mut tx, rx) = spsc_ring(eal(), "ring_drop", 100).expect("a ring");
    let mut burst = Burst::<64>::new();
    fill(&pool, &mut burst);
    assert_eq!(tx.send(&mut burst), 64);
    drop(rx);
    assert_eq!(pool.in_use(), 64, "the producer's end is there still");
    drop(tx);
    all_back(&pool);
    // And the name is free again.
    assert!(spsc_ring(eal(), "ring_drop", 100).is_ok());
}

#[test]
fn ring_names_are_unique() {
    let first = spsc_ring(eal(), "ring_name", 8).expect("a ring");
    assert!(spsc_ring(eal(), "ring_name", 8).is_err());
    drop(first);
    assert!(spsc_ring(eal(), "nul\0", 8).is_err());
}

#[test]
fn several_threads_hand_packets_to_one() {
    const EACH: usize = 100;
    let pool = pool("ring_mpsc");
    let (tx, mut rx) = mpsc_ring(eal(), "ring_mpsc", 32).expect("a ring");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (tx, pool) = (tx.clone(), pool.clone());
            scope.spawn(move || {
                let _registration = eal().register_thread().expect("a free lcore id");
                for _ in 0..EACH {
                    let mut mbuf = pool.alloc().expect("an mbuf");
                    while let Err(back) = tx.push(mbuf) {
                        mbuf = back;
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut got = 0;
        let mut burst = Burst::<16>::new();
        while got < 3 * EACH {
            got += rx.receive(&mut burst);
            burst.clear();
            std::thread::yield_now();
        }
    });
    all_back(&pool);
}
