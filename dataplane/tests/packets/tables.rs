//! Changes of the tables while packets flow: hand-over, carriers, ends, and what is refused.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::FileExt;

use hearth_dataplane::{DropReason as D, PortId, Route, SaParameters, TableError, Tunnel};
use hearth_wire::directory::DirectionKeys;
use hearth_wire::{Scope, SeqNo, Spi, Suite};

use crate::codec::{self, Keys};
use crate::rig::{ACCESS, CN4, CN6, HOME, MobileNode, Registration, Rig, SPI_BASE};

fn direction(suite: Suite, keys: &Keys) -> DirectionKeys {
    DirectionKeys::new(suite, keys.integrity.clone().into(), keys.encryption.clone().into())
        .unwrap()
}

/// A move to another network and family: the next packet goes there.
#[test]
fn hand_over() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let inner = codec::ip(CN6.into(), mn.home6.into(), 17, b"x");
    for (remote, local) in [
        ("192.0.2.200:1024", "198.51.100.1:7872"),
        ("192.0.2.200:1025", "198.51.100.1:7872"),
        ("[2001:db8:300::1]:9", "[2001:db8:a::1]:7872"),
    ] {
        mn.remote = remote.parse().unwrap();
        mn.local = local.parse().unwrap();
        rig.bind(&mn);
        rig.send(HOME, &inner);
        mn.open(&rig.received_one(ACCESS));
        rig.reclaim();
    }
    assert_eq!(rig.tables.bindings(), 1);
    rig.finish();
}

/// Many hand-overs do not use up the table, as long as grace periods pass.
#[test]
fn entries_are_used_again() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    for port in 1000..11_000 {
        mn.remote.set_port(port);
        rig.bind(&mn);
        if port % 1000 == 0 {
            rig.reclaim();
        }
    }
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"x"));
    mn.open(&rig.received_one(ACCESS));
    rig.finish();
}

/// Mobile nodes come and go, many more than there is room for at one time.
#[test]
fn home_addresses_are_used_again() {
    let mut rig = Rig::new();
    let mut mn = MobileNode::usual();
    rig.insert_sa(&mn);
    for round in 0..20_000_u32 {
        let [_, _, high, low] = round.to_be_bytes();
        mn.home6 = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 7, round as u16);
        mn.home4 = Ipv4Addr::new(203, 0, high, low);
        rig.bind(&mn);
        assert!(rig.tables.unbind(mn.home6));
        if round % 500 == 0 {
            rig.reclaim();
        }
    }
    assert_eq!(rig.tables.bindings(), 0);
    rig.bind(&mn);
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"x"));
    mn.open(&rig.received_one(ACCESS));
    rig.finish();
}

/// after a re-bootstrap the old SA carries data while it is a carrier, and then no longer.
#[test]
fn carriers() {
    let mut rig = Rig::new();
    let mut old = rig.attach(MobileNode::usual());
    let mut new = MobileNode {
        home6: old.home6,
        home4: old.home4,
        ..MobileNode::new(2, Suite::NullSha256, Scope::SignallingAndData, true)
    };
    rig.insert_sa(&new);
    new.binding().bind(&mut rig.tables, &[new.spi, old.spi]).unwrap();
    for mn in [&mut old, &mut new] {
        let packet = mn.data(&mn.inner6());
        rig.send(ACCESS, &packet);
        rig.received_one(HOME);
    }
    rig.send(HOME, &codec::ip(CN6.into(), new.home6.into(), 17, b"x"));
    new.open(&rig.received_one(ACCESS));
    new.binding().bind(&mut rig.tables, &[]).unwrap();
    let packet = old.data(&old.inner6());
    rig.send(ACCESS, &packet);
    assert_eq!(rig.drops(), [("no_binding", 1)].into());
    rig.finish();
}

