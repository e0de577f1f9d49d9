//! Questions to the home agent, and the counters that raise them; see
//! `registration/probing.rs` and `registration/keepalive.rs`.

use hearth_wire::Spi;
use hearth_wire::frame::PType;
use hearth_wire::mh::{Heartbeat, Message};

use super::Node;
use super::actions::open_socket;
use crate::association::SecurityAssociation;
use crate::path::Path;
use crate::registration::{Probe, Traffic};
use crate::signalling::{self, MAX_UPDATE};

/// Next Header of IPv6 and of ICMPv6.
const IPV6: u8 = 41;
const ICMPV6: u8 = 58;
const ECHO_REQUEST: u8 = 128;
/// An IPv6 header, and an echo request without data.
const ECHO_LEN: usize = 40 + 8;

impl Node {
    /// Packets of the data path so far.
    pub(super) fn traffic(&self) -> Traffic {
        let (sent, _) = self.tunnel.counters.uplink.get();
        let (received, _) = self.tunnel.counters.downlink.get();
        Traffic { sent, received }
    }

    /// Asks the home agent on a path whether it is there (RFC 5847 s.3.1).
    pub(super) fn send_heartbeat(&mut self, Probe { path, spi, seq }: &Probe) {
        let held = self.held.iter().find(|held| held.sa.spi == *spi);
        let (Some(held), Some(open)) = (held, self.open.get(path)) else { return };
        let question =
            Heartbeat { unsolicited: false, response: false, seq: *seq, restart_counter: None };
        let mut buffer = [0; MAX_UPDATE];
        let iv = self.ivs.draw();
        let message = Message::Heartbeat(question);
        let Some(len) = signalling::seal(&message, &held.sa, &iv, &mut buffer) else { return };
        let frame = buffer.get(..len).unwrap_or_default();
        // What is not sent is not answered; that is what the question is about.
        if let Err(error) = open.socket.send(frame).or_else(|_| open.socket.send(frame)) {
            tracing::debug!(%path, %error, "Heartbeat not sent");
        }
    }

    /// Sends the home agent an echo request by a port that is not registered. Its answer comes by the
    /// one that is, and says so by being counted; the kernel has no use for it.
    pub(super) fn send_echo(&mut self, path: &Path, spi: Spi) {
        let Some(held) = self.held.iter().find(|held| held.sa.spi == spi) else { return };
        let mut buffer = [0; MAX_UPDATE];
        let iv = self.ivs.draw();
        let Some(len) = seal_echo(&held.sa, &iv, &mut buffer) else { return };
        let frame = buffer.get(..len).unwrap_or_default();
        let sent = open_socket(path, self.config.table).and_then(|socket| socket.send(frame));
        if let Err(error) = sent {
            tracing::debug!(%path, %error, "echo request not sent");
        }
    }
}

/// A protected echo request from the home address to the home agent.
fn seal_echo(sa: &SecurityAssociation, iv: &[u8; 16], buf: &mut [u8; MAX_UPDATE]) -> Option<usize> {
    let mut packet = [0_u8; ECHO_LEN];
    packet[0] = 0x60;
    packet[5] = 8;
    packet[6] = ICMPV6;
    packet[7] = 64;
    packet[8..24].copy_from_slice(&sa.home_address.octets());
    packet[24..40].copy_from_slice(&sa.home_agent.octets());
    packet[40] = ECHO_REQUEST;
    let checksum = checksum(&packet[8..]);
    packet[42..44].copy_from_slice(&checksum.to_be_bytes());
    let at = sa.outbound.payload_offset();
    buf.get_mut(at..at + ECHO_LEN)?.copy_from_slice(&packet);
    let id = (PType::ProtectedData, sa.spi, sa.draw()?);
    sa.outbound.seal(buf, ECHO_LEN, id, IPV6, iv)
}

/// RFC 4443 s.2.3, over both addresses and the message of eight octets behind them.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks_exact(2).filter_map(|word| word.first_chunk::<2>());
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let sum = sum + 8 + u32::from(ICMPV6);
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use hearth_wire::ip::Ipv6Header;
    use hearth_wire::{Scope, Suite};

    use super::*;
    use crate::association::tests::grant;

    #[test]
    fn the_echo_request_is_one() {
        let sa = SecurityAssociation::new(grant(Suite::Aes128CbcSha, Scope::SignallingAndData));
        let mut buf = [0; MAX_UPDATE];
        let len = seal_echo(&sa, &[7; 16], &mut buf).unwrap();
        assert_eq!(buf[0] >> 4, 1);
        let (payload, next_header) = sa.outbound.open(&mut buf[..len]).unwrap();
        assert_eq!(next_header, IPV6);
        let packet = &buf[payload];
        let (header, echo) = Ipv6Header::parse(packet).unwrap();
        assert_eq!((header.source(), header.destination()), (sa.home_address, sa.home_agent));
        assert_eq!((header.hop_limit, echo.len(), echo[0]), (64, 8, ECHO_REQUEST));
        // With a right checksum the sum over everything is all ones.
        assert_eq!(checksum(&packet[8..]), 0);
    }
}
