//! The MSK inside an Access-Accept.
//!
//! Read first: RFC 2548 s.2.4.2, 2.4.3; RFC 3579 s.2.1; reading R-10.

use zeroize::Zeroizing;

use super::MppeKeys;
use super::attribute::Attributes;
use super::packet::{Secret, md5};

/// Microsoft's number (RFC 2548 s.2).
const MICROSOFT: u32 = 311;
const MS_MPPE_SEND_KEY: u8 = 16;
const MS_MPPE_RECV_KEY: u8 = 17;
/// Octets of each half of an MSK.
const HALF: usize = 32;

/// MS-MPPE-Recv-Key | MS-MPPE-Send-Key, of 32 octets each. `None` where one of them is
/// missing, stands twice, or is not of this length; `authenticator` is that of the Access-Request.
#[must_use]
pub fn keys(
    attributes: Attributes<'_>,
    authenticator: &[u8; 16],
    secret: &Secret,
) -> Option<MppeKeys> {
    let mut octets = Zeroizing::new([0; 2 * HALF]);
    let (recv, send) = octets.split_at_mut(HALF);
    for (half, kind) in [(recv, MS_MPPE_RECV_KEY), (send, MS_MPPE_SEND_KEY)] {
        let key = decrypt(attributes.of_vendor(MICROSOFT, kind)?, authenticator, secret)?;
        half.copy_from_slice(key.get(..).filter(|key| key.len() == HALF)?);
    }
    Some(MppeKeys::new(octets))
}

/// Salt and String -> Key.
fn decrypt(value: &[u8], authenticator: &[u8; 16], secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, string) = value.split_first_chunk::<2>()?;
    let (blocks, rest) = string.as_chunks::<16>();
    if !rest.is_empty() {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(string.len()));
    let mut pad = Zeroizing::new(md5(&[secret.octets(), authenticator, salt]));
    for block in blocks {
        plain.extend(block.iter().zip(pad.iter()).map(|(cipher, pad)| cipher ^ pad));
        *pad = md5(&[secret.octets(), block]);
    }
    let (len, key) = plain.split_first()?;
    key.get(..usize::from(*len)).map(|key| Zeroizing::new(key.to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> Secret {
        Secret::new(Zeroizing::new(b"sixteen octets..".to_vec())).unwrap()
    }

    const AUTHENTICATOR: [u8; 16] = [7; 16];

    /// RFC 2548 s.2.4.2, the sender's half.
    fn encrypt(salt: [u8; 2], key: &[u8]) -> Vec<u8> {
        let mut plain = vec![u8::try_from(key.len()).unwrap()];
        plain.extend_from_slice(key);
        plain.resize(plain.len().next_multiple_of(16), 0);
        let mut value = salt.to_vec();
        let mut pad = md5(&[secret().octets(), &AUTHENTICATOR, &salt]);
        for block in plain.chunks(16) {
            let cipher: Vec<u8> = block.iter().zip(pad).map(|(plain, pad)| plain ^ pad).collect();
            pad = md5(&[secret().octets(), &cipher]);
            value.extend(cipher);
        }
        value
    }

    fn attribute(kind: u8, value: &[u8]) -> Vec<u8> {
        let own = u8::try_from(value.len() + 2).unwrap();
        [&[26, own + 6, 0, 0, 1, 55, kind, own], value].concat()
    }

    fn keys_of(octets: &[u8]) -> Option<Vec<u8>> {
        let attributes = Attributes::checked(octets).unwrap();
        keys(attributes, &AUTHENTICATOR, &secret()).map(|keys| keys.into_octets().to_vec())
    }

    /// EAP-12, R-10: Recv-Key stands in front.
    #[test]
    fn recv_key_and_send_key_make_the_msk() {
        let send = attribute(MS_MPPE_SEND_KEY, &encrypt([0x80, 1], &[2; 32]));
        let recv = attribute(MS_MPPE_RECV_KEY, &encrypt([0x80, 2], &[1; 32]));
        let msk = [[1; 32], [2; 32]].concat();
        assert_eq!(keys_of(&[&send[..], &recv].concat()), Some(msk.clone()));
        assert_eq!(keys_of(&[&recv[..], &send].concat()), Some(msk));
        assert_eq!(keys_of(&recv), None);
        assert_eq!(keys_of(&[&recv[..], &send, &send].concat()), None);
        let short = attribute(MS_MPPE_SEND_KEY, &encrypt([0x80, 1], &[2; 16]));
        assert_eq!(keys_of(&[recv, short].concat()), None, "no MSK has 48 octets");
    }

    /// What Python's hashlib makes of the same.
    #[test]
    fn a_key_encrypted_elsewhere_is_read() {
        let value = concat!(
            "8abc",
            "022a782b73ce983555690be0284ed408493714fa16d17de5e781cb0e7371a658",
            "7bd0761070d0820dd7bc63e7af80eb77"
        );
        let octets: Vec<u8> = (0..value.len() / 2)
            .map(|at| u8::from_str_radix(&value[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let key: Vec<u8> = (0..32).collect();
        assert_eq!(decrypt(&octets, &AUTHENTICATOR, &secret()).unwrap()[..], key);
        assert_eq!(decrypt(&octets[..49], &AUTHENTICATOR, &secret()), None);
        assert_eq!(decrypt(&octets[..2], &AUTHENTICATOR, &secret()), None);
        // The length that one block alone decrypts to reaches behind it.
        assert_eq!(decrypt(&octets[..18], &AUTHENTICATOR, &secret()), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_decrypted_without_a_panic(
            value in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let _ = decrypt(&value, &AUTHENTICATOR, &secret());
        }
    }
}
