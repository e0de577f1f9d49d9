//! Which traffic prefers which care-of address.
//!
//! Read first: RFC 6089 s.4.2, 5.2; RFC 6088 s.3.
//!
//! A traffic selector is written as the home agent sees packets to the mobile node: its source is
//! the other end. The mobile node sends by the same rules, with both ends exchanged.

use hearth_wire::flow_key::FlowKey;
use hearth_wire::mh::{Flow, FlowStatus, Ids, Selector, TrafficSelector};

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRule {
    /// Flow Identifier, and FID-PRI: the lower, the earlier matched.
    pub id: u16,
    /// The Binding ID that it prefers.
    pub bid: u16,
    /// What belongs to it.
    pub selector: TrafficSelector,
}

impl FlowRule {
    /// Its Flow Identification option.
    #[must_use]
    pub fn option(&self) -> Flow<'_> {
        Flow {
            id: self.id,
            priority: self.id,
            status: FlowStatus::SUCCESS,
            bids: Ids::List(core::slice::from_ref(&self.bid)),
            selector: Some(Selector::Binary(self.selector)),
        }
    }
}

/// The Binding ID that a packet from the mobile node prefers, if a rule matches it whose care-of
/// address there is.
#[must_use]
pub fn preferred(rules: &[FlowRule], packet: &[u8], there: impl Fn(u16) -> bool) -> Option<u16> {
    let key = FlowKey::of(packet).ok()?;
    let key = FlowKey {
        source: key.destination,
        destination: key.source,
        ports: key.ports.map(|(source, destination)| (destination, source)),
        ..key
    };
    rules
        .iter()
        .filter(|rule| there(rule.bid))
        .find(|rule| rule.selector.matches(&key))
        .map(|r| r.bid)
}

#[cfg(test)]
mod tests {
    use hearth_wire::mh::selector::{Addresses, Range};

    use super::*;

    /// A UDP packet from port 5000 here to port 443 there.
    const PACKET: [u8; 48] = {
        let mut packet = [0; 48];
        packet[0] = 0x60;
        packet[5] = 8;
        packet[6] = 17;
        packet[23] = 1;
        packet[39] = 2;
        [packet[40], packet[41], packet[42], packet[43]] = [0x13, 0x88, 1, 0xbb];
        packet
    };

    fn rule(bid: u16, remote_port: u16) -> FlowRule {
        let selector = TrafficSelector {
            source_port: Some(Range::only(remote_port)),
            destination_port: Some(Range::only(5000)),
            ..TrafficSelector::ANY_IPV6
        };
        FlowRule { id: bid, bid, selector }
    }

    /// RFC 6088: the home agent sees the other end as the source.
    #[test]
    fn the_mobile_node_sends_by_the_home_agents_rules_turned_round() {
        let rules = [rule(1, 80), rule(2, 443), rule(3, 443)];
        assert_eq!(preferred(&rules, &PACKET, |_| true), Some(2));
        assert_eq!(preferred(&rules, &PACKET, |bid| bid != 2), Some(3), "2 is not registered");
        assert_eq!(preferred(&rules, &PACKET, |bid| bid == 1), None);
        let from: std::net::Ipv6Addr = "::2".parse().unwrap();
        let mut remote = rule(4, 443);
        remote.selector.addresses =
            Addresses::V6 { source: Some(Range::only(from)), destination: None, flow_label: None };
        assert_eq!(preferred(&[remote], &PACKET, |_| true), Some(4));
    }
}
