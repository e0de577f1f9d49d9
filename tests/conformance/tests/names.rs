//! Every test that the list and the map name is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use hearth_conformance::case::{self, Case};
use hearth_conformance::map;
use hearth_conformance::rows::{self, PACKAGES, Proof, TestName};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust file of a package: the words of its path and its text.
fn sources(folder: &Path, below: &Path, found: &mut Vec<(Vec<String>, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, below, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let words = path.strip_prefix(below).unwrap().with_extension("");
            let words = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            found.push((words, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn is_there(test: &TestName, sources: &[(Vec<String>, String)]) -> bool {
    let function = format!("fn {}(", test.function);
    // The tests of a module may have a file of their own.
    let files = [test.file.clone(), format!("{}_tests", test.file)];
    let is_of_file = |words: &[String]| files.iter().any(|file| words.contains(file));
    sources.iter().any(|(words, text)| is_of_file(words) && text.contains(&function))
}

#[test]
fn the_map_has_the_rows_of_the_list() {
    let list = fs::read_to_string(root().join("tests/conformance/rows.tsv")).unwrap();
    let rows = rows::parse(&list).unwrap();
    let files = case::files(&root().join("control/home-agent/tests/cases")).unwrap();
    let cases: Vec<_> = files.iter().map(|file| Case::read(file).unwrap()).collect();
    let text = fs::read_to_string(root().join("docs/rfc-map.md")).unwrap();
    let same = map::put(&text, &rows, &cases).unwrap() == text;
    assert!(same, "run `cargo run -p hearth-conformance -- map`");
}

#[test]
fn every_test_that_is_named_exists() {
    let list = fs::read_to_string(root().join("tests/conformance/rows.tsv")).unwrap();
    let rows = rows::parse(&list).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    let mut named: Vec<TestName> = Vec::new();
    for proof in rows.into_iter().flat_map(|row| row.proofs) {
        if let Proof::Test(test) = proof {
            named.push(test);
        }
    }
    let map = fs::read_to_string(root().join("docs/rfc-map.md")).unwrap();
    let in_map = map.split('`').skip(1).step_by(2).filter_map(TestName::parse);
    named.extend(in_map.filter(|test| !matches!(&test.function[..], "function")));
    assert!(named.len() > 500, "{} names", named.len());
    let mut absent = Vec::new();
    for (package, _, folder) in PACKAGES {
        let folder = root().join(folder);
        let mut files = Vec::new();
        sources(&folder, &folder, &mut files);
        let of_package = named.iter().filter(|test| test.package == package);
        absent.extend(of_package.filter(|test| !is_there(test, &files)).map(TestName::to_string));
    }
    absent.sort();
    absent.dedup();
    assert!(absent.is_empty(), "no such test:\n{}", absent.join("\n"));
}
