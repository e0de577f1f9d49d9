//! The Environment Abstraction Layer: DPDK's memory, devices and threads.
//!
//! One EAL per process, ever: DPDK cannot be started a second time.

use core::cell::Cell;
use core::ffi::{CStr, c_char};
use core::marker::PhantomData;
use std::ffi::CString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hearth_dpdk_sys as sys;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use thiserror::Error;

use crate::errno::Errno;
use crate::heap::{HeapStats, PoolUse, Pools};

/// What the EAL is started with.
#[derive(Debug, Clone)]
pub struct EalOptions {
    /// Huge pages for packet memory (`--in-memory`: nothing is left in hugetlbfs). Without them
    /// (`--no-huge`) DPDK runs anywhere, with virtual devices only.
    pub huge_pages: bool,
    /// DPDK's heap in MiB: mbufs, rings, hash tables, routes. Without huge pages it is reserved
    /// at once but only occupied as it is touched.
    pub memory_mb: u32,
    /// Tells the processes of one machine apart.
    pub file_prefix: String,
    /// The CPU that the calling thread counts as; the first one it may run on if not given. Workers
    /// are ordinary threads that call [`Eal::register_thread`].
    pub main_core: Option<usize>,
    /// Virtual devices, as `--vdev` takes them: `net_af_packet0,iface=eth0`.
    pub vdevs: Vec<String>,
    /// PCI addresses of the NICs to take. None: no PCI device is touched.
    pub pci_allow: Vec<String>,
    /// What DPDK may write to standard error.
    pub log_level: LogLevel,
    /// DPDK's own telemetry socket. Off: it takes a thread and leaves files, and hearthd has
    /// metrics of its own.
    pub telemetry: bool,
}

impl Default for EalOptions {
    fn default() -> Self {
        Self {
            huge_pages: false,
            memory_mb: 512,
            file_prefix: format!("hearth-{}", std::process::id()),
            main_core: None,
            vdevs: Vec::new(),
            pci_allow: Vec::new(),
            log_level: LogLevel::Warning,
            telemetry: false,
        }
    }
}

/// DPDK's log levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warning,
    /// And what an operator may want to know.
    Notice,
    /// And more.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Why the EAL did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EalError {
    /// It was started before in this process.
    #[error("DPDK was started before in this process")]
    AlreadyStarted,
    /// An option holds a NUL octet.
    #[error("an option of DPDK holds a NUL octet")]
    BadOption,
    /// The CPUs that this thread may run on could not be read or set.
    #[error("the thread's CPU affinity could not be read or restored")]
    Affinity,
    /// DPDK refused; it has said more on standard error.
    #[error("DPDK did not start: {0}")]
    Init(Errno),
}

/// The running EAL. Clones are handles on the same one; the last one to go cleans it up.
#[derive(Debug, Clone)]
pub struct Eal {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pools: Mutex<Pools>,
    ports: Mutex<Vec<u16>>,
    crypto_devices: Mutex<Vec<u8>>,
}

static STARTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether DPDK knows this thread. DPDK itself would register one twice.
    static KNOWN: Cell<bool> = const { Cell::new(false) };
}

