//! Which home agent a mobile node is sent to.

use std::time::{Duration, Instant};

use hearth_hac::directory::{Directory, IssueError};
use hearth_wire::directory::{Request, SaRecord};

use crate::rig::{Client, Place, blocking, lookup, two_to_choose_from};

async fn sent_to(place: &Place, directory: &Directory, id: &str) -> Box<SaRecord> {
    place.issue(directory, id).await.unwrap()
}

/// Issues until a mobile node is sent elsewhere than to `former`, or nowhere.
async fn sent_elsewhere(
    place: &Place,
    directory: &Directory,
    id: &str,
    former: &str,
) -> Result<Box<SaRecord>, IssueError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match place.issue(directory, id).await {
            Ok(record) if *record.home_agent == *former => {
                assert!(Instant::now() < deadline, "still sent to {former}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mobile_nodes_are_sent_to_home_agents_that_are_alive() {
    let place = Place::new();
    let directory = place.serve(two_to_choose_from(3));
    let error = place.issue(&directory, "n0@example.net").await.unwrap_err();
    assert_eq!(error, IssueError::NoHomeAgent);
    assert!(error.will_pass(), "a 503");

    let second = Client::watch(&place, "ha2").await;
    let at_second = sent_to(&place, &directory, "n0@example.net").await;
    assert_eq!(&*at_second.home_agent, "ha2");
    assert_eq!(at_second.home_address.to_string(), "2001:db8:101::1000");
    let _first = Client::watch(&place, "ha1").await;
    // The less loaded one; and who has an address keeps it.
    assert_eq!(&*sent_to(&place, &directory, "n1@example.net").await.home_agent, "ha1");
    let again = sent_to(&place, &directory, "n0@example.net").await;
    assert_eq!(
        (again.home_agent, again.home_address),
        (at_second.home_agent.clone(), at_second.home_address)
    );

    // One goes away: its mobile nodes are sent to the other one, its SAs stay.
    drop(second);
    let moved = sent_elsewhere(&place, &directory, "n0@example.net", "ha2").await.unwrap();
    assert_eq!(&*moved.home_agent, "ha1");
    assert!(lookup(&directory, "ha2", at_second.spi).is_some());
}

/// The connection is there and nobody is at work behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_agent_that_falls_silent_is_not_alive() {
    let place = Place::new();
    let directory = place.serve(two_to_choose_from(1));
    let mut client = Client::watch(&place, "ha1").await;
    client.send(&Request::Alive);
    let before = sent_to(&place, &directory, "n0@example.net").await;
    assert_eq!(&*before.home_agent, "ha1");
    let began = Instant::now();
    // It is cut, so that it notices and resynchronises when it is at work again.
    blocking(move || while client.update().is_some() {}).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    let error = sent_elsewhere(&place, &directory, "n0@example.net", "ha1").await.unwrap_err();
    assert_eq!(error, IssueError::NoHomeAgent);
}
