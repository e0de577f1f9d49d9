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
