//! A crypto device named in YAML takes the packets of the suites that it offers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};

use hearth_api::{SaRow, WorkerRow};
use hearth_e2e::{TestLab, options};
use hearth_lab::{
    config::{Tuning, hearthd},
    netns::output,
    plan::{CN6, Visited},
    program::Programs,
    traffic::{Direction, Transfer, TransferPlan},
};
use hearth_wire::suite::Suite;

const OCTETS: u64 = 2_000_000;

/// crypto_openssl knows no AES-XCBC-MAC: that mobile node goes by the CPU.
#[test]
fn mobile_nodes_go_by_the_device_or_by_the_cpu() {
    let lab = TestLab::up_with("crypto", |options| {
        options.mobile_nodes = 2;
        options.tuning.crypto = Some("crypto_openssl0".into());
    });
    let suites = [Suite::Aes128CbcSha, Suite::Aes128CbcSha256];
    let who = suites.map(|suite| lab.subscriber(suite, 1));
    let mut nodes =
        [0_u8, 1].map(|index| lab.register_node(index, &who[usize::from(index)], Visited::Net6));
    for ((who, node), direction) in
        who.iter().zip(&nodes).zip([Direction::Upload, Direction::Download])
    {
        let home = IpAddr::from(who.home6);
        assert_eq!(lab.ping(&node.namespace, home, CN6.into(), 3).unwrap(), 3);
        let transfer = Transfer::start(&TransferPlan {
            client: &node.namespace,
            from: SocketAddr::new(home, 0),
            server: &lab.network.cn,
            to: SocketAddr::new(CN6.into(), 0),
            direction,
            octets: OCTETS,
            rate: 0,
        })
        .unwrap();
        let outcome = transfer.finish().unwrap();
        assert!(outcome.intact() && outcome.received.octets == OCTETS, "{outcome:?}");
    }
    let sas: Vec<SaRow> = lab.show("sas").unwrap();
    for (suite, crypto) in suites.iter().zip(["device", "cpu"]) {
        let sa = sas.iter().find(|sa| sa.suite == suite.to_string()).unwrap();
        assert_eq!(sa.crypto, crypto, "{sa:?}");
    }
    let workers: Vec<WorkerRow> = lab.show("workers").unwrap();
    let device = sas.iter().find(|sa| sa.crypto == "device").unwrap();
    assert_eq!(workers[0].crypto, "crypto_openssl0");
    assert!(device.packets_in > 1000, "{device:?}");
    // What the SA carried has come out of the device, and nothing else.
    let packets = device.packets_in + device.packets_out;
    assert!(workers[0].device_packets >= packets, "{workers:?}, {device:?}");
    assert!(workers[0].device_packets < packets + 100, "{workers:?}, {device:?}");
    for node in &mut nodes {
        node.stop().unwrap();
    }
}

/// A device that can't be opened ends the start, with the place in the file.
#[test]
fn a_device_that_is_not_there_is_refused() {
    let mut files = options("no-device").files;
    files.run = files.dir.join("run");
    files.create().unwrap();
    let tuning = Tuning {
        devices: ["net_null0".into(), "net_null1".into()],
        crypto: Some("crypto_nowhere0".into()),
        ..Tuning::default()
    };
    let (text, path) = (hearthd(&files, &tuning, "no-device"), files.config("hearthd"));
    std::fs::write(&path, &text).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("crypto_nowhere0")).unwrap();
    let programs = Programs::find().unwrap();
    let mut command = programs.command("hearthd").unwrap();
    let output = output(command.arg("--config").arg(&path)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let place = format!("{}:{line}: crypto.device: ", path.display());
    assert!(said.contains(&place), "{said} lacks {place}");
}
