//! What others do to the host's devices, and that the host is as it was before in the end.

use std::process::{Command, Output};

use super::{Bench, ELSEWHERE, echoes, ip, wait_for};

impl Bench {
    /// All that a node may change: rules and routes of both families, links, and who resolves names.
    fn host(&self) -> [String; 6] {
        let shown = ["-4 rule", "-6 rule", "-4 route show table all", "-6 route show table all"];
        let [rules4, rules6, routes4, routes6] =
            shown.map(|what| ip(&format!("-n {} {what}", self.mn)));
        let links = ip(&format!("-n {} -br link", self.mn));
        let cat = ["netns", "exec", &self.mn, "cat", "/etc/resolv.conf"];
        let Output { stdout, .. } = Command::new("ip").args(cat).output().unwrap();
        [rules4, rules6, routes4, routes6, links, String::from_utf8(stdout).unwrap()]
    }

    /// Waits until the host is as it was: the kernel takes a device away some moments after its process.
    fn wait_as_before(&self, before: &[String; 6]) {
        let until = super::super::home::patience();
        while self.host() != *before && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(self.host(), *before);
    }
}

/// The device's index is what counts: under another name it carries on, and goes with the node.
#[test]
fn a_tunnel_that_was_renamed_carries_on_and_leaves_no_trace() {
    let mut bench = Bench::new("name");
    bench.attach6();
    let before = bench.host();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let application = bench.application(ELSEWHERE.parse().unwrap());
    echoes(&application, b"by its first name");
    ip(&format!("-n {} link set dev hearth0 name elsewhat", bench.mn));
    echoes(&application, b"by another name");
    assert!(bench.way_to(ELSEWHERE).contains("dev elsewhat"));
    // Rules and routes that go are put back on it all the same.
    ip(&format!("-n {} -6 route flush table 6618", bench.mn));
    wait_for("the routes", || bench.way_to(ELSEWHERE).contains("dev elsewhat"));
    echoes(&application, b"with its routes again");
    bench.stop();
    bench.wait_as_before(&before);
}

/// A SIGKILL leaves rules; `down` puts all back, and so does the next node when it ends.
#[test]
fn after_a_sigkill_the_host_becomes_as_it_was() {
    let mut bench = Bench::new("killed");
    bench.attach6();
    bench.attach4();
    bench.home.script.lock().unwrap().dns = vec!["2001:db8:d::53".parse().unwrap()];
    let before = bench.host();
    let killed = |bench: &mut Bench, more: &str| {
        bench.start(more);
        bench.wait_registered_at("2001:db8:6::100");
        bench.kill();
        assert_ne!(bench.host()[..2], before[..2], "nothing was left that could be put back");
        std::fs::remove_file(bench.status_file()).unwrap();
    };
    for more in ["", "fail_closed: true\n"] {
        killed(&mut bench, more);
        let down = bench.ask(&["down"]);
        assert!(down.status.success(), "{down:?}");
        bench.wait_as_before(&before);
    }
    // The next node needs no `down` before, though its table is another.
    killed(&mut bench, "table: 7000\nfail_closed: true\n");
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    bench.stop();
    bench.wait_as_before(&before);
}

/// As in a container that was not given the device, and may not make it: a line with the remedy, and
/// nothing touched.
#[test]
fn a_machine_without_tun_is_told_what_is_missing() {
    let bench = Bench::new("notun");
    let before = bench.host();
    bench.write_yaml("mn.yaml", "");
    let hide = "mount -t tmpfs -o ro none /dev/net && exec \"$0\" up mn.yaml --log error";
    let output = Command::new("ip")
        .args(["netns", "exec", &bench.mn, "unshare", "--mount", "sh", "-c", hide])
        .arg(super::super::program())
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the TUN device hearth0 can't be made: "), "{said}");
    assert!(said.contains("; there is no /dev/net/tun: modprobe tun"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(bench.host(), before);
}
