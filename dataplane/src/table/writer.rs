//! The one writer of the tables, in the control thread.
//!
//! What a pointer leads to is written before the pointer is published, so that workers never see an
//! entry by halves. A change may take several publications, each of which is sound alone: binding a
//! mobile node points its two home addresses, its prefixes and its SAs to the new entry one after
//! another. What was replaced is kept until a grace period has passed ([`TableWriter::reclaim`]).

mod bindings;
mod links;
mod sas;

use core::net::{IpAddr, Ipv6Addr};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, mpsc};

use hearth_dpdk::{Eal, HashWriter, MultiBuffer, Qsbr, Token};

use crate::config::{BuildError, Config, PortId, Route, TableError};
use crate::sa::session::Sessions;
use crate::table::fib::Routes;
use crate::table::grace::{FreeList, Retired};
use crate::table::neighbour::{self, KEY_LEN};
use crate::table::prefix::PrefixBook;
use crate::table::route_builder::{Bin, BuiltRoutes, RouteBuilder};
use crate::table::shared::{Tables, binding_cells};
use bindings::{NewPrefixes, Unusual};

/// Writes the tables that workers read.
pub struct TableWriter {
    tables: Arc<Tables>,
    eal: Eal,
    qsbr: Qsbr,
    crypto: MultiBuffer<'static>,
    /// Of the crypto device, where one is configured.
    sessions: Option<Sessions>,
    neighbours: HashWriter<KEY_LEN>,
    /// Home addresses that are bound: which, and where their entries are, the tables say.
    bound: usize,
    /// Those of which more is to be remembered, by home address.
    unusual: HashMap<Ipv6Addr, Unusual>,
    macs: HashMap<[u8; KEY_LEN], u32>,
    free_bindings: FreeList,
    prefixes: PrefixBook,
    free_fans: FreeList,
    /// Prefixes that are new since the next hops of care-of addresses were last called into question.
    new_prefixes: NewPrefixes,
    free_macs: FreeList,
    max_bindings: usize,
    max_routes: usize,
    ports: u16,
    routes: Vec<Route>,
    local: Vec<IpAddr>,
    home_prefixes: Vec<(IpAddr, u8)>,
    /// For replaced routes.
    bin: Bin,
    /// SA slots whose keys a worker may still use.
    draining: HashSet<u32>,
    guarded: links::Guarded,
    /// Retired since the last reclaim.
    fresh: Vec<Retired>,
    /// Retired before a grace period that is under way.
    waiting: VecDeque<(Token, Vec<Retired>)>,
    /// Tells this writer's DPDK objects from others'; counts route generations.
    name: String,
    generation: u64,
}

/// What a writer is made of.
pub(crate) struct WriterParts<'a> {
    pub(crate) tables: Arc<Tables>,
    pub(crate) eal: &'a Eal,
    pub(crate) qsbr: Qsbr,
    pub(crate) config: &'a Config,
    pub(crate) ports: u16,
    /// Not used by another dataplane of this process; at most 8 characters.
    pub(crate) name: String,
    pub(crate) sessions: Option<Sessions>,
}

impl TableWriter {
    pub(crate) fn new(parts: WriterParts<'_>) -> Result<Self, BuildError> {
        let WriterParts { tables, eal, qsbr, config, ports, name, sessions } = parts;
        let hash = |_| BuildError::Dpdk("a hash table");
        Ok(Self {
            neighbours: HashWriter::new(
                eal,
                &format!("{name}_nb"),
                config.max_neighbours.max(64),
                &qsbr,
            )
            .map_err(hash)?,
            crypto: MultiBuffer::new().map_err(|_| BuildError::Crypto)?,
            sessions,
            tables,
            eal: eal.clone(),
            qsbr,
            bound: 0,
            unusual: HashMap::new(),
            macs: HashMap::new(),
            free_bindings: FreeList::new(binding_cells(config)),
            prefixes: PrefixBook::new(config.max_prefixes as usize, binding_cells(config)),
            free_fans: FreeList::new(binding_cells(config)),
            new_prefixes: NewPrefixes::None,
            free_macs: FreeList::new(config.max_neighbours),
            max_bindings: config.max_bindings as usize,
            max_routes: config.max_routes as usize,
            ports,
            routes: Vec::new(),
            local: Vec::new(),
            home_prefixes: config.home_prefixes.clone(),
            bin: Bin::default(),
            draining: HashSet::new(),
            guarded: links::Guarded::default(),
            fresh: Vec::new(),
            waiting: VecDeque::new(),
            name,
            generation: 0,
        })
    }

    pub(crate) const fn neighbours(&self) -> &HashWriter<KEY_LEN> {
        &self.neighbours
    }

