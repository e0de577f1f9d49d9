//! Manual pages that the daemons write of themselves, read by man as a user's terminal has it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use hearth_lab::program::Programs;

/// Writes a program's pages and takes their names.
fn pages(program: &str, folder: &Path) -> Vec<String> {
    let written =
        Programs::find().unwrap().command(program).unwrap().arg("--man").arg(folder).status();
    assert!(written.unwrap().success(), "{program}");
    let name = |page: fs::DirEntry| page.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|page| name(page.unwrap())).collect();
    names.sort();
    names
}

/// A page as words; man must have nothing to say about it.
fn read(page: &Path) -> String {
    let output = Command::new("man")
        .args(["--warnings", "-E", "UTF-8", "-P", "cat", "-l"])
        .arg(page)
        .env("MAN_KEEP_STDERR", "1")
        .env("MANROFFOPT", "-c")
        .output()
        .expect("man of Debian's package man-db");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{}: {words}", page.display());
    // Bold is a letter over itself: X, backspace, X.
    let mut text = String::new();
    for letter in String::from_utf8(output.stdout).unwrap().chars() {
        match letter {
            '\u{8}' => drop(text.pop()),
            letter => text.push(letter),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_daemon_has_a_manual_page_with_its_options_signals_and_exit_codes() {
    for (program, file) in
        [("hearthd", "/etc/hearth/hearthd.yaml"), ("hearth-hac", "/etc/hearth/hac.yaml")]
    {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(pages(program, folder.path()), [format!("{program}.8")]);
        let page = read(&folder.path().join(format!("{program}.8")));
        for word in ["--config", "--check", "--log", file, "SIGHUP", "Exit codes"] {
            assert!(page.contains(word), "{program}: {word}: {page}");
        }
        assert!(!page.contains("--man"), "{program} shows what is for packages alone");
    }
}

#[test]
fn every_command_of_the_mobile_node_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = pages("hearth-mn", folder.path());
    for command in ["", "-up", "-down", "-status", "-monitor", "-check", "-fleet", "-keygen"] {
        let page = format!("hearth-mn{command}.8");
        assert!(pages.contains(&page), "{page}: {pages:?}");
    }
    for page in &pages {
        read(&folder.path().join(page));
    }
    assert!(read(&folder.path().join("hearth-mn.8")).contains("Exit codes"));
}
