//! The generator's mobile nodes register: Binding Updates for a machine under test.
//!
//! Read first: RFC 6275 s.6.1.7; RFC 6618 s.6.3; readings.

use std::time::SystemTime;

use core::net::IpAddr;
use hearth_dpdk::Mbuf;
use hearth_wire::frame::PType;
use hearth_wire::ip::EthernetHeader;
use hearth_wire::mh::{self, BindingUpdate, BuFlags, BuOptions, Message};
use hearth_wire::{SeqNo, exthdr};

use crate::fault::Fault;
use crate::frames::{self, Direction, HOME_AGENT, OUTER_LEN, SPI_BASE, Station};

/// Lifetime asked for, in units of 4 seconds: an hour.
const LIFETIME: u16 = 900;
/// Room for the largest Mobility Header made here.
const ROOM: usize = 256;

/// What a Binding Update says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) sequence: u16,
    /// In units of 4 seconds.
    pub(crate) lifetime: u16,
}

/// A Binding Update in its envelope, not yet sealed, and the octets of its payload.
pub(crate) fn binding_update(station: &Station, seq: SeqNo) -> Result<(Vec<u8>, usize), Fault> {
    binding_update_of(station, seq, Asked { sequence: fresh(), lifetime: LIFETIME })
}

/// The same with what is to be said.
pub(crate) fn binding_update_of(
    station: &Station,
    seq: SeqNo,
    asked: Asked,
) -> Result<(Vec<u8>, usize), Fault> {
    let alternate_coa = match station.remote.ip() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    };
    let message = Message::BindingUpdate(BindingUpdate {
        seq: asked.sequence,
        flags: BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() },
        lifetime: asked.lifetime,
        options: BuOptions { alternate_coa, ..BuOptions::default() },
    });
    let mut header = [0; ROOM];
    let len = mh::emit(&message, station.home, HOME_AGENT, &mut header).ok_or(Fault::Room)?;
    let options = exthdr::home_address_header(mh::PROTO, station.home);
    let payload = [&options[..], header.get(..len).ok_or(Fault::Room)?].concat();
    let kind = (PType::MobilityHeader, exthdr::DESTINATION_OPTIONS);
    let packet = frames::envelope_of(kind, station, Direction::Uplink, seq, &payload);
    Ok((packet, payload.len()))
}

/// The number of the mobile node to which a protected Mobility Header goes, and its sequence number:
/// what else than an acknowledgement.
pub(crate) fn answer(mbuf: &Mbuf) -> Option<(usize, u32)> {
    let frame = mbuf.data().get(EthernetHeader::LEN + OUTER_LEN..)?;
    let (head, rest) = frame.split_first_chunk::<4>()?;
    let head = u32::from_be_bytes(*head);
    if head >> 28 != u32::from(PType::MobilityHeader.bits()) {
        return None;
    }
    let station = (head & 0x0fff_ffff).checked_sub(SPI_BASE)?;
    Some((station as usize, u32::from_be_bytes(*rest.first_chunk()?)))
}

/// A sequence number of Binding Updates that is newer than those of earlier runs (RFC 6275
/// s.9.5.1 compares modulo 2^16).
fn fresh() -> u16 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^16")]
    let seq = time.as_secs() as u16;
    seq
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers;
    use crate::testing::with_lab;
    use crate::traffic::{Parcel, seal};
    use hearth_wire::Suite;

    /// The dataplane itself judges it: signalling goes up to control only when all checks pass.
    #[test]
    fn a_binding_update_passes_every_check_of_the_datapath() {
        let station = Station::new(3, Suite::Aes128CbcSha).unwrap();
        with_lab(|lab| {
            let shape = crate::rig::Shape { stations: 8, ..Default::default() };
            let mut rig = crate::rig::Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape).unwrap();
            rig.attach(&station).unwrap();
            rig.settle();
            let (packet, inner_len) = binding_update(&station, SeqNo(0)).unwrap();
            let mut mbuf = lab.pool.alloc().unwrap();
            let mac = rig.ingress_mac(Direction::Uplink);
            buffers::lay(&mut mbuf, 0, &frames::ethernet(mac, &packet)).unwrap();
            let mut slots = vec![Some(mbuf)];
            seal(&mut slots, &[Parcel { station, inner_len }]).unwrap();
            let mbuf = slots.pop().flatten().unwrap();
            // As a direction it is the other, but the form is that of an answer.
            assert_eq!(answer(&mbuf), Some((3, 0)));
            rig.wires[0].to_port.push(mbuf).unwrap();
            rig.settle();
            let counters = rig.counters.snapshot();
            assert_eq!((counters.signalling_in, counters.dropped_total()), (1, 0));
        });
    }
}
