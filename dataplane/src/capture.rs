//! A capture: copies of packets on their way to a pcapng file.
//!
//! Workers copy into buffers of a pool of the capture's own, which is bounded, and hand them to
//! control by a ring; what does not fit is lost to the capture and counted, never to the traffic.
//! The pool is made when somebody captures for the first time.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use hearth_dpdk::{
    Burst, CaptureDirection, Eal, HEADROOM, Mbuf, Mempool, PcapngError, PcapngWriter, RingConsumer,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::clock;
use crate::config::PortId;
use crate::control_port::ControlError;
use crate::filter::SharedFilter;
use crate::layout::{ETHERNET_LEN, len16, write_ethernet};
use crate::watch::Shared;

/// Copies that are under way at one time, and in the ring.
const COPIES: u32 = 1023;
pub(crate) const RING_SIZE: u32 = 1024;

/// Where a copy is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CaptureStage {
    /// Frames as ports receive and send them.
    Wire,
    /// Envelopes before they are decrypted, and after they were encrypted.
    Protected,
    /// The contents of envelopes, in the clear: after the verdicts inbound, before encryption
    /// outbound.
    Decrypted,
}

impl CaptureStage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wire, Self::Protected, Self::Decrypted];

    /// The name in the CLI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Protected => "protected",
            Self::Decrypted => "decrypted",
        }
    }

    /// The locally administered MAC address that stands for the mobile node's end of the tunnel in
    /// the Ethernet header of copies that have none of their own: `02:` and five letters.
    #[must_use]
    pub const fn mac(self) -> [u8; 6] {
        match self {
            Self::Wire => [0; 6],
            Self::Protected => *b"\x02prote",
            Self::Decrypted => *b"\x02inner",
        }
    }

    /// Its bit in the workers' flag.
    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::Wire => 2,
            Self::Protected => 4,
            Self::Decrypted => 8,
        }
    }
}

/// The home agent's end of the tunnel in such headers.
pub const CAPTURE_MAC: [u8; 6] = *b"\x02heart";

/// Which way a captured packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Into the home agent: received, or from a mobile node.
    In,
    /// Out of it: sent, or to a mobile node.
    Out,
}

/// A copy.
#[derive(Debug)]
pub struct Captured {
    /// An Ethernet frame, cut off where it is larger than a packet buffer.
    pub frame: Mbuf,
    /// Where it was taken.
    pub stage: CaptureStage,
    /// Which way it went.
    pub way: Way,
    /// The port that received or sent it; `None` inside, where that plays no part any more.
    pub port: Option<PortId>,
    /// When, in cycles of the time stamp counter.
    pub cycles: u64,
}

/// How far a capture has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureProgress {
    /// Copies that were taken.
    pub taken: u64,
    /// Packets that matched and could not be copied: control did not keep up.
    pub lost: u64,
}

/// Stands in a [`Tag`] for no port.
const NO_PORT: u16 = u16::MAX;

/// What a copy carries in its private area.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Tag {
    cycles: u64,
    generation: u32,
    port: u16,
    stage: u8,
    out: u8,
}

/// Octets of the private area that it takes.
pub(crate) const TAG_LEN: usize = size_of::<Tag>();

/// What control and workers share of a capture.
#[derive(Debug)]
pub(crate) struct CaptureShared {
    pub(crate) filter: SharedFilter,
    pool: OnceLock<Mempool>,
    /// Copies that may still be taken.
    left: AtomicU64, // control: wo at the start, workers: rw
    lost: AtomicU64, // workers: rw, control: rw
    /// The capture's number, so that no copy turns up in a later one.
    generation: AtomicU32, // control: wo, workers: ro
}

