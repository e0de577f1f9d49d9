//! Attributes: Type, Length, Value.
//!
//! Read first: RFC 2865 s.5, 5.26; RFC 3579 s.3.1.
//!
//! ```text
//!  0                   1                   2
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//! |     Type      |    Length     |  Value ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//! ```

/// User-Name (RFC 2865 s.5.1).
pub const USER_NAME: u8 = 1;
/// NAS-Port (RFC 2865 s.5.5).
pub const NAS_PORT: u8 = 5;
/// Service-Type (RFC 2865 s.5.6).
pub const SERVICE_TYPE: u8 = 6;
/// Framed-IP-Address (RFC 2865 s.5.8).
pub const FRAMED_IP_ADDRESS: u8 = 8;
/// Filter-Id (RFC 2865 s.5.11).
pub const FILTER_ID: u8 = 11;
/// Framed-MTU (RFC 2865 s.5.12, RFC 3579 s.2.4).
pub const FRAMED_MTU: u8 = 12;
/// State (RFC 2865 s.5.24).
pub const STATE: u8 = 24;
/// Class (RFC 2865 s.5.25).
pub const CLASS: u8 = 25;
/// Vendor-Specific (RFC 2865 s.5.26).
pub const VENDOR_SPECIFIC: u8 = 26;
/// Session-Timeout (RFC 2865 s.5.27).
pub const SESSION_TIMEOUT: u8 = 27;
/// Calling-Station-Id (RFC 2865 s.5.31).
pub const CALLING_STATION_ID: u8 = 31;
/// NAS-Identifier (RFC 2865 s.5.32).
pub const NAS_IDENTIFIER: u8 = 32;
/// Acct-Status-Type (RFC 2866 s.5.1).
pub const ACCT_STATUS_TYPE: u8 = 40;
/// Acct-Delay-Time (RFC 2866 s.5.2).
pub const ACCT_DELAY_TIME: u8 = 41;
/// Acct-Input-Octets (RFC 2866 s.5.3).
pub const ACCT_INPUT_OCTETS: u8 = 42;
/// Acct-Output-Octets (RFC 2866 s.5.4).
pub const ACCT_OUTPUT_OCTETS: u8 = 43;
/// Acct-Session-Id (RFC 2866 s.5.5).
pub const ACCT_SESSION_ID: u8 = 44;
/// Acct-Authentic (RFC 2866 s.5.6).
pub const ACCT_AUTHENTIC: u8 = 45;
/// Acct-Session-Time (RFC 2866 s.5.7).
pub const ACCT_SESSION_TIME: u8 = 46;
/// Acct-Input-Packets (RFC 2866 s.5.8).
pub const ACCT_INPUT_PACKETS: u8 = 47;
/// Acct-Output-Packets (RFC 2866 s.5.9).
pub const ACCT_OUTPUT_PACKETS: u8 = 48;
/// Acct-Terminate-Cause (RFC 2866 s.5.10).
pub const ACCT_TERMINATE_CAUSE: u8 = 49;
/// Acct-Input-Gigawords (RFC 2869 s.5.1).
pub const ACCT_INPUT_GIGAWORDS: u8 = 52;
/// Acct-Output-Gigawords (RFC 2869 s.5.2).
pub const ACCT_OUTPUT_GIGAWORDS: u8 = 53;
/// Event-Timestamp (RFC 2869 s.5.3).
pub const EVENT_TIMESTAMP: u8 = 55;
/// NAS-Port-Type (RFC 2865 s.5.41).
pub const NAS_PORT_TYPE: u8 = 61;
/// EAP-Message (RFC 3579 s.3.1).
pub const EAP_MESSAGE: u8 = 79;
/// Message-Authenticator (RFC 3579 s.3.2).
pub const MESSAGE_AUTHENTICATOR: u8 = 80;
/// Acct-Interim-Interval (RFC 2869 s.5.16).
pub const ACCT_INTERIM_INTERVAL: u8 = 85;
/// Framed-Interface-Id (RFC 3162 s.2.2).
pub const FRAMED_INTERFACE_ID: u8 = 96;
/// Framed-IPv6-Prefix (RFC 3162 s.2.3).
pub const FRAMED_IPV6_PREFIX: u8 = 97;
/// Delegated-IPv6-Prefix (RFC 4818 s.3).
pub const DELEGATED_IPV6_PREFIX: u8 = 123;
/// PMIP6-Home-LMA-IPv6-Address (RFC 6572 s.4.2).
pub const HOME_LMA_IPV6_ADDRESS: u8 = 147;
/// PMIP6-Home-IPv4-HoA (RFC 6572 s.4.9).
pub const HOME_IPV4_HOA: u8 = 155;
/// Framed-IPv6-Address (RFC 6911 s.3.1).
pub const FRAMED_IPV6_ADDRESS: u8 = 168;

