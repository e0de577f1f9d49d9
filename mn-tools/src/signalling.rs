//! Binding Updates out, Binding Acknowledgements and other Mobility Headers in.
//!
//! Read first: RFC 6618 s.6.3; RFC 6275 s.6.1, 11.7; RFC 5555 s.3; readings.

use std::net::IpAddr;

use hearth_wire::exthdr;
use hearth_wire::frame::PType;
use hearth_wire::mh::{
    self, BaOptions, Bid, BindingAck, BindingUpdate, BuFlags, BuOptions, Flow, Heartbeat,
    Ipv4HomeAddress, Message, MobileNetworkPrefix, Repeated, Revocation,
};

use crate::association::SecurityAssociation;
use crate::config::{MobileRouter, PrefixMode};
use crate::registration::{Ack, Purpose, Update};

/// Octets that hold any Binding Update of ours, sealed under any suite.
pub const MAX_UPDATE: usize = 2048;

/// What a Binding Update says beside where it comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// The mobile network prefixes, if this is a mobile router (RFC 3963), and whether to name them.
    pub mobile_router: Option<&'a MobileRouter>,
    /// Binding Identifier options (RFC 5648).
    pub bids: &'a [Bid],
    /// Flow Identification options (RFC 6089).
    pub flows: &'a [Flow<'a>],
}

/// Seals the Binding Update into `buf`; the frame's length, or `None` where the SA has no number
/// left.
#[must_use]
pub fn seal_update(
    update: &Update,
    wishes: &Wishes<'_>,
    sa: &SecurityAssociation,
    iv: &[u8; 16],
    buf: &mut [u8; MAX_UPDATE],
) -> Option<usize> {
    let care_of = update.path.care_of;
    let is_home = update.purpose == Purpose::Return;
    let explicit = wishes.mobile_router.filter(|router| router.mode == PrefixMode::Explicit);
    let prefixes: Vec<_> = explicit
        .filter(|_| update.lifetime > 0)
        .map_or(&[][..], |router| &router.prefixes)
        .iter()
        .map(|net| MobileNetworkPrefix { prefix: net.network(), len: net.prefix_len() })
        .collect();
    // RFC 5648 s.5.2, 8.1: a Binding Identifier option carries the care-of address itself, "the
    // alternate Care-of Address option MUST NOT be included", nor the IPv4 care-of address option.
    let (alternate_coa, ipv4_coa) = match care_of {
        // the outer source is the home address, and that is the care-of address too.
        _ if is_home || !wishes.bids.is_empty() => (None, None),
        // the ICV does not cover the outer source, so the option says it.
        IpAddr::V6(address) => (Some(address), None),
        // RFC 5555 s.4.2: lets the home agent see an address translator.
        IpAddr::V4(address) => (None, Some(address)),
    };
    let options = BuOptions {
        alternate_coa,
        ipv4_coa,
        ipv4_hoa: sa.home_address_ip4.map(|address| Ipv4HomeAddress {
            prefix_len: 32,
            prefix_request: false,
            address,
        }),
        prefixes: Repeated::List(&prefixes),
        bids: Repeated::List(wishes.bids),
        flows: Repeated::List(wishes.flows),
        ..BuOptions::default()
    };
    let flags = BuFlags {
        acknowledge: true,
        home_registration: true,
        mobile_router: wishes.mobile_router.is_some(),
        ..BuFlags::default()
    };
    let update = BindingUpdate { seq: update.seq, flags, lifetime: update.lifetime, options };
    if is_home {
        return seal_at_home(&Message::BindingUpdate(update), sa, iv, buf);
    }
    seal(&Message::BindingUpdate(update), sa, iv, buf)
}

/// Seals a Mobility Header that is sent from the home address itself, without Home Address option.
fn seal_at_home(
    message: &Message<'_>,
    sa: &SecurityAssociation,
    iv: &[u8; 16],
    buf: &mut [u8; MAX_UPDATE],
) -> Option<usize> {
    let at = sa.outbound.payload_offset();
    let len = mh::emit(message, sa.home_address, sa.home_agent, buf.get_mut(at..)?)?;
    let id = (PType::MobilityHeader, sa.spi, sa.draw()?);
    sa.outbound.seal(buf, len, id, mh::PROTO, iv)
}

