//! Mobile network prefixes: which mobile router's binding an address belongs to that nobody has for
//! a home address.
//!
//! Read first: RFC 3963 s.6.1.2, 6.4, 6.5; reading R-27.
//!
//! ```text
//! lengths in use -> (prefix, length) -> mobile router -> its binding       control: rw   workers: ro
//! ```
//!
//! All prefixes of a mobile router lead to its number, and the number to its binding: so a hand-over
//! is one store, and what a first registration brings is there as a whole or not at all. The lengths
//! in use are tried from the longest down.
//!
//! A prefix is a key of the table of home addresses with one bit set behind its last, so that one
//! table holds all lengths; those of 128 bits have one of their own. That table asks for values that
//! do not come back within a grace period. Therefore a prefix that is taken away leads to
//! [`NOBODY`] until one has passed, and only then leaves its place to another one.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::collections::HashMap;

use crate::layout::{Address6, is_global4};
use crate::sa::slot::BindingIndex;
use crate::table::grace::FreeList;
use crate::table::homes::{Full, HomeTable};
use crate::table::reserve::{Reserve, Zeroed};

/// Number of a mobile router; 0 is [`NOBODY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouterIndex(pub(crate) u32);

/// Never bound.
pub(crate) const NOBODY: RouterIndex = RouterIndex(0);

/// A prefix of IPv6, or of IPv4 in its mapped form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Prefix {
    network: u128,
    /// 1 to 128.
    len: u8,
}

impl Prefix {
    /// `None` for what can be nobody's network: no length, one beyond the family's, groups, and what
    /// does not leave its link.
    pub(crate) fn new(address: IpAddr, len: u8) -> Option<Self> {
        let (bits, width) = match address {
            IpAddr::V4(v4) => (bits(Address6::mapped(v4.to_bits())), 32),
            // Or it would be one of IPv4.
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => return None,
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        if len == 0 || len > width {
            return None;
        }
        let len = len + (128 - width);
        let network = masked(bits, len);
        may_be_inside(of_bits(network)).then_some(Self { network, len })
    }

    fn key(self) -> Address6 {
        key(self.network, self.len)
    }

    /// The bit of its length.
    const fn bit(self) -> usize {
        (self.len - 1) as usize
    }
}

#[inline]
const fn bits(address: Address6) -> u128 {
    let [high, low] = address.words();
    (high as u128) << 64 | low as u128
}

#[inline]
const fn of_bits(bits: u128) -> Address6 {
    #[expect(clippy::cast_possible_truncation, reason = "its halves")]
    let words = [(bits >> 64) as u64, bits as u64];
    Address6::of_words(words)
}

/// The first `len` bits, of which there is at least one.
#[inline]
const fn masked(bits: u128, len: u8) -> u128 {
    bits & u128::MAX << (128 - len as u32)
}

/// The key of a prefix: no two of lengths below 128 have the same.
#[inline]
const fn key(bits: u128, len: u8) -> Address6 {
    let behind = if len < 128 { 1 << (127 - len as u32) } else { 0 };
    of_bits(masked(bits, len) | behind)
}

/// Whether an address is beyond its link, so that it may be in somebody's network.
#[inline]
const fn may_be_inside(address: Address6) -> bool {
    let [high, low] = address.words();
    #[expect(clippy::cast_possible_truncation, reason = "of a mapped address, the lower half")]
    let is_mapped = high == 0 && low >> 32 == 0xffff && is_global4(low as u32);
    address.is_global() || is_mapped
}

/// A number that control changes and workers read.
struct Target(AtomicU32);

// SAFETY: an atomic integer, of which 0 is valid.
unsafe impl Zeroed for Target {}

/// The prefixes of all mobile routers.
pub(crate) struct PrefixTable {
    /// Bit n: there is a prefix of n + 1 bits. control: rw, workers: ro
    lengths: [AtomicU64; 2],
    /// Up to 127 bits.
    networks: HomeTable,
    /// 128 bits.
    hosts: HomeTable,
    /// By number: the mobile router's binding plus 1; 0 where there is none.
    routers: Reserve<Target>,
}

impl PrefixTable {
    /// Room for so many prefixes and mobile routers; `None` where memory or random numbers are
    /// lacking.
    pub(crate) fn new(prefixes: usize, routers: usize) -> Option<Self> {
        Some(Self {
            lengths: [const { AtomicU64::new(0) }; 2],
            networks: HomeTable::new(prefixes)?,
            hosts: HomeTable::new(prefixes)?,
            routers: Reserve::new(routers.checked_add(1)?)?,
        })
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let [low, high] = &self.lengths;
        low.load(Ordering::Relaxed) | high.load(Ordering::Relaxed) == 0
    }

