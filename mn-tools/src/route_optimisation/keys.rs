//! The binding management key and what it authenticates.
//!
//! Read first: RFC 6275 s.5.2.5, 6.2.7.

use std::net::Ipv6Addr;

use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A keygen token of the correspondent's.
pub(super) type Token = Zeroizing<[u8; 8]>;

/// Kbm, which authorizes one binding at one correspondent.
pub(super) struct Kbm(Zeroizing<[u8; 20]>);

impl Kbm {
    /// Kbm = SHA-1 (home keygen token | care-of keygen token); without the latter where a binding is
    /// deleted.
    pub(super) fn new(home: &Token, care_of: Option<&Token>) -> Self {
        let mut digest = Sha1::new();
        digest.update(home.as_slice());
        if let Some(care_of) = care_of {
            digest.update(care_of.as_slice());
        }
        let mut key = Zeroizing::new([0; 20]);
        digest.finalize_into((&mut *key).into());
        Self(key)
    }

    /// First (96, HMAC_SHA1 (Kbm, care-of address | correspondent | MH Data)).
    pub(super) fn authenticator(
        &self,
        care_of: Ipv6Addr,
        correspondent: Ipv6Addr,
        mh_data: &[&[u8]],
    ) -> [u8; 12] {
        let mut authenticator = [0; 12];
        // HMAC takes keys of any length.
        let Ok(mut mac) = <Hmac<Sha1> as KeyInit>::new_from_slice(&*self.0) else {
            return authenticator;
        };
        mac.update(&care_of.octets());
        mac.update(&correspondent.octets());
        mh_data.iter().for_each(|part| mac.update(part));
        let full = mac.finalize().into_bytes();
        authenticator.iter_mut().zip(full).for_each(|(to, from)| *to = from);
        authenticator
    }

    /// Whether `given` is the Authenticator of these, in constant time.
    pub(super) fn verifies(
        &self,
        care_of: Ipv6Addr,
        correspondent: Ipv6Addr,
        mh_data: &[&[u8]],
        given: &[u8; 12],
    ) -> bool {
        self.authenticator(care_of, correspondent, mh_data).ct_eq(given).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_scapy::hex;

    /// By Python's hashlib and hmac:
    /// `hashlib.sha1(bytes(range(16)))`, `hmac.new(kbm, coa + cn + b"MH data", "sha1")`.
    #[test]
    fn the_formulas_of_the_rfc() {
        let (care_of, correspondent) =
            ("2001:db8:6::100".parse().unwrap(), "2001:db8:c::2".parse().unwrap());
        let home = Token::new([0, 1, 2, 3, 4, 5, 6, 7]);
        let both = Kbm::new(&home, Some(&Token::new([8, 9, 10, 11, 12, 13, 14, 15])));
        assert_eq!(hex(&*both.0), "56178b86a57fac22899a9964185c2cc96e7da589");
        let mac = both.authenticator(care_of, correspondent, &[b"MH ", b"data"]);
        assert_eq!(hex(&mac), "338185bed5cf02a78051692f");
        assert!(both.verifies(care_of, correspondent, &[b"MH data"], &mac));
        assert!(!both.verifies(correspondent, care_of, &[b"MH data"], &mac));
        assert_eq!(hex(&*Kbm::new(&home, None).0), "67423ebfa8454f19ac6f4686d6c0dc731a3ddd6b");
    }
}
