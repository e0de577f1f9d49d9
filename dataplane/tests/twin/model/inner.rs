//! The inner packet: who may send what (R-22, R-25 to R-27, RFC 6040 s.4.2).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hearth_dataplane::{DropReason as D, PortId};
use hearth_wire::Scope;

use super::ip::{self, Ip};
use super::{Content, Out, Step, Verdict, Way, World, control};

/// Who sent a packet into the tunnel.
pub enum Sender {
    Protected {
        spi: u32,
        scope_0: bool,
    },
    /// Found by the inner source address.
    Clear {
        remote: SocketAddr,
    },
}

/// What an inner packet is.
#[derive(Clone, Copy)]
enum From {
    /// Data of a home address.
    Home,
    /// Data of the network behind one.
    Behind,
    /// What control gets, under which SA and of whose binding.
    Control { spi: u32, home_address: Ipv6Addr },
}

impl World {
    /// An inner packet; `v6` is what the next header said.
    pub(super) fn data(
        &mut self,
        mut packet: Vec<u8>,
        v6: Option<bool>,
        sender: Sender,
        outer_class: u8,
    ) -> Step {
        let version = packet.first().map(|octet| octet >> 4).ok_or(D::InnerLength)?;
        let v6 = match (version, v6) {
            (6, None | Some(true)) => true,
            (4, None | Some(false)) => false,
            _ => return Err(D::InnerVersion),
        };
        let ip = Ip::read(v6, &packet).map_err(|reason| match reason {
            D::IpLengthBeyondData => D::InnerLength,
            D::IpHeader if ip::is_cut_short(&packet) => D::InnerLength,
            _ => D::InnerHeader,
        })?;
        packet.truncate(ip.total);
        let from = self.may_send(&packet, &ip, &sender)?;
        if !matches!(from, From::Control { .. }) {
            self.may_leave(&packet, &ip, matches!(from, From::Home))?;
        }
        let class = decapsulated_class(ip.class, outer_class).ok_or(D::EcnNotCapable)?;
        if class != ip.class {
            ip::set_class(&mut packet, class);
        }
        self.count(&sender);
        if let From::Control { spi, home_address } = from {
            // What is asked is limited by SA: one that has gone asks for nothing.
            if !self.sas.contains_key(&spi) {
                return Err(D::SpiUnknown);
            }
            let way = Way::ForControl { spi, home_address };
            return Ok(Verdict::Out(Out { way, content: Content::Octets(packet) }));
        }
        let ip = Ip { class, ..ip };
        if matches!(from, From::Behind) && self.service.get(&ip.is_v6()) == Some(&ip.to) {
            // It may come from a mobile node behind this one.
            self.depth += 1;
            let step = self.service(&packet, &ip);
            self.depth -= 1;
            return step.unwrap_or_else(|| self.to_the_box(packet, &ip));
        }
        if self.local.contains(&ip.to) {
            return self.to_the_box(packet, &ip);
        }
        self.forward(packet, &ip, true)
    }

    fn count(&mut self, sender: &Sender) {
        self.tally.uplink += 1;
        match sender {
            Sender::Clear { .. } => self.tally.uplink_plain += 1,
            Sender::Protected { scope_0: true, .. } => {
                self.tally.uplink_protected_under_scope_0 += 1;
            }
            Sender::Protected { .. } => {}
        }
    }

    fn may_send(&self, packet: &[u8], ip: &Ip, sender: &Sender) -> Result<From, D> {
        let binding = match sender {
            Sender::Protected { spi, .. } => {
                let home = self.carriers.get(spi).ok_or(D::NoBinding)?;
                self.bindings.get(home).ok_or(D::NoBinding)?
            }
            Sender::Clear { remote } => {
                let binding = self.carried(ip.from).ok_or(D::PlainSenderUnknown)?;
                if self.facts[&binding.home_address].0 != Scope::Signalling {
                    return Err(D::PlainDataForbidden);
                }
                if binding.tunnels.iter().all(|tunnel| tunnel.remote != *remote) {
                    return Err(D::PlainOuterSource);
                }
                binding
            }
        };
        let spi = match sender {
            Sender::Protected { spi, .. } => *spi,
            Sender::Clear { .. } => binding.tunnels[0].spi.get(),
        };
        if let Some(home_address) = control::wanted(self, packet, ip, binding)? {
            let clear = matches!(sender, Sender::Clear { .. });
            // Anybody on the link of the care-of address may have said so.
            let forged = clear && ip.to.is_multicast();
            let control = From::Control { spi, home_address };
            return if forged { Err(D::InnerLinkScope) } else { Ok(control) };
        }
        if ip::is_link_scope(ip.from) || ip::is_link_scope(ip.to) {
            return Err(D::InnerLinkScope);
        }
        let registered = match ip.from {
            IpAddr::V6(from) => from == binding.home_address,
            IpAddr::V4(from) => Some(from) == binding.ipv4_home_address,
        };
        let owner = self.carried(ip.from).map(|owner| owner.home_address);
        match owner == Some(binding.home_address) {
            _ if registered => Ok(From::Home),
            true => Ok(From::Behind),
            false => Err(D::InnerSource),
        }
    }

    fn may_leave(&self, packet: &[u8], ip: &Ip, from_home: bool) -> Result<(), D> {
        if self.service.get(&ip.is_v6()) != Some(&ip.to) {
            return Ok(());
        }
        match ip::upper_layer_of_first(packet, ip) {
            Some((135, _)) if ip.is_v6() => Err(D::EmbeddedMobilityHeader),
            Some((17, at))
                if from_home
                    && packet.get(at + 2..at + 4) == Some(&self.service_port.to_be_bytes()) =>
            {
                Err(D::EmbeddedEnvelope)
            }
            _ => Ok(()),
        }
    }

    /// To an address of the box: the kernel sees it on the port of the sender's home link.
    fn to_the_box(&self, packet: Vec<u8>, ip: &Ip) -> Step {
        // Of a link nothing is said in a tunnel.
        let discovery = ip::upper_layer_of_first(&packet, ip).is_some_and(|(proto, at)| {
            proto == 58 && packet.get(at).is_some_and(|kind| (133..=137).contains(kind))
        });
        // Where it can't be told it may be.
        let unknown = ip::upper_layer(&packet, ip).is_none();
        if ip.is_v6() && (discovery || unknown) {
            return Err(D::InnerLinkScope);
        }
        let port = self.route(ip.from).map_or(PortId(0), |route| route.port);
        let mac = self.macs[usize::from(port.0)];
        let ethertype = if ip.is_v6() { [0x86, 0xdd] } else { [8, 0] };
        let frame = [&mac[..], &super::AWAY, &ethertype, &packet].concat();
        let content = Content::Octets(frame);
        Ok(Verdict::Out(Out { way: Way::Host { port }, content }))
    }
}

/// RFC 6040 s.4.2, figure 4; None is "drop".
fn decapsulated_class(inner: u8, outer: u8) -> Option<u8> {
    let ecn = match (inner & 3, outer & 3) {
        (0, 3) => return None,
        (0, _) => 0,
        (_, 3) | (3, _) => 3,
        (2, 1) | (1, _) => 1,
        _ => 2,
    };
    Some(inner & 0xfc | ecn)
}
