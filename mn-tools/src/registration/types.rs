//! What goes into the state machine and what comes out.

use std::time::{Duration, Instant};

use hearth_wire::Spi;
use hearth_wire::mh::Status;

use super::probing::Probe;
use crate::path::Path;

/// Intervals of registration (RFC 6275 s.12, 13) and bootstrap.
#[derive(Debug, Clone, PartialEq)]
pub struct Timers {
    /// Binding lifetime to ask for.
    pub lifetime: Duration,
    /// INITIAL_BINDACK_TIMEOUT.
    pub initial_timeout: Duration,
    /// InitialBindackTimeoutFirstReg: without a binding at the home agent.
    pub first_registration_timeout: Duration,
    /// MAX_BINDACK_TIMEOUT.
    pub max_timeout: Duration,
    /// Unanswered Binding Updates before another path is tried (RFC 5555 s.4.4.1).
    pub attempts_per_path: u32,
    /// How long a path that failed is left alone while there is another.
    pub failed_path_pause: Duration,
    /// NATKATIMEOUT: where the home agent names no interval (RFC 5555 s.6).
    pub nat_keepalive: Duration,
    /// Shortest interval, where a NAT forgets sooner than that.
    pub nat_keepalive_min: Duration,
    /// Part of an SA's validity that is left when a new one is fetched.
    pub renew_before: f64,
    /// Longest silence of the home agent, about, before another SA is fetched.
    pub max_silence: Duration,
    /// How long an older SA and an older path are still listened to.
    pub grace: Duration,
    /// First pause after a failed bootstrap.
    pub hac_retry: Duration,
    /// Longest pause after a failed bootstrap.
    pub hac_max_retry: Duration,
    /// Wait for the answer to the de-registration.
    pub stop_timeout: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(600),
            initial_timeout: Duration::from_secs(1),
            first_registration_timeout: Duration::from_millis(1500),
            max_timeout: Duration::from_secs(32),
            attempts_per_path: 3,
            failed_path_pause: Duration::from_secs(300),
            nat_keepalive: Duration::from_secs(110),
            nat_keepalive_min: Duration::from_secs(10),
            renew_before: 0.2,
            max_silence: Duration::from_secs(3600),
            grace: Duration::from_secs(10),
            hac_retry: Duration::from_secs(1),
            hac_max_retry: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(3),
        }
    }
}

/// What registration needs to know of a security association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Association {
    /// Its index.
    pub spi: Spi,
    /// When it ends, the MN's margin taken off.
    pub valid_until: Instant,
    /// When a new one is to be fetched.
    pub renew_at: Instant,
}

/// Part of an SA's validity, at most this long, that is left unused: our clock may be slow.
const CLOCK_MARGIN: Duration = Duration::from_secs(30);

impl Association {
    /// An SA that is valid for `left` of its `whole` time; `renew_before` is the part of that which
    /// is left when a new one is fetched.
    #[must_use]
    pub fn issued(
        spi: Spi,
        left: Duration,
        whole: Duration,
        renew_before: f64,
        now: Instant,
    ) -> Self {
        let usable = left.saturating_sub(CLOCK_MARGIN.min(whole / 10));
        let before = whole.mul_f64(renew_before);
        let renew_at = now + left.saturating_sub(before).min(usable);
        Self { spi, valid_until: now + usable, renew_at }
    }
}

/// Why a Binding Update is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// There is no binding.
    Initial,
    /// The care-of address changes.
    Handover,
    /// Lifetime or NAT mapping is to be kept.
    Refresh,
    /// The binding is to come under a newer SA.
    NewSa,
    /// The binding is to go.
    Deregistration,
    /// The node is on its home link: the binding is to go (RFC 6275 s.11.5.5).
    Return,
    /// Other care-of addresses of this node are to go: they can't be reached any more (RFC 5648
    /// s.5.4).
    Withdrawal,
}

impl Purpose {
    /// Its name in status file and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Handover => "handover",
            Self::Refresh => "refresh",
            Self::NewSa => "new_sa",
            Self::Deregistration => "deregistration",
            Self::Return => "return",
            Self::Withdrawal => "withdrawal",
        }
    }
}

/// A Binding Update to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Where from, and to which home agent.
    pub path: Path,
    /// Under which SA.
    pub spi: Spi,
    /// Sequence #.
    pub seq: u16,
    /// Lifetime in units of 4 seconds.
    pub lifetime: u16,
    /// Why it is sent.
    pub purpose: Purpose,
    /// The care-of addresses that a [`Purpose::Withdrawal`] is about, by Binding ID.
    pub withdraws: Vec<u16>,
}

/// The current binding, as the mobile node knows it (an entry of the Binding Update List).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The registered care-of address.
    pub path: Path,
    /// The SA that it was registered under.
    pub spi: Spi,
    /// Granted lifetime.
    pub lifetime: Duration,
    /// When it ends.
    pub expires: Instant,
    /// When it is to be refreshed.
    pub refresh_at: Instant,
    /// Whether an address translator is on the way; `None` over IPv6.
    pub nat: Option<bool>,
}

/// What happened, for log and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// No interface has a way to the home agent.
    NoNetwork,
    /// A Binding Update is being sent for this reason.
    Registering(Purpose, Path),
    /// The home agent accepted it.
    Registered(Registered),
    /// The home agent refused it.
    Refused(Purpose, Status),
    /// The home agent's last accepted sequence number differs from ours (status 135).
    SequenceAdopted(u16),
    /// The home agent wants a new SA (status 176).
    NewSaWanted,
    /// So many Binding Updates in a row were not answered.
    Unanswered(u32),
    /// This path did not answer; another one is tried.
    PathFailed(Path),
    /// Data goes out on this path, nothing comes back, and the home agent does not answer.
    PathSilent(Path),
    /// A path that failed answers again.
    PathBack(Path),
    /// A NAT forgot this node after so long, and hears of it as often from now on.
    NatForgot {
        /// How long nothing had been sent.
        after: Duration,
        /// The new interval.
        interval: Duration,
    },
    /// The home agent has no binding any more (Binding Error, status 1).
    BindingLost,
    /// The home agent has revoked the binding (RFC 5846).
    BindingRevoked,
    /// The binding ran out.
    BindingExpired,
    /// The SA ran out.
    AssociationExpired(Spi),
}

/// An accepted Binding Update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Why it was sent.
    pub purpose: Purpose,
    /// The new care-of address.
    pub path: Path,
    /// The old one.
    pub previous: Option<Path>,
    /// From Binding Update to acknowledgement.
    pub round_trip: Duration,
    /// Since the reason for it was noticed.
    pub since_noticed: Duration,
    /// Binding Updates sent, retransmissions included.
    pub tries: u32,
    /// Status, below 128.
    pub status: Status,
    /// Granted lifetime.
    pub lifetime: Duration,
    /// As in [`Binding::nat`].
    pub nat: Option<bool>,
}

/// What the caller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a socket for this path.
    Open(Path),
    /// Close it.
    Close(Path),
    /// Send a Binding Update.
    Send(Update),
    /// Send a Heartbeat.
    Probe(Probe),
    /// Send an echo request to the home agent under this SA, by another port than this path's.
    Echo(Path, Spi),
    /// Send data this way under this SA; `None`: nowhere.
    Carry(Option<(Path, Spi)>),
    /// Drop this SA.
    Forget(Spi),
    /// Fetch a new SA from the HAC.
    Bootstrap,
    /// Tell a person.
    Report(Report),
    /// Everything is over; nothing more will come.
    Stopped,
}
