//! What the state machine wants done, done.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Event, Node, OpenPath, RECEIVE_BUFFER, SETTLE};
use crate::bootstrap::Proposal;
use crate::care_of_addresses::{Action, BidUpdate, Way};
use crate::flows::FlowRule;
use crate::hac_client::{Failure, unix_now};
use crate::network::outer_socket;
use crate::path::Path;
use crate::signalling::{self, MAX_UPDATE, Wishes};
use crate::tun::{Addresses, mtu};
use crate::tunnel::{Carry, State, Worker};

impl Node {
    /// Does what the state machine wants; whether everything is over.
    pub(super) fn act(&mut self) -> bool {
        while let Some(action) = self.registration.action() {
            match action {
                Action::Open(path) => self.open_path(path),
                Action::Close(path) => drop(self.open.remove(&path)),
                Action::Send(update) => self.send(&update),
                Action::Probe(probe) => self.send_heartbeat(&probe),
                Action::Echo(path, spi) => self.send_echo(&path, spi),
                Action::Carry(ways) => {
                    self.ways = ways;
                    self.publish();
                }
                Action::Forget(spi) => {
                    self.held.retain(|held| held.sa.spi != spi);
                    self.publish();
                }
                Action::Bootstrap => self.bootstrap(),
                Action::Report(report) => self.report(report),
                Action::Stopped => {
                    self.leave_home();
                    self.show_stopped();
                    return true;
                }
            }
        }
        false
    }

    fn open_path(&mut self, path: Path) {
        let settled = self.settle(&path);
        let opened = settled.and_then(|()| open_socket(&path, self.config.table));
        let opened = opened.and_then(|socket| {
            let socket = Arc::new(socket);
            let tunnel = Arc::clone(&self.tunnel);
            let downlink = Worker::downlink(tunnel, Arc::clone(&socket), self.tun.device())?;
            Ok(OpenPath { socket, downlink })
        });
        match opened {
            Ok(open) => drop(self.open.insert(path, open)),
            Err(error) => {
                // The address may just have gone; the next look at the network will tell.
                tracing::warn!(%path, %error, "no socket for this care-of address");
                self.rescan_at.get_or_insert(Instant::now() + SETTLE);
            }
        }
    }

    fn send(&mut self, BidUpdate { update, bids, bound }: &BidUpdate) {
        let held = self.held.iter().find(|held| held.sa.spi == update.spi);
        let (Some(held), Some(open)) = (held, self.open.get(&update.path)) else { return };
        let mut buffer = [0; MAX_UPDATE];
        let iv = self.ivs.draw();
        // Every update says all of what is to be: a flow that it does not name is forgotten.
        let rules = self.config.flows.iter().filter(|rule| bound.contains(&rule.bid));
        let flows: Vec<_> = match update.lifetime {
            0 => Vec::new(),
            _ => rules.map(FlowRule::option).collect(),
        };
        let mobile_router = self.config.mobile_router.as_ref();
        let wishes = Wishes { mobile_router, bids, flows: &flows };
        let Some(len) = signalling::seal_update(update, &wishes, &held.sa, &iv, &mut buffer) else {
            tracing::error!(spi = %update.spi, "the SA has no sequence number left");
            return;
        };
        let frame = buffer.get(..len).unwrap_or_default();
        // The first attempt may only report an ICMP error about an earlier packet. A Binding
        // Update that is not sent is sent again by its timer.
        if let Err(error) = open.socket.send(frame).or_else(|_| open.socket.send(frame)) {
            tracing::warn!(path = %update.path, %error, "Binding Update not sent");
        }
    }

