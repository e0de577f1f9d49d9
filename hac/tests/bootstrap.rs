//! The HAC over real TLS on loopback, against rustls, openssl and a mobile node in Python.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hearth_hac::cert::{CertificateError, ChannelBinding};
use hearth_hac::config::Config;
use hearth_hac::counters::Counter;
use hearth_hac::daemon::{Hac, system_clock};
use hearth_wire::directory::{Request, SaRecord, Update, decode_update, deframe, encode_request};
use hearth_wire::hac::{AuthMethod, Message, Side, container, message};
use hearth_wire::{MobileNodeId, Scope, Spi, Suite};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const NAME: &str = "hac.example.net";
const PSK: &str = "000102030405060708090a0b0c0d0e0f";
const ECDSA: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha256";

/// A folder with a self-signed server certificate, made by openssl with these options.
fn identity(options: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("openssl")
        .current_dir(&folder)
        .args(["req", "-x509", "-nodes", "-keyout", "hac.key", "-out", "hac.pem", "-days", "2"])
        .args(["-subj", "/CN=ignored", "-addext", &format!("subjectAltName=DNS:{NAME}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(options.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// A HAC in this process.
struct Running {
    hac: Hac,
    folder: tempfile::TempDir,
}

impl Running {
    fn start(folder: tempfile::TempDir, more: &str) -> Self {
        let text = format!(
            "\
listen: ['127.0.0.1:0', '[::1]:0']
tls: {{certificate: hac.pem, key: hac.key{tls}}}
directory: {{store: hac.redb, socket: hac.sock}}
home_agents:
  - name: ha1
    ip6: 2001:db8:1::1
    ip4: 198.51.100.1
    port: 7900
    spi_range: [1, 100000]
    home_prefix_ip6: '2001:db8:100::/64'
    home_prefix_ip4: 203.0.113.0/24
    pools: {{ip6: ['2001:db8:100::1000', '2001:db8:100::1001'], ip4: [203.0.113.99, 203.0.113.99]}}
dns: ['2001:db8:100::53', 203.0.113.53, 203.0.113.54]
subscribers:
  - {{mn_id: mn1@example.net, psk: {{hex: '{PSK}'}}, home_address_ip6: '2001:db8:100::10'}}
  - {{mn_id: null@example.net, psk: {{hex: '{PSK}'}}, home_address_ip4: none, suites: [NULL_SHA]}}
  - {{mn_id: 3des@example.net, psk: {{hex: '{PSK}'}}, home_address_ip4: none, suites: [3DES_EDE_CBC_SHA]}}
  - {{mn_id: gcm@example.net, psk: {{hex: '{PSK}'}}, home_address_ip6: '2001:db8:100::11', home_address_ip4: none, suites: [AES_128_GCM]}}
{more}",
            tls = if more.contains("#tls12") { ", tls13: false" } else { "" }
        );
        let path = folder.path().join("hac.yaml");
        fs::write(&path, text).unwrap();
        let config =
            Config::load(&path, system_clock()()).unwrap_or_else(|error| panic!("{error}"));
        Self { hac: Hac::start(config, system_clock()).unwrap(), folder }
    }

    fn address(&self) -> SocketAddr {
        self.hac.addresses()[0]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The mobile node in Python: what it exits with, and what it prints.
    async fn python(&self, mn_id: &str, psk: &str, more: &str) -> (Option<i32>, String) {
        let mut command = Command::new("python3");
        command
            .arg(hearth_peers::script("peer.py"))
            .args(["127.0.0.1", &self.address().port().to_string()])
            .arg(self.path("hac.pem"))
            .args([NAME, mn_id, psk])
            .args(more.split_whitespace());
        let output = run(command, "").await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    }

    /// `openssl s_client`: whether it succeeded, and everything it said.
    async fn s_client(&self, options: &str, input: &'static str) -> (bool, String) {
        let mut command = Command::new("openssl");
        command
            .current_dir(&self.folder)
            .args(["s_client", "-connect", &self.address().to_string(), "-servername", NAME])
            .args(["-CAfile", "hac.pem", "-verify_return_error", "-verify_hostname", NAME])
            .args(options.split_whitespace());
        let output = run(command, input).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    }

    async fn connect(&self) -> Client {
        Client::new(self, TcpStream::connect(self.address()).await.unwrap()).await
    }
}

/// Runs a command beside the runtime; `input` on its standard input, which then stays open until
/// it ends by itself if there is any.
async fn run(mut command: Command, input: &'static str) -> Output {
    tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take();
        if let Some(pipe) = stdin.as_mut() {
            pipe.write_all(input.as_bytes()).unwrap();
        }
        if input.is_empty() {
            drop(stdin.take());
        }
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

/// A mobile node on rustls that can send anything.
struct Client {
    stream: TlsStream<TcpStream>,
    binding: ChannelBinding,
}

impl Client {
    async fn new(running: &Running, stream: TcpStream) -> Self {
        let certificate = CertificateDer::from_pem_file(running.path("hac.pem")).unwrap();
        let binding = ChannelBinding::of_certificate(&certificate).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        Self { stream: connector.connect(name, stream).await.unwrap(), binding }
    }

    async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next response: Identifier and Content.
    async fn response(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.unwrap();
        assert_eq!(header[0], 0, "Ver and Rsrvd");
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
        self.stream.read_exact(&mut content).await.unwrap();
        (header[1], content)
    }

    /// Waits for close_notify: without it rustls reports an error, as it does for a reset.
    async fn closed(&mut self) {
        let mut more = [0; 1];
        let end = tokio::time::timeout(Duration::from_secs(10), self.stream.read(&mut more));
        assert_eq!(end.await.expect("closed in time").unwrap(), 0);
    }

    async fn refused(&mut self) -> (u8, u16) {
        let (identifier, content) = self.response().await;
        let status = message::parse(&content).unwrap().message.status.unwrap();
        self.closed().await;
        (identifier, status.code())
    }

    async fn init(&mut self) -> [u8; 32] {
        self.send(&framed(1, &init("mn1@example.net"))).await;
        let (identifier, content) = self.response().await;
        assert_eq!(identifier, 1);
        message::parse(&content).unwrap().message.hac_rand.unwrap()
    }

    fn done(&self, hac_rand: [u8; 32]) -> Vec<u8> {
        let key: Vec<u8> = (0..16).collect();
        let done = Message {
            mn_rand: Some([9; 32]),
            hac_rand: Some(hac_rand),
            scope: Some(Scope::SignallingAndData),
            suite_list: Some(Suite::known().collect()),
            ..Message::default()
        };
        done.encode_signed(Side::Mn, &key, self.binding.octets()).to_vec()
    }

    /// The whole exchange; the SPI it got.
    async fn bootstrap(&mut self) -> Spi {
        let hac_rand = self.init().await;
        self.issued(hac_rand).await.spi.unwrap()
    }

    /// Done and its response, which must be a success.
    async fn issued(&mut self, hac_rand: [u8; 32]) -> Message {
        let done = self.done(hac_rand);
        self.send(&framed(2, &done)).await;
        let (_, content) = self.response().await;
        let response = message::parse(&content).unwrap().message;
        assert_eq!(response.status.unwrap().code(), 200);
        response
    }
}

fn init(mn_id: &str) -> Vec<u8> {
    let init = Message {
        mn_id: MobileNodeId::new(mn_id).ok(),
        mn_rand: Some([9; 32]),
        auth_methods: vec![AuthMethod::Psk],
        ..Message::default()
    };
    init.encode_unsigned().to_vec()
}

fn framed(identifier: u8, content: &[u8]) -> Vec<u8> {
    container::encode(identifier, content).unwrap().to_vec()
}

/// HAC-02, HAC-19, HAC-26: an independent mobile node bootstraps over both versions of TLS and
/// with certificates of every kind; it checks `auth` in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn hac_19_a_mobile_node_of_its_own_bootstraps() {
    for (options, hash) in [
        (ECDSA, "sha256"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -sha384", "sha384"),
        ("-newkey rsa:2048 -sha256", "sha256"),
        ("-newkey rsa:2048 -sha384", "sha384"),
        ("-newkey rsa:2048 -sha512", "sha512"),
        ("-newkey rsa:2048 -sha384 -sigopt rsa_padding_mode:pss", "sha384"),
    ] {
        let running = Running::start(identity(options), "");
        for version in ["1.2", "1.3"] {
            let more = format!("--tls {version} --hash {hash}");
            let (code, text) = running.python("mn1@example.net", PSK, &more).await;
            assert_eq!(code, Some(0), "{options} {version}: {text}");
            assert!(text.contains(&format!("TLSv{version}")) && text.contains("7900"), "{text}");
        }
        assert_eq!(running.hac.counters().get(Counter::Issued), 2);
    }
}

/// SA-04, R-12, R-16: suites without confidentiality, 3DES and AES_128_GCM, for those whose policy
/// names them.
#[tokio::test(flavor = "multi_thread")]
async fn suites_that_a_policy_names() {
    let running = Running::start(identity(ECDSA), "");
    for (mn_id, suite) in
        [("null@example.net", "00,02"), ("3des@example.net", "00,0A"), ("gcm@example.net", "00,9C")]
    {
        let (code, text) = running.python(mn_id, PSK, &format!("--suites 00,2F {suite}")).await;
        assert_eq!(code, Some(0), "{text}");
        let (code, text) =
            running.python("mn1@example.net", PSK, &format!("--suites {suite}")).await;
        assert!(code == Some(3) && text.contains("501"), "{text}");
    }
}

/// HAC-21, HAC-22, HAC-25: a wrong key, an unknown node and a relayed certificate end alike.
#[tokio::test(flavor = "multi_thread")]
async fn hac_21_22_25_who_is_not_authenticated() {
    let running = Running::start(identity(ECDSA), "");
    let (code, text) = running.python("mn1@example.net", PSK, "--wrong-binding").await;
    assert!(code == Some(3) && text.contains("401"), "{text}");
    for mn_id in ["mn1@example.net", "nobody@example.net"] {
        // It refuses Response/Init already, which is keyed with another key.
        let wrong = PSK.replace("00", "ff");
        let (code, text) = running.python(mn_id, &wrong, "").await;
        assert!(code == Some(1) && text.contains("AssertionError: auth"), "{text}");
    }
    assert_eq!(running.hac.counters().get(Counter::Unauthorized), 1);
    assert_eq!(running.hac.counters().get(Counter::Issued), 0);
}

/// HAC-40: a resumed session still needs the whole exchange, with the same channel binding.
#[tokio::test(flavor = "multi_thread")]
async fn hac_40_resumption() {
    let running = Running::start(identity(ECDSA), "");
    for version in ["1.2", "1.3"] {
        let more = format!("--tls {version} --resume");
        let (code, text) = running.python("mn1@example.net", PSK, &more).await;
        assert!(code == Some(0) && text.contains("\"resumed\": true"), "{version}: {text}");
    }
    // A process with another certificate does not know the ticket.
    let (ok, _) = running.s_client("-tls1_2 -sess_out ticket", "").await;
    assert!(ok);
    let (_, text) = running.s_client("-tls1_2 -sess_in ticket", "").await;
    assert!(text.contains("Reused, "), "{text}");
    let other = Running::start(identity(ECDSA), "");
    fs::copy(running.path("ticket"), other.path("ticket")).unwrap();
    let (ok, text) = other.s_client("-tls1_2 -sess_in ticket", "").await;
    assert!(ok && text.contains("New, ") && !text.contains("Reused, "), "{text}");
}

/// HAC-01, HAC-02, HAC-03.
#[tokio::test(flavor = "multi_thread")]
async fn hac_01_02_03_openssl_s_client() {
    let running = Running::start(identity(ECDSA), "limits: {request_timeout: 2}");
    for version in ["1_2", "1_3"] {
        let (ok, text) = running.s_client(&format!("-tls{version}"), "").await;
        let protocol = format!("TLSv{}", version.replace('_', "."));
        assert!(ok && text.contains(&protocol) && text.contains("return code: 0 (ok)"), "{text}");
    }
    for (refused, reason) in [
        ("-tls1_1 -cipher ALL:@SECLEVEL=0", "alert"),
        ("-tls1 -cipher ALL:@SECLEVEL=0", "alert"),
        ("-tls1_2 -cipher aNULL:@SECLEVEL=0", "handshake failure"),
        ("-tls1_2 -cipher PSK -psk 00112233445566778899aabbccddeeff", "handshake failure"),
    ] {
        let (ok, text) = running.s_client(refused, "").await;
        assert!(!ok && text.contains(reason), "{refused}: {text}");
    }
    let (_, text) = running.s_client("-tls1_2", "R\n").await;
    assert!(text.contains("RENEGOTIATING") && text.contains("no renegotiation"), "{text}");
    running.connect().await.bootstrap().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_3_can_be_switched_off() {
    let running = Running::start(identity(ECDSA), "#tls12");
    assert!(!running.s_client("-tls1_3", "").await.0);
    assert!(running.s_client("-tls1_2", "").await.0);
}

/// HAC-26: hashes that a TLS client of today may refuse to meet, against openssl's own digest.
#[test]
fn hac_26_channel_binding_hash() {
    for (options, hash) in [
        ("-newkey rsa:2048 -sha1", "-sha256"),
        ("-newkey rsa:2048 -md5", "-sha256"),
        ("-newkey rsa:2048 -sha224", "-sha224"),
        ("-newkey rsa:2048 -sha1 -sigopt rsa_padding_mode:pss", "-sha256"),
        ("-newkey rsa:2048 -sha512 -sigopt rsa_padding_mode:pss", "-sha512"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha1", "-sha256"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha384", "-sha384"),
    ] {
        let folder = identity(options);
        let certificate = CertificateDer::from_pem_file(folder.path().join("hac.pem")).unwrap();
        fs::write(folder.path().join("hac.der"), &certificate).unwrap();
        let digest = Command::new("openssl")
            .current_dir(&folder)
            .args(["dgst", hash, "-binary", "hac.der"])
            .output()
            .unwrap();
        let binding = ChannelBinding::of_certificate(&certificate);
        assert!(binding.is_ok(), "{options}");
        assert_eq!(binding.unwrap().octets(), digest.stdout, "{options}");
    }
    for options in ["-newkey ed25519", "-newkey ed448"] {
        let folder = identity(options);
        let certificate = CertificateDer::from_pem_file(folder.path().join("hac.pem")).unwrap();
        let binding = ChannelBinding::of_certificate(&certificate);
        assert_eq!(binding, Err(CertificateError::NoChannelBinding));
    }
}

/// HAC-04 to HAC-09, HAC-15 to HAC-18, HAC-23: each malformed request gets its status, then the
/// close; a session that runs all the while is not disturbed.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_end_their_own_session_only() {
    let running = Running::start(identity(ECDSA), "");
    let mut undisturbed = running.connect().await;
    let hac_rand = undisturbed.init().await;
    let good = init("mn1@example.net");
    let text = |text: &str| framed(1, text.as_bytes());
    let eap = format!(
        "mn-id:mn1@example.net\r\nauth-method:eap\r\nmn-rand:{}\r\n\r\n\r\n",
        "09".repeat(32)
    );
    let first: Vec<(&str, Vec<u8>, (u8, u16))> = vec![
        ("Ver 1", vec![0x20, 1, 0, 1, b'x'], (1, 400)),
        ("Identifier 0", vec![0, 0, 0, 1, b'x'], (1, 400)),
        ("first Identifier 2", framed(2, &good), (2, 400)),
        ("Length 0", vec![0, 1, 0, 0], (1, 400)),
        ("Length 1", text("x"), (1, 400)),
        ("Length 65535", framed(1, &[b'x'; 65535]), (1, 400)),
        ("bare LF", text("mn-id:mn1@example.net\n\r\n\r\n"), (1, 400)),
        ("no end", text("mn-id:mn1@example.net\r\n"), (1, 400)),
        ("no mn-id", text("auth-method:psk\r\n\r\n\r\n"), (1, 400)),
        ("no method", text("mn-id:mn1@example.net\r\n\r\n\r\n"), (1, 400)),
        ("eap", text(&eap), (1, 501)),
        ("no mn-rand", text("mn-id:mn1@example.net\r\nauth-method:psk\r\n\r\n\r\n"), (1, 400)),
        ("twice", text("mn-id:a\r\nmn-id:a\r\nauth-method:psk\r\n\r\n\r\n"), (1, 400)),
        ("not text", framed(1, &[0xff; 100]), (1, 400)),
    ];
    for (name, octets, expected) in first {
        let mut client = running.connect().await;
        client.send(&octets).await;
        assert_eq!(client.refused().await, expected, "{name}");
    }
    let unsigned = "mip6-sas:1\r\nmip6-suitelist:{00,2F}\r\n\r\n\r\n";
    for (name, octets, expected) in [
        ("Identifier again", framed(1, unsigned.as_bytes()), (1, 400)),
        ("no auth", framed(2, unsigned.as_bytes()), (2, 400)),
        ("a gap, no auth", framed(255, unsigned.as_bytes()), (255, 400)),
        ("wrong auth", framed(2, &done_with_zero_auth()), (2, 401)),
        ("a second Init", framed(2, &good), (2, 400)),
    ] {
        let mut client = running.connect().await;
        client.init().await;
        client.send(&octets).await;
        assert_eq!(client.refused().await, expected, "{name}");
    }
    let done = undisturbed.done(hac_rand);
    undisturbed.send(&framed(9, &done)).await;
    let (identifier, content) = undisturbed.response().await;
    assert_eq!(identifier, 9);
    assert_eq!(message::parse(&content).unwrap().message.status.unwrap().code(), 200);
    undisturbed.closed().await;
    assert_eq!(running.hac.counters().get(Counter::Issued), 1);
}

fn done_with_zero_auth() -> Vec<u8> {
    format!("mip6-sas:1\r\nmip6-suitelist:{{00,2F}}\r\nauth:{}\r\n\r\n\r\n", "00".repeat(32)).into()
}

/// HAC-11, HAC-12, HAC-13, R-9: octet by octet, two in one record, and much behind the last.
#[tokio::test(flavor = "multi_thread")]
async fn hac_11_12_13_however_the_octets_arrive() {
    let running = Running::start(identity(ECDSA), "");
    let mut dribbling = running.connect().await;
    for octet in framed(1, &init("mn1@example.net")) {
        dribbling.send(&[octet]).await;
    }
    assert_eq!(dribbling.response().await.0, 1);

    let mut at_once = running.connect().await;
    let mut two = framed(1, &init("mn1@example.net"));
    two.extend(framed(2, b"junk"));
    at_once.send(&two).await;
    let (identifier, content) = at_once.response().await;
    assert!(identifier == 1 && message::parse(&content).unwrap().message.hac_rand.is_some());
    assert_eq!(at_once.refused().await, (2, 400));

    // What nobody reads any more does not turn the close into a reset.
    let mut chatty = running.connect().await;
    let hac_rand = chatty.init().await;
    let mut octets = framed(2, &chatty.done(hac_rand));
    octets.extend([0; 60_000]);
    chatty.send(&octets).await;
    let (_, content) = chatty.response().await;
    assert_eq!(message::parse(&content).unwrap().message.status.unwrap().code(), 200);
    chatty.closed().await;
}

/// What the home agent finds under `spi` after its watch has replayed.
fn look_up(socket: &Path, spi: Spi) -> Option<Box<SaRecord>> {
    let mut stream = UnixStream::connect(socket).unwrap();
    for request in [Request::Watch { home_agent: "ha1".into() }, Request::Lookup { spi }] {
        stream.write_all(&encode_request(&request).unwrap()).unwrap();
    }
    let (mut buffer, mut synced) = (Vec::new(), false);
    loop {
        while let Some((body, used)) = deframe(&buffer).unwrap() {
            match decode_update(body).unwrap() {
                Update::Synced(_) => synced = true,
                Update::Issued(record) if synced => return Some(record),
                Update::Unknown(_) => return None,
                Update::Issued(_) | Update::Revoked(_) | Update::UsageWanted(_) => {}
            }
            buffer.drain(..used);
        }
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).unwrap();
        assert_ne!(count, 0);
        buffer.extend_from_slice(&chunk[..count]);
    }
}

/// whoever has the response finds the record, also after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn r_50_the_record_is_there_before_the_response() {
    let running = Running::start(identity(ECDSA), "");
    let mut spis = Vec::new();
    for _ in 0..20 {
        let spi = running.connect().await.bootstrap().await;
        let record = look_up(&running.path("hac.sock"), spi).expect("the record is there");
        assert_eq!(record.mn_id.as_str(), "mn1@example.net");
        assert!(!spis.contains(&spi));
        spis.push(spi);
    }
    let Running { hac, folder } = running;
    hac.stop().await;
    let running = Running::start(folder, "");
    assert!(look_up(&running.path("hac.sock"), spis[0]).is_some());
    assert!(!spis.contains(&running.connect().await.bootstrap().await));
}

/// SA-05: each bootstrap of the same mobile node brings four keys that never were before, and
/// another SPI.
#[tokio::test(flavor = "multi_thread")]
async fn sa_05_nothing_is_shared_between_two_bootstraps() {
    let running = Running::start(identity(ECDSA), "");
    let (mut keys, mut spis) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let mut client = running.connect().await;
        let hac_rand = client.init().await;
        let response = client.issued(hac_rand).await;
        let Message { mn_to_ha_ikey, ha_to_mn_ikey, mn_to_ha_ekey, ha_to_mn_ekey, .. } = response;
        for key in [mn_to_ha_ikey, ha_to_mn_ikey, mn_to_ha_ekey, ha_to_mn_ekey] {
            // An ikey that begins as an ekey would not be independent of it either.
            keys.push(key.unwrap()[..16].to_vec());
        }
        spis.push(response.spi.unwrap());
    }
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "key {at} was there before");
    }
    assert_ne!(spis[0], spis[1]);
}

/// HAC-42, R-15: two bootstraps of one mn-id, interleaved request by request, both succeed, and
/// the later one does not end the earlier one's SA.
#[tokio::test(flavor = "multi_thread")]
async fn hac_42_two_bootstraps_of_one_node_at_the_same_time() {
    let running = Running::start(identity(ECDSA), "");
    let (mut one, mut other) = (running.connect().await, running.connect().await);
    let (one_rand, other_rand) = (one.init().await, other.init().await);
    assert_ne!(one_rand, other_rand);
    let other = other.issued(other_rand).await;
    let one = one.issued(one_rand).await;
    assert_ne!(one.spi, other.spi);
    for response in [&one, &other] {
        let record = look_up(&running.path("hac.sock"), response.spi.unwrap()).expect("alive");
        assert_eq!(record.mn_id.as_str(), "mn1@example.net");
        assert_eq!(record.mn_to_ha.encryption(), &**response.mn_to_ha_ekey.as_ref().unwrap());
        assert_eq!(record.validity_end, response.validity_end.unwrap());
    }
}

/// A stranger's refusals are counted, all of them, and logged up to a limit.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_do_not_fill_the_disk() {
    let running = Running::start(identity(ECDSA), "");
    for _ in 0..40 {
        let mut client = running.connect().await;
        client.send(&framed(1, b"x")).await;
        client.refused().await;
    }
    assert_eq!(running.hac.counters().get(Counter::BadRequest), 40);
    // Ten lines in ten seconds: a slow machine may see a second ten.
    let suppressed = running.hac.counters().get(Counter::WarningsSuppressed);
    assert!((20..=30).contains(&suppressed), "{suppressed}");
}

