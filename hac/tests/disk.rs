//! A HAC whose disk fills while it runs: mobile nodes get a 500, operators a refusal, and nothing is
//! half there. Needs root, as which the tests of this project run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod peer;
mod place;

use std::fs;
use std::path::Path;
use std::process::Command;

use hearth_hac::config::Config;
use hearth_hac::counters::Counter;
use hearth_hac::daemon::{Hac, system_clock};
use peer::{Client, connector};
use place::{Place, TEXT};

/// A file system of 6 MiB on a folder, gone on drop.
struct Small(std::path::PathBuf);

impl Small {
    fn on(folder: &Path) -> Self {
        let mount = ["-t", "tmpfs", "-o", "size=6m", "tmpfs"];
        assert!(Command::new("mount").args(mount).arg(folder).status().unwrap().success());
        Self(folder.to_owned())
    }

    /// Leaves no octet of room.
    fn fill(&self) {
        let (mut size, mut number) = (4 << 20, 0);
        while size >= 4096 {
            let path = self.0.join(format!("other{number}"));
            if fs::write(&path, vec![0; size]).is_err() {
                let _ = fs::remove_file(path);
                size /= 2;
            }
            number += 1;
        }
    }

    fn make_room(&self) {
        for entry in fs::read_dir(&self.0).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("other") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A file system that turns read-only when it finds a mistake on its disk, as most are made; gone on drop.
struct Failing {
    images: tempfile::TempDir,
    on: std::path::PathBuf,
}

impl Failing {
    fn on(folder: &Path) -> Self {
        let failing = Self { images: tempfile::tempdir().unwrap(), on: folder.to_owned() };
        let image = failing.image(0);
        run(Command::new("truncate").args(["-s", "32M"]).arg(&image));
        run(Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(&image));
        failing.mount(0);
        failing
    }

    fn image(&self, number: u8) -> std::path::PathBuf {
        self.images.path().join(format!("disk{number}"))
    }

    fn mount(&self, number: u8) {
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop,errors=remount-ro"]).arg(self.image(number)).arg(&self.on));
    }

    /// The kernel finds a mistake.
    fn turn_read_only(&self) {
        run(&mut Command::new("sync"));
        let source = Command::new("findmnt").args(["-no", "SOURCE"]).arg(&self.on).output();
        let source = String::from_utf8(source.unwrap().stdout).unwrap();
        let device = source.trim().rsplit('/').next().unwrap().to_owned();
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        fs::write(trigger, "made by a test\n").unwrap();
        assert!(fs::write(self.on.join("probe"), "").is_err());
    }

    /// An operator has it checked, and mounts it again.
    fn mend(&self) {
        run(Command::new("umount").arg("--lazy").arg(&self.on));
        fs::copy(self.image(0), self.image(1)).unwrap();
        let checked = Command::new("e2fsck").args(["-fy"]).arg(self.image(1)).output().unwrap();
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
        self.mount(1);
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.on).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A HAC with both stores on the small disk.
fn start(prepare: impl FnOnce(&Path)) -> (Result<Place, String>, Small) {
    let folder = Place::folder();
    fs::write(folder.path().join("wrap.key"), "11".repeat(32)).unwrap();
    fs::create_dir(folder.path().join("disk")).unwrap();
    let small = Small::on(&folder.path().join("disk"));
    prepare(&small.0);
    let text = TEXT.replace("store: hac.redb", "store: disk/hac.redb")
        + "subscriber_store: {path: disk/s.redb, key_file: wrap.key}\n";
    (Place::begin_with(folder, &text), small)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_500_and_passes() {
    let (place, small) = start(|_| ());
    let place = place.unwrap();
    let trusted = connector(&[place.path("hac.pem")]);
    let bootstrap = || async {
        let mut client = Client::connect(&trusted, place.hac.addresses()[0]).await;
        let psk = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        client.bootstrap_as("yaml@example.net", &psk).await.status.unwrap().code()
    };
    assert_eq!(bootstrap().await, 200);
    small.fill();
    let mut status = 200;
    for _ in 0..5000 {
        status = bootstrap().await;
        if status != 200 {
            break;
        }
    }
    assert_eq!(status, 500);
    assert!(place.hac.counters().get(Counter::InternalServerError) > 0);
    // So many subscribers that there is no room for them: none is there.
    let mut lines = String::new();
    for number in 0..20_000 {
        lines += &format!(
            "{{\"mn_id\":\"n{number}@example.net\",\"psk\":{{\"hex\":\"{}\"}}}}\n",
            place::PSK
        );
    }
    let (status, text) = place.post("/v1/subscribers/import", &lines).await;
    assert_eq!(status, 500, "{text}");
    assert_eq!(place.hac.subscribers().len(), 1);
    assert_eq!(place.post("/v1/subscribers/export", "null").await, (200, String::new()));
    // Room again: all goes on, without a restart.
    small.make_room();
    assert_eq!(bootstrap().await, 200);
    let one = lines.lines().next().unwrap();
    assert_eq!(place.post("/v1/subscribers/add", one).await.0, 200);
    let folder = place.stop().await;
    let config = Config::load(&folder.path().join("hac.yaml"), system_clock()()).unwrap();
    let hac = Hac::start(config, system_clock()).unwrap();
    assert_eq!(hac.subscribers().len(), 2);
    hac.stop().await;
    drop(small);
}

/// A disk that the kernel turns read-only while the HAC runs: 500, nothing is half written, and who has an
/// SA keeps it. When the disk is mended all goes on, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_is_a_500_and_passes() {
    let folder = Place::folder();
    fs::write(folder.path().join("wrap.key"), "11".repeat(32)).unwrap();
    fs::create_dir(folder.path().join("disk")).unwrap();
    let disk = Failing::on(&folder.path().join("disk"));
    let text = TEXT.replace("store: hac.redb", "store: disk/hac.redb")
        + "subscriber_store: {path: disk/s.redb, key_file: wrap.key}\n";
    let place = Place::begin_with(folder, &text).unwrap();
    let trusted = connector(&[place.path("hac.pem")]);
    let bootstrap = || async {
        let mut client = Client::connect(&trusted, place.hac.addresses()[0]).await;
        let psk = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let response = client.bootstrap_as("yaml@example.net", &psk).await;
        (response.status.unwrap().code(), response.spi.map(hearth_wire::Spi::get))
    };
    assert_eq!(bootstrap().await, (200, Some(1)));
    disk.turn_read_only();
    for _ in 0..3 {
        assert_eq!(bootstrap().await, (500, None));
    }
    let subscriber =
        format!("{{\"mn_id\":\"n@example.net\",\"psk\":{{\"hex\":\"{}\"}}}}", place::PSK);
    assert_eq!(place.post("/v1/subscribers/add", &subscriber).await.0, 500);
    assert_eq!(place.hac.subscribers().len(), 1);
    disk.mend();
    assert_eq!(bootstrap().await, (200, Some(2)), "the first one's SPI is in use");
    assert_eq!(place.post("/v1/subscribers/add", &subscriber).await.0, 200);
    let folder = place.stop().await;
    let config = Config::load(&folder.path().join("hac.yaml"), system_clock()()).unwrap();
    let hac = Hac::start(config, system_clock()).unwrap();
    assert_eq!(hac.subscribers().len(), 2);
    hac.stop().await;
    drop(disk);
}

/// On a disk that can't be written a HAC does not start, and says which file it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_is_no_place_for_a_store() {
    let (place, small) = start(|disk| {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(disk).status();
        assert!(status.unwrap().success());
    });
    let error = place.map(|_| ()).unwrap_err();
    assert!(error.contains("Read-only file system"), "{error}");
    drop(small);
}
