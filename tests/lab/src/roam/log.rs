//! Which path was in use when, and how fast the connection was.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::report::{Span, Speed};
use crate::{
    node::{MobileNode, Status},
    traffic::Meter,
};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(50);
/// Looks that make one value of the throughput.
const PER_SPEED: u32 = 4;

type Spans = Arc<Mutex<Vec<Span>>>;

/// A thread that looks on.
pub(super) struct Log {
    spans: Spans,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Speed>>>,
}

impl Log {
    pub(super) fn start(start: Instant, status: &Path, meter: Meter) -> Self {
        let (spans, stop) = (Spans::default(), Arc::new(AtomicBool::new(false)));
        let (seen, ended, status) = (Arc::clone(&spans), Arc::clone(&stop), status.to_owned());
        let thread = thread::spawn(move || watch(start, &status, &meter, (&seen, &ended)));
        Self { spans, stop, thread: Some(thread) }
    }

    /// The path that was in use last.
    pub(super) fn path(&self) -> String {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.last().map_or_else(|| "ipv6".into(), |span| span.path.clone())
    }

    /// The path that is in use at this moment.
    pub(super) fn path_now(&self, node: &MobileNode) -> String {
        node.status().as_ref().map_or_else(|| self.path(), name_of)
    }

    pub(super) fn finish(mut self) -> (Vec<Span>, Vec<Speed>) {
        self.stop.store(true, Ordering::Relaxed);
        let speeds = self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let spans = std::mem::take(&mut *self.spans.lock().unwrap_or_else(PoisonError::into_inner));
        (spans, speeds)
    }
}

/// `none`, `home`, `ipv6`, or `ipv4` with `nat` behind it where one is on the way.
fn name_of(status: &Status) -> String {
    match (status.state.as_str(), status.care_of_address) {
        ("at_home", _) => "home".into(),
        ("no_network", _) | (_, None) => "none".into(),
        (_, Some(address)) if address.is_ipv6() => "ipv6".into(),
        _ if status.nat == Some(true) => "ipv4 nat".into(),
        _ => "ipv4".into(),
    }
}

fn watch(
    start: Instant,
    status: &PathBuf,
    meter: &Meter,
    (spans, ended): (&Spans, &AtomicBool),
) -> Vec<Speed> {
    let mut speeds = Vec::new();
    let (mut before, mut since) = (meter.arrived(), Instant::now());
    for turn in 1_u32.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let now = start.elapsed().as_secs_f64();
        let read = std::fs::read(status).ok();
        let read = read.and_then(|text| serde_json::from_slice::<Status>(&text).ok());
        if let Some(path) = read.as_ref().map(name_of) {
            let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
            match spans.last_mut() {
                Some(last) if last.path == path => last.until_s = now,
                _ => spans.push(Span { path, from_s: now, until_s: now }),
            }
        }
        if turn.is_multiple_of(PER_SPEED) {
            let (arrived, took) = (meter.arrived(), since.elapsed().as_secs_f64());
            #[allow(clippy::cast_precision_loss)] // a figure for people
            let of = |at: usize| (arrived[at] - before[at]) as f64 * 8e-6 / took.max(1e-3);
            speeds.push(Speed { at_s: now, down_mbit: of(0), up_mbit: of(1) });
            (before, since) = (arrived, Instant::now());
        }
        thread::sleep(EVERY);
    }
    speeds
}
