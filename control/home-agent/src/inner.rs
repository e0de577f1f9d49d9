//! Packets out of a tunnel that are for the home agent itself.
//!
//! Read first: RFC 6275 s.10.4.3, 10.4.4; readings.

use std::collections::BTreeSet;

use hearth_wire::icmp6::{self, Envelope, Message};
use hearth_wire::igmp;
use hearth_wire::ip::{Ipv4Header, Ipv6Header, PROTO_UDP};

use crate::HomeAgent;
use crate::event::{Action, InnerPacket};
use crate::listener::Listener;
use crate::membership::Wish;
use crate::refusal::Refusal;
use crate::time::Timestamp;

const HOP_BY_HOP: u8 = 0;
/// UDP ports of DHCP servers and relays (RFC 8415 s.7.2, RFC 2131 s.4.1).
const DHCP6_SERVER: u16 = 547;
const DHCP4_SERVER: u16 = 67;

impl HomeAgent {
    /// Takes in a packet for the home agent itself.
    pub(crate) fn inner(
        &mut self,
        now: Timestamp,
        inner: &InnerPacket<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let id = self.settle_sa(now, inner.spi, out).ok_or(Refusal::UnknownSpi)?;
        let sa = self.sas.at(id).ok_or(Refusal::UnknownSpi)?;
        let (node, home_address) = (sa.node, sa.home_address);
        let binding = self.entry_under(id).ok_or(Refusal::InnerWithoutBinding)?;
        let of_it = self
            .cache
            .at(binding)
            .is_some_and(|entry| entry.is_bound() && entry.node == node && entry.expires > now);
        if !of_it || home_address != inner.home_address {
            return Err(Refusal::InnerWithoutBinding);
        }
        let listener = (binding, home_address);
        match inner.packet.first().map(|first| first >> 4) {
            Some(6) if self.prefix_solicitation(now, inner, out) => Ok(()),
            Some(6) => self.inner_ipv6(now, listener, inner.packet, out),
            Some(4) => self.inner_ipv4(now, listener, inner.packet, out),
            _ => Err(Refusal::InnerMalformed),
        }
    }

    fn inner_ipv6(
        &mut self,
        now: Timestamp,
        listener: Listener,
        packet: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let (header, mut payload) =
            Ipv6Header::parse(packet).map_err(|_| Refusal::InnerMalformed)?;
        let mut next_header = header.next_header;
        if next_header == HOP_BY_HOP {
            let [next, len, ..] = *payload else { return Err(Refusal::InnerMalformed) };
            payload = payload.get(8 + 8 * usize::from(len)..).ok_or(Refusal::InnerMalformed)?;
            next_header = next;
        }
        match next_header {
            icmp6::PROTO => {}
            PROTO_UDP if destination_port(payload) == Some(DHCP6_SERVER) => {
                return Err(Refusal::InnerDhcp);
            }
            _ => return Err(Refusal::InnerUnexpected),
        }
        let (source, destination, hop_limit) =
            (header.source(), header.destination(), header.hop_limit);
        let envelope = Envelope { source, destination, hop_limit };
        let message = icmp6::parse(payload, &envelope).map_err(|error| match error {
            icmp6::IcmpError::UnknownType(_) => Refusal::InnerUnexpected,
            _ => Refusal::InnerMalformed,
        })?;
        let of_listener = matches!(
            message,
            Message::ListenerReportV1(_) | Message::ListenerReportV2(_) | Message::ListenerDone(_)
        );
        if of_listener {
            // RFC 3810 s.5: "sent with […] an IPv6 Hop Limit of 1".
            self.check_listener(now, listener, hop_limit)?;
        }
        match message {
            Message::ListenerReportV2(records) => self.group_records(now, listener, records, out),
            Message::ListenerReportV1(group) => {
                self.listener_says(now, listener, group.into(), Wish::Any, out);
            }
            Message::ListenerDone(group) => {
                self.listener_says(now, listener, group.into(), Wish::Only(BTreeSet::new()), out);
            }
            _ => return Err(Refusal::InnerUnexpected),
        }
        Ok(())
    }

    fn inner_ipv4(
        &mut self,
        now: Timestamp,
        listener: Listener,
        packet: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let (header, payload) = Ipv4Header::parse(packet).map_err(|_| Refusal::InnerMalformed)?;
        match header.proto {
            igmp::PROTO => {}
            PROTO_UDP if destination_port(payload) == Some(DHCP4_SERVER) => {
                return Err(Refusal::InnerDhcp);
            }
            _ => return Err(Refusal::InnerUnexpected),
        }
        // RFC 3376 s.4: "sent with an IP Time-to-Live of 1".
        self.check_listener(now, listener, header.ttl)?;
        let message = igmp::parse(payload).map_err(|error| match error {
            igmp::IgmpError::UnknownType(_) => Refusal::InnerUnexpected,
            _ => Refusal::InnerMalformed,
        })?;
        match message {
            igmp::Message::ReportV3(records) => self.group_records(now, listener, records, out),
            igmp::Message::ReportV1(group) | igmp::Message::ReportV2(group) => {
                self.listener_says(now, listener, group.into(), Wish::Any, out);
            }
            igmp::Message::Leave(group) => {
                self.listener_says(now, listener, group.into(), Wish::Only(BTreeSet::new()), out);
            }
            igmp::Message::Query(_) => return Err(Refusal::InnerUnexpected),
        }
        Ok(())
    }

    /// "If this support is not provided, multicast group membership control messages are silently
    /// ignored" (RFC 6275 s.10.4.3).
    fn check_listener(
        &self,
        now: Timestamp,
        (binding, _): Listener,
        hop_limit: u8,
    ) -> Result<(), Refusal> {
        if !self.may_listen(now, binding) {
            return Err(Refusal::MulticastOff);
        }
        if hop_limit == 1 { Ok(()) } else { Err(Refusal::InnerMalformed) }
    }
}

fn destination_port(udp: &[u8]) -> Option<u16> {
    udp.get(2..4)?.first_chunk().map(|port| u16::from_be_bytes(*port))
}
