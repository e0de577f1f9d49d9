//! What a listener to events hears of a mobile node's life, and what hearthd remembers of it.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearthd --[home]-- CN
//!            \-[visit4]-- hearth-nat4 ----/           |
//!                                                 a listener
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use hearth_api::events::{EventRow, MobileNodeRow, What};
use hearth_api::paths;
use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::plan::Visited;
use hearth_wire::suite::Suite;

fn ask(socket: &Path, path: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    BufReader::new(stream)
}

/// The next event that is a binding's.
fn next(listener: &mut impl BufRead) -> EventRow {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(listener.read_line(&mut line).unwrap() > 0, "the stream ended");
        let Some(json) = line.strip_prefix("data: ") else { continue };
        let event: EventRow = serde_json::from_str(json).unwrap();
        if !matches!(event.what, What::SaProvisioned { .. } | What::SaEnded { .. }) {
            return event;
        }
    }
}

#[test]
fn a_listener_sees_a_mobile_node_come_move_and_go() {
    let lab = TestLab::up("events");
    let socket = lab.options.files.api_socket();
    let mut listener = ask(&socket, paths::EVENTS);
    let mut line = String::new();
    while line != ": hearthd\n" {
        line.clear();
        assert!(listener.read_line(&mut line).unwrap() > 0, "no stream");
    }
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    let came = next(&mut listener);
    assert_eq!(came.mn_id.as_deref(), Some(who.mn_id.as_str()));
    let at6 = Visited::Net6.care_of_address(0);
    assert!(
        matches!(came.what, What::Registered { care_of_address, .. } if care_of_address == at6),
        "{came:?}"
    );
    lab.network.detach(0, Visited::Net6).unwrap();
    lab.network.attach(0, Visited::Nat4).unwrap();
    node.registered_at(Visited::Nat4, PATIENCE).unwrap();
    let moved = next(&mut listener);
    let at4 = Visited::Nat4.care_of_address(0);
    let What::HandedOver { old_care_of_address, care_of_address, .. } = moved.what else {
        panic!("{moved:?}")
    };
    assert_eq!((old_care_of_address, care_of_address), (at6, at4));
    node.stop().unwrap();
    let went = next(&mut listener);
    assert_eq!(went.what, What::BindingEnded { why: "deregistered".into() });

    let mut answer = String::new();
    let path = format!("{}/{}", paths::MOBILE_NODES, who.mn_id);
    ask(&socket, &path).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{head}");
    let life: MobileNodeRow = serde_json::from_str(body).unwrap();
    assert_eq!((life.handovers, life.bindings.len(), life.sas.len()), (1, 0, 1));
    let kinds: Vec<_> = life.events.iter().map(|event| event.number).collect();
    assert!(kinds.is_sorted() && kinds.contains(&moved.number), "{life:?}");
    for (name, status) in [("nobody@example.net", " 404 "), ("%00", " 400 ")] {
        let mut answer = String::new();
        let path = format!("{}/{name}", paths::MOBILE_NODES);
        ask(&socket, &path).read_to_string(&mut answer).unwrap();
        assert!(answer.lines().next().unwrap().contains(status), "{name}: {answer}");
    }
}
