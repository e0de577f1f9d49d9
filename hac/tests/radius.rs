//! The RADIUS client: against servers that misbehave on purpose, and against FreeRADIUS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "common/aaa.rs"]
mod aaa;

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aaa::FreeRadius;
use hearth_hac::config::Config;
use hearth_hac::daemon::{Hac, system_clock};
use hearth_hac::directory::Clock;
use hearth_hac::radius::attribute::{Attributes, EAP_MESSAGE, STATE, USER_NAME};
use hearth_hac::radius::counters::Counter;
use hearth_hac::radius::health::Standing;
use hearth_hac::radius::{Client, Relay, RelayError, RelayState, Relayed, ServerConfig, Transport};
use hearth_wire::MobileNodeId;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// EAP-Response/Identity of `aaa::NAME`, Identifier 1.
const IDENTITY: &[u8] = b"\x02\x01\x00\x14\x01mn1@example.net";
const ACCEPT: u8 = 2;
const REJECT: u8 = 3;
const CHALLENGE: u8 = 11;
const STATUS_SERVER: u8 = 12;

/// A server that does what the test says.
struct Fake(UdpSocket);

/// What a client sent to it.
#[derive(Clone)]
struct Got {
    octets: Vec<u8>,
    from: SocketAddr,
}

impl Got {
    fn attributes(&self) -> Attributes<'_> {
        Attributes::checked(&self.octets[20..]).unwrap()
    }
}

impl Fake {
    async fn bind(address: &str) -> Self {
        Self(UdpSocket::bind(address).await.unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn config(&self) -> ServerConfig {
        config(self.address())
    }

    /// The next packet.
    async fn got(&self) -> Got {
        let mut octets = vec![0; 5000];
        let received = timeout(Duration::from_secs(10), self.0.recv_from(&mut octets));
        let (len, from) = received.await.expect("a packet in time").unwrap();
        octets.truncate(len);
        assert_eq!(octets[20..22], [80, 18], "Message-Authenticator stands first");
        Got { octets, from }
    }

    async fn send(&self, got: &Got, octets: &[u8]) {
        self.0.send_to(octets, got.from).await.unwrap();
    }

    /// Answers as it should be done.
    async fn answer(&self, got: &Got, code: u8, attributes: &[u8]) {
        self.send(got, &answer(got, code, attributes)).await;
    }
}

fn config(address: SocketAddr) -> ServerConfig {
    ServerConfig {
        address,
        transport: Transport::Udp,
        secret: aaa::secret(),
        timeout: Duration::from_millis(350),
        retries: 2,
        status_server: false,
        dead_time: Duration::from_millis(300),
        returns_authenticated_name: true,
        unlisted_subscribers: false,
    }
}

fn answer(got: &Got, code: u8, attributes: &[u8]) -> Vec<u8> {
    let body = [&[80, 18], &[0; 16][..], attributes].concat();
    signed(got, code, body, true)
}

/// An answer whose body begins with Message-Authenticator if there shall be one.
fn signed(got: &Got, code: u8, mut body: Vec<u8>, with_message_authenticator: bool) -> Vec<u8> {
    let len = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
    let head = [code, got.octets[1], len[0], len[1]];
    let request = &got.octets[4..20];
    let secret = aaa::SECRET.as_bytes();
    if with_message_authenticator {
        let hmac = Hmac::<Md5>::new_from_slice(secret).unwrap();
        let hmac = hmac.chain_update(head).chain_update(request).chain_update(&body);
        body[2..18].copy_from_slice(&hmac.finalize().into_bytes());
    }
    let digest = Md5::new().chain_update(head).chain_update(request);
    let digest = digest.chain_update(&body).chain_update(secret).finalize();
    [&head[..], &digest, &body].concat()
}

fn attribute(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, u8::try_from(value.len() + 2).unwrap()], value].concat()
}

fn challenge() -> Vec<u8> {
    [attribute(STATE, b"state"), attribute(EAP_MESSAGE, &[1, 2, 0, 6, 21, 0x20])].concat()
}

