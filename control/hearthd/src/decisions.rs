//! The home agent's decisions, carried out; and the SAs it decides on.

use std::error::Error;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant, SystemTime};

use hearth_dataplane::{PortId, TableError};
use hearth_home_agent::{Action, Event, Notice, SaInfo, WallClock};
use hearth_wire::Spi;
use hearth_wire::directory::{SaRecord, Update, Usage};
use tracing::{debug, error, warn};

use crate::control::{Control, Parts};
use crate::directory::FromDirectory;
use crate::persist::{Leaving, Outgoing, SaLifted};
use crate::tunnels;

/// A difference between the wall clock and the monotonic one that is a step, not drift.
const STEP: Duration = Duration::from_millis(500);

/// SAs that came while an older one was still leaving their place in the table.
pub(crate) type Draining = Vec<Box<SaRecord>>;

/// A binding that the dataplane did not take. What follows of it is not carried out: the answer
/// under its SA, and the notice behind that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Void {
    home_address: Ipv6Addr,
    spi: Spi,
    /// The answer has been seen.
    answered: bool,
}

impl Void {
    fn of(action: &Action) -> Option<Self> {
        match action {
            Action::Bind(tunnels) => {
                let spi = tunnels.tunnels.first()?.spi;
                Some(Self { home_address: tunnels.home_address, spi, answered: false })
            }
            _ => None,
        }
    }

    /// Whether `action` is part of what is `void`; behind the last part nothing is.
    fn covers(void: &mut Option<Self>, action: &Action) -> bool {
        let Some(Self { home_address: of, spi: under, answered }) = void else { return false };
        let (of, under) = (*of, *under);
        let (covered, more) = match action {
            Action::SendSignalling { spi, .. } if *spi == under && !*answered => {
                *answered = true;
                (true, true)
            }
            // Behind an answer they are of the care-of addresses that the update took out; where
            // there is none, what they say has happened.
            Action::Notice(Notice::CareOfEnded { home_address, .. })
                if *home_address == of && *answered =>
            {
                (true, true)
            }
            Action::Notice(
                Notice::Registered { home_address, .. }
                | Notice::Refreshed { home_address, .. }
                | Notice::HandedOver { home_address, .. },
            ) => (*home_address == of, false),
            _ => (false, false),
        };
        if !more {
            *void = None;
        }
        covered
    }
}

impl Control {
    pub(crate) fn take_from_directory(&mut self, update: FromDirectory) {
        match update {
            FromDirectory::WatchBegun => self.tell(Event::WatchBegun),
            // The only HAC, or all of them: what none has named is gone, whoever dealt it out.
            FromDirectory::Update(Update::Synced(_)) => {
                self.parts.horizon.synced();
                self.tell(Event::WatchSynced);
            }
            FromDirectory::SpisSynced(spis) => {
                self.parts.horizon.spis_synced(spis);
                self.tell(Event::SpisSynced(spis));
            }
            FromDirectory::SpisRefused => self.spi_ranges_refused += 1,
            // The SA of the other one stays: a lookup of it has its answer.
            FromDirectory::Taken(_) => self.sa_records_refused += 1,
            FromDirectory::Update(Update::Revoked(spi)) => {
                self.parts.horizon.revoked(spi);
                self.tell(Event::SaRevoked(spi));
            }
            FromDirectory::Update(Update::Unknown(spi)) => {
                self.lookups.unknown(spi, Instant::now());
            }
            FromDirectory::Update(Update::Issued(record)) => self.issued(record),
            FromDirectory::Update(Update::UsageWanted(spi)) => {
                self.usage_wanted = true;
                self.say_usage(spi, false);
            }
            FromDirectory::Refused { spi, why } => {
                error!(%spi, %why, "SA record refused: its mobile node can't register under it");
                self.record_refused(spi);
            }
        }
    }

