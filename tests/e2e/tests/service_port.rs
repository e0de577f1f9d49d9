//! The home agent's port is what the HAC says (`mip6-port`, RFC 6618 s.5.7.2), not 7872 by nature.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha (UDP 17872) --[home]-- hearth-cn
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use hearth_e2e::{
    TestLab, directory,
    packet::{self, Sealer},
    payload,
};
use hearth_lab::{
    capture::Capture,
    plan::{HA_PORT, HA6, Subscriber, Visited},
};
use hearth_wire::{
    exthdr,
    mh::{self, BindingUpdate, BuFlags, BuOptions, Ipv4HomeAddress, Message},
    suite::Suite,
};
use rustix::process::Signal;

/// The provisioned port.
const PORT: u16 = 17_872;

/// The next Binding Update of a mobile node, as it would send it itself.
fn binding_update(who: &Subscriber, care_of: Ipv6Addr, seq: u16) -> Vec<u8> {
    let ipv4_hoa = Ipv4HomeAddress { prefix_len: 32, prefix_request: false, address: who.home4 };
    let update = Message::BindingUpdate(BindingUpdate {
        seq,
        flags: BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() },
        lifetime: 100,
        options: BuOptions {
            alternate_coa: Some(care_of),
            ipv4_hoa: Some(ipv4_hoa),
            ..BuOptions::default()
        },
    });
    let mut buffer = [0; 256];
    let len = mh::emit(&update, who.home6, HA6, &mut buffer).unwrap();
    [&exthdr::home_address_header(mh::PROTO, who.home6)[..], &buffer[..len]].concat()
}

/// A socket to a port of the home agent.
fn socket(lab: &TestLab, port: u16) -> UdpSocket {
    let socket = packet::socket(&lab.network.mobile_nodes[0], SocketAddr::from((HA6, port)));
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    socket
}

/// ENC-02.
#[test]
fn the_provisioned_port_serves_and_the_registered_one_does_not() {
    let lab = TestLab::up_with("service-port", |options| options.tuning.port = PORT);
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let path = lab.options.files.dir.join("access.pcapng");
    let capture = Capture::start(&lab.network.net6, "access", &path).unwrap();
    let mut node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    let packets = payload::of_port(&capture.finish().unwrap(), PORT);
    for (to_home_agent, ptype) in [(true, 8), (false, 8), (true, 1), (false, 1)] {
        let seen = packets.iter().any(|p| (p.to_home_agent, p.ptype()) == (to_home_agent, ptype));
        assert!(seen, "no packet of type {ptype} on port {PORT}, to it: {to_home_agent}");
    }
    assert!(payload::of(&path).is_empty(), "somebody uses port {HA_PORT}");

    // In the place of the stopped node: one more Binding Update, with its keys.
    node.program.signal(Signal::STOP);
    let spi = node.status().unwrap().spi.unwrap();
    let record = directory::record(&lab.options.files.directory_socket(), spi);
    let before = lab.bindings().unwrap().remove(0);
    let seq = before.sequence.wrapping_add(1);
    let care_of = before.care_of_address.to_string().parse().unwrap();
    let update = binding_update(&who, care_of, seq);
    let frame =
        Sealer::new(spi, &record.mn_to_ha).seal(8, 500, &update, exthdr::DESTINATION_OPTIONS);

    let wrong = socket(&lab, HA_PORT);
    wrong.send(&frame).unwrap();
    // The home agent's kernel answers for what is not the service's: by then the packet is gone.
    let refused = wrong.recv(&mut [0; 256]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    assert_eq!(lab.bindings().unwrap()[0].sequence, before.sequence);

    // The very same octets where they belong.
    let right = socket(&lab, PORT);
    right.send(&frame).unwrap();
    let mut answer = [0; 256];
    let len = right.recv(&mut answer).unwrap();
    let text = Sealer::new(spi, &record.ha_to_mn).open(&answer[..len]);
    assert!(answer[0] >> 4 == 8 && text.is_some(), "no answer under the SA");
    assert_eq!(lab.bindings().unwrap()[0].sequence, seq);
    assert_eq!(lab.bindings().unwrap()[0].lifetime, 400);
    node.program.crash().unwrap();
}
