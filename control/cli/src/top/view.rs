//! What `hearth top` looks like, from 80 columns and 24 lines on.

use std::collections::VecDeque;

use hearth_api::{BindingRow, PortRow, WorkerRow};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table};

use super::model::{Look, Model, Rate, Rates};

/// Which table fills the lower part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    Bindings,
    Workers,
    Ports,
    Drops,
}

/// What the keys have brought about.
#[derive(Debug, Clone, Default)]
pub(super) struct Screen {
    pub(super) page: Page,
    /// The first row of the table that is shown.
    pub(super) scroll: usize,
    pub(super) search: String,
    /// Whether keys are letters of the search.
    pub(super) typing: bool,
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const ALARM: Style = Style::new().add_modifier(Modifier::REVERSED).add_modifier(Modifier::BOLD);

/// Draws all.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, screen: &Screen) {
    let alarms = alarms(model);
    let lines = u16::try_from(alarms.len()).unwrap_or(u16::MAX).min(4);
    let [head, alarm, traffic, table, keys] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(lines),
        Constraint::Length(5),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(headline(model)), head);
    frame.render_widget(Paragraph::new(alarms), alarm);
    draw_traffic(frame, traffic, model);
    if let Some(look) = &model.last {
        draw_table(frame, table, (look, &model.rates), screen);
    }
    frame.render_widget(Paragraph::new(footer(screen)), keys);
}

fn headline(model: &Model) -> Vec<Line<'static>> {
    let Some(Look { status, .. }) = &model.last else {
        return vec![Line::styled("hearthd", BOLD)];
    };
    let draining = if status.draining { "  draining" } else { "" };
    let (version, name) = (&status.version, &status.home_agent);
    let first = format!("hearthd {version}  {name}  up {}{draining}", duration(status.uptime));
    let total = status.mbufs_in_use.saturating_add(status.mbufs_available);
    let second = format!(
        "bindings {} of {}   SAs {}   routes {}   mbufs {} of {total}",
        status.bindings, status.bindings_max, status.sas, status.routes, status.mbufs_in_use
    );
    vec![Line::styled(first, BOLD), Line::raw(second)]
}

fn alarms(model: &Model) -> Vec<Line<'static>> {
    let trouble = model.trouble.iter().map(|text| format!("{text}; trying again"));
    let alarms = model.last.iter().flat_map(|look| look.status.alarms.iter().cloned());
    trouble.chain(alarms).map(|text| Line::styled(format!("! {text}"), ALARM)).collect()
}

fn draw_traffic(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = Layout::vertical([Constraint::Length(1); 5]).split(area);
    let rates = &model.rates;
    let mut line = |at: usize, name: &str, text: String, history: Option<&VecDeque<u64>>| {
        let [words, chart] =
            Layout::horizontal([Constraint::Length(44), Constraint::Min(10)]).areas(rows[at]);
        let spans = vec![Span::styled(format!("{name:<11}"), BOLD), Span::raw(text)];
        frame.render_widget(Paragraph::new(Line::from(spans)), words);
        if let Some(history) = history {
            let wide = usize::from(chart.width);
            let latest = history.iter().skip(history.len().saturating_sub(wide)).copied();
            frame.render_widget(Sparkline::default().data(latest.collect::<Vec<_>>()), chart);
        }
    };
    line(1, "uplink", rate(rates.uplink), Some(&model.uplink));
    line(2, "downlink", rate(rates.downlink), Some(&model.downlink));
    line(3, "forwarded", rate(rates.forwarded), None);
    let top = rates.drops.first().map_or(String::new(), |(reason, _)| format!("  most {reason}"));
    let text = format!("{:>8} pkt/s{top}", amount(rates.dropped));
    line(4, "dropped", text, None);
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, (look, rates): (&Look, &Rates), screen: &Screen) {
    let (heads, widths, rows): (&[&str], &[u16], Vec<Vec<String>>) = match screen.page {
        Page::Bindings => (
            &["MN-ID", "HOME ADDRESS", "CARE-OF ADDRESS", "NAT", "LEFT"],
            &[0, 24, 24, 3, 6],
            look.bindings.iter().map(binding).collect(),
        ),
        Page::Workers => (
            &["WORKER", "CORE", "USED", "", "CYCLES/PKT", "PACKETS"],
            &[6, 4, 5, 20, 10, 14],
            look.workers.iter().map(worker).collect(),
        ),
        Page::Ports => (
            &["PORT", "RECEIVED", "", "SENT", ""],
            &[12, 14, 14, 14, 14],
            look.ports.iter().zip(&rates.ports).map(port).collect(),
        ),
        Page::Drops => {
            let now = |reason: &str| {
                let found = rates.drops.iter().find(|(growing, _)| growing == reason);
                found.map_or_else(String::new, |(_, rate)| format!("{:>8}/s", amount(*rate)))
            };
            let rows = look.drops.iter().filter(|row| row.packets > 0);
            let row = |row: &hearth_api::DropRow| {
                let (reason, meaning) = (row.reason.clone(), row.description.clone());
                vec![now(&reason), row.packets.to_string(), reason, meaning]
            };
            (&["NOW", "PACKETS", "REASON", "MEANING"], &[10, 12, 24, 60], rows.map(row).collect())
        }
    };
    let last = rows.len().saturating_sub(1);
    let shown = rows.into_iter().skip(screen.scroll.min(last)).map(Row::new);
    // The one that is named first gives way to none and takes what is left.
    let widths = widths.iter().map(|width| match width {
        0 => Constraint::Fill(1),
        width => Constraint::Length(*width),
    });
    let table = Table::new(shown, widths)
        .header(Row::new(heads.iter().map(ToString::to_string)).style(BOLD))
        .column_spacing(1);
    frame.render_widget(table, area);
}

