//! A clock that jumps.

use std::sync::atomic::Ordering;

use hearth_hac::directory::IssueError;

use crate::common::{NOW, realm};
use crate::rig::{Place, lookup, request};

const NODE: &str = "mn1@example.net";

#[tokio::test]
async fn a_step_back_issues_no_sa_that_has_ended() {
    let place = Place::new();
    let directory = place.open(realm());
    place.issue(&directory, NODE).await.unwrap();
    // Half an hour: the latest time that was seen holds, for a session that goes by the clock too.
    place.wall.store(NOW - 1800, Ordering::Relaxed);
    let record = place.issue(&directory, NODE).await.unwrap();
    assert_eq!(record.validity_end, NOW + 3600);
    // Two hours: nobody knows what time it is.
    place.wall.store(NOW - 7200, Ordering::Relaxed);
    assert_eq!(place.issue(&directory, NODE).await.unwrap_err(), IssueError::Clock);
    assert!(IssueError::Clock.will_pass(), "a 503");
    drop(directory);
    let directory = place.open(realm());
    assert_eq!(place.issue(&directory, NODE).await.unwrap_err(), IssueError::Clock);
    assert!(lookup(&directory, "ha1", record.spi).is_some(), "what was issued stays");
    // The clock is set, or an operator says that it is right.
    place.wall.store(NOW + 5, Ordering::Relaxed);
    assert_eq!(place.issue(&directory, NODE).await.unwrap().validity_end, NOW + 3605);
    drop(directory);
    place.wall.store(NOW - 7200, Ordering::Relaxed);
    let mut store = place.store(realm());
    store.trust_clock(place.now());
    let directory = place.start(store);
    assert_eq!(place.issue(&directory, NODE).await.unwrap().validity_end, NOW - 3600);
}

#[tokio::test]
async fn a_step_forward_issues_no_spi_again() {
    let place = Place::new();
    let narrow = || {
        let mut narrow = realm();
        narrow.home_agents[0].spis = 5..=6;
        narrow
    };
    let directory = place.open(narrow());
    for spi in [5, 6] {
        assert_eq!(place.issue(&directory, NODE).await.unwrap().spi.get(), spi);
    }
    // Ten years within a second: both SAs have ended by the clock, and their SPIs have not rested.
    place.wall.fetch_add(315_360_000, Ordering::Relaxed);
    assert_eq!(place.issue(&directory, NODE).await.unwrap_err(), IssueError::NoSpi);
    place.wall.fetch_add(315_360_000, Ordering::Relaxed);
    assert_eq!(place.issue(&directory, NODE).await.unwrap_err(), IssueError::NoSpi);
    // Nor have they when the daemon was away meanwhile.
    drop(directory);
    let directory = place.open(narrow());
    assert_eq!(place.issue(&directory, NODE).await.unwrap_err(), IssueError::NoSpi);
    place.stay(&directory).await;
    place.monotonic.fetch_add(301, Ordering::Relaxed);
    assert_eq!(place.issue(&directory, NODE).await.unwrap().spi.get(), 5);
}

/// The clock was stepped while the session went on: its SA would have ended before it began.
#[tokio::test]
async fn an_sa_whose_validity_has_passed_is_not_issued() {
    let place = Place::new();
    let directory = place.open(realm());
    let error = directory.issue(request(NODE, NOW)).await.unwrap_err();
    assert_eq!(error, IssueError::Clock);
    assert_eq!(place.issue(&directory, NODE).await.unwrap().spi.get(), 1, "nothing was consumed");
}
