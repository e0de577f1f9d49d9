//! The attribute-value pairs inside EAP-TTLS.
//!
//! Read first: RFC 5281 s.10.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           AVP Code                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |V M r r r r r r|                  AVP Length                   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Vendor-ID (only with V)                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    Data, padded with zeros to a multiple of four octets ...
//! ```

use zeroize::Zeroizing;

const VENDOR: u8 = 0x80;
const MANDATORY: u8 = 0x40;

/// What an AVP is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    vendor: u32,
    code: u32,
}

impl Name {
    pub(super) const USER_NAME: Self = Self { vendor: 0, code: 1 };
    pub(super) const USER_PASSWORD: Self = Self { vendor: 0, code: 2 };
    pub(super) const MS_CHAP_ERROR: Self = Self { vendor: 311, code: 2 };
    pub(super) const MS_CHAP_CHALLENGE: Self = Self { vendor: 311, code: 11 };
    pub(super) const MS_CHAP2_RESPONSE: Self = Self { vendor: 311, code: 25 };
    pub(super) const MS_CHAP2_SUCCESS: Self = Self { vendor: 311, code: 26 };
}

/// One AVP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Avp<'a> {
    pub(super) name: Name,
    /// Whether one who does not know it must fail (RFC 5281 s.10.1).
    pub(super) mandatory: bool,
    pub(super) data: &'a [u8],
}

/// The AVPs in `octets`; `None` where they are cut off. The padding of the last may be missing.
pub(super) fn parse(mut octets: &[u8]) -> Option<Vec<Avp<'_>>> {
    let mut avps = Vec::new();
    while !octets.is_empty() {
        let (&[a, b, c, d, flags, e, f, g], _) = octets.split_first_chunk::<8>()?;
        let length = usize::try_from(u32::from_be_bytes([0, e, f, g])).ok()?;
        let whole = octets.get(..length)?;
        let behind = whole.get(8..)?;
        let (vendor, data) = if flags & VENDOR == 0 {
            (0, behind)
        } else {
            let (vendor, data) = behind.split_first_chunk::<4>()?;
            (u32::from_be_bytes(*vendor), data)
        };
        let name = Name { vendor, code: u32::from_be_bytes([a, b, c, d]) };
        avps.push(Avp { name, mandatory: flags & MANDATORY != 0, data });
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(avps)
}

/// Writes a mandatory AVP; `false` where `data` is too long for one.
pub(super) fn put(octets: &mut Zeroizing<Vec<u8>>, name: Name, data: &[u8]) -> bool {
    let (flags, header) = if name.vendor == 0 { (0, 8) } else { (VENDOR, 12) };
    let Some([0, e, f, g]) = u32::try_from(header + data.len()).ok().map(u32::to_be_bytes) else {
        return false;
    };
    octets.extend(name.code.to_be_bytes());
    octets.extend([flags | MANDATORY, e, f, g]);
    if name.vendor != 0 {
        octets.extend(name.vendor.to_be_bytes());
    }
    octets.extend_from_slice(data);
    let len = octets.len().next_multiple_of(4);
    octets.resize(len, 0);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn avps_are_read_and_written() {
        let mut octets = Zeroizing::new(Vec::new());
        assert!(put(&mut octets, Name::USER_NAME, b"mn1"));
        assert!(put(&mut octets, Name::MS_CHAP_CHALLENGE, &[7; 4]));
        assert_eq!(
            octets[..],
            [
                &[0, 0, 0, 1, 0x40, 0, 0, 11, b'm', b'n', b'1', 0][..],
                &[0, 0, 0, 11, 0xc0, 0, 0, 16, 0, 0, 1, 0x37, 7, 7, 7, 7],
            ]
            .concat()
        );
        let avps = parse(&octets).unwrap();
        assert_eq!(avps[0], Avp { name: Name::USER_NAME, mandatory: true, data: b"mn1" });
        assert_eq!((avps[1].name, avps[1].data), (Name::MS_CHAP_CHALLENGE, &[7; 4][..]));
        // Without the padding of the last.
        assert_eq!(parse(&octets[..11]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for octets in [
            &[0, 0, 0, 1, 0x40, 0, 0][..],
            &[0, 0, 0, 1, 0x40, 0, 0, 9],
            &[0, 0, 0, 1, 0x40, 0, 0, 7],
            &[0, 0, 0, 1, 0x40, 0, 0, 0],
            &[0, 0, 0, 1, 0xc0, 0, 0, 11, 0, 0, 1],
        ] {
            assert_eq!(parse(octets), None, "{octets:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&octets);
        }
    }
}
