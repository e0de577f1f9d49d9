//! Commands being carried out, and everything else that the home agent does of its own accord.
//!
//! ```text
//! Command ---> one mobile node: at once
//!         \--> a realm, or all: a walk over all bindings or SAs, part by part
//!                                  |
//!                                  v
//!                             outstanding ---> message ---> answered, or not in time
//! ```

use core::time::Duration;
use std::collections::VecDeque;

use hearth_wire::mh::BindingError;

use crate::HomeAgent;
use crate::binding::Binding;
use crate::event::{Action, Notice};
use crate::listener::Questions;
use crate::membership::{Member, Membership};
use crate::operate::{Begun, Command, CommandError, OperationNotice, Selector};
use crate::outstanding::{Kind, Outstanding, OutstandingTable};
use crate::plan::Change;
use crate::rate::Bucket;
use crate::refusal::Refusal;
use crate::revocation::Answer;
use crate::sa_table::Sa;
use crate::signalling::UNRECOGNIZED_MH_TYPE;
use crate::slab::Id;
use crate::switch::Drain;
use crate::time::Timestamp;
use crate::view::{Reinit, SaState};
use crate::wheel::Wheel;

/// Most commands about many that are carried out at a time.
const WALKS: usize = 8;

/// How long a walk waits where this second's share of its messages is used up.
const PACE: Duration = Duration::from_millis(10);

/// What is to be looked at when a timer of this kind fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A message was not answered, or is to be sent.
    Outstanding(Id<Outstanding>),
    /// The walks go on.
    Walks,
    /// The next mobile nodes are to be sent to other home agents.
    Switches,
    /// A multicast listener is to be asked, or forgotten.
    Member(Id<Member>),
    /// The next mobile nodes are to be asked for their multicast groups.
    Questions,
}

/// A command about many, being carried out.
#[derive(Debug)]
struct Walk {
    command: Command,
    /// The next place that is looked at.
    next: usize,
    matched: usize,
}

/// All that is under way.
#[derive(Debug)]
pub(crate) struct Operations {
    pub(crate) wheel: Wheel<Due>,
    pub(crate) outstanding: OutstandingTable,
    pub(crate) drain: Option<Drain>,
    pub(crate) next_heartbeat: u32,
    pub(crate) membership: Membership,
    pub(crate) questions: Questions,
    /// The first one is carried out, the others wait for it.
    walks: VecDeque<Walk>,
    allowances: [Bucket; Kind::ALL.len()],
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            wheel: Wheel::new(),
            outstanding: OutstandingTable::default(),
            drain: None,
            next_heartbeat: 0,
            membership: Membership::default(),
            questions: Questions::default(),
            walks: VecDeque::new(),
            allowances: [Bucket::default(); Kind::ALL.len()],
        }
    }
}

impl HomeAgent {
    /// Carries out a command, or begins to.
    ///
    /// # Errors
    /// [`CommandError`]; then nothing has changed.
    pub fn operate(
        &mut self,
        now: Timestamp,
        command: &Command,
        out: &mut Vec<Action>,
    ) -> Result<Begun, CommandError> {
        let now = self.advance(now);
        match command {
            Command::Drain { to, within } => {
                self.drain(now, to, *within);
                Ok(Begun::Walk)
            }
            Command::Undrain if !self.is_draining() => Err(CommandError::Nobody),
            Command::Undrain => {
                self.undrain();
                Ok(Begun::At(self.cache.live()))
            }
            Command::Reinit { who, .. } | Command::Revoke { who, .. } if who.is_many() => {
                self.begin_walk(now, command)
            }
            Command::Reinit { who, invite } => self.reinit_some(now, who, *invite, out),
            Command::Revoke { who, what, trigger } => {
                let mut begun = Err(CommandError::Nobody);
                for id in self.bindings_of(who) {
                    match (self.revoke(now, id, (what, *trigger), out), &mut begun) {
                        (Ok(()), Ok(count)) => *count += 1,
                        (Ok(()), Err(_)) => begun = Ok(1),
                        (Err(error), Err(CommandError::Nobody)) => begun = Err(error),
                        (Err(_), _) => {}
                    }
                }
                begun.map(Begun::At)
            }
        }
    }

    fn reinit_some(
        &mut self,
        now: Timestamp,
        who: &Selector,
        invite: bool,
        out: &mut Vec<Action>,
    ) -> Result<Begun, CommandError> {
        let mut count = 0;
        for id in self.sas_of(who) {
            count += usize::from(self.ask_reinit(now, id, invite, out));
        }
        if count == 0 { Err(CommandError::Nobody) } else { Ok(Begun::At(count)) }
    }

