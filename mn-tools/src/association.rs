//! A security association as the data path uses it: keys, numbers, window.
//!
//! Read first: RFC 6618 s.4.3, 6.1; readings.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hearth_wire::{Cipher, Scope, SeqNo, Spi, Suite};

use crate::bootstrap::Grant;
use hearth_esp::{ReplayError, ReplayWindow, Tally, Transform};

/// Packets in one direction after which a new SA is fetched.
pub const RENEW_AT_PACKETS: u64 = 1 << 31;
/// Octets under 3DES after which a new SA is fetched.
pub const RENEW_AT_TRIPLE_DES_OCTETS: u64 = 1 << 30;

/// One SA. Shared by the threads of the data path and the control thread.
#[derive(Debug)]
pub struct SecurityAssociation {
    /// Its index.
    pub spi: Spi,
    /// Its scope.
    pub scope: Scope,
    /// The home address that it belongs to.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address, where the HAC gave one.
    pub home_address_ip4: Option<Ipv4Addr>,
    /// The home agent's address; one end of the checksum of R-30.
    pub home_agent: Ipv6Addr,
    /// Keys towards the home agent.
    pub outbound: Transform,
    /// Keys from the home agent.
    pub inbound: Transform,
    next_seq: AtomicU64,
    octets: AtomicU64,
    /// A limit of R-23 was told.
    worn: AtomicBool,
    window: Mutex<ReplayWindow>,
}

impl SecurityAssociation {
    /// Takes what the HAC issued into use.
    #[must_use]
    pub fn new(grant: Grant) -> Self {
        Self {
            spi: grant.spi,
            scope: grant.scope,
            home_address: grant.home_address,
            home_address_ip4: grant.home_address_ip4,
            home_agent: grant.home_agent,
            outbound: grant.outbound,
            inbound: grant.inbound,
            next_seq: AtomicU64::new(0),
            octets: AtomicU64::new(0),
            worn: AtomicBool::new(false),
            window: Mutex::default(),
        }
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.outbound.suite()
    }

    /// The next sequence number; `None` once all of them are used: a number is never used twice
    /// . Under AES-GCM the security of the whole SA rests on it.
    #[must_use]
    pub fn draw(&self) -> Option<SeqNo> {
        let drawn = self.next_seq.fetch_add(1, Ordering::Relaxed);
        if let Ok(number) = u32::try_from(drawn) {
            return Some(SeqNo(number));
        }
        // Keeps the counter from ever coming round, however long the attempts go on.
        self.next_seq.store(1 << 32, Ordering::Relaxed);
        None
    }

    /// The next `count` sequence numbers, of which the first is returned; `None` where there are not
    /// so many left. Then all of them are used.
    #[must_use]
    pub fn draw_train(&self, count: usize) -> Option<SeqNo> {
        let count = u64::try_from(count).ok()?;
        let drawn = self.next_seq.fetch_add(count, Ordering::Relaxed);
        let last = drawn.checked_add(count.checked_sub(1)?)?;
        if u32::try_from(last).is_ok() {
            return u32::try_from(drawn).ok().map(SeqNo);
        }
        self.next_seq.store(1 << 32, Ordering::Relaxed);
        None
    }

    /// The look of R-24.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn look(&self, seq: SeqNo) -> Result<(), ReplayError> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).look(seq)
    }

    /// The commit of R-24.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn accept(&self, seq: SeqNo) -> Result<(), ReplayError> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).accept(seq)
    }

    /// What came from the home agent, and what is missing in between.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).tally()
    }

    /// Counts a packet of `len` octets with number `seq` in either direction; whether a limit of
    /// R-23 is reached, which is told once for the SA. The very packet that reaches it may be lost,
    /// or carry a Binding Update, so any later one tells as well.
    #[must_use]
    pub fn wears(&self, seq: SeqNo, len: usize) -> bool {
        let mut worn = u64::from(seq.0) >= RENEW_AT_PACKETS;
        if self.suite().cipher() == Cipher::TripleDesCbc {
            let len = u64::try_from(len).unwrap_or_default();
            let before = self.octets.fetch_add(len, Ordering::Relaxed);
            worn |= before.saturating_add(len) >= RENEW_AT_TRIPLE_DES_OCTETS;
        }
        worn && !self.worn.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn grant(suite: Suite, scope: Scope) -> Grant {
        let direction = |seed: u8| {
            let counting = |len: usize| -> Vec<u8> {
                (0..len).map(|i| u8::try_from(i * 5 % 251).unwrap() ^ seed).collect()
            };
            let (ikey, ekey) = (counting(suite.ikey_len()), counting(suite.ekey_len()));
            Transform::new(suite, &ikey, &ekey).unwrap()
        };
        Grant {
            spi: Spi::new(7).unwrap(),
            suite,
            scope,
            outbound: direction(0x11),
            inbound: direction(0x22),
            validity_end: 4_000_000_000,
            home_agent: "2001:db8:a::10".parse().unwrap(),
            home_agent_ip4: Some([198, 51, 100, 10].into()),
            port: 7872,
            home_address: "2001:db8:b:1::7".parse().unwrap(),
            home_address_ip4: Some([203, 0, 113, 200].into()),
            dns: Vec::new(),
        }
    }

    #[test]
    fn numbers_start_at_0_and_never_come_round() {
        let sa = SecurityAssociation::new(grant(Suite::Aes128CbcSha, Scope::SignallingAndData));
        assert_eq!((sa.draw(), sa.draw()), (Some(SeqNo(0)), Some(SeqNo(1))));
        sa.next_seq.store(u64::from(u32::MAX), Ordering::Relaxed);
        assert_eq!(sa.draw(), Some(SeqNo(u32::MAX)));
        for _ in 0..3 {
            assert_eq!(sa.draw(), None);
        }
    }

    #[test]
    fn limits_are_told_once() {
        let sa = SecurityAssociation::new(grant(Suite::Aes128CbcSha, Scope::SignallingAndData));
        assert!(!sa.wears(SeqNo(0x7fff_ffff), usize::MAX));
        assert!(sa.wears(SeqNo(0x8000_0000), 1));
        assert!(!sa.wears(SeqNo(0x8000_0001), 1));
        // The packet with the number itself was lost.
        let sa = SecurityAssociation::new(grant(Suite::Aes128CbcSha, Scope::SignallingAndData));
        assert!(!sa.wears(SeqNo(0x7fff_ffff), 1));
        assert!(sa.wears(SeqNo(0x8000_0002), 1));
        assert!(!sa.wears(SeqNo(0x8000_0003), 1));
        // R-23 limits octets under 3DES alone.
        let sa = SecurityAssociation::new(grant(Suite::Aes128Gcm, Scope::SignallingAndData));
        assert!(!sa.wears(SeqNo(0x7fff_ffff), usize::MAX));
        assert!(sa.wears(SeqNo(0x8000_0000), 1));
        let sa = SecurityAssociation::new(grant(Suite::TripleDesEdeCbcSha, Scope::Signalling));
        assert!(!sa.wears(SeqNo(1), (1 << 30) - 1));
        assert!(sa.wears(SeqNo(2), 1));
        assert!(!sa.wears(SeqNo(3), 1));
    }
}
