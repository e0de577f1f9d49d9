//! The corpus of the fuzz targets, once more: what a fuzzer has found stays mended.
#![allow(clippy::expect_used, reason = "helpers of tests")]

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Runs each file of the target's corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("the corpus") {
        let path = entry.expect("a file of the corpus").path();
        let octets = fs::read(&path).expect("a readable file");
        // The name of the file that panics is the last one printed.
        println!("{}", path.display());
        target(&octets);
        files += 1;
    }
    assert!(files > 3, "{} is nearly empty", folder.display());
}

#[test]
fn container() {
    replay("container", targets::container);
}

#[test]
fn tv_headers() {
    replay("tv_headers", targets::tv_headers);
}

#[test]
fn eap() {
    replay("eap", targets::eap);
}

#[test]
fn radius() {
    replay("radius", targets::radius);
}
