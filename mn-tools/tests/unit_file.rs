//! The systemd unit.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::path::Path;
use std::process::Command;

/// systemd finds nothing wrong with the unit, and little that it exposes.
#[test]
fn the_systemd_unit_is_valid_and_closed() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("hearth-mn@car.service");
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let text = std::fs::read_to_string(configs.join("systemd/hearth-mn@.service")).unwrap();
    // The program need not be installed here.
    std::fs::write(&unit, text.replace("/usr/bin/hearth-mn", env!("CARGO_BIN_EXE_hearth-mn")))
        .unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let (valid, found) = analyze(&["verify", "--man=no"]);
    let own: Vec<_> = found.lines().filter(|line| line.contains("hearth-mn@")).collect();
    assert!(valid && own.is_empty(), "{found}");
    // The threshold is in tenths: 3.0 of 10. CAP_NET_ADMIN, root and the host's network cost 2.6.
    let (closed, found) = analyze(&["security", "--offline=yes", "--no-pager", "--threshold=30"]);
    assert!(closed, "{found}");
}