    /// The binding of the longest prefix that an address is in.
    pub(crate) fn get(&self, address: Address6) -> Option<BindingIndex> {
        self.longest(address).map(|(_, binding)| binding)
    }

    /// The mobile router whose network an address is in.
    pub(crate) fn router(&self, address: Address6) -> Option<RouterIndex> {
        self.longest(address).map(|(router, _)| router)
    }

    fn longest(&self, address: Address6) -> Option<(RouterIndex, BindingIndex)> {
        if !may_be_inside(address) {
            return None;
        }
        let [low, high] = &self.lengths;
        let high = u128::from(high.load(Ordering::Acquire)) << 64;
        let mut lengths = high | u128::from(low.load(Ordering::Acquire));
        let bits = bits(address);
        while let Some(bit) = lengths.checked_ilog2() {
            lengths &= !(1 << bit);
            #[expect(clippy::cast_possible_truncation, reason = "1 to 128")]
            let len = bit as u8 + 1;
            if let Some(router) = self.table(len).get(key(bits, len))
                && let Some(binding) = self.binding(RouterIndex(router.0))
            {
                return Some((RouterIndex(router.0), binding));
            }
        }
        None
    }

    #[inline]
    const fn table(&self, len: u8) -> &HomeTable {
        if len == 128 { &self.hosts } else { &self.networks }
    }

    fn binding(&self, router: RouterIndex) -> Option<BindingIndex> {
        let target = self.routers.get(router.0 as usize)?.0.load(Ordering::Acquire);
        target.checked_sub(1).map(BindingIndex)
    }

    /// Lets all prefixes of a mobile router lead to this binding, or to none. Control only.
    pub(crate) fn point(&self, router: RouterIndex, binding: Option<BindingIndex>) {
        if let Some(target) = self.routers.get(router.0 as usize).filter(|_| router != NOBODY) {
            let target = &target.0;
            target.store(binding.map_or(0, |index| index.0.wrapping_add(1)), Ordering::Release);
        }
    }

    /// The mobile router that has this prefix, bound or not. Control only.
    fn owner(&self, prefix: Prefix) -> Option<RouterIndex> {
        let value = self.table(prefix.len).get(prefix.key())?;
        Some(RouterIndex(value.0))
    }

    fn set_length(&self, bit: usize, in_use: bool) {
        if let Some(word) = self.lengths.get(bit / 64) {
            let (mask, before) = (1 << (bit % 64), word.load(Ordering::Relaxed));
            let after = if in_use { before | mask } else { before & !mask };
            word.store(after, Ordering::Release);
        }
    }
}

/// What control keeps of them.
pub(crate) struct PrefixBook {
    /// By length: prefixes in the table.
    counts: [u32; 128],
    routers: FreeList,
    /// Prefixes that were taken away, and how often since they last left their place.
    leaving: HashMap<Prefix, u32>,
    used: usize,
    max: usize,
}

impl PrefixBook {
    pub(crate) fn new(prefixes: usize, routers: u32) -> Self {
        let mut free = FreeList::new(routers.saturating_add(1));
        // NOBODY's.
        _ = free.take();
        Self { counts: [0; 128], routers: free, leaving: HashMap::new(), used: 0, max: prefixes }
    }

    /// A number for a mobile router.
    pub(crate) fn take_router(&mut self) -> Option<RouterIndex> {
        self.routers.take().map(RouterIndex)
    }

    /// Gives a number back that no worker can have seen any more.
    pub(crate) fn give_router(&mut self, router: RouterIndex) {
        self.routers.give(router.0);
    }

    /// Whether another mobile router has the prefix.
    pub(crate) fn is_taken(
        &self,
        table: &PrefixTable,
        prefix: Prefix,
        by_other_than: RouterIndex,
    ) -> bool {
        let owner = table.owner(prefix).filter(|owner| *owner != NOBODY);
        owner.is_some_and(|owner| owner != by_other_than)
    }

