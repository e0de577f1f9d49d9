//! What a Binding Update costs the home agent while a hundred thousand mobile nodes are bound, in
//! an order that no cache foresees.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hearth_home_agent::{Action, Event, HomeAgent, Policy, SaInfo, SignallingPacket, Timestamp};
use hearth_wire::directory::Services;
use hearth_wire::mh::{self, BindingUpdate, BuFlags, BuOptions, Ipv4HomeAddress, Message};
use hearth_wire::{MobileNodeId, Scope, Spi, Suite, exthdr};

const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x6618, 0, 0, 0, 0, 1);
const NODES: u32 = 100_000;
/// Has no factor in common with [`NODES`], so that steps of it come to every mobile node.
const STRIDE: u32 = 61_681;
/// In units of 4 s.
const LIFETIME: u16 = 900;

fn home(node: u32) -> Ipv6Addr {
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0x6618, 0x100, 0, 0, 0, 0);
    Ipv6Addr::from(u128::from(prefix) + u128::from(node))
}

fn ipv4_home(node: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + node)
}

fn spi(node: u32) -> Spi {
    Spi::new(node + 1).unwrap()
}

/// The payload of a PType 8 packet with a Binding Update for both home addresses.
fn update(node: u32, seq: u16) -> Vec<u8> {
    let flags = BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() };
    let address = ipv4_home(node);
    let ipv4_hoa = Some(Ipv4HomeAddress { prefix_len: 32, prefix_request: false, address });
    let options = BuOptions { ipv4_hoa, ..BuOptions::default() };
    let message = Message::BindingUpdate(BindingUpdate { seq, flags, lifetime: LIFETIME, options });
    let mut bytes = [0; 512];
    let len = mh::emit(&message, home(node), HA, &mut bytes).unwrap();
    [&exthdr::home_address_header(mh::PROTO, home(node))[..], &bytes[..len]].concat()
}

fn hand_in(ha: &mut HomeAgent, node: u32, coa: u16, payload: &[u8], out: &mut Vec<Action>) {
    let source = Ipv6Addr::new(0x2001, 0xdb8, coa, 0, 0, 0, 0, 0xc);
    let packet = SignallingPacket {
        spi: spi(node),
        remote: SocketAddr::from((source, 5000)),
        local: (HA, 7872).into(),
        next_header: exthdr::DESTINATION_OPTIONS,
        payload,
    };
    out.clear();
    ha.handle(Timestamp::from_secs(10), Event::Signalling(packet), out);
}

fn bound() -> HomeAgent {
    let home_prefixes =
        ["2001:db8:6618:100::/64", "10.0.0.0/8"].map(|prefix| prefix.parse().unwrap()).into();
    let mut ha = HomeAgent::new(Policy { home_prefixes, ..Policy::default() });
    ha.reserve(NODES as usize);
    let mut out = Vec::new();
    for node in 0..NODES {
        let info = SaInfo {
            spi: spi(node),
            mn_id: MobileNodeId::new(&format!("user{node:06}@example.org")).unwrap(),
            suite: Suite::Aes128CbcSha,
            scope: Scope::SignallingAndData,
            home_address: home(node),
            ipv4_home_address: Some(ipv4_home(node)),
            ha_address: HA,
            validity_end: Timestamp::from_secs(86_400),
            generation: 1,
            services: Services::default(),
        };
        ha.handle(Timestamp::ZERO, Event::SaIssued(info), &mut out);
        hand_in(&mut ha, node, 1, &update(node, 0), &mut out);
    }
    ha
}

fn updates(criterion: &mut Criterion) {
    let mut ha = bound();
    let (mut turn, mut out) = (0u32, Vec::new());
    // The next mobile node, and its next sequence number.
    let mut next = move || {
        turn += 1;
        let node = turn.wrapping_mul(STRIDE) % NODES;
        (node, u16::try_from(1 + turn / NODES).unwrap_or(u16::MAX))
    };
    criterion.bench_function("refresh", |bench| {
        let setup = || {
            let (node, seq) = next();
            (node, update(node, seq))
        };
        let routine = |(node, payload): (u32, Vec<u8>)| {
            hand_in(&mut ha, node, 1, &payload, &mut out);
            black_box(out.len())
        };
        bench.iter_batched(setup, routine, BatchSize::NumIterations(4096));
    });
}

criterion_group!(benches, updates);
criterion_main!(benches);
