//! Messages of the home agent's own accord, repeated until the mobile node answers.
//!
//! Read first: RFC 6275 s.9.5.5; RFC 5846 s.6.3, 11; RFC 5142 s.5.2; RFC 5847 s.3.
//!
//! One machine for all of them: a message is sent, and again after a time that doubles up to a
//! bound, so often at most, and of each kind no more a second than the policy says.

use core::time::Duration;
use std::collections::HashMap;

use hearth_wire::addresses::Addresses;
use hearth_wire::mh::{Bid, Heartbeat, HomeAgentSwitch, Message, Repeated, Revocation};

use crate::HomeAgent;
use crate::answer::{Envelope, Whereabouts};
use crate::binding::Binding;
use crate::event::Action;
use crate::mcoa::CareOfAddress;
use crate::operations::Due;
use crate::revocation::{self, Revoking};
use crate::slab::{Id, Slab};
use crate::time::Timestamp;
use crate::wheel::TimerId;

/// Most messages that are waited for at a time. Binding Revocation Indications are told apart by
/// 16 bits (RFC 5846 s.5.1), of which this leaves half free.
const MOST: usize = 32_768;

/// How long a message waits whose kind has had its share of this second.
const HELD_BACK: Duration = Duration::from_secs(1);

/// What a message is, of which a binding has one at a time at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Binding Refresh Request.
    Refresh,
    /// Binding Revocation Indication.
    Revocation,
    /// Home Agent Switch.
    Switch,
    /// Heartbeat request.
    Heartbeat,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Refresh, Self::Revocation, Self::Switch, Self::Heartbeat];

    /// How many messages of all kinds may be waited for where one of this kind is to be one more:
    /// mobile nodes that are silent do not keep operators' commands from others.
    const fn room(self) -> usize {
        match self {
            Self::Revocation => MOST,
            Self::Switch => MOST / 4 * 3,
            Self::Refresh | Self::Heartbeat => MOST / 2,
        }
    }
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    Refresh,
    Revocation(Box<Revoking>),
    Switch,
    Heartbeat { seq: u32 },
}

impl About {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Refresh => Kind::Refresh,
            Self::Revocation(_) => Kind::Revocation,
            Self::Switch => Kind::Switch,
            Self::Heartbeat { .. } => Kind::Heartbeat,
        }
    }
}

/// When a message is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// To the second message; doubled from one to the next.
    pub(crate) first: Duration,
    /// The doubling ends here.
    pub(crate) longest: Duration,
    /// Messages in all.
    pub(crate) most: u32,
}

impl Schedule {
    /// How long an answer to the message number `sent`, from 1, is waited for.
    fn wait(&self, sent: u32) -> Duration {
        let doublings = sent.saturating_sub(1).min(16);
        self.first.saturating_mul(1 << doublings).min(self.longest.max(self.first))
    }
}

/// A message to which no answer has come.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) binding: Id<Binding>,
    pub(crate) about: About,
    schedule: Schedule,
    sent: u32,
    /// When it was sent last.
    at: Timestamp,
    timer: TimerId,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct OutstandingTable {
    all: Slab<Outstanding>,
    of: HashMap<(u32, Kind), Id<Outstanding>>,
    revocations: HashMap<u16, Id<Outstanding>>,
    next_revocation: u16,
}

