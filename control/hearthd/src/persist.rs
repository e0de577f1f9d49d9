//! What hearthd writes down, so that a restart finds it: SAs with their keys, bindings, sequence
//! numbers.
//!
//! Read first: readings; `hearth-store`.
//!
//! Everything that the home agent changed in a turn of the control thread is written at its end, in
//! one write, and only then do the turn's answers leave: a crash loses nothing that was answered.
//! What ended a binding is answered when it is on the disk; under `state.sync: strict` everything
//! is.
//!
//! | record | key | value |
//! |---|---|---|
//! | SA | SPI, generation | version, flags, numbers, life, the directory's record with or without keys |
//! | binding | home address | the home agent's octets |
//! | grant | SPI, generation | outbound numbers that may be used, and the start that granted them |
//! | inbound | SPI, generation | numbers below which all count as seen, octets carried |
//! | home agent | a name | the numbers of starts and of losses, the boot, the highest SPI, the epoch |
//!
//! **Outbound numbers** are granted in units of 2^16, and no worker draws one beyond what the disk
//! has as granted. A restart goes on behind the grant; each start adds [`FIRST_GRANT`] to what it
//! finds, so that it need not write down a million grants before the first packet.
//!
//! **Inbound numbers** can't be granted, since the mobile node draws them. Every [`ROUND`] those of
//! SAs that have moved are written down with twice the distance that they came since the time before:
//! after a crash what lies below counts as seen. Mobile nodes send on meanwhile, so that it costs
//! them next to nothing; a packet of the last moments passes again only where an SA had more than
//! doubled its rate in them. A stop writes the numbers themselves.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use hearth_dataplane::{PortId, SaNumbers, SaObserver, SaParameters, SaUsage};
use hearth_home_agent::{Change, Cursor, HomeAgent, SaInfo, SaLife, Timestamp};
use hearth_store::{Kind, Mark, OpenError, Options, Store, StoreError};
use hearth_wire::directory::{SaRecord, Update, encode_update};
use hearth_wire::{SeqNo, Spi};
use tracing::{error, info};
use zeroize::Zeroizing;

mod kept;
mod records;
mod remembered;

use kept::{KeptSa, KeptSas};
use records::{
    FRAME_LENGTH, Numbers, SA_HEAD, SA_VERSION, WITHOUT_KEYS, grant_value, inbound_value,
    record_of, sa_key,
};
pub use remembered::Remembered;
use remembered::{BOOT, CLEAN, EPOCH, HIGHEST, LOSSES, STARTS, boot, remember, report_loss};
pub(crate) use remembered::{Bindings, Part, SaLifted};

use crate::state_config::{Keys, State as Section, Sync};

/// The version of the values; see [`Options`].
const SCHEMA: u16 = 1;

/// Outbound numbers that an SA may use without asking, in units of 2^16: a million. A restart skips
/// as many, so that an SA outlives a thousand of them.
const FIRST_GRANT: u16 = 16;

/// The most that is granted at a time: 11 s at 1.5 million packets a second.
const LARGEST_GRANT: u16 = 256;

/// An SA that needs more so soon gets twice as much the next time.
const SOON: u32 = 4;

/// The shortest time between two looks at the inbound numbers of one SA: what it costs a mobile node
/// that falls silent with its home agent. And how many SAs are looked at in one sweep, 10 ms before
/// the next: with a million of them a round takes some seconds.
const ROUND: Duration = Duration::from_millis(20);
const SWEEP: u32 = 2048;

/// Records handed in again in a turn, while the log is rewritten.
const REWRITE: usize = 256;

/// Answers that may wait for the disk, and how long one is worth it: the mobile node has asked
/// again by then.
const HELD: usize = 1 << 16;
const HELD_FOR: Duration = Duration::from_secs(5);

/// A message to a mobile node.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) spi: Spi,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) next_header: u8,
    pub(crate) payload: Vec<u8>,
    /// On this port's link, where the mobile node is at home and its address is bound.
    pub(crate) link: Option<PortId>,
}

/// A message that waits for the disk.
#[derive(Debug)]
struct Held {
    /// `None` until it is written.
    mark: Option<Mark>,
    since: Instant,
    message: Outgoing,
}

/// How much longer a round lasts for each SA that has moved in the one before: no more than some
/// 20,000 records are written in a second.
const EACH: Duration = Duration::from_micros(50);

/// A grant that is not on the disk yet.
struct Granted {
    mark: Option<Mark>,
    spi: Spi,
    generation: u64,
    units: u16,
}

