//! The status of a node as others read it: the status file, `hearth-mn status --json` and the
//! events of `hearth-mn monitor --json`. `configs/mn.yaml` explains every field.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path as FilePath;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearth_wire::{MobileNodeId, Scope, Suite};
use serde::Serialize;

use crate::config::CareOf;
use crate::path::Path;
use crate::registration::{Binding, Registered, Why};
use crate::route_optimisation;
use crate::tunnel::{Counters, DropReason};
use hearth_esp::Tally;

/// Entries that each history keeps.
const HISTORY: usize = 64;
/// Part of a new round-trip time in the smoothed one (RFC 6298 s.2).
const RTT_GAIN: f64 = 1.0 / 8.0;

/// What the node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has no SA yet.
    #[default]
    Bootstrapping,
    /// It has an SA and no binding.
    Registering,
    /// The home agent knows its care-of address.
    Registered,
    /// It has a new care-of address that the home agent does not know yet.
    Handover,
    /// It is on its home link and needs no home agent.
    AtHome,
    /// No interface has a way to the home agent.
    NoNetwork,
    /// It takes its binding away.
    Deregistering,
    /// It has ended.
    Stopped,
}

impl State {
    /// Its name in status, events and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bootstrapping => "bootstrapping",
            Self::Registering => "registering",
            Self::Registered => "registered",
            Self::Handover => "handover",
            Self::AtHome => "at_home",
            Self::NoNetwork => "no_network",
            Self::Deregistering => "deregistering",
            Self::Stopped => "stopped",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct Bootstrap {
    at_ms: u64,
    duration_ms: f64,
    spi: u32,
    suite: &'static str,
    scope: u8,
    sa_validity_end: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Registration {
    at_ms: u64,
    kind: &'static str,
    care_of_address: IpAddr,
    family: &'static str,
    round_trip_ms: f64,
    tries: u32,
    status: u8,
    lifetime_s: u64,
    nat: Option<bool>,
}

#[derive(Debug, Clone, Serialize)]
struct Handover {
    noticed_ms: u64,
    completed_ms: u64,
    duration_ms: f64,
    from: IpAddr,
    from_family: &'static str,
    to: IpAddr,
    to_family: &'static str,
    round_trip_ms: f64,
    tries: u32,
}

#[derive(Debug, Clone, Serialize)]
struct CareOfAddress {
    bid: u16,
    priority: u8,
    interface: String,
    care_of_address: IpAddr,
    nat: Option<bool>,
    expires_ms: u64,
}

/// A correspondent, as route optimisation sees it.
#[derive(Debug, Clone, Serialize)]
struct Correspondent {
    correspondent: Ipv6Addr,
    state: &'static str,
    care_of_address: Option<Ipv6Addr>,
    expires_ms: Option<u64>,
    why: Option<&'static str>,
    status: Option<u8>,
    retry_ms: Option<u64>,
}

impl Correspondent {
    fn new(correspondent: Ipv6Addr, state: &route_optimisation::State, now: Instant) -> Self {
        use route_optimisation::{State, Why};
        let at = |then: Instant| Some(unix_ms() + as_ms(then.saturating_duration_since(now)));
        let bare = |state| Self {
            correspondent,
            state,
            care_of_address: None,
            expires_ms: None,
            why: None,
            status: None,
            retry_ms: None,
        };
        match *state {
            State::Asked => bare("asked"),
            State::Ending => bare("ending"),
            State::Optimised(care_of, expires) => Self {
                care_of_address: Some(care_of),
                expires_ms: at(expires),
                ..bare("optimised")
            },
            State::LeftAlone(why, until) => {
                let status = if let Why::Refused(status) = why { Some(status) } else { None };
                let why = Some(why.name());
                Self { why, status, retry_ms: at(until), ..bare("left_alone") }
            }
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct LastError {
    at_ms: u64,
    text: String,
}

#[derive(Debug, Clone, Default, Serialize)]
struct CounterValues {
    tx_packets: u64,
    tx_octets: u64,
    rx_packets: u64,
    rx_octets: u64,
    direct_tx_packets: u64,
    direct_tx_octets: u64,
    direct_rx_packets: u64,
    direct_rx_octets: u64,
    dropped: BTreeMap<&'static str, u64>,
}

/// The home addresses, when they come or change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct HomeAddresses {
    at_ms: u64,
    home_address_ip6: Ipv6Addr,
    home_address_ip4: Option<Ipv4Addr>,
    tun_mtu: usize,
}

/// Something that happened, as `hearth-mn monitor` tells it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    State { at_ms: u64, state: State },
    Bootstrap(Bootstrap),
    Addresses(HomeAddresses),
    Registration(Registration),
    Handover(Handover),
    Error(LastError),
}

/// Everything in the status file.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    name: String,
    state: State,
    started_ms: u64,
    updated_ms: u64,
    pid: u32,
    mn_id: String,
    home_address_ip6: Option<Ipv6Addr>,
    home_address_ip4: Option<Ipv4Addr>,
    care_of_address: Option<IpAddr>,
    family: Option<&'static str>,
    interface: Option<String>,
    home_agent: Option<String>,
    nat: Option<bool>,
    nat_keepalive_s: Option<f64>,
    nat_keepalive_why: Option<Why>,
    spi: Option<u32>,
    suite: Option<&'static str>,
    scope: Option<u8>,
    sa_issued: Option<u64>,
    sa_validity_end: Option<u64>,
    round_trip_ms: Option<f64>,
    loss: Option<f64>,
    downlink_loss: Option<f64>,
    binding_lifetime_s: Option<u64>,
    binding_expires_ms: Option<u64>,
    care_of_addresses: Vec<CareOfAddress>,
    correspondents: Vec<Correspondent>,
    tun: String,
    tun_mtu: Option<usize>,
    /// Whether the kernel hands over, and takes, several packets of a stream in one piece.
    tun_offload: bool,
    /// Queues of the TUN, each with a thread.
    tun_queues: usize,
    dns: Vec<IpAddr>,
    fail_closed: bool,
    bootstraps: VecDeque<Bootstrap>,
    registrations: VecDeque<Registration>,
    handovers: VecDeque<Handover>,
    last_error: Option<LastError>,
    counters: CounterValues,
    #[serde(skip)]
    events: Vec<Event>,
}

/// The SA in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssociationInfo {
    /// Its index.
    pub spi: u32,
    /// Its suite.
    pub suite: Suite,
    /// Its scope.
    pub scope: Scope,
    /// When the HAC issued it, Unix seconds.
    pub issued: u64,
    /// Its end, Unix seconds.
    pub validity_end: u64,
}

impl Status {
    /// The status of a node that has just started.
    #[must_use]
    pub fn new(name: &str, mn_id: &MobileNodeId, tun: &str, fail_closed: bool) -> Self {
        Self {
            name: name.to_owned(),
            state: State::default(),
            started_ms: unix_ms(),
            updated_ms: 0,
            pid: std::process::id(),
            mn_id: mn_id.as_str().to_owned(),
            home_address_ip6: None,
            home_address_ip4: None,
            care_of_address: None,
            family: None,
            interface: None,
            home_agent: None,
            nat: None,
            nat_keepalive_s: None,
            nat_keepalive_why: None,
            spi: None,
            suite: None,
            scope: None,
            sa_issued: None,
            sa_validity_end: None,
            round_trip_ms: None,
            loss: None,
            downlink_loss: None,
            binding_lifetime_s: None,
            binding_expires_ms: None,
            care_of_addresses: Vec::new(),
            correspondents: Vec::new(),
            tun: tun.to_owned(),
            tun_mtu: None,
            tun_offload: false,
            tun_queues: 0,
            dns: Vec::new(),
            fail_closed,
            bootstraps: VecDeque::new(),
            registrations: VecDeque::new(),
            handovers: VecDeque::new(),
            last_error: None,
            counters: CounterValues::default(),
            events: Vec::new(),
        }
    }

