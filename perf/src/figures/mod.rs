//! The figures: each measures its rows and hands them to [`Rows`].

pub(crate) mod binding_updates;
pub(crate) mod bootstraps;
pub(crate) mod churn;
pub(crate) mod cryptodev;
pub(crate) mod efficiency;
pub(crate) mod elephant;
pub(crate) mod flood;
pub(crate) mod handover;
pub(crate) mod limit;
pub(crate) mod mix;
pub(crate) mod mobile_node;
pub(crate) mod passes;
pub(crate) mod ring;
pub(crate) mod scale;
pub(crate) mod soak;
pub(crate) mod updates;
pub(crate) mod wireguard;

use crate::report::{HEADINGS, Row, line};

/// Rows as they come, printed at once.
#[derive(Debug)]
pub(crate) struct Rows(pub(crate) Vec<Row>);

impl Rows {
    /// No row yet; prints the headings.
    pub(crate) fn new() -> Self {
        say!("{HEADINGS}");
        Self(Vec::new())
    }

    /// Adds a row and prints it.
    pub(crate) fn push(&mut self, row: Row) {
        say!("{}", line(&row));
        self.0.push(row);
    }
}

/// Inner sizes of the main rows, in octets.
pub(crate) const SIZES: [usize; 3] = [64, 576, 1400];
