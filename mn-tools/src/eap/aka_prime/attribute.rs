//! The attributes of EAP-AKA'.
//!
//! Read first: RFC 4187 s.8, 10; RFC 9048 s.3.1, 3.2.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Subtype     |           Reserved            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Attribute Type |  Length (x 4) |  Value...
//! ```

pub(super) const AT_RAND: u8 = 1;
pub(super) const AT_AUTN: u8 = 2;
pub(super) const AT_RES: u8 = 3;
pub(super) const AT_AUTS: u8 = 4;
const AT_PADDING: u8 = 6;
pub(super) const AT_PERMANENT_ID_REQ: u8 = 10;
pub(super) const AT_MAC: u8 = 11;
pub(super) const AT_NOTIFICATION: u8 = 12;
pub(super) const AT_ANY_ID_REQ: u8 = 13;
pub(super) const AT_IDENTITY: u8 = 14;
pub(super) const AT_FULLAUTH_ID_REQ: u8 = 17;
pub(super) const AT_CLIENT_ERROR_CODE: u8 = 22;
pub(super) const AT_KDF_INPUT: u8 = 23;
pub(super) const AT_KDF: u8 = 24;
/// From here on an attribute that is not known is skipped (RFC 4187 s.8.1).
const SKIPPABLE: u8 = 128;
pub(super) const AT_IV: u8 = 129;
pub(super) const AT_ENCR_DATA: u8 = 130;
pub(super) const AT_NEXT_PSEUDONYM: u8 = 132;
pub(super) const AT_CHECKCODE: u8 = 134;

/// Octets before the attributes: Subtype and Reserved.
pub(super) const HEADER_LEN: usize = 3;

/// The kind of a message (RFC 4187 s.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subtype {
    Challenge = 1,
    AuthenticationReject = 2,
    SynchronizationFailure = 4,
    Identity = 5,
    Notification = 12,
    ClientError = 14,
}

/// One attribute; its value without Type and Length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u8,
    pub(super) value: &'a [u8],
    /// Where the value begins, from the start of the attributes.
    pub(super) at: usize,
}

/// The attributes of one message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes<'a>(pub(super) Vec<Attribute<'a>>);

impl<'a> Attributes<'a> {
    /// `None`: cut off, or one that must be known and is not.
    pub(super) fn parse(octets: &'a [u8]) -> Option<Self> {
        let (mut all, mut at) = (Vec::new(), 0);
        while let Some((&[kind, length], _)) = octets.get(at..)?.split_first_chunk::<2>() {
            let end = at + usize::from(length) * 4;
            let value = octets.get(at + 2..end)?;
            let known = matches!(
                kind,
                AT_RAND..=AT_AUTS
                    | AT_PADDING
                    | AT_PERMANENT_ID_REQ..=AT_IDENTITY
                    | AT_FULLAUTH_ID_REQ
                    | AT_CLIENT_ERROR_CODE..=AT_KDF
            );
            if !known && kind < SKIPPABLE {
                return None;
            }
            all.push(Attribute { kind, value, at: at + 2 });
            at = end;
        }
        (at == octets.len()).then_some(Self(all))
    }

    /// The value of the only attribute of this kind.
    pub(super) fn one(&self, kind: u8) -> Option<&'a [u8]> {
        let mut of_kind = self.0.iter().filter(|attribute| attribute.kind == kind);
        let one = of_kind.next()?;
        of_kind.next().is_none().then_some(one.value)
    }

    pub(super) fn has(&self, kind: u8) -> bool {
        self.0.iter().any(|attribute| attribute.kind == kind)
    }

    /// 16 octets behind two reserved ones.
    pub(super) fn sixteen(&self, kind: u8) -> Option<&'a [u8; 16]> {
        self.one(kind)?.get(2..)?.try_into().ok()
    }

    /// Octets behind their number, without the padding.
    pub(super) fn counted(&self, kind: u8) -> Option<&'a [u8]> {
        let (length, rest) = self.one(kind)?.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// The functions that AT_KDF offers, the most wanted first.
    pub(super) fn kdfs(&self) -> Option<Vec<u16>> {
        let offers = self.0.iter().filter(|attribute| attribute.kind == AT_KDF);
        offers.map(|offer| offer.value.try_into().ok().map(u16::from_be_bytes)).collect()
    }
}

/// A message of the peer's.
pub(super) fn message(subtype: Subtype) -> Vec<u8> {
    vec![subtype as u8, 0, 0]
}

/// Adds an attribute; the value is padded with zeros.
pub(super) fn put(message: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let quarters = (2 + value.len()).div_ceil(4);
    // What is put is an identity at most, of 253 octets and some.
    message.extend([kind, u8::try_from(quarters).unwrap_or(u8::MAX)]);
    message.extend_from_slice(value);
    message.resize(message.len() + quarters * 4 - 2 - value.len(), 0);
}

/// Adds octets behind their number; `of` says how many of what there are.
pub(super) fn put_counted(message: &mut Vec<u8>, kind: u8, of: u16, octets: &[u8]) {
    put(message, kind, &[&of.to_be_bytes(), octets].concat());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_read_and_written() {
        let mut octets = message(Subtype::Challenge);
        put_counted(&mut octets, AT_RES, 64, &[9; 8]);
        put(&mut octets, AT_KDF, &[0, 1]);
        put_counted(&mut octets, AT_IDENTITY, 5, b"7abcd");
        assert_eq!(
            octets,
            [
                &[1, 0, 0, 3, 3, 0, 64, 9, 9, 9, 9, 9, 9, 9, 9, 24, 1, 0, 1][..],
                &[14, 3, 0, 5, b'7', b'a', b'b', b'c', b'd', 0, 0, 0],
            ]
            .concat()
        );
        let attributes = Attributes::parse(&octets[HEADER_LEN..]).unwrap();
        assert_eq!(attributes.kdfs(), Some(vec![1]));
        assert_eq!(attributes.counted(AT_IDENTITY), Some(&b"7abcd"[..]));
        assert_eq!(attributes.0[1].at, 14);
    }

    #[test]
    fn what_is_cut_off_or_must_be_known_is_refused() {
        for octets in [&[1, 5, 0, 0][..], &[1, 0], &[24], &[24, 1, 0], &[99, 1, 0, 0]] {
            assert_eq!(Attributes::parse(octets), None, "{octets:?}");
        }
        assert!(Attributes::parse(&[200, 1, 0, 0]).is_some());
        let twice = [24, 1, 0, 1, 23, 1, 0, 9, 23, 1, 0, 0];
        let attributes = Attributes::parse(&twice).unwrap();
        assert_eq!((attributes.one(AT_KDF_INPUT), attributes.one(AT_RAND)), (None, None));
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(attributes) = Attributes::parse(&octets) {
                for kind in 0..=255 {
                    let _ = (attributes.one(kind), attributes.counted(kind), attributes.sixteen(kind));
                }
                let _ = attributes.kdfs();
            }
        }
    }
}
