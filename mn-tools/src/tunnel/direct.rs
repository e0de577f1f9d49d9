//! Packets to and from correspondents that do without the home agent.
//!
//! Read first: RFC 6275 s.6.3, 6.4, 9.3.2, 11.3.1, 11.3.3.
//!
//! ```text
//!   TUN  -> IPv6 from the home address     -> IPv6 from the care-of address | Home Address option | ...
//!   TUN  <- IPv6 to the home address       <- IPv6 to the care-of address | type 2 routing header | ...
//! ```
//!
//! Checksums of upper layers are over the home address in both forms, so they stay as they are.
//! What can't be sent directly goes through the tunnel.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_wire::exthdr;
use hearth_wire::ip::Ipv6Header;
use hearth_wire::mh;
use ipnet::Ipv6Net;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use zerocopy::IntoBytes as _;

use super::{DropReason, Event, Inner, Tunnel, View};
use crate::network::mark;
use crate::route_optimisation::{By, IcmpError, Route, Traffic};

/// Octets that a packet grows by: a Destination Options header with a Home Address option.
pub(super) const GROWTH: usize = 24;
const HEADER: usize = Ipv6Header::LEN;
const ICMPV6: i32 = 58;
/// Hop limit of what comes directly, for the few hops that may be left here.
const HOP_LIMIT: u8 = 64;
/// Mobility Headers and ICMP errors that the control thread hears of within a second.
const TOLD_PER_SECOND: u32 = 64;
const SECOND: Duration = Duration::from_secs(1);

/// What the threads know of correspondents.
#[derive(Debug, Clone, Default)]
pub struct Correspondents {
    /// The home address; `None`: there is no route optimisation.
    pub home: Option<Ipv6Addr>,
    /// Whose first packet is to be told.
    pub wanted: Vec<Ipv6Net>,
    /// Those that are known.
    pub routes: HashMap<Ipv6Addr, Route>,
    /// How packets leave directly, where they can.
    pub way: Option<Arc<Sockets>>,
}

/// How one correspondent is reached.
pub(super) struct DirectWay<'a> {
    sockets: &'a Sockets,
    correspondent: Ipv6Addr,
    mtu: usize,
    traffic: &'a Traffic,
}

impl Correspondents {
    /// The direct way for a packet, if there is one. A destination that is to be told is put into
    /// `unknown`.
    pub(super) fn way(
        &self,
        inner: &Inner,
        unknown: &mut Option<Ipv6Addr>,
    ) -> Option<DirectWay<'_>> {
        let (IpAddr::V6(source), IpAddr::V6(correspondent)) = (inner.source, inner.destination)
        else {
            return None;
        };
        // RFC 3963 s.2: only for the home address, not for mobile networks.
        if Some(source) != self.home || inner.mh_type.is_some() {
            return None;
        }
        let Some(route) = self.routes.get(&correspondent) else {
            if self.wanted.iter().any(|prefix| prefix.contains(&correspondent)) {
                *unknown = Some(correspondent);
            }
            return None;
        };
        let sockets = self.way.as_deref().filter(|_| route.direct)?;
        let named = route.mtu.and_then(|mtu| usize::try_from(mtu).ok());
        let mtu = named.unwrap_or(usize::MAX);
        Some(DirectWay { sockets, correspondent, mtu, traffic: &route.traffic })
    }

    fn is_known(&self, correspondent: Ipv6Addr) -> bool {
        self.routes.contains_key(&correspondent)
    }
}

impl DirectWay<'_> {
    /// Sends the packet that stands in `room` behind [`GROWTH`] octets. Where it is not sent, it stands
    /// there unchanged: the tunnel takes it.
    pub(super) fn send(&self, room: &mut [u8]) -> bool {
        let Some(kept) = room.get(GROWTH..).and_then(|packet| packet.first_chunk::<HEADER>())
        else {
            return false;
        };
        let kept = *kept;
        let sent = room.len() <= self.mtu
            && lay(room, self.sockets.address).is_some()
            && self.sockets.send(room, self.correspondent).is_ok();
        if sent {
            self.traffic.count_sent();
        } else if let Some(place) = room.get_mut(GROWTH..GROWTH + HEADER) {
            place.copy_from_slice(&kept);
        }
        sent
    }
}

/// Makes a packet from the home address, [`GROWTH`] octets into `room`, one from the care-of address.
/// Hop-by-hop options and routing headers would have to stay in front (RFC 6275 s.6.3): such packets
/// have the tunnel.
fn lay(room: &mut [u8], care_of: Ipv6Addr) -> Option<()> {
    const HOP_BY_HOP: u8 = 0;
    let mut header: [u8; HEADER] = *room.get(GROWTH..)?.first_chunk()?;
    let home: [u8; 16] = header.get(8..24)?.try_into().ok()?;
    let [_, _, _, _, len @ .., next_header, _] = header.first_chunk_mut::<8>()?;
    if matches!(*next_header, HOP_BY_HOP | exthdr::ROUTING) {
        return None;
    }
    let growth = u16::try_from(GROWTH).ok()?;
    *len = u16::from_be_bytes(*len).checked_add(growth)?.to_be_bytes();
    let option = exthdr::home_address_header(*next_header, home.into());
    *next_header = exthdr::DESTINATION_OPTIONS;
    header.get_mut(8..24)?.copy_from_slice(&care_of.octets());
    room.get_mut(..HEADER)?.copy_from_slice(&header);
    room.get_mut(HEADER..HEADER + GROWTH)?.copy_from_slice(&option);
    Some(())
}

