use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use clap::Parser;
use hearth_esp::Transform;
use hearth_wire::frame::{FrameHeader, PType, protected_len, read_trailer};
use hearth_wire::ip::{Ipv4Header, Ipv6Header, UdpHeader, checksum, pseudo_v6};
use hearth_wire::{SeqNo, Spi, Suite};
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapTsResolution, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use zerocopy::IntoBytes;

use super::*;

const PORT: u16 = 7872;
const MN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 6, 0, 0, 0, 0, 0x100);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
const IPV6: u8 = 41;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: DecryptArguments,
}

/// SPI 1 and on, one for each suite; keys of direction `fill`.
fn transform(suite: Suite, fill: u8) -> Transform {
    Transform::new(suite, &vec![fill; suite.ikey_len()], &key(suite, fill)).unwrap()
}

/// 3DES wants three different keys.
fn key(suite: Suite, fill: u8) -> Vec<u8> {
    (0..suite.ekey_len()).map(|at| fill ^ u8::try_from(at / 8 * 2).unwrap()).collect()
}

fn key_file() -> String {
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let way = |suite: Suite, fill: u8| {
        let ikey = hex(&vec![fill; suite.ikey_len()]);
        format!("{{\"ikey\": \"{ikey}\", \"ekey\": \"{}\"}}", hex(&key(suite, fill)))
    };
    let sas = Suite::known().zip(1..).map(|(suite, spi)| {
        format!(
            "{{\"spi\": {spi}, \"mn_id\": \"mn{spi}@example.net\", \"suite\": \"{suite}\", \
             \"ha_address\": \"{HA}\", \"home_addresses\": [\"2001:db8:100::1\"], \
             \"mn_to_ha\": {}, \"ha_to_mn\": {}}}",
            way(suite, 0x11),
            way(suite, 0x55)
        )
    });
    format!("{{\"version\": 1, \"sas\": [{}]}}", sas.collect::<Vec<_>>().join(","))
}

fn inner(text: &str) -> Vec<u8> {
    let header = Ipv6Header::new(MN, HA, 59, 64, text.len()).unwrap();
    [header.as_bytes(), text.as_bytes()].concat()
}

/// An envelope around `payload`.
fn sealed(
    transform: &Transform,
    (ptype, spi): (PType, u32),
    payload: &[u8],
    next_header: u8,
) -> Vec<u8> {
    let mut frame = vec![0; protected_len(transform.suite(), payload.len())];
    let offset = transform.payload_offset();
    frame[offset..offset + payload.len()].copy_from_slice(payload);
    let id = (ptype, Spi::new(spi).unwrap(), SeqNo(7));
    let length = transform.seal(&mut frame, payload.len(), id, next_header, &[0x42; 16]);
    assert_eq!(length, Some(frame.len()));
    frame
}

/// What an outer packet goes over.
#[derive(Clone, Copy)]
enum Over {
    V6,
    V4,
}

fn outer(over: Over, up: bool, envelope: &[u8]) -> Vec<u8> {
    let (source, destination) = if up { (40000, PORT) } else { (PORT, 40000) };
    let mut udp = UdpHeader::new(source, destination, envelope.len()).unwrap();
    let length = UdpHeader::LEN + envelope.len();
    match over {
        Over::V6 => {
            let (from, to) = if up { (MN, HA) } else { (HA, MN) };
            let sum = pseudo_v6(from, to, u32::try_from(length).unwrap(), 17);
            udp.checksum = sum.plus(udp.as_bytes()).plus(envelope).finish().into();
            let header = Ipv6Header::new(from, to, 17, 64, length).unwrap();
            [header.as_bytes(), udp.as_bytes(), envelope].concat()
        }
        Over::V4 => {
            let (mn, ha) = (Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(198, 51, 100, 1));
            let (from, to) = if up { (mn, ha) } else { (ha, mn) };
            // No checksum.
            let header = Ipv4Header::new(from, to, 17, 64, length).unwrap();
            [header.as_bytes(), udp.as_bytes(), envelope].concat()
        }
    }
}

fn ethernet(packet: &[u8], tags: usize) -> Vec<u8> {
    let kind: &[u8] = if packet[0] >> 4 == 6 { &[0x86, 0xdd] } else { &[0x08, 0x00] };
    let tag = [0x81, 0x00, 0x00, 0x05].repeat(tags);
    [&[2; 12], &tag[..], kind, packet].concat()
}

