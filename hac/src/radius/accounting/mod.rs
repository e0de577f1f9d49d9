//! Accounting: what the HAC issued, told to accounting servers.
//!
//! Read first: RFC 2866; RFC 5080 s.2.2.1; RFC 2869 s.5.2, 5.3, 5.16.
//!
//! ```text
//!  directory --watch--> Ledger --records--> lanes (SPI mod 16) --> the first server that answers
//! ```
//!
//! A lane sends one record after the other, so that the Stop of an SA never overtakes its Start.

pub mod ledger;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hearth_wire::MobileNodeId;
use hearth_wire::directory::Update;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use self::ledger::{Authorised, Cause, Event, Ledger, Record};
use super::attribute::{
    ACCT_AUTHENTIC, ACCT_DELAY_TIME, ACCT_SESSION_ID, ACCT_SESSION_TIME, ACCT_STATUS_TYPE,
    ACCT_TERMINATE_CAUSE, CALLING_STATION_ID, CLASS, DELEGATED_IPV6_PREFIX, EVENT_TIMESTAMP,
    FRAMED_IP_ADDRESS, FRAMED_IPV6_ADDRESS, HOME_LMA_IPV6_ADDRESS, NAS_IDENTIFIER, NAS_PORT,
    NAS_PORT_TYPE, USER_NAME,
};
use super::client::VIRTUAL;
use super::counters::Counters;
use super::health::Standing;
use super::packet::{Code, Request, TooLong};
use super::server::Server;
use crate::config::AccountingConfig;
use crate::directory::{Clock, Directory};
use crate::log_limit::LogLimit;

/// Records that are sent at a time.
const LANES: u32 = 16;
/// Interim records that fall due at once are spread over so many a second.
const INTERIM_RATE: usize = 1000;
/// How long a lane waits before it tries a record again that no server has answered.
const PAUSE: Duration = Duration::from_secs(1);

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
    servers: Vec<Arc<Server>>,
    nas_identifier: Box<str>,
    ledger: Mutex<Ledger>,
    lanes: Vec<Lane>,
    /// Records that wait in one lane at most.
    lane_limit: usize,
    clock: Clock,
    lost: AtomicU64,
    log_limit: LogLimit,
}

impl Accounting {
    /// Accounting to the servers of `config`; to be called within a tokio runtime.
    #[must_use]
    pub fn start(config: AccountingConfig, nas_identifier: &str, clock: Clock) -> Arc<Self> {
        let servers = config.servers.into_iter();
        let lanes: Vec<_> = (0..LANES).map(|_| Lane::default()).collect();
        Arc::new(Self {
            servers: servers.map(|server| Server::start(server, nas_identifier)).collect(),
            nas_identifier: nas_identifier.into(),
            ledger: Mutex::new(Ledger::new(config.interim.map(|interim| interim.as_secs()))),
            lane_limit: config.queue.div_ceil(lanes.len()).max(1),
            lanes,
            clock,
            lost: AtomicU64::new(0),
            log_limit: LogLimit::default(),
        })
    }

    /// Starts what follows the directory and what sends.
    pub fn spawn(self: &Arc<Self>, directory: &Arc<Directory>, tasks: &mut JoinSet<()>) {
        for home_agent in directory.home_agents() {
            let (this, directory) = (self.clone(), directory.clone());
            let home_agent = home_agent.clone();
            tasks.spawn(async move { this.follow(&directory, &home_agent).await });
        }
        for lane in 0..self.lanes.len() {
            let this = self.clone();
            tasks.spawn(async move { this.drive(lane).await });
        }
        let this = self.clone();
        tasks.spawn(async move { this.tick().await });
    }

    /// An AAA server accepted `mn_id`, which it named itself; its next SA has this.
    pub fn authorised(&self, mn_id: MobileNodeId, authorised: Authorised) {
        self.ledger().authorised(mn_id, authorised);
    }

    /// What happened with each server, in their order.
    pub fn counters(&self) -> impl Iterator<Item = (SocketAddr, &Counters)> {
        self.servers.iter().map(|server| (server.peer.address, &server.peer.counters))
    }

