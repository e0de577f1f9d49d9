//! Leases (RFC 6618 s.5.7.3; HAC-34, HAC-35).

use std::collections::HashMap;
use std::net::IpAddr;

use hearth_hac::config::{HomeAddress, LeasedNetworks, PrefixPool, Realm, Replica, Subscriber};
use hearth_hac::directory::{Directory, Grant, IssueError, IssueRequest, Revoke};
use hearth_wire::Spi;
use hearth_wire::directory::Update;
use ipnet::{IpNet, Ipv6Net};
use proptest::prelude::*;

use crate::common::{NOW, mn_id, realm, subscriber};
use crate::rig::{Client, Place, blocking, lookup, pooled, request};

fn pool(within: &str, length: u8) -> Option<PrefixPool> {
    PrefixPool::new(within.parse().unwrap(), length)
}

async fn issued(place: &Place, directory: &Directory, id: &str) -> (String, Vec<String>) {
    let record = place.issue(directory, id).await.unwrap();
    let prefixes = record.services.prefixes.iter().map(ToString::to_string).collect();
    (record.home_address.to_string(), prefixes)
}

#[tokio::test]
async fn hac_35_a_home_network_prefix_for_each_mobile_node() {
    let place = Place::new();
    let realm = || {
        let mut realm = pooled(3, |subscriber| {
            subscriber.ip6 = HomeAddress::Prefix;
            subscriber.ip4 = HomeAddress::None;
        });
        realm.home_agents[0].pools.home_prefixes_ip6 = pool("2001:db8:300::/63", 64);
        realm
    };
    let directory = place.open(realm());
    let first = issued(&place, &directory, "n0@example.net").await.0;
    assert_eq!(first, "2001:db8:300::1");
    assert_eq!(issued(&place, &directory, "n1@example.net").await.0, "2001:db8:300:1::1");
    let error = place.issue(&directory, "n2@example.net").await.unwrap_err();
    assert!(matches!(error, IssueError::NoHomeAddress(_)), "{error:?}");
    assert!(error.will_pass(), "a 503");
    drop(directory);
    // The same after a restart; what the mobile node is told is its own /64.
    let directory = place.open(realm());
    assert_eq!(issued(&place, &directory, "n0@example.net").await.0, first);
    let told = realm().home_agents[0].home_prefix_of(first.parse().unwrap());
    assert_eq!(told, ("2001:db8:300::".parse().unwrap(), 64));
    let others = realm().home_agents[0].home_prefix_of("2001:db8:100::10".parse().unwrap());
    assert_eq!(others, ("2001:db8:100::".parse().unwrap(), 64));
}

#[tokio::test]
async fn mobile_networks_are_leased_and_stay_with_their_router() {
    let place = Place::new();
    let realm = || {
        let mut realm = pooled(3, |subscriber| {
            subscriber.services.mobile_router = true;
            subscriber.leased_networks = LeasedNetworks { ip6: true, ip4: true };
        });
        realm.home_agents[0].pools.mobile_networks_ip6 = pool("2001:db8:400::/55", 56);
        realm.home_agents[0].pools.mobile_networks_ip4 = pool("192.0.2.0/27", 28);
        realm
    };
    let directory = place.open(realm());
    let first = issued(&place, &directory, "n0@example.net").await;
    assert_eq!(first.1, ["2001:db8:400::/56", "192.0.2.0/28"]);
    let second = issued(&place, &directory, "n1@example.net").await;
    assert_eq!(second.1, ["2001:db8:400:100::/56", "192.0.2.16/28"]);
    let error = place.issue(&directory, "n2@example.net").await.unwrap_err();
    assert!(matches!(error, IssueError::NoMobileNetwork(_)), "{error:?}");
    drop(directory);
    let directory = place.open(realm());
    assert_eq!(issued(&place, &directory, "n0@example.net").await, first);
    // The SA of before the restart says the same still.
    let kept = lookup(&directory, "ha1", Spi::new(1).unwrap()).unwrap();
    assert_eq!(kept.services.prefixes.len(), 2);
}

