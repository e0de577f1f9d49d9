//! Routing, and the tunnel to a mobile node (RFC 8200, RFC 6275 s.10.4.2, R-25, R-41, R-42).

use std::net::{IpAddr, SocketAddr};

use hearth_dataplane::{DropReason as D, PortId, Tunnel};
use hearth_wire::Scope;

use super::flows::{self, Flow};
use super::fragment;
use super::ip::{self, Ip};
use super::{Content, NUMBERS, Out, Step, Verdict, Way, World, stopped};
use crate::codec;
use crate::rig::Registration;

/// What goes into a tunnel.
#[derive(Clone)]
struct Parcel {
    v6: bool,
    len: usize,
    class: u8,
    home_test: bool,
    /// whether the outer packet may be cut where it is too large.
    outer_may_be_cut: bool,
    content: Content,
}

impl World {
    /// A packet on its way; `hop` says whether this box counts as one.
    pub(super) fn forward(&mut self, mut packet: Vec<u8>, ip: &Ip, hop: bool) -> Step {
        let mut wrong = Vec::new();
        if ip::is_link_scope(ip.from) || ip::is_link_scope(ip.to) {
            wrong.push(D::LinkLocalForward);
        }
        if hop && ip.hop_limit <= 1 {
            wrong.push(D::HopLimit);
        } else if hop {
            ip::hop(&mut packet);
        }
        if let Some(binding) = self.carried(ip.to).cloned() {
            return Ok(self.tunnel(&binding, packet, ip, wrong));
        }
        if self.route(ip.to).is_none() {
            wrong.push(D::NoRoute);
        }
        // Where the neighbour is not known yet, the packet waits first.
        let waits = self.next_hop(ip.to).is_some_and(|next| next.2.is_none());
        let too_large = packet.len() > self.mtu && !waits;
        let may_be_cut = fragment::is_allowed(&packet);
        if too_large && !may_be_cut {
            wrong.push(D::PortMtu);
        }
        if let Some(verdict) = stopped(wrong) {
            return Ok(verdict);
        }
        if !too_large {
            return self.leave(ip.to, Content::Octets(packet));
        }
        let pieces = fragment::cut(&packet, self.mtu);
        let leave = |piece| self.leave(ip.to, Content::Octets(piece));
        Ok(Verdict::All(pieces.into_iter().map(leave).collect::<Result<_, _>>()?))
    }

    fn tunnel(
        &mut self,
        binding: &Registration,
        packet: Vec<u8>,
        ip: &Ip,
        wrong: Vec<D>,
    ) -> Verdict {
        let home_test = ip.is_v6()
            && ip::upper_layer_of_first(&packet, ip)
                .is_some_and(|(proto, at)| proto == 135 && packet.get(at + 2) == Some(&3));
        // what must not be cut itself, and need not be made smaller by its sender.
        let outer_may_be_cut =
            if ip.is_v6() { packet.len() <= 1280 } else { fragment::is_allowed(&packet) };
        let parcel = Parcel {
            v6: ip.is_v6(),
            len: packet.len(),
            class: ip.class,
            home_test,
            outer_may_be_cut,
            content: Content::Octets(packet.clone()),
        };
        let mut ways = flows::ways(binding, Flow::of(&packet, ip));
        if wrong.contains(&D::LinkLocalForward) {
            // It stops before anything is copied.
            ways.truncate(1);
        }
        let mut each =
            ways.iter().map(|way| self.enclose(binding, way, parcel.clone(), wrong.clone(), 0));
        match &ways[..] {
            [_] => each.next().unwrap(),
            _ => Verdict::All(each.collect()),
        }
    }

    /// Through one tunnel, inside of so many.
    fn enclose(
        &mut self,
        binding: &Registration,
        tunnel: &Tunnel,
        parcel: Parcel,
        mut wrong: Vec<D>,
        depth: u8,
    ) -> Verdict {
        let (scope, suite) = self.facts[&binding.home_address];
        //
        let protect = scope == Scope::SignallingAndData || parcel.home_test && suite.encrypts();
        let (iv_len, block, icv_len) = codec::lengths(suite);
        let sealed = match protect {
            true => iv_len + (parcel.len + 2).next_multiple_of(block) + icv_len,
            false => parcel.len,
        };
        let outer = if tunnel.remote.is_ipv6() { 48 } else { 28 };
        // RFC 2473 s.3.1: it is forwarded first, then enters the tunnel.
        let stays = wrong.contains(&D::HopLimit);
        if outer + 8 + sealed > self.path_mtu && !parcel.outer_may_be_cut && !stays {
            wrong.push(D::TunnelMtu);
        }
        let sa = self.sas.get_mut(&tunnel.spi.get());
        if protect {
            match &sa {
                None => wrong.push(D::OutboundSaGone),
                Some(sa) if sa.next_outbound >= NUMBERS => {
                    wrong.push(D::SequenceExhausted);
                }
                Some(_) => {}
            }
        }
        if let Some(verdict) = stopped(wrong) {
            return verdict;
        }
        if protect && let Some(sa) = sa {
            sa.next_outbound += 1;
        }
        self.tally.downlink += 1;
        self.tally.downlink_plain += u64::from(!protect);
        let class = self.dscp.map_or(parcel.class, |dscp| dscp << 2 | parcel.class & 3);
        let envelope = Content::Envelope {
            local: tunnel.local,
            remote: tunnel.remote,
            hop_limit: 64,
            class,
            ptype: u8::from(protect),
            spi: if protect { tunnel.spi.get() } else { 0 },
            next_header: match (protect, parcel.v6) {
                (false, _) => 0,
                (true, true) => 41,
                (true, false) => 4,
            },
            payload: Box::new(parcel.content),
        };
        self.send_envelope(envelope, tunnel.remote, (outer + 8 + sealed, class), depth)
    }

