//! The dataplane against its naive twin: random packets of all kinds go into both, and the same
//! has to come out, octet by octet, or stop for the same reason.
//!
//! `HEARTH_TWIN_PACKETS` says how many, `HEARTH_TWIN_SEED` which: the same ones where it is not
//! given, so that a tree always gets the same judgement. A failure prints the seed of its world; with `HEARTH_TWIN_BURST=1` packets go one by one, which names the culprit.
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::too_many_lines)]
#![allow(missing_docs, unreachable_pub)]

mod build;
mod chance;
#[path = "../packets/codec.rs"]
#[allow(dead_code)]
mod codec;
mod link_traffic;
mod model;
mod node;
#[path = "../packets/rig.rs"]
#[allow(dead_code)]
mod rig;
mod soak;
mod stage;
mod threads;
mod traffic;
mod watch;

use hearth_dataplane::DropReason as D;
use stage::{Seen, Stage};

/// A million: half a minute.
const USUAL: u64 = 1_000_000;
/// Packets of one world, with its own tables, before another is made.
const PER_WORLD: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn both_twins_do_the_same() {
    let packets = number("HEARTH_TWIN_PACKETS").unwrap_or(USUAL);
    let most = number("HEARTH_TWIN_BURST").unwrap_or(400) as usize;
    let first = number("HEARTH_TWIN_SEED").unwrap_or(1);
    println!("HEARTH_TWIN_SEED={first} HEARTH_TWIN_PACKETS={packets}");
    let (mut done, mut seed, mut seen) = (0, first, Seen::default());
    while done < packets {
        let mut stage = Stage::new(seed, most);
        let here = PER_WORLD.min(packets - done);
        done += stage.play(here);
        seen.add(stage.finish());
        seed += 1;
    }
    for (name, count) in &seen.0 {
        println!("{count:>9} {name}");
    }
    if packets >= USUAL {
        every_reason_was_provoked(&seen);
    }
}

/// The same packets, sealed and opened by a device of cryptodev's in the place of the lanes.
#[test]
fn both_twins_do_the_same_with_a_crypto_device() {
    let packets = number("HEARTH_TWIN_PACKETS").unwrap_or(USUAL) / 10;
    let most = number("HEARTH_TWIN_BURST").unwrap_or(400) as usize;
    let seed = number("HEARTH_TWIN_SEED").unwrap_or(4_000_000);
    for (seed, workers) in (seed..).zip([1, 2]) {
        let mut stage = Stage::of(workers, seed, most, Some("crypto_aesni_mb"));
        let mut done = 0;
        while done < packets / 2 {
            done += stage.play(packets / 2 - done);
        }
        let counters = stage.twins.rig.counters();
        let by_device: u64 = counters.workers.iter().map(|worker| worker.device_packets).sum();
        assert!(by_device > done / 10, "most of it went by the lanes: {by_device}");
        stage.finish();
    }
}

/// What this traffic never meets: full queues, lost buffers, a worker that stalls or ends, fragments that
/// wait for others, next hops that stay silent, ICMP errors about outer packets, groups, anycast
/// addresses, numbers that are not granted, and who asks without end. Tests of their own are in `packets` and `sizes`.
const NOT_HERE: [D; 30] = [
    D::MultiSegment,
    D::FragmentOverlap,
    D::FragmentTableFull,
    D::FragmentTimeout,
    D::OuterErrorUnrelated,
    D::OuterErrorKnown,
    D::OuterErrorTooShort,
    D::OuterErrorLimited,
    D::HomeAddressUnbound,
    D::HomeLinkLocal,
    D::FragmentBuffers,
    D::BufferRoom,
    D::CryptoFailed,
    D::CryptoDeviceFull,
    D::HelperStalled,
    D::TripleDesQueueFull,
    D::NeighbourUnresolved,
    D::HandoverRingFull,
    D::HostRingFull,
    D::SignallingRingFull,
    D::TxFull,
    D::Stopped,
    D::FlowCopies,
    D::NestedTooDeep,
    D::AnycastOther,
    D::PlainHomeAddress,
    D::GroupNoMember,
    D::GroupCopies,
    D::OutboundGrant,
    D::ReportLimit,
];

/// A generator that has lost the way to a verdict would let both twins agree about nothing.
fn every_reason_was_provoked(seen: &Seen) {
    let missed: Vec<_> = D::ALL
        .iter()
        .filter(|reason| !NOT_HERE.contains(reason) && !seen.0.contains_key(reason.name()))
        .map(|reason| reason.name())
        .collect();
    assert!(missed.is_empty(), "never provoked: {missed:?}");
}
