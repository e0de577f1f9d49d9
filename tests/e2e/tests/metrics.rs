//! What Prometheus scrapes, as its own tools see it (Debian: prometheus).
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearthd --[home]-- CN
//!                                                     |
//!                                              promtool, a scraper
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use hearth_e2e::TestLab;
use hearth_lab::plan::{HAC_METRICS, METRICS, Visited};
use hearth_lab::program::Program;
use hearth_peers::prometheus::{promtool, samples};
use hearth_wire::suite::Suite;

fn tree(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

fn talk(mut stream: impl std::io::Read + std::io::Write, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    (head.to_owned(), body.to_owned())
}

fn by_tcp(lab: &TestLab, request: &str) -> (String, String) {
    let connect = || {
        let stream = TcpStream::connect(METRICS)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        std::io::Result::Ok(stream)
    };
    talk(lab.network.ha.enter(connect).unwrap().unwrap(), request)
}

fn by_socket(lab: &TestLab) -> String {
    let stream = UnixStream::connect(lab.options.files.api_socket()).unwrap();
    let (head, body) = talk(stream, "GET /metrics HTTP/1.0\r\n\r\n");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    body
}

/// The metrics that a file of `configs/prometheus/` speaks of.
fn spoken_of(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let metric = |word: &&str| word.starts_with("hearth_");
    text.split(word).filter(metric).map(str::to_owned).collect()
}

#[test]
fn prometheus_reads_what_the_home_agent_counts() {
    let lab = TestLab::up("metrics");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let _node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);

    let text = by_socket(&lab);
    promtool(&["check", "metrics"], &text);
    let samples = samples(&text);
    assert!((samples["hearth_bindings"] - 1.0).abs() < 0.1, "{text}");
    for way in ["uplink", "downlink"] {
        let name =
            format!("hearth_tunnel_packets_total{{direction=\"{way}\",protection=\"protected\"}}");
        assert!(samples[&name] >= 6.0, "{name} {}", samples[&name]);
    }
    assert!(samples["hearth_binding_acknowledgements_total{status=\"0\"}"] >= 1.0);
    assert!(samples["hearth_mbufs{state=\"available\"}"] > 0.0);
    for row in lab.drops().unwrap() {
        let name = format!("hearth_drops_total{{reason=\"{}\"}}", row.reason);
        assert!(samples.contains_key(&name), "{name}");
    }

    // The alerts and the dashboard speak of nothing that is not there.
    let rules = tree("configs/prometheus/hearth.rules.yaml");
    promtool(&["check", "rules", rules.to_str().unwrap()], "");
    let config = tree("configs/prometheus/prometheus.yaml");
    promtool(&["check", "config", config.to_str().unwrap()], "");
    let there: BTreeSet<_> = samples.keys().filter_map(|name| name.split('{').next()).collect();
    for file in [rules, tree("configs/prometheus/grafana.json")] {
        // What the HAC has is for a test of its own, with RADIUS servers.
        let text = std::fs::read_to_string(&file).unwrap();
        for metric in spoken_of(&text).iter().filter(|it| !it.starts_with("hearth_hac_")) {
            assert!(there.contains(metric.as_str()), "{}: {metric}", file.display());
        }
    }
}

/// Every query of the dashboard, and what every alert looks for.
fn queries() -> Vec<String> {
    let dashboard = std::fs::read_to_string(tree("configs/prometheus/grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown = targets.map(|target| {
        let query = target["expr"].as_str().unwrap();
        let query = query.replace("$instance", ".*").replace("$controller", ".*");
        query.replace("$__rate_interval", "1m")
    });
    let rules = std::fs::read_to_string(tree("configs/prometheus/hearth.rules.yaml")).unwrap();
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    shown.chain(alerts.map(str::to_owned)).collect()
}

/// A Prometheus beside both daemons of a running lab takes the configuration that `configs/` has, finds
/// both, and can answer every query.
#[test]
fn prometheus_scrapes_the_lab_and_answers_the_dashboard() {
    let lab = TestLab::up("metrics-server");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let _node = lab.register(&who, Visited::Net6);
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(tree("configs/prometheus/prometheus.yaml")).unwrap();
    let config = config
        .replace("ha.example.net:9618", METRICS)
        .replace("hac.example.net:9619", HAC_METRICS)
        .replace(
            "hearth.rules.yaml",
            tree("configs/prometheus/hearth.rules.yaml").to_str().unwrap(),
        );
    let file = folder.path().join("prometheus.yaml");
    std::fs::write(&file, format!("global: {{scrape_interval: 1s}}\n{config}")).unwrap();
    let server = "127.0.0.1:9090";
    let arguments = [
        &format!("--config.file={}", file.display()),
        &format!("--storage.tsdb.path={}", folder.path().display()),
        &format!("--web.listen-address={server}"),
    ];
    let arguments = arguments.map(String::as_str);
    let log = folder.path().join("log");
    let ha = &lab.network.ha;
    let mut prometheus =
        Program::start(ha, Path::new("prometheus"), &arguments, &log).expect("Debian: prometheus");
    let ask = |query: &str| {
        let mut promtool = ha.command("promtool");
        let url = format!("http://{server}");
        promtool.args(["query", "instant", &url, query]).output().unwrap()
    };
    let patience = Duration::from_secs(60);
    let found = prometheus.until("both daemons scraped", patience, |_| {
        let answer = ask("count(up == 1) == 2").stdout;
        Ok(answer.contains(&b'>').then_some(()))
    });
    let queries = queries();
    let refused = queries.iter().map(|query| (query, ask(query)));
    let refused: Vec<_> = refused.filter(|(_, answer)| !answer.status.success()).collect();
    let bindings = ask("hearth_bindings").stdout;
    prometheus.stop(Duration::from_secs(20)).unwrap();
    found.unwrap();
    assert!(queries.len() > 30 && refused.is_empty(), "{refused:?}");
    assert!(String::from_utf8_lossy(&bindings).contains("=> 1 @"), "{bindings:?}");
}

#[test]
fn the_tcp_port_tells_metrics_and_nothing_else() {
    let lab = TestLab::up("metrics-tcp");
    let open = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\n\r\n";
    let (head, body) = by_tcp(&lab, open);
    assert!(head.contains(" 200 ") && head.contains("application/openmetrics-text"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    for (request, status) in [
        ("GET /v1/bindings HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), " 404 "),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), " 405 "),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(20_000)), " 431 "),
        ("no HTTP\r\n\r\n".to_owned(), " 400 "),
    ] {
        let (head, _) = by_tcp(&lab, &request);
        assert!(head.lines().next().unwrap().contains(status), "{status}: {head}");
    }
    // Whoever says nothing is sent away, and nobody waits for him meanwhile.
    let silent = lab.network.ha.enter(|| TcpStream::connect(METRICS)).unwrap().unwrap();
    assert!(by_tcp(&lab, open).0.contains(" 200 "));
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!((&silent).read(&mut [0; 64]).unwrap(), 0, "the connection is closed");
}
