//! One node of a fleet.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_wire::frame::{FrameHeader, PType};
use hearth_wire::ip::Ipv6Header;
use hearth_wire::mh::{Heartbeat, Message, Repeated, RevocationAck, RevocationStatus};
use hearth_wire::{Scope, Spi};
use rustix::event::epoll;
use zerocopy::IntoBytes;

use super::Plan;
use super::bootstraps::{Bootstraps, Job};
use super::config::Traffic;
use super::mailbox::Mailbox;
use super::probe::{self, Probe, Stream, Verdict};
use super::results::{Results, tell};
use super::shard::Event;
use crate::association::SecurityAssociation;
use crate::bootstrap::Grant;
use crate::hac_client::{Failure, unix_now};
use crate::network::{HomeAgent, outer_socket};
use crate::path::Path;
use crate::registration::{Action, Association, Purpose, Registered, Registration, Report, Update};
use crate::signalling::{self, MAX_UPDATE, Received, Wishes};
use crate::tunnel::open::{Content, Opened, open};
use crate::tunnel::{DropReason, IvSource};

/// Room for the largest packet of ours, sealed, and for what comes.
pub(super) const BUFFER: usize = 2048;
/// The inner packet stands behind the longest header and IV.
const HEADROOM: usize = FrameHeader::LEN + 16;
const IPV6: u8 = 41;

/// What the nodes of a shard share.
pub(super) struct Tools {
    pub(super) plan: Arc<Plan>,
    pub(super) bootstraps: Bootstraps,
    pub(super) mailbox: Mailbox<Event>,
    pub(super) epoll: std::os::fd::OwnedFd,
    pub(super) ivs: IvSource,
    pub(super) results: Results,
    /// The fleet's start.
    pub(super) begun: Instant,
    /// The kernel's choice of a care-of address towards a home agent.
    pub(super) sources: HashMap<SocketAddr, IpAddr>,
    pub(super) interface: Arc<str>,
    pub(super) buffer: Box<[u8; BUFFER]>,
}

struct Held {
    sa: SecurityAssociation,
    home_agent: HomeAgent,
}

/// One node.
pub(super) struct Node {
    number: u32,
    /// What its sockets are waited for under.
    token: u64,
    registration: Registration,
    held: Vec<Held>,
    open: Vec<(Path, UdpSocket)>,
    way: Option<(Path, Spi)>,
    moves: u32,
    stream: Stream,
    /// When the shard's timer for it is set to.
    pub(super) armed: Option<Instant>,
    pub(super) was_registered: bool,
    pub(super) stopped: bool,
}

