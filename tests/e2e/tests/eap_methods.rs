//! EAP by others from end to end: wpa_supplicant's EAP peer in a visited network, the HAC, FreeRADIUS or
//! hostapd in the operator's network; the SA at the home agent, and its keys in use.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[operator]-- hearth-aaa
//! ```
//!
//! Each bootstrap ends with a 200 under the MSK that eapol_test derived: the HAC's is the same, by its own
//! computation or from the AAA server. Scapy then registers and de-registers with the keys.
//! `hearth-mn` does the same by its own methods, and reaches the correspondent.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use hearth_e2e::eap::{Bench, operator};
use hearth_lab::plan::{AAA4, AAA6};
use hearth_peers::{
    aaa::{self, FreeRadius, Hostapd, Usim},
    eap,
};

/// The name in the certificates of EAP servers.
const SERVER: &str = "aaa.example.net";

/// Certificates of mobile nodes, signed by the CA in `folder`: the subscriber's, and another's.
fn client_certificates(folder: &Path) {
    aaa::certificate(folder, "mn1", &format!("email:{}", aaa::NAME));
    aaa::certificate(folder, "other", "email:other@example.net");
}

/// A HAC that passes EAP through to this server, and the folder of their secret.
fn pass_through(address: &str, port: u16) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, format!("{}\n", aaa::SECRET)).unwrap();
    let auth = format!(
        "auth: {{methods: [eap], eap: {{methods: [radius]}}}}\n\
         radius:\n  servers:\n\
         \x20   - {{address: \"{address}\", port: {port}, secret_file: {}, \
         returns_authenticated_name: true}}",
        secret.display()
    );
    (folder, auth)
}

/// EAP-TLS with this certificate by TLS 1.2 and 1.3.
fn both_tls_versions(bench: &mut Bench, folder: &Path) {
    for tls in ["1.2", "1.3"] {
        let configuration = eap::with_certificate(folder, "mn1", SERVER, tls);
        let text = bench.bootstraps("TLS", &configuration, "");
        assert!(text.contains(&format!("\"tls\": \"TLSv{tls}\"")), "{text}");
    }
}

/// `auth` of a `hearth-mn` that has this certificate.
fn eap_tls(folder: &Path, name: &str) -> String {
    format!(
        "{{eap-tls: {{certificate: {0}/{name}.pem, key: {0}/{name}.key, ca: {0}/ca.pem, \
         server_name: {SERVER}}}}}",
        folder.display()
    )
}

/// `auth` of a `hearth-mn` that has this password.
fn eap_ttls(folder: &Path, inner: &str, password: &str) -> String {
    format!(
        "{{eap-ttls: {{inner: {inner}, password: {{text: \"{password}\"}}, ca: {}/ca.pem, \
         server_name: {SERVER}}}}}",
        folder.display()
    )
}

/// Shown by 2, EAP-10, EAP-11: the methods that are the HAC's own.
#[test]
fn eap_tls_and_gpsk_with_the_hac() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    aaa::certificates(folder);
    client_certificates(folder);
    let auth = format!(
        "auth: {{methods: [eap], eap: {{methods: [tls, gpsk]}}}}\n\
         eap_tls: {{certificate: {0}/server.pem, key: {0}/server.key, client_ca: {0}/ca.pem}}",
        folder.display()
    );
    let (mut bench, ()) = Bench::up("eap-hac", &auth, |_| ());
    both_tls_versions(&mut bench, folder);
    bench.is_refused(&eap::with_certificate(folder, "other", SERVER, "1.3"));
    bench.hearth_mn_is_refused(&eap_tls(folder, "other"));
    bench.hearth_mn_bootstraps(&eap_tls(folder, "mn1"));
    for cipher in [1, 2] {
        bench.bootstraps("GPSK", &eap::gpsk(aaa::PSK, cipher), "");
    }
    bench.has_no_other_sa();
}

/// Shown by 1, EAP-02, EAP-12: through FreeRADIUS, by IPv6.
#[test]
fn eap_through_freeradius() {
    let (_folder, auth) = pass_through(&AAA6.to_string(), 1812);
    let start = |network: &_| FreeRadius::start_in(operator(network));
    let (mut bench, server) = Bench::up("eap-freeradius", &auth, start);
    assert_eq!(server.auth, 1812);
    client_certificates(server.folder());
    both_tls_versions(&mut bench, server.folder());
    for (method, more) in [
        ("TTLS", "phase2=\"auth=PAP\""),
        ("TTLS", "phase2=\"auth=MSCHAPV2\""),
        ("PEAP", "phase2=\"auth=MSCHAPV2\""),
    ] {
        let right = server.network(method, more);
        bench.is_refused(&right.replace(aaa::PASSWORD, "another one"));
        bench.bootstraps(method, &right, "");
    }
    bench.is_refused(&eap::with_certificate(server.folder(), "other", SERVER, "1.3"));
    bench.hearth_mn_is_refused(&eap_tls(server.folder(), "other"));
    bench.hearth_mn_bootstraps(&eap_tls(server.folder(), "mn1"));
    bench.hearth_mn_is_refused(&eap_ttls(server.folder(), "pap", "another one"));
    for inner in ["pap", "mschapv2"] {
        bench.hearth_mn_bootstraps(&eap_ttls(server.folder(), inner, aaa::PASSWORD));
    }
    let password = server.path("password");
    fs::write(&password, "another one\n").unwrap();
    let auth = format!(
        "{{eap-ttls: {{inner: mschapv2, password: {{file: {}}}, ca: {}, server_name: {SERVER}}}}}",
        password.display(),
        server.path("ca.pem").display(),
    );
    bench.hearth_mn_recovers(&auth, "wrong user or password", || {
        fs::write(&password, format!("{}\n", aaa::PASSWORD)).unwrap();
    });
    // eapol_test does not print the whole MSK of EAP-pwd: the half that it prints is its own.
    let second_half = format!("--second-half-from {}", server.path("log").display());
    bench.bootstraps("PWD", &server.network("PWD", ""), &second_half);
    bench.has_no_other_sa();
}

/// Shown by 1, EAP-02, EAP-12: through hostapd's RADIUS server, by IPv4.
#[test]
fn eap_through_hostapd() {
    let (_folder, auth) = pass_through(&AAA4.to_string(), 1822);
    let start = |network: &_| Hostapd::start_in(&operator(network));
    let (mut bench, server) = Bench::up("eap-hostapd", &auth, start);
    assert_eq!(server.auth, 1822);
    bench.bootstraps("GPSK", &server.gpsk(), "");
    bench.is_refused(&server.gpsk().replace(aaa::PSK, &"77".repeat(32)));
    bench.hearth_mn_bootstraps("eap-gpsk");
    let usim = Usim::insert();
    bench.bootstraps("AKA'", &usim.configuration(), "");
    let auth = format!(
        "{{eap-aka-prime: {{imsi: '{}', state: {}, usim: {{k: {{hex: '{}'}}, \
         opc: {{hex: '{}'}}}}}}}}",
        aaa::IMSI,
        server.path("usim.json").display(),
        aaa::KI,
        aaa::OPC,
    );
    bench.hearth_mn_bootstraps(&auth);
    // By the pseudonym that it was handed.
    bench.hearth_mn_bootstraps(&auth);
    bench.has_no_other_sa();
}
