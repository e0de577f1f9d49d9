//! The report as a picture: paths, gaps, loss and throughput over time, as SVG.

use std::fmt::Write as _;

use super::report::Report;

const WIDTH: f64 = 1500.0;
/// Where time begins and ends.
const LEFT: f64 = 190.0;
const RIGHT: f64 = WIDTH - 30.0;
const LANE: f64 = 34.0;
/// Tops of the parts.
const LANES: f64 = 96.0;
const SPEEDS: f64 = LANES + 5.0 * LANE + 40.0;
const SPEEDS_HIGH: f64 = 120.0;
const GAPS: f64 = SPEEDS + SPEEDS_HIGH + 50.0;
const GAPS_HIGH: f64 = 130.0;
const TABLE: f64 = GAPS + GAPS_HIGH + 70.0;
const ROW: f64 = 24.0;

const PATHS: [(&str, &str, &str); 5] = [
    ("ipv6", "IPv6 network", "#2b6cb0"),
    ("ipv4 nat", "IPv4 behind a NAT", "#c05621"),
    ("ipv4", "IPv4", "#b7791f"),
    ("home", "home link", "#2f855a"),
    ("none", "no network", "#9b2c2c"),
];

/// Shortest and longest gap that the scale has, in milliseconds.
const SCALE: (f64, f64) = (10.0, 10_000.0);

/// The picture.
#[must_use]
pub(super) fn draw(report: &Report) -> String {
    let height = TABLE + 40.0 + ROW * f64::from(u32::try_from(report.events.len()).unwrap_or(0));
    let mut out = String::new();
    let _infallible = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="14" fill="#1a202c">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##
    );
    heading(&mut out, report);
    lanes(&mut out, report);
    speeds(&mut out, report);
    gaps(&mut out, report);
    marks(&mut out, report);
    table(&mut out, report);
    out.push_str("</svg>\n");
    out
}

fn x(report: &Report, seconds: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * (seconds / report.seconds.max(1.0)).clamp(0.0, 1.0)
}

fn text(out: &mut String, (x, y): (f64, f64), more: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _infallible = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" {more}>{words}</text>"#);
}

fn line(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), more: &str) {
    let _infallible =
        writeln!(out, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {more}/>"#);
}

fn rect(out: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), more: &str) {
    let _infallible = writeln!(
        out,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" {more}/>"#,
        width.max(0.0),
        height.max(0.0)
    );
}

