//! The example for systemd-networkd: what it says on the home link is what mobile nodes' home
//! agents are to say there. A veth stands for the TAP of the home port.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path, process::Command};

use hearth_e2e::{PATIENCE, target};
use hearth_lab::{
    capture::Capture,
    netns::{Netns, output, run},
    program::Program,
};

/// Its own /run/systemd, and no udev that it would wait for, as in a container.
const START: &str = "mount -t tmpfs tmpfs /run/systemd && \
     mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases \
     /run/systemd/netif/lldp && cp \"$1\" /run/systemd/network/ && mount -o remount,ro /sys && \
     exec env SYSTEMD_LOG_TARGET=console /lib/systemd/systemd-networkd";

struct Link([Netns; 2]);

impl Link {
    fn up() -> Self {
        let link = Self(["hearth-networkd", "hearth-networkd-host"].map(Netns::named));
        for namespace in &link.0 {
            namespace.delete().unwrap();
            namespace.create().unwrap();
        }
        let [router, host] = &link.0;
        router
            .ip(&format!("link add home type veth peer name host netns {}", host.name()))
            .unwrap();
        router.ip("address add 2001:db8:b:1::1/64 dev home nodad").unwrap();
        router.ip("link set home up").unwrap();
        host.ip("link set host up").unwrap();
        link
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for namespace in &self.0 {
            let _ = namespace.delete();
        }
    }
}

fn fields(capture: &Path, names: &[&str]) -> Vec<Vec<String>> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(capture).args(["-Y", "icmpv6.type == 134", "-T", "fields"]);
    tshark.args(names.iter().flat_map(|name| ["-e", name]));
    let text = String::from_utf8(output(&mut tshark).unwrap().stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(Into::into).collect()).collect()
}

/// MPD-04, DHD-03: lifetimes of the prefix, and from the version on that knows it H with the Home
/// Agent Information option.
#[test]
fn the_example_for_networkd_advertises_the_home_link() {
    let link = Link::up();
    let [router, host] = &link.0;
    let folder = target().join("e2e/networkd");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("host.pcapng");
    let capture = Capture::start(host, "host", &path).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/networkd/home.network");
    let example = example.canonicalize().unwrap();
    let arguments =
        ["-m", "--propagation", "private", "sh", "-c", START, "sh", example.to_str().unwrap()];
    let log = folder.join("networkd.log");
    let mut networkd =
        Program::start(router, Path::new("/usr/bin/unshare"), &arguments, &log).unwrap();
    networkd
        .until("a Router Advertisement", PATIENCE, |_| {
            Ok((!fields(&path, &["frame.number"]).is_empty()).then_some(()))
        })
        .unwrap();
    // What hearthd has set stays.
    let addresses =
        run(router.command("ip").args(["-6", "address", "show", "dev", "home"])).unwrap();
    assert!(addresses.contains("2001:db8:b:1::1/64"), "{addresses}");
    let said = networkd.log();
    networkd.stop(PATIENCE).unwrap();
    let capture = capture.finish().unwrap();

    let prefix = fields(
        &capture,
        &[
            "icmpv6.nd.ra.router_lifetime",
            "icmpv6.opt.prefix",
            "icmpv6.opt.prefix.length",
            "icmpv6.opt.prefix.valid_lifetime",
            "icmpv6.opt.prefix.preferred_lifetime",
        ],
    );
    assert_eq!(prefix[0], ["1800", "2001:db8:b:1::", "64", "86400", "14400"]);
    let flags = fields(&capture, &["icmpv6.opt.prefix.flag.l", "icmpv6.opt.prefix.flag.a"]);
    let flags: Vec<bool> = flags[0].iter().map(|flag| flag == "1" || flag == "True").collect();
    assert_eq!(flags, [true, false]);
    let agent = fields(
        &capture,
        &[
            "icmpv6.nd.ra.flag.h",
            "icmpv6.opt.home_agent_preference",
            "icmpv6.opt.home_agent_lifetime",
        ],
    );
    let is_home_agent = ["1", "True"].contains(&agent[0][0].as_str());
    // One that is too old says so, and is not believed to be a home agent.
    assert_eq!(is_home_agent, !said.contains("'HomeAgent'"), "{said}");
    let rest: &[&str] = if is_home_agent { &["5", "1800"] } else { &["", ""] };
    assert_eq!(agent[0][1..], *rest);
    // Whatever it complains of, it is a key of a newer version.
    let unknown: Vec<_> = said.lines().filter(|line| line.contains("Unknown key")).collect();
    let newer = ["'HomeAgent", "'IPv6Forwarding'"];
    assert!(unknown.iter().all(|line| newer.iter().any(|key| line.contains(key))), "{unknown:?}");
}