fn relay(eap: &[u8], state: Option<RelayState>) -> Relay {
    Relay { eap: eap.to_vec(), mn_id: MobileNodeId::new(aaa::NAME).unwrap(), state }
}

fn client(servers: Vec<ServerConfig>) -> Client {
    Client::start(servers, "hac.example.net")
}

fn count(client: &Client, server: usize, counter: Counter) -> u64 {
    client.counters().nth(server).unwrap().1.get(counter)
}

/// Waits until something has happened.
async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), wait).await.expect("in time");
}

/// EAP-12: the loop of Access-Challenge, with the attributes that RFC 3579 wants.
#[tokio::test]
async fn challenges_go_on_until_an_accept() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let fake = Fake::bind(address).await;
        let client = client(vec![fake.config()]);
        let server = async {
            let first = fake.got().await;
            assert_eq!(first.attributes().joined(EAP_MESSAGE), IDENTITY);
            assert_eq!(first.attributes().single(USER_NAME), Some(aaa::NAME.as_bytes()));
            assert_eq!(first.attributes().single(31), Some(&b"192.0.2.1"[..]));
            assert_eq!(first.attributes().single(32), Some(&b"hac.example.net"[..]));
            assert_eq!(first.attributes().single(STATE), None);
            fake.answer(&first, CHALLENGE, &challenge()).await;
            let second = fake.got().await;
            assert_eq!(second.attributes().joined(EAP_MESSAGE).len(), 1000);
            assert_eq!(second.attributes().single(STATE), Some(&b"state"[..]));
            assert_eq!(second.attributes().single(USER_NAME), Some(aaa::NAME.as_bytes()));
            let name = attribute(USER_NAME, b"proved@example.net");
            let success = attribute(EAP_MESSAGE, &[3, 2, 0, 4]);
            fake.answer(&second, ACCEPT, &[name, success].concat()).await;
        };
        let session = async {
            let Relayed::Challenge { eap, state } =
                client.relay(relay(IDENTITY, None), FROM).await.unwrap()
            else {
                panic!()
            };
            assert_eq!(eap, [1, 2, 0, 6, 21, 0x20]);
            let response = [&[2, 2, 3, 0xe8, 21, 0][..], &[7; 994]].concat();
            let relayed = client.relay(relay(&response, Some(state)), FROM).await.unwrap();
            let Relayed::Accept { eap, user_name, msk, .. } = relayed else { panic!() };
            assert_eq!(eap, [3, 2, 0, 4]);
            assert_eq!(user_name.as_deref(), Some("proved@example.net"));
            assert!(msk.is_none());
        };
        tokio::join!(server, session);
        assert_eq!(count(&client, 0, Counter::AccessChallenges), 1);
        assert_eq!(count(&client, 0, Counter::AccessAccepts), 1);
    }
}

/// EAP-12: nothing but an answer with both authenticators counts, and a forged one does not end the
/// wait for the true one.
#[tokio::test]
async fn forged_answers_are_dropped_and_counted() {
    let fake = Fake::bind("127.0.0.1:0").await;
    let client = client(vec![fake.config()]);
    let server = async {
        let got = fake.got().await;
        let success = attribute(EAP_MESSAGE, &[3, 2, 0, 4]);
        let right = answer(&got, ACCEPT, &success);
        fake.send(&got, &signed(&got, ACCEPT, success.clone(), false)).await;
        let wrong = [&[80, 18], &[1; 16][..], &success].concat();
        fake.send(&got, &signed(&got, ACCEPT, wrong, false)).await;
        let mut changed = right.clone();
        changed[4] ^= 1;
        fake.send(&got, &changed).await;
        let mut other = right.clone();
        other[1] ^= 1;
        fake.send(&got, &other).await;
        fake.send(&got, &right[..right.len() - 1]).await;
        fake.send(&got, &[ACCEPT]).await;
        fake.answer(&got, 5, &success).await;
        fake.answer(&got, REJECT, &attribute(EAP_MESSAGE, &[4, 2, 0, 4])).await;
        // Too late for this one, and that is all about it.
        fake.send(&got, &right).await;
    };
    let (relayed, ()) = tokio::join!(client.relay(relay(IDENTITY, None), FROM), server);
    assert!(matches!(relayed, Ok(Relayed::Reject { eap }) if eap == [4, 2, 0, 4]));
    until(|| count(&client, 0, Counter::Unexpected) == 2).await;
    for (counter, expected) in [
        (Counter::NoMessageAuthenticators, 1),
        (Counter::BadMessageAuthenticators, 1),
        (Counter::BadAuthenticators, 1),
        (Counter::MalformedResponses, 2),
        (Counter::UnknownTypes, 1),
        (Counter::Responses, 1),
        (Counter::AccessRejects, 1),
        (Counter::AccessAccepts, 0),
    ] {
        assert_eq!(count(&client, 0, counter), expected, "{counter:?}");
    }
}

