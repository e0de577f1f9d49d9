//! One correspondent: an entry of the Binding Update List (RFC 6275 s.11.1).

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_wire::mh::{NonceIndices, TestedAddress};

use super::keys::{Kbm, Token};
use super::rate::{Rate, Retry};
use super::{Action, By, Place, Traffic, Why, messages};
use crate::tunnel::IvSource;

/// MAX_TOKEN_LIFETIME, less what a message takes on its way (RFC 6275 s.12).
const TOKEN_LIFETIME: Duration = Duration::from_secs(205);
/// MAX_RR_BINDING_LIFETIME (RFC 6275 s.12), and the unit of the Lifetime field.
const MAX_LIFETIME: u16 = 105;
pub(super) const UNIT: Duration = Duration::from_secs(4);
/// How long a correspondent that can't, or does not want to, is left alone.
const PAUSE: Duration = Duration::from_secs(600);
/// Between two looks whether anything comes back.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How long nothing may come back before the correspondent is asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What is to become of the binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Bind,
    /// Take it away, and then rest for this reason, if for one.
    Unbind(Option<Why>),
}

/// What is being done for it.
pub(super) enum Work {
    Nothing,
    /// Home Test Init, Care-of Test Init or both are on their way.
    Testing(Goal, Retry),
    Updating(Goal, Retry, Sent),
    /// Left alone until then.
    Resting(Why, Instant),
    /// Nothing is left to do.
    Over,
}

/// A Binding Update whose answer is awaited.
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) seq: u16,
    pub(super) lifetime: u16,
    pub(super) care_of: Ipv6Addr,
    pub(super) kbm: Kbm,
}

/// A token and what belongs to it.
pub(super) struct Nonce {
    pub(super) token: Token,
    pub(super) index: u16,
    /// When the message that asked for it was sent.
    pub(super) at: Instant,
    /// The address that was tested.
    pub(super) address: Ipv6Addr,
}

/// A cookie that was sent, from this address.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    cookie: [u8; 8],
    at: Instant,
    address: Ipv6Addr,
}

/// A binding at the correspondent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binding {
    pub(super) care_of: Ipv6Addr,
    pub(super) since: Instant,
    pub(super) expires: Instant,
    pub(super) refresh_at: Instant,
}

/// Whether anything comes back directly.
pub(super) struct Watch {
    pub(super) look_at: Instant,
    /// Packets sent and received directly, at the last look.
    pub(super) seen: (u64, u64),
    /// Since when packets have been sent and none came.
    pub(super) silent_since: Option<Instant>,
    pub(super) patience: Duration,
}

pub(super) struct Correspondent {
    pub(super) address: Ipv6Addr,
    pub(super) traffic: Arc<Traffic>,
    /// MTU of the direct way, where a router has named one.
    pub(super) mtu: Option<u32>,
    pub(super) binding: Option<Binding>,
    /// Until when the correspondent may have a binding, acknowledged or not.
    pub(super) held_until: Option<Instant>,
    pub(super) work: Work,
    pub(super) asked: [Option<Asked>; 2],
    pub(super) nonces: [Option<Nonce>; 2],
    /// Home Test Init, Care-of Test Init, Binding Update.
    pub(super) rates: [Rate; 3],
    pub(super) seq: u16,
    pub(super) corrections: u32,
    pub(super) watch: Watch,
    /// Packets at the last registration.
    pub(super) used: u64,
}

/// The place of what is kept for each of the two addresses.
const fn place_of(address: TestedAddress) -> usize {
    match address {
        TestedAddress::Home => 0,
        TestedAddress::CareOf => 1,
    }
}

impl Correspondent {
    pub(super) fn new(address: Ipv6Addr, seq: u16, now: Instant) -> Self {
        Self {
            address,
            traffic: Arc::default(),
            mtu: None,
            binding: None,
            held_until: None,
            work: Work::Testing(Goal::Bind, Retry::new(now)),
            asked: [None; 2],
            nonces: [None, None],
            rates: Default::default(),
            seq,
            corrections: 0,
            watch: Watch {
                look_at: now + LOOK,
                seen: (0, 0),
                silent_since: None,
                patience: PATIENCE,
            },
            used: 0,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.work, Work::Over)
    }

