//! Valid packets for any number of mobile nodes: sizes, rates, reordering, loss.
//!
//! A [`Load`] is what one trial sends, made before it starts, so that sending is no more than a
//! copy into an mbuf. Every packet carries a number, by which the receiver knows when it was sent:
//! inside, where it comes out of the tunnel; downlink the order of sequence numbers under an SA.

use core::str::FromStr;

use hearth_dpdk::Mempool;
use hearth_wire::{SeqNo, Suite};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::buffers::{self, Slots};
use crate::fault::Fault;
use crate::frames::{self, Direction, Station};
use crate::signalling;
use crate::traffic::{Parcel, seal};

/// Packets that are sealed together.
const BATCH: usize = 1024;
/// Octets that the packets of a trial may take.
const MEMORY: usize = 128 << 20;

/// Inner sizes in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// All the same.
    One(usize),
    /// 64, 576 and 1400 octets as 7 : 4 : 1, the simple Internet mix within a tunnel's MTU.
    Imix,
    /// All of 8900 octets, for ports with an MTU of 9000.
    Jumbo,
}

impl Sizes {
    /// The inner packet of a jumbo frame.
    pub(crate) const JUMBO: usize = 8900;
    const IMIX: [usize; 12] = [64, 576, 64, 64, 576, 64, 1400, 64, 576, 64, 64, 576];

    /// The size of packet `number`.
    pub(crate) fn of(self, number: usize) -> usize {
        match self {
            Self::One(size) => size,
            Self::Imix => Self::IMIX.get(number % Self::IMIX.len()).copied().unwrap_or(64),
            Self::Jumbo => Self::JUMBO,
        }
    }

    /// The mean.
    pub(crate) fn mean(self) -> f64 {
        self.mean_of(|inner| inner)
    }

    /// The mean of what `of` makes of a size.
    pub(crate) fn mean_of(self, of: impl Fn(usize) -> usize) -> f64 {
        self.total_of(of) as f64 / Self::IMIX.len() as f64
    }

    /// The sum over as many as make a mix.
    fn total_of(self, of: impl Fn(usize) -> usize) -> usize {
        (0..Self::IMIX.len()).map(|number| of(self.of(number))).sum()
    }

    /// The word for it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::One(size) => size.to_string(),
            Self::Imix => "imix".to_owned(),
            Self::Jumbo => "jumbo".to_owned(),
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "imix" => Ok(Self::Imix),
            "jumbo" => Ok(Self::Jumbo),
            _ => match text.parse() {
                Ok(size @ 64..=1400) => Ok(Self::One(size)),
                _ => Err("64 to 1400, imix or jumbo".to_owned()),
            },
        }
    }
}

/// What is to be generated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) direction: Direction,
    pub(crate) suite: Suite,
    /// Mobile nodes, addressed in turns.
    pub(crate) sas: u32,
    pub(crate) sizes: Sizes,
    /// Packets of a trial, at most.
    pub(crate) packets: usize,
    /// The part of packets that change places with a later one, up to 64 places away.
    pub(crate) reorder: f64,
    /// The part of packets that get lost on their way to the port: their numbers are missing.
    pub(crate) loss: f64,
    /// The first sequence number that is used.
    pub(crate) first_seq: u32,
}

/// The packets of one trial in the order in which they are sent.
#[derive(Default)]
pub(crate) struct Load {
    octets: Vec<u8>,
    /// For each packet: where it ends in `octets`, and its number.
    packets: Vec<(usize, u32)>,
}

/// Makes loads whose sequence numbers go on where the last one ended.
pub(crate) struct Generator {
    plan: Plan,
    stations: Vec<Station>,
    dice: ChaCha8Rng,
    next_seq: u32,
}

impl Generator {
    /// A generator for mobile nodes 0 to `plan.sas` - 1.
    pub(crate) fn new(plan: Plan) -> Result<Self, Fault> {
        let stations = (0..plan.sas)
            .map(|number| Station::new(number, plan.suite))
            .collect::<Result<Vec<_>, _>>()?;
        let dice = ChaCha8Rng::seed_from_u64(6618);
        Ok(Self { plan, stations, dice, next_seq: plan.first_seq })
    }

