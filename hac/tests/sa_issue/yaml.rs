//! The YAML of pools, replicas, home agents to choose from and the directory between machines.

use std::fs;

use hearth_hac::config::{Config, HomeAddress, LeasedNetworks};
use hearth_hac::daemon::system_clock;
use hearth_hac::policy::HomeAgentChoice;

use crate::common::mn_id;

const TEXT: &str = "\
listen: ['127.0.0.1:0']
tls: {certificate: hac.pem, key: hac.key}
directory: {listen: ['[::1]:0'], certificate: hac.pem, key: hac.key, ca: hac.pem}
replica: {index: 1, of: 4}
home_agents:
  - name: ha1
    certificate_name: HA1.example.net
    ip6: 2001:db8:1::1
    region: north
    max_sas: 100
    spi_range: [1, 1000]
    home_prefix_ip6: '2001:db8:100::/64'
    pools:
      ip6: ['2001:db8:100::1000', '2001:db8:100::1fff']
      home_prefixes_ip6: {within: '2001:db8:300::/48', length: 64}
      mobile_networks_ip6: {within: '2001:db8:400::/40', length: 56}
      mobile_networks_ip4: {within: 10.64.0.0/12, length: 28}
      lease_time: 86400
  - name: ha2
    ip6: 2001:db8:1::2
    spi_range: [1001, 2000]
    home_prefix_ip6: '2001:db8:101::/64'
policy: {home_agent_choice: least-loaded}
subscribers:
  - mn_id: mn1@example.net
    psk: {text: sixteen octets..}
    region: north
    home_agent_choice: region
    home_address_ip6: prefix
    prefixes: [pool-ip6, '192.0.2.0/28', pool-ip4]
  - mn_id: mn2@example.net
    psk: {text: sixteen octets..}
";

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let identity = rcgen::generate_simple_self_signed(["hac.example.net".to_owned()]).unwrap();
    fs::write(folder.path().join("hac.pem"), identity.cert.pem()).unwrap();
    fs::write(folder.path().join("hac.key"), identity.signing_key.serialize_pem()).unwrap();
    let path = folder.path().join("hac.yaml");
    fs::write(&path, text).unwrap();
    Config::load(&path, system_clock()()).map_err(|error| error.to_string())
}

#[test]
fn everything_is_read() {
    let config = load(TEXT).unwrap();
    let agent = &config.realm.home_agents[0];
    assert_eq!(
        (&*agent.certificate_name, agent.region.as_deref()),
        ("ha1.example.net", Some("north"))
    );
    assert_eq!(&*config.realm.home_agents[1].certificate_name, "ha2");
    // The second of four.
    assert_eq!((agent.spis.clone(), agent.max_sas), (251..=500, Some(25)));
    let pools = &agent.pools;
    let ip6 = pools.ip6.clone().unwrap();
    assert_eq!(ip6.start().to_string(), "2001:db8:100::1400");
    assert_eq!(ip6.end().to_string(), "2001:db8:100::17ff");
    let first = pools.home_prefixes_ip6.as_ref().unwrap();
    let first = first.prefix(*first.range.start()).unwrap();
    assert_eq!(first.to_string(), "2001:db8:300:4000::/64");
    assert_eq!(pools.lease_time, Some(86_400));
    let remote = config.directory.remote.as_ref().unwrap();
    assert_eq!(remote.listen, ["[::1]:0".parse().unwrap()]);

    let first = config.realm.subscribers.find(&mn_id("mn1@example.net")).unwrap();
    assert_eq!((first.home_agent, first.ip6), (None, HomeAddress::Prefix));
    assert_eq!(first.policy.home_agent_choice, HomeAgentChoice::Region);
    assert_eq!(first.leased_networks, LeasedNetworks { ip6: true, ip4: true });
    assert_eq!(first.services.prefixes.len(), 1);
    assert!(first.services.mobile_router);
    let second = config.realm.subscribers.find(&mn_id("mn2@example.net")).unwrap();
    assert_eq!(second.policy.home_agent_choice, HomeAgentChoice::LeastLoaded);
}

#[test]
fn what_is_wrong_is_named() {
    for (right, wrong, expected) in [
        ("index: 1", "index: 4", "replica: index 4, of 4"),
        ("spi_range: [1, 1000]", "spi_range: [1, 3]", "home_agents[0].spi_range: is too small"),
        ("length: 64", "length: 47", "pools.home_prefixes_ip6: length 47 is shorter"),
        ("length: 64", "length: 128", "pools.home_prefixes_ip6: length 128 leaves no host"),
        ("300::/48", "100::/48", "pools.home_prefixes_ip6: 2001:db8:100::/48 overlaps"),
        ("400::/40", "300::/40", "overlaps pools.mobile_networks_ip6 of ha1"),
        ("10.64.0.0/12", "10.64.0.1/12", "mobile_networks_ip4: 10.64.0.1/12 is no IPv4 prefix"),
        ("lease_time: 86400", "lease_time: 1", "pools.lease_time: 1 is out of range"),
        ("max_sas: 100", "max_sas: 0", "max_sas: 0 is out of range"),
        ("least-loaded}", "random}", "policy.home_agent_choice: random is no choice"),
        ("least-loaded}", "fixed}", "subscribers[1].home_agent: is missing"),
        ("pool-ip4]", "pool-ip6]", "subscribers[0].prefixes[2]: stands twice"),
        (", ca: hac.pem", "", "directory.ca: is missing; home agents on other machines"),
        ("listen: ['[::1]:0'], c", "c", "directory.certificate: is for home agents on other"),
        ("ca: hac.pem", "ca: hac.key", "directory.ca: "),
    ] {
        let text = TEXT.replacen(right, wrong, 1);
        assert_ne!(text, TEXT, "{right}");
        let error = load(&text).map(drop).expect_err(wrong);
        assert!(error.contains(expected), "{wrong}: {error}");
    }
}
