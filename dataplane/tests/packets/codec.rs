//! The mobile node's side of RFC 6618 s.6, written from the RFCs with RustCrypto's ciphers and
//! none of the dataplane's code: what the dataplane is compared with.

use std::net::{IpAddr, SocketAddr};

use aes::Aes128;
use aes::cipher::{
    Array, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit,
};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::{Aes128Gcm, Nonce};
use des::TdesEde3;
use hearth_wire::Suite;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Keys of one direction.
#[derive(Clone)]
pub struct Keys {
    pub integrity: Vec<u8>,
    pub encryption: Vec<u8>,
}

impl Keys {
    /// Keys of the suite's lengths, different for each `seed`.
    pub fn new(suite: Suite, seed: u8) -> Self {
        let octets = |len: usize, salt: u8| {
            (0..len).map(|i| (i as u8).wrapping_mul(29) ^ seed.wrapping_mul(113) ^ salt).collect()
        };
        Self {
            integrity: octets(suite.ikey_len(), 0x5a),
            encryption: octets(suite.ekey_len(), 0xc3),
        }
    }
}

/// IV, block and ICV in octets (RFC 6618 s.5.6.5, R-20 to R-22; RFC 4106 and R-16 for AES-GCM).
pub const fn lengths(suite: Suite) -> (usize, usize, usize) {
    match suite {
        Suite::NullSha | Suite::NullSha256 => (0, 4, 12),
        Suite::TripleDesEdeCbcSha => (8, 8, 12),
        Suite::Aes128CbcSha | Suite::Aes128CbcSha256 => (16, 16, 12),
        Suite::Aes128Gcm => (8, 4, 16),
    }
}

/// A frame before it is sealed.
#[derive(Clone)]
pub struct Plain<'a> {
    pub ptype: u8,
    pub spi: u32,
    pub seq: u32,
    pub next_header: u8,
    pub payload: &'a [u8],
    /// Octets of padding; the least that fills the block if not given.
    pub padding: Option<Vec<u8>>,
    /// What Pad Length says; the truth if not given.
    pub pad_length: Option<u8>,
    pub iv: [u8; 16],
}

impl Plain<'_> {
    fn body(&self, block: usize) -> Vec<u8> {
        let least = (block - (self.payload.len() + 2) % block) % block;
        let padding =
            self.padding.clone().unwrap_or_else(|| (1..=least).map(|i| i as u8).collect());
        let mut body = self.payload.to_vec();
        body.extend(&padding);
        body.push(self.pad_length.unwrap_or(padding.len() as u8));
        body.push(self.next_header);
        assert_eq!(body.len() % block, 0, "the test's padding does not fill the block");
        body
    }

    /// The frame on the wire: header, IV, ciphertext, ICV.
    pub fn seal(&self, suite: Suite, keys: &Keys) -> Vec<u8> {
        let mut frame = (u32::from(self.ptype) << 28 | self.spi).to_be_bytes().to_vec();
        frame.extend(self.seq.to_be_bytes());
        let (iv_len, block, _) = lengths(suite);
        let iv = &self.iv[..iv_len];
        let mut body = self.body(block);
        let mut tag = None;
        match suite {
            Suite::NullSha | Suite::NullSha256 => {}
            Suite::Aes128CbcSha | Suite::Aes128CbcSha256 => encrypt(
                cbc::Encryptor::<Aes128>::new_from_slices(&keys.encryption, iv).unwrap(),
                &mut body,
            ),
            Suite::TripleDesEdeCbcSha => encrypt(
                cbc::Encryptor::<TdesEde3>::new_from_slices(&keys.encryption, iv).unwrap(),
                &mut body,
            ),
            // RFC 4106, R-16: the header is the AAD.
            Suite::Aes128Gcm => {
                let (key, nonce) = gcm(keys, iv);
                tag = Some(
                    key.encrypt_inout_detached(&nonce, &frame, (&mut body[..]).into()).unwrap(),
                );
            }
        }
        frame.extend(iv);
        frame.extend(body);
        let icv = match tag {
            Some(tag) => tag.to_vec(),
            None => icv(suite, &keys.integrity, &frame),
        };
        frame.extend(icv);
        frame
    }
}

/// What was in a sealed frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    pub ptype: u8,
    pub spi: u32,
    pub seq: u32,
    pub iv: Vec<u8>,
    pub next_header: u8,
    pub payload: Vec<u8>,
}

/// Opens a sealed frame; panics where anything about it is wrong.
pub fn open(suite: Suite, keys: &Keys, frame: &[u8]) -> Opened {
    let mut body = decipher(suite, keys, frame).expect("ICV");
    let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
    let next_header = body.pop().unwrap();
    let padding = usize::from(body.pop().unwrap());
    let tail = body.split_off(body.len() - padding);
    assert!(tail.iter().zip(1_u8..).all(|(octet, value)| *octet == value), "padding");
    Opened {
        ptype: frame[0] >> 4,
        spi: word(0) & 0x0fff_ffff,
        seq: word(4),
        iv: frame[8..8 + lengths(suite).0].to_vec(),
        next_header,
        payload: body,
    }
}

