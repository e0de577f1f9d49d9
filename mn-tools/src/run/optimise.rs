//! Route optimisation done: its messages sent, its routes in the data path, its state shown.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_wire::frame::PType;

use super::Node;
use crate::association::SecurityAssociation;
use crate::route_optimisation::{Action, By, Place, RouteOptimisation};
use crate::signalling::MAX_UPDATE;
use crate::tunnel::{Correspondents, Sockets, Worker};

/// Next Header of an IPv6 packet.
const IPV6: u8 = 41;
/// How long the end waits for correspondents to forget this node.
const FAREWELL: Duration = Duration::from_secs(1);

/// The sockets of the address that correspondents are spoken to from. The thread ends before they close.
pub(super) struct Outside {
    address: Ipv6Addr,
    index: u32,
    sockets: Arc<Sockets>,
    _inward: Worker,
}

impl Node {
    /// Looks where the node is, and does what route optimisation wants.
    pub(super) fn optimise(&mut self, now: Instant) {
        if self.optimisation.is_none() {
            return;
        }
        let before = self.optimisation.as_ref().map(RouteOptimisation::place);
        let (place, mut changed) = self.reopen();
        let Some(optimisation) = &mut self.optimisation else { return };
        optimisation.on_place(place, now);
        if optimisation.deadline().is_some_and(|at| at <= now) {
            optimisation.on_timer(now);
        }
        changed |= before != Some(place);
        let mut sends = Vec::new();
        while let Some(action) = optimisation.action() {
            match action {
                Action::Routes => changed = true,
                Action::Send(by, packet) => sends.push((by, packet)),
                Action::Optimised(correspondent, care_of, lifetime) => {
                    let lifetime_s = lifetime.as_secs();
                    tracing::info!(%correspondent, %care_of, lifetime_s, "route optimised");
                }
                Action::LeftAlone(correspondent, why) => {
                    let why = why.name();
                    tracing::info!(%correspondent, why, "no route optimisation; by the tunnel");
                }
            }
        }
        // Back to the tunnel before anybody hears of it.
        if changed {
            self.publish();
        }
        for (by, packet) in sends {
            self.send_to_correspondent(by, &packet);
        }
    }

    /// The place, with sockets for the address that is in use there: the care-of address, or the home
    /// address on the home link. And whether they are others than before.
    fn reopen(&mut self) -> (Place, bool) {
        let spi = self.registration.binding().map(|binding| binding.spi);
        let held = self.held.iter().find(|held| Some(held.sa.spi) == spi).or(self.held.last());
        let home = held.map(|held| held.sa.home_address);
        let away = self.ways.first().map(|way| &way.path);
        let at_home = self.registration.is_at_home();
        let door = match (away, &self.stay) {
            (Some(path), _) if !at_home => match path.care_of {
                IpAddr::V6(care_of) => Some((care_of, path.index, path.interface.to_string())),
                IpAddr::V4(_) => None,
            },
            (_, Some(stay)) if at_home => Some(stay.door()),
            _ => None,
        };
        let wanted = door.as_ref().map(|(address, index, _)| (*address, *index));
        let open = self.outside.as_ref().map(|it| (it.address, it.index));
        if wanted != open {
            self.outside = None;
            if let Some((address, index, interface)) = door {
                self.outside = self.open_outside(address, index, &interface);
            }
        }
        let outside = self.outside.as_ref().map(|it| it.address);
        let care_of = outside.filter(|address| Some(*address) != home && !at_home);
        (Place { home, care_of }, wanted != open)
    }

    fn open_outside(&self, address: Ipv6Addr, index: u32, interface: &str) -> Option<Outside> {
        let opened = Sockets::open(address, interface, self.config.table).and_then(|sockets| {
            let sockets = Arc::new(sockets);
            let tunnel = Arc::clone(&self.tunnel);
            let inward = Worker::inward(tunnel, Arc::clone(&sockets), self.tun.device())?;
            Ok(Outside { address, index, sockets, _inward: inward })
        });
        match opened {
            Ok(outside) => Some(outside),
            Err(error) => {
                tracing::warn!(%address, interface, %error, "no route optimisation from here");
                None
            }
        }
    }

    /// What the data path is to know.
    pub(super) fn correspondents(&self) -> Correspondents {
        let Some(optimisation) = &self.optimisation else { return Correspondents::default() };
        let routes = optimisation.routes().map(|route| (route.correspondent, route)).collect();
        Correspondents {
            home: optimisation.place().home,
            wanted: optimisation.wanted().to_vec(),
            routes,
            way: self.outside.as_ref().map(|it| Arc::clone(&it.sockets)),
        }
    }

    /// What is not sent is sent again by its timer.
    fn send_to_correspondent(&mut self, by: By, packet: &[u8]) {
        let direct = by == By::CareOf || self.registration.is_at_home();
        let sent = if direct { self.send_outside(packet) } else { self.send_inside(packet) };
        if sent.is_none() {
            tracing::debug!(?by, "message to a correspondent not sent");
        }
    }

    fn send_outside(&self, packet: &[u8]) -> Option<()> {
        let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
        self.outside.as_ref()?.sockets.send(packet, to.into()).ok()
    }

    /// RFC 6618 s.7, RFC 6275 s.10.4.6: protected, whatever the SA's scope.
    fn send_inside(&mut self, packet: &[u8]) -> Option<()> {
        let way = self.ways.first()?;
        let held = self.held.iter().find(|held| held.sa.spi == way.spi)?;
        let open = self.open.get(&way.path)?;
        let mut buffer = [0; MAX_UPDATE];
        let len = seal_packet(&held.sa, packet, &self.ivs.draw(), &mut buffer)?;
        let frame = buffer.get(..len)?;
        open.socket.send(frame).or_else(|_| open.socket.send(frame)).ok().map(drop)
    }

    /// De-registers: from correspondents first, as their answers come through the tunnel.
    pub(super) fn take_leave(&mut self, now: Instant) {
        if let Some(optimisation) = &mut self.optimisation {
            optimisation.on_stop(now);
        }
        self.farewell = Some(now + FAREWELL);
    }

    /// Goes on with the end once correspondents know, or do not answer; whether it has just done so.
    pub(super) fn goes_on_leaving(&mut self, now: Instant) -> bool {
        let known = self.optimisation.as_ref().is_none_or(RouteOptimisation::is_done);
        let goes = self.farewell.is_some_and(|until| until <= now || known);
        if goes {
            self.farewell = None;
            self.registration.on_stop(now);
        }
        goes
    }
}

/// A protected IPv6 packet from the home address.
fn seal_packet(
    sa: &SecurityAssociation,
    packet: &[u8],
    iv: &[u8; 16],
    buf: &mut [u8; MAX_UPDATE],
) -> Option<usize> {
    let at = sa.outbound.payload_offset();
    buf.get_mut(at..at + packet.len())?.copy_from_slice(packet);
    let id = (PType::ProtectedData, sa.spi, sa.draw()?);
    sa.outbound.seal(buf, packet.len(), id, IPV6, iv)
}
