//! EAP in a running HAC against an EAP peer by others, wpa_supplicant's as `eapol_test` has it; and
//! with AAA servers by others behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hearth_hac::config::Config;
use hearth_hac::daemon::{Hac, system_clock};
use hearth_peers::aaa::{self, FreeRadius, Hostapd, Usim};
use hearth_peers::eap::{self, Outcome};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

const NAME: &str = "hac.example.net";

/// A CA and what it has signed, in a folder.
struct Pki {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let pki = Self { folder, issuer: Issuer::new(params, key) };
        for name in ["hac", "eap"] {
            pki.sign(name, |params| {
                params.subject_alt_names = vec![SanType::DnsName(NAME.try_into().unwrap())];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            });
        }
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(name.as_bytes().to_vec()));
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A mobile node's certificate.
    fn sign_client(&self, name: &str, mn_id: &str, until: i32) {
        self.sign(name, |params| {
            params.subject_alt_names = vec![SanType::Rfc822Name(mn_id.try_into().unwrap())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.not_after = date_time_ymd(until, 1, 1);
        });
    }

    fn revoke(&self, names: &[&str]) {
        let revoked = |name: &&str| RevokedCertParams {
            serial_number: SerialNumber::from(name.as_bytes().to_vec()),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2200, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: names.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).unwrap();
        fs::write(self.path("crl.pem"), list.pem().unwrap()).unwrap();
    }
}

/// A HAC in this process.
struct Running {
    hac: Hac,
    pki: Pki,
}

impl Running {
    /// With this `auth` section and what goes with it.
    fn start(pki: Pki, auth: &str) -> Self {
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
        let path = pki.path("hac.yaml");
        fs::write(&path, text).unwrap();
        let config =
            Config::load(&path, system_clock()()).unwrap_or_else(|error| panic!("{error}"));
        Self { hac: Hac::start(config, system_clock()).unwrap(), pki }
    }

    /// eapol_test with this configuration, as mn1@example.net.
    async fn peer(&self, configuration: &str, options: &str) -> Outcome {
        let (configuration, options) = (configuration.to_owned(), options.to_owned());
        let (address, ca) = (self.hac.addresses()[0], self.pki.path("ca.pem"));
        let run = move || {
            let hac = eap::Hac { address: (address.ip(), address.port()), name: NAME, ca: &ca };
            eap::bootstrap(Command::new("python3"), hac, &configuration, &options)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// The configuration of a mobile node with this certificate.
    fn with_certificate(&self, name: &str, tls: &str) -> String {
        eap::with_certificate(self.pki.folder.path(), name, NAME, tls)
    }

    async fn accepted(&self, method: &str, network: &str, options: &str) -> String {
        let outcome = self.peer(network, options).await;
        outcome.accepted(method);
        outcome.text
    }

    async fn refused(&self, network: &str, options: &str) {
        self.peer(network, options).await.refused();
    }
}

const EAP_TLS: &str = "\
auth: {methods: [eap], eap: {methods: [tls]}}
eap_tls: {certificate: eap.pem, key: eap.key, client_ca: ca.pem, crl: [crl.pem], mtu: MTU}
";

/// A HAC with EAP-TLS, and mobile nodes with certificates.
fn eap_tls(mtu: usize) -> Running {
    let pki = Pki::new();
    pki.sign_client("mn1", "mn1@example.net", 2200);
    pki.revoke(&[]);
    Running::start(pki, &EAP_TLS.replace("MTU", &mtu.to_string()))
}

/// EAP-11, R-10: with the last Response in Mid, then with it in Done.
#[tokio::test(flavor = "multi_thread")]
async fn wpa_supplicant_gets_an_sa_by_eap_tls_1_2_and_1_3() {
    let running = eap_tls(4096);
    for tls in ["1.2", "1.3"] {
        for options in ["", "--last-in-done"] {
            let text =
                running.accepted("TLS", &running.with_certificate("mn1", tls), options).await;
            assert!(text.contains(&format!("\"tls\": \"TLSv{tls}\"")), "{text}");
        }
    }
}

/// EAP-11: fragments both ways.
#[tokio::test(flavor = "multi_thread")]
async fn wpa_supplicant_and_the_hac_send_small_fragments() {
    let running = eap_tls(128);
    for tls in ["1.2", "1.3"] {
        let network = running
            .with_certificate("mn1", tls)
            .replace("\nca_cert", "\nfragment_size=100\nca_cert");
        running.accepted("TLS", &network, "").await;
    }
}

/// EAP-11, EAP-07, R-11: expired, revoked, somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_do_not_hold_are_refused_with_401() {
    let running = eap_tls(4096);
    running.pki.sign_client("expired", "mn1@example.net", 2020);
    running.pki.sign_client("mn2", "mn2@example.net", 2200);
    for tls in ["1.2", "1.3"] {
        running.refused(&running.with_certificate("expired", tls), "").await;
        running.refused(&running.with_certificate("mn2", tls), "").await;
    }
    running.refused(&running.with_certificate("mn2", "1.2"), "--last-in-done").await;
    running.pki.revoke(&["mn1"]);
    let _ = running.hac.reload().await;
    running.refused(&running.with_certificate("mn1", "1.2"), "").await;
    running.refused(&running.with_certificate("mn1", "1.3"), "").await;
    running.pki.revoke(&[]);
    let _ = running.hac.reload().await;
    running.accepted("TLS", &running.with_certificate("mn1", "1.3"), "").await;
}

/// Shown by 2, EAP-06, EAP-10: wpa_supplicant's GPSK with the HAC's, after a Nak to EAP-TLS; both
/// ciphersuites (RFC 5433 s.6), and with another key.
#[tokio::test(flavor = "multi_thread")]
async fn wpa_supplicant_gets_an_sa_by_eap_gpsk() {
    let pki = Pki::new();
    pki.revoke(&[]);
    let both = EAP_TLS.replace("MTU", "4096").replace("[tls]", "[tls, gpsk]");
    let running = Running::start(pki, &both);
    for cipher in [1, 2] {
        for options in ["", "--last-in-done"] {
            running.accepted("GPSK", &eap::gpsk(aaa::PSK, cipher), options).await;
        }
    }
    // RFC 5433 s.10: GPSK-Fail, Authentication Failure. eapol_test ignores it and waits.
    let Outcome { code, text } =
        running.peer(&eap::gpsk(&"77".repeat(32), 2), "--patience 2").await;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("330500000002\"]"), "{text}");
    assert!(text.contains("\"peer\": false"), "{text}");
    assert!(!text.contains("mip6-spi"), "{text}");
}

