//! Which SAs are accounted for, without I/O: changes of the directory in, records out.
//!
//! Read first: RFC 2866 s.2, 5; RFC 2869 s.2.1; readings.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hearth_wire::directory::{SaRecord, Usage};
use hearth_wire::{MobileNodeId, Spi};
use ipnet::{IpNet, Ipv6Net};

use super::remembered::Remembered;
use super::traffic::Traffic;

/// Intervals that an AAA server may ask for (RFC 2869 s.5.16: not under 60 seconds).
const SHORTEST_INTERVAL: u32 = 60;
/// Seconds that a home agent's last word on an SA waits for the directory's: was it revoked, or has a
/// newer SA taken its place?
const PATIENCE: u64 = 2;

/// What an AAA server said for accounting when it accepted a mobile node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorised {
    /// Class, to be sent back.
    pub class: Vec<Box<[u8]>>,
    /// Seconds between interim records.
    pub interim_interval: Option<u32>,
    /// Where the mobile node was.
    pub from: IpAddr,
}

/// One SA, as accounting knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    /// Acct-Session-Id: SPI and number of issue, so that it is never used twice, and is the same
    /// after a restart.
    pub session_id: Box<str>,
    /// The SPI.
    pub spi: Spi,
    /// Whose SA it is.
    pub mn_id: MobileNodeId,
    /// The IPv6 home address.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address.
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// The home agent's address.
    pub home_agent: Ipv6Addr,
    /// Its name.
    pub home_agent_name: Box<str>,
    /// Mobile network prefixes.
    pub prefixes: Vec<Ipv6Net>,
    /// When it was issued, in unix seconds; `None`: before this process began.
    pub begun: Option<u64>,
    /// What the AAA server said; `None`: the HAC authenticated it, or it was before this process
    /// began.
    pub authorised: Option<Authorised>,
}

/// Acct-Status-Type (RFC 2866 s.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An SA was issued.
    Start,
    /// It still is.
    Interim,
    /// It has ended.
    Stop(Cause),
}

/// Acct-Terminate-Cause (RFC 2866 s.5.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its validity is over.
    SessionTimeout,
    /// It was revoked, or its subscriber is gone.
    AdminReset,
    /// Its home agent has ended it: its mobile node uses a newer one.
    NasRequest,
}

/// What a server is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What happened.
    pub event: Event,
    /// When, in unix seconds.
    pub at: u64,
    /// To which SA.
    pub account: Arc<Account>,
    /// What it has carried by then.
    pub traffic: Traffic,
}

/// One replay; a later one is greater.
#[derive(Debug)]
pub struct Replay(u64);

struct Entry {
    account: Arc<Account>,
    traffic: Traffic,
    /// When its home agent said its last word, until its Stop is out.
    over: Option<u64>,
    /// Its Stop is out already: only its record in the directory is left.
    is_stopped: bool,
    validity_end: u64,
    /// Seconds between interim records, and when the next one is due.
    interim: Option<(u64, u64)>,
    /// The replay that it was last seen in.
    replay: u64,
}

/// The SAs that are accounted for. Times are unix seconds and parameters.
pub struct Ledger {
    entries: HashMap<Spi, Entry>,
    /// When each is due for an interim record.
    due: BTreeSet<(u64, Spi)>,
    /// Those of which the home agent has said its last word, and when.
    over: BTreeSet<(u64, Spi)>,
    interim: Option<u64>,
    replay: u64,
}

impl Ledger {
    /// An empty one; `interim`: seconds between interim records where the AAA server does not say.
    #[must_use]
    pub fn new(interim: Option<u64>) -> Self {
        Self {
            entries: HashMap::new(),
            due: BTreeSet::new(),
            over: BTreeSet::new(),
            interim,
            replay: 0,
        }
    }