/// What was encrypted, padding and trailer included; None where the ICV is wrong. The frame has
/// room for IV and ICV and is of whole blocks.
pub fn decipher(suite: Suite, keys: &Keys, frame: &[u8]) -> Option<Vec<u8>> {
    let (iv_len, _, icv_len) = lengths(suite);
    let (covered, tag) = frame.split_at(frame.len() - icv_len);
    let (iv, body) = covered[8..].split_at(iv_len);
    let mut body = body.to_vec();
    if suite == Suite::Aes128Gcm {
        let (key, nonce) = gcm(keys, iv);
        let tag = tag.try_into().unwrap();
        key.decrypt_inout_detached(&nonce, &frame[..8], (&mut body[..]).into(), tag).ok()?;
        return Some(body);
    }
    if icv(suite, &keys.integrity, covered) != tag {
        return None;
    }
    match suite {
        Suite::NullSha | Suite::NullSha256 | Suite::Aes128Gcm => {}
        Suite::Aes128CbcSha | Suite::Aes128CbcSha256 => decrypt(
            cbc::Decryptor::<Aes128>::new_from_slices(&keys.encryption, iv).unwrap(),
            &mut body,
        ),
        Suite::TripleDesEdeCbcSha => decrypt(
            cbc::Decryptor::<TdesEde3>::new_from_slices(&keys.encryption, iv).unwrap(),
            &mut body,
        ),
    }
    Some(body)
}

/// Key and nonce: the salt is the end of the key, in front of the IV (RFC 4106 s.4).
fn gcm(keys: &Keys, iv: &[u8]) -> (Aes128Gcm, Nonce<U12>) {
    let (key, salt) = keys.encryption.split_at(16);
    let nonce: [u8; 12] = [salt, iv].concat().try_into().unwrap();
    (Aes128Gcm::new_from_slice(key).unwrap(), nonce.into())
}

fn encrypt<M: BlockModeEncrypt>(mut mode: M, body: &mut [u8]) {
    for block in body.chunks_exact_mut(M::block_size()) {
        mode.encrypt_block(block.try_into().unwrap());
    }
}

fn decrypt<M: BlockModeDecrypt>(mut mode: M, body: &mut [u8]) {
    for block in body.chunks_exact_mut(M::block_size()) {
        mode.decrypt_block(block.try_into().unwrap());
    }
}

fn icv(suite: Suite, key: &[u8], octets: &[u8]) -> Vec<u8> {
    match suite {
        Suite::NullSha | Suite::TripleDesEdeCbcSha | Suite::Aes128CbcSha => {
            let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
            mac.update(octets);
            mac.finalize().into_bytes()[..12].to_vec()
        }
        Suite::NullSha256 | Suite::Aes128CbcSha256 => xcbc(key, octets)[..12].to_vec(),
        Suite::Aes128Gcm => unreachable!("a combined algorithm has no ICV of its own"),
    }
}

/// AES-XCBC-MAC (RFC 3566 s.4).
pub fn xcbc(key: &[u8], octets: &[u8]) -> [u8; 16] {
    let derive = |cipher: &Aes128, value: u8| {
        let mut block = Array::from([value; 16]);
        cipher.encrypt_block(&mut block);
        <[u8; 16]>::from(block)
    };
    let master = Aes128::new_from_slice(key).unwrap();
    let [k1, k2, k3] = [1, 2, 3].map(|value| derive(&master, value));
    let cipher = Aes128::new_from_slice(&k1).unwrap();
    let mut chunks: Vec<Vec<u8>> = octets.chunks(16).map(<[u8]>::to_vec).collect();
    let mut last = chunks.pop().unwrap_or_default();
    let whiten = if last.len() == 16 {
        k2
    } else {
        last.push(0x80);
        last.resize(16, 0);
        k3
    };
    last.iter_mut().zip(whiten).for_each(|(octet, key)| *octet ^= key);
    chunks.push(last);
    let mut state = [0; 16];
    for chunk in chunks {
        state.iter_mut().zip(chunk).for_each(|(octet, value)| *octet ^= value);
        let mut block = Array::from(state);
        cipher.encrypt_block(&mut block);
        state = block.into();
    }
    state
}

/// The Internet checksum, the slow way.
pub fn checksum(octets: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in octets.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn pseudo_header(from: IpAddr, to: IpAddr, proto: u8, len: usize) -> Vec<u8> {
    let mut octets = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => panic!("families"),
    };
    octets.extend((len as u32).to_be_bytes());
    octets.extend([0, 0, 0, proto]);
    octets
}

/// An IP packet of either version.
pub fn ip(from: IpAddr, to: IpAddr, proto: u8, payload: &[u8]) -> Vec<u8> {
    ip_with(from, to, proto, 64, 0, payload)
}

