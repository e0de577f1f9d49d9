//! Traffic of all kinds: what comes out of tunnels, what goes in, what passes by.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use hearth_dataplane::PortId;
use hearth_wire::{Scope, Suite};

use crate::build;
use crate::chance::Chance;
use crate::codec::{self, Keys, Plain};
use crate::link_traffic;
use crate::model::known;
use crate::node::Node;
use crate::rig::{ACCESS, CN4, CN6, GATEWAY4, GATEWAY6, HA4, HA6, HOME, SPI_BASE};
use crate::watch::Input;

/// What is negotiated in these worlds.
pub const SUITES: [Suite; 6] = [
    Suite::NullSha,
    Suite::NullSha256,
    Suite::TripleDesEdeCbcSha,
    Suite::Aes128CbcSha,
    Suite::Aes128CbcSha256,
    Suite::Aes128Gcm,
];

pub struct Traffic {
    pub chance: Chance,
    pub nodes: Vec<Node>,
    pub macs: Vec<[u8; 6]>,
    pub queues: usize,
    /// Mixed into the choice of queues, new for each burst.
    pub salt: usize,
    pub width: u32,
    /// Frames that the home agent sent, to be sent back to it (ENC-18).
    pub echoes: VecDeque<Vec<u8>>,
    /// Fragments that are still to come.
    pub pieces: VecDeque<Vec<u8>>,
    /// Whether all packets of this burst take one queue, as fragments have to.
    pub one_queue: bool,
}

impl Traffic {
    pub fn burst(&mut self, most: usize) -> Vec<Input> {
        self.salt = self.chance.within(0..1000);
        let len = self.chance.weighted(&[(3, 1), (3, 8), (3, 64), (1, 400)]).min(most);
        let len = self.chance.within(1..len + 1);
        self.one_queue = !known::OVERLAPS_ARE_SEEN_LATE && self.chance.once_in(3);
        (0..len).map(|_| self.input()).collect()
    }

    fn input(&mut self) -> Input {
        if self.one_queue
            && self.chance.once_in(2)
            && let Some(frame) = self.pieces.pop_front()
        {
            return Input::Wire { port: ACCESS, queue: 0, frame };
        }
        let kind = self.chance.within(0..100);
        let (port, mut frame) = match kind {
            0..6 => (ACCESS, self.guest_sends()),
            6..8 => self.guest_bound(),
            8..52 => (ACCESS, self.uplink()),
            52..74 => self.downlink(),
            74..82 => self.passing(),
            82..88 => self.box_bound(),
            88..91 => return self.host_sends(),
            91..93 => return self.signalling_out(),
            93..97 => self.link(),
            97 => {
                let frame = self.echoes.pop_front();
                (ACCESS, frame.unwrap_or_else(|| self.uplink()))
            }
            _ => {
                let len = self.chance.within(0..200);
                (ACCESS, self.chance.octets(len))
            }
        };
        if self.chance.once_in(25) {
            build::spoil(&mut self.chance, &mut frame);
        }
        let queue = self.queue(&frame);
        Input::Wire { port, queue, frame }
    }

    /// Packets of one SA keep to one queue during a burst, so that their order is known.
    fn queue(&self, frame: &[u8]) -> usize {
        let v6 = frame.get(12) == Some(&0x86);
        let header = if v6 { 40 } else { usize::from(frame.get(14).unwrap_or(&0) & 15) * 4 };
        let spi = frame.get(14 + header + 8..14 + header + 12);
        let low = spi.map_or(0, |octets| usize::from(octets[3]));
        if self.one_queue { 0 } else { (low + self.salt) % self.queues }
    }

    /// Keeps a packet of the home agent's, to be sent back to it as if it were a mobile node's.
    pub fn echo(&mut self, frame: &[u8]) {
        let datagram = codec::Datagram::read(&frame[14..]);
        let first = u32::from_be_bytes(datagram.content[..4].try_into().unwrap());
        if self.is_guests(first & 0x0fff_ffff) {
            return;
        }
        let packet = codec::udp_packet(datagram.to, datagram.from, &datagram.content);
        self.echoes.push_back(codec::ethernet(self.macs[0], [2, 9, 9, 9, 9, 9], &packet));
        self.echoes.truncate(20);
    }

    fn frame(&mut self, port: PortId, packet: &[u8]) -> Vec<u8> {
        let to = match self.chance.within(0..120) {
            0 => [2, 1, 1, 1, 1, 1],
            1 => [0xff; 6],
            2 => [0x33, 0x33, 0, 0, 0, 1],
            _ => self.macs[usize::from(port.0)],
        };
        let mut frame = codec::ethernet(to, [2, 9, 9, 9, 9, 9], packet);
        if self.chance.once_in(20) {
            // Ethernet pads short frames.
            frame.resize(frame.len().max(60), 0);
        }
        frame
    }

