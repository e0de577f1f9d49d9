//! A whole home agent between two ports of rings: hearthd's control thread over a dataplane, with
//! the SA directory at a socket and its state on disk.
//!
//! ```text
//!   mobile nodes === port 0 [ worker ] port 1 === correspondent
//!                            |    ^
//!                 signalling |    | answers
//!                            v    |
//!         directory ----> [ control ] ----> log
//! ```
//!
//! The worker has a core of its own. This thread is the control thread, and between its turns the
//! generator: what a turn takes is read from the thread's own clock, so that neither the generator
//! nor another process counts.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hearth_dataplane::Counters;
use hearth_dpdk::Offloads;
use hearth_home_agent::HomeAgent;
use hearth_wire::Suite;
use hearthd::config::{self, Config};
use hearthd::control::{Control, Parts};
use hearthd::directory::{Directory, DirectoryConfig};
use hearthd::home_agent_config;
use hearthd::kernel::Kernel;
use hearthd::persist::Persist;
use hearthd::spi_horizon::SpiHorizon;
use hearthd::wake::Waker;
use rustix::time::{ClockId, clock_gettime};

use crate::directory;
use crate::fault::Fault;
use crate::frames::SPI_BASE;
use crate::lab::{self, Lab};
use crate::rig::{Rig, RigParts, Shape, Wire};

/// Frames that a port's ring holds.
const RING: u32 = 8192;

/// What one has to wait for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A home agent, its worker running.
pub(crate) struct HomeAgentRig {
    pub(crate) control: Control,
    pub(crate) counters: Arc<Counters>,
    pub(crate) wires: [Wire; 2],
    /// CPU time of the control thread in turns that had something to do.
    pub(crate) busy: Duration,
    /// The longest of them.
    pub(crate) longest: Duration,
    /// From the opening of the state to the moment when packets may come.
    pub(crate) start: Duration,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
    _ports: Box<dyn std::any::Any>,
}

/// Serves SAs as the HAC's directory does, until the home agent goes.
pub(crate) fn serve(
    folder: &Path,
    suite: Suite,
    sas: u32,
    validity: Duration,
) -> Result<JoinHandle<()>, Fault> {
    let socket = folder.join("directory.sock");
    let _earlier = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).map_err(file)?;
    Ok(std::thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            let _gone = directory::serve(&stream, suite, sas, validity);
        }
    }))
}

impl HomeAgentRig {
    /// Starts it with its state in `folder`, and the directory at `folder`'s socket.
    pub(crate) fn start(lab: &Lab, folder: &Path, stations: u32) -> Result<Self, Fault> {
        let directory = format!("{{socket: {}}}", folder.join("directory.sock").display());
        Self::start_with(lab, folder, stations, &directory)
    }

    /// Starts it with its state in `folder`; `directory` is what its YAML says of the SA directory.
    pub(crate) fn start_with(
        lab: &Lab,
        folder: &Path,
        stations: u32,
        directory: &str,
    ) -> Result<Self, Fault> {
        let [first, .., _] = &lab.cores[..] else { return Err(Fault::Cores(2)) };
        let config = configuration(folder, stations, directory)?;
        let shape = Shape { stations, ring: RING, ..Shape::default() };
        let rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape)?;
        let (rig, ports) = rig.split();
        let RigParts { workers, tables, counters, wires, control: rings } = rig;
        let waker = Waker::new().map_err(file)?;
        let directory = DirectoryConfig {
            sources: config.sa_directory.sources.clone(),
            uid: None,
            home_agent: config.home_agent.name.value.as_str().into(),
        };
        let directory = Directory::watch(directory, waker.clone()).map_err(file)?;
        let began = Instant::now();
        let (persist, remembered) = Persist::open(&config.state, &config.home_agent.name.value)
            .map_err(|_| Fault::Part("the state"))?;
        let horizon = SpiHorizon::open(&config.state.folder.value, SPI_BASE).map_err(file)?;
        let (_asker, questions) = crossbeam_channel::bounded(1);
        let parts = Parts {
            home_agent: HomeAgent::new(home_agent_config::policy(&config)),
            tables,
            workers: rings,
            pool: lab.pool.clone(),
            counters: Arc::clone(&counters),
            taps: Vec::new(),
            tun: None,
            spare_cores: rustix::thread::CpuSet::new(),
            macs: wires.iter().map(|wire| wire.mac).collect(),
            offloads: vec![Offloads::default(); 2],
            kernel: Kernel::connect([], &[]).map_err(file)?,
            directory,
            questions,
            persist,
            horizon,
            waker,
            config,
        };
        let mut control = Control::without_kernel(parts);
        control.begin(&remembered).map_err(|_| Fault::Part("the state"))?;
        let start = began.elapsed();
        drop(remembered);
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, core) = (Arc::clone(&stop), *first);
        let mut workers = workers;
        let worker = workers.pop().ok_or(Fault::Pool)?;
        let worker = std::thread::spawn(move || {
            lab::stay_on(core);
            worker.run(&stopped);
        });
        let (busy, longest) = (Duration::ZERO, Duration::ZERO);
        let worker = Some(worker);
        Ok(Self { control, counters, wires, busy, longest, start, stop, worker, _ports: ports })
    }

    /// One turn of the control thread.
    pub(crate) fn turn(&mut self) -> Result<(), Fault> {
        let before = own_time();
        let active = self.control.turn().map_err(file)?;
        let took = own_time().saturating_sub(before);
        if active {
            self.busy += took;
        }
        self.longest = self.longest.max(took);
        Ok(())
    }

    /// Turns until the home agent has so many SAs.
    pub(crate) fn until_sas(&mut self, sas: usize) -> Result<(), Fault> {
        let begin = Instant::now();
        while self.control.totals().0 < sas {
            self.turn()?;
            if begin.elapsed() > PATIENCE {
                return Err(Fault::Part("SAs of the directory"));
            }
        }
        Ok(())
    }

    /// Ends as the daemon does.
    pub(crate) fn end(mut self) {
        self.halt();
        self.control.end();
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ended = worker.join();
        }
    }
}

impl Drop for HomeAgentRig {
    fn drop(&mut self) {
        self.halt();
    }
}

/// CPU time of this thread.
pub(crate) fn own_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn file(error: io::Error) -> Fault {
    Fault::File(error.kind())
}

/// hearthd's YAML for the addresses of [`crate::frames`].
fn configuration(folder: &Path, stations: u32, directory: &str) -> Result<Config, Fault> {
    let last = SPI_BASE.saturating_add(stations).saturating_add(63);
    let text = format!(
        r#"workers: [{{core: 0}}]
ports:
  - name: access
    device: "net_null0"
    addresses: ["2001:db8:a::1/64"]
home_agent:
  name: perf
  address_ip6: "2001:db8:a::1"
  home_prefixes: ["2001:db8:f:0:0:1::/96"]
  spi_range: [{SPI_BASE}, {last}]
sa_directory: {directory}
tables:
  max_bindings: {bindings}
api:
  socket: {api}
state:
  folder: {folder}
"#,
        api = folder.join("api.sock").display(),
        bindings = stations.max(64),
        folder = folder.display(),
    );
    let path = folder.join("hearthd.yaml");
    std::fs::write(&path, text).map_err(file)?;
    config::load(&path).map_err(|_| Fault::Part("hearthd's configuration"))
}
