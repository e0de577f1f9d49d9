//! The packets of the nodes: made, and judged when they come back.
//!
//! ```text
//!   IPv6 header | UDP, or ICMPv6 echo (RFC 4443 s.4.1, 4.2) | marker 4 | node 4 | number 4 | time 8 | 0 ..
//! ```
//!
//! The time is that since the fleet's start, in nanoseconds.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use hearth_wire::SeqNo;
use hearth_wire::ip::{self, Ipv6Header, UdpHeader};
use zerocopy::IntoBytes;

use super::config::{Kind, Traffic};
use hearth_esp::{ReplayError, ReplayWindow};

/// Octets of the smallest packet.
pub(super) const LEAST: usize = Ipv6Header::LEN + UPPER + CONTENT;
/// Octets of a UDP header, and of that of an ICMPv6 echo.
const UPPER: usize = 8;
const CONTENT: usize = 20;
const MARKER: [u8; 4] = *b"HFLT";
/// UDP port of every node.
const PORT: u16 = 49_152;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// What a packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) node: u32,
    pub(super) number: u32,
    /// Since the fleet's start.
    pub(super) sent: Duration,
}

/// Writes a packet from `home` into `room`, which has the packet's length.
pub(super) fn write(
    room: &mut [u8],
    home: Ipv6Addr,
    traffic: &Traffic,
    probe: Probe,
) -> Option<()> {
    let (header, upper) = room.split_at_mut_checked(Ipv6Header::LEN)?;
    let ping = traffic.kind == Kind::Ping;
    let next_header = if ping { ICMPV6 } else { UDP };
    let ip = Ipv6Header::new(home, traffic.to, next_header, 64, upper.len())?;
    header.copy_from_slice(ip.as_bytes());
    upper.fill(0);
    let (head, content) = upper.split_at_mut_checked(UPPER)?;
    if ping {
        *head.first_mut()? = ECHO_REQUEST;
        head.get_mut(4..6)?.copy_from_slice(&PORT.to_be_bytes());
    } else {
        let udp = UdpHeader::new(PORT, traffic.port, content.len())?;
        head.copy_from_slice(udp.as_bytes());
    }
    let nanoseconds = u64::try_from(probe.sent.as_nanos()).ok()?;
    content.get_mut(0..4)?.copy_from_slice(&MARKER);
    content.get_mut(4..8)?.copy_from_slice(&probe.node.to_be_bytes());
    content.get_mut(8..12)?.copy_from_slice(&probe.number.to_be_bytes());
    content.get_mut(12..20)?.copy_from_slice(&nanoseconds.to_be_bytes());
    let checksum = if ping {
        let len = u32::try_from(upper.len()).ok()?;
        ip::pseudo_v6(home, traffic.to, len, ICMPV6).plus(upper).finish()
    } else {
        ip::udp_checksum_v6(home, traffic.to, upper)
    };
    let at = if ping { 2..4 } else { 6..8 };
    upper.get_mut(at)?.copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

/// Reads what came back for `home`; `None` where it is no answer to a packet of ours, or damaged.
pub(super) fn read(packet: &[u8], home: Ipv6Addr, traffic: &Traffic) -> Option<Probe> {
    let (header, upper) = Ipv6Header::parse(packet).ok()?;
    if header.source() != traffic.to || header.destination() != home {
        return None;
    }
    let len = u32::try_from(upper.len()).ok()?;
    let ours = match header.next_header {
        ICMPV6 => traffic.kind == Kind::Ping && *upper.first()? == ECHO_REPLY,
        UDP => upper.get(..2)? == traffic.port.to_be_bytes(),
        _ => false,
    };
    let sum = ip::pseudo_v6(traffic.to, home, len, header.next_header).plus(upper).finish();
    let content = upper.get(UPPER..)?;
    if !ours || sum != 0 || content.get(0..4)? != MARKER {
        return None;
    }
    let word = |at: usize| Some(u32::from_be_bytes(content.get(at..at + 4)?.try_into().ok()?));
    let sent = u64::from_be_bytes(content.get(12..20)?.try_into().ok()?);
    Some(Probe { node: word(4)?, number: word(8)?, sent: Duration::from_nanos(sent) })
}

/// What became of a packet that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// In order.
    Good,
    /// Behind one that was sent later.
    Reordered,
    /// A second time.
    Duplicated,
    /// Too late to tell whether it is the first time.
    Late,
}

