//! Counters of packets that did not fit, and of ICMP errors.

use crate::counters::Counter;

/// Declares a worker's counters and their totals once.
macro_rules! size_counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What one worker counts.
        #[derive(Debug, Default)]
        pub(crate) struct SizeCounters {
            $(pub(crate) $name: Counter,)+
        }

        /// The counts of all workers.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct SizeTotals {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl SizeTotals {
            pub(crate) fn add(&mut self, worker: &SizeCounters) {
                $(self.$name += worker.$name.get();)+
            }

            /// Every counter: name, count, and the sentence that an operator reads.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> + use<> {
                [$((stringify!($name), self.$name, concat!($($doc,)+).trim_ascii()),)+].into_iter()
            }
        }
    };
}

size_counters! {
    /// ICMP errors sent about packets that could not be carried.
    icmp_errors,
    /// ICMP errors that were not sent because too many were (RFC 4443 s.2.4 (f)).
    icmp_errors_limited,
    /// ICMP errors about outer packets that were relayed to the inner sender (RFC 2473 s.8).
    outer_errors_relayed,
    /// Times that an ICMP error lowered the path MTU of a tunnel (RFC 8201).
    path_mtu_lowered,
    /// Packets sent in fragments.
    fragmented,
    /// Fragments they were sent in.
    fragments,
    /// Outer packets put together from fragments.
    reassembled,
    /// Fragments they came in.
    reassembled_fragments,
    /// TCP connections whose MSS was lowered.
    mss_clamped,
    /// Copies that flow rules wanted, for a second care-of address and more (RFC 6089 s.5.3.6).
    copies,
}
