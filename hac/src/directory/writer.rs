//! The one thread that writes the store and tells watchers.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hearth_wire::directory::{SaRecord, SpiRange, Update, Usage, encode_update};
use hearth_wire::{MobileNodeId, Spi};
use redb::ReadTransaction;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use super::choice::{GRACE, Presence};
use super::feed::{Said, Usages};
use super::issue::{IssueError, IssueRequest, Revoke};
use super::leased::{self, Lease, Wanted};
use super::leases::Family;
use super::store::{self, Handle, Store};
use super::tables::Change;
use super::time::{At, Behind};
use crate::config::Realm;

/// One update as it goes over the socket, encoded once for all watchers.
pub type Frame = Arc<Zeroizing<Vec<u8>>>;

/// A change, for a watcher.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// As it goes over the socket.
    pub(super) frame: Frame,
    /// What is kept of a new SA for accounting.
    pub(super) account: Option<Arc<[u8]>>,
}

/// The time in unix seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Sessions that may wait for the store; one more is told to come back (503).
const QUEUE: usize = 4096;
/// How long who has to get in waits where there is no room.
const FULL: Duration = Duration::from_millis(20);
/// Issues that go to disk together.
const BATCH: usize = 256;
/// Where so many wait at once, others are given [`GATHER`] to come too: most of what a commit costs the
/// processor it costs once. Who is alone never waits.
const CROWD: usize = 4;
const GATHER: Duration = Duration::from_millis(2);
/// Updates that a watcher may lag behind before it is cut and has to start anew.
const LAG: usize = 8192;
/// How often ended SAs are looked for.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

type Answer = Result<Box<SaRecord>, IssueError>;

enum Job {
    Issue(IssueRequest, oneshot::Sender<Answer>),
    Watch(Box<str>, Who, oneshot::Sender<Watch>),
    Revoke(Revoking),
    /// Ask the home agent what an SA has carried.
    Ask(Box<str>, Spi),
    Loads(oneshot::Sender<Vec<Load>>),
    GoBy(Arc<Realm>, oneshot::Sender<()>),
    Refresh(Vec<MobileNodeId>, oneshot::Sender<Result<(), RevokeError>>),
    /// What is kept of these SAs for accounting is this from now on.
    Keep(Vec<(Spi, Box<[u8]>)>),
    Stop,
}

/// How a home agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Whether it watches.
    pub alive: bool,
    /// SAs that it has.
    pub sas: u32,
}

/// A revocation on its way; of many SAs it takes several transactions.
struct Revoking {
    which: Revoke,
    done: usize,
    answer: oneshot::Sender<Result<usize, RevokeError>>,
    /// Its subscriber is gone or has become another one, and nobody will ask again: where the store fails
    /// now, it is done as soon as that works.
    must: bool,
}

/// What has to be done yet, as the store has failed.
#[derive(Default)]
struct Owed {
    /// Whose SAs are to end.
    end: HashSet<MobileNodeId>,
    /// Whose SAs are to say what their subscribers may by now.
    refresh: HashSet<MobileNodeId>,
}

/// Why not all was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeError {
    /// The store failed.
    Store,
    /// More waits for the store than it can serve.
    Busy,
}

/// Who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The home agent: it is alive as long as it does.
    HomeAgent,
    /// A part of this daemon.
    Observer,
}

/// A watch of one home agent's records: all that existed at one instant, then every change.
pub struct Watch {
    /// The store at that instant.
    pub(super) snapshot: ReadTransaction,
    /// Changes since, in order. Ends when the watcher lags too far behind.
    pub(super) changes: mpsc::Receiver<Told>,
}

/// Why there is no watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchError {
    /// No home agent of the configuration has this name.
    UnknownHomeAgent,
    /// The store failed, or more waits for it than it can serve.
    Unavailable,
}

/// A handle to the directory; dropping it closes it.
pub struct Directory {
    jobs: SyncSender<Job>,
    database: Handle,
    home_agents: Box<[Box<str>]>,
    /// What is dealt out for each of them.
    spis: Box<[Option<SpiRange>]>,
    usages: Usages,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Directory {
    /// Starts the thread that owns `store`.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start(store: Store, clock: Clock) -> std::io::Result<Self> {
        let start = Instant::now();
        Self::start_with(store, clock, Arc::new(move || start.elapsed().as_secs()))
    }