/// Seals a Mobility Header with the home address in a destination option.
#[must_use]
pub fn seal(
    message: &Message<'_>,
    sa: &SecurityAssociation,
    iv: &[u8; 16],
    buf: &mut [u8; MAX_UPDATE],
) -> Option<usize> {
    let destination_options = exthdr::home_address_header(mh::PROTO, sa.home_address);
    let at = sa.outbound.payload_offset();
    let payload = buf.get_mut(at..)?;
    let (header, rest) = payload.split_at_mut_checked(destination_options.len())?;
    header.copy_from_slice(&destination_options);
    let len = mh::emit(message, sa.home_address, sa.home_agent, rest)?;
    let payload_len = destination_options.len() + len;
    let id = (PType::MobilityHeader, sa.spi, sa.draw()?);
    sa.outbound.seal(buf, payload_len, id, exthdr::DESTINATION_OPTIONS, iv)
}

/// A Mobility Header from the home agent, its SA and ICV checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received<'a> {
    /// Binding Acknowledgement.
    Ack(Acknowledged),
    /// Binding Refresh Request.
    RefreshRequest,
    /// Binding Error with its status.
    Error(u8),
    /// Home Agent Switch: fetch another home agent from the HAC (RFC 5142).
    Switch,
    /// A question whether we are there (RFC 5847), to be answered.
    Heartbeat(Heartbeat),
    /// The answer to such a question of ours, with its number.
    HeartbeatAnswer(u32),
    /// Binding Revocation Indication (RFC 5846), to be acknowledged.
    Revocation(Revocation<'a>),
}

/// A Binding Acknowledgement, and what it says beside its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// For the state machine; its status that of the binding, where the message has one of its own
    /// for that (RFC 5648 s.5.5).
    pub ack: Ack,
    /// Whether the IPv4 home address is bound, where it says so.
    pub home4_bound: Option<bool>,
    /// R: the home agent forwards to the mobile networks (RFC 3963 s.4.2).
    pub mobile_router: bool,
    /// Flows that were refused: the first one's identifier and its status (RFC 6089 s.4.2).
    pub refused_flow: Option<(u16, u8)>,
}

/// Reads the decrypted payload of a PType 8 packet; `None` for what is to be ignored: without our
/// type 2 routing header, malformed, or of a kind that a mobile node has no use for.
#[must_use]
pub fn read<'a>(
    sa: &SecurityAssociation,
    next_header: u8,
    payload: &'a [u8],
) -> Option<Received<'a>> {
    let chain = exthdr::parse_chain(next_header, payload).ok()?;
    // every Mobility Header from the home agent names us in a type 2 routing header. A
    // Binding Error about another address of ours has no other use for us either.
    if chain.routing_home_address != Some(sa.home_address) {
        return None;
    }
    match mh::parse(chain.mobility_header, sa.home_agent, sa.home_address).ok()? {
        Message::BindingAck(ack) => Some(Received::Ack(acknowledged(sa, &ack))),
        Message::BindingRefreshRequest { .. } => Some(Received::RefreshRequest),
        Message::BindingError(error) => Some(Received::Error(error.status)),
        Message::HomeAgentSwitch(_) => Some(Received::Switch),
        Message::Heartbeat(heartbeat) if !heartbeat.response => {
            Some(Received::Heartbeat(heartbeat))
        }
        Message::Heartbeat(heartbeat) if !heartbeat.unsolicited => {
            Some(Received::HeartbeatAnswer(heartbeat.seq))
        }
        Message::Revocation(revocation) => Some(Received::Revocation(revocation)),
        Message::BindingUpdate(_)
        | Message::ReturnRoutability(_)
        | Message::Heartbeat(_)
        | Message::RevocationAck(_) => None,
    }
}

/// Reads the answer to a de-registration from the home link, which comes without type 2 routing header
///
#[must_use]
pub fn read_at_home<'a>(
    sa: &SecurityAssociation,
    next_header: u8,
    payload: &'a [u8],
) -> Option<Received<'a>> {
    let chain = exthdr::parse_chain(next_header, payload).ok()?;
    if chain.routing_home_address.is_some() {
        return None;
    }
    match mh::parse(chain.mobility_header, sa.home_agent, sa.home_address).ok()? {
        Message::BindingAck(ack) => Some(Received::Ack(acknowledged(sa, &ack))),
        _ => None,
    }
}

