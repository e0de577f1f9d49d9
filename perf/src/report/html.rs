//! The page of plots: one file, no script, nothing fetched.

use std::fmt::Write as _;

use crate::frames::Direction;
use crate::report::plot::{Bar, Line, bars, escaped, lines, number};
use crate::report::table::title;
use crate::report::{Row, Summary, Verdict};

const STYLE: &str = include_str!("style.css");

/// A figure's name in rows, its heading, and what it says.
const FIGURES: [(&str, &str, &str); 24] = [
    (
        "efficiency",
        "Efficiency",
        "Cycles per packet of ipsec-mb alone ÷ cycles per packet of the whole pipeline, on the same \
         buffers. 1 is the physical limit.",
    ),
    (
        "scale",
        "Many SAs",
        "Throughput with N SAs addressed uniformly at random ÷ throughput with one SA. The must and \
         aim lines are those of a million.",
    ),
    (
        "memory",
        "Memory",
        "KiB of resident memory for an SA with its binding, everything counted. Less is better.",
    ),
    (
        "mix",
        "Mixed suites",
        "Throughput with all suites in each burst ÷ what runs of single suites predict, cycles added \
         up.",
    ),
    ("elephant", "One SA over two workers", "Throughput over two workers ÷ over one."),
    (
        "peers",
        "Peers",
        "Packets a second of one core ÷ those of the peer, whole path against the peer's.",
    ),
    (
        "churn",
        "Churn",
        "Throughput while tables change 50,000 times a second ÷ throughput while nothing changes.",
    ),
    (
        "handover",
        "Handover",
        "Packets that were lost while bindings moved, beyond those that had been sent. None may be.",
    ),
    (
        "ring",
        "Between two ports",
        "Throughput without loss (RFC 2544) of the whole dataplane with its worker thread ÷ what the \
         worker's turns handle on prepared buffers.",
    ),
    ("nic", "Between two NICs", "Throughput without loss (RFC 2544) ÷ the line rate of the link."),
    (
        "flood",
        "Floods",
        "Cycles of a packet that is dropped ÷ cycles of a good one. Less is better.",
    ),
    (
        "flooded",
        "Good packets in a flood",
        "Cycles of a good packet and ten of a flood apart, with the cryptography that a wrong ICV \
         forces and no other, ÷ their cycles in the same bursts.",
    ),
    (
        "soak",
        "Soak",
        "Packets of all kinds of which it is known what became of them ÷ packets sent. No buffer may \
         be missing in the end.",
    ),
    (
        "binding_updates",
        "Binding Updates",
        "Binding Updates a second by one control core over a real ring.",
    ),
    (
        "registration_storm",
        "Registration storm",
        "Mobile nodes that are registered in the end ÷ those that registered as fast as answers came.",
    ),
    (
        "expiry",
        "Expiry",
        "The longest turn of the control thread while SAs and bindings end in the same second ÷ 5 ms. \
         Less is better.",
    ),
    (
        "restart",
        "Restart",
        "From the opening of the state to the first packet that may come, for each SA ÷ 5 s for a \
         million. Less is better.",
    ),
    (
        "bootstraps",
        "Bootstraps",
        "Full bootstraps a second ÷ bare TLS handshakes a second with the same certificate.",
    ),
    (
        "idle_connections",
        "Idle connections",
        "10,000 of them: the memory of one ÷ 64 KiB, and a bootstrap beside them ÷ one without. Less \
         is better.",
    ),
    (
        "directory_updates",
        "Directory updates",
        "A thousand SAs a second: from the answer of the home agent controller until the SA is in the \
         workers' table, 999 of 1000 ÷ 5 ms. Less is better.",
    ),
    ("pipeline", "Pipeline", "Cycles per packet of a worker's turns on prepared buffers."),
    ("raw", "The limit", "Cycles per packet of ipsec-mb alone, the better of job and burst API."),
    ("stage", "Stages", "Cycles of single stages."),
    ("other", "Other rows", ""),
];

/// Figures whose plot is of cycles, not of the ratio.
const OF_CYCLES: [&str; 2] = ["pipeline", "raw"];