/// The state on disk.
pub struct Persist {
    store: Store,
    sync: Sync,
    keys: Keys,
    home_agent: Box<str>,
    /// [`Timestamp`] at `start`: Unix ms, or beyond, where the wall clock went back.
    origin: u64,
    start: Instant,
    sas: KeptSas,
    /// SAs whose keys the directory has to say.
    awaited: HashMap<Spi, SaLifted>,
    grants: VecDeque<Granted>,
    /// The number of this start.
    starts: u32,
    /// How often bindings were lost, by the first start of all too.
    losses: u32,
    /// AES-GCM's part of the IV in this run.
    epoch: u32,
    highest_spi: u32,
    /// What the log says of it.
    highest_written: u32,
    observer: Option<SaObserver>,
    /// Where the sweep over the inbound numbers is, and when the round began.
    sweep: u32,
    round: Instant,
    /// SAs that have moved in this round.
    moved: u32,
    /// Answers under these SAs tell of an end.
    lasting: HashSet<Spi>,
    held: VecDeque<Held>,
    rewriting: Option<Cursor>,
    /// Something could not even be put: the log misses it.
    missed: bool,
    /// What the operator was told.
    trouble: Option<StoreError>,
    /// Answers that were given up because the disk did not take what they tell.
    pub(crate) withheld: u64,
    /// Turns whose changes could not be written at once.
    pub(crate) failed: u64,
}

impl Persist {
    /// Opens the state of `home_agent`, and says what is in it.
    ///
    /// # Errors
    /// Another process has it, others than this user may look into it, or it can't be read.
    pub fn open(section: &Section, home_agent: &str) -> Result<(Self, Remembered), OpenError> {
        let folder = section.folder.value.join("log");
        let (store, recovered) = Store::open(&folder, Options::new(SCHEMA))?;
        let (start, now) = (Instant::now(), unix_millis());
        let origin = recovered.now(now);
        report_loss(&recovered);
        let (remembered, last_epoch) = remember(recovered)?;
        // What does not fit 32 bits is left out: what is left differs from start to start as well.
        let seconds = u32::try_from((now / 1000) & u64::from(u32::MAX)).unwrap_or(0);
        let this = Self {
            store,
            sync: section.sync,
            keys: section.keys,
            home_agent: home_agent.into(),
            origin,
            start,
            sas: KeptSas::default(),
            awaited: HashMap::new(),
            grants: VecDeque::new(),
            starts: remembered.starts,
            losses: remembered.losses,
            epoch: last_epoch.map_or(seconds, |last| seconds.max(last.wrapping_add(1))),
            highest_spi: 0,
            highest_written: 0,
            observer: None,
            sweep: 0,
            round: start,
            moved: 0,
            lasting: HashSet::new(),
            held: VecDeque::new(),
            rewriting: None,
            missed: false,
            trouble: None,
            withheld: 0,
            failed: 0,
        };
        Ok((this, remembered))
    }

    /// The restart counter of RFC 5847 s.3.3: it grows with every start that may have lost bindings,
    /// and with no other.
    #[must_use]
    pub const fn restart_counter(&self) -> u32 {
        self.losses
    }

