//! The corpus of the fuzz targets, as it is and changed in a few places: what a fuzzer has found
//! stays mended. HEARTH_FUZZ_SECONDS=600 goes on with changes for that long.
#![allow(clippy::expect_used, reason = "helpers of tests")]

#[path = "../../fuzz/eap_server.rs"]
mod eap_server;
#[path = "../../fuzz/replay.rs"]
mod replay;
#[path = "../../fuzz/targets.rs"]
mod targets;

use replay::replay;

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
fn eap_server() {
    replay("eap_server", eap_server::eap_server);
}

#[test]
fn radius() {
    replay("radius", targets::radius);
}
