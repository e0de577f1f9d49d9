//! Rows for a terminal.

use std::fmt::Write as _;

use crate::frames::Direction;
use crate::report::{Row, Verdict};

/// What stands above the rows.
pub(crate) const HEADINGS: &str = "figure     suite               way      inner  cycles/p     ref/p  ratio  quartiles      must pairs disturbed";

/// A row as a line under [`HEADINGS`].
pub(crate) fn line(row: &Row) -> String {
    let way = row.direction.map_or("-", Direction::name);
    let inner = row.inner_bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
    let suite = row.suite.as_deref().unwrap_or("-");
    let mut line = format!("{:<10} {suite:<19} {way:<8} {inner:>5}", row.name);
    let Some(ratio) = row.ratio else {
        let _ = write!(line, " not measured: {}", row.why.as_deref().unwrap_or("unknown"));
        return line;
    };
    let cycles =
        |cycles: Option<f64>| cycles.map_or("-".to_owned(), |cycles| format!("{cycles:.1}"));
    let _ = write!(
        line,
        " {:>9} {:>9} {ratio:>6.3}",
        cycles(row.cycles_per_packet),
        cycles(row.reference_cycles_per_packet)
    );
    match row.quartiles {
        Some([low, high]) => {
            let _ = write!(line, " {low:>6.3}-{high:<6.3}");
        }
        None => line.push_str("              "),
    }
    let must = row.target.map_or("-".to_owned(), |target| format!("{:.2}", target.must));
    // Rows of RFC 2544 have trials.
    let count = |key: &str| row.more(key).map(ToString::to_string);
    let dash = || "-".to_owned();
    let pairs = row.pairs.map(|pairs| pairs.to_string()).or_else(|| count("trials"));
    let pairs = pairs.unwrap_or_else(dash);
    let disturbed = count("disturbed_pairs").or_else(|| count("disturbed_trials"));
    let disturbed = disturbed.unwrap_or_else(dash);
    let _ = write!(line, " {must:>5} {pairs:>5} {disturbed:>9}");
    for key in NOTES {
        if let Some(value) = row.more(key) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(line, "  {key} {text}");
        }
    }
    if let Some(sas) = row.sas.filter(|&sas| sas > 1) {
        let _ = write!(line, "  {sas} SAs");
    }
    line
}

/// Keys that tell rows of one name apart, or say more than the ratio.
const NOTES: [&str; 11] = [
    "set",
    "what",
    "mpps",
    "loss",
    "latency_us_p50",
    "latency_us_p99",
    "moves",
    "lost",
    "dropped",
    "huge_pages",
    "changes_per_second",
];

/// The rows of which something is asked, and whether they reach it.
pub(crate) fn verdicts(rows: &[Row]) -> String {
    let mut text = format!("{:<52} {:>9} {:>7} {:>7}  verdict\n", "figure", "ratio", "must", "aim");
    let number = |number: Option<f64>| number.map_or("-".to_owned(), short);
    for row in rows {
        let (Some(target), Some(verdict)) = (row.target, row.verdict()) else { continue };
        let verdict = match verdict {
            Verdict::Aim => "aim reached".to_owned(),
            Verdict::Met => "met".to_owned(),
            Verdict::Missed => "NOT MET".to_owned(),
            Verdict::NotMeasured => {
                format!("not measured: {}", row.why.as_deref().unwrap_or("unknown"))
            }
        };
        let bound = if target.at_most { "<= " } else { "" };
        let _ = writeln!(
            text,
            "{:<52} {:>9} {:>7} {:>7}  {verdict}",
            title(row),
            number(row.ratio),
            format!("{bound}{}", short(target.must)),
            number(target.aim),
        );
    }
    text
}

/// What a row is about, in words.
pub(crate) fn title(row: &Row) -> String {
    let mut words = vec![row.name.to_owned()];
    for key in ["set", "what", "kind"] {
        words.extend(row.more(key).and_then(|value| value.as_str()).map(str::to_owned));
    }
    words.extend(row.suite.clone());
    words.extend(row.direction.map(|direction| direction.name().to_owned()));
    words.extend(row.inner_bytes.map(|bytes| format!("{bytes} B")));
    words.extend(row.sas.filter(|&sas| sas > 1).map(|sas| format!("{sas} SAs")));
    words.extend(UNITS.iter().find(|(name, _)| *name == row.name).map(|(_, unit)| (*unit).into()));
    words.join(" ")
}

/// Figures that are no plain ratio, and what they are in.
const UNITS: [(&str, &str); 2] = [("memory", "(KiB)"), ("handover", "(packets)")];

fn short(number: f64) -> String {
    if number.fract() == 0.0 || number.abs() >= 1000.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.3}").trim_end_matches('0').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::report::Target;
    use hearth_wire::Suite;

    #[test]
    fn the_last_table_says_which_rows_are_met() {
        let row = |ratio: f64| {
            Row::new("efficiency", "raw ipsec-mb")
                .of(Suite::Aes128CbcSha, Direction::Uplink, 64)
                .asked(Some(Target::at_least(0.68, 0.8)))
                .counted(ratio)
        };
        let rows = [row(0.5), row(0.7), row(0.9), row(f64::NAN).failed(Fault::Pool)];
        let text = verdicts(&rows);
        let ends: Vec<_> =
            text.lines().skip(1).map(|line| line.rsplit("  ").next().unwrap()).collect();
        let missing = "not measured: the pool has run out of buffers";
        assert_eq!(ends, ["NOT MET", "met", "aim reached", missing]);
    }

    #[test]
    fn a_row_of_trials_says_how_many_were_disturbed() {
        let row = Row::new("ring", "turns").counted(0.8);
        let line = line(&row.with("trials", 14).with("disturbed_trials", 5));
        let words: Vec<_> = line.split_whitespace().rev().take(2).collect();
        assert_eq!(words, ["5", "14"], "{line}");
    }

    #[test]
    fn a_row_without_a_ratio_says_why() {
        let row = Row::new("elephant", "one worker").failed(Fault::Cores(2));
        assert!(line(&row).ends_with("not measured: it takes 2 cores"));
    }
}