    pub(crate) const fn plan(&self) -> Plan {
        self.plan
    }

    pub(crate) fn stations(&self) -> &[Station] {
        &self.stations
    }

    /// Packets of a trial: as many as planned, less where they would take too much memory.
    pub(crate) fn packets(&self) -> usize {
        self.plan.packets.min(MEMORY / self.octets_per_packet()).max(1)
    }

    /// Octets of a packet in a load, about.
    fn octets_per_packet(&self) -> usize {
        self.plan.sizes.total_of(|inner| inner + 130) / Sizes::IMIX.len()
    }

    /// Makes the next trial's packets, for the port with this MAC address; `pool` has room for the
    /// largest.
    pub(crate) fn load(
        &mut self,
        pool: &Mempool,
        mac: [u8; 6],
        load: &mut Load,
    ) -> Result<(), Fault> {
        let order = self.order();
        load.octets.clear();
        load.octets.reserve(order.len() * self.octets_per_packet());
        load.packets.clear();
        let mut slots = Slots::new();
        for numbers in order.chunks(BATCH) {
            let parcels = numbers.iter().map(|&number| self.parcel(number));
            let parcels = parcels.collect::<Result<Vec<_>, _>>()?;
            for ((place, parcel), &number) in parcels.iter().enumerate().zip(numbers) {
                let frame = frames::ethernet(mac, &self.packet(parcel, number)?);
                if slots.len() == place {
                    slots.push(Some(pool.alloc().ok_or(Fault::Pool)?));
                }
                let mbuf = slots.get_mut(place).and_then(Option::as_mut).ok_or(Fault::Pool)?;
                buffers::lay(mbuf, 0, &frame)?;
            }
            slots.truncate(numbers.len());
            if self.plan.direction == Direction::Uplink {
                seal(&mut slots, &parcels)?;
            }
            for (mbuf, &number) in slots.iter().flatten().zip(numbers) {
                load.octets.extend(mbuf.data());
                load.packets.push((load.octets.len(), number));
            }
        }
        let count = u32::try_from(self.packets()).map_err(|_| Fault::Numbers)?;
        self.next_seq = self.next_seq.checked_add(count).ok_or(Fault::Numbers)?;
        Ok(())
    }

    /// Makes a Binding Update of every mobile node in place of a trial's packets: what a machine
    /// under test has to hear before it carries data.
    pub(crate) fn registrations(
        &mut self,
        pool: &Mempool,
        mac: [u8; 6],
        load: &mut Load,
    ) -> Result<(), Fault> {
        load.octets.clear();
        load.packets.clear();
        let seq = SeqNo(self.next_seq);
        let mut number = 0;
        for stations in self.stations.chunks(BATCH) {
            let mut slots = Slots::new();
            let mut parcels = Vec::with_capacity(stations.len());
            for &station in stations {
                let (packet, inner_len) = signalling::binding_update(&station, seq)?;
                let mut mbuf = pool.alloc().ok_or(Fault::Pool)?;
                buffers::lay(&mut mbuf, 0, &frames::ethernet(mac, &packet))?;
                slots.push(Some(mbuf));
                parcels.push(Parcel { station, inner_len });
            }
            seal(&mut slots, &parcels)?;
            for mbuf in slots.iter().flatten() {
                load.octets.extend(mbuf.data());
                load.packets.push((load.octets.len(), number));
                number += 1;
            }
        }
        self.next_seq = self.next_seq.checked_add(1).ok_or(Fault::Numbers)?;
        Ok(())
    }

    fn parcel(&self, number: u32) -> Result<Parcel, Fault> {
        let (place, stations) = (number as usize, self.stations.len().max(1));
        let station = self.stations.get(place % stations).copied().ok_or(Fault::Room)?;
        Ok(Parcel { station, inner_len: self.plan.sizes.of(place / stations) })
    }

