//! Bindings, as the home agent has them, for the dataplane.

use hearth_dataplane::{Binding, TableError, TableWriter};
use hearth_home_agent::Tunnels;

/// Hands a binding to the dataplane, as a whole.
///
/// # Errors
/// [`TableError`] of [`TableWriter::bind`]; the dataplane holds then what it held before.
pub(crate) fn bind(tables: &mut TableWriter, bound: &Tunnels) -> Result<(), TableError> {
    // The home agent says no binding without a tunnel.
    let Some(first) = bound.tunnels.first() else { return Ok(()) };
    let binding = Binding {
        home_address: bound.home_address,
        ipv4_home_address: bound.ipv4_home_address,
        spi: first.spi,
        local: first.local,
        remote: first.remote,
    };
    tables.bind(&binding, &bound.carriers)
}