/// One node's stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The next packet's number: so many were sent.
    next: u32,
    window: ReplayWindow,
    newest: Option<u32>,
    last: Option<Instant>,
    /// A handover: the number of the first packet after it, and the longest silence since.
    moved: Option<(u32, Duration)>,
}

impl Stream {
    /// The number of the next packet.
    pub(super) fn draw(&mut self) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }

    /// The node moves.
    pub(super) fn on_move(&mut self) {
        // Silence can't be told before the first answer.
        self.moved = self.last.map(|_| (self.next, Duration::ZERO));
    }

    /// A packet came back; the longest silence around a handover that it ends.
    pub(super) fn on_answer(&mut self, number: u32, now: Instant) -> (Verdict, Option<Duration>) {
        let verdict = match self.window.accept(SeqNo(number)) {
            Err(ReplayError::Replayed) => return (Verdict::Duplicated, None),
            Err(ReplayError::TooOld) => return (Verdict::Late, None),
            Ok(()) if self.newest.is_some_and(|newest| number < newest) => Verdict::Reordered,
            Ok(()) => Verdict::Good,
        };
        self.newest = self.newest.max(Some(number));
        let silence = self.last.map(|last| now.saturating_duration_since(last)).unwrap_or_default();
        self.last = Some(now);
        let Some((first, longest)) = &mut self.moved else { return (verdict, None) };
        *longest = silence.max(*longest);
        let (over, gap) = (number >= *first, *longest);
        if over {
            self.moved = None;
        }
        (verdict, over.then_some(gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(kind: Kind) -> Traffic {
        let to = "2001:db8:c::2".parse().unwrap();
        Traffic { to, kind, port: 7, packets_per_second: 1.0, octets: 100 }
    }

    /// The answer that a correspondent makes of a packet.
    fn answered(packet: &[u8], kind: Kind) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let (source, destination) = (packet[8..24].to_vec(), packet[24..40].to_vec());
        packet[8..24].copy_from_slice(&destination);
        packet[24..40].copy_from_slice(&source);
        if kind == Kind::Ping {
            packet[40] = ECHO_REPLY;
            let old = u16::from_be_bytes([packet[42], packet[43]]);
            let new = ip::checksum_updated_for_test(old);
            packet[42..44].copy_from_slice(&new.to_be_bytes());
        } else {
            packet.swap(40, 42);
            packet.swap(41, 43);
        }
        packet
    }

    mod ip {
        pub(super) use hearth_wire::ip::*;

        /// The type changed from 128 to 129 (RFC 1624).
        pub(super) fn checksum_updated_for_test(old: u16) -> u16 {
            updated(old, 0x8000, 0x8100)
        }
    }

    #[test]
    fn a_probe_comes_back_as_it_was() {
        let home = "2001:db8:b:1::7".parse().unwrap();
        for kind in [Kind::Ping, Kind::Echo] {
            let traffic = traffic(kind);
            let probe = Probe { node: 9, number: 70_000, sent: Duration::from_nanos(1 << 40) };
            let mut packet = [0; 100];
            write(&mut packet, home, &traffic, probe).unwrap();
            assert_eq!(read(&packet, home, &traffic), None, "not an answer");
            let mut answer = answered(&packet, kind);
            assert_eq!(read(&answer, home, &traffic), Some(probe), "{kind:?}");
            let other = "2001:db8:b:1::8".parse().unwrap();
            assert_eq!(read(&answer, other, &traffic), None, "another's");
            answer[60] ^= 1;
            assert_eq!(read(&answer, home, &traffic), None, "damaged");
        }
    }

    #[test]
    fn a_stream_tells_good_packets_from_others() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut stream = Stream::default();
        assert_eq!([0, 1, 2], [(); 3].map(|()| stream.draw()));
        assert_eq!(stream.on_answer(0, at(0)), (Verdict::Good, None));
        assert_eq!(stream.on_answer(2, at(10)), (Verdict::Good, None));
        assert_eq!(stream.on_answer(1, at(20)), (Verdict::Reordered, None));
        assert_eq!(stream.on_answer(1, at(20)), (Verdict::Duplicated, None));
        stream.on_move();
        assert_eq!(stream.draw(), 3);
        assert_eq!(stream.on_answer(3, at(70)).1, Some(Duration::from_millis(50)));
        assert_eq!(stream.on_answer(2000, at(80)), (Verdict::Good, None));
        assert_eq!(stream.on_answer(4, at(90)), (Verdict::Late, None));
    }
}
