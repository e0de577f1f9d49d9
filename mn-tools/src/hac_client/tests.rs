//! Bootstraps over loopback TLS with a HAC that follows a script.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use hearth_wire::hac::{Message, Side, StatusCode, container, message};
use hearth_wire::{MobileNodeId, Scope, Suite};
use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::bootstrap::tests::{PSK, done_response, init_response, mn_id};
use crate::eap::Credentials;
use crate::tls::TrustAnchors;
use crate::tls::tests::{TestCa, dns};

/// What the scripted HAC does.
#[derive(Clone, Copy)]
enum Script {
    Grant,
    /// Its key for this MN is another one.
    OtherKey,
    Refuse(StatusCode),
    /// It accepts the connection and says nothing.
    Silence,
    /// It closes after the first request.
    Close,
}

const NAME: &str = "hac.example.net";

/// A HAC and a client for it. Marks need privileges; a client without a mark does without.
fn bench(script: Script, anchors: Option<TrustAnchors>) -> (HacClient, JoinHandle<()>) {
    let ca = TestCa::new(&PKCS_ECDSA_P256_SHA256);
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let (certificate, server) = ca.server(vec![dns(NAME)], "x", &versions);
    let binding = tls::server_end_point(&certificate).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let hac = std::thread::spawn(move || serve(&listener, server, script, &binding));
    let name = ReferenceName::new(NAME).unwrap();
    let client = HacClient {
        tls: tls::client_config(&anchors.unwrap_or_else(|| ca.anchors()), &name).unwrap(),
        server_name: name.server_name().unwrap(),
        name,
        addresses: vec!["127.0.0.1".parse().unwrap()],
        port,
        srv: None,
        resolver: Resolver::new(0),
        timeout: Duration::from_millis(500),
        mark: 0,
        resolved: Mutex::default(),
    };
    (client, hac)
}

fn serve(listener: &TcpListener, config: Arc<ServerConfig>, script: Script, binding: &[u8]) {
    let (tcp, _) = listener.accept().unwrap();
    if matches!(script, Script::Silence) {
        // Until the client gives up.
        let _ = (&tcp).read_to_end(&mut Vec::new());
        return;
    }
    let mut tls = rustls::StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 2048];
        let Ok(len @ 1..) = tls.read(&mut buffer) else { return };
        received.extend_from_slice(&buffer[..len]);
        let Ok(Some((request, _))) = container::decode(&received) else { continue };
        let message = message::parse(request.content).unwrap().message;
        let response = match script {
            Script::Close => return,
            Script::Refuse(status) => Message { status: Some(status), ..Message::default() },
            _ if request.identifier == 1 => init_response(&message),
            _ => done_response(&message),
        };
        let key =
            if matches!(script, Script::OtherKey) { b"another key of more octets" } else { PSK };
        let signed = response.encode_signed(Side::Hac, key, binding);
        tls.write_all(&container::encode(request.identifier, &signed).unwrap()).unwrap();
        received.clear();
    }
}

fn bootstrap(client: &HacClient) -> Result<(Grant, IpAddr), Failure> {
    let mn_id: MobileNodeId = mn_id();
    client.bootstrap(Proposal {
        mn_id: &mn_id,
        credentials: &Credentials::Psk(PSK),
        suites: &[Suite::Aes128CbcSha],
        scope: Scope::SignallingAndData,
    })
}

fn failure(script: Script) -> Failure {
    let (client, hac) = bench(script, None);
    let failure = bootstrap(&client).expect_err("a failing script");
    hac.join().unwrap();
    failure
}

#[test]
fn a_granted_sa_comes_with_the_hacs_address() {
    let (client, hac) = bench(Script::Grant, None);
    let (grant, address) = bootstrap(&client).unwrap();
    assert_eq!((grant.spi.get(), address), (77, IpAddr::from([127, 0, 0, 1])));
    hac.join().unwrap();
}

#[test]
fn failures_say_what_is_wrong_and_whether_another_network_may_help() {
    let wrong_key = failure(Script::OtherKey);
    assert!(wrong_key.text.contains("not authenticated (401)"), "{}", wrong_key.text);
    assert!(!wrong_key.by_network);
    let refused = failure(Script::Refuse(StatusCode::Unauthorized));
    assert!(refused.text.contains("401"), "{}", refused.text);
    let refused = failure(Script::Refuse(StatusCode::NotImplemented));
    assert!(refused.text.contains("501"), "{}", refused.text);
    let silent = failure(Script::Silence);
    assert_eq!(silent.text, "hac.example.net did not answer within 0.5 s");
    assert!(silent.by_network);
    let closed = failure(Script::Close);
    assert!(closed.text.contains("clos"), "{}", closed.text);
}

#[test]
fn a_wrong_ca_is_named() {
    let stranger = TestCa::new(&PKCS_ECDSA_P256_SHA256).anchors();
    let (client, hac) = bench(Script::Grant, Some(stranger));
    let failure = bootstrap(&client).unwrap_err();
    assert_eq!(failure.text, "the certificate of hac.example.net is not signed by a configured CA");
    hac.join().unwrap();
}

#[test]
fn a_hac_that_is_down_is_named_with_every_address_tried() {
    let (mut client, _hac) = bench(Script::Silence, None);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    client.port = listener.local_addr().unwrap().port();
    drop(listener);
    let failure = bootstrap(&client).unwrap_err();
    assert!(failure.text.contains("127.0.0.1:"), "{}", failure.text);
    assert!(failure.text.contains("connection refused"), "{}", failure.text);
    assert!(failure.by_network);
}
