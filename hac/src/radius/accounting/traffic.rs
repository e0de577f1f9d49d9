//! What an SA has carried, as its home agent says it again and again.
//!
//! Read first: RFC 2866 s.5.3, 5.4, 5.8, 5.9; RFC 2869 s.5.1, 5.2.

use std::net::IpAddr;

use hearth_wire::directory::Usage;

use crate::radius::attribute::{
    ACCT_INPUT_GIGAWORDS, ACCT_INPUT_OCTETS, ACCT_INPUT_PACKETS, ACCT_OUTPUT_GIGAWORDS,
    ACCT_OUTPUT_OCTETS, ACCT_OUTPUT_PACKETS,
};
use crate::radius::packet::{Request, TooLong};

/// Numbers that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    packets_in: u64,
    octets_in: u64,
    packets_out: u64,
    octets_out: u64,
}

impl Counts {
    const fn plus(self, other: Self) -> Self {
        Self {
            packets_in: self.packets_in.saturating_add(other.packets_in),
            octets_in: self.octets_in.saturating_add(other.octets_in),
            packets_out: self.packets_out.saturating_add(other.packets_out),
            octets_out: self.octets_out.saturating_add(other.octets_out),
        }
    }

    const fn is_behind(self, other: Self) -> bool {
        self.packets_in < other.packets_in || self.packets_out < other.packets_out
    }
}

/// What an SA has carried. A home agent that was started anew counts from 0 again; a session does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Before the home agent began to count anew.
    before: Counts,
    /// What it said last; `None`: nothing yet.
    last: Option<Counts>,
    /// Where the mobile node was last under this SA.
    pub care_of: Option<IpAddr>,
    /// The home agent has said its last word on the SA.
    pub is_over: bool,
}

impl Traffic {
    /// Takes what the home agent says.
    pub fn take(&mut self, usage: &Usage) {
        let Usage { packets_in, octets_in, packets_out, octets_out, .. } = *usage;
        let now = Counts { packets_in, octets_in, packets_out, octets_out };
        if let Some(last) = self.last.filter(|last| now.is_behind(*last)) {
            self.before = self.before.plus(last);
        }
        self.last = Some(now);
        self.care_of = usage.care_of.or(self.care_of);
        self.is_over |= usage.is_over;
    }

    /// Puts it into a record: Input is from the mobile node. Nothing is said where nothing is known.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn put(&self, request: &mut Request) -> Result<(), TooLong> {
        let Some(last) = self.last else { return Ok(()) };
        let sum = self.before.plus(last);
        // RFC 2869 s.5.1, 5.2: how often the 32 bits have wrapped; only where they have.
        for (octets, low, high) in [
            (sum.octets_in, ACCT_INPUT_OCTETS, ACCT_INPUT_GIGAWORDS),
            (sum.octets_out, ACCT_OUTPUT_OCTETS, ACCT_OUTPUT_GIGAWORDS),
        ] {
            request.put_number(low, low_bits(octets))?;
            if octets > u32::MAX.into() {
                request.put_number(high, low_bits(octets >> 32))?;
            }
        }
        request.put_number(ACCT_INPUT_PACKETS, low_bits(sum.packets_in))?;
        request.put_number(ACCT_OUTPUT_PACKETS, low_bits(sum.packets_out))
    }
}

/// The lower 32 bits: a counter that wraps, as the attribute does.
fn low_bits(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use hearth_wire::Spi;

    use super::*;
    use crate::radius::attribute::Attributes;
    use crate::radius::packet::{Code, Secret};

    fn usage(packets: u64, octets: u64) -> Usage {
        Usage {
            spi: Spi::new(1).unwrap(),
            packets_in: packets,
            octets_in: octets,
            packets_out: 2 * packets,
            octets_out: 2 * octets,
            care_of: None,
            is_over: false,
        }
    }

    fn put(traffic: &Traffic) -> Vec<(u8, u32)> {
        let mut request = Request::new(Code::AccountingRequest);
        traffic.put(&mut request).unwrap();
        let secret = Secret::new(zeroize::Zeroizing::new(vec![1])).unwrap();
        let (_, octets) = request.sign(0, [0; 16], &secret);
        let number = |value: &[u8]| u32::from_be_bytes(value.try_into().unwrap());
        let attributes = Attributes::checked(&octets[20..]).unwrap();
        attributes.iter().map(|(kind, value)| (kind, number(value))).collect()
    }

    #[test]
    fn octets_beyond_32_bits_are_gigawords() {
        let mut traffic = Traffic::default();
        assert_eq!(put(&traffic), [], "nothing is known");
        traffic.take(&usage(7, 1000));
        assert_eq!(put(&traffic), [(42, 1000), (43, 2000), (47, 7), (48, 14)]);
        traffic.take(&usage(8, (3 << 32) + 5));
        let wrapped = [(42, 5), (52, 3), (43, 10), (53, 6), (47, 8), (48, 16)];
        assert_eq!(put(&traffic), wrapped);
    }

    /// A home agent that was started anew has forgotten; the session has not.
    #[test]
    fn a_session_goes_on_when_its_home_agent_counts_anew() {
        let mut traffic = Traffic::default();
        let care_of = Some([192, 0, 2, 1].into());
        traffic.take(&Usage { care_of, ..usage(10, 1000) });
        traffic.take(&usage(3, 300));
        traffic.take(&Usage { is_over: true, ..usage(5, 500) });
        assert_eq!(put(&traffic), [(42, 1500), (43, 3000), (47, 15), (48, 30)]);
        assert_eq!((traffic.care_of, traffic.is_over), (care_of, true));
    }
}
