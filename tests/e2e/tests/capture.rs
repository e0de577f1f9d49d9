//! `hearth capture` writes what goes through the home agent, and in the clear only where asked.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearthd, asked by `hearth capture` --[home]-- CN
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use hearth_e2e::TestLab;
use hearth_lab::{
    netns::run,
    plan::{CN4, CN6, Subscriber, Visited},
    wait,
};
use hearth_wire::suite::Suite;
use rustix::process::{Pid, Signal, kill_process};

/// A running `hearth capture`.
struct Capture {
    child: Child,
    path: PathBuf,
}

impl Capture {
    /// Packets are copied when this returns.
    fn start(lab: &TestLab, name: &str, arguments: &[&str]) -> Self {
        let path = lab.options.files.dir.join(name);
        let mut hearth = lab.options.programs.command("hearth").unwrap();
        hearth.arg("--socket").arg(lab.options.files.api_socket()).arg("capture");
        hearth.arg("--file").arg(&path).args(arguments);
        hearth.stdin(Stdio::null()).stderr(Stdio::piped());
        let child = hearth.spawn().unwrap();
        wait::until("the file's header", Duration::from_secs(5), || {
            Ok(fs::metadata(&path).is_ok_and(|meta| meta.len() > 0).then_some(()))
        })
        .unwrap();
        Self { child, path }
    }

    /// Ctrl-C once `enough` packets are in the file; gives the last words.
    fn interrupt(self, enough: usize) -> (PathBuf, String) {
        wait::until("packets in the file", Duration::from_secs(5), || {
            let lines = fields(&self.path, "frame", &["frame.number"]);
            Ok((lines.len() >= enough).then_some(()))
        })
        .unwrap();
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        self.finish()
    }

    fn finish(self) -> (PathBuf, String) {
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success());
        (self.path, String::from_utf8(output.stderr).unwrap())
    }
}

/// One line per frame that tshark shows for a filter. A file that is being written may end in the
/// middle of a packet, which is no matter here.
fn fields(path: &Path, filter: &str, names: &[&str]) -> Vec<String> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-r"]).arg(path).args(["-Y", filter, "-T", "fields"]);
    tshark.args(["-E", "separator= "]);
    for name in names {
        tshark.args(["-e", name]);
    }
    let output = tshark.output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Frames with the mobile node's or the correspondent's address anywhere in them.
fn in_the_clear(path: &Path, who: &Subscriber) -> Vec<String> {
    let hex = |octets: &[u8]| {
        octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
    };
    let both = [who.home4.octets(), CN4.octets()].concat();
    let back = [CN4.octets(), who.home4.octets()].concat();
    let filter = [&who.home6.octets()[..], &CN6.octets(), &both, &back]
        .map(|octets| format!("frame contains {}", hex(octets)))
        .join(" or ");
    fields(path, &filter, &["frame.number", "frame.interface_id", "frame.comment"])
}

#[test]
fn tshark_reads_what_was_asked_for_and_nothing_more() {
    let lab = TestLab::up("capture");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    let log = || lab.hearthd.as_ref().unwrap().log();

    // Inside, by name.
    let capture =
        Capture::start(&lab, "inside.pcapng", &["--stage", "decrypted", "--mn-id", &who.mn_id]);
    let told = |log: &str| log.contains("decrypted traffic is captured") && log.contains("uid=0 ");
    lab.hearthd_log("word of the capture and who asked for it", told);
    lab.ping_both(&who);
    let (path, words) = capture.interrupt(12);
    println!("{words}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let up = format!("icmpv6.type == 128 and ipv6.src == {} and ipv6.dst == {CN6}", who.home6);
    let down = format!("icmp.type == 0 and ip.src == {CN4} and ip.dst == {}", who.home4);
    for (filter, way) in [(up, "0x00000001"), (down, "0x00000002")] {
        let shown = fields(&path, &filter, &["frame.packet_flags_direction", "frame.comment"]);
        assert_eq!(shown, vec![format!("{way} decrypted"); 3], "{filter}");
    }
    // Checksums and lengths are right, so nothing was cut off or shifted.
    assert_eq!(
        fields(&path, "_ws.malformed or icmpv6.checksum.status == 0", &["frame.number"]).len(),
        0
    );

    // Outside: the home link is in the clear by nature, the access link must not be.
    let capture = Capture::start(&lab, "outside.pcapng", &["--stage", "all"]);
    lab.ping_both(&who);
    let (path, _) = capture.interrupt(36);
    let envelopes = "udp.port == 7872 and frame.comment == \"protected\"";
    assert!(fields(&path, envelopes, &["frame.number"]).len() >= 12);
    let clear = in_the_clear(&path, &who);
    assert!(clear.iter().all(|line| line.ends_with(" 1 wire")), "{clear:?}");
    assert_eq!(clear.len(), 12, "{clear:?}");
    assert!(!log().contains("[\"wire\", \"protected\", \"decrypted\"]"));
    let warned = |line: &&str| line.contains("WARN") && line.contains("the contents of tunnels");
    assert_eq!(log().lines().filter(warned).count(), 1, "{}", log());

    // It ends by itself after as many as were asked for.
    let capture = Capture::start(&lab, "two.pcapng", &["--stage", "protected", "--count", "2"]);
    lab.ping_both(&who);
    let (path, words) = capture.finish();
    assert_eq!(words, "2 packets captured\n");
    assert_eq!(fields(&path, "frame", &["frame.number"]).len(), 2);
    assert!(run(Command::new("capinfos").arg(&path)).unwrap().contains("Number of packets"));
    node.stop().unwrap();
}