    /// Notes that this start has succeeded, and waits until the disk has it: from now on numbers
    /// are used.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(crate) fn begin(&mut self, highest_spi: u32) -> Result<(), StoreError> {
        self.highest_spi = self.highest_spi.max(highest_spi);
        self.put_own(false)?;
        self.store.delete(Kind::HomeAgent, CLEAN)?;
        let mark = self.store.flush_turn(self.now_millis())?;
        if self.store.wait_durable(mark, Duration::from_secs(10)) {
            return Ok(());
        }
        Err(self.store.trouble().unwrap_or(StoreError::Behind))
    }

    /// Whom to ask for the inbound numbers of SAs.
    pub(crate) fn observe(&mut self, observer: SaObserver) {
        self.observer = Some(observer);
    }

    /// What the home agent knows of itself.
    fn put_own(&mut self, again: bool) -> Result<(), StoreError> {
        let (starts, losses) = (self.starts, self.losses);
        let (epoch, highest) = (self.epoch, self.highest_spi);
        let numbers = [(STARTS, starts), (LOSSES, losses), (EPOCH, epoch), (HIGHEST, highest)];
        self.highest_written = highest;
        for (name, number) in numbers {
            self.put(Kind::HomeAgent, name, &number.to_be_bytes(), again)?;
        }
        self.put(Kind::HomeAgent, BOOT, &boot().unwrap_or_default(), again)
    }

    /// Ends: numbers that were only estimated are written as they are. To be called when workers
    /// have stopped.
    pub(crate) fn end(&mut self, home_agent: &mut HomeAgent) {
        home_agent.changes(|change| self.take(change, false));
        self.sweep = 0;
        while self.sweep_in_part(u32::MAX, true) {}
        let put = self.store.put(Kind::HomeAgent, CLEAN, &[1]);
        let written = put.and_then(|()| self.store.flush_turn(self.now_millis()));
        match written {
            Ok(mark) if self.store.wait_durable(mark, Duration::from_secs(10)) => {}
            Ok(_) => error!("the disk does not take the state; the next start may miss its end"),
            Err(error) => error!(%error, "the end of the state can't be written"),
        }
    }

    /// The time on the line that goes on across restarts.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_millis())
    }

    fn now_millis(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.origin.saturating_add(elapsed)
    }

    /// Where the numbers of an SA begin that is new here, or that was kept.
    pub(crate) fn parameters<'a>(
        &self,
        record: &'a SaRecord,
        kept: Option<&SaLifted>,
    ) -> SaParameters<'a> {
        let before = kept.map(|kept| kept.numbers).unwrap_or_default();
        SaParameters {
            spi: record.spi,
            suite: record.suite,
            scope: record.scope,
            mn_to_ha: &record.mn_to_ha,
            ha_to_mn: &record.ha_to_mn,
            next_outbound: SeqNo(u32::from(before.grant) << 16),
            grant: before.grant.saturating_add(FIRST_GRANT),
            inbound_floor: before.floor,
            epoch: self.epoch,
        }
    }

    /// What a kept SA has carried, inbound and outbound.
    pub(crate) const fn octets_of(kept: &SaLifted) -> [u64; 2] {
        [kept.numbers.in_octets, kept.numbers.out_octets]
    }

    /// An SA is in the tables: its keys are kept from now on, and so are its numbers.
    pub(crate) fn installed(&mut self, record: &SaRecord, kept: Option<&SaLifted>) {
        let keys = [&record.mn_to_ha, &record.ha_to_mn];
        let [a, b] = keys.map(|keys| [keys.integrity(), keys.encryption()]);
        let without = self.keys == Keys::Directory;
        let keys: &[&[u8]] = &[a[0], a[1], b[0], b[1]];
        self.keep(record, kept, if without { &[] } else { keys });
    }

    fn keep(&mut self, record: &SaRecord, kept: Option<&SaLifted>, keys: &[&[u8]]) {
        let before = kept.map(|kept| kept.numbers).unwrap_or_default();
        let sa = KeptSa {
            generation: record.generation,
            validity_end: record.validity_end,
            grant: before.grant.saturating_add(FIRST_GRANT),
            floor: before.floor,
            step: FIRST_GRANT,
            granted: 0,
            top: before.floor,
        };
        self.sas.insert(record.spi, sa, keys);
        self.highest_spi = self.highest_spi.max(record.spi.get());
    }

    /// An SA was taken in again whose keys are not here.
    pub(crate) fn await_keys(&mut self, kept: SaLifted) {
        self.keep(&kept.record, Some(&kept), &[]);
        self.awaited.insert(kept.record.spi, kept);
    }

    /// The SA of `record`, where its keys were awaited.
    pub(crate) fn awaited(&mut self, record: &SaRecord) -> Option<SaLifted> {
        let kept = self.awaited.get(&record.spi)?;
        (kept.record.generation == record.generation).then_some(())?;
        self.awaited.remove(&record.spi)
    }

    /// An SA comes to the end of its numbers: more are granted as soon as the disk has it.
    pub(crate) fn near_grant(&mut self, spi: Spi, next_outbound: u64) {
        let seconds = u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX);
        let starts = self.starts;
        let Some(kept) = self.sas.get_mut(spi) else { return };
        let used = u16::try_from(next_outbound >> 16).unwrap_or(u16::MAX);
        if kept.grant.saturating_sub(used) > kept.step / 2 {
            return;
        }
        if seconds.saturating_sub(kept.granted) < SOON {
            kept.step = kept.step.saturating_mul(2).min(LARGEST_GRANT);
        }
        kept.granted = seconds;
        let units = used.saturating_add(kept.step).max(kept.grant);
        if units == kept.grant {
            return;
        }
        let generation = kept.generation;
        let key = sa_key(spi, generation);
        if self.store.put(Kind::Grant, &key, &grant_value(units, starts)).is_err() {
            // Not on its way to the disk: the workers ask again.
            return;
        }
        kept.grant = units;
        self.grants.push_back(Granted { mark: None, spi, generation, units });
    }

    /// Looks at the inbound numbers of some SAs, and writes down those that have moved.
    pub(crate) fn sweep(&mut self) {
        if self.sweep == 0 {
            if self.round.elapsed() < ROUND.max(EACH * self.moved) {
                return;
            }
            self.round = Instant::now();
            self.moved = 0;
        }
        self.sweep_in_part(SWEEP, false);
    }

    /// Whether there is more. With `exact`, the numbers are no longer moving.
    fn sweep_in_part(&mut self, most: u32, exact: bool) -> bool {
        let Some(observer) = self.observer.take() else { return false };
        let next = observer.sweep(self.sweep, most, |spi, numbers| {
            self.note_inbound(spi, numbers, exact, &|| observer.usage(spi));
        });
        self.observer = Some(observer);
        self.sweep = next.unwrap_or(0);
        next.is_some()
    }

    fn note_inbound(
        &mut self,
        spi: Spi,
        numbers: SaNumbers,
        exact: bool,
        usage: &dyn Fn() -> Option<SaUsage>,
    ) {
        let Some(kept) = self.sas.get_mut(spi) else { return };
        let top = u32::try_from(numbers.inbound_top).unwrap_or(u32::MAX);
        let moved = if exact { 0 } else { top.saturating_sub(kept.top) };
        let floor = top.saturating_add(moved.saturating_mul(2));
        kept.top = top;
        if floor == kept.floor {
            return;
        }
        kept.floor = floor;
        self.moved += 1;
        let key = sa_key(spi, kept.generation);
        // Where it has gone meanwhile, it is about to go here.
        let Some(usage) = usage() else { return };
        let numbers = Numbers::new(kept, [usage.in_octets, usage.out_octets]);
        let done = self.store.put(Kind::Inbound, &key, &inbound_value(numbers));
        self.missed |= done.is_err();
    }

    /// Octets that an SA has carried, inbound and outbound: the tables count them, and until it is
    /// there its record says them.
    fn octets(&self, spi: Spi) -> [u64; 2] {
        let usage = self.observer.as_ref().and_then(|observer| observer.usage(spi));
        let usage = usage.map(|usage| [usage.in_octets, usage.out_octets]);
        let awaited = || self.awaited.get(&spi).map(Self::octets_of);
        usage.or_else(awaited).unwrap_or_default()
    }

    fn take(&mut self, change: Change<'_>, again: bool) {
        let done = match change {
            Change::Sa { info, life } => self.put_sa(info, life, again),
            Change::SaGone { spi, generation } => self.delete_sa(spi, generation),
            Change::Binding { home_address, spi, ended, octets } => {
                if ended && !again {
                    self.lasting.insert(spi);
                }
                self.put(Kind::Binding, &home_address.octets(), octets, again)
            }
            Change::BindingGone { home_address } => {
                self.store.delete(Kind::Binding, &home_address.octets())
            }
        };
        self.missed |= done.is_err();
    }

    fn put(&mut self, kind: Kind, key: &[u8], value: &[u8], again: bool) -> Result<(), StoreError> {
        if again { self.store.rewrite(kind, key, value) } else { self.store.put(kind, key, value) }
    }

    fn put_sa(&mut self, info: &SaInfo, life: SaLife, again: bool) -> Result<(), StoreError> {
        // One that could not be installed is nothing to come back to.
        let of_it = |kept: &&KeptSa| kept.generation == info.generation;
        let Some(kept) = self.sas.get(info.spi).filter(of_it) else { return Ok(()) };
        let keys = self.sas.keys(info.spi);
        let record = record_of(info, (kept.validity_end, keys), &self.home_agent);
        let Some(record) = record else { return Ok(()) };
        let frame = encode_update(&Update::Issued(Box::new(record)));
        let Some(frame) = frame.as_deref().and_then(|frame| frame.get(FRAME_LENGTH..)) else {
            return Ok(());
        };
        let flags = if keys.is_empty() { WITHOUT_KEYS } else { 0 };
        let mut value = Zeroizing::new(Vec::with_capacity(SA_HEAD + frame.len()));
        value.extend_from_slice(&[SA_VERSION, flags]);
        value.extend_from_slice(&grant_value(kept.grant, self.starts));
        value.extend_from_slice(&inbound_value(Numbers::new(kept, self.octets(info.spi))));
        value.extend_from_slice(&life.to_octets());
        value.extend_from_slice(frame);
        self.put(Kind::Sa, &sa_key(info.spi, info.generation), &value, again)
    }

    fn delete_sa(&mut self, spi: Spi, generation: u64) -> Result<(), StoreError> {
        if self.sas.get(spi).is_some_and(|kept| kept.generation == generation) {
            self.sas.remove(spi);
        }
        let key = sa_key(spi, generation);
        [Kind::Sa, Kind::Grant, Kind::Inbound]
            .into_iter()
            .try_for_each(|kind| self.store.delete(kind, &key))
    }

    /// Writes what the home agent has changed since the last time. Then those of the messages in
    /// `outbox` leave that need not wait for the disk, those that have waited, and grants.
    pub(crate) fn end_turn(
        &mut self,
        home_agent: &mut HomeAgent,
        outbox: &mut Vec<Outgoing>,
        mut leave: impl FnMut(Leaving<'_>),
    ) {
        home_agent.changes(|change| self.take(change, false));
        self.put_highest();
        self.rewrite_in_part(home_agent);
        let written = self.store.flush_turn(self.now_millis());
        let trouble = written.err().or_else(|| self.store.trouble());
        self.failed += u64::from(trouble.is_some());
        self.tell_trouble(trouble);
        let durable = self.store.durable();
        if let Ok(mark) = written {
            self.held.iter_mut().for_each(|held| held.mark = held.mark.or(Some(mark)));
            self.grants.iter_mut().for_each(|one| one.mark = one.mark.or(Some(mark)));
        }
        let on_disk = |mark: Option<Mark>| mark.is_some_and(|mark| mark <= durable);
        while let Some(one) = self.grants.pop_front_if(|one| on_disk(one.mark)) {
            let Granted { spi, generation, units, .. } = one;
            if self.sas.get(spi).is_some_and(|kept| kept.generation == generation) {
                leave(Leaving::Grant(spi, units));
            }
        }
        let now = Instant::now();
        while let Some(held) = self
            .held
            .pop_front_if(|held| on_disk(held.mark) || now.duration_since(held.since) > HELD_FOR)
        {
            if on_disk(held.mark) {
                leave(Leaving::Message(&held.message));
            } else {
                self.withheld += 1;
            }
        }
        for message in outbox.drain(..) {
            let waits = self.sync == Sync::Strict || self.lasting.contains(&message.spi);
            if !waits || on_disk(written.ok()) {
                leave(Leaving::Message(&message));
            } else if self.held.len() < HELD {
                self.held.push_back(Held { mark: written.ok(), since: now, message });
            } else {
                self.withheld += 1;
            }
        }
        self.lasting.clear();
    }

    /// Once in a turn, however many SAs have come in it.
    fn put_highest(&mut self) {
        if self.highest_spi > self.highest_written {
            self.highest_written = self.highest_spi;
            let highest = self.highest_spi.to_be_bytes();
            self.missed |= self.store.put(Kind::HomeAgent, HIGHEST, &highest).is_err();
        }
    }

    fn rewrite_in_part(&mut self, home_agent: &HomeAgent) {
        if self.rewriting.is_none() {
            let records = home_agent.sa_count() + home_agent.binding_count();
            let due = self.missed || self.store.rewrite_due(records as u64);
            if !due || !self.store.begin_rewrite() {
                return;
            }
            self.missed = self.put_own(true).is_err();
            self.rewriting = Some(Cursor::default());
        }
        let Some(from) = self.rewriting else { return };
        self.rewriting = home_agent.rewrite(from, REWRITE, |change| {
            self.take(change, true);
        });
        if self.rewriting.is_none() {
            self.store.end_rewrite();
        }
    }

    /// Says once that the disk fails, and once that it works again.
    /// Whether what was changed last is not written.
    pub(crate) const fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    fn tell_trouble(&mut self, trouble: Option<StoreError>) {
        if self.trouble == trouble {
            return;
        }
        match trouble {
            Some(error) => error!(
                %error,
                "the state of the home agent is not kept; forwarding goes on, and no end of a \
                 binding is acknowledged (state.sync: strict: nothing is)"
            ),
            None => info!("the state of the home agent is kept again"),
        }
        self.trouble = trouble;
    }
}

/// What may leave at the end of a turn.
pub(crate) enum Leaving<'a> {
    /// A message to a mobile node.
    Message(&'a Outgoing),
    /// Outbound numbers of an SA, in units of 2^16.
    Grant(Spi, u16),
}

fn unix_millis() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
