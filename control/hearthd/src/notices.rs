//! What the home agent noticed, as log lines.

use std::fmt;

use hearth_home_agent::{Notice, OperationNotice};
use tracing::{info, warn};

/// Logs `notice` with its fields.
pub fn log(notice: &Notice) {
    match notice {
        Notice::Registered { mn_id, home_address, care_of, lifetime } => {
            info!(%mn_id, %home_address, %care_of, lifetime_s = lifetime.as_secs(), "registered");
        }
        Notice::Refreshed { home_address, lifetime } => {
            tracing::debug!(%home_address, lifetime_s = lifetime.as_secs(), "refreshed");
        }
        Notice::HandedOver { home_address, from, to, lifetime } => {
            let lifetime_s = lifetime.as_secs();
            info!(%home_address, %from, %to, lifetime_s, "handed over");
        }
        Notice::Deregistered { home_address } => info!(%home_address, "de-registered"),
        Notice::CareOfEnded { home_address, bid } => {
            info!(%home_address, bid, "care-of address is gone, others stay");
        }
        Notice::PrefixesWithdrawn { home_address, gone } => {
            info!(%home_address, gone, "mobile network prefixes withdrawn");
        }
        Notice::FlowsWithdrawn { home_address, gone } => {
            info!(%home_address, gone, "flow bindings withdrawn");
        }
        Notice::MovesTooOften { mn_id, home_address, care_of } => {
            warn!(%mn_id, %home_address, %care_of, "care-of address moves too often");
        }
        Notice::Expired { home_address } => info!(%home_address, "binding expired"),
        Notice::EndedWithSa { home_address, spi } => {
            info!(%home_address, %spi, "binding ended with its SA");
        }
        Notice::Refused { mn_id, home_address, status } => {
            info!(%mn_id, %home_address, %status, "Binding Update refused");
        }
        Notice::ForeignHomeAddress { mn_id, spi, claimed, remote } => {
            warn!(%mn_id, %spi, %claimed, %remote, "Binding Update for another's home address");
        }
        Notice::HomeAddressTaken { mn_id, home_address } => {
            warn!(%mn_id, %home_address, "home address is bound by another mobile node");
        }
        Notice::Operation(operation) => log_operation(operation),
        Notice::Duplicate { mn_id, address, mac } => {
            let mac = Mac(*mac);
            warn!(%mn_id, %address, %mac, "registration refused: the home link has the address");
        }
        Notice::AddressContested { address, mac } => {
            let mac = Mac(*mac);
            warn!(%address, %mac, "a host claims the address of a mobile node that is away");
        }
        Notice::SaEnded { spi, why } => tracing::debug!(%spi, ?why, "SA ended"),
    }
}

fn log_operation(operation: &OperationNotice) {
    match operation {
        OperationNotice::Revoked { home_address, what, answer } => {
            info!(%home_address, ?what, ?answer, "revoked");
        }
        OperationNotice::RevocationOverridden { home_address } => {
            info!(%home_address, "a Binding Update came, and the binding is not revoked");
        }
        OperationNotice::SwitchNotUnderstood { home_address } => {
            info!(%home_address, "the mobile node knows no Home Agent Switch messages");
        }
        OperationNotice::HeartbeatNotUnderstood { home_address } => {
            tracing::debug!(%home_address, "the mobile node knows no Heartbeats");
        }
        OperationNotice::Unreachable { home_address } => {
            info!(%home_address, "the mobile node answers no Heartbeats");
        }
        OperationNotice::Restarted { home_address, counter } => {
            info!(%home_address, counter, "the mobile node was restarted");
        }
        OperationNotice::Walked { matched } => {
            info!(matched, "a command about many was carried out");
        }
    }
}

/// A link-layer address as it is usually written.
struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
