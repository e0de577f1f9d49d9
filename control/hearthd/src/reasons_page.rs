//! `docs/reasons.md`: every drop reason and every status, as the code knows them.
//!
//! `HEARTH_WRITE_DOCS=1 cargo nextest run -p hearthd reasons_page` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use hearth_api::explain::{Kind, STATUSES};
use hearth_wire::hac::message::StatusCode;
use hearth_wire::mh::{FlowStatus, Ipv4AckStatus, RevocationStatus, Status};

use crate::drops::drop_reasons;

const HEAD: &str = "\
# Drop reasons and statuses

[Troubleshooting](troubleshooting.md) begins with what you see; this page is for who has a name or a
number already. `hearth explain NAME` and `hearth explain NUMBER` say the same. It is written by a
test from the code's own tables, see [CONTRIBUTING.md](../CONTRIBUTING.md).

## Drop reasons

`hearth show drops` and the metric `hearth_drops_total` count packets that stopped under these names.
A packet that stops is counted once. Some drops are normal on a healthy network: look at those that grow.

";

/// A cell of a table: no column ends in the middle of it.
fn cell(words: &str) -> String {
    words.replace('|', "\\|")
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| reason | meaning | cause | remedy |\n|---|---|---|---|\n");
    for (_, row) in drop_reasons() {
        let [description, cause, remedy] =
            [row.description, row.cause, row.remedy].map(|words| cell(&words));
        let _infallible =
            writeln!(page, "| `{}` | {description} | {cause} | {remedy} |", row.reason);
    }
    page.push_str("\n## Statuses\n");
    for kind in Kind::ALL {
        let head = "| status | name | cause | remedy |\n|---|---|---|---|";
        let _infallible = writeln!(page, "\n### {}\n\n{head}", kind.name());
        for it in STATUSES.iter().filter(|it| it.kind == kind) {
            let [name, cause, remedy] = [it.name, it.cause, it.remedy].map(cell);
            let _infallible = writeln!(page, "| {} | {name} | {cause} | {remedy} |", it.code);
        }
    }
    page
}

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reasons.md");
    let page = page();
    if std::env::var_os("HEARTH_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(there == page, "docs/reasons.md is old; HEARTH_WRITE_DOCS=1 writes it anew");
}

#[test]
fn every_status_on_the_wire_has_words() {
    let of = |kind: Kind| {
        let codes = STATUSES.iter().filter(|it| it.kind == kind).map(|it| it.code);
        codes.collect::<Vec<_>>()
    };
    fn codes<S: Copy>(all: &[S], code: fn(S) -> u8) -> Vec<u16> {
        all.iter().map(|status| u16::from(code(*status))).collect()
    }
    assert_eq!(of(Kind::BindingAcknowledgement), codes(Status::ALL, |it| it.0));
    assert_eq!(of(Kind::Ipv4Acknowledgement), codes(Ipv4AckStatus::ALL, |it| it.0));
    assert_eq!(of(Kind::Flow), codes(FlowStatus::ALL, |it| it.0));
    assert_eq!(of(Kind::Revocation), codes(RevocationStatus::ALL, |it| it.0));
    assert_eq!(of(Kind::Hac), StatusCode::ALL.map(StatusCode::code));
}
