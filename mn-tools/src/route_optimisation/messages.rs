//! Whole packets to a correspondent, and what it and routers on the way say.
//!
//! Read first: RFC 6275 s.6.1.3 to 6.1.9, 9.3.3, 11.3.5; RFC 4443 s.3.

use std::net::Ipv6Addr;

use hearth_wire::exthdr;
use hearth_wire::ip::Ipv6Header;
use hearth_wire::mh::{
    self, BindingUpdate, BuFlags, BuOptions, Message, NonceIndices, ReturnRoutability,
    TestedAddress,
};
use zerocopy::IntoBytes as _;

use super::keys::Kbm;

/// Room for any Mobility Header that is sent here.
const ROOM: usize = 64;
const HOP_LIMIT: u8 = 64;

/// A Home Test Init or Care-of Test Init from the address that is tested.
pub(super) fn init(
    address: TestedAddress,
    cookie: [u8; 8],
    source: Ipv6Addr,
    correspondent: Ipv6Addr,
) -> Option<Vec<u8>> {
    let message = Message::ReturnRoutability(ReturnRoutability::Init { address, cookie });
    let mut header = [0; ROOM];
    let len = mh::emit(&message, source, correspondent, &mut header)?;
    packet((source, correspondent), mh::PROTO, header.get(..len)?)
}

/// What a Binding Update to a correspondent says.
pub(super) struct Update<'a> {
    pub(super) correspondent: Ipv6Addr,
    pub(super) home: Ipv6Addr,
    /// The home address where the binding is to go.
    pub(super) care_of: Ipv6Addr,
    pub(super) seq: u16,
    /// Units of 4 seconds; 0 takes the binding away.
    pub(super) lifetime: u16,
    pub(super) nonces: NonceIndices,
    pub(super) kbm: &'a Kbm,
}

/// The Binding Update as a packet from the care-of address.
pub(super) fn update(update: &Update<'_>) -> Option<Vec<u8>> {
    let Update { correspondent, home, care_of, seq, lifetime, nonces, kbm } = *update;
    let flags = BuFlags { acknowledge: true, ..BuFlags::default() };
    let options = BuOptions { nonce_indices: Some(nonces), ..BuOptions::default() };
    let message = Message::BindingUpdate(BindingUpdate { seq, flags, lifetime, options });
    let mut header = [0; ROOM];
    // The checksum is over the home address whether it stands in an option or not (s.6.1.1).
    let authenticate = |mh_data: &[u8]| kbm.authenticator(care_of, correspondent, &[mh_data]);
    let len = mh::emit_authorized(&message, home, correspondent, &mut header, authenticate)?;
    let header = header.get(..len)?;
    if care_of == home {
        return packet((home, correspondent), mh::PROTO, header);
    }
    let payload = [&exthdr::home_address_header(mh::PROTO, home)[..], header].concat();
    packet((care_of, correspondent), exthdr::DESTINATION_OPTIONS, &payload)
}

fn packet(ends: (Ipv6Addr, Ipv6Addr), next_header: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let header = Ipv6Header::new(ends.0, ends.1, next_header, HOP_LIMIT, payload.len())?;
    Some([header.as_bytes(), payload].concat())
}

/// What an ICMPv6 error says of a packet that was sent directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Packet Too Big: the MTU of the link that it did not fit.
    TooBig(u32),
    /// Parameter Problem: the correspondent does not know the Mobility Header or the Home Address
    /// option (RFC 6275 s.11.3.5, 11.6.2).
    NotUnderstood,
    /// Destination Unreachable.
    Unreachable,
}

/// An ICMPv6 error about a packet from `source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Where the packet came from: the care-of address, if it was ours.
    pub source: Ipv6Addr,
    /// Where it was sent.
    pub destination: Ipv6Addr,
    /// Whether it carried a Mobility Header or a Home Address option in front.
    pub is_mobile: bool,
    /// What is wrong.
    pub trouble: Trouble,
}

impl IcmpError {
    /// Reads an ICMPv6 message; `None` for what is no error about an IPv6 packet.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let ([kind, _, _, _, a, b, c, d], quoted) = message.split_first_chunk::<8>()?;
        let trouble = match kind {
            1 => Trouble::Unreachable,
            2 => Trouble::TooBig(u32::from_be_bytes([*a, *b, *c, *d])),
            4 => Trouble::NotUnderstood,
            _ => return None,
        };
        // Only the beginning of the packet is quoted, so its length may go past the end.
        let (header, _) = <Ipv6Header as zerocopy::FromBytes>::ref_from_prefix(quoted).ok()?;
        if quoted.first()? >> 4 != 6 {
            return None;
        }
        let is_mobile = matches!(header.next_header, mh::PROTO | exthdr::DESTINATION_OPTIONS);
        Some(Self {
            source: header.source(),
            destination: header.destination(),
            is_mobile,
            trouble,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_packet_that_they_are_about() {
        let (here, there) = ("2001:db8:6::100".parse().unwrap(), "2001:db8:c::2".parse().unwrap());
        let cookie = [7; 8];
        let sent = init(TestedAddress::CareOf, cookie, here, there).unwrap();
        let mut message = vec![4, 1, 0, 0, 0, 0, 0, 6];
        message.extend_from_slice(&sent);
        let error = IcmpError::read(&message).unwrap();
        assert_eq!((error.source, error.destination, error.is_mobile), (here, there, true));
        assert_eq!(error.trouble, Trouble::NotUnderstood);
        message[..8].copy_from_slice(&[2, 0, 0, 0, 0, 0, 5, 0]);
        assert_eq!(IcmpError::read(&message).unwrap().trouble, Trouble::TooBig(1280));
        message[0] = 128;
        assert_eq!(IcmpError::read(&message), None);
        message[0] = 1;
        assert_eq!(IcmpError::read(&message[..47]), None);
        message[8] = 0x45;
        assert_eq!(IcmpError::read(&message), None);
    }
}
