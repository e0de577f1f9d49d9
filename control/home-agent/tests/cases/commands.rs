//! What the operator asks for, in the words of a case.

use hearth_conformance::case::{self, Step};
use hearth_conformance::plan::Node;
use hearth_home_agent::{Command, Revoke, Selector};

/// `revoke NODE|all [ipv4] [bids N,N] [trigger N]`, `rekey NODE|all [invite]`,
/// `drain to ADDRESS,ADDRESS within TIME`, `undrain`
pub(crate) fn parse(step: &Step) -> Result<Command, String> {
    let words: Vec<_> = step.words().collect();
    let who = || match words.get(1).copied() {
        Some("all") => Ok(Selector::All),
        Some(node) => Node::named(node)
            .map(|node| Selector::HomeAddress(node.home_address().into()))
            .ok_or("no such mobile node"),
        None => Err("whom?"),
    };
    match words.first().copied() {
        Some("revoke") => {
            let what = if words.contains(&"ipv4") {
                Revoke::Ipv4
            } else if let Some(bids) = step.after("bids") {
                let bids = bids.split(',').map(str::parse).collect::<Result<_, _>>();
                Revoke::Bids(bids.map_err(|_| "not BIDs")?)
            } else {
                Revoke::Binding
            };
            let trigger = step.after("trigger").unwrap_or("1");
            let trigger = trigger.parse().map_err(|_| "not a trigger")?;
            Ok(Command::Revoke { who: who()?, what, trigger })
        }
        Some("rekey") => Ok(Command::Reinit { who: who()?, invite: words.contains(&"invite") }),
        Some("drain") => {
            let to = step.after("to").unwrap_or_default().split(',').map(str::parse);
            let to = to.collect::<Result<_, _>>().map_err(|_| "not addresses")?;
            let within =
                step.after("within").and_then(case::duration).ok_or("within what time?")?;
            Ok(Command::Drain { to, within })
        }
        Some("undrain") => Ok(Command::Undrain),
        _ => Err("no command".into()),
    }
}
