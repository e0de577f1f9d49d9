//! What a home agent needs of its machine, item by item.

use super::machine::Machine;
use super::wanted::{Device, Wanted};
use super::{Finding, State};

/// The driver that hands a PCI device to a program.
pub(super) const VFIO: &str = "vfio-pci";
/// Drivers of NICs that stay the kernel's while DPDK uses them.
const SHARED: [&str; 3] = ["mlx5_core", "mlx4_core", "mana"];

/// Looks at `machine` with the eyes of `wanted`.
#[must_use]
pub fn check(machine: &Machine, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = vec![processor(machine), huge_pages(machine, wanted)];
    findings.extend(cores(machine, wanted));
    findings.extend(frequency(machine, wanted));
    if wanted.pci_devices().next().is_some() {
        findings.push(iommu(machine));
    }
    for (who, address) in wanted.pci_devices() {
        findings.push(pci_device(machine, who.clone(), address));
        findings.extend(distance(machine, wanted, who, address));
    }
    findings.extend(interfaces(machine, wanted));
    findings.push(tun(machine));
    findings
}

fn ok(subject: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding { subject: subject.into(), state: State::Ok, found: found.into(), remedy: None }
}

fn not_ok(
    state: State,
    subject: impl Into<String>,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    let (subject, found, remedy) = (subject.into(), found.into(), Some(remedy.into()));
    Finding { subject, state, found, remedy }
}

fn processor(machine: &Machine) -> Finding {
    let features = machine.cpu_features();
    let has = |feature: &str| features.contains(feature);
    let helpful = ["aes", "avx2", "avx512f", "vaes", "sha_ni"];
    let found: Vec<&str> = helpful.into_iter().filter(|feature| has(feature)).collect();
    let found = found.join(" ");
    if !has("sse4_2") {
        let remedy = "DPDK runs on processors with SSE4.2; of a virtual machine say -cpu host";
        not_ok(State::Missing, "processor", "no SSE4.2", remedy)
    } else if !has("aes") {
        let remedy = "AES is done in software, many times slower: switch AES-NI on in the firmware, \
                      or give the virtual machine -cpu host";
        not_ok(State::Advice, "processor", "no AES-NI", remedy)
    } else {
        ok("processor", found)
    }
}

fn huge_pages(machine: &Machine, wanted: &Wanted) -> Finding {
    let subject = "huge pages";
    let sizes = machine.huge_pages();
    let free_mb: u64 = sizes.iter().map(|pages| pages.free * pages.size_kib / 1024).sum();
    let total_mb: u64 = sizes.iter().map(|pages| pages.total * pages.size_kib / 1024).sum();
    let found = format!("{free_mb} MiB free of {total_mb}");
    let Some(wanted_mb) = wanted.huge_mb else {
        let remedy =
            "eal.huge_pages: false: fit for a lab; packets cost more and NICs can't be used";
        return not_ok(State::Advice, subject, "not wanted", remedy);
    };
    // A hearthd that runs has its share already.
    if total_mb >= wanted_mb && (free_mb >= wanted_mb || total_mb > free_mb) {
        return ok(subject, found);
    }
    let pages =
        super::change::pages_for(&sizes, wanted_mb).map_or(wanted_mb.div_ceil(2), |(_, n)| n);
    let remedy = format!(
        "hearth setup reserves them while memory is in one piece; for good: {pages} of them by \
         `vm.nr_hugepages = {pages}` in /etc/sysctl.d/hearth.conf"
    );
    not_ok(State::Missing, subject, format!("{found}, {wanted_mb} wanted"), remedy)
}

fn cores(machine: &Machine, wanted: &Wanted) -> Vec<Finding> {
    let online = machine.cores();
    let isolated = machine.isolated();
    let mut findings = Vec::new();
    let all = wanted.workers.iter().chain([&wanted.control_core]);
    let absent: Vec<String> =
        all.filter(|core| !online.contains(core)).map(ToString::to_string).collect();
    if !absent.is_empty() {
        let found = format!("no core {}", absent.join(", "));
        let remedy =
            format!("name others under workers and eal.control_core; there are {online:?}");
        findings.push(not_ok(State::Missing, "cores", found, remedy));
    }
    let workers = &wanted.workers;
    if workers.contains(&wanted.control_core) {
        let remedy =
            "give the control thread another core (eal.control_core), or it waits for packets";
        findings.push(not_ok(State::Advice, "control core", "shared with a worker", remedy));
    }
    let shared = |core: &&u32| {
        machine.siblings(**core).iter().any(|other| other != *core && workers.contains(other))
    };
    if let Some(core) = workers.iter().find(shared) {
        let found = format!("core {core} shares its units with another worker's");
        let remedy = "two workers on one core's hyper-threads carry little more than one; take one of each pair";
        findings.push(not_ok(State::Advice, "hyper-threads", found, remedy));
    }
    let open: Vec<String> = workers
        .iter()
        .filter(|core| online.contains(core) && !isolated.contains(core))
        .map(ToString::to_string)
        .collect();
    findings.push(if open.is_empty() {
        ok("worker cores", "isolated")
    } else {
        let list = open.join(",");
        let remedy = format!(
            "the kernel puts other work there, which costs packets: kernel command line \
             `isolcpus={list} nohz_full={list} rcu_nocbs={list}`"
        );
        not_ok(State::Advice, "worker cores", format!("{list} not isolated"), remedy)
    });
    findings
}

