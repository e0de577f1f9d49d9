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

/// Each AAA and accounting server with what happened; nobody answers on port 9.
#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_how_radius_servers_are() {
    let place = Place::start(
        "\
auth: {methods: [eap], eap: {methods: [radius]}}
radius:
  servers:
    - {address: 127.0.0.1, port: 9, secret_file: hac.pem, returns_authenticated_name: true}
  accounting:
    servers: [{address: '::1', port: 9, secret_file: hac.pem, status_server: false}]
",
    );
    let (_, text) = place.get("/v1/hac").await;
    let status: hearth_api::hac::Status = serde_json::from_str(&text).unwrap();
    let count = |name: &str| {
        let row = status.counters.iter().find(|row| row.counter == name);
        row.unwrap_or_else(|| panic!("{name} in {text}")).count
    };
    assert_eq!(count("radius [::1]:9 is_dead"), 0);
    assert_eq!(count("radius [::1]:9 status_servers"), 0);
    assert_eq!(count("radius 127.0.0.1:9 access_accepts"), 0);
    assert_eq!((count("accounting_sessions"), count("accounting_lost")), (0, 0));
    place.stop().await;
}

/// A second HAC on the same socket does not start, and the first goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_taken_stays_whose_it_is() {
    let place = Place::start("");
    let text = place.try_another().unwrap_err().to_string();
    assert!(text.contains("admin.socket of its own"), "{text}");
    assert_eq!(place.get("/v1/hac").await.0, 200);
}
