//! `peers`, first part: boringtun, per core, in memory, without any I/O.
//!
//! It has 4096 buffers too, of its own, and copies from one to the other: that is its interface.

use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use hearth_wire::Suite;

use crate::buffers::BUFFERS;
use crate::cycles;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{self, Direction, Station};
use crate::lab::Lab;
use crate::pipeline::Pipeline;
use crate::report::{Row, Target};
use crate::stats::{Round, Rounds, alternate, undisturbed};
use crate::traffic::{Parcel, Traffic};

/// Octets of a buffer.
const ROOM: usize = 2048;

/// Suite, inner size, and what our rate has to be, in boringtun's.
const CASES: [(Suite, usize, Target); 3] = [
    (Suite::Aes128CbcSha, 64, Target::at_least(0.95, 1.1)),
    (Suite::Aes128CbcSha, 1400, Target::at_least(1.3, 1.45)),
    (Suite::Aes128Gcm, 1400, Target::at_least(1.9, 2.3)),
];

/// Measures in about `time` a case.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    for (suite, inner_bytes, target) in CASES {
        let found = measure(lab, suite, inner_bytes, time);
        for (place, direction) in Direction::BOTH.into_iter().enumerate() {
            let row = Row::new("peers", "boringtun")
                .of(suite, direction, inner_bytes)
                .asked(Some(target));
            rows.push(match &found {
                Ok(rounds) => row
                    .cycles(rounds.side(place + 2), rounds.side(place))
                    .measured(&rounds.quotient(place, place + 2)),
                Err(fault) => row.failed(*fault),
            });
        }
    }
}

/// Two ends of a tunnel that have shaken hands, and their buffers.
struct Tunnel {
    mobile: Tunn,
    home: Tunn,
    plain: Vec<Vec<u8>>,
    sealed: Vec<(Vec<u8>, usize)>,
    opened: Vec<Vec<u8>>,
}

impl Tunnel {
    fn new(station: &Station, inner_len: usize) -> Result<Self, Fault> {
        let secret = |octet: u8| StaticSecret::from([octet; 32]);
        let public = |octet: u8| PublicKey::from(&secret(octet));
        let mut mobile = Tunn::new(secret(3), public(5), None, None, 1, None);
        let mut home = Tunn::new(secret(5), public(3), None, None, 2, None);
        let mut buffer = vec![0; ROOM];
        let initiation = sent(mobile.format_handshake_initiation(&mut buffer, false))?;
        let response = sent(home.decapsulate(None, &initiation, &mut buffer))?;
        let keepalive = sent(mobile.decapsulate(None, &response, &mut buffer))?;
        if !matches!(home.decapsulate(None, &keepalive, &mut buffer), TunnResult::Done) {
            return Err(Fault::Handshake);
        }
        let number = (0_u32..).take(BUFFERS);
        Ok(Self {
            mobile,
            home,
            plain: number
                .map(|number| frames::inner(station, Direction::Uplink, number, inner_len))
                .collect(),
            sealed: vec![(vec![0; ROOM], 0); BUFFERS],
            opened: vec![vec![0; ROOM]; BUFFERS],
        })
    }

    /// The mobile node's side: returns the ticks it takes.
    fn encapsulate(&mut self) -> Result<u64, Fault> {
        let start = cycles::now();
        for (plain, (buffer, len)) in self.plain.iter().zip(&mut self.sealed) {
            match self.mobile.encapsulate(plain, buffer) {
                TunnResult::WriteToNetwork(packet) => *len = packet.len(),
                _ => return Err(Fault::Handshake),
            }
        }
        Ok(cycles::now().wrapping_sub(start))
    }

    /// The other side of the same packets.
    fn decapsulate(&mut self) -> Result<u64, Fault> {
        let mut lost = 0;
        let start = cycles::now();
        for ((sealed, len), buffer) in self.sealed.iter().zip(&mut self.opened) {
            let packet = sealed.get(..*len).unwrap_or_default();
            if !matches!(
                self.home.decapsulate(None, packet, buffer),
                TunnResult::WriteToTunnelV6(..)
            ) {
                lost += 1;
            }
        }
        let ticks = cycles::now().wrapping_sub(start);
        if lost == 0 {
            Ok(ticks)
        } else {
            Err(Fault::Lost { sent: BUFFERS, received: BUFFERS - lost, drop: None })
        }
    }
}

fn sent(result: TunnResult<'_>) -> Result<Vec<u8>, Fault> {
    match result {
        TunnResult::WriteToNetwork(packet) => Ok(packet.to_vec()),
        _ => Err(Fault::Handshake),
    }
}

/// Cycles per packet: boringtun opening and sealing, then we, in the same order.
fn measure(lab: &Lab, suite: Suite, inner_len: usize, time: Duration) -> Result<Rounds, Fault> {
    let station = Station::new(1, suite)?;
    let mut tunnel = Tunnel::new(&station, inner_len)?;
    let mut pipeline = Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &[station])?;
    let mut traffic = Traffic::new(&lab.pool);
    let parcel = Parcel { station, inner_len };
    let per_packet = |ticks: u64| ticks as f64 / BUFFERS as f64;
    alternate(time, || {
        let (mut ours, mut round) = (Round::default(), Round::default());
        for direction in Direction::BOTH {
            undisturbed(&mut ours, |watch| {
                traffic.prepare(direction, pipeline.ingress_mac(direction), &[parcel])?;
                Ok(per_packet(watch.over(|| pipeline.pass(direction, &mut traffic.slots))?))
            })?;
        }
        // What is opened has to be sealed anew, or it is a replay.
        undisturbed(&mut round, |watch| {
            tunnel.encapsulate()?;
            Ok(per_packet(watch.over(|| tunnel.decapsulate())?))
        })?;
        undisturbed(&mut round, |watch| Ok(per_packet(watch.over(|| tunnel.encapsulate())?)))?;
        round.values.append(&mut ours.values);
        round.disturbed |= ours.disturbed;
        Ok(round)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_boringtun_opens_is_what_it_sealed() {
        let station = Station::new(1, Suite::Aes128CbcSha).unwrap();
        let mut tunnel = Tunnel::new(&station, 100).unwrap();
        for _ in 0..2 {
            tunnel.encapsulate().unwrap();
            assert_eq!(tunnel.sealed[7].1, 32 + 100);
            tunnel.decapsulate().unwrap();
            assert_eq!(tunnel.opened[7][..100], tunnel.plain[7]);
        }
        // The same packets once more are replays.
        assert!(tunnel.decapsulate().is_err());
    }
}
