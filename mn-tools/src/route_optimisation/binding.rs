//! What becomes of a binding at a correspondent: acknowledged, refreshed, lost, moved.
//!
//! Read first: RFC 6275 s.9.5.4, 11.3.6, 11.7.3, 11.7.4.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use hearth_wire::mh::{self, Status};

use super::correspondent::{Binding, Correspondent, Goal, LOOK, Means, PATIENCE, UNIT, Work};
use super::{Action, Why};

/// A binding that is gone again so soon is no use.
const SHORT_LIVED: Duration = Duration::from_secs(10);
const MAX_PATIENCE: Duration = Duration::from_secs(80);
/// Authenticated answers that change nothing but what the next update has to say.
const MAX_CORRECTIONS: u32 = 3;

/// A Binding Acknowledgement from a correspondent.
pub(super) struct Ack<'a> {
    pub(super) status: Status,
    pub(super) seq: u16,
    pub(super) lifetime: u16,
    pub(super) authorization: Option<mh::Authorization<'a>>,
}

impl Correspondent {
    /// RFC 6275 s.11.7.3.
    pub(super) fn on_ack(&mut self, ack: &Ack<'_>, means: &mut Means<'_>) {
        let Work::Updating(goal, retry, sent) = &self.work else { return };
        let (goal, retry) = (*goal, *retry);
        let authentic = ack.authorization.is_some_and(|it| {
            sent.kbm.verifies(sent.care_of, self.address, &it.mh_data, it.authenticator)
        });
        let nonces_expired = matches!(
            ack.status,
            Status::EXPIRED_HOME_NONCE | Status::EXPIRED_CARE_OF_NONCE | Status::EXPIRED_NONCES
        );
        // s.9.5.4: those three can't be authenticated.
        let matches = ack.status == Status::SEQUENCE_OUT_OF_WINDOW || ack.seq == sent.seq;
        if !matches || !(authentic || nonces_expired) {
            return;
        }
        if nonces_expired || ack.status == Status::SEQUENCE_OUT_OF_WINDOW {
            self.corrections += 1;
            if self.corrections > MAX_CORRECTIONS {
                return self.fail(Why::Refused(ack.status.0), means);
            }
            if ack.status == Status::SEQUENCE_OUT_OF_WINDOW {
                self.seq = ack.seq;
            }
            let [home, care_of] = &mut self.nonces;
            if matches!(ack.status, Status::EXPIRED_HOME_NONCE | Status::EXPIRED_NONCES) {
                *home = None;
            }
            if matches!(ack.status, Status::EXPIRED_CARE_OF_NONCE | Status::EXPIRED_NONCES) {
                *care_of = None;
            }
            self.work = Work::Testing(goal, retry.due(means.now));
            return self.proceed(means);
        }
        let granted = UNIT * u32::from(ack.lifetime.min(sent.lifetime));
        let (care_of, expires) = (sent.care_of, sent.at + granted);
        match goal {
            Goal::Unbind(why) => self.rest(why, means.now),
            Goal::Bind if !ack.status.is_accepted() || expires <= means.now => {
                self.fail(Why::Refused(ack.status.0), means);
            }
            Goal::Bind => self.bound(care_of, expires, granted, means),
        }
    }

    fn bound(
        &mut self,
        care_of: Ipv6Addr,
        expires: Instant,
        granted: Duration,
        means: &mut Means<'_>,
    ) {
        let since = match self.binding {
            Some(before) if before.care_of == care_of => before.since,
            _ => {
                let lifetime = expires.saturating_duration_since(means.now);
                means.out.push(Action::Optimised(self.address, care_of, lifetime));
                means.now
            }
        };
        let refresh_at = expires - granted / 5;
        self.binding = Some(Binding { care_of, since, expires, refresh_at });
        self.held_until = Some(expires);
        self.work = Work::Nothing;
        self.used = self.traffic.both();
        self.watch.look_at = means.now + LOOK;
        self.watch.seen = self.traffic.get();
        self.watch.silent_since = None;
    }

    /// The correspondent has no binding for us (Binding Error, status 1).
    pub(super) fn on_unknown_binding(&mut self, means: &mut Means<'_>) {
        let Some(binding) = self.binding.take() else { return };
        self.held_until = None;
        if means.now.duration_since(binding.since) < SHORT_LIVED {
            return self.fail(Why::Forgotten, means);
        }
        self.bind(means);
    }

    /// The correspondent asks for a refresh, which what it is used for decides on.
    pub(super) fn on_refresh_request(&mut self, means: &mut Means<'_>) {
        let used = self.traffic.both() != self.used;
        if used && self.binding.is_some() && matches!(self.work, Work::Nothing) {
            self.bind(means);
        }
    }

    /// The node has moved, or has no IPv6 care-of address any more.
    pub(super) fn on_place(&mut self, means: &mut Means<'_>) {
        let care_of = means.place.care_of;
        self.mtu = None;
        match self.work {
            Work::Over => {}
            // What a correspondent can't do it can't do elsewhere; a way may be open.
            Work::Resting(Why::NotSupported | Why::Refused(_), _) => {}
            Work::Resting(..) => self.work = Work::Over,
            _ if self.is_ending() && care_of.is_none() => {}
            _ if care_of.is_some() => self.bind(means),
            _ => self.unbind(None, means),
        }
    }

    pub(super) fn on_timer(&mut self, means: &mut Means<'_>) {
        let now = means.now;
        if self.binding.is_some_and(|binding| binding.expires <= now) {
            self.binding = None;
            if matches!(self.work, Work::Nothing) {
                self.work = Work::Over;
            }
        }
        match &self.work {
            Work::Nothing => self.look(means),
            Work::Resting(_, until) if *until <= now => self.work = Work::Over,
            Work::Testing(goal, retry) | Work::Updating(goal, retry, _) if retry.at <= now => {
                let goal = *goal;
                let Some(again) = retry.again(now) else {
                    return self.fail(Why::Silent, means);
                };
                match &mut self.work {
                    Work::Testing(_, retry) | Work::Updating(_, retry, _) => *retry = again,
                    _ => self.work = Work::Testing(goal, again),
                }
                self.proceed(means);
            }
            _ => {}
        }
    }

    /// Refreshes a binding that is used, and asks where nothing comes back.
    fn look(&mut self, means: &mut Means<'_>) {
        let now = means.now;
        let Some(binding) = self.binding else { return };
        if self.watch.look_at > now {
            return;
        }
        self.watch.look_at = now + LOOK;
        if binding.refresh_at <= now && self.traffic.both() != self.used {
            return self.bind(means);
        }
        let (sent, received) = self.traffic.get();
        let (sent_before, received_before) =
            std::mem::replace(&mut self.watch.seen, (sent, received));
        if received != received_before {
            self.watch.silent_since = None;
            self.watch.patience = PATIENCE;
        } else if sent != sent_before {
            let since = *self.watch.silent_since.get_or_insert(now);
            if now.duration_since(since) >= self.watch.patience {
                // It may have nothing to say: the next time it is asked later.
                self.watch.patience = (self.watch.patience * 2).min(MAX_PATIENCE);
                self.bind(means);
            }
        }
    }
}
