//! Accepts connections, as many as the limits allow.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tracing::{debug, warn};

use crate::config::Limits;
use crate::connection::{Service, Shared, serve};
use crate::counters::Counter;
use crate::sources::{Most, Rates, Sources};

/// Connections that the kernel holds ready for accept.
const BACKLOG: u32 = 1024;

/// Who may connect: shared by all listening sockets.
pub struct Admission {
    shared: Arc<Shared>,
    sources: Sources,
    rates: Rates,
    open: AtomicUsize,
}

impl Admission {
    /// Admission to the server that `shared` makes up.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        let limits = shared.limits.get();
        let sources = Sources::new(most(&limits));
        let (per_source, overall) = (limits.handshakes_per_source, limits.handshakes_per_second);
        let rates = Rates::new(per_source, overall, Instant::now());
        Arc::new(Self { shared, sources, rates, open: AtomicUsize::new(0) })
    }

    /// Goes by these limits from now on. Connections that are open go on.
    pub fn limit(&self, limits: Limits) {
        self.sources.limit(most(&limits));
        self.rates.limit(limits.handshakes_per_source, limits.handshakes_per_second);
        self.shared.limits.set(limits);
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// What the next connection gets; `None`: nothing. Beyond the limit an eighth more are told
    /// when to come back; the TLS handshakes of all others would cost more than they are worth.
    fn service(&self, open: usize) -> Option<Service> {
        let limit = self.shared.limits.get().connections;
        match open {
            open if open < limit => Some(Service::Full),
            open if open < limit + limit.div_ceil(8) => Some(Service::TurnAway),
            _ => None,
        }
    }
}

const fn most(limits: &Limits) -> Most {
    Most { of_source: limits.connections_per_source, of_site: limits.connections_per_site }
}

/// Listens on `address`. An IPv6 wildcard takes IPv6 only, so that an IPv4 one can stand beside it.
///
/// # Errors
/// The address is not ours, or taken.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts and serves until the task is cancelled. Connections go on after that.
pub async fn accept(listener: TcpListener, admission: Arc<Admission>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: some connection has to end first.
                if let Some(suppressed) = admission.shared.may_warn() {
                    warn!(%error, suppressed, "accept");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let shared = &admission.shared;
        shared.counters.count(Counter::Connections);
        let counted = admission.sources.admit(peer.ip());
        let (Some(counted), Some(service)) = (counted, admission.service(admission.open())) else {
            shared.counters.count(Counter::ConnectionsRefused);
            debug!(%peer, "refused: too many connections");
            continue;
        };
        if !admission.rates.admit(peer.ip(), Instant::now()) {
            shared.counters.count(Counter::HandshakesRefused);
            debug!(%peer, "refused: too many handshakes a second");
            continue;
        }
        let open = Open::new(admission.clone());
        tokio::spawn(async move {
            serve(stream, peer, service, &open.0.shared).await;
            drop(counted);
        });
    }
}

/// An open connection; dropping it takes it off the count.
struct Open(Arc<Admission>);

impl Open {
    fn new(admission: Arc<Admission>) -> Self {
        admission.open.fetch_add(1, Ordering::AcqRel);
        Self(admission)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
