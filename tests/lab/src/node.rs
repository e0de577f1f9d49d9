//! A running `hearth-mn`, seen through its status file.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;

use crate::{error::Result, netns::Netns, plan::Visited, program::Program};

/// What the mobile node says about itself; the fields are explained in `configs/mn.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)] // one documentation of these names is enough
pub struct Status {
    pub state: String,
    pub home_address_ip6: Option<Ipv6Addr>,
    pub home_address_ip4: Option<Ipv4Addr>,
    pub care_of_address: Option<IpAddr>,
    pub nat: Option<bool>,
    pub nat_keepalive_s: Option<f64>,
    pub nat_keepalive_why: Option<String>,
    pub spi: Option<u32>,
    pub suite: Option<String>,
    pub scope: Option<u8>,
    pub bootstraps: Vec<Bootstrap>,
    pub registrations: Vec<Registration>,
    pub handovers: Vec<Handover>,
    pub last_error: Option<LastError>,
    pub care_of_addresses: Vec<CareOfAddress>,
}

/// One care-of address of several.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct CareOfAddress {
    pub bid: u16,
    pub interface: String,
}

/// One run of the MN-HAC exchange.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Bootstrap {
    pub duration_ms: f64,
    pub spi: u32,
}

/// One answered Binding Update.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Registration {
    pub kind: String,
    pub care_of_address: Option<IpAddr>,
    pub round_trip_ms: f64,
    pub tries: u32,
    pub status: u8,
}

/// One move, from the change of network to the answer of the home agent.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Handover {
    pub duration_ms: f64,
    pub round_trip_ms: f64,
    pub tries: u32,
}

/// The last thing that went wrong.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct LastError {
    pub text: String,
}

/// A running mobile node.
#[derive(Debug)]
pub struct MobileNode {
    /// The process.
    pub program: Program,
    /// Where it runs.
    pub namespace: Netns,
    index: u8,
    status: PathBuf,
}

impl MobileNode {
    /// The node of a process that writes `status`, as number `index` of the lab.
    #[must_use]
    pub fn new(program: Program, namespace: Netns, index: u8, status: PathBuf) -> Self {
        Self { program, namespace, index, status }
    }

    /// The file that it writes its status to.
    #[must_use]
    pub fn status_file(&self) -> &std::path::Path {
        &self.status
    }

    /// Its status, once it has written one.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        serde_json::from_slice(&fs::read(&self.status).ok()?).ok()
    }

    /// Waits until its status satisfies `condition`.
    ///
    /// # Errors
    /// A timeout naming `what`, or the node's last words where it ended.
    pub fn until(
        &mut self,
        what: &str,
        within: Duration,
        condition: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let path = self.status.clone();
        self.program.until(what, within, |_| {
            let read = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
            Ok(read.filter(|status| condition(status)))
        })
    }

    /// Waits until it is registered with its care-of address in a visited network.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn registered_at(&mut self, visited: Visited, within: Duration) -> Result<Status> {
        // Behind the translator the node knows its inside address alone.
        let (inside, _) = visited.attachment(self.index);
        let inside = inside.split_once('/').and_then(|(address, _)| address.parse().ok());
        self.until(&format!("the registration from {}", visited.name()), within, |status| {
            status.state == "registered" && status.care_of_address == inside
        })
    }

    /// Ends it; it de-registers on its way out.
    ///
    /// # Errors
    /// Where it does not end, or not with 0.
    pub fn stop(&mut self) -> Result<()> {
        self.program.stop(Duration::from_secs(10))
    }
}
