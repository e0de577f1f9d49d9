//! The thread that makes the log durable: fdatasync back to back while there is something to sync,
//! the next segment made ahead, segments that have gone removed.
//!
//! A disk that failed to sync may have dropped what it did not take, and says so only once. So the
//! thread stops there; [`Syncer::restart`] begins anew with a segment that holds all of it again.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::segment;

/// How long to wait before something that failed is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// How a file is made durable: fdatasync.
pub(crate) type SyncFile = fn(&File) -> io::Result<()>;

/// A segment that may hold octets that are not durable.
struct Written {
    file: Arc<File>,
    /// Where it ends, once nothing more is written to it.
    closed: Option<u64>,
}

/// The segment made ahead.
enum Spare {
    Wanted(u64),
    Ready(u64, File),
    Taken,
}

struct State {
    files: VecDeque<Written>,
    dirty: bool,
    /// The last turn written.
    turn: u64,
    /// To be removed once what was written by now is durable.
    remove: Vec<PathBuf>,
    spare: Spare,
    /// Why there is no next segment, and when it was tried.
    no_spare: Option<(StoreError, Instant)>,
    /// Why nothing is synced any more.
    failed: Option<StoreError>,
    stop: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
    durable: AtomicU64,
    folder: PathBuf,
    segment_octets: u64,
    sync_file: SyncFile,
}

pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread; turns up to `turn` are durable already.
    pub(crate) fn start(
        folder: &Path,
        segment_octets: u64,
        (id, file): (u64, Arc<File>),
        turn: u64,
        sync_file: SyncFile,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                files: VecDeque::from([Written { file, closed: None }]),
                dirty: false,
                turn,
                remove: Vec::new(),
                spare: Spare::Wanted(id + 1),
                no_spare: None,
                failed: None,
                stop: false,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
            durable: AtomicU64::new(turn),
            folder: folder.to_owned(),
            segment_octets,
            sync_file,
        });
        let of_thread = shared.clone();
        let thread =
            thread::Builder::new().name("state-sync".into()).spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// `turn` was written to the current segment.
    pub(crate) fn written(&self, turn: u64) {
        let mut state = self.shared.lock();
        state.turn = turn;
        state.dirty = true;
        self.shared.work.notify_one();
    }

    /// The segment made ahead; another is made then.
    pub(crate) fn take_spare(&self) -> Option<(u64, File)> {
        let mut state = self.shared.lock();
        match std::mem::replace(&mut state.spare, Spare::Taken) {
            Spare::Ready(id, file) => {
                state.spare = Spare::Wanted(id + 1);
                self.shared.work.notify_one();
                Some((id, file))
            }
            other => {
                state.spare = other;
                None
            }
        }
    }

    /// The log goes on in `file`; the segment before it ended at `closed`. `remove` is no longer
    /// needed once that is durable.
    pub(crate) fn rotate(&self, file: Arc<File>, closed: u64, remove: Vec<PathBuf>) {
        let mut state = self.shared.lock();
        if let Some(before) = state.files.back_mut() {
            before.closed = Some(closed);
        }
        state.files.push_back(Written { file, closed: None });
        state.remove.extend(remove);
        state.dirty = true;
        self.shared.work.notify_one();
    }

    /// After a failure: `file` holds everything that was not durable, so that `remove` is no longer
    /// needed.
    pub(crate) fn restart(&self, file: Arc<File>, remove: Option<PathBuf>) {
        let mut state = self.shared.lock();
        state.remove.extend(remove);
        state.files = VecDeque::from([Written { file, closed: None }]);
        state.failed = None;
        state.dirty = true;
        self.shared.work.notify_one();
    }

    /// Removes a file of no use.
    pub(crate) fn remove(&self, files: Vec<PathBuf>) {
        let mut state = self.shared.lock();
        state.remove.extend(files);
        state.dirty = true;
        self.shared.work.notify_one();
    }

    /// Why nothing is synced any more.
    pub(crate) fn failed(&self) -> Option<StoreError> {
        self.shared.lock().failed
    }

    /// Why there is no next segment yet.
    pub(crate) fn no_spare(&self) -> Option<StoreError> {
        self.shared.lock().no_spare.map(|(error, _)| error)
    }

    /// Waits until `turn` is durable, the disk fails or the time is over.
    pub(crate) fn wait(&self, turn: u64, most: Duration) -> bool {
        let state = self.shared.lock();
        let _ended = self.shared.done.wait_timeout_while(state, most, |state| {
            self.durable() < turn && state.failed.is_none()
        });
        self.durable() >= turn
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            // Once in a segment, and first: writes that never pause would leave no time for it.
            if let Some(id) = state.wanted() {
                drop(state);
                let made = self.make(id);
                state = self.lock();
                match made {
                    Ok(file) => {
                        state.spare = Spare::Ready(id, file);
                        state.no_spare = None;
                    }
                    Err(error) => state.no_spare = Some(((&error).into(), Instant::now())),
                }
            } else if state.dirty && state.failed.is_none() {
                drop(state);
                self.sync();
                state = self.lock();
            } else if state.stop {
                return self.finish(&state);
            } else {
                let most = if state.no_spare.is_some() { RETRY } else { Duration::MAX };
                state = self
                    .work
                    .wait_timeout(state, most)
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
            }
        }
    }

    /// Makes durable what was written by now, in the order of the log.
    fn sync(&self) {
        let mut state = self.lock();
        state.dirty = false;
        let turn = state.turn;
        let files: Vec<Arc<File>> = state.files.iter().map(|one| one.file.clone()).collect();
        let remove = std::mem::take(&mut state.remove);
        drop(state);
        let result = files.iter().try_for_each(|file| (self.sync_file)(file));
        let mut state = self.lock();
        let closed: Vec<Written> = match &result {
            Ok(()) => {
                self.durable.store(turn, Ordering::Release);
                state.files.drain(..files.len() - 1).collect()
            }
            Err(error) => {
                state.failed = Some(error.into());
                state.remove.extend_from_slice(&remove);
                Vec::new()
            }
        };
        self.done.notify_all();
        drop(state);
        if result.is_ok() {
            // Room that was made ahead and not used. Where that fails it is only room.
            for segment in closed {
                if let Some(end) = segment.closed {
                    let _ = segment.file.set_len(end);
                }
            }
            for file in remove {
                let _ = fs::remove_file(file);
            }
        }
    }

    fn make(&self, id: u64) -> io::Result<File> {
        let file = segment::make(&self.folder, id, self.segment_octets)?;
        // The name must be durable before anything in it is called so.
        if let Err(error) = segment::sync_folder(&self.folder) {
            fs::remove_file(segment::path(&self.folder, id))?;
            return Err(error);
        }
        Ok(file)
    }

    /// Gives the room back that was made ahead.
    fn finish(&self, state: &State) {
        if let Spare::Ready(id, _) = state.spare {
            let _ = fs::remove_file(segment::path(&self.folder, id));
        }
    }
}

impl State {
    /// The segment to be made, if it is time to try.
    fn wanted(&self) -> Option<u64> {
        match self.spare {
            Spare::Wanted(id)
                if !self.stop
                    && self.no_spare.is_none_or(|(_, tried)| tried.elapsed() >= RETRY) =>
            {
                Some(id)
            }
            _ => None,
        }
    }
}
