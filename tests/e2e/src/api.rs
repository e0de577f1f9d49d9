//! hearthd's API without a process for each question: what has to be seen within milliseconds.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use hearth_api::{SaRow, paths};

/// What hearthd says of its SAs now.
#[must_use]
pub fn sas(socket: &Path) -> Vec<SaRow> {
    let mut stream = UnixStream::connect(socket).expect("hearthd's socket");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    // By HTTP 1.0 the end of the connection is the end of the answer.
    let request = format!("GET {} HTTP/1.0\r\n\r\n", paths::SAS);
    stream.write_all(request.as_bytes()).expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{head}");
    serde_json::from_str(body).expect("rows")
}
