//! A pool goes with its last handle, and never under an mbuf.

use hearth_dpdk::Mempool;

use crate::{eal, pool};

/// Whether DPDK has a pool of this name.
fn exists(name: &str) -> bool {
    eal().pools().iter().any(|pool| pool.name == name)
}

#[test]
fn a_pool_goes_with_its_last_handle() {
    for _ in 0..3 {
        // A name in use would be refused.
        let first = pool("pool_again");
        let second = first.clone();
        drop(first);
        assert!(second.alloc().is_some());
        drop(second);
        assert!(!exists("pool_again"));
    }
}

#[test]
fn a_pool_stays_while_an_mbuf_of_it_is_held() {
    let pool = pool("pool_held");
    let mut mbuf = pool.alloc_with(b"still here").expect("an mbuf");
    drop(pool);
    let found = eal().pools().into_iter().find(|pool| pool.name == "pool_held");
    assert_eq!(found.map(|pool| pool.in_use), Some(1));
    let taken = Mempool::new(eal(), "pool_held", 15, 0, 2176);
    assert!(taken.is_err(), "its memory was given to somebody else");
    mbuf.data_mut()[0] = b'S';
    assert_eq!(mbuf.data(), b"Still here");
    drop(mbuf);
    // Nobody notices that it is back before somebody wants memory.
    let next = Mempool::new(eal(), "pool_held", 15, 0, 2176).expect("the name is free");
    assert_eq!(next.available(), 15);
}