impl Node {
    pub(super) fn new(number: u32, token: u64, plan: &Plan, sequence: u16) -> Self {
        Self {
            number,
            token,
            registration: Registration::new(plan.node.timers.clone(), sequence),
            held: Vec::new(),
            open: Vec::new(),
            way: None,
            moves: 0,
            stream: Stream::default(),
            armed: None,
            was_registered: false,
            stopped: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.registration.deadline()
    }

    pub(super) fn start(&mut self, tools: &mut Tools) {
        self.registration.start();
        self.act(tools);
    }

    pub(super) fn on_timer(&mut self, tools: &mut Tools, now: Instant) {
        self.registration.on_timer(now);
        self.act(tools);
    }

    pub(super) fn stop(&mut self, tools: &mut Tools, now: Instant) {
        self.registration.on_stop(now);
        self.act(tools);
    }

    /// Refreshes its binding; whether it has one that rests.
    pub(super) fn refresh(&mut self, tools: &mut Tools, now: Instant) -> bool {
        if !self.rests() {
            return false;
        }
        self.registration.on_refresh_request(now);
        self.act(tools);
        true
    }

    fn rests(&self) -> bool {
        self.registration.binding().is_some() && self.registration.pending().is_none()
    }

    /// Moves to another care-of address or port; whether it had a binding that rests.
    pub(super) fn hand_over(&mut self, tools: &mut Tools, now: Instant) -> bool {
        let Some(old) = self.registration.binding().map(|binding| binding.path.clone()) else {
            return false;
        };
        if !self.rests() {
            return false;
        }
        self.moves = self.moves.wrapping_add(1);
        let mut paths = self.paths(tools);
        if tools.plan.make_before_break {
            paths.push(old);
        } else {
            self.open.clear();
        }
        tools.results.handovers_begun += 1;
        self.stream.on_move();
        self.registration.on_paths(paths, now);
        self.act(tools);
        true
    }

    /// What the HAC issued, or why it did not.
    pub(super) fn on_bootstrapped(
        &mut self,
        tools: &mut Tools,
        outcome: Result<Box<Grant>, Failure>,
        took: Duration,
        now: Instant,
    ) {
        match outcome {
            Ok(grant) => {
                tools.results.bootstrapped += 1;
                tools.results.bootstrap.record(took);
                self.on_grant(tools, *grant, now);
            }
            Err(Failure { text, retry_after, by_network }) => {
                tell(&mut tools.results.bootstraps_failed, &text);
                let jitter = f64::from(tools.ivs.draw()[0]) / 256.0;
                self.registration.on_bootstrap_failed(retry_after, by_network, jitter, now);
            }
        }
        self.act(tools);
    }

    fn on_grant(&mut self, tools: &mut Tools, grant: Grant, now: Instant) {
        let validity = grant.validity_end.saturating_sub(unix_now());
        let validity = Duration::from_secs(validity);
        let renew_before = tools.plan.node.timers.renew_before;
        let association = Association::issued(grant.spi, validity, validity, renew_before, now);
        let home_agent =
            HomeAgent { ip6: grant.home_agent, ip4: grant.home_agent_ip4, port: grant.port };
        self.held.push(Held { sa: SecurityAssociation::new(grant), home_agent });
        let paths = self.paths(tools);
        self.registration.on_paths(paths, now);
        self.registration.on_association(association, now);
    }

    /// The one way that it has at the moment.
    fn paths(&self, tools: &mut Tools) -> Vec<Path> {
        let Some(held) = self.held.last() else { return Vec::new() };
        let home_agents = held.home_agent.addresses();
        let towards = |care_of: IpAddr| {
            let same = |agent: &&SocketAddr| agent.is_ipv6() == care_of.is_ipv6();
            home_agents.iter().find(same).map(|agent| (care_of, *agent))
        };
        let listed: Vec<_> =
            tools.plan.care_of_addresses.iter().filter_map(|care_of| towards(*care_of)).collect();
        let at = self.number.wrapping_add(self.moves) as usize;
        let chosen = match at.checked_rem(listed.len()) {
            Some(at) => listed.get(at).copied(),
            None if tools.plan.care_of_addresses.is_empty() => {
                home_agents.iter().find_map(|agent| Some((tools.source(*agent)?, *agent)))
            }
            None => None,
        };
        let path = |(care_of, home_agent)| Path {
            interface: Arc::clone(&tools.interface),
            index: 0,
            epoch: self.moves,
            care_of,
            home_agent,
        };
        chosen.into_iter().map(path).collect()
    }

    /// Does what the state machine wants.
    fn act(&mut self, tools: &mut Tools) {
        while let Some(action) = self.registration.action() {
            match action {
                Action::Open(path) => self.open_path(tools, path),
                Action::Close(path) => self.open.retain(|(open, _)| *open != path),
                Action::Send(update) => self.send_update(tools, &update),
                // Nobody tells a fleet's registrations of traffic, so they ask nothing.
                Action::Probe(_) | Action::Echo(..) => {}
                Action::Carry(way) => self.way = way,
                Action::Forget(spi) => self.held.retain(|held| held.sa.spi != spi),
                Action::Bootstrap => {
                    let shard = tools.mailbox.clone();
                    tools.bootstraps.ask(Job { number: self.number, shard });
                }
                Action::Report(report) => self.report(tools, report),
                Action::Stopped => self.stopped = true,
            }
        }
    }

    fn open_path(&mut self, tools: &mut Tools, path: Path) {
        let opened = open_socket(&path).and_then(|socket| {
            let token = epoll::EventData::new_u64(self.token);
            epoll::add(&tools.epoll, &socket, token, epoll::EventFlags::IN)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => self.open.push((path, socket)),
            Err(error) => tell(&mut tools.results.troubles, &format!("no socket: {error}")),
        }
    }

    fn send_update(&mut self, tools: &mut Tools, update: &Update) {
        tell(&mut tools.results.updates_sent, update.purpose.name());
        let held = self.held.iter().find(|held| held.sa.spi == update.spi);
        let open = self.open.iter().find(|(path, _)| *path == update.path);
        let (Some(held), Some((_, socket))) = (held, open) else { return };
        let mut buffer = [0; MAX_UPDATE];
        let iv = tools.ivs.draw();
        let wishes = Wishes::default();
        let sealed = signalling::seal_update(update, &wishes, &held.sa, &iv, &mut buffer);
        let frame = sealed.and_then(|len| buffer.get(..len));
        let sent = frame.is_some_and(|frame| send(socket, frame));
        if !sent {
            tell(&mut tools.results.troubles, "Binding Update not sent");
        }
    }

    fn report(&mut self, tools: &mut Tools, report: Report) {
        let results = &mut tools.results;
        match report {
            Report::Registered(registered) => self.on_registered(results, &registered),
            Report::Refused(purpose, status) => {
                let name = format!("{}: status {status}", purpose.name());
                tell(&mut results.updates_refused, &name);
            }
            Report::NewSaWanted => tell(&mut results.updates_refused, "refresh: status 176"),
            Report::SequenceAdopted(_) => tell(&mut results.updates_refused, "status 135"),
            Report::Unanswered(_) => tell(&mut results.troubles, "home agent silent"),
            Report::PathFailed(_) => tell(&mut results.troubles, "path failed"),
            Report::BindingLost => tell(&mut results.troubles, "binding lost"),
            Report::BindingRevoked => tell(&mut results.troubles, "binding revoked"),
            Report::BindingExpired => tell(&mut results.troubles, "binding expired"),
            Report::AssociationExpired(_) => tell(&mut results.troubles, "SA expired"),
            Report::NoNetwork => tell(&mut results.troubles, "no way to the home agent"),
            Report::Registering(..)
            | Report::PathSilent(_)
            | Report::PathBack(_)
            | Report::NatForgot { .. } => {}
        }
    }

    fn on_registered(&mut self, results: &mut Results, registered: &Registered) {
        let Registered { purpose, round_trip, since_noticed, .. } = registered;
        tell(&mut results.updates_accepted, purpose.name());
        results.round_trip.record(*round_trip);
        match purpose {
            Purpose::Handover => results.handover.record(*since_noticed),
            Purpose::Deregistration => return,
            _ => {}
        }
        if !std::mem::replace(&mut self.was_registered, true) {
            results.registered_nodes += 1;
        }
    }

    /// Sends a packet of its own; whether it has a way.
    pub(super) fn send_data(&mut self, tools: &mut Tools, traffic: &Traffic) -> bool {
        let Some((path, spi)) = &self.way else { return false };
        let held = self.held.iter().find(|held| held.sa.spi == *spi);
        let open = self.open.iter().find(|(open, _)| open == path);
        let (Some(Held { sa, .. }), Some((_, socket))) = (held, open) else { return false };
        let sent = tools.begun.elapsed();
        let probe = Probe { node: self.number, number: self.stream.draw(), sent };
        tools.results.sent += 1;
        let iv = tools.ivs.draw();
        let sealed = seal_data(&mut tools.buffer[..], sa, traffic, probe, &iv);
        let spi = *spi;
        let worn = sealed.as_ref().is_some_and(|(_, worn)| *worn);
        if !sealed.is_some_and(|(frame, _)| send(socket, frame)) {
            tools.results.dropped(DropReason::SendFailed);
        }
        if worn {
            self.registration.on_worn(spi);
            self.act(tools);
        }
        true
    }

    /// Takes what its sockets have.
    pub(super) fn receive(&mut self, tools: &mut Tools, now: Instant) {
        /// Packets of one socket in a row.
        const BURST: usize = 64;
        let mut signalling = Vec::new();
        for at in 0..self.open.len() {
            for _ in 0..BURST {
                let Some((_, socket)) = self.open.get(at) else { break };
                let Ok(len) = socket.recv(&mut tools.buffer[..]) else { break };
                match self.take(tools, len, now) {
                    Ok(message) => signalling.extend(message),
                    Err(reason) => tools.results.dropped(reason),
                }
            }
        }
        for (spi, next_header, payload) in signalling {
            self.on_signalling(tools, spi, next_header, &payload, now);
        }
        self.act(tools);
    }

    /// A frame, in the order of R-24; the payload of a PType 8 packet.
    fn take(
        &mut self,
        tools: &mut Tools,
        len: usize,
        now: Instant,
    ) -> Result<Option<(Spi, u8, Vec<u8>)>, DropReason> {
        let frame = tools.buffer.get_mut(..len).ok_or(DropReason::FrameShort)?;
        let associations = self.held.iter().map(|held| &held.sa);
        let Opened { sa, payload, content, worn } = open(frame, associations)?;
        if worn {
            self.registration.on_worn(sa.spi);
        }
        let payload = frame.get(payload).ok_or(DropReason::InnerLength)?;
        match content {
            Content::PlainData | Content::ProtectedData { next_header: IPV6 } => {}
            Content::ProtectedData { .. } => return Err(DropReason::DataNextHeader),
            Content::Signalling { next_header } => {
                return Ok(Some((sa.spi, next_header, payload.to_vec())));
            }
        }
        let (inner, _) = Ipv6Header::parse(payload).map_err(|_| DropReason::InnerLength)?;
        if inner.destination() != sa.home_address {
            return Err(DropReason::DestinationNotHome);
        }
        let traffic = tools.plan.traffic.as_ref();
        let probe = traffic.and_then(|traffic| probe::read(payload, sa.home_address, traffic));
        match probe.filter(|probe| probe.node == self.number) {
            Some(probe) => judge(&mut self.stream, &mut tools.results, probe, tools.begun, now),
            None => tools.results.foreign += 1,
        }
        Ok(None)
    }

    fn on_signalling(
        &mut self,
        tools: &mut Tools,
        spi: Spi,
        next_header: u8,
        payload: &[u8],
        now: Instant,
    ) {
        let Some(held) = self.held.iter().find(|held| held.sa.spi == spi) else { return };
        let is_bound = self.registration.binding().is_some();
        let answer = match signalling::read(&held.sa, next_header, payload) {
            Some(Received::Ack(acknowledged)) => {
                self.registration.on_ack(&acknowledged.ack, now);
                None
            }
            Some(Received::RefreshRequest) => {
                self.registration.on_refresh_request(now);
                None
            }
            Some(Received::Error(1)) => {
                self.registration.on_binding_error(now);
                None
            }
            Some(Received::Switch) => {
                self.registration.on_switch();
                None
            }
            Some(Received::Heartbeat(Heartbeat { seq, restart_counter, .. })) => {
                let unsolicited = false;
                let answer = Heartbeat { unsolicited, response: true, seq, restart_counter };
                Some(Message::Heartbeat(answer))
            }
            Some(Received::Revocation(asked)) => {
                let status = match is_bound {
                    true => RevocationStatus::SUCCESS,
                    false => RevocationStatus::NO_BINDING,
                };
                let (seq, flags, bids) = (asked.seq, asked.flags, Repeated::default());
                if is_bound && !flags.ipv4_only {
                    self.registration.on_revocation(now);
                }
                Some(Message::RevocationAck(RevocationAck { status, seq, flags, bids }))
            }
            Some(Received::HeartbeatAnswer(_) | Received::Error(_)) | None => {
                tell(&mut tools.results.troubles, "unusable Mobility Header");
                None
            }
        };
        // The way of data is still the old one where the binding has just been revoked.
        if let (Some(answer), Some((path, _))) = (answer, &self.way) {
            let open = self.open.iter().find(|(open, _)| open == path);
            let mut buffer = [0; MAX_UPDATE];
            let len = signalling::seal(&answer, &held.sa, &tools.ivs.draw(), &mut buffer);
            if let (Some(frame), Some((_, socket))) = (len.and_then(|len| buffer.get(..len)), open)
            {
                send(socket, frame);
            }
        }
        self.act(tools);
    }
}

impl Tools {
    /// The address that the kernel sends from to a home agent.
    fn source(&mut self, home_agent: SocketAddr) -> Option<IpAddr> {
        if let Some(known) = self.sources.get(&home_agent) {
            return Some(*known);
        }
        let socket = outer_socket(home_agent, None, 0).ok()?;
        socket.connect(&home_agent.into()).ok()?;
        let source = socket.local_addr().ok()?.as_socket()?.ip();
        self.sources.insert(home_agent, source);
        Some(source)
    }
}

fn open_socket(path: &Path) -> io::Result<UdpSocket> {
    let socket = outer_socket(path.home_agent, None, 0)?;
    socket.bind(&SocketAddr::new(path.care_of, 0).into())?;
    socket.connect(&path.home_agent.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Sends; an ICMP error about an earlier packet is reported here, and the packet then not sent.
fn send(socket: &UdpSocket, frame: &[u8]) -> bool {
    socket.send(frame).or_else(|_| socket.send(frame)).is_ok()
}

/// Makes a packet and seals it; the frame, and whether the SA has reached a limit of R-23.
fn seal_data<'a>(
    buffer: &'a mut [u8],
    sa: &SecurityAssociation,
    traffic: &Traffic,
    probe: Probe,
    iv: &[u8; 16],
) -> Option<(&'a [u8], bool)> {
    let len = usize::from(traffic.octets);
    let room = buffer.get_mut(HEADROOM..HEADROOM + len)?;
    probe::write(room, sa.home_address, traffic, probe)?;
    if sa.scope == Scope::Signalling {
        let start = HEADROOM - FrameHeader::LEN;
        buffer.get_mut(start..HEADROOM)?.copy_from_slice(FrameHeader::plain().as_bytes());
        return Some((buffer.get(start..HEADROOM + len)?, false));
    }
    let start = HEADROOM - sa.outbound.payload_offset();
    let seq = sa.draw()?;
    let worn = sa.wears(seq, len);
    let id = (PType::ProtectedData, sa.spi, seq);
    let sealed = sa.outbound.seal(buffer.get_mut(start..)?, len, id, IPV6, iv)?;
    Some((buffer.get(start..start + sealed)?, worn))
}

fn judge(stream: &mut Stream, results: &mut Results, probe: Probe, begun: Instant, now: Instant) {
    let (verdict, gap) = stream.on_answer(probe.number, now);
    match verdict {
        Verdict::Good => {}
        Verdict::Reordered => results.reordered += 1,
        Verdict::Duplicated => results.duplicated += 1,
        Verdict::Late => results.late += 1,
    }
    if matches!(verdict, Verdict::Good | Verdict::Reordered) {
        results.received += 1;
        let since = now.saturating_duration_since(begun);
        results.data_round_trip.record(since.saturating_sub(probe.sent));
    }
    if let Some(gap) = gap {
        results.gap.record(gap);
    }
}
