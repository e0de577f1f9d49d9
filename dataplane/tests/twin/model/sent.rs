//! Opens what the home agent sent, as its mobile node would; the rest is left as octets.

use std::net::SocketAddr;

use hearth_wire::Suite;

use super::ip::{self, Fragment, Ip};
use super::{Content, World, envelope};
use crate::codec;

/// The content, the sequence number and the IV of a packet from the service address, if every
/// header, length, checksum, ICV and padding is as it should be.
pub fn open(world: &World, packet: &[u8]) -> Option<(Content, u32, Vec<u8>)> {
    let v6 = packet.first()? >> 4 == 6;
    let ip = Ip::read(v6, packet).ok()?;
    let flow_label = v6 && (packet[1] & 0x0f != 0 || packet[2..4] != [0, 0]);
    if ip.total != packet.len()
        || ip.proto != 17
        || ip.fragment != Fragment::Whole
        || ip.header != if v6 { 40 } else { 20 }
        || flow_label
        || world.service.get(&v6) != Some(&ip.from)
    {
        return None;
    }
    let udp = packet.get(ip.header..)?;
    let frame = udp.get(8..)?;
    let word = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    if word(0) != world.service_port
        || usize::from(word(4)) != udp.len()
        || word(6) == 0
        || ip::transport_checksum(ip.from, ip.to, 17, udp) != 0
    {
        return None;
    }
    let word32 = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
    let (first, seq) = (word32(0)?, word32(4)?);
    let (ptype, spi) = ((first >> 28) as u8, first & 0x0fff_ffff);
    let (iv, next_header, payload) = match (ptype, spi, seq) {
        (0, 0, 0) => (Vec::new(), 0, frame[8..].to_vec()),
        (1 | 8, _, _) => {
            let sa = world.sas.get(&spi)?;
            let (iv_len, block, icv_len) = codec::lengths(sa.suite);
            let least = 8 + iv_len + block + icv_len;
            if frame.len() < least || !(frame.len() - least).is_multiple_of(block) {
                return None;
            }
            let mut body = codec::decipher(sa.suite, &sa.down, frame)?;
            let len = body.len();
            let next_header = envelope::trim(&mut body).ok()?;
            // no more padding than the block asks for.
            if len - body.len() - 2 >= block {
                return None;
            }
            // the IV of AES-GCM is an epoch and the sequence number.
            if sa.suite == Suite::Aes128Gcm && frame[12..16] != frame[4..8] {
                return None;
            }
            (frame[8..8 + iv_len].to_vec(), next_header, body)
        }
        _ => return None,
    };
    // Where the mobile node is behind a mobile router: what that one gets is an envelope again.
    let payload = match open(world, &payload) {
        Some((content, _, _)) => content,
        None => Content::Octets(payload),
    };
    let content = Content::Envelope {
        local: SocketAddr::new(ip.from, word(0)),
        remote: SocketAddr::new(ip.to, word(2)),
        hop_limit: ip.hop_limit,
        class: ip.class,
        ptype,
        spi,
        next_header,
        payload: Box::new(payload),
    };
    Some((content, seq, iv))
}
