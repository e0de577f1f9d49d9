//! A full routing table in the home agent's kernel: it comes and goes beside traffic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fmt::Write, fs, net::IpAddr, process::Command, thread, time::Duration};

use hearth_api::forwarding::{NeighbourRow, RouteRow};
use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config,
    netns::run,
    plan::{CN4, CN6, HA_HOME6, Visited},
    wait,
};
use hearth_wire::suite::Suite;
use serde_json::{Value, from_value};

/// Of each family.
const ROUTES: u32 = 50_000;

/// In the last of them; the correspondent has both.
const IN_THE_LAST: [&str; 2] = ["11.195.79.1", "2a00:0:c34f::1"];

/// A protocol number of this test's own, to take them away by.
const PROTOCOL: &str = "99";

fn batch() -> String {
    let mut text = String::new();
    for n in 0..ROUTES {
        let [_, high, middle, low] = ((11 << 24) + (n << 8)).to_be_bytes().map(u32::from);
        // 11.high.middle.0/24, counted in its third octet and up.
        let v4 = [11, high, middle, low].map(|octet| octet.to_string()).join(".");
        let _infallible = writeln!(text, "route add {v4}/24 via {CN4} dev home proto {PROTOCOL}");
        let (high, low) = (n >> 16, n & 0xffff);
        let _infallible = writeln!(
            text,
            "route add 2a00:{high:x}:{low:x}::/48 via {CN6} dev home proto {PROTOCOL}"
        );
    }
    text
}

fn search(lab: &TestLab, what: &str, text: &str) -> Value {
    let shown = lab.hearth(&["show", what, "--json", "--search", text]).unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    serde_json::from_slice(&shown.stdout).unwrap()
}

/// One route among a hundred thousand, and the neighbour that it leads to.
fn can_be_looked_at(lab: &TestLab) {
    let found = search(lab, "routes", "11.195.79.0/24");
    let found: Vec<RouteRow> = from_value(found).unwrap();
    let gateway = Some(CN4.into());
    let prefix = "11.195.79.0/24".to_owned();
    assert_eq!(found, [RouteRow { prefix, port: Some("home".into()), gateway }]);
    let all: Vec<RouteRow> = lab.show("routes").unwrap();
    assert!(all.len() > 2 * ROUTES as usize, "{}", all.len());
    let found = search(lab, "neighbours", &CN4.to_string());
    let found: Vec<NeighbourRow> = from_value(found).unwrap();
    let [row] = found.as_slice() else { panic!("{found:?}") };
    assert!(row.port == "home" && row.usable && row.mac.is_some(), "{row:?}");
    assert!(row.age.is_some_and(|age| age < 600), "{row:?}");
}

#[test]
fn a_full_table_comes_and_goes_beside_traffic() {
    let mut lab = TestLab::prepare("routes");
    let file = lab.options.files.config("hearthd");
    let text = fs::read_to_string(&file).unwrap();
    let with = text.replace("tables:\n", "tables:\n  max_routes: 120000\n");
    assert_ne!(text, with);
    config::write(&file, &with).unwrap();
    lab.start_hac().unwrap();
    lab.start_hearthd().unwrap();
    let (ha, cn) = (lab.network.ha.clone(), lab.network.cn.clone());
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    let mn = node.namespace.clone();
    for address in IN_THE_LAST {
        cn.ip(&format!("address add {address} dev lo")).unwrap();
    }
    let pairs: Vec<(IpAddr, IpAddr)> = [who.home4.into(), who.home6.into()]
        .into_iter()
        .zip(IN_THE_LAST.map(|address| address.parse().unwrap()))
        .collect();
    // The box's default route leads to the access network.
    for (from, to) in &pairs {
        assert_eq!(lab.ping(&mn, *from, *to, 1).unwrap(), 0, "{from} -> {to}");
    }

    let list = lab.options.files.run.join("routes");
    fs::write(&list, batch()).unwrap();
    let with_ip = |arguments: &[&str]| {
        run(Command::new("ip").args(["-n", ha.name()]).args(arguments)).unwrap();
    };
    let beside = |work: &(dyn Fn() + Sync)| {
        // Through the control thread to the box's kernel, and past it to the correspondent.
        let asked = [(&cn, CN6.into(), HA_HOME6.into()), (&mn, who.home6.into(), CN6.into())];
        thread::scope(|scope| {
            let pings = asked.map(|(from, source, to): (_, IpAddr, IpAddr)| {
                let lab = &lab;
                scope.spawn(move || lab.ping(from, source, to, 100).unwrap())
            });
            work();
            // One every 50 ms: a stop of half a second would cost more than a slow machine may.
            for ping in pings {
                let answers = ping.join().unwrap();
                assert!(answers >= 90, "{answers} answers");
            }
        });
    };
    let reached = |wanted: u32| {
        for (from, to) in &pairs {
            let waited = wait::until(format!("{from} -> {to}: {wanted}"), PATIENCE, || {
                Ok((lab.ping(&mn, *from, *to, 1)? == wanted).then_some(()))
            });
            waited.unwrap();
        }
    };
    beside(&|| with_ip(&["-batch", &list.display().to_string()]));
    reached(1);
    can_be_looked_at(&lab);
    // One among so many is replaced, of which the kernel tells the new one alone.
    with_ip(&["-4", "route", "replace", "blackhole", "11.195.79.0/24", "proto", PROTOCOL]);
    let (from, to) = pairs[0];
    wait::until("the end of one route", Duration::from_secs(10), || {
        Ok((lab.ping(&mn, from, to, 1)? == 0).then_some(()))
    })
    .unwrap();
    let gone = search(&lab, "routes", "11.195.79.0/24");
    let gone: Vec<RouteRow> = from_value(gone).unwrap();
    assert_eq!(gone.iter().map(|row| row.port.as_deref()).collect::<Vec<_>>(), [None]);
    beside(&|| {
        for family in ["-4", "-6"] {
            with_ip(&[family, "route", "flush", "proto", PROTOCOL]);
        }
    });
    reached(0);
    node.stop().unwrap();
}
