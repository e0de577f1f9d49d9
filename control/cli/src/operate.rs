//! Commands that change something: revocation, new SAs, shutdown.

use std::net::{IpAddr, Ipv6Addr};

use clap::{Args, ValueEnum};
use hearth_api::operate::{
    Begun, DrainRequest, Part, Reason, ReinitRequest, RevokeRequest, Selector,
};
use hearth_api::paths;
use serde::Serialize;

use crate::client::{self, Daemon, Error};
use crate::completion;

/// Whom a command is about.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Who {
    /// The mobile node with this home address, IPv6 or IPv4.
    #[arg(long, value_name = "ADDRESS", add = completion::home_addresses())]
    home_address: Option<IpAddr>,
    /// The SA with this SPI, and the binding that was made under it.
    #[arg(
        long, value_name = "SPI", value_parser = clap::value_parser!(u32).range(1..0x1000_0000),
        add = completion::spis()
    )]
    spi: Option<u32>,
    /// The mobile node with this mn-id.
    #[arg(long, value_name = "MN-ID", add = completion::mn_ids())]
    mn_id: Option<String>,
    /// All mobile nodes of this realm, what stands behind the @; needs --yes.
    #[arg(long, value_name = "REALM")]
    realm: Option<String>,
    /// All mobile nodes; needs --yes.
    #[arg(long)]
    all: bool,
}

impl Who {
    fn selector(self) -> Selector {
        let Self { home_address, spi, mn_id, realm, all: _ } = self;
        home_address
            .map(Selector::HomeAddress)
            .or_else(|| spi.map(Selector::Spi))
            .or_else(|| mn_id.map(Selector::MnId))
            .or_else(|| realm.map(Selector::Realm))
            .unwrap_or(Selector::All)
    }
}

/// Why bindings are revoked, as mobile nodes are told.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Why {
    /// An operator's wish; Binding Updates that come meanwhile are refused.
    Administrative,
    /// Not said; Binding Updates that come meanwhile are refused.
    Unspecified,
    /// The subscriber ended the session.
    User,
    /// The access network ended the session.
    AccessNetwork,
    /// The binding may not be what the mobile node believes.
    OutOfSync,
}

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        match why {
            Why::Administrative => Self::Administrative,
            Why::Unspecified => Self::Unspecified,
            Why::User => Self::User,
            Why::AccessNetwork => Self::AccessNetwork,
            Why::OutOfSync => Self::OutOfSync,
        }
    }
}

/// `hearth revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArguments {
    #[command(flatten)]
    who: Who,
    /// The IPv4 home address alone; the IPv6 home address stays bound.
    #[arg(long, conflicts_with = "bid")]
    ipv4: bool,
    /// These care-of addresses alone, by their Binding Identifiers.
    #[arg(long, value_name = "BID", value_delimiter = ',')]
    bid: Vec<u16>,
    /// Why, as mobile nodes are told.
    #[arg(long, value_enum, default_value_t = Why::Administrative)]
    reason: Why,
    #[command(flatten)]
    how: How,
}

/// `hearth reinit`.
#[derive(Debug, Clone, Args)]
pub struct ReinitArguments {
    #[command(flatten)]
    who: Who,
    /// Ask mobile nodes for a refresh at once, instead of waiting for their next one.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    how: How,
}

/// `hearth drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainArguments {
    /// Home agents that mobile nodes are sent to, instead of those of hearthd's YAML.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    home_agent: Vec<Ipv6Addr>,
    /// In how many seconds this home agent stops, as mobile nodes are told.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    within: Option<u32>,
    #[command(flatten)]
    how: How,
}

/// What all of them understand.
#[derive(Debug, Clone, Copy, Args)]
pub struct How {
    /// Yes, many.
    #[arg(long)]
    yes: bool,
    /// Print the daemon's JSON.
    #[arg(long)]
    json: bool,
}

/// Whether a command about many was meant.
fn meant(who: &Selector, how: How) -> Result<(), Error> {
    let many = matches!(who, Selector::All | Selector::Realm(_));
    if many && !how.yes { Err(Error::NotMeant(who.to_string())) } else { Ok(()) }
}

/// Revokes bindings.
///
/// # Errors
/// [`Error`].
pub fn revoke(daemon: &Daemon, arguments: RevokeArguments) -> Result<(), Error> {
    let RevokeArguments { who, ipv4, bid, reason, how } = arguments;
    let who = who.selector();
    meant(&who, how)?;
    let part = match (ipv4, bid.is_empty()) {
        (true, _) => Part::Ipv4,
        (false, true) => Part::Binding,
        (false, false) => Part::Bids(bid),
    };
    let words = format!("of {who}");
    let request = RevokeRequest { who, part, reason: reason.into() };
    ask(daemon, paths::REVOKE, &request, how.json, |begun| match begun {
        Some(1) => format!("1 binding {words} is being revoked"),
        Some(count) => format!("{count} bindings {words} are being revoked"),
        None => format!("bindings {words} are being revoked; the log says when that is done"),
    })
}

/// Has mobile nodes fetch new SAs.
///
/// # Errors
/// [`Error`].
pub fn reinit(daemon: &Daemon, arguments: ReinitArguments) -> Result<(), Error> {
    let ReinitArguments { who, now, how } = arguments;
    let who = who.selector();
    meant(&who, how)?;
    let words = format!("of {who}");
    let request = ReinitRequest { who, now };
    let when = if now { "the refresh that is asked for" } else { "the next refresh" };
    ask(daemon, paths::REINIT, &request, how.json, |begun| match begun {
        Some(1) => format!("1 SA {words} is to be replaced: {when} is answered so"),
        Some(count) => format!("{count} SAs {words} are to be replaced: {when} is answered so"),
        None => format!("SAs {words} are to be replaced; the log says when all are told"),
    })
}

/// Sends mobile nodes to other home agents.
///
/// # Errors
/// [`Error`].
pub fn drain(daemon: &Daemon, arguments: DrainArguments) -> Result<(), Error> {
    let DrainArguments { home_agent, within, how } = arguments;
    meant(&Selector::All, how)?;
    let home_agents = Some(home_agent).filter(|home_agents| !home_agents.is_empty());
    let request = DrainRequest { home_agents, within };
    ask(daemon, paths::DRAIN, &request, how.json, |_| {
        "mobile nodes are being sent elsewhere, and no binding is made; hearth undrain takes it \
         back"
            .into()
    })
}

/// Takes that back.
///
/// # Errors
/// [`Error`].
pub fn undrain(daemon: &Daemon, json: bool) -> Result<(), Error> {
    ask(daemon, paths::UNDRAIN, &(), json, |begun| {
        format!("bindings are made and refreshed again; there are {}", begun.unwrap_or(0))
    })
}

/// Posts a request and says in words, or as the daemon's JSON, what came of it.
pub(crate) fn ask<T: Serialize>(
    daemon: &Daemon,
    path: &str,
    request: &T,
    json: bool,
    words: impl FnOnce(Option<u64>) -> String,
) -> Result<(), Error> {
    let begun: Begun = daemon.post(path, request)?;
    let text = if json { serde_json::to_string_pretty(&begun)? } else { words(begun.concerned) };
    client::print(&(text + "\n"));
    Ok(())
}
