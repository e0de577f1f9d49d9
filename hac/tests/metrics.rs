//! What Prometheus scrapes, as its own tools see it (Debian: prometheus).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod place;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use hearth_peers::prometheus::{promtool, samples};
use place::Place;

/// A HAC with a RADIUS server that nobody is (port 9), and accounting.
fn more(metrics: SocketAddr) -> String {
    format!(
        "\
auth: {{methods: [psk, eap], eap: {{methods: [radius]}}}}
radius:
  servers:
    - {{address: 127.0.0.1, port: 9, secret_file: hac.pem, returns_authenticated_name: true}}
  accounting:
    servers: [{{address: '::1', port: 9, secret_file: hac.pem, status_server: false}}]
metrics: {{listen: '{metrics}'}}
"
    )
}

fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, hearth_peers::free_port()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_what_the_hac_counts() {
    let address = free_address();
    let place = Place::start(&more(address));
    for psk in [place::PSK, "ff"] {
        let _ = place.bootstrap("yaml@example.net", psk).await;
    }
    let (status, text) = place.get("/metrics").await;
    assert_eq!(status, 200);
    promtool(&["check", "metrics"], &text);
    let samples = samples(&text);
    let ended = |outcome: &str| {
        samples[&format!("hearth_hac_sessions_total{{method=\"psk\",outcome=\"{outcome}\"}}")]
    };
    assert_eq!((ended("issued"), ended("left_after_challenge")), (1.0, 1.0), "{text}");
    assert_eq!(samples["hearth_hac_sas{home_agent=\"ha1\"}"], 1.0);
    assert_eq!(samples["hearth_hac_home_agent_alive{home_agent=\"ha1\"}"], 0.0);
    assert_eq!(samples["hearth_hac_subscribers"], 1.0);
    assert_eq!(samples["hearth_hac_pool{kind=\"home_address_ip6\"}"], 61440.0);
    assert_eq!(samples["hearth_hac_events_total{event=\"connections\"}"], 2.0);
    let end = samples["hearth_hac_certificate_end_seconds{name=\"hac.example.net\"}"];
    assert!(end > 1.8e9, "{end}");
    let radius = "server=\"[::1]:9\",role=\"accounting\"";
    assert_eq!(samples[&format!("hearth_hac_radius_alive{{{radius}}}")], 1.0);
    assert!(text.contains("hearth_hac_radius_round_trip_seconds_bucket{le=\"0.001\",server="));

    // The alerts and the dashboard speak of nothing that is not there.
    let there: BTreeSet<_> = samples.keys().filter_map(|name| name.split('{').next()).collect();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/prometheus");
    for file in ["hearth.rules.yaml", "grafana.json"] {
        let text = std::fs::read_to_string(configs.join(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let spoken_of: BTreeSet<_> = words.filter(|word| word.starts_with("hearth_hac_")).collect();
        assert!(!spoken_of.is_empty(), "{file} has nothing about the HAC");
        for metric in spoken_of {
            assert!(there.contains(metric), "{file}: {metric}");
        }
    }

    // The port tells the same, and nothing else.
    let by_tcp = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(by_tcp("/metrics").contains("hearth_hac_sas{home_agent=\"ha1\"} 1"));
    assert!(by_tcp("/v1/hac").starts_with("HTTP/1.1 404 "));
    place.stop().await;
}

/// Two HACs on one address: the second says which key is at fault.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_keeps_it_from_starting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Place::begin(Place::folder(), &format!("metrics: {{listen: '{address}'}}\n"));
    let error = error.err().unwrap();
    assert!(error.contains("metrics.listen") && error.contains(&address.to_string()), "{error}");
}