    /// Replaces all routes. Both tables are built anew: collect changes for some milliseconds
    /// rather than call this for each.
    ///
    /// # Errors
    /// [`TableError::Full`], [`TableError::Route`], [`TableError::Dpdk`]; the old routes stay then.
    pub fn set_routes(&mut self, routes: &[Route]) -> Result<(), TableError> {
        if routes.iter().any(|route| route.port.0 >= self.ports) {
            return Err(TableError::Route);
        }
        let local = core::mem::take(&mut self.local);
        let built = self.build(routes, &local);
        self.local = local;
        self.publish(built?);
        self.routes = routes.to_vec();
        Ok(())
    }

    /// Replaces the list of the box's own addresses; packets to them go to the kernel, except
    /// envelopes to the service port.
    ///
    /// # Errors
    /// [`TableError::Full`], [`TableError::Dpdk`]; the old addresses stay then.
    pub fn set_local_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), TableError> {
        let routes = core::mem::take(&mut self.routes);
        let built = self.build(&routes, addresses);
        self.routes = routes;
        self.publish(built?);
        self.local = addresses.to_vec();
        Ok(())
    }

    fn build(&mut self, routes: &[Route], local: &[IpAddr]) -> Result<Routes, TableError> {
        if routes.len() + local.len() > self.max_routes {
            return Err(TableError::Full);
        }
        self.generation += 1;
        let name = format!("{}_r{}", self.name, self.generation);
        Routes::build(&self.eal, &name, routes, (local, &self.home_prefixes, &[]))
    }

    /// A builder for another thread; what it has built is then published with
    /// [`Self::publish_routes`], which goes past [`Self::set_routes`] and
    /// [`Self::set_local_addresses`]: use the one or the others. Once.
    pub fn route_builder(&mut self) -> RouteBuilder {
        let (sender, retired) = mpsc::channel();
        self.bin = Bin::to(sender);
        RouteBuilder {
            eal: self.eal.clone(),
            name: self.name.clone(),
            generation: 0,
            ports: self.ports,
            max_routes: self.max_routes,
            retired,
        }
    }

    /// Lets workers look up destinations in what was built, from now on.
    pub fn publish_routes(&mut self, built: BuiltRoutes) {
        self.publish(built.0);
    }

    fn publish(&mut self, routes: Routes) {
        if let Some(old) = self.tables.swap_routes(routes) {
            self.fresh.push(Retired::Routes(old));
        }
    }

    /// Sets or clears the MAC address of a neighbour.
    ///
    /// # Errors
    /// [`TableError::Full`].
    pub fn set_neighbour(
        &mut self,
        port: PortId,
        address: IpAddr,
        mac: Option<[u8; 6]>,
    ) -> Result<(), TableError> {
        let key = neighbour::key(port, address);
        match (self.macs.get(&key).copied(), mac) {
            (Some(index), Some(mac)) => self.tables.macs.set(index, port, mac),
            (Some(index), None) => {
                self.neighbours.remove(&key);
                self.macs.remove(&key);
                self.tables.next_hops_changed();
                self.fresh.push(Retired::Mac(index));
            }
            (None, Some(mac)) => {
                let index = self.free_macs.take().ok_or(TableError::Full)?;
                self.tables.macs.set(index, port, mac);
                if self.neighbours.insert(&key, index).is_err() {
                    self.free_macs.give(index);
                    return Err(TableError::Full);
                }
                self.macs.insert(key, index);
                self.tables.next_hops_changed();
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Whether workers know the link-layer address of a neighbour.
    #[must_use]
    pub fn knows_neighbour(&self, port: PortId, address: IpAddr) -> bool {
        self.macs.contains_key(&neighbour::key(port, address))
    }

    /// Frees what no worker can be using any more, and starts the next grace period. To be called
    /// about every 10 ms, and at least before an SPI is used again.
    pub fn reclaim(&mut self) {
        self.question_next_hops();
        while let Some((token, _)) = self.waiting.front()
            && self.qsbr.check(*token)
            && let Some((_, retired)) = self.waiting.pop_front()
        {
            for each in retired {
                self.free(each);
            }
        }
        if !self.fresh.is_empty() {
            let retired = core::mem::take(&mut self.fresh);
            self.waiting.push_back((self.qsbr.start(), retired));
        }
    }

    fn free(&mut self, retired: Retired) {
        // SAFETY: `reclaim` has seen the grace period pass that began after it was taken away.
        unsafe { retired.release(&self.tables, &self.bin) };
        match retired {
            Retired::Sa(index) => drop(self.draining.remove(&index)),
            Retired::Binding(index) => self.free_bindings.give(index.0),
            Retired::Mac(index) => self.free_macs.give(index),
            Retired::Fan(number) => self.free_fans.give(number.get() - 1),
            Retired::Prefix(prefix) => self.prefixes.forget(&self.tables.prefixes, prefix),
            Retired::Router(router) => self.prefixes.give_router(router),
            Retired::Routes(_) | Retired::Groups(_) => {}
        }
    }
}

impl Drop for TableWriter {
    /// When the workers have stopped, nothing is left in use.
    fn drop(&mut self) {
        self.reclaim();
        self.reclaim();
    }
}
