//! The rows in docs/rfc-map.md: a table for each area.

use core::fmt::Write;

use crate::case::Case;
use crate::rows::{AREAS, Proof, Rest, Row};

/// The heading in front of the tables, which end the map.
const HEADING: &str = "## Conformance rows\n";

/// The map with these rows in it.
///
/// # Errors
/// A map without the heading.
pub fn put(map: &str, rows: &[Row], cases: &[Case]) -> Result<String, String> {
    let (before, _) = map.split_once(HEADING).ok_or("docs/rfc-map.md has no conformance rows")?;
    let mut text = format!("{before}{HEADING}");
    text.push_str(
        "
Rows of the list of test purposes, written by `cargo run -p hearth-conformance -- map` from
`tests/conformance/rows.tsv` and the cases; [conformance.md](conformance.md) says how they are shown.
A case is a file in `control/home-agent/tests/cases/`.
",
    );
    for (area, _) in AREAS {
        let _ = write!(text, "\n### {area}\n\n| id | what | shown by |\n|---|---|---|\n");
        for row in rows.iter().filter(|row| row.area() == area) {
            let _ = writeln!(text, "| {} | {} | {} |", row.id, row.what, shown_by(row, cases));
        }
    }
    Ok(text)
}

fn shown_by(row: &Row, cases: &[Case]) -> String {
    let mut parts = Vec::new();
    for proof in &row.proofs {
        match proof {
            Proof::Test(test) => parts.push(format!("`{test}`")),
            Proof::Cases => {
                let of_row = cases.iter().filter(|case| case.rows.contains(&row.id));
                let names: Vec<_> = of_row.map(|case| case.name.as_str()).collect();
                let word = if names.len() == 1 { "case" } else { "cases" };
                parts.push(format!("{word} {}", names.join(", ")));
            }
        }
    }
    let shown = parts.join(", ");
    let rest = match &row.rest {
        None => return shown,
        Some(Rest::Missing(what)) => format!("missing: {what}"),
        Some(Rest::Exception(why)) => format!("exception: {why}"),
        Some(Rest::Later(when)) => format!("later: {when}"),
    };
    if shown.is_empty() { rest } else { format!("{shown}; {rest}") }
}
