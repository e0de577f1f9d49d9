//! Who owns an mbuf, and where its data lies.

use hearth_dpdk::{Burst, HEADROOM, META_SIZE, Mbuf, Mempool, RxChecksum};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{all_back, eal, fill, pool};

#[test]
fn a_dropped_mbuf_goes_back() {
    let pool = pool("mbuf_drop");
    let mbuf = pool.alloc().expect("an mbuf");
    assert_eq!((pool.available(), pool.in_use()), (510, 1));
    drop(mbuf);
    all_back(&pool);
}

#[test]
fn an_mbuf_given_up_stays_out_until_it_is_taken_over_again() {
    let pool = pool("mbuf_raw");
    let raw = pool.alloc_with(b"packet").expect("an mbuf").into_raw();
    assert_eq!(pool.in_use(), 1);
    // SAFETY: the mbuf was given up the line before last.
    let mbuf = unsafe { Mbuf::from_raw(raw) };
    assert_eq!(mbuf.data(), b"packet");
    drop(mbuf);
    all_back(&pool);
}

#[test]
fn data_grows_and_shrinks_at_both_ends() {
    let pool = pool("mbuf_data");
    let mut mbuf = pool.alloc_with(b"payload").expect("an mbuf");
    assert_eq!((mbuf.headroom(), mbuf.tailroom()), (HEADROOM, 2048 - 7));

    mbuf.prepend(4).expect("headroom").copy_from_slice(b"head");
    mbuf.append(4).expect("tailroom").copy_from_slice(b"tail");
    assert_eq!(mbuf.data(), b"headpayloadtail");
    assert_eq!((mbuf.len(), mbuf.headroom()), (15, HEADROOM - 4));

    mbuf.adj(4).expect("enough octets");
    mbuf.trim(4).expect("enough octets");
    assert_eq!(mbuf.data(), b"payload");
    mbuf.data_mut()[0] = b'P';
    assert_eq!(mbuf.data(), b"Payload");
    assert!(mbuf.is_contiguous() && !mbuf.is_empty());
}

#[test]
fn data_does_not_grow_beyond_the_buffer_nor_shrink_below_nothing() {
    let pool = pool("mbuf_edges");
    let mut mbuf = pool.alloc_with(b"1234").expect("an mbuf");
    assert!(mbuf.adj(5).is_none() && mbuf.trim(5).is_none());
    assert!(mbuf.prepend(HEADROOM + 1).is_none());
    assert!(mbuf.append(2048 - 3).is_none());
    assert!(mbuf.append(usize::MAX).is_none() && mbuf.prepend(usize::MAX).is_none());
    assert_eq!(mbuf.data(), b"1234", "a refused change changed something");

    assert!(mbuf.prepend(HEADROOM).is_some() && mbuf.append(2044).is_some());
    assert_eq!((mbuf.headroom(), mbuf.tailroom(), mbuf.len()), (0, 0, 2048 + 128));
    assert!(mbuf.adj(2048 + 128).is_some() && mbuf.is_empty());
    assert!(pool.alloc_with(&[0; 2049]).is_none());
    drop(mbuf);
    all_back(&pool);
}

#[derive(FromBytes, IntoBytes, Immutable, Debug, PartialEq, Clone, Copy)]
#[repr(C)]
struct Meta {
    sa: u64,
    words: [u32; 30],
}

#[test]
fn the_private_area_is_one_per_mbuf_and_apart_from_the_data() {
    assert_eq!(size_of::<Meta>(), META_SIZE);
    let pool = pool("mbuf_meta");
    let mut a = pool.alloc().expect("an mbuf");
    let mut b = pool.alloc().expect("an mbuf");
    let room = a.headroom() + a.tailroom();
    a.append(room - HEADROOM).expect("room").fill(0xff);
    a.prepend(HEADROOM).expect("room").fill(0xff);
    let meta = Meta { sa: 7, words: [3; 30] };
    *a.meta_mut::<Meta>() = meta;
    *b.meta_mut::<Meta>() = Meta { sa: 8, words: [4; 30] };
    assert_eq!(a.meta::<Meta>(), &meta);
    assert_eq!(b.meta::<Meta>().sa, 8);
    assert!(a.data().iter().all(|&octet| octet == 0xff), "the areas overlap");
}

#[test]
fn a_full_size_mbuf_linearizes_to_itself() {
    let small = pool("mbuf_lin");
    let jumbo = Mempool::new(eal(), "mbuf_lin_jumbo", 15, 0, 9216 + 128).expect("a pool");
    let mbuf = small.alloc_with(b"whole").expect("an mbuf");
    let address = mbuf.data().as_ptr();
    let mbuf = mbuf.linearize(&jumbo).expect("nothing to do");
    assert_eq!(mbuf.data().as_ptr(), address, "copied without need");
    assert_eq!(jumbo.in_use(), 0);
    assert_eq!(mbuf.rx_ip_checksum(), RxChecksum::Unknown);
    assert_eq!(mbuf.rx_l4_checksum(), RxChecksum::Unknown);
}

#[test]
fn an_empty_pool_says_none_and_recovers() {
    let pool = pool("mbuf_empty");
    let held: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((held.len(), pool.available()), (511, 0));
    assert!(pool.alloc().is_none());
    drop(held);
    all_back(&pool);
}

#[test]
fn a_burst_frees_what_is_in_it_however_it_goes() {
    let pool = pool("burst");
    let mut burst = Burst::<64>::new();
    fill(&pool, &mut burst);
    let extra = pool.alloc().expect("an mbuf");
    assert!(burst.push(extra).is_err(), "pushed into a full burst");
    assert_eq!(pool.in_use(), 64, "the refused mbuf was dropped");

    drop(burst.pop());
    assert_eq!((burst.len(), pool.in_use()), (63, 63));
    // A drain that is not followed to its end frees the rest.
    let kept: Vec<_> = burst.drain().take(10).collect();
    assert_eq!((kept.len(), burst.len(), pool.in_use()), (10, 0, 10));
    drop(kept);
    all_back(&pool);

    fill(&pool, &mut burst);
    burst.clear();
    all_back(&pool);
    fill(&pool, &mut burst);
    drop(burst);
    all_back(&pool);
}

#[test]
fn a_burst_keeps_its_order() {
    let pool = pool("burst_order");
    let mut burst = Burst::<8>::new();
    for n in 0..5_u8 {
        burst.push(pool.alloc_with(&[n]).expect("an mbuf")).expect("room");
    }
    burst.swap(0, 4);
    let order: Vec<u8> = burst.drain().map(|mbuf| mbuf.data()[0]).collect();
    assert_eq!(order, [4, 1, 2, 3, 0]);
    all_back(&pool);
}
