//! Every place where a packet can stop, with the words for it: the workers, the control thread, the
//! home agent.

use hearth_api::DropRow;
use hearth_dataplane::DropReason;
use hearth_home_agent::Refusal;

/// Where packets stop and are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// In a worker.
    Worker(DropReason),
    /// On the way between the kernel's TAPs and the workers.
    HostQueue,
    /// In front of a next hop whose link-layer address is looked for.
    NeighbourQueue,
    /// In the home agent, as PType 8.
    Signalling(Refusal),
}

impl Stop {
    /// All of them, in the order of a packet's path.
    fn all() -> impl Iterator<Item = Self> {
        let workers = DropReason::ALL.iter().copied().map(Self::Worker);
        let signalling = Refusal::ALL.iter().copied().map(Self::Signalling);
        workers.chain([Self::HostQueue, Self::NeighbourQueue]).chain(signalling)
    }

    /// The counter's name.
    fn name(self) -> String {
        match self {
            Self::Worker(reason) => reason.name().into(),
            Self::HostQueue => "host_queue_full".into(),
            Self::NeighbourQueue => "neighbour_queue_full".into(),
            Self::Signalling(refusal) => format!("signalling_{}", refusal.name()),
        }
    }

    /// What it means, what brings it about, what can be done.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::Worker(reason) => [reason.describe(), reason.cause(), reason.remedy()],
            Self::HostQueue => [
                "The kernel's TAP or the ring to a worker had no room.",
                "More packets to or from the box itself than the control thread carries.",
                "See what comes with `hearth trace`; filter it in front of the box.",
            ],
            Self::NeighbourQueue => [
                "Too many packets waited for the link-layer addresses of their next hops.",
                "Somebody scans a prefix that lies on a port's link, or many next hops are down.",
                "Find the scanner with `hearth trace`; look at the next hops of the kernel's routes.",
            ],
            Self::Signalling(refusal) => [refusal.describe(), refusal.cause(), refusal.remedy()],
        }
    }
}

/// Every drop reason with a row of its words; nothing is counted yet.
pub(crate) fn drop_reasons() -> impl Iterator<Item = (Stop, DropRow)> {
    Stop::all().map(|stop| {
        let [description, cause, remedy] = stop.words().map(String::from);
        (stop, DropRow { reason: stop.name(), packets: 0, description, cause, remedy })
    })
}
