//! Capture files in pcapng, by DPDK's rte_pcapng. For a control thread: it writes to a file.
//!
//! ```text
//!  worker: mbuf.copy(pool) --ring--> control thread: PcapngWriter::write --> file
//! ```
//!
//! rte_pcapng writes Ethernet frames only, on the interfaces that are DPDK's ports. A packet that
//! starts with its IP header gets an Ethernet header of zeros in front.

use core::ffi::CStr;
use core::ptr::NonNull;
use std::ffi::CString;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use hearth_dpdk_sys as sys;
use thiserror::Error;

use crate::cycles::tsc;
use crate::eal::{Eal, c_name};
use crate::errno::Errno;
use crate::mbuf::{HEADROOM, Mbuf};
use crate::mempool::Mempool;

/// Octets of a packet's comment that are written at most.
const MAX_COMMENT: usize = 256;

/// rte_pcapng of 22.11 keeps a clock in an unguarded static.
static TURN: Mutex<()> = Mutex::new(());

/// Which way a captured packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureDirection {
    /// Not said.
    Unknown,
    /// Received by the port.
    In,
    /// Sent by the port.
    Out,
}

/// What is noted about a captured packet.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// The DPDK port that it came from or went to. It must have been there when the file was made.
    pub port: u16,
    /// The queue of that port.
    pub queue: u16,
    /// When: [`crate::tsc`] at the time. (DPDK 23.11 and newer take the time of writing instead.)
    pub cycles: u64,
    /// Which way.
    pub direction: CaptureDirection,
    /// Whether it starts with its IP header instead of an Ethernet header.
    pub without_ethernet: bool,
    /// A comment, or "". At most 256 octets of it are written, up to a NUL.
    pub comment: &'a str,
}

/// Why a packet was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PcapngError {
    /// The port was not there when the file was made.
    #[error("the capture file has no such interface")]
    NoSuchPort,
    /// The pool is empty, or the packet has no room for an Ethernet header in front.
    #[error("no memory for the captured packet")]
    NoMemory,
    /// The file could not be written. What is in it may end in the middle of a packet.
    #[error("the capture file could not be written: {0}")]
    Write(Errno),
}

/// Turns cycles into time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    cycles: u64,
    /// Nanoseconds since 1970 at that time.
    ns: i128,
    hz: u64,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // SAFETY: reads a variable that the EAL set when it started.
        let hz = unsafe { sys::rte_get_tsc_hz() };
        let ns = i128::try_from(since.as_nanos()).unwrap_or(0);
        Self { cycles: tsc(), ns, hz: hz.max(1) }
    }

    /// Nanoseconds since 1970 at a time in cycles, before or after the clock was set.
    fn at(&self, cycles: u64) -> u64 {
        let passed = i128::from(cycles) - i128::from(self.cycles);
        let ns = self.ns + passed * 1_000_000_000 / i128::from(self.hz);
        u64::try_from(ns).unwrap_or(0)
    }
}

/// A capture file.
#[derive(Debug)]
pub struct PcapngWriter {
    clock: Clock,
    raw: NonNull<sys::hearth_pcapng>,
    pool: Mempool,
    _eal: Eal,
}

// SAFETY: the file is plain memory and a descriptor; what it shares with others is behind TURN.
unsafe impl Send for PcapngWriter {}

impl PcapngWriter {
    /// Starts a capture in `file`, which is closed with this. Interfaces are the ports that are
    /// there now. Each packet is copied once more into an mbuf of `pool` and cut to what fits
    /// there beside some 64 octets.
    ///
    /// # Errors
    /// The error number of the write, `EINVAL` for a NUL in the strings.
    pub fn new(
        eal: &Eal,
        file: OwnedFd,
        pool: &Mempool,
        application: &str,
        comment: &str,
    ) -> Result<Self, Errno> {
        let (application, comment) = (c_name(application)?, c_name(comment)?);
        // SAFETY: the EAL runs; the descriptor is open and the strings live until the return. A
        // failed call leaves the descriptor to us.
        let raw = unsafe {
            sys::hearth_pcapng_open(file.as_raw_fd(), application.as_ptr(), comment.as_ptr())
        };
        let raw = NonNull::new(raw).ok_or_else(Errno::last)?;
        // From here on the capture closes it.
        let _ = file.into_raw_fd();
        Ok(Self { clock: Clock::new(), raw, pool: pool.clone(), _eal: eal.clone() })
    }

    /// Writes a packet to the file.
    ///
    /// # Errors
    /// [`PcapngError`].
    pub fn write(&mut self, mut packet: Mbuf, about: &Captured<'_>) -> Result<(), PcapngError> {
        if about.without_ethernet {
            add_ethernet(&mut packet).ok_or(PcapngError::NoMemory)?;
        }
        let comment = comment(about.comment);
        let length = comment.as_deref().map_or(0, |comment| comment.count_bytes() + 8);
        let spent = HEADROOM + sys::HEARTH_PCAPNG_OPTIONS as usize + length;
        let limit = usize::from(self.pool.data_room()).saturating_sub(spent);
        let limit = u32::try_from(limit).unwrap_or(0);
        if limit == 0 {
            return Err(PcapngError::NoMemory);
        }
        let direction = match about.direction {
            CaptureDirection::Unknown => sys::HEARTH_DIRECTION_UNKNOWN,
            CaptureDirection::In => sys::HEARTH_DIRECTION_IN,
            CaptureDirection::Out => sys::HEARTH_DIRECTION_OUT,
        };
        // The frequency that DPDK measured is not exact.
        if tsc().wrapping_sub(self.clock.cycles) > self.clock.hz {
            self.clock = Clock::new();
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the file is open and ours; the packet is only read; the comment lives until
        // the return; what is copied fits an mbuf of the pool.
        let code = unsafe {
            sys::hearth_pcapng_write(
                self.raw.as_ptr(),
                packet.raw(),
                self.pool.as_ptr(),
                limit,
                about.port,
                about.queue,
                self.clock.at(about.cycles),
                direction,
                comment.as_deref().map_or(core::ptr::null(), CStr::as_ptr),
            )
        };
        drop(turn);
        const NO_DEVICE: i32 = 19;
        Errno::check(code).map_err(|error| match error {
            Errno::NO_MEMORY => PcapngError::NoMemory,
            error if error.code() == NO_DEVICE => PcapngError::NoSuchPort,
            error => PcapngError::Write(error),
        })
    }
}

impl Drop for PcapngWriter {
    fn drop(&mut self) {
        // SAFETY: nobody else uses it.
        unsafe { sys::hearth_pcapng_close(self.raw.as_ptr()) };
    }
}

/// A comment as C wants it.
fn comment(text: &str) -> Option<CString> {
    let text = text.split('\0').next().filter(|text| !text.is_empty())?;
    let end = text.floor_char_boundary(MAX_COMMENT);
    CString::new(text.get(..end)?).ok()
}

/// Puts an Ethernet header in front of an IP packet.
fn add_ethernet(packet: &mut Mbuf) -> Option<()> {
    let ethertype: [u8; 2] = match packet.data().first()? >> 4 {
        4 => [0x08, 0x00],
        _ => [0x86, 0xdd],
    };
    let header = packet.prepend(14)?;
    header.get_mut(..12)?.fill(0);
    header.get_mut(12..)?.copy_from_slice(&ethertype);
    Some(())
}
