//! One row of the report.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::fault::Fault;
use crate::frames::Direction;
use crate::stats::Ratio;
use hearth_wire::Suite;

/// One figure. What could not be measured has a `ratio` of null and says why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) suite: Option<String>,
    pub(crate) direction: Option<Direction>,
    pub(crate) inner_bytes: Option<usize>,
    pub(crate) sas: Option<u32>,
    pub(crate) cycles_per_packet: Option<f64>,
    pub(crate) reference: String,
    pub(crate) reference_cycles_per_packet: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) quartiles: Option<[f64; 2]>,
    pub(crate) pairs: Option<usize>,
    pub(crate) target: Option<Target>,
    /// Keys that only rows of this name have.
    pub(crate) more: Vec<(&'static str, Value)>,
    pub(crate) why: Option<String>,
    /// Whether it should have been measured and was not.
    pub(crate) failed: bool,
}

/// What the project asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    /// The ratio to reach.
    pub(crate) must: f64,
    pub(crate) aim: Option<f64>,
    /// Whether smaller is better.
    pub(crate) at_most: bool,
}

/// How a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Aim,
    Missed,
    NotMeasured,
}

impl Target {
    /// At least `must`, better `aim`.
    pub(crate) const fn at_least(must: f64, aim: f64) -> Self {
        Self { must, aim: Some(aim), at_most: false }
    }

    /// At most `must`, better `aim`.
    pub(crate) const fn at_most(must: f64, aim: Option<f64>) -> Self {
        Self { must, aim, at_most: true }
    }

    /// How this ratio stands.
    pub(crate) fn verdict(&self, ratio: Option<f64>) -> Verdict {
        let Some(ratio) = ratio else { return Verdict::NotMeasured };
        let reaches = |wanted: f64| if self.at_most { ratio <= wanted } else { ratio >= wanted };
        match self.aim {
            Some(aim) if reaches(aim) => Verdict::Aim,
            _ if reaches(self.must) => Verdict::Met,
            _ => Verdict::Missed,
        }
    }
}

impl Row {
    /// A row that has a name and a reference only.
    pub(crate) fn new(name: &'static str, reference: &str) -> Self {
        Self {
            name,
            suite: None,
            direction: None,
            inner_bytes: None,
            sas: None,
            cycles_per_packet: None,
            reference: reference.to_owned(),
            reference_cycles_per_packet: None,
            ratio: None,
            quartiles: None,
            pairs: None,
            target: None,
            more: Vec::new(),
            why: None,
            failed: false,
        }
    }

    /// The suite, the direction and the inner size.
    pub(crate) fn of(mut self, suite: Suite, direction: Direction, inner_bytes: usize) -> Self {
        self.suite = Some(suite.name().to_owned());
        self.direction = Some(direction);
        self.inner_bytes = Some(inner_bytes);
        self
    }

    /// What the project asks for.
    pub(crate) const fn asked(mut self, target: Option<Target>) -> Self {
        self.target = target;
        self
    }

    /// Both sides' cycles per packet.
    pub(crate) fn cycles(mut self, own: f64, reference: f64) -> Self {
        self.cycles_per_packet = Some(rounded(own, 1));
        self.reference_cycles_per_packet = Some(rounded(reference, 1));
        self
    }

    /// The ratio over all pairs.
    pub(crate) fn measured(mut self, ratio: &Ratio) -> Self {
        self.ratio = finite(ratio.median);
        self.quartiles = Some(ratio.quartiles.map(|ratio| rounded(ratio, 4)));
        self.pairs = Some(ratio.rounds);
        self.with("disturbed_pairs", ratio.disturbed)
            .with("disturbed_left_out", ratio.disturbed_left_out)
    }

    /// A ratio that is no median over pairs.
    pub(crate) fn counted(mut self, ratio: f64) -> Self {
        self.ratio = finite(ratio);
        self
    }