fn binding(row: &BindingRow) -> Vec<String> {
    vec![
        row.mn_id.clone(),
        row.home_address.to_string(),
        row.care_of_address.to_string(),
        if row.nat { "yes" } else { "-" }.into(),
        format!("{} s", row.remaining),
    ]
}

fn worker(row: &WorkerRow) -> Vec<String> {
    let cycles = row.cycles_per_packet.map_or_else(|| "-".into(), |it| format!("{it:.0}"));
    let state = match row.stuck_ms {
        Some(ms) => format!("stuck for {ms} ms"),
        None => bar(row.utilisation, 20),
    };
    vec![
        row.worker.to_string(),
        row.core.to_string(),
        format!("{:.0} %", row.utilisation * 100.0),
        state,
        cycles,
        row.rx_packets.to_string(),
    ]
}

fn port((row, (rx, tx)): (&PortRow, &(Rate, Rate))) -> Vec<String> {
    let packets = |rate: &Rate| format!("{} pkt/s", amount(rate.packets));
    let bits = |rate: &Rate| format!("{} bit/s", amount(rate.bits));
    vec![row.name.clone(), packets(rx), bits(rx), packets(tx), bits(tx)]
}

/// A bar of a part of 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "columns of a screen")]
fn bar(part: f64, wide: usize) -> String {
    let full = ((part.clamp(0.0, 1.0) * wide as f64).round() as usize).min(wide);
    format!("{}{}", "#".repeat(full), ".".repeat(wide - full))
}

fn footer(screen: &Screen) -> Line<'static> {
    if screen.typing {
        return Line::from(vec![
            Span::styled("search: ", BOLD),
            Span::raw(format!("{}_", screen.search)),
            Span::styled("   Enter: take it  Esc: drop it", DIM),
        ]);
    }
    let searched = match screen.search.as_str() {
        "" => String::new(),
        text => format!("/{text}  "),
    };
    let keys = "b bindings  w workers  p ports  d drops  / search  arrows scroll  q quit";
    Line::from(vec![Span::styled(searched, BOLD), Span::styled(keys, DIM)])
}

fn rate(rate: Rate) -> String {
    format!("{:>8} pkt/s {:>8} bit/s", amount(rate.packets), amount(rate.bits))
}

/// A number in at most seven columns.
pub(super) fn amount(number: f64) -> String {
    for (unit, name) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if number >= unit {
            let scale = if name == "k" { 1e3 } else { unit };
            return format!("{:.2} {name}", number / scale);
        }
    }
    format!("{number:.0} ")
}

/// Seconds in the two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
