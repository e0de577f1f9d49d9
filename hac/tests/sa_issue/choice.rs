//! Which home agent a mobile node is sent to.

use std::time::{Duration, Instant};

use hearth_hac::directory::{Directory, IssueError};
use hearth_wire::directory::{Request, SaRecord};

use crate::rig::{Client, Place, blocking, lookup, pooled, two_to_choose_from};

/// Seconds that a home agent may be away.
const GRACE: u64 = 15;

/// Waits until the directory has noticed that a home agent does not watch any more.
async fn until_away(directory: &Directory, index: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while directory.loads().await.unwrap()[index].alive {
        assert!(Instant::now() < deadline, "home agent {index} still is alive");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

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
    place.pass(GRACE + 1);
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
    until_away(&directory, 1).await;
    place.pass(GRACE + 1);
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
    until_away(&directory, 0).await;
    place.pass(GRACE + 1);
    let error = sent_elsewhere(&place, &directory, "n0@example.net", "ha1").await.unwrap_err();
    assert_eq!(error, IssueError::NoHomeAgent);
}

/// Which HA a subscriber names does not matter: where that one is not alive there is a 503. It may
/// restart, and so may the HAC, without anybody noticing.
#[tokio::test(flavor = "multi_thread")]
async fn a_named_home_agent_that_is_dead_gets_nobody_and_one_that_restarts_does() {
    let place = Place::new();
    let directory = place.serve(pooled(3, |_| {}));
    // Nobody can have connected yet.
    assert_eq!(&*sent_to(&place, &directory, "n0@example.net").await.home_agent, "ha1");
    place.pass(GRACE);
    assert_eq!(&*sent_to(&place, &directory, "n0@example.net").await.home_agent, "ha1");
    place.pass(1);
    let refused = place.issue(&directory, "n1@example.net").await;
    assert_eq!(refused.unwrap_err(), IssueError::NoHomeAgent);

    let home_agent = Client::watch(&place, "ha1").await;
    assert_eq!(&*sent_to(&place, &directory, "n1@example.net").await.home_agent, "ha1");
    // As long as it watches, whatever time passes.
    place.pass(1000);
    sent_to(&place, &directory, "n1@example.net").await;
    drop(home_agent);
    until_away(&directory, 0).await;
    place.pass(GRACE);
    sent_to(&place, &directory, "n2@example.net").await;
    place.pass(1);
    let refused = place.issue(&directory, "n2@example.net").await;
    assert_eq!(refused.unwrap_err(), IssueError::NoHomeAgent);
    let _back = Client::watch(&place, "ha1").await;
    sent_to(&place, &directory, "n2@example.net").await;
}