    /// Sets the state.
    pub fn set_state(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.events.push(Event::State { at_ms: unix_ms(), state });
        }
    }

    /// What the node is doing.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The state as an event: what a new listener hears first.
    #[must_use]
    pub fn first_event(&self) -> Vec<u8> {
        line(&Event::State { at_ms: unix_ms(), state: self.state })
    }

    /// What has happened since the last call, a line of JSON each.
    pub fn take_events(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.events).iter().map(line).collect()
    }

    /// A short line for `systemctl status`.
    #[must_use]
    pub fn in_a_word(&self) -> String {
        let state = self.state.name();
        match (self.care_of_address, &self.interface, &self.last_error) {
            (Some(care_of), Some(interface), _) => format!("{state}, {care_of} on {interface}"),
            (_, _, Some(error)) => format!("{state}; {}", error.text),
            _ => state.to_owned(),
        }
    }

    /// All of it on one line.
    #[must_use]
    pub fn line(&mut self) -> Vec<u8> {
        self.updated_ms = unix_ms();
        line(self)
    }

    /// A bootstrap succeeded.
    pub fn on_bootstrap(&mut self, sa: AssociationInfo, duration: Duration) {
        let entry = Bootstrap {
            at_ms: unix_ms(),
            duration_ms: milliseconds(duration),
            spi: sa.spi,
            suite: sa.suite.name(),
            scope: sa.scope.digit(),
            sa_validity_end: sa.validity_end,
        };
        self.events.push(Event::Bootstrap(entry.clone()));
        remember(&mut self.bootstraps, entry);
    }

    /// The tunnel has these home addresses and this MTU.
    pub fn on_tunnel(&mut self, home6: Ipv6Addr, home4: Option<Ipv4Addr>, mtu: usize) {
        if (self.home_address_ip6, self.home_address_ip4, self.tun_mtu)
            != (Some(home6), home4, Some(mtu))
        {
            self.events.push(Event::Addresses(HomeAddresses {
                at_ms: unix_ms(),
                home_address_ip6: home6,
                home_address_ip4: home4,
                tun_mtu: mtu,
            }));
        }
        self.home_address_ip6 = Some(home6);
        self.home_address_ip4 = home4;
        self.tun_mtu = Some(mtu);
    }

    /// What the kernel gave with the device.
    pub fn set_device(&mut self, offload: bool, queues: usize) {
        self.tun_offload = offload;
        self.tun_queues = queues;
    }

    /// The home agent accepted a Binding Update.
    pub fn on_registered(&mut self, registered: &Registered) {
        let now = unix_ms();
        let entry = Registration {
            at_ms: now,
            kind: registered.purpose.name(),
            care_of_address: registered.path.care_of,
            family: registered.path.family(),
            round_trip_ms: milliseconds(registered.round_trip),
            tries: registered.tries,
            status: registered.status.0,
            lifetime_s: registered.lifetime.as_secs(),
            nat: registered.nat,
        };
        let round_trip = entry.round_trip_ms;
        let before = self.round_trip_ms.unwrap_or(round_trip);
        self.round_trip_ms = Some(thousandths(before + (round_trip - before) * RTT_GAIN));
        self.events.push(Event::Registration(entry.clone()));
        remember(&mut self.registrations, entry);
        self.loss = Some(self.lost());
        if let Some(previous) = registered.previous.as_ref().filter(|old| **old != registered.path)
        {
            let handover = Handover {
                noticed_ms: now.saturating_sub(as_ms(registered.since_noticed)),
                completed_ms: now,
                duration_ms: milliseconds(registered.since_noticed),
                from: previous.care_of,
                from_family: previous.family(),
                to: registered.path.care_of,
                to_family: registered.path.family(),
                round_trip_ms: milliseconds(registered.round_trip),
                tries: registered.tries,
            };
            self.events.push(Event::Handover(handover.clone()));
            remember(&mut self.handovers, handover);
        }
    }

    /// The part of the Binding Updates in the history that nobody answered.
    fn lost(&self) -> f64 {
        let sent: u32 = self.registrations.iter().map(|entry| entry.tries.max(1)).sum();
        let answered = u32::try_from(self.registrations.len()).unwrap_or(u32::MAX);
        thousandths(1.0 - f64::from(answered) / f64::from(sent.max(answered).max(1)))
    }

    /// The binding and the SA as they are now. `left` is the time until the binding ends.
    pub fn set_binding(
        &mut self,
        binding: Option<(&Binding, Duration)>,
        sa: Option<AssociationInfo>,
    ) {
        let path: Option<&Path> = binding.map(|(binding, _)| &binding.path);
        self.care_of_address = path.map(|path| path.care_of);
        self.family = path.map(Path::family);
        self.interface = path.map(|path| path.interface.to_string());
        self.home_agent = path.map(|path| path.home_agent.to_string());
        self.nat = binding.and_then(|(binding, _)| binding.nat);
        self.binding_lifetime_s = binding.map(|(binding, _)| binding.lifetime.as_secs());
        self.binding_expires_ms = binding.map(|(_, left)| unix_ms() + as_ms(left));
        self.spi = sa.map(|sa| sa.spi);
        self.suite = sa.map(|sa| sa.suite.name());
        self.scope = sa.map(|sa| sa.scope.digit());
        self.sa_issued = sa.map(|sa| sa.issued);
        self.sa_validity_end = sa.map(|sa| sa.validity_end);
    }

    /// How often a NAT hears of this node when nothing else is sent, and why so often.
    pub fn set_nat_keepalive(&mut self, keepalive: Option<(Duration, Why)>) {
        self.nat_keepalive_s = keepalive.map(|(interval, _)| thousandths(interval.as_secs_f64()));
        self.nat_keepalive_why = keepalive.map(|(_, why)| why);
    }

    /// All registered care-of addresses with the time until they end, where there can be several.
    pub fn set_care_of_addresses<'a>(
        &mut self,
        all: impl Iterator<Item = (&'a CareOf, &'a Binding, Duration)>,
    ) {
        self.care_of_addresses = all
            .map(|(care_of, binding, left)| CareOfAddress {
                bid: care_of.bid,
                priority: care_of.priority,
                interface: care_of.interface.clone(),
                care_of_address: binding.path.care_of,
                nat: binding.nat,
                expires_ms: unix_ms() + as_ms(left),
            })
            .collect();
    }

    /// The correspondents that route optimisation knows.
    pub fn set_correspondents(&mut self, all: &[(Ipv6Addr, route_optimisation::State)]) {
        let now = Instant::now();
        self.correspondents =
            all.iter().map(|(address, state)| Correspondent::new(*address, state, now)).collect();
    }

    /// What came from the home agent under the SAs that are held, and what is missing in between.
    pub fn set_downlink(&mut self, tallies: impl Iterator<Item = Tally>) {
        let add = |sum: (u64, u64), it: Tally| (sum.0 + it.received, sum.1 + it.missing);
        let (received, missing) = tallies.fold((0, 0), add);
        let part = |whole: u64| missing.saturating_mul(1_000_000) / whole;
        let millionths = (received > 0).then(|| part(received.saturating_add(missing)));
        self.downlink_loss =
            millionths.and_then(|n| u32::try_from(n).ok()).map(|n| f64::from(n) / 1e6);
    }

    /// The host asks these DNS servers.
    pub fn set_dns(&mut self, servers: Vec<IpAddr>) {
        self.dns = servers;
    }

    /// Something went wrong.
    pub fn on_error(&mut self, text: &str) {
        let error = LastError { at_ms: unix_ms(), text: text.to_owned() };
        self.events.push(Event::Error(error.clone()));
        self.last_error = Some(error);
    }

    /// Takes the counters of the data path over.
    pub fn set_counters(&mut self, counters: &Counters) {
        let (tx_packets, tx_octets) = counters.uplink.get();
        let (rx_packets, rx_octets) = counters.downlink.get();
        let (direct_tx_packets, direct_tx_octets) = counters.direct_uplink.get();
        let (direct_rx_packets, direct_rx_octets) = counters.direct_downlink.get();
        let dropped = DropReason::ALL
            .into_iter()
            .map(|reason| (reason.name(), counters.dropped(reason)))
            .filter(|(_, count)| *count > 0)
            .collect();
        self.counters = CounterValues {
            tx_packets,
            tx_octets,
            rx_packets,
            rx_octets,
            direct_tx_packets,
            direct_tx_octets,
            direct_rx_packets,
            direct_rx_octets,
            dropped,
        };
    }

    /// Replaces the file at `path` as a whole.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write(&mut self, path: &FilePath) -> io::Result<()> {
        self.updated_ms = unix_ms();
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", self.pid));
        let draft = path.with_file_name(name);
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(&text)?;
        drop(file);
        std::fs::rename(&draft, path)
    }
}

