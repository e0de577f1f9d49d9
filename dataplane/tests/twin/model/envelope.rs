//! Outer packets to the service address (RFC 6618 s.6, R-20 to ).

use std::net::SocketAddr;

use hearth_dataplane::DropReason as D;
use hearth_wire::Scope;

use super::inner::Sender;
use super::ip::{self, Fragment, Ip};
use super::{Content, Out, Sa, Step, Verdict, Way, World};
use crate::codec;

/// An outer packet's way in.
struct Outer<'a> {
    remote: SocketAddr,
    local: SocketAddr,
    class: u8,
    /// The UDP payload.
    frame: &'a [u8],
    udp_sum_wrong: bool,
}

impl World {
    /// A packet to the service address; None where it is the kernel's.
    pub(super) fn service(&mut self, packet: &[u8], ip: &Ip) -> Option<Step> {
        if ip.is_v6() && ip.proto != 17 {
            return self.behind_extension_headers(packet, ip).map(Err);
        }
        if ip.proto != 17 {
            return None;
        }
        if ip.fragment != Fragment::Whole {
            return Some(Err(D::OuterFragment));
        }
        let udp = &packet[ip.header..];
        if udp.len() < 8 {
            return Some(Err(D::UdpLength));
        }
        let word = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
        if word(2) != self.service_port {
            return None;
        }
        Some(self.datagram(ip, udp))
    }

    fn behind_extension_headers(&self, packet: &[u8], ip: &Ip) -> Option<D> {
        // What may be an envelope must not reach the kernel, which would answer it.
        match ip::upper_layer(packet, ip) {
            Some((44, at)) => (!matches!(packet.get(at), Some(6 | 58))).then_some(D::OuterFragment),
            Some((17, at)) => {
                let port = packet.get(at + 2..at + 4);
                let elsewhere = port.is_some_and(|port| *port != self.service_port.to_be_bytes());
                (!elsewhere).then_some(D::OuterExtensionHeader)
            }
            None => Some(D::OuterExtensionHeader),
            Some(_) => None,
        }
    }

    fn datagram(&mut self, ip: &Ip, udp: &[u8]) -> Step {
        let word = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
        let len = usize::from(word(4));
        if len < 8 || len > udp.len() {
            return Err(D::UdpLength);
        }
        let udp = &udp[..len];
        //
        if word(6) == 0 && ip.is_v6() {
            return Err(D::UdpChecksumZero);
        }
        let wrong = word(6) != 0 && ip::transport_checksum(ip.from, ip.to, 17, udp) != 0;
        self.envelope(&Outer {
            remote: SocketAddr::new(ip.from, word(0)),
            local: SocketAddr::new(ip.to, word(2)),
            class: ip.class,
            frame: &udp[8..],
            udp_sum_wrong: wrong,
        })
    }

    /// length, PType, SPI look-up, scope, replay look, ICV, replay commit, and so on.
    fn envelope(&mut self, outer: &Outer<'_>) -> Step {
        if outer.frame.len() < 8 {
            return Err(D::FrameShort);
        }
        let word = |at: usize| u32::from_be_bytes(outer.frame[at..at + 4].try_into().unwrap());
        let (ptype, spi, seq) = (outer.frame[0] >> 4, word(0) & 0x0fff_ffff, word(4));
        match (ptype, spi, seq) {
            //
            (0, 0, 0) | (8, 1.., _) if outer.udp_sum_wrong => Err(D::UdpChecksum),
            (0, 0, 0) => self.clear(outer),
            (0, 0, _) => Err(D::PlainSequenceNotZero),
            (0, _, _) => Err(D::PlainSpiNotZero),
            (1, 0, _) => Err(D::ProtectedSpiZero),
            (8, 0, _) => Err(D::SignallingSpiZero),
            (1 | 8, _, _) => self.protected(outer, ptype, spi, seq),
            _ => {
                self.tally.unregistered_ptypes[usize::from(ptype)] += 1;
                Err(D::PtypeUnregistered)
            }
        }
    }

