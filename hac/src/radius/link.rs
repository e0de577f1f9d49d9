//! One socket, or one TLS connection, to a server, and the requests in flight on it: 256 at most,
//! because an Identifier has eight bits (RFC 2865 s.3).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::counters::Counter;
use super::packet::{Asked, MAX_PACKET, Response};
use super::server::Peer;

/// Identifiers.
const SLOTS: usize = 256;

/// How octets leave.
enum Wire {
    Datagram(UdpSocket),
    /// To the task that owns the TLS connection.
    Stream(mpsc::Sender<Vec<u8>>),
}

/// What became of an Identifier.
enum Slot {
    Free,
    /// Somebody's, who waits for nothing: not asked yet, or answered.
    Taken,
    Asked(Asked, oneshot::Sender<Response>),
}

struct Table {
    slots: Vec<Slot>,
    /// Where the search for a free one goes on: an Identifier rests as long as possible.
    next: usize,
}

/// The part of a link that its requests and its receiver share.
pub(super) struct Flight {
    table: Mutex<Table>,
    closed: AtomicBool,
}

impl Flight {
    pub(super) fn new(first: u8) -> Self {
        let slots = std::iter::repeat_with(|| Slot::Free).take(SLOTS).collect();
        Self {
            table: Mutex::new(Table { slots, next: first.into() }),
            closed: AtomicBool::new(false),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, identifier: u8, slot: Slot) {
        if let Some(place) = self.table().slots.get_mut(usize::from(identifier)) {
            *place = slot;
        }
    }

    fn take(&self) -> Option<u8> {
        let mut table = self.table();
        let from = table.next;
        let at = (from..from + SLOTS)
            .map(|at| at % SLOTS)
            .find(|at| matches!(table.slots.get(*at), Some(Slot::Free)))?;
        table.next = (at + 1) % SLOTS;
        *table.slots.get_mut(at)? = Slot::Taken;
        u8::try_from(at).ok()
    }

    /// Takes what came: an answer goes to who asked, everything else is dropped and counted. A
    /// forged packet does not end the wait for the true one.
    pub(super) fn hear(&self, octets: &[u8], peer: &Peer) {
        let Some(&identifier) = octets.get(1) else {
            return peer.counters.count(Counter::MalformedResponses);
        };
        let mut table = self.table();
        let Some(slot) = table.slots.get_mut(usize::from(identifier)) else { return };
        let Slot::Asked(asked, _) = slot else {
            return peer.counters.count(Counter::Unexpected);
        };
        match Response::judge(octets, asked, &peer.secret) {
            Ok(response) => {
                let code = asked.code;
                if let Slot::Asked(_, answer) = std::mem::replace(slot, Slot::Taken) {
                    drop(table);
                    peer.heard(code, response.code);
                    let _ = answer.send(response);
                }
            }
            Err(error) => peer.counters.count(error.into()),
        }
    }

    /// Nothing comes any more: whoever waits learns it at once.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for slot in &mut self.table().slots {
            if matches!(slot, Slot::Asked(..)) {
                *slot = Slot::Taken;
            }
        }
    }
}

/// A task that ends with its owner.
pub(super) struct Task(pub(super) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A socket or connection.
pub(super) struct Link {
    flight: Arc<Flight>,
    wire: Arc<Wire>,
    _receiver: Task,
}

impl Link {
    /// A UDP socket with a port of the kernel's choice.
    pub(super) async fn datagram(
        address: SocketAddr,
        peer: Arc<Peer>,
        first: u8,
    ) -> io::Result<Self> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        let (flight, wire) = (Arc::new(Flight::new(first)), Arc::new(Wire::Datagram(socket)));
        let receiver = tokio::spawn(receive(wire.clone(), flight.clone(), peer));
        Ok(Self { flight, wire, _receiver: Task(receiver) })
    }

    /// A TLS connection that `task` owns: it sends what comes out of the other end of `sender`, and
    /// closes `flight` when it ends.
    pub(super) fn stream(
        flight: Arc<Flight>,
        sender: mpsc::Sender<Vec<u8>>,
        task: JoinHandle<()>,
    ) -> Self {
        Self { flight, wire: Arc::new(Wire::Stream(sender)), _receiver: Task(task) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.flight.closed.load(Ordering::Acquire)
    }

    /// An Identifier that nobody uses.
    pub(super) fn take(&self) -> Option<Ticket> {
        let identifier = self.flight.take()?;
        Some(Ticket { flight: self.flight.clone(), wire: self.wire.clone(), identifier })
    }
}

/// An Identifier of a link; free again once it is dropped.
pub(super) struct Ticket {
    flight: Arc<Flight>,
    wire: Arc<Wire>,
    pub(super) identifier: u8,
}

impl Ticket {
    /// From now on the answer is waited for.
    pub(super) fn ask(&self, asked: Asked) -> oneshot::Receiver<Response> {
        let (answer, answered) = oneshot::channel();
        if !self.flight.closed.load(Ordering::Acquire) {
            self.flight.set(self.identifier, Slot::Asked(asked, answer));
        }
        answered
    }

    /// Sends, once. What does not leave is as lost as what does not arrive.
    pub(super) async fn send(&self, octets: &[u8]) {
        match &*self.wire {
            Wire::Datagram(socket) => drop(socket.send(octets).await),
            Wire::Stream(sender) => drop(sender.send(octets.to_vec()).await),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.flight.set(self.identifier, Slot::Free);
    }
}

async fn receive(wire: Arc<Wire>, flight: Arc<Flight>, peer: Arc<Peer>) {
    let Wire::Datagram(socket) = &*wire else { return };
    // One octet more than a packet may have: what is longer is seen to be.
    let mut buffer = vec![0; MAX_PACKET + 1];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(len) => flight.hear(buffer.get(..len).unwrap_or_default(), &peer),
            // An ICMP error. Anybody can forge one, so it proves nothing.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
