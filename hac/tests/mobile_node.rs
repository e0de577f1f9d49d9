//! The mobile node's EAP methods against a running HAC: with its own EAP servers, and with AAA
//! servers by others behind it.
//!
//! The configuration of the mobile node is read as `hearth-mn` reads it; its session goes over TCP
//! on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use aaa::{FreeRadius, Hostapd};
use hearth_hac::config::Config;
use hearth_hac::daemon::{Hac, system_clock};
use hearth_mn::bootstrap::{Grant, Progress, Proposal, Session};
use hearth_peers::aaa;
use rustls::{ClientConnection, StreamOwned};

/// A HAC in this process, and a folder with a CA, certificates under it and the mobile node's files.
struct Running {
    hac: Hac,
    folder: tempfile::TempDir,
}

impl Running {
    /// With this `auth` section and what goes with it.
    fn start(auth: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        aaa::certificates(folder.path());
        aaa::certificate(folder.path(), "hac", "DNS:hac.example.net");
        fs::write(folder.path().join("secret"), format!("{}\n", aaa::SECRET)).unwrap();
        let text = format!(
            "\
listen: ['127.0.0.1:0']
tls: {{certificate: hac.pem, key: hac.key}}
directory: {{store: hac.redb, socket: hac.sock}}
home_agents:
  - name: ha1
    ip6: 2001:db8:1::1
    spi_range: [1, 1000]
    home_prefix_ip6: '2001:db8:100::/64'
subscribers:
  - {{mn_id: mn1@example.net, psk: {{hex: '{PSK}'}}, home_address_ip6: '2001:db8:100::10'}}
  - {{mn_id: mn2@example.net, psk: {{hex: '{PSK}'}}, home_address_ip6: '2001:db8:100::11'}}
{auth}
",
            PSK = aaa::PSK,
        );
        fs::write(folder.path().join("hac.yaml"), text).unwrap();
        let config = Config::load(&folder.path().join("hac.yaml"), system_clock()());
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        Self { hac: Hac::start(config, system_clock()).unwrap(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate that names this mobile node, as `NAME.pem` and `NAME.key`.
    fn sign(&self, name: &str, mn_id: &str) {
        aaa::certificate(self.folder.path(), name, &format!("email:{mn_id}"));
    }

    /// The mobile node with these lines in its YAML bootstraps as mn1@example.net.
    async fn bootstrap(&self, auth: &str) -> Result<Grant, String> {
        let file = self.path("mn.yaml");
        let text = format!(
            "mn_id: {}\nhac: {{name: hac.example.net, port: {}, ca: ca.pem}}\n{auth}\n",
            aaa::NAME,
            self.hac.addresses()[0].port(),
        );
        fs::write(&file, text).unwrap();
        tokio::task::spawn_blocking(move || bootstrap(&file)).await.unwrap()
    }

    async fn accepted(&self, auth: &str) {
        let grant = self.bootstrap(auth).await.unwrap_or_else(|error| panic!("{auth}: {error}"));
        assert_eq!(grant.home_address.to_string(), "2001:db8:100::10", "{auth}");
    }

    async fn refused(&self, auth: &str, expected: &str) {
        let error = self.bootstrap(auth).await.expect_err(auth);
        assert!(error.contains(expected), "{auth}: {error}");
    }
}

/// One bootstrap with the YAML file at `path`: what was granted, or what `status` would say.
fn bootstrap(path: &std::path::Path) -> Result<Grant, String> {
    let config = hearth_mn::config::load(path).map_err(|error| error.to_string())?;
    let credentials = config.auth.credentials(system_clock()()).map_err(|e| e.to_string())?;
    let tls = hearth_mn::tls::client_config(&config.hac.ca, &config.hac.name).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", config.hac.port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let connection = ClientConnection::new(tls, config.hac.name.server_name().unwrap()).unwrap();
    let mut tls = StreamOwned::new(connection, tcp);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock).unwrap();
    }
    let certificate = &tls.conn.peer_certificates().unwrap()[0];
    let binding = hearth_mn::tls::server_end_point(certificate).unwrap();
    let proposal = Proposal {
        mn_id: &config.mn_id,
        credentials: &credentials,
        suites: &config.suites,
        scope: config.scope,
    };
    let (mut session, request) = Session::begin(proposal, binding, [3; 32], [5; 32]).unwrap();
    tls.write_all(&request).unwrap();
    let mut buffer = [0; 4096];
    loop {
        let len = tls.read(&mut buffer).map_err(|error| error.to_string())?;
        assert!(len > 0, "the HAC closed without a status");
        match session.receive(&buffer[..len]).map_err(|error| error.to_string())? {
            Progress::Wait => {}
            Progress::Send(request) => tls.write_all(&request).unwrap(),
            Progress::Done(grant) => return Ok(*grant),
        }
    }
}

const EAP_TLS: &str = "\
auth: {methods: [eap], eap: {methods: [tls]}}
eap_tls: {certificate: server.pem, key: server.key, client_ca: ca.pem, mtu: MTU, tls_versions: ['TLS']}
";

fn eap_tls(name: &str, more: &str) -> String {
    format!(
        "auth: {{eap-tls: {{certificate: {name}.pem, key: {name}.key, \
         server_name: aaa.example.net{more}}}}}"
    )
}

/// EAP-11, R-10: both versions, whole and in fragments both ways.
#[tokio::test(flavor = "multi_thread")]
async fn eap_tls_with_the_hac() {
    for version in ["1.2", "1.3"] {
        for (mtu, ours) in [("4096", ""), ("128", ", mtu: 100")] {
            let section = EAP_TLS.replace("TLS'", &format!("{version}'")).replace("MTU", mtu);
            let running = Running::start(&section);
            running.sign("mn1", aaa::NAME);
            running.accepted(&eap_tls("mn1", ours)).await;
        }
    }
}

/// After a Nak to a method that it has not (RFC 3748 s.5.3.1).
#[tokio::test(flavor = "multi_thread")]
async fn eap_tls_after_a_nak() {
    let section = EAP_TLS.replace("['TLS']", "['1.2', '1.3']").replace("MTU", "4096");
    let running = Running::start(&section.replace("[tls]", "[gpsk, tls]"));
    running.sign("mn1", aaa::NAME);
    running.accepted(&eap_tls("mn1", "")).await;
    // The other way round, with the key.
    let running = Running::start(&section.replace("[tls]", "[tls, gpsk]"));
    running.accepted(&format!("auth: eap-gpsk\npsk: {{hex: '{}'}}", aaa::PSK)).await;
}

/// What is wrong with either certificate is said in one line, and once it is mended it works.
#[tokio::test(flavor = "multi_thread")]
async fn eap_tls_with_a_certificate_that_does_not_hold() {
    for version in ["1.2", "1.3"] {
        let section = EAP_TLS.replace("TLS'", &format!("{version}'")).replace("MTU", "4096");
        let running = Running::start(&section);
        running.sign("mn1", "mn2@example.net");
        let auth = eap_tls("mn1", "");
        running.refused(&auth, "(401): the certificate is not accepted or does not say").await;
        // Under another CA.
        let stranger = tempfile::tempdir().unwrap();
        aaa::certificates(stranger.path());
        aaa::certificate(stranger.path(), "mn1", &format!("email:{}", aaa::NAME));
        for name in ["mn1.pem", "mn1.key"] {
            fs::copy(stranger.path().join(name), running.path(name)).unwrap();
        }
        running.refused(&auth, "the EAP server does not accept our certificate").await;
        running.sign("mn1", aaa::NAME);
        // The server: another name, another CA.
        let other = auth.replace("aaa.", "bbb.");
        let name = "the EAP server's certificate does not say the configured server_name";
        running.refused(&other, name).await;
        fs::copy(stranger.path().join("ca.pem"), running.path("other.pem")).unwrap();
        let other = eap_tls("mn1", ", ca: other.pem");
        let ca = "the EAP server's certificate is not signed by a configured CA";
        running.refused(&other, ca).await;
        running.accepted(&auth).await;
    }
}

/// A HAC that passes EAP through to the AAA server on this port.
fn pass_through(port: u16) -> Running {
    Running::start(&format!(
        "auth: {{methods: [eap], eap: {{methods: [radius]}}}}\n\
         radius:\n  nas_identifier: hac.example.net\n  servers:\n\
         \x20   - {{address: 127.0.0.1, port: {port}, secret_file: secret, \
         returns_authenticated_name: true}}"
    ))
}

fn eap_ttls(aaa: &FreeRadius, inner: &str, more: &str) -> String {
    format!(
        "auth: {{eap-ttls: {{inner: {inner}, password: {{file: password}}, ca: {}, \
         server_name: aaa.example.net{more}}}}}",
        aaa.path("ca.pem").display()
    )
}

/// FreeRADIUS with this version of TLS at most.
fn speak(aaa: &mut FreeRadius, version: &str) {
    let file = aaa.path("radiusd.conf");
    let text = fs::read_to_string(&file).unwrap();
    let (before, behind) = text.split_once("tls_max_version = \"").unwrap();
    let text = format!("{before}tls_max_version = \"{version}{}", &behind[3..]);
    fs::write(&file, text).unwrap();
    aaa.kill();
    aaa.run();
}

/// Shown by 4 of the mobile node: a password, through FreeRADIUS; wrong in every way, and mended.
#[tokio::test(flavor = "multi_thread")]
async fn eap_ttls_through_freeradius() {
    let mut aaa = FreeRadius::start();
    let running = pass_through(aaa.auth);
    let password = running.path("password");
    for (inner, version) in
        [("pap", "1.3"), ("mschapv2", "1.3"), ("pap", "1.2"), ("mschapv2", "1.2")]
    {
        speak(&mut aaa, version);
        let auth = eap_ttls(&aaa, inner, "");
        fs::write(&password, "another one\n").unwrap();
        running.refused(&auth, "wrong user or password").await;
        fs::write(&password, format!("{}\n", aaa::PASSWORD)).unwrap();
        running.accepted(&auth).await;
        running.accepted(&eap_ttls(&aaa, inner, ", mtu: 100")).await;
        running.accepted(&eap_ttls(&aaa, inner, ", identity: nobody@example.net")).await;
        // Somebody else's, which is proved and is not this mobile node's (R-11).
        let other = format!(", user: {}", aaa::UNLISTED);
        running.refused(&eap_ttls(&aaa, inner, &other), "a user that is not the mn_id").await;
        let other = auth.replace("aaa.example.net", "bbb.example.net");
        let name = "the EAP server's certificate does not say the configured server_name";
        running.refused(&other, name).await;
    }
}

/// The same certificate, by a server of others.
#[tokio::test(flavor = "multi_thread")]
async fn eap_tls_through_freeradius() {
    let mut aaa = FreeRadius::start();
    let running = pass_through(aaa.auth);
    aaa::certificate(aaa.path("").as_path(), "mn1", &format!("email:{}", aaa::NAME));
    for name in ["mn1.pem", "mn1.key"] {
        fs::copy(aaa.path(name), running.path(name)).unwrap();
    }
    for (mtu, version) in [("", "1.3"), (", mtu: 100", "1.3"), (", mtu: 100", "1.2")] {
        speak(&mut aaa, version);
        let ca = format!(", ca: {}{mtu}", aaa.path("ca.pem").display());
        running.accepted(&eap_tls("mn1", &ca)).await;
    }
}

/// Shown by 4 of the mobile node: a USIM, through hostapd and its AuC; with pseudonyms; with a
/// sequence number that the network has lost; with another key.
#[tokio::test(flavor = "multi_thread")]
async fn eap_aka_prime_through_hostapd() {
    let aaa = Hostapd::start();
    let running = pass_through(aaa.auth);
    let card = |k: &str, more: &str| {
        format!(
            "auth: {{eap-aka-prime: {{imsi: '{}', state: usim.json, \
             usim: {{k: {{hex: '{k}'}}, opc: {{hex: '{}'}}}}{more}}}}}",
            aaa::IMSI,
            aaa::OPC
        )
    };
    let state = || fs::read_to_string(running.path("usim.json")).unwrap();
    let other = "ff".repeat(16);
    running.refused(&card(&other, ""), "does not prove that it knows the USIM's key").await;
    assert!(!running.path("usim.json").exists());
    running.accepted(&card(aaa::KI, ", pseudonyms: false, network: WLAN")).await;
    assert!(!state().contains("pseudonym"), "{}", state());
    running.refused(&card(aaa::KI, ", network: HRPD"), "another network").await;
    running.accepted(&card(aaa::KI, "")).await;
    let first = state();
    assert!(first.contains("\"pseudonym\":\"7"), "{first}");
    running.accepted(&card(aaa::KI, "")).await;
    assert!(state().contains("\"pseudonym\":\"7") && state() != first, "{}", state());
    // The card is far ahead: AUTS brings the AuC there.
    fs::write(running.path("usim.json"), r#"{"sqn": 8589934592}"#).unwrap();
    running.accepted(&card(aaa::KI, "")).await;
    assert!(state().contains("\"sqn\":8589934624"), "{}", state());
    // A pseudonym that the network has forgotten: it asks for the permanent identity.
    let forgotten = r#"{"sqn": 8589934624, "pseudonym": "7forgotten"}"#;
    fs::write(running.path("usim.json"), forgotten).unwrap();
    running.accepted(&card(aaa::KI, "")).await;
}
