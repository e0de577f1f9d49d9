//! Plots as inline SVG. Colours are the page's style sheet's, so that they fit light and dark.

use std::fmt::Write as _;

use crate::report::{Target, Verdict};

/// One bar, or the place of one that is missing.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: Option<f64>,
    /// Where the middle half of the measurements lies.
    pub(crate) quartiles: Option<[f64; 2]>,
    pub(crate) target: Option<Target>,
    /// Stands behind the bar.
    pub(crate) note: String,
}

/// A line through points.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 900.0;
const LABELS: f64 = 330.0;
const NOTES: f64 = 130.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
const AXIS: f64 = 26.0;

/// Horizontal bars from 0, each with the lines that it must reach and aims at.
pub(crate) fn bars(bars: &[Bar]) -> String {
    let values = bars.iter().flat_map(|bar| {
        let target = bar.target.map(|target| target.aim.unwrap_or(target.must).max(target.must));
        [bar.value, bar.quartiles.map(|[_, high]| high), target]
    });
    let largest = values.flatten().fold(0.0_f64, f64::max);
    let (step, ticks) = ticks(largest);
    let span = step * ticks as f64;
    let x = |value: f64| LABELS + (WIDTH - LABELS - NOTES) * (value / span).clamp(0.0, 1.0);
    let height = ROW * bars.len() as f64 + AXIS;
    let mut svg = open(WIDTH, height);
    for tick in 0..=ticks {
        let value = step * tick as f64;
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{1:.1}\"/>\
             <text class=\"tick\" x=\"{0:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">{3}</text>",
            x(value),
            height - AXIS,
            height - 8.0,
            number(value),
        );
    }
    for (place, bar) in bars.iter().enumerate() {
        row(&mut svg, bar, ROW * place as f64, &x);
    }
    svg.push_str("</svg>");
    svg
}

fn row(svg: &mut String, bar: &Bar, top: f64, x: &impl Fn(f64) -> f64) {
    let middle = top + ROW / 2.0;
    let _ = write!(
        svg,
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        LABELS - 8.0,
        middle + 4.0,
        escaped(&bar.label),
    );
    let Some(value) = bar.value else {
        let _ = write!(
            svg,
            "<text class=\"absent\" x=\"{:.1}\" y=\"{:.1}\">not measured</text>",
            LABELS + 6.0,
            middle + 4.0,
        );
        return;
    };
    let class = match bar.target.map(|target| target.verdict(Some(value))) {
        Some(Verdict::Missed) => "bar missed",
        _ => "bar",
    };
    let _ = write!(
        svg,
        "<rect class=\"{class}\" x=\"{LABELS}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\">\
         <title>{}: {}</title></rect>",
        middle - BAR / 2.0,
        (x(value) - LABELS).max(1.0),
        escaped(&bar.label),
        number(value),
    );
    if let Some([low, high]) = bar.quartiles {
        let _ = write!(
            svg,
            "<line class=\"spread\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>",
            x(low),
            x(high),
        );
    }
    if let Some(target) = bar.target {
        let lines = [("must", Some(target.must)), ("aim", target.aim)];
        for (class, at) in lines.into_iter().filter_map(|(class, at)| Some((class, at?))) {
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\"/>",
                x(at),
                top + 1.0,
                top + ROW - 1.0,
            );
        }
    }
    let _ = write!(
        svg,
        "<text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}{}</text>",
        WIDTH - NOTES + 8.0,
        middle + 4.0,
        number(value),
        escaped(&bar.note),
    );
}

const SIDE: f64 = 290.0;
const TALL: f64 = 230.0;
const MARGIN: [f64; 4] = [26.0, 14.0, 30.0, 40.0];

