//! What one run writes down, the next one finds.

use std::net::Ipv6Addr;

use hearth_home_agent::{Event, Policy};
use hearth_wire::directory::{DirectionKeys, Services};
use hearth_wire::{MobileNodeId, Scope, Suite};

use super::*;

const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);

fn section(folder: &std::path::Path) -> Section {
    let mut section = Section::default();
    section.folder.value = folder.to_owned();
    section
}

fn record(number: u32) -> SaRecord {
    let suite = Suite::Aes128CbcSha;
    let keys = |fill: u8| {
        DirectionKeys::new(suite, vec![fill; 20].into(), vec![fill ^ 0xff; 16].into()).unwrap()
    };
    SaRecord {
        spi: Spi::new(number).unwrap(),
        mn_id: MobileNodeId::new("mn1@example.net").unwrap(),
        home_agent: "ha1".into(),
        suite,
        scope: Scope::SignallingAndData,
        mn_to_ha: keys(0xa1),
        ha_to_mn: keys(0xb2),
        validity_end: u64::MAX / 2000,
        home_address: HOME,
        ipv4_home_address: None,
        ha_address: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
        generation: u64::from(number),
        services: Services::default(),
    }
}

/// A run of the home agent, without a dataplane.
struct Run {
    persist: Persist,
    home_agent: HomeAgent,
    found: Vec<SaLifted>,
    highest_spi: Option<u32>,
    grants: Vec<(u32, u16)>,
}

impl Run {
    fn start(section: &Section) -> Self {
        let (mut persist, remembered) = Persist::open(section, "ha1").unwrap();
        let mut home_agent = HomeAgent::new(Policy::default());
        let mut found = Vec::new();
        remembered.sas(|sa| found.push(sa));
        for sa in &found {
            let end = Timestamp::from_secs(sa.record.validity_end);
            let info = SaInfo::from_record(&sa.record, end);
            home_agent.restore_sa(persist.now(), &info, sa.life).unwrap();
            persist.installed(&sa.record, Some(sa));
        }
        home_agent.keep_changes();
        persist.begin(0).unwrap();
        let highest_spi = remembered.highest_spi;
        Self { persist, home_agent, found, highest_spi, grants: Vec::new() }
    }

    fn issue(&mut self, record: &SaRecord) {
        let info = SaInfo::from_record(record, Timestamp::from_secs(record.validity_end));
        self.home_agent.handle(self.persist.now(), Event::SaIssued(info), &mut Vec::new());
        self.persist.installed(record, None);
    }

    fn turn(&mut self) {
        let Self { persist, home_agent, grants, .. } = self;
        persist.end_turn(home_agent, &mut Vec::new(), |leaving| match leaving {
            Leaving::Grant(spi, units) => grants.push((spi.get(), units)),
            Leaving::Message(message) => panic!("{message:?}"),
        });
    }

    /// Turns until the disk has what was written.
    fn until_granted(&mut self) {
        while self.grants.is_empty() {
            self.turn();
            std::thread::yield_now();
        }
    }
}

#[test]
fn an_sa_goes_on_behind_its_numbers_after_every_crash() {
    let folder = tempfile::tempdir().unwrap();
    let section = section(folder.path());
    let mut run = Run::start(&section);
    run.issue(&record(7));
    run.turn();
    let first = run.persist.parameters(&record(7), None).grant;
    drop(run);
    // Each start goes on where the one before could have come, though it wrote nothing down.
    let mut granted = first;
    for _ in 0..3 {
        let run = Run::start(&section);
        let [kept] = &run.found[..] else { panic!("{}", run.found.len()) };
        assert!(*kept.record == record(7) && !kept.without_keys);
        let parameters = run.persist.parameters(&kept.record, Some(kept));
        assert_eq!(parameters.next_outbound.0, u32::from(granted) << 16);
        assert!(parameters.grant > granted);
        granted = parameters.grant;
        assert_eq!(run.highest_spi, Some(7));
    }
}

#[test]
fn numbers_are_granted_when_the_disk_has_it_and_more_of_them_to_the_fast() {
    let folder = tempfile::tempdir().unwrap();
    let section = section(folder.path());
    let mut run = Run::start(&section);
    run.issue(&record(7));
    let spi = record(7).spi;
    run.persist.near_grant(spi, 1 << 15);
    run.turn();
    assert!(run.grants.is_empty(), "there is plenty");
    run.persist.near_grant(spi, 12 << 16);
    run.until_granted();
    let [(7, units)] = run.grants[..] else { panic!("{:?}", run.grants) };
    assert!(units > 12 + FIRST_GRANT, "asked for again at once: more of them");
    drop(run);
    let run = Run::start(&section);
    let next = run.persist.parameters(&run.found[0].record, Some(&run.found[0])).next_outbound;
    assert_eq!(next.0, u32::from(units) << 16);
}

