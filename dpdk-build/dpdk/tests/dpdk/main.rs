//! The owning layer against real DPDK (without huge pages, on virtual devices) and ipsec-mb.
//!
//! DPDK starts once per process, so all tests of a process share it; each has pools, rings and
//! tables of its own, and counts its pool before and after.

// Mbuf::from_raw is unsafe to call. A test that cannot be set up has failed.
#![allow(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod crypto;
mod fib;
mod fragments;
mod hash;
mod mbuf;
mod pcapng;
mod pool;
mod port;
mod ring;

use std::sync::OnceLock;

use hearth_dpdk::{Burst, Eal, EalOptions, Mempool};

/// A crypto device that the EAL makes when it starts.
const CRYPTO_VDEV: &str = "crypto_aesni_mb_eal";

/// The EAL of this process.
fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        let vdevs = vec![CRYPTO_VDEV.to_owned()];
        let options = EalOptions { memory_mb: 1024, vdevs, ..EalOptions::default() };
        Eal::init(&options).expect("DPDK starts without huge pages")
    })
}

/// A pool of 511 mbufs without caches, so that its counts are exact whichever thread looks.
fn pool(name: &str) -> Mempool {
    let pool = Mempool::new(eal(), name, 511, 0, 2048 + 128).expect("a pool");
    assert_eq!((pool.available(), pool.in_use()), (511, 0));
    pool
}

/// Fills the burst with empty mbufs.
#[track_caller]
fn fill<const N: usize>(pool: &Mempool, burst: &mut Burst<N>) {
    while !burst.is_full() {
        burst.push(pool.alloc().expect("an mbuf")).expect("room");
    }
}

#[track_caller]
fn all_back(pool: &Mempool) {
    assert_eq!((pool.available(), pool.in_use()), (511, 0), "mbufs leaked");
}

#[test]
fn the_eal_starts_once_and_leaves_the_affinity_as_it_was() {
    let before = rustix::thread::sched_getaffinity(None).expect("affinity");
    let eal = eal();
    let after = rustix::thread::sched_getaffinity(None).expect("affinity");
    assert!(before == after, "the caller was pinned");
    assert!(eal.version().starts_with("DPDK "), "{}", eal.version());
    let again = Eal::init(&EalOptions::default());
    assert_eq!(again.err(), Some(hearth_dpdk::EalError::AlreadyStarted));
}

#[test]
fn nothing_is_left_in_the_runtime_directory() {
    eal();
    let prefix = EalOptions::default().file_prefix;
    assert!(!std::path::Path::new("/var/run/dpdk").join(prefix).exists());
}

#[test]
fn threads_register_once_and_again_after_they_unregistered() {
    eal();
    std::thread::spawn(|| {
        let registration = eal().register_thread().expect("a free lcore id");
        assert!(eal().register_thread().is_err(), "registered twice");
        drop(registration);
        let again = eal().register_thread();
        assert!(again.is_ok(), "{again:?}");
    })
    .join()
    .expect("the thread");
}
