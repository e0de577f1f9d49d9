//! Packets of all kinds in one stream, good and others, as fast as they can be made.
//!
//! What may come again as it is (packets to mobile nodes, most of what floods bring) is made once
//! and copied. What has to have a sequence number of its own is sealed anew each time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hearth_dpdk::{Completed, Mbuf, Mempool, MultiBuffer, Op};
use hearth_wire::frame::{FrameHeader, GcmIv};
use hearth_wire::ip::{EthernetHeader, Ipv6Header};
use hearth_wire::{SeqNo, Suite};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use zerocopy::IntoBytes;

use crate::buffers::{self, Slots};
use crate::fault::Fault;
use crate::frames::{self, Act, CORRESPONDENT, Direction, OUTER_LEN, Station};
use crate::generator::Sizes;
use crate::keys::Schedules;
use crate::kinds::{Kind, Sent};
use crate::signalling;
use crate::traffic::{Parcel, seal};

/// Packets that are made together.
const BATCH: usize = 1024;
/// Different packets of each kind.
const SHELF: usize = 4096;
/// Stations that have no SA.
const STRANGERS: u32 = 1000;
/// Six in so many packets that could be under an SA of 3DES are: it takes many times as long.
const TRIPLE_DES: u32 = 96;
/// Of 1024 places, how many change theirs with a later one, at most [`REACH`] away.
const REORDERED: u32 = 20;
const REACH: u32 = 64;
/// Of 1024 packets under an SA, how many are lost before they come: their numbers are missing.
const LOST: u32 = 10;
/// Packets with a wrong ICV have numbers from here on, so that none is ever left of a window.
const AHEAD: u32 = 0xf000_0000;
/// Between two fragments whose others never come.
const LONE_EVERY: Duration = Duration::from_millis(50);
/// Next header of the Fragment header.
const FRAGMENT: u8 = 44;

/// Frames that wait for a port each: towards the mobile nodes, towards the correspondent.
pub(crate) type Staged = [VecDeque<Mbuf>; 2];

/// Frames that are copied, in turns.
#[derive(Default)]
struct Shelf {
    frames: Vec<Vec<u8>>,
    next: usize,
}

impl Shelf {
    fn copy(&mut self, pool: &Mempool) -> Result<Mbuf, Fault> {
        self.next = (self.next + 1) % self.frames.len().max(1);
        let frame = self.frames.get(self.next).ok_or(Fault::Room)?;
        let mut mbuf = pool.alloc().ok_or(Fault::Pool)?;
        buffers::lay(&mut mbuf, 0, frame)?;
        Ok(mbuf)
    }
}

/// A frame that is not encrypted yet, and how that is done.
struct Form<'k> {
    frame: Vec<u8>,
    station: usize,
    op: Op<'k>,
}

/// Frames that are sealed with a number of their own, in turns.
#[derive(Default)]
struct Forms<'k> {
    forms: Vec<Form<'k>>,
    next: usize,
}

/// Makes the stream.
pub(crate) struct Mixture<'k> {
    keys: &'k [Schedules],
    stations: &'k [Station],
    next_seq: Vec<u32>,
    /// 3DES has lanes of its own, so that nobody waits for it.
    sealers: [MultiBuffer<'k>; 2],
    uplink: Forms<'k>,
    hairpin: Forms<'k>,
    signalling: Forms<'k>,
    downlink: Shelf,
    forwarded: Shelf,
    bad_icv: Shelf,
    unknown_spi: Shelf,
    truncated: Shelf,
    dice: ChaCha8Rng,
    pool: Mempool,
    fragment_id: u32,
    lone_at: Instant,
    pub(crate) sent: Sent,
}

/// Stations of all suites.
pub(crate) fn stations(count: u32) -> Result<Vec<Station>, Fault> {
    let suites: Vec<Suite> = Suite::known().collect();
    (0..count)
        .zip(suites.into_iter().cycle())
        .map(|(number, suite)| Station::new(number, suite))
        .collect()
}

impl<'k> Mixture<'k> {
    /// Prepares everything for these stations, whose `keys` are those of the uplink, and for ports
    /// with these MAC addresses.
    pub(crate) fn new(
        stations: &'k [Station],
        keys: &'k [Schedules],
        pool: &Mempool,
        macs: [[u8; 6]; 2],
        seed: u64,
    ) -> Result<Self, Fault> {
        let mut this = Self {
            keys,
            stations,
            next_seq: vec![0; stations.len()],
            sealers: [MultiBuffer::new()?, MultiBuffer::new()?],
            uplink: Forms::default(),
            hairpin: Forms::default(),
            signalling: Forms::default(),
            downlink: Shelf::default(),
            forwarded: Shelf::default(),
            bad_icv: Shelf::default(),
            unknown_spi: Shelf::default(),
            truncated: Shelf::default(),
            dice: ChaCha8Rng::seed_from_u64(seed),
            pool: pool.clone(),
            fragment_id: 0,
            lone_at: Instant::now(),
            sent: Sent::default(),
        };
        this.make_forms(macs)?;
        this.fill_shelves(macs)?;
        this.bad_icv.frames = this.wrong_icvs(macs)?;
        Ok(this)
    }

