//! The JSON Schemas of the YAML files, judged by another's program: every example is valid, and a file
//! with a mistake is not. Needs Debian's python3-jsonschema and python3-yaml.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Says what is wrong with the YAML file by the schema; nothing where it is valid.
const VALIDATE: &str = "
import json, sys, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
judge = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
for error in judge.iter_errors(yaml.safe_load(open(sys.argv[2]))):
    print(error.json_path, error.message)
";

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

/// What is wrong with `yaml` by the schema that `hearth config schema` prints.
fn complaint(of: &str, yaml: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("schema.json");
    let mut hearth = Command::new(env!("CARGO_BIN_EXE_hearth"));
    let printed = hearth.args(["config", "schema", of]).output().unwrap();
    assert!(printed.status.success());
    std::fs::write(&path, printed.stdout).unwrap();
    let mut python = Command::new("/usr/bin/python3");
    let said = python.args(["-c", VALIDATE]).arg(path).arg(yaml).output().unwrap();
    let trouble = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "apt-get install python3-jsonschema python3-yaml? {trouble}");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// Examples with the program that each is for.
fn examples() -> Vec<(&'static str, PathBuf)> {
    let mut examples = Vec::new();
    for folder in [configs(), configs().join("roles")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            for of in ["hearthd", "hac", "mn"] {
                if name == format!("{of}.yaml") || name.ends_with(&format!(".{of}.yaml")) {
                    examples.push((of, path.clone()));
                }
            }
        }
    }
    examples
}

#[test]
fn every_example_is_valid_and_names_its_schema() {
    let examples = examples();
    assert!(examples.len() >= 13, "{examples:?}");
    for (of, path) in examples {
        assert_eq!(complaint(of, &path), "", "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("# yaml-language-server: $schema=").unwrap_or_default();
        let schema = path.parent().unwrap().join(named);
        let wanted = configs().join(format!("schema/{of}.json"));
        assert_eq!(schema.canonicalize().ok(), wanted.canonicalize().ok(), "{}", path.display());
    }
}

#[test]
fn mistakes_are_found() {
    let folder = tempfile::tempdir().unwrap();
    for (of, from, to, complains) in [
        ("hearthd", "max_lifetime: 3600", "max_lifetim: 3600", "max_lifetim"),
        ("hearthd", "dscp: copy", "dscp: 64", "$.tunnel.dscp"),
        ("hearthd", "sync: relaxed", "sync: lax", "$.state.sync"),
        ("hac", "ip6: 2001:db8:a::1", "ip6: here", "$.home_agents[0].ip6"),
        ("hac", "scope: 1 ", "scope: [1] ", "$.policy.scope"),
        ("mn", "  port: 7873", "  prot: 7873", "prot"),
        ("mn", "psk:", "psk_file:", "psk_file"),
    ] {
        let text = std::fs::read_to_string(configs().join(format!("{of}.yaml"))).unwrap();
        assert!(text.contains(from), "{from}");
        let path = folder.path().join("wrong.yaml");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let complaint = complaint(of, &path);
        assert!(complaint.contains(complains), "{to}: {complaint}");
    }
}