/// HAC-38, HAC-39: who comes in excess is told when to come back, and more than that is closed.
#[tokio::test(flavor = "multi_thread")]
async fn hac_38_overload() {
    let running = Running::start(identity(ECDSA), "limits: {connections: 1, retry_after: 77}");
    let mut served = running.connect().await;
    let hac_rand = served.init().await;
    let mut excess = running.connect().await;
    excess.send(&framed(1, &init("mn1@example.net"))).await;
    let (_, content) = excess.response().await;
    let response = message::parse(&content).unwrap().message;
    assert_eq!(response.status.unwrap().code(), 503);
    let wait = response.retry_after.unwrap() - system_clock()();
    assert!((70..=77).contains(&wait), "{wait}");
    let mut third = TcpStream::connect(running.address()).await.unwrap();
    assert_eq!(third.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let done = served.done(hac_rand);
    served.send(&framed(2, &done)).await;
    let (_, content) = served.response().await;
    assert_eq!(message::parse(&content).unwrap().message.status.unwrap().code(), 200);
    assert_eq!(running.hac.counters().get(Counter::ConnectionsRefused), 1);
}

/// HAC-39: half-open connections of one source stop at its limit and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn hac_39_half_open_flood() {
    let running = Running::start(identity(ECDSA), "limits: {connections_per_source: 8}");
    let mut flood = Vec::new();
    for _ in 0..50 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        flood.push(socket.connect(running.address()).await.unwrap());
    }
    for stream in flood.iter_mut().skip(8) {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    assert_eq!(running.hac.counters().get(Counter::ConnectionsRefused), 42);
    running.connect().await.bootstrap().await;
}

