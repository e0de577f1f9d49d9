//! What a worker keeps for packets out of the ordinary: too large, in pieces, or in need of an
//! ICMP error. Nothing here is touched while packets are whole and fit.

use hearth_dpdk::{BURST, Eal, FragmentPools, HEADROOM, Mempool, Reassembly};

use crate::clock;
use crate::config::{BuildError, Config};
use crate::crypto::iv::IvSource;
use crate::crypto::quote::Opener;
use crate::limiter::Limiter;
use crate::stage::members::Deliveries;

/// Octets of a large buffer behind its headroom.
const LARGE: u16 = 16_384;
/// Fragments that one worker makes at a time.
const FRAGMENTS: u32 = 64;
const _: () = assert!(FRAGMENTS as usize == BURST);
/// Octets for the headers of a fragment.
const FRAGMENT_ROOM: u16 = 64;
/// Packets of strangers that one worker gives to control to be answered, in a second.
const STRANGERS_PER_SECOND: u32 = 100;
const STRANGERS_PER_PEER: u32 = 5;
/// Claims of bound addresses that one worker tells of in a second; of one address it is one.
const CONTESTS_PER_SECOND: u32 = 1000;
/// Most workers, so that each can number its fragments apart.
const WORKERS: u32 = 128;

/// Buffers that the workers share.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    /// For fragments that are sent: what ports receive into.
    pub(crate) packets: Mempool,
    /// For packets that came in several buffers.
    pub(crate) large: Mempool,
    direct: Mempool,
    indirect: Mempool,
}

impl Pools {
    pub(crate) fn new(
        eal: &Eal,
        name: &str,
        config: &Config,
        packets: &Mempool,
    ) -> Result<Self, BuildError> {
        let pool = |part: &str, count, room| {
            let name = format!("{name}_{part}");
            Mempool::new(eal, &name, count, 0, room).map_err(|_| BuildError::Memory("packets"))
        };
        #[expect(clippy::cast_possible_truncation, reason = "128")]
        let headroom = HEADROOM as u16;
        let fragments = FRAGMENTS * u32::try_from(config.workers + 1).unwrap_or(WORKERS) - 1;
        Ok(Self {
            packets: packets.clone(),
            large: pool("large", config.large_buffers, headroom + LARGE)?,
            direct: pool("fh", fragments, headroom + FRAGMENT_ROOM)?,
            indirect: pool("fi", fragments, 0)?,
        })
    }

    /// Where fragments come from.
    pub(crate) const fn fragments(&self) -> FragmentPools<'_> {
        FragmentPools { direct: &self.direct, indirect: &self.indirect }
    }
}

/// One worker's.
pub(crate) struct Side {
    pub(crate) pools: Pools,
    /// ICMP errors to be sent, by who gets them.
    pub(crate) errors: Limiter,
    /// ICMP errors about outer packets, by the care-of address they are about.
    pub(crate) outer_errors: Limiter,
    /// Packets of strangers that control is to answer, by their source.
    pub(crate) strangers: Limiter,
    /// Claims of bound addresses that control is told, by the address.
    pub(crate) contests: Limiter,
    pub(crate) deliveries: Deliveries,
    pub(crate) opener: Opener,
    pub(crate) reassembly: Reassembly,
    /// Cycles for which a path MTU is believed.
    pub(crate) path_mtu_lifetime: u64,
    /// When fragments are looked through for old ones.
    next_look: u64,
    /// Cycles between two looks.
    look_every: u64,
    fragment_id: u32,
}

impl Side {
    pub(crate) fn new(
        eal: &Eal,
        config: &Config,
        pools: Pools,
        index: usize,
        ivs: &mut IvSource,
    ) -> Result<Self, BuildError> {
        let second = clock::second();
        let patience = second / 1000 * u64::from(config.reassembly_timeout_ms);
        let limiter =
            || Limiter::new(config.icmp_errors_per_second, config.icmp_errors_per_peer, second);
        let index = u32::try_from(index).unwrap_or(0) % WORKERS;
        Ok(Self {
            pools,
            errors: limiter(),
            outer_errors: limiter(),
            strangers: Limiter::new(STRANGERS_PER_SECOND, STRANGERS_PER_PEER, second),
            contests: Limiter::new(CONTESTS_PER_SECOND, 1, second),
            deliveries: Deliveries::default(),
            opener: Opener::new()?,
            reassembly: Reassembly::new(eal, config.reassembly_packets, patience)
                .map_err(|_| BuildError::Memory("reassembly"))?,
            path_mtu_lifetime: second.saturating_mul(config.path_mtu_lifetime_s.into()),
            next_look: 0,
            look_every: (patience / 4).max(1),
            fragment_id: u32::from(ivs.number()) * WORKERS + index,
        })
    }

    /// An identification for the fragments of an IPv6 packet that no other packet of the last
    /// minutes had, of any worker (RFC 8200 s.4.5).
    pub(crate) fn next_fragment_id(&mut self) -> u32 {
        self.fragment_id = self.fragment_id.wrapping_add(WORKERS);
        self.fragment_id
    }

    /// Frees fragments whose others did not come; returns how many. Costs a comparison while
    /// there are none.
    #[inline]
    pub(crate) fn age(&mut self, now: u64) -> u32 {
        if self.reassembly.held() == 0 || now < self.next_look {
            return 0;
        }
        self.next_look = now.saturating_add(self.look_every);
        self.reassembly.free_expired(now)
    }
}
