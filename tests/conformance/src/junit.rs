//! Which tests ran, and how they ended: from nextest's JUnit report, or from what `cargo test`
//! prints where there is no nextest.

use crate::rows::TestName;

/// A test that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The package's name for Cargo, with `::` and the test program's name where it has one.
    pub program: String,
    /// The path of the test in its program.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
}

impl Ran {
    /// Whether this is that test.
    #[must_use]
    pub fn is(&self, test: &TestName) -> bool {
        let mut program = self.program.split("::");
        if program.next() != Some(test.crate_name()) {
            return false;
        }
        let mut parts: Vec<_> = program.chain(self.name.split("::")).collect();
        parts.pop() == Some(&test.function) && parts.contains(&test.file.as_str())
    }

    /// Whether this is that case.
    #[must_use]
    pub fn is_case(&self, case: &str) -> bool {
        self.program == "hearth-home-agent::cases" && self.name == case
    }
}

/// Reads a JUnit report.
///
/// # Errors
/// What is no XML.
pub fn parse(text: &str) -> Result<Vec<Ran>, String> {
    let document = roxmltree::Document::parse(text).map_err(|error| error.to_string())?;
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    Ok(cases
        .filter(|case| !case.children().any(|child| child.has_tag_name("skipped")))
        .map(|case| Ran {
            program: case.attribute("classname").unwrap_or_default().to_owned(),
            name: case.attribute("name").unwrap_or_default().to_owned(),
            passed: !case
                .children()
                .any(|child| child.has_tag_name("failure") || child.has_tag_name("error")),
        })
        .collect())
}

/// Reads what `cargo test` printed about the tests of one package.
#[must_use]
pub fn parse_libtest(package: &str, text: &str) -> Vec<Ran> {
    let mut program = package.to_owned();
    let mut ran = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(target) = line.strip_prefix("Running ") {
            program = program_of(package, target);
        } else if let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|test| test.rsplit_once(" ... "))
            && matches!(outcome, "ok" | "FAILED")
        {
            let (program, name) = (program.clone(), name.to_owned());
            ran.push(Ran { program, name, passed: outcome == "ok" });
        }
    }
    ran
}

/// `tests/cases/main.rs (target/debug/deps/cases-0123)` is `package::cases`.
fn program_of(package: &str, target: &str) -> String {
    let file = target.rsplit('/').next().unwrap_or_default();
    match file.rsplit_once('-') {
        Some((name, _)) if target.starts_with("tests/") => format!("{package}::{name}"),
        _ => package.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    /// As nextest 0.9 writes it.
    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="1" errors="0" uuid="x" time="0.1">
    <testsuite name="hearth-home-agent::cases" tests="2" disabled="0" errors="0" failures="1">
        <testcase name="REG-01" classname="hearth-home-agent::cases" time="0.01">
        </testcase>
        <testcase name="REG-02" classname="hearth-home-agent::cases" time="0.01">
            <failure type="test failure with exit code 101"/>
        </testcase>
    </testsuite>
    <testsuite name="hearth-wire" tests="1" disabled="0" errors="0" failures="0">
        <testcase name="mh::tests::update_survives_the_wire" classname="hearth-wire" time="0.01"/>
    </testsuite>
</testsuites>"#;

    #[test]
    fn the_report_of_nextest() {
        let ran = parse(REPORT).unwrap();
        assert!(ran[0].is_case("REG-01") && ran[0].passed);
        assert!(ran[1].is_case("REG-02") && !ran[1].passed);
        let named = |text| TestName::parse(text).unwrap();
        assert!(ran[2].is(&named("wire::mh::update_survives_the_wire")));
        assert!(!ran[2].is(&named("wire::frame::update_survives_the_wire")));
        assert!(!ran[2].is(&named("mn::mh::update_survives_the_wire")));
    }

    #[test]
    fn what_cargo_test_prints() {
        let text = "
     Running unittests src/lib.rs (target/debug/deps/hearth_home_agent-55a)

running 1 test
test wheel::tests::goes_round ... ok
     Running tests/cases/main.rs (target/debug/deps/cases-0123)
test REG-01 ... FAILED
test the_octets_are_those_of_scapy ... ignored
test result: FAILED. 3 passed; 1 failed";
        let ran = parse_libtest("hearth-home-agent", text);
        assert_eq!(ran.len(), 2);
        assert!(ran[0].is(&TestName::parse("home-agent::wheel::goes_round").unwrap()));
        assert!(ran[1].is_case("REG-01") && !ran[1].passed);
    }
}
