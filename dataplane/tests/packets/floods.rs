//! Floods of what has to be dropped, ten packets for each good one: the good ones all come
//! through, soon, and each bad one is counted under its own name. What floods cost in time is
//! measured elsewhere; here turns are counted.

use std::collections::BTreeMap;

use hearth_dataplane::{Config, DropReason as D};
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Plain};
use crate::rig::{ACCESS, Frame, HOME, MobileNode, Rig, SPI_BASE};

/// Bad packets for each good one.
const RATIO: usize = 10;

/// Mobile nodes of all suites.
fn attach_all(rig: &mut Rig) -> Vec<MobileNode> {
    (1..)
        .zip(Suite::known())
        .map(|(n, suite)| MobileNode::new(n, suite, Scope::SignallingAndData, n % 2 == 0))
        .map(|mn| rig.attach(mn))
        .collect()
}

/// One worker, and two of which only one receives.
fn each_rig(change: impl Fn(&mut Config), test: impl Fn(&mut Rig, &mut [MobileNode])) {
    for workers in [1, 2] {
        let mut rig = Rig::with(|config| {
            config.workers = workers;
            change(config);
        });
        let mut nodes = attach_all(&mut rig);
        test(&mut rig, &mut nodes);
        rig.finish();
    }
}

/// Sends good packets, numbered, among bad ones, a turn after each handful; every good one comes
/// out once, and the drop counters say how many bad ones there were, and of what kind.
fn flood(
    rig: &mut Rig,
    nodes: &mut [MobileNode],
    reason: D,
    mut bad: impl FnMut(&MobileNode, usize) -> Vec<u8>,
) {
    const ROUNDS: usize = 300;
    let mac = rig.mac(ACCESS);
    let before = rig.drops();
    let mut got = Vec::new();
    let count = nodes.len();
    for number in 0..ROUNDS {
        let mn = &mut nodes[number % count];
        let inner = codec::ip(mn.home6.into(), crate::rig::CN6.into(), 17, &number.to_be_bytes());
        let good = mn.data(&inner);
        for place in 0..=RATIO {
            let packet = match place == number % RATIO {
                true => good.clone(),
                false => bad(mn, number * RATIO + place),
            };
            rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &packet));
        }
        rig.workers.iter_mut().for_each(|worker| _ = (rig.turn)(worker));
        got.extend(numbers(&rig.received(HOME)));
    }
    rig.turns();
    got.extend(numbers(&rig.received(HOME)));
    got.sort_unstable();
    assert_eq!(got, (0..ROUNDS).collect::<Vec<_>>(), "{}", reason.name());
    let mut expected: BTreeMap<_, _> = before;
    *expected.entry(reason.name()).or_insert(0) += (ROUNDS * RATIO) as u64;
    assert_eq!(rig.drops(), expected);
    assert!(rig.received(ACCESS).is_empty(), "nobody is answered");
}

/// The numbers in what came out.
fn numbers(frames: &[Frame]) -> Vec<usize> {
    frames
        .iter()
        .map(|frame| usize::from_be_bytes(frame.packet()[40..48].try_into().unwrap()))
        .collect()
}

/// A forged packet of a mobile node's, which costs an ICV.
fn forged(mn: &MobileNode, ptype: u8, number: usize) -> Vec<u8> {
    let next_header = if ptype == 1 { 41 } else { 135 };
    let inner = mn.inner6();
    let mut frame =
        mn.plain(ptype, mn.seq + number as u32 % 50, next_header, &inner).seal(mn.suite, &mn.up);
    let last = frame.len() - 1 - number % 12;
    frame[last] ^= 1 << (number % 8);
    mn.packet(&frame)
}

#[test]
fn wrong_icvs() {
    each_rig(
        |_| (),
        |rig, nodes| {
            flood(rig, nodes, D::IcvMismatch, |mn, number| forged(mn, 1, number));
            flood(rig, nodes, D::IcvMismatch, |mn, number| forged(mn, 8, number));
            assert!(rig.events().is_empty());
        },
    );
}

#[test]
fn replays() {
    each_rig(
        |_| (),
        |rig, nodes| {
            let old: BTreeMap<_, _> = nodes
                .iter_mut()
                .map(|mn| {
                    let packet = mn.data(&mn.inner6());
                    rig.send(ACCESS, &packet);
                    rig.received_one(HOME);
                    (mn.spi, packet)
                })
                .collect();
            flood(rig, nodes, D::Replayed, |mn, _| old[&mn.spi].clone());
        },
    );
}

#[test]
fn unknown_spis() {
    each_rig(
        |_| (),
        |rig, nodes| {
            let spis = [1, SPI_BASE - 1, SPI_BASE + 40, SPI_BASE + 63, SPI_BASE + 64, 0x0fff_ffff];
            flood(rig, nodes, D::SpiUnknown, |mn, number| {
                let inner = mn.inner6();
                let ptype = if number.is_multiple_of(2) { 1 } else { 8 };
                mn.sealed(&Plain {
                    spi: spis[number % spis.len()],
                    ..mn.plain(ptype, number as u32, 41, &inner)
                })
            });
        },
    );
}

#[test]
fn truncated_packets() {
    each_rig(
        |_| (),
        |rig, nodes| {
            flood(rig, nodes, D::FrameShort, |mn, number| {
                let (ptype, len) = (if number.is_multiple_of(2) { 1 } else { 8 }, number % 24);
                let frame = mn.plain(ptype, mn.seq, 41, &mn.inner6()).seal(mn.suite, &mn.up);
                mn.packet(&frame[..len])
            });
            flood(rig, nodes, D::UdpLength, |mn, number| {
                let frame = mn.plain(1, mn.seq, 41, &mn.inner6()).seal(mn.suite, &mn.up);
                let mut packet = mn.packet(&frame);
                let at = if mn.remote.is_ipv6() { 44 } else { 24 };
                packet[at + 1] = (number % 8) as u8;
                packet[at] = 0;
                packet
            });
        },
    );
}