/// A lease that has ended is its node's until the pool has nothing else left; then the one that
/// ended first goes.
#[tokio::test]
async fn a_lease_is_released_late() {
    let place = Place::new();
    let mut realm = pooled(6, |subscriber| subscriber.ip4 = HomeAddress::None);
    realm.home_agents[0].pools.lease_time = Some(1000);
    let directory = place.open(realm);
    place.stay(&directory).await;
    for index in 0..3 {
        issued(&place, &directory, &format!("n{index}@example.net")).await;
        place.pass(10);
    }
    // All three have ended: the fourth address goes first, then the oldest lease.
    place.pass(3600 + 1001);
    assert_eq!(issued(&place, &directory, "n0@example.net").await.0, "2001:db8:100::1000");
    assert_eq!(issued(&place, &directory, "n3@example.net").await.0, "2001:db8:100::1003");
    assert_eq!(issued(&place, &directory, "n4@example.net").await.0, "2001:db8:100::1001");
    assert_eq!(issued(&place, &directory, "n5@example.net").await.0, "2001:db8:100::1002");
    let error = place.issue(&directory, "n2@example.net").await.unwrap_err();
    assert!(matches!(error, IssueError::NoHomeAddress(_)), "all are in use, or were a moment ago");
}

/// What an AAA server grants: nobody gets what another one has.
#[tokio::test]
async fn hac_35_a_granted_address_is_nobody_elses() {
    let place = Place::new();
    let directory = place.open(pooled(1, |_| {}));
    let granted = |id: &str, address: &str| {
        let mut subscriber = subscriber();
        subscriber.ip6 = HomeAddress::Fixed(address.parse().unwrap());
        subscriber.ip4 = HomeAddress::None;
        let grant = Some(Box::new(Grant::from(&subscriber)));
        IssueRequest { grant, ..request(id, NOW + 3600) }
    };
    let taken = directory.issue(granted("a@aaa.example", "2001:db8:100::1000")).await.unwrap();
    assert_eq!(taken.home_address.to_string(), "2001:db8:100::1000");
    // Another one's, and one that the configuration has fixed.
    for address in ["2001:db8:100::1000", "2001:db8:100::10"] {
        let error = directory.issue(granted("b@aaa.example", address)).await.unwrap_err();
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(error, IssueError::Taken(address.into()));
        assert!(!error.will_pass(), "a 500");
    }
    // The pool passes over it; who has it keeps it, over a restart too.
    assert_eq!(issued(&place, &directory, "n0@example.net").await.0, "2001:db8:100::1001");
    drop(directory);
    let directory = place.open(pooled(1, |_| {}));
    assert!(lookup(&directory, "ha1", taken.spi).is_some());
    let error = directory.issue(granted("b@aaa.example", "2001:db8:100::1000")).await;
    let taken = taken.home_address;
    assert_eq!(error.unwrap_err(), IssueError::Taken(IpAddr::from(taken).into()));
}

/// What an AAA server delegates: a part of what another one carries is refused as a whole, until that
/// one's SA has ended; what the configuration gives to somebody goes before it.
#[tokio::test]
async fn a_delegated_network_is_nobody_elses() {
    let place = Place::new();
    let networks = |names: &[&str]| -> Vec<Ipv6Net> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    };
    let realm = || {
        let mut realm = pooled(1, |subscriber| {
            subscriber.services.prefixes = ["2001:db8:5f00::/56".parse().unwrap()].into();
        });
        realm.home_agents[0].pools.delegated_ip6 = networks(&["2001:db8:5000::/36"]);
        realm
    };
    let directory = place.open(realm());
    let granted = |id: &str, names: &[&str]| {
        let grant = Grant {
            ip4: HomeAddress::None,
            ip6: HomeAddress::Pool,
            delegated: networks(names),
            ..Grant::from(&subscriber())
        };
        IssueRequest { grant: Some(Box::new(grant)), ..request(id, NOW + 3600) }
    };
    let first = granted("a@aaa.example", &["2001:db8:5100::/48", "2001:db8:5200::/56"]);
    let first = directory.issue(first).await.unwrap();
    assert_eq!(first.services.prefixes.len(), 2);
    // Its own once more is none of the others'.
    directory.issue(granted("a@aaa.example", &["2001:db8:5100::/48"])).await.unwrap();
    for (names, taken) in [
        (&["2001:db8:5300::/56", "2001:db8:5200:80::/57"][..], "2001:db8:5200:80::/57"),
        (&["2001:db8:5000::/36"], "2001:db8:5000::/36"),
        (&["2001:db8:5f00:0:80::/80"], "2001:db8:5f00:0:80::/80"),
    ] {
        let error = directory.issue(granted("b@aaa.example", names)).await.unwrap_err();
        assert_eq!(error, IssueError::Taken(taken.parse().unwrap()));
    }
    // Nothing was kept of what was refused.
    let other = directory.issue(granted("c@aaa.example", &["2001:db8:5300::/56"])).await.unwrap();
    drop(directory);
    // Over a restart, too; and until the end.
    let directory = place.open(realm());
    let again = || granted("b@aaa.example", &["2001:db8:5100::/48"]);
    assert!(matches!(directory.issue(again()).await, Err(IssueError::Taken(_))));
    directory.revoke(Revoke::Node(mn_id("a@aaa.example"))).await.unwrap();
    directory.issue(again()).await.unwrap();
    // The configuration gives to n0 what c has.
    drop(directory);
    let given = pooled(1, |subscriber| {
        subscriber.services.prefixes = ["2001:db8:5300::/40".parse().unwrap()].into();
    });
    let directory = place.open(given);
    assert!(lookup(&directory, "ha1", other.spi).is_none());
}

