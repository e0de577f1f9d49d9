//! The configuration: what is refused, with file, line, key and what would be right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hearth_hac::auth::eap::server::Offer;
use hearth_hac::auth::psk::Psk;
use hearth_hac::config::{Auth, Config, HomeAddress};
use hearth_hac::daemon::system_clock;
use hearth_wire::MobileNodeId;
use hearth_wire::directory::Services;
use hearth_wire::eap::EapType;
use hearth_wire::eap::gpsk::Ciphersuite;
use hearth_wire::hac::AuthMethod;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType};

/// A folder with a certificate and its key.
struct Folder(tempfile::TempDir);

const TEXT: &str = "\
listen: ['127.0.0.1:0']
tls: {certificate: hac.pem, key: hac.key}
directory: {store: hac.redb, socket: hac.sock}
home_agents:
  - name: ha1
    ip6: 2001:db8:1::1
    spi_range: [1, 1000]
    home_prefix_ip6: '2001:db8:100::/64'
    home_prefix_ip4: 203.0.113.0/24
    pools:
      ip6: ['2001:db8:100::1000', '2001:db8:100::1fff']
subscribers:
  - mn_id: mn1@example.net
    psk: {text: sixteen octets..}
    home_address_ip6: 2001:db8:100::10
    home_address_ip4: 203.0.113.10
  - mn_id: mn2@example.net
    psk: {hex: 000102030405060708090a0b0c0d0e0f}
";

fn names() -> CertificateParams {
    CertificateParams::new(vec!["hac.example.net".to_owned()]).unwrap()
}

impl Folder {
    fn new() -> Self {
        Self::with(names(), &KeyPair::generate().unwrap())
    }

    fn with(params: CertificateParams, key: &KeyPair) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.path("hac.pem"), params.self_signed(key).unwrap().pem()).unwrap();
        fs::write(folder.path("hac.key"), key.serialize_pem()).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, text: &str) -> Result<Config, String> {
        let path = self.path("hac.yaml");
        fs::write(&path, text).unwrap();
        let prefix = format!("{}/", self.0.path().display());
        Config::load(&path, system_clock()())
            .map_err(|error| error.to_string().replace(&prefix, ""))
    }
}

#[test]
fn a_configuration_is_read() {
    let config = Folder::new().load(TEXT).unwrap();
    let subscriber =
        |id: &str| config.realm.subscribers.find(&MobileNodeId::new(id).unwrap()).unwrap();
    let fixed = HomeAddress::Fixed("2001:db8:100::10".parse().unwrap());
    assert_eq!(subscriber("mn1@example.net").ip6, fixed);
    let mn2 = MobileNodeId::new("mn2@example.net").unwrap();
    let stand_in = || Psk::new(vec![0xff; 16]).unwrap();
    let second = subscriber("mn2@example.net");
    assert_eq!((second.ip6, second.ip4), (HomeAddress::Pool, HomeAddress::None));
    assert_eq!(config.realm.subscribers.psk(&mn2, stand_in()).octets()[15], 0x0f);
    assert_eq!(config.realm.home_agents[0].port, 7872);
    assert_eq!(config.limits.connections, 4096);
}