    /// SAs that are accounted for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An SA was issued, of which this is kept.
    pub fn issued(
        &mut self,
        record: &SaRecord,
        known: Option<Remembered>,
        now: u64,
    ) -> Option<Record> {
        let replay = self.replay;
        let session_id = session_id(record);
        if let Some(known) = self.entries.get_mut(&record.spi) {
            // The same again, with other services.
            if known.account.session_id == session_id {
                known.replay = replay;
                return None;
            }
        }
        let new = Remembered { begun: now, authorised: None, is_stopped: false };
        let known = known.unwrap_or(new);
        Some(self.enter(record, session_id, Some(known), now, Event::Start))
    }

    /// What is to be kept of an SA whose Stop a server has taken, where the directory still has it: when
    /// that ends it, too, or after a restart, it is not told again.
    #[must_use]
    pub fn stopped(&self, account: &Account) -> Option<Remembered> {
        let entry = self.entries.get(&account.spi).filter(|entry| entry.is_stopped)?;
        let Account { begun, authorised, session_id, .. } = &*entry.account;
        (*session_id == account.session_id).then(|| Remembered {
            begun: begun.unwrap_or(0),
            authorised: authorised.clone(),
            is_stopped: true,
        })
    }

    /// An SA of before this process began, whether it has ended meanwhile or not.
    pub fn restored(&mut self, record: &SaRecord, known: Option<Remembered>, now: u64) {
        let _ = self.enter(record, session_id(record), known, now, Event::Interim);
    }

    /// Ends what is of none of these home agents.
    pub fn keep(&mut self, home_agents: &[Box<str>], now: u64) -> Vec<Record> {
        let gone = |entry: &Entry| !home_agents.contains(&entry.account.home_agent_name);
        let gone: Vec<Spi> =
            self.entries.iter().filter(|(_, entry)| gone(entry)).map(|(spi, _)| *spi).collect();
        gone.into_iter().filter_map(|spi| self.revoked(spi, now)).collect()
    }

    /// What `home_agent` says that an SA has carried.
    pub fn used(&mut self, home_agent: &str, usage: &Usage, now: u64) {
        let Some(entry) = self.entries.get_mut(&usage.spi) else { return };
        if *entry.account.home_agent_name != *home_agent || entry.is_stopped {
            return;
        }
        if usage.is_over && entry.over.is_none() {
            entry.over = Some(now);
            self.over.insert((now, usage.spi));
        }
        let has_moved = usage.care_of.is_some() && usage.care_of != entry.traffic.care_of;
        entry.traffic.take(usage);
        if has_moved {
            self.hasten(usage.spi, now);
        }
    }

    /// The mobile node is elsewhere: servers know it a minute after the last record at the latest, where
    /// they want records between Start and Stop.
    fn hasten(&mut self, spi: Spi, now: u64) {
        let entry = self.entries.get_mut(&spi);
        let Some((interval, due)) = entry.and_then(|entry| entry.interim.as_mut()) else { return };
        let last = due.saturating_sub(*interval);
        let soon = last.saturating_add(SHORTEST_INTERVAL.into()).max(now);
        if soon < *due {
            self.due.remove(&(*due, spi));
            *due = soon;
            self.due.insert((soon, spi));
        }
    }

    /// What an SA that is still accounted for has carried.
    #[must_use]
    pub fn traffic(&self, account: &Account) -> Option<Traffic> {
        let entry = self.entries.get(&account.spi).filter(|entry| !entry.is_stopped)?;
        (entry.account.session_id == account.session_id).then_some(entry.traffic)
    }