/// A subscriber of the AAA server's gives way at once to one that the configuration gives its network
/// while the daemon runs.
#[tokio::test]
async fn a_delegated_network_gives_way_to_the_configurations() {
    let place = Place::new();
    let mut realm = pooled(0, |_| {});
    realm.home_agents[0].pools.delegated_ip6 = vec!["2001:db8:5000::/36".parse().unwrap()];
    let (directory, realm) = place.open_shared(realm);
    let grant = Grant {
        ip4: HomeAddress::None,
        ip6: HomeAddress::Pool,
        delegated: vec!["2001:db8:5100::/48".parse().unwrap()],
        ..Grant::from(&subscriber())
    };
    let granted = || IssueRequest {
        grant: Some(Box::new(grant.clone())),
        ..request("a@aaa.example", NOW + 3600)
    };
    let first = directory.issue(granted()).await.unwrap();
    let late = |networks: &[&str]| {
        let mut late = subscriber();
        late.ip6 = HomeAddress::Pool;
        late.ip4 = HomeAddress::None;
        late.services.prefixes = networks.iter().map(|name| name.parse().unwrap()).collect();
        realm.subscribers.insert(mn_id("late@example.net"), late);
    };
    late(&["2001:db8:5100::/56"]);
    assert!(lookup(&directory, "ha1", first.spi).is_some());
    place.issue(&directory, "late@example.net").await.unwrap();
    assert!(lookup(&directory, "ha1", first.spi).is_none());
    // The same where the SA is there already, and only what it may have changes.
    late(&[]);
    directory.refresh(&[mn_id("late@example.net")]).await;
    let second = directory.issue(granted()).await.unwrap();
    late(&["2001:db8:5100::/56"]);
    assert!(lookup(&directory, "ha1", second.spi).is_some());
    directory.refresh(&[mn_id("late@example.net")]).await;
    assert!(lookup(&directory, "ha1", second.spi).is_none());
}

/// An AAA server that names a network alone leaves a subscriber the address that its entry fixes.
#[tokio::test]
async fn a_subscriber_keeps_its_own_address_beside_what_is_granted() {
    let place = Place::new();
    let mut realm = realm();
    realm.home_agents[0].pools.delegated_ip6 = vec!["2001:db8:5000::/36".parse().unwrap()];
    let directory = place.open(realm);
    let grant = Grant {
        delegated: vec!["2001:db8:5100::/48".parse().unwrap()],
        ..Grant::from(&subscriber())
    };
    let own = grant.ip6.fixed().unwrap();
    let granted =
        IssueRequest { grant: Some(Box::new(grant)), ..request("mn1@example.net", NOW + 3600) };
    assert_eq!(directory.issue(granted).await.unwrap().home_address, own);
}