    /// R-31: "an operator's wish". An SA that is superseded or over has no refresh to come.
    fn ask_reinit(
        &mut self,
        now: Timestamp,
        id: Id<Sa>,
        invite: bool,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(sa) = self.sas.at_mut(id) else { return false };
        if sa.ends <= now || sa.state == SaState::Superseded {
            return false;
        }
        sa.wanted = sa.wanted.or(Some(Reinit::Operator));
        let home_address = sa.home_address;
        if invite {
            self.invite_refresh(now, id, home_address, out);
        }
        true
    }

    /// The SAs of one mobile node that a selector names.
    fn sas_of(&self, who: &Selector) -> Vec<Id<Sa>> {
        match who {
            Selector::Spi(spi) => self.sas.find(*spi).into_iter().collect(),
            Selector::MnId(mn_id) => {
                let node = self.sas.nodes.find(mn_id);
                node.map(|node| self.sas.of_node(node).collect()).unwrap_or_default()
            }
            Selector::HomeAddress(address) => self.sas.with_home_address(*address),
            Selector::Realm(_) | Selector::All => Vec::new(),
        }
    }

    /// The bindings of one mobile node that a selector names: those of the SAs' home addresses.
    fn bindings_of(&self, who: &Selector) -> Vec<Id<Binding>> {
        let of_sa = |id: Id<Sa>| {
            let node = self.sas.at(id)?.node;
            let binding = self.entry_under(id)?;
            self.cache
                .at(binding)
                .is_some_and(|it| it.is_bound() && it.node == node)
                .then_some(binding)
        };
        let mut bindings: Vec<_> = self.sas_of(who).into_iter().filter_map(of_sa).collect();
        bindings.sort_unstable_by_key(|id| id.number());
        bindings.dedup();
        bindings
    }

    fn begin_walk(&mut self, now: Timestamp, command: &Command) -> Result<Begun, CommandError> {
        let walks = &mut self.operations.walks;
        if walks.iter().any(|walk| walk.command == *command) {
            return Err(CommandError::UnderWay);
        }
        if walks.len() >= WALKS {
            return Err(CommandError::Busy);
        }
        let first = walks.is_empty();
        walks.push_back(Walk { command: command.clone(), next: 0, matched: 0 });
        if first {
            self.operations.wheel.set(now, Due::Walks);
        }
        Ok(Begun::Walk)
    }

    /// Goes on with the first walk, as far as `left` and this second's messages go.
    fn walk(&mut self, now: Timestamp, left: &mut usize, out: &mut Vec<Action>) {
        let Some(mut walk) = self.operations.walks.pop_front() else { return };
        let again = loop {
            if *left == 0 {
                break Some(now);
            }
            let places = match walk.command {
                Command::Reinit { .. } => self.sas.places(),
                _ => self.cache.places(),
            };
            let Some(place) = Some(walk.next).filter(|next| *next < places) else { break None };
            *left -= 1;
            match self.visit(now, place, &walk.command, out) {
                Visit::Done(matched) => walk.matched += usize::from(matched),
                Visit::Wait => break Some(now.after(PACE)),
            }
            walk.next += 1;
        };
        if let Some(at) = again {
            self.operations.walks.push_front(walk);
            self.operations.wheel.set(at, Due::Walks);
            return;
        }
        let notice = OperationNotice::Walked { matched: walk.matched };
        out.push(Action::Notice(Notice::Operation(notice)));
        if !self.operations.walks.is_empty() {
            self.operations.wheel.set(now, Due::Walks);
        }
    }

    /// Does to what is in one place what a command about many asks for.
    fn visit(
        &mut self,
        now: Timestamp,
        place: usize,
        command: &Command,
        out: &mut Vec<Action>,
    ) -> Visit {
        let done = match command {
            Command::Reinit { who, invite } => {
                let named = |id: &Id<Sa>| {
                    let sa = self.sas.at(*id);
                    let mn_id = sa.and_then(|sa| self.sas.mn_id(sa.node));
                    mn_id.is_some_and(|mn_id| who.names(mn_id))
                };
                let id = Id::from_index(place).filter(named);
                if id.is_some() && *invite && !self.has_token(now, Kind::Refresh) {
                    return Visit::Wait;
                }
                id.is_some_and(|id| self.ask_reinit(now, id, *invite, out))
            }
            Command::Revoke { who, what, trigger } => {
                let named = |id: &Id<Binding>| {
                    let binding = self.cache.at(*id).filter(|binding| binding.is_bound());
                    let mn_id = binding.and_then(|binding| self.sas.mn_id(binding.node));
                    mn_id.is_some_and(|mn_id| who.names(mn_id))
                };
                let id = Id::from_index(place).filter(named);
                let full = self.operations.outstanding.is_full(Kind::Revocation);
                if id.is_some() && (full || !self.has_token(now, Kind::Revocation)) {
                    return Visit::Wait;
                }
                id.is_some_and(|id| self.revoke(now, id, (what, *trigger), out).is_ok())
            }
            Command::Drain { .. } | Command::Undrain => false,
        };
        Visit::Done(done)
    }