/// A reject or a challenge without EAP is a failure of the mobile node's, and says so in EAP.
#[tokio::test]
async fn answers_without_eap_are_rejects() {
    let fake = Fake::bind("127.0.0.1:0").await;
    let client = client(vec![fake.config()]);
    for code in [REJECT, CHALLENGE] {
        let server = async {
            let got = fake.got().await;
            fake.answer(&got, code, &[]).await;
        };
        let (relayed, ()) = tokio::join!(client.relay(relay(IDENTITY, None), FROM), server);
        assert!(matches!(relayed, Ok(Relayed::Reject { eap }) if eap == [4, 1, 0, 4]));
    }
    // What no RADIUS packet holds never leaves.
    let relayed = client.relay(relay(&[2; 4096], None), FROM).await;
    assert!(matches!(relayed, Ok(Relayed::Reject { .. })));
    assert_eq!(count(&client, 0, Counter::Requests), 2);
}

/// RFC 2865 s.2.5: the same octets from the same port; an answer to the first counts for all.
#[tokio::test]
async fn lost_requests_are_sent_again() {
    let fake = Fake::bind("127.0.0.1:0").await;
    let client = client(vec![fake.config()]);
    let server = async {
        let first = fake.got().await;
        let second = fake.got().await;
        assert_eq!((&first.octets, first.from), (&second.octets, second.from));
        fake.answer(&first, CHALLENGE, &challenge()).await;
        fake.answer(&first, CHALLENGE, &challenge()).await;
    };
    let (relayed, ()) = tokio::join!(client.relay(relay(IDENTITY, None), FROM), server);
    assert!(matches!(relayed, Ok(Relayed::Challenge { .. })));
    assert_eq!(count(&client, 0, Counter::Retransmissions), 1);
    until(|| count(&client, 0, Counter::Unexpected) == 1).await;
    assert_eq!(client.standings(), [Standing::Alive]);
}

/// More than 256 requests are in flight at a time, over several ports, each answered by its own.
#[tokio::test]
async fn more_requests_than_identifiers_are_in_flight() {
    const REQUESTS: usize = 700;
    let fake = Fake::bind("127.0.0.1:0").await;
    let config = ServerConfig { timeout: Duration::from_secs(20), retries: 0, ..fake.config() };
    let client = client(vec![config]);
    let server = async {
        let mut waiting = Vec::new();
        while waiting.len() < REQUESTS {
            waiting.push(fake.got().await);
        }
        let ports: HashSet<_> = waiting.iter().map(|got| got.from).collect();
        assert_eq!(ports.len(), 3);
        let all: HashSet<_> = waiting.iter().map(|got| (got.from, got.octets[1])).collect();
        assert_eq!(all.len(), REQUESTS, "no Identifier twice on one port");
        for got in waiting.iter().rev() {
            let eap = got.attributes().joined(EAP_MESSAGE);
            fake.answer(got, REJECT, &attribute(EAP_MESSAGE, &eap)).await;
        }
    };
    let session = async {
        let mut sessions = tokio::task::JoinSet::new();
        let client = Arc::new(client);
        for number in 0..REQUESTS {
            let client = client.clone();
            sessions.spawn(async move {
                let eap = [IDENTITY, &number.to_be_bytes()].concat();
                let relayed = client.relay(relay(&eap, None), FROM).await;
                assert!(matches!(relayed, Ok(Relayed::Reject { eap: own }) if own == eap));
            });
        }
        while let Some(ended) = sessions.join_next().await {
            ended.unwrap();
        }
    };
    tokio::join!(server, session);
}

