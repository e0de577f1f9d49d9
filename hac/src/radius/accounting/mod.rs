//! Accounting: what the HAC issued, told to accounting servers.
//!
//! Read first: RFC 2866; RFC 5080 s.2.2.1; RFC 2869 s.5.2, 5.3, 5.16.
//!
//! ```text
//!  directory --watch--> Ledger --records--> lanes (SPI mod 16) --> the first server that answers
//! ```
//!
//! Octets are the home agents' to say: an interim record asks for them a moment before it goes, and a
//! Stop waits a moment for the last word.
//!
//! A lane sends one record after the other, so that the Stop of an SA never overtakes its Start.

pub mod ledger;
pub mod remembered;
mod request;
pub mod traffic;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hearth_wire::Spi;
use hearth_wire::directory::{SaRecord, Update, Usage};
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use self::ledger::{Authorised, Event, Ledger, Record};
use self::remembered::Remembered;
use self::request::Whole;
use super::counters::Counters;
use super::health::Standing;
use super::packet::{Request, TooLong};
use super::server::{Server, ServerConfig, renew};
use crate::config::AccountingConfig;
use crate::directory::{Clock, Directory};
use hearth_log::LogLimit;

/// Records that are sent at a time.
const LANES: u32 = 16;
/// Interim records that fall due at once are spread over so many a second.
const INTERIM_RATE: usize = 1000;
/// How long a lane waits before it tries a record again that no server has answered.
const PAUSE: Duration = Duration::from_secs(1);
/// Seconds that a Stop waits for its home agent's last word.
const LAST_WORD: u8 = 2;
/// How long the order to stop may be held up by Accounting-Off.
const OFF_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Lane {
    records: Mutex<VecDeque<Record>>,
    wake: Notify,
}

impl Lane {
    fn records(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for accounting servers, and the servers.
pub struct Accounting {
    servers: RwLock<Vec<Arc<Server>>>,
    nas_identifier: Box<str>,
    ledger: Mutex<Ledger>,
    lanes: Vec<Lane>,
    /// Records that wait in one lane at most.
    lane_limit: usize,
    clock: Clock,
    /// Stops that wait for their home agents' last word, and for how many seconds yet.
    ending: Mutex<HashMap<Spi, (u8, Record)>>,
    /// What is to be kept of SAs whose Stop a server has taken before the directory has ended them.
    stopped: Mutex<Vec<(Spi, Box<[u8]>)>>,
    /// Whether SAs of before this process began go on: then nothing begins with it.
    goes_on: AtomicBool,
    /// Whether Accounting-On is out, or need not be.
    is_on: OnceCell<()>,
    lost: AtomicU64,
    log_limit: LogLimit,
}

impl Accounting {
    /// Accounting to the servers of `config`; to be called within a tokio runtime.
    #[must_use]
    pub fn start(config: AccountingConfig, nas_identifier: &str, clock: Clock) -> Arc<Self> {
        let lanes: Vec<_> = (0..LANES).map(|_| Lane::default()).collect();
        Arc::new(Self {
            servers: RwLock::new(renew(&[], config.servers, nas_identifier)),
            nas_identifier: nas_identifier.into(),
            ledger: Mutex::new(Ledger::new(config.interim.map(|interim| interim.as_secs()))),
            lane_limit: config.queue.div_ceil(lanes.len()).max(1),
            lanes,
            clock,
            ending: Mutex::default(),
            stopped: Mutex::default(),
            goes_on: AtomicBool::new(false),
            is_on: OnceCell::new(),
            lost: AtomicU64::new(0),
            log_limit: LogLimit::default(),
        })
    }

    /// An SA that the directory's store had when it was opened, and what was kept of it.
    pub fn restored(&self, record: &SaRecord, kept: Option<&[u8]>) {
        self.goes_on.store(true, Ordering::Relaxed);
        let known = kept.and_then(Remembered::decode);
        self.ledger().restored(record, known, (self.clock)());
    }

    /// What is to be kept of the SA that a mobile node is about to get which an AAA server has
    /// `authorised`, or the HAC itself.
    #[must_use]
    pub fn to_keep(&self, authorised: Option<Authorised>) -> Box<[u8]> {
        Remembered { begun: (self.clock)(), authorised, is_stopped: false }.encode()
    }

    /// Goes on with these servers. One that is as it was keeps its connections; what is on its way to
    /// another one is still answered.
    pub fn reload(&self, servers: Vec<ServerConfig>) {
        let mut current = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        *current = renew(&current, servers, &self.nas_identifier);
    }

    /// Starts what follows the directory and what sends.
    pub fn spawn(self: &Arc<Self>, directory: &Arc<Directory>, tasks: &mut JoinSet<()>) {
        let gone = self.ledger().keep(directory.home_agents(), (self.clock)());
        gone.into_iter().for_each(|record| self.push(record));
        for home_agent in directory.home_agents() {
            let (this, directory) = (self.clone(), directory.clone());
            let home_agent = home_agent.clone();
            tasks.spawn(async move { this.follow(&directory, &home_agent).await });
        }
        for lane in 0..self.lanes.len() {
            let this = self.clone();
            tasks.spawn(async move { this.drive(lane).await });
        }
        let (this, mut usages) = (self.clone(), directory.usages());
        tasks.spawn(async move {
            while let Some((home_agent, usage)) = usages.recv().await {
                this.used(&home_agent, &usage);
            }
        });
        let (this, directory) = (self.clone(), directory.clone());
        tasks.spawn(async move { this.tick(&directory).await });
    }

    /// What happened with each server, in their order.
    pub fn counters(&self) -> impl Iterator<Item = (SocketAddr, Arc<Counters>)> {
        self.servers().into_iter().map(|server| (server.peer.address, server.peer.counters.clone()))
    }

    fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How each server stands, in their order.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let now = Instant::now();
        self.servers().iter().map(|server| server.standing(now)).collect()
    }

    /// SAs that are accounted for.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.ledger().len()
    }