impl OutstandingTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether there is no room for one more of this kind.
    pub(crate) fn is_full(&self, kind: Kind) -> bool {
        self.all.len() >= kind.room()
    }

    pub(crate) fn find(&self, binding: Id<Binding>, kind: Kind) -> Option<Id<Outstanding>> {
        self.of.get(&(binding.number(), kind)).copied()
    }

    pub(crate) fn get(&self, id: Id<Outstanding>) -> Option<&Outstanding> {
        self.all.get(id)
    }

    /// The Binding Revocation Indication with this Sequence #.
    pub(crate) fn revocation(&self, seq: u16) -> Option<Id<Outstanding>> {
        self.revocations.get(&seq).copied()
    }

    /// What a binding's node was asked last, of these kinds.
    pub(crate) fn latest(&self, binding: Id<Binding>, kinds: &[Kind]) -> Option<Id<Outstanding>> {
        let there = kinds.iter().filter_map(|kind| self.find(binding, *kind));
        let sent = there.filter_map(|id| Some((id, self.get(id)?))).filter(|(_, one)| one.sent > 0);
        sent.max_by_key(|(_, one)| one.at).map(|(id, _)| id)
    }

    /// RFC 5846 s.5.1: "implementations MUST ensure there is no collision between the sequence
    /// numbers of all outstanding Binding Revocation Indication Messages."
    pub(crate) fn free_sequence(&mut self) -> u16 {
        while self.revocations.contains_key(&self.next_revocation) {
            self.next_revocation = self.next_revocation.wrapping_add(1);
        }
        let seq = self.next_revocation;
        self.next_revocation = seq.wrapping_add(1);
        seq
    }

    fn insert(&mut self, one: Outstanding) -> Option<Id<Outstanding>> {
        let key = (one.binding.number(), one.about.kind());
        let seq = match &one.about {
            About::Revocation(revoking) => Some(revoking.seq),
            _ => None,
        };
        let id = self.all.insert(one)?;
        self.of.insert(key, id);
        if let Some(seq) = seq {
            self.revocations.insert(seq, id);
        }
        Some(id)
    }

    fn remove(&mut self, id: Id<Outstanding>) -> Option<Outstanding> {
        let one = self.all.remove(id)?;
        self.of.remove(&(one.binding.number(), one.about.kind()));
        if let About::Revocation(revoking) = &one.about {
            self.revocations.remove(&revoking.seq);
        }
        Some(one)
    }
}

impl HomeAgent {
    /// Sends a message and waits for its answer; nothing where one of its kind is under way with
    /// that binding, or where too many are. Whether it did.
    pub(crate) fn begin(
        &mut self,
        now: Timestamp,
        binding: Id<Binding>,
        (about, schedule): (About, Schedule),
        out: &mut Vec<Action>,
    ) -> bool {
        let table = &mut self.operations.outstanding;
        if table.is_full(about.kind()) || table.find(binding, about.kind()).is_some() {
            return false;
        }
        let (sent, timer) = (0, TimerId::NONE);
        let one = Outstanding { binding, about, schedule, sent, at: now, timer };
        let Some(id) = table.insert(one) else { return false };
        self.say(now, id, out);
        true
    }

    /// Lets go of a message; what it was about.
    pub(crate) fn finish(&mut self, id: Id<Outstanding>) -> Option<Outstanding> {
        let one = self.operations.outstanding.remove(id)?;
        self.operations.wheel.cancel(one.timer);
        Some(one)
    }

    /// Lets go of a binding's message of this kind, if there is one.
    pub(crate) fn finish_kind(&mut self, binding: Id<Binding>, kind: Kind) -> Option<Outstanding> {
        let id = self.operations.outstanding.find(binding, kind)?;
        self.finish(id)
    }

    /// No answer has come in time, or the message has not been sent at all.
    pub(crate) fn outstanding_due(
        &mut self,
        now: Timestamp,
        id: Id<Outstanding>,
        out: &mut Vec<Action>,
    ) {
        let Some(one) = self.operations.outstanding.get(id) else { return };
        if one.sent >= one.schedule.most {
            self.unanswered(id, out);
        } else {
            self.say(now, id, out);
        }
    }

    /// Sends a message, as far as its kind's share of this second goes, and sets its timer.
    fn say(&mut self, now: Timestamp, id: Id<Outstanding>, out: &mut Vec<Action>) {
        let Some(one) = self.operations.outstanding.get(id) else { return };
        let kind = one.about.kind();
        let again = if self.take_token(now, kind) {
            self.send_outstanding(now, id, out);
            let Some(one) = self.operations.outstanding.all.get_mut(id) else { return };
            one.sent += 1;
            one.at = now;
            one.schedule.wait(one.sent)
        } else {
            HELD_BACK
        };
        let timer = self.operations.wheel.set(now.after(again), Due::Outstanding(id));
        if let Some(one) = self.operations.outstanding.all.get_mut(id) {
            one.timer = timer;
        }
    }