fn acknowledged(sa: &SecurityAssociation, ack: &BindingAck<'_>) -> Acknowledged {
    let BaOptions { refresh_advice, ipv4_ack, nat_detection, bids, flows, .. } = ack.options;
    let refused_bid = bids.iter().flatten().map(|bid| bid.status).find(|s| !s.is_accepted());
    let refused_flow = flows.iter().flatten().find(|flow| !flow.status.is_success());
    let status =
        if ack.status.is_accepted() { refused_bid.unwrap_or(ack.status) } else { ack.status };
    Acknowledged {
        ack: Ack {
            spi: sa.spi,
            status,
            seq: ack.seq,
            lifetime: ack.lifetime,
            refresh_advice,
            nat_detection,
        },
        home4_bound: ipv4_ack.map(|ack| ack.status.is_success()),
        mobile_router: ack.mobile_router,
        refused_flow: refused_flow.map(|flow| (flow.id, flow.status.0)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use hearth_wire::mh::{BindingAck, Ipv4Ack, Ipv4AckStatus, NatDetection, Status};
    use hearth_wire::{Scope, Suite};

    use super::*;
    use crate::association::tests::grant;
    use crate::path::Path;

    fn association() -> SecurityAssociation {
        SecurityAssociation::new(grant(Suite::Aes128CbcSha, Scope::SignallingAndData))
    }

    fn update(care_of: &str) -> Update {
        let care_of: IpAddr = care_of.parse().unwrap();
        let home_agent = "[2001:db8:a::10]:7872".parse().unwrap();
        let path = Path { interface: "a".into(), index: 1, epoch: 0, care_of, home_agent };
        Update {
            path,
            spi: hearth_wire::Spi::new(7).unwrap(),
            seq: 0x1234,
            lifetime: 150,
            purpose: Purpose::Initial,
            withdraws: Vec::new(),
        }
    }

    /// What the home agent finds in the frame, read with the MN's own outbound keys.
    fn opened(sa: &SecurityAssociation, care_of: &str) -> (Option<Ipv6Addr>, Vec<u8>) {
        let mut buf = [0; MAX_UPDATE];
        let wishes = Wishes::default();
        let len = seal_update(&update(care_of), &wishes, sa, &[9; 16], &mut buf).unwrap();
        assert_eq!(buf[0] >> 4, 8);
        let (payload, next_header) = sa.outbound.open(&mut buf[..len]).unwrap();
        let chain = exthdr::parse_chain(next_header, &buf[payload]).unwrap();
        assert_eq!(chain.routing_home_address, None);
        (chain.home_address, chain.mobility_header.to_vec())
    }

    #[test]
    fn update_over_ipv6_names_its_care_of_address() {
        let sa = association();
        let (home_address, header) = opened(&sa, "2001:db8:6::100");
        assert_eq!(home_address, Some(sa.home_address));
        let Ok(Message::BindingUpdate(update)) = mh::parse(&header, sa.home_address, sa.home_agent)
        else {
            panic!("no Binding Update")
        };
        assert_eq!((update.seq, update.lifetime), (0x1234, 150));
        assert!(update.flags.acknowledge && update.flags.home_registration);
        assert_eq!(update.options.alternate_coa, Some("2001:db8:6::100".parse().unwrap()));
        assert_eq!(update.options.ipv4_coa, None);
        let home = update.options.ipv4_hoa.unwrap();
        assert_eq!((home.prefix_len, Some(home.address)), (32, sa.home_address_ip4));
    }

    #[test]
    fn update_over_ipv4_carries_the_ipv4_care_of_address_option() {
        let sa = association();
        let (_, header) = opened(&sa, "192.0.2.9");
        let Ok(Message::BindingUpdate(update)) = mh::parse(&header, sa.home_address, sa.home_agent)
        else {
            panic!("no Binding Update")
        };
        assert_eq!(update.options.ipv4_coa, Some([192, 0, 2, 9].into()));
        assert_eq!(update.options.alternate_coa, None);
    }

    /// RFC 3963 s.4.1, 4.3; RFC 5648 s.4.1; RFC 6089 s.4.2.
    #[test]
    fn an_update_carries_prefixes_binding_ids_and_flows() {
        let sa = association();
        let prefixes = vec!["2001:db8:a00::/56".parse().unwrap()];
        let mut router = MobileRouter { mode: PrefixMode::Explicit, prefixes, lan: Vec::new() };
        let bid = Bid { id: 7, status: Status::ACCEPTED, home: false, priority: 3, care_of: None };
        let selector = hearth_wire::mh::TrafficSelector::ANY_IPV4;
        let rule = crate::flows::FlowRule { id: 1, bid: 7, selector };
        for mode in [PrefixMode::Explicit, PrefixMode::Implicit] {
            router.mode = mode;
            let wishes =
                Wishes { mobile_router: Some(&router), bids: &[bid], flows: &[rule.option()] };
            let mut buf = [0; MAX_UPDATE];
            let update = update("2001:db8:6::100");
            let len = seal_update(&update, &wishes, &sa, &[9; 16], &mut buf).unwrap();
            let (payload, next_header) = sa.outbound.open(&mut buf[..len]).unwrap();
            let chain = exthdr::parse_chain(next_header, &buf[payload]).unwrap();
            let message = mh::parse(chain.mobility_header, sa.home_address, sa.home_agent);
            let Ok(Message::BindingUpdate(update)) = message else { panic!("no Binding Update") };
            assert!(update.flags.mobile_router);
            let named: Vec<_> =
                update.options.prefixes.iter().map(|prefix| prefix.unwrap().len).collect();
            assert_eq!(named, if mode == PrefixMode::Explicit { vec![56] } else { vec![] });
            assert_eq!(update.options.bids.iter().next(), Some(Ok(bid)));
            assert_eq!(update.options.alternate_coa, None, "RFC 5648 s.5.2");
            let flow = update.options.flows.iter().next().unwrap().unwrap();
            assert_eq!(flow.bids.iter().collect::<Vec<_>>(), [7]);
        }
    }

    fn ack_payload(sa: &SecurityAssociation, home_address: Ipv6Addr) -> Vec<u8> {
        let options = BaOptions {
            ipv4_ack: Some(Ipv4Ack {
                status: Ipv4AckStatus::SUCCESS,
                prefix_len: 32,
                address: [203, 0, 113, 200].into(),
            }),
            nat_detection: Some(NatDetection { force_udp: true, refresh_time: 110 }),
            ..BaOptions::default()
        };
        let ack = BindingAck {
            status: Status::ACCEPTED,
            key_management: false,
            mobile_router: false,
            seq: 0x1234,
            lifetime: 100,
            options,
        };
        let mut payload = exthdr::routing_header(mh::PROTO, home_address).to_vec();
        let mut header = [0; 128];
        let len = mh::emit(&Message::BindingAck(ack), sa.home_agent, sa.home_address, &mut header);
        payload.extend_from_slice(&header[..len.unwrap()]);
        payload
    }

    #[test]
    fn acknowledgement_is_read_with_its_options() {
        let sa = association();
        let payload = ack_payload(&sa, sa.home_address);
        let Some(Received::Ack(said)) = read(&sa, exthdr::ROUTING, &payload) else {
            panic!("no Binding Acknowledgement")
        };
        let ack = said.ack;
        assert_eq!((ack.seq, ack.lifetime, said.home4_bound), (0x1234, 100, Some(true)));
        assert_eq!(ack.nat_detection.unwrap().refresh_time, 110);
    }

    ///
    #[test]
    fn acknowledgement_without_our_routing_header_or_with_a_wrong_checksum_is_ignored() {
        let sa = association();
        let mut payload = ack_payload(&sa, sa.home_address);
        assert_eq!(read(&sa, mh::PROTO, &payload[24..]), None);
        payload[40] ^= 1;
        assert_eq!(read(&sa, exthdr::ROUTING, &payload), None);
        let payload = ack_payload(&sa, "2001:db8:b:1::8".parse().unwrap());
        assert_eq!(read(&sa, exthdr::ROUTING, &payload), None);
    }
}
