//! Bindings, as the home agent has them, for the dataplane.

use hearth_dataplane::{Binding, Defended, FlowRule, PortId, TableError, TableWriter, Tunnel};
use hearth_home_agent::Tunnels;

/// Hands a binding to the dataplane, as a whole.
///
/// # Errors
/// [`TableError`] of [`TableWriter::bind`]; the dataplane holds then what it held before.
pub(crate) fn bind(tables: &mut TableWriter, bound: &Tunnels) -> Result<(), TableError> {
    let prefixes: Vec<_> =
        bound.prefixes.iter().map(|prefix| (prefix.network(), prefix.prefix_len())).collect();
    let tunnels = bound.tunnels.iter().map(|tunnel| Tunnel {
        bid: tunnel.bid,
        spi: tunnel.spi,
        local: tunnel.local,
        remote: tunnel.remote,
    });
    let flows =
        bound.flows.iter().map(|rule| FlowRule { selector: rule.selector, tunnels: &rule.tunnels });
    let binding = Binding {
        home_address: bound.home_address,
        ipv4_home_address: bound.ipv4_home_address,
        defended: bound.link.map(|on| Defended {
            port: PortId(on.link.0),
            link_local: on.link_local,
            router: on.router,
        }),
        prefixes: &prefixes,
        tunnels: &tunnels.collect::<Vec<_>>(),
        flows: &flows.collect::<Vec<_>>(),
    };
    tables.bind(&binding, &bound.carriers)
}
