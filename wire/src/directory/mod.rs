//! The SA directory between HAC and HA: what crosses the Unix socket.
//!
//! The HA connects, sends [`Request::Watch`] for its own name and gets every live record, then
//! [`Update::Synced`], then each change as it happens. Where several HACs serve one HA, each says with
//! that which SPIs it has told everything of. The HA asks by SPI ([`Request::Lookup`]) for a
//! record that it misses. Frames are a 4-octet length in network order and that many octets.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ids::{MobileNodeId, Spi};
use crate::suite::{Scope, Suite};

pub mod codec;
pub mod services;

pub use codec::{
    DirectoryError, MAX_FRAME, decode_request, decode_update, deframe, encode_request,
    encode_update, refused_record,
};
pub use services::Services;

/// Key material of one direction. No `Debug`, no `Clone`; wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop, PartialEq, Eq)]
pub struct DirectionKeys {
    integrity: Box<[u8]>,
    encryption: Box<[u8]>,
}

impl DirectionKeys {
    /// Takes the two keys; `None` where a length is not the suite's.
    #[must_use]
    pub fn new(suite: Suite, integrity: Box<[u8]>, encryption: Box<[u8]>) -> Option<Self> {
        let keys = Self { integrity, encryption };
        (keys.integrity.len() == suite.ikey_len() && keys.encryption.len() == suite.ekey_len())
            .then_some(keys)
    }

    /// The integrity key (`ikey`); empty under a combined algorithm.
    #[must_use]
    pub fn integrity(&self) -> &[u8] {
        &self.integrity
    }

    /// The encryption key (`ekey`), salt included; empty under NULL.
    #[must_use]
    pub fn encryption(&self) -> &[u8] {
        &self.encryption
    }
}

impl core::fmt::Debug for DirectionKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("DirectionKeys(..)")
    }
}

/// One SA as the HAC issued it (RFC 6618 s.4.3, 5.6).
#[derive(Debug, PartialEq, Eq)]
pub struct SaRecord {
    /// Unique over all HACs of the deployment.
    pub spi: Spi,
    /// Whose SA it is.
    pub mn_id: MobileNodeId,
    /// The name of the home agent that the MN was sent to; 255 octets at most.
    pub home_agent: Box<str>,
    /// The ciphersuite.
    pub suite: Suite,
    /// The scope (`mip6-sas`).
    pub scope: Scope,
    /// Keys for packets from MN to HA.
    pub mn_to_ha: DirectionKeys,
    /// Keys for packets from HA to MN.
    pub ha_to_mn: DirectionKeys,
    /// End of validity, seconds since 1970-01-01 UTC.
    pub validity_end: u64,
    /// The IPv6 home address of the SA.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address, where one was assigned.
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// The HA's IPv6 address that was handed out; one end of the checksum of R-30.
    pub ha_address: Ipv6Addr,
    /// Number of this issue for this mn-id, growing: a higher one is newer.
    pub generation: u64,
    /// What the subscriber may beyond a home address.
    pub services: Services,
}

/// What an SA has carried since the home agent has it, as its accounting wants to know it (RFC 2866).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Which SA.
    pub spi: Spi,
    /// Packets accepted from the mobile node.
    pub packets_in: u64,
    /// Octets in them, as UDP payload.
    pub octets_in: u64,
    /// Packets sent to the mobile node.
    pub packets_out: u64,
    /// Octets in them, as UDP payload.
    pub octets_out: u64,
    /// Where the mobile node is, while there is a binding under the SA.
    pub care_of: Option<IpAddr>,
    /// The home agent no longer accepts the SA: these numbers are its last.
    pub is_over: bool,
}

