//! Every ciphersuite, over IPv6 and over IPv4 behind a NAT, with user data protected and not.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn
//!            \-[visit4]-- hearth-nat4 ----/
//! ```
//!
//! Each combination bootstraps, registers, pings the correspondent by both home addresses, moves
//! 1 MB by TCP each way, and de-registers; a capture of the access link shows the PTypes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, net::SocketAddr};

use hearth_e2e::{TestLab, payload};
use hearth_lab::{
    capture::Capture,
    plan::{CN4, CN6, Subscriber, Visited},
    traffic::{Direction, MARKER, Transfer, TransferPlan},
};
use hearth_wire::suite::{Cipher, Suite};

const OCTETS: u64 = 1_000_000;

fn all_combinations(suite: Suite) {
    let lab = TestLab::up(&format!("suite-{}", suite.name()));
    for visited in Visited::ALL {
        for scope in [1, 0] {
            println!("{} from {}, scope {scope}", suite.name(), visited.name());
            one_combination(&lab, suite, visited, scope);
        }
        lab.network.detach(0, visited).unwrap();
    }
    // All of it was hearthd's doing: the kernel behind the ports had nothing to refuse.
    for (group, counter) in [("Udp", "NoPorts"), ("Tcp", "OutRsts")] {
        assert_eq!(lab.network.ha.snmp(group, counter).unwrap(), 0, "{group} {counter}");
    }
}

fn one_combination(lab: &TestLab, suite: Suite, visited: Visited, scope: u8) {
    let subscriber = lab.subscriber(suite, scope);
    lab.network.attach(0, visited).unwrap();
    let path = lab.options.files.dir.join("access.pcapng");
    let capture = Capture::start(&lab.network.net6, "access", &path).unwrap();

    let mut node = lab.register(&subscriber, visited);
    let status = node.status().unwrap();
    assert_eq!(status.suite.as_deref(), Some(suite.name()));
    assert_eq!(status.scope, Some(scope));
    assert_eq!(status.nat.unwrap_or(false), visited == Visited::Nat4);
    let binding = lab.bindings().unwrap().remove(0);
    assert_eq!(binding.care_of_address, visited.care_of_address(0));
    lab.ping_both(&subscriber);
    transfer_both_ways(lab, &subscriber);
    node.stop().unwrap();
    assert!(lab.bindings().unwrap().is_empty(), "a binding outlives its de-registration");

    judge(&payload::of(&capture.finish().unwrap()), suite, visited, scope);
}

/// Down by the IPv6 home address, up by the IPv4 one.
fn transfer_both_ways(lab: &TestLab, who: &Subscriber) {
    let addresses = [
        (Direction::Download, SocketAddr::new(who.home6.into(), 0), SocketAddr::new(CN6.into(), 0)),
        (Direction::Upload, SocketAddr::new(who.home4.into(), 0), SocketAddr::new(CN4.into(), 0)),
    ];
    for (direction, from, to) in addresses {
        let plan = TransferPlan {
            client: &lab.network.mobile_nodes[0],
            from,
            server: &lab.network.cn,
            to,
            direction,
            octets: OCTETS,
            rate: 0,
        };
        let outcome = Transfer::start(&plan).unwrap().finish().unwrap();
        assert!(outcome.intact() && outcome.received.octets == OCTETS, "{direction:?} {outcome:?}");
    }
}

/// R-25 and RFC 6618 s.6: the scope decides the PType of data, the cipher whether it can be read.
fn judge(datagrams: &[payload::Datagram], suite: Suite, visited: Visited, scope: u8) {
    let mut counts = BTreeMap::<u8, usize>::new();
    for datagram in datagrams {
        *counts.entry(datagram.ptype()).or_default() += 1;
    }
    let data = if scope == 1 { 1 } else { 0 };
    // What the mobile node asks to learn whether its NAT still knows it comes from another port than the
    // binding's, and so is protected in any case (R-26, R-28).
    let probes = if scope == 0 && visited == Visited::Nat4 { counts.remove(&1) } else { None };
    assert!(probes.unwrap_or(0) <= 3, "{probes:?} packets of PType 1 under scope 0");
    let types: Vec<u8> = counts.keys().copied().collect();
    assert_eq!(types, [data, 8], "packets by PType: {counts:?}");
    assert!(counts[&data] > 1000 && counts[&8] >= 4, "packets by PType: {counts:?}");

    let shown = datagrams.iter().filter(|d| d.payload.windows(16).any(|part| part == MARKER));
    let readable = scope == 0 || suite.cipher() == Cipher::Null;
    assert_eq!(shown.count() > 0, readable, "payload in the clear");
    // Padding and ICV make whole blocks of every protected packet (R-21, R-22).
    let overhead = 8 + suite.iv_len() + suite.icv_len();
    let whole =
        |d: &&payload::Datagram| (d.payload.len() - overhead).is_multiple_of(suite.pad_block());
    assert!(datagrams.iter().filter(|d| d.ptype() != 0).all(|d| whole(&d)));
}

#[test]
fn aes_128_cbc_sha() {
    all_combinations(Suite::Aes128CbcSha);
}

#[test]
fn aes_128_cbc_sha256() {
    all_combinations(Suite::Aes128CbcSha256);
}

#[test]
fn triple_des_ede_cbc_sha() {
    all_combinations(Suite::TripleDesEdeCbcSha);
}

#[test]
fn null_sha() {
    all_combinations(Suite::NullSha);
}

#[test]
fn null_sha256() {
    all_combinations(Suite::NullSha256);
}

/// R-16.
#[test]
fn aes_128_gcm() {
    all_combinations(Suite::Aes128Gcm);
}
