//! A trace as lines for people.

use hearth_api::follow::{EndReason, TraceBegin, TraceEnd, TraceLine, TraceStep, TraceVerdict};

/// Heads of the columns.
pub const HEADS: &str = "PACKET        µs  WORKER  STAGE         PACKET THERE, VERDICT";

/// Takes a stream of octets apart into lines.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Gives each line that is whole by now to `each`, without its end.
    pub fn take(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8])) {
        self.0.extend_from_slice(chunk);
        let mut rest = self.0.as_slice();
        while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
            let (line, behind) = rest.split_at(end);
            each(line);
            rest = behind.get(1..).unwrap_or_default();
        }
        let taken = self.0.len() - rest.len();
        self.0.drain(..taken);
    }
}

/// What a person reads of a line.
#[must_use]
pub fn text(line: &TraceLine) -> String {
    match line {
        TraceLine::Begin(begin) => begin_text(begin),
        TraceLine::Step(step) => step_text(step),
        TraceLine::End(end) => end_text(end),
    }
}

fn begin_text(begin: &TraceBegin) -> String {
    let spis = begin.spis.iter().map(|spi| format!("SPI {spi}"));
    let prefixes = begin.prefixes.iter().map(ToString::to_string);
    let named: Vec<String> = spis.chain(prefixes).collect();
    match named[..] {
        [] => format!("following {}", begin.target),
        _ => format!("following {}: {}", begin.target, named.join(", ")),
    }
}

fn step_text(step: &TraceStep) -> String {
    let TraceStep { packet, microseconds, worker, .. } = step;
    let stage = match &step.port {
        Some(port) => format!("{} {port}", step.stage),
        None => step.stage.clone(),
    };
    let (what, verdict) = (what(step), verdict(&step.verdict));
    format!("#{packet:<5} {microseconds:>9.1}  {worker:<6}  {stage:<12}  {what} -> {verdict}")
}

fn what(step: &TraceStep) -> String {
    let mut text = match (step.source, step.destination) {
        (Some(source), Some(destination)) => {
            format!("{source} > {destination}, {}, ", protocol(step.protocol))
        }
        _ => String::new(),
    };
    text += &format!("{} octets", step.length);
    if let Some(envelope) = &step.envelope {
        text += &format!(", PType {}", envelope.ptype);
        if envelope.spi != 0 {
            text += &format!(" SPI {} number {}", envelope.spi, envelope.sequence);
        }
    }
    text
}

/// The protocols that come by every day, the others by number.
fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        58 => "ICMPv6".into(),
        135 => "MH".into(),
        _ => format!("protocol {number}"),
    }
}

fn verdict(verdict: &TraceVerdict) -> String {
    match verdict {
        TraceVerdict::Next(stage) => stage.clone(),
        TraceVerdict::HandedOver(worker) => format!("worker {worker}"),
        TraceVerdict::Lent(worker) => format!("lent to worker {worker}"),
        TraceVerdict::ToResolve => "waits for the next hop's MAC address".into(),
        TraceVerdict::AwaitsSa => "waits for its SA".into(),
        TraceVerdict::Fragmented(count) => format!("{count} fragments"),
        TraceVerdict::AwaitsFragments => "waits for the other fragments".into(),
        TraceVerdict::Heeded => "heeded".into(),
        TraceVerdict::Sent => "sent".into(),
        TraceVerdict::ToKernel => "kernel".into(),
        TraceVerdict::ToHomeAgent => "home agent".into(),
        TraceVerdict::Dropped(reason) => format!("dropped: {reason}"),
        TraceVerdict::UnderWay => "under way".into(),
    }
}

fn end_text(end: &TraceEnd) -> String {
    let why = match end.why {
        EndReason::Complete => "",
        EndReason::TimeLimit => ", then the time was over",
        EndReason::Stopped => ", then hearthd ended",
    };
    let plural = if end.packets == 1 { "" } else { "s" };
    let mut text = format!("{} packet{plural} followed{why}", end.packets);
    if end.unfinished > 0 {
        text += &format!("; {} of them not to the end", end.unfinished);
    }
    if end.lost > 0 {
        text += &format!("; {} records lost, so that steps are missing", end.lost);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_api::follow::{Target, TraceEnvelope};

    #[test]
    fn steps_say_stage_packet_and_verdict() {
        let mut step = TraceStep {
            packet: 1,
            microseconds: 12.34,
            worker: 0,
            stage: "rx".into(),
            port: Some("access".into()),
            source: Some("2001:db8:6::100".parse().unwrap()),
            destination: Some("2001:db8:a::10".parse().unwrap()),
            protocol: 17,
            length: 166,
            envelope: Some(TraceEnvelope { ptype: 1, spi: 5, sequence: 12 }),
            verdict: TraceVerdict::Next("tunnel_in".into()),
        };
        assert_eq!(
            text(&TraceLine::Step(step.clone())),
            "#1          12.3  0       rx access     2001:db8:6::100 > 2001:db8:a::10, UDP, \
             166 octets, PType 1 SPI 5 number 12 -> tunnel_in"
        );
        step.port = None;
        step.stage = "settle".into();
        (step.source, step.envelope) = (None, None);
        step.verdict = TraceVerdict::Dropped("icv_mismatch".into());
        let expected =
            "#1          12.3  0       settle        166 octets -> dropped: icv_mismatch";
        assert_eq!(text(&TraceLine::Step(step)), expected);
    }

    #[test]
    fn the_beginning_says_what_is_followed() {
        let begin = |target, spis, prefixes: &[&str]| {
            let prefixes = prefixes.iter().map(|text| text.parse().unwrap()).collect();
            text(&TraceLine::Begin(TraceBegin { target, spis, prefixes }))
        };
        assert_eq!(begin(Target::All, vec![], &[]), "following all packets");
        let target = Target::MnId("car@example.net".into());
        assert_eq!(
            begin(target, vec![5, 7], &["2001:db8::1", "203.0.113.130"]),
            "following mn-id car@example.net: SPI 5, SPI 7, 2001:db8::1, 203.0.113.130"
        );
    }

    #[test]
    fn the_end_says_what_is_missing() {
        let end = |why, packets, unfinished, lost| {
            text(&TraceLine::End(TraceEnd { why, packets, unfinished, lost }))
        };
        assert_eq!(end(EndReason::Complete, 1, 0, 0), "1 packet followed");
        assert_eq!(
            end(EndReason::TimeLimit, 3, 1, 9),
            "3 packets followed, then the time was over; 1 of them not to the end; 9 records \
             lost, so that steps are missing"
        );
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let stream = b"one\n\ntwo\nthree";
        for size in 1..stream.len() {
            let (mut lines, mut got) = (Lines::default(), Vec::new());
            for chunk in stream.chunks(size) {
                lines.take(chunk, |line| got.push(String::from_utf8(line.to_vec()).unwrap()));
            }
            assert_eq!(got, ["one", "", "two"]);
        }
    }
}
