//! `auth` with what is wrong with it, by line, key and what would be right.

use std::fs;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};

use super::super::load;
use super::read::DEFAULT_MTU;
use super::*;

const CA: &str = include_str!("../test-ca.pem");

/// A folder with certificates, secrets and `mn.yaml`, whose line 3 is `auth`.
fn load_auth(auth: &str) -> (tempfile::TempDir, Result<Auth, String>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", CA);
    write("password", "a pass word\n");
    write("k", &format!("{}\n", "0f".repeat(16)));
    write("none.pem", "");
    for (name, until) in [("mn1", 2200), ("old", 2020)] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(until, 1, 1);
        write(&format!("{name}.pem"), &params.self_signed(&key).unwrap().pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
    write("ed.key", &KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem());
    let text = format!(
        "mn_id: mn1@example.net\nhac: {{name: hac.example.net, port: 7873, ca: ca.pem}}\n{auth}\n"
    );
    let file = folder.path().join("mn.yaml");
    fs::write(&file, text).unwrap();
    let prefix = format!("{}:", file.display());
    let loaded = load(&file).map(|config| config.auth);
    (folder, loaded.map_err(|error| error.to_string().replace(&prefix, "")))
}

const TLS: &str = "auth: {eap-tls: {certificate: mn1.pem, key: mn1.key}}";
const TTLS: &str = "auth: {eap-ttls: {inner: mschapv2, password: {file: password}, ca: ca.pem, \
                    server_name: aaa.example.net}}";
const AKA: &str = "auth: {eap-aka-prime: {imsi: '232010000000000', usim: {k: {file: k}, \
                   opc: {file: k}}, state: usim.json}}";

#[test]
fn each_method_can_be_configured() {
    let (_folder, auth) = load_auth(TLS);
    let Auth::Tls(tls) = auth.unwrap() else { panic!() };
    assert_eq!((tls.identity.as_str(), tls.server.mtu), ("@example.net", DEFAULT_MTU));
    let (_folder, auth) = load_auth(TTLS);
    let auth = auth.unwrap();
    assert!(!format!("{auth:?}").contains("pass word"), "{auth:?}");
    let Ok(Credentials::Ttls(ttls)) = auth.credentials(0) else { panic!() };
    assert_eq!((ttls.user.as_str(), &ttls.password[..]), ("mn1@example.net", &b"a pass word"[..]));
    let (_folder, auth) = load_auth(AKA);
    let auth = auth.unwrap();
    assert!(!format!("{auth:?}").to_lowercase().contains("0f0f"), "{auth:?}");
    let Ok(Credentials::AkaPrime(aka)) = auth.credentials(0) else { panic!() };
    assert_eq!(aka.identity, "6232010000000000@wlan.mnc001.mcc232.3gppnetwork.org");
    let both =
        AKA.replace("opc: {file: k}", "op: {file: k}").replace("state:", "mnc_digits: 3, state:");
    assert!(load_auth(&both).1.is_ok(), "{both}");
}

#[test]
fn what_is_wrong_is_named_with_line_and_key() {
    let key = "psk: {hex: 000102030405060708090a0b0c0d0e0f}";
    for (auth, from, to, expected) in [
        (TLS, "mn1.key", "none.key", "3: auth.eap-tls.key: "),
        (TLS, "mn1.key", "old.key", "is not the certificate of the configured key"),
        (TLS, "mn1.pem", "none.pem", "none.pem can't be read as PEM certificates"),
        (TLS, "mn1.key}", "mn1.key, mtu: 63}", "3: auth.eap-tls.mtu: out of range; 64 to 4000"),
        (TLS, "mn1.key}", "mn1.key, ca: k}", "3: auth.eap-tls.ca: "),
        (TLS, "mn1.key}", "mn1.key, server_name: '*.net'}", "3: auth.eap-tls.server_name: "),
        (TLS, "mn1.key}", "mn1.key, identity: ''}", "3: auth.eap-tls.identity: 1 to 253 octets"),
        (TLS, "mn1.key}", "mn1.key, pin: 1}", "unknown key `pin`"),
        (TLS, "key: mn1.key", "key: {credential: ../k}", "3: auth.eap-tls.key.credential: "),
        (TLS, "auth:", "psk: {text: an octet or two more}\nauth:", "3: psk: is not used with"),
        (TLS, TLS, "auth: psk", "3: auth: wants a key"),
        (TLS, TLS, "suites: [AES_128_CBC_SHA]", "psk: missing key"),
        (TTLS, "mschapv2", "chap", "one of pap, mschapv2 is wanted"),
        (TTLS, "file: password", "file: none.pem", "3: auth.eap-ttls.password: 1 to 256 octets"),
        (TTLS, "ca: ca.pem, ", "", "missing key `ca`"),
        (TTLS, "inner", "user: '', inner", "3: auth.eap-ttls.user: 1 to 253 octets"),
        (AKA, "232010000000000", "23201", "3: auth.eap-aka-prime.imsi: 6 to 15 digits"),
        (AKA, "k: {file: k}", "k: {hex: '00'}", "3: auth.eap-aka-prime.usim.k: 16 octets"),
        (AKA, ", opc: {file: k}", "", "3: auth.eap-aka-prime.usim: op or opc is wanted"),
        (AKA, "usim.json", "k", "3: auth.eap-aka-prime.state: "),
        (AKA, "state:", "mnc_digits: 4, state:", "3: auth.eap-aka-prime.mnc_digits: 2 or 3"),
    ] {
        assert!(auth.contains(from), "{from}");
        let error = load_auth(&auth.replace(from, to)).1.expect_err(to);
        assert!(error.contains(expected), "{to}: {error}");
    }
    assert!(load_auth(key).1.is_ok());
}

/// A certificate that has ended is no reason not to start: a new one may come while we run.
#[test]
fn files_are_read_for_each_bootstrap() {
    let (folder, auth) = load_auth(&TLS.replace("mn1", "old"));
    let auth = auth.unwrap();
    let error = auth.credentials(2_000_000_000).err().unwrap().to_string();
    assert!(error.ends_with("old.pem has expired; put a new certificate there"), "{error}");
    for (from, to) in [("mn1.pem", "old.pem"), ("mn1.key", "old.key")] {
        fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
    }
    assert!(auth.credentials(2_000_000_000).is_ok());
    fs::remove_file(folder.path().join("old.key")).unwrap();
    let error = auth.credentials(2_000_000_000).err().unwrap().to_string();
    assert!(error.ends_with("old.key can't be read as a PEM private key"), "{error}");
    let (folder, auth) = load_auth(TTLS);
    let auth = auth.unwrap();
    fs::write(folder.path().join("password"), "mended").unwrap();
    let Ok(Credentials::Ttls(ttls)) = auth.credentials(0) else { panic!() };
    assert_eq!(&ttls.password[..], b"mended");
}
