//! A disk without room: 500, and nothing half written.

use std::path::Path;
use std::process::Command;

use hearth_hac::config::{HomeAddress, PrefixPool, Realm};
use hearth_hac::directory::{Directory, IssueError};
use hearth_wire::Spi;

use crate::rig::{Place, lookup, pooled};

/// A file system of 4 MiB on a folder, gone on drop. Needs root, as which the tests of this project
/// run.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn on(folder: &'a Path) -> Self {
        let mount = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"];
        assert!(Command::new("mount").args(mount).arg(folder).status().unwrap().success());
        Self(folder)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

fn wide() -> Realm {
    let mut wide = pooled(200, |subscriber| {
        subscriber.ip4 = HomeAddress::None;
        subscriber.ip6 = HomeAddress::Prefix;
    });
    wide.home_agents[0].spis = 1..=100_000;
    wide.home_agents[0].pools.home_prefixes_ip6 =
        PrefixPool::new("2001:db8:300::/48".parse().unwrap(), 64);
    wide
}

/// Issues for many until the store fails; the last SPI that was dealt, `last` if there was none.
async fn fill(place: &Place, directory: &Directory, mut last: u32) -> u32 {
    for number in 0..100_000 {
        match place.issue(directory, &format!("n{}@example.net", number % 200)).await {
            Ok(record) => last = record.spi.get(),
            Err(error) => {
                assert_eq!(error, IssueError::Store);
                assert!(!error.will_pass(), "a 500");
                return last;
            }
        }
    }
    panic!("the disk is never full");
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_written() {
    let place = Place::new();
    let folder = place.folder.path().to_owned();
    let small = Small::on(&folder);
    let directory = place.open(wide());
    let first = place.issue(&directory, "n0@example.net").await.unwrap().spi.get();
    // Whatever else there is takes the room.
    let mut size = 4 << 20;
    while size >= 4096 {
        let octets = vec![0; size];
        if std::fs::write(place.path(&format!("other{size}")), octets).is_err() {
            let _ = std::fs::remove_file(place.path(&format!("other{size}")));
        }
        size /= 2;
    }
    let last = fill(&place, &directory, first).await;
    let spi = |number| Spi::new(number).unwrap();
    let known = |directory: &Directory, number| lookup(directory, "ha1", spi(number)).is_some();
    assert!(known(&directory, last) && !known(&directory, last + 1));
    // Room again: it goes on where it stopped, without a restart.
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("other") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let record = place.issue(&directory, "n0@example.net").await.unwrap();
    assert_eq!(record.spi.get(), last + 1);
    drop(directory);
    let directory = place.open(wide());
    assert!((1..=last + 1).rev().take(100).all(|number| known(&directory, number)));
    assert!(!known(&directory, last + 2));
    drop(directory);
    drop(small);
}