fn frequency(machine: &Machine, wanted: &Wanted) -> Option<Finding> {
    let slow = |core: &&u32| machine.governor(**core).is_some_and(|now| now != "performance");
    let core = wanted.workers.iter().find(slow)?;
    let found = format!("core {core}: {}", machine.governor(*core).unwrap_or_default());
    let remedy = "latency rises while a core wakes up: `cpupower frequency-set -g performance`";
    Some(not_ok(State::Advice, "frequency", found, remedy))
}

fn iommu(machine: &Machine) -> Finding {
    if machine.has_iommu() {
        return ok("IOMMU", "on");
    }
    if machine.is_noiommu_allowed() {
        let remedy = "devices can write anywhere: switch on VT-d or AMD-Vi in the firmware and \
                      `intel_iommu=on iommu=pt` on the kernel command line, if there is one";
        return not_ok(State::Advice, "IOMMU", "none; vfio does without", remedy);
    }
    let remedy = "firmware: VT-d or AMD-Vi on; kernel command line `intel_iommu=on iommu=pt`; where \
                  there is none (many virtual machines): `options vfio enable_unsafe_noiommu_mode=1` \
                  in /etc/modprobe.d/vfio.conf";
    not_ok(State::Missing, "IOMMU", "none", remedy)
}

fn pci_device(machine: &Machine, who: String, address: &str) -> Finding {
    let Some(driver) = machine.driver(address) else {
        let remedy = "name one that `lspci -D` lists";
        return not_ok(State::Missing, who, format!("no device {address}"), remedy);
    };
    let in_use: Vec<String> = machine
        .interfaces(address)
        .into_iter()
        .filter(|interface| machine.is_in_use(interface))
        .collect();
    let others: Vec<String> = machine
        .group(address)
        .into_iter()
        .filter(|(_, driver)| driver.as_deref().is_some_and(|driver| driver != VFIO))
        .map(|(other, _)| other)
        .collect();
    match driver.as_deref() {
        Some(VFIO) if others.is_empty() => ok(who, format!("{address}, {VFIO}")),
        Some(VFIO) => {
            let found = format!("{address} is in one IOMMU group with {}", others.join(", "));
            let remedy = "these have to be bound to vfio-pci or to nothing; or use another slot";
            not_ok(State::Missing, who, found, remedy)
        }
        Some(driver) if SHARED.contains(&driver) => ok(who, format!("{address}, {driver}")),
        driver => {
            let found = format!("{address}, {}", driver.unwrap_or("no driver"));
            let remedy = if in_use.is_empty() {
                format!("hearth setup binds it to {VFIO}")
            } else {
                format!(
                    "the kernel has routes by {}: hearth setup leaves it alone. Take another NIC, or \
                     `ip addr flush dev` it if nothing needs it",
                    in_use.join(", ")
                )
            };
            not_ok(State::Missing, who, found, remedy)
        }
    }
}

/// Whether a device is the kernel's, nothing needs it there, and DPDK can't use it so.
pub(super) fn is_to_be_bound(machine: &Machine, address: &str) -> bool {
    let Some(driver) = machine.driver(address) else { return false };
    let fits = driver.is_some_and(|driver| driver == VFIO || SHARED.contains(&driver.as_str()));
    let in_use = machine.interfaces(address).iter().any(|interface| machine.is_in_use(interface));
    !fits && !in_use
}

fn distance(machine: &Machine, wanted: &Wanted, who: String, address: &str) -> Option<Finding> {
    let node = machine.node_of_device(address)?;
    let far = |core: &&u32| machine.node_of_core(**core).is_some_and(|other| other != node);
    let core = wanted.workers.iter().find(far)?;
    let found = format!("on NUMA node {node}, the worker on core {core} is not");
    let remedy =
        "packets cross the sockets' link: take workers' cores of the node that has the NICs";
    Some(not_ok(State::Advice, who, found, remedy))
}

fn interfaces(machine: &Machine, wanted: &Wanted) -> Vec<Finding> {
    let interface = |(name, device): &(String, Device)| {
        let Device::Interface(interface) = device else { return None };
        let who = format!("port {name}");
        Some(if machine.has_interface(interface) {
            ok(who, interface)
        } else {
            let remedy = "name one that `ip link` lists, or make it before hearthd starts";
            not_ok(State::Missing, who, format!("no interface {interface}"), remedy)
        })
    };
    wanted.ports.iter().filter_map(interface).collect()
}

fn tun(machine: &Machine) -> Finding {
    if machine.exists("/dev/net/tun") {
        return ok("/dev/net/tun", "there");
    }
    let remedy = "`modprobe tun`; of a container: give it the device";
    not_ok(State::Missing, "/dev/net/tun", "not there", remedy)
}

#[cfg(test)]
mod tests;
