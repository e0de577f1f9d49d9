//! Home agents on other machines: mutual TLS (SA-16, R-50).

use std::net::SocketAddr;
use std::sync::Arc;

use hearth_hac::directory::Directory;
use hearth_hac::directory::remote::{Remote, server_config};
use hearth_hac::live::Live;
use hearth_wire::directory::{Request, Update, decode_update, deframe, encode_request};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::rig::{Place, pooled, second_agent};

/// An authority, and certificates of it.
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

/// A directory with an SA of `ha1`, served over TLS with `ha2` beside it.
async fn serve(place: &Place, authority: &Authority) -> (Arc<Directory>, SocketAddr) {
    let (directory, address, _) = serve_renewable(place, authority).await;
    (directory, address)
}

fn server_tls(authority: &Authority) -> Arc<ServerConfig> {
    let (chain, key) = authority.identity("hac.example.net");
    server_config(chain, key, vec![authority.certificate()]).unwrap()
}

/// The same, and what home agents meet there.
async fn serve_renewable(
    place: &Place,
    authority: &Authority,
) -> (Arc<Directory>, SocketAddr, Arc<Live<ServerConfig>>) {
    let mut realm = pooled(1, |_| {});
    realm.home_agents.push(second_agent());
    let directory = Arc::new(place.open(realm));
    place.issue(&directory, "n0@example.net").await.unwrap();
    let tls = Arc::new(Live::new(server_tls(authority)));
    let mut names = pooled(0, |_| {});
    names.home_agents.push(second_agent());
    let remote = Remote::bind("[::1]:0".parse().unwrap(), tls.clone(), Arc::new(names)).unwrap();
    let address = remote.address().unwrap();
    let served = directory.clone();
    tokio::spawn(async move { remote.serve(served).await });
    (directory, address, tls)
}

fn client(
    authority: &Authority,
    identity: Option<Identity>,
    version: &'static SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

/// Watches the records of `home_agent`; what comes up to the end of the replay, or an error.
async fn watch(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    home_agent: &str,
) -> std::io::Result<Vec<Update>> {
    let request = encode_request(&Request::Watch { home_agent: home_agent.into() }).unwrap();
    stream.write_all(&request).await?;
    stream.flush().await?;
    let (mut buffer, mut updates) = (Vec::new(), Vec::new());
    loop {
        while let Some((body, used)) = deframe(&buffer).map_err(std::io::Error::other)? {
            updates.push(decode_update(body).unwrap());
            buffer.drain(..used);
        }
        if matches!(updates.last(), Some(Update::Synced(_))) {
            return Ok(updates);
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn connect(
    address: SocketAddr,
    connector: &TlsConnector,
    home_agent: &str,
) -> std::io::Result<Vec<Update>> {
    let name = ServerName::try_from("hac.example.net").unwrap();
    let tcp = TcpStream::connect(address).await?;
    watch(connector.connect(name, tcp).await?, home_agent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sa_16_only_a_home_agent_with_its_own_certificate_gets_its_records() {
    let place = Place::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let (_directory, address) = serve(&place, &authority).await;
    let tls13 = &rustls::version::TLS13;
    let own = || client(&authority, Some(authority.identity("ha1.example.net")), tls13);

    let updates = connect(address, &own(), "ha1").await.unwrap();
    assert!(matches!(&updates[..], [Update::Issued(_), Update::Synced(_)]), "{updates:?}");

    // Another home agent's records; nobody's name; another authority; none at all.
    assert!(connect(address, &own(), "ha2").await.is_err());
    let refused = [
        ("ha2", client(&authority, Some(authority.identity("ha2.example.net")), tls13)),
        ("a stranger", client(&authority, Some(authority.identity("www.example.net")), tls13)),
        ("another authority", client(&authority, Some(other.identity("ha1.example.net")), tls13)),
        ("no certificate", client(&authority, None, tls13)),
    ];
    for (who, connector) in refused {
        assert!(connect(address, &connector, "ha1").await.is_err(), "{who}");
    }
    // ha2 gets what is its own: nothing yet.
    let second = client(&authority, Some(authority.identity("ha2.example.net")), tls13);
    let nothing = connect(address, &second, "ha2").await.unwrap();
    assert!(matches!(nothing[..], [Update::Synced(_)]), "{nothing:?}");

    // A HAC that is none: the home agent leaves before it has said anything.
    let misled = client(&other, Some(authority.identity("ha1.example.net")), tls13);
    assert!(connect(address, &misled, "ha1").await.is_err());
}

/// Neither without encryption nor by an older version, which has suites without.
#[tokio::test(flavor = "multi_thread")]
async fn sa_16_nothing_without_tls_13() {
    let place = Place::new();
    let authority = Authority::new();
    let (_directory, address) = serve(&place, &authority).await;
    let clear = TcpStream::connect(address).await.unwrap();
    assert!(watch(clear, "ha1").await.is_err());
    let identity = authority.identity("ha1.example.net");
    let old = client(&authority, Some(identity), &rustls::version::TLS12);
    assert!(connect(address, &old, "ha1").await.is_err());
}

/// Certificates that are renewed while home agents are connected: those go on, the next ones meet the
/// new ones and are judged by the new authority.
#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_the_next_home_agents() {
    let place = Place::new();
    let (authority, fresh) = (Authority::new(), Authority::new());
    let (directory, address, tls) = serve_renewable(&place, &authority).await;
    let tls13 = &rustls::version::TLS13;
    let own = |of: &Authority| client(of, Some(of.identity("ha1.example.net")), tls13);
    let name = ServerName::try_from("hac.example.net").unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut open = own(&authority).connect(name, tcp).await.unwrap();
    watch(&mut open, "ha1").await.unwrap();

    tls.set(server_tls(&fresh));
    assert!(connect(address, &own(&authority), "ha1").await.is_err());
    assert!(connect(address, &own(&fresh), "ha1").await.is_ok());
    place.issue(&directory, "n0@example.net").await.unwrap();
    let mut change = [0; 5];
    open.read_exact(&mut change).await.unwrap();
    assert_eq!(change[4], 0x81, "the open one is told of what is issued");
}
