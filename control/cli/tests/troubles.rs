//! The command against a daemon that is silent, breaks off, or sends what can't be stored.

// A test's helper fails the test where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

/// A folder with a socket in it, on which the test is the daemon.
struct Bench {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        Self { folder, listener }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn hearth(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command.arg("--socket").arg(self.path("socket")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `hearth capture` into a file, answered with `blocks` and, where it is `whole`, an end.
    fn capture(&self, file: &Path, more: &[&str], blocks: &[u8], whole: bool) -> (Output, String) {
        let file = file.to_str().unwrap();
        let child = self.hearth(&[&["capture", "--file", file], more].concat()).spawn().unwrap();
        let listener = self.listener.try_clone().unwrap();
        let blocks = blocks.to_vec();
        // Where nothing is asked it waits in vain, and ends with the test.
        let daemon = thread::spawn(move || answer(&listener, &blocks, whole));
        let output = child.wait_with_output().unwrap();
        let asked = output.status.success() || daemon.is_finished();
        if asked {
            daemon.join().unwrap();
        }
        let words = String::from_utf8(output.stderr.clone()).unwrap();
        (output, words)
    }
}

/// Answers one request with one chunk.
fn answer(listener: &UnixListener, body: &[u8], whole: bool) {
    let (mut stream, _) = listener.accept().unwrap();
    read_request(&stream);
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let end = if whole { "0\r\n\r\n" } else { "" };
    let _ = write!(stream, "{head}{:x}\r\n", body.len());
    let _ = stream.write_all(body);
    let _ = write!(stream, "\r\n{end}");
}

fn read_request(stream: &UnixStream) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut len) = (String::new(), 0);
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; len]).unwrap();
}

/// Two packets and nothing else.
fn packets() -> Vec<u8> {
    let block = [&6_u32.to_ne_bytes()[..], &32_u32.to_ne_bytes(), &[0; 20], &32_u32.to_ne_bytes()];
    block.concat().repeat(2)
}

fn said(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_daemon_that_says_nothing_is_not_waited_for() {
    let bench = Bench::new();
    // The kernel takes the connections; nobody takes them from it.
    for arguments in [
        &["show", "sas"][..],
        &["trace"],
        &["capture", "--file", bench.path("f").to_str().unwrap()],
    ] {
        let arguments = [&["--timeout", "1"], arguments].concat();
        let (code, words) = said(bench.hearth(&arguments).spawn().unwrap());
        assert_eq!(code, Some(1), "{words}");
        assert!(words.contains("does not answer within 1 s"), "{words}");
    }
    assert!(!bench.path("f").exists());
}

#[test]
fn signals_end_a_command_that_waits_for_an_answer() {
    let bench = Bench::new();
    for signal in [Signal::INT, Signal::TERM] {
        for command in [&["trace"][..], &["capture", "--file", "/dev/null"]] {
            let arguments = [&["--timeout", "3600"], command].concat();
            let child = bench.hearth(&arguments).spawn().unwrap();
            let (stream, _) = bench.listener.accept().unwrap();
            read_request(&stream);
            kill_process(Pid::from_child(&child), signal).unwrap();
            let (code, words) = said(child);
            assert_eq!((code, words.as_str()), (Some(0), ""), "{command:?}");
        }
    }
}

#[test]
fn a_capture_is_a_new_file_of_its_owner_alone() {
    let bench = Bench::new();
    let file = bench.path("old.pcapng");
    fs::write(&file, "older").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut reader = fs::File::open(&file).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();

    let (output, words) = bench.capture(&file, &[], &packets(), true);
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains("old.pcapng: is there already; replace it with --force"), "{words}");
    assert_eq!(fs::read(&file).unwrap(), b"older");

    // Nobody was asked, so the socket still has one that answers.
    let child = bench.hearth(&["capture", "--force", "--file", file.to_str().unwrap()]).spawn();
    let (code, words) = said(child.unwrap());
    assert_eq!((code, words.as_str()), (Some(0), "2 packets captured\n"));
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&file).unwrap(), packets());
    // Whoever had the older file open reads that.
    assert_ne!(metadata.ino(), inode);
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, "older");
}

#[test]
fn a_capture_follows_no_symbolic_link() {
    let bench = Bench::new();
    let (target, link) = (bench.path("target"), bench.path("link"));
    fs::write(&target, "other").unwrap();
    symlink(&target, &link).unwrap();
    let (output, words) = bench.capture(&link, &["--force"], &packets(), true);
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains("link: is a symbolic link"), "{words}");
    assert_eq!(fs::read(&target).unwrap(), b"other");
}

#[test]
fn what_can_not_be_stored_names_the_file() {
    let (output, words) = Bench::new().capture(Path::new("/dev/full"), &[], &packets(), true);
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains("/dev/full: No space left on device"), "{words}");
}

#[test]
fn a_broken_capture_says_what_it_has() {
    let bench = Bench::new();
    let (output, words) = bench.capture(&bench.path("cut.pcapng"), &[], &packets(), false);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        words.starts_with("2 packets captured\nhearth: the connection to the daemon broke"),
        "{words}"
    );
}

#[test]
fn an_answer_without_a_word_is_explained() {
    let bench = Bench::new();
    for (status, words) in [
        ("504 Gateway Timeout", "control thread is busy or stuck"),
        ("404 Not Found", "of one version?"),
    ] {
        let child = bench.hearth(&["show", "sas"]).spawn().unwrap();
        let (mut stream, _) = bench.listener.accept().unwrap();
        read_request(&stream);
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
        let (code, said) = said(child);
        assert_eq!(code, Some(1));
        assert!(said.contains(&status[..3]) && said.contains(words), "{said}");
    }
}

