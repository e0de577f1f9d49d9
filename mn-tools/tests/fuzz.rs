//! The corpus of the mobile node's fuzz targets: what an EAP server, a HAC, a name server, a home agent
//! and a correspondent can say.

#[path = "../../fuzz/replay.rs"]
mod replay;
#[path = "../../fuzz/mn_targets.rs"]
mod targets;

use replay::replay;

#[test]
fn eap() {
    replay("mn_eap", targets::eap);
}

#[test]
fn hac() {
    replay("mn_hac", targets::hac);
}

#[test]
fn dns() {
    replay("mn_dns", targets::dns);
}

#[test]
fn correspondent() {
    replay("mn_correspondent", targets::correspondent);
}

#[test]
fn mobility() {
    replay("mn_mobility", targets::mobility);
}

#[test]
fn tunnel() {
    replay("mn_tunnel", targets::tunnel);
}

#[test]
fn config() {
    replay("mn_config", targets::config);
}
