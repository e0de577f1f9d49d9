//! The packets that a node makes.

use hearth_wire::Scope;
use hearth_wire::frame::{FrameHeader, PType};
use zerocopy::IntoBytes;

use super::sockets::send;
use super::{Held, IPV6, Node, Tools};
use crate::association::SecurityAssociation;
use crate::fleet::config::Traffic;
use crate::fleet::probe::{self, Probe};
use crate::tunnel::DropReason;

/// The inner packet stands behind the longest header and IV.
const HEADROOM: usize = FrameHeader::LEN + 16;

impl Node {
    /// Sends a packet of its own; whether it has a way.
    pub(in crate::fleet) fn send_data(&mut self, tools: &mut Tools, traffic: &Traffic) -> bool {
        let Some((path, spi)) = &self.way else { return false };
        let held = self.held.iter().find(|held| held.sa.spi == *spi);
        let open = self.open.iter().find(|(open, _)| open == path);
        let (Some(Held { sa, .. }), Some((_, socket))) = (held, open) else { return false };
        let sent = tools.begun.elapsed();
        let probe = Probe { node: self.number, number: self.stream.draw(), sent };
        tools.results.sent += 1;
        let iv = tools.ivs.draw();
        let sealed = seal_data(&mut tools.buffer[..], sa, traffic, probe, &iv);
        let spi = *spi;
        let worn = sealed.as_ref().is_some_and(|(_, worn)| *worn);
        if !sealed.is_some_and(|(frame, _)| send(socket, frame)) {
            tools.results.dropped(DropReason::SendFailed);
        }
        if worn {
            self.registration.on_worn(spi);
            self.act(tools);
        }
        true
    }
}

/// Makes a packet and seals it; the frame, and whether the SA has reached a limit of R-23.
fn seal_data<'a>(
    buffer: &'a mut [u8],
    sa: &SecurityAssociation,
    traffic: &Traffic,
    probe: Probe,
    iv: &[u8; 16],
) -> Option<(&'a [u8], bool)> {
    let len = usize::from(traffic.octets);
    let room = buffer.get_mut(HEADROOM..HEADROOM + len)?;
    probe::write(room, sa.home_address, traffic, probe)?;
    if sa.scope == Scope::Signalling {
        let start = HEADROOM - FrameHeader::LEN;
        buffer.get_mut(start..HEADROOM)?.copy_from_slice(FrameHeader::plain().as_bytes());
        return Some((buffer.get(start..HEADROOM + len)?, false));
    }
    let start = HEADROOM - sa.outbound.payload_offset();
    let seq = sa.draw()?;
    let worn = sa.wears(seq, len);
    let id = (PType::ProtectedData, sa.spi, seq);
    let sealed = sa.outbound.seal(buffer.get_mut(start..)?, len, id, IPV6, iv)?;
    Some((buffer.get(start..start + sealed)?, worn))
}
