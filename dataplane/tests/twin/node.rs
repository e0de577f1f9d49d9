//! A mobile node of the twins' world: what it has, where it is, and what it has sent.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hearth_dataplane::Tunnel;
use hearth_wire::mh::TrafficSelector;
use hearth_wire::mh::selector::Range;

use crate::chance::Chance;
use crate::rig::{HA4, HA6, MobileNode, Registration, SERVICE_PORT};
use crate::traffic::somewhere;

/// A mobile node and what it has sent.
pub struct Node {
    pub mn: MobileNode,
    pub sent: VecDeque<Vec<u8>>,
    /// The highest number that was accepted from it before this burst.
    pub highest: Option<u32>,
    /// Where it is, as it told last.
    pub ways: Vec<Tunnel>,
    /// The node in whose network it is, through whose tunnel all of its packets come.
    pub behind: Option<usize>,
}

impl Node {
    pub const fn new(mn: MobileNode) -> Self {
        Self { mn, sent: VecDeque::new(), highest: None, ways: Vec::new(), behind: None }
    }

    /// What its home address ends in.
    fn number(&self) -> u8 {
        self.mn.home6.octets()[15]
    }

    /// Whether it is a mobile router; at times it has no network all the same.
    pub fn has_network(&self) -> bool {
        self.behind.is_none() && self.number().is_multiple_of(3)
    }

    /// An address in its network.
    pub fn host(&self, v6: bool, host: u8) -> IpAddr {
        let n = self.number();
        if v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0x500 + u16::from(n), 0, 0, 0, 7, host.into()).into()
        } else {
            Ipv4Addr::new(10, n, 7, host).into()
        }
    }

    /// Its network, and more care-of addresses with flow rules, where it has such.
    pub fn extend(&self, chance: &mut Chance, binding: &mut Registration) {
        let n = self.number();
        if self.has_network() && !chance.once_in(6) {
            let network = Ipv6Addr::new(0x2001, 0xdb8, 0x500 + u16::from(n), 0, 0, 0, 0, 0);
            binding.prefixes.push((network.into(), *chance.one_of(&[48, 48, 64])));
            if !chance.once_in(4) {
                binding.prefixes.push((Ipv4Addr::new(10, n, 0, 0).into(), 16));
            }
        }
        let ways = chance.within(1..4) as u16;
        if !n.is_multiple_of(4) || self.behind.is_some() || ways == 1 {
            return;
        }
        binding.tunnels[0].bid = 1;
        for bid in 2..=ways {
            let v6 = chance.once_in(2);
            let local: IpAddr = if v6 { HA6.into() } else { HA4.into() };
            let local = SocketAddr::new(local, SERVICE_PORT);
            binding.tunnels.push(Tunnel {
                bid,
                spi: self.mn.spi,
                local,
                remote: somewhere(chance, v6),
            });
        }
        if chance.once_in(3) {
            binding.tunnels.reverse();
        }
        let to_port =
            |port, any| TrafficSelector { destination_port: Some(Range::only(port)), ..any };
        for any in [TrafficSelector::ANY_IPV6, TrafficSelector::ANY_IPV4] {
            let tcp = TrafficSelector { protocol: Some(Range::only(6)), ..any };
            binding.flows.push((to_port(53, any), vec![2]));
            binding.flows.push((to_port(4500, any), vec![1, 2]));
            binding.flows.push((tcp, vec![3]));
            if chance.once_in(4) {
                binding.flows.push((any, vec![2]));
            }
        }
    }
}
