//! The HAC is killed again and again while mobile nodes bootstrap: what a mobile node was told, the
//! store and the home agent have, and none of them has anything else.
//!
//! ```text
//!  hearth-mn: bootstraps.py, mobile nodes in Python --[visit6]-- hearth-net6 --[access]-- hearth-ha
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use hearth_e2e::{PATIENCE, TestLab, directory};
use hearth_lab::{
    plan::{HA6, HAC_NAME, HAC_PORT, Subscriber, Visited},
    wait,
};
use hearth_wire::directory::{DirectionKeys, SaRecord};
use serde_json::{Value, json};

/// How often the HAC is killed.
const KILLS: u64 = 40;
/// SAs of one mobile node, with those that it was not told of; where there are more than 64, the oldest
/// go (R-15).
const MOST: u32 = 60;

/// The mobile nodes.
struct Crowd {
    child: Child,
    input: ChildStdin,
    lines: JoinHandle<Vec<Value>>,
}

impl Crowd {
    fn start(lab: &TestLab, who: &[Subscriber]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/bootstraps.py");
        let mut python: Command = lab.network.mobile_nodes[0].command("/usr/bin/python3");
        python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let node = |who: &Subscriber| {
            let [high, low] = who.suite.code();
            let suite = format!("{high:02X},{low:02X}");
            json!({"mn_id": who.mn_id, "psk": who.psk, "suite": suite, "sas": who.scope.to_string()})
        };
        let work = json!({
            "host": HA6, "port": HAC_PORT, "name": HAC_NAME, "ca": lab.options.files.ca(),
            "most": MOST,
            "nodes": who.iter().map(node).collect::<Vec<_>>(),
        });
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{work}").unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let parse = |line: Result<String, _>| serde_json::from_str(&line.unwrap()).unwrap();
        let lines = thread::spawn(move || output.lines().map(parse).collect());
        Self { child, input, lines }
    }

    /// Ends them: what they were told, and the tally.
    fn finish(self) -> (Vec<Value>, Value) {
        let Self { mut child, input, lines } = self;
        drop(input);
        let mut lines = lines.join().unwrap();
        assert!(child.wait().unwrap().success());
        let tally = lines.pop().unwrap();
        (lines, tally)
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A mobile node's record is the HAC's: whose it is, where, and all four keys.
fn assert_same(told: &Value, record: &SaRecord) {
    assert_eq!(told["mn_id"], record.mn_id.as_str());
    let home = told["mip6-ip6-hoa"].as_str().unwrap();
    assert_eq!(home.parse::<std::net::Ipv6Addr>().unwrap(), record.home_address);
    let key = |name: &str| told[name].as_str().unwrap_or_default().to_ascii_lowercase();
    let of = |way: &str, keys: &DirectionKeys| {
        assert_eq!(key(&format!("mip6-{way}-ikey")), hex(keys.integrity()));
        assert_eq!(key(&format!("mip6-{way}-ekey")), hex(keys.encryption()));
    };
    of("mn-to-ha", &record.mn_to_ha);
    of("ha-to-mn", &record.ha_to_mn);
}

/// R-50, R-51, SA-01, SA-05: kill -9 leaves nothing half there, and nothing comes a second time.
#[test]
fn a_record_is_whole_or_not_there_however_often_the_hac_is_killed() {
    let mut lab = TestLab::up("hac-killed");
    // Of every suite, for keys of every length.
    let who = Subscriber::matrix().unwrap().len();
    let who = lab.subscribers[..who].to_vec();
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    let crowd = Crowd::start(&lab, &who);
    for kill in 0..KILLS {
        // At another moment of somebody's bootstrap each time.
        thread::sleep(Duration::from_millis(20 + kill * 37 % 50));
        lab.hac.take().unwrap().crash().unwrap();
        lab.start_hac().unwrap();
    }
    let (told, tally) = crowd.finish();
    println!("{} SAs in {KILLS} lives; {tally}", told.len());
    assert!(told.len() > 40, "{}", told.len());
    assert!(tally["broken"].as_u64().unwrap() >= KILLS / 4, "{tally}");

    let records = directory::records(&lab.options.files.directory_socket());
    let of_spi: HashMap<u32, &SaRecord> =
        records.iter().map(|record| (record.spi.get(), record)).collect();
    // What both have, and neither has more.
    let all: HashSet<(u32, String)> =
        records.iter().map(|record| (record.spi.get(), record.mn_id.to_string())).collect();
    wait::until("the same SAs at the home agent", PATIENCE, || {
        let rows = lab.sas()?.into_iter().map(|row| (row.spi, row.mn_id));
        Ok((rows.collect::<HashSet<_>>() == all).then_some(()))
    })
    .unwrap();
    let (mut spis, mut keys) = (HashSet::new(), HashSet::new());
    for told in &told {
        let spi: u32 = told["mip6-spi"].as_str().unwrap().parse().unwrap();
        assert!(spis.insert(spi), "{spi} was dealt out twice");
        assert_same(told, of_spi.get(&spi).unwrap_or_else(|| panic!("{told} is lost")));
        for (_, key) in told.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("key")) {
            assert!(keys.insert(key.as_str().unwrap()), "a key of {spi} was another's before");
        }
    }
}
