//! What the data path counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a packet is dropped. The name in the status file is [`DropReason::name`]; where the home
/// agent drops for the same reason, it is the home agent's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Uplink: no path is registered.
    NoBinding,
    /// Uplink: not an IP packet.
    NotIp,
    /// Uplink: not from a home address.
    SourceNotHome,
    /// Uplink: all sequence numbers of the SA are used.
    SequenceExhausted,
    /// Uplink: the kernel did not take the packet.
    SendFailed,
    /// Downlink: shorter than its header, or than IV, one block and ICV of the suite.
    FrameShort,
    /// Downlink: the ciphertext is not a whole number of blocks.
    FrameNotWholeBlocks,
    /// Downlink: PType other than 0, 1, 8.
    PtypeUnregistered,
    /// Downlink: PType 0 with an SPI.
    PlainSpiNotZero,
    /// Downlink: PType 0 with a sequence number.
    PlainSequenceNotZero,
    /// Downlink: PType 0 under an SA that protects data.
    PlainDataForbidden,
    /// Downlink: no SA has this SPI.
    SpiUnknown,
    /// Downlink: sequence number seen before.
    Replayed,
    /// Downlink: sequence number left of the replay window.
    ReplayTooOld,
    /// Downlink: ICV wrong.
    IcvMismatch,
    /// Downlink: Pad Length larger than the payload, behind a right ICV.
    PadLength,
    /// Downlink: padding other than 1, 2, 3, ..., behind a right ICV.
    Padding,
    /// Downlink: Next Header of a data packet neither 4 nor 41.
    DataNextHeader,
    /// Downlink: the inner packet is of another version than Next Header says.
    InnerVersion,
    /// Downlink: the inner packet is shorter than it says, or no IP packet.
    InnerLength,
    /// Downlink: not to a home address.
    DestinationNotHome,
    /// Downlink: the outer header says Congestion Experienced and the inner packet can't (RFC 6040).
    EcnNotCapable,
    /// Downlink: the TUN did not take the packet.
    TunFailed,
    /// Direct: from somebody who was not told the care-of address.
    CorrespondentUnknown,
    /// Direct: no type 2 routing header with the home address (RFC 6275 s.6.4).
    RoutingHeader,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 25] = [
        Self::NoBinding,
        Self::NotIp,
        Self::SourceNotHome,
        Self::SequenceExhausted,
        Self::SendFailed,
        Self::FrameShort,
        Self::FrameNotWholeBlocks,
        Self::PtypeUnregistered,
        Self::PlainSpiNotZero,
        Self::PlainSequenceNotZero,
        Self::PlainDataForbidden,
        Self::SpiUnknown,
        Self::Replayed,
        Self::ReplayTooOld,
        Self::IcvMismatch,
        Self::PadLength,
        Self::Padding,
        Self::DataNextHeader,
        Self::InnerVersion,
        Self::InnerLength,
        Self::DestinationNotHome,
        Self::EcnNotCapable,
        Self::TunFailed,
        Self::CorrespondentUnknown,
        Self::RoutingHeader,
    ];

    /// The counter's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoBinding => "no_binding",
            Self::NotIp => "not_ip",
            Self::SourceNotHome => "source_not_home",
            Self::SequenceExhausted => "sequence_exhausted",
            Self::SendFailed => "send_failed",
            Self::FrameShort => "frame_short",
            Self::FrameNotWholeBlocks => "frame_not_whole_blocks",
            Self::PtypeUnregistered => "ptype_unregistered",
            Self::PlainSpiNotZero => "plain_spi_not_zero",
            Self::PlainSequenceNotZero => "plain_sequence_not_zero",
            Self::PlainDataForbidden => "plain_data_forbidden",
            Self::SpiUnknown => "spi_unknown",
            Self::Replayed => "replayed",
            Self::ReplayTooOld => "replay_too_old",
            Self::IcvMismatch => "icv_mismatch",
            Self::PadLength => "pad_length",
            Self::Padding => "padding",
            Self::DataNextHeader => "data_next_header",
            Self::InnerVersion => "inner_version",
            Self::InnerLength => "inner_length",
            Self::DestinationNotHome => "destination_not_home",
            Self::EcnNotCapable => "ecn_not_capable",
            Self::TunFailed => "tun_failed",
            Self::CorrespondentUnknown => "correspondent_unknown",
            Self::RoutingHeader => "routing_header",
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
    pub(super) fn count(&self, packets: usize, octets: usize) {
        self.packets.fetch_add(packets as u64, Ordering::Relaxed);
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
    /// Packets that went to a correspondent directly.
    pub direct_uplink: Traffic,
    /// Packets that came from a correspondent directly.
    pub direct_downlink: Traffic,
    drops: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn drop(&self, reason: DropReason) {
        self.drop_several(reason, 1);
    }

    pub(super) fn drop_several(&self, reason: DropReason, packets: usize) {
        if let Some(counter) = self.drops.get(reason as usize) {
            counter.fetch_add(packets as u64, Ordering::Relaxed);
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

    /// Those of the home agent's names (hearth-dataplane, `drop_reason`) that an operator looks
    /// for at both ends.
    #[test]
    fn names_are_those_of_the_home_agent() {
        let names = DropReason::ALL.map(DropReason::name);
        for shared in [
            "icv_mismatch",
            "replayed",
            "replay_too_old",
            "spi_unknown",
            "ptype_unregistered",
            "plain_data_forbidden",
            "sequence_exhausted",
            "frame_short",
            "no_binding",
            "ecn_not_capable",
        ] {
            assert!(names.contains(&shared), "{shared}");
        }
    }
}
