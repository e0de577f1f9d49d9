//! wpa_supplicant's EAP peer, `eapol_test`, as a mobile node that bootstraps (RFC 6618 s.5.9).
//!
//! `eap_peer.py` carries its EAP to the HAC and keys MHAuth-Done with the MSK that it derived: a 200
//! proves that both ends have the same one.

use std::{net::IpAddr, path::Path, process::Command};

use serde_json::Value;

use crate::{aaa, script};

/// wpa_supplicant's configuration for [`aaa::NAME`] with these lines.
#[must_use]
pub fn network(lines: &str) -> String {
    format!("network={{\nkey_mgmt=WPA-EAP\nidentity=\"{}\"\n{lines}\n}}\n", aaa::NAME)
}

/// EAP-TLS with the certificate `name.pem` in this folder, `ca.pem` there for `server`, and TLS 1.2 or
/// 1.3.
#[must_use]
pub fn with_certificate(folder: &Path, name: &str, server: &str, tls: &str) -> String {
    // It has TLS 1.3 only where that is said; OpenSSL then takes the highest that both have.
    let tls13 = u8::from(tls == "1.2");
    let folder = folder.display();
    network(&format!(
        "eap=TLS\nca_cert=\"{folder}/ca.pem\"\nclient_cert=\"{folder}/{name}.pem\"\n\
         private_key=\"{folder}/{name}.key\"\ndomain_match=\"{server}\"\n\
         phase1=\"tls_disable_tlsv1_3={tls13}\""
    ))
}

/// EAP-GPSK with this key, in hexadecimal, and the ciphersuite of this number (RFC 5433 s.6).
#[must_use]
pub fn gpsk(key: &str, cipher: u8) -> String {
    network(&format!("eap=GPSK\npassword={key}\nphase1=\"cipher={cipher}\""))
}

/// A HAC as mobile nodes see it.
#[derive(Debug, Clone, Copy)]
pub struct Hac<'a> {
    /// Where it listens.
    pub address: (IpAddr, u16),
    /// The name in its certificate.
    pub name: &'a str,
    /// Who has signed that.
    pub ca: &'a Path,
}

/// How a bootstrap ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the mobile node exits with: 0 with an SA, 3 where it was refused.
    pub code: Option<i32>,
    /// What it prints: JSON, and what went wrong.
    pub text: String,
}

impl Outcome {
    /// An SA, by this EAP method, from a HAC that has the MSK that eapol_test has: the headers.
    #[track_caller]
    pub fn accepted(&self, method: &str) -> Value {
        let text = &self.text;
        assert_eq!(self.code, Some(0), "{method}: {text}");
        assert!(text.contains("\"status-code\": [\"200\"]"), "{text}");
        assert!(text.contains("\"keyed_with\": \"msk\""), "{text}");
        assert!(text.contains("\"eap\": \"success\", \"peer\": true"), "{text}");
        assert!(text.contains(&format!("\"methods\": [\"{method}\"]")), "{text}");
        let json: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        json["headers"].clone()
    }

    /// A 401 and nothing else.
    #[track_caller]
    pub fn refused(&self) {
        let text = &self.text;
        assert_eq!(self.code, Some(3), "{text}");
        assert!(text.contains("\"status-code\": [\"401\"]"), "{text}");
        assert!(text.contains("\"peer\": false"), "{text}");
        assert!(!text.contains("mip6-spi"), "{text}");
    }
}

/// Bootstraps once with wpa_supplicant's `configuration`, as [`aaa::NAME`]. `python` runs Python
/// where the mobile node is; `options` are those of `eap_peer.py`.
#[must_use]
pub fn bootstrap(mut python: Command, hac: Hac<'_>, configuration: &str, options: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let network = folder.path().join("network.conf");
    std::fs::write(&network, configuration).unwrap();
    let (address, port) = hac.address;
    python
        .arg(script("eap_peer.py"))
        .args(["hac", &address.to_string(), &port.to_string()])
        .arg(hac.ca)
        .args([hac.name, aaa::NAME])
        .arg(&network)
        .args(options.split_whitespace());
    let output = python.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    Outcome { code: output.status.code(), text }
}
