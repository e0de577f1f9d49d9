//! The RADIUS client: against servers that misbehave on purpose (here), against FreeRADIUS, and in
//! YAML.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod accounting;
mod freeradius;
mod yaml;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hearth_hac::radius::attribute::{Attributes, EAP_MESSAGE, STATE, USER_NAME};
use hearth_hac::radius::counters::Counter;
use hearth_hac::radius::health::Standing;
use hearth_hac::radius::packet::Secret;
use hearth_hac::radius::{Client, Relay, RelayError, RelayState, Relayed, ServerConfig, Transport};
use hearth_peers::aaa;
use hearth_wire::MobileNodeId;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use zeroize::Zeroizing;

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

fn secret() -> Secret {
    Secret::new(Zeroizing::new(aaa::SECRET.as_bytes().to_vec())).unwrap()
}

fn config(address: SocketAddr) -> ServerConfig {
    ServerConfig {
        address,
        transport: Transport::Udp,
        secret: secret(),
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

/// New secrets and servers: what is in flight is answered, a conversation goes on with its server,
/// what has not changed is as it was.
#[tokio::test]
async fn servers_change_without_dropping_exchanges() {
    let (one, two) = (Fake::bind("127.0.0.1:0").await, Fake::bind("127.0.0.1:0").await);
    let client = client(vec![one.config(), two.config()]);
    // In flight while its server gets another secret.
    let (relayed, ()) = tokio::join!(client.relay(relay(IDENTITY, None), FROM), async {
        let got = one.got().await;
        let secret = Secret::new(Zeroizing::new(b"another secret..".to_vec())).unwrap();
        client.reload(vec![ServerConfig { secret, retries: 0, ..one.config() }, two.config()]);
        one.answer(&got, CHALLENGE, &challenge()).await;
    });
    let Ok(Relayed::Challenge { state, .. }) = relayed else { panic!("{relayed:?}") };
    assert_eq!(count(&client, 0, Counter::AccessChallenges), 1, "counters go on");
    // What comes next is signed with the new one.
    let response = [2, 2, 0, 6, 3, 25];
    let next = client.relay(relay(&response, Some(state)), FROM);
    let (relayed, wrong) = tokio::join!(next, async {
        let got = one.got().await;
        let mut zeroed = got.octets.clone();
        let sent = zeroed[22..38].to_vec();
        zeroed[22..38].fill(0);
        let hmac = Hmac::<Md5>::new_from_slice(b"another secret..").unwrap();
        assert_eq!(hmac.chain_update(&zeroed).finalize().into_bytes()[..], sent);
        // The old secret is none any more.
        one.answer(&got, CHALLENGE, &challenge()).await;
    });
    let () = wrong;
    assert_eq!(relayed.unwrap_err(), RelayError::Silent);
    assert!(count(&client, 0, Counter::BadAuthenticators) > 0);
    // The first is taken away in the middle of a conversation with the second; then that one is.
    client.reload(vec![two.config()]);
    let (relayed, ()) = tokio::join!(client.relay(relay(IDENTITY, None), FROM), async {
        let got = two.got().await;
        two.answer(&got, CHALLENGE, &challenge()).await;
    });
    let Ok(Relayed::Challenge { state, .. }) = relayed else { panic!("{relayed:?}") };
    client.reload(vec![one.config()]);
    let (relayed, ()) = tokio::join!(client.relay(relay(&response, Some(state)), FROM), async {
        let got = two.got().await;
        two.answer(&got, REJECT, &attribute(EAP_MESSAGE, &[4, 2, 0, 4])).await;
    });
    assert!(matches!(relayed, Ok(Relayed::Reject { .. })), "{relayed:?}");
    let (relayed, ()) = tokio::join!(client.relay(relay(IDENTITY, None), FROM), async {
        let got = one.got().await;
        one.answer(&got, REJECT, &attribute(EAP_MESSAGE, &[4, 1, 0, 4])).await;
    });
    assert!(matches!(relayed, Ok(Relayed::Reject { .. })), "{relayed:?}");
}
