//! AES-XCBC-MAC-96 on a portable AES.
//!
//! Read first: RFC 3566 s.4.

use aes::Aes128Enc;
use cipher::consts::U16;
use cipher::{
    Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
};
use hearth_wire::suite::ICV_LEN;
use zeroize::{Zeroize, ZeroizeOnDrop};

const BLOCK: usize = 16;

/// The three keys of RFC 3566 s.4, derived once per SA.
#[derive(ZeroizeOnDrop)]
pub struct XcbcMac {
    k1: Aes128Enc,
    k2: [u8; BLOCK],
    k3: [u8; BLOCK],
}

impl XcbcMac {
    /// Derives K1, K2 and K3 (RFC 3566 s.4 step 1).
    #[must_use]
    pub fn new(key: &[u8; BLOCK]) -> Self {
        let cipher = Aes128Enc::new(&Array(*key));
        let derive = |value: u8| {
            let mut block = Array([value; BLOCK]);
            cipher.encrypt_block(&mut block);
            block.0
        };
        let mut k1 = derive(1);
        let mac = Self { k1: Aes128Enc::new(&Array(k1)), k2: derive(2), k3: derive(3) };
        k1.zeroize();
        mac
    }

    /// The MAC over `message`, truncated to its first 96 bits (RFC 3566 s.4.3).
    #[must_use]
    pub fn mac96(&self, message: &[u8]) -> [u8; ICV_LEN] {
        let full = self.mac(message);
        let mut icv = [0; ICV_LEN];
        for (to, from) in icv.iter_mut().zip(full) {
            *to = from;
        }
        icv
    }

    /// The whole MAC (RFC 3566 s.4 steps 2 to 4).
    #[must_use]
    pub fn mac(&self, message: &[u8]) -> [u8; BLOCK] {
        // The last block is the one that K2 or K3 goes into: a whole one stays out of the chain.
        let chained = message.len().saturating_sub(1) / BLOCK * BLOCK;
        let (body, tail) = message.split_at(chained);
        let mut last = [0; BLOCK];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let whitener = if tail.len() == BLOCK {
            &self.k2
        } else {
            if let Some(marker) = last.get_mut(tail.len()) {
                *marker = 0x80;
            }
            &self.k3
        };
        xor(&mut last, whitener);
        let mut state = Array([0; BLOCK]);
        self.k1.encrypt_with_backend(Chain { body, last: &last, state: &mut state });
        state.0
    }
}

fn xor(to: &mut [u8; BLOCK], with: &[u8]) {
    for (octet, other) in to.iter_mut().zip(with) {
        *octet ^= other;
    }
}

/// The chain runs inside the cipher's backend, so that it is chosen once per packet.
struct Chain<'a> {
    body: &'a [u8],
    last: &'a [u8; BLOCK],
    state: &'a mut Array<u8, U16>,
}

impl BlockSizeUser for Chain<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Chain<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        for block in self.body.as_chunks::<BLOCK>().0 {
            xor(&mut self.state.0, block);
            backend.encrypt_block_inplace(self.state);
        }
        xor(&mut self.state.0, self.last);
        backend.encrypt_block_inplace(self.state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3566 s.4.6, all seven: the key is 00 01 .. 0f, the message counts from 00 up.
    #[test]
    fn vectors_of_rfc3566() {
        let key: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let counting =
            |len: usize| -> Vec<u8> { (0..len).map(|i| u8::try_from(i).unwrap()).collect() };
        let cases: [(Vec<u8>, &str); 7] = [
            (counting(0), "75f0251d528ac01c4573dfd584d79f29"),
            (counting(3), "5b376580ae2f19afe7219ceef172756f"),
            (counting(16), "d2a246fa349b68a79998a4394ff7a263"),
            (counting(20), "47f51b4564966215b8985c63055ed308"),
            (counting(32), "f54f0ec8d2b9f3d36807734bd5283fd4"),
            (counting(34), "becbb3bccdb518a30677d5481fb6b4d8"),
            (vec![0; 1000], "f0dafee895db30253761103b5d84528f"),
        ];
        for (message, expected) in cases {
            let mac = XcbcMac::new(&key);
            assert_eq!(hearth_scapy::hex(&mac.mac(&message)), expected);
            assert_eq!(hearth_scapy::hex(&mac.mac96(&message)), expected[..24]);
        }
    }
}
