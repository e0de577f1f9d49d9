//! Figures that later issues measure: their rows are there, and say so.

use crate::figures::Rows;
use crate::report::{Row, Target};

/// One row for each.
pub(crate) fn rows(rows: &mut Rows) {
    rows.push(
        Row::new("bootstraps", "bare rustls handshakes a second, same certificate")
            .asked(Some(Target::at_least(0.6, 0.85)))
            .absent("the home agent controller is not measured yet"),
    );
}
