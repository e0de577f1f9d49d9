//! Longest prefix match.

use std::net::{Ipv4Addr, Ipv6Addr};

use hearth_dpdk::{Fib4, Fib6, FibError, FibParameters, NextHopWidth};

use crate::eal;

fn small() -> FibParameters {
    FibParameters {
        max_routes: 1000,
        tbl8_groups: 256,
        next_hop: NextHopWidth::Four,
        default_next_hop: 99,
    }
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn look4(fib: &Fib4, addresses: &[&str]) -> Vec<u64> {
    let addresses: Vec<u32> = addresses.iter().map(|a| v4(a).to_bits()).collect();
    let mut hops = vec![0; addresses.len()];
    fib.lookup_bulk(&addresses, &mut hops);
    hops
}

fn look6(fib: &Fib6, addresses: &[&str]) -> Vec<u64> {
    let addresses: Vec<[u8; 16]> = addresses.iter().map(|a| v6(a).octets()).collect();
    let mut hops = vec![0; addresses.len()];
    fib.lookup_bulk(&addresses, &mut hops);
    hops
}

#[test]
fn the_longest_ipv4_prefix_wins() {
    let mut fib = Fib4::new(eal(), "fib4", &small()).expect("a table");
    fib.insert(v4("198.51.100.0"), 24, 1).expect("room");
    fib.insert(v4("198.51.100.128"), 25, 2).expect("room");
    fib.insert(v4("198.51.100.200"), 32, 3).expect("room");
    fib.insert(v4("198.0.0.0"), 8, u64::from(u32::MAX >> 1)).expect("room");
    let asked = ["198.51.100.1", "198.51.100.129", "198.51.100.200", "198.1.1.1", "203.0.113.1"];
    assert_eq!(look4(&fib, &asked), [1, 2, 3, u64::from(u32::MAX >> 1), 99]);
    fib.insert(v4("0.0.0.0"), 0, 7).expect("room");
    fib.remove(v4("198.51.100.200"), 32).expect("it is there");
    assert_eq!(look4(&fib, &asked)[2..], [2, u64::from(u32::MAX >> 1), 7]);
    assert_eq!(fib.remove(v4("198.51.100.200"), 32), Err(FibError::NotFound));
    assert_eq!(fib.insert(v4("0.0.0.0"), 33, 1), Err(FibError::Range));
    assert_eq!(fib.insert(v4("0.0.0.0"), 0, 1 << 31), Err(FibError::Range));
}

#[test]
fn the_longest_ipv6_prefix_wins() {
    let mut fib = Fib6::new(eal(), "fib6", &small()).expect("a table");
    fib.insert(v6("2001:db8::"), 32, 1).expect("room");
    fib.insert(v6("2001:db8:1::"), 48, 2).expect("room");
    fib.insert(v6("2001:db8:1::1"), 128, 3).expect("room");
    let asked = ["2001:db8:2::1", "2001:db8:1::2", "2001:db8:1::1", "2001:db9::1"];
    assert_eq!(look6(&fib, &asked), [1, 2, 3, 99]);
    fib.remove(v6("2001:db8:1::"), 48).expect("it is there");
    fib.insert(v6("::"), 0, 4).expect("room");
    assert_eq!(look6(&fib, &asked), [1, 1, 3, 4]);
    assert_eq!(fib.remove(v6("2001:db8:1::"), 48), Err(FibError::NotFound));
    assert_eq!(fib.insert(v6("::"), 129, 1), Err(FibError::Range));
}

#[test]
fn tables_are_made_and_freed_over_and_over() {
    let parameters = FibParameters { next_hop: NextHopWidth::Two, ..small() };
    for _ in 0..20 {
        let mut fib4 = Fib4::new(eal(), "fib4_again", &parameters).expect("its memory came back");
        let mut fib6 = Fib6::new(eal(), "fib6_again", &parameters).expect("its memory came back");
        fib4.insert(v4("198.51.100.1"), 32, 5).expect("room");
        fib6.insert(v6("2001:db8::1"), 128, 5).expect("room");
        assert!(matches!(Fib4::new(eal(), "fib4_again", &parameters), Err(FibError::Create(_))));
    }
    let wide = FibParameters { default_next_hop: 1 << 15, ..parameters };
    assert!(matches!(Fib6::new(eal(), "fib6_wide", &wide), Err(FibError::Range)));
}

#[test]
fn a_full_table_says_so() {
    let parameters = FibParameters { tbl8_groups: 2, ..small() };
    let mut fib = Fib4::new(eal(), "fib4_full", &parameters).expect("a table");
    let mut results = (0..65_u32).map(|net| fib.insert(Ipv4Addr::from_bits(net << 8), 32, 1));
    assert!(results.any(|result| matches!(result, Err(FibError::Full(_)))));
}
