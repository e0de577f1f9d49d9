//! Frames made octet by octet, right or wrong in every way: what a mobile node, or somebody who
//! would like to be one, could send. Suite AES_128_CBC_SHA only.
//!
//! Independent of the code under test: neither the dataplane's crypto nor the mobile node's.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use aes::Aes128;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hearth_lab::netns::Netns;
use hearth_wire::{directory::DirectionKeys, ip::pseudo_v6};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Octets of a block and of an IV.
pub const BLOCK: usize = 16;
/// Octets of the Integrity Check Value.
pub const ICV: usize = 12;
/// Octets in front of the IV.
pub const HEADER: usize = 8;
/// Next Header of an inner IPv6 packet.
pub const IPV6: u8 = 41;

/// The keys of one direction of an SA.
pub struct Sealer {
    spi: u32,
    integrity: Vec<u8>,
    encryption: [u8; 16],
}

impl Sealer {
    /// Takes the keys that the SA directory has for one direction.
    #[must_use]
    pub fn new(spi: u32, keys: &DirectionKeys) -> Self {
        let encryption = keys.encryption().try_into().expect("an AES-128 key");
        Self { spi, integrity: keys.integrity().to_vec(), encryption }
    }

    /// A right frame around `payload`.
    #[must_use]
    pub fn seal(&self, ptype: u8, seq: u32, payload: &[u8], next_header: u8) -> Vec<u8> {
        let whole =
            |padding: &u8| (payload.len() + usize::from(*padding) + 2).is_multiple_of(BLOCK);
        let padding = (0..16).find(whole).expect("one of sixteen");
        self.seal_text(ptype, seq, &trailed(payload, padding, next_header))
    }

    /// A frame whose plaintext, trailer included, is `text`: whole blocks of anything.
    #[must_use]
    pub fn seal_text(&self, ptype: u8, seq: u32, text: &[u8]) -> Vec<u8> {
        let mut frame = header(ptype, self.spi, seq);
        // Not secret here, and not the same twice.
        let iv: [u8; BLOCK] = std::array::from_fn(|i| frame[i % HEADER].rotate_left(3) ^ 0xa5);
        frame.extend(iv);
        let mut cbc = cbc::Encryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        for block in text.chunks_exact(BLOCK) {
            let mut block = <[u8; BLOCK]>::try_from(block).expect("a block").into();
            cbc.encrypt_block(&mut block);
            frame.extend(block);
        }
        self.authenticate(frame)
    }

    /// Appends the ICV over all of `frame`.
    #[must_use]
    pub fn authenticate(&self, mut frame: Vec<u8>) -> Vec<u8> {
        let icv = self.icv(&frame);
        frame.extend(icv);
        frame
    }

    fn icv(&self, covered: &[u8]) -> [u8; ICV] {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.integrity).expect("any length");
        mac.update(covered);
        mac.finalize().into_bytes()[..ICV].try_into().expect("20 octets")
    }

    /// The plaintext of a frame, trailer included; `None` where the ICV is wrong.
    #[must_use]
    pub fn open(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let (covered, icv) = frame.split_at_checked(frame.len().checked_sub(ICV)?)?;
        if self.icv(covered) != icv {
            return None;
        }
        let iv: [u8; BLOCK] = covered.get(HEADER..HEADER + BLOCK)?.try_into().ok()?;
        let mut cbc = cbc::Decryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        let mut text = Vec::new();
        for block in covered[HEADER + BLOCK..].chunks_exact(BLOCK) {
            let mut block = <[u8; BLOCK]>::try_from(block).ok()?.into();
            cbc.decrypt_block(&mut block);
            text.extend(block);
        }
        Some(text)
    }
}

/// `PType | SPI | Sequence Number`.
#[must_use]
pub fn header(ptype: u8, spi: u32, seq: u32) -> Vec<u8> {
    let first = u32::from(ptype) << 28 | spi;
    [first.to_be_bytes(), seq.to_be_bytes()].concat()
}

/// `payload`, padding 1, 2, 3, ..., Pad Length, Next Header.
#[must_use]
pub fn trailed(payload: &[u8], padding: u8, next_header: u8) -> Vec<u8> {
    let mut text = payload.to_vec();
    text.extend(1..=padding);
    text.extend([padding, next_header]);
    text
}

/// An inner IPv6 packet with a UDP datagram.
#[must_use]
pub fn udp6(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), data: &[u8]) -> Vec<u8> {
    let len = 8 + u16::try_from(data.len()).expect("a datagram");
    let mut udp = [from.1.to_be_bytes(), to.1.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    udp.extend(data);
    let sum = pseudo_v6(from.0, to.0, u32::from(len), 17).plus(&udp).finish();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([17, 64]);
    packet.extend(from.0.octets());
    packet.extend(to.0.octets());
    packet.extend(udp);
    packet
}

/// A UDP socket in a mobile node's namespace that speaks to the home agent.
#[must_use]
pub fn socket(namespace: &Netns, home_agent: SocketAddr) -> UdpSocket {
    let any: SocketAddr =
        if home_agent.is_ipv6() { "[::]:0".parse() } else { "0.0.0.0:0".parse() }.expect("address");
    let open = || {
        let socket = UdpSocket::bind(any)?;
        socket.connect(home_agent)?;
        Ok::<_, std::io::Error>(socket)
    };
    namespace.enter(open).expect("namespace").expect("UDP socket")
}

#[cfg(test)]
mod tests {
    use std::{io::Write, process::Command};

    use hearth_wire::suite::Suite;

    use super::*;

    /// openssl, not this file, decrypts the frame and computes the ICV.
    #[test]
    fn openssl_opens_what_is_sealed() {
        let keys = DirectionKeys::new(Suite::Aes128CbcSha, [7; 20].into(), [9; 16].into()).unwrap();
        let sealer = Sealer::new(0x123, &keys);
        let payload = b"a payload that is not a whole number of blocks";
        let frame = sealer.seal(1, 5, payload, IPV6);
        assert_eq!(frame[..8], [0x10, 0, 1, 0x23, 0, 0, 0, 5]);

        let hex = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
        let run = |arguments: &[&str], input: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(input).unwrap();
            let out = Command::new("openssl").args(arguments).arg("-in").arg(file.path()).output();
            out.unwrap().stdout
        };
        let (iv, text) = frame[8..frame.len() - ICV].split_at(BLOCK);
        let (key, iv) = (hex(&[9; 16]), hex(iv));
        let plain = run(&["enc", "-d", "-aes-128-cbc", "-nopad", "-K", &key, "-iv", &iv], text);
        assert_eq!(plain, trailed(payload, 0, IPV6));
        assert_eq!(sealer.open(&frame).unwrap(), plain);

        let mac_key = format!("hexkey:{}", hex(&[7; 20]));
        let options = ["mac", "-digest", "SHA1", "-macopt", &mac_key, "-binary"];
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&frame[..frame.len() - ICV]).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(options).arg("-in").arg(file.path()).arg("HMAC");
        let mac = openssl.output().unwrap().stdout;
        assert_eq!(mac[..ICV], frame[frame.len() - ICV..]);
    }

    #[test]
    fn a_flipped_bit_does_not_open() {
        let keys = DirectionKeys::new(Suite::Aes128CbcSha, [7; 20].into(), [9; 16].into()).unwrap();
        let sealer = Sealer::new(1, &keys);
        let frame = sealer.seal(1, 0, &[0; 30], IPV6);
        for bit in 0..frame.len() * 8 {
            let mut mutant = frame.clone();
            mutant[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(&mutant).is_none());
        }
    }
}
