//! What the wheel's timers are for.

use core::net::Ipv6Addr;

use hearth_wire::Spi;

use crate::HomeAgent;
use crate::event::Action;
use crate::time::Timestamp;

/// What is to be looked at when a timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The end of an SA: its validity, or its grace time.
    SaEnd(Spi),
    /// The end of a binding's lifetime, or of the hold behind a de-registration.
    BindingEnd(Ipv6Addr),
    /// A Binding Refresh Request was not answered.
    RefreshRequest(Ipv6Addr),
}

impl HomeAgent {
    /// Does everything whose time has come.
    pub(crate) fn run_timers(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        while let Some(timer) = self.wheel.pop(now) {
            match timer {
                Timer::SaEnd(spi) => self.sa_timer(now, spi, out),
                Timer::BindingEnd(home_address) => self.binding_timer(now, home_address, out),
                Timer::RefreshRequest(home_address) => self.request_refresh(now, home_address, out),
            }
        }
    }
}
