//! Routes that are built on another thread, a full table of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use hearth_dataplane::{DropReason, PortId, Route, RouteBuilder, TableError};

use crate::codec;
use crate::rig::{
    ACCESS, CN_MAC, CN4, GATEWAY_MAC, GATEWAY4, GATEWAY6, HA4, HA6, HOME, MobileNode, Rig,
};

/// What one turn of the control thread may take.
const TURN: Duration = Duration::from_millis(5);

/// Time that this thread has spent on a core: whoever else wants the core does not count.
#[allow(unsafe_code, reason = "std has no clock of a thread")]
fn spent(work: impl FnOnce()) -> Duration {
    let now = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock exists, and the kernel writes the time that is lent to it.
        let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        assert_eq!(code, 0);
        Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
    };
    let before = now();
    work();
    now() - before
}

/// `count` prefixes of each family by the gateways, and default routes out of `port`.
fn table(count: u32, port: PortId) -> Vec<Route> {
    let v4 = (0..count).map(|n| (IpAddr::from(Ipv4Addr::from_bits((11 << 24) + (n << 8))), 24));
    let v6 = (0..u128::from(count))
        .map(|n| (IpAddr::from(Ipv6Addr::from_bits((0x2a00 << 112) + (n << 80))), 48));
    let gateway =
        |prefix: IpAddr| Some(if prefix.is_ipv4() { GATEWAY4.into() } else { GATEWAY6.into() });
    let access = |prefix: (IpAddr, u8)| Route { prefix, port: ACCESS, gateway: gateway(prefix.0) };
    let rest = [
        Route { prefix: (Ipv4Addr::UNSPECIFIED.into(), 0), port, gateway: None },
        Route { prefix: (Ipv6Addr::UNSPECIFIED.into(), 0), port, gateway: None },
    ];
    v4.chain(v6).map(access).chain(rest).collect()
}

fn built(
    mut builder: RouteBuilder,
    routes: Vec<Route>,
) -> (RouteBuilder, Result<hearth_dataplane::BuiltRoutes, TableError>) {
    let local = [IpAddr::from(HA6), HA4.into()];
    let work = move || {
        let built = builder.build(&routes, &[], &local, &[]);
        (builder, built)
    };
    thread::spawn(work).join().unwrap()
}

/// A BGP table comes and changes: the thread that publishes it is held up by neither.
#[test]
fn a_hundred_thousand_routes_hold_up_no_turn_of_control() {
    let mut rig = Rig::with(|config| config.max_routes = 110_000);
    let mut mn = rig.attach(MobileNode::usual());
    let mut builder = rig.tables.route_builder();
    let far: IpAddr = Ipv4Addr::new(11, 195, 79, 7).into();
    for (port, round) in [(HOME, 1), (ACCESS, 2), (HOME, 3)] {
        let (back, routes) = built(builder, table(50_000, port));
        builder = back;
        let routes = routes.unwrap();
        let publish = spent(|| rig.tables.publish_routes(routes));
        assert!(publish < TURN, "{publish:?} in round {round}");
        // The last of 50,000 prefixes, and what none of them covers.
        let packet = mn.data(&codec::ip(mn.home4.into(), far, 17, b"by a gateway"));
        rig.send(ACCESS, &packet);
        assert_eq!(rig.received_one(ACCESS).destination(), GATEWAY_MAC);
        if port == HOME {
            let packet = mn.data(&codec::ip(mn.home4.into(), CN4.into(), 17, b"on the link"));
            rig.send(ACCESS, &packet);
            assert_eq!(rig.received_one(HOME).destination(), CN_MAC);
        }
        for _ in 0..3 {
            rig.turns();
            let reclaim = spent(|| rig.tables.reclaim());
            assert!(reclaim < TURN, "{reclaim:?} in round {round}");
        }
    }
    // Too many, and a port that is none: what was there stays.
    let (mut builder, refused) = built(builder, table(60_000, HOME));
    assert_eq!(refused.err(), Some(TableError::Full));
    let wrong = builder.build(&table(1, PortId(9)), &[], &[], &[]);
    assert_eq!(wrong.err(), Some(TableError::Route));
    let packet = mn.data(&codec::ip(mn.home4.into(), far, 17, b"by a gateway still"));
    rig.send(ACCESS, &packet);
    assert_eq!(rig.received_one(ACCESS).destination(), GATEWAY_MAC);
    drop(builder);
    rig.finish();
}

/// A blackhole keeps what is in it from the shorter routes, as in the kernel; longer routes and the
/// box's own addresses in it are reached.
#[test]
fn a_blackhole_hides_shorter_routes() {
    let mut rig = Rig::with(|config| config.max_routes = 110_000);
    let mut mn = rig.attach(MobileNode::usual());
    let mut builder = rig.tables.route_builder();
    let blocked = [(Ipv4Addr::new(11, 0, 0, 0).into(), 8)];
    let routes = builder.build(&table(1, HOME), &blocked, &[HA6.into(), HA4.into()], &[]).unwrap();
    rig.tables.publish_routes(routes);
    let mut to = |last: Ipv4Addr| mn.data(&codec::ip(mn.home4.into(), last.into(), 17, b"data"));
    rig.send(ACCESS, &to(Ipv4Addr::new(11, 0, 0, 7)));
    assert_eq!(rig.received_one(ACCESS).destination(), GATEWAY_MAC);
    rig.send(ACCESS, &to(CN4));
    assert_eq!(rig.received_one(HOME).destination(), CN_MAC);
    let before = rig.counters();
    rig.send(ACCESS, &to(Ipv4Addr::new(11, 0, 1, 7)));
    assert_eq!(
        rig.counters().dropped(DropReason::NoRoute),
        before.dropped(DropReason::NoRoute) + 1
    );
    rig.is_silent();
    drop(builder);
    rig.finish();
}