/// Lines over a logarithmic axis of powers of ten, with what the last point must reach and aims at.
pub(crate) fn lines(title: &str, lines: &[Line], target: Option<Target>) -> String {
    let [above, right, below, left] = MARGIN;
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let largest = points().map(|(_, y)| *y).fold(1.0_f64, f64::max);
    let last = points().map(|(x, _)| x.log10()).fold(1.0_f64, f64::max).ceil();
    let (step, count) = ticks(largest);
    let x = |value: f64| left + (SIDE - left - right) * value.log10() / last;
    let y = |value: f64| {
        TALL - below - (TALL - above - below) * (value / (step * count as f64)).clamp(0.0, 1.0)
    };
    let mut svg = open(SIDE, TALL);
    let _ = write!(svg, "<text class=\"title\" x=\"{left}\" y=\"16\">{}</text>", escaped(title));
    for tick in 0..=count {
        let value = step * tick as f64;
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>\
             <text class=\"tick\" x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
            SIDE - right,
            y(value),
            left - 5.0,
            y(value) + 4.0,
            number(value),
        );
    }
    let mut power = 0.0;
    while power <= last {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(10_f64.powf(power)),
            TALL - 12.0,
            power_name(power),
        );
        power += 1.0;
    }
    if let Some(target) = target {
        let levels = [("must", Some(target.must)), ("aim", target.aim)];
        for (class, at) in levels.into_iter().filter_map(|(class, at)| Some((class, at?))) {
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>",
                SIDE - right,
                y(at),
            );
        }
    }
    for (place, line) in lines.iter().enumerate() {
        let path: Vec<_> =
            line.points.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py))).collect();
        let _ = write!(svg, "<polyline class=\"line s{place}\" points=\"{}\"/>", path.join(" "));
        for (px, py) in &line.points {
            let _ = write!(
                svg,
                "<circle class=\"dot s{place}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\">\
                 <title>{}, {}: {}</title></circle>",
                x(*px),
                y(*py),
                escaped(&line.label),
                number(*px),
                number(*py),
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

fn open(width: f64, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" \
         xmlns=\"http://www.w3.org/2000/svg\">"
    )
}

fn power_name(power: f64) -> &'static str {
    const NAMES: [&str; 8] = ["1", "10", "100", "1k", "10k", "100k", "1M", "10M"];
    #[expect(clippy::cast_possible_truncation, reason = "a small number")]
    NAMES.get(power as usize).copied().unwrap_or("")
}

/// A step of 1, 2 or 5 times a power of ten, and how many of them hold the largest value.
fn ticks(largest: f64) -> (f64, usize) {
    let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
    let power = 10_f64.powf((largest / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|step| largest / step <= 6.0).unwrap_or(power * 10.0);
    #[expect(clippy::cast_possible_truncation, reason = "six at most")]
    (step, (largest / step).ceil().max(1.0) as usize)
}

/// A number as a person writes it.
pub(crate) fn number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        return format!("{value:.0}");
    }
    let text = format!("{value:.3}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Text that stands in a page as it is.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_hold_the_largest_value() {
        for (largest, expected) in [
            (1.0, (0.2, 5)),
            (0.95, (0.2, 5)),
            (2.3, (0.5, 5)),
            (7000.0, (2000.0, 4)),
            (0.0, (0.2, 5)),
        ] {
            let (step, count) = ticks(largest);
            assert!((step - expected.0).abs() < 1e-9, "{largest}: {step}");
            assert_eq!(count, expected.1, "{largest}");
        }
    }

    #[test]
    fn a_bar_shows_both_lines_and_a_missing_one_says_so() {
        let bar = |value| Bar {
            label: "a < b & c".to_owned(),
            value,
            quartiles: Some([0.4, 0.6]),
            target: Some(Target::at_least(0.7, 0.9)),
            note: String::new(),
        };
        let svg = bars(&[bar(Some(0.5)), bar(None)]);
        assert_eq!(svg.matches("class=\"must\"").count(), 1);
        assert_eq!(svg.matches("class=\"aim\"").count(), 1);
        assert_eq!(svg.matches("class=\"bar missed\"").count(), 1);
        assert_eq!(svg.matches("not measured").count(), 1);
        assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("a < b"));
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.5, "0.5"), (2.0, "2"), (0.1234, "0.123"), (1234.5, "1234"), (0.0, "0")]
        {
            assert_eq!(number(value), text);
        }
    }
}
