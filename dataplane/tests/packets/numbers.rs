//! Sequence numbers over a restart of the home agent (SA-14, R-16, R-23).

use std::collections::HashSet;

use hearth_dataplane::{DropReason as D, RestoredSa, SaNumbers, SaParameters, TableError};
use hearth_wire::directory::DirectionKeys;
use hearth_wire::{Scope, SeqNo, Spi, Suite};

use crate::codec::{self, Keys};
use crate::rig::{ACCESS, CN6, HOME, MobileNode, Rig, SPI_BASE};

/// The keys of a mobile node's SA, both directions.
struct Sa<'a> {
    mn: &'a MobileNode,
    up: DirectionKeys,
    down: DirectionKeys,
}

impl<'a> Sa<'a> {
    fn of(mn: &'a MobileNode) -> Self {
        let direction = |keys: &Keys| {
            let (integrity, encryption) = (keys.integrity.clone(), keys.encryption.clone());
            DirectionKeys::new(mn.suite, integrity.into(), encryption.into()).unwrap()
        };
        Self { mn, up: direction(&mn.up), down: direction(&mn.down) }
    }

    /// As issued: one unit of numbers.
    fn fresh(&self) -> SaParameters<'_> {
        SaParameters {
            spi: self.mn.spi,
            suite: self.mn.suite,
            scope: self.mn.scope,
            mn_to_ha: &self.up,
            ha_to_mn: &self.down,
            next_outbound: SeqNo(0),
            grant: 1,
            inbound_floor: 0,
            epoch: 1,
        }
    }

    /// As it goes on: behind all that was granted and seen.
    fn again(&self, granted: u16, seen: u32) -> RestoredSa<'_> {
        let parameters = SaParameters {
            next_outbound: SeqNo(u32::from(granted) << 16),
            grant: granted + 1,
            inbound_floor: seen,
            epoch: 2,
            ..self.fresh()
        };
        RestoredSa { parameters, in_octets: 5000, out_octets: 7000 }
    }
}

fn up(mn: &MobileNode, seq: u32) -> Vec<u8> {
    mn.sealed(&mn.plain(1, seq, 41, &mn.inner6()))
}

fn down(mn: &MobileNode) -> Vec<u8> {
    codec::ip(CN6.into(), mn.home6.into(), 17, b"to a mobile node")
}

#[test]
fn what_is_not_granted_is_not_sent() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    let sa = Sa::of(&mn);
    let beyond = SaParameters { next_outbound: SeqNo(0x2_0001), grant: 2, ..sa.fresh() };
    assert_eq!(rig.tables.insert_sa(&beyond), Err(TableError::OutboundGrant));
    let parameters = SaParameters { next_outbound: SeqNo(0x1_fffd), grant: 2, ..sa.fresh() };
    rig.tables.insert_sa(&parameters).unwrap();
    rig.bind(&mn);
    for seq in 0x1_fffd..0x2_0000 {
        rig.send(HOME, &down(&mn));
        assert_eq!(mn.open(&rig.received_one(ACCESS)).seq, seq);
    }
    rig.events();
    assert!(rig.near_grant.is_empty());
    // Data and signalling alike: dropped, counted, told to control.
    rig.send(HOME, &down(&mn));
    rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[0; 24]).unwrap();
    rig.turns();
    rig.is_silent();
    assert_eq!(rig.drops(), [("outbound_grant", 2)].into());
    assert_eq!(rig.near_grant, [mn.spi.get()]);
    rig.tables.grant(mn.spi, 3);
    rig.tables.grant(Spi::new(SPI_BASE + 50).unwrap(), 3);
    rig.send(HOME, &down(&mn));
    assert_eq!(mn.open(&rig.received_one(ACCESS)).seq, 0x2_0000);
    rig.finish();
}

#[test]
fn control_hears_when_half_of_a_unit_is_used() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    let sa = Sa::of(&mn);
    let parameters = SaParameters { next_outbound: SeqNo(0x5_7fff), grant: 9, ..sa.fresh() };
    rig.tables.insert_sa(&parameters).unwrap();
    rig.bind(&mn);
    for told in [0, 1, 1] {
        rig.send(HOME, &down(&mn));
        mn.open(&rig.received_one(ACCESS));
        rig.events();
        assert_eq!(rig.near_grant.len(), told);
    }
    rig.finish();
}