/// A packet to be copied.
#[derive(Clone, Copy)]
pub(crate) struct Original<'a> {
    pub(crate) stage: CaptureStage,
    pub(crate) way: Way,
    pub(crate) port: Option<PortId>,
    /// EtherType, where the packet has no Ethernet header of its own.
    pub(crate) ethertype: Option<[u8; 2]>,
    /// What is made up for the capture and stands in front of the packet.
    pub(crate) header: &'a [u8],
    pub(crate) packet: Packet<'a>,
}

/// Where a packet's octets are.
#[derive(Clone, Copy)]
pub(crate) enum Packet<'a> {
    Whole(&'a Mbuf),
    Part(&'a [u8]),
}

impl<'a> Packet<'a> {
    fn segments(self) -> impl Iterator<Item = &'a [u8]> {
        let (mbuf, part) = match self {
            Self::Whole(mbuf) => (Some(mbuf), None),
            Self::Part(octets) => (None, Some(octets)),
        };
        mbuf.into_iter().flat_map(Mbuf::segment_data).chain(part)
    }
}

impl CaptureShared {
    pub(crate) fn new() -> Self {
        Self {
            filter: SharedFilter::default(),
            pool: OnceLock::new(),
            left: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            generation: AtomicU32::new(0),
        }
    }

    /// Takes a copy, if one may still be taken; the caller puts it into the ring.
    pub(crate) fn copy(&self, original: &Original<'_>) -> Option<Mbuf> {
        let take = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let copy = self.pool.get().and_then(|pool| fill(pool, original));
        let Some(mut copy) = copy else {
            self.failed();
            return None;
        };
        *copy.meta_mut::<Tag>() = Tag {
            cycles: clock::now(),
            generation: self.generation.load(Ordering::Relaxed),
            port: original.port.map_or(NO_PORT, |port| port.0),
            stage: original.stage.bit(),
            out: u8::from(original.way == Way::Out),
        };
        Some(copy)
    }

    /// A copy that was promised could not be made or handed over.
    pub(crate) fn failed(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// A buffer with as much of the packet as fits.
fn fill(pool: &Mempool, original: &Original<'_>) -> Option<Mbuf> {
    let mut copy = pool.alloc()?;
    if let Some(ethertype) = original.ethertype {
        let (to, from) = match original.way {
            Way::In => (CAPTURE_MAC, original.stage.mac()),
            Way::Out => (original.stage.mac(), CAPTURE_MAC),
        };
        write_ethernet(copy.append(ETHERNET_LEN)?, to, from, ethertype);
    }
    for part in core::iter::once(original.header).chain(original.packet.segments()) {
        let len = part.len().min(copy.tailroom());
        copy.append(len)?.copy_from_slice(part.get(..len)?);
    }
    Some(copy)
}

/// Control's side.
#[derive(Debug)]
pub(crate) struct CaptureReader {
    shared: Arc<Shared>,
    ring: RingConsumer,
    eal: Eal,
    name: String,
    data_room: u16,
    dpdk_ports: Vec<u16>,
    generation: u32,
    stages: u8,
    count: u64,
    batch: Burst<32>,
}

/// A capture file of these ports.
#[derive(Debug)]
pub struct CaptureFile {
    writer: PcapngWriter,
    dpdk_ports: Vec<u16>,
}

impl CaptureFile {
    /// Writes a copy; its comment is the stage.
    ///
    /// # Errors
    /// [`PcapngError`].
    pub fn write(&mut self, copy: Captured) -> Result<(), PcapngError> {
        // Inside of the home agent packets are of no port: they stand with the first one.
        let port = usize::from(copy.port.map_or(0, |port| port.0));
        let about = hearth_dpdk::Captured {
            port: *self.dpdk_ports.get(port).ok_or(PcapngError::NoSuchPort)?,
            queue: 0,
            cycles: copy.cycles,
            direction: match copy.way {
                Way::In => CaptureDirection::In,
                Way::Out => CaptureDirection::Out,
            },
            without_ethernet: false,
            comment: copy.stage.name(),
        };
        self.writer.write(copy.frame, &about)
    }
}

/// What control's side is made of.
pub(crate) struct CaptureReaderParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ring: RingConsumer,
    pub(crate) eal: Eal,
    /// Name of the pool, and octets of a packet buffer.
    pub(crate) pool: (String, u16),
    /// DPDK's numbers of the ports.
    pub(crate) dpdk_ports: Vec<u16>,
}

impl CaptureReader {
    pub(crate) fn new(parts: CaptureReaderParts) -> Self {
        let CaptureReaderParts { shared, ring, eal, pool: (name, data_room), dpdk_ports } = parts;
        // What a file needs beside a packet has to fit as well.
        let data_room = data_room.saturating_add(len16(HEADROOM));
        Self {
            shared,
            ring,
            eal,
            name,
            data_room,
            dpdk_ports,
            generation: 0,
            stages: 0,
            count: 0,
            batch: Burst::new(),
        }
    }

