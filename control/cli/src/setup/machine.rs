//! What the kernel says of the machine, in /proc and /sys.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A machine: this one, or what a test has laid out like one.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
}

/// Huge pages of one size, over all NUMA nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HugePages {
    /// Of a page, in KiB.
    pub size_kib: u64,
    /// Pages reserved.
    pub total: u64,
    /// Of these, not in use.
    pub free: u64,
}

impl Machine {
    /// The one that this runs on.
    #[must_use]
    pub fn here() -> Self {
        Self::at(Path::new("/"))
    }

    /// One whose /proc and /sys are below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path.as_ref().strip_prefix("/").unwrap_or(path.as_ref()))
    }

    /// What stands in a file, without the line's end.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(fs::read_to_string(self.path(path)).ok()?.trim_end().to_owned())
    }

    pub(super) fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    pub(super) fn write(&self, path: impl AsRef<Path>, text: &str) -> io::Result<()> {
        fs::write(self.path(path), text)
    }

    fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Where a link points to, its last part.
    fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The first core's features, as /proc/cpuinfo names them.
    #[must_use]
    pub fn cpu_features(&self) -> BTreeSet<String> {
        let text = self.text("/proc/cpuinfo").unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags"));
        let flags = flags.and_then(|flags| flags.split_once(':')).map_or("", |(_, flags)| flags);
        flags.split_whitespace().map(str::to_owned).collect()
    }

    /// Cores that run.
    #[must_use]
    pub fn cores(&self) -> BTreeSet<u32> {
        list(&self.text("/sys/devices/system/cpu/online").unwrap_or_default())
    }

    /// Cores that the kernel keeps other work off (isolcpus).
    #[must_use]
    pub fn isolated(&self) -> BTreeSet<u32> {
        list(&self.text("/sys/devices/system/cpu/isolated").unwrap_or_default())
    }

    /// The cores that share a core's units with it, itself among them.
    #[must_use]
    pub fn siblings(&self, core: u32) -> BTreeSet<u32> {
        let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        list(&self.text(path).unwrap_or_default())
    }

    /// What governs a core's frequency, where something does.
    #[must_use]
    pub fn governor(&self, core: u32) -> Option<String> {
        self.text(format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))
    }

    /// The NUMA node of a core, where there is more than one.
    #[must_use]
    pub fn node_of_core(&self, core: u32) -> Option<u32> {
        let names = self.names(format!("/sys/devices/system/cpu/cpu{core}"));
        names.iter().find_map(|name| name.strip_prefix("node")?.parse().ok())
    }

    /// The NUMA node of a PCI device, where the firmware says so.
    #[must_use]
    pub fn node_of_device(&self, address: &str) -> Option<u32> {
        self.text(format!("/sys/bus/pci/devices/{address}/numa_node"))?.parse().ok()
    }

    /// Huge pages, the smallest size first.
    #[must_use]
    pub fn huge_pages(&self) -> Vec<HugePages> {
        let folder = Path::new("/sys/kernel/mm/hugepages");
        let mut sizes: Vec<HugePages> = self
            .names(folder)
            .iter()
            .filter_map(|name| {
                let size_kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
                let count = |what| self.text(folder.join(name).join(what))?.parse().ok();
                let (total, free) = (count("nr_hugepages")?, count("free_hugepages")?);
                Some(HugePages { size_kib, total, free })
            })
            .collect();
        sizes.sort_by_key(|pages| pages.size_kib);
        sizes
    }

    /// Whether an IOMMU translates what devices read and write.
    #[must_use]
    pub fn has_iommu(&self) -> bool {
        !self.names("/sys/kernel/iommu_groups").is_empty()
    }

    /// Whether vfio may do without (no protection from a device that misbehaves).
    #[must_use]
    pub fn is_noiommu_allowed(&self) -> bool {
        let parameter = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
        self.text(parameter).is_some_and(|value| value == "Y")
    }

    /// Whether a driver for PCI devices is there.
    #[must_use]
    pub fn has_driver(&self, driver: &str) -> bool {
        self.exists(format!("/sys/bus/pci/drivers/{driver}"))
    }

    /// A PCI device's driver. The outer None: no such device; the inner one: no driver has it.
    #[must_use]
    pub fn driver(&self, address: &str) -> Option<Option<String>> {
        let device = format!("/sys/bus/pci/devices/{address}");
        self.exists(&device).then(|| self.link(format!("{device}/driver")))
    }

    /// Other devices that can't be isolated from this one, with the drivers they have. Bridges stay out.
    #[must_use]
    pub fn group(&self, address: &str) -> Vec<(String, Option<String>)> {
        let group = format!("/sys/bus/pci/devices/{address}/iommu_group/devices");
        let others = self.names(group).into_iter().filter(|other| other != address);
        let is_bridge = |other: &String| {
            let class = self.text(format!("/sys/bus/pci/devices/{other}/class"));
            class.is_some_and(|class| class.starts_with("0x0604"))
        };
        others
            .filter(|other| !is_bridge(other))
            .map(|other| {
                let driver = self.driver(&other).flatten();
                (other, driver)
            })
            .collect()
    }

    /// The kernel's interfaces on a PCI device.
    #[must_use]
    pub fn interfaces(&self, address: &str) -> Vec<String> {
        let mut names = self.names(format!("/sys/bus/pci/devices/{address}/net"));
        // virtio puts a level of its own between.
        for child in self.names(format!("/sys/bus/pci/devices/{address}")) {
            if child.starts_with("virtio") {
                names.extend(self.names(format!("/sys/bus/pci/devices/{address}/{child}/net")));
            }
        }
        names
    }

    /// Whether the kernel sends packets by an interface: it has a route there.
    #[must_use]
    pub fn is_in_use(&self, interface: &str) -> bool {
        let ip4 = self.text("/proc/net/route").unwrap_or_default();
        let ip6 = self.text("/proc/net/ipv6_route").unwrap_or_default();
        let by_ip4 = ip4.lines().any(|line| line.split_whitespace().next() == Some(interface));
        // Without what every interface that is up has: link-local and multicast.
        let by_ip6 = ip6.lines().any(|line| {
            let last = line.split_whitespace().last();
            last == Some(interface) && !line.starts_with("fe80") && !line.starts_with("ff00")
        });
        by_ip4 || by_ip6
    }

    /// Whether the kernel has such an interface.
    #[must_use]
    pub fn has_interface(&self, interface: &str) -> bool {
        self.exists(format!("/sys/class/net/{interface}"))
    }
}

/// Numbers as the kernel lists them: `0-3,8`.
fn list(text: &str) -> BTreeSet<u32> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse::<u32>().ok()?..=to.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel_are_read() {
        assert_eq!(list("0-2,8"), BTreeSet::from([0, 1, 2, 8]));
        assert_eq!(list(""), BTreeSet::new());
        assert_eq!(list("3"), BTreeSet::from([3]));
    }

    /// Of the machine that runs the test there is at least a core to be told.
    #[test]
    fn this_machine_has_cores() {
        let here = Machine::here();
        assert!(!here.cores().is_empty());
        assert!(here.has_interface("lo"));
    }
}
