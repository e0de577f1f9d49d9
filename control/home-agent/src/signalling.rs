//! A PType 8 packet, as far as the message in it; Binding Error.
//!
//! Read first: RFC 6275 s.9.2, 9.3.1, 9.3.3; readings.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use hearth_wire::exthdr;
use hearth_wire::mh::{self, BindingError, Message, MhError};

use crate::HomeAgent;
use crate::answer::{Envelope, Whereabouts};
use crate::dsmipv6;
use crate::event::{Action, SignallingPacket};
use crate::icmp;
use crate::refusal::Refusal;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::view::SaState;

/// Status of a Binding Error: unrecognised MH Type (RFC 6275 s.6.1.9).
pub(crate) const UNRECOGNIZED_MH_TYPE: u8 = 2;

impl HomeAgent {
    /// Takes in an authentic PType 8 packet.
    pub(crate) fn signalling(
        &mut self,
        now: Timestamp,
        packet: &SignallingPacket<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let id = self.settle_sa(now, packet.spi, out).ok_or(Refusal::UnknownSpi)?;
        let sa = self.sas.at(id).ok_or(Refusal::UnknownSpi)?;
        // behind a newer one, an SA carries data only.
        if sa.state == SaState::Superseded {
            return Err(Refusal::SupersededSa);
        }
        // RFC 6275 s.9.3.3, 9.5.4: nothing is sent to a source that is not unicast.
        if !is_answerable(packet.remote) {
            return Err(Refusal::OuterSource);
        }
        let chain = exthdr::parse_chain(packet.next_header, packet.payload)?;
        if chain.routing_home_address.is_some() {
            return Err(Refusal::ChainRoutingHeader);
        }
        // RFC 6275 s.9.3.1: "Packets containing a Home Address option MUST be dropped if the given
        // home address is not a unicast routable address."
        if chain.home_address.is_some_and(|home| !dsmipv6::is_routable_v6(home)) {
            return Err(Refusal::HomeAddressNotRoutable);
        }
        // the checksum's source is the home address, named by the option or by the SA.
        let source = chain.home_address.unwrap_or(sa.home_address);
        match mh::parse(chain.mobility_header, source, self.sas.ha_address(sa)) {
            Ok(Message::BindingUpdate(update)) => {
                self.binding_update(now, (id, packet), chain.home_address, &update, out)
            }
            // RFC 6618 s.6.3: return routability travels as data.
            Ok(Message::ReturnRoutability(_)) => Err(Refusal::MhReturnRoutability),
            Ok(Message::RevocationAck(ack)) => self.revocation_acknowledged(id, &ack, out),
            Ok(Message::Heartbeat(heartbeat)) => {
                self.heartbeat(now, (id, packet), chain.home_address, heartbeat, out)
            }
            Ok(Message::BindingError(error)) => self.binding_error_heard(id, error, out),
            Ok(
                Message::BindingRefreshRequest { .. }
                | Message::BindingAck(_)
                | Message::HomeAgentSwitch(_)
                | Message::Revocation(_),
            ) => Err(Refusal::MhUnexpected),
            Err(MhError::UnknownType(_)) => {
                Err(self.binding_error(now, (id, packet), chain.home_address, out))
            }
            Err(error) => {
                let offset = packet.payload.len() - chain.mobility_header.len();
                self.parameter_problem(now, (id, packet), (error, offset), out);
                Err(error.into())
            }
        }
    }

    /// RFC 6275 s.9.2: an unknown MH Type is answered by a Binding Error, binding or not,
    /// as far as the mobile node's allowance goes (RFC 6275 s.9.3.3).
    fn binding_error(
        &mut self,
        now: Timestamp,
        (id, packet): (Id<Sa>, &SignallingPacket<'_>),
        named: Option<Ipv6Addr>,
        out: &mut Vec<Action>,
    ) -> Refusal {
        let Some(sa) = self.sas.at(id) else { return Refusal::UnknownSpi };
        let (home_address, ha_address) = (sa.home_address, self.sas.ha_address(sa));
        if !self.may_send_error(now, id) {
            return Refusal::MhUnknownTypeLimited;
        }
        // "copied from the Home Address field in the Home Address destination option of the
        // offending packet, or set to the unspecified address if no such option appeared"
        let message = Message::BindingError(BindingError {
            status: UNRECOGNIZED_MH_TYPE,
            home_address: named.unwrap_or(Ipv6Addr::UNSPECIFIED),
        });
        let whereabouts = whereabouts(packet.remote, named, home_address);
        let SignallingPacket { spi, local, remote, .. } = *packet;
        let envelope = Envelope { spi, local, remote, home_address, ha_address };
        if self.send(&message, envelope, whereabouts, out) {
            self.counters.binding_errors += 1;
        }
        Refusal::MhUnknownType
    }

    /// RFC 6275 s.9.2: a wrong Payload Proto or a short Header Len SHOULD get an ICMP Parameter
    /// Problem that points at the field. It travels as data, so it needs a binding, and one
    /// whose data is protected: it quotes what came encrypted.
    fn parameter_problem(
        &mut self,
        now: Timestamp,
        (id, packet): (Id<Sa>, &SignallingPacket<'_>),
        (error, offset): (MhError, usize),
        out: &mut Vec<Action>,
    ) {
        let field = match error {
            MhError::PayloadProto => 0,
            MhError::HeaderLen => 1,
            _ => return,
        };
        let Some(sa) = self.sas.at(id) else { return };
        let (home_address, ha_address) = (sa.home_address, self.sas.ha_address(sa));
        let Some(binding) = self.cache.get(home_address) else { return };
        let leaves = self.sas.at(binding.sa).filter(|_| binding.node == sa.node);
        if binding.expires <= now
            || leaves.is_none_or(|leaves| !icmp::may_quote(sa, leaves))
            || !self.may_send_error(now, id)
        {
            return;
        }
        let problem = icmp::parameter_problem(packet, offset + field, home_address, ha_address);
        out.extend(problem.map(|packet| Action::SendData { home_address, packet }));
    }

    /// Takes one error message out of the mobile node's allowance.
    pub(crate) fn may_send_error(&mut self, now: Timestamp, id: Id<Sa>) -> bool {
        let per_second = self.policy.errors_per_second;
        let Some(node) = self.sas.at(id).map(|sa| sa.node) else { return false };
        self.sas.nodes.get_mut(node).is_some_and(|node| node.errors.take(now, per_second))
    }
}

/// a mobile node whose packet comes from its home address, without Home Address option, is
/// at home.
pub(crate) fn whereabouts(
    remote: SocketAddr,
    named: Option<Ipv6Addr>,
    home_address: Ipv6Addr,
) -> Whereabouts {
    if named.is_none() && remote.ip() == IpAddr::V6(home_address) {
        Whereabouts::Home
    } else {
        Whereabouts::Away
    }
}

fn is_answerable(remote: SocketAddr) -> bool {
    remote.port() != 0 && dsmipv6::is_routable(remote.ip())
}