    /// Tells the data path of the current SAs, home addresses and way.
    pub(super) fn publish(&self) {
        let carry = |way: &Way| {
            let held = self.held.iter().find(|held| held.sa.spi == way.spi)?;
            let socket = Arc::clone(&self.open.get(&way.path)?.socket);
            Some(Carry { bid: way.bid, socket, sa: Arc::clone(&held.sa) })
        };
        let ways = self.ways.iter().filter_map(carry).collect();
        let homes = self.homes();
        let mobile_router = self.config.mobile_router.as_ref();
        let networks = mobile_router.map(|router| router.prefixes.clone()).unwrap_or_default();
        let flows = self.config.flows.clone();
        let associations = self.held.iter().map(|held| Arc::clone(&held.sa)).collect();
        let correspondents = self.correspondents();
        self.tunnel.publish(State { associations, ways, flows, homes, networks, correspondents });
    }

    /// The home addresses of all SAs that are held.
    pub(super) fn homes(&self) -> Vec<IpAddr> {
        let mut homes: Vec<IpAddr> = Vec::new();
        for held in &self.held {
            homes.push(held.sa.home_address.into());
            homes.extend(held.sa.home_address_ip4.map(IpAddr::from));
        }
        homes
    }

    /// Home addresses, routes and MTU as the binding's SA wants them.
    pub(super) fn configure_tun(&mut self) {
        let spi = self.registration.binding().map(|binding| binding.spi);
        let Some(held) = self.held.iter().find(|held| Some(held.sa.spi) == spi) else { return };
        let home_agent = held.home_agent.addresses().into_iter().map(|address| address.ip());
        let mut outside: Vec<IpAddr> = home_agent.chain([held.hac]).collect();
        outside.extend(&self.config.hac.addresses);
        outside.sort_unstable();
        outside.dedup();
        let home4 = held.sa.home_address_ip4.filter(|_| self.home4_bound);
        // Those of a family without a home address can't be reached.
        let dns: Vec<IpAddr> =
            held.dns.iter().copied().filter(|ip| ip.is_ipv6() || home4.is_some()).collect();
        let addresses = Addresses {
            home6: held.sa.home_address,
            home4,
            outside,
            dns: dns.clone(),
            mtu: mtu(held.sa.suite(), self.config.link_mtu),
        };
        match self.tun.configure(&addresses) {
            Ok(()) => {
                self.status.on_tunnel(addresses.home6, addresses.home4, addresses.mtu);
                self.hac.set_inner_dns(&dns);
                self.dns.want(&dns, &self.events);
            }
            Err(error) => {
                tracing::error!(%error, tun = self.config.tun, "the tunnel can't be set up");
                self.status.on_error(&format!("the tunnel can't be set up: {error}"));
            }
        }
    }

    fn bootstrap(&self) {
        let (config, hac) = (Arc::clone(&self.config), Arc::clone(&self.hac));
        let events = self.events.clone();
        let session = move || {
            let begin = Instant::now();
            // Read for each bootstrap: what was mended is used without a restart.
            let outcome = match config.auth.credentials(unix_now()) {
                Ok(credentials) => hac.bootstrap(Proposal {
                    mn_id: &config.mn_id,
                    credentials: &credentials,
                    suites: &config.suites,
                    scope: config.scope,
                }),
                Err(error) => {
                    Err(Failure { text: error.to_string(), retry_after: None, by_network: false })
                }
            };
            let _ = events.send(Event::Bootstrapped(outcome, begin.elapsed()));
        };
        tracing::info!(hac = %self.config.hac.name, "bootstraps");
        let thread = thread::Builder::new().name("bootstrap".to_owned()).spawn(session);
        if let Err(error) = thread {
            let text = format!("no thread for it: {error}");
            let failure = Failure { text, retry_after: None, by_network: false };
            let _ = self.events.send(Event::Bootstrapped(Err(failure), Duration::ZERO));
        }
    }
}

/// A socket from the path's care-of address to its home agent.
pub(super) fn open_socket(path: &Path, mark: u32) -> io::Result<UdpSocket> {
    let socket = outer_socket(path.home_agent, Some(&path.interface), mark)?;
    socket.bind(&SocketAddr::new(path.care_of, 0).into())?;
    socket.connect(&path.home_agent.into())?;
    // Beyond the system's limit where we may, up to it where we may not.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    Ok(socket.into())
}