    /// One more key.
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((key, value.into()));
        self
    }

    /// Says why nothing could be measured.
    pub(crate) fn failed(mut self, fault: Fault) -> Self {
        self.failed = !fault.is_absence();
        self.why = Some(fault.to_string());
        self
    }

    /// Says why nothing is measured, which is no failure.
    pub(crate) fn absent(mut self, why: &str) -> Self {
        self.why = Some(why.to_owned());
        self
    }

    /// How the row stands, if something is asked for.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.target.map(|target| target.verdict(self.ratio))
    }

    /// A key that only rows of this name have.
    pub(crate) fn more(&self, key: &str) -> Option<&Value> {
        self.more.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

fn finite(ratio: f64) -> Option<f64> {
    ratio.is_finite().then(|| rounded(ratio, 4))
}

/// A number with this many digits behind the point.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.name)?;
        entry(&mut map, "suite", self.suite.as_ref())?;
        entry(&mut map, "direction", self.direction.as_ref())?;
        entry(&mut map, "inner_bytes", self.inner_bytes.as_ref())?;
        entry(&mut map, "sas", self.sas.as_ref())?;
        entry(&mut map, "cycles_per_packet", self.cycles_per_packet.as_ref())?;
        map.serialize_entry("reference", &self.reference)?;
        entry(&mut map, "reference_cycles_per_packet", self.reference_cycles_per_packet.as_ref())?;
        map.serialize_entry("ratio", &self.ratio)?;
        entry(&mut map, "pairs", self.pairs.as_ref())?;
        if let Some(target) = &self.target {
            map.serialize_entry("must", &target.must)?;
            entry(&mut map, "aim", target.aim.as_ref())?;
            if target.at_most {
                map.serialize_entry("better", "lower")?;
            }
        }
        entry(&mut map, "ratio_quartiles", self.quartiles.as_ref())?;
        for (key, value) in &self.more {
            map.serialize_entry(key, value)?;
        }
        entry(&mut map, "why", self.why.as_ref())?;
        map.end()
    }
}

fn entry<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> Row {
        Row::new("efficiency", "raw ipsec-mb").of(Suite::Aes128CbcSha, Direction::Uplink, 64)
    }

    #[test]
    fn a_row_has_the_keys_of_the_report() {
        let ratio = Ratio {
            median: 0.800_04,
            quartiles: [0.79, 0.81],
            rounds: 9,
            disturbed: 2,
            disturbed_left_out: true,
        };
        let row = row()
            .asked(Some(Target::at_least(0.68, 0.8)))
            .cycles(500.04, 400.06)
            .measured(&ratio)
            .with("reference_api", "burst");
        assert_eq!(
            serde_json::to_value(&row).unwrap(),
            json!({
                "name": "efficiency", "suite": "AES_128_CBC_SHA", "direction": "uplink",
                "inner_bytes": 64, "cycles_per_packet": 500.0,
                "reference": "raw ipsec-mb", "reference_cycles_per_packet": 400.1,
                "ratio": 0.8, "pairs": 9, "must": 0.68, "aim": 0.8, "reference_api": "burst",
                "ratio_quartiles": [0.79, 0.81], "disturbed_pairs": 2, "disturbed_left_out": true,
            })
        );
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let value = serde_json::to_value(row().failed(Fault::Busy { pairs: 3 })).unwrap();
        assert!(value.as_object().unwrap().contains_key("ratio"));
        assert_eq!(value["ratio"], Value::Null);
        assert_eq!(value["why"], "the machine is too busy: 3 pairs only");
    }

    #[test]
    fn a_target_is_a_floor_or_a_ceiling() {
        let floor = Target::at_least(0.5, 0.8);
        let ceiling = Target::at_most(2.0, Some(1.0));
        for (target, ratio, verdict) in [
            (floor, Some(0.49), Verdict::Missed),
            (floor, Some(0.5), Verdict::Met),
            (floor, Some(0.8), Verdict::Aim),
            (ceiling, Some(2.1), Verdict::Missed),
            (ceiling, Some(2.0), Verdict::Met),
            (ceiling, Some(0.9), Verdict::Aim),
            (Target::at_most(0.0, None), Some(0.0), Verdict::Met),
            (floor, None, Verdict::NotMeasured),
        ] {
            assert_eq!(target.verdict(ratio), verdict, "{target:?} {ratio:?}");
        }
    }
}
