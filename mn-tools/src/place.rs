//! What a mobile node is called, and where its socket and its notes lie.
//!
//! ```text
//!   /run/hearth-mn/NAME@NETNS.sock    control socket
//!   /run/hearth-mn/NAME@NETNS.json    what was changed of the host (crate::repair)
//! ```
//!
//! NETNS is the number of the network namespace: routes, rules and the TUN belong to one, and a
//! machine can have a node of the same name in each.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Where YAML files lie that are called by a name.
const ETC: &str = "/etc/hearth";
/// The node without a name.
const DEFAULT_NAME: &str = "mn";
/// Where sockets and notes lie.
pub const RUN: &str = "/run/hearth-mn";
/// A path of a socket has 107 octets at most (unix(7)).
const MAX_NAME: usize = 48;

/// The YAML file that `NAME`, `FILE` or nothing stands for: a word with a slash or ending in
/// `.yaml` is a file, any other `/etc/hearth/mn/NAME.yaml`, nothing `/etc/hearth/mn.yaml`.
#[must_use]
pub fn config_file(word: Option<&Path>) -> PathBuf {
    let Some(word) = word else { return Path::new(ETC).join("mn.yaml") };
    let is_file = word.components().count() > 1
        || word.has_root()
        || word.extension().is_some_and(|end| end == "yaml" || end == "yml");
    if is_file {
        return word.to_owned();
    }
    let mut name = word.as_os_str().to_owned();
    name.push(".yaml");
    Path::new(ETC).join("mn").join(name)
}

/// The place of a node that is running, or was, in the network namespace of this thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    name: String,
    folder: PathBuf,
    namespace: String,
}

impl Place {
    /// The place of the node of a YAML file: its name is the file's, without the ending.
    #[must_use]
    pub fn of_file(file: &Path) -> Self {
        let stem = file.file_stem().unwrap_or(OsStr::new(DEFAULT_NAME)).to_string_lossy();
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
        let name = stem.chars().map(plain).take(MAX_NAME).collect();
        Self { name, folder: RUN.into(), namespace: namespace() }
    }

    /// The place of every node that runs, or ran, in this network namespace.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let namespace = namespace();
        let entries = std::fs::read_dir(RUN).into_iter().flatten().flatten();
        let mut all: Vec<Self> = entries
            .filter_map(|entry| {
                let file = entry.file_name();
                let (stem, _) = file.to_str()?.rsplit_once('.')?;
                let (name, of) = stem.rsplit_once('@')?;
                let place = || Self {
                    name: name.to_owned(),
                    folder: RUN.into(),
                    namespace: namespace.clone(),
                };
                (of == namespace).then(place)
            })
            .collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all.dedup();
        all
    }

    /// What the node is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.file("sock")
    }

    /// Its notes of what was changed.
    #[must_use]
    pub fn notes(&self) -> PathBuf {
        self.file("json")
    }

    fn file(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}@{}.{end}", self.name, self.namespace))
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// As the file system says.
    pub fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o755).create(&self.folder)
    }
}

/// The number of this thread's network namespace.
fn namespace() -> String {
    let link = std::fs::read_link("/proc/thread-self/ns/net").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
impl Place {
    /// A place of a test's own.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { name: "test".to_owned(), folder: folder.to_owned(), namespace: namespace() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_name_or_a_file() {
        let file = |word: &str| config_file(Some(Path::new(word)));
        assert_eq!(config_file(None), Path::new("/etc/hearth/mn.yaml"));
        assert_eq!(file("car"), Path::new("/etc/hearth/mn/car.yaml"));
        for path in ["./car", "/tmp/car", "car.yaml", "a/b", "car.yml"] {
            assert_eq!(file(path), Path::new(path));
        }
    }

    #[test]
    fn names_are_safe_in_paths_and_short_enough_for_a_socket() {
        let place = Place::of_file(Path::new("/x/my car@home\u{e9}.yaml"));
        assert_eq!(place.name(), "my_car_home_");
        let long = Place::of_file(Path::new(&format!("/x/{}.yaml", "n".repeat(200))));
        assert!(long.socket().as_os_str().len() < 108);
        assert_ne!(long.socket(), long.notes());
    }
}