/// A changed or ended IPv4 home address.
#[test]
fn ipv4_home_addresses() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let before = mn.home4;
    let after = Ipv4Addr::new(203, 0, 113, 77);
    Registration { ipv4_home_address: Some(after), ..mn.binding() }
        .bind(&mut rig.tables, &[])
        .unwrap();
    rig.send(HOME, &codec::ip(CN4.into(), after.into(), 17, b"x"));
    mn.open(&rig.received_one(ACCESS));
    // The old one is an address of the home link like any other now.
    rig.send(HOME, &codec::ip(CN4.into(), before.into(), 17, b"x"));
    assert_eq!(rig.events().len(), 1, "a neighbour to be resolved");
    let packet = mn.data(&mn.inner4());
    rig.send(ACCESS, &packet);
    assert_eq!(rig.drops(), [("inner_source", 1)].into());
    Registration { ipv4_home_address: None, ..mn.binding() }.bind(&mut rig.tables, &[]).unwrap();
    rig.send(HOME, &codec::ip(CN4.into(), after.into(), 17, b"x"));
    assert_eq!(rig.events().len(), 1);
    assert!(rig.received(ACCESS).is_empty());
    rig.finish();
}

/// An SA that is gone: unknown at once, its SPI free again after a grace period, with new keys and
/// a new window.
#[test]
fn an_spi_is_used_again_only_after_a_grace_period() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    rig.tables.remove_sa(mn.spi).unwrap();
    assert_eq!(rig.tables.sa_usage(mn.spi), None);
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"x"));
    rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[0; 24]).unwrap();
    rig.turns();
    rig.is_silent();
    assert_eq!(rig.drops(), [("outbound_sa_gone", 2), ("spi_unknown", 1)].into());
    let again = MobileNode {
        up: Keys::new(mn.suite, 99),
        down: Keys::new(mn.suite, 98),
        seq: 0,
        ..mn.clone()
    };
    let parameters = (direction(mn.suite, &again.up), direction(mn.suite, &again.down));
    let sa = SaParameters {
        spi: mn.spi,
        suite: mn.suite,
        scope: mn.scope,
        mn_to_ha: &parameters.0,
        ha_to_mn: &parameters.1,
        next_outbound: SeqNo(500),
        grant: 1,
        inbound_floor: 0,
        epoch: 2,
    };
    assert_eq!(rig.tables.insert_sa(&sa), Err(TableError::SpiDraining));
    rig.reclaim();
    rig.tables.insert_sa(&sa).unwrap();
    rig.bind(&again);
    rig.send(HOME, &codec::ip(CN6.into(), again.home6.into(), 17, b"x"));
    assert_eq!(again.open(&rig.received_one(ACCESS)).seq, 500);
    rig.refuses(&mn, &mn.sealed(&mn.plain(1, 5, 41, &mn.inner6())), D::IcvMismatch);
    let mut again = again;
    let packet = again.data(&again.inner6());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    rig.finish();
}

