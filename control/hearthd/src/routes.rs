//! The control thread's end of the thread that builds the FIB: it publishes what is built, and says
//! when that does not fit.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hearth_dataplane::{TableError, TableWriter};
use rustix::process::nice;
use rustix::thread::{CpuSet, sched_setaffinity};
use tracing::{error, info, warn};

use crate::given_watch::Kept;
use crate::route_watch::{Found, Read, RouteWatch};

/// How long the dataplane may refuse before that is an error to be told.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the first FIB may take: a full BGP table, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// How much less than others the thread wants of a core that it shares.
const NICE: i32 = 5;

/// The thread that builds the FIB, and what it has built.
pub struct Routes {
    found: Receiver<Found>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    refused: Option<Instant>,
    told: bool,
    /// How many are in use.
    pub(crate) count: u64,
    /// What the FIB was built of.
    pub(crate) read: Option<Arc<Read>>,
}

impl Routes {
    /// Starts the thread, on `cores` where they can be had, and publishes the kernel's routes and
    /// addresses as they are now. `interfaces` are the kernel's numbers of the TAPs, in the order of
    /// the ports, and of the TUN that it is given routes by; at `anycast` the box takes packets too,
    /// although the kernel does not know of it.
    ///
    /// # Errors
    /// Netlink failed, or there is no thread to be had.
    pub fn start(
        tables: &mut TableWriter,
        interfaces: (impl IntoIterator<Item = u32>, Option<u32>),
        home_prefixes: Vec<(IpAddr, u8)>,
        anycast: Vec<IpAddr>,
        cores: CpuSet,
    ) -> io::Result<Self> {
        let (sender, found) = sync_channel(1);
        let builder = tables.route_builder();
        let watch = RouteWatch::connect(interfaces, (home_prefixes, anycast), builder, sender)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("routes".into()).spawn(move || {
            let placed = sched_setaffinity(None, &cores).and_then(|()| nice(NICE).map(drop));
            if let Err(error) = placed {
                warn!(%error, "the thread that builds the FIB shares its core with others");
            }
            watch.run(&stopped);
        })?;
        let thread = Some(thread);
        let (refused, told, count, read) = (None, false, 0, None);
        let mut routes = Self { found, stop, thread, refused, told, count, read };
        match routes.found.recv_timeout(START) {
            Ok(first) => drop(routes.take(tables, first, Instant::now())?),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        Ok(routes)
    }

    /// Publishes what has been built by `now`; what became of the routes that the kernel was given,
    /// where something did.
    ///
    /// # Errors
    /// Netlink failed.
    pub(crate) fn apply(
        &mut self,
        tables: &mut TableWriter,
        now: Instant,
    ) -> io::Result<Option<Kept>> {
        match self.found.try_recv() {
            Ok(found) => self.take(tables, found, now),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn take(
        &mut self,
        tables: &mut TableWriter,
        found: Found,
        now: Instant,
    ) -> io::Result<Option<Kept>> {
        match found {
            Found::Given(kept) => return Ok(Some(kept)),
            Found::Built(built, read) => {
                tables.publish_routes(built);
                self.count = read.routes.len() as u64;
                self.read = Some(read);
                if self.told {
                    info!("the routes are in the FIB again");
                }
                (self.refused, self.told) = (None, false);
            }
            Found::Refused(why) => {
                let since = *self.refused.get_or_insert(now);
                if !self.told && now.duration_since(since) > PATIENCE {
                    let remedy = match why {
                        TableError::Full => "raise tables.max_routes, or eal.memory_mb",
                        _ => "raise eal.memory_mb",
                    };
                    error!(error = %why, "the FIB keeps its old routes; {remedy}");
                    self.told = true;
                }
            }
            Found::Broken(error) => return Err(error),
        }
        Ok(None)
    }
}

impl Drop for Routes {
    /// The thread holds memory of DPDK's, which ends with the process' last handle on it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It may have more to say than there is room for, of ports that have just gone: nobody listens.
        let (_, closed) = sync_channel(1);
        drop(std::mem::replace(&mut self.found, closed));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that builds the FIB panicked");
        }
    }
}
