//! What a worker does for a trace and a capture: nothing, until control asks.
//!
//! A worker looks at one flag per turn ([`Watch::look`]); stages ask [`Watch::is_on`], a load from
//! the worker's own memory, once per burst. Everything else is out of the hot path.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use hearth_dpdk::{BURST, Burst, Mbuf, SharedRingProducer};
use hearth_wire::Spi;

use crate::capture::{CaptureShared, CaptureStage, Original, Packet, Way};
use crate::config::{PortId, Service};
use crate::filter::Facts;
use crate::layout::{IPV6_LEN, ethertype, len16, mapped};
use crate::note::Note;
use crate::trace::{Stage, TraceId, TraceShared, Verdict};

/// Bit of the flag that says that a trace is on; [`CaptureStage::bit`] has the others.
const TRACE: u8 = 1;

/// What control and workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// 0 while nothing is on. Else bits 0 to 7 say what is, and bits 32 to 63 are the generation
    /// of the trace.
    flag: AtomicU64, // control: wo, workers: ro
    service: Service,
    pub(crate) trace: TraceShared,
    pub(crate) capture: CaptureShared,
}

impl Shared {
    pub(crate) fn new(service: Service) -> Self {
        Self {
            flag: AtomicU64::new(0),
            service,
            trace: TraceShared::new(),
            capture: CaptureShared::new(),
        }
    }

    /// Switches the trace of this generation on; 0 switches it off. Only control calls this.
    pub(crate) fn set_trace(&self, generation: u32) {
        let captures = self.flag.load(Ordering::Relaxed) & u64::from(!TRACE);
        let on = u64::from(TRACE) | u64::from(generation) << 32;
        let flag = if generation == 0 { captures & 0xff } else { captures & 0xff | on };
        // What the trace needs has been written before.
        self.flag.store(flag, Ordering::Release);
    }

    /// Switches captures at these stages on, and all others off. Only control calls this.
    pub(crate) fn set_capture(&self, stages: u8) {
        let trace = self.flag.load(Ordering::Relaxed) & !u64::from(!TRACE);
        self.flag.store(trace | u64::from(stages & !TRACE), Ordering::Release);
    }
}