    /// Starts a file.
    pub(crate) fn file(
        &self,
        file: OwnedFd,
        application: &str,
        comment: &str,
    ) -> Result<CaptureFile, ControlError> {
        let pool = self.shared.capture.pool.get().ok_or(ControlError::NoBuffer)?;
        let writer = PcapngWriter::new(&self.eal, file, pool, application, comment)
            .map_err(|_| ControlError::CaptureFile)?;
        Ok(CaptureFile { writer, dpdk_ports: self.dpdk_ports.clone() })
    }

    /// Prepares for the next `packets` copies at these stages; returns the stages' bits.
    pub(crate) fn begin(
        &mut self,
        stages: &[CaptureStage],
        packets: u64,
    ) -> Result<u8, ControlError> {
        let capture = &self.shared.capture;
        if capture.pool.get().is_none() {
            let pool = Mempool::new(&self.eal, &self.name, COPIES, 0, self.data_room)
                .map_err(|_| ControlError::NoBuffer)?;
            let _ = capture.pool.set(pool);
        }
        self.stages = stages.iter().fold(0, |bits, stage| bits | stage.bit());
        self.generation = self.generation.wrapping_add(1);
        self.count = packets;
        capture.generation.store(self.generation, Ordering::Relaxed);
        capture.left.store(packets, Ordering::Relaxed);
        capture.lost.store(0, Ordering::Relaxed);
        Ok(self.stages)
    }

    /// Gives up to `max` copies to `each`.
    pub(crate) fn read(&mut self, max: usize, mut each: impl FnMut(Captured)) -> CaptureProgress {
        let mut left = max;
        while left > 0 && self.ring.receive(&mut self.batch) > 0 {
            left = left.saturating_sub(self.batch.len());
            for frame in self.batch.drain() {
                let tag = *frame.meta::<Tag>();
                let stage = CaptureStage::ALL.into_iter().find(|stage| stage.bit() == tag.stage);
                // One that a worker was late with belongs to an earlier capture, which may have
                // asked for more than this one.
                if let Some(stage) = stage
                    && tag.generation == self.generation
                    && self.stages & tag.stage != 0
                {
                    each(Captured {
                        stage,
                        way: if tag.out == 0 { Way::In } else { Way::Out },
                        port: (tag.port != NO_PORT).then_some(PortId(tag.port)),
                        cycles: tag.cycles,
                        frame,
                    });
                }
            }
        }
        self.progress()
    }

    /// Gives what is in the ring to `each`; what comes later is of no capture.
    pub(crate) fn end(&mut self, each: impl FnMut(Captured)) -> CaptureProgress {
        let ring = usize::try_from(RING_SIZE).unwrap_or(usize::MAX);
        let progress = self.read(ring, each);
        self.stages = 0;
        progress
    }

    fn progress(&self) -> CaptureProgress {
        let capture = &self.shared.capture;
        CaptureProgress {
            taken: self.count.saturating_sub(capture.left.load(Ordering::Relaxed)),
            lost: capture.lost.load(Ordering::Relaxed),
        }
    }
}
