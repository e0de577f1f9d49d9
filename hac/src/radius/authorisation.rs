//! What an AAA server says that a mobile node gets.

use std::net::{Ipv4Addr, Ipv6Addr};

use hearth_wire::directory::Services;
use ipnet::Ipv6Net;

use super::attribute::{
    ACCT_INTERIM_INTERVAL, Attributes, CLASS, DELEGATED_IPV6_PREFIX, FILTER_ID,
    FRAMED_INTERFACE_ID, FRAMED_IP_ADDRESS, FRAMED_IPV6_ADDRESS, FRAMED_IPV6_PREFIX, HOME_IPV4_HOA,
    HOME_LMA_IPV6_ADDRESS, SESSION_TIMEOUT,
};

/// Class attributes that are kept of one Access-Accept.
const MAX_CLASSES: usize = 4;

/// What an Access-Accept says beyond "yes". What is absent is for the HAC's own configuration to
/// decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorisation {
    /// The IPv6 home address: Framed-IPv6-Address (RFC 6911 s.3.1), or Framed-IPv6-Prefix of 128
    /// bits, or one of at most 64 bits with Framed-Interface-Id (RFC 3162 s.2.2, 2.3).
    pub home_address: Option<Ipv6Addr>,
    /// The IPv4 home address: Framed-IP-Address (RFC 2865 s.5.8), or PMIP6-Home-IPv4-HoA
    /// (RFC 6572 s.4.9).
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// The home agent's IPv6 address: PMIP6-Home-LMA-IPv6-Address (RFC 6572 s.4.2).
    pub home_agent: Option<Ipv6Addr>,
    /// Mobile network prefixes: Delegated-IPv6-Prefix (RFC 4818 s.3); one more than a subscriber can
    /// have at most, so that too many are seen to be.
    pub prefixes: Vec<Ipv6Net>,
    /// The realm of YAML whose policy it gets: Filter-Id (RFC 2865 s.5.11). Several are one that there
    /// is not.
    pub policy: Option<Box<str>>,
    /// The SA's longest validity in seconds: Session-Timeout (RFC 2865 s.5.27).
    pub validity: Option<u32>,
    /// Seconds between interim records: Acct-Interim-Interval (RFC 2869 s.5.16).
    pub interim_interval: Option<u32>,
    /// Whether YAML lets this server's word alone open an SA, for a mobile node that is no
    /// subscriber.
    pub unlisted: bool,
    /// To be sent back in accounting, unread: Class (RFC 2865 s.5.25).
    pub class: Vec<Box<[u8]>>,
}

impl Authorisation {
    /// Reads the attributes of an Access-Accept. One that has not its attribute's form counts as
    /// absent.
    #[must_use]
    pub fn read(attributes: Attributes<'_>) -> Self {
        let number = |kind| attributes.single(kind)?.try_into().ok().map(u32::from_be_bytes);
        let address6 = |kind| attributes.single(kind).and_then(ip6);
        let from_prefix = || {
            let (prefix, len) = prefix6(attributes.single(FRAMED_IPV6_PREFIX)?)?;
            if len == 128 {
                return Some(prefix);
            }
            let identifier = attributes.single(FRAMED_INTERFACE_ID)?.try_into().ok()?;
            let identifier = u128::from(u64::from_be_bytes(identifier));
            // RFC 4291 s.2.5.1: the lower half; what lies between both is zero.
            let prefix = Ipv6Net::new(prefix, len).ok().filter(|_| len <= 64)?.network();
            Some(Ipv6Addr::from_bits(prefix.to_bits() | identifier))
        };
        let delegated = attributes.all(DELEGATED_IPV6_PREFIX).filter_map(|value| {
            let (prefix, len) = prefix6(value)?;
            let prefix = Ipv6Net::new(prefix, len).ok()?;
            // RFC 4818 s.3: bits behind the length are zero.
            (len > 0 && prefix.trunc() == prefix).then_some(prefix)
        });
        let policies: Vec<_> = attributes.all(FILTER_ID).map(String::from_utf8_lossy).collect();
        // RFC 2865 s.5.8: all ones and all ones but the last leave the choice to the NAS.
        let framed = number(FRAMED_IP_ADDRESS).filter(|number| *number < 0xffff_fffe);
        Self {
            home_address: address6(FRAMED_IPV6_ADDRESS).or_else(from_prefix),
            ipv4_home_address: framed.map(Ipv4Addr::from_bits).or_else(|| {
                // RFC 6572 s.4.9: Reserved, Prefix-Length, address.
                let value: &[u8; 6] = attributes.single(HOME_IPV4_HOA)?.try_into().ok()?;
                let &[_, _, a, b, c, d] = value;
                Some(Ipv4Addr::new(a, b, c, d))
            }),
            home_agent: address6(HOME_LMA_IPV6_ADDRESS),
            prefixes: delegated.take(Services::MAX_PREFIXES + 1).collect(),
            policy: (!policies.is_empty()).then(|| policies.join(", ").into()),
            unlisted: false,
            validity: number(SESSION_TIMEOUT).filter(|seconds| *seconds > 0),
            interim_interval: number(ACCT_INTERIM_INTERVAL),
            class: attributes
                .all(CLASS)
                .filter(|class| !class.is_empty())
                .take(MAX_CLASSES)
                .map(Box::from)
                .collect(),
        }
    }
}

