//! What a session asks the directory for.

use hearth_wire::directory::DirectionKeys;
use hearth_wire::{MobileNodeId, Scope, Suite};

/// An SA to be issued. Everything that the directory alone can know (SPI, leased home addresses,
/// generation) is filled in there.
#[derive(Debug)]
pub struct IssueRequest {
    /// Whose SA it is; a subscriber that proved to be it.
    pub mn_id: MobileNodeId,
    /// The ciphersuite.
    pub suite: Suite,
    /// The scope.
    pub scope: Scope,
    /// Keys for packets from MN to HA.
    pub mn_to_ha: DirectionKeys,
    /// Keys for packets from HA to MN.
    pub ha_to_mn: DirectionKeys,
    /// End of validity, unix seconds.
    pub validity_end: u64,
}

/// Why nothing was issued; nothing was consumed either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueError {
    /// The home agent's range of SPIs is in use.
    NoSpi,
    /// The home agent's pool of home addresses is leased out.
    NoHomeAddress,
    /// More sessions wait for the store than it can serve.
    Busy,
    /// The store failed.
    Store,
}
