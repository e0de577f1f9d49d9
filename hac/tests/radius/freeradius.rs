//! A HAC, or its RADIUS client alone, and FreeRADIUS.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hearth_hac::config::Config;
use hearth_hac::daemon::{Hac, system_clock};
use hearth_hac::directory::Clock;
use hearth_hac::radius::counters::Counter;
use hearth_hac::radius::health::Standing;
use hearth_hac::radius::{RelayError, Relayed, ServerConfig};
use hearth_peers::aaa::{self, FreeRadius};
use hearth_wire::directory::{Request, SaRecord, Update, decode_update, deframe, encode_request};

use super::{FROM, Fake, IDENTITY, client, config, count, relay, until};

/// A HAC with the RADIUS servers of `radius`, in a folder with FreeRADIUS' certificates.
pub(crate) struct Running {
    pub(crate) hac: Hac,
    pub(crate) folder: tempfile::TempDir,
}

impl Running {
    fn start(servers: &str, more: &str) -> Self {
        Self::start_at(servers, more, system_clock())
    }

    pub(crate) fn start_at(servers: &str, more: &str, clock: Clock) -> Self {
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
    spi_range: [1, 100000]
    home_prefix_ip6: '2001:db8:100::/64'
    pools: {{delegated_ip6: ['2001:db8:5000::/36']}}
subscribers:
  - {{mn_id: mn1@example.net, psk: {{hex: '{psk}'}}, home_address_ip6: '2001:db8:100::10'}}
  - {{mn_id: mn2@example.net, psk: {{hex: '{psk}'}}, home_address_ip6: '2001:db8:100::11'}}
auth: {{methods: [eap], eap: {{methods: [radius]}}}}
radius:
  nas_identifier: hac.example.net
  servers:
{servers}{more}",
            psk = aaa::PSK,
        );
        let path = folder.path().join("hac.yaml");
        fs::write(&path, text).unwrap();
        let config =
            Config::load(&path, system_clock()()).unwrap_or_else(|error| panic!("{error}"));
        Self { hac: Hac::start(config, clock).unwrap(), folder }
    }

    /// wpa_supplicant's EAP peer as a mobile node: what it exits with, and what it prints.
    pub(crate) async fn peer(&self, mn_id: &str, network: &str) -> (Option<i32>, String) {
        let path = self.folder.path().join("network");
        fs::write(&path, network).unwrap();
        let mut command = Command::new("python3");
        command
            .arg(hearth_peers::script("eap_peer.py"))
            .args(["hac", "127.0.0.1", &self.hac.addresses()[0].port().to_string()])
            .arg(self.folder.path().join("ca.pem"))
            .args(["hac.example.net", mn_id])
            .arg(&path);
        let Output { status, stdout, stderr } = run(command).await;
        let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
        (status.code(), text.into_owned())
    }

    /// Stops it and starts it again with the same folder.
    pub(crate) async fn again(self, clock: Clock) -> Self {
        let Self { hac, folder } = self;
        hac.stop().await;
        let config = Config::load(&folder.path().join("hac.yaml"), system_clock()()).unwrap();
        Self { hac: Hac::start(config, clock).unwrap(), folder }
    }

    /// What the home agent is told.
    async fn records(&self) -> Vec<SaRecord> {
        let socket = self.folder.path().join("hac.sock");
        let read = move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            let watch = Request::Watch { home_agent: "ha1".into() };
            stream.write_all(&encode_request(&watch).unwrap()).unwrap();
            let (mut records, mut octets) = (Vec::new(), Vec::new());
            loop {
                while let Some((body, used)) = deframe(&octets).unwrap() {
                    match decode_update(body).unwrap() {
                        Update::Issued(record) => records.push(*record),
                        Update::Synced(_) => return records,
                        other => panic!("{other:?}"),
                    }
                    octets.drain(..used);
                }
                let mut chunk = [0; 4096];
                let len = stream.read(&mut chunk).unwrap();
                assert!(len > 0);
                octets.extend_from_slice(&chunk[..len]);
            }
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    /// The status code that it ends with.
    async fn status(&self, mn_id: &str, network: &str) -> u16 {
        let (_, text) = self.peer(mn_id, network).await;
        let status = text
            .split("\"status-code\": [")
            .nth(1)
            .and_then(|rest| rest.trim_start().strip_prefix('"')?.get(..3)?.parse().ok());
        status.unwrap_or_else(|| panic!("no status-code:\n{text}"))
    }
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap())
        .await
        .unwrap()
}

