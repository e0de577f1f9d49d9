//! The ways that a node has, and their sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use rustix::event::epoll;

use super::{Node, Tools};
use crate::fleet::results::tell;
use crate::network::outer_socket;
use crate::path::Path;

impl Node {
    /// The one way that it has at the moment.
    pub(super) fn paths(&self, tools: &mut Tools) -> Vec<Path> {
        let Some(held) = self.held.last() else { return Vec::new() };
        let home_agents = held.home_agent.addresses();
        let towards = |care_of: IpAddr| {
            let same = |agent: &&SocketAddr| agent.is_ipv6() == care_of.is_ipv6();
            home_agents.iter().find(same).map(|agent| (care_of, *agent))
        };
        let listed: Vec<_> =
            tools.plan.care_of_addresses.iter().filter_map(|care_of| towards(*care_of)).collect();
        let at = self.number.wrapping_add(self.moves) as usize;
        let chosen = match at.checked_rem(listed.len()) {
            Some(at) => listed.get(at).copied(),
            None if tools.plan.care_of_addresses.is_empty() => {
                home_agents.iter().find_map(|agent| Some((tools.source(*agent)?, *agent)))
            }
            None => None,
        };
        let path = |(care_of, home_agent)| Path {
            interface: Arc::clone(&tools.interface),
            index: 0,
            epoch: self.moves,
            care_of,
            home_agent,
        };
        chosen.into_iter().map(path).collect()
    }

    pub(super) fn open_path(&mut self, tools: &mut Tools, path: Path) {
        let opened = open_socket(&path).and_then(|socket| {
            let token = epoll::EventData::new_u64(self.token);
            epoll::add(&tools.epoll, &socket, token, epoll::EventFlags::IN)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => self.open.push((path, socket)),
            Err(error) => tell(&mut tools.results.troubles, &format!("no socket: {error}")),
        }
    }
}

impl Tools {
    /// The address that the kernel sends from to a home agent.
    fn source(&mut self, home_agent: SocketAddr) -> Option<IpAddr> {
        if let Some(known) = self.sources.get(&home_agent) {
            return Some(*known);
        }
        let socket = outer_socket(home_agent, None, 0).ok()?;
        socket.connect(&home_agent.into()).ok()?;
        let source = socket.local_addr().ok()?.as_socket()?.ip();
        self.sources.insert(home_agent, source);
        Some(source)
    }
}

fn open_socket(path: &Path) -> io::Result<UdpSocket> {
    let socket = outer_socket(path.home_agent, None, 0)?;
    socket.bind(&SocketAddr::new(path.care_of, 0).into())?;
    socket.connect(&path.home_agent.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Sends; an ICMP error about an earlier packet is reported here, and the packet then not sent.
pub(super) fn send(socket: &UdpSocket, frame: &[u8]) -> bool {
    socket.send(frame).or_else(|_| socket.send(frame)).is_ok()
}