    fn make_forms(&mut self, [access, _]: [[u8; 6]; 2]) -> Result<(), Fault> {
        for number in 0..SHELF {
            let station = self.a_station();
            let other = self.a_station();
            let of = self.stations.get(station).copied().ok_or(Fault::Room)?;
            let to = self.stations.get(other).copied().ok_or(Fault::Room)?;
            let len = self.a_size(number);
            let number = u32::try_from(number).unwrap_or(0);
            let inner = frames::inner(&of, Direction::Uplink, number, len);
            let packet = frames::envelope(&of, Direction::Uplink, SeqNo(0), &inner);
            let form = self.form(station, len, frames::ethernet(access, &packet))?;
            self.uplink.forms.push(form);
            let inner = frames::between(of.home, to.home, number, len);
            let packet = frames::envelope(&of, Direction::Uplink, SeqNo(0), &inner);
            let form = self.form(station, len, frames::ethernet(access, &packet))?;
            self.hairpin.forms.push(form);
        }
        for (station, of) in self.stations.iter().enumerate() {
            let (packet, len) = signalling::binding_update(of, SeqNo(0))?;
            let form = self.form(station, len, frames::ethernet(access, &packet))?;
            self.signalling.forms.push(form);
        }
        Ok(())
    }

    fn form(&self, station: usize, inner_len: usize, frame: Vec<u8>) -> Result<Form<'k>, Fault> {
        let (stations, keys) = (self.stations, self.keys);
        let suite = stations.get(station).ok_or(Fault::Room)?.suite;
        let keys = keys.get(station).ok_or(Fault::Room)?;
        let offset = EthernetHeader::LEN + OUTER_LEN;
        let op = frames::operation(keys, Act::Seal, suite, inner_len, offset);
        Ok(Form { frame, station, op })
    }

    fn fill_shelves(&mut self, [access, home]: [[u8; 6]; 2]) -> Result<(), Fault> {
        let known = u32::try_from(self.stations.len()).map_err(|_| Fault::Room)?;
        for number in 0..SHELF {
            let station = self.a_station();
            let of = self.stations.get(station).copied().ok_or(Fault::Room)?;
            let len = self.a_size(number);
            let number = u32::try_from(number).unwrap_or(0);
            let inner = frames::inner(&of, Direction::Downlink, number, len);
            self.downlink.frames.push(frames::ethernet(home, &inner));
            // Nobody's home: the default route leads there.
            let elsewhere = core::net::Ipv6Addr::new(0x2001, 0xdb8, 0xe0, 0, 0, 0, 0, 1);
            let packet = frames::between(CORRESPONDENT, elsewhere, number, len);
            self.forwarded.frames.push(frames::ethernet(home, &packet));
            // Some within the SA table, most beyond it.
            let stranger = Station::new(known + number % STRANGERS, of.suite)?;
            let inner = frames::inner(&stranger, Direction::Uplink, number, len);
            let packet = frames::envelope(&stranger, Direction::Uplink, SeqNo(number), &inner);
            self.unknown_spi.frames.push(frames::ethernet(access, &packet));
            let inner = frames::inner(&of, Direction::Uplink, number, len);
            let packet = frames::envelope(&of, Direction::Uplink, SeqNo(AHEAD), &inner);
            let mut frame = frames::ethernet(access, &packet);
            let headers = EthernetHeader::LEN + Ipv6Header::LEN;
            let rest = frame.len().saturating_sub(headers).max(1);
            frame.truncate(headers + self.dice.next_u32() as usize % rest);
            self.truncated.frames.push(frame);
        }
        Ok(())
    }

    /// Valid packets whose last octet is then changed.
    fn wrong_icvs(&mut self, [access, _]: [[u8; 6]; 2]) -> Result<Vec<Vec<u8>>, Fault> {
        let (mut parcels, mut slots) = (Vec::new(), Slots::new());
        for number in 0..SHELF / 4 {
            let station = *self.stations.get(self.a_station()).ok_or(Fault::Room)?;
            let inner_len = self.a_size(number);
            let number = u32::try_from(number).unwrap_or(0);
            let inner = frames::inner(&station, Direction::Uplink, number, inner_len);
            let seq = SeqNo(AHEAD + number);
            let packet = frames::envelope(&station, Direction::Uplink, seq, &inner);
            let mut mbuf = self.pool.alloc().ok_or(Fault::Pool)?;
            buffers::lay(&mut mbuf, 0, &frames::ethernet(access, &packet))?;
            slots.push(Some(mbuf));
            parcels.push(Parcel { station, inner_len });
        }
        seal(&mut slots, &parcels)?;
        let wrong = |mbuf: &Mbuf| {
            let mut frame = mbuf.data().to_vec();
            if let Some(last) = frame.last_mut() {
                *last ^= 1;
            }
            frame
        };
        Ok(slots.iter().flatten().map(wrong).collect())
    }

    /// A station's place.
    fn a_station(&mut self) -> usize {
        loop {
            let place = self.dice.next_u32() as usize % self.stations.len().max(1);
            let slow = self
                .stations
                .get(place)
                .is_some_and(|station| station.suite == Suite::TripleDesEdeCbcSha);
            // A sixth of them are slow.
            if !slow || self.dice.next_u32() % TRIPLE_DES < 6 {
                return place;
            }
        }
    }

    /// Of the Internet mix mostly, else anything.
    fn a_size(&mut self, number: usize) -> usize {
        match self.dice.next_u32() {
            any if any % 32 == 0 => 64 + (any / 32) as usize % 1337,
            _ => Sizes::Imix.of(number),
        }
    }

    /// Makes some packets and stages them.
    pub(crate) fn batch(&mut self, staged: &mut Staged) -> Result<(), Fault> {
        let starts = [0, 1].map(|side: usize| staged.get(side).map_or(0, VecDeque::len));
        let mut kinds = Vec::with_capacity(BATCH);
        let mut slots: Slots = Vec::with_capacity(BATCH);
        for place in 0..BATCH {
            let mut kind = Kind::drawn(self.dice.next_u32());
            if place == 0 && self.lone_at.elapsed() > LONE_EVERY {
                kind = Kind::LoneFragment;
                self.lone_at = Instant::now();
            }
            let pool = &self.pool;
            slots.push(match kind {
                Kind::Downlink => Some(self.downlink.copy(pool)?),
                Kind::Forwarded => Some(self.forwarded.copy(pool)?),
                Kind::BadIcv => Some(self.bad_icv.copy(pool)?),
                Kind::UnknownSpi => Some(self.unknown_spi.copy(pool)?),
                Kind::Truncated => Some(self.truncated.copy(pool)?),
                _ => None,
            });
            kinds.push(kind);
            if slots.last().is_some_and(Option::is_none) {
                self.submit(kind, place, &mut slots)?;
            }
        }
        for sealer in 0..self.sealers.len() {
            while let Some(done) = self.sealers.get_mut(sealer).and_then(MultiBuffer::flush) {
                put(done, &mut slots)?;
            }
        }
        for (kind, mbuf) in kinds.into_iter().zip(slots) {
            self.stage(kind, mbuf.ok_or(Fault::NotDone)?, staged)?;
        }
        for (queue, start) in staged.iter_mut().zip(starts) {
            self.reorder(queue, start);
        }
        Ok(())
    }

    /// Gives the next form of a kind a number and hands it to the lanes.
    fn submit(&mut self, kind: Kind, place: usize, slots: &mut Slots) -> Result<(), Fault> {
        let forms = match kind {
            Kind::Hairpin => &mut self.hairpin,
            Kind::Signalling => &mut self.signalling,
            _ => &mut self.uplink,
        };
        forms.next = (forms.next + 1) % forms.forms.len().max(1);
        let form = forms.forms.get(forms.next).ok_or(Fault::Room)?;
        let next_seq = self.next_seq.get_mut(form.station).ok_or(Fault::Room)?;
        let lost = u32::from(self.dice.next_u32() % 1024 < LOST);
        let seq = next_seq.checked_add(lost).filter(|seq| *seq < AHEAD).ok_or(Fault::Numbers)?;
        *next_seq = seq + 1;
        let mut mbuf = self.pool.alloc().ok_or(Fault::Pool)?;
        buffers::lay(&mut mbuf, 0, &form.frame)?;
        let suite = self.stations.get(form.station).ok_or(Fault::Room)?.suite;
        number(&mut mbuf, suite, SeqNo(seq))?;
        let keys = self.keys.get(form.station).ok_or(Fault::Room)?;
        frames::lay_nonce(keys, EthernetHeader::LEN + OUTER_LEN, &mut mbuf);
        let [fast, slow] = &mut self.sealers;
        let sealer = if suite == Suite::TripleDesEdeCbcSha { slow } else { fast };
        let done = sealer.submit(mbuf, &form.op, place as u64).map_err(|no| Fault::Op(no.error))?;
        done.map_or(Ok(()), |done| put(done, slots))?;
        while let Some(done) = sealer.completed() {
            put(done, slots)?;
        }
        Ok(())
    }

    fn stage(&mut self, kind: Kind, mbuf: Mbuf, staged: &mut Staged) -> Result<(), Fault> {
        let [access, home] = staged;
        match kind {
            Kind::Fragmented | Kind::LoneFragment => {
                let [first, second] = self.split(&mbuf)?;
                access.push_back(first);
                if kind == Kind::Fragmented {
                    access.push_back(second);
                }
                self.sent.count(kind, 1 + u64::from(kind == Kind::Fragmented));
            }
            Kind::Replayed => {
                let mut copy = self.pool.alloc().ok_or(Fault::Pool)?;
                buffers::lay(&mut copy, 0, mbuf.data())?;
                access.extend([mbuf, copy]);
                self.sent.count(Kind::Uplink, 1);
                self.sent.count(kind, 1);
            }
            _ => {
                if kind.comes_from_home() { home } else { access }.push_back(mbuf);
                self.sent.count(kind, 1);
            }
        }
        Ok(())
    }

    /// The two fragments of a frame (RFC 8200 s.4.5).
    fn split(&mut self, mbuf: &Mbuf) -> Result<[Mbuf; 2], Fault> {
        let headers = EthernetHeader::LEN + Ipv6Header::LEN;
        let (front, payload) = mbuf.data().split_at_checked(headers).ok_or(Fault::Room)?;
        let (first, second) = payload.split_at((payload.len() / 2).next_multiple_of(8));
        let next_header = *front.get(EthernetHeader::LEN + 6).ok_or(Fault::Room)?;
        self.fragment_id = self.fragment_id.wrapping_add(1);
        let fragment = |part: &[u8], offset: usize, more: bool| {
            let len = |octets: usize| u16::try_from(octets).map_err(|_| Fault::Room);
            let mut frame = front.to_vec();
            let lengths = EthernetHeader::LEN + 4..EthernetHeader::LEN + 7;
            let [high, low] = len(part.len() + 8)?.to_be_bytes();
            let field = frame.get_mut(lengths).ok_or(Fault::Room)?;
            field.copy_from_slice(&[high, low, FRAGMENT]);
            frame.extend([next_header, 0]);
            // Offsets are multiples of 8, in the upper 13 bits.
            frame.extend((len(offset)? | u16::from(more)).to_be_bytes());
            frame.extend(self.fragment_id.to_be_bytes());
            frame.extend(part);
            let mut mbuf = self.pool.alloc().ok_or(Fault::Pool)?;
            buffers::lay(&mut mbuf, 0, &frame)?;
            Ok::<_, Fault>(mbuf)
        };
        Ok([fragment(first, 0, true)?, fragment(second, first.len(), false)?])
    }

    /// Lets some of the frames from this place on change theirs.
    fn reorder(&mut self, queue: &mut VecDeque<Mbuf>, start: usize) {
        for place in start..queue.len() {
            let thrown = self.dice.next_u32();
            let other = place + 1 + (thrown / 1024 % REACH) as usize;
            if thrown % 1024 < REORDERED && other < queue.len() {
                queue.swap(place, other);
            }
        }
    }
}

