//! What a node's sockets have for it.

use std::time::Instant;

use hearth_wire::Spi;
use hearth_wire::ip::Ipv6Header;

use super::{IPV6, Node, Tools};
use crate::fleet::probe::{self, Probe, Stream, Verdict};
use crate::fleet::results::Results;
use crate::tunnel::DropReason;
use crate::tunnel::open::{Content, Opened, open};

impl Node {
    /// Takes what its sockets have.
    pub(in crate::fleet) fn receive(&mut self, tools: &mut Tools, now: Instant) {
        /// Packets of one socket in a row.
        const BURST: usize = 64;
        let mut signalling = Vec::new();
        for at in 0..self.open.len() {
            for _ in 0..BURST {
                let Some((_, socket)) = self.open.get(at) else { break };
                let Ok(len) = socket.recv(&mut tools.buffer[..]) else { break };
                match self.take(tools, len, now) {
                    Ok(message) => signalling.extend(message),
                    Err(reason) => tools.results.dropped(reason),
                }
            }
        }
        for (spi, next_header, payload) in signalling {
            self.on_signalling(tools, spi, next_header, &payload, now);
        }
        self.act(tools);
    }

    /// A frame, in the order of R-24; the payload of a PType 8 packet.
    fn take(
        &mut self,
        tools: &mut Tools,
        len: usize,
        now: Instant,
    ) -> Result<Option<(Spi, u8, Vec<u8>)>, DropReason> {
        let frame = tools.buffer.get_mut(..len).ok_or(DropReason::FrameShort)?;
        let associations = self.held.iter().map(|held| &held.sa);
        let Opened { sa, payload, content, worn } = open(frame, associations)?;
        if worn {
            self.registration.on_worn(sa.spi);
        }
        let payload = frame.get(payload).ok_or(DropReason::InnerLength)?;
        match content {
            Content::PlainData | Content::ProtectedData { next_header: IPV6 } => {}
            Content::ProtectedData { .. } => return Err(DropReason::DataNextHeader),
            Content::Signalling { next_header } => {
                return Ok(Some((sa.spi, next_header, payload.to_vec())));
            }
        }
        let (inner, _) = Ipv6Header::parse(payload).map_err(|_| DropReason::InnerLength)?;
        if inner.destination() != sa.home_address {
            return Err(DropReason::DestinationNotHome);
        }
        let traffic = tools.plan.traffic.as_ref();
        let probe = traffic.and_then(|traffic| probe::read(payload, sa.home_address, traffic));
        match probe.filter(|probe| probe.node == self.number) {
            Some(probe) => judge(&mut self.stream, &mut tools.results, probe, tools.begun, now),
            None => tools.results.foreign += 1,
        }
        Ok(None)
    }
}

fn judge(stream: &mut Stream, results: &mut Results, probe: Probe, begun: Instant, now: Instant) {
    let (verdict, gap) = stream.on_answer(probe.number, now);
    match verdict {
        Verdict::Good => {}
        Verdict::Reordered => results.reordered += 1,
        Verdict::Duplicated => results.duplicated += 1,
        Verdict::Late => results.late += 1,
    }
    if matches!(verdict, Verdict::Good | Verdict::Reordered) {
        results.received += 1;
        let since = now.saturating_duration_since(begun);
        results.data_round_trip.record(since.saturating_sub(probe.sent));
    }
    if let Some(gap) = gap {
        results.gap.record(gap);
    }
}