    /// Records that no server has taken yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ending().len() + self.lanes.iter().map(|lane| lane.records().len()).sum::<usize>()
    }

    /// Records that were dropped because too many waited.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all records are taken, but not longer than `limit`. Where no SA goes on, what was
    /// accounted for ends with it.
    pub async fn flush(&self, limit: Duration) {
        let ending = std::mem::take(&mut *self.ending());
        ending.into_values().for_each(|(_, record)| self.push(record));
        let empty = async {
            while self.waiting() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(limit, empty).await.is_err() {
            warn!(records = self.waiting(), "accounting records no server has taken are lost");
        } else if self.ledger().is_empty() && self.is_on.initialized() {
            let off = self.deliver_whole(Whole::Off, (self.clock)());
            if timeout(OFF_TIMEOUT, off).await != Ok(true) {
                warn!("no accounting server has taken Accounting-Off");
            }
        }
    }

    fn ending(&self) -> MutexGuard<'_, HashMap<Spi, (u8, Record)>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the SAs of one home agent.
    async fn follow(&self, directory: &Directory, home_agent: &str) {
        loop {
            if let Ok(watch) = directory.observe(home_agent).await {
                let token = self.ledger().begin_replay();
                let replay = watch.replay(home_agent, |update, kept| {
                    if let Update::Issued(record) = update {
                        let known = kept.and_then(Remembered::decode);
                        let record = self.ledger().replayed(&record, known, (self.clock)());
                        record.into_iter().for_each(|record| self.push(record));
                    }
                });
                if let Ok(mut changes) = replay.await {
                    let ended = self.ledger().replay_ended(token, home_agent, (self.clock)());
                    ended.into_iter().for_each(|record| self.push(record));
                    while let Some((update, kept)) = changes.next().await {
                        self.change(&update, kept.as_deref());
                    }
                }
            }
            // It lagged, the store failed, or the daemon stops.
            sleep(PAUSE).await;
        }
    }

    fn change(&self, update: &Update, kept: Option<&[u8]>) {
        let now = (self.clock)();
        let record = match update {
            Update::Issued(record) => {
                self.ledger().issued(record, kept.and_then(Remembered::decode), now)
            }
            Update::Revoked(spi) => self.ended(*spi, now),
            Update::Synced(_) | Update::Unknown(_) | Update::UsageWanted(_) => None,
        };
        record.into_iter().for_each(|record| self.push(record));
    }

    /// The Stop of an SA that the directory has ended, where its home agent has said its last word;
    /// else it waits for that.
    fn ended(&self, spi: Spi, now: u64) -> Option<Record> {
        let record = self.ledger().revoked(spi, now)?;
        if record.traffic.is_over {
            return Some(record);
        }
        let former = self.ending().insert(spi, (LAST_WORD, record));
        former.map(|(_, record)| record)
    }

    /// Takes what a home agent says.
    fn used(&self, home_agent: &str, usage: &Usage) {
        let mut ending = self.ending();
        let waits = ending.get_mut(&usage.spi);
        let Some((_, record)) =
            waits.filter(|(_, record)| *record.account.home_agent_name == *home_agent)
        else {
            drop(ending);
            return self.ledger().used(home_agent, usage, (self.clock)());
        };
        record.traffic.take(usage);
        if record.traffic.is_over {
            let record = ending.remove(&usage.spi);
            drop(ending);
            record.into_iter().for_each(|(_, record)| self.push(record));
        }
    }

    async fn tick(&self, directory: &Directory) {
        let mut asked: Vec<Record> = Vec::new();
        loop {
            sleep(Duration::from_secs(1)).await;
            self.keep(directory).await;
            let now = (self.clock)();
            for record in asked.drain(..) {
                // The Stop of one that has ended meanwhile says it all.
                let traffic = self.ledger().traffic(&record.account);
                traffic.into_iter().for_each(|traffic| {
                    self.push(Record { traffic, at: now, ..record.clone() });
                });
            }
            let stops = self.ledger().superseded(now);
            stops.into_iter().chain(self.unanswered()).for_each(|record| self.push(record));
            asked = self.ledger().interim(now, INTERIM_RATE);
            for Record { account, .. } in &asked {
                directory.ask_usage(&account.home_agent_name, account.spi);
            }
        }
    }

    /// The Stops that have waited long enough.
    fn unanswered(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.ending().retain(|_, (seconds, record)| {
            *seconds = seconds.saturating_sub(1);
            if *seconds == 0 {
                records.push(record.clone());
            }
            *seconds > 0
        });
        records
    }

    /// Puts a record into its lane. What is lost first is what is oldest: the records behind it say
    /// more about what is.
    fn push(&self, record: Record) {
        let index = usize::try_from(record.account.spi.get() % LANES).unwrap_or_default();
        let Some(lane) = self.lanes.get(index) else { return };
        let mut records = lane.records();
        if records.len() >= self.lane_limit {
            records.pop_front();
            self.lost.fetch_add(1, Ordering::Relaxed);
            if let Some(suppressed) = self.log_limit.admit(Instant::now()) {
                warn!(suppressed, "too many accounting records wait; the oldest is lost");
            }
        }
        records.push_back(record);
        drop(records);
        lane.wake.notify_one();
    }

    /// Sends what comes into a lane.
    async fn drive(&self, lane: usize) {
        let Some(lane) = self.lanes.get(lane) else { return };
        self.is_on.get_or_init(|| self.begin()).await;
        loop {
            let next = lane.records().front().cloned();
            let Some(record) = next else {
                lane.wake.notified().await;
                continue;
            };
            if self.send(&record).await {
                self.taken(&record);
                // Not another one, where this was lost meanwhile.
                let mut records = lane.records();
                if records.front() == Some(&record) {
                    records.pop_front();
                }
            } else {
                sleep(PAUSE).await;
            }
        }
    }

    /// A server has taken a record: the Stop of an SA that the directory still has is not to be told again.
    fn taken(&self, record: &Record) {
        if let Event::Stop(_) = record.event
            && let Some(stopped) = self.ledger().stopped(&record.account)
        {
            self.stopped().push((record.account.spi, stopped.encode()));
        }
    }

    fn stopped(&self) -> MutexGuard<'_, Vec<(Spi, Box<[u8]>)>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the directory keep what a restart is to know.
    pub async fn keep(&self, directory: &Directory) {
        let stopped = std::mem::take(&mut *self.stopped());
        directory.keep_accounts(stopped).await;
    }

    /// RFC 2866 s.5.1: a server ends every session of a HAC that says Accounting-On. So it is said where
    /// none goes on, and then before anything else.
    async fn begin(&self) {
        if self.goes_on.load(Ordering::Relaxed) {
            return;
        }
        let at = (self.clock)();
        while !self.deliver_whole(Whole::On, at).await {
            sleep(PAUSE).await;
        }
    }

    async fn deliver_whole(&self, whole: Whole, at: u64) -> bool {
        self.deliver(|now| request::of_whole(whole, &self.nas_identifier, at, now)).await
    }

    /// Whether some server has taken the record.
    async fn send(&self, record: &Record) -> bool {
        self.deliver(|now| request::of(record, &self.nas_identifier, now)).await
    }

    /// Whether some server has taken what `request` makes. What doesn't fit a packet, which can't be,
    /// is as good as taken.
    async fn deliver(&self, request: impl Fn(u64) -> Result<Request, TooLong>) -> bool {
        let now = Instant::now();
        let mut order: Vec<_> = self
            .servers()
            .into_iter()
            .map(|server| (server.standing(now), server))
            .filter(|(standing, _)| *standing != Standing::Dead)
            .collect();
        order.sort_by_key(|(standing, _)| *standing);
        for (_, server) in order {
            // Anew for each: Acct-Delay-Time has grown, so the packet is another one (RFC 2866
            // s.5.2).
            let Ok(request) = request((self.clock)()) else { return true };
            if server.exchange(&request).await.is_ok() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::ledger::testing::sa;
    use super::*;
    use crate::radius::Transport;
    use crate::radius::packet::Secret;

    /// Servers that stay away: what is kept is bounded, the oldest goes first, and it is counted.
    #[tokio::test]
    async fn records_beyond_the_queue_are_lost_oldest_first_and_counted() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = ServerConfig {
            address: silent.local_addr().unwrap(),
            transport: Transport::Udp,
            secret: Secret::new(Zeroizing::new(vec![7; 16])).unwrap(),
            timeout: Duration::from_secs(1),
            retries: 0,
            status_server: false,
            dead_time: Duration::from_secs(60),
            returns_authenticated_name: false,
            unlisted_subscribers: false,
        };
        let config = AccountingConfig { servers: vec![server], interim: None, queue: 64 };
        let accounting = Accounting::start(config, "hac", Arc::new(|| 100));
        // 64 are 4 in each of 16 lanes; SPIs 16 apart share one.
        for index in 0..30 {
            let sa = sa(16 * (index + 1), 1, "ha1");
            accounting.change(&Update::Issued(Box::new(sa)), None);
        }
        assert_eq!((accounting.waiting(), accounting.lost()), (4, 26));
        let kept: Vec<u32> =
            accounting.lanes[0].records().iter().map(|record| record.account.spi.get()).collect();
        assert_eq!(kept, [432, 448, 464, 480]);
        // Ten lines of the log at most.
        assert_eq!(accounting.log_limit.admit(Instant::now()), None);
        accounting.flush(Duration::from_millis(50)).await;
    }
}
