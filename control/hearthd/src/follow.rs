//! Traces and captures that clients of the API asked for, one of each at a time.
//!
//! Both end when they have what was asked for, at their time limit, and when the client goes away.
//! While one runs, its target is looked up again whenever an SA or a binding has changed, so that
//! it follows a mobile node to its next SA.

use std::time::{Duration, Instant};

use hearth_api::follow::{CaptureRequest, EndReason, MAX_SECONDS, Target, TraceRequest};
use hearth_dataplane::Filter;
use hearth_home_agent::HomeAgent;
use tokio::sync::oneshot;

use crate::capture::RunningCapture;
use crate::control::{Control, Parts};
use crate::outlet::{Gone, Inlet, Outlet, outlet};
use crate::server::{Peer, Refused};
use crate::target;
use crate::trace::RunningTrace;

/// Records and copies that are taken before the others get their turn.
pub(crate) const BATCH: usize = 256;

/// Looking targets up may take one part in so many of the control thread's time.
const AIM_SHARE: u32 = 20;

/// What runs.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    pub(crate) trace: Option<RunningTrace>,
    pub(crate) capture: Option<RunningCapture>,
    /// SAs or bindings have changed since the targets were looked up.
    pub(crate) changed: bool,
    aim_again: Option<Instant>,
}

impl Follow {
    /// Whether anything runs.
    pub(crate) const fn is_on(&self) -> bool {
        self.trace.is_some() || self.capture.is_some()
    }
}

/// What traces and captures have in common.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) outlet: Outlet,
    pub(crate) target: Target,
    filter: Filter,
    deadline: Instant,
}

/// Why nothing more comes.
pub(crate) enum Ending {
    /// The client took it all.
    Because(EndReason),
    /// The client is not there any more.
    ClientGone,
}

impl From<Gone> for Ending {
    fn from(_: Gone) -> Self {
        Self::ClientGone
    }
}

impl Session {
    /// Checks what every request has, and looks the target up.
    pub(crate) fn new(
        home_agent: &HomeAgent,
        target: Target,
        seconds: u32,
    ) -> Result<(Self, Inlet, Filter), Refused> {
        if !(1..=MAX_SECONDS).contains(&seconds) {
            let text = format!("seconds: {seconds} is out of range; 1 to {MAX_SECONDS}");
            return Err(Refused::Request(text));
        }
        let filter = target::filter(home_agent, &target)
            .map_err(|unknown| Refused::Unknown(format!("{target}: {unknown}")))?;
        let (outlet, inlet) = outlet();
        let deadline = Instant::now() + Duration::from_secs(seconds.into());
        Ok((Self { outlet, target, filter: filter.clone(), deadline }, inlet, filter))
    }

    /// Whether there is room for more; an error where it is over.
    pub(crate) fn goes_on(&self, now: Instant) -> Result<bool, Ending> {
        let ready = self.outlet.is_ready()?;
        if now >= self.deadline {
            return Err(Ending::Because(EndReason::TimeLimit));
        }
        Ok(ready)
    }

    /// The filter, where it is another one than before.
    fn aim(&mut self, home_agent: &HomeAgent) -> Option<Filter> {
        // A mobile node that has no SA at the moment is still the target: nothing matches.
        let filter = target::filter(home_agent, &self.target).unwrap_or_default();
        (filter != self.filter).then(|| {
            self.filter = filter.clone();
            filter
        })
    }
}

/// Where the answer to a request goes.
type Answer = oneshot::Sender<Result<Inlet, Refused>>;

/// Answers a client. One that has not waited for it is found to be gone when its session has its
/// first turn.
fn answer<T>(to: Answer, begun: Result<(T, Inlet), Refused>) -> Option<T> {
    let (session, inlet) = match begun {
        Ok((session, inlet)) => (Some(session), Ok(inlet)),
        Err(refused) => (None, Err(refused)),
    };
    drop(to.send(inlet));
    session
}

impl Control {
    pub(crate) fn begin_trace(&mut self, request: TraceRequest, peer: &Peer, to: Answer) {
        let Self { follow, parts, .. } = self;
        let begun = match follow.trace {
            Some(_) => Err(Refused::Busy("a trace is running already; one at a time".into())),
            None => RunningTrace::begin(&mut parts.workers, &parts.home_agent, request, peer),
        };
        follow.trace = answer(to, begun).or(follow.trace.take());
    }

    pub(crate) fn begin_capture(&mut self, request: CaptureRequest, peer: &Peer, to: Answer) {
        let Self { follow, parts, .. } = self;
        let begun = match follow.capture {
            Some(_) => Err(Refused::Busy("a capture is running already; one at a time".into())),
            None => RunningCapture::begin(&mut parts.workers, &parts.home_agent, request, peer),
        };
        follow.capture = answer(to, begun).or(follow.capture.take());
    }

    /// One look at what runs.
    pub(crate) fn follow(&mut self) {
        if !self.follow.is_on() {
            return;
        }
        let now = Instant::now();
        self.aim(now);
        let Self { follow, parts, .. } = self;
        let Parts { workers, config, .. } = parts;
        if let Some(trace) = &mut follow.trace
            && let Err(ending) = trace.turn(workers, &config.ports, now)
        {
            trace.end(workers, &config.ports, &ending);
            follow.trace = None;
        }
        if let Some(capture) = &mut follow.capture
            && let Err(ending) = capture.turn(workers, now)
        {
            capture.end(workers, &ending);
            follow.capture = None;
        }
    }

    /// Ends what runs, because the daemon does.
    pub(crate) fn stop_following(&mut self) {
        let Self { follow, parts, .. } = self;
        let ending = Ending::Because(EndReason::Stopped);
        if let Some(mut trace) = follow.trace.take() {
            trace.end(&mut parts.workers, &parts.config.ports, &ending);
        }
        if let Some(mut capture) = follow.capture.take() {
            capture.end(&mut parts.workers, &ending);
        }
    }

    fn aim(&mut self, now: Instant) {
        let Self { follow, parts, .. } = self;
        if !follow.changed || follow.aim_again.is_some_and(|then| now < then) {
            return;
        }
        follow.changed = false;
        if let Some(filter) =
            follow.trace.as_mut().and_then(|trace| trace.session.aim(&parts.home_agent))
        {
            parts.workers.aim_trace(&filter);
        }
        if let Some(filter) =
            follow.capture.as_mut().and_then(|capture| capture.session.aim(&parts.home_agent))
        {
            parts.workers.aim_capture(&filter);
        }
        follow.aim_again = Some(now + now.elapsed() * AIM_SHARE);
    }
}
