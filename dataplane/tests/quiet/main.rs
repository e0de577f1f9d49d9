//! A worker's turn allocates nothing, takes no lock and makes no system call, whatever the packets.
//!
//! Three watchmen stand around every call of `Worker::turn`, in the thread that makes it: an
//! allocator that counts (Rust's and, by interposition, C's `malloc`), the pthread locks, counted
//! likewise, and the kernel, which is told to refuse every system call (syscall user dispatch). A
//! lock of Rust's own shows by its `futex` when it is contended; no code of the turn has one.
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::too_many_lines)]
#![allow(missing_docs, unreachable_pub, dead_code)]
// The watchmen: an allocator, C symbols, a signal handler.
#![allow(unsafe_code)]

#[path = "../twin/build.rs"]
mod build;
#[path = "../twin/chance.rs"]
mod chance;
#[path = "../twin/link_traffic.rs"]
mod link_traffic;
#[path = "../twin/model/mod.rs"]
mod model;
#[path = "../twin/node.rs"]
mod node;
#[path = "../twin/stage.rs"]
mod stage;
#[path = "../twin/traffic.rs"]
mod traffic;
#[path = "../twin/watch.rs"]
mod watch;
#[path = "../watched/mod.rs"]
mod watched;

use std::net::{IpAddr, Ipv6Addr};

use hearth_wire::{Scope, Suite};
use rig::{ACCESS, CN6, HOME, MobileNode, Registration};
use stage::Stage;
use watched::watchmen::{Watch, Witness};
use watched::{codec, rig, watched_rig, watched_turn};

/// The watchmen see what they are there for.
fn the_watchmen_are_awake() {
    let allocation = Watch::over(|| std::hint::black_box(Box::new(7)));
    assert!(allocation.1.allocations > 0);
    // SAFETY: a size like any other; the memory is freed below.
    let memory = Watch::over(|| unsafe { std::hint::black_box(libc::malloc(24)) });
    assert!(memory.1.allocations > 0);
    // SAFETY: from malloc, and not used any more.
    let freed = Watch::over(|| unsafe { libc::free(memory.0) });
    assert!(freed.1.allocations > 0);
    // SAFETY: without arguments, and it cannot fail.
    let call = Watch::over(|| unsafe { libc::syscall(libc::SYS_gettid) });
    assert_eq!(call.1.system_call, Some(libc::SYS_gettid as i32));
    let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
    // SAFETY: a mutex of this thread's own.
    let lock = Watch::over(|| unsafe {
        libc::pthread_mutex_lock(&raw mut mutex);
        libc::pthread_mutex_unlock(&raw mut mutex)
    });
    assert_eq!(lock.1.locks, 1);
    assert_eq!(Watch::over(|| std::hint::black_box(3) + 4).1, Witness::default());
}

/// Everything that the twins compare, with the watchmen around every turn.
fn traffic_of_all_kinds() {
    for seed in 0..12 {
        let mut stage = Stage::new(seed, 400);
        stage.watch(watched_turn);
        stage.play(10_000);
        stage.finish();
    }
}

/// Full rings, on every side: a port, signalling, the host, the other worker, 3DES, and signalling
/// that waits for its SA.
fn nobody_keeps_up() {
    let mut rig = watched_rig(|config| {
        config.workers = 2;
        config.triple_des_budget = 4;
        config.signalling_hold_ms = 100_000;
    });
    let mut mn = rig.attach(MobileNode::usual());
    let mut slow =
        rig.attach(MobileNode::new(3, Suite::TripleDesEdeCbcSha, Scope::SignallingAndData, true));
    let (up, down) = (rig.mac(ACCESS), rig.mac(HOME));
    let away: IpAddr = CN6.into();
    let stranger = MobileNode::new(9, Suite::Aes128CbcSha, Scope::Signalling, true);
    for number in 0..7200 {
        let (port, frame) = match number / 1200 {
            0 => (HOME, codec::ethernet(down, [2; 6], &codec::ip(away, mn.home6.into(), 17, b"x"))),
            1 => {
                let seq = mn.seq;
                mn.seq += 1;
                (ACCESS, codec::ethernet(up, [2; 6], &mn.sealed(&mn.plain(8, seq, 135, &[59; 8]))))
            }
            2 => (ACCESS, codec::ethernet([0xff; 6], [2; 6], &mn.inner6())),
            3 => (ACCESS, codec::ethernet(up, [2; 6], &slow.data(&slow.inner6()))),
            5 => {
                let update = stranger.sealed(&stranger.plain(8, number, 135, &[59; 8]));
                (ACCESS, codec::ethernet(up, [2; 6], &update))
            }
            _ => (ACCESS, codec::ethernet(up, [2; 6], &mn.data(&mn.inner6()))),
        };
        rig.try_inject(port, 0, &frame);
        if number % 4 == 3 {
            (rig.turn)(&mut rig.workers[0]);
        }
        // The owner of both SAs is slower than the one that receives, and at last asleep.
        if number % 40 == 39 && number < 4800 {
            (rig.turn)(&mut rig.workers[1]);
        }
        if number % 1200 == 1199 {
            rig.turns();
            rig.received(ACCESS);
            rig.received(HOME);
            rig.events();
        }
    }
    let drops = rig.drops();
    for reason in [
        "tx_full",
        "host_ring_full",
        "signalling_ring_full",
        "handover_ring_full",
        "triple_des_queue_full",
        "spi_unknown",
    ] {
        assert!(drops.contains_key(reason), "{reason}: {drops:?}");
    }
    rig.finish();
}