/// Puts a sealed frame into its place, ready to be sent.
fn put(Completed { mut mbuf, user, ok }: Completed, slots: &mut Slots) -> Result<(), Fault> {
    if !ok {
        return Err(Fault::NotDone);
    }
    if let Some(packet) = mbuf.data_mut().get_mut(EthernetHeader::LEN..) {
        frames::seal_udp(packet);
    }
    let place = usize::try_from(user).ok().and_then(|place| slots.get_mut(place));
    *place.ok_or(Fault::Room)? = Some(mbuf);
    Ok(())
}

/// Writes a sequence number into a frame that is not encrypted yet.
fn number(mbuf: &mut Mbuf, suite: Suite, seq: SeqNo) -> Result<(), Fault> {
    let start = EthernetHeader::LEN + OUTER_LEN;
    let frame = mbuf.data_mut().get_mut(start..).ok_or(Fault::Room)?;
    let (header, rest) = frame.split_at_mut_checked(FrameHeader::LEN).ok_or(Fault::Room)?;
    header.get_mut(4..).ok_or(Fault::Room)?.copy_from_slice(&seq.0.to_be_bytes());
    if suite == Suite::Aes128Gcm {
        let iv = rest.get_mut(..GcmIv::LEN).ok_or(Fault::Room)?;
        iv.copy_from_slice(GcmIv::new(1, seq).as_bytes());
    }
    Ok(())
}
