//! What a drop reason or a status means, what brings it about, and what can be done.

use std::fmt::Write as _;

use clap::Args;
use hearth_api::explain::STATUSES;
use hearth_api::{DropRow, paths};

use crate::client::{self, Daemon, Error};
use crate::completion;

/// What to explain.
#[derive(Debug, Clone, Args)]
pub struct ExplainArguments {
    /// A drop reason, as `hearth show drops` has it, or the number of a status.
    #[arg(value_name = "REASON|STATUS", add = completion::drop_reasons())]
    what: String,
}

/// Says what it means. Of a drop reason the daemon is asked, of a status nobody.
///
/// # Errors
/// [`Error`], also where there is no such reason or status.
pub fn explain(daemon: &Daemon, arguments: &ExplainArguments) -> Result<(), Error> {
    let what = arguments.what.as_str();
    let words = match what.parse::<u16>() {
        Ok(code) => status_words(code),
        Err(_) => {
            let rows: Vec<DropRow> = daemon.get(paths::DROPS)?;
            rows.iter().find(|row| row.reason == what).map(drop_words)
        }
    };
    let words = words.ok_or_else(|| Error::NothingToExplain(what.into()))?;
    client::print(&words);
    Ok(())
}

fn drop_words(row: &DropRow) -> String {
    let DropRow { reason, packets, description, cause, remedy } = row;
    format!("{reason}: {packets} packets\n  {description}\n  cause   {cause}\n  remedy  {remedy}\n")
}

/// A number may stand in several places.
fn status_words(code: u16) -> Option<String> {
    let mut words = String::new();
    for it in STATUSES.iter().filter(|it| it.code == code) {
        let (kind, name, cause, remedy) = (it.kind.name(), it.name, it.cause, it.remedy);
        let _infallible =
            write!(words, "{code} {name} ({kind})\n  cause   {cause}\n  remedy  {remedy}\n");
    }
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_stands_in_several_places_is_explained_for_each() {
        let words = status_words(130).unwrap();
        assert!(words.starts_with("130 insufficient resources (Binding Acknowledgement)\n"));
        assert!(words.contains("130 incorrect IPv4 home address (IPv4 address acknowledgement)\n"));
        assert!(status_words(503).unwrap().starts_with("503 Service Unavailable (Home Agent"));
        assert_eq!(status_words(99), None);
    }

    #[test]
    fn a_drop_reason_is_explained_with_its_count() {
        let row = DropRow {
            reason: "spi_unknown".into(),
            packets: 7,
            description: "No SA has this SPI.".into(),
            cause: "It has ended.".into(),
            remedy: "None.".into(),
        };
        let expected = "spi_unknown: 7 packets\n  No SA has this SPI.\n  cause   It has ended.\n  \
                        remedy  None.\n";
        assert_eq!(drop_words(&row), expected);
    }
}