    /// Does up to `left` steps of what is due here.
    pub(crate) fn run_operations(
        &mut self,
        now: Timestamp,
        left: &mut usize,
        out: &mut Vec<Action>,
    ) {
        self.begin_questions(now);
        while let Some(due) = self.operations.wheel.pop(now, left) {
            match due {
                Due::Outstanding(id) => self.outstanding_due(now, id, out),
                Due::Walks => self.walk(now, left, out),
                Due::Switches => self.switch_more(now, left, out),
                Due::Member(id) => self.member_due(now, id, out),
                Due::Questions => self.ask_more(now, left, out),
            }
        }
    }

    /// Whether one more message of this kind may be sent now.
    pub(crate) fn has_token(&self, now: Timestamp, kind: Kind) -> bool {
        let bucket = self.operations.allowances.get(kind as usize);
        bucket
            .is_some_and(|bucket| bucket.clone().take(now, self.policy.operations.per_second(kind)))
    }

    /// Takes one message out of this second's share.
    pub(crate) fn take_token(&mut self, now: Timestamp, kind: Kind) -> bool {
        let per_second = self.policy.operations.per_second(kind);
        let bucket = self.operations.allowances.get_mut(kind as usize);
        bucket.is_some_and(|bucket| bucket.take(now, per_second))
    }

    /// MHP-12: a Binding Error is consumed where it answers something: what was said last to that
    /// mobile node. It says that the message is not known there.
    pub(crate) fn binding_error_heard(
        &mut self,
        sa: Id<Sa>,
        error: BindingError,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        if error.status != UNRECOGNIZED_MH_TYPE {
            return Err(Refusal::MhUnexpected);
        }
        let kinds = [Kind::Revocation, Kind::Switch, Kind::Heartbeat];
        let binding = self.entry_under(sa).ok_or(Refusal::MhUnexpected)?;
        let node = self.sas.at(sa).map(|sa| sa.node);
        let entry = self.cache.at(binding).filter(|it| Some(it.node) == node);
        let home_address = entry.ok_or(Refusal::MhUnexpected)?.home_address;
        let asked = self.operations.outstanding.latest(binding, &kinds);
        let id = asked.ok_or(Refusal::MhUnexpected)?;
        let notice = match self.operations.outstanding.get(id).map(|one| one.about.kind()) {
            Some(Kind::Revocation) => {
                self.conclude_revocation(id, Answer::NotUnderstood, out);
                return Ok(());
            }
            Some(Kind::Heartbeat) => OperationNotice::HeartbeatNotUnderstood { home_address },
            // EXT-02: "the home agent SHOULD attempt to continue providing services".
            _ => OperationNotice::SwitchNotUnderstood { home_address },
        };
        self.finish(id);
        out.push(Action::Notice(Notice::Operation(notice)));
        Ok(())
    }

    /// Whether an operator's wish refuses a registration, with status 129; `there` is the mobile
    /// node's binding, if it has one.
    pub(crate) fn operator_refuses(&self, there: Option<Id<Binding>>) -> bool {
        self.drain_refuses(there) || there.is_some_and(|there| self.revocation_refuses(there))
    }

    /// A Binding Update was accepted: it answers whatever was asked.
    pub(crate) fn heed_update(
        &mut self,
        now: Timestamp,
        sa: Id<Sa>,
        change: Change,
        out: &mut Vec<Action>,
    ) {
        let asks = change == Change::Register && self.policy.multicast.is_some();
        if self.operations.is_quiet() && !asks {
            return;
        }
        let Some(binding) = self.entry_under(sa) else { return };
        if asks {
            self.ask_for_groups(now, binding, out);
        }
        self.finish_kind(binding, Kind::Heartbeat);
        if change != Change::Deregister {
            return self.revocation_raced(binding, out);
        }
        if let Some(id) = self.operations.outstanding.find(binding, Kind::Revocation) {
            self.conclude_revocation(id, Answer::Deregistered, out);
        }
        self.forget_operations(binding, out);
    }

    /// A binding is gone: nothing is said to its mobile node any more, and it is in no group.
    pub(crate) fn forget_operations(&mut self, binding: Id<Binding>, out: &mut Vec<Action>) {
        if self.operations.is_quiet() {
            return;
        }
        for kind in Kind::ALL {
            self.finish_kind(binding, kind);
        }
        self.forget_told(binding);
        self.leave_groups(binding, out);
    }
}

/// What came of the look at one place.
enum Visit {
    /// It was dealt with; whether it was meant.
    Done(bool),
    /// It has to wait.
    Wait,
}

impl Operations {
    /// Whether nothing is under way that a binding could have a part in.
    fn is_quiet(&self) -> bool {
        self.outstanding.is_empty() && self.drain.is_none() && self.membership.is_empty()
    }
}