    /// The same with a `monotonic` clock, in seconds, that never is stepped.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start_with(store: Store, clock: Clock, monotonic: Clock) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let database = store.database();
        let home_agents = store.home_agents().map(Box::from).collect();
        let spis = store.spis().collect();
        let (watchers, revoking, complained) = (Vec::new(), VecDeque::new(), None);
        let seen = store.home_agents().map(|_| monotonic()).collect();
        let (owed, tried) = (Owed::default(), monotonic());
        let mut writer =
            Writer { store, clock, monotonic, watchers, revoking, owed, tried, complained, seen };
        let thread = std::thread::Builder::new()
            .name("directory".to_owned())
            .spawn(move || writer.run(&queue))?;
        let (usages, thread) = (Usages::default(), Mutex::new(Some(thread)));
        Ok(Self { jobs, database, home_agents, spis, usages, thread })
    }

    /// Issues an SA. When this returns its record is on disk and on its way to its watchers
    ///
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn issue(&self, request: IssueRequest) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(Job::Issue(request, answer)).map_err(|error| match error {
            TrySendError::Full(_) => IssueError::Busy,
            TrySendError::Disconnected(_) => IssueError::Store,
        })?;
        answered.await.unwrap_or(Err(IssueError::Store))
    }

    /// Ends SAs. When this returns they are off the disk, and on their way to their home agents is
    /// that they are; how many it were.
    ///
    /// # Errors
    /// [`RevokeError`]; some may be revoked then.
    pub async fn revoke(&self, which: Revoke) -> Result<usize, RevokeError> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Revoke(Revoking { which, done: 0, answer, must: false });
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => RevokeError::Busy,
            TrySendError::Disconnected(_) => RevokeError::Store,
        })?;
        answered.await.unwrap_or(Err(RevokeError::Store))
    }

    /// The same for a mobile node that may have none any more, or others. What it held and no longer is
    /// granted is free afterwards. Waits for its turn, however much is before it: nobody will ask again.
    ///
    /// # Errors
    /// [`RevokeError::Store`]; some may be revoked then, and the others are as soon as the store works.
    pub async fn end(&self, mn_id: MobileNodeId) -> Result<usize, RevokeError> {
        let (answer, answered) = oneshot::channel();
        let which = Revoke::Node(mn_id);
        self.get_in(Job::Revoke(Revoking { which, done: 0, answer, must: true })).await;
        answered.await.unwrap_or(Err(RevokeError::Store))
    }

    /// What home agents say from now on that their SAs have carried; for one who follows it.
    #[must_use]
    pub fn usages(&self) -> mpsc::Receiver<Said> {
        self.usages.follow()
    }

    /// Takes what `home_agent` says.
    pub fn used(&self, home_agent: &str, usage: Usage) {
        self.usages.say(home_agent, usage);
    }

    /// Asks `home_agent` what an SA has carried. It need not answer.
    pub fn ask_usage(&self, home_agent: &str, spi: Spi) {
        let _ = self.jobs.try_send(Job::Ask(home_agent.into(), spi));
    }

    /// Goes by the rules of `realm` from now on. Its home agents and subscribers are those that the
    /// store was opened for. Waits for its turn, however much is before it.
    pub async fn go_by(&self, realm: Arc<Realm>) {
        let (answer, answered) = oneshot::channel();
        self.get_in(Job::GoBy(realm, answer)).await;
        let _ = answered.await;
    }

    /// Has the SAs of these mobile nodes say what their subscribers may by now, and their home agents
    /// know; how many are left because the store has failed: as soon as it works they are done, too.
    pub async fn refresh(&self, mn_ids: &[MobileNodeId]) -> usize {
        let mut waiting = 0;
        for some in mn_ids.chunks(BATCH) {
            let (answer, answered) = oneshot::channel();
            self.get_in(Job::Refresh(some.to_vec(), answer)).await;
            if !matches!(answered.await, Ok(Ok(()))) {
                waiting += some.len();
            }
        }
        waiting
    }

    /// Keeps this of these SAs for accounting, in the place of what was kept of them
    /// ([`IssueRequest::account`]), where they still are. Waits for its turn.
    pub async fn keep_accounts(&self, accounts: Vec<(Spi, Box<[u8]>)>) {
        if !accounts.is_empty() {
            self.get_in(Job::Keep(accounts)).await;
        }
    }

    async fn get_in(&self, mut job: Job) {
        while let Err(TrySendError::Full(back)) = self.jobs.try_send(job) {
            tokio::time::sleep(FULL).await;
            job = back;
        }
    }

    /// How the home agents stand, in the order of [`Self::home_agents`]; `None`: more waits for the
    /// store than it can serve, or it is closed.
    pub async fn loads(&self) -> Option<Vec<Load>> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(Job::Loads(answer)).ok()?;
        answered.await.ok()
    }

    /// How many of each family are taken out of the pools of `realm`. Reads the disk.
    ///
    /// # Errors
    /// The store failed.
    pub fn lease_counts(&self, realm: &Realm) -> Result<[(Family, u64); 5], redb::Error> {
        leased::counts(&self.database, realm)
    }

    /// Who has SAs with this home address, and how many. Reads the disk.
    ///
    /// # Errors
    /// The store failed.
    pub fn user(&self, address: IpAddr) -> Result<Option<(Box<str>, usize)>, redb::Error> {
        leased::user(&self.database, address)
    }

    /// Some leases, by family and address; `realm` is the one that the store was opened for. Reads the
    /// disk.
    ///
    /// # Errors
    /// The store failed.
    pub fn leases(&self, realm: &Realm, wanted: &Wanted) -> Result<Vec<Lease>, redb::Error> {
        leased::page(&self.database, realm, wanted)
    }

    /// The SAs that `which` names, with their keys; those of one mobile node the oldest first, and of
    /// many no more than are revoked at a time. Reads the disk.
    ///
    /// # Errors
    /// The store failed.
    pub fn records(&self, which: &Revoke) -> Result<Vec<SaRecord>, redb::Error> {
        store::records(&self.database, which)
    }

    /// The home agents whose records can be watched.
    #[must_use]
    pub fn home_agents(&self) -> &[Box<str>] {
        &self.home_agents
    }

    /// The SPIs that this HAC deals out for `home_agent`, and no other one does.
    #[must_use]
    pub fn spis(&self, home_agent: &str) -> Option<SpiRange> {
        let index = self.home_agents.iter().position(|name| **name == *home_agent)?;
        *self.spis.get(index)?
    }

    /// Begins a watch of the records of `home_agent`.
    ///
    /// # Errors
    /// [`WatchError`].
    pub async fn watch(&self, home_agent: &str) -> Result<Watch, WatchError> {
        self.watch_as(Who::HomeAgent, home_agent).await
    }

    /// The same for who is not the home agent itself: that it is alive does not follow.
    ///
    /// # Errors
    /// [`WatchError`].
    pub async fn observe(&self, home_agent: &str) -> Result<Watch, WatchError> {
        self.watch_as(Who::Observer, home_agent).await
    }

    async fn watch_as(&self, who: Who, home_agent: &str) -> Result<Watch, WatchError> {
        if !self.home_agents.iter().any(|name| **name == *home_agent) {
            return Err(WatchError::UnknownHomeAgent);
        }
        let (answer, answered) = oneshot::channel();
        self.jobs
            .try_send(Job::Watch(home_agent.into(), who, answer))
            .map_err(|_| WatchError::Unavailable)?;
        answered.await.map_err(|_| WatchError::Unavailable)
    }

    /// The answer to a lookup of `spi` by `home_agent`, as it goes over the socket: no other home
    /// agent's keys are in it. `None`: the store failed.
    #[must_use]
    pub fn lookup(&self, home_agent: &str, spi: Spi) -> Option<Zeroizing<Vec<u8>>> {
        match store::lookup(&self.database, home_agent, spi) {
            Ok(Some(encoded)) => Some(encoded),
            Ok(None) => encode_update(&Update::Unknown(spi)),
            Err(error) => {
                error!(%error, "lookup failed");
                None
            }
        }
    }

    /// Ends the thread after what it was asked for so far, and closes the store. Whatever is asked
    /// afterwards fails.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A full queue is being worked off by the thread, so this waits and does not hang.
            let _ = self.jobs.send(Job::Stop);
            let _ = thread.join();
            self.database.close();
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.close();
    }
}

