//! `hearth clear`: neighbours, and a binding.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use hearth_api::operate::{ClearNeighboursRequest, Part, Reason, RevokeRequest, Selector};
use hearth_api::paths;

use crate::client::{Daemon, Error};
use crate::completion;
use crate::operate::ask;

/// `hearth clear`.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Forget neighbours; whoever is sent to is looked for anew, and packets wait meanwhile.
    ///
    /// Permanent ones stay.
    Neighbours(Neighbours),
    /// End a binding and tell its mobile node, as `hearth revoke` does.
    Binding(Binding),
}

/// `hearth clear neighbours`.
#[derive(Debug, Clone, Args)]
pub struct Neighbours {
    /// This one alone.
    address: Option<IpAddr>,
    /// Print the daemon's JSON.
    #[arg(long)]
    json: bool,
}

/// `hearth clear binding`.
#[derive(Debug, Clone, Args)]
pub struct Binding {
    /// The mobile node, by its mn-id or by a home address of either family.
    #[arg(value_name = "MN-ID|ADDRESS", add = completion::mn_ids())]
    who: String,
    /// Print the daemon's JSON.
    #[arg(long)]
    json: bool,
}

/// Clears something.
///
/// # Errors
/// [`Error`].
pub fn run(daemon: &Daemon, command: Command) -> Result<(), Error> {
    match command {
        Command::Neighbours(Neighbours { address, json }) => {
            let request = ClearNeighboursRequest { address };
            ask(daemon, paths::CLEAR_NEIGHBOURS, &request, json, |cleared| match cleared {
                Some(1) => "1 neighbour is forgotten".into(),
                cleared => format!("{} neighbours are forgotten", cleared.unwrap_or(0)),
            })
        }
        Command::Binding(Binding { who, json }) => {
            let who = selector(who);
            let words = format!("the binding of {who} is being revoked");
            let request = RevokeRequest { who, part: Part::Binding, reason: Reason::default() };
            ask(daemon, paths::REVOKE, &request, json, |_| words)
        }
    }
}

/// What is no address is an mn-id, or the daemon says what is wrong with it.
fn selector(who: String) -> Selector {
    who.parse().map_or(Selector::MnId(who), Selector::HomeAddress)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_named_by_its_mobile_node_or_a_home_address() {
        let address = |text: &str| Selector::HomeAddress(text.parse().unwrap());
        for (text, expected) in [
            ("mn1@example.net", Selector::MnId("mn1@example.net".into())),
            ("2001:db8::1", address("2001:db8::1")),
            ("192.0.2.1", address("192.0.2.1")),
        ] {
            assert_eq!(selector(text.into()), expected);
        }
    }
}
