//! The kernel's end of a tap device, and tshark's opinion of what came there.

#![allow(unsafe_code)]

use std::process::Command;
use std::time::{Duration, Instant};

use crate::rig::Frame;

/// Puts this thread into a network namespace of its own, which goes with it.
pub fn enter_namespace() {
    // SAFETY: no memory is involved; the flag takes nothing apart that threads share.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "this test needs root");
}

/// Everything that passes a network device, as it is on the wire.
pub struct PacketSocket(libc::c_int);

impl PacketSocket {
    pub fn on(device: &str) -> Self {
        let name = std::ffi::CString::new(device).unwrap();
        let all = (libc::ETH_P_ALL as u16).to_be();
        let wait = libc::timeval { tv_sec: 0, tv_usec: 100_000 };
        // SAFETY: the structures are initialised and live, their lengths are theirs; the calls
        // keep none of them.
        unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, all.into());
            assert!(socket >= 0, "a packet socket");
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = all;
            address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
            assert_ne!(address.sll_ifindex, 0, "no {device}");
            let len = size_of_val(&address) as u32;
            assert_eq!(libc::bind(socket, (&raw const address).cast(), len), 0);
            let len = size_of_val(&wait) as u32;
            let (level, name) = (libc::SOL_SOCKET, libc::SO_RCVTIMEO);
            let set = libc::setsockopt(socket, level, name, (&raw const wait).cast(), len);
            assert_eq!(set, 0);
            Self(socket)
        }
    }

    /// The next `count` frames to this MAC address.
    pub fn frames_to(&self, mac: [u8; 6], count: usize) -> Vec<Frame> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let (mut frames, mut buffer) = (Vec::new(), vec![0_u8; 2048]);
        while frames.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} frames came", frames.len());
            // SAFETY: the buffer is as long as said.
            let len = unsafe { libc::recv(self.0, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if let Ok(len) = usize::try_from(len)
                && buffer[..6] == mac
            {
                frames.push(Frame(buffer[..len].to_vec()));
            }
        }
        frames
    }
}

impl Drop for PacketSocket {
    fn drop(&mut self) {
        // SAFETY: the socket is this value's alone.
        unsafe { libc::close(self.0) };
    }
}

/// Checksums by tshark's judgement, fragments put together: how many UDP packets have a right one,
/// and a right IPv4 header, or are of IPv6. Panics where one is wrong.
pub fn judged_right(frames: &[Frame]) -> usize {
    let mut pcap: Vec<u8> = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    for Frame(octets) in frames {
        let len = octets.len() as u32;
        pcap.extend([0, 0, len, len].into_iter().flat_map(u32::to_le_bytes));
        pcap.extend(octets);
    }
    let file = std::env::temp_dir().join(format!("hearth-checksums-{}.pcap", std::process::id()));
    std::fs::write(&file, pcap).unwrap();
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(&file);
    for option in ["udp.check_checksum", "ip.check_checksum", "ip.defragment", "ipv6.defragment"] {
        tshark.args(["-o", &format!("{option}:TRUE")]);
    }
    tshark.args(["-Y", "udp", "-T", "fields", "-e", "udp.checksum.status"]);
    tshark.args(["-e", "ip.checksum.status"]);
    let output = tshark.output().expect("this test needs tshark: apt-get install tshark");
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // 1 is good; IPv6 has no checksum of its own.
    let verdicts = said.lines().filter(|line| matches!(*line, "1\t1" | "1\t"));
    let right = verdicts.count();
    assert_eq!(right, said.lines().count(), "{said}");
    right
}
