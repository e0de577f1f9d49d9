//! What operators ask for, and the shutdown that SIGTERM begins.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth_api::operate::{
    Begun as BegunRow, ClearNeighboursRequest, DrainRequest, GroupRow, Part, Reason, ReinitRequest,
    RevokeRequest, Selector as Who,
};
use hearth_dataplane::{GroupMember, PortId};
use hearth_home_agent::{Begun, Command, CommandError, Event, Revoke, Selector, Timestamp};
use hearth_wire::mh::trigger;
use hearth_wire::{MobileNodeId, Spi};
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::control::{Control, Parts};
use crate::daemon::END;
use crate::host_path::Tap;
use crate::membership::Groups;
use crate::operations_config::{is_of_another, port_number};
use crate::server::{Peer, Refused};
use crate::silence::Silence;

/// Most Binding Identifiers in one request: as many as a mobile node can have.
const MOST_BIDS: usize = 64;

/// A request that changes something.
#[derive(Debug)]
pub enum Request {
    /// Bindings end.
    Revoke(RevokeRequest),
    /// Mobile nodes are to fetch new SAs.
    Reinit(ReinitRequest),
    /// Mobile nodes are sent to other home agents.
    Drain(DrainRequest),
    /// And are not any more.
    Undrain,
    /// Neighbours are forgotten.
    ClearNeighbours(ClearNeighboursRequest),
}

impl Request {
    /// What it asks for, and nothing that its sender wrote.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Revoke(_) => "revoke",
            Self::Reinit(_) => "reinit",
            Self::Drain(_) => "drain",
            Self::Undrain => "undrain",
            Self::ClearNeighbours(_) => "clear neighbours",
        }
    }
}

/// What goes on of the operator's or the daemon's own accord.
#[derive(Debug, Default)]
pub struct Operations {
    /// Set by SIGTERM, where that begins a shutdown.
    asked: Arc<AtomicBool>,
    /// When the daemon ends though there still are bindings.
    ends: Option<Timestamp>,
    silence: Silence,
    groups: Groups,
}

impl Operations {
    /// Begins what YAML wants; `asked` is set by SIGTERM.
    pub fn begin(&mut self, config: &Config, asked: Arc<AtomicBool>) {
        let interval = Duration::from_secs(config.heartbeat.interval.value.into());
        self.silence = Silence::new(interval);
        self.asked = asked;
    }
}

impl Control {
    /// Carries a request out, or begins to, and logs whose it was.
    pub(crate) fn operate(&mut self, request: &Request, peer: &Peer) -> Result<BegunRow, Refused> {
        let command = match request {
            Request::Revoke(request) => revocation(request)?,
            Request::Reinit(ReinitRequest { who, now }) => {
                Command::Reinit { who: selector(who)?, invite: *now }
            }
            Request::Drain(request) => drain(&self.parts.config, request)?,
            Request::Undrain => Command::Undrain,
            Request::ClearNeighbours(request) => return self.clear_neighbours(*request, peer),
        };
        let now = self.now();
        let begun = self.parts.home_agent.operate(now, &command, &mut self.actions);
        self.act(None);
        let (uid, pid, certificate) = (peer.uid, peer.pid, peer.certificate());
        match begun {
            Ok(begun) => {
                if command == Command::Undrain {
                    // Also a shutdown that SIGTERM began: bindings are made again, to last.
                    self.operations.ends = None;
                }
                info!(uid, pid, certificate, ?command, ?begun, "an operator's command");
                Ok(BegunRow { concerned: concerned(begun) })
            }
            Err(error) => {
                info!(uid, pid, certificate, ?command, ?error, "an operator's command is refused");
                Err(refused(error, request))
            }
        }
    }

    pub(crate) fn groups(&self) -> Vec<GroupRow> {
        let now = self.now();
        let listeners = self.parts.home_agent.listeners().map(|listener| GroupRow {
            group: listener.group,
            home_address: listener.home_address,
            sources: listener.sources.map(|sources| sources.iter().copied().collect()),
            remaining: u32::try_from(listener.expires.since(now).as_secs()).unwrap_or(u32::MAX),
        });
        let mut rows: Vec<_> = listeners.collect();
        rows.sort_by_key(|row| (row.group, row.home_address));
        rows
    }

    /// These home addresses are all that listen to `group`, some of them to some sources `only`.
    pub(crate) fn set_group(
        &mut self,
        group: IpAddr,
        members: &[Ipv6Addr],
        only: &[(Ipv6Addr, Vec<IpAddr>)],
    ) {
        let Some(multicast) = &self.parts.config.multicast else { return };
        let names = multicast.ports.iter();
        let ports: Vec<u16> =
            names.filter_map(|name| port_number(&self.parts.config, &name.value)).collect();
        let interfaces: Vec<u32> = ports
            .iter()
            .filter_map(|port| self.parts.taps.get(usize::from(*port)))
            .map(Tap::index)
            .collect();
        debug!(%group, members = members.len(), "multicast group");
        let members = group_members(members, only);
        for port in ports {
            if let Err(error) = self.parts.tables.set_group(PortId(port), group, &members) {
                warn!(%group, %error, "the dataplane has no room for this multicast group");
            }
        }
        if let Err(error) = self.operations.groups.set(group, &interfaces, !members.is_empty()) {
            warn!(%group, %error, "the kernel does not join this multicast group");
        }
    }