    /// Whether it is being asked to forget us.
    pub(super) const fn is_ending(&self) -> bool {
        matches!(self.work, Work::Testing(Goal::Unbind(_), _) | Work::Updating(Goal::Unbind(_), ..))
    }

    pub(super) const fn resting(&self) -> Option<(Why, Instant)> {
        match self.work {
            Work::Resting(why, until) => Some((why, until)),
            _ => None,
        }
    }

    /// Whether packets go directly from this care-of address.
    pub(super) fn is_direct(&self, place: &Place) -> bool {
        self.binding.is_some_and(|binding| Some(binding.care_of) == place.care_of)
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let work = match &self.work {
            Work::Nothing | Work::Over => None,
            Work::Testing(_, retry) | Work::Updating(_, retry, _) => Some(retry.at),
            Work::Resting(_, until) => Some(*until),
        };
        let expires = self.binding.map(|binding| binding.expires);
        let look = expires.filter(|_| matches!(self.work, Work::Nothing));
        [work, expires, look.map(|_| self.watch.look_at)].into_iter().flatten().min()
    }
}

/// What an entry needs to act.
pub(super) struct Means<'a> {
    pub(super) place: &'a Place,
    pub(super) random: &'a mut IvSource,
    pub(super) out: &'a mut Vec<Action>,
    pub(super) now: Instant,
}

impl Means<'_> {
    fn cookie(&mut self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.random.draw();
        [a, b, c, d, e, f, g, h]
    }
}

impl Correspondent {
    /// Begins, or begins again: a first registration, a refresh, a handover.
    pub(super) fn bind(&mut self, means: &mut Means<'_>) {
        self.begin(Goal::Bind, means);
    }

    /// Takes away what binding the correspondent may have.
    pub(super) fn unbind(&mut self, why: Option<Why>, means: &mut Means<'_>) {
        self.binding = None;
        if self.held_until.is_none_or(|until| until <= means.now) {
            self.rest(why, means.now);
            return;
        }
        self.begin(Goal::Unbind(why), means);
    }

    fn begin(&mut self, goal: Goal, means: &mut Means<'_>) {
        self.corrections = 0;
        self.asked = [None; 2];
        self.work = Work::Testing(goal, Retry::new(means.now));
        self.proceed(means);
    }

    /// Leaves it alone for a while, or for good where there is no reason to remember.
    pub(super) fn rest(&mut self, why: Option<Why>, now: Instant) {
        self.binding = None;
        self.asked = [None; 2];
        self.nonces = [None, None];
        self.work = why.map_or(Work::Over, |why| Work::Resting(why, now + PAUSE));
    }

    /// The direct way does not work: back to the tunnel, by which the correspondent hears of it too.
    pub(super) fn fail(&mut self, why: Why, means: &mut Means<'_>) {
        match self.work {
            Work::Resting(..) | Work::Over => {}
            Work::Testing(Goal::Unbind(before), _) | Work::Updating(Goal::Unbind(before), ..) => {
                self.rest(before, means.now);
            }
            _ => self.unbind(Some(why), means),
        }
    }

    /// Sends what is missing for the goal: tests first, then the update.
    pub(super) fn proceed(&mut self, means: &mut Means<'_>) {
        let (goal, retry) = match self.work {
            Work::Testing(goal, retry) | Work::Updating(goal, retry, _) => (goal, retry),
            _ => return,
        };
        let (Some(home), care_of) = (means.place.home, means.place.care_of) else { return };
        let tested = match (goal, care_of) {
            (Goal::Bind, Some(care_of)) => Some(care_of),
            (Goal::Bind, None) => return,
            (Goal::Unbind(_), _) => None,
        };
        let now = means.now;
        let fresh = |nonce: &Nonce, address| {
            nonce.address == address && now.duration_since(nonce.at) < TOKEN_LIFETIME
        };
        let wanted = [(TestedAddress::Home, Some(home)), (TestedAddress::CareOf, tested)];
        let mut complete = true;
        let mut deferred = None;
        for (which, address) in wanted {
            let (Some(address), at) = (address, place_of(which)) else { continue };
            let kept = self.nonces.get_mut(at).and_then(|slot| {
                slot.take_if(|nonce| !fresh(nonce, address));
                slot.as_ref()
            });
            if kept.is_some() {
                continue;
            }
            complete = false;
            if let Err(at) = self.ask(which, address, means) {
                deferred = Some(at);
            }
        }
        if complete {
            return self.update(goal, tested, means);
        }
        let retry = deferred.map_or(retry, |at| retry.due(at));
        self.work = Work::Testing(goal, retry);
    }