/// A HAC that passes EAP through to the AAA server on this port.
fn pass_through(port: u16) -> Running {
    let pki = Pki::new();
    fs::write(pki.path("secret"), format!("{}\n", aaa::SECRET)).unwrap();
    let auth = format!(
        "auth: {{methods: [eap], eap: {{methods: [radius]}}}}\n\
         radius:\n  nas_identifier: hac.example.net\n  servers:\n\
         \x20   - {{address: 127.0.0.1, port: {port}, secret_file: secret, \
         returns_authenticated_name: true}}"
    );
    Running::start(pki, &auth)
}

/// Shown by 1: through FreeRADIUS. Done is keyed with the MSK that eapol_test derived and that the
/// HAC was sent.
#[tokio::test(flavor = "multi_thread")]
async fn wpa_supplicant_gets_an_sa_through_freeradius() {
    let aaa = FreeRadius::start();
    let running = pass_through(aaa.auth);
    for (method, more) in [
        ("TTLS", "phase2=\"auth=PAP\""),
        ("TTLS", "phase2=\"auth=MSCHAPV2\""),
        ("PEAP", "phase2=\"auth=MSCHAPV2\""),
    ] {
        running.accepted(method, &aaa.network(method, more), "").await;
    }
    // eapol_test does not print the whole MSK of EAP-pwd: the half that it prints is its own.
    let log = aaa.path("log");
    let second_half = format!("--second-half-from {}", log.display());
    running.accepted("PWD", &aaa.network("PWD", ""), &second_half).await;
    let wrong = aaa.network("PEAP", "").replace(aaa::PASSWORD, "another one");
    running.refused(&wrong, "").await;
}

/// Shown by 1: through hostapd's RADIUS server.
#[tokio::test(flavor = "multi_thread")]
async fn wpa_supplicant_gets_an_sa_through_hostapd() {
    let aaa = Hostapd::start();
    let running = pass_through(aaa.auth);
    for options in ["", "--last-in-done"] {
        running.accepted("GPSK", &aaa.gpsk(), options).await;
    }
    running.refused(&aaa.gpsk().replace(aaa::PSK, &"77".repeat(32)), "").await;
    let usim = Usim::insert();
    running.accepted("AKA'", &usim.configuration(), "").await;
}
