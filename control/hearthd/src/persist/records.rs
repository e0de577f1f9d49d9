//! How SAs and their numbers stand in the log.

use hearth_home_agent::{SA_LIFE_LEN, SaInfo};
use hearth_wire::Spi;
use hearth_wire::directory::{DirectionKeys, SaRecord};

use super::kept::KeptSa;

/// Flag of an SA's record: its keys are zeros, the directory has them.
pub(super) const WITHOUT_KEYS: u8 = 1;

/// Where the numbers of an SA go on after a restart, and what it has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Numbers {
    /// Outbound numbers below `grant << 16` may have been used.
    pub(super) grant: u16,
    /// Inbound numbers below it count as seen.
    pub(super) floor: u32,
    pub(super) in_octets: u64,
    pub(super) out_octets: u64,
}

impl Numbers {
    /// What is known of an SA that has carried so many octets.
    pub(super) const fn new(kept: &KeptSa, [in_octets, out_octets]: [u64; 2]) -> Self {
        Self { grant: kept.grant, floor: kept.floor, in_octets, out_octets }
    }
}

/// What an SA's value begins with: version, flags, grant, inbound numbers, life.
pub(super) const SA_VERSION: u8 = 1;
pub(super) const GRANT: usize = 6;
pub(super) const INBOUND: usize = 20;
pub(super) const SA_HEAD: usize = 2 + GRANT + INBOUND + SA_LIFE_LEN;
/// Octets of the length in front of a frame of the directory.
pub(super) const FRAME_LENGTH: usize = 4;

pub(super) fn grant_value(units: u16, starts: u32) -> [u8; GRANT] {
    let ([a, b], [c, d, e, f]) = (units.to_be_bytes(), starts.to_be_bytes());
    [a, b, c, d, e, f]
}

pub(super) fn read_grant(value: &[u8]) -> Option<(u16, u32)> {
    let [a, b, c, d, e, f] = *value.first_chunk::<GRANT>()?;
    Some((u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])))
}

pub(super) fn inbound_value(numbers: Numbers) -> [u8; INBOUND] {
    let mut value = [0; INBOUND];
    value[..4].copy_from_slice(&numbers.floor.to_be_bytes());
    value[4..12].copy_from_slice(&numbers.in_octets.to_be_bytes());
    value[12..].copy_from_slice(&numbers.out_octets.to_be_bytes());
    value
}

pub(super) fn read_inbound(value: &[u8]) -> Option<Numbers> {
    let (floor, rest) = value.split_first_chunk::<4>()?;
    let (in_octets, rest) = rest.split_first_chunk::<8>()?;
    Some(Numbers {
        grant: 0,
        floor: u32::from_be_bytes(*floor),
        in_octets: u64::from_be_bytes(*in_octets),
        out_octets: u64::from_be_bytes(*rest.first_chunk::<8>()?),
    })
}

/// The record that the directory gave out, with this end of its validity and these keys, one behind
/// the other; none: zeros.
pub(super) fn record_of(
    info: &SaInfo,
    (validity_end, keys): (u64, &[u8]),
    home_agent: &str,
) -> Option<SaRecord> {
    let suite = info.suite;
    let mut left = keys;
    let mut take = |length: usize| -> Option<Box<[u8]>> {
        if keys.is_empty() {
            return Some(vec![0; length].into());
        }
        let (key, rest) = left.split_at_checked(length)?;
        left = rest;
        Some(key.into())
    };
    let mut direction =
        || DirectionKeys::new(suite, take(suite.ikey_len())?, take(suite.ekey_len())?);
    Some(SaRecord {
        spi: info.spi,
        mn_id: info.mn_id.clone(),
        home_agent: home_agent.into(),
        suite,
        scope: info.scope,
        mn_to_ha: direction()?,
        ha_to_mn: direction()?,
        validity_end,
        home_address: info.home_address,
        ipv4_home_address: info.ipv4_home_address,
        ha_address: info.ha_address,
        generation: info.generation,
        services: info.services.clone(),
    })
}

pub(super) fn sa_key(spi: Spi, generation: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&spi.get().to_be_bytes());
    key[4..].copy_from_slice(&generation.to_be_bytes());
    key
}

pub(super) fn sa_name(key: &[u8]) -> Option<(Spi, u64)> {
    let (spi, generation) = key.split_first_chunk::<4>()?;
    let spi = Spi::new(u32::from_be_bytes(*spi)).ok()?;
    Some((spi, u64::from_be_bytes(generation.try_into().ok()?)))
}
