//! Rows and what ran, joined: the list by area.

use core::fmt::Write;
use std::collections::BTreeMap;

use crate::case::Case;
use crate::junit::Ran;
use crate::rows::{AREAS, Proof, Rest, Row};

/// How a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Everything that it asks is shown.
    Pass,
    /// A proof failed, did not run or does not exist.
    Fail,
    /// What is not kept is an exception with its reason.
    Exception,
    /// What is not shown yet is for a later issue.
    Later,
    /// All proofs are end-to-end tests, which this run left out.
    Lab,
    /// Some of it is not there.
    Missing,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Pass, Self::Fail, Self::Exception, Self::Later, Self::Lab, Self::Missing];

    const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Exception => "exception",
            Self::Later => "later",
            Self::Lab => "in the lab",
            Self::Missing => "MISSING",
        }
    }
}

/// The whole list.
#[derive(Debug)]
pub struct Report {
    /// What to print.
    pub text: String,
    /// Whether every row stands as `rows.tsv` says.
    pub is_good: bool,
}

/// Joins rows, cases and what ran. `lab` says whether the end-to-end tests were part of the run.
#[must_use]
pub fn of(rows: &[Row], cases: &[Case], ran: &[Ran], lab: bool) -> Report {
    let judged: Vec<_> = rows.iter().map(|row| (row, judge(row, cases, ran, lab))).collect();
    let mut text = String::new();
    for (area, _) in AREAS {
        let _ = writeln!(text, "{area}");
        for (row, judged) in judged.iter().filter(|(row, _)| row.area() == area) {
            let (id, word) = (&row.id, judged.state.word());
            let _ = writeln!(text, "  {id:<7} {} {word:<10} {}", row.level, row.what);
            for remark in &judged.remarks {
                let _ = writeln!(text, "  {:<20} {remark}", "");
            }
        }
    }
    let orphans = orphans(rows, cases);
    for orphan in &orphans {
        let _ = writeln!(text, "{orphan}");
    }
    let mut counts: BTreeMap<State, usize> = BTreeMap::new();
    for (_, judged) in &judged {
        *counts.entry(judged.state).or_default() += 1;
    }
    let shown = State::ALL
        .iter()
        .filter_map(|state| counts.get(state).map(|count| format!("{count} {}", state.word())));
    let shown: Vec<_> = shown.collect();
    let _ = writeln!(text, "{} rows: {}", rows.len(), shown.join(", "));
    let is_good = orphans.is_empty() && !counts.contains_key(&State::Fail);
    Report { text, is_good }
}

struct Judged {
    state: State,
    remarks: Vec<String>,
}

fn judge(row: &Row, cases: &[Case], ran: &[Ran], lab: bool) -> Judged {
    let mut remarks = Vec::new();
    let (mut passed, mut failed, mut left_out) = (0_usize, 0_usize, 0_usize);
    let mut count = |name: &str, found: &[&Ran]| {
        if found.is_empty() {
            failed += 1;
            remarks.push(format!("did not run: {name}"));
        } else if found.iter().all(|ran| ran.passed) {
            passed += 1;
        } else {
            failed += 1;
            remarks.push(format!("failed: {name}"));
        }
    };
    for proof in &row.proofs {
        match proof {
            Proof::Test(test) if test.is_in_lab() && !lab => left_out += 1,
            Proof::Test(test) => {
                let found: Vec<_> = ran.iter().filter(|ran| ran.is(test)).collect();
                count(&test.to_string(), &found);
            }
            Proof::Cases => {
                let shows = |case: &&Case| case.rows.contains(&row.id);
                let named: Vec<_> = cases.iter().filter(shows).map(|case| &case.name).collect();
                if named.is_empty() {
                    count("a case that names this row", &[]);
                }
                for name in named {
                    let found: Vec<_> = ran.iter().filter(|ran| ran.is_case(name)).collect();
                    count(&format!("case {name}"), &found);
                }
            }
        }
    }
    if left_out > 0 {
        remarks.push(format!("{left_out} of its proofs run in the lab: make test"));
    }
    let (rest, said) = match &row.rest {
        None => (None, None),
        Some(Rest::Missing(why)) => (Some(State::Missing), Some(format!("missing: {why}"))),
        Some(Rest::Exception(why)) => (Some(State::Exception), Some(format!("exception: {why}"))),
        Some(Rest::Later(why)) => (Some(State::Later), Some(format!("later: {why}"))),
    };
    remarks.extend(said);
    let state = match (failed, rest, passed) {
        (1.., _, _) => State::Fail,
        (0, Some(rest), _) => rest,
        (0, None, 0) => State::Lab,
        (0, None, _) => State::Pass,
    };
    Judged { state, remarks }
}

