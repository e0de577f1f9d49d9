//! The rows of the list, each with its proof: `rows.tsv`.
//!
//! ```text
//! ID <tab> LEVEL <tab> WHAT <tab> PROOFS <tab> REST
//! ```
//!
//! A proof is `case` (every case file whose first line names the row) or a test as
//! `package::file::function`; several are divided by commas. What no proof shows stands in the
//! rest: `missing: ...`, `exception: ...` or `later: ...`.

use core::fmt;

/// The areas in their order, and how many rows each has.
pub const AREAS: [(&str, u8); 16] = [
    ("ENC", 45),
    ("SA", 16),
    ("HAC", 42),
    ("EAP", 13),
    ("MHP", 13),
    ("REG", 32),
    ("DRG", 10),
    ("TUN", 15),
    ("MTU", 7),
    ("ND", 9),
    ("DHD", 8),
    ("MPD", 8),
    ("DSM", 19),
    ("NEM", 12),
    ("MCA", 14),
    ("EXT", 8),
];

/// Short names of the packages, as docs/rfc-map.md has them, and their folders.
pub const PACKAGES: [(&str, &str, &str); 11] = [
    ("wire", "hearth-wire", "wire"),
    ("dpdk", "hearth-dpdk", "dpdk-build/dpdk"),
    ("dataplane", "hearth-dataplane", "dataplane"),
    ("home-agent", "hearth-home-agent", "control/home-agent"),
    ("store", "hearth-store", "control/store"),
    ("hearthd", "hearthd", "control/hearthd"),
    ("hac", "hearth-hac", "hac"),
    ("esp", "hearth-esp", "esp"),
    ("mn", "hearth-mn", "mn-tools"),
    ("perf", "hearth-perf", "perf"),
    ("e2e", "hearth-e2e", "tests/e2e"),
];

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `AREA-NN`.
    pub id: String,
    /// M, S, Y, R or P.
    pub level: String,
    /// What it asks, in short.
    pub what: String,
    /// What shows it.
    pub proofs: Vec<Proof>,
    /// What nothing shows.
    pub rest: Option<Rest>,
}

impl Row {
    /// The area of its id.
    #[must_use]
    pub fn area(&self) -> &str {
        self.id.split('-').next().unwrap_or_default()
    }
}

/// What shows that a row is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Every case whose first line names the row.
    Cases,
    /// One test.
    Test(TestName),
}

/// `package::file::function`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TestName {
    /// The short name of the package.
    pub package: String,
    /// A folder, file or module in which the test stands.
    pub file: String,
    /// The function.
    pub function: String,
}

impl TestName {
    /// Reads a name; `None` for what is none of a package that we have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split("::");
        let (package, file, function) = (parts.next()?, parts.next()?, parts.next()?);
        let is_name = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let known = PACKAGES.iter().any(|known| known.0 == package);
        (parts.next().is_none() && known && is_name(file) && is_name(function)).then(|| Self {
            package: package.to_owned(),
            file: file.to_owned(),
            function: function.to_owned(),
        })
    }

    /// The package's name for Cargo.
    #[must_use]
    pub fn crate_name(&self) -> &'static str {
        PACKAGES.iter().find(|known| known.0 == self.package).map_or("", |known| known.1)
    }

    /// Whether the test needs the lab of network namespaces and the daemons: `make conformance`
    /// leaves it to `make test`.
    #[must_use]
    pub fn is_in_lab(&self) -> bool {
        self.package == "e2e" || self.file == "netns"
    }
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}::{}", self.package, self.file, self.function)
    }
}

/// What of a row nothing shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// It is to be built and is not.
    Missing(String),
    /// It is not to be built, and why.
    Exception(String),
    /// It comes with a later issue.
    Later(String),
}

