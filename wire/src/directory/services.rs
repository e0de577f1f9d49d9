//! What a subscriber may beyond a home address, as the HAC tells its home agents.
//!
//! Read first: RFC 3963 s.6, RFC 5648 s.6, RFC 6089 s.5.
//!
//! The block behind the other fields of a record; a record without it has the defaults:
//!
//! ```text
//! +--------+--------+--------+--------+--------+--------+--------+--------+-----...
//! | flags  | CoAs   | flows  |      max_lifetime (0: none)       | count  | prefixes
//! +--------+--------+--------+--------+--------+--------+--------+--------+-----...
//! flags: 1 = mobile router, 2 = bulk registration, 4 = multicast
//! prefix: family (4 or 6), length, then the 4 or 16 octets of its address
//! ```

use core::net::IpAddr;

use ipnet::IpNet;

use super::DirectoryError;

const MOBILE_ROUTER: u8 = 1;
const BULK: u8 = 2;
const MULTICAST: u8 = 4;

/// What a subscriber may; the default is a mobile host with one care-of address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// Its mobile network prefixes, of both families, without host bits; no other subscriber's
    /// overlap them. [`Services::MAX_PREFIXES`] at most.
    pub prefixes: Box<[IpNet]>,
    /// It may register as a mobile router (RFC 3963 s.6.6).
    pub mobile_router: bool,
    /// How many care-of addresses it may have at a time; 1: no Binding Identifier option
    /// (RFC 5648 s.6.2). 1 to [`Services::MAX_CARE_OF_ADDRESSES`].
    pub care_of_addresses: u8,
    /// It may register several care-of addresses in one Binding Update (RFC 5648 s.5.9).
    pub bulk: bool,
    /// How many flow bindings it may have at a time (RFC 6089); [`Services::MAX_FLOWS`] at most.
    pub flows: u8,
    /// It may join multicast groups through the tunnel (RFC 6275 s.10.4.3).
    pub multicast: bool,
    /// The longest lifetime of its bindings in seconds, where it is shorter than the home agent's.
    pub max_lifetime: Option<u32>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            prefixes: Box::default(),
            mobile_router: false,
            care_of_addresses: 1,
            bulk: false,
            flows: 0,
            multicast: false,
            max_lifetime: None,
        }
    }
}

impl Services {
    /// Most prefixes of a subscriber.
    pub const MAX_PREFIXES: usize = 32;
    /// Most care-of addresses of a subscriber at a time.
    pub const MAX_CARE_OF_ADDRESSES: u8 = 8;
    /// Most flow bindings of a subscriber at a time.
    pub const MAX_FLOWS: u8 = 16;

    /// Hands the block to `put`; `None` where there are more prefixes than a record can have.
    pub(super) fn put(&self, mut put: impl FnMut(&[u8])) -> Option<()> {
        if self.prefixes.len() > Self::MAX_PREFIXES {
            return None;
        }
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = flag(self.mobile_router, MOBILE_ROUTER)
            | flag(self.bulk, BULK)
            | flag(self.multicast, MULTICAST);
        put(&[flags, self.care_of_addresses, self.flows]);
        put(&self.max_lifetime.unwrap_or(0).to_be_bytes());
        put(&[u8::try_from(self.prefixes.len()).ok()?]);
        for prefix in &self.prefixes {
            match prefix.addr() {
                IpAddr::V4(address) => {
                    put(&[4, prefix.prefix_len()]);
                    put(&address.octets());
                }
                IpAddr::V6(address) => {
                    put(&[6, prefix.prefix_len()]);
                    put(&address.octets());
                }
            }
        }
        Some(())
    }

    /// Reads the block; `take` hands out so many of the octets that are left.
    pub(super) fn take<'a>(
        mut take: impl FnMut(usize) -> Result<&'a [u8], DirectoryError>,
    ) -> Result<Self, DirectoryError> {
        let &[flags, care_of_addresses, flows] = array(take(3)?)?;
        let max_lifetime = u32::from_be_bytes(*array(take(4)?)?);
        let &[count] = array(take(1)?)?;
        let is_known = flags & !(MOBILE_ROUTER | BULK | MULTICAST) == 0
            && (1..=Self::MAX_CARE_OF_ADDRESSES).contains(&care_of_addresses)
            && flows <= Self::MAX_FLOWS
            && usize::from(count) <= Self::MAX_PREFIXES;
        if !is_known {
            return Err(DirectoryError::Services);
        }
        let mut prefixes = Vec::with_capacity(count.into());
        for _ in 0..count {
            prefixes.push(prefix(&mut take)?);
        }
        Ok(Self {
            prefixes: prefixes.into(),
            mobile_router: flags & MOBILE_ROUTER != 0,
            care_of_addresses,
            bulk: flags & BULK != 0,
            flows,
            multicast: flags & MULTICAST != 0,
            max_lifetime: (max_lifetime != 0).then_some(max_lifetime),
        })
    }
}