    /// One that is behind no other.
    fn a_node(&mut self) -> usize {
        loop {
            let node = self.chance.within(0..self.nodes.len());
            if self.nodes[node].behind.is_none() {
                return node;
            }
        }
    }

    /// One that is, and the one whose network it is in.
    fn a_guest(&mut self) -> (usize, usize) {
        loop {
            let node = self.chance.within(0..self.nodes.len());
            if let Some(router) = self.nodes[node].behind {
                return (node, router);
            }
        }
    }

    fn is_guests(&self, spi: u32) -> bool {
        self.nodes.iter().any(|node| node.behind.is_some() && node.mn.spi.get() == spi)
    }

    /// From a mobile node behind a mobile router, through the tunnel of that one.
    fn guest_sends(&mut self) -> Vec<u8> {
        let (guest, router) = self.a_guest();
        let sent = &self.nodes[guest].sent;
        if let Some(old) = sent.back().cloned().filter(|_| self.chance.once_in(12)) {
            return old;
        }
        let mut frame = self.envelope(guest);
        // A buffer holds what the mobile router makes of it.
        while frame.len() > 1500 {
            frame = self.envelope(guest);
        }
        let mn = &self.nodes[guest].mn;
        let mut packet = codec::udp_packet(mn.remote, mn.local, &frame);
        if self.chance.once_in(20) {
            // The checksum of UDP.
            let at = if packet[0] >> 4 == 6 { 46 } else { 26 };
            packet[at] ^= 1 + self.chance.octet() % 255;
        }
        let frame = self.sealed(router, 1, packet);
        let mn = &self.nodes[router].mn;
        let packet = codec::udp_packet(mn.remote, mn.local, &frame);
        let frame = self.frame(ACCESS, &packet);
        let sent = &mut self.nodes[guest].sent;
        sent.push_back(frame.clone());
        sent.truncate(20);
        frame
    }

    /// To such a one, and small enough for both tunnels.
    fn guest_bound(&mut self) -> (PortId, Vec<u8>) {
        let (guest, _) = self.a_guest();
        let mn = &self.nodes[guest].mn;
        let v6 = self.chance.once_in(2);
        let ends: (IpAddr, IpAddr) =
            if v6 { (CN6.into(), mn.home6.into()) } else { (CN4.into(), mn.home4.into()) };
        let len = self.chance.within(8..600);
        let (proto, class) = (*self.chance.one_of(&[17, 17, 6, 135]), self.chance.octet());
        let hop = *self.chance.one_of(&[64, 64, 64, 2, 1]);
        let content = self.chance.octets(len);
        let packet = codec::ip_with(ends.0, ends.1, proto, hop, class, &content);
        (HOME, self.frame(HOME, &packet))
    }

    /// A fragment of an envelope from behind a mobile router would wait for others.
    fn keep_whole(&mut self, inner: &mut [u8]) {
        let to_service = match inner.first().map(|first| first >> 4) {
            Some(6) if inner.len() >= 40 => inner[24..40] == HA6.octets(),
            Some(4) if inner.len() >= 20 => inner[16..20] == HA4.octets(),
            _ => false,
        };
        if !to_service {
            return;
        }
        if inner[0] >> 4 == 6 {
            let mut at = 40;
            let mut next = inner[6];
            while matches!(next, 0 | 43 | 60) && inner.len() > at + 2 {
                next = inner[at];
                at += 8 + usize::from(inner[at + 1]) * 8;
            }
            if next == 44 {
                inner[6] = 59;
            }
        } else {
            (inner[6], inner[7]) = (inner[6] & 0x40, 0);
            build::mend(inner);
        }
    }

