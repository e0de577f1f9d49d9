//! Waiting for events, never for time alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::error::{LabError, Result};

static INTERRUPTED: std::sync::OnceLock<Arc<AtomicBool>> = std::sync::OnceLock::new();

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Makes SIGINT and SIGTERM end the current wait with [`LabError::Interrupted`], so that the
/// caller can tear the lab down. A second signal ends the process at once.
///
/// # Errors
/// Where the operating system refuses the handler.
pub fn catch_signals() -> Result<()> {
    let flag = Arc::clone(INTERRUPTED.get_or_init(|| Arc::new(AtomicBool::new(false))));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let again = Arc::clone(&flag);
        signal_hook::flag::register_conditional_shutdown(signal, 130, again)
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|source| LabError::Start { command: "signal handler".into(), source })?;
    }
    Ok(())
}

/// Forgets a signal that has been acted upon, so that tearing down can wait for things again.
pub fn forget_signal() {
    if let Some(flag) = INTERRUPTED.get() {
        flag.store(false, Ordering::Relaxed);
    }
}

fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Looks until `condition` gives a value.
///
/// # Errors
/// [`LabError::Timeout`] naming `what` after `within`; whatever `condition` returns as an error.
pub fn until<T>(
    what: impl Into<String>,
    within: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if interrupted() {
            return Err(LabError::Interrupted);
        }
        if start.elapsed() > within {
            return Err(LabError::Timeout { what: what.into(), within });
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_returns_the_value_or_names_what_was_missing() {
        let mut left = 3;
        let got = until("countdown", Duration::from_secs(5), || {
            left -= 1;
            Ok((left == 0).then_some(42))
        });
        assert_eq!(got.unwrap(), 42);

        let missing = until::<()>("the moon", Duration::ZERO, || Ok(None));
        assert_eq!(missing.unwrap_err().to_string(), "the moon did not happen within 0.0 s");
    }
}
