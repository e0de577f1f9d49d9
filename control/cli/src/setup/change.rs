//! What can be mended while the machine runs.

use std::path::Path;
use std::process::Command;

use super::checks::{VFIO, is_to_be_bound};
use super::machine::{HugePages, Machine};
use super::wanted::Wanted;

/// Which size of pages to reserve for so many MiB, and how many: pages of 1 GiB where some are there
/// already (they can't be had later), else the smallest.
pub(super) fn pages_for(sizes: &[HugePages], mb: u64) -> Option<(HugePages, u64)> {
    let large = sizes.iter().find(|pages| pages.size_kib == 1 << 20 && pages.total > 0);
    let pages = *large.or_else(|| sizes.first())?;
    Some((pages, (mb * 1024).div_ceil(pages.size_kib)))
}

/// Reserves huge pages and binds NICs; a line for each change.
///
/// # Errors
/// The kernel refused; what was changed before stays.
pub(super) fn mend(machine: &Machine, wanted: &Wanted) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    done.extend(reserve(machine, wanted)?);
    for (who, address) in wanted.pci_devices() {
        done.extend(bind(machine, &who, address)?);
    }
    Ok(done)
}

fn reserve(machine: &Machine, wanted: &Wanted) -> Result<Option<String>, String> {
    let Some(mb) = wanted.huge_mb else { return Ok(None) };
    let sizes = machine.huge_pages();
    let reserved: u64 = sizes.iter().map(|pages| pages.total * pages.size_kib / 1024).sum();
    if reserved >= mb {
        return Ok(None);
    }
    let Some((pages, count)) = pages_for(&sizes, mb) else {
        return Err("huge pages: this kernel has none".into());
    };
    let path = format!("/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", pages.size_kib);
    write(machine, &path, &count.to_string())?;
    Ok(Some(format!("huge pages: {count} of {} KiB asked for", pages.size_kib)))
}

/// Gives a device to vfio-pci, unless its own driver or somebody else's routes stand against that.
fn bind(machine: &Machine, who: &str, address: &str) -> Result<Option<String>, String> {
    if !is_to_be_bound(machine, address) {
        return Ok(None);
    }
    if !machine.has_driver(VFIO) {
        load_module(VFIO)?;
    }
    let device = format!("/sys/bus/pci/devices/{address}");
    write(machine, &format!("{device}/driver_override"), VFIO)?;
    if machine.driver(address).flatten().is_some() {
        write(machine, &format!("{device}/driver/unbind"), address)?;
    }
    write(machine, "/sys/bus/pci/drivers_probe", address)?;
    match machine.driver(address).flatten() {
        Some(driver) if driver == VFIO => Ok(Some(format!("{who}: {address} is bound to {VFIO}"))),
        _ => Err(format!(
            "{who}: {address} was not taken by {VFIO}; `dmesg` says why (no IOMMU, most often)"
        )),
    }
}

fn write(machine: &Machine, path: &str, text: &str) -> Result<(), String> {
    machine.write(path, text).map_err(|error| format!("{path}: {error}; run hearth setup as root"))
}

fn load_module(module: &str) -> Result<(), String> {
    let modprobe =
        ["/usr/sbin/modprobe", "/sbin/modprobe"].into_iter().find(|path| Path::new(path).exists());
    let modprobe = modprobe.ok_or("modprobe is missing: install the package kmod")?;
    let done = Command::new(modprobe).arg(module).output();
    match done {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("{modprobe}: {error}")),
    }
}