/// The whole page.
pub(crate) fn page(summary: &Summary) -> String {
    let mut body = String::new();
    header(&mut body, summary);
    verdicts(&mut body, &summary.rows);
    let known = |name: &str| FIGURES.iter().any(|(figure, ..)| *figure == name);
    for (name, heading, sentence) in FIGURES {
        let rows: Vec<_> = summary
            .rows
            .iter()
            .filter(|row| row.name == name || name == "other" && !known(row.name))
            .collect();
        if !rows.is_empty() {
            figure(&mut body, heading, sentence, &rows);
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Hearth performance</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n\
         </html>\n"
    )
}

fn header(body: &mut String, summary: &Summary) {
    let Summary { machine, commit, date, .. } = summary;
    let yes = |has: bool| if has { "yes" } else { "no" };
    let _ = write!(
        body,
        "<h1>Hearth performance</h1>\n<p class=\"machine\">{}, {} cores, VAES {}, SHA-NI {}; ipsec-mb {}; \
         {}; packet memory in huge pages: {}; time stamp counter {} MHz<br>commit {}, {}</p>\n\
         <p>Unless a figure says otherwise (cycles, KiB, packets that are counted, trials of RFC 2544) it \
         is a ratio taken in one process, both sides in turns, and the median over the pairs. The thin \
         line across a bar is where the middle half of the pairs lies. \
         <span class=\"key must\">must reach</span> <span class=\"key aim\">aim</span></p>\n",
        escaped(&machine.cpu),
        machine.cores,
        yes(machine.vaes),
        yes(machine.sha_ni),
        machine.ipsec_mb_arch,
        escaped(&machine.dpdk),
        yes(machine.huge_pages),
        machine.tsc_mhz,
        escaped(commit),
        escaped(date),
    );
}

fn verdicts(body: &mut String, rows: &[Row]) {
    body.push_str(
        "<h2>What must be reached</h2>\n<table>\n<tr><th>figure</th><th>ratio</th><th>must</th>\
         <th>aim</th><th>verdict</th></tr>\n",
    );
    for row in rows {
        let (Some(target), Some(verdict)) = (row.target, row.verdict()) else { continue };
        let (class, word) = match verdict {
            Verdict::Aim => ("good", "aim reached"),
            Verdict::Met => ("good", "met"),
            Verdict::Missed => ("bad", "not met"),
            Verdict::NotMeasured => ("none", "not measured"),
        };
        let cell = |value: Option<f64>| value.map_or("–".to_owned(), number);
        let bound = if target.at_most { "≤ " } else { "" };
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{bound}{}</td>\
             <td class=\"n\">{}</td><td class=\"{class}\">{word}{}</td></tr>",
            escaped(&title(row)),
            cell(row.ratio),
            number(target.must),
            cell(target.aim),
            row.why.as_ref().map(|why| format!(": {}", escaped(why))).unwrap_or_default(),
        );
    }
    body.push_str("</table>\n");
}

fn figure(body: &mut String, heading: &str, sentence: &str, rows: &[&Row]) {
    let _ = write!(body, "<h2>{heading}</h2>\n<p>{}</p>\n", escaped(sentence));
    let name = rows.first().map_or("", |row| row.name);
    if name == "scale" {
        small_multiples(body, rows);
    } else {
        // 3DES takes so many cycles that beside it nothing else is to be seen.
        let apart = |row: &&Row| {
            OF_CYCLES.contains(&name) && row.suite.as_deref().is_some_and(|s| s.starts_with("3DES"))
        };
        let (slow, usual): (Vec<&Row>, Vec<&Row>) = rows.iter().copied().partition(apart);
        for rows in [usual, slow].into_iter().filter(|rows| !rows.is_empty()) {
            let bars_of: Vec<_> = rows.into_iter().map(bar).collect();
            let _ = writeln!(body, "<div class=\"plot\">{}</div>", bars(&bars_of));
        }
    }
    details(body, rows);
}

fn bar(row: &Row) -> Bar {
    let label = title(row);
    let label = label.strip_prefix(row.name).unwrap_or(&label).trim();
    let of_cycles = OF_CYCLES.contains(&row.name);
    let peer = if row.name == "peers" {
        format!("× {} ", row.reference.split(' ').take(2).collect::<Vec<_>>().join(" "))
    } else {
        String::new()
    };
    let mut note = row.more("mpps").map(|mpps| format!(" · {mpps} Mpps")).unwrap_or_default();
    let count = |key: &str| row.more(key).and_then(serde_json::Value::as_u64);
    if let Some((disturbed @ 1.., trials)) = count("disturbed_trials").zip(count("trials")) {
        let _ = write!(note, " · {disturbed} of {trials} trials disturbed");
    }
    Bar {
        label: if label.is_empty() { row.name.to_owned() } else { format!("{peer}{label}") },
        value: if of_cycles { row.cycles_per_packet } else { row.ratio },
        quartiles: row.quartiles.filter(|_| !of_cycles),
        target: row.target,
        note,
    }
}

