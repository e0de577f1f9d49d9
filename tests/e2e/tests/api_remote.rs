//! hearthd's API for other machines: mutual TLS, roles by certificate, as curl and openssl see it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, process::Output};

use hearth_e2e::TestLab;
use hearth_lab::{
    config, netns,
    pki::{Authority, Server},
};

const LISTEN: &str = "127.0.0.1:9681";

/// A lab whose hearthd listens for other machines too, and whose clients have certificates: of a
/// reader, of an operator, of somebody whom YAML does not name, and of another authority.
fn up() -> TestLab {
    let lab = TestLab::prepare("api-remote");
    let at = |name: &str| lab.options.files.dir.join(name);
    let [own, other] = ["the lab's", "another"].map(|name| Authority::new(name).unwrap());
    own.write_certificate(&at("ca.pem")).unwrap();
    let server = Server { common_name: "hearthd", alt_names: &["127.0.0.1"] };
    own.write_server(server, &at("api.pem"), &at("api.key")).unwrap();
    for (authority, name) in
        [(&own, "monitor"), (&own, "admin"), (&own, "nobody"), (&other, "stranger")]
    {
        let host = if name == "stranger" { "admin" } else { name };
        let (certificate, key) = (at(&format!("{name}.pem")), at(&format!("{name}.key")));
        authority.write_client(&format!("{host}.example.net"), &certificate, &key).unwrap();
    }
    let yaml = lab.options.files.config("hearthd");
    let text = fs::read_to_string(&yaml).unwrap();
    let folder = lab.options.files.dir.display();
    let api = format!(
        "api:\n  listen: \"{LISTEN}\"\n  tls:\n    certificate: {folder}/api.pem\n    key: {folder}/api.key\n    \
         client_ca: {folder}/ca.pem\n    readers: [monitor.example.net]\n    operators: [admin.example.net]\n"
    );
    assert!(text.contains("api:\n"));
    config::write(&yaml, &text.replacen("api:\n", &api, 1)).unwrap();
    let mut lab = lab;
    lab.start_hac().unwrap();
    lab.start_hearthd().unwrap();
    lab
}

/// What curl makes of a request: the status, and what it says where there is none.
fn curl(lab: &TestLab, who: Option<&str>, method: &str, path: &str) -> (String, Output) {
    let folder = lab.options.files.dir.display();
    let mut command = lab.network.ha.command("curl");
    command.args([
        "-sS",
        "--max-time",
        "10",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-X",
        method,
    ]);
    command.args(["--cacert", &format!("{folder}/ca.pem")]);
    if let Some(who) = who {
        command.args(["--cert", &format!("{folder}/{who}.pem"), "--key"]);
        command.arg(format!("{folder}/{who}.key"));
    }
    let output = netns::output(command.arg(format!("https://{LISTEN}{path}"))).unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output)
}

#[test]
fn certificates_say_who_may_look_and_who_may_change_something() {
    let lab = up();
    let status = |who, method, path| curl(&lab, who, method, path).0;
    // Nothing drains, which only who may change something is told.
    for (who, look, change) in
        [("monitor", "200", "403"), ("admin", "200", "404"), ("nobody", "403", "403")]
    {
        assert_eq!(status(Some(who), "GET", "/v1/status"), look, "{who}");
        assert_eq!(status(Some(who), "POST", "/v1/undrain"), change, "{who}");
    }
    // No certificate, or one of somebody else's authority: TLS ends it, and there is no HTTP.
    for who in [None, Some("stranger")] {
        let (code, output) = curl(&lab, who, "GET", "/v1/status");
        assert_eq!(code, "000", "{who:?}");
        assert!(!output.status.success(), "{who:?}");
    }
    // TLS 1.2 is none.
    let mut openssl = lab.network.ha.command("openssl");
    openssl.args(["s_client", "-connect", LISTEN, "-tls1_2", "-brief"]);
    let said = netns::output(openssl.stdin(std::process::Stdio::null())).unwrap();
    assert!(!said.status.success(), "{said:?}");
    // The log says whose certificate it was.
    lab.hearthd_log("word of who did it", |log| {
        log.lines().any(|line| line.contains("Undrain") && line.contains("admin.example.net"))
    });
}