pub(crate) fn server(port: u16, more: &str) -> String {
    format!(
        "    - {{address: 127.0.0.1, port: {port}, secret_file: secret, \
         returns_authenticated_name: true, {more}}}\n"
    )
}

/// Shown by 1, EAP-12: through FreeRADIUS, with the MSK that both ends have; a wrong password and
/// the name of somebody else are a 401.
#[tokio::test]
async fn freeradius_authenticates_mobile_nodes() {
    let aaa = FreeRadius::start();
    let running = Running::start(&server(aaa.auth, ""), "");
    let outer = "anonymous_identity=\"anonymous@example.net\"\nphase2=\"auth=PAP\"";
    let right = aaa.network("TTLS", outer);
    let (code, text) = running.peer(aaa::NAME, &right).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\"keyed_with\": \"msk\""), "{text}");
    let wrong = right.replace(aaa::PASSWORD, "another one");
    assert_eq!(running.status(aaa::NAME, &wrong).await, 401);
    // The AAA server accepts mn1, and says so: that opens no SA of mn2, whatever the outer identity.
    let outer = outer.replace("anonymous@", "mn2@");
    assert_eq!(running.status("mn2@example.net", &aaa.network("TTLS", &outer)).await, 401);
    // Nobody's but the AAA server's: not where YAML does not say so.
    let outer = "anonymous_identity=\"anonymous@example.net\"\nphase2=\"auth=PAP\"";
    let unlisted = aaa.network("TTLS", outer).replace(aaa::NAME, aaa::UNLISTED);
    assert_eq!(running.status(aaa::UNLISTED, &unlisted).await, 401);
    let log = fs::read_to_string(aaa.path("log")).unwrap();
    assert!(log.contains("NAS-Identifier = \"hac.example.net\""));
    assert!(log.contains("Calling-Station-Id = \"127.0.0.1\""));
}