fn ip6(value: &[u8]) -> Option<Ipv6Addr> {
    value.try_into().ok().map(Ipv6Addr::from_octets)
}

/// Reserved, Prefix-Length, and as many octets of the prefix as it takes, or more
/// (RFC 3162 s.2.3).
fn prefix6(value: &[u8]) -> Option<(Ipv6Addr, u8)> {
    let (&[_, len], prefix) = value.split_first_chunk::<2>()?;
    let needed = usize::from(len.div_ceil(8));
    if len > 128 || prefix.len() > 16 || prefix.len() < needed {
        return None;
    }
    let mut octets = [0; 16];
    octets.get_mut(..prefix.len())?.copy_from_slice(prefix);
    Some((Ipv6Addr::from_octets(octets), len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(attributes: &[(u8, &[u8])]) -> Authorisation {
        let octets: Vec<u8> = attributes
            .iter()
            .flat_map(|(kind, value)| {
                [&[*kind, u8::try_from(value.len() + 2).unwrap()], *value].concat()
            })
            .collect();
        Authorisation::read(Attributes::checked(&octets).unwrap())
    }

    const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10);

    #[test]
    fn an_accept_says_what_a_mobile_node_gets() {
        let home_agent: Ipv6Addr = "2001:db8:1::1".parse().unwrap();
        let authorisation = read(&[
            (FRAMED_IPV6_ADDRESS, &HOA.octets()),
            (FRAMED_IP_ADDRESS, &[203, 0, 113, 10]),
            (HOME_LMA_IPV6_ADDRESS, &home_agent.octets()),
            (DELEGATED_IPV6_PREFIX, &[0, 56, 0x20, 1, 0x0d, 0xb8, 5, 0, 0]),
            (FILTER_ID, b"ships.example.net"),
            (SESSION_TIMEOUT, &[0, 0, 0x0e, 0x10]),
            (ACCT_INTERIM_INTERVAL, &[0, 0, 2, 0x58]),
            (CLASS, b"one"),
            (CLASS, &[0xff]),
        ]);
        let expected = Authorisation {
            home_address: Some(HOA),
            ipv4_home_address: Some(Ipv4Addr::new(203, 0, 113, 10)),
            home_agent: Some(home_agent),
            prefixes: vec!["2001:db8:500::/56".parse().unwrap()],
            policy: Some("ships.example.net".into()),
            validity: Some(3600),
            unlisted: false,
            interim_interval: Some(600),
            class: vec![(*b"one").into(), [0xff].into()],
        };
        assert_eq!(authorisation, expected);
        assert_eq!(read(&[]), Authorisation::default());
    }

    #[test]
    fn a_home_address_may_come_as_a_prefix() {
        let of = |len: u8| [&[0, len][..], &HOA.octets()].concat();
        assert_eq!(read(&[(FRAMED_IPV6_PREFIX, &of(128))]).home_address, Some(HOA));
        assert_eq!(read(&[(FRAMED_IPV6_PREFIX, &of(64))]).home_address, None);
        let identifier: (u8, &[u8]) = (FRAMED_INTERFACE_ID, &[0, 0, 0, 0, 0, 0, 0, 0x77]);
        let both = read(&[(FRAMED_IPV6_PREFIX, &of(64)), identifier]).home_address;
        assert_eq!(both, Some("2001:db8:100::77".parse().unwrap()));
        assert_eq!(read(&[(FRAMED_IPV6_PREFIX, &of(65)), identifier]).home_address, None);
        let hoa = read(&[(HOME_IPV4_HOA, &[0, 32, 203, 0, 113, 9])]).ipv4_home_address;
        assert_eq!(hoa, Some(Ipv4Addr::new(203, 0, 113, 9)));
    }

    #[test]
    fn what_makes_no_sense_counts_as_absent() {
        let prefix = |octets: &[u8]| read(&[(FRAMED_IPV6_PREFIX, octets)]).home_address;
        assert_eq!(prefix(&[0, 128, 0x20, 1, 0x0d, 0xb8]), None, "octets are missing");
        assert_eq!(prefix(&[0, 129]), None);
        assert_eq!(prefix(&[0]), None);
        assert_eq!(prefix(&[&[0, 128][..], &[1; 17]].concat()), None);
        let delegated = |octets: &[u8]| read(&[(DELEGATED_IPV6_PREFIX, octets)]).prefixes;
        assert_eq!(delegated(&[0, 31, 0x20, 1, 0x0d, 0xb9]), [], "a bit behind the length");
        assert_eq!(delegated(&[0, 0]), [], "everything");
        let absent = read(&[
            (FRAMED_IPV6_ADDRESS, &[1; 15]),
            (FRAMED_IP_ADDRESS, &[0xff, 0xff, 0xff, 0xfe]),
            (SESSION_TIMEOUT, &[1]),
        ]);
        assert_eq!(absent, Authorisation::default());
    }

    proptest! {
        #[test]
        fn any_attributes_are_read_without_a_panic(
            attributes in prop::collection::vec(
                (any::<u8>(), prop::collection::vec(any::<u8>(), 0..30)), 0..40,
            ),
        ) {
            let attributes: Vec<_> = attributes.iter().map(|(kind, v)| (*kind, &v[..])).collect();
            let read = read(&attributes);
            prop_assert!(read.class.len() <= MAX_CLASSES);
            prop_assert!(read.prefixes.len() <= Services::MAX_PREFIXES + 1);
        }
    }
}
