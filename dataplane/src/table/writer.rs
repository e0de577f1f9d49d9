//! The one writer of the tables, in the control thread.
//!
//! What a pointer leads to is written before the pointer is published, so that workers never see an
//! entry by halves. A change may take several publications, each of which is sound alone: binding a
//! mobile node points its two home addresses and its SAs to the new entry one after another. What
//! was replaced is kept until a grace period has passed ([`TableWriter::reclaim`]).

mod sas;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, mpsc};

use hearth_dpdk::{Eal, HashWriter, MultiBuffer, Qsbr, Token};
use hearth_wire::Spi;

use crate::config::{Binding, BuildError, Config, PortId, Route, TableError};
use crate::layout::Address6;
use crate::sa::session::Sessions;
use crate::sa::slot::{BindingIndex, Sender};
use crate::table::binding::BindingEntry;
use crate::table::fib::Routes;
use crate::table::grace::{FreeList, Retired};
use crate::table::homes::Full;
use crate::table::neighbour::{self, KEY_LEN};
use crate::table::route_builder::{Bin, BuiltRoutes, RouteBuilder};
use crate::table::shared::{SPARE_BINDINGS, Tables};

/// A binding as control remembers it.
struct Bound {
    index: BindingIndex,
    ipv4_home_address: Option<Ipv4Addr>,
    carriers: Vec<Spi>,
}

