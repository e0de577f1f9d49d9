//! The messages that the home agent sends.
//!
//! Read first: RFC 6275 s.6.1.8, 6.1.9, 9.5.4; readings.

use core::net::{Ipv6Addr, SocketAddr};

use hearth_wire::Spi;
use hearth_wire::exthdr;
use hearth_wire::mh::{self, Message};

use crate::HomeAgent;
use crate::event::Action;
use crate::refusal::Refusal;
use crate::registration::Request;

/// Octets of the longest message that is sent, with all its options: what Header Len can say is
/// 2048 (RFC 6275 s.6.1.1).
const LONGEST: usize = 2048;

/// Where the mobile node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// Away from home: a type 2 routing header carries its home address.
    Away,
    /// At home, seen by a de-registration without Home Address option: no routing header.
    Home,
}

/// How a message travels: under which SA, between which outer addresses, and between which
/// addresses of the checksum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope {
    pub(crate) spi: Spi,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) home_address: Ipv6Addr,
    pub(crate) ha_address: Ipv6Addr,
}

impl From<&Request> for Envelope {
    /// an answer goes from the address and port that the packet was sent to, to the one that
    /// it came from.
    fn from(request: &Request) -> Self {
        let Request { spi, local, remote, home_address, ha_address, .. } = *request;
        Self { spi, local, remote, home_address, ha_address }
    }
}

impl HomeAgent {
    /// Sends a message. One that is too long is counted; whether it was sent.
    pub(crate) fn send(
        &mut self,
        message: &Message<'_>,
        envelope: Envelope,
        whereabouts: Whereabouts,
        out: &mut Vec<Action>,
    ) -> bool {
        let Envelope { spi, local, remote, home_address, ha_address } = envelope;
        let Some((next_header, payload)) = payload(message, home_address, ha_address, whereabouts)
        else {
            self.counters.refuse(Refusal::AnswerTooLong);
            out.push(Action::Count(Refusal::AnswerTooLong));
            return false;
        };
        out.push(Action::SendSignalling { spi, local, remote, next_header, payload });
        true
    }
}

/// Whether a message is short enough to be sent.
pub(crate) fn fits(message: &Message<'_>) -> bool {
    let any = Ipv6Addr::UNSPECIFIED;
    mh::emit(message, any, any, &mut [0; LONGEST]).is_some()
}

/// Next Header and payload of a PType 8 packet that carries `message`. The checksum's source is
/// the HA address that the HAC handed out, its destination the home address.
fn payload(
    message: &Message<'_>,
    home_address: Ipv6Addr,
    ha_address: Ipv6Addr,
    whereabouts: Whereabouts,
) -> Option<(u8, Vec<u8>)> {
    let mut mobility_header = [0; LONGEST];
    let len = mh::emit(message, ha_address, home_address, &mut mobility_header)?;
    let mobility_header = mobility_header.get(..len)?;
    match whereabouts {
        Whereabouts::Away => {
            let routing = exthdr::routing_header(mh::PROTO, home_address);
            Some((exthdr::ROUTING, [&routing, mobility_header].concat()))
        }
        Whereabouts::Home => Some((mh::PROTO, mobility_header.to_vec())),
    }
}