fn remember<T>(history: &mut VecDeque<T>, entry: T) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(entry);
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

fn milliseconds(duration: Duration) -> f64 {
    thousandths(duration.as_secs_f64() * 1e3)
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, as_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::Purpose;
    use hearth_wire::mh::Status as BaStatus;

    fn path(care_of: &str) -> Path {
        let care_of: IpAddr = care_of.parse().unwrap();
        let home_agent = "[2001:db8::1]:7872".parse().unwrap();
        Path { interface: "eth0".into(), index: 1, epoch: 0, care_of, home_agent }
    }

    /// The names that other programs read.
    #[test]
    fn a_handover_is_in_the_file() {
        let mut status =
            Status::new("mn", &MobileNodeId::new("mn1@example.net").unwrap(), "hearth0", false);
        status.set_state(State::Registered);
        status.on_registered(&Registered {
            purpose: Purpose::Handover,
            path: path("192.0.2.7"),
            previous: Some(path("2001:db8::7")),
            round_trip: Duration::from_micros(12_345),
            since_noticed: Duration::from_millis(20),
            tries: 1,
            status: BaStatus::ACCEPTED,
            lifetime: Duration::from_secs(600),
            nat: Some(true),
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mn.json");
        status.write(&file).unwrap();
        let read: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(read["state"], "registered");
        assert_eq!(read["handovers"][0]["from_family"], "ipv6");
        assert_eq!(read["handovers"][0]["to"], "192.0.2.7");
        assert_eq!(read["registrations"][0]["round_trip_ms"], 12.345);
        assert_eq!(read["registrations"][0]["kind"], "handover");
        assert_eq!(read["last_error"], serde_json::Value::Null);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        let events: Vec<serde_json::Value> =
            status.take_events().iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
        let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["state", "registration", "handover"]);
        assert_eq!(
            (&events[0]["state"], &events[2]["from"]),
            (&"registered".into(), &"2001:db8::7".into())
        );
        assert!(status.take_events().is_empty());
    }

    #[test]
    fn round_trips_are_smoothed_and_unanswered_updates_counted() {
        let mut status =
            Status::new("mn", &MobileNodeId::new("mn1@example.net").unwrap(), "hearth0", false);
        for (milliseconds, tries) in [(10, 1), (18, 1), (18, 2)] {
            status.on_registered(&Registered {
                purpose: Purpose::Refresh,
                path: path("2001:db8::7"),
                previous: None,
                round_trip: Duration::from_millis(milliseconds),
                since_noticed: Duration::from_millis(milliseconds),
                tries,
                status: BaStatus::ACCEPTED,
                lifetime: Duration::from_secs(600),
                nat: None,
            });
        }
        let read: serde_json::Value = serde_json::from_slice(&status.line()).unwrap();
        // 10, then 10 + 8/8, then 11 + 7/8; one of four was not answered.
        assert_eq!((&read["round_trip_ms"], &read["loss"]), (&11.875.into(), &0.25.into()));
    }
}