    fn issued(&mut self, record: Box<SaRecord>) {
        if !self.is_for_us(&record) {
            return self.record_refused(record.spi);
        }
        let (spi, mn_id) = (record.spi, &record.mn_id);
        let known = self.parts.home_agent.sa(spi);
        let known = known.is_some_and(|sa| sa.generation == record.generation);
        match self.parts.horizon.admit(spi, record.validity_end, known) {
            Ok(true) => self.lookups.issued(spi),
            Ok(false) => {
                debug!(%spi, %mn_id, "an SA of before the restart is not used again (R-23)");
                self.lookups.unknown(spi, Instant::now());
                return;
            }
            Err(error) => {
                error!(%spi, %mn_id, %error, "SA not installed: the SPI horizon can't be written");
                return;
            }
        }
        let now = self.now();
        let end = self.wall_clock().timestamp(record.validity_end);
        let info = SaInfo::from_record(&record, end);
        self.parts.home_agent.handle(now, Event::SaIssued(info), &mut self.actions);
        if let Some(kept) = self.parts.persist.awaited(&record) {
            self.install_again(&record, &kept);
        }
        self.act(Some(record));
    }

    /// The HAC has issued what can't be installed: an alarm, in the log and as a counter.
    fn record_refused(&mut self, spi: Spi) {
        self.sa_records_refused += 1;
        self.lookups.unknown(spi, Instant::now());
    }

    /// Whether the record is this home agent's, and its SPI within the range that the tables were
    /// made for.
    pub(crate) fn is_for_us(&self, record: &SaRecord) -> bool {
        let home_agent = &self.parts.config.home_agent;
        if *record.home_agent != *home_agent.name.value {
            warn!(
                spi = %record.spi, home_agent = ?record.home_agent, ours = ?home_agent.name.value,
                "SA not installed: the HAC names another home agent; home_agent.name has to be as \
                 under home_agents in the HAC's YAML"
            );
            return false;
        }
        let (first, last) = home_agent.spi_range.value;
        let within = (first..=last).contains(&record.spi.get());
        if !within {
            error!(
                spi = %record.spi,
                "SA not installed: its SPI is outside home_agent.spi_range [{first}, {last}]; give \
                 home_agents[].spi_range in the HAC's YAML the same range"
            );
        }
        within
    }

    pub(crate) fn tell(&mut self, event: Event<'_>) {
        let now = self.now();
        self.parts.home_agent.handle(now, event, &mut self.actions);
        self.act(None);
    }

    /// Does what the home agent decided; `record` is the one it was told of, if it was.
    ///
    /// Where the dataplane does not take a binding, the home agent is told so and answers with
    /// status 130 in the place of what it had in mind (REG-10).
    pub(crate) fn act(&mut self, mut record: Option<Box<SaRecord>>) {
        let mut actions = std::mem::take(&mut self.actions);
        let mut void = None;
        let mut refused = Vec::new();
        for action in actions.drain(..) {
            if Void::covers(&mut void, &action) {
                continue;
            }
            let bind = Void::of(&action);
            if let Err(error) = self.act_on(action, &mut record) {
                error!(%error, "a decision of the home agent could not be carried out");
                refused.extend(bind.as_ref().map(|bind| bind.home_address));
                void = bind;
            } else if let Some(Void { home_address, .. }) = bind {
                // What was refused before it does not matter any more.
                refused.retain(|refused| *refused != home_address);
            }
        }
        self.actions = actions;
        if refused.is_empty() {
            return;
        }
        let now = self.now();
        for home_address in refused {
            let event = Event::BindRefused(home_address);
            self.parts.home_agent.handle(now, event, &mut self.actions);
        }
        // Answers and notices, no binding among them.
        self.act(None);
    }