    /// How each server stands, in their order.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let now = Instant::now();
        self.servers.iter().map(|server| server.standing(now)).collect()
    }

    /// SAs that are accounted for.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.ledger().len()
    }

    /// Records that no server has taken yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.records().len()).sum()
    }

    /// Records that were dropped because too many waited.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all records are taken, but not longer than `limit`.
    pub async fn flush(&self, limit: Duration) {
        let empty = async {
            while self.waiting() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(limit, empty).await.is_err() {
            warn!(records = self.waiting(), "accounting records no server has taken are lost");
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the SAs of one home agent.
    async fn follow(&self, directory: &Directory, home_agent: &str) {
        loop {
            if let Ok(watch) = directory.observe(home_agent).await {
                let token = self.ledger().begin_replay();
                let replay = watch.replay(home_agent, |update| {
                    if let Update::Issued(record) = update {
                        let record = self.ledger().replayed(&record, (self.clock)());
                        record.into_iter().for_each(|record| self.push(record));
                    }
                });
                if let Ok(mut changes) = replay.await {
                    let ended = self.ledger().replay_ended(token, home_agent, (self.clock)());
                    ended.into_iter().for_each(|record| self.push(record));
                    while let Some(update) = changes.next().await {
                        self.change(&update);
                    }
                }
            }
            // It lagged, the store failed, or the daemon stops.
            sleep(PAUSE).await;
        }
    }

    fn change(&self, update: &Update) {
        let now = (self.clock)();
        let record = match update {
            Update::Issued(record) => self.ledger().issued(record, now),
            Update::Revoked(spi) => self.ledger().revoked(*spi, now),
            Update::Synced | Update::Unknown(_) => None,
        };
        record.into_iter().for_each(|record| self.push(record));
    }

    async fn tick(&self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let due = self.ledger().interim((self.clock)(), INTERIM_RATE);
            due.into_iter().for_each(|record| self.push(record));
        }
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
        loop {
            let next = lane.records().front().cloned();
            let Some(record) = next else {
                lane.wake.notified().await;
                continue;
            };
            if self.send(&record).await {
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

    /// Whether some server has taken the record. One that doesn't fit a packet, which can't be, is
    /// as good as taken.
    async fn send(&self, record: &Record) -> bool {
        let now = Instant::now();
        let mut order: Vec<_> = self
            .servers
            .iter()
            .map(|server| (server.standing(now), server))
            .filter(|(standing, _)| *standing != Standing::Dead)
            .collect();
        order.sort_by_key(|(standing, _)| *standing);
        for (_, server) in order {
            // Anew for each: Acct-Delay-Time has grown, so the packet is another one (RFC 2866
            // s.5.2).
            let Ok(request) = request(record, &self.nas_identifier, (self.clock)()) else {
                return true;
            };
            if server.exchange(&request).await.is_ok() {
                return true;
            }
        }
        false
    }
}

/// The Accounting-Request of a record that is sent at `now`.
fn request(record: &Record, nas_identifier: &str, now: u64) -> Result<Request, TooLong> {
    let Record { event, at, account } = record;
    let mut request = Request::new(Code::AccountingRequest);
    let status = match event {
        Event::Start => 1,
        Event::Stop(_) => 2,
        Event::Interim => 3,
    };
    request.put_number(ACCT_STATUS_TYPE, status)?;
    request.put(ACCT_SESSION_ID, account.session_id.as_bytes())?;
    request.put(USER_NAME, account.mn_id.as_str().as_bytes())?;
    request.put(NAS_IDENTIFIER, nas_identifier.as_bytes())?;
    request.put_number(NAS_PORT_TYPE, VIRTUAL)?;
    request.put_number(NAS_PORT, account.spi.get())?;
    request.put_number(EVENT_TIMESTAMP, seconds(*at))?;
    request.put_number(ACCT_DELAY_TIME, seconds(now.saturating_sub(*at)))?;
    request.put(FRAMED_IPV6_ADDRESS, &account.home_address.octets())?;
    if let Some(address) = account.ipv4_home_address {
        request.put(FRAMED_IP_ADDRESS, &address.octets())?;
    }
    request.put(HOME_LMA_IPV6_ADDRESS, &account.home_agent.octets())?;
    for prefix in &account.prefixes {
        let value = [&[0, prefix.prefix_len()][..], &prefix.network().octets()].concat();
        request.put(DELEGATED_IPV6_PREFIX, &value)?;
    }
    // RFC 2866 s.5.6: 1 = RADIUS, 2 = Local.
    request.put_number(ACCT_AUTHENTIC, if account.authorised.is_some() { 1 } else { 2 })?;
    if let Some(authorised) = &account.authorised {
        let from = authorised.from.to_canonical().to_string();
        request.put(CALLING_STATION_ID, from.as_bytes())?;
        authorised.class.iter().try_for_each(|class| request.put(CLASS, class))?;
    }
    if let (Some(begun), Event::Interim | Event::Stop(_)) = (account.begun, event) {
        request.put_number(ACCT_SESSION_TIME, seconds(at.saturating_sub(begun)))?;
    }
    if let Event::Stop(cause) = event {
        let cause = match cause {
            Cause::SessionTimeout => 5,
            Cause::AdminReset => 6,
        };
        request.put_number(ACCT_TERMINATE_CAUSE, cause)?;
    }
    Ok(request)
}

fn seconds(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
