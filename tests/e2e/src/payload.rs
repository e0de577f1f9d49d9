//! What a capture shows of the packets between mobile node and home agent, read by tshark.

use std::{path::Path, process::Command};

use hearth_lab::{netns::run, plan::HA_PORT};

/// One UDP datagram to or from the home agent's port.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// Whether it goes to the home agent.
    pub to_home_agent: bool,
    /// What is behind the UDP header.
    pub payload: Vec<u8>,
}

impl Datagram {
    /// The packet type.
    #[must_use]
    pub fn ptype(&self) -> u8 {
        self.payload.first().map_or(u8::MAX, |octet| octet >> 4)
    }
}

/// All of them on port 7872, in the order of the capture.
#[must_use]
pub fn of(capture: &Path) -> Vec<Datagram> {
    of_port(capture, HA_PORT)
}

/// The same on another port.
#[must_use]
pub fn of_port(capture: &Path, service: u16) -> Vec<Datagram> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(capture).args(["-Y", &format!("udp.port == {service}")]);
    tshark.args(["-T", "fields", "-e", "udp.dstport", "-e", "udp.payload"]);
    let text = run(&mut tshark).expect("tshark");
    let datagram = |row: &str| {
        let (port, hex) = row.split_once('\t')?;
        let octet = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        let payload = (0..hex.len() / 2).map(|i| octet(2 * i)).collect::<Option<_>>()?;
        Some(Datagram { to_home_agent: port == service.to_string(), payload })
    };
    text.lines().filter_map(datagram).collect()
}
