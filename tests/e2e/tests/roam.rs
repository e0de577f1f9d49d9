//! The short form of `make roam`: a connection that carries data both ways outlives it all.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn
//!            \-[visit4]-- hearth-nat4 ----/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{net::Ipv6Addr, path::Path, process::Command};

use hearth_e2e::{PATIENCE, TestLab, target};
use hearth_lab::{
    capture::Capture,
    config::NodeTuning,
    netns::run,
    plan::{CN_ON_LINK6, HA6, HOME_INTERFACE, Visited},
    roam::{self, Length},
    wait,
};
use hearth_wire::suite::Suite;

/// What a user may miss of a stream of one packet each 10 ms on the way into a network that carries
/// nothing. The node looks for half a second, asks for another, and moves.
const LONGEST_SILENCE_MS: f64 = 6_000.0;

#[test]
fn a_connection_outlives_moves_a_black_hole_and_no_network_at_all() {
    let lab = TestLab::up_with("roam", |options| options.tuning.home_on_link = true);
    let folder = target().join("e2e/roam-report");
    let report = roam::during(&lab, &folder, Length::Short).unwrap();
    println!("{report}");
    assert!(report.ok, "{:?}", report.error);
    assert!(report.octets_down > 0 && report.octets_up > 0);
    assert_eq!(report.duplicates, 0);
    let event = |words: &str| report.events.iter().find(|it| it.name.contains(words)).unwrap();
    // Both networks are there: the new one is registered while the old one carries.
    for words in ["comes up beside", "carries again", "back to IPv6"] {
        let event = event(words);
        assert_eq!(event.packets_lost, 0, "{event:?}");
    }
    let hole = event("swallows");
    assert_eq!((hole.from.as_str(), hole.to.as_str()), ("ipv6", "ipv4 nat"));
    assert!(hole.gap_ms < LONGEST_SILENCE_MS, "{hole:?}");
    assert!(folder.join("roam.svg").exists() && folder.join("report.json").exists());
}

/// How many packets of a capture tshark finds with a filter.
fn found(capture: &Path, filter: &str) -> usize {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(capture).args(["-Y", filter, "-T", "fields", "-e", "frame.number"]);
    run(&mut tshark).unwrap().lines().count()
}

/// RFC 6275 s.11.5.5: no question of the node's own comes from the home address before the home agent
/// has stopped, no duplicate is looked for, and the link hears of the new link-layer address. The home
/// agent answers for the address no more, and the correspondent on the link reaches it directly.
#[test]
fn a_node_that_comes_home_takes_its_address_over_from_the_home_agent() {
    let lab = TestLab::up_with("return", |options| options.tuning.home_on_link = true);
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, HA6.into()).unwrap();
    let interfaces = vec![HOME_INTERFACE, "visit6", "visit4"];
    let tuning = NodeTuning { home_link: true, interfaces, ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &tuning).unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    let path = lab.options.files.dir.join("home.pcapng");
    let capture = Capture::start(&lab.network.cn, "homeport", &path).unwrap();
    lab.network.attach_home().unwrap();
    node.until("home", PATIENCE, |status| status.state == "at_home").unwrap();
    assert!(lab.bindings().unwrap().is_empty());
    let home: Ipv6Addr = who.home6;
    let ping = || lab.ping(&lab.network.cn, CN_ON_LINK6.into(), home.into(), 3).unwrap();
    wait::until("answers at home", PATIENCE, || Ok((ping() == 3).then_some(()))).unwrap();
    let told = format!(
        "icmpv6.type == 136 && ipv6.dst == ff02::1 && icmpv6.nd.na.target_address == {home} && \
         icmpv6.nd.na.flag.o == 1 && icmpv6.nd.na.flag.s == 0 && ipv6.hlim == 255"
    );
    // MAX_NEIGHBOR_ADVERTISEMENT, a second apart.
    wait::until("three advertisements", PATIENCE, || Ok((found(&path, &told) >= 3).then_some(())))
        .unwrap();
    let path = capture.finish().unwrap();
    assert_eq!(found(&path, &told), 3);
    let detection =
        format!("icmpv6.type == 135 && ipv6.src == :: && icmpv6.nd.ns.target_address == {home}");
    assert_eq!(found(&path, &detection), 0, "duplicate address detection");
    let first = format!("udp.port == 7872 && ipv6.src == {home}");
    assert!(found(&path, &first) >= 1, "the de-registration comes from the home address");

    lab.network.detach_home().unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    lab.until_both_answer(&who);
    node.stop().unwrap();
}
