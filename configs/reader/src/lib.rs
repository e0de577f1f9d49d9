//! YAML files read with file, line and key in every error.
//!
//! Every Hearth program reads its configuration through [`load`]: unknown keys and wrong types are
//! refused by the types (`#[serde(deny_unknown_fields)]`), and what only the program can judge (an
//! address that stands twice, a prefix out of range) is reported through [`Document::error`] with
//! the line of the offending value, which [`Spanned`] remembers.
//!
//! An error never shows the text of the file around it: a file may hold a pre-shared key.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

mod schema;
mod spanned;
mod wording;

pub use schema::{Prefix, Word, same_schema};
pub use serde_saphyr::Location;
pub use spanned::Spanned;

/// A YAML file that was read, and where it lies.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// What the file says.
    pub value: T,
    path: PathBuf,
}

/// What is wrong with a configuration, and where: `FILE:LINE: KEY: MESSAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    line: Option<u64>,
    key: String,
    message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() && self.key != "." {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// The line of the offending value, counted from 1.
    #[must_use]
    pub const fn line(&self) -> Option<u64> {
        self.line
    }

    /// What is wrong, and what would be right.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The key of the offending value, as in `ports[0].device`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Reads the YAML file at `path` into `T`.
///
/// # Errors
/// The file can't be read, is no YAML, has an unknown or missing key or a value of a wrong type.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Document<T>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
        path: path.to_owned(),
        line: None,
        key: String::new(),
        message: format!("can't be read: {error}"),
    })?;
    parse(path, &text)
}

/// Reads `text` as if it stood in the file at `path`.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Document<T>, ConfigError> {
    let mut key = String::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            key = without_spans(&error.path().to_string());
            error.into_inner()
        })
    });
    match read {
        Ok(value) => Ok(Document { value, path: path.to_owned() }),
        Err(error) => Err(ConfigError {
            path: path.to_owned(),
            line: line_of(error.location()),
            key,
            message: wording::message(&error),
        }),
    }
}

impl<T> Document<T> {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error about the value at `location` ([`Spanned::referenced`]); `key` as in
    /// `ports[0].device`; `message` says what is wrong and what would be right.
    #[must_use]
    pub fn error(
        &self,
        location: Location,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> ConfigError {
        error_in(&self.path, location, key, message)
    }

    /// A path in the file, taken relative to the folder of the file.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

/// The same for a program that has let go of the document: what only shows when it starts.
#[must_use]
pub fn error_in(
    path: &Path,
    location: Location,
    key: impl Into<String>,
    message: impl Into<String>,
) -> ConfigError {
    ConfigError {
        path: path.to_owned(),
        line: line_of(Some(location)),
        key: key.into(),
        message: message.into(),
    }
}

fn line_of(location: Option<Location>) -> Option<u64> {
    location.map(|location| location.line()).filter(|line| *line > 0)
}

/// [`Spanned`] shows up in the path as a key `value`, a name that no configuration uses, and what is
/// no key at all as `?`.
fn without_spans(path: &str) -> String {
    path.split('.').filter(|part| !matches!(*part, "value" | "?")).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Port {
        #[expect(dead_code, reason = "read by serde only")]
        name: String,
        mtu: Spanned<u16>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Root {
        ports: Vec<Port>,
    }

    fn error_of(text: &str) -> String {
        parse::<Root>(Path::new("a.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn values_keep_their_line() {
        let text = "ports:\n  - name: access\n    mtu: 1500\n";
        let document = parse::<Root>(Path::new("a.yaml"), text).unwrap();
        let mtu = &document.value.ports[0].mtu;
        assert_eq!((mtu.value, mtu.referenced.line()), (1500, 3));
        let error = document.error(mtu.referenced, "ports[0].mtu", "too small; at least 1280");
        assert_eq!(error.to_string(), "a.yaml:3: ports[0].mtu: too small; at least 1280");
    }

    #[test]
    fn unknown_key_names_line_and_key() {
        let error = error_of("ports:\n  - name: a\n    mtu: 1\n    speed: 9\n");
        assert!(error.starts_with("a.yaml:4: ports[0]"), "{error}");
        assert!(error.contains("speed") && error.contains("mtu"), "{error}");
    }

    #[test]
    fn wrong_type_names_line_and_key() {
        let error = error_of("ports:\n  - name: a\n    mtu: fast\n");
        assert!(error.starts_with("a.yaml:3: ports[0].mtu: "), "{error}");
    }

    #[test]
    fn missing_key_is_named() {
        let error = error_of("ports:\n  - name: a\n");
        assert!(error.contains("ports[0]") && error.contains("mtu"), "{error}");
    }

    #[test]
    fn broken_yaml_names_the_line() {
        let error = error_of("ports:\n  - name: [a\n");
        assert!(error.starts_with("a.yaml:"), "{error}");
    }

    #[test]
    fn the_text_around_an_error_is_not_shown() {
        let error = error_of("ports:\n  - name: s3cret\n    mtu: x\n");
        assert!(!error.contains("s3cret") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Root>(Path::new("/nonexistent/a.yaml")).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/a.yaml: can't be read: "), "{error}");
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let document = parse::<Root>(Path::new("/etc/hearth/a.yaml"), "ports: []\n").unwrap();
        assert_eq!(document.resolve(Path::new("b.pem")), Path::new("/etc/hearth/b.pem"));
        assert_eq!(document.resolve(Path::new("/b.pem")), Path::new("/b.pem"));
    }
}
