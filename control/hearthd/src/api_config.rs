//! The YAML of the API: its socket, and mutual TLS for other machines.

use std::net::SocketAddr;
use std::path::PathBuf;

use hearth_api::remote::Names;
use hearth_api::tls::{FileError, Files};
use hearth_config::{ConfigError, Document, Location, Spanned};
use serde::Deserialize;

use crate::config::Config;
use crate::operations_config::Operators;

/// The API.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Unix socket; its file mode (0660) says who may use it.
    pub socket: Spanned<PathBuf>,
    /// Who may change something by the socket, apart from root.
    pub operators: Operators,
    /// Address and TCP port of the same API for other machines; needs `tls`. Default: none.
    pub listen: Option<Spanned<SocketAddr>>,
    /// How clients on other machines and this daemon prove who they are, and what they may do.
    pub tls: Option<Spanned<Tls>>,
    /// What follows of that.
    #[serde(skip)]
    pub files: Option<Files>,
}

/// Mutual TLS. The files are read anew when others take their place.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: this daemon's certificate, and those between it and its authority.
    pub certificate: Spanned<PathBuf>,
    /// PEM: its key.
    pub key: Spanned<PathBuf>,
    /// PEM: the authorities of clients' certificates.
    pub client_ca: Spanned<PathBuf>,
    /// Who may look: names in the subjectAltName of certificates (DNS, mail address, URI).
    #[serde(default)]
    pub readers: Vec<Spanned<String>>,
    /// Who may change something too, trace and capture.
    #[serde(default)]
    pub operators: Vec<Spanned<String>>,
}

impl Tls {
    /// Who may do what.
    #[must_use]
    pub fn names(&self) -> Names {
        let names = |names: &[Spanned<String>]| names.iter().map(|n| n.value.clone()).collect();
        Names { readers: names(&self.readers), operators: names(&self.operators) }
    }
}

impl Default for Api {
    fn default() -> Self {
        let at = Location::UNKNOWN;
        let socket = Spanned::new("/run/hearth/hearthd.sock".into(), at, at);
        Self { socket, operators: Operators::default(), listen: None, tls: None, files: None }
    }
}

/// Checks the section; where the files are.
pub(crate) fn check(
    document: &Document<Config>,
    config: &Config,
) -> Result<Option<Files>, ConfigError> {
    let api = &config.api;
    let tls = match (&api.listen, &api.tls) {
        (None, None) => return Ok(None),
        (Some(_), Some(tls)) => tls,
        (Some(listen), None) => {
            let message = "needs api.tls: other machines are served by mutual TLS alone";
            return Err(document.error(listen.referenced, "api.listen", message));
        }
        (None, Some(tls)) => {
            let message = "is for clients on other machines; give api.listen, or leave it out";
            return Err(document.error(tls.referenced, "api.tls", message));
        }
    };
    let (readers, operators) = (&tls.value.readers, &tls.value.operators);
    if readers.is_empty() && operators.is_empty() {
        let message = "nobody may use it; name the certificates of readers or operators";
        return Err(document.error(tls.referenced, "api.tls", message));
    }
    for (key, names) in [("readers", readers), ("operators", operators)] {
        if let Some(name) = names.iter().find(|name| name.value.trim().is_empty()) {
            let message = "empty; a name in the subjectAltName of a client's certificate";
            return Err(document.error(name.referenced, format!("api.tls.{key}"), message));
        }
    }
    let resolve = |path: &Spanned<PathBuf>| document.resolve(&path.value);
    let files = Files {
        certificate: resolve(&tls.value.certificate),
        key: resolve(&tls.value.key),
        client_ca: resolve(&tls.value.client_ca),
    };
    let fits = files.read().and_then(|pem| files.http_server(&pem).map(drop));
    fits.map_err(|FileError { key, message }| {
        let path = match key {
            "key" => &tls.value.key,
            "client_ca" => &tls.value.client_ca,
            _ => &tls.value.certificate,
        };
        document.error(path.referenced, format!("api.tls.{key}"), message)
    })?;
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    const SECTION: &str = "  listen: \"[::1]:9619\"
  tls:
    certificate: api.pem
    key: api.key
    client_ca: api.pem
    readers: [monitor.example.net]
    operators: [admin.example.net]
";

    /// The example with `section` in its API.
    fn load(folder: &Path, section: &str) -> Result<Config, ConfigError> {
        let good = include_str!("../../../configs/hearthd.yaml");
        let path = folder.join("hearthd.yaml");
        fs::write(&path, good.replacen("\napi:\n", &format!("\napi:\n{section}"), 1)).unwrap();
        crate::config::load(&path)
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["ha1.example.net".to_owned()]).unwrap();
        fs::write(folder.path().join("api.pem"), cert.pem()).unwrap();
        fs::write(folder.path().join("api.key"), signing_key.serialize_pem()).unwrap();
        folder
    }

    #[test]
    fn other_machines_are_served_where_yaml_says_so() {
        let folder = folder();
        let api = load(folder.path(), SECTION).unwrap().api;
        assert_eq!(api.files.unwrap().key, folder.path().join("api.key"));
        let names = api.tls.unwrap().value.names();
        assert_eq!(names.readers, ["monitor.example.net"]);
        assert_eq!(names.operators, ["admin.example.net"]);
        assert!(load(folder.path(), "").unwrap().api.files.is_none());
    }

    #[test]
    fn mistakes_name_key_and_remedy() {
        let folder = folder();
        let (listen, tls) = SECTION.split_once('\n').unwrap();
        let nobody = SECTION.split_once("    readers").unwrap().0;
        for (section, key, remedy) in [
            (format!("{listen}\n"), "api.listen", "needs api.tls"),
            (tls.to_owned(), "api.tls", "give api.listen"),
            (nobody.to_owned(), "api.tls", "nobody may use it"),
            (SECTION.replace("monitor.example.net", "\" \""), "api.tls.readers", "empty"),
            (SECTION.replace("api.key", "none.key"), "api.tls.key", "none.key"),
            (SECTION.replace("key: api.key", "key: api.pem"), "api.tls.key", "no PEM private key"),
        ] {
            let complaint = load(folder.path(), &section).unwrap_err().to_string();
            assert!(complaint.contains(&format!(": {key}")), "{complaint}");
            assert!(complaint.contains(remedy), "{complaint} lacks {remedy:?}");
        }
    }
}
