//! Metrics at one instant, in the text formats that Prometheus scrapes.
//!
//! Whoever is scraped fills a [`Sheet`] from counters that it has anyway: nothing is counted for it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
pub use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// A way to write them down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own text format 0.0.4, for whoever does not ask for another one.
    Text,
}

impl Format {
    /// The one that is meant by a request's `Accept`.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// As a `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What distinguishes the samples of one metric.
pub type Labels = Vec<(&'static str, String)>;

#[derive(Debug, Clone)]
enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Histogram),
}

impl Value {
    fn kind(&self) -> MetricType {
        match self {
            Self::Counter(value) => ConstCounter::new(*value).metric_type(),
            Self::Gauge(value) => ConstGauge::new(*value).metric_type(),
            Self::Histogram(value) => value.metric_type(),
        }
    }

    fn encode(&self, sample: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter(value) => ConstCounter::new(*value).encode(sample),
            Self::Gauge(value) => ConstGauge::new(*value).encode(sample),
            Self::Histogram(value) => value.encode(sample),
        }
    }
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, Value)>,
}

/// Metrics to be.
#[derive(Debug, Default)]
pub struct Sheet(Vec<Family>);

impl Sheet {
    /// Something that only grows; the text says `NAME_total`. A metric without samples is left out.
    pub fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.add(name, help, samples.into_iter().map(|(labels, it)| (labels, Value::Counter(it))));
    }

    /// Something that grows and shrinks.
    pub fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        self.add(name, help, samples.into_iter().map(|(labels, it)| (labels, Value::Gauge(it))));
    }

    /// How something that was observed again and again is spread, seconds as a rule.
    pub fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, Histogram)>,
    ) {
        let samples = samples.into_iter().map(|(labels, it)| (labels, Value::Histogram(it)));
        self.add(name, help, samples);
    }

    /// One counter.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, help, [(Labels::new(), value)]);
    }

    /// One gauge.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.gauges(name, help, [(Labels::new(), value)]);
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl Iterator<Item = (Labels, Value)>,
    ) {
        let samples: Vec<_> = samples.collect();
        if !samples.is_empty() {
            self.0.push(Family { name, help, samples });
        }
    }

    /// The text.
    ///
    /// # Errors
    /// None that is known of: it is written into memory.
    pub fn to_text(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Text => without_families(&text),
        })
    }
}

/// Rewrites OpenMetrics, where a counter's name and that of its sample differ by `_total`, for
/// readers to whom they are one.
fn without_families(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut help = None;
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let suffix = if rest.ends_with(" counter") { "_total" } else { "" };
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            if let Some((_, words)) = help.take() {
                out.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else {
            out.extend([line, "\n"]);
        }
    }
    out
}

impl Collector for Sheet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, samples } in &self.0 {
            let Some((_, first)) = samples.first() else { continue };
            let mut metric = encoder.encode_descriptor(name, help, None, first.kind())?;
            if let [(labels, value)] = samples.as_slice()
                && labels.is_empty()
            {
                value.encode(metric)?;
                continue;
            }
            for (labels, value) in samples {
                value.encode(metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::default();
        let by_reason = [("replay", 3), ("a \"quoted\"\nreason", 0)];
        let by_reason = by_reason.map(|(reason, n)| (vec![("reason", reason.to_owned())], n));
        sheet.counters("hearth_drops", "Packets that stopped", by_reason);
        sheet.gauge("hearth_bindings", "Bindings", 2.0);
        sheet.counters("hearth_nothing", "Nothing", []);
        let gaps = Histogram::new([0.1, 1.0]);
        [0.05, 0.5, 2.0].into_iter().for_each(|gap| gaps.observe(gap));
        sheet.histograms("hearth_gap_seconds", "Gaps", [(vec![("way", "up".to_owned())], gaps)]);
        sheet
    }

    #[test]
    fn a_sheet_reads_as_its_reader_wants_it() {
        let open = "# HELP hearth_drops Packets that stopped\n\
            # TYPE hearth_drops counter\n\
            hearth_drops_total{reason=\"replay\"} 3\n\
            hearth_drops_total{reason=\"a \\\"quoted\\\"\\nreason\"} 0\n\
            # HELP hearth_bindings Bindings\n\
            # TYPE hearth_bindings gauge\n\
            hearth_bindings 2.0\n\
            # HELP hearth_gap_seconds Gaps\n\
            # TYPE hearth_gap_seconds histogram\n\
            hearth_gap_seconds_sum{way=\"up\"} 2.55\n\
            hearth_gap_seconds_count{way=\"up\"} 3\n\
            hearth_gap_seconds_bucket{le=\"0.1\",way=\"up\"} 1\n\
            hearth_gap_seconds_bucket{le=\"1.0\",way=\"up\"} 2\n\
            hearth_gap_seconds_bucket{le=\"+Inf\",way=\"up\"} 3\n\
            # EOF\n";
        let plain = "# HELP hearth_drops_total Packets that stopped\n\
            # TYPE hearth_drops_total counter\n\
            hearth_drops_total{reason=\"replay\"} 3\n\
            hearth_drops_total{reason=\"a \\\"quoted\\\"\\nreason\"} 0\n\
            # HELP hearth_bindings Bindings\n\
            # TYPE hearth_bindings gauge\n\
            hearth_bindings 2.0\n\
            # HELP hearth_gap_seconds Gaps\n\
            # TYPE hearth_gap_seconds histogram\n\
            hearth_gap_seconds_sum{way=\"up\"} 2.55\n\
            hearth_gap_seconds_count{way=\"up\"} 3\n\
            hearth_gap_seconds_bucket{le=\"0.1\",way=\"up\"} 1\n\
            hearth_gap_seconds_bucket{le=\"1.0\",way=\"up\"} 2\n\
            hearth_gap_seconds_bucket{le=\"+Inf\",way=\"up\"} 3\n";
        let accepts = ["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2", "*/*"];
        for (accept, expected) in accepts.into_iter().zip([open, plain]) {
            assert_eq!(sheet().to_text(Format::accepted(accept)).unwrap(), expected);
        }
    }
}
