//! `hearth trace` follows a mobile node's packets through the home agent.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearthd, asked by `hearth trace` --[home]-- CN
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hearth_api::follow::{TraceLine, TraceStep, TraceVerdict};
use hearth_e2e::TestLab;
use hearth_lab::{plan::CN6, plan::Visited, wait};
use hearth_wire::suite::Suite;

fn hearth(lab: &TestLab, arguments: &[&str]) -> Command {
    let mut hearth = lab.options.programs.command("hearth").unwrap();
    hearth.arg("--socket").arg(lab.options.files.api_socket()).args(arguments);
    hearth.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    hearth
}

/// A trace in JSON, which is on when this returns.
struct Trace {
    child: Child,
    lines: Box<dyn Iterator<Item = TraceLine>>,
}

impl Trace {
    fn start(lab: &TestLab, arguments: &[&str]) -> Self {
        let mut child = hearth(lab, &[&["trace", "--json"], arguments].concat()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Box::new(
            out.lines().map(|line| serde_json::from_str(&line.unwrap()).expect("a line of JSON")),
        );
        assert!(matches!(lines.next(), Some(TraceLine::Begin(_))), "no beginning");
        Self { child, lines }
    }

    /// The steps of each packet, until the daemon ends the trace.
    fn finish(mut self) -> BTreeMap<u32, Vec<TraceStep>> {
        let mut packets: BTreeMap<u32, Vec<TraceStep>> = BTreeMap::new();
        for line in self.lines {
            match line {
                TraceLine::Step(step) => packets.entry(step.packet).or_default().push(step),
                TraceLine::End(end) => assert_eq!((end.unfinished, end.lost), (0, 0), "{end:?}"),
                TraceLine::Begin(_) => panic!("a second beginning"),
            }
        }
        assert!(self.child.wait().unwrap().success());
        packets
    }
}

/// `rx access, tunnel_in, ..., tx home: sent`
fn way(steps: &[TraceStep]) -> String {
    let names: Vec<String> = steps
        .iter()
        .map(|step| match &step.port {
            Some(port) => format!("{} {port}", step.stage),
            None => step.stage.clone(),
        })
        .collect();
    for pair in steps.windows(2) {
        assert_eq!(pair[0].verdict, TraceVerdict::Next(pair[1].stage.clone()));
    }
    format!("{}: {:?}", names.join(", "), steps.last().unwrap().verdict)
}

#[test]
fn a_ping_shows_all_stages_in_both_directions() {
    let lab = TestLab::up("trace");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    // The neighbours are known afterwards.
    lab.ping_both(&who);

    let trace = Trace::start(&lab, &["--mn-id", &who.mn_id, "--count", "6"]);
    lab.ping_both(&who);
    let packets = trace.finish();
    assert_eq!(packets.len(), 6);
    let (up, down): (Vec<_>, Vec<_>) =
        packets.values().partition(|steps| steps[0].port.as_deref() == Some("access"));
    assert!(!up.is_empty() && !down.is_empty(), "{packets:#?}");
    let spi = node.status().unwrap().spi.unwrap();
    for steps in up {
        let expected = "rx access, tunnel_in, settle, forward, egress, tx home: Sent";
        assert_eq!(way(steps), expected);
        assert_eq!(steps[0].envelope.as_ref().unwrap().spi, spi);
        assert!(steps[3].envelope.is_none(), "{:?}", steps[3]);
    }
    for steps in down {
        let expected = "rx home, forward, tunnel_out, settle, egress, tx access: Sent";
        assert_eq!(way(steps), expected);
        assert_eq!(steps[5].envelope.as_ref().unwrap().spi, spi);
    }

    // For people, by the correspondent's address, which is hidden on the way up.
    let address = CN6.to_string();
    let people = hearth(&lab, &["trace", "--address", &address, "--count", "2"]).spawn().unwrap();
    wait_until_on(&lab);
    lab.ping_both(&who);
    let output = people.wait_with_output().unwrap();
    let [text, words] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    println!("{text}{words}");
    assert!(output.status.success());
    let pair = format!("{} > {CN6}, ICMPv6, ", who.home6);
    assert!(text.lines().any(|line| line.contains("forward") && line.contains(&pair)), "{text}");
    assert!(text.contains("tx home"), "{text}");
    assert!(text.contains("-> sent"), "{text}");
    assert!(words.ends_with("2 packets followed\n"), "{words}");
    node.stop().unwrap();
}

/// Waits until a trace runs: a second one is refused then.
fn wait_until_on(lab: &TestLab) {
    wait::until("a running trace", Duration::from_secs(5), || {
        // Asked for nothing, it ends at once where it is allowed.
        let mut second = hearth(lab, &["trace", "--count", "0"]).spawn().unwrap();
        assert!(!second.wait().unwrap().success());
        let log = lab.hearthd.as_ref().unwrap().log();
        let count = |what: &str| log.matches(what).count();
        Ok((count("a trace begins") > count("the trace ends")).then_some(()))
    })
    .unwrap();
}

/// The mobile node bootstraps anew while its trace runs.
#[test]
fn a_trace_follows_its_mobile_node_to_the_next_sa() {
    let lab = TestLab::up("trace-next-sa");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    // The time limit is for the case that the packet never comes.
    let arguments = ["--mn-id", &who.mn_id, "--count", "100000", "--seconds", "60"];
    let mut trace = Trace::start(&lab, &arguments);
    let first = node.status().unwrap().spi.unwrap();
    lab.ping_both(&who);
    node.stop().unwrap();
    let mut node = lab.register(&who, Visited::Net6);
    let second = node.status().unwrap().spi.unwrap();
    assert_ne!(first, second);
    lab.ping_both(&who);
    // Data from the mobile node under one SA, then under the other.
    let mut received = trace.lines.by_ref().filter_map(|line| match line {
        TraceLine::Step(step) if step.port.as_deref() == Some("access") && step.stage == "rx" => {
            step.envelope.filter(|envelope| envelope.ptype == 1).map(|envelope| envelope.spi)
        }
        _ => None,
    });
    for spi in [first, second] {
        assert!(received.any(|other| other == spi), "no packet under SPI {spi}");
    }
    trace.child.kill().unwrap();
    trace.child.wait().unwrap();
    node.stop().unwrap();
}

/// What hearthd answers to a request of a client of another make.
fn post(lab: &TestLab, path: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(lab.options.files.api_socket()).unwrap();
    let len = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: hearthd\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {len}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn one_trace_at_a_time_and_none_for_a_client_that_has_gone() {
    let lab = TestLab::up("trace-one");
    let refused = |arguments: &[&str]| {
        let output = hearth(&lab, arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let nobody = refused(&["trace", "--mn-id", "nobody@example.net"]);
    assert!(nobody.contains("no SA of this mn-id"), "{nobody}");
    assert!(refused(&["trace", "--spi", "0"]).contains("1 to 268435455"));
    assert!(refused(&["trace", "--seconds", "0"]).contains("1 to 86400"));
    assert!(refused(&["trace", "--count", "0"]).contains("1 to 1000000"));
    // hearthd does not rely on its clients for that.
    for (target, packets, seconds, words) in [
        (r#"{"spi":0}"#, 1, 1, "1 to 268435455"),
        (r#""all""#, 1, 0, "1 to 86400"),
        (r#""all""#, 0, 1, "1 to 1000000"),
    ] {
        let body = format!(r#"{{"target":{target},"packets":{packets},"seconds":{seconds}}}"#);
        let answer = post(&lab, "/v1/trace", &body);
        assert!(answer.starts_with("HTTP/1.1 4") && answer.contains(words), "{answer}");
    }

    let mut first = Trace::start(&lab, &["--count", "1000"]);
    assert!(refused(&["trace"]).contains("a trace is running already"));
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    // It is noticed although nothing is sent.
    let second = wait::until("the end of the first trace", Duration::from_secs(5), || {
        let log = lab.hearthd.as_ref().unwrap().log();
        Ok(log.contains("the trace ends").then(|| Trace::start(&lab, &["--seconds", "1"])))
    })
    .unwrap();
    // The time limit ends it.
    second.finish();
    lab.hearthd_log("end by the time limit", |log| log.contains("TimeLimit"));
}