    /// Gives a prefix to a mobile router.
    pub(crate) fn add(
        &mut self,
        table: &PrefixTable,
        prefix: Prefix,
        router: RouterIndex,
    ) -> Result<(), Full> {
        let is_new = table.owner(prefix).is_none();
        if is_new && self.used >= self.max {
            return Err(Full);
        }
        table.table(prefix.len).insert(prefix.key(), BindingIndex(router.0))?;
        if is_new {
            self.used += 1;
            if let Some(count) = self.counts.get_mut(prefix.bit()) {
                *count += 1;
                table.set_length(prefix.bit(), true);
            }
        }
        Ok(())
    }

    /// Takes a prefix from its mobile router; [`Self::forget`] is to follow after a grace period.
    pub(crate) fn take_away(&mut self, table: &PrefixTable, prefix: Prefix) {
        // It is there, so that this replaces the value and cannot be refused.
        if table.table(prefix.len).insert(prefix.key(), BindingIndex(NOBODY.0)).is_ok() {
            *self.leaving.entry(prefix).or_default() += 1;
        }
    }

    /// A grace period has passed since the prefix was taken away: its place is free, if nobody has
    /// got it since.
    pub(crate) fn forget(&mut self, table: &PrefixTable, prefix: Prefix) {
        if let Some(times) = self.leaving.get_mut(&prefix) {
            *times -= 1;
            if *times > 0 {
                return;
            }
            self.leaving.remove(&prefix);
        }
        if table.owner(prefix) != Some(NOBODY) {
            return;
        }
        table.table(prefix.len).remove(prefix.key());
        self.used -= 1;
        if let Some(count) = self.counts.get_mut(prefix.bit()) {
            *count -= 1;
            if *count == 0 {
                table.set_length(prefix.bit(), false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    fn prefix(text: &str) -> Option<Prefix> {
        let (address, len) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), len.parse().unwrap())
    }

    fn address(text: &str) -> Address6 {
        match text.parse().unwrap() {
            IpAddr::V4(v4) => Address6::mapped(v4.to_bits()),
            IpAddr::V6(v6) => v6.into(),
        }
    }

    /// A table in which each of these is the network of the mobile router of that number.
    fn table(prefixes: &[&str]) -> (PrefixTable, PrefixBook) {
        let table = PrefixTable::new(64, 64).unwrap();
        let mut book = PrefixBook::new(64, 64);
        for text in prefixes {
            let router = book.take_router().unwrap();
            book.add(&table, prefix(text).unwrap(), router).unwrap();
            table.point(router, Some(BindingIndex(router.0)));
        }
        (table, book)
    }

    #[test]
    fn the_longest_prefix_counts() {
        let (table, _) = table(&[
            "2001:db8::/32",
            "2001:db8:1::/48",
            "2001:db8:1:2::/64",
            "2001:db8:1:2::9/128",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/32",
        ]);
        for (text, expected) in [
            ("2001:db8:ffff::1", Some(1)),
            ("2001:db8:1:ffff::1", Some(2)),
            ("2001:db8:1:2::1", Some(3)),
            ("2001:db8:1:2::9", Some(4)),
            ("10.9.9.9", Some(5)),
            ("10.1.9.9", Some(6)),
            ("10.1.2.3", Some(7)),
            ("2001:db9::1", None),
            ("11.0.0.1", None),
            ("fe80::1", None),
            ("::", None),
        ] {
            let found = table.get(address(text)).map(|binding| binding.0);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_can_be_nobodys_network_is_refused() {
        for text in ["2001:db8::/0", "2001:db8::/129", "10.0.0.0/33", "10.0.0.0/0", "::/64"] {
            assert_eq!(prefix(text), None, "{text}");
        }
        for text in ["ff0e::/16", "fe80::/10", "224.0.0.0/4", "127.0.0.0/8", "::ffff:a00:0/104"] {
            assert_eq!(prefix(text), None, "{text}");
        }
        // Host bits do not count.
        assert_eq!(prefix("2001:db8::1/64"), prefix("2001:db8::/64"));
    }

    #[test]
    fn a_mobile_router_moves_with_all_of_its_prefixes() {
        let (table, mut book) = table(&["2001:db8:1::/48"]);
        let router = RouterIndex(1);
        book.add(&table, prefix("10.1.0.0/16").unwrap(), router).unwrap();
        table.point(router, Some(BindingIndex(77)));
        for text in ["2001:db8:1::1", "10.1.2.3"] {
            assert_eq!(table.get(address(text)), Some(BindingIndex(77)));
        }
        table.point(router, None);
        for text in ["2001:db8:1::1", "10.1.2.3"] {
            assert_eq!(table.get(address(text)), None);
        }
    }

    #[test]
    fn a_prefix_keeps_its_place_for_a_grace_period() {
        let (table, mut book) = table(&["2001:db8:1::/48", "2001:db8::/32"]);
        let one = prefix("2001:db8:1::/48").unwrap();
        let inside = address("2001:db8:1::1");
        book.take_away(&table, one);
        // The shorter one is what is left.
        assert_eq!(table.get(inside), Some(BindingIndex(2)));
        // Back before the grace period is over: what follows leaves it alone.
        book.add(&table, one, RouterIndex(1)).unwrap();
        book.forget(&table, one);
        assert_eq!(table.get(inside), Some(BindingIndex(1)));
        assert!(book.is_taken(&table, one, RouterIndex(2)));
        // Twice away within one: the first end is not the last.
        book.take_away(&table, one);
        book.add(&table, one, RouterIndex(1)).unwrap();
        book.take_away(&table, one);
        book.forget(&table, one);
        assert_eq!(table.owner(one), Some(NOBODY));
        book.forget(&table, one);
        assert_eq!((table.owner(one), book.used), (None, 1));
        assert!(!book.is_taken(&table, one, RouterIndex(2)));
        book.take_away(&table, prefix("2001:db8::/32").unwrap());
        book.forget(&table, prefix("2001:db8::/32").unwrap());
        assert!(table.is_empty());
    }

    #[test]
    fn a_million_prefixes() {
        const COUNT: u32 = 1_000_000;
        let table = PrefixTable::new(COUNT as usize, COUNT as usize).unwrap();
        let mut book = PrefixBook::new(COUNT as usize, COUNT);
        let network = |n: u32| Ipv6Addr::from_bits(0x2001 << 112 | u128::from(n) << 72);
        for n in 0..COUNT {
            let router = book.take_router().unwrap();
            let prefix = Prefix::new(network(n).into(), 56).unwrap();
            book.add(&table, prefix, router).unwrap();
            table.point(router, Some(BindingIndex(n)));
        }
        let more = Prefix::new(Ipv4Addr::new(10, 0, 0, 0).into(), 8).unwrap();
        assert_eq!(book.add(&table, more, RouterIndex(1)), Err(Full));
        for n in 0..COUNT {
            let inside = Ipv6Addr::from_bits(network(n).to_bits() | 0xab << 64 | 5);
            assert_eq!(table.get(inside.into()), Some(BindingIndex(n)));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec((0_u128..4, 120_u8..=128, 0_u128..64, any::<bool>()), 1..200),
            asked in prop::collection::vec((0_u128..4, 0_u128..64), 20),
        ) {
            let table = PrefixTable::new(512, 8).unwrap();
            let mut book = PrefixBook::new(512, 8);
            let routers = [(); 4].map(|()| book.take_router().unwrap());
            for router in routers {
                table.point(router, Some(BindingIndex(router.0 + 100)));
            }
            let at = |net: u128, host: u128| Ipv6Addr::from_bits(0x2001 << 112 | net << 64 | host);
            let mut list: HashMap<Prefix, RouterIndex> = HashMap::new();
            for (net, len, host, add) in steps {
                let prefix = Prefix::new(at(net, host).into(), len).unwrap();
                let router = routers[(host % 4) as usize];
                if add {
                    book.add(&table, prefix, router).unwrap();
                    list.insert(prefix, router);
                } else if list.remove(&prefix).is_some() {
                    book.take_away(&table, prefix);
                    if host % 2 == 0 {
                        book.forget(&table, prefix);
                    }
                }
            }
            for (net, host) in asked {
                let address = at(net, host);
                let covers = |prefix: &&Prefix| {
                    masked(address.to_bits(), prefix.len) == prefix.network
                };
                let longest = list.keys().filter(covers).max_by_key(|prefix| prefix.len);
                let expected = longest.map(|prefix| BindingIndex(list[prefix].0 + 100));
                prop_assert_eq!(table.get(address.into()), expected);
            }
        }
    }
}