/// Packets that ride in the lanes hold up the grace period, and come out whole.
#[test]
fn a_grace_period_waits_for_riding_packets() {
    let mut rig = Rig::with(|config| config.max_job_age_us = 1_000_000_000);
    let mn = rig.attach(MobileNode::usual());
    let frame =
        codec::ethernet(rig.mac(HOME), [2; 6], &codec::ip(CN6.into(), mn.home6.into(), 17, b"x"));
    rig.inject(HOME, 0, &frame);
    // Busy: the packet rides on.
    assert_eq!(rig.workers[0].turn(), 1);
    assert!(rig.received(ACCESS).is_empty());
    rig.tables.remove_sa(mn.spi).unwrap();
    let keys = (direction(mn.suite, &mn.up), direction(mn.suite, &mn.down));
    let sa = SaParameters {
        spi: mn.spi,
        suite: mn.suite,
        scope: mn.scope,
        mn_to_ha: &keys.0,
        ha_to_mn: &keys.1,
        next_outbound: SeqNo(0),
        grant: 1,
        inbound_floor: 0,
        epoch: 2,
    };
    // Turns that are busy with something else do not end the grace period.
    for _ in 0..5 {
        rig.tables.reclaim();
        rig.inject(HOME, 0, &[0xff; 60]);
        assert_eq!(rig.workers[0].turn(), 1);
        assert_eq!(rig.tables.insert_sa(&sa), Err(TableError::SpiDraining));
    }
    rig.turns();
    mn.open(&rig.received_one(ACCESS));
    rig.reclaim();
    rig.tables.insert_sa(&sa).unwrap();
    rig.events();
    rig.finish();
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let other = MobileNode::new(2, Suite::NullSha, Scope::Signalling, false);
    rig.insert_sa(&other);
    let keys = direction(Suite::NullSha, &other.up);
    let sa = |spi: u32, suite| SaParameters {
        spi: Spi::new(spi).unwrap(),
        suite,
        scope: Scope::Signalling,
        mn_to_ha: &keys,
        ha_to_mn: &keys,
        next_outbound: SeqNo(0),
        grant: 1,
        inbound_floor: 0,
        epoch: 2,
    };
    let tables = &mut rig.tables;
    assert_eq!(tables.insert_sa(&sa(SPI_BASE - 1, Suite::NullSha)), Err(TableError::SpiOutOfRange));
    assert_eq!(
        tables.insert_sa(&sa(SPI_BASE + 64, Suite::NullSha)),
        Err(TableError::SpiOutOfRange)
    );
    assert_eq!(tables.insert_sa(&sa(mn.spi.get(), Suite::NullSha)), Err(TableError::SpiInUse));
    // ENC-21: keys that are not the suite's.
    for suite in [Suite::NullSha256, Suite::Aes128CbcSha, Suite::TripleDesEdeCbcSha] {
        assert_eq!(tables.insert_sa(&sa(SPI_BASE + 9, suite)), Err(TableError::KeyLength));
    }
    let by = |tunnel| Registration { tunnels: vec![tunnel], ..other.binding() };
    let unknown = by(Tunnel { spi: Spi::new(SPI_BASE + 9).unwrap(), ..other.tunnel() });
    assert_eq!(unknown.bind(tables, &[]), Err(TableError::SpiUnknown));
    let mixed = by(Tunnel { local: mn.local, ..other.tunnel() });
    assert_eq!(mixed.bind(tables, &[]), Err(TableError::Address));
    let stolen = Registration { ipv4_home_address: Some(mn.home4), ..other.binding() };
    assert_eq!(stolen.bind(tables, &[]), Err(TableError::Ipv4HomeAddressInUse));
    assert_eq!(tables.remove_sa(Spi::new(SPI_BASE + 9).unwrap()), Err(TableError::SpiUnknown));
    assert!(!tables.unbind(other.home6));
    let nowhere = Route { prefix: (CN6.into(), 64), port: PortId(2), gateway: None };
    assert_eq!(tables.set_routes(&[nowhere]), Err(TableError::Route));
    let long = Route { prefix: (CN6.into(), 129), port: HOME, gateway: None };
    assert_eq!(tables.set_routes(&[long]), Err(TableError::Route));
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"x"));
    mn.open(&rig.received_one(ACCESS));
    rig.finish();
}

/// Keys stay where SAs are, and nowhere on the stack of whoever inserted them.
#[test]
fn no_key_stays_on_the_stack() {
    const DEPTH: usize = 64 * 1024;
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    // What lies below this frame: what calls have left behind.
    let here = 0_u8;
    let top = (&raw const here).addr();
    let mut below = vec![0; DEPTH];
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut below, (top - DEPTH) as u64).unwrap();
    for keys in [&mn.up, &mn.down] {
        // The first round key is the key itself (FIPS 197 s.5.2), or the last one.
        let found = below.windows(16).any(|octets| octets == &keys.encryption[..]);
        assert!(!found, "a key schedule is left");
    }
    rig.finish();
}