/// SA-01: replicas that never talk to each other deal out different SPIs and addresses; and the
/// newest SA is known, whichever replica it is of.
#[tokio::test]
async fn sa_01_replicas_share_no_spi_and_no_address() {
    let mut spis = HashMap::new();
    let mut addresses = HashMap::new();
    let mut last = 0;
    for index in 0..3 {
        let place = Place::new();
        place.pass(index.into());
        let mut part = pooled(2, |subscriber| subscriber.ip4 = HomeAddress::None);
        part.replica = Replica { index, of: 3 };
        let agent = &mut part.home_agents[0];
        let own = part.replica.part(&(1..=1000), 1).unwrap();
        agent.spis = u32::try_from(*own.start()).unwrap()..=u32::try_from(*own.end()).unwrap();
        let first = u128::from("2001:db8:100::1000".parse::<std::net::Ipv6Addr>().unwrap());
        let own = part.replica.part(&(first..=first + 6), 1).unwrap();
        agent.pools.ip6 = Some((*own.start()).into()..=(*own.end()).into());
        let directory = place.open(part);
        for node in 0..2 {
            let id = format!("n{node}@example.net");
            let record = place.issue(&directory, &id).await.unwrap();
            assert_eq!(spis.insert(record.spi, index), None);
            assert_eq!(addresses.insert(record.home_address, index), None);
            assert!(record.generation > last);
            last = record.generation;
        }
    }
}

/// One thing that happens to a deployment.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Issue(usize),
    Pass(u64),
    Restart { lease_time: Option<u64> },
    Revoke(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (0..9usize).prop_map(Happening::Issue),
        2 => (1..5000u64).prop_map(Happening::Pass),
        1 => proptest::option::of(60..2000u64)
            .prop_map(|lease_time| Happening::Restart { lease_time }),
        1 => (0..9usize).prop_map(Happening::Revoke),
    ]
}

fn mixed(lease_time: Option<u64>) -> Realm {
    let mut realm = pooled(9, |_| {});
    for (index, kind) in [HomeAddress::Prefix, HomeAddress::Pool].into_iter().cycle().enumerate() {
        if index == 9 {
            break;
        }
        let id = mn_id(&format!("n{index}@example.net"));
        let mut changed = (*realm.subscribers.find(&id).unwrap()).clone();
        changed.ip6 = kind;
        changed.leased_networks = LeasedNetworks { ip6: index % 3 == 0, ip4: false };
        realm.subscribers.insert(id, changed);
    }
    let pools = &mut realm.home_agents[0].pools;
    pools.home_prefixes_ip6 = pool("2001:db8:300::/63", 64);
    pools.mobile_networks_ip6 = pool("2001:db8:400::/55", 56);
    pools.lease_time = lease_time;
    realm
}

