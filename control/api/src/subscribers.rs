//! Subscribers of the HAC.
//!
//! A subscriber is a JSON object with the keys that it has in YAML, `mn_id` among them. Its
//! pre-shared key goes in as `"psk": {"hex": digits}`; it comes out wrapped only, as `{"sealed":
//! digits}` of [`EXPORT`](paths::EXPORT), which the same deployment takes back. Import and export are
//! JSON lines: one such object a line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Paths of the HAC's API.
pub mod paths {
    /// `POST` of a [`PageRequest`](super::PageRequest): list of [`Row`](super::Row).
    pub const LIST: &str = "/v1/subscribers/list";
    /// `POST` of a [`Name`](super::Name): its [`Row`](super::Row).
    pub const SHOW: &str = "/v1/subscribers/show";
    /// `POST` of a subscriber that is not there yet: [`Done`](super::Done).
    pub const ADD: &str = "/v1/subscribers/add";
    /// `POST` of some keys of one that is there; `null` takes a key away: [`Done`](super::Done).
    pub const SET: &str = "/v1/subscribers/set";
    /// `POST` of a [`Name`](super::Name): [`Done`](super::Done).
    pub const REMOVE: &str = "/v1/subscribers/remove";
    /// `POST` of JSON lines, all or none of which are taken: [`Done`](super::Done).
    pub const IMPORT: &str = "/v1/subscribers/import";
    /// The same; subscribers that are there are replaced.
    pub const IMPORT_OVER: &str = "/v1/subscribers/import-over";
    /// `POST` of nothing: JSON lines.
    pub const EXPORT: &str = "/v1/subscribers/export";
    /// `POST` of nothing: wraps all keys by the current key: [`Done`](super::Done).
    pub const REWRAP: &str = "/v1/subscribers/rewrap";
}

/// Which subscribers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest {
    /// Those whose mn-ids come behind this one.
    #[serde(default)]
    pub after: String,
    /// How many at most; 1000 at the very most.
    pub count: usize,
}

/// Which subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Its mn-id.
    pub mn_id: String,
}

/// A subscriber.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Network access identifier.
    pub mn_id: String,
    /// `configuration`, `file` or `store`.
    pub source: String,
    /// Whether it is served; the log says why not.
    pub in_force: bool,
    /// Whether it has a pre-shared key.
    pub has_psk: bool,
    /// What is its own, under the keys of YAML; `null` for those that don't stand in the store.
    #[serde(default)]
    pub values: Value,
    /// In the answer of [`SHOW`](paths::SHOW): the one that is in force in the place of this one of the
    /// store, which has the same mn-id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<Box<Self>>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Subscribers that were added, changed or removed.
    pub subscribers: u64,
    /// SAs that ended with it.
    pub revoked: u64,
    /// Mobile nodes whose SAs end as soon as the HAC's store works: it has failed.
    #[serde(default)]
    pub waiting: u64,
}
