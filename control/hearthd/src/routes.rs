//! The kernel's routes and addresses on their way into the dataplane's FIB.
//!
//! The FIB is built aside and swapped, which costs memory and milliseconds: changes are gathered
//! for a moment, and what the dataplane had no room for (an old FIB is freed only after the
//! workers have left it) is tried again until it fits.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hearth_dataplane::{PortId, Route, TableError, TableWriter};
use tracing::{error, info};

use crate::kernel::KernelRoute;

/// Least time between two builds.
const GATHER: Duration = Duration::from_millis(50);

/// How long the dataplane may refuse before that is an error to be told.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the dataplane does not have yet.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Option<Vec<Route>>,
    addresses: Option<Vec<IpAddr>>,
    built: Option<Instant>,
    refused: Option<Instant>,
    told: bool,
}

impl Routes {
    /// All routes, as they are now.
    pub fn set_routes(&mut self, routes: Vec<KernelRoute>) {
        let route = |route: KernelRoute| Route {
            prefix: route.prefix,
            port: PortId(route.port),
            gateway: route.gateway,
        };
        self.routes = Some(routes.into_iter().map(route).collect());
    }

    /// All addresses of the box, as they are now.
    pub fn set_addresses(&mut self, addresses: Vec<IpAddr>) {
        self.addresses = Some(addresses);
    }

    /// Hands over what is due at `now`.
    pub fn apply(&mut self, tables: &mut TableWriter, now: Instant) {
        if self.routes.is_none() && self.addresses.is_none()
            || self.built.is_some_and(|built| now.duration_since(built) < GATHER)
        {
            return;
        }
        self.built = Some(now);
        match self.build(tables) {
            Ok(()) => {
                if self.told {
                    info!("the routes are in the FIB again");
                }
                (self.refused, self.told) = (None, false);
            }
            Err(error) => {
                let since = *self.refused.get_or_insert(now);
                if !self.told && now.duration_since(since) > PATIENCE {
                    error!(%error, "the FIB keeps its old routes; raise eal.memory_mb");
                    self.told = true;
                }
            }
        }
    }

    fn build(&mut self, tables: &mut TableWriter) -> Result<(), TableError> {
        if let Some(routes) = &self.routes {
            tables.set_routes(routes)?;
            self.routes = None;
        }
        if let Some(addresses) = &self.addresses {
            tables.set_local_addresses(addresses)?;
            self.addresses = None;
        }
        Ok(())
    }
}