/// EAP-TLS is there when it is offered, and every file of it is named when it is wrong.
#[test]
fn eap_tls_needs_its_files() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.path("ca.pem"), ca.self_signed(&key).unwrap().pem()).unwrap();
    let offered = format!("{TEXT}auth: {{methods: [eap], eap: {{methods: [tls, gpsk]}}}}\n");
    let load = |more: &str| {
        let files = "certificate: hac.pem, key: hac.key, client_ca: ca.pem";
        let section = more.replace("FILES", files);
        folder
            .load(&format!("{offered}{section}"))
            .map(|config| config.realm.auth.eap_tls.is_some())
    };
    let error = |more: &str| load(more).unwrap_err();
    assert_eq!(load("eap_tls: {FILES}"), Ok(true));
    assert_eq!(folder.load(TEXT).unwrap().realm.auth.eap_tls, None);
    assert_eq!(
        error(""),
        "hac.yaml: eap_tls: is missing, but auth offers tls; give certificate, key and client_ca"
    );
    for (section, said) in [
        ("eap_tls: {FILES, crl: [ca.pem]}", "hac.yaml:20: eap_tls.crl[0]: ca.pem: no PEM CRL"),
        ("eap_tls: {FILES, mtu: 63}", "hac.yaml:20: eap_tls.mtu: 63 is out of range; 64 to 16384"),
        (
            "eap_tls: {FILES, tls_versions: ['1.1']}",
            "eap_tls.tls_versions[0]: 1.1 is unknown; one of 1.2, 1.3",
        ),
        ("eap_tls: {FILES, tls_versions: []}", "eap_tls.tls_versions: is empty"),
        (
            "eap_tls: {FILES, identity: [cn]}",
            "eap_tls.identity[0]: cn is unknown; one of email, upn, dns",
        ),
        ("eap_tls: {FILES, identity: [dns, dns]}", "eap_tls.identity[1]: dns stands twice"),
        ("eap_tls: {FILES, more: 1}", "more"),
        (
            "eap_tls: {certificate: ca.pem, key: hac.key, client_ca: ca.pem}",
            "hac.yaml:20: eap_tls.certificate: ca.pem: this is a CA certificate",
        ),
        (
            "eap_tls: {certificate: hac.pem, key: ca.pem, client_ca: ca.pem}",
            "eap_tls.key: ca.pem: no PEM private key",
        ),
        (
            "eap_tls: {certificate: hac.pem, key: hac.key, client_ca: hac.key}",
            "eap_tls.client_ca: hac.key: holds no PEM certificate",
        ),
    ] {
        assert!(error(section).contains(said), "{said}: {}", error(section));
    }
}

/// The example that stands in the repository is right but for the files it names.
#[test]
fn the_example_is_valid() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/hac.yaml");
    let text = fs::read_to_string(example).unwrap().replace("/etc/hearth/", "");
    let folder = Folder::new();
    fs::write(folder.path("subscribers.key"), "5a".repeat(32)).unwrap();
    let config = folder.load(&text).unwrap();
    assert_eq!((config.listen.len(), config.realm.subscribers.len()), (2, 3));
    assert_eq!(config.directory.store, Path::new("/var/lib/hearth-hac/hac.redb"));
    // What is called a default there is one.
    let without = Folder::new().load(&TEXT.replace("directory:", "#")).unwrap();
    assert_eq!(without.directory.store, config.directory.store);
    assert_eq!(without.directory.socket, config.directory.socket);
}