    /// Where a packet to anybody may go; v6 or not.
    fn somebody(&mut self, v6: bool) -> IpAddr {
        let node = self.a_node();
        let mn = &self.nodes[node].mn;
        let (home6, home4) = (mn.home6, mn.home4);
        let of: [(usize, &str); 17] = [
            (40, if v6 { "2001:db8:f::c0" } else { "203.0.113.200" }),
            (10, if v6 { "2001:db8:77::1" } else { "192.0.2.200" }),
            (3, if v6 { "2001:db8:f::77" } else { "203.0.113.177" }),
            (3, if v6 { "2001:db8:a::77" } else { "198.51.100.77" }),
            (4, if v6 { "2001:db8:a::1" } else { "198.51.100.1" }),
            (2, if v6 { "2001:db8:f::2" } else { "203.0.113.2" }),
            (1, if v6 { "ff02::1" } else { "224.0.0.22" }),
            (1, if v6 { "ff0e::1:2" } else { "239.1.2.3" }),
            (1, if v6 { "fe80::2" } else { "169.254.1.1" }),
            (1, if v6 { "::" } else { "0.0.0.0" }),
            (1, if v6 { "::1" } else { "127.0.0.1" }),
            (1, if v6 { "2001:db8:f::" } else { "255.255.255.255" }),
            (2, if v6 { "2001:db8:100::3" } else { "192.0.2.3" }),
            (2, if v6 { "2001:db8:88::1" } else { "10.1.2.3" }),
            (1, if v6 { "2001:db8:dead::1" } else { "203.0.113.255" }),
            (20, "home"),
            (4, "network"),
        ];
        let host = self.nodes[node].host(v6, self.chance.octet());
        match self.chance.weighted(&of) {
            "network" => host,
            "home" if v6 => home6.into(),
            "home" => home4.into(),
            address => address.parse().unwrap(),
        }
    }

    /// From a mobile node, mostly as it should be.
    fn uplink(&mut self) -> Vec<u8> {
        let node = self.a_node();
        if self.chance.once_in(20)
            && let Some(old) = {
                let sent = &self.nodes[node].sent;
                let len = sent.len();
                (len > 0).then(|| self.chance.within(0..len)).map(|at| sent[at].clone())
            }
        {
            return old;
        }
        let frame = self.envelope(node);
        let mn = &self.nodes[node].mn;
        let (mut remote, mut local) = (mn.remote, mn.local);
        let other = self.a_node();
        match self.chance.within(0..50) {
            0 => remote.set_port(self.chance.within(0..65_536) as u16),
            1 => remote.set_ip(self.same_family(local.ip())),
            2 if self.nodes[other].mn.remote.is_ipv6() == local.is_ipv6() => {
                remote = self.nodes[other].mn.remote;
            }
            3..20 => {
                // Any of its care-of addresses.
                let ways = &self.nodes[node].ways;
                if let Some(way) = ways.get(self.chance.within(0..4)) {
                    (remote, local) = (way.remote, way.local);
                }
            }
            _ => {}
        }
        let packet = build::outer(&mut self.chance, remote, local, &frame);
        if self.one_queue && self.chance.once_in(8) {
            let mut pieces = build::fragments(&mut self.chance, &packet).into_iter();
            let first = pieces.next().unwrap_or_default();
            let mac = self.macs[0];
            let ethernet = |packet: Vec<u8>| codec::ethernet(mac, [2, 9, 9, 9, 9, 9], &packet);
            self.pieces.extend(pieces.map(ethernet));
            return self.frame(ACCESS, &first);
        }
        let frame = self.frame(ACCESS, &packet);
        let sent = &mut self.nodes[node].sent;
        sent.push_back(frame.clone());
        if sent.len() > 40 {
            sent.pop_front();
        }
        frame
    }

    fn same_family(&mut self, as_this: IpAddr) -> IpAddr {
        self.somebody(as_this.is_ipv6())
    }

    fn envelope(&mut self, node: usize) -> Vec<u8> {
        let scope_0 = self.nodes[node].mn.scope == Scope::Signalling;
        let ptype = match self.chance.within(0..100) {
            0..8 => 8,
            8..50 if scope_0 => 0,
            8..10 => 0,
            10 => self.chance.octet() & 15,
            _ => 1,
        };
        let content = match ptype {
            8 => {
                let len = self.chance.within(0..120);
                self.chance.octets(len)
            }
            _ => self.content(node),
        };
        let mut frame = if ptype == 0 {
            let mut frame = [&[0; 8], &content[..]].concat();
            match self.chance.within(0..80) {
                0 => frame[3] = self.chance.octet(),
                1 => frame[7] = self.chance.octet(),
                _ => {}
            }
            frame
        } else {
            self.sealed(node, ptype, content)
        };
        if self.chance.once_in(12) {
            self.mutate(&mut frame);
        }
        frame
    }