/// Most octets of one value.
pub const MAX_VALUE: usize = 253;

/// The attributes of a packet, in order: type and value. Made by [`Attributes::checked`] only, so
/// that every one of them is whole.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Walks through all of them; `None`: a length is under 2 or points behind the end
    /// (RFC 2865 s.5: such a packet is invalid).
    #[must_use]
    pub fn checked(octets: &'a [u8]) -> Option<Self> {
        let mut rest = octets;
        while !rest.is_empty() {
            (_, _, rest) = first(rest)?;
        }
        Some(Self(octets))
    }

    /// No attributes.
    #[must_use]
    pub const fn none() -> Self {
        Self(&[])
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (kind, value, behind) = first(rest)?;
            rest = behind;
            Some((kind, value))
        })
    }

    /// The values of one type.
    pub fn all(self, kind: u8) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(of, _)| *of == kind).map(|(_, value)| value)
    }

    /// The value of an attribute that must be single; `None` where there is none or several.
    #[must_use]
    pub fn single(self, kind: u8) -> Option<&'a [u8]> {
        let mut all = self.all(kind);
        let value = all.next()?;
        all.next().is_none().then_some(value)
    }

    /// The values of one type put together (RFC 3579 s.3.1); empty where there is none.
    #[must_use]
    pub fn joined(self, kind: u8) -> Vec<u8> {
        self.all(kind).flatten().copied().collect()
    }

    /// The value of a vendor's attribute that must be single (RFC 2865 s.5.26: one
    /// Vendor-Specific may hold several).
    #[must_use]
    pub fn of_vendor(self, vendor: u32, kind: u8) -> Option<&'a [u8]> {
        let mut all = self
            .all(VENDOR_SPECIFIC)
            .filter_map(|value| value.split_first_chunk::<4>())
            .filter(|(id, _)| u32::from_be_bytes(**id) == vendor)
            .filter_map(|(_, own)| Attributes::checked(own))
            .flat_map(move |own| own.all(kind));
        let value = all.next()?;
        all.next().is_none().then_some(value)
    }
}

/// Type and value of the first attribute, and what stands behind it.
fn first(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let &[kind, len, ..] = octets else { return None };
    let (attribute, rest) = octets.split_at_checked(len.into())?;
    Some((kind, attribute.get(2..)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_rules_where_the_next_attribute_begins() {
        let octets = [1, 5, b'm', b'n', b'1', 79, 2, 79, 4, 1, 2, 79, 3, 3];
        let attributes = Attributes::checked(&octets).unwrap();
        assert_eq!(attributes.single(USER_NAME), Some(&b"mn1"[..]));
        assert_eq!(attributes.joined(EAP_MESSAGE), [1, 2, 3]);
        assert_eq!(attributes.single(EAP_MESSAGE), None, "three of them");
        assert_eq!(attributes.single(STATE), None);
        for wrong in [&[1][..], &[1, 0], &[1, 1], &[1, 3], &[1, 2, 79], &[1, 2, 79, 4, 1]] {
            assert!(Attributes::checked(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn one_vendor_specific_holds_several_attributes_of_its_vendor() {
        let vendor = |id: u8, own: &[u8]| {
            let len = u8::try_from(own.len() + 6).unwrap();
            [&[26, len, 0, 0, 1, id], own].concat()
        };
        let microsoft = 0x0137;
        let octets = [vendor(0x36, &[16, 3, 9]), vendor(0x37, &[16, 3, 1, 17, 4, 2, 3])].concat();
        let attributes = Attributes::checked(&octets).unwrap();
        assert_eq!(attributes.of_vendor(microsoft, 16), Some(&[1][..]));
        assert_eq!(attributes.of_vendor(microsoft, 17), Some(&[2, 3][..]));
        assert_eq!(attributes.of_vendor(microsoft, 18), None);
        let twice = [octets.clone(), vendor(0x37, &[16, 3, 1])].concat();
        let attributes = Attributes::checked(&twice).unwrap();
        assert_eq!(attributes.of_vendor(microsoft, 16), None, "which of the two?");
        for broken in [&[16, 9][..], &[16, 0], &[]] {
            let octets = vendor(0x37, broken);
            let attributes = Attributes::checked(&octets).unwrap();
            assert_eq!(attributes.of_vendor(microsoft, 16), None);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(attributes) = Attributes::checked(&octets) {
                let len: usize = attributes.iter().map(|(_, value)| value.len() + 2).sum();
                prop_assert_eq!(len, octets.len());
                for (kind, _) in attributes.iter() {
                    let _ = (attributes.single(kind), attributes.joined(kind));
                    let _ = attributes.of_vendor(311, kind);
                }
            }
        }
    }
}
