//! Who may open it, what damage is called, older schemas, how large it gets.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

use common::{collect, folder, open, segments, small};
use hearth_store::{Kind, Migrated, Options, Room, Store, StoreError, VALUE_MAX, Why};

const SECOND: Duration = Duration::from_secs(20);

#[test]
fn a_second_opener_is_refused() {
    let (_dir, folder) = folder();
    let (first, _) = open(&folder, small());
    let refused = Store::open(&folder, small()).unwrap_err();
    assert!(matches!(refused.why, Why::Locked), "{refused}");
    assert!(refused.to_string().ends_with("in use by another process"));
    drop(first);
    open(&folder, small());
}

#[test]
fn the_folder_is_its_users_alone() {
    let (dir, folder) = folder();
    let (mut store, _) = open(&folder, small());
    store.put(Kind::Sa, b"k", b"v").unwrap();
    store.flush_turn(1).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o750)).unwrap();
    let refused = Store::open(&shared, small()).unwrap_err();
    assert!(matches!(refused.why, Why::Exposed), "{refused}");
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
}

#[test]
fn no_secret_is_shown() {
    let (_dir, folder) = folder();
    let (mut store, _) = open(&folder, small());
    let secret = b"hunter2hunter2";
    store.put(Kind::Sa, b"key", secret).unwrap();
    let mut shown = format!("{store:?}");
    store.flush_turn(1).unwrap();
    shown += &format!("{store:?}");
    drop(store);
    let (store, recovered) = open(&folder, small());
    shown += &format!("{store:?} {recovered:?}");
    for batch in recovered.live.batches() {
        shown += &format!("{batch:?}");
        batch.read(&mut Room::default(), |record| shown += &format!("{record:?}")).unwrap();
    }
    // As text, and as the numbers that a slice of octets is shown as.
    assert!(shown.contains("14 octets"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}

#[test]
fn records_beyond_their_fields_are_refused() {
    let (_dir, folder) = folder();
    let (mut store, _) = open(&folder, small());
    let long = vec![7; VALUE_MAX];
    assert_eq!(store.put(Kind::Binding, &[0; 24], b""), Err(StoreError::TooLong));
    assert_eq!(store.put(Kind::Binding, b"", b""), Err(StoreError::TooLong));
    assert_eq!(store.put(Kind::Binding, b"k", &[0; VALUE_MAX + 1]), Err(StoreError::TooLong));
    store.put(Kind::Binding, &[1; 23], &long).unwrap();
    store.flush_turn(1).unwrap();
    drop(store);
    let (_store, recovered) = open(&folder, small());
    assert_eq!(collect(&recovered.live)[&(Kind::Binding, vec![1; 23])], long);
}

#[test]
fn a_clock_that_went_back_stands_still() {
    let (_dir, folder) = folder();
    let (mut store, recovered) = open(&folder, small());
    assert_eq!(recovered.now(5_000), 5_000);
    store.put(Kind::Binding, b"k", b"until 9000").unwrap();
    store.flush_turn(8_000).unwrap();
    store.put(Kind::Binding, b"l", b"until 9000").unwrap();
    store.flush_turn(7_000).unwrap();
    drop(store);
    let (_store, recovered) = open(&folder, small());
    assert_eq!(recovered.last_turn, Some(8_000));
    assert_eq!(recovered.now(3_000), 8_000);
    assert_eq!(recovered.now(8_500), 8_500);
}

/// Damage in the middle: what precedes it counts, and what was lost is told to the record.
#[test]
fn damage_is_told_to_the_record() {
    let (_dir, folder) = folder();
    let (mut store, _) = open(&folder, small());
    for turn in 1..=300_u64 {
        for record in 0..3 {
            store.put(Kind::Grant, &[record], &turn.to_le_bytes()).unwrap();
        }
        let mark = store.flush_turn(1000 * turn).unwrap();
        assert!(turn % 10 != 0 || store.wait_durable(mark, SECOND));
    }
    drop(store);
    // Turns of 3 x 17 + 40 octets behind a header of 64: in the 11th turn of the second segment.
    let files = segments(&folder);
    assert!(files.len() > 3);
    let file = OpenOptions::new().write(true).open(&files[1]).unwrap();
    file.write_all_at(&[0xff; 2], 64 + 10 * 91 + 12).unwrap();
    let second = u64::from_le_bytes(fs::read(&files[1]).unwrap()[24..32].try_into().unwrap());
    let last = second + 9;

    let (store, recovered) = open(&folder, small());
    let lost = recovered.lost.clone().unwrap();
    assert_eq!((&lost.file, lost.offset), (&files[1], 64 + 10 * 91));
    assert_eq!((lost.turns, lost.records), (300 - last, 3 * (300 - last)));
    assert!(lost.durable);
    assert_eq!((lost.last_kept, lost.last_lost), (Some(1000 * last), Some(300_000)));
    assert_eq!(recovered.last_turn, Some(1000 * last));
    let model = collect(&recovered.live);
    assert_eq!(model.len(), 3);
    assert!(model.values().all(|value| value == &last.to_le_bytes()));
    assert!(lost.to_string().contains("damaged; "), "{lost}");
    drop(store);
    // Told once; what was lost does not come back.
    let (_store, recovered) = open(&folder, small());
    assert_eq!(recovered.lost, None);
    assert_eq!(collect(&recovered.live), model);
}

/// A turn that is whole but not the next one: written to the wrong place, or an older state of it.
#[test]
fn a_turn_out_of_turn_is_damage() {
    let (_dir, folder) = folder();
    let (mut store, _) = open(&folder, small());
    for turn in 1..=8_u8 {
        store.put(Kind::Grant, b"key", &[turn; 8]).unwrap();
        store.flush_turn(u64::from(turn)).unwrap();
    }
    drop(store);
    let path = &segments(&folder)[0];
    let mut octets = fs::read(path).unwrap();
    let length = 8 + 3 + 8 + 40;
    octets.copy_within(64 + 2 * length..64 + 3 * length, 64 + 4 * length);
    fs::write(path, octets).unwrap();
    let (_store, recovered) = open(&folder, small());
    let lost = recovered.lost.unwrap();
    assert_eq!((lost.offset, lost.turns, lost.records), (64 + 4 * length as u64, 4, 4));
    assert_eq!(collect(&recovered.live)[&(Kind::Grant, b"key".to_vec())], [4; 8]);
}

#[test]
fn an_unfinished_turn_is_no_alarm() {
    let (_dir, folder) = folder();
    let (mut store, _) = open(&folder, small());
    for turn in 1..=3 {
        store.put(Kind::Binding, b"key", &[turn; 50]).unwrap();
        store.flush_turn(u64::from(turn)).unwrap();
    }
    drop(store);
    let file = OpenOptions::new().write(true).open(&segments(&folder)[0]).unwrap();
    file.set_len(file.metadata().unwrap().len() - 5).unwrap();
    let (_store, recovered) = open(&folder, small());
    let lost = recovered.lost.unwrap();
    assert_eq!((lost.turns, lost.records, lost.durable), (0, 0, false));
    // 61 and 35, but for zeros at the end.
    assert!((90..=96).contains(&lost.octets), "{lost:?}");
    assert!(lost.to_string().ends_with(" octets that are no whole turn are ignored"), "{lost}");
    assert_eq!(collect(&recovered.live)[&(Kind::Binding, b"key".to_vec())], [2; 50]);
}

#[test]
fn a_missing_segment_ends_the_log() {
    let (_dir, folder) = folder();
    let (mut store, _) = open(&folder, small());
    for turn in 1..=200_u64 {
        store.put(Kind::Binding, b"key", &[1; 80]).unwrap();
        let mark = store.flush_turn(turn).unwrap();
        assert!(turn % 20 != 0 || store.wait_durable(mark, SECOND));
    }
    drop(store);
    let files = segments(&folder);
    assert!(files.len() > 2, "{files:?}");
    fs::remove_file(&files[0]).unwrap();
    let (_store, recovered) = open(&folder, small());
    assert_eq!(recovered.live.records(), 0);
    let lost = recovered.lost.unwrap();
    assert!(lost.durable && lost.turns == 200, "{lost:?}");
}

/// Schema 1 wrote bindings as text and had records that schema 2 has no use for.
fn migrate(
    schema: u16,
    record: hearth_store::Record<'_>,
    value: &mut hearth_store::SecretBuffer,
) -> Migrated {
    assert_eq!(schema, 1);
    match record.kind {
        Kind::Binding => {
            let text = std::str::from_utf8(record.value).unwrap();
            value.extend(&text.parse::<u32>().unwrap().to_le_bytes());
            Migrated::Changed
        }
        Kind::Inbound => Migrated::Dropped,
        _ => Migrated::Same,
    }
}

#[test]
fn an_older_schema_is_read_and_rewritten_and_a_later_one_is_refused() {
    let (_dir, folder) = folder();
    let (mut store, _) = open(&folder, small());
    store.put(Kind::Binding, b"old", b"77").unwrap();
    store.put(Kind::Binding, b"replaced", b"1").unwrap();
    store.put(Kind::Inbound, b"p", b"x").unwrap();
    store.put(Kind::Sa, b"sa", b"same").unwrap();
    store.flush_turn(1).unwrap();
    drop(store);

    let second = Options { schema: 2, oldest_schema: 1, migrate, ..small() };
    let (mut store, _) = open(&folder, second);
    store.put(Kind::Binding, b"replaced", &5_u32.to_le_bytes()).unwrap();
    store.flush_turn(2).unwrap();
    drop(store);
    let (mut store, recovered) = open(&folder, second);
    let mut found = Vec::new();
    for batch in recovered.live.batches() {
        batch
            .read(&mut Room::default(), |record| {
                found.push((record.kind, record.key.to_vec(), record.value.to_vec()));
            })
            .unwrap();
    }
    let wanted = [
        (Kind::Binding, b"old".to_vec(), 77_u32.to_le_bytes().to_vec()),
        (Kind::Sa, b"sa".to_vec(), b"same".to_vec()),
        (Kind::Binding, b"replaced".to_vec(), 5_u32.to_le_bytes().to_vec()),
    ];
    assert_eq!(found, wanted);

    // All of it is put into the new schema.
    assert!(store.rewrite_due(3));
    while !store.begin_rewrite() {
        store.flush_turn(3).unwrap();
    }
    for (kind, key, value) in &found {
        store.rewrite(*kind, key, value).unwrap();
    }
    store.end_rewrite();
    let first = segments(&folder)[0].clone();
    while first.exists() {
        store.flush_turn(3).unwrap();
    }
    assert!(!store.rewrite_due(3));
    drop(store);

    let (_, recovered) = open(&folder, Options { schema: 2, ..small() });
    assert_eq!(collect(&recovered.live).len(), 3);
    let refused = Store::open(&folder, small()).unwrap_err();
    assert!(matches!(refused.why, Why::Newer { found: 2, known: 1 }), "{refused}");
    let refused =
        Store::open(&folder, Options { schema: 3, oldest_schema: 3, ..small() }).unwrap_err();
    assert!(matches!(refused.why, Why::Migration { found: 2 }), "{refused}");
}

/// A caller that rewrites where it is due, a few records in each turn.
#[test]
fn the_log_stays_below_three_times_what_is_live() {
    const SEGMENT: u64 = 16 << 10;
    let (_dir, folder) = folder();
    let options = Options { segment_octets: SEGMENT, ..Options::new(1) };
    let (mut store, _) = open(&folder, options);
    let mut keys: u32 = 400;
    let mut cursor = None;
    let mut passes = 0;
    for turn in 0..6000_u32 {
        for one in 0..4_u32 {
            let key = (turn * 4 + one) * 7919 % keys;
            store.put(Kind::Binding, &key.to_le_bytes(), &[turn.to_le_bytes()[0]; 70]).unwrap();
        }
        if turn == 4000 {
            // Most of it goes; the log follows.
            for key in 40..keys {
                store.delete(Kind::Binding, &key.to_le_bytes()).unwrap();
            }
            keys = 40;
            cursor = cursor.map(|_: u32| 0);
        }
        if cursor.is_none() && store.rewrite_due(u64::from(keys)) && store.begin_rewrite() {
            cursor = Some(0);
        }
        if let Some(from) = cursor {
            for key in from..keys.min(from + 32) {
                store
                    .rewrite(Kind::Binding, &key.to_le_bytes(), &[turn.to_le_bytes()[0]; 70])
                    .unwrap();
            }
            cursor = (from + 32 < keys).then_some(from + 32);
            if cursor.is_none() {
                store.end_rewrite();
                passes += 1;
            }
        }
        let mark = store.flush_turn(u64::from(turn)).unwrap();
        if turn % 8 == 0 {
            assert!(store.wait_durable(mark, SECOND));
        }
        let live = u64::from(keys) * 82;
        // What changes while a rewriting is under way, and becomes durable, comes on top.
        let bound = 3 * live + 6 * SEGMENT;
        assert!(
            (4000..4200).contains(&turn) || store.octets() <= bound,
            "{turn}: {} of {bound}",
            store.octets()
        );
    }
    assert!(passes > 3, "{passes}");
    drop(store);
    let on_disk: u64 = segments(&folder).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(on_disk <= 40 * 82 * 3 + 6 * SEGMENT, "{on_disk}");
    let (_store, recovered) = open(&folder, options);
    assert_eq!((recovered.live.records(), recovered.lost), (40, None));
}