    fn send_outstanding(&mut self, now: Timestamp, id: Id<Outstanding>, out: &mut Vec<Action>) {
        let Some(one) = self.operations.outstanding.get(id) else { return };
        let (binding, about) = (one.binding, one.about.clone());
        let Some(envelope) = self.envelope_to(binding) else { return };
        let sent = match &about {
            About::Refresh => {
                // RFC 5648 s.6.4: all of them are asked for.
                let care_of = self.cache.at(binding).map_or(&[][..], Binding::care_of_addresses);
                let bids: Vec<Bid> = care_of.iter().map(CareOfAddress::option).collect();
                let message = Message::BindingRefreshRequest { bids: Repeated::List(&bids) };
                self.send(&message, envelope, Whereabouts::Away, out)
            }
            About::Revocation(revoking) => {
                let bids: Vec<Bid> = revoking.bids().collect();
                let message = Message::Revocation(Revocation {
                    trigger: revoking.trigger,
                    seq: revoking.seq,
                    flags: revoking.flags(),
                    bids: Repeated::List(&bids),
                    ipv4_hoa: revoking.ipv4.map(revocation::option),
                });
                self.send(&message, envelope, Whereabouts::Away, out)
            }
            About::Switch => {
                let (addresses, refresh_advice) = self.switch_content(now);
                let addresses = Addresses::List(&addresses);
                let message =
                    Message::HomeAgentSwitch(HomeAgentSwitch { addresses, refresh_advice });
                self.send(&message, envelope, Whereabouts::Away, out)
            }
            About::Heartbeat { seq } => {
                let message = Message::Heartbeat(Heartbeat {
                    unsolicited: false,
                    response: false,
                    seq: *seq,
                    restart_counter: None,
                });
                self.send(&message, envelope, Whereabouts::Away, out)
            }
        };
        if sent {
            match about.kind() {
                Kind::Refresh => self.counters.refresh_requests += 1,
                Kind::Revocation => self.counters.operations.revocations += 1,
                Kind::Switch => self.counters.operations.switches += 1,
                Kind::Heartbeat => self.counters.operations.heartbeats += 1,
            }
        }
    }

    /// R-32: where the last accepted Binding Update came from. "This message is always sent to the
    /// home address of the mobile node" (RFC 6275 s.9.5.5): by a type 2 routing header.
    fn envelope_to(&self, binding: Id<Binding>) -> Option<Envelope> {
        let binding = self.cache.at(binding).filter(|binding| binding.is_bound())?;
        let sa = self.sas.at(binding.sa)?;
        Some(Envelope {
            spi: sa.spi,
            local: binding.local.into(),
            remote: binding.signalling.into(),
            home_address: binding.home_address,
            ha_address: self.sas.ha_address(sa),
        })
    }

    /// The last message of its schedule was not answered either.
    fn unanswered(&mut self, id: Id<Outstanding>, out: &mut Vec<Action>) {
        let Some(one) = self.operations.outstanding.get(id) else { return };
        match one.about.kind() {
            // RFC 5142 s.5.3: "the home agent SHOULD NOT make any conclusions about its status."
            Kind::Refresh | Kind::Switch => drop(self.finish(id)),
            Kind::Revocation => {
                self.conclude_revocation(id, revocation::Answer::Missing, out);
            }
            Kind::Heartbeat => self.heartbeat_missed(id, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let seconds = Duration::from_secs;
        let switch = Schedule { first: seconds(5), longest: seconds(20), most: 9 };
        let waits: Vec<_> = (1..=5).map(|sent| switch.wait(sent).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 20, 20]);
        let steady = Schedule { first: seconds(60), longest: seconds(60), most: 3 };
        assert_eq!(steady.wait(u32::MAX), seconds(60));
    }

    #[test]
    fn the_silent_leave_room_for_commands() {
        let mut table = OutstandingTable::default();
        let mut fill = |from, to, about: About| {
            let schedule = Schedule { first: HELD_BACK, longest: HELD_BACK, most: 1 };
            for number in from..to {
                let binding = Id::from_index(number).unwrap();
                let (about, at, timer) = (about.clone(), Timestamp::ZERO, TimerId::NONE);
                let one = Outstanding { binding, about, schedule, sent: 0, at, timer };
                assert!(table.insert(one).is_some());
            }
            Kind::ALL.map(|kind| table.is_full(kind))
        };
        let [half, more] = [MOST / 2, MOST / 4 * 3];
        assert_eq!(fill(0, half - 1, About::Heartbeat { seq: 0 }), [false; 4]);
        assert_eq!(fill(half - 1, half, About::Refresh), [true, false, false, true]);
        assert_eq!(fill(half, more, About::Switch), [true, false, true, true]);
    }

    #[test]
    fn sequence_numbers_of_revocations_do_not_collide() {
        let mut table =
            OutstandingTable { next_revocation: u16::MAX, ..OutstandingTable::default() };
        let id = Id::from_index(0).unwrap();
        table.revocations.extend([(u16::MAX, id), (0, id), (2, id)]);
        assert_eq!([table.free_sequence(), table.free_sequence()], [1, 3]);
    }
}
