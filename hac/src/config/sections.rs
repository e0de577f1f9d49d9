//! Which keys of the YAML differ between two readings of it. Keys alone: no value is kept that could be
//! a pre-shared key, and none is shown.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

/// The sections of the file, but for its subscribers.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub struct Sections {
    listen: Value,
    tls: Value,
    directory: Value,
    home_agents: Value,
    replica: Value,
    policy: Value,
    auth: Value,
    radius: Value,
    eap_tls: Value,
    dns: Value,
    realms: Value,
    subscriber_files: Value,
    subscriber_store: Value,
    limits: Value,
    admin: Value,
    metrics: Value,
    /// A mark of what is in each file that a key names.
    #[serde(skip)]
    files: BTreeMap<String, u64>,
}

impl core::fmt::Debug for Sections {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sections(..)")
    }
}

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What takes effect while the daemon runs.
    pub live: Vec<String>,
    /// What takes effect when it starts.
    pub at_start: Vec<String>,
    /// What names the same files as before, with something else in them.
    pub files: Vec<String>,
}

/// Keys that name files, wherever they stand.
const FILES: [&str; 9] = [
    "certificate",
    "key",
    "ocsp",
    "ca",
    "client_ca",
    "crl",
    "secret_file",
    "key_file",
    "previous_key_file",
];
/// Those whose files are secret.
const SECRETS: [&str; 4] = ["key", "secret_file", "key_file", "previous_key_file"];
/// A secret that systemd hands in.
const CREDENTIALS: [&str; 2] = ["secret_credential", "credential"];

/// Marks of files say whether two are the same and, without this process's own key, nothing of them.
static MARKS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Sections {
    /// What of `self` is not as in `former`.
    #[must_use]
    pub fn changed(&self, former: &Self) -> Changed {
        let mut changed = Changed::default();
        for (key, one, other) in [
            ("tls", &former.tls, &self.tls),
            ("policy", &former.policy, &self.policy),
            ("auth", &former.auth, &self.auth),
            ("eap_tls", &former.eap_tls, &self.eap_tls),
            ("dns", &former.dns, &self.dns),
            ("realms", &former.realms, &self.realms),
            ("limits", &former.limits, &self.limits),
        ] {
            differences(key, one, other, &mut changed.live);
        }
        for (key, one, other) in [
            ("listen", &former.listen, &self.listen),
            ("home_agents", &former.home_agents, &self.home_agents),
            ("replica", &former.replica, &self.replica),
            ("subscriber_files", &former.subscriber_files, &self.subscriber_files),
            ("subscriber_store", &former.subscriber_store, &self.subscriber_store),
            ("admin", &former.admin, &self.admin),
            ("metrics", &former.metrics, &self.metrics),
        ] {
            differences(key, one, other, &mut changed.at_start);
        }
        let mut radius = Vec::new();
        differences("radius", &former.radius, &self.radius, &mut radius);
        let (live, at_start) = radius.into_iter().partition(|key| is_of_servers(key));
        changed.live.extend::<Vec<_>>(live);
        changed.at_start.extend::<Vec<_>>(at_start);
        let mut directory = Vec::new();
        differences("directory", &former.directory, &self.directory, &mut directory);
        let (live, at_start) = directory.into_iter().partition(|key| is_of_certificates(key));
        changed.live.extend::<Vec<_>>(live);
        changed.at_start.extend::<Vec<_>>(at_start);
        for (key, mark) in &self.files {
            let is_other = former.files.get(key).is_some_and(|former| former != mark);
            // Where another file is named that is said already.
            if is_other && !changed.live.contains(key) && !changed.at_start.contains(key) {
                let to = if is_of_start(key) { &mut changed.at_start } else { &mut changed.files };
                to.push(key.clone());
            }
        }
        changed
    }

    /// Marks what is in the files that are named; `resolve` gives the place of a name.
    #[must_use]
    pub(super) fn with_files(mut self, resolve: impl Fn(&Path) -> PathBuf) -> Self {
        let handed_in = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let named = self.named(&FILES).into_iter().map(|(key, name)| (key, Some(resolve(name))));
        let credentials = self.named(&CREDENTIALS).into_iter();
        let credentials = credentials
            .map(|(key, name)| (key, handed_in.as_ref().map(|folder| folder.join(name))));
        let files = named.chain(credentials).filter_map(|(key, path)| {
            let octets = Zeroizing::new(std::fs::read(path?).ok()?);
            Some((key, MARKS.hash_one(&*octets)))
        });
        self.files = files.collect();
        self
    }

    /// Files with secrets, by the keys that name them.
    pub(super) fn secret_files(&self) -> Vec<(String, &Path)> {
        self.named(&SECRETS)
    }

    /// The files that keys of these names name.
    fn named(&self, names: &[&str]) -> Vec<(String, &Path)> {
        let mut found = Vec::new();
        for (key, value) in [
            ("tls", &self.tls),
            ("eap_tls", &self.eap_tls),
            ("radius", &self.radius),
            ("directory", &self.directory),
            ("subscriber_store", &self.subscriber_store),
        ] {
            files_in(key, value, names, false, &mut found);
        }
        found
    }

    /// Takes over from `other` what takes effect while the daemon runs.
    pub fn follow(&mut self, other: Self) {
        let Self { tls, policy, auth, eap_tls, dns, realms, limits, .. } = other;
        let Self { radius, directory, files, .. } = other;
        self.files.retain(|key, _| is_of_start(key));
        self.files.extend(files.into_iter().filter(|(key, _)| !is_of_start(key)));
        (self.tls, self.policy, self.auth) = (tls, policy, auth);
        (self.eap_tls, self.dns, self.realms, self.limits) = (eap_tls, dns, realms, limits);
        for name in DIRECTORY_CERTIFICATES {
            let own = self.directory.get_mut(name);
            if let (Some(own), Some(fresh)) = (own, directory.get(name)) {
                *own = fresh.clone();
            }
        }
        for place in RADIUS_SERVERS {
            let own = self.radius.pointer_mut(place);
            if let (Some(own), Some(fresh)) = (own, radius.pointer(place)) {
                *own = fresh.clone();
            }
        }
    }
}