    fn packet(&self, parcel: &Parcel, number: u32) -> Result<Vec<u8>, Fault> {
        let direction = self.plan.direction;
        let inner = frames::inner(&parcel.station, direction, number, parcel.inner_len);
        Ok(match direction {
            Direction::Downlink => inner,
            Direction::Uplink => {
                let seq = self.next_seq.checked_add(number).ok_or(Fault::Numbers)?;
                frames::envelope(&parcel.station, direction, SeqNo(seq), &inner)
            }
        })
    }

    /// The numbers of the packets in the order in which they are sent.
    fn order(&mut self) -> Vec<u32> {
        let Plan { reorder, loss, .. } = self.plan;
        let mut order: Vec<u32> = (0_u32..).take(self.packets()).collect();
        if reorder > 0.0 {
            for place in 0..order.len() {
                let later = place + 1 + (self.dice.next_u32() % 64) as usize;
                if later < order.len() && self.throws(reorder) {
                    order.swap(place, later);
                }
            }
        }
        if loss > 0.0 {
            order.retain(|_| !throws(&mut self.dice, loss));
        }
        order
    }

    fn throws(&mut self, part: f64) -> bool {
        throws(&mut self.dice, part)
    }
}

/// True in this part of all cases.
fn throws(dice: &mut ChaCha8Rng, part: f64) -> bool {
    f64::from(dice.next_u32()) < part * f64::from(u32::MAX)
}

impl Load {
    /// Packets in it.
    pub(crate) const fn len(&self) -> usize {
        self.packets.len()
    }

    /// The packet at this place, and its number.
    pub(crate) fn packet(&self, place: usize) -> Option<(&[u8], u32)> {
        let &(end, number) = self.packets.get(place)?;
        let start = place.checked_sub(1).and_then(|before| self.packets.get(before));
        Some((self.octets.get(start.map_or(0, |&(end, _)| end)..end)?, number))
    }

    /// One more than the highest number.
    pub(crate) fn numbers(&self) -> usize {
        self.packets.iter().map(|&(_, number)| number as usize + 1).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(reorder: f64, loss: f64) -> Plan {
        Plan {
            direction: Direction::Uplink,
            suite: Suite::Aes128CbcSha,
            sas: 3,
            sizes: Sizes::Imix,
            packets: 10_000,
            reorder,
            loss,
            first_seq: 0,
        }
    }

    #[test]
    fn order_and_loss_are_as_planned() {
        let straight = Generator::new(plan(0.0, 0.0)).unwrap().order();
        assert!(straight.iter().copied().eq(0..10_000));
        let mut mixed = Generator::new(plan(0.1, 0.0)).unwrap().order();
        let moved = mixed.iter().zip(0..).filter(|(number, place)| *number != place).count();
        assert!((1_000..2_500).contains(&moved), "{moved}");
        let distance =
            mixed.iter().zip(0_i64..).map(|(&number, place)| (i64::from(number) - place).abs());
        assert!(distance.max().unwrap() < 1024, "within the smallest usual window");
        mixed.sort_unstable();
        assert_eq!(mixed, straight);
        let lossy = Generator::new(plan(0.0, 0.1)).unwrap().order();
        assert!((8_800..9_200).contains(&lossy.len()), "{}", lossy.len());
        assert!(lossy.is_sorted());
    }

    #[test]
    fn sizes_are_read_and_mixed() {
        assert_eq!("imix".parse(), Ok(Sizes::Imix));
        assert_eq!("jumbo".parse(), Ok(Sizes::Jumbo));
        assert_eq!("576".parse(), Ok(Sizes::One(576)));
        for wrong in ["63", "1401", "", "IMIX", "-1"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
        let sizes: Vec<_> = (0..12).map(|number| Sizes::Imix.of(number)).collect();
        for (size, count) in [(64, 7), (576, 4), (1400, 1)] {
            assert_eq!(sizes.iter().filter(|&&other| other == size).count(), count);
        }
        assert!((Sizes::Imix.mean() - 346.0).abs() < 1.0);
        assert_eq!(Sizes::One(64).mean(), 64.0);
    }
}