fn capture(link: DataLink, frames: &[Vec<u8>]) -> Vec<u8> {
    let header = PcapHeader {
        datalink: link,
        ts_resolution: PcapTsResolution::MicroSecond,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    for (frame, second) in frames.iter().zip(1..) {
        let length = u32::try_from(frame.len()).unwrap();
        let at = Duration::new(second, 123_456_000);
        writer.write_packet(&PcapPacket::new(at, length, frame).unwrap()).unwrap();
    }
    writer.into_inner()
}

/// Link type, time and octets of each packet, with its comment.
type Read = Vec<(DataLink, Duration, Vec<u8>, String)>;

fn read(file: &[u8]) -> Read {
    let mut reader = PcapNgReader::new(file).unwrap();
    let (mut packets, mut link) = (Vec::new(), DataLink::NULL);
    while let Some(block) = reader.next_block() {
        match block.unwrap().0 {
            Block::InterfaceDescription(interface) => link = interface.linktype,
            Block::EnhancedPacket(packet) => {
                let options = format!("{:?}", packet.options);
                packets.push((link, packet.timestamp, packet.data.to_vec(), options));
            }
            other => panic!("{other:?}"),
        }
    }
    packets
}

fn keys() -> Keys {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, key_file()).unwrap();
    Keys::read(&path).unwrap()
}

fn converted(link: DataLink, frames: &[Vec<u8>], inner: bool) -> (Read, Tally) {
    let (keys, mut out, mut tally) = (keys(), Vec::new(), Tally::default());
    let work = file::Work { keys: &keys, port: PORT, inner };
    file::convert(&capture(link, frames)[..], &mut out, &work, &mut tally).unwrap();
    (read(&out), tally)
}

#[test]
fn every_suite_both_ways_over_both_versions_is_opened_in_its_place() {
    for (suite, spi) in Suite::known().zip(1..) {
        for (up, fill) in [(true, 0x11), (false, 0x55)] {
            for (over, ip_len) in [(Over::V6, 40), (Over::V4, 20)] {
                let text = format!("{suite} {up}");
                let envelope = sealed(
                    &transform(suite, fill),
                    (PType::ProtectedData, spi),
                    &inner(&text),
                    IPV6,
                );
                let frame = ethernet(&outer(over, up, &envelope), 1);
                let (packets, tally) =
                    converted(DataLink::ETHERNET, std::slice::from_ref(&frame), false);
                assert_eq!(tally.opened, 1, "{text}: {tally:?}");
                let [(link, time, octets, comment)] = &packets[..] else { panic!("{packets:?}") };
                assert_eq!((*link, *time), (DataLink::ETHERNET, Duration::new(1, 123_456_000)));
                assert!(comment.contains(&format!("SPI {spi}, mn{spi}@example.net")), "{comment}");
                let udp = 18 + ip_len;
                assert_eq!(octets[..18], frame[..18]);
                // The lengths are right, and so are the checksums.
                let (ports, payload) = (&octets[udp..udp + 4], &octets[udp + 8..]);
                assert_eq!(ports, &frame[udp..udp + 4]);
                assert_eq!(UdpHeader::parse(&octets[udp..]).unwrap().1, payload);
                match over {
                    Over::V6 => {
                        let (header, datagram) = Ipv6Header::parse(&octets[18..]).unwrap();
                        let length = u32::try_from(datagram.len()).unwrap();
                        let sum = pseudo_v6(header.source(), header.destination(), length, 17);
                        assert_eq!(sum.plus(datagram).finish(), 0);
                    }
                    Over::V4 => {
                        Ipv4Header::parse(&octets[18..]).unwrap();
                        assert_eq!(checksum(&octets[18..38]), 0);
                        assert_eq!(octets[udp + 6..udp + 8], [0, 0]);
                    }
                }
                assert_eq!(payload[..FrameHeader::LEN], envelope[..FrameHeader::LEN]);
                let plain = &payload[FrameHeader::LEN..];
                let (length, next_header) = read_trailer(plain).unwrap();
                assert_eq!((&plain[..length], next_header), (&inner(&text)[..], IPV6));
            }
        }
    }
}

#[test]
fn inner_packets_alone_stand_in_raw_ip() {
    let suite = Suite::Aes128CbcSha;
    let up = transform(suite, 0x11);
    let spi = u32::try_from(Suite::known().position(|known| known == suite).unwrap() + 1).unwrap();
    let data = sealed(&up, (PType::ProtectedData, spi), &inner("data"), IPV6);
    // Whatever it is: signalling gets the header that stands for what is not sent.
    let signalling = sealed(&up, (PType::MobilityHeader, spi), &[59, 0, 5, 0, 0, 0, 0, 0], 135);
    let plain = [FrameHeader::plain().as_bytes(), &inner("plain")].concat();
    let frames = [
        outer(Over::V4, true, &data),
        outer(Over::V4, true, &signalling),
        outer(Over::V6, true, &plain),
        outer(Over::V6, true, &[0xff]),
        inner("no UDP"),
    ];
    let (packets, tally) = converted(DataLink::RAW, &frames, true);
    assert_eq!((tally.opened, tally.clear, tally.other), (2, 2, 1));
    assert!(packets.iter().all(|(link, ..)| *link == DataLink::RAW));
    let octets: Vec<&[u8]> = packets.iter().map(|(_, _, octets, _)| &octets[..]).collect();
    assert_eq!(octets.len(), 3);
    assert_eq!((octets[0], octets[2]), (&inner("data")[..], &inner("plain")[..]));
    let (header, payload) = Ipv6Header::parse(octets[1]).unwrap();
    assert_eq!(header.source().to_string(), "::ffff:203.0.113.9");
    assert_eq!((header.destination(), header.next_header, payload[2]), (HA, 135, 5));
}

