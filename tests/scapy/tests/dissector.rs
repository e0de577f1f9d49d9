//! The dissector in `wireshark/` shows packets that others made as they are, and says of those that
//! are wrong what is wrong.
//!
//! Needs tshark (Debian: tshark).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn tree(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

/// What tshark says of each packet of the capture: these fields, with a comma between them.
fn tshark(capture: &Path, more: &[&str], fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    let script = format!("lua_script:{}", tree("wireshark/hearth.lua").display());
    command.args(["-X", &script, "-T", "fields", "-E", "separator=,", "-r"]).arg(capture);
    command.args(more).args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !complaints.contains("lua"), "{complaints}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn capture(dir: &Path) -> PathBuf {
    let path = dir.join("kinds.pcap");
    let script = tree("tests/scapy/tests/dissector.py");
    hearth_scapy::run(&[script.as_os_str(), path.as_os_str()], b"").unwrap();
    path
}

#[test]
fn every_kind_of_packet_is_shown_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let fields = ["hearth.ptype", "hearth.spi", "hearth.seq", "hearth.next_header"];
    let inside =
        ["ipv6.opt.mipv6.home_address", "mip6.mhtype", "icmpv6.echo.sequence_number", "hearth.icv"];
    let wrong = ["hearth.keepalive", "_ws.expert.message"];
    let rows = tshark(&capture(dir.path()), &[], &[&fields[..], &inside, &wrong].concat());
    let icv = "a0a1a2a3a4a5a6a7a8a9aaab";
    let zero = "SPI and sequence number of unprotected data are zero (RFC 6618 s.6.4)";
    let expected = [
        "0,0x00000000,0,,,,2,,,".to_owned(),
        format!("1,0x01234567,7,41,,,2,{icv},,"),
        "1,0x01234567,8,4,,,,,,".to_owned(),
        format!("8,0x01234567,9,60,2001:db8:1::5,5,,{icv},,"),
        "8,0x01234567,10,60,2001:db8:1::5,5,,,,".to_owned(),
        "8,0x01234567,11,,,,,,,".to_owned(),
        "1,0x01234567,12,,,,,,,".to_owned(),
        ",,,,,,,,1,".to_owned(),
        ",,,,,,,,,Shorter than the header of RFC 6618 s.6.2".to_owned(),
        "5,0x00000001,1,,,,,,,PType that nobody has registered (RFC 6618 s.8.1)".to_owned(),
        format!("0,0x00000001,0,,,,2,,,{zero}"),
    ];
    assert_eq!(rows, expected, "{rows:#?}");
}

#[test]
fn another_port_can_be_named() {
    let dir = tempfile::tempdir().unwrap();
    let capture = capture(dir.path());
    let of_port = |port: &str| {
        let rows = tshark(&capture, &["-o", port, "-Y", "hearth"], &["hearth.seq"]);
        rows.len()
    };
    assert_eq!((of_port("hearth.port:7872"), of_port("hearth.port:7873")), (11, 0));
    assert_eq!(of_port("hearth.port:50000"), 11);
}