    /// Sends a Home Test Init or Care-of Test Init, always with a new cookie; or when it may be sent.
    fn ask(
        &mut self,
        which: TestedAddress,
        address: Ipv6Addr,
        means: &mut Means<'_>,
    ) -> Result<(), Instant> {
        let (place, now) = (place_of(which), means.now);
        if let Some(rate) = self.rates.get_mut(place) {
            let at = rate.allowed_at(now);
            if at > now {
                return Err(at);
            }
            rate.note(now);
        }
        let cookie = means.cookie();
        if let Some(slot) = self.asked.get_mut(place) {
            *slot = Some(Asked { cookie, at: now, address });
        }
        let by = if which == TestedAddress::Home { By::Home } else { By::CareOf };
        if let Some(packet) = messages::init(which, cookie, address, self.address) {
            means.out.push(Action::Send(by, packet));
        }
        Ok(())
    }

    fn update(&mut self, goal: Goal, care_of: Option<Ipv6Addr>, means: &mut Means<'_>) {
        let now = means.now;
        let before = match self.work {
            Work::Updating(goal_before, retry, _) if goal_before == goal => Some(retry),
            _ => None,
        };
        let [.., rate] = &mut self.rates;
        let at = rate.allowed_at(now);
        if at > now {
            let retry = before.unwrap_or_else(|| Retry::new(now));
            self.work = Work::Testing(goal, retry.due(at));
            return;
        }
        let ([Some(home_nonce), care_of_nonce], Some(home)) = (&self.nonces, means.place.home)
        else {
            return;
        };
        let care_of_nonce = care_of_nonce.as_ref().filter(|_| care_of.is_some());
        rate.note(now);
        self.seq = self.seq.wrapping_add(1);
        let kbm = Kbm::new(&home_nonce.token, care_of_nonce.map(|nonce| &nonce.token));
        let lifetime = if care_of.is_some() { MAX_LIFETIME } else { 0 };
        let sent = Sent { at: now, seq: self.seq, lifetime, care_of: care_of.unwrap_or(home), kbm };
        // RFC 6275 s.11.7.2: 0 where a binding is deleted.
        let care_of_index = care_of_nonce.map_or(0, |nonce| nonce.index);
        let packet = messages::update(&messages::Update {
            correspondent: self.address,
            home,
            care_of: sent.care_of,
            seq: sent.seq,
            lifetime,
            nonces: NonceIndices { home: home_nonce.index, care_of: care_of_index },
            kbm: &sent.kbm,
        });
        let by = if care_of.is_some() { By::CareOf } else { By::Home };
        means.out.extend(packet.map(|packet| Action::Send(by, packet)));
        if lifetime > 0 {
            self.held_until = Some(now + UNIT * u32::from(lifetime));
        }
        self.work = Work::Updating(goal, before.unwrap_or_else(|| Retry::new(now)), sent);
    }

    /// A Home Test or Care-of Test for this address of ours.
    pub(super) fn on_test(
        &mut self,
        which: TestedAddress,
        to: Ipv6Addr,
        cookie: [u8; 8],
        (index, token): (u16, &[u8; 8]),
        means: &mut Means<'_>,
    ) {
        let place = place_of(which);
        let asked = self.asked.get_mut(place).and_then(|slot| {
            // RFC 6275 s.11.6.2: only the answer to the last question, and only once.
            slot.take_if(|asked| asked.cookie == cookie && asked.address == to)
        });
        let (Some(asked), Work::Testing(..)) = (asked, &self.work) else { return };
        if let Some(slot) = self.nonces.get_mut(place) {
            let token = Token::new(*token);
            *slot = Some(Nonce { token, index, at: asked.at, address: asked.address });
        }
        // What else was asked is still on its way.
        if self.asked.iter().all(Option::is_none) {
            self.proceed(means);
        }
    }
}