fn prefix<'a>(
    take: &mut impl FnMut(usize) -> Result<&'a [u8], DirectoryError>,
) -> Result<IpNet, DirectoryError> {
    let &[family, len] = array(take(2)?)?;
    let address = match family {
        4 => IpAddr::from(*array::<4>(take(4)?)?),
        6 => IpAddr::from(*array::<16>(take(16)?)?),
        _ => return Err(DirectoryError::Services),
    };
    let prefix = IpNet::new(address, len).map_err(|_| DirectoryError::Services)?;
    // A default route is no mobile network, and host bits are somebody's mistake.
    let is_sound = len > 0 && prefix.trunc() == prefix;
    if is_sound { Ok(prefix) } else { Err(DirectoryError::Services) }
}

fn array<const N: usize>(octets: &[u8]) -> Result<&[u8; N], DirectoryError> {
    octets.try_into().map_err(|_| DirectoryError::Truncated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(services: &Services) -> Vec<u8> {
        let mut octets = Vec::new();
        services.put(|more| octets.extend_from_slice(more)).unwrap();
        octets
    }

    fn read(octets: &[u8]) -> Result<Services, DirectoryError> {
        let mut rest = octets;
        let services = Services::take(|len| {
            let (taken, left) = rest.split_at_checked(len).ok_or(DirectoryError::Truncated)?;
            rest = left;
            Ok(taken)
        })?;
        assert!(rest.is_empty());
        Ok(services)
    }

    fn mobile_router() -> Services {
        Services {
            prefixes: ["2001:db8:6618:200::/56", "192.0.2.0/28"].map(|p| p.parse().unwrap()).into(),
            mobile_router: true,
            care_of_addresses: 3,
            bulk: true,
            flows: 5,
            multicast: false,
            max_lifetime: Some(600),
        }
    }

    #[test]
    fn the_block_stands_field_by_field() {
        let octets: &[&[u8]] = &[
            &[0x03, 3, 5],
            &[0, 0, 0x02, 0x58],
            &[2],
            &[6, 56, 0x20, 1, 0x0d, 0xb8, 0x66, 0x18, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[4, 28, 192, 0, 2, 0],
        ];
        assert_eq!(written(&mobile_router()), octets.concat());
        assert_eq!(read(&octets.concat()), Ok(mobile_router()));
        let multicast = Services { multicast: true, ..Services::default() };
        assert_eq!(written(&multicast), [0x04, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read(&written(&multicast)), Ok(multicast));
    }

    /// A home agent acts on nothing that it does not understand whole.
    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = written(&mobile_router());
        for (place, value) in [
            (0, 0x08), // an unknown flag
            (1, 0),    // no care-of address at all
            (1, Services::MAX_CARE_OF_ADDRESSES + 1),
            (2, Services::MAX_FLOWS + 1),
            (7, 33),  // prefixes
            (8, 5),   // a family
            (9, 0),   // a default route
            (9, 54),  // host bits
            (9, 129), // a length
        ] {
            let mut octets = good.clone();
            octets[place] = value;
            assert_eq!(read(&octets), Err(DirectoryError::Services), "{place} {value}");
        }
        for len in 0..good.len() {
            assert_eq!(read(&good[..len]), Err(DirectoryError::Truncated), "{len}");
        }
        let net = |n: u8| format!("2001:db8:{n:x}::/48").parse().unwrap();
        let many = Services { prefixes: (0..33).map(net).collect(), ..Services::default() };
        assert_eq!(many.put(|_| {}), None);
    }

    fn net() -> impl Strategy<Value = IpNet> {
        (any::<IpAddr>(), 1..=32_u8)
            .prop_map(|(address, len)| IpNet::new(address, len).unwrap().trunc())
    }

    proptest! {
        #[test]
        fn every_services_survives_the_wire(
            prefixes in prop::collection::vec(net(), 0..=Services::MAX_PREFIXES),
            mobile_router: bool,
            care_of_addresses in 1..=Services::MAX_CARE_OF_ADDRESSES,
            bulk: bool,
            flows in 0..=Services::MAX_FLOWS,
            multicast: bool,
            max_lifetime in prop::option::of(1_u32..),
        ) {
            let services = Services {
                prefixes: prefixes.into(),
                mobile_router,
                care_of_addresses,
                bulk,
                flows,
                multicast,
                max_lifetime,
            };
            prop_assert_eq!(read(&written(&services)), Ok(services));
        }

        #[test]
        fn take_never_panics(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut rest = &octets[..];
            let _ = Services::take(|len| {
                let (taken, left) = rest.split_at_checked(len).ok_or(DirectoryError::Truncated)?;
                rest = left;
                Ok(taken)
            });
        }
    }
}
