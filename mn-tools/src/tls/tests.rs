//! Certificates good and bad, made by rcgen, over real handshakes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
    SignatureAlgorithm as KeyKind, string::Ia5String,
};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;

use super::*;

pub(crate) struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    pub(crate) fn new(kind: &'static KeyKind) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        let key = KeyPair::generate_for(kind).unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    pub(crate) fn anchors(&self) -> TrustAnchors {
        let mut store = RootCertStore::empty();
        store.add(self.issuer.der().clone()).unwrap();
        TrustAnchors(Arc::new(store))
    }

    /// A server certificate with these names and this CN, and a server that shows it.
    pub(crate) fn server(
        &self,
        names: Vec<SanType>,
        common_name: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> (CertificateDer<'static>, Arc<ServerConfig>) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        (certificate.der().clone(), Arc::new(config))
    }
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(name).unwrap())
}

const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Handshakes with `server` as a mobile node does and says what came of it.
fn handshake(anchors: &TrustAnchors, name: &str, server: Arc<ServerConfig>) -> Result<(), String> {
    let name = ReferenceName::new(name).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(server).unwrap(), tcp);
        let _ = tls.write_all(b"x").and_then(|()| tls.read_exact(&mut [0]));
    });
    let config = client_config(anchors, &name).unwrap();
    let connection = rustls::ClientConnection::new(config, name.server_name().unwrap()).unwrap();
    let tcp = std::net::TcpStream::connect(address).unwrap();
    let mut tls = rustls::StreamOwned::new(connection, tcp);
    let outcome = tls.read_exact(&mut [0]).map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        explain(inner.expect("a TLS error"), &name)
    });
    drop(tls);
    accept.join().unwrap();
    outcome
}

#[test]
fn dns_name_must_be_equal() {
    let ca = TestCa::new(&PKCS_ECDSA_P256_SHA256);
    for version in BOTH {
        let (_, server) = ca.server(vec![dns("hac.example.net")], "x", &[version]);
        assert_eq!(handshake(&ca.anchors(), "hac.example.net", Arc::clone(&server)), Ok(()));
        assert_eq!(handshake(&ca.anchors(), "HAC.example.net", Arc::clone(&server)), Ok(()));
        let error = handshake(&ca.anchors(), "other.example.net", server).unwrap_err();
        assert_eq!(
            error,
            "the certificate of other.example.net does not name it as subjectAltName"
        );
    }
}

/// webpki would accept this wildcard.
#[test]
fn wildcard_is_refused() {
    let ca = TestCa::new(&PKCS_ECDSA_P256_SHA256);
    for names in [vec![dns("*.example.net")], vec![dns("hac.example.net"), dns("*.example.net")]] {
        let (_, server) = ca.server(names, "x", &BOTH);
        let error = handshake(&ca.anchors(), "hac.example.net", server).unwrap_err();
        assert!(error.contains("wildcard"), "{error}");
    }
}

#[test]
fn common_name_does_not_count() {
    let ca = TestCa::new(&PKCS_ECDSA_P256_SHA256);
    let (_, server) = ca.server(vec![], "hac.example.net", &BOTH);
    let error = handshake(&ca.anchors(), "hac.example.net", server).unwrap_err();
    assert!(error.contains("common name does not count"), "{error}");
    let (_, server) = ca.server(vec![dns("a.example.net")], "hac.example.net", &BOTH);
    assert!(handshake(&ca.anchors(), "hac.example.net", server).is_err());
}

/// an iPAddress answers to a literal address only, a dNSName never does.
#[test]
fn address_counts_for_a_literal_address_only() {
    let ca = TestCa::new(&PKCS_ECDSA_P256_SHA256);
    let address: IpAddr = "2001:db8::7".parse().unwrap();
    let (_, server) = ca.server(vec![SanType::IpAddress(address)], "x", &BOTH);
    assert_eq!(handshake(&ca.anchors(), "2001:db8::7", Arc::clone(&server)), Ok(()));
    assert!(handshake(&ca.anchors(), "2001:db8::8", Arc::clone(&server)).is_err());
    assert!(handshake(&ca.anchors(), "hac.example.net", server).is_err());
    let (_, server) = ca.server(vec![dns("hac.example.net")], "x", &BOTH);
    assert!(handshake(&ca.anchors(), "192.0.2.7", server).is_err());
}

#[test]
fn chain_must_end_at_a_configured_ca() {
    let (ca, other) = (TestCa::new(&PKCS_ECDSA_P256_SHA256), TestCa::new(&PKCS_ECDSA_P256_SHA256));
    let (_, server) = ca.server(vec![dns("hac.example.net")], "x", &BOTH);
    let error = handshake(&other.anchors(), "hac.example.net", server).unwrap_err();
    assert!(error.contains("not signed by a configured CA"), "{error}");
}

/// a certificate signed with Ed25519 has no channel binding.
#[test]
fn ed25519_is_refused() {
    let ca = TestCa::new(&PKCS_ED25519);
    let (certificate, server) = ca.server(vec![dns("hac.example.net")], "x", &BOTH);
    let error = handshake(&ca.anchors(), "hac.example.net", server).unwrap_err();
    assert!(error.contains("no channel binding"), "{error}");
    assert_eq!(server_end_point(&certificate), Err(CertificateFault::NoChannelBinding));
}

/// the certificate's own hash, with nothing in front; `openssl x509 -fingerprint` agrees.
#[test]
fn end_point_is_the_hash_of_the_certificate() {
    for (kind, digest, len) in
        [(&PKCS_ECDSA_P256_SHA256, "-sha256", 32), (&PKCS_ECDSA_P384_SHA384, "-sha384", 48)]
    {
        let (certificate, _) = TestCa::new(kind).server(vec![dns("a.example")], "x", &BOTH);
        let binding = server_end_point(&certificate).unwrap();
        assert_eq!(binding.len(), len);
        let mut child = std::process::Command::new("openssl")
            .args(["x509", "-inform", "DER", "-noout", "-fingerprint", digest])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        child.stdin.take().unwrap().write_all(&certificate).unwrap();
        let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let fingerprint = output.trim().split_once('=').unwrap().1.replace(':', "");
        assert_eq!(hearth_scapy::hex(&binding), fingerprint.to_lowercase());
    }
}

#[test]
fn a_reference_name_is_a_host_and_no_wildcard() {
    assert_eq!(
        ReferenceName::new("192.0.2.1"),
        Some(ReferenceName::Address([192, 0, 2, 1].into()))
    );
    assert!(matches!(ReferenceName::new("hac.example.net"), Some(ReferenceName::Dns(_))));
    for wrong in ["", "*.example.net", "a b", "https://hac.example.net", "hac.example.net:7873"] {
        assert_eq!(ReferenceName::new(wrong), None, "{wrong}");
    }
}