/// Signalling has a ring of its own: a flood of packets for the host leaves it alone.
#[test]
fn a_flood_for_the_host_leaves_signalling_alone() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let mac = rig.mac(ACCESS);
    let noise = codec::ip(mn.remote.ip(), crate::rig::HA6.into(), 58, &[128, 0, 0, 0]);
    for _ in 0..300 {
        let update = mn.sealed(&mn.plain(8, mn.seq, 135, &[59; 24]));
        mn.seq += 1;
        rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &update));
        for _ in 0..RATIO {
            rig.try_inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &noise));
        }
        rig.workers[0].turn();
    }
    rig.turns();
    let signalling = rig
        .events()
        .into_iter()
        .filter(|event| matches!(event, crate::rig::Event::Signalling { .. }));
    assert_eq!(signalling.count(), 300);
    assert_eq!(rig.drops().keys().copied().collect::<Vec<_>>(), ["host_ring_full"]);
    rig.finish();
}

/// 3DES is the slowest of the suites by far. A flood of it, good or forged, leaves packets of AES
/// where they would be without: out at most two turns after they came in. That holds while a worker
/// shares its crypto, too.
#[test]
fn a_flood_of_3des_does_not_hold_up_aes() {
    for (authentic, workers) in [(true, 1), (false, 1), (true, 2), (false, 2)] {
        // Nothing rides longer than into the next turn.
        let mut rig = Rig::with(|config| {
            config.max_job_age_us = 0;
            config.workers = workers;
        });
        let attach = |rig: &mut Rig, n, suite| {
            rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, true))
        };
        let mut slow = attach(&mut rig, 2, Suite::TripleDesEdeCbcSha);
        let mut fast =
            [attach(&mut rig, 4, Suite::Aes128CbcSha), attach(&mut rig, 6, Suite::Aes128CbcSha256)];
        let mac = rig.mac(ACCESS);
        let (mut sent, mut flood, mut flood_got) = (Vec::new(), 0, 0_u64);
        let mut worst = 0;
        for turn in 0..200_usize {
            for number in 0..50 {
                let packet = match authentic {
                    true => slow.data(&slow.inner6()),
                    false => forged(&slow, 1, number),
                };
                rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &packet));
                flood += 1;
            }
            for mn in &mut fast {
                let payload = turn.to_be_bytes();
                let inner = codec::ip(mn.home6.into(), crate::rig::CN6.into(), 17, &payload);
                let packet = mn.data(&inner);
                rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &packet));
                sent.push((mn.home6, turn));
            }
            // All SAs are the first one's; the other one offers its help.
            rig.workers.iter_mut().rev().for_each(|worker| _ = worker.turn());
            for frame in rig.received(HOME) {
                let from: [u8; 16] = frame.packet()[8..24].try_into().unwrap();
                if from == slow.home6.octets() {
                    flood_got += 1;
                    continue;
                }
                let came = numbers(std::slice::from_ref(&frame))[0];
                let place = sent.iter().position(|of| *of == (from.into(), came)).unwrap();
                sent.swap_remove(place);
                worst = worst.max(turn - came);
            }
        }
        assert!(worst <= 2, "{worst} turns");
        // And no turn is long: the flood gets its share of each, and no more.
        let handled = flood_got + rig.counters().dropped(D::IcvMismatch);
        assert!(handled <= 200 * u64::from(Config::default().triple_des_budget), "{handled}");
        assert!(sent.iter().all(|(_, turn)| turn + 2 >= 200), "still under way: {sent:?}");
        rig.turns();
        let late = rig.received(HOME).len() as u64 - sent.len() as u64;
        let drops = rig.drops();
        let dropped: u64 = drops.values().sum();
        assert!(drops["triple_des_queue_full"] > 0, "the flood was none: {drops:?}");
        assert_eq!(flood_got + late + dropped, flood);
        assert_eq!(drops.contains_key("icv_mismatch"), !authentic);
        rig.finish();
    }
}

/// A flood from one mobile node fills nobody else's place in the lanes: with jobs that may ride for
/// ever, good packets come out within a few turns because the flood itself fills the lanes.
#[test]
fn forged_packets_push_good_ones_along() {
    let mut rig = Rig::with(|config| config.max_job_age_us = 1_000_000_000);
    let attacked = rig.attach(MobileNode::usual());
    let mut mn =
        rig.attach(MobileNode::new(2, Suite::Aes128CbcSha, Scope::SignallingAndData, false));
    let mac = rig.mac(ACCESS);
    for number in 0..50_usize {
        let inner = codec::ip(mn.home6.into(), crate::rig::CN6.into(), 17, &number.to_be_bytes());
        let good = mn.data(&inner);
        rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &good));
        let mut got = Vec::new();
        for _ in 0..3 {
            for number in 0..40 {
                let bad = forged(&attacked, 1, number);
                rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &bad));
            }
            rig.workers[0].turn();
            got.extend(numbers(&rig.received(HOME)));
        }
        assert_eq!(got, [number]);
    }
    rig.turns();
    assert_eq!(rig.drops(), [("icv_mismatch", 50 * 3 * 40)].into());
    rig.finish();
}