impl Eal {
    /// Starts DPDK and leaves the calling thread's CPU affinity as it was: DPDK pins the caller,
    /// and with it every thread started afterwards, to the main core.
    ///
    /// # Errors
    /// [`EalError`]. A failed start cannot be repeated in the same process.
    pub fn init(options: &EalOptions) -> Result<Self, EalError> {
        let affinity = sched_getaffinity(None).map_err(|_| EalError::Affinity)?;
        let arguments = arguments(options, &affinity)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(EalError::AlreadyStarted);
        }
        let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        let count = i32::try_from(pointers.len()).map_err(|_| EalError::BadOption)?;
        // SAFETY: argv holds `count` NUL-terminated strings, which are never freed: DPDK's
        // parser may keep pointers into them.
        let parsed = unsafe { sys::rte_eal_init(count, pointers.as_mut_ptr()) };
        let restored = sched_setaffinity(None, &affinity);
        if parsed < 0 {
            return Err(EalError::Init(Errno::last()));
        }
        // From here on dropping `eal` cleans up.
        let eal = Self { inner: Arc::new(Inner::default()) };
        KNOWN.set(true);
        remove_runtime_dir();
        restored.map_err(|_| EalError::Affinity)?;
        Ok(eal)
    }

    /// Makes the calling thread one of DPDK's, so that mempools give it a cache. For every
    /// thread that moves packets other than the one that called [`Eal::init`].
    ///
    /// # Errors
    /// `ENOMEM` when DPDK's lcore ids are used up, `EINVAL` when DPDK knows the thread already.
    pub fn register_thread(&self) -> Result<ThreadRegistration, Errno> {
        if KNOWN.get() {
            return Err(Errno::INVALID);
        }
        // SAFETY: the EAL runs as long as `self`, which the registration keeps.
        if unsafe { sys::rte_thread_register() } < 0 {
            return Err(Errno::last());
        }
        KNOWN.set(true);
        Ok(ThreadRegistration { _eal: self.clone(), _not_send: PhantomData })
    }

    /// DPDK's version, as it names itself.
    #[must_use]
    pub fn version(&self) -> String {
        // SAFETY: rte_version returns a static NUL-terminated string.
        unsafe { CStr::from_ptr(sys::rte_version()) }.to_string_lossy().into_owned()
    }

    /// DPDK's heap as it stands. It walks the whole heap: not for a worker.
    #[must_use]
    pub fn heap(&self) -> HeapStats {
        HeapStats::read()
    }

    /// What is in use of every pool, in the order in which they were made.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolUse> {
        self.with_pools(|pools| pools.in_use())
    }

    /// Does something to the list of pools.
    pub(crate) fn with_pools<T>(&self, act: impl FnOnce(&mut Pools) -> T) -> T {
        act(&mut self.inner.pools.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that somebody owns the port; false if somebody does already.
    pub(crate) fn claim_port(&self, port: u16) -> bool {
        claim(&self.inner.ports, port)
    }

    pub(crate) fn release_port(&self, port: u16) {
        release(&self.inner.ports, port);
    }

    /// Notes that somebody owns the crypto device; false if somebody does already.
    pub(crate) fn claim_crypto_device(&self, device: u8) -> bool {
        claim(&self.inner.crypto_devices, device)
    }

    pub(crate) fn release_crypto_device(&self, device: u8) {
        release(&self.inner.crypto_devices, device);
    }
}

fn claim<T: PartialEq>(claims: &Mutex<Vec<T>>, id: T) -> bool {
    let mut claims = claims.lock().unwrap_or_else(PoisonError::into_inner);
    let free = !claims.contains(&id);
    if free {
        claims.push(id);
    }
    free
}

fn release<T: PartialEq>(claims: &Mutex<Vec<T>>, id: T) {
    let mut claims = claims.lock().unwrap_or_else(PoisonError::into_inner);
    claims.retain(|claimed| *claimed != id);
}

impl Drop for Inner {
    fn drop(&mut self) {
        let pools = self.pools.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Somebody holds an mbuf still: leave DPDK's memory where it is rather than pull it away.
        if !pools.free_all() {
            return;
        }
        // SAFETY: every object of this crate held a handle; this was the last.
        unsafe { sys::rte_eal_cleanup() };
    }
}

/// While it lives, the thread that made it is known to DPDK. It stays on that thread.
#[derive(Debug)]
pub struct ThreadRegistration {
    _eal: Eal,
    _not_send: PhantomData<*const ()>,
}

impl Drop for ThreadRegistration {
    fn drop(&mut self) {
        // SAFETY: this thread registered and cannot have unregistered since.
        unsafe { sys::rte_thread_unregister() };
        KNOWN.set(false);
    }
}

/// A name for DPDK.
pub(crate) fn c_name(name: &str) -> Result<CString, Errno> {
    CString::new(name).map_err(|_| Errno::INVALID)
}

fn arguments(options: &EalOptions, affinity: &CpuSet) -> Result<Vec<CString>, EalError> {
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| affinity.is_set(cpu)).unwrap_or(0);
    let core = options.main_core.unwrap_or(first);
    let mut words = vec![
        "hearth".to_owned(),
        "-l".to_owned(),
        core.to_string(),
        // --no-huge alone gives 63 MiB.
        "-m".to_owned(),
        options.memory_mb.to_string(),
        format!("--file-prefix={}", options.file_prefix),
        format!("--log-level={}", options.log_level.name()),
    ];
    if options.huge_pages {
        words.push("--in-memory".to_owned());
    } else {
        // --no-huge refuses --in-memory; --no-shconf is the part of it that leaves no files.
        words.extend(["--no-huge".to_owned(), "--no-shconf".to_owned()]);
    }
    if !options.telemetry {
        words.push("--no-telemetry".to_owned());
    }
    if options.pci_allow.is_empty() {
        words.push("--no-pci".to_owned());
    }
    for address in &options.pci_allow {
        words.extend(["-a".to_owned(), address.clone()]);
    }
    words.extend(options.vdevs.iter().map(|vdev| format!("--vdev={vdev}")));
    words.into_iter().map(|word| CString::new(word).map_err(|_| EalError::BadOption)).collect()
}

/// DPDK makes a runtime directory per prefix and leaves it; nothing of ours is in it, so it goes
/// at once, and a killed process leaves nothing behind. One that is not empty stays.
fn remove_runtime_dir() {
    // SAFETY: a NUL-terminated static of the EAL, which has been initialised.
    let dir = unsafe { CStr::from_ptr(sys::rte_eal_get_runtime_dir()) };
    if let Ok(dir) = dir.to_str() {
        let _ = std::fs::remove_dir(Path::new(dir));
    }
}
