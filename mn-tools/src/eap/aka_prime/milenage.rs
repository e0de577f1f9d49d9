//! Milenage, the example algorithm set of 3GPP's authentication and key agreement.
//!
//! Read first: 3GPP TS 35.206 s.4.1.

use aes::Aes128Enc;
use cipher::{Array, BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, ZeroizeOnDrop};

type Block = [u8; 16];

/// K and OPc of one subscriber.
#[derive(ZeroizeOnDrop)]
pub(super) struct Milenage {
    cipher: Aes128Enc,
    opc: Block,
}

/// What f2 to f5 make of a challenge.
#[derive(ZeroizeOnDrop)]
pub(super) struct Outputs {
    pub(super) res: [u8; 8],
    pub(super) ck: Block,
    pub(super) ik: Block,
    pub(super) ak: [u8; 6],
}

fn xor<const N: usize>(one: &[u8; N], two: &[u8; N]) -> [u8; N] {
    let mut out = *one;
    for (to, from) in out.iter_mut().zip(two) {
        *to ^= from;
    }
    out
}

fn halves(block: Block) -> ([u8; 8], [u8; 8]) {
    let [high, low] = split(u128::from_be_bytes(block));
    (high.to_be_bytes(), low.to_be_bytes())
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
const fn split(value: u128) -> [u64; 2] {
    [(value >> 64) as u64, value as u64]
}

fn first_six(block: &Block) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = *block;
    [a, b, c, d, e, f]
}

impl Milenage {
    /// With OPc.
    pub(super) fn new(k: &Block, opc: &Block) -> Self {
        Self { cipher: Aes128Enc::new(&Array(*k)), opc: *opc }
    }

    /// With OP: OPc = OP xor E(K, OP).
    pub(super) fn with_op(k: &Block, op: &Block) -> Self {
        let mut milenage = Self::new(k, op);
        milenage.opc = xor(&milenage.encrypt(*op), op);
        milenage
    }

    fn encrypt(&self, block: Block) -> Block {
        let mut block = Array(block);
        self.cipher.encrypt_block(&mut block);
        block.0
    }

    /// OUT2 to OUT5: the rotation in bits, the constant's last octet.
    fn out(&self, rand: &Block, rotation: u32, constant: u8) -> Block {
        let temp = self.encrypt(xor(rand, &self.opc));
        let rotated = u128::from_be_bytes(xor(&temp, &self.opc)).rotate_left(rotation);
        xor(&self.encrypt((rotated ^ u128::from(constant)).to_be_bytes()), &self.opc)
    }

    /// f2 to f5.
    pub(super) fn outputs(&self, rand: &Block) -> Outputs {
        let mut out2 = self.out(rand, 0, 1);
        let (_, res) = halves(out2);
        let outputs = Outputs {
            res,
            ck: self.out(rand, 32, 2),
            ik: self.out(rand, 64, 4),
            ak: first_six(&out2),
        };
        out2.zeroize();
        outputs
    }

    /// f5*: AK for resynchronisation.
    pub(super) fn f5_star(&self, rand: &Block) -> [u8; 6] {
        first_six(&self.out(rand, 96, 8))
    }

    /// f1 and f1*: MAC-A and MAC-S.
    pub(super) fn f1(&self, rand: &Block, sqn: &[u8; 6], amf: [u8; 2]) -> ([u8; 8], [u8; 8]) {
        let [a, b, c, d, e, f] = *sqn;
        let [g, h] = amf;
        let input = [a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h];
        let temp = self.encrypt(xor(rand, &self.opc));
        let rotated = u128::from_be_bytes(xor(&input, &self.opc)).rotate_left(64);
        let block = (rotated ^ u128::from_be_bytes(temp)).to_be_bytes();
        halves(xor(&self.encrypt(block), &self.opc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eap::tests::unhex;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        unhex(hex).try_into().unwrap()
    }

    /// TS 35.208 s.4.3: test sets 1 to 6.
    #[test]
    fn the_test_sets() {
        let mut sets = 0;
        for set in include_str!("ts35208.txt").split("\n\n") {
            let field = |name: &str| {
                let line = set.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                line.unwrap_or_else(|| panic!("{name} in {set}"))
            };
            let (k, rand) = (octets(field("K")), octets(field("RAND")));
            let (sqn, amf) = (octets(field("SQN")), octets(field("AMF")));
            let milenage = Milenage::new(&k, &octets(field("OPc")));
            assert_eq!(Milenage::with_op(&k, &octets(field("OP"))).opc, milenage.opc, "{set}");
            let (mac_a, mac_s) = milenage.f1(&rand, &sqn, amf);
            assert_eq!((mac_a, mac_s), (octets(field("f1")), octets(field("f1*"))), "{set}");
            let outputs = milenage.outputs(&rand);
            assert_eq!(outputs.res, octets(field("f2")), "{set}");
            assert_eq!(outputs.ck, octets(field("f3")), "{set}");
            assert_eq!(outputs.ik, octets(field("f4")), "{set}");
            assert_eq!(outputs.ak, octets(field("f5")), "{set}");
            assert_eq!(milenage.f5_star(&rand), octets(field("f5*")), "{set}");
            sets += 1;
        }
        assert_eq!(sets, 6);
    }
}