    /// An inner packet, and sometimes more or less than one.
    fn content(&mut self, node: usize) -> Vec<u8> {
        let v6 = self.chance.once_in(2);
        let to = self.somebody(v6);
        let mn = &self.nodes[node].mn;
        let (home6, home4) = (mn.home6, mn.home4);
        let from = match self.chance.within(0..40) {
            0 | 1 => self.somebody(v6),
            2 if v6 => "fe80::5".parse().unwrap(),
            3..14 if self.nodes[node].has_network() => {
                self.nodes[node].host(v6, self.chance.octet())
            }
            _ if v6 => home6.into(),
            _ => home4.into(),
        };
        let mut inner = match self.chance.within(0..20) {
            0 => build::to_router(&mut self.chance, from),
            _ => build::inner(&mut self.chance, from, to),
        };
        match self.chance.within(0..60) {
            0 => build::spoil(&mut self.chance, &mut inner),
            1 => {
                let more = self.chance.within(0..60);
                inner.extend(self.chance.octets(more));
            }
            2 => inner.truncate(self.chance.within(0..inner.len() + 1)),
            3 => {
                let at = self.chance.within(0..inner.len().min(24));
                inner[at] = self.chance.octet();
                build::mend(&mut inner);
            }
            _ => {}
        }
        self.keep_whole(&mut inner);
        inner
    }

    fn next_number(&mut self, node: usize) -> u32 {
        let width = self.width as usize;
        if self.chance.once_in(16)
            && let Some(highest) = self.nodes[node].highest
        {
            // The window's edges, and a jump over all of it.
            let edge = *self.chance.one_of(&[-1, -1, -1, -1, 0, 1, 2]) * i64::from(self.width);
            let near = edge + *self.chance.one_of(&[-2, -1, 0, 1, 2]);
            let seq = u32::try_from(i64::from(highest) + near).unwrap_or(highest);
            let mn = &mut self.nodes[node].mn;
            mn.seq = mn.seq.max(seq);
            return seq;
        }
        let mn = &mut self.nodes[node].mn;
        match self.chance.within(0..40) {
            0..30 => {
                mn.seq = mn.seq.saturating_add(1);
                mn.seq - 1
            }
            30..34 => {
                mn.seq = mn.seq.saturating_add(self.chance.within(1..6) as u32);
                mn.seq
            }
            34 if self.chance.once_in(8) => {
                mn.seq = mn.seq.saturating_add(self.chance.within(1..2 * width) as u32);
                mn.seq
            }
            35..39 => mn.seq.saturating_sub(self.chance.within(0..80) as u32),
            _ => mn.seq.saturating_sub(self.chance.within(0..width + width / 2) as u32),
        }
    }

    fn sealed(&mut self, node: usize, ptype: u8, content: Vec<u8>) -> Vec<u8> {
        let seq = self.next_number(node);
        let mn = &self.nodes[node].mn;
        let (mut suite, mut keys, mut spi) = (mn.suite, mn.up.clone(), mn.spi.get());
        let version = content.first().map_or(0, |octet| octet >> 4);
        let mut next_header = match (ptype, version) {
            (8, _) => *self.chance.one_of(&[60, 135, 43, 135, 60]),
            (_, 4) => 4,
            _ => 41,
        };
        match self.chance.within(0..100) {
            // ENC-18, ENC-20, a foreign SPI, a foreign next header.
            0 => keys = mn.down.clone(),
            1 => suite = *self.chance.one_of(&SUITES),
            // Whose packets come another way, their order would not be known.
            2 => {
                spi = SPI_BASE + self.chance.within(0..64) as u32;
                if self.is_guests(spi) || self.nodes[node].behind.is_some() {
                    spi = SPI_BASE + 63;
                }
            }
            3 => spi = *self.chance.one_of(&[0, 1, SPI_BASE - 1, SPI_BASE + 64, 0x0fff_ffff]),
            4 | 5 => next_header = *self.chance.one_of(&[4, 41, 59, 50, 135, 17, 0, 60, 44, 58, 6]),
            6 => next_header = self.chance.octet(),
            _ => {}
        }
        if keys.integrity.len() != suite.ikey_len() || keys.encryption.len() != suite.ekey_len() {
            keys = Keys::new(suite, 7);
        }
        let iv = std::array::from_fn(|_| self.chance.octet());
        let mut plain = Plain {
            ptype,
            spi,
            seq,
            next_header,
            payload: &content,
            padding: None,
            pad_length: None,
            iv,
        };
        let block = codec::lengths(suite).1;
        let least = (block - (content.len() + 2) % block) % block;
        match self.chance.within(0..40) {
            // ENC-23: longer padding, of whole blocks.
            0 | 1 => {
                let more = self.chance.within(0..(255 - least) / block + 1) * block;
                plain.padding = Some((1..=least + more).map(|i| i as u8).collect());
            }
            2 => plain.padding = Some(self.chance.octets(least)),
            3 => plain.pad_length = Some(self.chance.octet()),
            _ => {}
        }
        plain.seal(suite, &keys)
    }

