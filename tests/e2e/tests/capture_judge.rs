//! The judge of the access link's capture sees what it is there to see.
//!
//! ```text
//!  hearth-mn [visit6] ------ [visit6-0, captured] hearth-net6
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use hearth_e2e::TestLab;
use hearth_lab::{
    capture::{Capture, Findings, judge},
    netns::run,
    plan::{CN4, CN6, HA_PORT, HAC_PORT, Visited},
    traffic::MARKER,
};

/// Captures while `work` sends between mobile node and router.
fn findings(lab: &TestLab, work: impl FnOnce(&TestLab, std::net::IpAddr)) -> Findings {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("link.pcapng");
    let capture = Capture::start(&lab.network.net6, "visit6-0", &path).unwrap();
    let (_, router) = Visited::Net6.attachment(0);
    work(lab, router);
    let who = &lab.subscribers[0];
    let inner = [who.home6.into(), who.home4.into(), CN6.into(), CN4.into()];
    judge(&capture.finish().unwrap(), &inner).unwrap()
}

fn send(lab: &TestLab, to: SocketAddr, payload: &[u8]) {
    let socket = lab.network.mobile_nodes[0].enter(|| UdpSocket::bind("[::]:0")).unwrap().unwrap();
    socket.send_to(payload, to).unwrap();
}

#[test]
fn the_judge_sees_strangers_cleartext_and_what_is_no_tls() {
    let lab = TestLab::prepare("capture-judge");
    lab.network.attach(0, Visited::Net6).unwrap();
    let router = &lab.network.net6;

    let nothing = findings(&lab, |lab, router| {
        let bound = lab.network.net6.enter(|| UdpSocket::bind((router, HA_PORT))).unwrap().unwrap();
        send(lab, (router, HA_PORT).into(), &[0x80; 60]);
        assert_eq!(bound.recv(&mut [0; 64]).unwrap(), 60);
    });
    assert!(nothing.clean(), "{nothing:?}");
    assert_eq!((nothing.signalling, nothing.tls_handshakes), (1, 0));

    let marker = findings(&lab, |lab, router| {
        send(lab, (router, HA_PORT).into(), &[&[0x10; 24], &MARKER[..]].concat());
    });
    assert!(!marker.cleartext.is_empty(), "{marker:?}");
    // The router's kernel says that nobody listens, and quotes the marker and the port.
    assert!(marker.strangers.iter().any(|row| row.contains("Unreachable")), "{marker:?}");

    let address = findings(&lab, |lab, router| {
        send(lab, (router, HA_PORT).into(), &[&[0; 8], &CN6.octets()[..], &[0; 8]].concat());
        send(lab, (router, 9).into(), b"discard");
    });
    assert!(!address.cleartext.is_empty(), "{address:?}");
    assert!(address.strangers.iter().any(|row| row.contains("Len=7")), "{address:?}");

    let plain = findings(&lab, |lab, to| {
        let listener = router.enter(|| TcpListener::bind((to, HAC_PORT))).unwrap().unwrap();
        let node = &lab.network.mobile_nodes[0];
        let mut stream = node.enter(|| TcpStream::connect((to, HAC_PORT))).unwrap().unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert!(std::io::Read::read(&mut peer, &mut [0; 64]).unwrap() > 0);
    });
    assert!(!plain.not_tls.is_empty(), "{plain:?}");
}

/// openssl speaks TLS on the HAC's port, in several segments; the judge has nothing against it.
#[test]
fn the_judge_accepts_tls() {
    let lab = TestLab::prepare("capture-judge-tls");
    lab.network.attach(0, Visited::Net6).unwrap();
    let (_, address) = Visited::Net6.attachment(0);
    let files = &lab.options.files;
    let port = HAC_PORT.to_string();
    let mut server = lab.network.net6.command("openssl");
    server.args(["s_server", "-quiet", "-accept", &port, "-naccept", "1", "-cert"]);
    let mut server = server.arg(files.certificate()).arg("-key").arg(files.key()).spawn().unwrap();
    lab.hac_listening(&lab.network.net6).unwrap();
    let tls = findings(&lab, |lab, _| {
        let mut client = lab.network.mobile_nodes[0].command("openssl");
        client.args(["s_client", "-brief", "-verify_return_error", "-CAfile"]).arg(files.ca());
        run(client.arg("-connect").arg(format!("[{address}]:{port}"))).unwrap();
    });
    server.wait().unwrap();
    assert!(tls.clean(), "{tls:?}");
    assert_eq!(tls.tls_handshakes, 1);
}
