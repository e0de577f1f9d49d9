//! The kinds of packets in a [`crate::mixture`], and what has to become of each.

use hearth_dataplane::DropReason;

/// A kind of packet, by what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From a mobile node to the correspondent.
    Uplink,
    /// To a mobile node.
    Downlink,
    /// From a mobile node to another.
    Hairpin,
    /// From port to port, no mobile node concerned.
    Forwarded,
    /// A Binding Update.
    Signalling,
    /// From a mobile node, in two fragments.
    Fragmented,
    /// The first of two fragments; the other is lost.
    LoneFragment,
    /// From a mobile node, but its last octet is wrong.
    BadIcv,
    /// A copy of a packet from a mobile node.
    Replayed,
    /// Under an SPI that nobody has.
    UnknownSpi,
    /// Cut off somewhere behind its outer IP header.
    Truncated,
}

/// Where packets of a kind end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// They leave by a port.
    Out,
    /// The control thread gets them.
    Control,
    /// They are dropped, for one of these reasons.
    Dropped(&'static [DropReason]),
}

impl Kind {
    /// Every kind, and how many of 1024 packets are of it. Lone fragments come by time.
    pub(crate) const ALL: [(Self, u32); 11] = [
        (Self::Uplink, 380),
        (Self::Downlink, 400),
        (Self::Hairpin, 20),
        (Self::Forwarded, 30),
        (Self::Signalling, 2),
        (Self::Fragmented, 4),
        (Self::LoneFragment, 0),
        (Self::BadIcv, 40),
        (Self::Replayed, 40),
        (Self::UnknownSpi, 58),
        (Self::Truncated, 50),
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Downlink => "downlink",
            Self::Hairpin => "hairpin",
            Self::Forwarded => "forwarded",
            Self::Signalling => "binding updates",
            Self::Fragmented => "in two fragments",
            Self::LoneFragment => "first fragment alone",
            Self::BadIcv => "bad ICV",
            Self::Replayed => "replayed",
            Self::UnknownSpi => "unknown SPI",
            Self::Truncated => "truncated",
        }
    }

    pub(crate) const fn end(self) -> End {
        match self {
            Self::Uplink | Self::Downlink | Self::Hairpin | Self::Forwarded | Self::Fragmented => {
                End::Out
            }
            Self::Signalling => End::Control,
            Self::LoneFragment => End::Dropped(&[DropReason::FragmentTimeout]),
            Self::BadIcv => End::Dropped(&[DropReason::IcvMismatch]),
            // Which of two copies comes first is the dice's affair.
            Self::Replayed => End::Dropped(&[DropReason::Replayed, DropReason::ReplayTooOld]),
            Self::UnknownSpi => End::Dropped(&[DropReason::SpiUnknown]),
            Self::Truncated => End::Dropped(&[DropReason::IpLengthBeyondData]),
        }
    }

    /// Whether it comes from the home link.
    pub(crate) const fn comes_from_home(self) -> bool {
        matches!(self, Self::Downlink | Self::Forwarded)
    }

    /// The kind that an even number stands for.
    pub(crate) fn drawn(number: u32) -> Self {
        let mut left = number % 1024;
        for (kind, share) in Self::ALL {
            match left.checked_sub(share) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        Self::Downlink
    }
}

/// Packets sent, by [`Kind`], and the frames that they were sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sent {
    pub(crate) of: [u64; Kind::ALL.len()],
    pub(crate) frames: u64,
}

impl Sent {
    pub(crate) fn packets(&self) -> u64 {
        self.of.iter().sum()
    }

    /// Packets of this kind.
    pub(crate) fn kind(&self, kind: Kind) -> u64 {
        self.of.get(kind as usize).copied().unwrap_or(0)
    }

    /// Counts a packet that was sent in so many frames.
    pub(crate) fn count(&mut self, kind: Kind, frames: u64) {
        if let Some(count) = self.of.get_mut(kind as usize) {
            *count += 1;
        }
        self.frames += frames;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_as_often_as_they_are_said_to() {
        assert_eq!(Kind::ALL.iter().map(|(_, share)| share).sum::<u32>(), 1024);
        for (place, (kind, share)) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            let drawn = (0..1024).filter(|number| Kind::drawn(*number) == kind).count();
            assert_eq!(drawn, share as usize, "{kind:?}");
        }
    }
}