struct Watcher {
    home_agent: Box<str>,
    who: Who,
    changes: mpsc::Sender<Told>,
}

struct Writer {
    store: Store,
    clock: Clock,
    monotonic: Clock,
    watchers: Vec<Watcher>,
    revoking: VecDeque<Revoking>,
    owed: Owed,
    /// When what is owed was tried last, by the monotonic clock.
    tried: u64,
    /// When the clock was complained about last, by the monotonic one.
    complained: Option<u64>,
    /// When each home agent was there last, by the monotonic clock, or could first have been.
    seen: Vec<u64>,
}

/// Whether the thread goes on.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    Stop,
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Job>) {
        loop {
            self.purge();
            self.make_up();
            self.go_on_revoking();
            self.presence();
            let patience = if self.revoking.is_empty() { PURGE_INTERVAL } else { Duration::ZERO };
            match queue.recv_timeout(patience) {
                Ok(first) => {
                    if self.work(first, queue) == Then::Stop {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes what waits: consecutive issues go to disk together.
    fn work(&mut self, first: Job, queue: &Receiver<Job>) -> Then {
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        let mut gathered = false;
        let mut job = Some(first);
        while let Some(next) = job.take() {
            match next {
                Job::Issue(request, answer) => {
                    requests.push(request);
                    answers.push(answer);
                    job = match requests.len() {
                        BATCH.. => None,
                        CROWD.. => queue.try_recv().ok().or_else(|| {
                            // Asleep rather than at the queue: each that came would wake this thread.
                            if !std::mem::replace(&mut gathered, true) {
                                std::thread::sleep(GATHER);
                            }
                            queue.try_recv().ok()
                        }),
                        _ => queue.try_recv().ok(),
                    };
                }
                Job::Watch(home_agent, who, answer) => {
                    self.issue(std::mem::take(&mut requests), std::mem::take(&mut answers));
                    self.watch(home_agent, who, answer);
                    job = queue.try_recv().ok();
                }
                Job::Revoke(revoking) => {
                    self.issue(std::mem::take(&mut requests), std::mem::take(&mut answers));
                    self.revoking.push_back(revoking);
                    self.go_on_revoking();
                    job = queue.try_recv().ok();
                }
                Job::Ask(home_agent, spi) => {
                    self.ask(&home_agent, spi);
                    job = queue.try_recv().ok();
                }
                Job::Loads(answer) => {
                    self.issue(std::mem::take(&mut requests), std::mem::take(&mut answers));
                    let _ = answer.send(self.loads());
                    job = queue.try_recv().ok();
                }
                Job::GoBy(realm, answer) => {
                    self.issue(std::mem::take(&mut requests), std::mem::take(&mut answers));
                    self.store.go_by(realm);
                    let _ = answer.send(());
                    job = queue.try_recv().ok();
                }
                Job::Refresh(mn_ids, answer) => {
                    self.issue(std::mem::take(&mut requests), std::mem::take(&mut answers));
                    let _ = answer.send(self.refresh(mn_ids));
                    job = queue.try_recv().ok();
                }
                Job::Keep(accounts) => {
                    self.issue(std::mem::take(&mut requests), std::mem::take(&mut answers));
                    self.keep(&accounts);
                    job = queue.try_recv().ok();
                }
                Job::Stop => {
                    self.issue(requests, answers);
                    return Then::Stop;
                }
            }
        }
        self.issue(requests, answers);
        Then::GoOn
    }

    fn issue(&mut self, mut requests: Vec<IssueRequest>, answers: Vec<oneshot::Sender<Answer>>) {
        if requests.is_empty() {
            return;
        }
        // What has ended is gone before its addresses are another's.
        self.purge();
        let Some(at) = self.look() else {
            for answer in answers {
                let _ = answer.send(Err(IssueError::Clock));
            }
            return;
        };
        // Sessions count from the wall clock, which may be held back.
        let held = at.now.saturating_sub((self.clock)());
        for request in &mut requests {
            request.validity_end = request.validity_end.saturating_add(held);
        }
        let presence = self.presence();
        let mut changes = Vec::new();
        match self.store.issue(requests, (at, &presence), &mut changes) {
            Ok(results) => {
                self.publish(changes);
                for (answer, result) in answers.into_iter().zip(results) {
                    // A session that ended meanwhile leaves an SA that nobody uses; it ends by
                    // itself, or the home agent ends it by the limit of R-15.
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                error!(%error, "the store failed, nothing was issued");
                self.reopen();
                for answer in answers {
                    let _ = answer.send(Err(IssueError::Store));
                }
            }
        }
    }

    /// The time, where it can be believed.
    fn look(&mut self) -> Option<At> {
        let monotonic = (self.monotonic)();
        match self.store.look((self.clock)(), monotonic) {
            Ok(at) => {
                self.complained = None;
                Some(at)
            }
            Err(Behind { by }) => {
                if self.complained.is_none_or(|then| monotonic.saturating_sub(then) >= 60) {
                    error!(
                        seconds = by,
                        "the clock is behind the time of the store's last SA: no SA is issued. Set \
                         the clock; if it is right, start with --trust-clock"
                    );
                    self.complained = Some(monotonic);
                }
                None
            }
        }
    }

    fn loads(&self) -> Vec<Load> {
        let agents = self.store.home_agents().zip(self.store.loads());
        agents.map(|(name, sas)| Load { alive: self.is_alive(name), sas }).collect()
    }

    /// Which home agents are there, in the order of the store's; notes when.
    fn presence(&mut self) -> Vec<Presence> {
        let now = (self.monotonic)();
        let here: Vec<bool> = self.store.home_agents().map(|name| self.is_alive(name)).collect();
        let both = here.into_iter().zip(&mut self.seen);
        let presence = both.map(|(is_here, seen)| {
            if is_here {
                *seen = now;
                return Presence::Here;
            }
            let is_expected = now.saturating_sub(*seen) <= GRACE;
            if is_expected { Presence::Expected } else { Presence::Gone }
        });
        presence.collect()
    }

    /// Whether somebody watches for this home agent.
    fn is_alive(&self, home_agent: &str) -> bool {
        let mut watchers =
            self.watchers.iter().filter(|watcher| *watcher.home_agent == *home_agent);
        watchers.any(|watcher| watcher.who == Who::HomeAgent && !watcher.changes.is_closed())
    }

    /// Does a part of the revocation that waits longest.
    fn go_on_revoking(&mut self) {
        let Some(mut revoking) = self.revoking.pop_front() else { return };
        let Some(at) = self.look() else { return self.not_revoked(revoking) };
        let mut changes = Vec::new();
        match self.store.revoke((&revoking.which, revoking.must), at, &mut changes) {
            Ok(0) => {
                let _ = revoking.answer.send(Ok(revoking.done));
            }
            Ok(count) => {
                self.publish(changes);
                revoking.done += count;
                self.revoking.push_front(revoking);
            }
            Err(error) => {
                error!(%error, "the store failed, not all was revoked");
                self.reopen();
                self.not_revoked(revoking);
            }
        }
    }

    fn not_revoked(&mut self, Revoking { which, answer, must, .. }: Revoking) {
        if let (Revoke::Node(mn_id), true) = (which, must) {
            self.owed.end.insert(mn_id);
        }
        let _ = answer.send(Err(RevokeError::Store));
    }

    fn refresh(&mut self, mn_ids: Vec<MobileNodeId>) -> Result<(), RevokeError> {
        let mut changes = Vec::new();
        let done = self.look().map(|at| self.store.refresh(&mn_ids, at, &mut changes));
        match done {
            Some(Ok(())) => {
                self.publish(changes);
                return Ok(());
            }
            Some(Err(error)) => {
                error!(%error, "the store failed; what subscribers may counts as soon as it works");
                self.reopen();
            }
            None => error!("what subscribers may counts as soon as the clock can be trusted"),
        }
        self.owed.refresh.extend(mn_ids);
        Err(RevokeError::Store)
    }

    /// Does what the store has failed to do, now and then, until it works.
    fn make_up(&mut self) {
        let now = (self.monotonic)();
        let Owed { end, refresh } = &mut self.owed;
        if (end.is_empty() && refresh.is_empty()) || now == self.tried {
            return;
        }
        self.tried = now;
        let (end, refresh) = (std::mem::take(end), std::mem::take(refresh));
        self.revoking.extend(end.into_iter().map(|mn_id| {
            let (answer, _) = oneshot::channel();
            Revoking { which: Revoke::Node(mn_id), done: 0, answer, must: true }
        }));
        if !refresh.is_empty() && self.refresh(refresh.into_iter().collect()).is_ok() {
            info!("what subscribers may counts now");
        }
    }

    fn keep(&mut self, accounts: &[(Spi, Box<[u8]>)]) {
        // It only keeps a server from being told twice.
        if let Err(error) = self.store.keep_accounts(accounts) {
            error!(%error, "the store failed; accounting may tell of some SAs' ends again");
            self.reopen();
        }
    }

    fn purge(&mut self) {
        let Some(at) = self.look() else { return };
        let mut changes = Vec::new();
        match self.store.purge(at, &mut changes) {
            Ok(()) => self.publish(changes),
            Err(error) => {
                error!(%error, "ended SAs can't be removed from the store");
                self.reopen();
            }
        }
    }

    /// After an I/O error (a full disk, most likely) the store has to be opened anew. Where that
    /// fails it is tried again with the next request, and with the next purge.
    fn reopen(&mut self) {
        if let Err(error) = self.store.reopen() {
            error!(%error, "the store does not open");
        }
    }

    /// Registers a watcher between two transactions: what the snapshot lacks, the channel brings.
    fn watch(&mut self, home_agent: Box<str>, who: Who, answer: oneshot::Sender<Watch>) {
        match self.store.database().read() {
            Ok(snapshot) => {
                let (sender, changes) = mpsc::channel(LAG);
                if answer.send(Watch { snapshot, changes }).is_ok() {
                    self.watchers.push(Watcher { home_agent, who, changes: sender });
                }
            }
            Err(error) => error!(%error, "the store can't be read for a watch"),
        }
    }

    /// Asks the home agent itself, if it is there.
    fn ask(&self, home_agent: &str, spi: Spi) {
        let Some(frame) = encode_update(&Update::UsageWanted(spi)) else { return };
        let told = Told { frame: Arc::new(frame), account: None };
        let watchers = self.watchers.iter().filter(|watcher| *watcher.home_agent == *home_agent);
        for watcher in watchers.filter(|watcher| watcher.who == Who::HomeAgent) {
            // One that lags behind has other things to do.
            let _ = watcher.changes.try_send(told.clone());
        }
    }

    /// Tells watchers, and never waits for one: who lags too far behind is cut and resyncs.
    fn publish(&mut self, changes: Vec<Change>) {
        for change in changes {
            let (home_agent, told) = match change {
                Change::Issued { home_agent, encoded: frame, account, .. } => {
                    (home_agent, Told { frame, account })
                }
                Change::Revoked { home_agent, spi } => {
                    let Some(frame) = encode_update(&Update::Revoked(spi)) else { continue };
                    (home_agent, Told { frame: Arc::new(frame), account: None })
                }
            };
            self.watchers.retain(|watcher| {
                if watcher.home_agent != home_agent {
                    return !watcher.changes.is_closed();
                }
                match watcher.changes.try_send(told.clone()) {
                    Ok(()) => true,
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        warn!(%home_agent, "a watcher lags too far behind and is cut");
                        false
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => false,
                }
            });
        }
    }
}
