//! Decrypting the start of a packet that the home agent sent itself, out of an ICMP error's
//! quotation.
//!
//! Read first: RFC 6618 s.6.3; RFC 3602 s.3; the reasoning in [`crate::stage::icmp_outer`].
//!
//! A manager of its own does it, so that nothing that rides in the worker's lanes is flushed for
//! the sake of an error. The packet goes in alone and comes out before the call returns; errors
//! are rate-limited. The integrity algorithm runs over the frame's header only because a job has
//! one: a quotation that is cut off can't be verified.

use hearth_dpdk::{
    Aes128DecryptKey, Aes128EncryptKey, Cipher, Mbuf, MultiBuffer, Op, Tag, burn_stack,
};
use hearth_wire::frame::FrameHeader;
use zeroize::Zeroize;

use crate::config::BuildError;
use crate::crypto::gcm;
use crate::layout::{IPV6_LEN, UDP_LEN, len32};
use crate::private_area::TAG;
use crate::sa::keys::{KeySchedule, Material, PerSuite};

/// Octets that are decrypted under 3DES, whose lone packets cost more than all of an error
/// otherwise: an IPv6 header, a transport header, some of what follows.
const MOST_TRIPLE_DES: usize = IPV6_LEN + 2 * UDP_LEN;

/// Octets of the IV, and the salt of a nonce that does not stand in the packet as a whole.
struct IvParts;

impl PerSuite<'static> for IvParts {
    type Output = (usize, Option<&'static [u8; 4]>);

    fn run(self, material: Material<'static>) -> Self::Output {
        (material.iv_len(), material.nonce.map(|(salt, _)| salt))
    }
}

/// Decrypts quotations.
pub(crate) struct Opener {
    crypto: MultiBuffer<'static>,
    /// The schedule of the job that is in `crypto`, if any; else zeros.
    reversed: Box<Aes128DecryptKey>,
}

impl Opener {
    pub(crate) fn new() -> Result<Self, BuildError> {
        let crypto = MultiBuffer::new().map_err(|_| BuildError::Crypto)?;
        let reversed = Box::new(crypto.aes128_decrypt_key(&[0; 16]));
        Ok(Self { crypto, reversed })
    }

    /// Decrypts what there is of a frame from `offset` on, in place, as far as whole blocks go;
    /// returns the packet, and where the inner packet stands in it: offset and octets. `keys` are
    /// those that the packet was sent under; the caller keeps them where they are meanwhile.
    ///
    /// # Errors
    /// The packet, where there is nothing to decrypt, or the library fails.
    pub(crate) fn open(
        &mut self,
        mut mbuf: Mbuf,
        keys: &'static KeySchedule,
        (offset, there): (usize, usize),
    ) -> Result<(Mbuf, (usize, usize)), Option<Mbuf>> {
        let (iv_len, salt) = keys.with(IvParts);
        let header = FrameHeader::LEN + iv_len;
        let inner = offset + header;
        let Some(len) = there.checked_sub(header) else { return Err(Some(mbuf)) };
        let cipher = match keys.cipher() {
            Cipher::Null => return Ok((mbuf, (inner, len))),
            Cipher::Aes128Encrypt(key) => {
                self.reverse(key);
                burn_stack();
                let reversed: *const Aes128DecryptKey = &raw const *self.reversed;
                // SAFETY: the box stays where it is, and the job that refers to it has left the
                // lanes before it is written again (`run`).
                Cipher::Aes128Decrypt(unsafe { &*reversed })
            }
            Cipher::TripleDesEncrypt(key) => Cipher::TripleDesDecrypt(key),
            Cipher::Aes128GcmEncrypt(key) => Cipher::Aes128GcmDecrypt(key),
            // Only keys of packets that are sent are ever asked for.
            _ => return Err(Some(mbuf)),
        };
        let most = match cipher {
            Cipher::TripleDesDecrypt(_) => len.min(MOST_TRIPLE_DES),
            _ => len,
        };
        let whole = most / cipher.block().max(1) * cipher.block();
        let mut op = Op {
            cipher,
            auth: keys.auth(),
            iv_offset: len32(offset + FrameHeader::LEN),
            cipher_offset: len32(inner),
            cipher_len: len32(whole),
            auth_offset: len32(offset),
            auth_len: len32(FrameHeader::LEN),
            tag: Tag::Meta(len32(TAG)),
        };
        if let Some(salt) = salt {
            let iv = mbuf.data().get(offset + FrameHeader::LEN..).and_then(<[u8]>::first_chunk);
            let Some(&iv) = iv else { return Err(Some(mbuf)) };
            op = gcm::operation(op, &mut mbuf, *salt, iv);
        }
        let opened = self.run(mbuf, &op);
        self.reversed.zeroize();
        Ok((opened?, (inner, whole)))
    }

    /// Leaves a copy of the schedule behind on the stack.
    #[inline(never)]
    fn reverse(&mut self, key: &Aes128EncryptKey) {
        *self.reversed = self.crypto.aes128_reverse_key(key);
    }

    /// Puts the packet in and takes it out.
    fn run(&mut self, mbuf: Mbuf, op: &Op<'static>) -> Result<Mbuf, Option<Mbuf>> {
        let ready = self.crypto.submit(mbuf, op, 0).map_err(|rejected| Some(rejected.mbuf))?;
        let done = ready.or_else(|| self.crypto.flush()).ok_or(None)?;
        if done.ok { Ok(done.mbuf) } else { Err(Some(done.mbuf)) }
    }
}