#[test]
fn what_stays_closed_is_left_as_it_is_and_says_why() {
    let suite = Suite::Aes128CbcSha;
    let spi = u32::try_from(Suite::known().position(|known| known == suite).unwrap() + 1).unwrap();
    let good =
        |spi| sealed(&transform(suite, 0x11), (PType::ProtectedData, spi), &inner("x"), IPV6);
    let mut changed = good(spi);
    *changed.last_mut().unwrap() ^= 1;
    let mut strange = good(spi);
    strange[0] = 0x70;
    let mut fragment = outer(Over::V4, true, &good(spi));
    fragment[6] = 0x20;
    let mut cut = outer(Over::V4, true, &good(spi));
    cut.truncate(60);
    let frames = [
        outer(Over::V6, true, &good(0xabcdef)),
        outer(Over::V6, true, &changed),
        outer(Over::V6, true, &strange),
        outer(Over::V6, true, &good(spi)[..20]),
        fragment,
        cut,
    ];
    let (packets, tally) = converted(DataLink::RAW, &frames, false);
    let expected = [
        (Closed::NoKey(0xabcdef), "no key for SPI 0x0abcdef (11259375)"),
        (Closed::Icv(spi), "wrong ICV"),
        (Closed::PType(7), "unregistered PType 7"),
        (Closed::Length(spi), "no length of its suite"),
        (Closed::Fragment, "a fragment"),
        (Closed::Cut, "captured in part"),
    ];
    assert_eq!((tally.opened, tally.closed.len()), (0, expected.len()), "{tally:?}");
    for (((why, words), frame), packet) in expected.iter().zip(&frames).zip(&packets) {
        assert_eq!((tally.closed.get(why), &packet.2), (Some(&1), frame));
        assert!(packet.3.contains(&format!("not decrypted: {words}")), "{}", packet.3);
        assert!(tally.words().contains(words), "{}", tally.words());
    }
}

#[test]
fn frames_of_any_octets_do_no_harm() {
    let keys = keys();
    let whole = ethernet(&outer(Over::V6, true, &[0x10, 0, 0, 4, 0, 0, 0, 1, 9, 9]), 2);
    let links = [0, 1, 101, 108, 113, 228, 276, 147].map(DataLink::from);
    let mut seed = 1_u32;
    for round in 0..20_000 {
        let mut frame = whole[..usize::try_from(round).unwrap() % (whole.len() + 1)].to_vec();
        for _ in 0..4 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = usize::try_from(seed >> 8).unwrap() % frame.len().max(1);
            if let Some(octet) = frame.get_mut(at) {
                *octet = seed.to_be_bytes()[0];
            }
        }
        for link in links {
            open::open(&keys, PORT, link, &frame);
        }
    }
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let run = |capture: &str, keys: &str| {
        let line = ["decrypt", capture, "--keys", keys, "--file", &path("out.pcapng"), "--force"];
        decrypt(&Line::parse_from(line).arguments).map_err(|error| error.to_string())
    };
    fs::write(path("keys.json"), key_file()).unwrap();
    fs::write(path("text"), "nothing but text").unwrap();
    let frames = [outer(Over::V6, true, &[0xff])];
    let whole = capture(DataLink::RAW, &frames);
    fs::write(path("whole.pcap"), &whole).unwrap();
    fs::write(path("broken.pcap"), &whole[..whole.len() - 3]).unwrap();

    run(&path("whole.pcap"), &path("keys.json")).unwrap();
    let mode = fs::metadata(path("out.pcapng")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let wrong = |capture: &str, keys: &str, words: &str| {
        let error = run(&path(capture), &path(keys)).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    wrong("text", "keys.json", "text: is no capture, neither pcap nor pcapng");
    wrong("broken.pcap", "keys.json", "broken.pcap: breaks off");
    wrong("none.pcap", "keys.json", "none.pcap: No such file");
    wrong("whole.pcap", "text", "text: is no file of hearth hac export-keys");
    wrong("whole.pcap", "none.json", "none.json: No such file");
    for (from, to, words) in [
        ("\"version\": 1", "\"version\": 2", "has version 2; this hearth reads 1"),
        ("NULL_SHA\"", "ROT13\"", "SPI 1: there is no ciphersuite ROT13"),
        ("1111", "11", "SPI 1: the keys don't have the lengths of NULL_SHA"),
        ("1111", "xyz1", "pairs of hex digits"),
    ] {
        fs::write(path("wrong.json"), key_file().replacen(from, to, 1)).unwrap();
        wrong("whole.pcap", "wrong.json", words);
    }
}
