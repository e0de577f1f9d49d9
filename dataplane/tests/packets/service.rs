//! The service address and port: which there are, and where answers go (ENC-01 to ENC-03, ENC-40,
//!

use std::net::{IpAddr, SocketAddr};

use hearth_dataplane::Service;
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Datagram};
use crate::rig::{ACCESS, CN6, Event, HA4, HA6, HOME, MobileNode, Rig, SERVICE_PORT};

const UPDATE: [u8; 24] = [59; 24];

/// ENC-02: the provisioned port, and no other.
#[test]
fn the_provisioned_port_and_no_other() {
    const PORT: u16 = 4500;
    let mut rig = Rig::with(|config| config.service.port = PORT);
    for (n, outer6) in [(1, true), (2, false)] {
        let mut mn = MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, outer6);
        mn.local.set_port(PORT);
        let mn = rig.attach(mn);
        let update = mn.plain(8, 0, 135, &UPDATE).seal(mn.suite, &mn.up);
        rig.send(ACCESS, &mn.packet(&update));
        match &rig.events()[..] {
            [Event::Signalling { local, remote, .. }] => {
                assert_eq!((*local, *remote), (mn.local, mn.remote));
            }
            _ => panic!("a Binding Update; {:?}", rig.drops()),
        }
        rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[1; 24]).unwrap();
        rig.turns();
        assert_eq!(mn.open(&rig.received_one(ACCESS)).ptype, 8);
        // Port 7872 is the kernel's like any other.
        let mut elsewhere = mn.clone();
        elsewhere.local.set_port(SERVICE_PORT);
        for frame in [update, [&[0; 8], &mn.inner6()[..]].concat()] {
            rig.send(ACCESS, &elsewhere.packet(&frame));
            assert!(matches!(rig.events()[..], [Event::Host { .. }]));
        }
    }
    assert_eq!(rig.counters().signalling_in, 2);
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// ENC-01, ENC-03: signalling tells where it came from; data goes where the last accepted Binding
/// Update came from, whatever comes after it.
#[test]
fn a_rebinding_nat_is_followed_by_binding_updates_alone() {
    let mut rig = Rig::new();
    let mut mn =
        rig.attach(MobileNode::new(1, Suite::Aes128CbcSha, Scope::SignallingAndData, false));
    let down = codec::ip(CN6.into(), mn.home6.into(), 17, b"down");
    for port in [1, 1024, 7872, 65_535] {
        let registered = mn.remote;
        let observed = SocketAddr::new(mn.remote.ip(), port);
        mn.remote = observed;
        let update = mn.sealed(&mn.plain(8, mn.seq, 60, &UPDATE));
        mn.seq += 1;
        let data = mn.data(&mn.inner6());
        rig.send(ACCESS, &update);
        assert!(
            matches!(rig.events()[..], [Event::Signalling { remote, .. }] if remote == observed)
        );
        rig.send(ACCESS, &data);
        rig.received_one(HOME);
        // Not accepted yet.
        rig.send(HOME, &down);
        let sent = Datagram::read(rig.received_one(ACCESS).packet());
        assert_eq!(sent.to, registered);
        rig.bind(&mn);
        rig.send(HOME, &down);
        mn.open(&rig.received_one(ACCESS));
    }
    rig.finish();
}

/// A home agent of one family: at the other's address is nobody.
#[test]
fn a_home_agent_of_one_family() {
    for (ip6, ip4, outer6) in [(Some(HA6), None, false), (None, Some(HA4), true)] {
        let mut rig = Rig::with(|config| {
            config.service = Service { ip6, ip4, port: SERVICE_PORT };
        });
        let mn = MobileNode::new(1, Suite::Aes128CbcSha, Scope::SignallingAndData, !outer6);
        let mut mn = rig.attach(mn);
        let packet = mn.data(&mn.inner6());
        rig.send(ACCESS, &packet);
        rig.received_one(HOME);
        let mut other = MobileNode { remote: mn.remote, ..mn.clone() };
        let addresses: (IpAddr, IpAddr) = match outer6 {
            true => (HA6.into(), "2001:db8:100::1".parse().unwrap()),
            false => (HA4.into(), "192.0.2.1".parse().unwrap()),
        };
        other.local.set_ip(addresses.0);
        other.remote.set_ip(addresses.1);
        let packet = other.data(&other.inner6());
        rig.send(ACCESS, &packet);
        assert!(matches!(rig.events()[..], [Event::Host { .. }]), "{:?}", rig.drops());
        rig.finish();
    }
}

/// ENC-40, R-32: a mobile node may use another address of the home agent, of either family, than
/// it registered at; what goes to it comes from where it registered.
#[test]
fn the_other_address_of_the_home_agent() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let registered = mn.clone();
    mn.local.set_ip(HA4.into());
    mn.remote = "192.0.2.77:5000".parse().unwrap();
    let packet = mn.data(&mn.inner4());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    let update = mn.sealed(&mn.plain(8, mn.seq, 135, &UPDATE));
    rig.send(ACCESS, &update);
    assert!(matches!(
        rig.events()[..],
        [Event::Signalling { local, remote, .. }] if (local, remote) == (mn.local, mn.remote)
    ));
    rig.still_bound(&registered);
    rig.finish();
}
