//! What a run found out: rows, the summary file, the table that a person reads, the page of plots.

mod html;
mod plot;
mod row;
mod table;

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::machine::{self, Machine};

pub(crate) use row::{Row, Target, Verdict, rounded};
pub(crate) use table::{HEADINGS, line, verdicts};

/// Everything that one run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) machine: Machine,
    pub(crate) commit: String,
    pub(crate) date: String,
    pub(crate) rows: Vec<Row>,
}

impl Summary {
    /// What this run, of this commit and at this time, has found out.
    pub(crate) fn new(machine: Machine, rows: Vec<Row>) -> Self {
        Self { machine, commit: machine::commit(), date: machine::date(), rows }
    }

    /// Writes the summary as JSON, and the folders above it.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        write(path, &text)
    }

    /// Writes the page of plots, and the folders above it.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn write_page(&self, path: &Path) -> io::Result<()> {
        write(path, &html::page(self))
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}
