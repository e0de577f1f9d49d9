//! What the data path counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a packet is dropped. The name in the status file is [`DropReason::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Uplink: no path is registered.
    NoBinding,
    /// Uplink: not an IP packet.
    NotIp,
    /// Uplink: not from a home address.
    SourceNotHome,
    /// Uplink: the SA has no sequence number left.
    Exhausted,
    /// Uplink: the kernel did not take the packet.
    SendFailed,
    /// Downlink: shorter than its header or its suite's least.
    Short,
    /// Downlink: PType other than 0, 1, 8.
    UnknownPtype,
    /// Downlink: PType 0 under an SA that protects data, or with SPI or number.
    Scope,
    /// Downlink: no SA has this SPI.
    UnknownSpi,
    /// Downlink: sequence number seen before or too old.
    Replay,
    /// Downlink: ICV wrong.
    Icv,
    /// Downlink: padding wrong behind a right ICV.
    Padding,
    /// Downlink: Next Header does not announce the inner packet.
    NextHeader,
    /// Downlink: the inner packet is shorter than it says, or no IP packet.
    InnerLength,
    /// Downlink: not to a home address.
    DestinationNotHome,
    /// Downlink: the TUN did not take the packet.
    TunFailed,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 16] = [
        Self::NoBinding,
        Self::NotIp,
        Self::SourceNotHome,
        Self::Exhausted,
        Self::SendFailed,
        Self::Short,
        Self::UnknownPtype,
        Self::Scope,
        Self::UnknownSpi,
        Self::Replay,
        Self::Icv,
        Self::Padding,
        Self::NextHeader,
        Self::InnerLength,
        Self::DestinationNotHome,
        Self::TunFailed,
    ];

    /// The counter's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoBinding => "no_binding",
            Self::NotIp => "not_ip",
            Self::SourceNotHome => "source_not_home",
            Self::Exhausted => "exhausted",
            Self::SendFailed => "send_failed",
            Self::Short => "short",
            Self::UnknownPtype => "unknown_ptype",
            Self::Scope => "scope",
            Self::UnknownSpi => "unknown_spi",
            Self::Replay => "replay",
            Self::Icv => "icv",
            Self::Padding => "padding",
            Self::NextHeader => "next_header",
            Self::InnerLength => "inner_length",
            Self::DestinationNotHome => "destination_not_home",
            Self::TunFailed => "tun_failed",
        }
    }
}

/// Packets and octets of one direction.
#[derive(Debug, Default)]
pub struct Traffic {
    packets: AtomicU64,
    octets: AtomicU64,
}

impl Traffic {
    pub(super) fn count(&self, octets: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
    }

    /// Packets and octets so far.
    #[must_use]
    pub fn get(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.octets.load(Ordering::Relaxed))
    }
}

/// All counters of the data path.
#[derive(Debug, Default)]
pub struct Counters {
    /// Inner packets to the home agent.
    pub uplink: Traffic,
    /// Inner packets from the home agent.
    pub downlink: Traffic,
    drops: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn drop(&self, reason: DropReason) {
        if let Some(counter) = self.drops.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Packets dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            let counters = Counters::default();
            counters.drop(reason);
            assert_eq!(DropReason::ALL.map(|r| counters.dropped(r)).iter().sum::<u64>(), 1);
            assert_eq!(counters.dropped(reason), 1);
        }
    }
}
