//! What is defended on home links, and who listens to groups there.
//!
//! Read first: RFC 6275 s.10.4.1, 10.5.1.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::HashMap;

use super::TableWriter;
use crate::config::{Defended, GroupMember, PortId, TableError};
use crate::table::defended::{Guard, Serial};
use crate::table::grace::Retired;
use crate::table::group::MEMBERS;
use crate::table::homes::Full;
use crate::table::shared::Tables;

/// The addresses of a binding that are defended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Addresses {
    ipv4: Option<Ipv4Addr>,
    link: Defended,
}

impl Addresses {
    fn of(self, home: Ipv6Addr) -> impl Iterator<Item = (PortId, IpAddr)> {
        let others = [self.ipv4.map(IpAddr::from), self.link.link_local.map(IpAddr::from)];
        let all = core::iter::once(IpAddr::from(home)).chain(others.into_iter().flatten());
        all.map(move |address| (self.link.port, address))
    }

    const fn guard(self) -> Guard {
        Guard { router: self.link.router, anycast: false }
    }
}

/// What is defended, as control remembers it.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    homes: HashMap<Ipv6Addr, Addresses>,
    anycast: Vec<(PortId, Ipv6Addr)>,
    serial: Serial,
}

impl Guarded {
    /// Defends the addresses of a binding on this link and on no other, or on none. There is room:
    /// the table is made for all of every binding.
    pub(super) fn set(
        &mut self,
        tables: &Tables,
        home: Ipv6Addr,
        ipv4: Option<Ipv4Addr>,
        link: Option<Defended>,
    ) {
        let now = link.map(|link| Addresses { ipv4, link });
        if link.is_none() && self.homes.is_empty() {
            return;
        }
        let before = match now {
            Some(now) => self.homes.insert(home, now),
            None => self.homes.remove(&home),
        };
        if now == before {
            return;
        }
        for gone in before.into_iter().flat_map(|before| before.of(home)) {
            if now.is_none_or(|now| now.of(home).all(|kept| kept != gone)) {
                tables.defended.remove(gone);
            }
        }
        for (place, guard) in
            now.into_iter().flat_map(|now| now.of(home).map(move |place| (place, now.guard())))
        {
            let inserted = tables.defended.insert(&self.serial, place, guard);
            debug_assert_ne!(inserted, Err(Full), "{place:?}");
        }
    }
}

impl TableWriter {
    /// Replaces the list of home agents' anycast addresses: each is answered for on its link, and
    /// of what comes to it control gets the requests
    /// ([`FromWorker::HomeAgentDiscovery`](crate::FromWorker::HomeAgentDiscovery)). Packets get
    /// here where they are among the [local addresses](Self::set_local_addresses) too.
    pub fn set_anycast(&mut self, addresses: &[(PortId, Ipv6Addr)]) {
        let Guarded { anycast, serial, .. } = &mut self.guarded;
        for (port, address) in anycast.drain(..) {
            self.tables.defended.remove((port, address.into()));
        }
        for &(port, address) in addresses {
            // A home agent is a router.
            let guard = Guard { router: true, anycast: true };
            if self.tables.defended.insert(serial, (port, address.into()), guard).is_ok() {
                anycast.push((port, address));
            }
        }
    }

    /// Replaces the members of a group on a link: mobile nodes by their home addresses, each of
    /// which gets a copy of what its sources send to the group there (RFC 6275 s.10.4.3). With none
    /// it is gone. Packets that must not leave their link are not copied, whoever listens.
    ///
    /// # Errors
    /// [`TableError::Full`] where there are too many groups, or too many members;
    /// [`TableError::Address`] where it is no group; the members stay as they were then.
    pub fn set_group<M: Clone + Into<GroupMember>>(
        &mut self,
        port: PortId,
        group: IpAddr,
        members: &[M],
    ) -> Result<(), TableError> {
        if !group.is_multicast() {
            return Err(TableError::Address);
        }
        if members.len() > MEMBERS {
            return Err(TableError::Full);
        }
        let members = members.iter().cloned().map(Into::into).collect();
        let old = self.tables.groups.set(port, group, members).ok_or(TableError::Full)?;
        self.fresh.extend(old.map(Retired::Groups));
        Ok(())
    }
}