/// A mobile node that only the AAA server knows gets the home address and the validity that the
/// server says, where YAML lets it; one that is nowhere in the home prefix is nobody's.
#[tokio::test]
async fn freeradius_says_what_a_mobile_node_gets() {
    let aaa = FreeRadius::start();
    let running = Running::start(&server(aaa.auth, "unlisted_subscribers: true"), "");
    let network = aaa.network("PEAP", "").replace(aaa::NAME, aaa::UNLISTED);
    let (code, text) = running.peer(aaa::UNLISTED, &network).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2001:db8:100:0:0:0:0:33"), "{text}");
    let validity = text.split("mip6-sa-validity-end\": [").nth(1).unwrap();
    let date = validity.split('"').nth(1).unwrap();
    let end: u64 = {
        let output = Command::new("date").args(["-d", date, "+%s"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let left = end - system_clock()();
    assert!((500..=600).contains(&left), "Session-Timeout: {date}");
    let network = aaa.network("PEAP", "").replace(aaa::NAME, aaa::STRAY);
    assert_eq!(running.status(aaa::STRAY, &network).await, 500);
}

/// RFC 4818, RFC 2865 s.5.11: mobile networks, and the policy of a realm of YAML. Who is to get a part
/// of what another one has gets nothing.
#[tokio::test]
async fn freeradius_delegates_networks_and_names_a_policy() {
    let aaa = FreeRadius::start();
    let realms = "\
realms:
  - {realm: ships.example.net, sa_validity: 1200, scope: 1, care_of_addresses: 3, multicast: true}
";
    let running = Running::start(&server(aaa.auth, "unlisted_subscribers: true"), realms);
    let network = |name: &str| aaa.network("PEAP", "").replace(aaa::NAME, name);
    let (code, text) = running.peer(aaa::ROUTER, &network(aaa::ROUTER)).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(running.status(aaa::TAKER, &network(aaa::TAKER)).await, 500);
    let records = running.records().await;
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!(record.mn_id.as_str(), aaa::ROUTER);
    assert_eq!(record.home_address.to_string(), "2001:db8:100::35");
    let networks: Vec<_> = record.services.prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["2001:db8:5100::/48", "2001:db8:5200::/56"]);
    let services = &record.services;
    assert!(services.mobile_router && services.multicast && services.care_of_addresses == 3);
    let left = record.validity_end - system_clock()();
    assert!((1100..=1200).contains(&left), "{left}");
}

/// EAP-13, R-9: killed between two requests of a session: 504; the next session goes to the second
/// server; with that one gone as well 504, then 503; Status-Server brings the first one back.
#[tokio::test]
async fn freeradius_dies_and_comes_back() {
    let (mut one, mut two) = (FreeRadius::start(), FreeRadius::start());
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let config = |port| ServerConfig {
        status_server: true,
        timeout: Duration::from_millis(500),
        ..config(address(port))
    };
    let client = client(vec![config(one.auth), config(two.auth)]);
    until(|| (0..2).all(|server| count(&client, server, Counter::Responses) == 1)).await;
    let Ok(Relayed::Challenge { state, .. }) = client.relay(relay(IDENTITY, None), FROM).await
    else {
        panic!("no challenge")
    };
    one.kill();
    let nak = [2, 2, 0, 6, 3, 25];
    let relayed = client.relay(relay(&nak, Some(state)), FROM).await;
    assert_eq!(relayed.unwrap_err(), RelayError::Silent, "no other server can go on");
    let relayed = client.relay(relay(IDENTITY, None), FROM).await;
    assert!(matches!(relayed, Ok(Relayed::Challenge { .. })), "failover: {relayed:?}");
    assert_eq!(count(&client, 1, Counter::AccessChallenges), 1);
    until(|| client.standings() == [Standing::Dead, Standing::Alive]).await;
    two.kill();
    let relayed = client.relay(relay(IDENTITY, None), FROM).await;
    assert_eq!(relayed.unwrap_err(), RelayError::Silent);
    until(|| client.standings() == [Standing::Dead, Standing::Dead]).await;
    let relayed = client.relay(relay(IDENTITY, None), FROM).await;
    assert_eq!(relayed.unwrap_err(), RelayError::AllDead { retry_after: 1 });
    one.run();
    until(|| client.standings()[0] == Standing::Alive).await;
    let relayed = client.relay(relay(IDENTITY, None), FROM).await;
    assert!(matches!(relayed, Ok(Relayed::Challenge { .. })), "{relayed:?}");
}

/// EAP-13 on the wire: 504, then 503 with retry-after.
#[tokio::test]
async fn silence_is_told_to_the_mobile_node() {
    let silent = Fake::bind("127.0.0.1:0").await;
    let port = silent.address().port();
    let more = "timeout: 1, retries: 0, status_server: false";
    let running = Running::start(&server(port, more), "");
    let network = "network={\nkey_mgmt=WPA-EAP\neap=MD5\nidentity=\"mn1@example.net\"\n\
                   password=\"x\"\n}\n";
    for _ in 0..3 {
        assert_eq!(running.status(aaa::NAME, network).await, 504);
    }
    let (_, text) = running.peer(aaa::NAME, network).await;
    assert!(text.contains("503") && text.contains("retry-after"), "{text}");
}

/// A secret that was changed in its file counts once the YAML is read again.
#[tokio::test]
async fn a_reload_takes_the_new_secret() {
    let aaa = FreeRadius::start();
    let running = Running::start(&server(aaa.auth, "timeout: 1, status_server: false"), "");
    let secret = running.folder.path().join("secret");
    fs::write(&secret, "another secret..\n").unwrap();
    running.hac.reload().await.unwrap();
    assert_eq!(running.status(aaa::NAME, &aaa.network("PEAP", "")).await, 504);
    fs::write(&secret, format!("{}\n", aaa::SECRET)).unwrap();
    running.hac.reload().await.unwrap();
    let (code, text) = running.peer(aaa::NAME, &aaa.network("PEAP", "")).await;
    assert_eq!(code, Some(0), "{text}");
}

/// RFC 6614: the same over TLS, with a certificate each.
#[tokio::test]
async fn freeradius_is_asked_over_tls() {
    let aaa = FreeRadius::start();
    aaa::certificate(aaa.path("ca.pem").parent().unwrap(), "client", "DNS:hac.example.net");
    let tls = format!(
        "tls: {{ca: '{ca}', certificate: '{certificate}', key: '{key}', name: aaa.example.net}}",
        ca = aaa.path("ca.pem").display(),
        certificate = aaa.path("client.pem").display(),
        key = aaa.path("client.key").display(),
    );
    let more = server(aaa.radsec, &tls).replace("secret_file: secret, ", "");
    let running = Running::start(&more, "");
    let (code, text) = running.peer(aaa::NAME, &aaa.network("PEAP", "")).await;
    assert_eq!(code, Some(0), "{text}");
    // Who is not the server that YAML names gets nothing.
    let running = Running::start(&more.replace("name: aaa.", "name: other."), "");
    assert_eq!(running.status(aaa::NAME, &aaa.network("PEAP", "")).await, 504);
}

/// Certificates for RADIUS over TLS that were renewed count once the YAML is read again, and mistakes in
/// them change nothing.
#[tokio::test]
async fn a_reload_takes_new_certificates_for_radius_over_tls() {
    let aaa = FreeRadius::start();
    let folder = aaa.path("ca.pem").parent().unwrap().to_owned();
    aaa::certificate(&folder, "client", "DNS:hac.example.net");
    let strangers = tempfile::tempdir().unwrap();
    aaa::certificates(strangers.path());
    aaa::certificate(strangers.path(), "client", "DNS:hac.example.net");
    let own = tempfile::tempdir().unwrap();
    let put = |from: &std::path::Path| {
        for name in ["client.pem", "client.key"] {
            fs::copy(from.join(name), own.path().join(name)).unwrap();
        }
    };
    put(strangers.path());
    let tls = format!(
        "timeout: 1, status_server: false, tls: {{ca: '{ca}', certificate: '{certificate}', \
         key: '{key}', name: aaa.example.net}}",
        ca = aaa.path("ca.pem").display(),
        certificate = own.path().join("client.pem").display(),
        key = own.path().join("client.key").display(),
    );
    let more = server(aaa.radsec, &tls).replace("secret_file: secret, ", "");
    let running = Running::start(&more, "");
    assert_eq!(
        running.status(aaa::NAME, &aaa.network("PEAP", "")).await,
        504,
        "another authority's"
    );
    put(&folder);
    running.hac.reload().await.unwrap();
    let (code, text) = running.peer(aaa::NAME, &aaa.network("PEAP", "")).await;
    assert_eq!(code, Some(0), "{text}");
    // A key that is not the certificate's: what was goes on.
    fs::copy(strangers.path().join("client.key"), own.path().join("client.key")).unwrap();
    let error = running.hac.reload().await.unwrap_err();
    assert!(error.contains("certificate") || error.contains("key"), "{error}");
    let (code, text) = running.peer(aaa::NAME, &aaa.network("PEAP", "")).await;
    assert_eq!(code, Some(0), "{text}");
}
