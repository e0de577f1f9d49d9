//! A capture file on its way to the disk: counts the packets in it.
//!
//! Read first: draft-ietf-opsawg-pcapng s.3.1, 4.3, 4.6.

/// Block types that are looked into.
const ENHANCED_PACKET: u32 = 6;
const INTERFACE_STATISTICS: u32 = 5;
/// `isb_ifdrop`.
const IF_DROP: u16 = 5;

/// Walks through the blocks of a pcapng file as its octets come.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Octets of the block that is under way, of which only the first ones are kept.
    head: Vec<u8>,
    /// Octets of it that are still to come, once its length is known.
    left: usize,
    /// Packets so far.
    pub packets: u64,
    /// Packets that matched and were not captured, as the daemon says at the end.
    pub lost: u64,
}

/// Octets of a block that are kept: a block of statistics is smaller.
const KEPT: usize = 256;
/// Block type and length.
const HEAD: usize = 8;

impl Blocks {
    /// Takes the next octets of the file.
    pub fn take(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            if self.left == 0 {
                let (head, rest) = chunk.split_at((HEAD - self.head.len()).min(chunk.len()));
                self.head.extend_from_slice(head);
                chunk = rest;
                if let Some(len) = word(&self.head, 4) {
                    // A length that can't be is the daemon's mistake; counting goes on somehow.
                    self.left = usize::try_from(len).unwrap_or(0).saturating_sub(HEAD).max(4);
                }
                continue;
            }
            let (body, rest) = chunk.split_at(self.left.min(chunk.len()));
            let room = KEPT.saturating_sub(self.head.len()).min(body.len());
            self.head.extend_from_slice(body.get(..room).unwrap_or_default());
            self.left -= body.len();
            chunk = rest;
            if self.left == 0 {
                self.count();
                self.head.clear();
            }
        }
    }

    fn count(&mut self) {
        match word(&self.head, 0) {
            Some(ENHANCED_PACKET) => self.packets += 1,
            Some(INTERFACE_STATISTICS) => self.lost += dropped(&self.head).unwrap_or(0),
            _ => {}
        }
    }
}

/// `isb_ifdrop` among a block's options, which follow interface and time stamp.
fn dropped(block: &[u8]) -> Option<u64> {
    let mut options = block.get(HEAD + 12..)?;
    loop {
        let [c0, c1, l0, l1] = *options.first_chunk::<4>()?;
        let (code, len) = (u16::from_ne_bytes([c0, c1]), u16::from_ne_bytes([l0, l1]));
        let value = options.get(4..)?;
        if code == IF_DROP {
            return Some(u64::from_ne_bytes(*value.first_chunk::<8>()?));
        }
        options = value.get(usize::from(len).next_multiple_of(4)..)?;
        if code == 0 {
            return None;
        }
    }
}

/// The daemon is on this machine, so its byte order is ours; pcapng is written in the writer's.
fn word(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(12 + body.len()).unwrap().to_ne_bytes();
        [&kind.to_ne_bytes()[..], &len, body, &len].concat()
    }

    #[test]
    fn packets_are_counted_however_the_file_is_cut() {
        let statistics = [
            &[0; 12][..],
            &[1, 0, 3, 0, b'a', b'b', b'c', 0],
            &[4, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0],
            &[5, 0, 8, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let file = [
            block(0x0a0d_0d0a, &[1; 16]),
            block(1, &[2; 8]),
            block(6, &[3; 400]),
            block(6, &[]),
            block(5, &statistics),
        ]
        .concat();
        for size in 1..file.len() {
            let mut blocks = Blocks::default();
            file.chunks(size).for_each(|chunk| blocks.take(chunk));
            assert_eq!((blocks.packets, blocks.lost), (2, 259), "{size}");
        }
    }
}