/// A worker's side.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    copies: SharedRingProducer,
    worker: usize,
    /// The flag as it was when this turn began.
    flag: Cell<u64>,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, copies: SharedRingProducer, worker: usize) -> Self {
        Self { shared, copies, worker, flag: Cell::new(0) }
    }

    /// Looks whether anything is on. Once per turn, so that a packet's stages in it agree.
    #[inline]
    pub(crate) fn look(&self) {
        self.flag.set(self.shared.flag.load(Ordering::Acquire));
    }

    /// Whether anything is on.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.flag.get() != 0
    }

    fn captures(&self, stage: CaptureStage) -> bool {
        self.flag.get() & u64::from(stage.bit()) != 0
    }

    /// The generation of the trace, 0 while there is none.
    fn generation(&self) -> u32 {
        (self.flag.get() >> 32) as u32
    }

    /// The packet's number, if it is followed.
    fn id(&self, mbuf: &Mbuf) -> Option<TraceId> {
        let generation = self.generation();
        (generation != 0).then(|| TraceId::load(mbuf)).filter(|id| id.is_of(generation))
    }

    /// A burst that a port received.
    #[cold]
    pub(crate) fn received(&self, port: PortId, burst: &mut Burst) {
        for mbuf in burst.iter_mut() {
            let facts = Facts::of_frame(mbuf.data(), &self.shared.service);
            self.copy_frame(Way::In, port, mbuf, &facts);
            self.begin(mbuf, (Stage::Receive, Some(port)), facts, None);
        }
    }

    /// A burst that control sent.
    #[cold]
    pub(crate) fn control_sent(&self, burst: &mut Burst) {
        for mbuf in burst.iter_mut() {
            match Note::load(mbuf) {
                Some(note @ Note::Signalling { spi, .. }) => {
                    self.signalling(Way::Out, &note, mbuf.data());
                    let facts = Facts::of_content(mbuf.len());
                    self.begin(mbuf, (Stage::FromControl, None), facts, Some(spi));
                }
                Some(Note::Host { port } | Note::Frame { port }) => {
                    let facts = Facts::of_frame(mbuf.data(), &self.shared.service);
                    self.begin(mbuf, (Stage::FromControl, Some(port)), facts, None);
                }
                Some(Note::Unresolved { port, .. } | Note::Unreachable { port }) => {
                    self.at(mbuf, (Stage::FromControl, Some(port)));
                }
                Some(Note::Waiting(_)) => self.at(mbuf, (Stage::FromControl, None)),
                Some(Note::Packet | Note::Member { .. }) => {
                    let facts = Facts::of_packet(mbuf.data(), &self.shared.service);
                    self.begin(mbuf, (Stage::FromControl, None), facts, None);
                }
                Some(
                    Note::Envelope(_)
                    | Note::Downlink { .. }
                    | Note::Inner { .. }
                    | Note::Discovery
                    | Note::PlainHomeAddress { .. },
                )
                | None => {}
            }
        }
    }

    /// A frame was put together from its fragments.
    #[cold]
    pub(crate) fn reassembled(&self, port: PortId, mbuf: &mut Mbuf) {
        let facts = Facts::of_frame(mbuf.data(), &self.shared.service);
        self.begin(mbuf, (Stage::Reassembled, Some(port)), facts, None);
    }

    /// Says whose fragments these are: of the packet that has had this number.
    #[cold]
    pub(crate) fn fragmented(&self, id: TraceId, fragments: &mut Burst) {
        self.ended(id, Verdict::Fragmented(fragments.len()));
        fragments.iter_mut().for_each(|fragment| id.store(fragment));
    }

    /// Packets that start with their IP header come to a stage.
    #[cold]
    pub(crate) fn passes<'m>(&self, stage: Stage, mbufs: impl IntoIterator<Item = &'m Mbuf>) {
        for mbuf in mbufs {
            self.at(mbuf, (stage, None));
        }
    }

    /// Packets are looked up by their destination. One that showed its addresses only now may be
    /// meant as well.
    #[cold]
    pub(crate) fn forwards<'m>(&self, mbufs: impl Iterator<Item = &'m mut Mbuf>) {
        for mbuf in mbufs {
            if self.id(mbuf).is_some() {
                self.at(mbuf, (Stage::Forward, None));
            } else {
                let facts = Facts::of_packet(mbuf.data(), &self.shared.service);
                self.begin(mbuf, (Stage::Forward, None), facts, None);
            }
        }
    }

    /// An envelope is about to be decrypted, or was encrypted.
    #[cold]
    pub(crate) fn protected(&self, way: Way, mbuf: &Mbuf) {
        if self.captures(CaptureStage::Protected) {
            let facts = Facts::of_packet(mbuf.data(), &self.shared.service);
            self.copy(&original(CaptureStage::Protected, way, mbuf), &facts, None);
        }
    }

    /// An inner packet passed the verdicts, or is about to be encrypted.
    #[cold]
    pub(crate) fn decrypted(&self, way: Way, mbuf: &Mbuf, spi: Option<Spi>) {
        if self.captures(CaptureStage::Decrypted) {
            let facts = Facts::of_packet(mbuf.data(), &self.shared.service);
            self.copy(&original(CaptureStage::Decrypted, way, mbuf), &facts, spi);
        }
    }

    /// A PType 8 packet passed the verdicts, or is about to be encrypted; `note` says where in
    /// `octets` its content stands. It has no IP header: the copy gets one of IPv6 with the
    /// outer addresses.
    #[cold]
    pub(crate) fn signalling(&self, way: Way, note: &Note, octets: &[u8]) {
        let Note::Signalling { spi, local, remote, next_header, payload: (offset, len), .. } = note
        else {
            return;
        };
        let (offset, len) = (usize::from(*offset), usize::from(*len));
        let Some(content) = octets.get(offset..offset + len) else { return };
        if !self.captures(CaptureStage::Decrypted) {
            return;
        }
        let (from, to) = match way {
            Way::In => (remote.ip(), local.ip()),
            Way::Out => (local.ip(), remote.ip()),
        };
        let mut header = [0; IPV6_LEN];
        header[0] = 0x60;
        header[4..6].copy_from_slice(&len16(len).to_be_bytes());
        header[6] = *next_header;
        header[7] = 64;
        header[8..24].copy_from_slice(&mapped(from).octets());
        header[24..].copy_from_slice(&mapped(to).octets());
        let original = Original {
            stage: CaptureStage::Decrypted,
            way,
            port: None,
            ethertype: Some(ethertype::IPV6),
            header: &header,
            packet: Packet::Part(content),
        };
        let facts = Facts::of_packet(&header, &self.shared.service);
        self.copy(&original, &facts, Some(*spi));
    }

    /// Frames are about to be offered to a port.
    #[cold]
    pub(crate) fn sends(&self, port: PortId, burst: &mut Burst) -> Sending {
        let mut ids = [TraceId::NONE; BURST];
        for (mbuf, place) in burst.iter_mut().zip(&mut ids) {
            let facts = Facts::of_frame(mbuf.data(), &self.shared.service);
            self.copy_frame(Way::Out, port, mbuf, &facts);
            *place = self.lift(mbuf);
            if *place != TraceId::NONE {
                self.shared.trace.at(self.worker, *place, (Stage::Transmit, Some(port)), facts);
            }
        }
        Sending(ids)
    }

    /// The port took this many of them; those that it refused are still in the burst.
    #[cold]
    pub(crate) fn sent(&self, offered: &Sending, sent: usize, refused: &mut Burst) {
        let (taken, rest) = offered.0.split_at(sent.min(BURST));
        taken.iter().for_each(|id| self.ended(*id, Verdict::Sent));
        for (mbuf, id) in refused.iter_mut().zip(rest) {
            id.store(mbuf);
        }
    }

    /// A packet leaves its stage, and stays a packet of the trace.
    #[cold]
    pub(crate) fn leaves(&self, mbuf: &Mbuf, verdict: Verdict) {
        if let Some(id) = self.id(mbuf) {
            self.shared.trace.became(self.worker, id, verdict);
        }
    }

    /// A packet's way ends; its buffer may soon be another packet's.
    #[cold]
    pub(crate) fn ends(&self, mbuf: &mut Mbuf, verdict: Verdict) {
        if let Some(id) = self.id(mbuf) {
            self.shared.trace.became(self.worker, id, verdict);
            TraceId::NONE.store(mbuf);
        }
    }

    /// The packet's number.
    #[cold]
    pub(crate) fn number(&self, mbuf: &Mbuf) -> TraceId {
        self.id(mbuf).unwrap_or(TraceId::NONE)
    }

    /// Takes the packet's number away before its buffer goes to somebody else.
    #[cold]
    pub(crate) fn lift(&self, mbuf: &mut Mbuf) -> TraceId {
        let id = self.id(mbuf).unwrap_or(TraceId::NONE);
        TraceId::NONE.store(mbuf);
        id
    }

    /// What became of a packet whose number was taken, or taken away.
    #[cold]
    pub(crate) fn ended(&self, id: TraceId, verdict: Verdict) {
        if id != TraceId::NONE {
            self.shared.trace.became(self.worker, id, verdict);
        }
    }

    fn at(&self, mbuf: &Mbuf, place: (Stage, Option<PortId>)) {
        if let Some(id) = self.id(mbuf) {
            let facts = Facts::of_packet(mbuf.data(), &self.shared.service);
            self.shared.trace.at(self.worker, id, place, facts);
        }
    }

    /// Follows the packet from here on, if it is meant.
    fn begin(
        &self,
        mbuf: &mut Mbuf,
        place: (Stage, Option<PortId>),
        facts: Facts,
        spi: Option<Spi>,
    ) {
        let generation = self.generation();
        if generation == 0 {
            return;
        }
        let trace = &self.shared.trace;
        let meant = trace.filter.matches(&facts, spi);
        let id = meant.then(|| trace.begin(generation)).flatten();
        // Whatever the buffer's last packet was, it is not this one.
        id.unwrap_or(TraceId::NONE).store(mbuf);
        if let Some(id) = id {
            trace.at(self.worker, id, place, facts);
        }
    }

    fn copy_frame(&self, way: Way, port: PortId, mbuf: &Mbuf, facts: &Facts) {
        if self.captures(CaptureStage::Wire) {
            let original = Original {
                stage: CaptureStage::Wire,
                way,
                port: Some(port),
                ethertype: None,
                header: &[],
                packet: Packet::Whole(mbuf),
            };
            self.copy(&original, facts, None);
        }
    }

    fn copy(&self, original: &Original<'_>, facts: &Facts, spi: Option<Spi>) {
        let capture = &self.shared.capture;
        if capture.filter.matches(facts, spi)
            && let Some(copy) = capture.copy(original)
            && self.copies.push(copy).is_err()
        {
            capture.failed();
        }
    }
}

/// Numbers of frames that were offered to a port.
pub(crate) struct Sending([TraceId; BURST]);

fn original(stage: CaptureStage, way: Way, mbuf: &Mbuf) -> Original<'_> {
    let ethertype = match mbuf.data().first().map(|first| first >> 4) {
        Some(4) => ethertype::IPV4,
        _ => ethertype::IPV6,
    };
    let (ethertype, packet) = (Some(ethertype), Packet::Whole(mbuf));
    Original { stage, way, port: None, ethertype, header: &[], packet }
}