    /// ENC-16, ENC-17, ENC-25, ENC-29: what the ICV is there for.
    fn mutate(&mut self, frame: &mut Vec<u8>) {
        let chance = &mut self.chance;
        match chance.within(0..10) {
            0..5 => build::spoil(chance, frame),
            5 if !frame.is_empty() => {
                frame[0] = frame[0] & 15 | *chance.one_of(&[0, 1, 8, 8, 1, 9]) << 4;
            }
            6 if frame.len() > 8 => {
                let far = chance.octets(4);
                frame[4..8].copy_from_slice(&far);
            }
            7 => frame.truncate(chance.within(0..9)),
            8 if !frame.is_empty() => {
                let last = frame.len() - 1 - chance.within(0..frame.len().min(12));
                frame[last] ^= 1 << chance.within(0..8);
            }
            _ => frame.truncate(frame.len().saturating_sub(chance.within(1..40))),
        }
    }

    /// To a home address, from a correspondent or from nobody in particular.
    fn downlink(&mut self) -> (PortId, Vec<u8>) {
        let v6 = self.chance.once_in(2);
        let node = self.a_node();
        let mn = &self.nodes[node].mn;
        let to: IpAddr = if v6 { mn.home6.into() } else { mn.home4.into() };
        let from: IpAddr = match self.chance.within(0..12) {
            0 => self.somebody(v6),
            _ if v6 => CN6.into(),
            _ => CN4.into(),
        };
        let port = if self.chance.once_in(6) { ACCESS } else { HOME };
        let inner = build::inner(&mut self.chance, from, to);
        (port, self.frame(port, &inner))
    }

    fn passing(&mut self) -> (PortId, Vec<u8>) {
        let v6 = self.chance.once_in(2);
        let (from, to) = (self.somebody(v6), self.somebody(v6));
        let port = *self.chance.one_of(&[ACCESS, HOME]);
        let packet = build::inner(&mut self.chance, from, to);
        (port, self.frame(port, &packet))
    }

    fn box_bound(&mut self) -> (PortId, Vec<u8>) {
        let v6 = self.chance.once_in(2);
        let from = self.somebody(v6);
        let to: IpAddr = if v6 { HA6.into() } else { HA4.into() };
        let port = *self.chance.one_of(&[ACCESS, ACCESS, HOME]);
        let packet = build::inner(&mut self.chance, from, to);
        (port, self.frame(port, &packet))
    }

    fn host_sends(&mut self) -> Input {
        let v6 = self.chance.once_in(2);
        let to = self.somebody(v6);
        let from: IpAddr = if v6 { HA6.into() } else { HA4.into() };
        let packet = build::inner(&mut self.chance, from, to);
        let port = *self.chance.one_of(&[ACCESS, HOME, HOME]);
        let mut frame = self.frame(port, &packet);
        match self.chance.within(0..10) {
            0 | 1 => frame = self.link().1,
            2 => build::spoil(&mut self.chance, &mut frame),
            _ => {}
        }
        let port = if self.chance.once_in(40) { PortId(9) } else { port };
        Input::Host { port, frame }
    }

    fn signalling_out(&mut self) -> Input {
        let node = if self.chance.once_in(6) { self.a_guest().0 } else { self.a_node() };
        let len = self.chance.within(8..200);
        let payload = self.chance.octets(len);
        let mn = &self.nodes[node].mn;
        let (mut spi, local, remote) = (mn.spi.get(), mn.local, mn.remote);
        if self.chance.once_in(12) {
            spi = SPI_BASE + self.chance.within(0..64) as u32;
        }
        let next_header = *self.chance.one_of(&[43, 135]);
        Input::Signalling { spi, local, remote, next_header, payload }
    }

    fn link(&mut self) -> (PortId, Vec<u8>) {
        let port = *self.chance.one_of(&[ACCESS, HOME, HOME, HOME]);
        let node = self.a_node();
        let mn = &self.nodes[node].mn;
        let (home6, home4) = (mn.home6, mn.home4);
        (port, link_traffic::any(&mut self.chance, home6, home4, self.macs[usize::from(port.0)]))
    }
}

/// Every address of a gateway, for the neighbours.
pub const GATEWAYS: [IpAddr; 2] = [IpAddr::V6(GATEWAY6), IpAddr::V4(GATEWAY4)];

/// A care-of address of either family.
pub fn somewhere(chance: &mut Chance, v6: bool) -> SocketAddr {
    let n = chance.within(1..250);
    let address = if v6 { format!("2001:db8:300::{n}") } else { format!("192.0.2.{n}") };
    SocketAddr::new(address.parse().unwrap(), chance.within(1..65_536) as u16)
}
