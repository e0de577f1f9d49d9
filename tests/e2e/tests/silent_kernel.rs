//! The kernel keeps silent where DPDK reads.
//!
//! ```text
//!  hearth-net6 [access] ------ [acc0] hearth-ha [home0] ------ [home] hearth-cn
//!                                no hearthd, no TAPs; their addresses on lo
//! ```
//!
//! Linux answers for an address of any interface on any other, so the addresses on lo stand for
//! those that a living hearthd puts on its TAPs.
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
    for address in [HA6.into(), HA_HOME6.into(), IpAddr::from(HA4), HA_HOME4.into()] {
        lab.network.ha.ip(&format!("address add {address} dev lo")).unwrap();
    }
    std::thread::scope(|scope| {
        for (from, link, address) in questions(&lab) {
            let ha = &lab.network.ha;
            scope.spawn(move || ask(&from, link, address, ha));
        }
    });
    for (group, counter) in [("Udp", "NoPorts"), ("Tcp", "OutRsts"), ("Icmp", "OutMsgs")] {
        assert_eq!(lab.network.ha.snmp(group, counter).unwrap(), 0, "{group} {counter}");
    }
    for link in DPDK_LINKS {
        let sent = link_counter(&lab.network.ha, link, "tx_packets");
        assert_eq!(sent, 0, "the kernel sent {sent} packets on {link}, ARP replies among them?");
        assert!(link_counter(&lab.network.ha, link, "rx_packets") > 0, "{link} heard no question");
    }
}

/// Asks by ARP or ND, then, as if that had been answered, by ping, UDP and TCP.
fn ask(from: &Netns, link: &str, address: IpAddr, ha: &Netns) {
    let text = address.to_string();
    let ping = || output(from.command("ping").args(["-c1", "-w1", &text])).unwrap().status;
    assert!(!ping().success(), "{address} answered ARP or ND, and ping");
    let mac = mac(ha, if link == "access" { "acc0" } else { "home0" });
    from.ip(&format!("neigh replace {address} lladdr {mac} dev {link} nud permanent")).unwrap();
    assert!(!ping().success(), "{address} answered ping");
    assert!(!udp_is_refused(from, (address, HA_PORT).into()), "{address}: port unreachable");
    let error = connect(from, (address, HAC_PORT).into()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{address}: {error}");
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
