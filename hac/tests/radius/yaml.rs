//! `--check` finds what is wrong, with file, line, key and what would be right.

use std::fs;

use hearth_hac::config::Config;
use hearth_hac::daemon::system_clock;

use super::aaa;

const TEXT: &str = "\
listen: ['127.0.0.1:0']
tls: {certificate: hac.pem, key: hac.key}
home_agents:
  - {name: ha1, ip6: '2001:db8:1::1', spi_range: [1, 9], home_prefix_ip6: '2001:db8:100::/64'}
subscribers:
  - {mn_id: mn1@example.net, psk: {hex: '000102030405060708090a0b0c0d0e0f'}, home_address_ip6: '2001:db8:100::10'}
auth: {methods: [eap], eap: {methods: [radius]}}
radius:
  servers:
    - address: 192.0.2.1
      secret_file: secret
      returns_authenticated_name: true
    - address: 2001:db8::1812
      port: 1645
      secret_file: secret
      timeout: 3
      returns_authenticated_name: true
  accounting:
    servers: [{address: 192.0.2.1, secret_file: secret}]
    interim: 600
";

/// What stands there, what stands there instead, and what is said then.
const WRONG: &[(&str, &str, &str)] = &[
    ("methods: [radius]", "methods: [gpsk]", "hac.yaml:10: radius.servers: are never asked"),
    ("      secret_file: secret\n", "", "hac.yaml:10: radius.servers[0]: give exactly one of"),
    ("secret_file: secret", "secret_file: no", "hac.yaml:11: radius.servers[0].secret_file: "),
    ("secret_file: secret", "secret_file: empty", "holds no secret"),
    ("secret_file: secret", "secret_credential: x", "CREDENTIALS_DIRECTORY is not set"),
    ("true\n    - ", "false\n    - ", "hac.yaml:12: radius.servers[0].returns_authenticated"),
    ("      returns_authenticated_name: true\n", "", "is missing; true where User-Name in"),
    ("timeout: 3", "timeout: 24", "hac.yaml:10: radius.servers: may take 30 s one after the"),
    ("port: 1645", "port: 0", "hac.yaml:14: radius.servers[1].port: 0 is out of range; 1 to"),
    ("2001:db8::1812\n      port: 1645", "192.0.2.1", "radius.servers[1].address: 192.0.2.1:18"),
    ("interim: 600", "interim: 59", "radius.accounting.interim: 59 is out of range; 60 to"),
    ("interim: 600", "interval: 600", "radius.accounting.interval: unknown key `interval`"),
    ("      port: 1645", "      tls: {ca: ca.pem, certificate: no, key: server.key}", "no can't"),
    ("  servers:\n    - address", "  servrs:\n    - address", "unknown key `servrs`"),
];

#[test]
fn what_is_wrong_in_yaml_is_named() {
    let folder = tempfile::tempdir().unwrap();
    aaa::certificates(folder.path());
    aaa::certificate(folder.path(), "hac", "DNS:hac.example.net");
    fs::write(folder.path().join("secret"), "sixteen octets..\n").unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();
    let text = TEXT;
    let load = |text: &str| {
        let path = folder.path().join("hac.yaml");
        fs::write(&path, text).unwrap();
        let prefix = format!("{}/", folder.path().display());
        Config::load(&path, system_clock()())
            .map_err(|error| error.to_string().replace(&prefix, ""))
    };
    let radius = load(text).unwrap_or_else(|error| panic!("{error}")).radius.unwrap();
    let addresses: Vec<_> =
        radius.servers.iter().map(|server| server.address.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.1:1812", "[2001:db8::1812]:1645"]);
    assert_eq!(radius.servers[0].secret.octets(), aaa::SECRET.as_bytes(), "without the line's end");
    let accounting = radius.accounting.unwrap();
    assert_eq!(accounting.servers[0].address.port(), 1813);
    assert!(!format!("{:?}", radius.servers).contains("octets.."), "no secret in Debug");
    for (from, to, wrong) in WRONG {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = load(&changed).err().unwrap_or_else(|| panic!("{to} is taken"));
        assert!(error.contains(wrong), "{error}\n{wrong}");
    }
    let without = text.split("radius:\n").next().unwrap();
    let error = load(without).unwrap_err();
    assert_eq!(
        error,
        "hac.yaml: radius.servers: is missing; auth names radius as an EAP method, so name its \
         servers"
    );
}
