//! A neighbour as the kernel describes it, for people.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

/// How long a clock tick of the kernel's answers is (`USER_HZ`, 100 on every Linux).
const TICK: Duration = Duration::from_millis(10);

/// A neighbour on the link of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The port.
    pub port: u16,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, once it is known.
    pub mac: Option<[u8; 6]>,
    /// What the kernel thinks of it, in the words of `ip neighbour`.
    pub state: &'static str,
    /// How long ago it was last known to answer.
    pub age: Option<Duration>,
}

impl Neighbour {
    /// The neighbour of `message`, if it is one: multicast addresses and the like are none.
    pub(crate) fn of(ports: &HashMap<u32, u16>, message: &NeighbourMessage) -> Option<Self> {
        let port = *ports.get(&message.header.ifindex)?;
        let state = match message.header.state {
            NeighbourState::Incomplete => "incomplete",
            NeighbourState::Reachable => "reachable",
            NeighbourState::Stale => "stale",
            NeighbourState::Delay => "delay",
            NeighbourState::Probe => "probe",
            NeighbourState::Failed => "failed",
            NeighbourState::Permanent => "permanent",
            _ => return None,
        };
        let (mut address, mut mac, mut age) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                    address = Some(IpAddr::V4(*ip));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                    address = Some(IpAddr::V6(*ip));
                }
                NeighbourAttribute::LinkLayerAddress(octets) => {
                    mac = <[u8; 6]>::try_from(octets.as_slice()).ok();
                }
                NeighbourAttribute::CacheInfo(info) => age = Some(TICK * info.confirmed),
                _ => {}
            }
        }
        // What the kernel says of one that never answered means nothing.
        let answered = !matches!(state, "incomplete" | "failed" | "permanent");
        Some(Self { port, address: address?, mac, state, age: age.filter(|_| answered) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use netlink_packet_route::neighbour::NeighbourCacheInfo;

    use super::*;

    #[test]
    fn age_and_state_are_those_of_neighbours_of_a_port() {
        let ports = HashMap::from([(7, 1)]);
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 7;
        message.header.state = NeighbourState::Stale;
        let address = IpAddr::from([192, 0, 2, 9]);
        message.attributes = vec![
            NeighbourAttribute::Destination(address.into()),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 9]),
        ];
        let mac = Some([2, 0, 0, 0, 0, 9]);
        let mut expected = Neighbour { port: 1, address, mac, state: "stale", age: None };
        assert_eq!(Neighbour::of(&ports, &message), Some(expected.clone()));
        // As the kernel gives it: 42 s in ticks.
        let octets: Vec<u8> = [4200_u32, 0, 0, 0].iter().flat_map(|it| it.to_ne_bytes()).collect();
        let info = NeighbourCacheInfo::parse(&octets).unwrap();
        message.attributes.push(NeighbourAttribute::CacheInfo(info));
        expected.age = Some(Duration::from_secs(42));
        assert_eq!(Neighbour::of(&ports, &message), Some(expected.clone()));
        message.header.state = NeighbourState::Failed;
        (expected.state, expected.age) = ("failed", None);
        assert_eq!(Neighbour::of(&ports, &message), Some(expected));
        message.header.state = NeighbourState::Noarp;
        assert_eq!(Neighbour::of(&ports, &message), None);
        (message.header.state, message.header.ifindex) = (NeighbourState::Stale, 8);
        assert_eq!(Neighbour::of(&ports, &message), None);
    }
}