    /// Tells the home agent of SAs under which nothing has come for a while.
    pub(crate) fn listen_for_silence(&mut self, now: Instant) {
        let places = self.operations.silence.due(now, self.parts.home_agent.binding_places());
        for place in places {
            let Parts { home_agent, tables, .. } = &self.parts;
            let binding = home_agent.bindings_at(place..place.saturating_add(1)).next();
            let Some(spi) = binding.map(|binding| binding.spi) else { continue };
            let Some(usage) = tables.sa_usage(spi) else { continue };
            if self.operations.silence.is_silent(now, place, spi, usage.in_packets) {
                self.tell(Event::Silent(spi));
            }
        }
    }

    /// Whether the shutdown that SIGTERM began is over: no binding is left, or its time is up, or
    /// SIGTERM came again.
    pub(crate) fn is_shut_down(&mut self) -> bool {
        if self.operations.asked.swap(false, Ordering::Relaxed) {
            if self.operations.ends.is_some() {
                return true;
            }
            self.begin_shutdown();
        }
        let now = self.now();
        match self.operations.ends {
            None => false,
            Some(_) if self.parts.home_agent.binding_count() == 0 => true,
            Some(ends) if ends <= now => {
                let bindings = self.parts.home_agent.binding_count();
                warn!(bindings, "the time of drain.within is over, and there still are bindings");
                true
            }
            Some(_) => false,
        }
    }

    fn begin_shutdown(&mut self) {
        let drain = &self.parts.config.drain;
        let within = Duration::from_secs(drain.within.value.into());
        self.service_manager.stopping(within + END);
        let to = drain.home_agents.iter().map(|address| address.value).collect();
        let bindings = self.parts.home_agent.binding_count();
        let (seconds, rate) = (drain.within.value, drain.rate.value);
        info!(bindings, within_s = seconds, rate, "SIGTERM: mobile nodes are sent elsewhere");
        if u64::try_from(bindings).unwrap_or(u64::MAX) > u64::from(seconds) * u64::from(rate) {
            warn!("not all of them can be told in that time; raise drain.within or drain.rate");
        }
        let now = self.now();
        self.operations.ends = Some(now.after(within));
        let command = Command::Drain { to, within };
        if let Err(error) = self.parts.home_agent.operate(now, &command, &mut self.actions) {
            warn!(?error, "no mobile node is sent elsewhere");
        }
        self.act(None);
    }
}

/// The members of a group, for the dataplane; `only` has the sources of some of them.
fn group_members(members: &[Ipv6Addr], only: &[(Ipv6Addr, Vec<IpAddr>)]) -> Vec<GroupMember> {
    let sources = |home: &Ipv6Addr| {
        let place = only.binary_search_by_key(home, |(home, _)| *home).ok()?;
        only.get(place).map(|(_, sources)| sources.as_slice().into())
    };
    let member = |home: &Ipv6Addr| GroupMember { home_address: *home, sources: sources(home) };
    members.iter().map(member).collect()
}

fn concerned(begun: Begun) -> Option<u64> {
    match begun {
        Begun::At(count) => Some(u64::try_from(count).unwrap_or(u64::MAX)),
        Begun::Walk => None,
    }
}

fn revocation(request: &RevokeRequest) -> Result<Command, Refused> {
    let RevokeRequest { who, part, reason } = request;
    let (who, what) = (selector(who)?, revoke(part)?);
    Ok(Command::Revoke { who, what, trigger: trigger_of(*reason) })
}

fn drain(config: &Config, request: &DrainRequest) -> Result<Command, Refused> {
    let DrainRequest { home_agents, within } = request;
    let to = home_agents
        .clone()
        .unwrap_or_else(|| config.drain.home_agents.iter().map(|address| address.value).collect());
    let within = within.unwrap_or(config.drain.within.value);
    if to.len() > 100 || within > 86_400 {
        let text = "home_agents: 100 at most; within: 0 to 86400 seconds";
        return Err(Refused::Request(text.into()));
    }
    if let Some(wrong) = to.iter().find(|to| !is_of_another(config, **to)) {
        let text = format!("home_agents: {wrong} is no address of another home agent");
        return Err(Refused::Request(text));
    }
    Ok(Command::Drain { to, within: Duration::from_secs(within.into()) })
}