/// HAC-12, HAC-39: the slow ones are cut, each at its own deadline.
#[tokio::test(flavor = "multi_thread")]
async fn hac_12_slow_clients_are_cut() {
    let running =
        Running::start(identity(ECDSA), "limits: {handshake_timeout: 1, request_timeout: 1}");
    let mut silent = StdTcpStream::connect(running.address()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut idle = running.connect().await;
    let mut half = running.connect().await;
    half.send(&framed(1, &init("mn1@example.net"))[..9]).await;
    idle.closed().await;
    assert_eq!(half.refused().await, (1, 400));
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(running.hac.counters().get(Counter::HandshakesFailed), 1);
    assert_eq!(running.hac.counters().get(Counter::TimedOut), 2);

    let running = Running::start(identity(ECDSA), "limits: {session_timeout: 1}");
    let mut late = running.connect().await;
    late.init().await;
    late.closed().await;
    assert_eq!(running.hac.counters().get(Counter::TimedOut), 1);
}

/// SA-01: many at once, over both address families.
#[tokio::test(flavor = "multi_thread")]
async fn sa_01_many_mobile_nodes_at_once() {
    let running = Arc::new(Running::start(identity(ECDSA), ""));
    let tasks: Vec<_> = (0..30)
        .map(|index| {
            let running = running.clone();
            tokio::spawn(async move {
                let address = running.hac.addresses()[index % 2];
                let stream = TcpStream::connect(address).await.unwrap();
                Client::new(&running, stream).await.bootstrap().await
            })
        })
        .collect();
    let mut spis = Vec::new();
    for task in tasks {
        spis.push(task.await.unwrap().get());
    }
    spis.sort_unstable();
    assert_eq!(spis, (1..=30).collect::<Vec<_>>());
}

/// HAC-35: an exhausted pool is 503; who has a lease is served on.
#[tokio::test(flavor = "multi_thread")]
async fn hac_35_pool_exhausted() {
    let more = format!("  - {{mn_id: late@example.net, psk: {{hex: '{PSK}'}}}}\n");
    let running = Running::start(identity(ECDSA), &more);
    // mn1's IPv4 address comes from the pool, which has just one.
    assert_eq!(running.python("mn1@example.net", PSK, "").await.0, Some(0));
    let (code, text) = running.python("late@example.net", PSK, "").await;
    assert!(code == Some(3) && text.contains("503") && text.contains("retry-after"), "{text}");
    assert_eq!(running.python("mn1@example.net", PSK, "").await.0, Some(0));
}

/// A `hearth-hac` process.
struct Daemon {
    child: std::process::Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        let folder = identity(ECDSA);
        let text = format!(
            "\
listen: ['127.0.0.1:0']
tls: {{certificate: hac.pem, key: hac.key}}
directory: {{store: hac.redb, socket: hac.sock}}
home_agents:
  - {{name: ha1, ip6: '2001:db8:1::1', spi_range: [1, 99], home_prefix_ip6: '2001:db8:100::/64'}}
subscribers:
  - {{mn_id: mn1@example.net, psk: {{hex: '{PSK}'}}, home_address_ip6: '2001:db8:100::10'}}
"
        );
        fs::write(folder.path().join("hac.yaml"), text).unwrap();
        // A file-size limit, by which a test stops the store, then gives an error and no signal.
        let mut child = Command::new("sh")
            .current_dir(&folder)
            .args(["-c", "trap '' XFSZ; exec \"$0\" --config hac.yaml"])
            .arg(env!("CARGO_BIN_EXE_hearth-hac"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = child.stderr.take().unwrap();
        let mut seen = String::new();
        while !seen.contains("socket=") {
            let mut chunk = [0; 1024];
            let count = log.read(&mut chunk).unwrap();
            assert_ne!(count, 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
        let (_, port) = seen.split_once("127.0.0.1:").unwrap();
        let port = port.split(']').next().unwrap().parse().unwrap();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, port, folder }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What the mobile node in Python says.
    fn python(&self) -> String {
        let output = Command::new("python3")
            .arg(hearth_peers::script("peer.py"))
            .args(["127.0.0.1", &self.port.to_string()])
            .arg(self.folder.path().join("hac.pem"))
            .args([NAME, "mn1@example.net", PSK])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text + &String::from_utf8_lossy(&output.stderr)
    }

    fn stop(mut self) -> tempfile::TempDir {
        kill_process(self.pid(), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.folder
    }
}

/// The daemon itself: ready, no core dumps, ends cleanly on SIGTERM, leaves no socket behind.
#[test]
fn the_daemon_starts_and_stops() {
    let daemon = Daemon::start();
    assert!(daemon.folder.path().join("hac.sock").exists());
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let folder = daemon.stop();
    assert!(!folder.path().join("hac.sock").exists());
}

/// HAC-14: a store that can't write is a 500, and is used again as soon as it can.
#[test]
fn hac_14_store_down() {
    let daemon = Daemon::start();
    let limit = |octets| {
        let limit = Rlimit { current: octets, maximum: None };
        prlimit(Some(daemon.pid()), Resource::Fsize, limit).unwrap();
    };
    assert!(daemon.python().contains("\"200\""));
    limit(Some(0));
    for _ in 0..2 {
        let text = daemon.python();
        assert!(text.contains("\"500\"") && !text.contains("mip6-spi"), "{text}");
    }
    limit(None);
    let text = daemon.python();
    assert!(text.contains("\"200\""), "{text}");
    daemon.stop();
}
