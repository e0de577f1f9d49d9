//! The command line: what a wrong file or option looks like to a person and to a script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::process::{Command, Output};

fn hearth_mn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hearth-mn")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn complaints_begin_with_the_programs_name_and_are_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mn.yaml");
    std::fs::write(&file, "mn_id: mn1@example.net\nmn_ids: 1\n").unwrap();
    let file = file.to_str().unwrap();
    for arguments in
        [&["check", "--config", file], &["--check", "--config", file], &["up", "--config", file]]
    {
        let output = hearth_mn(arguments);
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output);
        assert!(said.starts_with(&format!("hearth-mn: {file}:2: mn_ids: ")), "{said}");
    }
}

/// A filter that can't be read is wrong use, before anything else is looked at.
#[test]
fn a_wrong_log_filter_is_exit_2() {
    for command in ["up", "check"] {
        let output = hearth_mn(&[command, "--config", "none.yaml", "--log", "mn=loud"]);
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output);
        assert!(said.starts_with("hearth-mn: --log mn=loud: "), "{said}");
    }
}

#[test]
fn each_way_to_be_wrong_has_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("mn.psk");
    let key = key.to_str().unwrap();
    for (arguments, code, expected) in [
        (
            ["status", "nobody-of-this-name"].as_slice(),
            3,
            "no mobile node nobody-of-this-name is up",
        ),
        (&["down", "nobody-of-this-name"], 3, "is up in this network namespace"),
        (&["monitor", "nobody-of-this-name"], 3, "is up in this network namespace"),
        (
            &["check", "nobody-of-this-name"],
            2,
            "/etc/hearth/mn/nobody-of-this-name.yaml: can't be read",
        ),
        (&[], 2, "no command; say `up`"),
        (&["keygen", "not a name"], 2, "not a name: "),
        (&["keygen", "mn1@example.net", "-o", key], 0, ""),
        (&["keygen", "mn1@example.net", "-o", key], 1, "mn.psk can't be written"),
        (&["keygen", "mn1@example.net", "-o", key], 1, "a key is never overwritten"),
        (
            &["keygen", "mn1@example.net", "-o", "/nowhere/at/all/mn.psk"],
            1,
            "make the folder first: install -d /nowhere/at/all",
        ),
    ] {
        let output = hearth_mn(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

/// What `keygen` makes is a key that nobody else can read, and what it says fits into YAML.
#[test]
fn a_new_key_is_taken_by_the_yaml_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("mn1.psk");
    let output = hearth_mn(&["keygen", "mn1@example.net", "-o", key.to_str().unwrap()]);
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&key).unwrap();
    assert!(text.len() == 65 && text.trim().chars().all(|c| c.is_ascii_hexdigit()));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains(text.trim()), "the key itself is not shown");
    let (_, yaml) = said.split_once("YAML file:\n").unwrap();
    let lines: String = yaml.lines().map(|line| format!("{}\n", line.trim())).collect();
    let ca = include_str!("../src/config/test-ca.pem");
    std::fs::write(folder.path().join("ca.pem"), ca).unwrap();
    let file = folder.path().join("mn.yaml");
    let hac = "hac: {name: hac.example.net, port: 7873, ca: ca.pem}\n";
    std::fs::write(&file, format!("{lines}{hac}")).unwrap();
    let checked = hearth_mn(&["check", "--config", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", self::said(&checked));
    assert_eq!(hearth_mn(&["keygen", "mn1@example.net"]).stdout.len(), 65);
}

/// Without root it says so, in one line, and touches nothing.
#[test]
fn up_takes_root() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("ca.pem"), include_str!("../src/config/test-ca.pem")).unwrap();
    let yaml =
        "mn_id: a@example.net\npsk: {text: 0123456789abcdef}\nhac: {name: h.example, ca: ca.pem}\n";
    std::fs::write(at("mn.yaml"), yaml).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_hearth-mn"), at("hearth-mn")).unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(at("hearth-mn"))
        .args(["up", "--log", "error"])
        .arg(at("mn.yaml"))
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.lines().count() == 1 && said.contains("it takes root"), "{said}");
}

/// A secret that is asked for on a terminal is not shown there. (script(1) makes the terminal.)
#[test]
fn a_prompt_does_not_show_what_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let ca = include_str!("../src/config/test-ca.pem");
    std::fs::write(folder.path().join("ca.pem"), ca).unwrap();
    let yaml = "mn_id: a@example.net\npsk: {prompt: text}\nhac: {name: h.example, ca: ca.pem}\n";
    std::fs::write(folder.path().join("mn.yaml"), yaml).unwrap();
    let command = format!("{} up ./mn.yaml", env!("CARGO_BIN_EXE_hearth-mn"));
    let mut terminal = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .current_dir(folder.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut said = Vec::new();
    while !said.ends_with(b": ") {
        let mut octet = [0];
        assert_eq!(std::io::Read::read(&mut output, &mut octet).unwrap(), 1);
        said.push(octet[0]);
    }
    std::io::Write::write_all(&mut input, b"tooshort\n").unwrap();
    std::io::Read::read_to_end(&mut output, &mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("psk of a@example.net: "), "{said}");
    assert!(said.contains("mn.yaml:2: psk.prompt: the key is too short"), "{said}");
    assert!(!said.contains("tooshort"), "{said}");
    assert_eq!(terminal.wait().unwrap().code(), Some(2));
}