/// EAP-13, R-9: silence is a 504, and a 503 once all are known to be dead; without Status-Server a
/// dead one is tried again after its time.
#[tokio::test]
async fn silent_servers_die_and_are_tried_again() {
    let (one, two) = (Fake::bind("127.0.0.1:0").await, Fake::bind("127.0.0.1:0").await);
    let config = |fake: &Fake| ServerConfig {
        timeout: Duration::from_millis(30),
        retries: 0,
        dead_time: Duration::from_millis(2500),
        ..fake.config()
    };
    let client = client(vec![config(&one), config(&two)]);
    for _ in 0..3 {
        let relayed = client.relay(relay(IDENTITY, None), FROM).await;
        assert_eq!(relayed.unwrap_err(), RelayError::Silent);
    }
    assert_eq!(client.standings(), [Standing::Dead, Standing::Dead]);
    let relayed = client.relay(relay(IDENTITY, None), FROM).await;
    assert!(matches!(relayed, Err(RelayError::AllDead { retry_after: 1..=3 })), "{relayed:?}");
    for fake in [&one, &two] {
        for _ in 0..3 {
            fake.got().await;
        }
        assert!(fake.0.try_recv(&mut [0; 10]).is_err(), "the dead are left alone");
    }
    until(|| client.standings() == [Standing::Suspect, Standing::Suspect]).await;
    let server = async {
        let got = one.got().await;
        one.answer(&got, CHALLENGE, &challenge()).await;
    };
    let (relayed, ()) = tokio::join!(client.relay(relay(IDENTITY, None), FROM), server);
    assert!(matches!(relayed, Ok(Relayed::Challenge { .. })), "{relayed:?}");
    assert_eq!(client.standings()[0], Standing::Alive);
}

/// EAP-13: a stranger whose EAP is discarded takes no server away from the others, where the
/// server answers Status-Server; and that brings a dead one back.
#[tokio::test]
async fn status_server_decides_who_is_dead() {
    let fake = Fake::bind("127.0.0.1:0").await;
    let config = ServerConfig { status_server: true, ..fake.config() };
    let client = client(vec![ServerConfig { timeout: Duration::from_millis(300), ..config }]);
    let status = async || {
        let got = fake.got().await;
        assert_eq!(got.octets[0], STATUS_SERVER);
        got
    };
    // At the start; without Message-Authenticator, as FreeRADIUS answers it.
    let got = status().await;
    fake.send(&got, &signed(&got, ACCEPT, vec![], false)).await;
    until(|| count(&client, 0, Counter::Responses) == 1).await;
    let discarded = async || {
        let relayed = client.relay(relay(IDENTITY, None), FROM).await;
        assert_eq!(relayed.unwrap_err(), RelayError::Silent);
        let mut sent = 0;
        while sent < 3 {
            // A Status-Server that was answered late was sent again.
            sent += usize::from(fake.got().await.octets[0] == 1);
        }
    };
    for _ in 0..4 {
        discarded().await;
        assert_eq!(client.standings(), [Standing::Suspect]);
        let got = status().await;
        fake.answer(&got, ACCEPT, &[]).await;
        until(|| client.standings() == [Standing::Alive]).await;
    }
    // Now it answers nothing at all.
    discarded().await;
    until(|| client.standings() == [Standing::Dead]).await;
    let relayed = client.relay(relay(IDENTITY, None), FROM).await;
    assert_eq!(relayed.unwrap_err(), RelayError::AllDead { retry_after: 1 });
    assert_eq!(count(&client, 0, Counter::Deaths), 1);
    // Three transmissions of one Status-Server, then the next one.
    let mut authenticators = HashSet::new();
    let got = loop {
        let got = status().await;
        authenticators.insert(got.octets[4..20].to_vec());
        if authenticators.len() == 2 {
            break got;
        }
    };
    fake.answer(&got, ACCEPT, &[]).await;
    until(|| client.standings() == [Standing::Alive]).await;
}

