//! A HAC with certificates made by openssl, and a mobile node on rustls that bootstraps from it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use hearth_hac::cert::ChannelBinding;
use hearth_hac::config::Config;
use hearth_hac::daemon::{Hac, system_clock};
use hearth_wire::hac::{AuthMethod, Message, Side, container, message};
use hearth_wire::{MobileNodeId, Scope, Suite};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const NAME: &str = "hac.example.net";
pub(crate) const PSK: &str = "000102030405060708090a0b0c0d0e0f";
pub(crate) const ECDSA: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha256";
pub(crate) const RSA: &str = "-newkey rsa:2048 -sha256";

/// Runs openssl in `folder`; its standard output and error.
pub(crate) fn openssl(folder: &Path, arguments: &str) -> (bool, String) {
    let words = arguments.split_whitespace();
    let Output { status, stdout, stderr } =
        Command::new("openssl").current_dir(folder).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    (status.success(), text + &String::from_utf8_lossy(&stderr))
}

/// Makes `FILE.pem` and `FILE.key` for the server `name`, self-signed.
pub(crate) fn identity(folder: &Path, file: &str, name: &str, options: &str) {
    let (made, text) = openssl(
        folder,
        &format!(
            "req -x509 -nodes -keyout {file}.key -out {file}.pem -days 2 -subj /CN=ignored \
             -addext subjectAltName=DNS:{name} -addext basicConstraints=critical,CA:FALSE {options}"
        ),
    );
    assert!(made, "{text}");
}

/// A HAC of this process.
pub(crate) struct Running {
    pub(crate) hac: Hac,
    pub(crate) folder: tempfile::TempDir,
}

/// The configuration, without `tls`.
pub(crate) fn yaml(tls: &str, more: &str) -> String {
    format!(
        "\
listen: ['127.0.0.1:0', '[::1]:0']
tls: {{{tls}}}
directory: {{store: hac.redb, socket: hac.sock}}
home_agents:
  - {{name: ha1, ip6: '2001:db8:1::1', spi_range: [1, 100000], home_prefix_ip6: '2001:db8:100::/64'}}
subscribers:
  - {{mn_id: mn1@example.net, psk: {{hex: '{PSK}'}}, home_address_ip6: '2001:db8:100::10'}}
{more}"
    )
}

impl Running {
    /// Starts in a folder that holds the files which `tls` names.
    pub(crate) fn start(folder: tempfile::TempDir, tls: &str, more: &str) -> Self {
        let path = folder.path().join("hac.yaml");
        fs::write(&path, yaml(tls, more)).unwrap();
        let config =
            Config::load(&path, system_clock()()).unwrap_or_else(|error| panic!("{error}"));
        Self { hac: Hac::start(config, system_clock()).unwrap(), folder }
    }

    /// Starts with one ECDSA certificate.
    pub(crate) fn plain(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        identity(folder.path(), "hac", NAME, ECDSA);
        Self::start(folder, "certificate: hac.pem, key: hac.key", more)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.hac.addresses()[0]
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `openssl s_client` towards this HAC.
    pub(crate) async fn s_client(&self, options: &str) -> (bool, String) {
        let folder = self.folder.path().to_owned();
        let arguments = format!("s_client -connect {} {options}", self.address());
        let openssl = move || openssl(&folder, &arguments);
        tokio::task::spawn_blocking(openssl).await.unwrap()
    }
}

/// A TLS client that trusts these certificates.
pub(crate) fn connector(certificates: &[PathBuf]) -> TlsConnector {
    connector_with(rustls::crypto::ring::default_provider(), certificates)
}

/// One with suites of its own.
pub(crate) fn connector_with(provider: CryptoProvider, certificates: &[PathBuf]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for path in certificates {
        roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A mobile node that has shaken hands.
pub(crate) struct Client {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) binding: ChannelBinding,
}

impl Client {
    /// Connects; the channel binding is that of the certificate which the server shows.
    pub(crate) async fn connect(connector: &TlsConnector, server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.unwrap();
        Self::over(connector, stream).await.unwrap()
    }

    pub(crate) async fn over(connector: &TlsConnector, stream: TcpStream) -> std::io::Result<Self> {
        let stream = connector.connect(ServerName::try_from(NAME).unwrap(), stream).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap();
        let binding = ChannelBinding::of_certificate(&certificates[0]).unwrap();
        Ok(Self { stream, binding })
    }

    pub(crate) async fn send(&mut self, identifier: u8, content: &[u8]) {
        let octets = container::encode(identifier, content).unwrap();
        self.stream.write_all(&octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn response(&mut self) -> Message {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.unwrap();
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
        self.stream.read_exact(&mut content).await.unwrap();
        message::parse(&content).unwrap().message
    }

    /// Init and Done of `mn_id` with this key: the last response.
    pub(crate) async fn bootstrap_as(&mut self, mn_id: &str, key: &[u8]) -> Message {
        let init = Message {
            mn_id: MobileNodeId::new(mn_id).ok(),
            mn_rand: Some([9; 32]),
            auth_methods: vec![AuthMethod::Psk],
            ..Message::default()
        };
        self.send(1, &init.encode_unsigned()).await;
        let challenge = self.response().await;
        if challenge.status.is_some() {
            return challenge;
        }
        let done = Message {
            mn_rand: Some([9; 32]),
            hac_rand: challenge.hac_rand,
            scope: Some(Scope::SignallingAndData),
            suite_list: Some(Suite::known().collect()),
            ..Message::default()
        };
        self.send(2, &done.encode_signed(Side::Mn, key, self.binding.octets())).await;
        self.response().await
    }

    /// The status of a whole bootstrap of mn1@example.net.
    pub(crate) async fn bootstrap(&mut self) -> u16 {
        let key: Vec<u8> = (0..16).collect();
        self.bootstrap_as("mn1@example.net", &key).await.status.unwrap().code()
    }
}