    /// The Stops of SAs that their home agents have ended, and not the directory.
    pub fn superseded(&mut self, now: u64) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some((since, spi)) = self.over.first().copied() {
            if since.saturating_add(PATIENCE) > now {
                break;
            }
            self.over.remove(&(since, spi));
            let entry = self.entries.get_mut(&spi).filter(|entry| entry.over == Some(since));
            let Some(entry) = entry else { continue };
            entry.over = None;
            entry.is_stopped = true;
            if let Some((_, due)) = entry.interim.take() {
                self.due.remove(&(due, spi));
            }
            let is_over = now >= entry.validity_end;
            let cause = if is_over { Cause::SessionTimeout } else { Cause::NasRequest };
            let (account, traffic) = (entry.account.clone(), entry.traffic);
            let at = since.min(entry.validity_end);
            records.push(Record { event: Event::Stop(cause), at, account, traffic });
        }
        records
    }

    /// Begins a replay of what a home agent has. Those of several may be under way at a time.
    #[must_use]
    pub const fn begin_replay(&mut self) -> Replay {
        self.replay += 1;
        Replay(self.replay)
    }

    /// An SA that exists already: known, or issued before this process began, or while its watch
    /// lagged.
    pub fn replayed(
        &mut self,
        record: &SaRecord,
        known: Option<Remembered>,
        now: u64,
    ) -> Option<Record> {
        let session_id = session_id(record);
        let replay = self.replay;
        match self.entries.get_mut(&record.spi) {
            Some(known) if known.account.session_id == session_id => {
                known.replay = replay;
                None
            }
            _ => Some(self.enter(record, session_id, known, now, Event::Interim)),
        }
    }

    /// Ends a replay: what `home_agent` had and was not in it has ended meanwhile.
    pub fn replay_ended(&mut self, replay: Replay, home_agent: &str, now: u64) -> Vec<Record> {
        let gone = |entry: &Entry| {
            *entry.account.home_agent_name == *home_agent && entry.replay < replay.0
        };
        let gone: Vec<Spi> =
            self.entries.iter().filter(|(_, entry)| gone(entry)).map(|(spi, _)| *spi).collect();
        gone.into_iter().filter_map(|spi| self.revoked(spi, now)).collect()
    }

    /// An SA has ended.
    pub fn revoked(&mut self, spi: Spi, now: u64) -> Option<Record> {
        let entry = self.entries.remove(&spi)?;
        if let Some((_, due)) = entry.interim {
            self.due.remove(&(due, spi));
        }
        if entry.is_stopped {
            return None;
        }
        if let Some(since) = entry.over {
            self.over.remove(&(since, spi));
        }
        let is_over = now >= entry.validity_end;
        let cause = if is_over { Cause::SessionTimeout } else { Cause::AdminReset };
        // It may have ended while nobody looked.
        let at = now.min(entry.validity_end);
        let (account, traffic) = (entry.account, entry.traffic);
        Some(Record { event: Event::Stop(cause), at, account, traffic })
    }

    /// The interim records that are due, `count` of them at most.
    pub fn interim(&mut self, now: u64, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            let Some((due, spi)) = self.due.first().copied().filter(|(due, _)| *due <= now) else {
                break;
            };
            self.due.remove(&(due, spi));
            let Some(entry) = self.entries.get_mut(&spi) else { continue };
            if let Some((interval, due)) = &mut entry.interim {
                // A clock that was put forward brings one record, not one for each interval.
                *due = now.saturating_add(*interval);
                self.due.insert((*due, spi));
            }
            let (account, traffic) = (entry.account.clone(), entry.traffic);
            records.push(Record { event: Event::Interim, at: now, account, traffic });
        }
        records
    }

    fn enter(
        &mut self,
        record: &SaRecord,
        session_id: Box<str>,
        known: Option<Remembered>,
        now: u64,
        event: Event,
    ) -> Record {
        let begun = known.as_ref().map(|known| known.begun);
        let is_stopped = known.as_ref().is_some_and(|known| known.is_stopped);
        let authorised = known.and_then(|known| known.authorised);
        let asked = authorised.as_ref().and_then(|authorised| authorised.interim_interval);
        let interval = asked.map(|seconds| seconds.max(SHORTEST_INTERVAL).into()).or(self.interim);
        let interval = interval.filter(|_| !is_stopped);
        let interim = interval.map(|interval| (interval, now.saturating_add(interval)));
        let account = Arc::new(Account {
            session_id,
            spi: record.spi,
            mn_id: record.mn_id.clone(),
            home_address: record.home_address,
            ipv4_home_address: record.ipv4_home_address,
            home_agent: record.ha_address,
            home_agent_name: record.home_agent.clone(),
            prefixes: record.services.prefixes.iter().filter_map(ip6_prefix).collect(),
            begun,
            authorised,
        });
        let entry = Entry {
            account: account.clone(),
            traffic: Traffic::default(),
            over: None,
            is_stopped,
            validity_end: record.validity_end,
            interim,
            replay: self.replay,
        };
        if let Some(Entry { interim: Some((_, due)), .. }) = self.entries.insert(record.spi, entry)
        {
            self.due.remove(&(due, record.spi));
        }
        if let Some((_, due)) = interim {
            self.due.insert((due, record.spi));
        }
        Record { event, at: now, account, traffic: Traffic::default() }
    }
}

