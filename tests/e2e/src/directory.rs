//! The SA directory as a home agent sees it: where a test finds the keys of an SA.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use hearth_wire::directory::{Request, SaRecord, Update, decode_update, deframe, encode_request};

/// Every live record of the lab's home agent.
#[must_use]
pub fn records(socket: &Path) -> Vec<SaRecord> {
    let mut stream = UnixStream::connect(socket).expect("the SA directory");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    let watch = encode_request(&Request::Watch { home_agent: "lab".into() }).expect("short name");
    stream.write_all(&watch).expect("request");
    let (mut buffer, mut records) = (Vec::new(), Vec::new());
    loop {
        while let Some((body, taken)) = deframe(&buffer).expect("frame") {
            match decode_update(body).expect("update") {
                Update::Issued(record) => records.push(*record),
                Update::Synced(_) => return records,
                Update::Revoked(_) | Update::Unknown(_) | Update::UsageWanted(_) => {}
            }
            buffer.drain(..taken);
        }
        let mut chunk = [0; 4096];
        let len = stream.read(&mut chunk).expect("the rest of the records");
        assert!(len > 0, "the directory closed before it had sent everything");
        buffer.extend(&chunk[..len]);
    }
}

/// The record of an SPI.
#[must_use]
pub fn record(socket: &Path, spi: u32) -> SaRecord {
    let found = records(socket).into_iter().find(|record| record.spi.get() == spi);
    found.expect("a record of this SPI")
}