// FreeRADIUS

/// A HAC with the RADIUS servers of `radius`, in a folder with FreeRADIUS' certificates.
struct Running {
    hac: Hac,
    folder: tempfile::TempDir,
}

impl Running {
    fn start(servers: &str, more: &str) -> Self {
        Self::start_at(servers, more, system_clock())
    }

    fn start_at(servers: &str, more: &str, clock: Clock) -> Self {
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
    async fn peer(&self, mn_id: &str, network: &str) -> (Option<i32>, String) {
        let path = self.folder.path().join("network");
        fs::write(&path, network).unwrap();
        let mut command = Command::new("python3");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/eap_peer.py"))
            .args(["hac", "127.0.0.1", &self.hac.addresses()[0].port().to_string()])
            .arg(self.folder.path().join("ca.pem"))
            .args(["hac.example.net", mn_id])
            .arg(&path);
        let Output { status, stdout, stderr } = run(command).await;
        let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
        (status.code(), text.into_owned())
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

fn server(port: u16, more: &str) -> String {
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

/// An SA is accounted for from its issue to its end, also where the server is away at its end;
/// Class, session and addresses are those of the SA.
#[tokio::test]
async fn freeradius_accounts_for_an_sa() {
    let mut aaa = FreeRadius::start();
    let later = Arc::new(AtomicU64::new(0));
    let clock = {
        let (later, clock) = (later.clone(), system_clock());
        Arc::new(move || clock() + later.load(Ordering::Relaxed))
    };
    let accounting = format!(
        "  accounting:
    servers: [{{address: 127.0.0.1, port: {}, secret_file: secret, timeout: 1, dead_time: 1}}]
    interim: 300
",
        aaa.acct
    );
    let running = Running::start_at(&server(aaa.auth, ""), &accounting, clock);
    let (code, text) = running.peer(aaa::NAME, &aaa.network("PEAP", "")).await;
    assert_eq!(code, Some(0), "{text}");
    let detail = aaa.path("detail");
    let records = || -> Vec<String> {
        let text = fs::read_to_string(&detail).unwrap_or_default();
        text.split("\n\n")
            .filter(|record| record.contains("Timestamp"))
            .map(str::to_owned)
            .collect()
    };
    let has = |record: &str, attributes: &[&str]| {
        for attribute in attributes {
            assert!(record.contains(attribute), "{attribute} in\n{record}");
        }
    };
    until(|| records().len() == 1).await;
    let start = records().remove(0);
    let common = [
        "User-Name = \"mn1@example.net\"",
        "Framed-IPv6-Address = 2001:db8:100::10",
        "NAS-Identifier = \"hac.example.net\"",
        "Class = 0x636c617373",
        "Calling-Station-Id = \"127.0.0.1\"",
        "PMIP6-Home-LMA-IPv6-Address = 2001:db8:1::1",
        "NAS-Port = 1\n",
        "Acct-Session-Id = \"0000001-1\"",
        "Acct-Authentic = RADIUS",
    ];
    has(&start, &common);
    has(&start, &["Acct-Status-Type = Start"]);
    later.store(301, Ordering::Relaxed);
    until(|| records().len() == 2).await;
    let interim = records().remove(1);
    has(&interim, &common);
    has(&interim, &["Acct-Status-Type = Interim-Update", "Acct-Session-Time = 30"]);
    aaa.kill();
    later.store(90_000, Ordering::Relaxed);
    // Both the interim record and the end come late.
    let accounting = running.hac.accounting().unwrap().clone();
    until(|| accounting.sessions() == 0 && accounting.waiting() > 0).await;
    aaa.run();
    until(|| records().iter().any(|record| record.contains("Acct-Status-Type = Stop"))).await;
    let stop = records().pop().unwrap();
    has(&stop, &common);
    has(&stop, &["Acct-Terminate-Cause = Session-Timeout", "Acct-Session-Time = 900"]);
    until(|| accounting.waiting() == 0).await;
    assert_eq!(accounting.lost(), 0);
    running.hac.stop().await;
}

/// `--check` finds what is wrong, with file, line, key and what would be right.
#[test]
fn what_is_wrong_in_yaml_is_named() {
    let folder = tempfile::tempdir().unwrap();
    aaa::certificates(folder.path());
    aaa::certificate(folder.path(), "hac", "DNS:hac.example.net");
    fs::write(folder.path().join("secret"), "sixteen octets..\n").unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();
    let text = format!(
        "\
listen: ['127.0.0.1:0']
tls: {{certificate: hac.pem, key: hac.key}}
home_agents:
  - {{name: ha1, ip6: '2001:db8:1::1', spi_range: [1, 9], home_prefix_ip6: '2001:db8:100::/64'}}
subscribers:
  - {{mn_id: mn1@example.net, psk: {{hex: '{psk}'}}, home_address_ip6: '2001:db8:100::10'}}
auth: {{methods: [eap], eap: {{methods: [radius]}}}}
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
    servers: [{{address: 192.0.2.1, secret_file: secret}}]
    interim: 600
",
        psk = aaa::PSK
    );
    let load = |text: &str| {
        let path = folder.path().join("hac.yaml");
        fs::write(&path, text).unwrap();
        let prefix = format!("{}/", folder.path().display());
        Config::load(&path, system_clock()())
            .map_err(|error| error.to_string().replace(&prefix, ""))
    };
    let radius = load(&text).unwrap_or_else(|error| panic!("{error}")).radius.unwrap();
    let addresses: Vec<_> =
        radius.servers.iter().map(|server| server.address.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.1:1812", "[2001:db8::1812]:1645"]);
    assert_eq!(radius.servers[0].secret.octets(), aaa::SECRET.as_bytes(), "without the line's end");
    let accounting = radius.accounting.unwrap();
    assert_eq!(accounting.servers[0].address.port(), 1813);
    assert!(!format!("{:?}", radius.servers).contains("octets.."), "no secret in Debug");
    for (from, to, wrong) in [
        ("methods: [radius]", "methods: [gpsk]", "hac.yaml:10: radius.servers: are never asked"),
        ("      secret_file: secret\n", "", "hac.yaml:10: radius.servers[0]: give exactly one of"),
        ("secret_file: secret", "secret_file: no", "hac.yaml:11: radius.servers[0].secret_file: "),
        ("secret_file: secret", "secret_file: empty", "holds no secret"),
        ("secret_file: secret", "secret_credential: x", "CREDENTIALS_DIRECTORY is not set"),
        ("true\n    - ", "false\n    - ", "hac.yaml:12: radius.servers[0].returns_authenticated"),
        ("      returns_authenticated_name: true\n", "", "is missing; true where User-Name in"),
        ("timeout: 3", "timeout: 24", "hac.yaml:10: radius.servers: may take 30 s one after the"),
        ("port: 1645", "port: 0", "hac.yaml:14: radius.servers[1].port: 0 is out of range; 1 to"),
        (
            "2001:db8::1812\n      port: 1645",
            "192.0.2.1",
            "radius.servers[1].address: 192.0.2.1:18",
        ),
        ("interim: 600", "interim: 59", "radius.accounting.interim: 59 is out of range; 60 to"),
        ("interim: 600", "interval: 600", "radius.accounting.interval: unknown key `interval`"),
        (
            "      port: 1645",
            "      tls: {ca: ca.pem, certificate: no, key: server.key}",
            "no can't",
        ),
        ("  servers:\n    - address", "  servrs:\n    - address", "unknown key `servrs`"),
    ] {
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