/// Writes the tables that workers read.
pub struct TableWriter {
    tables: Arc<Tables>,
    eal: Eal,
    qsbr: Qsbr,
    crypto: MultiBuffer<'static>,
    /// Of the crypto device, where one is configured.
    sessions: Option<Sessions>,
    neighbours: HashWriter<KEY_LEN>,
    bound: HashMap<Ipv6Addr, Bound>,
    ipv4_owner: HashMap<Ipv4Addr, Ipv6Addr>,
    macs: HashMap<[u8; KEY_LEN], u32>,
    free_bindings: FreeList,
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
            bound: HashMap::new(),
            ipv4_owner: HashMap::new(),
            macs: HashMap::new(),
            free_bindings: FreeList::new(config.max_bindings.saturating_add(SPARE_BINDINGS)),
            free_macs: FreeList::new(config.max_neighbours),
            max_bindings: config.max_bindings as usize,
            max_routes: config.max_routes as usize,
            ports,
            routes: Vec::new(),
            local: Vec::new(),
            home_prefixes: config.home_prefixes.clone(),
            bin: Bin::default(),
            draining: HashSet::new(),
            fresh: Vec::new(),
            waiting: VecDeque::new(),
            name,
            generation: 0,
        })
    }

    pub(crate) const fn neighbours(&self) -> &HashWriter<KEY_LEN> {
        &self.neighbours
    }

    /// Binds a home address, or moves it if it is bound. `carriers` are the SAs whose data is
    /// accepted under the binding, besides its own; all others no longer are.
    ///
    /// # Errors
    /// [`TableError::SpiUnknown`] for the SPI of a tunnel, [`TableError::Address`],
    /// [`TableError::Ipv4HomeAddressInUse`], [`TableError::Full`], which is also said of more than
    /// one tunnel, and of prefixes.
    pub fn bind(&mut self, binding: &Binding<'_>, carriers: &[Spi]) -> Result<(), TableError> {
        let home = binding.home_address;
        let [tunnel] = binding.tunnels else { return Err(TableError::Full) };
        if !binding.prefixes.is_empty() {
            return Err(TableError::Full);
        }
        let sa = self.tables.sas.find(tunnel.spi.get());
        let facts = sa.and_then(|sa| sa.facts()).ok_or(TableError::SpiUnknown)?;
        let (path_mtu, dscp) = (self.tables.path_mtu, self.tables.dscp);
        let entry = BindingEntry::new(binding, tunnel, facts, path_mtu, dscp);
        let entry = entry.ok_or(TableError::Address)?;
        let ipv4 = binding.ipv4_home_address;
        if ipv4.and_then(|v4| self.ipv4_owner.get(&v4)).is_some_and(|owner| *owner != home) {
            return Err(TableError::Ipv4HomeAddressInUse);
        }
        if !self.bound.contains_key(&home) && self.bound.len() >= self.max_bindings {
            return Err(TableError::Full);
        }
        let index = BindingIndex(self.free_bindings.take().ok_or(TableError::Full)?);
        if let Some(before) = self.bound.get(&home) {
            self.tables.bindings.entry(before.index).inspect(|before| entry.remember(before));
        }
        let sender = entry.sender();
        // SAFETY: the cell comes from the free list, and this is the only writer.
        unsafe { self.tables.bindings.fill(index, entry) };
        self.point_home_addresses(home, ipv4, index).inspect_err(|_| {
            // SAFETY: no pointer to the cell was published, or it was taken back; workers may
            // have seen it, so it waits for a grace period.
            self.fresh.push(Retired::Binding(index));
        })?;
        let mut carriers = carriers.to_vec();
        if !carriers.contains(&tunnel.spi) {
            carriers.push(tunnel.spi);
        }
        self.point_carriers(&carriers, (index, sender));
        let bound = Bound { index, ipv4_home_address: ipv4, carriers };
        let old = self.bound.insert(home, bound);
        if old.as_ref().is_none_or(|old| ipv4.is_some() && old.ipv4_home_address != ipv4) {
            self.tables.home_added();
        }
        if let Some(old) = old {
            self.let_go(&old, ipv4);
        }
        Ok(())
    }

    /// Lets both home addresses point to the entry, or leaves them as they were.
    fn point_home_addresses(
        &mut self,
        home: Ipv6Addr,
        ipv4: Option<Ipv4Addr>,
        index: BindingIndex,
    ) -> Result<(), TableError> {
        let homes = &self.tables.homes;
        let home6 = Address6::of_home(home.into()).ok_or(TableError::Address)?;
        let before = homes.get(home6);
        homes.insert(home6, index).map_err(|Full| TableError::Full)?;
        let Some(v4) = ipv4 else { return Ok(()) };
        if homes.insert(Address6::mapped(v4.to_bits()), index).is_err() {
            match before {
                // It is there, so that this replaces the value and cannot be refused.
                Some(before) => _ = homes.insert(home6, before),
                None => homes.remove(home6),
            }
            return Err(TableError::Full);
        }
        self.ipv4_owner.insert(v4, home);
        Ok(())
    }

    fn point_carriers(&self, carriers: &[Spi], binding: (BindingIndex, Sender)) {
        for spi in carriers {
            if let Some(sa) = self.tables.sas.find(spi.get()) {
                sa.slot.set_binding(Some(binding));
            }
        }
    }

    /// Takes away what a replaced or ended binding had and its successor has not.
    fn let_go(&mut self, old: &Bound, ipv4: Option<Ipv4Addr>) {
        for spi in &old.carriers {
            if let Some(sa) = self.tables.sas.find(spi.get())
                && sa.slot.binding() == Some(old.index)
            {
                sa.slot.set_binding(None);
            }
        }
        if let Some(v4) = old.ipv4_home_address.filter(|_| old.ipv4_home_address != ipv4) {
            self.tables.homes.remove(Address6::mapped(v4.to_bits()));
            self.ipv4_owner.remove(&v4);
        }
        self.fresh.push(Retired::Binding(old.index));
    }

    /// Ends a binding; false when there was none.
    pub fn unbind(&mut self, home_address: Ipv6Addr) -> bool {
        let Some(old) = self.bound.remove(&home_address) else { return false };
        self.tables.homes.remove(home_address.into());
        self.let_go(&old, None);
        true
    }

    /// Home addresses that are bound.
    #[must_use]
    pub fn bindings(&self) -> usize {
        self.bound.len()
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
        Routes::build(&self.eal, &name, routes, (local, &self.home_prefixes))
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
            Retired::Routes(_) => {}
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