/// Where in `radius` the servers are: they can change while exchanges are in flight, but not come or go
/// altogether.
const RADIUS_SERVERS: [&str; 2] = ["/servers", "/accounting/servers"];

/// What of `directory` can be another while home agents are connected.
const DIRECTORY_CERTIFICATES: [&str; 3] = ["certificate", "key", "ca"];

fn is_of_certificates(key: &str) -> bool {
    let name = key.strip_prefix("directory.");
    name.is_some_and(|name| DIRECTORY_CERTIFICATES.contains(&name))
}

fn is_of_servers(key: &str) -> bool {
    RADIUS_SERVERS.iter().any(|place| {
        let rest = key
            .strip_prefix("radius")
            .and_then(|key| key.strip_prefix(place.replace('/', ".").as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    })
}

/// Whether a file is read when the daemon starts, and not again.
fn is_of_start(key: &str) -> bool {
    key.starts_with("subscriber_store.")
}

/// Text under one of `names`, or in a list there.
fn files_in<'a>(
    key: &str,
    value: &'a Value,
    names: &[&str],
    is_named: bool,
    found: &mut Vec<(String, &'a Path)>,
) {
    match value {
        Value::String(text) if is_named => found.push((key.to_owned(), Path::new(text))),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                files_in(&format!("{key}[{index}]"), value, names, is_named, found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_named = names.contains(&name.as_str());
                files_in(&format!("{key}.{name}"), value, names, is_named, found);
            }
        }
        _ => {}
    }
}

fn differences(key: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (one, other) if one == other => {}
        (Value::Object(one), Value::Object(other)) => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let of = |object: &serde_json::Map<String, Value>| {
                    object.get(name).cloned().unwrap_or_default()
                };
                differences(&format!("{key}.{name}"), &of(one), &of(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{key}[{index}]"), one, other, found);
            }
        }
        _ => found.push(key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_by_its_key() {
        let read = |text: &str| {
            hearth_config::parse::<Sections>(std::path::Path::new("hac.yaml"), text).unwrap().value
        };
        let one = read(
            "listen: ['[::]:7873']\ndirectory: {socket: a, ca: b, key: c}\ntls: {certificate: a, suites: [A, B]}\n\
             home_agents: [{name: a, pools: {ip6: [x, y]}}, {name: b}]\nlimits: {connections: 3}\n\
             radius: {nas_identifier: a, servers: [{port: 1}], accounting: {servers: [{port: 2}]}}\n",
        );
        let other = read(
            "listen: ['[::]:7873', '0.0.0.0:7873']\ndirectory: {socket: z, ca: y, key: c}\ntls: {certificate: a, suites: [A, C]}\n\
             home_agents: [{name: a, pools: {ip6: [x, z]}}, {name: b, region: c}]\n\
             radius: {nas_identifier: b, servers: [{port: 3}], accounting: {servers: []}}\n\
             subscribers: [{mn_id: a, psk: {hex: '00'}}]\n",
        );
        let changed = other.changed(&one);
        assert_eq!(
            changed.live,
            [
                "tls.suites[1]",
                "limits",
                "radius.accounting.servers",
                "radius.servers[0].port",
                "directory.ca"
            ]
        );
        let at_start = [
            "listen",
            "home_agents[0].pools.ip6[1]",
            "home_agents[1].region",
            "radius.nas_identifier",
            "directory.socket",
        ];
        assert_eq!(changed.at_start, at_start);
        assert_eq!(one.changed(&one), Changed::default());
        let mut followed = one.clone();
        followed.follow(other.clone());
        assert_eq!(other.changed(&followed).live, Vec::<String>::new());
        assert_eq!(other.changed(&followed).at_start, at_start);
    }
}
