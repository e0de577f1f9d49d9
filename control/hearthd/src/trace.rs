//! A trace on its way to a client.

use std::time::{Duration, Instant};

use hearth_api::follow::{
    EndReason, MAX_TRACE_PACKETS, Prefix, TraceBegin, TraceEnd, TraceEnvelope, TraceLine,
    TraceRequest, TraceStep, TraceVerdict,
};
use hearth_dataplane::trace::{Step, TraceProgress, Verdict};
use hearth_dataplane::{ControlPort, Filter};
use hearth_home_agent::HomeAgent;
use tracing::info;

use crate::config::Port;
use crate::follow::{BATCH, Ending, Session};
use crate::outlet::Inlet;
use crate::server::{Peer, Refused};

/// How long packets that were begun may take to end: longer than any waits for a neighbour.
const PATIENCE: Duration = Duration::from_secs(4);

/// A running trace.
#[derive(Debug)]
pub(crate) struct RunningTrace {
    pub(crate) session: Session,
    packets: u32,
    progress: TraceProgress,
    /// When the progress last changed.
    moved: Instant,
}

impl RunningTrace {
    /// Arms it.
    pub(crate) fn begin(
        workers: &mut ControlPort,
        home_agent: &HomeAgent,
        request: TraceRequest,
        peer: &Peer,
    ) -> Result<(Self, Inlet), Refused> {
        let TraceRequest { target, packets, seconds } = request;
        if !(1..=MAX_TRACE_PACKETS).contains(&packets) {
            let text = format!("packets: {packets} is out of range; 1 to {MAX_TRACE_PACKETS}");
            return Err(Refused::Request(text));
        }
        let (session, inlet, filter) = Session::new(home_agent, target, seconds)?;
        let (target, Peer { uid, pid, .. }) = (&session.target, peer);
        let certificate = peer.certificate();
        info!(%target, packets, seconds, uid, pid, certificate, "a trace begins");
        workers.start_trace(&filter, packets);
        let mut first = Vec::new();
        write(&mut first, &TraceLine::Begin(begin_line(&session, &filter)));
        // A client that has gone already is noticed in the first turn.
        let _ = session.outlet.send(first);
        let (progress, moved) = (TraceProgress::default(), Instant::now());
        Ok((Self { session, packets, progress, moved }, inlet))
    }

    /// Sends what there is.
    pub(crate) fn turn(
        &mut self,
        workers: &mut ControlPort,
        ports: &[Port],
        now: Instant,
    ) -> Result<(), Ending> {
        if !self.session.goes_on(now)? {
            return Ok(());
        }
        let mut lines = Vec::new();
        let progress = workers.trace_steps(BATCH, |step| write(&mut lines, &line(&step, ports)));
        if !lines.is_empty() {
            self.session.outlet.send(lines)?;
        }
        if progress != self.progress {
            (self.progress, self.moved) = (progress, now);
        }
        let all_begun = progress.begun >= self.packets;
        let over =
            progress.ended >= self.packets || now.saturating_duration_since(self.moved) > PATIENCE;
        if all_begun && over { Err(Ending::Because(EndReason::Complete)) } else { Ok(()) }
    }

    /// Disarms it, and tells the client why.
    pub(crate) fn end(&mut self, workers: &mut ControlPort, ports: &[Port], ending: &Ending) {
        let mut lines = Vec::new();
        let progress = workers.stop_trace(|step| write(&mut lines, &line(&step, ports)));
        let TraceProgress { begun, ended, lost } = progress;
        let why = match ending {
            Ending::Because(why) => {
                let unfinished = begun.saturating_sub(ended);
                let end = TraceEnd { why: *why, packets: begun, unfinished, lost };
                write(&mut lines, &TraceLine::End(end));
                // Nobody is left to be told of a failure.
                let _ = self.session.outlet.send(lines);
                format!("{why:?}")
            }
            Ending::ClientGone => "ClientGone".into(),
        };
        info!(target = %self.session.target, why, begun, ended, lost, "the trace ends");
    }
}

fn begin_line(session: &Session, filter: &Filter) -> TraceBegin {
    let prefix = |&(address, length): &_| Prefix { address, length };
    TraceBegin {
        target: session.target.clone(),
        spis: filter.spis.iter().map(|spi| spi.get()).collect(),
        prefixes: filter.prefixes.iter().map(prefix).collect(),
    }
}

fn write(lines: &mut Vec<u8>, line: &TraceLine) {
    // What is made of these types always has a text.
    if serde_json::to_writer(&mut *lines, line).is_ok() {
        lines.push(b'\n');
    }
}

fn line(step: &Step, ports: &[Port]) -> TraceLine {
    let facts = &step.facts;
    let port = step.port.and_then(|port| ports.get(usize::from(port.0)));
    TraceLine::Step(TraceStep {
        packet: step.packet,
        microseconds: step.since_start.as_secs_f64() * 1e6,
        worker: step.worker,
        stage: step.stage.name().into(),
        port: port.map(|port| port.name.value.clone()),
        source: facts.addresses.map(|(source, _)| source),
        destination: facts.addresses.map(|(_, destination)| destination),
        protocol: facts.proto,
        length: facts.len,
        envelope: facts.envelope.map(|envelope| TraceEnvelope {
            ptype: envelope.ptype,
            spi: envelope.spi,
            sequence: envelope.seq,
        }),
        verdict: match step.verdict {
            Verdict::Next(stage) => TraceVerdict::Next(stage.name().into()),
            Verdict::HandedOver(worker) => TraceVerdict::HandedOver(worker),
            Verdict::Lent(worker) => TraceVerdict::Lent(worker),
            Verdict::ToResolve => TraceVerdict::ToResolve,
            Verdict::AwaitsSa => TraceVerdict::AwaitsSa,
            Verdict::Fragmented(count) => TraceVerdict::Fragmented(count),
            Verdict::AwaitsFragments => TraceVerdict::AwaitsFragments,
            Verdict::Heeded => TraceVerdict::Heeded,
            Verdict::Sent => TraceVerdict::Sent,
            Verdict::ToKernel => TraceVerdict::ToKernel,
            Verdict::ToHomeAgent => TraceVerdict::ToHomeAgent,
            Verdict::Dropped(reason) => TraceVerdict::Dropped(reason.name().into()),
            Verdict::UnderWay => TraceVerdict::UnderWay,
        },
    })
}