/// hearthd gives a million rows in parts, and in no order.
#[test]
fn rows_are_shown_in_order_and_only_as_a_whole() {
    let bench = Bench::new();
    let row = |spi: u32| {
        format!(
            r#"{{"spi":{spi},"mn_id":"car@example.net","suite":"NULL_SHA","scope":1,
            "state":"used","home_address":"2001:db8::1","crypto":"cpu","ends":1,"packets_in":0,
            "octets_in":0,"packets_out":0,"octets_out":0,"next_sequence":0,
            "highest_sequence":null}}"#
        )
    };
    let list = format!("[{},{},{}]", row(9), row(2), row(30));
    for whole in [true, false] {
        let child = bench.hearth(&["show", "sas"]).spawn().unwrap();
        answer(&bench.listener, list.as_bytes(), whole);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let spis: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        let expected = if whole { &["SPI", "2", "9", "30"][..] } else { &[] };
        assert_eq!((output.status.success(), &spis[..]), (whole, expected));
    }
}

#[test]
fn numbers_out_of_range_are_wrong_use() {
    let bench = Bench::new();
    for arguments in [
        &["trace", "--count", "0"][..],
        &["trace", "--count", "1000001"],
        &["trace", "--spi", "0"],
        &["trace", "--spi", "268435456"],
        &["trace", "--seconds", "86401"],
        &["capture", "--file", "f", "--count", "0"],
        &["capture", "--file", "f", "--seconds", "0"],
    ] {
        let (code, words) = said(bench.hearth(arguments).spawn().unwrap());
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(words.contains("give a number, 1 to "), "{words}");
    }
}

/// What is posted, and what is printed of the answer.
fn post(
    bench: &Bench,
    arguments: &[&str],
    status: &str,
    body: &str,
) -> (Option<i32>, String, String) {
    let child = bench.hearth(arguments).spawn().unwrap();
    let (mut stream, _) = bench.listener.accept().unwrap();
    let mut reader = BufReader::new(&stream);
    let (mut line, mut request, mut len) = (String::new(), String::new(), 0);
    reader.read_line(&mut request).unwrap();
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut posted = vec![0; len];
    reader.read_exact(&mut posted).unwrap();
    let len = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {len}\r\n\r\n{body}").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let asked = format!("{} {}", request.trim(), String::from_utf8(posted).unwrap());
    (output.status.code(), asked, String::from_utf8(said).unwrap())
}

#[test]
fn commands_say_whom_they_mean() {
    let bench = Bench::new();
    let one = r#"{"concerned":1}"#;
    for (arguments, path, json, words) in [
        (
            &["revoke", "--home-address", "2001:db8::1"][..],
            "revoke",
            r#"{"who":{"home_address":"2001:db8::1"},"part":"binding","reason":"administrative"}"#,
            "1 binding of home address 2001:db8::1 is being revoked\n",
        ),
        (
            &["revoke", "--mn-id", "a@b.c", "--bid", "1,7", "--reason", "user"],
            "revoke",
            r#"{"who":{"mn_id":"a@b.c"},"part":{"bids":[1,7]},"reason":"user"}"#,
            "1 binding of mn-id a@b.c is being revoked\n",
        ),
        (
            &["revoke", "--spi", "7", "--ipv4", "--json"],
            "revoke",
            r#"{"who":{"spi":7},"part":"ipv4","reason":"administrative"}"#,
            "{\n  \"concerned\": 1\n}\n",
        ),
        (
            &["reinit", "--realm", "b.c", "--now", "--yes"],
            "reinit",
            r#"{"who":{"realm":"b.c"},"now":true}"#,
            "1 SA of realm b.c is to be replaced: the refresh that is asked for is answered so\n",
        ),
        (
            &["drain", "--home-agent", "2001:db8::9", "--within", "60", "--yes"],
            "drain",
            r#"{"home_agents":["2001:db8::9"],"within":60}"#,
            "mobile nodes are being sent elsewhere, and no binding is made; hearth undrain takes \
             it back\n",
        ),
        (&["undrain"], "undrain", "null", "bindings are made and refreshed again; there are 1\n"),
    ] {
        let (code, asked, said) = post(&bench, arguments, "200 OK", one);
        assert_eq!(asked, format!("POST /v1/{path} HTTP/1.1 {json}"));
        assert_eq!((code, said.as_str()), (Some(0), words));
    }
    let words = "no binding of SPI 7";
    let (code, _, said) = post(&bench, &["revoke", "--spi", "7"], "404 Not Found", words);
    assert_eq!((code, said), (Some(1), format!("hearth: {words}\n")));
}

#[test]
fn commands_about_many_are_asked_for_twice() {
    let bench = Bench::new();
    for arguments in [&["revoke", "--all"][..], &["reinit", "--realm", "b.c"], &["drain"]] {
        let (code, words) = said(bench.hearth(arguments).spawn().unwrap());
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(words.contains("say --yes if it is meant"), "{words}");
    }
    for arguments in [&["revoke"][..], &["revoke", "--all", "--spi", "1", "--yes"], &["reinit"]] {
        let (code, _) = said(bench.hearth(arguments).spawn().unwrap());
        assert_eq!(code, Some(2), "{arguments:?}");
    }
}
