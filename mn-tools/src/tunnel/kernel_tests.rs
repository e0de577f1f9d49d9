//! Trains against those of the kernel: what we take apart, and what we put together, goes into a TUN
//! with offloads and is forwarded to one without, where the kernel takes it apart. Needs root.
//!
//! ```text
//!   test -> in0 (virtio_net_hdr) -> the kernel's forwarding, software GSO -> out0 -> test
//! ```

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use hearth_wire::ip::checksum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};
use zerocopy::IntoBytes;

use super::gro::tests::{PART, Part, delivered, stream};
use super::gso::tests::{given, taken_apart};

/// A namespace with the two devices.
struct Forwarder {
    namespace: String,
    into: SyncDevice,
    out: SyncDevice,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).output();
    }
}

impl Forwarder {
    fn new(name: &str) -> Self {
        let namespace = format!("hmnt-{name}");
        let ip = |arguments: &str| {
            let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "ip {arguments}: {error}");
        };
        let _ = Command::new("ip").args(["netns", "delete", &namespace]).output();
        ip(&format!("netns add {namespace}"));
        let file = File::open(format!("/run/netns/{namespace}")).unwrap();
        let device = |name: &str, offload| -> io::Result<SyncDevice> {
            let builder = DeviceBuilder::new().name(name).enable(false);
            let device = builder.with(|options| _ = options.offload(offload)).build_sync()?;
            device.set_nonblocking(true)?;
            Ok(device)
        };
        let (into, out) = std::thread::scope(|scope| {
            let made = scope.spawn(move || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), kind).unwrap();
                for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                    std::fs::write(format!("/proc/sys/net/{key}"), "1").unwrap();
                }
                let devices = (device("in0", true).unwrap(), device("out0", false).unwrap());
                for name in ["all", "in0"] {
                    std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0")
                        .unwrap();
                }
                devices
            });
            made.join().unwrap()
        });
        for link in ["in0", "out0"] {
            ip(&format!("-n {namespace} link set {link} up"));
        }
        ip(&format!("-n {namespace} address add 198.51.100.1/24 dev in0"));
        ip(&format!("-n {namespace} address add 2001:db8:1::1/64 dev in0 nodad"));
        ip(&format!("-n {namespace} -4 route add 203.0.113.0/24 dev out0"));
        ip(&format!("-n {namespace} -6 route add 3131::/16 dev out0"));
        Self { namespace, into, out }
    }

    /// What comes out of as many packets as there should be; the kernel's own words are left out.
    fn forwarded(&self, parts: &[&[u8]], count: usize) -> Vec<Vec<u8>> {
        let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        rustix::io::writev(&self.into, &parts).unwrap();
        let mut all = Vec::new();
        let second = Timespec::try_from(Duration::from_secs(5)).unwrap();
        while all.len() < count {
            let mut packet = vec![0; 66_000];
            match self.out.recv(&mut packet) {
                Ok(len) => {
                    packet.truncate(len);
                    let is_ours = match packet[0] >> 4 {
                        4 => packet[16..18] == [203, 0],
                        _ => packet[24] == 0x31,
                    };
                    all.extend(is_ours.then_some(packet));
                }
                Err(_) => {
                    let mut fds = [PollFd::new(&self.out, PollFlags::IN)];
                    let ready = poll(&mut fds, Some(&second)).unwrap();
                    assert!(ready > 0, "{} of {count} packets came out", all.len());
                }
            }
        }
        all
    }
}

/// A packet one hop further.
fn hopped(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[7] -= 1;
    } else {
        packet[8] -= 1;
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

#[test]
fn the_kernel_takes_trains_apart_as_we_do() {
    let forwarder = Forwarder::new("gso");
    let flags = [0x10, 0x18, 0x11, 0x90, 0x99];
    let sizes = [(1, 100), (700, 700), (701, 700), (2799, 700), (5000, 1333), (9999, 999)];
    for (turn, (payload, segment)) in sizes.into_iter().enumerate() {
        for (is_ipv6, is_udp) in [(true, false), (false, false), (true, true), (false, true)] {
            for flags in flags.into_iter().take(if is_udp { 1 } else { flags.len() }) {
                let tos = [0, 0x02, 0xb9, 0x03][turn % 4];
                let given = given(is_ipv6, is_udp, turn % 4, flags, tos, payload, segment);
                let ours: Vec<_> = taken_apart(&given).into_iter().map(hopped).collect();
                // The kernel does not take a train of one.
                if ours.len() > 1 {
                    let parts = [given.header.as_bytes(), &given.packet];
                    let theirs = forwarder.forwarded(&parts, ours.len());
                    assert!(theirs == ours, "{is_ipv6} {is_udp} {payload} {segment} {flags:#x}");
                }
            }
        }
    }
}

#[test]
fn the_kernel_makes_the_same_packets_of_our_trains() {
    let forwarder = Forwarder::new("gro");
    for is_ipv6 in [true, false] {
        let part = Part { is_ipv6, id: Some(0xfffd), ..PART };
        for lens in [&[500; 9][..], &[1200, 1200, 77], &[9, 9], &[1399; 40]] {
            let packets = stream(part, lens);
            let written = delivered(&packets, true);
            assert_eq!(written.len(), 1);
            let theirs = forwarder.forwarded(&[&written[0].0], packets.len());
            let ours: Vec<_> = packets.into_iter().map(hopped).collect();
            assert!(theirs == ours, "{is_ipv6} {lens:?}");
        }
    }
}