    fn act_on(
        &mut self,
        action: Action,
        record: &mut Option<Box<SaRecord>>,
    ) -> Result<(), Box<dyn Error>> {
        // Traces and captures follow a mobile node to its next SA and home address.
        self.follow.changed |= matches!(
            action,
            Action::Bind(_) | Action::Unbind { .. } | Action::InstallSa(_) | Action::RemoveSa(_)
        );
        let Parts { tables, workers, persist, .. } = &mut self.parts;
        match action {
            Action::SendSignalling { spi, local, remote, next_header, payload } => {
                let link = self.refused_at_home(remote.ip());
                self.outbox.push(Outgoing { spi, local, remote, next_header, payload, link });
            }
            Action::SendData { home_address, packet } => {
                workers.send_inner(home_address, &packet)?;
            }
            Action::Bind(bound) => {
                tunnels::bind(tables, &bound)?;
                self.kernel_routes.bound(bound.home_address, &bound.prefixes);
            }
            Action::Unbind { home_address } => {
                tables.unbind(home_address);
                self.kernel_routes.unbound(home_address);
                self.forget_stand_in(home_address);
            }
            Action::InstallSa(spi) => {
                if let Some(record) = record.take_if(|record| record.spi == spi) {
                    persist.installed(&record, None);
                    self.chronicle.provisioned(&record);
                    self.install(record)?;
                }
            }
            Action::RemoveSa(spi) => self.remove(spi)?,
            Action::Frame { link, frame } => workers.send_frame(PortId(link.0), &frame)?,
            Action::SendPlain { packet } => workers.send_packet(&packet)?,
            Action::Group { group, members, only } => self.set_group(group, &members, &only),
            Action::Notice(notice) => {
                self.say_where(&notice);
                self.journal.log(&notice);
                self.chronicle.notice(&notice, &self.parts.home_agent);
            }
            Action::Count(refusal) => debug!(reason = refusal.name(), "signalling discarded"),
        }
        Ok(())
    }

    /// Installs the keys. Where the workers have not yet left an SA that had the same SPI, it is
    /// tried again until they have.
    fn install(&mut self, record: Box<SaRecord>) -> Result<(), TableError> {
        match self.insert(&record) {
            Err(TableError::SpiDraining) => {
                self.draining.push(record);
                Ok(())
            }
            other => other,
        }
    }

    fn insert(&mut self, record: &SaRecord) -> Result<(), TableError> {
        let Parts { tables, persist, .. } = &mut self.parts;
        tables.insert_sa(&persist.parameters(record, None))
    }

    /// Installs the keys of an SA that was taken in without them; its binding follows by itself.
    fn install_again(&mut self, record: &SaRecord, kept: &SaLifted) {
        let Parts { tables, persist, .. } = &mut self.parts;
        persist.installed(record, Some(kept));
        if let Err(error) = tables.insert_sa(&persist.parameters(record, Some(kept))) {
            error!(spi = %record.spi, %error, "SA not installed");
        }
    }

    /// Writes down what the turn has changed, and lets its answers go.
    pub(crate) fn end_turn(&mut self) {
        let Parts { persist, home_agent, tables, workers, .. } = &mut self.parts;
        persist.end_turn(home_agent, &mut self.outbox, |leaving| match leaving {
            Leaving::Message(Outgoing { spi, local, remote, next_header, payload, link }) => {
                let (next_header, ends) = (*next_header, (*local, *remote));
                let sent = match *link {
                    None => workers.send_signalling(*spi, *local, *remote, next_header, payload),
                    Some(port) => {
                        workers.send_signalling_on_link(port, *spi, ends, next_header, payload)
                    }
                };
                if let Err(error) = sent {
                    error!(%spi, %error, "a message to a mobile node could not be sent");
                }
            }
            Leaving::Grant(spi, units) => tables.grant(spi, units),
        });
    }

    /// Tells the HAC's accounting what an SA has carried, where there is one of this SPI.
    fn say_usage(&self, spi: Spi, is_over: bool) {
        let Parts { tables, home_agent, directory, .. } = &self.parts;
        let Some(usage) = tables.sa_usage(spi) else { return };
        let binding = home_agent.sa(spi).and_then(|sa| home_agent.binding(sa.home_address));
        directory.usage(Usage {
            spi,
            packets_in: usage.in_packets,
            octets_in: usage.in_octets,
            packets_out: usage.out_packets,
            octets_out: usage.out_octets,
            care_of: binding.map(|binding| binding.care_of.ip()),
            is_over,
        });
    }

    /// Tells the HAC's accounting where a mobile node is that has registered or moved, where it has ever
    /// asked for such things.
    fn say_where(&self, notice: &Notice) {
        let (Notice::Registered { home_address, .. } | Notice::HandedOver { home_address, .. }) =
            notice
        else {
            return;
        };
        let binding = self.parts.home_agent.binding(*home_address);
        if let Some(binding) = binding.filter(|_| self.usage_wanted) {
            self.say_usage(binding.spi, false);
        }
    }