/// One plot for each inner size, a line for each direction.
fn small_multiples(body: &mut String, rows: &[&Row]) {
    let mut sizes: Vec<_> = rows.iter().filter_map(|row| row.inner_bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    body.push_str("<div class=\"plot\">");
    for size in sizes {
        let of_size = || rows.iter().filter(move |row| row.inner_bytes == Some(size));
        let line = |direction: Direction| {
            let own = of_size().filter(|row| row.direction == Some(direction));
            let measured = own.filter_map(|row| Some((f64::from(row.sas?), row.ratio?)));
            Line {
                label: direction.name().to_owned(),
                points: [(1.0, 1.0)].into_iter().chain(measured).collect(),
            }
        };
        let target = of_size().find_map(|row| row.target);
        body.push_str(&lines(
            &format!("{size} B inner, by SAs"),
            &Direction::BOTH.map(line),
            target,
        ));
    }
    body.push_str("</div>\n<p><span class=\"key s0\">uplink</span> <span class=\"key s1\">downlink</span></p>\n");
}

/// All keys of all rows.
fn details(body: &mut String, rows: &[&Row]) {
    let values: Vec<_> = rows.iter().filter_map(|row| serde_json::to_value(row).ok()).collect();
    let mut keys: Vec<&String> = Vec::new();
    for key in values.iter().filter_map(|value| value.as_object()).flat_map(|map| map.keys()) {
        if key != "name" && !keys.contains(&key) {
            keys.push(key);
        }
    }
    body.push_str("<details><summary>all numbers</summary>\n<div class=\"wide\"><table>\n<tr>");
    for key in &keys {
        let _ = write!(body, "<th>{}</th>", escaped(&key.replace('_', " ")));
    }
    body.push_str("</tr>\n");
    for value in &values {
        body.push_str("<tr>");
        for key in &keys {
            let text = match value.get(key.as_str()) {
                None | Some(serde_json::Value::Null) => String::new(),
                Some(serde_json::Value::String(text)) => escaped(text),
                Some(serde_json::Value::Array(pair)) => {
                    let ends: Vec<_> = pair.iter().map(ToString::to_string).collect();
                    ends.join("–")
                }
                Some(other) => escaped(&other.to_string()),
            };
            let _ = write!(body, "<td>{text}</td>");
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</table></div></details>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::report::Target;
    use hearth_wire::Suite;

    fn summary() -> Summary {
        let row = |name, sas| {
            let mut row = Row::new(name, "one SA")
                .of(Suite::Aes128CbcSha, Direction::Uplink, 64)
                .asked(Some(Target::at_least(0.5, 0.9)))
                .counted(0.6);
            row.sas = Some(sas);
            row
        };
        Summary {
            machine: Machine {
                cpu: "a <cpu>".to_owned(),
                cores: 2,
                avx512: true,
                vaes: true,
                sha_ni: true,
                ipsec_mb_arch: "AVX-512",
                dpdk: "DPDK".to_owned(),
                huge_pages: false,
                tsc_mhz: 2600.0,
            },
            commit: "c".to_owned(),
            date: "d".to_owned(),
            rows: vec![
                row("efficiency", 1),
                row("scale", 1_000_000),
                row("something new", 1),
                Row::new("elephant", "one worker").absent("no <cores>"),
            ],
        }
    }

    #[test]
    fn the_page_stands_alone() {
        let page = page(&summary());
        for foreign in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("a &lt;cpu&gt;") && !page.contains("no <cores>"));
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn units_and_disturbed_trials_are_shown() {
        let mut summary = summary();
        let ring = Row::new("ring", "turns").counted(0.8).with("trials", 14);
        summary.rows = vec![
            Row::new("memory", "1 KiB").asked(Some(Target::at_most(2.0, Some(1.0)))).counted(1.5),
            ring.clone().with("disturbed_trials", 5),
            ring.with("disturbed_trials", 0),
        ];
        let page = page(&summary);
        assert!(page.contains("<td>memory (KiB)</td><td class=\"n\">1.5"), "{page}");
        assert_eq!(page.matches("5 of 14 trials disturbed").count(), 1);
        assert!(!page.contains("0 of 14"));
    }

    #[test]
    fn every_row_is_in_a_plot() {
        let page = page(&summary());
        for heading in ["Efficiency", "Many SAs", "One SA over two workers", "Other rows"] {
            assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
        assert_eq!(page.matches("</svg>").count(), 4);
    }
}
