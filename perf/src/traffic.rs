//! Packets for any number of mobile nodes, in buffers, as a port receives them.

use hearth_dpdk::{Completed, Mempool, MultiBuffer};
use hearth_wire::SeqNo;
use hearth_wire::ip::EthernetHeader;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::buffers::{self, Slots};
use crate::fault::Fault;
use crate::frames::{self, Act, Direction, OUTER_LEN, Station};
use crate::keys::Schedules;

/// One packet to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel {
    pub(crate) station: Station,
    /// Octets of the inner packet.
    pub(crate) inner_len: usize,
}

/// Buffers, and the number that the next uplink packet carries.
pub(crate) struct Traffic {
    pub(crate) slots: Slots,
    pool: Mempool,
    next_seq: u32,
}

impl Traffic {
    /// Buffers from this pool, once they are needed; packets carry numbers from 0 on.
    pub(crate) fn new(pool: &Mempool) -> Self {
        Self { slots: Slots::new(), pool: pool.clone(), next_seq: 0 }
    }

    /// Lays a packet into every buffer, as the port with this MAC address receives them; parcels
    /// are taken in turns. Uplink numbers grow over all mobile nodes together, so that none is used
    /// twice.
    pub(crate) fn prepare(
        &mut self,
        direction: Direction,
        mac: [u8; 6],
        parcels: &[Parcel],
    ) -> Result<(), Fault> {
        buffers::fill(&mut self.slots, &self.pool)?;
        for ((slot, parcel), number) in self.slots.iter_mut().zip(parcels.iter().cycle()).zip(0..) {
            let inner = frames::inner(&parcel.station, direction, number, parcel.inner_len);
            let packet = match direction {
                Direction::Downlink => inner,
                Direction::Uplink => {
                    let seq = SeqNo(self.next_seq);
                    self.next_seq = self.next_seq.checked_add(1).ok_or(Fault::Numbers)?;
                    frames::envelope(&parcel.station, direction, seq, &inner)
                }
            };
            let mbuf = slot.as_mut().ok_or(Fault::Pool)?;
            buffers::lay(mbuf, 0, &frames::ethernet(mac, &packet))?;
        }
        match direction {
            Direction::Uplink => seal(&mut self.slots, parcels),
            Direction::Downlink => Ok(()),
        }
    }
}

/// Encrypts envelopes behind Ethernet headers and makes them valid; parcels are taken in turns.
pub(crate) fn seal(slots: &mut Slots, parcels: &[Parcel]) -> Result<(), Fault> {
    let mut keyring = HashMap::new();
    let crypto = MultiBuffer::new()?;
    for Parcel { station, .. } in parcels {
        if let Entry::Vacant(place) = keyring.entry(station.spi) {
            place.insert(Schedules::expand(&crypto, station, Direction::Uplink)?);
        }
    }
    let mut manager = MultiBuffer::new()?;
    let mut back = Vec::with_capacity(slots.len());
    for (place, parcel) in (0..slots.len()).zip(parcels.iter().cycle()) {
        let keys = keyring.get(&parcel.station.spi).ok_or(Fault::Room)?;
        let mut mbuf = slots.get_mut(place).and_then(Option::take).ok_or(Fault::Pool)?;
        let offset = EthernetHeader::LEN + OUTER_LEN;
        frames::lay_nonce(keys, offset, &mut mbuf);
        let suite = parcel.station.suite;
        let op = frames::operation(keys, Act::Seal, suite, parcel.inner_len, offset);
        let done = manager.submit(mbuf, &op, place as u64).map_err(|no| Fault::Op(no.error))?;
        back.extend(done);
        while let Some(done) = manager.completed() {
            back.push(done);
        }
    }
    while let Some(done) = manager.flush() {
        back.push(done);
    }
    for Completed { mut mbuf, user, ok } in back {
        if !ok {
            return Err(Fault::NotDone);
        }
        if let Some(packet) = mbuf.data_mut().get_mut(EthernetHeader::LEN..) {
            frames::seal_udp(packet);
        }
        if let Some(slot) = usize::try_from(user).ok().and_then(|place| slots.get_mut(place)) {
            *slot = Some(mbuf);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::BUFFERS;
    use crate::pipeline::Pipeline;
    use crate::testing::with_lab;
    use hearth_wire::Suite;

    #[test]
    fn packets_of_many_mobile_nodes_and_suites_are_all_valid() {
        let stations: Vec<_> = (0..20)
            .zip(Suite::ALL.into_iter().cycle())
            .map(|(number, suite)| Station::new(number * 70_000, suite).unwrap())
            .collect();
        with_lab(|lab| {
            let shape = crate::rig::Shape { stations: 20 * 70_000, ..Default::default() };
            let mut pipeline = Pipeline::empty(&lab.eal, &lab.pool, &lab.name(), &shape).unwrap();
            stations.iter().try_for_each(|station| pipeline.rig.attach(station)).unwrap();
            pipeline.settle();
            let mut traffic = Traffic::new(&lab.pool);
            let parcels: Vec<_> = stations
                .iter()
                .zip([64, 576, 1400].into_iter().cycle())
                .map(|(&station, inner_len)| Parcel { station, inner_len })
                .collect();
            for direction in Direction::BOTH {
                let mac = pipeline.ingress_mac(direction);
                traffic.prepare(direction, mac, &parcels).unwrap();
                pipeline.pass(direction, &mut traffic.slots).unwrap();
                assert_eq!(traffic.slots.iter().flatten().count(), BUFFERS);
            }
        });
    }
}
