//! The admin socket, asked as an operator asks it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod place;

use std::os::unix::fs::PermissionsExt;

use place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_for_everybody_who_may_open_the_socket() {
    let place = Place::start("");
    let (status, text) = place.get("/v1/hac").await;
    assert_eq!(status, 200);
    let status: hearth_api::hac::Status = serde_json::from_str(&text).unwrap();
    assert_eq!((status.subscribers, status.open_connections), (1, 0));
    assert_eq!(status.home_agents, ["ha1"]);
    assert!(status.counters.iter().any(|row| row.counter == "issued" && row.count == 0));
    let mode = std::fs::metadata(place.path("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let socket = place.path("admin.sock");
    place.stop().await;
    assert!(!socket.exists(), "the socket is left behind");
}

/// A second HAC on the same socket does not start, and the first goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_taken_stays_whose_it_is() {
    let place = Place::start("");
    let text = place.try_another().unwrap_err().to_string();
    assert!(text.contains("admin.socket of its own"), "{text}");
    assert_eq!(place.get("/v1/hac").await.0, 200);
}
