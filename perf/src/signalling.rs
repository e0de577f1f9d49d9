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
use crate::frames::{self, Direction, HOME_AGENT, OUTER_LEN, Station};

/// Lifetime asked for, in units of 4 seconds: an hour.
const LIFETIME: u16 = 900;
/// Room for the largest Mobility Header made here.
const ROOM: usize = 256;

/// A Binding Update in its envelope, not yet sealed, and the octets of its payload.
pub(crate) fn binding_update(station: &Station, seq: SeqNo) -> Result<(Vec<u8>, usize), Fault> {
    let alternate_coa = match station.remote.ip() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    };
    let message = Message::BindingUpdate(BindingUpdate {
        seq: fresh(),
        flags: BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() },
        lifetime: LIFETIME,
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

/// Whether this is a protected Mobility Header to a mobile node: what else than an acknowledgement.
pub(crate) fn is_answer(mbuf: &Mbuf) -> bool {
    let ptype = mbuf.data().get(EthernetHeader::LEN + OUTER_LEN).map(|octet| octet >> 4);
    ptype == Some(PType::MobilityHeader.bits())
}

/// A sequence number of Binding Updates that is newer than those of earlier runs (RFC 6275
/// s.9.5.1 compares modulo 2^16).
fn fresh() -> u16 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^16")]
    let seq = time.as_secs() as u16;
    seq
}
