//! CBC encryption of several frames at once.
//!
//! Each block of a CBC chain waits for the one before it, and a processor's AES unit could meanwhile
//! do several others. So blocks of as many chains are encrypted in turns; their frames are of the
//! same length.

use aes::Aes128Enc;
use cipher::consts::U16;
use cipher::{
    Array, Block, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser,
};

/// Octets of a block.
pub(super) const BLOCK: usize = 16;
/// Chains at a time: as many as keep the AES units of current processors busy.
pub(super) const LANES: usize = 8;

/// Encrypts the first `count` texts, each behind its IV, in place; of whole blocks, as many as the
/// shortest has.
pub(super) fn encrypt(
    key: &Aes128Enc,
    count: usize,
    ivs: [[u8; BLOCK]; LANES],
    texts: [&mut [u8]; LANES],
) {
    let texts = texts.map(|text| Array::slice_as_chunks_mut(text).0);
    key.encrypt_with_backend(Lanes { count, texts, chains: ivs.map(u128::from_ne_bytes) });
}

struct Lanes<'a> {
    count: usize,
    texts: [&'a mut [Block<Aes128Enc>]; LANES],
    /// The last block of each chain.
    chains: [u128; LANES],
}

impl BlockSizeUser for Lanes<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Lanes<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Self { count, texts, mut chains } = self;
        let blocks = texts.iter().take(count).map(|text| text.len()).min().unwrap_or_default();
        let mut texts = texts.map(|text| text.iter_mut());
        for _ in 0..blocks {
            for (text, chain) in texts.iter_mut().zip(&mut chains).take(count) {
                let Some(block) = text.next() else { return };
                let mixed = u128::from_ne_bytes((*block).into()) ^ *chain;
                *block = mixed.to_ne_bytes().into();
                backend.encrypt_block_inplace(block);
                *chain = u128::from_ne_bytes((*block).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cbc::Encryptor;
    use cipher::{BlockModeEncrypt, InnerIvInit, KeyInit};

    use super::*;

    /// Against the library's own CBC, one chain after the other.
    #[test]
    fn lanes_are_chains_of_their_own() {
        let key = Aes128Enc::new(&[7; 16].into());
        for (len, count) in [(0, 8), (16, 1), (48, 5), (1408, LANES)] {
            let mut texts: Vec<Vec<u8>> = (0..LANES)
                .map(|lane| {
                    (0..len).map(|i| u8::try_from((i * 7 + lane * 31) % 251).unwrap()).collect()
                })
                .collect();
            let ivs: [[u8; BLOCK]; LANES] =
                std::array::from_fn(|lane| [u8::try_from(lane * 17).unwrap(); BLOCK]);
            let mut expected = texts.clone();
            for (text, iv) in expected.iter_mut().zip(&ivs).take(count) {
                let mut mode = Encryptor::inner_iv_slice_init(&key, iv).unwrap();
                mode.encrypt_blocks(Array::slice_as_chunks_mut(text).0);
            }
            let mut lanes = texts.iter_mut();
            encrypt(&key, count, ivs, std::array::from_fn(|_| &mut lanes.next().unwrap()[..]));
            assert_eq!(texts, expected, "{len} octets");
        }
    }
}
