//! Ethernet, the questions that are answered for bound home addresses, and who else claims them
//! (RFC 826, RFC 4861 s.7.1, RFC 5227, RFC 6275 s.10.4.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_dataplane::{DropReason as D, PortId};

use super::ip::{self, Ip};
use super::{Content, Out, Step, Verdict, Way, World, fragment, known};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl World {
    pub(super) fn link(&mut self, port: PortId, frame: &[u8]) -> Step {
        if frame.len() < 14 {
            return Err(D::EthernetShort);
        }
        let group = frame[0] & 1 != 0;
        if !group && frame[..6] != self.macs[usize::from(port.0)] {
            return Err(D::EthernetNotForUs);
        }
        let packet = &frame[14..];
        let v6 = [frame[12], frame[13]] == [0x86, 0xdd];
        let ip = match v6 || [frame[12], frame[13]] == [8, 0] {
            true => Some(Ip::read(v6, packet)),
            false => None,
        };
        let ip = match ip {
            // The wrong version, and not even a sound header of that one.
            Some(Err(D::IpHeader)) => match Ip::read(!v6, packet) {
                Err(other) => return Ok(Verdict::DropOneOf(vec![D::IpHeader, other])),
                Ok(_) => return Err(D::IpHeader),
            },
            Some(Err(reason)) => return Err(reason),
            Some(Ok(ip)) => Some(ip),
            None => None,
        };
        if let Some(answer) = self.question(port, frame, self.macs[usize::from(port.0)]) {
            return Ok(self.answer(port, answer));
        }
        match ip {
            Some(ip) => self.packet(port, frame, &ip),
            None => self.for_kernel(port, frame),
        }
    }

    /// A frame that is the kernel's, unless it claims an address that is defended on this link.
    fn for_kernel(&self, port: PortId, frame: &[u8]) -> Step {
        let claimed = match [frame[12], frame[13]] {
            [8, 6] => arp_claim(frame),
            [0x86, 0xdd] => nd_claim(frame),
            _ => None,
        };
        match claimed {
            Some(address) if self.is_at_home(address, port) => Err(D::AddressContested),
            _ => Ok(host(port, frame)),
        }
    }

    /// The answer to a question for a bound home address of this link, in the name of `own`.
    pub(super) fn question(&self, port: PortId, frame: &[u8], own: [u8; 6]) -> Option<Vec<u8>> {
        match [frame[12], frame[13]] {
            [8, 6] => self.arp_answer(port, frame, own),
            [0x86, 0xdd] => {
                let ip = Ip::read(true, &frame[14..]).ok()?;
                self.nd_answer(port, &frame[..14 + ip.total], &ip, own)
            }
            _ => None,
        }
    }

    /// An IP packet that came by a wire.
    pub(super) fn packet(&mut self, port: PortId, frame: &[u8], ip: &Ip) -> Step {
        // What was sent to everybody is for the kernel to judge, and is never forwarded (RFC 1812
        // s.5.3.4); so is what is spoken on the link alone.
        let group = frame[0] & 1 != 0 || ip.to.is_multicast() || ip::is_broadcast(ip.to);
        let discovery = ip.is_v6() && ip.proto == 58 && frame.get(54) == Some(&135);
        if group || ip::is_link_local(ip.to) {
            return self.for_kernel(port, frame);
        }
        let packet = &frame[14..14 + ip.total];
        if ip::is_no_sender(ip.from) {
            return Err(D::IpSource);
        }
        if self.service.get(&ip.is_v6()) == Some(&ip.to)
            && let Some(step) = self.service(packet, ip)
        {
            return match step {
                Err(D::OuterFragment) if known::OVERLAPS_ARE_SEEN_LATE => {
                    // Kept, for what there is to be said of it in `sizes`.
                    let waits = fragment::piece(frame).is_some_and(|piece| piece.is_udp());
                    if waits { Ok(Verdict::All(Vec::new())) } else { step }
                }
                Err(D::OuterFragment) => self.take_piece(port, &frame[..14 + ip.total]),
                step => step,
            };
        }
        if discovery || self.local.contains(&ip.to) {
            return self.for_kernel(port, frame);
        }
        self.forward(packet.to_vec(), ip, true)
    }

    fn answer(&mut self, port: PortId, answer: Vec<u8>) -> Verdict {
        self.tally.neighbour_answers += 1;
        Verdict::Out(Out { way: Way::Untouched { port }, content: Content::Octets(answer) })
    }

    /// Whether a bound home address belongs to the link of this port.
    fn is_at_home(&self, home: IpAddr, port: PortId) -> bool {
        let defended = self.bound(home).and_then(|binding| binding.defended);
        defended.is_some_and(|defended| defended.port == port)
    }

    fn arp_answer(&self, port: PortId, frame: &[u8], own: [u8; 6]) -> Option<Vec<u8>> {
        let arp = frame.get(14..42)?;
        if arp[..8] != [0, 1, 8, 0, 6, 4, 0, 1] {
            return None;
        }
        let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&arp[at..at + 4]).unwrap());
        let target = address(24);
        if !self.is_at_home(target.into(), port) {
            return None;
        }
        let mut answer = [&arp[8..14], &own, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &own].concat();
        answer.extend(target.octets());
        answer.extend(&arp[8..18]);
        Some(answer)
    }

    fn nd_answer(&self, port: PortId, frame: &[u8], ip: &Ip, own: [u8; 6]) -> Option<Vec<u8>> {
        let message = &frame[54..];
        if ip.proto != 58 || ip.hop_limit != 255 || message.len() < 24 || message[..2] != [135, 0] {
            return None;
        }
        if ip::transport_checksum(ip.from, ip.to, 58, message) != 0 {
            return None;
        }
        let target = Ipv6Addr::from(<[u8; 16]>::try_from(&message[8..24]).unwrap());
        if !self.is_at_home(target.into(), port) {
            return None;
        }
        let mut asker_mac = None;
        let mut options = &message[24..];
        while !options.is_empty() {
            let len = usize::from(*options.get(1)?) * 8;
            if len == 0 || len > options.len() {
                return None;
            }
            if options[0] == 1 && len == 8 {
                asker_mac = Some(&options[2..8]);
            }
            options = &options[len..];
        }
        let mut group = [0; 16];
        group[..13].copy_from_slice(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]);
        group[13..].copy_from_slice(&target.octets()[13..]);
        let dad = ip.from.is_unspecified();
        if dad && (asker_mac.is_some() || ip.to != IpAddr::from(group)) {
            return None;
        }
        let from = self.service.get(&true)?;
        Some(advertisement(target, *from, own, ip.from, asker_mac.unwrap_or(&frame[6..12])))
    }
}