fn icmp6(from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = model::transport_checksum(from.into(), to.into(), 58, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    codec::ip_with(from.into(), to.into(), 58, 255, 0, &message)
}

/// What is said on a home link, groups with many members, what control sends there, and numbers
/// that are not granted.
fn home_links_and_groups() {
    let mut rig = watched_rig(|config| {
        config.workers = 2;
        config.max_bindings = 300;
    });
    let mut mn = rig.attach(MobileNode::usual());
    let dry = MobileNode::new(2, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
    rig.insert_sa_at(&dry, 0xfffe_ffff).unwrap();
    rig.bind(&dry);
    let home = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 2, n);
    let homes: Vec<_> = (0..150).map(home).collect();
    for home_address in &homes {
        let own = Registration { home_address: *home_address, ..mn.binding() };
        let own = Registration { ipv4_home_address: None, ..own };
        own.bind(&mut rig.tables, &[]).unwrap();
    }
    let (group, anycast): (Ipv6Addr, Ipv6Addr) =
        ("ff0e::1:2".parse().unwrap(), "2001:db8:f:0:fdff:ffff:ffff:fffe".parse().unwrap());
    rig.tables.set_group(HOME, group.into(), &homes).unwrap();
    rig.tables.set_anycast(&[(HOME, anycast)]);
    rig.tables.set_local_addresses(&[rig::HA6.into(), anycast.into()]).unwrap();
    let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    let own = rig.mac(HOME);
    let of = |kind: u8, target: Ipv6Addr| {
        [&[kind, 0, 0, 0, 0x20, 0, 0, 0][..], &target.octets()].concat()
    };
    let option =
        [&[58, 2, 1, 2, 0, 0, 0xc9, 16][..], &home(200).octets(), &[128, 0, 0, 0]].concat();
    let frames = [
        codec::ethernet([0x33; 6], [2; 6], &icmp6(CN6, all_nodes, of(135, homes[3]))),
        codec::ethernet([0x33; 6], [2; 6], &icmp6(CN6, all_nodes, of(136, homes[3]))),
        codec::ethernet([0x33; 6], [2; 6], &codec::ip(CN6.into(), group.into(), 17, &[7; 900])),
        codec::ethernet(own, [2; 6], &icmp6(CN6, anycast, vec![144, 0, 0, 0, 0, 1, 0, 0])),
        codec::ethernet(own, [2; 6], &codec::ip(CN6.into(), rig::HA6.into(), 60, &option)),
        codec::ethernet(own, [2; 6], &codec::ip(CN6.into(), dry.home6.into(), 17, b"x")),
    ];
    let report = codec::ip_with(
        "fe80::5".parse().unwrap(),
        "ff02::16".parse().unwrap(),
        58,
        1,
        0,
        &[143; 28],
    );
    for round in 0..400 {
        rig.try_inject(HOME, 0, &frames[round % frames.len()]);
        let up = rig.mac(ACCESS);
        let packet = mn.data(&report);
        rig.try_inject(ACCESS, 1, &codec::ethernet(up, [2; 6], &packet));
        rig.control.send_frame(HOME, &frames[0]).unwrap();
        rig.control.send_packet(&codec::ip(rig::HA6.into(), CN6.into(), 58, &[145; 8])).unwrap();
        rig.control.send_inner(homes[round % 150], &frames[2][14..]).unwrap();
        rig.turns();
        rig.received(ACCESS);
        rig.received(HOME);
        rig.events();
    }
    let drops = rig.drops();
    for reason in ["address_contested", "plain_home_address", "sequence_exhausted"] {
        assert!(drops.contains_key(reason), "{reason}: {drops:?}");
    }
    assert!(!rig.contested.is_empty() && !rig.near_grant.is_empty());
    rig.finish();
}

/// One test, so that nothing else runs in the process.
#[test]
fn a_turn_is_quiet() {
    let _watch = Watch::set_up();
    the_watchmen_are_awake();
    traffic_of_all_kinds();
    nobody_keeps_up();
    home_links_and_groups();
}
