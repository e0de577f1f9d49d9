//! Frames under AES_128_GCM against Scapy's IPsec, both ways (RFC 4106, R-16).
//!
//! Needs a python3 with Scapy (Debian: python3-scapy); the tests fail without it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use hearth_esp::Transform;
use hearth_scapy::{hex, unhex};
use hearth_wire::frame::PType;
use hearth_wire::{SeqNo, Spi, Suite};
use serde_json::{Value, json};

const IPV6: u8 = 41;

/// The lines that gcm_scapy.py prints.
fn scapy(cases: &[Value]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gcm_scapy.py");
    let said = hearth_scapy::run(&[script], &serde_json::to_vec(cases).unwrap()).unwrap();
    said.lines().map(str::to_owned).collect()
}

/// An IPv6 packet with `len` octets behind a header that says so.
fn inner(len: u16) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet.extend([0x20; 16]);
    packet.extend([0x21; 16]);
    packet.extend((0..len).map(|i| u8::try_from(i % 251).unwrap()));
    packet
}

fn ekey(seed: u8) -> Vec<u8> {
    (0..20).map(|i| seed ^ (i * 11 + 3)).collect()
}

/// All four lengths of padding, the first and the last SPI and sequence number.
const CASES: [(u16, u32, u32); 6] = [
    (0, 1, 0),
    (1, 0x0fff_ffff, 1),
    (2, 0x8765, 0x0102_0304),
    (3, 7, u32::MAX),
    (576, 7, 5),
    (1360, 7, 6),
];

#[test]
fn scapy_seals_the_same_octets() {
    let cases = CASES.map(|(len, spi, seq)| {
        json!({
            "ekey": hex(&ekey(9)), "spi": 0x1000_0000 | spi, "seq": seq,
            "iv": format!("00000000{seq:08x}"), "inner": hex(&inner(len)),
        })
    });
    let theirs = scapy(&cases);
    assert_eq!(theirs.len(), CASES.len());
    for (theirs, (len, spi, seq)) in theirs.into_iter().zip(CASES) {
        assert_eq!(theirs, hex(&sealed(len, spi, seq)), "{len} octets, number {seq}");
    }
}

#[test]
fn scapy_opens_ours() {
    let cases = CASES.map(|(len, spi, seq)| {
        let frame = hex(&sealed(len, spi, seq));
        json!({ "ekey": hex(&ekey(9)), "frame": frame })
    });
    assert_eq!(scapy(&cases), CASES.map(|(len, ..)| hex(&inner(len))));
}

/// A home agent takes another epoch after each restart.
#[test]
fn we_open_scapys_of_any_epoch() {
    let cases = CASES.map(|(len, spi, seq)| {
        json!({
            "ekey": hex(&ekey(9)), "spi": 0x1000_0000 | spi, "seq": seq,
            "iv": format!("deadbe{:02x}{seq:08x}", len % 256), "inner": hex(&inner(len)),
        })
    });
    let transform = Transform::new(Suite::Aes128Gcm, &[], &ekey(9)).unwrap();
    let frames = scapy(&cases);
    assert_eq!(frames.len(), CASES.len());
    for (frame, (len, ..)) in frames.into_iter().zip(CASES) {
        let mut frame = unhex(&frame).unwrap();
        let (payload, next_header) = transform.open(&mut frame).unwrap();
        assert_eq!((&frame[payload], next_header), (inner(len).as_slice(), IPV6));
    }
}

fn sealed(len: u16, spi: u32, seq: u32) -> Vec<u8> {
    let transform = Transform::new(Suite::Aes128Gcm, &[], &ekey(9)).unwrap();
    let payload = inner(len);
    let at = transform.payload_offset();
    let mut frame = vec![0; payload.len() + 64];
    frame[at..at + payload.len()].copy_from_slice(&payload);
    let id = (PType::ProtectedData, Spi::new(spi).unwrap(), SeqNo(seq));
    let len = transform.seal(&mut frame, payload.len(), id, IPV6, &[0xa5; 16]).unwrap();
    frame.truncate(len);
    frame
}