/// Sockets of one address of ours that see what UDP does not.
#[derive(Debug)]
pub struct Sockets {
    address: Ipv6Addr,
    /// Whole packets out.
    out: Socket,
    /// In: routing headers, Mobility Headers, ICMPv6.
    routed: Socket,
    mobility: Socket,
    icmp: Socket,
}

impl Sockets {
    /// Opens them for `address` on `interface`; their packets carry this firewall mark.
    ///
    /// # Errors
    /// As the kernel says; they need CAP_NET_RAW.
    pub fn open(address: Ipv6Addr, interface: &str, fwmark: u32) -> io::Result<Self> {
        let open = |protocol: i32| -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(protocol)))?;
            mark(&socket, fwmark)?;
            socket.bind_device(Some(interface.as_bytes()))?;
            socket.bind(&SocketAddrV6::new(address, 0, 0, 0).into())?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        // IPPROTO_RAW: what is sent begins with its IPv6 header.
        let out = open(255)?;
        let routed = open(i32::from(exthdr::ROUTING))?;
        // A router may have marked what comes (RFC 3168).
        let _ = routed.set_recv_tclass_v6(true);
        let (mobility, icmp) = (open(i32::from(mh::PROTO))?, open(ICMPV6)?);
        Ok(Self { address, out, routed, mobility, icmp })
    }

    /// The address that they are bound to.
    #[must_use]
    pub const fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Sends a whole IPv6 packet.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn send(&self, packet: &[u8], to: Ipv6Addr) -> io::Result<()> {
        let to: SockAddr = SocketAddrV6::new(to, 0, 0, 0).into();
        self.out.send_to(packet, &to).map(drop)
    }

    /// What brings something in.
    pub(super) const fn inward(&self) -> [&Socket; 3] {
        [&self.routed, &self.mobility, &self.icmp]
    }
}

/// One thread's work on what comes directly.
pub(super) struct Inward {
    view: View,
    sockets: Arc<Sockets>,
    /// Room for one packet, and an IPv6 header in front of it.
    buffer: Vec<u8>,
    /// Since when, and how often, the control thread was told.
    told: (Instant, u32),
}

impl Inward {
    pub(super) fn new(tunnel: Arc<Tunnel>, sockets: Arc<Sockets>) -> Self {
        let buffer = vec![0; HEADER + 65_536];
        Self { view: View::new(tunnel), sockets, buffer, told: (Instant::now(), 0) }
    }

    /// Takes one packet of each kind, and hands data to `write`.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing.
    pub(super) fn carry(
        &mut self,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let sockets = Arc::clone(&self.sockets);
        let mut outcome = Err(io::ErrorKind::WouldBlock.into());
        // Its payload comes to stand where that of an IPv6 packet stands.
        let room = self.buffer.get_mut(HEADER - GROWTH..).unwrap_or_default();
        if let Ok((len, from, class)) = receive(&sockets.routed, room) {
            outcome = Ok(());
            if let Err(reason) = self.on_routed(len, from, class, write) {
                self.view.tunnel.counters.drop(reason);
            }
        }
        if let Ok((len, from, _)) = receive(&sockets.mobility, &mut self.buffer) {
            outcome = Ok(());
            let header = self.buffer.get(..len).unwrap_or_default().to_vec();
            // At home there is no other way for what belongs to the home address.
            let to = sockets.address;
            let home = self.view.state().correspondents.home;
            let by = if home == Some(to) { By::Home } else { By::CareOf };
            self.tell_of(from, Event::Mobility { from, to, by, header });
        }
        if let Ok((len, ..)) = receive(&sockets.icmp, &mut self.buffer) {
            outcome = Ok(());
            let message = self.buffer.get(..len).unwrap_or_default();
            if let Some(error) = IcmpError::read(message) {
                self.tell_of(error.destination, Event::Icmp(error));
            }
        }
        outcome
    }

