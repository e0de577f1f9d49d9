//! Certificates good and bad, made by rcgen, over real handshakes; slow and talkative clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::thread;

use axum::routing::{get, post};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;
use crate::tls::server_config;

struct Authority(CertifiedIssuer<'static, KeyPair>);

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.der().clone()], key)
    }
}

fn api() -> Router {
    let change = |ConnectInfo(peer): ConnectInfo<Peer>, body: String| async move {
        format!("changed by {} with {}", peer.certificate().unwrap_or("nobody"), body.len())
    };
    Router::new().route("/look", get(|| async { "seen" })).route("/change", post(change))
}

/// Serves [`api`] to certificates of `authority`, for as long as the test runs.
fn begin(authority: &Authority) -> SocketAddr {
    let listener = StdListener::bind("[::1]:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (chain, key) = authority.identity("ha1.example.net");
    let config = server_config(chain, key, vec![authority.certificate()]).unwrap();
    let names = Names {
        readers: vec!["Monitor.example.net".into()],
        operators: vec!["admin.example.net".into()],
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_sender, settings) = watch::channel(Arc::new(config));
        runtime.block_on(serve(listener, settings, names, api()))
    });
    address
}

/// All that comes back for `request`, from whom `identity` says; an error where there was no HTTP.
fn ask(
    address: SocketAddr,
    authority: &Authority,
    identity: Option<Identity>,
    request: &str,
) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    let name = "ha1.example.net".try_into().unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(tls, StdStream::connect(address)?);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

const LOOK: &str = "GET /look HTTP/1.1\r\nHost: ha1\r\nConnection: close\r\n\r\n";
const CHANGE: &str =
    "POST /change HTTP/1.1\r\nHost: ha1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn a_certificate_says_who_may_do_what() {
    let authority = Authority::new();
    let address = begin(&authority);
    let ask = |name: &str, request| {
        ask(address, &authority, Some(authority.identity(name)), request).unwrap()
    };
    assert!(ask("monitor.example.net", LOOK).ends_with("seen"));
    let refused = ask("monitor.example.net", CHANGE);
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("only look"), "{refused}");
    assert!(ask("admin.example.net", LOOK).ends_with("seen"));
    assert!(ask("admin.example.net", CHANGE).ends_with("changed by admin.example.net with 2"));
    for request in [LOOK, CHANGE] {
        let refused = ask("stranger.example.net", request);
        assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
        assert!(refused.contains("api.tls.readers"), "{refused}");
    }
}

#[test]
fn without_a_certificate_of_the_authority_there_is_no_http() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = begin(&authority);
    let admin = other.identity("admin.example.net");
    for identity in [None, Some(admin)] {
        let answer = ask(address, &authority, identity, LOOK);
        assert!(answer.is_err(), "{answer:?}");
    }
    // Nor without TLS.
    let mut plain = StdStream::connect(address).unwrap();
    plain.write_all(LOOK.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let admin = authority.identity("admin.example.net");
    assert!(ask(address, &authority, Some(admin), LOOK).unwrap().ends_with("seen"));
}

/// What an operator's client hears that sends `request` and then nothing, and for how long.
async fn hear(request: &[u8]) -> (String, Duration) {
    let (mut client, server) = duplex(1 << 20);
    let operator = Certified { name: "admin.example.net".into(), role: Role::Operator };
    let begun = tokio::time::Instant::now();
    let served = tokio::spawn(talk(server, Some(operator), api()));
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    served.await.unwrap();
    (answer, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_loses_the_connection() {
    let second = Duration::from_secs(1);
    for slow in ["", "GET /look HTTP/1.1\r\nHost: ha1\r\nX: y"] {
        let (answer, after) = hear(slow.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(after < HEADERS + second, "{slow:?}: {after:?}");
    }
    let body = "POST /change HTTP/1.1\r\nHost: ha1\r\nContent-Length: 9\r\n\r\n{";
    let (answer, after) = hear(body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(after < REQUEST + HEADERS + second, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn who_sends_too_much_is_refused() {
    let headers = format!("GET /look HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(HEADER_ROOM));
    let (answer, _) = hear(headers.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let big = BODY_ROOM + 1;
    let body = format!(
        "POST /change HTTP/1.1\r\nHost: ha1\r\nContent-Length: {big}\r\n\r\n{}",
        "y".repeat(big)
    );
    let (answer, _) = hear(body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