/// The same of what is said about TLS.
#[test]
fn what_is_wrong_about_tls_is_named() {
    let folder = Folder::new();
    for (from, to, expected) in [
        (
            "hac.key",
            "hac.key, more_certificates: [{certificate: no.pem, key: hac.key}]",
            "hac.yaml:2: tls.more_certificates[0].certificate: no.pem can't be read: ",
        ),
        (
            "hac.key",
            "hac.key, unknown_name: never",
            "hac.yaml:2: tls.unknown_name: never is neither default nor refuse",
        ),
        ("hac.key", "hac.key, suites: [RC4]", "hac.yaml:2: tls.suites[0]: RC4 is no suite of this"),
        (
            "hac.key",
            "hac.key, suites: [TLS_AES_128_GCM_SHA256]",
            "hac.yaml:2: tls.suites: names no suite of TLS 1.2",
        ),
        (
            "hac.key",
            "hac.key, suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",
            "hac.yaml:2: tls.suites: names no suite of TLS 1.3, or switch it off",
        ),
        // The certificate is ECDSA's.
        (
            "hac.key",
            "hac.key, suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]",
            "hac.yaml:2: tls.suites: names no suite of TLS 1.2 for the kind of key in hac.pem",
        ),
    ] {
        let error = folder.load(&TEXT.replacen(from, to, 1)).unwrap_err();
        assert!(error.starts_with(expected), "{to}: {error}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let folder = Folder::new();
    let cases: &[(&str, &str, &str)] = &[
        ("hac.pem, key", "hac.pem, keys: 1, key", "hac.yaml:2: tls.keys: unknown key `keys`"),
        ("    ip6: 2001:db8:1::1", "    ip6: 2001:db8:1::g", "hac.yaml:6: home_agents[0].ip6:"),
        ("[1, 1000]", "[0, 1000]", "hac.yaml:7: home_agents[0].spi_range: [0, 1000] is no range"),
        ("[1, 1000]", "[1, 268435456]", "hac.yaml:7: home_agents[0].spi_range: "),
        ("[1, 1000]", "[9, 8]", "hac.yaml:7: home_agents[0].spi_range: "),
        ("100::/64'", "100::/129'", "hac.yaml:8: home_agents[0].home_prefix_ip6: "),
        ("100::/64'", "100::1/64'", "hac.yaml:8: home_agents[0].home_prefix_ip6: has bits behind"),
        ("203.0.113.0/24", "203.0.113.0/33", "hac.yaml:9: home_agents[0].home_prefix_ip4: "),
        ("'2001:db8:100::1fff'", "'2001:db8:101::1'", "hac.yaml:11: home_agents[0].pools.ip6: "),
        ("::1000', '2001", "::3000', '2001", "hac.yaml:11: home_agents[0].pools.ip6: "),
        ("    spi_range", "    port: 0\n    spi_range", "hac.yaml:7: home_agents[0].port: 0 is no"),
        ("hac.pem", "no.pem", "hac.yaml:2: tls.certificate: no.pem can't be read: "),
        ("hac.key", "hac.pem", "hac.yaml:2: tls.key: hac.pem: no PEM private key"),
        ("mn1@example.net", "mn1@", "hac.yaml:13: subscribers[0].mn_id: not a network access"),
        ("mn2@", "mn1@", "hac.yaml:17: subscribers[1].mn_id: mn1@example.net stands twice"),
        ("sixteen octets..", "too short", "hac.yaml:14: subscribers[0].psk: a pre-shared key has"),
        ("0d0e0f", "0d0e0", "hac.yaml:18: subscribers[1].psk: is not hexadecimal"),
        (
            "{hex: 0001",
            "{file: no.psk, hex: 00",
            "hac.yaml:18: subscribers[1].psk: give exactly one",
        ),
        (
            "{text: sixteen octets..}",
            "{file: no.psk}",
            "hac.yaml:14: subscribers[0].psk: no.psk can't",
        ),
        (
            "100::10\n",
            "101::10\n",
            "hac.yaml:15: subscribers[0].home_address_ip6: 2001:db8:101::10 is",
        ),
        ("203.0.113.10", "203.0.113.255", "hac.yaml:16: subscribers[0].home_address_ip4: "),
        (
            "203.0.113.10",
            "pool",
            "hac.yaml:16: subscribers[0].home_address_ip4: ha1 has no pools.ip4",
        ),
        ("['127.0.0.1:0']", "[]", "hac.yaml: listen: is empty"),
        (
            "['127.0.0.1:0']",
            "['127.0.0.1:1', '127.0.0.1:1']",
            "hac.yaml:1: listen[1]: stands twice",
        ),
        ("['127.0.0.1:0']", "['127.0.0.1']", "hac.yaml:1: listen[0]: "),
    ];
    for (from, to, expected) in cases {
        assert!(TEXT.contains(from), "{from}");
        let error = folder.load(&TEXT.replacen(from, to, 1)).unwrap_err();
        assert!(error.starts_with(expected), "{from} -> {to}: {error}");
        assert!(!error.contains("sixteen"), "{error}");
    }
}

/// What a subscriber may: its own word, else the policy's, else what a mobile host may.
#[test]
fn services_are_a_subscribers_own_or_the_policys() {
    let services = |text: &str, id: &str| {
        let config = Folder::new().load(text).unwrap();
        config.realm.subscribers.find(&MobileNodeId::new(id).unwrap()).unwrap().services.clone()
    };
    assert_eq!(services(TEXT, "mn2@example.net"), Services::default());
    let router = format!("{TEXT}    prefixes: ['2001:db8:200::/56', 192.0.2.0/28]\n");
    let expected = Services {
        prefixes: ["2001:db8:200::/56", "192.0.2.0/28"].map(|p| p.parse().unwrap()).into(),
        mobile_router: true,
        ..Services::default()
    };
    assert_eq!(services(&router, "mn2@example.net"), expected);
    assert_eq!(services(&router, "mn1@example.net"), Services::default());
    let off = format!("{router}    mobile_router: false\n");
    assert!(!services(&off, "mn2@example.net").mobile_router);
    let policy = "policy: {mobile_router: true, care_of_addresses: 2, bulk: true, flow_bindings: 3, \
                  multicast: true, max_lifetime: 600}\n";
    let all = Services {
        prefixes: [].into(),
        mobile_router: true,
        care_of_addresses: 2,
        bulk: true,
        flows: 3,
        multicast: true,
        max_lifetime: Some(600),
    };
    assert_eq!(services(&format!("{TEXT}{policy}"), "mn2@example.net"), all);
    let own = "    mobile_router: false\n    care_of_addresses: 1\n    bulk: false\n    \
               flow_bindings: 0\n    multicast: false\n    max_lifetime: 60\n";
    let own = services(&format!("{TEXT}{own}{policy}"), "mn2@example.net");
    assert_eq!(own, Services { max_lifetime: Some(60), ..Services::default() });
}

/// Nobody's mobile network takes an address that is another's.
#[test]
fn mobile_networks_that_can_not_be_are_named() {
    let folder = Folder::new();
    let third = "  - mn_id: mn3@example.net\n    psk: {text: sixteen octets..}\n    prefixes: ";
    for (text, expected) in [
        ("[2001:db8:200::1/56]", "prefixes[0]: has bits behind its length; 2001:db8:200::/56"),
        ("['2001:db8:200::']", "prefixes[0]: 2001:db8:200:: is no prefix; ADDRESS/LENGTH"),
        ("['::/0']", "prefixes[0]: ::/0 is no prefix"),
        ("[192.0.2.0/33]", "prefixes[0]: 192.0.2.0/33 is no prefix"),
        ("['fe80::/64']", "prefixes[0]: fe80::/64 overlaps fe80::/10, which no router"),
        ("['fe00::/7']", "prefixes[0]: fe00::/7 overlaps f"),
        ("[224.0.1.0/24]", "prefixes[0]: 224.0.1.0/24 overlaps 224.0.0.0/3"),
        (
            "['2001:db8:7::/64', '2001:db8:7::/64']",
            "prefixes[1]: 2001:db8:7::/64 overlaps 2001:db8:7::/64 of mn3@",
        ),
        (
            "['2001:db8:7::/64', '2001:db8:200::/48']",
            "prefixes[1]: 2001:db8:200::/48 overlaps 2001:db8:200:100::/56 of mn2@example.net",
        ),
        (
            "['2001:db8:200:180::/64']",
            "prefixes[0]: 2001:db8:200:180::/64 overlaps 2001:db8:200:100::/56 of mn2@",
        ),
        ("['2001:db8:100::/120']", "prefixes[0]: holds 2001:db8:100::10, the home address of"),
        ("[203.0.113.8/29]", "prefixes[0]: holds 203.0.113.10, the home address of"),
        ("['2001:db8:1::/64']", "prefixes[0]: holds 2001:db8:1::1, the address of ha1"),
        (
            "['2001:db8:100::1800/118']",
            "prefixes[0]: overlaps the pool 2001:db8:100::1000 to 2001:db8:100::1fff of ha1",
        ),
        ("['2001:db8:100::9:0/112', 203.0.112.0/22]", "prefixes[1]: holds 203.0.113.10"),
    ] {
        let text = format!("{TEXT}    prefixes: ['2001:db8:200:100::/56']\n{third}{text}\n");
        let error = folder.load(&text).unwrap_err();
        let expected = format!("hac.yaml:22: subscribers[2].{expected}");
        assert!(error.starts_with(&expected), "{expected}: {error}");
    }
    // The whole home prefix, where nobody has a fixed address in it.
    let text = TEXT.replace("    home_address_ip4: 203.0.113.10\n", "");
    let error = folder.load(&format!("{text}{third}[203.0.112.0/22]\n")).unwrap_err();
    assert!(error.contains("holds the whole home prefix 203.0.113.0/24 of ha1"), "{error}");
    let error = folder.load(&format!("{text}dns: [192.0.2.53]\n{third}[192.0.2.0/24]\n"));
    assert!(error.is_err());
    // Neighbours, and one's own home address within one's own network (RFC 3963 s.6.2).
    let own = format!(
        "{TEXT}    home_address_ip6: 2001:db8:100:0:8::1\n    prefixes: ['2001:db8:100:0:8::/80']\n\
         {third}['2001:db8:100:0:9::/80', '2001:db8:100:0:7::/80']\n"
    );
    folder.load(&own).unwrap();
}

#[test]
fn services_that_can_not_be_are_named() {
    let folder = Folder::new();
    let many: Vec<_> = (0..33).map(|n| format!("'2001:db8:{:x}::/48'", 0x1000 + n)).collect();
    for (text, expected) in [
        (format!("prefixes: [{}]", many.join(", ")), "prefixes: has 33 prefixes; at most 32"),
        ("care_of_addresses: 0".into(), "care_of_addresses: 0 is out of range; 1 to 8"),
        ("care_of_addresses: 256".into(), "care_of_addresses: 256 is out of range; 1 to 8"),
        ("flow_bindings: 17".into(), "flow_bindings: 17 is out of range; 0 to 16"),
        ("flow_bindings: 1".into(), "flow_bindings: needs several care-of addresses; give"),
        ("bulk: true".into(), "bulk: needs several care-of addresses; give care_of_addresses, 2"),
        ("max_lifetime: 3".into(), "max_lifetime: 3 is out of range; 4 to 262140"),
    ] {
        let error = folder.load(&format!("{TEXT}    {text}\n")).unwrap_err();
        let expected = format!("hac.yaml:19: subscribers[1].{expected}");
        assert!(error.starts_with(&expected), "{expected}: {error}");
        if !text.starts_with("prefixes") {
            let error = folder.load(&format!("{TEXT}policy: {{{text}}}\n")).unwrap_err();
            let expected = expected.replace("subscribers[1]", "policy");
            assert!(error.starts_with(&expected), "{expected}: {error}");
        }
    }
}

#[test]
fn what_is_wrong_with_several_parts_is_named() {
    let folder = Folder::new();
    let second_agent = "  - name: ha2
    ip6: 2001:db8:1::2
    spi_range: [1001, 2000]
    home_prefix_ip6: '2001:db8:200::/64'
subscribers:
";
    let with = |agent: &str| TEXT.replace("subscribers:\n", agent);
    let third = "  - mn_id: mn3@example.net\n    psk: {text: sixteen octets..}\n";
    for (text, expected) in [
        (
            with(&second_agent.replace("1001", "1000")),
            "hac.yaml:14: home_agents[1].spi_range: overlaps",
        ),
        (
            with(&second_agent.replace("1::2", "1::1")),
            "hac.yaml:13: home_agents[1].ip6: 2001:db8:1::1 is",
        ),
        (with(&second_agent.replace("ha2", "ha1")), "hac.yaml:12: home_agents[1].name: ha1 stands"),
        (with(second_agent), "hac.yaml:17: subscribers[0].home_agent: is missing"),
        (
            format!("{TEXT}{third}    home_address_ip6: 2001:db8:100::10\n"),
            "hac.yaml:21: subscribers[2].home_address_ip6: 2001:db8:100::10 is taken",
        ),
        (
            format!("{TEXT}{third}    home_address_ip4: 203.0.113.10\n"),
            "hac.yaml:21: subscribers[2].home_address_ip4: 203.0.113.10 is taken",
        ),
        (
            format!("{TEXT}{third}    home_agent: ha9\n"),
            "hac.yaml:21: subscribers[2].home_agent: ha9",
        ),
        (
            format!("{TEXT}{third}    scope: O\n"),
            "hac.yaml:21: subscribers[2].scope: O is no scope",
        ),
        (
            format!("{TEXT}{third}    suites: [AES]\n"),
            "hac.yaml:21: subscribers[2].suites[0]: AES is no",
        ),
        (format!("{TEXT}policy: {{suites: []}}\n"), "hac.yaml:19: policy.suites: is empty"),
        (
            format!("{TEXT}policy: {{sa_validity: 1}}\n"),
            "hac.yaml:19: policy.sa_validity: 1 is out",
        ),
        (
            format!("{TEXT}dns: [{}]\n", vec!["192.0.2.1"; 33].join(", ")),
            "hac.yaml: dns: names 33 servers",
        ),
        (
            format!("{TEXT}limits: {{connections: 0}}\n"),
            "hac.yaml:19: limits.connections: 0 is out of",
        ),
    ] {
        let error = folder.load(&text).unwrap_err();
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
    let named = with(second_agent).replace("    psk:", "    home_agent: ha1\n    psk:");
    folder.load(&named).unwrap();
}

/// HAC-41, R-1, R-2: what its own mobile nodes would have to reject does not start.
#[test]
fn hac_41_certificates_that_nobody_accepts() {
    let cn_only = || {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "hac.example.net");
        params
    };
    let wildcard = || CertificateParams::new(vec!["*.example.net".to_owned()]).unwrap();
    let expired = || {
        let mut params = names();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params
    };
    let future = || {
        let mut params = names();
        params.not_before = rcgen::date_time_ymd(2096, 1, 1);
        params
    };
    let authority = || {
        let mut params = names();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let client = || {
        let mut params = names();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params
    };
    for (params, expected) in [
        (cn_only(), "in the CN only"),
        (wildcard(), "wildcard"),
        (expired(), "has expired"),
        (future(), "not valid yet"),
        (authority(), "CA certificate"),
        (client(), "serverAuth"),
    ] {
        let folder = Folder::with(params, &KeyPair::generate().unwrap());
        let error = folder.load(TEXT).unwrap_err();
        assert!(error.starts_with("hac.yaml:2: tls.certificate: hac.pem: "), "{error}");
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let error = Folder::with(names(), &ed25519).load(TEXT).unwrap_err();
    assert!(error.contains("channel binding"), "{error}");
}

#[test]
fn an_address_is_a_name_too() {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
    Folder::with(params, &KeyPair::generate().unwrap()).load(TEXT).unwrap();
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let folder = Folder::new();
    fs::write(folder.path("hac.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = folder.load(TEXT).unwrap_err();
    assert!(error.starts_with("hac.yaml:2: tls.key: hac.key: does not serve"), "{error}");
}

/// `--check` says what it found by text and by exit status, and starts nothing.
#[test]
fn check_says_ok_or_what_is_wrong() {
    let folder = Folder::new();
    folder.load(TEXT).unwrap();
    let check = || {
        let path = folder.path("hac.yaml");
        Command::new(env!("CARGO_BIN_EXE_hearth-hac"))
            .args(["--check", "--config"])
            .arg(&path)
            .output()
            .unwrap()
    };
    let output = check();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with("hac.yaml: ok\n"), "{said}");
    assert!(said.contains("subscribers 2, mobile routers 0,"), "{said}");
    assert!(!folder.path("hac.redb").exists() && !folder.path("hac.sock").exists());
    fs::write(folder.path("hac.yaml"), TEXT.replace("name: ha1", "nam: ha1")).unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(2));
    // Begun with the program's name, as those of every program of this project.
    let place = format!("hearth-hac: {}:5: home_agents[0]", folder.path("hac.yaml").display());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(&place), "{said}");
}

/// A filter that can't be read is wrong use, before anything else is done.
#[test]
fn a_wrong_log_filter_is_exit_2() {
    let folder = Folder::new();
    folder.load(TEXT).unwrap();
    for more in [&["--log", "hac=loud"][..], &["--log", "hac=loud", "--check"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_hearth-hac"))
            .arg("--config")
            .arg(folder.path("hac.yaml"))
            .args(more)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("hearth-hac: --log hac=loud: "), "{said}");
        assert!(!folder.path("hac.redb").exists());
    }
}

/// The `auth` section: defaults, order, realms, and what is refused with line and key.
#[test]
fn auth_methods() {
    let folder = Folder::new();
    let auth = |more: &str| {
        let radius = "radius: {servers: [{address: 127.0.0.1, secret_file: secret, \
             returns_authenticated_name: true}]}";
        folder
            .load(&format!("{TEXT}{radius}\nauth: {more}\n"))
            .map(|config| config.realm.auth.clone())
    };
    fs::write(folder.path("secret"), "sixteen octets or more\n").unwrap();
    assert_eq!(folder.load(TEXT).unwrap().realm.auth, Auth::default());
    let given = auth(
        "{methods: [eap, psk], eap: {methods: [radius, gpsk], allow_without_msk: [md5], gpsk: \
         {server_id: hac, ciphersuites: [sha256]}}, realms: [{realm: Fleet.example.net, methods: \
         [psk]}, {realm: x.example.net, eap_methods: [gpsk]}]}",
    )
    .unwrap();
    let (psk, eap) = (AuthMethod::Psk, AuthMethod::Eap);
    let gpsk = Offer::Local(EapType::GPSK);
    assert_eq!(given.default.methods, [eap, psk]);
    assert_eq!(given.default.eap, [Offer::Aaa, gpsk]);
    assert_eq!(given.allow_without_msk, [EapType::MD5_CHALLENGE]);
    assert_eq!(*given.gpsk.id_server, *b"hac");
    assert_eq!(given.gpsk.suites, [Ciphersuite::Sha256]);
    let choice = |id: &str| given.choice(&MobileNodeId::new(id).unwrap());
    assert_eq!(choice("a@fleet.example.net").methods, [psk]);
    assert_eq!((&choice("a@X.example.net").eap[..], choice("a").eap.len()), (&[gpsk][..], 2));

    for (more, expected) in [
        ("{methods: []}", "auth.methods: is empty"),
        ("{methods: [otp]}", "auth.methods[0]: otp is unknown; one of psk, eap"),
        ("{methods: [psk, psk]}", "auth.methods[1]: psk stands twice"),
        ("{eap: {methods: [ttls]}}", "auth.eap.methods[0]: ttls is unknown; one of gpsk"),
        ("{eap: {allow_without_msk: [nak]}}", "auth.eap.allow_without_msk[0]: nak is no EAP"),
        ("{eap: {gpsk: {server_id: ''}}}", "auth.eap.gpsk.server_id: has 0 octets; 1 to 254"),
        ("{eap: {gpsk: {ciphersuites: [des]}}}", "auth.eap.gpsk.ciphersuites[0]: des is unknown"),
        ("{realms: [{realm: 'a b'}]}", "auth.realms[0].realm: a b is no realm"),
        ("{realms: [{realm: x.net}, {realm: X.NET}]}", "auth.realms[1].realm: x.net stands twice"),
        ("{sasl: true}", "sasl"),
    ] {
        let error = auth(more).unwrap_err();
        assert!(error.contains(expected) && error.starts_with("hac.yaml:"), "{more}: {error}");
    }
}
