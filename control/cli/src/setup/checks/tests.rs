#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::setup::{change, machine::Machine};

const ADDRESS: &str = "0000:01:00.0";

/// A machine that has all that one port, one worker and 64 MiB of huge pages need.
fn laid_out() -> (TempDir, Machine) {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| put(folder.path(), path, text);
    put("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse4_2 aes avx2\n\n");
    put("proc/net/route", "Iface\tDestination\neth0\t00000000\n");
    put("proc/net/ipv6_route", "fe800000 40 0 00 0 00000100 1 0 1 eth1\n");
    put("sys/devices/system/cpu/online", "0-1\n");
    put("sys/devices/system/cpu/isolated", "1\n");
    let huge = "sys/kernel/mm/hugepages/hugepages-2048kB";
    put(&format!("{huge}/nr_hugepages"), "32\n");
    put(&format!("{huge}/free_hugepages"), "32\n");
    put("sys/kernel/iommu_groups/7/type", "DMA\n");
    put("dev/net/tun", "");
    let device = folder.path().join("sys/bus/pci/devices").join(ADDRESS);
    fs::create_dir_all(folder.path().join("sys/bus/pci/drivers/vfio-pci")).unwrap();
    fs::create_dir_all(folder.path().join("sys/bus/pci/drivers/igb")).unwrap();
    fs::create_dir_all(&device).unwrap();
    symlink("../../drivers/vfio-pci", device.join("driver")).unwrap();
    let machine = Machine::at(folder.path());
    (folder, machine)
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn wanted() -> Wanted {
    Wanted {
        huge_mb: Some(64),
        control_core: 0,
        workers: vec![1],
        ports: vec![("access".into(), Device::Pci(ADDRESS.into()))],
        crypto: None,
    }
}

/// What is not as it should be: subject, state and what was found.
fn complaints(machine: &Machine, wanted: &Wanted) -> Vec<(String, State, String)> {
    let all = check(machine, wanted).into_iter();
    let bad = all.filter(|finding| finding.state != State::Ok);
    bad.inspect(|finding| assert!(finding.remedy.is_some(), "{finding:?}"))
        .map(|finding| (finding.subject, finding.state, finding.found))
        .collect()
}

fn one(subject: &str, state: State, found: &str) -> Vec<(String, State, String)> {
    vec![(subject.into(), state, found.into())]
}

fn rebind(folder: &TempDir, driver: &str) {
    let link = folder.path().join("sys/bus/pci/devices").join(ADDRESS).join("driver");
    fs::remove_file(&link).unwrap();
    symlink(format!("../../drivers/{driver}"), link).unwrap();
}

#[test]
fn a_machine_with_everything_has_nothing_to_mend() {
    let (_folder, machine) = laid_out();
    assert_eq!(complaints(&machine, &wanted()), []);
}

#[test]
fn a_slow_or_old_processor_is_named() {
    let (folder, machine) = laid_out();
    put(folder.path(), "proc/cpuinfo", "flags : sse4_2\n");
    assert_eq!(complaints(&machine, &wanted()), one("processor", State::Advice, "no AES-NI"));
    put(folder.path(), "proc/cpuinfo", "flags : aes\n");
    assert_eq!(complaints(&machine, &wanted()), one("processor", State::Missing, "no SSE4.2"));
}

#[test]
fn huge_pages_are_counted_and_asked_for() {
    let (folder, machine) = laid_out();
    let mut wanted = wanted();
    wanted.huge_mb = Some(65);
    let missing = one("huge pages", State::Missing, "64 MiB free of 64, 65 wanted");
    assert_eq!(complaints(&machine, &wanted), missing);
    let done = change::mend(&machine, &wanted).unwrap();
    assert_eq!(done, ["huge pages: 33 of 2048 KiB asked for"]);
    let huge = folder.path().join("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    assert_eq!(fs::read_to_string(huge).unwrap(), "33");
}

#[test]
fn pages_of_a_gigabyte_are_taken_where_there_are_some() {
    let pages = |size_kib, total| crate::setup::machine::HugePages { size_kib, total, free: total };
    let count = |sizes: &[_], mb| change::pages_for(sizes, mb).map(|(of, n)| (of.size_kib, n));
    assert_eq!(count(&[pages(2048, 0), pages(1 << 20, 0)], 3000), Some((2048, 1500)));
    assert_eq!(count(&[pages(2048, 0), pages(1 << 20, 1)], 3000), Some((1 << 20, 3)));
    assert_eq!(count(&[], 1), None);
}

#[test]
fn cores_that_are_absent_shared_or_open_are_named() {
    let (folder, machine) = laid_out();
    let mut wanted = wanted();
    wanted.workers = vec![1, 4];
    assert_eq!(complaints(&machine, &wanted), one("cores", State::Missing, "no core 4"));
    wanted.workers = vec![1];
    wanted.control_core = 1;
    let shared = one("control core", State::Advice, "shared with a worker");
    assert_eq!(complaints(&machine, &wanted), shared);
    wanted.control_core = 0;
    put(folder.path(), "sys/devices/system/cpu/isolated", "\n");
    let open = one("worker cores", State::Advice, "1 not isolated");
    assert_eq!(complaints(&machine, &wanted), open);
}

#[test]
fn a_nic_with_another_driver_is_bound_unless_it_is_in_use() {
    let (folder, machine) = laid_out();
    rebind(&folder, "igb");
    let kernels = one("port access", State::Missing, "0000:01:00.0, igb");
    assert_eq!(complaints(&machine, &wanted()), kernels);
    assert!(is_to_be_bound(&machine, ADDRESS));
    for (interface, free) in [("eth1", true), ("eth0", false)] {
        let net = folder.path().join("sys/bus/pci/devices").join(ADDRESS).join("net");
        let _ = fs::remove_dir_all(&net);
        fs::create_dir_all(net.join(interface)).unwrap();
        assert_eq!(is_to_be_bound(&machine, ADDRESS), free, "{interface}");
    }
    let mended = change::mend(&machine, &wanted()).unwrap();
    assert_eq!(mended, Vec::<String>::new(), "the machine's own address is left alone");
}

#[test]
fn without_an_iommu_vfio_has_to_be_told() {
    let (folder, machine) = laid_out();
    fs::remove_dir_all(folder.path().join("sys/kernel/iommu_groups")).unwrap();
    assert_eq!(complaints(&machine, &wanted()), one("IOMMU", State::Missing, "none"));
    put(folder.path(), "sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    let without = one("IOMMU", State::Advice, "none; vfio does without");
    assert_eq!(complaints(&machine, &wanted()), without);
}

#[test]
fn devices_that_are_not_there_are_named() {
    let (_folder, machine) = laid_out();
    let mut wanted = wanted();
    wanted.ports.push(("home".into(), Device::Interface("eth7".into())));
    wanted.crypto = Some("0000:3d:01.0".into());
    let named = complaints(&machine, &wanted);
    let expected = [
        ("crypto device".to_owned(), State::Missing, "no device 0000:3d:01.0".to_owned()),
        ("port home".to_owned(), State::Missing, "no interface eth7".to_owned()),
    ];
    assert_eq!(named, expected);
}
