//! The short form of `make roam`: a connection that carries data both ways outlives it all.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn
//!            \-[visit4]-- hearth-nat4 ----/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use hearth_e2e::{TestLab, target};
use hearth_lab::roam::{self, Length};

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
