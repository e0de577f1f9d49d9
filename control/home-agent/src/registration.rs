//! A Binding Update's path: silent checks, then checks that are answered, then the binding.
//!
//! Read first: RFC 6275 s.9.5.1, 9.5.4, 10.3.1, 10.3.2; RFC 5555 s.4.5; readings to
//!

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::sync::Arc;

use hearth_wire::MobileNodeId;
use hearth_wire::mh::option::MN_ID_NAI;
use hearth_wire::mh::{BaOptions, BindingAck, BindingUpdate, Ipv4Ack, Message, Status};

use crate::HomeAgent;
use crate::answer::{self, Whereabouts};
use crate::binding::Binding;
use crate::dsmipv6::{self, CareOf, Ipv4Claim};
use crate::event::{Action, Notice, SignallingPacket};
use crate::policy::{LIFETIME_UNIT, lifetime_units};
use crate::refusal::Refusal;
use crate::sa::Sa;
use crate::signalling::{reply, whereabouts};
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::view::Reinit;

/// Mobile router operation not permitted (RFC 3963 s.4.2).
const MOBILE_ROUTER_NOT_PERMITTED: Status = Status(140);

/// A Binding Update that is not to be discarded silently.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    packet: &'a SignallingPacket<'a>,
    update: &'a BindingUpdate<'a>,
    home_address: Ipv6Addr,
    ha_address: Ipv6Addr,
    whereabouts: Whereabouts,
    care_of: CareOf,
}

/// What an answer says.
#[derive(Debug, Clone, Copy)]
struct Answer {
    status: Status,
    sequence: u16,
    /// In units of 4 s.
    lifetime: u16,
    ipv4_ack: Option<Ipv4Ack>,
}

impl HomeAgent {
    pub(crate) fn binding_update(
        &mut self,
        now: Timestamp,
        packet: &SignallingPacket<'_>,
        named: Option<Ipv6Addr>,
        update: &BindingUpdate<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let sa = self.sas.get(packet.spi).ok_or(Refusal::UnknownSpi)?;
        let request = match self.validate(sa, packet, named, update) {
            Ok(request) => request,
            Err(refusal) => {
                if let (Refusal::HomeAddressForeign, Some(claimed)) = (refusal, named) {
                    let mn_id = (*sa.mn_id).clone();
                    let (spi, remote) = (packet.spi, packet.remote);
                    out.push(Action::Notice(Notice::ForeignHomeAddress {
                        mn_id,
                        spi,
                        claimed,
                        remote,
                    }));
                }
                return Err(refusal);
            }
        };
        let verdict = self.judge(now, sa, &request);
        // RFC 6275 s.9.5.5: "MUST stop retransmitting when it receives a Binding Update."
        self.stop_refresh_request(request.home_address);
        match verdict {
            Err(status) => self.refuse(&request, status, out),
            Ok(()) if update.lifetime == 0 => self.deregister(now, &request, out),
            Ok(()) => self.register(now, &request, out),
        }
        Ok(())
    }

