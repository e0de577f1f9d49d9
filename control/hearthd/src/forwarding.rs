//! What `hearth show routes` and `hearth show neighbours` are told.

use std::net::IpAddr;

use hearth_api::forwarding::{NeighbourRow, RouteRow};
use hearth_api::server::Refused;
use hearth_dataplane::PortId;
use tracing::warn;

use crate::control::{Control, Parts};
use crate::kernel_neighbour::Neighbour;
use crate::pages::{Page, places};

impl Control {
    /// Routes of the FIB, from this place on.
    pub(crate) fn route_rows(&self, from: usize) -> Page<RouteRow> {
        let Some(read) = self.routes.as_ref().and_then(|routes| routes.read.as_deref()) else {
            return Page { rows: Vec::new(), next: None };
        };
        let (here, next) = places(from, read.routes.len().saturating_add(read.blocked.len()));
        let prefix = |(address, length): (IpAddr, u8)| format!("{address}/{length}");
        let leaving = |place: usize| {
            read.routes.get(place).map(|route| RouteRow {
                prefix: prefix(route.prefix),
                port: Some(self.port_name(route.port.0)),
                gateway: route.gateway,
            })
        };
        // Behind those that leave by a port.
        let blocked = |place: usize| {
            let at = *read.blocked.get(place.checked_sub(read.routes.len())?)?;
            Some(RouteRow { prefix: prefix(at), port: None, gateway: None })
        };
        Page { rows: here.filter_map(|it| leaving(it).or_else(|| blocked(it))).collect(), next }
    }

    /// All neighbours on the links of the ports.
    pub(crate) fn neighbour_rows(&mut self) -> Result<Vec<NeighbourRow>, Refused> {
        let found = self.parts.kernel.neighbours().map_err(|error| {
            warn!(%error, "the kernel does not say which neighbours there are");
            Refused::Fault(format!("the kernel does not say which neighbours there are: {error}"))
        })?;
        let mut rows: Vec<_> =
            found.iter().map(|neighbour| self.neighbour_row(neighbour)).collect();
        rows.sort_by(|a, b| (&a.port, a.address).cmp(&(&b.port, b.address)));
        Ok(rows)
    }

    fn neighbour_row(&self, neighbour: &Neighbour) -> NeighbourRow {
        let Neighbour { port, address, mac, state, age } = *neighbour;
        NeighbourRow {
            port: self.port_name(port),
            address,
            mac: mac.map(|mac| mac.map(|octet| format!("{octet:02x}")).join(":")),
            state: state.into(),
            age: age.map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
            usable: self.parts.tables.knows_neighbour(PortId(port), address),
            waiting: self.neighbours.waiting((port, address)),
        }
    }

    fn port_name(&self, port: u16) -> String {
        let Parts { config, .. } = &self.parts;
        config.ports.get(usize::from(port)).map_or_else(String::new, |port| port.name.value.clone())
    }
}
