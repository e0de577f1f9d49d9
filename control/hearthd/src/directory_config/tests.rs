//! Mistakes about a directory on another machine, each with the line and the key that must be named.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

/// The example without its directory.
fn example(section: &str) -> String {
    let good = include_str!("../../../../configs/hearthd.yaml");
    let of_section = |line: &&str| line.starts_with("  ") && !line.starts_with("  signalling");
    let (before, behind) = good.split_once("sa_directory:\n").unwrap();
    let rest: Vec<_> = behind.lines().skip_while(of_section).skip(1).collect();
    format!("{before}sa_directory:\n{section}{}\n", rest.join("\n"))
}

/// A home agent's files: an authority, its certificate and key, and another key.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let params = CertificateParams::new(vec!["ha1.example.net".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", authority.pem());
    write("ha1.pem", certificate.pem());
    write("ha1.key", key.serialize_pem());
    write("other.key", other.serialize_pem());
    folder
}

fn load(folder: &Path, section: &str) -> Result<Config, ConfigError> {
    let path = folder.join("hearthd.yaml");
    fs::write(&path, example(section)).unwrap();
    crate::config::load(&path)
}

const GOOD: &str = "  address: \"[2001:db8:b::1]:7874\"
  name: hac.example.net
  ca: ca.pem
  certificate: ha1.pem
  key: ha1.key
  replicas: [{address: \"[2001:db8:b::2]:7874\"}]
";

#[test]
fn hacs_on_other_machines_are_watched() {
    let folder = files();
    let config = load(folder.path(), GOOD).unwrap();
    let watched: Vec<_> = config.sa_directory.sources.iter().map(ToString::to_string).collect();
    assert_eq!(watched, ["[2001:db8:b::1]:7874", "[2001:db8:b::2]:7874"]);
    // One on this machine beside one on another.
    let mixed = GOOD.replace("{address: \"[2001:db8:b::2]:7874\"}", "{socket: /run/hac2.sock}");
    let mixed = format!("{mixed}  uid: 990\n");
    let config = load(folder.path(), &mixed).unwrap();
    assert_eq!(config.sa_directory.sources[1].to_string(), "/run/hac2.sock");
}

/// What is replaced by what, the text of the line, the key, and words of the remedy.
type Mistake<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn all_are_named(mistakes: &[Mistake<'_>]) {
    let folder = files();
    for (from, to, line, key, remedy) in mistakes {
        assert!(GOOD.contains(from), "the section lacks {from:?}");
        let section = GOOD.replacen(from, to, 1);
        let number = example(&section).lines().position(|text| text.contains(line)).unwrap() + 1;
        let complaint = load(folder.path(), &section).map(drop).unwrap_err().to_string();
        let place = format!("hearthd.yaml:{number}: {key}: ");
        assert!(complaint.contains(&place), "{to}: {complaint}, not at {place}");
        assert!(complaint.contains(remedy), "{to}: {complaint} lacks {remedy:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let ca = "  ca: ca.pem\n";
    let all = "  ca: ca.pem\n  certificate: ha1.pem\n  key: ha1.key\n";
    let replica = "{address: \"[2001:db8:b::2]:7874\"}";
    let both = "{socket: /run/a, address: \"[2001:db8:b::2]:7874\"}";
    all_are_named(&[
        ("  name: hac.example.net\n", "", "  address:", "sa_directory.name", "name in the HAC's"),
        (ca, "", "ha1.pem", "sa_directory", "give all three"),
        ("  certificate: ha1.pem\n", "", "ca.pem", "sa_directory", "give all three"),
        ("  key: ha1.key\n", "", "ca.pem", "sa_directory", "give all three"),
        (all, "", "  address:", "sa_directory.address", "mutual TLS alone"),
        (replica, "{name: x}", "{name: x}", "sa_directory.replicas[0]", "exactly one"),
        (replica, both, both, "sa_directory.replicas[0]", "exactly one"),
    ]);
}

#[test]
fn what_is_wrong_is_named() {
    let (name, replica) = ("hac.example.net", "{address: \"[2001:db8:b::2]:7874\"}");
    let same = "{address: \"[2001:db8:b::1]:7874\"}";
    let long = format!("{{socket: /run/{}}}", "x".repeat(110));
    all_are_named(&[
        ("[2001:db8:b::1]:7874", "2001:db8:b::1", "  address:", "sa_directory.address", "port"),
        (name, "hac..example", "hac..example", "sa_directory.name", "neither a DNS name"),
        ("ca.pem", "none.pem", "none.pem", "sa_directory.ca", "no PEM certificate"),
        ("ha1.pem", "ha1.key", "certificate: ha1.key", "sa_directory.certificate", "no PEM cert"),
        ("ha1.key", "ha1.pem", "key: ha1.pem", "sa_directory.key", "no PEM private key"),
        ("ha1.key", "other.key", "ha1.pem", "sa_directory.certificate", "does not fit"),
        (replica, same, same, "sa_directory.replicas[0]", "name each HAC once"),
        (replica, &long, &long, "sa_directory.replicas[0].socket", "107 at most"),
    ]);
}

#[test]
fn what_would_have_no_effect_is_named() {
    let address = "  address: \"[2001:db8:b::1]:7874\"\n";
    let socket = format!("  socket: /run/hearth/directory.sock\n{address}");
    let uid = format!("  uid: 990\n{address}");
    let replicas = "  replicas: [{address: \"[2001:db8:b::2]:7874\"}]\n";
    all_are_named(&[
        (address, &socket, "  socket: /run/hearth/dir", "sa_directory.socket", "replicas"),
        (address, &uid, "  uid: 990", "sa_directory.uid", "leave it out"),
    ]);
    let folder = files();
    let local = GOOD.replace(address, "").replace(replicas, "");
    let complaint = load(folder.path(), &local).map(drop).unwrap_err().to_string();
    assert!(complaint.contains("sa_directory.ca: is for a HAC on another machine"), "{complaint}");
}