/// The sender of an ARP packet that does not merely ask for somebody else.
fn arp_claim(frame: &[u8]) -> Option<IpAddr> {
    let arp = frame.get(14..42)?;
    let (sender, target) = (&arp[14..18], &arp[24..28]);
    let asks = arp[7] == 1 && sender != target;
    let sound = arp[..7] == [0, 1, 8, 0, 6, 4, 0] && matches!(arp[7], 1 | 2);
    (sound && !asks && sender != [0; 4])
        .then(|| Ipv4Addr::from(<[u8; 4]>::try_from(sender).unwrap()).into())
}

/// The target of a valid Neighbour Advertisement.
fn nd_claim(frame: &[u8]) -> Option<IpAddr> {
    let ip = Ip::read(true, &frame[14..]).ok()?;
    let message = &frame[54..14 + ip.total];
    let sound = ip.proto == 58
        && ip.hop_limit == 255
        && message.len() >= 24
        && message[..2] == [136, 0]
        && !(ip.to.is_multicast() && message[4] & 0x40 != 0)
        && ip::transport_checksum(ip.from, ip.to, 58, message) == 0;
    let mut options = message.get(24..).filter(|_| sound)?;
    while !options.is_empty() {
        let len = usize::from(*options.get(1)?) * 8;
        options = options.get(len..).filter(|_| len > 0)?;
    }
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(&message[8..24]).unwrap());
    (!target.is_multicast()).then_some(target.into())
}

/// A proxy's answer: R=0, S=1 where somebody asked, O as in RFC 6275 s.10.4.1.
fn advertisement(
    target: Ipv6Addr,
    from: IpAddr,
    own: [u8; 6],
    asker: IpAddr,
    asker_mac: &[u8],
) -> Vec<u8> {
    let IpAddr::V6(asker) = asker else { unreachable!("a solicitation") };
    let (to, flags) = if asker.is_unspecified() { (ALL_NODES, 0x20) } else { (asker, 0x60) };
    let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend([2, 1]);
    message.extend(own);
    let sum = ip::transport_checksum(from, to.into(), 58, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let packet = crate::codec::ip_with(from, to.into(), 58, 255, 0, &message);
    let mac = if to == ALL_NODES { &[0x33, 0x33, 0, 0, 0, 1] } else { asker_mac };
    [mac, &own, &[0x86, 0xdd], &packet].concat()
}

fn host(port: PortId, frame: &[u8]) -> Verdict {
    Verdict::Out(Out { way: Way::Host { port }, content: Content::Octets(frame.to_vec()) })
}
