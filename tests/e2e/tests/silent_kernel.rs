//! The kernel keeps silent where DPDK reads.
//!
//! ```text
//!  hearth-net6 [access] ------ [acc0] hearth-ha [home0] ------ [home] hearth-cn
//!                                no hearthd, no TAPs
//! ```
//!
//! With the dataplane dead nobody may answer: else every other test here could pass without it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use hearth_e2e::TestLab;
use hearth_lab::{
    netns::{Netns, output, run},
    network::DPDK_LINKS,
    plan::{HA_HOME4, HA_HOME6, HA_PORT, HA4, HA6, HAC_PORT},
};

/// Addresses that only hearthd should make reachable, by the namespace that asks for them.
fn questions(lab: &TestLab) -> [(Netns, &'static str, IpAddr); 4] {
    let (net6, cn) = (lab.network.net6.clone(), lab.network.cn.clone());
    [
        (net6.clone(), "access", HA6.into()),
        (net6, "access", HA4.into()),
        (cn.clone(), "home", HA_HOME6.into()),
        (cn, "home", HA_HOME4.into()),
    ]
}

#[test]
fn nobody_answers_for_a_dead_dataplane() {
    let lab = TestLab::prepare("silent-kernel");
    // Addresses on the veths' own MACs, so that the questions leave without ARP or ND...
    for (from, link, address) in questions(&lab) {
        let mac = mac(&lab.network.ha, if link == "access" { "acc0" } else { "home0" });
        // ...after one that is asked by them.
        let ping = output(from.command("ping").args(["-c1", "-w1", &address.to_string()])).unwrap();
        assert!(!ping.status.success(), "{address} answered ARP or ND, and ping");
        from.ip(&format!("neigh replace {address} lladdr {mac} dev {link} nud permanent")).unwrap();

        let ping = output(from.command("ping").args(["-c1", "-w1", &address.to_string()])).unwrap();
        assert!(!ping.status.success(), "{address} answered ping");
        assert!(!udp_is_refused(&from, (address, HA_PORT).into()), "{address}: port unreachable");
        let error = connect(&from, (address, HAC_PORT).into()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{address}: {error}");
    }
    for (group, counter) in [("Udp", "NoPorts"), ("Tcp", "OutRsts"), ("Icmp", "OutMsgs")] {
        assert_eq!(lab.network.ha.snmp(group, counter).unwrap(), 0, "{group} {counter}");
    }
    for link in DPDK_LINKS {
        let sent = link_counter(&lab.network.ha, link, "tx_packets");
        assert_eq!(sent, 0, "the kernel sent {sent} packets on {link}, ARP replies among them?");
        assert!(link_counter(&lab.network.ha, link, "rx_packets") > 0, "{link} heard no question");
    }
}

fn udp_is_refused(from: &Netns, to: SocketAddr) -> bool {
    let ask = || {
        let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket.connect(to).unwrap();
        socket.send(&[0; 40]).unwrap();
        // An ICMP port unreachable comes back as ECONNREFUSED.
        let answer = socket.recv(&mut [0; 64]).unwrap_err();
        answer.kind() == std::io::ErrorKind::ConnectionRefused
    };
    from.enter(ask).unwrap()
}

fn connect(from: &Netns, to: SocketAddr) -> std::io::Result<TcpStream> {
    from.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(500))).unwrap()
}

fn mac(namespace: &Netns, link: &str) -> String {
    run(namespace.command("cat").arg(format!("/sys/class/net/{link}/address")))
        .unwrap()
        .trim()
        .to_owned()
}

fn link_counter(namespace: &Netns, link: &str, counter: &str) -> u64 {
    let path = format!("/sys/class/net/{link}/statistics/{counter}");
    run(namespace.command("cat").arg(path)).unwrap().trim().parse().unwrap()
}