    /// RFC 6275 s.6.4, 11.3.3: the routing header must name our home address.
    fn on_routed(
        &mut self,
        len: usize,
        from: Ipv6Addr,
        class: u8,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Result<(), DropReason> {
        let state = Arc::clone(self.view.state());
        let Correspondents { home: Some(home), routes, .. } = &state.correspondents else {
            return Err(DropReason::CorrespondentUnknown);
        };
        // Only those that were told the care-of address.
        let route = routes.get(&from).ok_or(DropReason::CorrespondentUnknown)?;
        let packet = self.buffer.get(HEADER - GROWTH..HEADER - GROWTH + len);
        let packet = packet.ok_or(DropReason::InnerLength)?;
        let (next_header, named, rest) =
            exthdr::split_routing_header(packet).map_err(|_| DropReason::RoutingHeader)?;
        if named != *home {
            return Err(DropReason::RoutingHeader);
        }
        if next_header == mh::PROTO {
            let (to, by, header) = (*home, By::CareOf, rest.to_vec());
            self.tell_of(from, Event::Mobility { from, to, by, header });
            return Ok(());
        }
        let header = Ipv6Header::new(from, *home, next_header, HOP_LIMIT, rest.len());
        let mut header = header.ok_or(DropReason::InnerLength)?;
        header.set_traffic_class(class);
        // The routing header gives way to the end of an IPv6 header.
        let packet = self.buffer.get_mut(..HEADER - GROWTH + len).ok_or(DropReason::InnerLength)?;
        header.write_to_prefix(packet).map_err(|_| DropReason::InnerLength)?;
        write(packet).map_err(|_| DropReason::TunFailed)?;
        route.traffic.count_received();
        self.view.tunnel.counters.direct_downlink.count(1, packet.len());
        Ok(())
    }

    /// Tells the control thread what is about a known correspondent, and not too often.
    fn tell_of(&mut self, correspondent: Ipv6Addr, event: Event) {
        let now = Instant::now();
        if now.duration_since(self.told.0) >= SECOND {
            self.told = (now, 0);
        }
        self.told.1 = self.told.1.saturating_add(1);
        let known = self.view.state().correspondents.is_known(correspondent);
        if known && self.told.1 <= TOLD_PER_SECOND {
            self.view.tunnel.tell(event);
        }
    }
}

/// What came: its length, from whom, and its traffic class where the socket tells that.
fn receive(socket: &Socket, room: &mut [u8]) -> io::Result<(usize, Ipv6Addr, u8)> {
    let mut parts = [IoSliceMut::new(room)];
    let mut control = nix::cmsg_space!(i32);
    let fd = socket.as_raw_fd();
    let message =
        recvmsg::<SockaddrIn6>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let mut class = 0;
    for said in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::Ipv6TClass(said) = said {
            class = u8::try_from(said & 0xff).unwrap_or_default();
        }
    }
    let from = message.address.map(|address| address.ip());
    Ok((message.bytes, from.ok_or(io::ErrorKind::InvalidData)?, class))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 7);
    const CARE_OF: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 6, 0, 0, 0, 0, 0x100);
    const CN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);

    fn room(next_header: u8) -> Vec<u8> {
        let mut header = Ipv6Header::new(HOME, CN, next_header, 63, 3).unwrap();
        header.set_traffic_class(0xb9);
        [&[0; GROWTH][..], header.as_bytes(), b"abc"].concat()
    }

    #[test]
    fn the_home_address_moves_into_an_option() {
        let mut room = room(17);
        lay(&mut room, CARE_OF).unwrap();
        let (header, payload) = Ipv6Header::parse(&room).unwrap();
        assert_eq!((header.source(), header.destination()), (CARE_OF, CN));
        assert_eq!((header.next_header, header.hop_limit, header.traffic_class()), (60, 63, 0xb9));
        assert_eq!(payload, [&exthdr::home_address_header(17, HOME)[..], b"abc"].concat());
    }

    #[test]
    fn what_would_have_to_stay_in_front_has_the_tunnel() {
        for next_header in [0, 43] {
            assert_eq!(lay(&mut room(next_header), CARE_OF), None);
        }
        assert_eq!(lay(&mut [0; GROWTH + HEADER - 1], CARE_OF), None);
    }

    #[test]
    fn only_what_comes_from_the_home_address_and_is_no_signalling_goes_directly() {
        let mut state = Correspondents {
            home: Some(HOME),
            wanted: vec!["2001:db8:c::/64".parse().unwrap()],
            ..Correspondents::default()
        };
        let unknown = |state: &Correspondents, packet: &[u8]| {
            let mut unknown = None;
            assert!(state.way(&Inner::read(packet).unwrap(), &mut unknown).is_none());
            unknown
        };
        assert_eq!(unknown(&state, &room(17)[GROWTH..]), Some(CN));
        assert_eq!(unknown(&state, &room(mh::PROTO)[GROWTH..]), None);
        let other = Ipv6Header::new(CARE_OF, CN, 17, 64, 0).unwrap();
        assert_eq!(unknown(&state, other.as_bytes()), None);
        // Known, but without a binding.
        let traffic = Arc::default();
        let route = Route { correspondent: CN, direct: false, mtu: None, traffic };
        state.routes.insert(CN, route);
        assert_eq!(unknown(&state, &room(17)[GROWTH..]), None);
    }
}
