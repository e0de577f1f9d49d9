//! Wrong YAML is refused before anything starts, with file, line, key and what would be right.
//!
//! No namespaces: `--check` touches nothing. The files are those of the lab, each broken in one way.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use hearth_e2e::options;
use hearth_lab::{
    config::{Files, NodeTuning, Tuning, hac, hearthd, mobile_node},
    netns::output,
    pki::{Authority, Server},
    plan::{HAC_NAME, Subscriber},
    program::Programs,
};

/// One way to break a file: what is replaced by what, and the words of the complaint: the line's
/// own text to find it by, the key, and what a reader needs.
struct Broken {
    from: &'static str,
    to: &'static str,
    line: &'static str,
    words: &'static [&'static str],
}

const fn broken(
    from: &'static str,
    to: &'static str,
    line: &'static str,
    words: &'static [&'static str],
) -> Broken {
    Broken { from, to, line, words }
}

/// Runs `PROGRAM --config FILE --check` on the whole file, then on each broken one.
fn check(program: &str, right: &str, path: &Path, cases: &[Broken]) {
    let programs = Programs::find().unwrap();
    let check = |text: &str| {
        std::fs::write(path, text).unwrap();
        let mut command = programs.command(program).unwrap();
        output(command.arg("--config").arg(path).arg("--check")).unwrap()
    };
    let fine = check(right);
    let said = String::from_utf8_lossy(&fine.stderr).into_owned();
    assert_eq!(fine.status.code(), Some(0), "{program}: {said}");
    assert!(String::from_utf8_lossy(&fine.stdout).contains("ok"), "{program}");

    let mut failures = Vec::new();
    for case in cases {
        let Broken { from, to, line, words } = case;
        assert!(right.contains(from), "{program}: {from:?} is not in the file");
        let text = right.replacen(from, to, 1);
        let lines: Vec<&str> = text.lines().collect();
        // Where two lines are at odds, the later one is wrong.
        let number = 1 + lines.iter().rposition(|l| l.contains(line)).expect("the broken line");
        let output = check(&text);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let place = format!("{}:{number}: ", path.display());
        let named = words.iter().all(|word| said.to_lowercase().contains(word));
        if output.status.code() != Some(2) || !said.contains(&place) || !named {
            failures.push(format!("{from:?} -> {to:?}, line {number}, {words:?}: got {said}"));
        }
    }
    assert!(failures.is_empty(), "{program}:\n{}", failures.join("\n"));
}

/// The lab's files in a folder of their own.
fn files(name: &str) -> Files {
    let mut files = options(name).files;
    files.run = files.dir.join("run");
    files.create().unwrap();
    let authority = Authority::new("CA").unwrap();
    authority.write_certificate(&files.ca()).unwrap();
    let server = Server { common_name: HAC_NAME, alt_names: &[HAC_NAME] };
    authority.write_server(server, &files.certificate(), &files.key()).unwrap();
    files
}

#[test]
fn hearthd_names_file_line_and_key() {
    let files = files("check-hearthd");
    let right = hearthd(&files, &Tuning::default(), "check");
    let cases = [
        broken("memory_mb", "memory_gb", "memory_gb", &["memory_gb", "memory_mb"]),
        broken("mtu: 1500", "mtu: wide", "mtu: wide", &["mtu"]),
        broken("2001:db8:b:1::/64", "2001:db8:b:1::/129", "/129", &["home_prefixes"]),
        broken("iface=home0", "iface=acc0", "iface=acc0", &["ports"]),
        broken("2001:db8:c::1/64", "2001:db8:a::10/64", "2001:db8:a::10/64\", \"203", &["address"]),
        broken("  port: 7872", "  port: 78720", "78720", &["port"]),
        broken("spi_range: [1, 4096]", "spi_range: [0, 4096]", "[0, 4096]", &["spi_range"]),
    ];
    check("hearthd", &right, &files.config("hearthd"), &cases);
}

#[test]
fn hearth_hac_names_file_line_and_key() {
    let files = files("check-hac");
    let subscribers = Subscriber::matrix().unwrap();
    let right = hac(&files, &Tuning::default(), &subscribers);
    let cases = [
        broken("tls13:", "tls14:", "tls14:", &["tls14"]),
        broken("sa_validity: 3600", "sa_validity: long", "long", &["sa_validity"]),
        broken("2001:db8:b:1::/64", "2001:db8:b:1::/129", "/129", &["home_prefix_ip6"]),
        broken("pki/hac.pem", "pki/none.pem", "none.pem", &["certificate"]),
        broken("\"[::]:7873\",", "\"[::]:7873\", \"[::]:7873\",", "[::]:7873", &["listen"]),
        broken("scope: 1", "scope: 2", "scope: 2", &["scope"]),
        broken("suites: [\"AES_128_CBC_SHA\"]", "suites: [ROT13]", "ROT13", &["suites"]),
        broken("203.0.113.145", "203.0.113.144", "203.0.113.144", &["address"]),
    ];
    check("hearth-hac", &right, &files.config("hac"), &cases);
}

#[test]
fn hearth_mn_names_file_line_and_key() {
    let files = files("check-mn");
    let subscriber = Subscriber::matrix().unwrap().remove(0);
    let right = mobile_node(&files, &subscriber, &NodeTuning::default());
    let cases = [
        broken("suites:", "suits:", "suits:", &["suits"]),
        broken("lifetime: 600", "lifetime: ever", "ever", &["lifetime"]),
        broken("lifetime: 600", "lifetime: 70000", "70000", &["lifetime"]),
        broken("pki/ca.pem", "pki/none.pem", "none.pem", &["ca"]),
        broken("2001:db8:a::10", "2001:db8:a::10::1", "::10::1", &["addresses"]),
        broken("scope: 1", "scope: O", "scope: O", &["scope"]),
        broken("{ hex: \"", "{ hex: \"zz", "zz", &["psk"]),
        broken("mn_id: aes", "mn_id: a@b@aes", "a@b@", &["mn_id"]),
    ];
    check("hearth-mn", &right, &files.config("mn"), &cases);
}
