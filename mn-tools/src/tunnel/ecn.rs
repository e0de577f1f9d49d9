//! Explicit congestion notification of a tunnelled packet.
//!
//! Read first: RFC 6040 s.4.2 (normal mode); RFC 3168 s.5; reading R-41.

use hearth_wire::ip::updated;

const NOT_ECT: u8 = 0;
const ECT1: u8 = 1;
const ECT0: u8 = 2;
const CE: u8 = 3;

/// Tells a packet what routers marked on its way through the tunnel; `None` where they say that there
/// is congestion and the packet can't, so that it has to be dropped.
pub(super) fn combine(packet: &mut [u8], inner: u8, outer: u8) -> Option<()> {
    let combined = match (inner, outer) {
        (NOT_ECT, CE) => return None,
        (ECT0 | ECT1, CE) => CE,
        (ECT0, ECT1) => ECT1,
        _ => return Some(()),
    };
    match packet {
        [first, class, ..] if *first >> 4 == 6 => {
            let _ = first;
            *class = *class & 0xcf | combined << 4;
        }
        [first, class, _, _, _, _, _, _, _, _, high, low, ..] => {
            let old = u16::from_be_bytes([*first, *class]);
            *class = *class & 0xfc | combined;
            let new = u16::from_be_bytes([*first, *class]);
            [*high, *low] = updated(u16::from_be_bytes([*high, *low]), old, new).to_be_bytes();
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use hearth_wire::ip::checksum;

    use super::*;

    /// RFC 6040 s.4.2, figure 4.
    #[test]
    fn decapsulated_ecn_is_the_table_of_rfc6040() {
        let table = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT0, [Some(ECT0), Some(ECT1), Some(ECT0), Some(CE)]),
            (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
            (CE, [Some(CE); 4]),
        ];
        for (inner, results) in table {
            for (outer, expected) in (0..).zip(results) {
                let mut ip6 = [0_u8; 40];
                ip6[..2].copy_from_slice(&[0x6b, 0x85 | inner << 4]);
                let found = combine(&mut ip6, inner, outer).map(|()| ip6[1] >> 4 & 3);
                assert_eq!(found, expected, "{inner} {outer}");
                assert_eq!((ip6[0], ip6[1] & 0xcf), (0x6b, 0x85));
                let mut ip4 =
                    [0x45, 0xb8 | inner, 0, 20, 1, 2, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
                let sum = checksum(&ip4);
                ip4[10..12].copy_from_slice(&sum.to_be_bytes());
                let found = combine(&mut ip4, inner, outer).map(|()| ip4[1] & 3);
                assert_eq!(found, expected, "{inner} {outer}");
                assert_eq!((ip4[1] & 0xfc, checksum(&ip4)), (0xb8, 0));
            }
        }
    }
}