    fn clear(&mut self, outer: &Outer<'_>) -> Step {
        if self.depth > 3 {
            return Err(D::NestedTooDeep);
        }
        let sender = Sender::Clear { remote: outer.remote };
        self.data(outer.frame[8..].to_vec(), None, sender, outer.class)
    }

    fn protected(&mut self, outer: &Outer<'_>, ptype: u8, spi: u32, seq: u32) -> Step {
        if self.depth > 3 {
            return Err(D::NestedTooDeep);
        }
        let Some(sa) = self.sas.get_mut(&spi) else {
            if ptype == 8 {
                self.missing.push(spi);
            }
            return Err(D::SpiUnknown);
        };
        let (iv_len, block, icv_len) = codec::lengths(sa.suite);
        let least = 8 + iv_len + block + icv_len;
        if outer.frame.len() < least {
            return Err(D::FrameShort);
        }
        if !(outer.frame.len() - least).is_multiple_of(block) {
            return Err(D::FrameNotWholeBlocks);
        }
        let opened = codec::decipher(sa.suite, &sa.up, outer.frame);
        if let Err(reasons) = look(sa, seq, opened.is_some()) {
            return Ok(Verdict::DropOneOf(reasons));
        }
        let Some(mut body) = opened else { return Err(D::IcvMismatch) };
        if sa.window_before.is_none() {
            sa.window_before = Some(sa.window.clone());
        }
        sa.window.commit(seq);
        sa.accepted.push(seq);
        let scope_0 = sa.scope == Scope::Signalling;
        let next_header = trim(&mut body)?;
        if ptype == 8 {
            return self.signalling(outer, spi, next_header, body);
        }
        match next_header {
            59 => Err(D::DummyPacket),
            4 | 41 => {
                let sender = Sender::Protected { spi, scope_0 };
                self.data(body, Some(next_header == 41), sender, outer.class)
            }
            _ => Err(D::DataNextHeader),
        }
    }

    ///
    fn signalling(&mut self, outer: &Outer<'_>, spi: u32, next_header: u8, body: Vec<u8>) -> Step {
        if !matches!(next_header, 0 | 43 | 60 | 135) {
            return Err(D::SignallingNextHeader);
        }
        self.tally.signalling_in += 1;
        let (remote, local) = (outer.remote, outer.local);
        let way = Way::Signalling { spi, remote, local, next_header };
        Ok(Verdict::Out(Out { way, content: Content::Octets(body) }))
    }
}

/// The replay look. A burst may be cut anywhere: what a packet is looked up in is the window of
/// any moment between the burst's beginning and its turn, and the last word has the commit.
fn look(sa: &Sa, seq: u32, authentic: bool) -> Result<(), Vec<D>> {
    let Err(now) = sa.window.look(seq) else { return Ok(()) };
    let Some(before) = &sa.window_before else { return Err(vec![now]) };
    let mut reasons = vec![now];
    if now == D::ReplayTooOld && (before.seen.contains(&seq) || sa.accepted.contains(&seq)) {
        reasons.push(D::Replayed);
    }
    if !authentic && before.look(seq).is_ok() {
        reasons.push(D::IcvMismatch);
    }
    Err(reasons)
}

/// Takes off the trailer and the padding 1, 2, 3, ....
pub(super) fn trim(body: &mut Vec<u8>) -> Result<u8, D> {
    let next_header = body.pop().ok_or(D::PadLength)?;
    let padding = usize::from(body.pop().ok_or(D::PadLength)?);
    if padding > body.len() {
        return Err(D::PadLength);
    }
    let padding = body.split_off(body.len() - padding);
    if padding.iter().zip(1_usize..).any(|(octet, value)| usize::from(*octet) != value) {
        return Err(D::Padding);
    }
    Ok(next_header)
}
