//! What workers hand over for the home agent, in its own words.

use hearth_dataplane::FromWorker;
use hearth_home_agent::{Event, InnerPacket, LinkEvent, LinkId};
use hearth_wire::icmp6::Envelope;
use hearth_wire::ip::Ipv6Header;

/// The event that a message of a worker's is, if it is one of home links or tunnels.
pub(crate) fn event<'a>(message: &FromWorker<'a>) -> Option<Event<'a>> {
    match *message {
        FromWorker::Inner { spi, home_address, packet } => {
            Some(Event::Inner(InnerPacket { spi, home_address, packet }))
        }
        FromWorker::Contested { port, address, mac, probing } => {
            let link = LinkId(port.0);
            Some(Event::Link(LinkEvent::Contested { link, address, mac, probing }))
        }
        FromWorker::HomeAgentDiscovery { packet } => {
            let (envelope, octets) = message_of(packet)?;
            Some(Event::Link(LinkEvent::HomeAgentDiscovery { envelope, octets }))
        }
        FromWorker::PlainHomeAddress { from, to, home_address } => {
            Some(Event::Link(LinkEvent::PlainHomeAddress { from, to, home_address }))
        }
        FromWorker::Signalling(_)
        | FromWorker::Host { .. }
        | FromWorker::Unresolved { .. }
        | FromWorker::UnknownSpi(_)
        | FromWorker::NearGrant(_) => None,
    }
}

/// What stands behind the IPv6 header of a packet, and what of the header its checks ask for.
fn message_of(packet: &[u8]) -> Option<(Envelope, &[u8])> {
    let (header, payload) = packet.split_first_chunk::<{ Ipv6Header::LEN }>()?;
    let [_, _, _, _, high, low, _, hop_limit, addresses @ ..] = *header;
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let destination = <[u8; 16]>::try_from(destination).ok()?.into();
    let octets = payload.get(..usize::from(u16::from_be_bytes([high, low])))?;
    Some((Envelope { source: (*source).into(), destination, hop_limit }, octets))
}