/// HA to HAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Send every record of this home agent, then changes.
    Watch {
        /// Name of the home agent; 255 octets at most.
        home_agent: Box<str>,
    },
    /// Send the record of this SPI, or [`Update::Unknown`].
    Lookup {
        /// The SPI asked for.
        spi: Spi,
    },
    /// This home agent is at work. Whoever has said so once says it again within
    /// [`ALIVE_INTERVAL`]; one that falls silent is not alive, and is cut.
    Alive,
    /// The answer to [`Update::UsageWanted`]; and, unasked, the last word on an SA that has ended.
    Usage(Usage),
}

/// SAs of one mobile node that a home agent keeps at most, the oldest unused going first: more than
/// one that is restless can mean to use, and too few for one subscriber to fill a table. A HAC, which does
/// not know which are in use, keeps a multiple of it.
pub const MAX_SAS_PER_NODE: u32 = 64;

/// How often a home agent says that it is at work.
pub const ALIVE_INTERVAL: core::time::Duration = core::time::Duration::from_secs(1);

/// The SPIs that one HAC deals out for one home agent, both ends among them: no other HAC deals out any
/// of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpiRange {
    first: Spi,
    last: Spi,
}

impl SpiRange {
    /// From `first` to `last`; `None` where `last` is lower.
    #[must_use]
    pub fn new(first: Spi, last: Spi) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest.
    #[must_use]
    pub const fn first(self) -> Spi {
        self.first
    }

    /// The highest.
    #[must_use]
    pub const fn last(self) -> Spi {
        self.last
    }

    /// Whether `spi` is one of them.
    #[must_use]
    pub fn contains(self, spi: Spi) -> bool {
        (self.first..=self.last).contains(&spi)
    }

    /// Whether an SPI is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// HAC to HA.
#[derive(Debug, PartialEq, Eq)]
pub enum Update {
    /// A record that is new, or that the watch's start replays.
    Issued(Box<SaRecord>),
    /// The SA is no longer to be accepted.
    Revoked(Spi),
    /// Everything that existed when the watch began has been sent. Records that the HA holds and
    /// that were not replayed are to be dropped: those of these SPIs, where there are other HACs;
    /// `None`: this one does not say which are its own.
    Synced(Option<SpiRange>),
    /// Answer to a lookup that found nothing.
    Unknown(Spi),
    /// Say what this SA has carried. A home agent that does not have it says nothing.
    UsageWanted(Spi),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SA-01, R-51.
    #[test]
    fn sa_01_a_range_of_spis_has_both_its_ends() {
        let spi = |number| Spi::new(number).unwrap();
        let range = |first, last| SpiRange::new(spi(first), spi(last)).unwrap();
        assert_eq!(SpiRange::new(spi(8), spi(7)), None);
        let within = [6, 7, 8, 9, 10].map(|number| range(7, 9).contains(spi(number)));
        assert_eq!(within, [false, true, true, true, false]);
        for (first, last, overlaps) in [
            (1, 6, false),
            (1, 7, true),
            (8, 8, true),
            (9, 12, true),
            (10, 12, false),
            (1, 99, true),
        ] {
            assert_eq!(range(7, 9).overlaps(range(first, last)), overlaps, "{first} {last}");
            assert_eq!(range(first, last).overlaps(range(7, 9)), overlaps, "{first} {last}");
        }
    }

    #[test]
    fn keys_have_exactly_the_lengths_of_their_suite() {
        // R-13, ENC-21
        for suite in Suite::known() {
            let (ikey_len, ekey_len) = (suite.ikey_len(), suite.ekey_len());
            for ikey in [0, ikey_len.saturating_sub(1), ikey_len, ikey_len + 1] {
                for ekey in [0, ekey_len.saturating_sub(1), ekey_len, ekey_len + 1] {
                    let keys =
                        DirectionKeys::new(suite, vec![1; ikey].into(), vec![2; ekey].into());
                    let right = (ikey, ekey) == (ikey_len, ekey_len);
                    assert_eq!(keys.is_some(), right, "{suite} {ikey} {ekey}");
                }
            }
        }
    }
}
