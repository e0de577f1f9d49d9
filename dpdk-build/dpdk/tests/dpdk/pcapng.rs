//! Capture files, as tshark reads them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use hearth_dpdk::{
    CaptureDirection, Captured, Mempool, PcapngError, PcapngWriter, Port, Queues, spsc_ring, tsc,
};

use crate::{all_back, eal, pool};

/// A file that goes with the test.
struct Capture(PathBuf);

impl Capture {
    fn new(name: &str) -> Self {
        let name = format!("hearth-{name}-{}.pcapng", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn writer(&self, pool: &Mempool) -> PcapngWriter {
        let file = File::create(&self.0).expect("a temporary file").into();
        PcapngWriter::new(eal(), file, pool, "hearthd", "a test").expect("a capture")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn ring_port(name: &str, pool: &Mempool) -> (Port, Queues) {
    let (_inject, rx) = spsc_ring(eal(), &format!("{name}_rx"), 8).expect("a ring");
    let (tx, _collect) = spsc_ring(eal(), &format!("{name}_tx"), 8).expect("a ring");
    Port::from_rings(eal(), name, vec![rx], vec![tx], pool).expect("a port")
}

/// One line per packet with these fields, parted by `|`.
fn tshark(file: &Path, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file).args(["-T", "fields", "-E", "separator=|"]);
    fields.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let output = command.output().expect("tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// An Ethernet frame with an IPv6 packet of no next header (59).
fn frame(last: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, last, 0x86, 0xdd];
    frame.extend(ipv6(last));
    frame
}

fn ipv6(last: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, 64, 0x20, 1, 0xd, 0xb8];
    packet.resize(24, 0);
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    packet
}

#[test]
fn tshark_reads_direction_interface_time_and_comment() {
    let (packets, copies) = (pool("pcapng_packets"), pool("pcapng_copies"));
    let (port, _queues) = ring_port("pcapng_port", &packets);
    let (other, _other_queues) = ring_port("pcapng_other", &packets);
    let capture = Capture::new("fields");
    let mut writer = capture.writer(&copies);
    let about = Captured {
        port: port.id(),
        queue: 0,
        cycles: tsc(),
        direction: CaptureDirection::In,
        without_ethernet: false,
        comment: "SPI 0x2342: Ünknown",
    };
    let out = Captured {
        port: other.id(),
        direction: CaptureDirection::Out,
        without_ethernet: true,
        comment: "",
        ..about
    };
    let long = "x".repeat(1000);
    let third = Captured { direction: CaptureDirection::Unknown, comment: &long, ..about };
    let packet = |octets: &[u8]| packets.alloc_with(octets).expect("an mbuf");
    writer.write(packet(&frame(1)), &about).expect("written");
    writer.write(packet(&ipv6(2)), &out).expect("written");
    writer.write(packet(&frame(3)), &third).expect("written");
    drop(writer);

    let fields =
        ["frame.interface_id", "frame.packet_flags_direction", "frame.len", "ipv6.dst", "eth.src"];
    let lines = tshark(&capture.0, &fields);
    assert_eq!(
        lines,
        [
            format!("{}|0x00000001|54|2001:db8::1|02:00:00:00:00:01", port.id()),
            format!("{}|0x00000002|54|2001:db8::2|00:00:00:00:00:00", other.id()),
            format!("{}|0x00000000|54|2001:db8::3|02:00:00:00:00:03", port.id()),
        ]
    );
    let comments = tshark(&capture.0, &["frame.comment"]);
    assert_eq!(comments, ["SPI 0x2342: Ünknown", "", &long[..256]]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    for time in tshark(&capture.0, &["frame.time_epoch"]) {
        let time: f64 = time.parse().expect("seconds");
        assert!((now - time).abs() < 5.0, "captured at {time}, now is {now}");
    }
    all_back(&copies);
    all_back(&packets);
}

#[test]
fn capinfos_finds_no_fault_with_a_cut_packet_of_several_segments() {
    let (packets, copies) = (pool("pcapng_segments"), pool("pcapng_cut"));
    let (port, _queues) = ring_port("pcapng_port", &packets);
    let capture = Capture::new("cut");
    let mut writer = capture.writer(&copies);
    let about = Captured {
        port: port.id(),
        queue: 3,
        cycles: tsc(),
        direction: CaptureDirection::In,
        without_ethernet: false,
        comment: "long",
    };
    for _ in 0..3 {
        let mut packet = packets.alloc_with(&frame(1)).expect("an mbuf");
        for _ in 0..2 {
            let tail = packets.alloc_with(&[0x55; 1999]).expect("an mbuf");
            packet.append_chain(tail).expect("few segments");
        }
        writer.write(packet, &about).expect("written");
    }
    drop(writer);
    let lines = tshark(&capture.0, &["frame.len", "frame.cap_len", "frame.comment"]);
    // 2048 octets of room, less 64 for options and 12 for the comment.
    assert_eq!(lines, ["4052|1972|long"; 3]);
    let output = Command::new("capinfos").args(["-c", "-F", "-k"]).arg(&capture.0).output();
    let output = output.expect("capinfos");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("hearthd") && text.contains("a test"), "{text}");
    all_back(&copies);
    all_back(&packets);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let (packets, copies) = (pool("pcapng_refused"), pool("pcapng_refused_copies"));
    let (port, queues) = ring_port("pcapng_port", &packets);
    let capture = Capture::new("refused");
    let mut writer = capture.writer(&copies);
    let about = Captured {
        port: port.id(),
        queue: 0,
        cycles: tsc(),
        direction: CaptureDirection::In,
        without_ethernet: false,
        comment: "",
    };
    let packet = || packets.alloc_with(&frame(1)).expect("an mbuf");
    for port in [port.id() + 1, 31, 32, u16::MAX] {
        let refused = writer.write(packet(), &Captured { port, ..about });
        assert_eq!(refused, Err(PcapngError::NoSuchPort));
    }
    let mut full = packet();
    full.prepend(full.headroom()).expect("headroom");
    let refused = writer.write(full, &Captured { without_ethernet: true, ..about });
    assert_eq!(refused, Err(PcapngError::NoMemory));
    let held: Vec<_> = std::iter::from_fn(|| copies.alloc()).collect();
    assert_eq!(writer.write(packet(), &about), Err(PcapngError::NoMemory));
    drop(held);
    writer.write(packet(), &about).expect("written");

    let full = File::options().write(true).open("/dev/full").expect("a full device").into();
    let refused = PcapngWriter::new(eal(), full, &copies, "hearthd", "");
    assert_eq!(refused.err().map(hearth_dpdk::Errno::code), Some(28), "ENOSPC");
    drop((port, queues, writer));
    all_back(&copies);
    all_back(&packets);
}