    /// The checks whose failure is not answered.
    fn validate<'a>(
        &self,
        sa: &Sa,
        packet: &'a SignallingPacket<'a>,
        named: Option<Ipv6Addr>,
        update: &'a BindingUpdate<'a>,
    ) -> Result<Request<'a>, Refusal> {
        let home_address = sa.home_address;
        let whereabouts = whereabouts(packet.remote, named, home_address);
        match named {
            // R-34; RFC 6275 s.10.3.1: the home address unequivocally identifies the SA.
            Some(named) if named != home_address => return Err(Refusal::HomeAddressForeign),
            Some(_) => {}
            // only a mobile node that de-registers at home may leave the option out.
            None if whereabouts == Whereabouts::Home && update.lifetime == 0 => {}
            None => return Err(Refusal::HomeAddressMissing),
        }
        if update.flags.home_registration {
            // RFC 6275 s.9.5.1: "If the Home Registration (H) bit is set, the Nonce Indices
            // mobility option MUST NOT be present."
            if update.options.nonce_indices {
                return Err(Refusal::NonceIndices);
            }
        } else if self.cache.get(home_address).is_none() {
            // A correspondent's: it would need nonces and an authenticator.
            return Err(Refusal::NotHomeRegistration);
        }
        // RFC 6275 s.6.1.7: "Binding Updates for a care-of address that is not a unicast routable
        // address MUST be silently discarded."
        let care_of = CareOf::of(packet.remote, &update.options, &self.policy)
            .ok_or(Refusal::CareOfAddressNotRoutable)?;
        let ha_address = sa.ha_address;
        Ok(Request { packet, update, home_address, ha_address, whereabouts, care_of })
    }

    /// The checks whose failure is answered.
    fn judge(&self, now: Timestamp, sa: &Sa, request: &Request<'_>) -> Result<(), Status> {
        let update = request.update;
        // RFC 6275 s.9.5.1. Of a de-registered binding the number is remembered (s.10.3.2).
        let entry = self.cache.entry(request.home_address).filter(|b| b.mn_id == sa.mn_id);
        if entry.is_some_and(|entry| !is_newer(update.seq, entry.sequence)) {
            return Err(Status::SEQUENCE_OUT_OF_WINDOW);
        }
        // RFC 6275 s.9.5.1: H differs from that of the binding, which is always 1 here.
        if !update.flags.home_registration {
            return Err(Status::REGISTRATION_TYPE_CHANGE);
        }
        if !self.policy.home_registration {
            return Err(Status::HOME_REGISTRATION_NOT_SUPPORTED);
        }
        // R-38; REG-11.
        let other_name =
            |(subtype, id): (u8, &[u8])| subtype == MN_ID_NAI && id != sa.mn_id.as_str().as_bytes();
        if update.options.mn_id.is_some_and(other_name) || self.policy.denied.contains(&*sa.mn_id) {
            return Err(Status::ADMINISTRATIVELY_PROHIBITED);
        }
        let own = entry.filter(|entry| !entry.held);
        if update.lifetime == 0 {
            // RFC 6275 s.10.3.2: no home registration: 133.
            return own.map(|_| ()).ok_or(Status::NOT_HOME_AGENT);
        }
        self.judge_registration(sa, request, own)?;
        match own {
            Some(binding) if self.wants_reinit(now, sa, binding, request) => {
                Err(Status::REINIT_SA_WITH_HAC)
            }
            _ => Ok(()),
        }
    }

    /// What RFC 6275 s.10.3.1 and R-36 ask of a registration.
    fn judge_registration(
        &self,
        sa: &Sa,
        request: &Request<'_>,
        own: Option<&Binding>,
    ) -> Result<(), Status> {
        let home_address = IpAddr::V6(request.home_address);
        if !self.policy.serves(home_address) {
            return Err(Status::NOT_HOME_SUBNET);
        }
        // Another mobile node has it bound, or the home agent uses it: the address is a duplicate.
        if self.cache.get(request.home_address).is_some_and(|binding| binding.mn_id != sa.mn_id)
            || self.policy.ha_addresses.contains(&home_address)
        {
            return Err(Status::DAD_FAILED);
        }
        if request.update.flags.mobile_router {
            return Err(MOBILE_ROUTER_NOT_PERMITTED);
        }
        // an HA address, or a home address, this mobile node's own included: the tunnel
        // would lead into itself.
        let care_of = request.care_of.address.ip();
        if self.policy.ha_addresses.contains(&care_of)
            || care_of == request.packet.local.ip()
            || care_of == IpAddr::V6(sa.ha_address)
            || self.sas.is_home_address(care_of)
        {
            return Err(Status::INVALID_COA);
        }
        if own.is_none() && self.cache.live() >= self.policy.max_bindings {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        Ok(())
    }

    /// status 176 answers only a refresh with unchanged care-of address and port, once per
    /// binding lifetime, and only while that outlasts the mobile node's retry.
    fn wants_reinit(
        &self,
        now: Timestamp,
        sa: &Sa,
        binding: &Binding,
        request: &Request<'_>,
    ) -> bool {
        sa.reinit(now).is_some()
            && binding.spi == request.packet.spi
            && binding.care_of == request.care_of.address
            && !binding.reinit_sent
            && binding.expires.since(now) >= self.policy.reinit_margin
    }

    /// Answers a Binding Update that changes nothing.
    fn refuse(&mut self, request: &Request<'_>, status: Status, out: &mut Vec<Action>) {
        let mut sequence = request.update.seq;
        match status {
            // RFC 6275 s.9.5.1: "the last accepted sequence number"
            Status::SEQUENCE_OUT_OF_WINDOW => {
                let entry = self.cache.entry(request.home_address);
                sequence = entry.map_or(sequence, |entry| entry.sequence);
            }
            Status::REINIT_SA_WITH_HAC => {
                if let Some(binding) = self.cache.get_mut(request.home_address) {
                    binding.reinit_sent = true;
                }
            }
            _ => {}
        }
        self.answer(request, Answer { status, sequence, lifetime: 0, ipv4_ack: None }, out);
        let Some(sa) = self.sas.get(request.packet.spi) else { return };
        let mn_id = (*sa.mn_id).clone();
        let home_address = request.home_address;
        if status == Status::DAD_FAILED {
            let taken = Notice::HomeAddressTaken {
                mn_id: mn_id.clone(),
                home_address: home_address.into(),
            };
            out.push(Action::Notice(taken));
        }
        out.push(Action::Notice(Notice::Refused { mn_id, home_address, status }));
    }

    /// RFC 6275 s.10.3.1, RFC 5555 s.4.5: makes, refreshes or moves a binding.
    fn register(&mut self, now: Timestamp, request: &Request<'_>, out: &mut Vec<Action>) {
        let spi = request.packet.spi;
        let home_address = request.home_address;
        let Some(sa) = self.sas.get(spi) else { return };
        let mn_id = Arc::clone(&sa.mn_id);
        let assigned = sa.ipv4_home_address;
        let left = sa.ends.since(now);
        self.use_sa(now, spi);
        let units = self.granted_units(request, left);
        let lifetime = LIFETIME_UNIT * u32::from(units);
        let expires = now.after(lifetime.min(left));
        let ipv4_ack = self.acknowledge_ipv4(request, &mn_id, assigned, out);
        let before = self.cache.remove(home_address);
        let timer = Timer::BindingEnd(home_address);
        let timer = match &before {
            Some(before) => self.wheel.reset(before.timer, expires, timer),
            None => self.wheel.set(expires, timer),
        };
        let before = before.filter(|before| !before.held);
        let binding = Binding {
            mn_id,
            spi,
            ipv4_home_address: ipv4_ack
                .filter(|ack| ack.status.is_success())
                .map(|ack| ack.address),
            care_of: request.care_of.address,
            signalling: request.packet.remote,
            local: request.packet.local,
            sequence: request.update.seq,
            lifetime,
            registered: before.as_ref().map_or(now, |before| before.registered),
            expires,
            nat: request.care_of.nat,
            reinit_sent: false,
            held: false,
            refresh_request: None,
            timer,
        };
        let changed = before.as_ref().is_none_or(|before| !before.carries_as(&binding));
        let is_refresh = before
            .as_ref()
            .is_some_and(|before| before.spi == spi && before.care_of == binding.care_of);
        let notice = registration_notice(home_address, before.as_ref(), &binding);
        self.cache.insert(home_address, binding);
        if changed {
            self.rebind(home_address, out);
        }
        let sequence = request.update.seq;
        let status = Status::ACCEPTED;
        self.answer(request, Answer { status, sequence, lifetime: units, ipv4_ack }, out);
        out.push(Action::Notice(notice));
        // What was processed normally may have come in the place of the refresh that was
        // asked for, and the next one may be an hour away.
        let wanted = self.sas.get(spi).and_then(|sa| sa.reinit(now));
        if !is_refresh && wanted == Some(Reinit::SequenceLimit) {
            self.invite_refresh(now, spi, home_address, out);
        }
    }

    /// The lifetime granted, in units of 4 s: not more than asked for, nor than the policy
    /// (RFC 6275 s.10.3.1), nor than what is `left` of the SA, rounded down. In the SA's
    /// last seconds it is one unit, the least that can be said; the binding ends with the SA.
    fn granted_units(&self, request: &Request<'_>, left: Duration) -> u16 {
        let units = request.update.lifetime.min(self.policy.max_lifetime_units());
        units.min(lifetime_units(left)).max(1)
    }

    /// RFC 5555 s.4.5; without the option an IPv4 home address is not, or no longer, bound.
    fn acknowledge_ipv4(
        &self,
        request: &Request<'_>,
        mn_id: &MobileNodeId,
        assigned: Option<Ipv4Addr>,
        out: &mut Vec<Action>,
    ) -> Option<Ipv4Ack> {
        let option = request.update.options.ipv4_hoa?;
        let own = self.cache.get(request.home_address);
        let holder = assigned.and_then(|assigned| self.cache.holder_of(assigned));
        let claim = Ipv4Claim {
            assigned,
            bound: own.is_some_and(|own| own.ipv4_home_address.is_some()),
            taken: holder.is_some_and(|holder| holder != request.home_address),
        };
        if let (true, Some(assigned)) = (claim.taken, assigned) {
            let home_address = IpAddr::V4(assigned);
            let mn_id = mn_id.clone();
            out.push(Action::Notice(Notice::HomeAddressTaken { mn_id, home_address }));
        }
        Some(dsmipv6::acknowledge_ipv4(option, claim, &self.policy))
    }

    /// RFC 6275 s.10.3.2, RFC 5555 s.4.4.2: ends the binding of both families.
    fn deregister(&mut self, now: Timestamp, request: &Request<'_>, out: &mut Vec<Action>) {
        let home_address = request.home_address;
        self.use_sa(now, request.packet.spi);
        if let Some(binding) = self.cache.remove(home_address) {
            out.push(Action::Unbind { home_address });
            // "It SHOULD mark the Binding Cache entry as invalid": its sequence number refuses a
            // delayed older Binding Update.
            let expires = now.after(self.policy.deregistration_hold);
            let timer = self.wheel.reset(binding.timer, expires, Timer::BindingEnd(home_address));
            let held = Binding {
                spi: request.packet.spi,
                ipv4_home_address: None,
                sequence: request.update.seq,
                expires,
                held: true,
                timer,
                ..binding
            };
            self.cache.insert(home_address, held);
        }
        let sequence = request.update.seq;
        let status = Status::ACCEPTED;
        self.answer(request, Answer { status, sequence, lifetime: 0, ipv4_ack: None }, out);
        out.push(Action::Notice(Notice::Deregistered { home_address }));
    }

    /// Sends a Binding Acknowledgement, whatever A says (RFC 6275 s.10.3.1). K is 0.
    fn answer(&mut self, request: &Request<'_>, answer: Answer, out: &mut Vec<Action>) {
        let away = request.whereabouts == Whereabouts::Away;
        let nat_detection = request.care_of.nat_detection(&self.policy).filter(|_| away);
        let ack = BindingAck {
            status: answer.status,
            key_management: false,
            mobile_router: false,
            seq: answer.sequence,
            lifetime: answer.lifetime,
            options: BaOptions { ipv4_ack: answer.ipv4_ack, nat_detection, ..BaOptions::default() },
        };
        let payload = answer::payload(
            &Message::BindingAck(ack),
            request.home_address,
            request.ha_address,
            request.whereabouts,
        );
        if let Some((next_header, payload)) = payload {
            self.counters.answer(answer.status);
            out.push(reply(request.packet, next_header, payload));
        }
    }
}

/// RFC 6275 s.9.5.1: modulo 2^16, a number "is considered less than or equal to the last received
/// number if its value lies in the range of the last received number and the preceding 32768
/// values, inclusive".
const fn is_newer(sequence: u16, last: u16) -> bool {
    let ahead = sequence.wrapping_sub(last);
    ahead != 0 && ahead < 0x8000
}

fn registration_notice(
    home_address: Ipv6Addr,
    before: Option<&Binding>,
    binding: &Binding,
) -> Notice {
    let (care_of, lifetime) = (binding.care_of, binding.lifetime);
    match before {
        None => {
            let mn_id = (*binding.mn_id).clone();
            Notice::Registered { mn_id, home_address, care_of, lifetime }
        }
        Some(before) if before.care_of == care_of => Notice::Refreshed { home_address, lifetime },
        Some(before) => {
            Notice::HandedOver { home_address, from: before.care_of, to: care_of, lifetime }
        }
    }
}
