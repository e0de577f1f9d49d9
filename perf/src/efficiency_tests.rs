//! The method itself: frames are opened by RustCrypto, both sides work on real packets, and the
//! sums are those of a statistics book.

use aes::Aes128;
use cipher::{BlockModeDecrypt, KeyIvInit};
use des::TdesEde3;
use hearth_wire::ip::{Ipv6Header, udp_valid_v6};
use hearth_wire::suite::ICV_LEN;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::*;
use crate::keys::direction_keys;
use crate::testing::with_lab;

fn case(suite: Suite, direction: Direction, inner_bytes: usize) -> Case {
    Case { suite, direction, inner_bytes }
}

fn with_bench<T>(name: &str, case: Case, f: impl FnOnce(&mut Bench<'_, '_>) -> T) -> T {
    with_lab(|lab| {
        let station = Station::new(1, case.suite).unwrap();
        let mut pipeline = Pipeline::new(&lab.eal, &lab.pool, name, &[station]).unwrap();
        let keys =
            Schedules::expand(&MultiBuffer::new().unwrap(), &station, case.direction).unwrap();
        f(&mut Bench::new(case, station, &keys, &mut pipeline).unwrap())
    })
}

fn decrypt<M: BlockModeDecrypt>(mut mode: M, body: &mut [u8]) {
    for block in body.chunks_exact_mut(M::block_size()) {
        mode.decrypt_block(block.try_into().unwrap());
    }
}

/// Opens an outer packet with RustCrypto; the inner packet and Next Header.
fn open(station: &Station, direction: Direction, packet: &[u8]) -> (Vec<u8>, u8) {
    let keys = direction_keys(station, direction).unwrap();
    let (header, datagram) = Ipv6Header::parse(packet).unwrap();
    assert_eq!(packet.len(), Ipv6Header::LEN + datagram.len());
    assert!(udp_valid_v6(header.source(), header.destination(), datagram));
    let (covered, icv) = datagram[8..].split_at(datagram.len() - 8 - ICV_LEN);
    let mut mac = Hmac::<Sha1>::new_from_slice(keys.integrity()).unwrap();
    mac.update(covered);
    assert_eq!(icv, &mac.finalize().into_bytes()[..ICV_LEN]);
    let iv_len = station.suite.iv_len();
    let (iv, ciphertext) = covered[8..].split_at(iv_len);
    let mut body = ciphertext.to_vec();
    match iv_len {
        16 => decrypt(
            cbc::Decryptor::<Aes128>::new_from_slices(keys.encryption(), iv).unwrap(),
            &mut body,
        ),
        8 => decrypt(
            cbc::Decryptor::<TdesEde3>::new_from_slices(keys.encryption(), iv).unwrap(),
            &mut body,
        ),
        _ => {}
    }
    let next_header = body.pop().unwrap();
    let padding = usize::from(body.pop().unwrap());
    body.truncate(body.len() - padding);
    (body, next_header)
}

#[test]
fn prepared_uplink_packets_are_valid_and_never_repeat_a_number() {
    for (name, suite, len) in [
        ("t1", Suite::Aes128CbcSha, 64),
        ("t2", Suite::TripleDesEdeCbcSha, 576),
        ("t3", Suite::NullSha, 1400),
    ] {
        with_bench(name, case(suite, Direction::Uplink, len), |bench| {
            for pass in 0..2_u32 {
                bench.prepare_received_envelopes().unwrap();
                for (number, mbuf) in (0_u32..).zip(bench.slots.iter().flatten()).step_by(97) {
                    let packet = &mbuf.data()[EthernetHeader::LEN..];
                    let (inner, next_header) = open(&bench.station, Direction::Uplink, packet);
                    assert_eq!((inner.len(), next_header), (len, 41));
                    assert_eq!(inner, bench.inner[number as usize]);
                    let seq = pass * u32::try_from(BUFFERS).unwrap() + number;
                    assert_eq!(&packet[52..56], seq.to_be_bytes());
                }
            }
        });
    }
}

#[test]
fn what_the_pipeline_sends_down_is_opened_by_another_implementation() {
    for (name, suite) in [("t4", Suite::Aes128CbcSha), ("t5", Suite::TripleDesEdeCbcSha)] {
        with_bench(name, case(suite, Direction::Downlink, 576), |bench| {
            bench.pipeline_pass(&mut Watch::default()).unwrap();
            for (number, mbuf) in bench.slots.iter().flatten().enumerate().step_by(89) {
                let packet = &mbuf.data()[EthernetHeader::LEN..];
                let (inner, _) = open(&bench.station, Direction::Downlink, packet);
                let mut expected = bench.inner[number].clone();
                expected[7] -= 1;
                assert_eq!(inner, expected);
            }
        });
    }
}

/// If this held by accident the two sides would not do the same work.
#[test]
fn raw_seals_what_the_pipeline_seals() {
    let downlink = case(Suite::Aes128CbcSha, Direction::Downlink, 576);
    with_bench("t6", downlink, |bench| {
        for api in [Api::Job, Api::Burst] {
            bench.raw_pass(api, &mut Watch::default()).unwrap();
            let first = bench.slots.iter_mut().flatten().next().unwrap();
            frames::seal_udp(first.data_mut());
            let (data_start, packet) = (first.headroom(), first.data().to_vec());
            let (inner, _) = open(&bench.station, Direction::Downlink, &packet);
            assert_eq!(inner, bench.inner[0]);
            bench.pipeline_pass(&mut Watch::default()).unwrap();
            let sent = bench.slots.iter().flatten().next().unwrap();
            assert_eq!(sent.headroom() + EthernetHeader::LEN, data_start);
            assert_eq!(sent.len() - EthernetHeader::LEN, packet.len());
        }
    });
}

#[test]
fn every_suite_and_direction_passes_its_own_check() {
    for (number, suite) in Suite::ALL.into_iter().enumerate() {
        for direction in [Direction::Uplink, Direction::Downlink] {
            let name = format!("t7{number}{}", direction as u8);
            with_bench(&name, case(suite, direction, 64), |bench| {
                bench.check_everything().unwrap();
                assert!(bench.slots.iter().all(Option::is_some));
            });
        }
    }
}

#[test]
fn a_packet_that_is_lost_or_changed_spoils_the_row() {
    with_bench("t8", case(Suite::Aes128CbcSha, Direction::Uplink, 64), |bench| {
        bench.prepare_received_envelopes().unwrap();
        bench.slots[5].as_mut().unwrap().data_mut()[100] ^= 1;
        let lost = bench.pipeline.pass(Direction::Uplink, &mut bench.slots);
        let drop = Some(hearth_dataplane::DropReason::IcvMismatch);
        assert_eq!(lost, Err(Fault::Lost { sent: BUFFERS, received: BUFFERS - 1, drop }));
        buffers::fill(&mut bench.slots, bench.pipeline.pool()).unwrap();
        bench.pipeline_pass(&mut Watch::default()).unwrap();
        bench.slots[7].as_mut().unwrap().data_mut()[60] ^= 1;
        assert_eq!(bench.check(1), Err(Fault::Content(7)));
    });
}