#[test]
fn inbound_numbers_are_kept_with_what_may_have_come_since() {
    let folder = tempfile::tempdir().unwrap();
    let section = section(folder.path());
    let mut run = Run::start(&section);
    run.issue(&record(7));
    let usage = || Some(SaUsage { in_octets: 5000, ..SaUsage::default() });
    let mut note = |top: u64, exact: bool| {
        let numbers = SaNumbers { next_outbound: 0, inbound_top: top };
        run.persist.note_inbound(record(7).spi, numbers, exact, &usage);
        run.persist.sas.get(record(7).spi).unwrap().floor
    };
    assert_eq!(note(100, false), 300);
    assert_eq!(note(150, false), 250);
    assert_eq!(note(150, false), 150, "it rests");
    assert_eq!(note(170, true), 170);
    run.turn();
    drop(run);
    let run = Run::start(&section);
    assert_eq!(run.found[0].numbers.floor, 170);
    assert_eq!(Persist::octets_of(&run.found[0]), [5000, 0]);
}

#[test]
fn a_folder_is_one_home_agents() {
    let folder = tempfile::tempdir().unwrap();
    let section = section(folder.path());
    let run = Run::start(&section);
    let error = Persist::open(&section, "ha1").err().unwrap().to_string();
    assert!(error.contains("log: in use by another process"), "{error}");
    drop(run);
    Persist::open(&section, "ha1").unwrap();
}

#[test]
fn keys_may_be_the_directorys_alone() {
    let folder = tempfile::tempdir().unwrap();
    let section = Section { keys: Keys::Directory, ..section(folder.path()) };
    let mut run = Run::start(&section);
    run.issue(&record(7));
    run.turn();
    drop(run);
    let key = [0xa1; 20];
    for file in std::fs::read_dir(folder.path().join("log")).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!octets.windows(key.len()).any(|window| window == key));
    }
    let mut run = Run::start(&section);
    let kept = run.found.pop().unwrap();
    assert!(kept.without_keys && kept.record.mn_to_ha.integrity() == [0; 20]);
    run.persist.await_keys(kept);
    assert!(run.persist.awaited(&record(8)).is_none());
    assert_eq!(run.persist.awaited(&record(7)).unwrap().numbers.grant, FIRST_GRANT);
}

/// what the disk has lost may have said that numbers were granted.
#[test]
fn after_damage_no_sa_of_before_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let section = section(folder.path());
    let mut run = Run::start(&section);
    for number in 1..50 {
        run.issue(&record(number));
        run.turn();
    }
    let mark = run.persist.store.flush_turn(run.persist.now_millis()).unwrap();
    assert!(run.persist.store.wait_durable(mark, Duration::from_secs(10)));
    run.issue(&record(60));
    run.turn();
    drop(run);
    let segment = std::fs::read_dir(folder.path().join("log"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.metadata().unwrap().len() > 4000)
        .min()
        .unwrap();
    let mut octets = std::fs::read(&segment).unwrap();
    octets[3000] ^= 1;
    std::fs::write(&segment, octets).unwrap();
    let run = Run::start(&section);
    assert!(run.found.is_empty());
    assert_eq!(run.highest_spi, None);
}

#[test]
fn the_highest_spi_is_known_within_a_boot_and_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let section = section(folder.path());
    let mut run = Run::start(&section);
    run.issue(&record(41));
    run.turn();
    drop(run);
    assert_eq!(Run::start(&section).highest_spi, Some(41));
}

/// RFC 5847 s.3.3: a mobile node that sees the counter grow takes its binding for lost.
#[test]
fn the_restart_counter_grows_with_losses_alone() {
    let folder = tempfile::tempdir().unwrap();
    let section = section(folder.path());
    for _ in 0..2 {
        assert_eq!(Run::start(&section).persist.restart_counter(), 1);
    }
    // A power cut: who knows what the disk had.
    let mut run = Run::start(&section);
    run.persist.store.put(Kind::HomeAgent, BOOT, b"another").unwrap();
    run.turn();
    drop(run);
    assert_eq!(Run::start(&section).persist.restart_counter(), 2);
    assert_eq!(Run::start(&section).persist.restart_counter(), 2);
}
