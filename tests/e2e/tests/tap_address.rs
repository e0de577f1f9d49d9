//! A TAP has the MAC address of its device, whoever gives it another one: udev does so where it is later
//! than hearthd.
#![allow(clippy::unwrap_used)]

use hearth_api::PortRow;
use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{netns::run, wait};

#[test]
fn a_tap_gets_the_address_of_its_device_back() {
    let lab = TestLab::up("tap-address");
    let ports: Vec<PortRow> = lab.show("ports").unwrap();
    for PortRow { name, mac, .. } in &ports {
        let shown = || {
            let mut ip = lab.network.ha.command("ip");
            run(ip.args(["-brief", "link", "show", "dev", name])).unwrap()
        };
        assert!(shown().contains(mac), "{} and {mac}", shown());
        let mut ip = lab.network.ha.command("ip");
        run(ip.args(["link", "set", "dev", name, "address", "02:12:34:56:78:9a"])).unwrap();
        wait::until("the address of the device", PATIENCE, || {
            Ok(shown().contains(mac).then_some(()))
        })
        .unwrap();
    }
}