/// SA-14: after a restart no number and no IV is used again, and nothing that was accepted before
/// is accepted once more, under every suite.
#[test]
fn nothing_comes_twice_over_a_restart() {
    let all: Vec<_> = Suite::known()
        .zip(1..)
        .map(|(suite, n)| MobileNode::new(n, suite, Scope::SignallingAndData, n % 2 == 0))
        .collect();
    let mut sent: HashSet<(u32, u32)> = HashSet::new();
    let mut ivs = HashSet::new();
    let mut accepted = Vec::new();

    let mut rig = Rig::new();
    for mn in &all {
        rig.tables.insert_sa(&Sa::of(mn).fresh()).unwrap();
        rig.bind(mn);
        for seq in [0, 1, 2, 40] {
            accepted.push((mn, up(mn, seq)));
            rig.send(ACCESS, &up(mn, seq));
            rig.received_one(HOME);
            rig.send(HOME, &down(mn));
            let opened = mn.open(&rig.received_one(ACCESS));
            assert!(sent.insert((mn.spi.get(), opened.seq)));
            assert!(opened.iv.is_empty() || ivs.insert((mn.spi, opened.iv)));
        }
    }
    rig.finish();

    let mut rig = Rig::with(|config| config.workers = 2);
    let sas: Vec<_> = all.iter().map(Sa::of).collect();
    let restored: Vec<_> = sas.iter().map(|sa| sa.again(1, 41)).collect();
    assert_eq!(rig.tables.restore(&restored, 2), vec![Ok(()); all.len()]);
    for mn in &all {
        rig.bind(mn);
        let usage = rig.tables.sa_usage(mn.spi).unwrap();
        assert_eq!((usage.in_octets, usage.out_octets), (5000, 7000));
        assert_eq!(usage.highest_inbound, Some(SeqNo(40)));
    }
    for (mn, packet) in &accepted {
        rig.refuses(mn, packet, D::Replayed);
    }
    for mn in &all {
        // What was under way meanwhile, too, and what was never seen of that time.
        rig.refuses(mn, &up(mn, 39), D::Replayed);
        rig.send(ACCESS, &up(mn, 41));
        rig.received_one(HOME);
        for _ in 0..4 {
            rig.send(HOME, &down(mn));
            let opened = mn.open(&rig.received_one(ACCESS));
            assert!(opened.seq >= 0x1_0000 && sent.insert((mn.spi.get(), opened.seq)));
            assert!(opened.iv.is_empty() || ivs.insert((mn.spi, opened.iv)), "{}", mn.suite);
        }
    }
    rig.finish();
}

/// Many at once, on several threads; each answer stands at its SA's place, and what can't be
/// restored changes nothing.
#[test]
fn each_sa_is_restored_once() {
    const COUNT: u32 = 3000;
    let mut rig = Rig::with(|config| config.max_sas = COUNT);
    let usual = MobileNode::usual();
    let (keys, none) =
        (Sa::of(&usual), MobileNode::new(2, Suite::NullSha, Scope::Signalling, true));
    let short = Sa::of(&none);
    let sa = |spi: u32| {
        let mut sa = keys.again(3, 100 + spi);
        sa.parameters.spi = Spi::new(spi).unwrap();
        sa
    };
    let mut sas: Vec<_> = (SPI_BASE..SPI_BASE + COUNT - 1).map(sa).collect();
    let mut expected = vec![Ok(()); sas.len()];
    rig.tables.insert_sa(&SaParameters { spi: sas[7].parameters.spi, ..keys.fresh() }).unwrap();
    expected[7] = Err(TableError::SpiInUse);
    sas.insert(500, sa(SPI_BASE));
    expected.insert(500, Err(TableError::SpiInUse));
    sas.push(sa(SPI_BASE + COUNT));
    expected.push(Err(TableError::SpiOutOfRange));
    let last = Spi::new(SPI_BASE + COUNT - 1).unwrap();
    let mut wrong = sa(last.get());
    wrong.parameters.mn_to_ha = &short.up;
    sas.push(wrong);
    expected.push(Err(TableError::KeyLength));
    assert_eq!(rig.tables.restore(&sas, 4), expected);
    assert!(rig.tables.restore(&[], 4).is_empty());

    // Seen from another thread, all or a part at a time.
    let observer = rig.tables.observer();
    let seen = std::thread::spawn(move || {
        let (mut seen, mut from) = (Vec::new(), Some(0));
        while let Some(place) = from {
            from = observer.sweep(place, 700, |spi, numbers| seen.push((spi.get(), numbers)));
        }
        assert_eq!(observer.numbers(last), None);
        let spi = Spi::new(SPI_BASE + 9).unwrap();
        assert_eq!(observer.usage(spi).unwrap().next_outbound, 0x3_0000);
        seen
    });
    let numbers = |spi: u32| match spi - SPI_BASE {
        7 => SaNumbers { next_outbound: 0, inbound_top: 0 },
        _ => SaNumbers { next_outbound: 0x3_0000, inbound_top: u64::from(100 + spi) },
    };
    let expected: Vec<_> =
        (SPI_BASE..SPI_BASE + COUNT - 1).map(|spi| (spi, numbers(spi))).collect();
    assert_eq!(seen.join().unwrap(), expected);
    rig.finish();
}
