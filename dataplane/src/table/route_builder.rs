//! Routes built on a thread of their own.
//!
//! Building both tables takes 32 MiB at least and, with a hundred thousand routes, hundreds of
//! milliseconds; freeing them takes about as long. Neither is for the control thread: it publishes
//! what this builder has built, by pointer, and what that replaced comes back here to be freed.

use core::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender};

use hearth_dpdk::Eal;

use crate::config::{Route, TableError};
use crate::table::fib::Routes;

/// Builds routes for [`TableWriter::publish_routes`](crate::TableWriter::publish_routes).
pub struct RouteBuilder {
    pub(crate) eal: Eal,
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) ports: u16,
    pub(crate) max_routes: usize,
    /// What the writer has no more use for.
    pub(crate) retired: Receiver<Box<Routes>>,
}

/// Routes that wait to be published.
pub struct BuiltRoutes(pub(crate) Routes);

impl RouteBuilder {
    /// Builds the routes, with the box's own addresses and the home prefixes among them, as
    /// [`Config::home_prefixes`](crate::Config::home_prefixes) says. What is `blocked` leads nowhere:
    /// prefixes that the operator keeps shorter routes from.
    ///
    /// # Errors
    /// [`TableError::Full`], [`TableError::Route`], [`TableError::Dpdk`].
    pub fn build(
        &mut self,
        routes: &[Route],
        blocked: &[(IpAddr, u8)],
        local: &[IpAddr],
        home_prefixes: &[(IpAddr, u8)],
    ) -> Result<BuiltRoutes, TableError> {
        // First: their memory may be what these need.
        self.free_retired();
        if routes.iter().any(|route| route.port.0 >= self.ports) {
            return Err(TableError::Route);
        }
        if routes.len() + blocked.len() + local.len() > self.max_routes {
            return Err(TableError::Full);
        }
        self.generation += 1;
        let name = format!("{}_b{}", self.name, self.generation);
        Routes::build(&self.eal, &name, routes, (local, home_prefixes, blocked)).map(BuiltRoutes)
    }

    /// Frees what was replaced and no worker uses any more. [`Self::build`] does it too.
    pub fn free_retired(&mut self) {
        while let Ok(routes) = self.retired.try_recv() {
            drop(routes);
        }
    }
}

/// Where replaced routes go: to the builder, if there is one and it lives.
#[derive(Default)]
pub(crate) struct Bin(Option<Sender<Box<Routes>>>);

impl Bin {
    pub(crate) fn to(sender: Sender<Box<Routes>>) -> Self {
        Self(Some(sender))
    }

    /// Takes the routes; they are freed here where there is nobody else to do it.
    pub(crate) fn take(&self, routes: Box<Routes>) {
        if let Some(builder) = &self.0 {
            drop(builder.send(routes));
        }
    }
}