/// Reads `rows.tsv`.
///
/// # Errors
/// Every line that is no row, and every id that is missing, there twice or out of place.
pub fn parse(text: &str) -> Result<Vec<Row>, Vec<String>> {
    let mut wrong = Vec::new();
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match row(line) {
            Ok(row) => rows.push(row),
            Err(error) => wrong.push(format!("rows.tsv:{number}: {error}")),
        }
    }
    let ids =
        AREAS.iter().flat_map(|(area, rows)| (1..=*rows).map(move |n| format!("{area}-{n:02}")));
    let ids: Vec<_> = ids.collect();
    for id in &ids {
        match rows.iter().filter(|row| row.id == *id).count() {
            1 => {}
            0 => wrong.push(format!("{id} is missing in rows.tsv")),
            _ => wrong.push(format!("{id} stands twice in rows.tsv")),
        }
    }
    for row in rows.iter().filter(|row| !ids.contains(&row.id)) {
        wrong.push(format!("{} is no row of the list", row.id));
    }
    if wrong.is_empty() { Ok(rows) } else { Err(wrong) }
}

fn row(line: &str) -> Result<Row, String> {
    let mut fields = line.split('\t');
    let mut next = || fields.next().unwrap_or_default().trim().to_owned();
    let (id, level, what, proofs, rest) = (next(), next(), next(), next(), next());
    if fields.next().is_some() || !"MSYRP".contains(&level) || level.len() != 1 || what.is_empty() {
        return Err("not ID, LEVEL, WHAT, PROOFS, REST".into());
    }
    let proof = |name: &str| match name {
        "case" => Ok(Proof::Cases),
        name => TestName::parse(name).map(Proof::Test).ok_or_else(|| format!("no test: {name}")),
    };
    let names = proofs.split(',').map(str::trim).filter(|name| !name.is_empty());
    let proofs: Vec<_> = names.map(proof).collect::<Result<_, _>>()?;
    let rest = match rest.split_once(": ") {
        None if rest.is_empty() => None,
        Some(("missing", why)) => Some(Rest::Missing(why.to_owned())),
        Some(("exception", why)) => Some(Rest::Exception(why.to_owned())),
        Some(("later", why)) => Some(Rest::Later(why.to_owned())),
        _ => return Err(format!("neither missing, exception nor later: {rest}")),
    };
    if proofs.is_empty() && rest.is_none() {
        return Err(format!("{id} has no proof"));
    }
    Ok(Row { id, level, what, proofs, rest })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read() {
        let row =
            row("REG-05\tR\tloops\tcase, home-agent::registration::reg_05\tmissing: prefixes");
        let test = TestName::parse("home-agent::registration::reg_05").unwrap();
        assert_eq!(
            row.unwrap(),
            Row {
                id: "REG-05".into(),
                level: "R".into(),
                what: "loops".into(),
                proofs: vec![Proof::Cases, Proof::Test(test)],
                rest: Some(Rest::Missing("prefixes".into())),
            }
        );
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for line in [
            "REG-05\tR\tloops",
            "REG-05\tR\tloops\t\t",
            "REG-05\tX\tloops\tcase\t",
            "REG-05\tR\tloops\tnobody::file::function\t",
            "REG-05\tR\tloops\tcase\tsoon",
            "REG-05\tR\tloops\tcase\t\tmore",
        ] {
            assert!(row(line).is_err(), "{line}");
        }
    }

    #[test]
    fn every_id_once() {
        let all = AREAS.iter().flat_map(|(area, n)| (1..=*n).map(move |n| (*area, n)));
        let text: String = all.map(|(area, n)| format!("{area}-{n:02}\tM\tx\tcase\t\n")).collect();
        assert_eq!(parse(&text).unwrap().len(), 271);
        let twice = format!("{text}REG-01\tM\tx\tcase\t\nREG-33\tM\tx\tcase\t\n");
        let without = text.replace("ND-09\tM\tx\tcase\t\n", "");
        assert_eq!(parse(&twice).unwrap_err().len(), 2);
        assert_eq!(parse(&without).unwrap_err(), ["ND-09 is missing in rows.tsv"]);
    }
}