fn selector(who: &Who) -> Result<Selector, Refused> {
    Ok(match who {
        Who::HomeAddress(address) => Selector::HomeAddress(*address),
        Who::Spi(spi) => {
            let text = "spi: a number from 1 to 268435455";
            Selector::Spi(Spi::new(*spi).map_err(|_| Refused::Request(text.into()))?)
        }
        Who::MnId(mn_id) => {
            let text = "mn_id: not a network access identifier, such as car@example.net";
            let mn_id = MobileNodeId::new(mn_id).map_err(|_| Refused::Request(text.into()))?;
            Selector::MnId(mn_id)
        }
        Who::Realm(realm)
            if realm.is_empty() || realm.len() > MobileNodeId::MAX_LEN || realm.contains('@') =>
        {
            let text = "realm: what stands behind the @ of mn-ids, such as example.net, of 253 \
                        octets at most";
            return Err(Refused::Request(text.into()));
        }
        Who::Realm(realm) => Selector::Realm(realm.as_str().into()),
        Who::All => Selector::All,
    })
}

fn revoke(part: &Part) -> Result<Revoke, Refused> {
    Ok(match part {
        Part::Binding => Revoke::Binding,
        Part::Ipv4 => Revoke::Ipv4,
        Part::Bids(bids) if bids.is_empty() || bids.len() > MOST_BIDS || bids.contains(&0) => {
            let text = format!("bids: 1 to {MOST_BIDS} Binding Identifiers from 1 to 65535");
            return Err(Refused::Request(text));
        }
        Part::Bids(bids) => Revoke::Bids(bids.clone()),
    })
}

const fn trigger_of(reason: Reason) -> u8 {
    match reason {
        Reason::Unspecified => trigger::UNSPECIFIED,
        Reason::Administrative => trigger::ADMINISTRATIVE,
        Reason::User => trigger::USER_INITIATED,
        Reason::AccessNetwork => trigger::ACCESS_NETWORK,
        Reason::OutOfSync => trigger::OUT_OF_SYNC,
    }
}

/// What the operator reads.
fn refused(error: CommandError, request: &Request) -> Refused {
    match (error, request) {
        (CommandError::Nobody, Request::Revoke(RevokeRequest { who, part, .. })) => {
            let what = match part {
                Part::Binding => "no binding",
                Part::Ipv4 => "no binding with an IPv4 home address",
                Part::Bids(_) => "no binding with these Binding Identifiers",
            };
            Refused::Unknown(format!("{what} of {who}"))
        }
        (CommandError::Nobody, Request::Reinit(ReinitRequest { who, .. })) => {
            Refused::Unknown(format!("no SA of {who}"))
        }
        (CommandError::Nobody, _) => Refused::Unknown("no shutdown is being prepared".into()),
        (CommandError::UnderWay, _) => Refused::Busy("that is under way already".into()),
        (CommandError::Busy, _) => {
            Refused::Busy("too many commands are being carried out; try again".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_with_words() {
        let says = |request: Result<Selector, Refused>| match request {
            Err(Refused::Request(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(says(selector(&Who::Spi(0))).starts_with("spi: "));
        assert!(says(selector(&Who::Spi(1 << 28))).starts_with("spi: "));
        assert!(says(selector(&Who::MnId("a b@c".into()))).starts_with("mn_id: "));
        assert!(says(selector(&Who::Realm(String::new()))).starts_with("realm: "));
        assert!(says(selector(&Who::Realm("a@b".into()))).starts_with("realm: "));
        assert!(says(selector(&Who::Realm("a".repeat(254)))).starts_with("realm: "));
        assert!(selector(&Who::Realm("a".repeat(253))).is_ok());
        assert!(says(selector(&Who::MnId("a".repeat(254)))).starts_with("mn_id: "));
        assert!(revoke(&Part::Bids(vec![])).is_err() && revoke(&Part::Bids(vec![0])).is_err());
        assert!(revoke(&Part::Bids(vec![1; 65])).is_err());
        assert_eq!(revoke(&Part::Bids(vec![7])), Ok(Revoke::Bids(vec![7])));
    }

    #[test]
    fn members_have_their_own_sources() {
        let [a, b, c]: [Ipv6Addr; 3] = ["::a", "::b", "::c"].map(|text| text.parse().unwrap());
        let source: IpAddr = "2001:db8::5".parse().unwrap();
        let members = group_members(&[a, b, c], &[(b, vec![source])]);
        let sources: Vec<_> = members.iter().map(|member| member.sources.as_deref()).collect();
        assert_eq!(sources, [None, Some(&[source][..]), None]);
    }

    #[test]
    fn who_is_not_there_is_named() {
        let who = Who::HomeAddress("2001:db8::1".parse().unwrap());
        let request =
            Request::Revoke(RevokeRequest { who, part: Part::Ipv4, reason: Reason::default() });
        let expected = "no binding with an IPv4 home address of home address 2001:db8::1";
        let Refused::Unknown(text) = refused(CommandError::Nobody, &request) else { panic!() };
        assert_eq!(text, expected);
    }
}
