//! Tab in a real Bash, with a daemon that says who is there; and the manual pages.

// A test's helper fails the test where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;

/// What Bash has in COMPREPLY after Tab at the end of `line`, where `SOCKET` stands for a daemon that
/// answers with `list`.
fn tab(line: &str, list: &'static str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    // Where nothing is asked it waits in vain, and ends with the test.
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
        // It promises more than it gives: a list that is long, and slow.
        stream.write_all(format!("{head}{list}").as_bytes()).unwrap();
        thread::park();
    });
    let line = line.replace("SOCKET", socket.to_str().unwrap());
    let script = r#"source <(hearth completion bash)
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
        _hearth 2>/dev/null
        (( ${#COMPREPLY[@]} == 0 )) || printf '%s\n' "${COMPREPLY[@]}""#;
    let hearth = std::path::Path::new(env!("CARGO_BIN_EXE_hearth"));
    let path = format!("{}:/usr/bin:/bin", hearth.parent().unwrap().display());
    let output =
        Command::new("bash").args(["-c", script, "bash", &line]).env("PATH", path).output();
    let words = String::from_utf8(output.unwrap().stdout).unwrap();
    words.lines().map(str::to_owned).collect()
}

const SAS: &str = r#"[{"spi":268435,"mn_id":"car@example.net","suite":"","scope":1,"state":"used",
    "home_address":"2001:db8::1","crypto":"cpu","ends":1,"packets_in":0,"octets_in":0,
    "packets_out":0,"octets_out":0,"next_sequence":1,"highest_sequence":null},
    {"spi":31,"mn_id":"cab@example.net","suite":"","scope":1,"state":"used",
    "home_address":"2001:db8::2","crypto":"cpu","ends":1,"packets_in":0,"octets_in":0,
    "packets_out":0,"octets_out":0,"next_sequence":1,"highest_sequence":null},{"spi":32,"mn_"#;

const BINDINGS: &str = r#"[{"mn_id":"car@example.net","home_address":"2001:db8:100::1000",
    "ipv4_home_address":"192.0.2.7","care_of_address":"2001:db8::9","care_of_port":1,
    "home_agent_address":"2001:db8::8","nat":false,"spi":31,"sequence":1,"lifetime":4,
    "remaining":4}]"#;

#[test]
fn commands_and_options_complete() {
    assert_eq!(tab("hearth rev", ""), ["revoke"]);
    assert_eq!(tab("hearth show bind", ""), ["bindings"]);
    assert!(tab("hearth revoke --re", "").contains(&"--realm".to_owned()));
}

#[test]
fn mn_ids_and_spis_are_those_that_the_daemon_knows() {
    assert_eq!(
        tab("hearth --socket SOCKET trace --mn-id ca", SAS),
        ["cab@example.net", "car@example.net"]
    );
    assert_eq!(tab("hearth --socket SOCKET reinit --spi 2", SAS), ["268435"]);
    // Behind what Bash takes for the end of a word, only the rest is put in.
    assert_eq!(tab("hearth --socket=SOCKET revoke --mn-id car@", SAS), ["example.net"]);
}

#[test]
fn home_addresses_complete_behind_their_colons() {
    let line = "hearth --socket SOCKET revoke --home-address 2001:db8:1";
    assert_eq!(tab(line, BINDINGS), ["100::1000"]);
    let line = "hearth --socket SOCKET revoke --home-address 19";
    assert_eq!(tab(line, BINDINGS), ["192.0.2.7"]);
}

#[test]
fn every_command_has_a_manual_page_that_man_reads_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let hearth = || Command::new(env!("CARGO_BIN_EXE_hearth"));
    assert!(hearth().arg("man").arg(folder.path()).status().unwrap().success());
    let pages: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|page| page.unwrap().path()).collect();
    for page in ["hearth.1", "hearth-show.1", "hearth-subscriber-add.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    for page in pages {
        let output = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(&page)
            .env("MAN_KEEP_STDERR", "1")
            .output()
            .expect("man of Debian's package man-db");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && words.is_empty(), "{}: {words}", page.display());
    }
}