/// Every address and prefix of the SAs that are alive, and whose it is.
fn held(place: &Place, directory: &Directory) -> Vec<(IpNet, String)> {
    let mut held = Vec::new();
    for spi in 1..=1000 {
        let Some(record) = lookup(directory, "ha1", Spi::new(spi).unwrap()) else { continue };
        // One that has ended and is not removed yet is nobody's any more.
        if record.validity_end <= place.now() {
            continue;
        }
        let mut add = |prefix: IpNet| held.push((prefix, record.mn_id.to_string()));
        add(IpAddr::from(record.home_address).into());
        if let Some(address) = record.ipv4_home_address {
            add(IpAddr::from(address).into());
        }
        record.services.prefixes.iter().for_each(|prefix| add(*prefix));
    }
    held
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    /// HAC-35: whatever happens, no two mobile nodes have one address or overlapping prefixes at a
    /// time.
    #[test]
    fn hac_35_no_two_mobile_nodes_ever_have_one_address(
        happenings in proptest::collection::vec(happening(), 30..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place = Place::new();
        let mut directory = place.open(mixed(None));
        runtime.block_on(place.stay(&directory));
        let mut served = 0;
        for happening in happenings {
            runtime.block_on(async {
                match happening {
                    Happening::Issue(index) => {
                        let id = format!("n{index}@example.net");
                        served += usize::from(place.issue(&directory, &id).await.is_ok());
                    }
                    Happening::Pass(seconds) => place.pass(seconds),
                    Happening::Restart { lease_time } => {
                        directory.close();
                        directory = place.open(mixed(lease_time));
                        place.stay(&directory).await;
                    }
                    Happening::Revoke(index) => {
                        let id = mn_id(&format!("n{index}@example.net"));
                        let which = hearth_hac::directory::Revoke::Node(id);
                        directory.revoke(which).await.unwrap();
                    }
                }
            });
            let held = held(&place, &directory);
            for (index, (prefix, whose)) in held.iter().enumerate() {
                for (other, others) in &held[..index] {
                    let overlap = prefix.contains(other) || other.contains(prefix);
                    prop_assert!(!overlap || whose == others, "{prefix} {whose} {other} {others}");
                }
            }
        }
        prop_assert!(served > 0);
    }
}

/// HAC-34: an address that a subscriber has been given for good while the HAC runs is dealt out to
/// nobody else from then on, though it lies in the pool and its subscriber has not come yet.
#[tokio::test]
async fn an_address_that_is_fixed_by_now_leaves_the_pool() {
    let place = Place::new();
    let realm = pooled(3, |subscriber| {
        subscriber.ip4 = HomeAddress::None;
        subscriber.ip6 = HomeAddress::Pool;
    });
    let subscribers = realm.subscribers.clone();
    let directory = place.open(realm);
    let first = issued(&place, &directory, "n0@example.net").await.0;
    let next: std::net::Ipv6Addr = first.parse::<std::net::Ipv6Addr>().unwrap();
    let next = std::net::Ipv6Addr::from_bits(next.to_bits() + 1);
    let fixed = |address| {
        let subscriber = subscribers.find(&mn_id("n1@example.net")).unwrap();
        let subscriber = (*subscriber).clone();
        let ip6 = HomeAddress::Fixed(address);
        subscribers.insert(mn_id("n1@example.net"), Subscriber { ip6, ..subscriber });
    };
    fixed(next);
    let other = issued(&place, &directory, "n2@example.net").await.0;
    assert_ne!(other, next.to_string());
    assert_eq!(issued(&place, &directory, "n1@example.net").await.0, next.to_string());
    // One that somebody holds becomes another's: the holder gets a new one, whoever comes first.
    fixed(first.parse().unwrap());
    assert_ne!(issued(&place, &directory, "n0@example.net").await.0, first);
    assert_eq!(issued(&place, &directory, "n1@example.net").await.0, first);
}

/// What a subscriber held is free when it is gone, without a restart, and the last that a pool deals out
/// again; its home agent has heard of the end by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_subscriber_held_is_free() {
    for lease_time in [None, Some(86_400)] {
        let place = Place::new();
        let mut realm = pooled(6, |subscriber| subscriber.ip4 = HomeAddress::None);
        realm.home_agents[0].pools.lease_time = lease_time;
        let subscribers = realm.subscribers.clone();
        let directory = place.serve(realm);
        for index in 0..3 {
            issued(&place, &directory, &format!("n{index}@example.net")).await;
        }
        let mut client = Client::watch(&place, "ha1").await;
        subscribers.remove(&mn_id("n1@example.net"));
        assert_eq!(directory.end(mn_id("n1@example.net")).await, Ok(1));
        // One that nobody has held goes first.
        assert_eq!(issued(&place, &directory, "n3@example.net").await.0, "2001:db8:100::1003");
        assert_eq!(issued(&place, &directory, "n4@example.net").await.0, "2001:db8:100::1001");
        let told = blocking(move || [(); 3].map(|()| client.update().unwrap())).await;
        let [Update::Revoked(_), Update::Issued(_), Update::Issued(record)] = told else {
            panic!("{told:?}")
        };
        assert_eq!(record.mn_id, mn_id("n4@example.net"));
        let error = place.issue(&directory, "n5@example.net").await.unwrap_err();
        assert!(matches!(error, IssueError::NoHomeAddress(_)), "{error:?}");

        // Without an SA, too; one that has become another keeps what it still may.
        let all = Revoke::Node(mn_id("n0@example.net"));
        assert_eq!(directory.revoke(all).await, Ok(1));
        assert_eq!(directory.end(mn_id("n0@example.net")).await, Ok(0));
        assert!(place.issue(&directory, "n5@example.net").await.is_err(), "it is there still");
        subscribers.remove(&mn_id("n0@example.net"));
        assert_eq!(directory.end(mn_id("n0@example.net")).await, Ok(0));
        assert_eq!(issued(&place, &directory, "n5@example.net").await.0, "2001:db8:100::1000");
    }
}