/// Cases that no row counts.
fn orphans(rows: &[Row], cases: &[Case]) -> Vec<String> {
    let mut orphans = Vec::new();
    for case in cases {
        for id in &case.rows {
            let counts = |row: &Row| row.id == *id && row.proofs.contains(&Proof::Cases);
            if !rows.iter().any(counts) {
                orphans.push(format!("FAIL case {}: rows.tsv has no `case` at {id}", case.name));
            }
        }
    }
    orphans
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rows::TestName;

    fn row(proofs: &[&str], rest: Option<Rest>) -> Row {
        let proof = |name: &&str| match *name {
            "case" => Proof::Cases,
            name => Proof::Test(TestName::parse(name).unwrap()),
        };
        Row {
            id: "REG-01".into(),
            level: "M".into(),
            what: "what".into(),
            proofs: proofs.iter().map(proof).collect(),
            rest,
        }
    }

    fn case(name: &str) -> Case {
        let path = format!("reg/{name}.case");
        Case::parse(Path::new(&path), "REG-01 M RFC 6275\nA title\n").unwrap()
    }

    fn ran(name: &str, passed: bool) -> Ran {
        Ran { program: "hearth-home-agent::cases".into(), name: name.into(), passed }
    }

    fn state(row: &Row, cases: &[Case], ran: &[Ran], lab: bool) -> State {
        judge(row, cases, ran, lab).state
    }

    #[test]
    fn a_row_is_what_its_proofs_say() {
        let cases = [case("REG-01"), case("REG-01-b")];
        let both = row(&["case"], None);
        let good = [ran("REG-01", true), ran("REG-01-b", true)];
        assert_eq!(state(&both, &cases, &good, false), State::Pass);
        assert_eq!(state(&both, &cases, &good[..1], false), State::Fail, "one did not run");
        let bad = [ran("REG-01", true), ran("REG-01-b", false)];
        assert_eq!(state(&both, &cases, &bad, false), State::Fail);
        assert_eq!(state(&both, &[], &good, false), State::Fail, "no case names it");
        let missing = Some(Rest::Missing("the rest".into()));
        assert_eq!(state(&row(&["case"], missing.clone()), &cases, &good, false), State::Missing);
        assert_eq!(state(&row(&["case"], missing), &cases, &bad, false), State::Fail);
        let exception = Some(Rest::Exception("why".into()));
        assert_eq!(state(&row(&[], exception), &[], &[], false), State::Exception);
    }

    #[test]
    fn what_runs_in_the_lab_only_is_no_pass() {
        let row = row(&["e2e::suites::aes_128_cbc_sha"], None);
        assert_eq!(state(&row, &[], &[], false), State::Lab);
        assert_eq!(state(&row, &[], &[], true), State::Fail);
        let program = "hearth-e2e::suites".into();
        let ran = Ran { program, name: "aes_128_cbc_sha".into(), passed: true };
        assert_eq!(state(&row, &[], &[ran], true), State::Pass);
    }

    #[test]
    fn a_case_that_no_row_counts_is_told() {
        let rows = [row(&["home-agent::registration::reg_01"], None)];
        let program = "hearth-home-agent::conformance".into();
        let ran = Ran { program, name: "registration::reg_01".into(), passed: true };
        let report = of(&rows, &[case("REG-01")], std::slice::from_ref(&ran), false);
        assert!(!report.is_good, "{}", report.text);
        assert!(of(&rows, &[], &[ran], false).is_good);
    }
}
