//! SAs that end at an operator's word (SA-10).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hearth_hac::config::{HomeAddress, Subscriber};
use hearth_hac::directory::{Directory, Revoke, RevokeError};
use hearth_hac::subscribers::Subscribers;
use hearth_wire::directory::Update;

use crate::common::{mn_id, realm, subscriber};
use crate::rig::{Client, Place, blocking, lookup, pooled};

/// How long a home agent may go on with an SA that was revoked.
const BOUND: Duration = Duration::from_millis(100);

/// Changes one subscriber.
fn change(subscribers: &Subscribers, id: &str, change: impl FnOnce(&mut Subscriber)) {
    let id = mn_id(id);
    let mut subscriber = (*subscribers.find(&id).unwrap()).clone();
    change(&mut subscriber);
    subscribers.insert(id, subscriber);
}

#[tokio::test(flavor = "multi_thread")]
async fn sa_10_revoked_sas_are_gone_from_their_home_agents_within_100_ms() {
    let place = Place::new();
    let realm = realm();
    for (id, last) in [("a@one.example", 0x20), ("b@ONE.example", 0x21), ("c@two.example", 0x22)] {
        let mut other = subscriber();
        other.ip6 = HomeAddress::Fixed(std::net::Ipv6Addr::from(
            u128::from("2001:db8:100::".parse::<std::net::Ipv6Addr>().unwrap()) + last,
        ));
        other.ip4 = HomeAddress::None;
        realm.subscribers.insert(mn_id(id), other);
    }
    let directory = place.serve(realm);
    let mut spis = Vec::new();
    for id in
        ["mn1@example.net", "a@one.example", "a@one.example", "b@ONE.example", "c@two.example"]
    {
        spis.push(place.issue(&directory, id).await.unwrap().spi);
    }
    let mut client = Client::watch(&place, "ha1").await;
    for (which, gone) in [
        (Revoke::Spi(spis[0]), vec![spis[0]]),
        (Revoke::Node(mn_id("a@one.example")), vec![spis[1], spis[2]]),
        (Revoke::Realm("One.Example".into()), vec![spis[3]]),
    ] {
        let began = Instant::now();
        assert_eq!(directory.revoke(which.clone()).await, Ok(gone.len()));
        let count = gone.len();
        let (told, back) = blocking(move || {
            let told: Vec<_> = (0..count).map(|_| client.update().unwrap()).collect();
            (told, client)
        })
        .await;
        client = back;
        let took = began.elapsed();
        println!("{which:?}: {took:?}");
        assert!(took < BOUND, "{which:?}: {took:?}");
        assert_eq!(told, gone.iter().map(|spi| Update::Revoked(*spi)).collect::<Vec<_>>());
        for spi in gone {
            assert!(lookup(&directory, "ha1", spi).is_none());
        }
        // Nothing is left to revoke.
        assert_eq!(directory.revoke(which).await, Ok(0));
    }
    assert!(lookup(&directory, "ha1", spis[4]).is_some(), "others' stay");
    // A revoked SPI rests, and who was revoked can bootstrap anew.
    assert_eq!(place.issue(&directory, "a@one.example").await.unwrap().spi.get(), 6);
}

/// More than fits one transaction: all go, while others are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_realm_is_revoked_as_a_whole() {
    const SAS: usize = 1200;
    let place = Place::new();
    let mut wide = pooled(10, |subscriber| {
        subscriber.ip4 = HomeAddress::None;
        subscriber.ip6 = HomeAddress::Prefix;
    });
    wide.home_agents[0].spis = 1..=100_000;
    wide.home_agents[0].pools.home_prefixes_ip6 =
        hearth_hac::config::PrefixPool::new("2001:db8:300::/56".parse().unwrap(), 64);
    let directory = place.serve(wide);
    let end = place.now() + 3600;
    let issues: Vec<_> = (0..SAS)
        .map(|number| {
            let directory = directory.clone();
            let request = crate::rig::request(&format!("n{}@example.net", number % 10), end);
            tokio::spawn(async move { directory.issue(request).await.unwrap().spi })
        })
        .collect();
    for issue in issues {
        issue.await.unwrap();
    }
    let mut client = Client::watch(&place, "ha1").await;
    assert_eq!(directory.revoke(Revoke::Realm("example.net".into())).await, Ok(SAS));
    let told = blocking(move || {
        (0..SAS).filter(|_| matches!(client.update(), Some(Update::Revoked(_)))).count()
    })
    .await;
    assert_eq!(told, SAS);
}

/// So much waits for the store that an operator is told to come back; the SAs of a subscriber that is gone
/// end all the same, as nobody asks again.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_subscriber_waits_for_its_turn_in_a_full_queue() {
    let place = Place::new();
    let store = place.store(pooled(1, |_| {}));
    let (gate, wall) = (Arc::new(Mutex::new(())), place.wall.clone());
    let (held, reads) = (gate.clone(), Arc::new([const { AtomicU64::new(0) }; 2]));
    let [begun, done] = [0, 1].map(|at| {
        let reads = reads.clone();
        move |count| reads[at].fetch_add(count, Ordering::SeqCst)
    });
    let (begin, end) = (begun.clone(), done.clone());
    let clock = move || {
        begin(1);
        drop(held.lock().unwrap());
        end(1);
        wall.load(Ordering::Relaxed)
    };
    let directory = Directory::start_with(store, Arc::new(clock), Arc::new(|| 0)).unwrap();
    let directory = Arc::new(directory);
    let spi = place.issue(&directory, "n0@example.net").await.unwrap().spi;
    let ended = {
        let _closed = gate.lock().unwrap();
        directory.ask_usage("ha1", spi);
        // Now whoever empties the queue waits for the time.
        while begun(0) == done(0) {
            std::thread::yield_now();
        }
        for _ in 0..5000 {
            directory.ask_usage("ha1", spi);
        }
        let mut asked = std::pin::pin!(directory.revoke(Revoke::Spi(spi)));
        let polled = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Err(RevokeError::Busy)));
        let directory = directory.clone();
        tokio::spawn(async move { directory.end(mn_id("n0@example.net")).await })
    };
    assert_eq!(ended.await.unwrap(), Ok(1));
    assert!(lookup(&directory, "ha1", spi).is_none());
}

/// What the store fails to do when a subscriber is gone or may something else is done when it works again.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_failed_to_do_is_made_up_for() {
    let place = Place::new();
    let realm = pooled(2, |_| {});
    let subscribers = realm.subscribers.clone();
    let directory = place.serve(realm);
    let gone = place.issue(&directory, "n0@example.net").await.unwrap().spi;
    let other = place.issue(&directory, "n1@example.net").await.unwrap().spi;
    let mut client = Client::watch(&place, "ha1").await;
    change(&subscribers, "n1@example.net", |subscriber| subscriber.services.care_of_addresses = 3);

    // No transaction while the clock can't be believed.
    place.wall.fetch_sub(86_400, Ordering::Relaxed);
    assert_eq!(directory.end(mn_id("n0@example.net")).await, Err(RevokeError::Store));
    assert_eq!(directory.refresh(&[mn_id("n1@example.net")]).await, 1);
    place.pass(86_400);
    let told = blocking(move || [client.update().unwrap(), client.update().unwrap()]).await;
    let [Update::Issued(record), Update::Revoked(spi)] = told else { panic!("{told:?}") };
    assert_eq!((record.spi, record.services.care_of_addresses, spi), (other, 3, gone));
    assert_eq!(directory.end(mn_id("n0@example.net")).await, Ok(0), "nothing is left");
    assert_eq!(directory.refresh(&[mn_id("n1@example.net")]).await, 0);
}
