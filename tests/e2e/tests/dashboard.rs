//! The dashboard: what its listener answers and refuses, and, with Chromium (`make test-dashboard`), how it
//! follows a mobile node that moves.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::plan::{CN6, DASHBOARD, Visited};
use hearth_wire::suite::Suite;
use serde_json::{Value, json};

/// The answer to one request on the home agent's loopback.
fn ask(lab: &TestLab, request: &str) -> String {
    let mut stream = lab.network.ha.enter(|| TcpStream::connect(DASHBOARD)).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_listener_shows_and_changes_nothing() {
    let lab = TestLab::up("dashboard");
    let get = |path: &str, host: &str| {
        ask(&lab, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"))
    };
    let page = get("/", DASHBOARD);
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<h1>Hearth"), "{page}");
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(page.contains(header), "{header} in {page}");
    }
    for (path, kind) in [
        ("/dashboard.js", "text/javascript"),
        ("/dashboard.css", "text/css"),
        ("/v1/status", "application/json"),
        ("/v1/bindings?search=x&count=5", "application/json"),
    ] {
        let answer = get(path, "localhost");
        assert!(answer.contains(&format!("content-type: {kind}")), "{answer}");
    }
    // A name that a stranger has pointed here; what changes something; what is too much.
    assert!(get("/v1/status", "evil.example").starts_with("HTTP/1.1 403 "));
    assert!(get("/v1/bindings?nonsense=1", "localhost").starts_with("HTTP/1.1 400 "));
    assert!(get("/nothing", "localhost").starts_with("HTTP/1.1 404 "));
    for path in ["/v1/drain", "/v1/capture", "/v1/status"] {
        let post = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let answer = ask(&lab, &post);
        assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
    }
    let endless = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(100_000));
    assert!(ask(&lab, &endless).starts_with("HTTP/1.1 431 "));
}

/// Chromium in the home agent's namespace, by Playwright.
struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Browser {
    fn start(lab: &TestLab, pictures: &Path) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboard");
        let mut node: Command = lab.network.ha.command("node");
        node.current_dir(folder).arg("follow.mjs").arg(format!("http://{DASHBOARD}/"));
        node.arg(pictures).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = node.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, to, from: BufReader::new(from) }
    }

    fn does(&mut self, step: &Value) {
        writeln!(self.to, "{step}").unwrap();
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        assert_eq!(answer["done"], step["do"], "{answer:#}");
    }

    fn end(self) {
        let Self { mut child, to, .. } = self;
        drop(to);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
#[ignore = "needs Chromium and packages of npm: make test-dashboard"]
fn a_browser_follows_a_mobile_node_live() {
    let mut lab = TestLab::up("dashboard-browser");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    // Where somebody wants to see them.
    let pictures = std::env::var_os("HEARTH_PICTURES");
    let pictures = pictures.map_or_else(|| lab.options.files.dir.clone(), PathBuf::from);
    let mut browser = Browser::start(&lab, &pictures);
    let at6 = Visited::Net6.care_of_address(0).to_string();
    browser.does(&json!({"do": "open", "node": who.mn_id, "at": at6}));
    browser.does(&json!({"do": "life", "node": who.mn_id}));
    lab.network.detach(0, Visited::Net6).unwrap();
    lab.network.attach(0, Visited::Nat4).unwrap();
    node.registered_at(Visited::Nat4, PATIENCE).unwrap();
    browser.does(&json!({"do": "moved", "to": "yes"}));
    let mut ping = lab.network.mobile_node(0).unwrap().command("ping");
    ping.args(["-q", "-i", "0.02", "-s", "1000", "-I", &who.home6.to_string()])
        .arg(CN6.to_string());
    let mut ping = ping.stdout(Stdio::null()).spawn().unwrap();
    browser.does(&json!({"do": "traffic"}));
    browser.does(&json!({"do": "accessible"}));
    browser.does(&json!({"do": "pictures"}));
    ping.kill().unwrap();
    ping.wait().unwrap();
    lab.hearthd.take().unwrap().stop(PATIENCE).unwrap();
    browser.does(&json!({"do": "gone"}));
    lab.start_hearthd().unwrap();
    browser.does(&json!({"do": "back"}));
    browser.end();
}
