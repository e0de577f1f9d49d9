//! Why something could not be measured.

use hearth_dataplane::{BuildError, DropReason, TableError};
use hearth_dpdk::{EalError, Errno, MultiBufferError, OpError, PortError};
use thiserror::Error;

/// Why something could not be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    /// DPDK did not start.
    #[error("{0}")]
    Eal(#[from] EalError),
    /// DPDK refused to make an object.
    #[error("DPDK refused to make {0}: {1}")]
    Dpdk(&'static str, Errno),
    /// A port made of rings could not be opened.
    #[error("{0}")]
    Port(#[from] PortError),
    /// The crypto library does not run.
    #[error("{0}")]
    Crypto(#[from] MultiBufferError),
    /// The dataplane could not be built.
    #[error("the dataplane: {0}")]
    Build(#[from] BuildError),
    /// The dataplane refused an SA, a binding or a route.
    #[error("the dataplane's tables: {0}")]
    Table(#[from] TableError),
    /// A key's length is not the suite's, or an address is out of range.
    #[error("the mobile node number {0} can't be made")]
    Station(u32),
    /// The datapath does not know the suite.
    #[error("the datapath does not know this suite")]
    NoSuite,
    /// boringtun's two ends did not come together.
    #[error("boringtun did not carry packets")]
    Handshake,
    /// A program that is measured beside us is not there.
    #[error("the program to compare with did not run")]
    Program,
    /// The lab of namespaces did not come up, or something in it failed, which it has said.
    #[error("the lab of namespaces failed, as said above")]
    Lab,
    /// A histogram could not be made.
    #[error("no histogram could be made")]
    Histogram,
    /// NICs are given by two PCI addresses and two MAC addresses.
    #[error("--port and --dut-mac are each given twice, or not at all")]
    TwoPorts,
    /// The machine under test did not acknowledge every Binding Update.
    #[error("of {sent} Binding Updates {answers} were acknowledged")]
    Unregistered {
        /// Sent.
        sent: usize,
        /// Acknowledged.
        answers: usize,
    },
    /// A file could not be written, or a socket not be served.
    #[error("a file could not be written or a socket served: {0}")]
    File(std::io::ErrorKind),
    /// A part of a stage does not do what it has to.
    #[error("{0} could not be made, or is wrong")]
    Part(&'static str),
    /// Sequence numbers are used up.
    #[error("the sequence numbers are used up")]
    Numbers,
    /// There is only one core, or no other may be used.
    #[error("it takes {0} cores")]
    Cores(usize),
    /// A thread of the measurement ended too early.
    #[error("a thread of the measurement ended too early")]
    Thread,
    /// A packet does not fit its buffer.
    #[error("a packet does not fit its buffer")]
    Room,
    /// The pool has run out of buffers.
    #[error("the pool has run out of buffers")]
    Pool,
    /// The raw side did not take an operation.
    #[error("the raw side did not take an operation: {0}")]
    Op(#[from] OpError),
    /// The crypto library did not carry out an operation.
    #[error("ipsec-mb did not carry out an operation")]
    NotDone,
    /// Packets went into the pipeline that did not come out.
    #[error("of {sent} packets {received} came out; drop reason: {}", reason(*.drop))]
    Lost {
        /// Put in.
        sent: usize,
        /// Came out.
        received: usize,
        /// A reason for which some were dropped.
        drop: Option<DropReason>,
    },
    /// What was counted on both sides of a dataplane does not agree.
    #[error("{what}: {found}, not {expected}")]
    Unaccounted {
        /// What was counted.
        what: &'static str,
        /// What there has to be.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// A packet came out with the wrong content.
    #[error("packet {0} came out with the wrong content")]
    Content(usize),
    /// No binding was moved in the time there was.
    #[error("the machine is too busy: no binding was moved")]
    Unmoved,
    /// Too few pairs in the time there was.
    #[error("the machine is too busy: {pairs} pairs only")]
    Busy {
        /// Pairs that were taken.
        pairs: usize,
    },
}

impl Fault {
    /// Whether the datapath has no such thing, so that nothing is wrong with the measurement.
    pub(crate) const fn is_absence(&self) -> bool {
        matches!(self, Self::NoSuite | Self::Cores(_))
    }
}

fn reason(drop: Option<DropReason>) -> &'static str {
    drop.map_or("none", DropReason::name)
}