/// With hop limit and traffic class.
pub fn ip_with(
    from: IpAddr,
    to: IpAddr,
    proto: u8,
    hop_limit: u8,
    traffic_class: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet;
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet = vec![0x45, traffic_class];
            packet.extend(((payload.len() + 20) as u16).to_be_bytes());
            packet.extend([0x12, 0x34, 0, 0, hop_limit, proto, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(&packet).to_be_bytes();
            packet[10..12].copy_from_slice(&sum);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet = vec![0x60 | traffic_class >> 4, traffic_class << 4, 0, 0];
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([proto, hop_limit]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        _ => panic!("families"),
    }
    packet.extend(payload);
    packet
}

/// A UDP datagram with its checksum, without IP header.
pub fn udp(from: SocketAddr, to: SocketAddr, content: &[u8]) -> Vec<u8> {
    let mut datagram = from.port().to_be_bytes().to_vec();
    datagram.extend(to.port().to_be_bytes());
    datagram.extend(((content.len() + 8) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(content);
    let pseudo = pseudo_header(from.ip(), to.ip(), 17, datagram.len());
    let sum = checksum(&[pseudo, datagram.clone()].concat());
    datagram[6..8].copy_from_slice(&(if sum == 0 { 0xffff } else { sum }).to_be_bytes());
    datagram
}

/// A UDP packet over IP.
pub fn udp_packet(from: SocketAddr, to: SocketAddr, content: &[u8]) -> Vec<u8> {
    ip(from.ip(), to.ip(), 17, &udp(from, to, content))
}

/// What a UDP packet over IP holds; panics where its headers or checksum are wrong.
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub hop_limit: u8,
    pub traffic_class: u8,
    pub content: Vec<u8>,
}

impl Datagram {
    pub fn read(packet: &[u8]) -> Self {
        let (header_len, from, to, hop_limit, traffic_class): (_, IpAddr, IpAddr, _, _) = if packet
            [0]
            >> 4
            == 6
        {
            let at = |start: usize| <[u8; 16]>::try_from(&packet[start..start + 16]).unwrap();
            assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len() - 40);
            assert_eq!(packet[6], 17);
            let class = packet[0] << 4 | packet[1] >> 4;
            (40, at(8).into(), at(24).into(), packet[7], class)
        } else {
            let at = |start: usize| <[u8; 4]>::try_from(&packet[start..start + 4]).unwrap();
            assert_eq!(packet[0], 0x45);
            assert_eq!(checksum(&packet[..20]), 0, "IPv4 header checksum");
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            assert_eq!(packet[9], 17);
            (20, at(12).into(), at(16).into(), packet[8], packet[1])
        };
        let datagram = &packet[header_len..];
        let pseudo = pseudo_header(from, to, 17, datagram.len());
        assert_ne!(datagram[6..8], [0, 0], "no UDP checksum");
        assert_eq!(checksum(&[&pseudo[..], datagram].concat()), 0, "UDP checksum");
        let word = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
        assert_eq!(usize::from(word(4)), datagram.len());
        Self {
            from: SocketAddr::new(from, word(0)),
            to: SocketAddr::new(to, word(2)),
            hop_limit,
            traffic_class,
            content: datagram[8..].to_vec(),
        }
    }
}

/// A frame on Ethernet.
pub fn ethernet(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
    [&to[..], &from, &ethertype, packet].concat()
}

#[test]
fn the_codec_itself_meets_its_vectors() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    };
    let key: Vec<u8> = (0..16).collect();
    for (len, mac) in [
        (0, "75f0251d528ac01c4573dfd584d79f29"),
        (3, "5b376580ae2f19afe7219ceef172756f"),
        (16, "d2a246fa349b68a79998a4394ff7a263"),
        (20, "47f51b4564966215b8985c63055ed308"),
        (32, "f54f0ec8d2b9f3d36807734bd5283fd4"),
    ] {
        let message: Vec<u8> = (0..len).collect();
        assert_eq!(xcbc(&key, &message).to_vec(), hex(mac), "{len}");
    }
    // McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4.
    let keys =
        Keys { integrity: Vec::new(), encryption: hex("feffe9928665731c6d6a8f9467308308cafebabe") };
    let (key, nonce) = gcm(&keys, &hex("facedbaddecaf888"));
    let mut text = hex(concat!(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    ));
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let tag = key.encrypt_inout_detached(&nonce, &aad, (&mut text[..]).into()).unwrap();
    assert_eq!(tag.to_vec(), hex("5bc94fbc3221a5db94fae95ae7121a47"));
    assert_eq!(text[..4], hex("42831ec2"));
    // RFC 2202 case 1.
    let tag = icv(Suite::NullSha, &[0x0b; 20], b"Hi There");
    assert_eq!(tag, hex("b617318655057264e28bc0b6"));
}
