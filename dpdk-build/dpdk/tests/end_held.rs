//! An mbuf that outlives every handle keeps DPDK's memory. A process of its own: DPDK starts
//! once.
#![allow(clippy::expect_used)]

use hearth_dpdk::{Eal, EalOptions, Mempool};

#[test]
fn an_mbuf_that_is_held_keeps_its_memory() {
    let options = EalOptions { memory_mb: 64, ..EalOptions::default() };
    let eal = Eal::init(&options).expect("DPDK starts");
    let pool = Mempool::new(&eal, "pool", 127, 0, 2176).expect("a pool");
    let mut mbuf = pool.alloc_with(b"still here").expect("an mbuf");
    drop((eal, pool));
    mbuf.data_mut()[0] = b'S';
    assert_eq!(mbuf.data(), b"Still here");
    drop(mbuf);
}