fn heading(out: &mut String, report: &Report) {
    let verdict = match &report.error {
        None => "one TCP connection, both ways, never lost",
        Some(_) => "FAILED",
    };
    text(out, (20.0, 36.0), r#"font-size="22" font-weight="bold""#, &format!("Roaming: {verdict}"));
    #[allow(clippy::cast_precision_loss)] // a figure for people
    let mebibytes = |octets: u64| octets as f64 / 1_048_576.0;
    let words = format!(
        "{} events in {:.0} s; {:.1} MiB down and {:.1} MiB up; a probe every {:.0} ms, {} answers came twice",
        report.events.len(),
        report.seconds,
        mebibytes(report.octets_down),
        mebibytes(report.octets_up),
        report.probe_period_ms,
        report.duplicates
    );
    text(out, (20.0, 60.0), r##"fill="#4a5568""##, &words);
}

fn lanes(out: &mut String, report: &Report) {
    let used = |name: &str| report.timeline.iter().any(|span| span.path == name);
    let paths = PATHS.into_iter().filter(|(name, ..)| used(name));
    for ((name, label, colour), at) in paths.zip(0_u8..) {
        let y = LANES + LANE * f64::from(at);
        text(out, (LEFT - 12.0, y + 21.0), r#"text-anchor="end""#, label);
        rect(out, (LEFT, y + 3.0), (RIGHT - LEFT, LANE - 6.0), r##"fill="#f7fafc""##);
        for span in report.timeline.iter().filter(|span| span.path == name) {
            let (from, to) = (x(report, span.from_s), x(report, span.until_s));
            let fill = format!(r#"fill="{colour}" rx="2""#);
            rect(out, (from, y + 5.0), ((to - from).max(2.0), LANE - 10.0), &fill);
        }
    }
}

fn speeds(out: &mut String, report: &Report) {
    // What was held up and comes in one burst would flatten all the rest.
    let mut all: Vec<f64> =
        report.throughput.iter().flat_map(|it| [it.down_mbit, it.up_mbit]).collect();
    all.sort_by(f64::total_cmp);
    let most = all.get(all.len() * 9 / 10).copied().unwrap_or(1.0).max(0.5) * 2.0;
    let most = most.ceil();
    let bottom = SPEEDS + SPEEDS_HIGH;
    text(out, (LEFT - 12.0, SPEEDS + 12.0), r#"text-anchor="end""#, &format!("{most:.0} Mbit/s"));
    text(out, (LEFT - 12.0, SPEEDS + 60.0), r##"text-anchor="end" fill="#2c5282""##, "down");
    text(out, (LEFT - 12.0, SPEEDS + 80.0), r##"text-anchor="end" fill="#38a169""##, "up");
    text(out, (LEFT - 12.0, bottom), r#"text-anchor="end""#, "0");
    line(out, (LEFT, bottom), (RIGHT, bottom), r##"stroke="#a0aec0""##);
    let mut curve = |colour: &str, of: fn(&super::report::Speed) -> f64| {
        let mut points = String::new();
        for speed in &report.throughput {
            let y = bottom - SPEEDS_HIGH * (of(speed) / most).min(1.0);
            let _infallible = write!(points, "{:.1},{y:.1} ", x(report, speed.at_s));
        }
        let _infallible = writeln!(
            out,
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>"#
        );
    };
    curve("#2c5282", |speed| speed.down_mbit);
    curve("#38a169", |speed| speed.up_mbit);
}

fn gaps(out: &mut String, report: &Report) {
    let bottom = GAPS + GAPS_HIGH;
    let high = |milliseconds: f64| {
        let part = (milliseconds.max(SCALE.0) / SCALE.0).log10() / (SCALE.1 / SCALE.0).log10();
        GAPS_HIGH * part.clamp(0.0, 1.0)
    };
    for (gap, label) in [(10.0, "10 ms"), (100.0, "100 ms"), (1000.0, "1 s"), (10_000.0, "10 s")] {
        let y = bottom - high(gap);
        line(out, (LEFT, y), (RIGHT, y), r##"stroke="#e2e8f0""##);
        text(out, (LEFT - 12.0, y + 5.0), r#"text-anchor="end""#, label);
    }
    text(
        out,
        (20.0, GAPS - 12.0),
        r##"fill="#4a5568""##,
        "longest gap of each event, and packets lost",
    );
    for event in &report.events {
        let (at, height) = (x(report, event.at_s), high(event.gap_ms));
        let colour = if event.packets_lost == 0 { "#68d391" } else { "#f6ad55" };
        let fill = format!(r#"fill="{colour}""#);
        rect(out, (at, bottom - height), (14.0, height.max(2.0)), &fill);
        let words = format!("{:.0} ms, {} lost", event.gap_ms, event.packets_lost);
        let more = format!(
            r#"font-size="12" transform="rotate(-90 {:.1} {:.1})""#,
            at + 28.0,
            bottom - 4.0
        );
        text(out, (at + 28.0, bottom - 4.0), &more, &words);
    }
    let step = [5.0, 10.0, 20.0, 30.0, 60.0];
    let step = step.into_iter().find(|step| report.seconds / step <= 14.0).unwrap_or(120.0);
    let mut second = 0.0;
    while second <= report.seconds {
        let words = format!("{second:.0} s");
        text(
            out,
            (x(report, second), bottom + 24.0),
            r##"text-anchor="middle" fill="#4a5568""##,
            &words,
        );
        second += step;
    }
}

/// A numbered line through everything where each event begins.
fn marks(out: &mut String, report: &Report) {
    for (event, number) in report.events.iter().zip(1..) {
        let at = x(report, event.at_s);
        let more = r##"stroke="#718096" stroke-dasharray="3 3" stroke-opacity="0.7""##;
        line(out, (at, LANES - 6.0), (at, GAPS + GAPS_HIGH), more);
        let more = r#"text-anchor="middle" font-weight="bold" font-size="13""#;
        text(out, (at, LANES - 10.0), more, &number.to_string());
    }
}

fn table(out: &mut String, report: &Report) {
    let columns = [20.0, 60.0, 560.0, 700.0, 840.0, 970.0, 1130.0];
    let head = ["", "event", "from", "to", "gap", "lost", "registered in"];
    for (words, at) in head.into_iter().zip(columns) {
        text(out, (at, TABLE), r#"font-weight="bold""#, words);
    }
    let mut y = TABLE;
    for (event, number) in report.events.iter().zip(1..) {
        y += ROW;
        let registered =
            event.registration_ms.map_or_else(|| "-".into(), |took| format!("{took:.0} ms"));
        let cells = [
            number.to_string(),
            event.name.clone(),
            event.from.clone(),
            event.to.clone(),
            format!("{:.0} ms", event.gap_ms),
            format!("{} of {}", event.packets_lost, event.packets_sent),
            registered,
        ];
        for (words, at) in cells.iter().zip(columns) {
            text(out, (at, y), "", words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roam::report::{EventReport, Span, Speed};

    #[test]
    fn the_picture_is_well_formed_and_says_what_happened() {
        let event = EventReport {
            name: "a <network> & its end".into(),
            at_s: 1.0,
            until_s: 2.0,
            from: "ipv6".into(),
            to: "none".into(),
            gap_ms: 12.0,
            packets_lost: 3,
            packets_sent: 90,
            registration_ms: None,
        };
        let report = Report {
            ok: true,
            error: None,
            seconds: 10.0,
            octets_down: 1,
            octets_up: 2,
            probe_period_ms: 10.0,
            duplicates: 0,
            events: vec![event],
            timeline: vec![Span { path: "ipv6".into(), from_s: 0.0, until_s: 1.0 }],
            throughput: vec![Speed { at_s: 0.1, down_mbit: 2.0, up_mbit: 1.0 }],
        };
        let svg = draw(&report);
        assert!(svg.contains("a &lt;network> &amp; its end") && svg.contains("12 ms, 3 lost"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roam.svg");
        std::fs::write(&path, svg).unwrap();
        let parse = "import sys, xml.dom.minidom as m; m.parse(sys.argv[1])";
        let mut python = std::process::Command::new("/usr/bin/python3");
        crate::netns::run(python.args(["-c", parse]).arg(&path)).unwrap();
    }
}