    fn remove(&mut self, spi: Spi) -> Result<(), TableError> {
        self.say_usage(spi, true);
        self.limits.forget(spi);
        let waiting = self.draining.len();
        self.draining.retain(|record| record.spi != spi);
        if self.draining.len() < waiting { Ok(()) } else { self.parts.tables.remove_sa(spi) }
    }

    /// Installs what had to wait for its place in the table.
    pub(crate) fn retry_draining(&mut self) {
        for record in std::mem::take(&mut self.draining) {
            let spi = record.spi;
            if let Err(error) = self.install(record) {
                error!(%spi, %error, "SA not installed");
            }
        }
    }

    /// R-43 is kept by the wall clock. When it is stepped, the directory is read anew, and every
    /// SA's end with it.
    pub(crate) fn follow_wall_clock(&mut self) {
        let now = (Instant::now(), SystemTime::now());
        let stepped = self.clock.is_some_and(|then| {
            let expected = then.1 + now.0.duration_since(then.0);
            let ahead = now.1.duration_since(expected).unwrap_or_default();
            let behind = expected.duration_since(now.1).unwrap_or_default();
            ahead.max(behind) > STEP
        });
        if stepped {
            warn!("the wall clock was stepped; reading the SA directory anew");
            self.parts.directory.resynchronise();
            self.configure_links();
        }
        self.clock = Some(now);
    }

    pub(crate) fn wall_clock(&self) -> WallClock {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        WallClock::new(self.now(), since_epoch.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use hearth_home_agent::{Tunnel, Tunnels};

    use super::*;

    fn bind(last: u16, spi: u32) -> Action {
        let tunnel = Tunnel {
            bid: 0,
            priority: Tunnel::NO_PRIORITY,
            spi: Spi::new(spi).unwrap(),
            local: "[2001:db8::1]:7872".parse().unwrap(),
            remote: "[2001:db8:1::c]:5000".parse().unwrap(),
        };
        Action::Bind(Box::new(Tunnels {
            home_address: home(last),
            ipv4_home_address: None,
            link: None,
            prefixes: Vec::new(),
            tunnels: vec![tunnel],
            flows: Vec::new(),
            carriers: Vec::new(),
        }))
    }

    fn home(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
    }

    fn answer(spi: u32) -> Action {
        Action::SendSignalling {
            spi: Spi::new(spi).unwrap(),
            local: "[2001:db8::1]:7872".parse().unwrap(),
            remote: "[2001:db8:1::c]:5000".parse().unwrap(),
            next_header: 43,
            payload: Vec::new(),
        }
    }

    fn notice(last: u16) -> Action {
        let lifetime = Duration::from_secs(400);
        Action::Notice(Notice::Refreshed { home_address: home(last), lifetime })
    }

    /// What is left of a list when the dataplane refuses its first action.
    fn carried_out(rest: &[Action]) -> Vec<usize> {
        let mut void = Void::of(&bind(1, 1));
        (0..rest.len()).filter(|n| !Void::covers(&mut void, &rest[*n])).collect()
    }

    #[test]
    fn of_a_binding_that_was_refused_neither_answer_nor_notice_goes_out() {
        assert!(carried_out(&[answer(1), notice(1)]).is_empty());
        // What the same mobile node is told next is carried out, and so is what others are told.
        assert_eq!(carried_out(&[answer(1), notice(1), answer(1), notice(1)]), [2, 3]);
        assert_eq!(carried_out(&[answer(2), notice(2)]), [0, 1]);
        // Of several care-of addresses some were taken out.
        let ended =
            |last, bid| Action::Notice(Notice::CareOfEnded { home_address: home(last), bid });
        assert!(carried_out(&[answer(1), ended(1, 1), ended(1, 2)]).is_empty());
        assert_eq!(carried_out(&[answer(1), ended(2, 1), ended(1, 2)]), [1, 2]);
        // The next answer is another update's.
        assert_eq!(carried_out(&[answer(1), ended(1, 1), answer(1), notice(1)]), [2, 3]);
        // Its lifetime ended, whatever the dataplane says.
        assert_eq!(carried_out(&[ended(1, 1)]), [0]);
        // No registration: an SA more or less.
        assert_eq!(carried_out(&[Action::RemoveSa(Spi::new(1).unwrap()), answer(1)]), [0, 1]);
    }
}
