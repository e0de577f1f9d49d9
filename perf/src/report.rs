//! Rows, the summary file, and the table that a person reads.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::efficiency::{Case, Efficiency};
use crate::fault::Fault;
use crate::frames::Direction;
use crate::machine::Machine;

/// Everything that one run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) machine: Machine,
    pub(crate) commit: String,
    pub(crate) date: String,
    pub(crate) rows: Vec<Row>,
}

/// One figure. What could not be measured has a `ratio` of null and says why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    name: &'static str,
    suite: &'static str,
    direction: Direction,
    inner_bytes: usize,
    sas: u32,
    cycles_per_packet: Option<f64>,
    reference: &'static str,
    reference_cycles_per_packet: Option<f64>,
    ratio: Option<f64>,
    pairs: usize,
    /// The ratio that the project asks for, where it asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    must: Option<f64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    spread: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What says how far a row can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    reference_api: crate::raw::Api,
    ratio_quartiles: [f64; 2],
    disturbed_pairs: usize,
    disturbed_left_out: bool,
}

impl Row {
    /// A row of efficiency: one SA, raw ipsec-mb as the reference.
    pub(crate) fn efficiency(
        case: Case,
        must: Option<f64>,
        result: Result<Efficiency, Fault>,
    ) -> Self {
        let (found, fault) = match result {
            Ok(found) => (Some(found), None),
            Err(fault) => (None, Some(fault)),
        };
        Self {
            name: "efficiency",
            suite: case.suite.name(),
            direction: case.direction,
            inner_bytes: case.inner_bytes,
            sas: 1,
            cycles_per_packet: found.map(|found| rounded(found.cycles_per_packet, 1)),
            reference: "raw ipsec-mb",
            reference_cycles_per_packet: found
                .map(|found| rounded(found.reference_cycles_per_packet, 1)),
            ratio: found.map(|found| rounded(found.ratio, 4)),
            pairs: found.map_or(0, |found| found.pairs),
            must,
            spread: found.map(|found| Spread {
                reference_api: found.reference_api,
                ratio_quartiles: found.ratio_quartiles.map(|ratio| rounded(ratio, 4)),
                disturbed_pairs: found.disturbed_pairs,
                disturbed_left_out: found.disturbed_left_out,
            }),
            why: fault.map(|fault| fault.to_string()),
        }
    }

    /// The row as a line under [`HEADINGS`].
    pub(crate) fn line(&self) -> String {
        let direction = match self.direction {
            Direction::Uplink => "uplink",
            Direction::Downlink => "downlink",
        };
        let mut line =
            format!("{:<10} {:<19} {direction:<8} {:>5}", self.name, self.suite, self.inner_bytes);
        match (self.cycles_per_packet, self.reference_cycles_per_packet, self.ratio, self.spread) {
            (Some(cycles), Some(reference), Some(ratio), Some(spread)) => {
                let [low, high] = spread.ratio_quartiles;
                let must = self.must.map_or("-".to_owned(), |must| format!("{must:.2}"));
                let _ = write!(
                    line,
                    " {cycles:>9.1} {reference:>9.1} {ratio:>6.3} {low:>6.3}-{high:<6.3} {must:>5} {:>5} {:>9}",
                    self.pairs, spread.disturbed_pairs
                );
            }
            _ => {
                let _ = write!(line, " not measured: {}", self.why.as_deref().unwrap_or("unknown"));
            }
        }
        line
    }
}

/// What stands above the rows.
pub(crate) const HEADINGS: &str = "figure     suite               way      inner  cycles/p     raw/p  ratio  quartiles      must pairs disturbed";

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

impl Summary {
    /// Writes the summary as JSON, and the folders above it.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Api;
    use hearth_wire::Suite;
    use serde_json::{Value, json};

    const CASE: Case =
        Case { suite: Suite::Aes128CbcSha, direction: Direction::Uplink, inner_bytes: 64 };

    #[test]
    fn a_row_has_the_keys_of_the_report() {
        let found = Efficiency {
            cycles_per_packet: 500.04,
            reference_cycles_per_packet: 400.06,
            reference_api: Api::Burst,
            ratio: 0.800_04,
            ratio_quartiles: [0.79, 0.81],
            pairs: 9,
            disturbed_pairs: 2,
            disturbed_left_out: true,
        };
        let row = serde_json::to_value(Row::efficiency(CASE, Some(0.68), Ok(found))).unwrap();
        assert_eq!(
            row,
            json!({
                "name": "efficiency", "suite": "AES_128_CBC_SHA", "direction": "uplink",
                "inner_bytes": 64, "sas": 1, "cycles_per_packet": 500.0,
                "reference": "raw ipsec-mb", "reference_cycles_per_packet": 400.1,
                "ratio": 0.8, "pairs": 9, "must": 0.68, "reference_api": "burst",
                "ratio_quartiles": [0.79, 0.81], "disturbed_pairs": 2, "disturbed_left_out": true,
            })
        );
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let fault = Fault::Busy { pairs: 3 };
        let row = Row::efficiency(CASE, None, Err(fault));
        let value = serde_json::to_value(&row).unwrap();
        assert_eq!(value["ratio"], Value::Null);
        assert!(value.as_object().unwrap().contains_key("ratio"));
        assert_eq!(value["why"], "the machine is too busy: 3 pairs only");
        assert!(row.line().ends_with("not measured: the machine is too busy: 3 pairs only"));
    }
}
