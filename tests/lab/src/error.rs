//! What can go wrong in the lab, in words: a person reads them on a terminal.

use std::{io, path::PathBuf, time::Duration};

/// A lab step that failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program of the system or of Hearth ended with an error.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command line.
        command: String,
        /// What it said, shortened to its last lines.
        output: String,
    },
    /// A program could not be started.
    #[error("cannot start `{command}`: {source}")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket of the traffic tools failed.
    #[error("{what}: {source}")]
    Socket {
        /// What it was for.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Something that should have happened did not.
    #[error("{what} did not happen within {seconds:.1} s", seconds = .within.as_secs_f64())]
    Timeout {
        /// The event.
        what: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// A step ran and its outcome is wrong.
    #[error("{0}")]
    Wrong(String),
    /// The test certificates could not be made.
    #[error("test PKI: {0}")]
    Pki(#[from] rcgen::Error),
    /// A program printed what is no JSON, or not the expected one.
    #[error("unexpected JSON from {from}: {source}")]
    Json {
        /// The program.
        from: String,
        /// Why.
        source: serde_json::Error,
    },
    /// SIGINT or SIGTERM came.
    #[error("interrupted")]
    Interrupted,
}

/// Result of a lab step.
pub type Result<T> = std::result::Result<T, LabError>;

/// Attaches the file's name to an I/O error.
pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> LabError {
    let path = path.into();
    move |source| LabError::File { path, source }
}

/// Says what a socket was for.
pub(crate) fn socket(what: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
    let what = what.into();
    move |source| LabError::Socket { what, source }
}
