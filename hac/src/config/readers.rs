//! Secrets that others than the daemon's user and group can read: warned of, not refused.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hearth_config::Document;

use super::raw::Root;
use super::sections::Sections;

/// Warnings at most: a fleet whose key files are all wrong needs no line for each.
const MOST: usize = 20;

/// What others can read and should not, a line for each file.
pub(super) fn warnings(file: &Document<Root>, sections: &Sections) -> Vec<String> {
    let yaml = file.path().display();
    let mut found = Vec::new();
    let mut subscribers = file.value.subscribers.iter().enumerate();
    let in_clear = subscribers.clone().find_map(|(index, subscriber)| {
        let psk = &subscriber.psk.as_ref()?.value;
        (psk.hex.is_some() || psk.text.is_some()).then_some(index)
    });
    if let Some(index) = in_clear {
        found.extend(line(&yaml, &format!("subscribers[{index}].psk"), file.path()));
    }
    for (key, path) in sections.secret_files() {
        found.extend(line(&yaml, &key, &file.resolve(path)));
    }
    let of_subscribers = subscribers.by_ref().filter_map(|(index, subscriber)| {
        let path = subscriber.psk.as_ref()?.value.file.as_ref()?;
        line(&yaml, &format!("subscribers[{index}].psk.file"), &file.resolve(path))
    });
    let room = MOST.saturating_sub(found.len());
    found.extend(of_subscribers.take(room));
    found
}

fn line(yaml: &impl core::fmt::Display, key: &str, path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    let path = path.display();
    let is_open = mode & 0o007 != 0;
    is_open.then(|| {
        format!("{yaml}: {key}: others can read {path} (mode {mode:04o}): chmod o= {path}")
    })
}