fn session_id(record: &SaRecord) -> Box<str> {
    format!("{:07x}-{:x}", record.spi.get(), record.generation).into()
}

const fn ip6_prefix(prefix: &IpNet) -> Option<Ipv6Net> {
    match prefix {
        IpNet::V6(prefix) => Some(*prefix),
        IpNet::V4(_) => None,
    }
}

#[cfg(test)]
pub(super) mod testing {
    use hearth_wire::directory::Services;
    use hearth_wire::{Scope, Suite};

    use super::*;
    use crate::keys::direction_keys;
    use crate::testing::Counting;

    pub(crate) const END: u64 = 5000;

    pub(crate) fn sa(spi: u32, generation: u64, home_agent: &str) -> SaRecord {
        let keys = || direction_keys(Suite::Aes128CbcSha, &mut Counting::from(1)).unwrap();
        SaRecord {
            spi: Spi::new(spi).unwrap(),
            mn_id: MobileNodeId::new("mn1@example.net").unwrap(),
            home_agent: home_agent.into(),
            suite: Suite::Aes128CbcSha,
            scope: Scope::SignallingAndData,
            mn_to_ha: keys(),
            ha_to_mn: keys(),
            validity_end: END,
            home_address: "2001:db8:100::10".parse().unwrap(),
            ipv4_home_address: None,
            ha_address: "2001:db8:1::1".parse().unwrap(),
            generation,
            services: Services::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{END, sa};
    use super::*;

    fn events(records: impl IntoIterator<Item = Record>) -> Vec<(Event, u64, String)> {
        let of = |record: Record| {
            (record.event, record.at, record.account.session_id.clone().into_string())
        };
        records.into_iter().map(of).collect()
    }

    fn said(class: &str, interim_interval: Option<u32>) -> Authorised {
        Authorised {
            class: vec![class.as_bytes().into()],
            interim_interval,
            from: "192.0.2.1".parse().unwrap(),
        }
    }

    fn kept(authorised: Option<Authorised>) -> Option<Remembered> {
        Some(Remembered { begun: 100, authorised, is_stopped: false })
    }

    #[test]
    fn an_sa_starts_and_stops() {
        let mut ledger = Ledger::new(None);
        let sa = sa(0xabc, 26, "ha1");
        let id = "0000abc-1a".to_owned();
        assert_eq!(events(ledger.issued(&sa, None, 100)), [(Event::Start, 100, id.clone())]);
        assert_eq!(ledger.issued(&sa, None, 101), None, "told again with other services");
        assert_eq!(ledger.interim(4000, 10), []);
        let stop = Event::Stop(Cause::AdminReset);
        assert_eq!(events(ledger.revoked(sa.spi, 4999)), [(stop, 4999, id.clone())]);
        assert_eq!(ledger.revoked(sa.spi, 4999), None);
        ledger.issued(&sa, None, 100);
        let stop = Event::Stop(Cause::SessionTimeout);
        assert_eq!(events(ledger.revoked(sa.spi, END)), [(stop, END, id)]);
        assert!(ledger.is_empty() && ledger.due.is_empty());
    }

    #[test]
    fn interim_records_come_at_their_time() {
        let mut ledger = Ledger::new(Some(600));
        let (one, two) = (sa(1, 1, "ha1"), sa(2, 2, "ha1"));
        ledger.issued(&one, None, 0);
        let start = ledger.issued(&two, kept(Some(said("gold", Some(5)))), 0).unwrap();
        assert_eq!(start.account.authorised, Some(said("gold", Some(5))));
        assert_eq!(ledger.interim(59, 10), []);
        let two = "0000002-2".to_owned();
        assert_eq!(events(ledger.interim(60, 10)), [(Event::Interim, 60, two)], "60 at least");
        assert_eq!(events(ledger.interim(1_000_000, 10)).len(), 2, "one each after a jump");
        assert_eq!(ledger.interim(1_000_059, 10), []);
        assert_eq!(events(ledger.interim(1_000_600, 1)).len(), 1);
        ledger.revoked(one.spi, 1_000_600);
        assert_eq!(ledger.due.len(), 1);
    }

    /// A mobile node that moves is told of a minute after the last record, not at the end of an interval
    /// of hours.
    #[test]
    fn a_move_brings_the_next_interim_record_forward() {
        let mut ledger = Ledger::new(Some(6000));
        let one = sa(1, 1, "ha1");
        ledger.issued(&one, None, 100);
        let at = |last: u8| Usage { care_of: Some([192, 0, 2, last].into()), ..usage(1, 7, false) };
        ledger.used("ha1", &at(1), 110);
        assert_eq!(ledger.interim(159, 10), []);
        let records = ledger.interim(160, 10);
        assert_eq!(records[0].traffic.care_of, at(1).care_of);
        // Where it is is known: what is said again changes nothing.
        ledger.used("ha1", &at(1), 170);
        assert_eq!(ledger.interim(3000, 10), []);
        ledger.used("ha1", &at(2), 3001);
        assert_eq!(ledger.interim(3001, 10)[0].traffic.care_of, at(2).care_of);
        assert_eq!(ledger.interim(9000, 10), []);
        assert_eq!(ledger.interim(9001, 10).len(), 1);
        assert_eq!(ledger.due.len(), 1);
    }

    /// its Stop is out; after a restart it is not told again when its validity ends.
    #[test]
    fn a_superseded_sa_stops_once_though_the_daemon_restarts() {
        let mut ledger = Ledger::new(Some(60));
        let old = sa(1, 1, "ha1");
        ledger.issued(&old, kept(Some(said("gold", None))), 100);
        ledger.used("ha1", &usage(1, 7, true), 200);
        let stop = ledger.superseded(202).remove(0);
        let remembered = ledger.stopped(&stop.account).unwrap();
        assert_eq!((remembered.begun, remembered.is_stopped), (100, true));

        let mut restarted = Ledger::new(Some(60));
        restarted.restored(&old, Some(remembered), 300);
        assert_eq!(restarted.interim(END, 10), []);
        assert_eq!(restarted.revoked(old.spi, END), None);
        // Of one that goes on nothing is kept anew.
        let other = sa(2, 2, "ha1");
        let start = ledger.issued(&other, None, 300).unwrap();
        assert_eq!(ledger.stopped(&start.account), None);
    }

    /// After a restart, and after a watch that lagged.
    #[test]
    fn a_replay_tells_what_was_missed() {
        let mut ledger = Ledger::new(None);
        let (old, gone, elsewhere) = (sa(1, 1, "ha1"), sa(2, 2, "ha1"), sa(3, 3, "ha2"));
        let replay = ledger.begin_replay();
        // That of another home agent begins meanwhile.
        let _another = ledger.begin_replay();
        let replayed = ledger.replayed(&old, None, 100).unwrap();
        assert_eq!((replayed.event, replayed.account.begun), (Event::Interim, None));
        assert_eq!(ledger.replay_ended(replay, "ha1", 100), []);
        ledger.issued(&gone, None, 100);
        ledger.issued(&elsewhere, None, 100);
        let replay = ledger.begin_replay();
        assert_eq!(ledger.replayed(&old, None, 200), None, "known");
        let new = sa(4, 4, "ha1");
        assert_eq!(ledger.replayed(&new, None, 200).unwrap().event, Event::Interim);
        let stop = Event::Stop(Cause::AdminReset);
        let ended = events(ledger.replay_ended(replay, "ha1", 200));
        assert_eq!(ended, [(stop, 200, "0000002-2".to_owned())]);
        assert_eq!(ledger.len(), 3);
        // An SPI that was dealt out anew is another session.
        let reissued = sa(1, 9, "ha1");
        assert_eq!(events(ledger.issued(&reissued, None, 300))[0].2, "0000001-9");
    }

    fn usage(spi: u32, octets_in: u64, is_over: bool) -> Usage {
        let spi = Spi::new(spi).unwrap();
        let (packets_in, packets_out, octets_out) = (1, 1, 1);
        Usage { spi, packets_in, octets_in, packets_out, octets_out, care_of: None, is_over }
    }

    /// what the home agent ends is over, and is not told again when the directory ends it.
    #[test]
    fn an_sa_that_a_newer_one_replaced_stops() {
        let mut ledger = Ledger::new(Some(60));
        let (old, revoked) = (sa(1, 1, "ha1"), sa(2, 2, "ha1"));
        ledger.issued(&old, None, 100);
        ledger.issued(&revoked, None, 100);
        ledger.used("ha2", &usage(1, 7, true), 200);
        assert_eq!(ledger.superseded(300), [], "another home agent's word");
        ledger.used("ha1", &usage(1, 7, true), 200);
        ledger.used("ha1", &usage(2, 8, true), 200);
        assert_eq!(ledger.superseded(201), [], "it may be revoked");
        let stop = ledger.revoked(revoked.spi, 201).unwrap();
        assert_eq!(stop.event, Event::Stop(Cause::AdminReset));
        assert!(stop.traffic.is_over);
        let stop = Event::Stop(Cause::NasRequest);
        assert_eq!(events(ledger.superseded(202)), [(stop, 200, "0000001-1".to_owned())]);
        assert_eq!(ledger.interim(10_000, 10), []);
        assert_eq!(ledger.revoked(old.spi, 10_000), None);
        assert!(ledger.is_empty() && ledger.over.is_empty());
    }

    /// A daemon that was away: what lives on goes on, what has ended is told with the time of its end.
    #[test]
    fn what_ended_while_the_daemon_was_away_stops() {
        let mut ledger = Ledger::new(None);
        let known = kept(Some(said("gold", None))).unwrap();
        let (on, ended, elsewhere) = (sa(1, 1, "ha1"), sa(2, 2, "ha1"), sa(3, 3, "gone"));
        for sa in [&on, &ended, &elsewhere] {
            ledger.restored(sa, Some(known.clone()), 9000);
        }
        let id = |number: u32| format!("000000{number}-{number}");
        let stop = Event::Stop(Cause::SessionTimeout);
        let gone = ledger.keep(&["ha1".into()], 9000);
        assert_eq!(events(gone), [(stop, END, id(3))]);
        let replay = ledger.begin_replay();
        assert_eq!(ledger.replayed(&on, None, 9000), None);
        let records = ledger.replay_ended(replay, "ha1", 9000);
        assert_eq!(records[0].account.begun, Some(100));
        assert_eq!(records[0].account.authorised, known.authorised);
        assert_eq!(events(records), [(stop, END, id(2))]);
        assert_eq!(ledger.len(), 1);
    }
}
