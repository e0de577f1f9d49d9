//! What was kept, taken in again before the first packet comes.
//!
//! Read first: readings; `persist`.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use hearth_dataplane::RestoredSa;
use hearth_home_agent::{Event, NotRestored, SaInfo};
use tracing::{debug, error, info};

use crate::control::{Control, Parts};
use crate::daemon::DaemonError;
use crate::persist::{Bindings, Part, Persist, Remembered, SaLifted};

/// Parts that are read ahead.
const AHEAD: usize = 2;

/// Actions that are carried out together: few, so that they are still in the cache.
const ACTIONS: usize = 256;

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    sas: usize,
    bindings: usize,
    over: usize,
    refused: usize,
}

impl Tally {
    fn count(&mut self, error: NotRestored) {
        match error {
            NotRestored::Ended | NotRestored::NoSa => self.over += 1,
            NotRestored::NoPlace | NotRestored::Malformed => self.refused += 1,
        }
    }
}

impl Control {
    /// Takes in what was kept, and notes that this start has succeeded: before this returns, no SA
    /// has been used, and from then on all may be.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn begin(&mut self, remembered: &Remembered) -> Result<(), DaemonError> {
        let system = |source| DaemonError::System { what: "state", source };
        self.restore(remembered).map_err(system)?;
        let Parts { persist, horizon, tables, .. } = &mut self.parts;
        persist.begin(horizon.highest())?;
        persist.observe(tables.observer());
        horizon.keep_ahead().map_err(system)
    }

    /// Installs the SAs and bindings that were kept. Mobile nodes notice nothing but the gap.
    fn restore(&mut self, remembered: &Remembered) -> io::Result<()> {
        let began = Instant::now();
        let mut tally = Tally::default();
        // What is read next is read while this thread takes in what was read before.
        thread::scope(|scope| {
            let (to, parts) = mpsc::sync_channel(AHEAD);
            let read = move || remembered.hand_over(&to);
            thread::Builder::new().name("state-reader".into()).spawn_scoped(scope, read)?;
            for part in parts {
                match part {
                    Part::Sas(mut sas) => self.restore_sas(&mut sas, &mut tally),
                    Part::Bindings(bindings) => self.restore_bindings(&bindings, &mut tally),
                }
            }
            io::Result::Ok(())
        })?;
        self.parts.home_agent.keep_changes();
        let Tally { sas, bindings, over, refused } = tally;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if refused > 0 {
            error!(refused, "records of the state could not be used");
        }
        if sas + bindings + over > 0 {
            info!(sas, bindings, over, ms, "the state of before is in place");
        }
        Ok(())
    }

    fn restore_bindings(&mut self, bindings: &Bindings, tally: &mut Tally) {
        let now = self.now();
        for (home_address, octets) in bindings.iter() {
            let home_agent = &mut self.parts.home_agent;
            match home_agent.restore_binding(now, home_address, octets, &mut self.actions) {
                Ok(()) => tally.bindings += 1,
                Err(error) => {
                    debug!(%home_address, %error, "a binding of before is not there any more");
                    tally.count(error);
                }
            }
            if self.actions.len() >= ACTIONS {
                self.act(None);
            }
        }
        self.act(None);
    }

    fn restore_sas(&mut self, part: &mut Vec<SaLifted>, tally: &mut Tally) {
        let (now, clock) = (self.now(), self.wall_clock());
        part.retain(|sa| {
            if !self.is_for_us(&sa.record) {
                tally.refused += 1;
                return false;
            }
            let info = SaInfo::from_record(&sa.record, clock.timestamp(sa.record.validity_end));
            let taken = self.parts.home_agent.restore_sa(now, &info, sa.life);
            taken.inspect_err(|error| tally.count(*error)).is_ok()
        });
        let persist = &self.parts.persist;
        let with_keys: Vec<_> = part.iter().filter(|sa| !sa.without_keys).collect();
        let parameters: Vec<_> = with_keys
            .iter()
            .map(|sa| {
                let [in_octets, out_octets] = Persist::octets_of(sa);
                let parameters = persist.parameters(&sa.record, Some(sa));
                RestoredSa { parameters, in_octets, out_octets }
            })
            .collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let results = self.parts.tables.restore(&parameters, threads);
        for (sa, result) in with_keys.iter().zip(results) {
            let spi = sa.record.spi;
            self.parts.persist.installed(&sa.record, Some(sa));
            match result {
                Ok(()) => tally.sas += 1,
                Err(error) => {
                    error!(%spi, %error, "an SA of before can't be installed");
                    tally.refused += 1;
                    let home_agent = &mut self.parts.home_agent;
                    // It is in no table: nothing of what follows is to be carried out.
                    home_agent.handle(now, Event::SaRevoked(spi), &mut Vec::new());
                }
            }
        }
        for sa in part.drain(..).filter(|sa| sa.without_keys) {
            self.parts.persist.await_keys(sa);
        }
    }
}
