//! What every figure needs: DPDK, buffers, an undisturbed core.

use core::sync::atomic::{AtomicU32, Ordering};

use hearth_dpdk::{Eal, EalOptions, Mempool};
use rustix::thread::CpuSet;

use crate::fault::Fault;
use crate::machine::{self, Machine};
use crate::pipeline;

/// DPDK's heap in MiB: route tables of each family for several dataplanes at a time, their hash
/// tables, and the mbufs. Without huge pages it is occupied only where it is used.
const MEMORY_MB: u32 = 2048;

/// A process that measures.
pub(crate) struct Lab {
    pub(crate) eal: Eal,
    pub(crate) machine: Machine,
    /// The buffers of a whole run.
    pub(crate) pool: Mempool,
    /// The cores that this process may use, lowest first. The thread that started it stays on the
    /// last.
    pub(crate) cores: Vec<usize>,
    /// Dataplanes made so far: their DPDK objects have names.
    made: AtomicU32,
}

impl Lab {
    /// Starts DPDK, with these NICs if any, and keeps this thread on one core.
    pub(crate) fn start(nics: &[String]) -> Result<Self, Fault> {
        let cores = cores();
        let huge_pages = machine::has_huge_pages(MEMORY_MB);
        let options = EalOptions {
            huge_pages,
            memory_mb: MEMORY_MB,
            pci_allow: nics.to_vec(),
            ..EalOptions::default()
        };
        let eal = Eal::init(&options)?;
        let machine = Machine::read(&eal, huge_pages)?;
        if let Some(&last) = cores.last() {
            stay_on(last);
        }
        take_precedence();
        let pool = pipeline::pool(&eal)?;
        say!(
            "{}, {} cores, ipsec-mb {}, {}, {} huge pages",
            machine.cpu,
            machine.cores,
            machine.ipsec_mb_arch,
            machine.dpdk,
            if huge_pages { "with" } else { "without" },
        );
        Ok(Self { eal, machine, pool, cores, made: AtomicU32::new(0) })
    }

    /// A name for the DPDK objects of another dataplane.
    pub(crate) fn name(&self) -> String {
        format!("perf{}", self.made.fetch_add(1, Ordering::Relaxed))
    }
}

/// Keeps the calling thread on this core.
pub(crate) fn stay_on(core: usize) {
    let mut one = CpuSet::new();
    one.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &one);
}

fn cores() -> Vec<usize> {
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect()
}

/// Lets this thread run before others, where that is allowed. Both sides of a pair suffer from a
/// neighbour, but not both from the same one.
pub(crate) fn take_precedence() {
    let _ = rustix::process::setpriority_process(None, -20);
}

/// Leaves the cores to others, as far as they want them: what is not timed can wait.
pub(crate) fn give_way() {
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Puts the calling thread, and what it starts, where any program is: on all cores, without
/// precedence.
pub(crate) fn be_as_others(cores: &[usize]) {
    let mut all = CpuSet::new();
    cores.iter().for_each(|&core| all.set(core));
    let _ = rustix::thread::sched_setaffinity(None, &all);
    let _ = rustix::process::setpriority_process(None, 0);
}