    /// An outer packet of so many octets: by its route, or through the tunnel of the mobile router
    /// that it goes to.
    fn send_envelope(
        &mut self,
        content: Content,
        remote: SocketAddr,
        (len, class): (usize, u8),
        depth: u8,
    ) -> Verdict {
        let Some(router) = self.carried(remote.ip()).cloned() else {
            return self.leave(remote.ip(), content).unwrap_or_else(Verdict::Drop);
        };
        if depth >= 3 {
            return Verdict::Drop(D::NestedTooDeep);
        }
        let v6 = remote.is_ipv6();
        let flow = Flow { v6, protocol: Some(17), to_port: Some(remote.port()) };
        let ways = flows::ways(&router, flow);
        // IPv4 outer packets may be cut.
        let outer_may_be_cut = !v6 || len <= 1280;
        let parcel = Parcel { v6, len, class, home_test: false, outer_may_be_cut, content };
        let each = ways
            .iter()
            .map(|way| self.enclose(&router, way, parcel.clone(), Vec::new(), depth + 1));
        let mut each: Vec<_> = each.collect();
        if each.len() == 1 { each.remove(0) } else { Verdict::All(each) }
    }

    /// Port, address and MAC address of the next hop.
    fn next_hop(&self, to: IpAddr) -> Option<(PortId, IpAddr, Option<[u8; 6]>)> {
        let route = self.route(to)?;
        let (port, next_hop) = (route.port, route.gateway.unwrap_or(to));
        Some((port, next_hop, self.neighbours.get(&(port, next_hop)).copied()))
    }

    /// Out by the port and next hop of the route to `to`.
    fn leave(&self, to: IpAddr, content: Content) -> Step {
        let (port, next_hop, mac) = self.next_hop(to).ok_or(D::NoRoute)?;
        let way = match mac {
            Some(to) => Way::Wire { port, to, from: self.macs[usize::from(port.0)] },
            None => Way::Unresolved { port, next_hop },
        };
        Ok(Verdict::Out(Out { way, content }))
    }

    /// Control sends a Mobility Header to a mobile node.
    pub fn signalling_out(
        &mut self,
        spi: u32,
        local: SocketAddr,
        remote: SocketAddr,
        next_header: u8,
        payload: &[u8],
    ) -> Verdict {
        let Some(sa) = self.sas.get_mut(&spi) else { return Verdict::Drop(D::OutboundSaGone) };
        if sa.next_outbound >= NUMBERS {
            return Verdict::Drop(D::SequenceExhausted);
        }
        sa.next_outbound += 1;
        self.tally.signalling_out += 1;
        let (iv_len, block, icv_len) = codec::lengths(sa.suite);
        let sealed = iv_len + (payload.len() + 2).next_multiple_of(block) + icv_len;
        let outer = if remote.is_ipv6() { 48 } else { 28 };
        let envelope = Content::Envelope {
            local,
            remote,
            hop_limit: 64,
            // CS6, network control (RFC 4594 s.3.2).
            class: 0xc0,
            ptype: 8,
            spi,
            next_header,
            payload: Box::new(Content::Octets(payload.to_vec())),
        };
        self.send_envelope(envelope, remote, (outer + 8 + sealed, 0xc0), 0)
    }

    /// A frame that the kernel wrote to the TAP of a port.
    pub fn take_from_host(&mut self, port: PortId, frame: &[u8]) -> Verdict {
        self.kernels_frame(port, frame).unwrap_or_else(Verdict::Drop)
    }

    fn kernels_frame(&mut self, port: PortId, frame: &[u8]) -> Step {
        if frame.len() < 14 {
            return Err(D::EthernetShort);
        }
        // The kernel asks on its TAP, and is answered there.
        if let Some(answer) = self.question(port, frame, super::AWAY) {
            self.tally.neighbour_answers += 1;
            return Ok(Verdict::Out(Out {
                way: Way::Host { port },
                content: Content::Octets(answer),
            }));
        }
        let packet = &frame[14..];
        let ip = match [frame[12], frame[13]] {
            [0x86, 0xdd] => Ip::read(true, packet).ok(),
            [8, 0] => Ip::read(false, packet).ok(),
            _ => None,
        };
        if let Some(ip) = ip
            && self.carried(ip.to).is_some()
        {
            return self.forward(packet[..ip.total].to_vec(), &ip, false);
        }
        if usize::from(port.0) >= self.macs.len() {
            return Err(D::PortUnknown);
        }
        let content = Content::Octets(frame.to_vec());
        Ok(Verdict::Out(Out { way: Way::Untouched { port }, content }))
    }
}
