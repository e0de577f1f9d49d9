//! EAP-TLS against rustls's client, in memory.

use std::fs;
use std::path::Path;

use hearth_wire::MobileNodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::server::{Files, LoadError, Policy};
use super::*;

const NOW: u64 = 1_800_000_000;
const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A CA, and what it has signed, in a folder.
struct Pki {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let name = folder.path().file_name().unwrap().to_str().unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let pki = Self { folder, issuer: Issuer::new(params, key) };
        pki.sign("server", |params| {
            params.subject_alt_names = vec![SanType::DnsName("hac".try_into().unwrap())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        pki.sign("client", |_| ());
        pki
    }

    /// A certificate of `mn1@example.net`, unless `change` says something else.
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let mail = "mn1@example.net".try_into().unwrap();
        params.subject_alt_names = vec![SanType::Rfc822Name(mail)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(name.as_bytes().to_vec()));
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A CRL that is valid until the year `until` and revokes these.
    fn revoke(&self, names: &[&str], until: i32) {
        let revoked = |name: &&str| RevokedCertParams {
            serial_number: SerialNumber::from(name.as_bytes().to_vec()),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: names.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).unwrap();
        fs::write(self.path("crl.pem"), list.pem().unwrap()).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> Files {
        let crls = Some(self.path("crl.pem")).filter(|path| path.exists());
        Files {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: self.path("ca.pem"),
            crls: crls.into_iter().collect(),
        }
    }

    fn server(&self, mtu: usize) -> EapTls {
        EapTls::load(self.files(), policy(mtu), NOW).unwrap()
    }

    /// The mobile node with this certificate, or with none.
    fn peer(&self, version: &'static rustls::SupportedProtocolVersion, name: &str) -> Peer {
        let mut roots = RootCertStore::empty();
        roots.add(pem(&self.path("ca.pem"))).unwrap();
        Peer::new(version, roots, self.credentials(name))
    }

    fn credentials(&self, name: &str) -> Option<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let path = self.path(&format!("{name}.key"));
        let key = || PrivateKeyDer::from_pem_file(&path).unwrap();
        path.exists().then(|| (pem(&self.path(&format!("{name}.pem"))), key()))
    }
}

fn pem(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

fn policy(mtu: usize) -> Policy {
    Policy { tls12: true, tls13: true, mtu, names: Arc::new([NameKind::Email]) }
}

/// The mobile node's side.
struct Peer {
    tls: ClientConnection,
    mtu: usize,
    incoming: Reassembly,
    outgoing: Fragments,
    failed: Option<Error>,
}

impl Peer {
    fn new(
        version: &'static rustls::SupportedProtocolVersion,
        roots: RootCertStore,
        credentials: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .unwrap();
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match credentials {
            Some((certificate, key)) => {
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from("hac").unwrap();
        Self {
            tls: ClientConnection::new(Arc::new(config), name).unwrap(),
            mtu: 4096,
            incoming: Reassembly::default(),
            outgoing: Fragments::new(Vec::new(), 4096),
            failed: None,
        }
    }

    /// The Response to a Request.
    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let fragment = Fragment::parse(request).unwrap();
        assert!(fragment.data.len() < 4096);
        if !self.outgoing.is_sent() {
            assert!(fragment.is_empty(), "an acknowledgement");
            return self.outgoing.next().unwrap();
        }
        if !fragment.start {
            let Some(flight) = self.incoming.push(&fragment).unwrap() else {
                return TLS_EMPTY.to_vec();
            };
            let mut records = &flight[..];
            while !records.is_empty() {
                self.tls.read_tls(&mut records).unwrap();
                if let Err(error) = self.tls.process_new_packets() {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).unwrap();
        }
        self.outgoing = Fragments::new(records, self.mtu);
        self.outgoing.next().unwrap_or_else(|| TLS_EMPTY.to_vec())
    }

    fn msk(&self, version: &rustls::SupportedProtocolVersion) -> Vec<u8> {
        let (label, context): (&[u8], Option<&[u8]>) = if version.version == TLS12.version {
            (b"client EAP encryption", None)
        } else {
            (b"EXPORTER_EAP_TLS_Key_Material", Some(&[0x0d]))
        };
        self.tls.export_keying_material(vec![0; 128], label, context).unwrap()[..64].to_vec()
    }
}

/// What a conversation ends in, the Type-Data of all Requests, and of all Responses.
fn converse(run: &mut Run, peer: &mut Peer) -> (MethodStep, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut requests, mut responses) = (vec![run.begin()], Vec::new());
    loop {
        responses.push(peer.answer(requests.last().unwrap()));
        match run.respond(responses.last().unwrap()) {
            MethodStep::Request(request) => requests.push(request),
            end => return (end, requests, responses),
        }
    }
}

fn proof(step: MethodStep) -> Proof {
    let MethodStep::Success(proof) = step else { panic!("{step:?}") };
    proof
}

fn proves(proof: &Proof, mn_id: &str) -> bool {
    proof.identity.proves(&MobileNodeId::new(mn_id).unwrap())
}

/// RFC 5216 s.2.3, RFC 9190 s.2.3; R-11.
#[test]
fn both_ends_derive_the_same_msk_and_the_certificate_names_the_peer() {
    let pki = Pki::new();
    for version in BOTH {
        let mut peer = pki.peer(version, "client");
        let (end, requests, _) = converse(&mut pki.server(4096).run().unwrap(), &mut peer);
        let proof = proof(end);
        assert!(proof.msk.as_ref().unwrap().is(&peer.msk(version)), "{version:?}");
        assert!(proves(&proof, "mn1@example.net") && !proves(&proof, "mn2@example.net"));
        // Start; the server's flight; and Finished, or the success indication.
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[0], [0x20]);
    }
}

/// RFC 9190 s.2.1.1: the protected success indication is one octet 0x00, and it comes last.
#[test]
fn tls_1_3_indicates_success() {
    use std::io::Read;
    let pki = Pki::new();
    let mut peer = pki.peer(&TLS13, "client");
    proof(converse(&mut pki.server(4096).run().unwrap(), &mut peer).0);
    let mut data = [0xff; 2];
    assert_eq!(peer.tls.reader().read(&mut data).unwrap(), 1);
    assert_eq!(data[0], 0);
}

/// EAP-11: fragments both ways.
#[test]
fn flights_travel_in_small_fragments() {
    let pki = Pki::new();
    for version in BOTH {
        let mut peer = pki.peer(version, "client");
        peer.mtu = 100;
        let (end, requests, responses) = converse(&mut pki.server(64).run().unwrap(), &mut peer);
        assert!(proof(end).msk.unwrap().is(&peer.msk(version)));
        let longest = |packets: &[Vec<u8>]| packets.iter().map(Vec::len).max();
        assert_eq!((longest(&requests), longest(&responses)), (Some(64), Some(100)));
        let fragments = |packets: &[Vec<u8>]| packets.iter().filter(|one| one.len() > 1).count();
        assert!(fragments(&requests) > 10 && fragments(&responses) > 5);
    }
}

/// The alert reaches the peer before EAP-Failure does (RFC 5216 s.2.1.3, RFC 9190 s.2.1.4).
fn refused(pki: &Pki, name: &str, alert: AlertDescription) {
    let server = pki.server(4096);
    for version in BOTH {
        let mut peer = pki.peer(version, name);
        let (end, ..) = converse(&mut server.run().unwrap(), &mut peer);
        assert!(matches!(end, MethodStep::Failure), "{name}: {end:?}");
        assert_eq!(peer.failed, Some(Error::AlertReceived(alert)), "{name} {version:?}");
    }
}

/// EAP-11: an expired certificate fails, as does one that is not for clients, or none.
#[test]
fn certificates_that_do_not_hold_are_refused_with_an_alert() {
    let pki = Pki::new();
    pki.sign("expired", |params| params.not_after = date_time_ymd(2020, 1, 1));
    pki.sign("early", |params| params.not_before = date_time_ymd(2200, 1, 1));
    refused(&pki, "expired", AlertDescription::CertificateExpired);
    refused(&pki, "early", AlertDescription::CertificateExpired);
    refused(&pki, "server", AlertDescription::UnsupportedCertificate);
    refused(&pki, "nobody", AlertDescription::CertificateRequired);
    let other = Pki::new();
    fs::copy(other.path("client.pem"), pki.path("foreign.pem")).unwrap();
    fs::copy(other.path("client.key"), pki.path("foreign.key")).unwrap();
    refused(&pki, "foreign", AlertDescription::UnknownCA);
}

#[test]
fn a_revoked_certificate_is_refused_and_an_expired_list_revokes_all() {
    let pki = Pki::new();
    pki.sign("lost", |_| ());
    pki.revoke(&["lost"], 2200);
    refused(&pki, "lost", AlertDescription::CertificateRevoked);
    let accepted = |pki: &Pki| {
        let run = &mut pki.server(4096).run().unwrap();
        matches!(converse(run, &mut pki.peer(&TLS13, "client")).0, MethodStep::Success(_))
    };
    assert!(accepted(&pki));
    pki.revoke(&["lost"], 2021);
    assert!(!accepted(&pki));
}

/// A peer that does not trust the server says so, and that is the end.
#[test]
fn an_alert_of_the_peer_ends_it() {
    let (pki, other) = (Pki::new(), Pki::new());
    for version in BOTH {
        let mut peer = other.peer(version, "client");
        let (end, ..) = converse(&mut pki.server(4096).run().unwrap(), &mut peer);
        assert!(matches!(end, MethodStep::Failure), "{end:?}");
        assert!(matches!(peer.failed, Some(Error::InvalidCertificate(_))));
    }
}

/// what EAP-TLS would discard ends the conversation, at every step of it.
#[test]
fn what_comes_out_of_turn_is_malformed() {
    let pki = Pki::new();
    let server = pki.server(64);
    let hello = pki.peer(&TLS13, "client").answer(&TLS_START);
    let half = [&[0][..], &hello[1..60]].concat();
    for response in [
        &[][..],                // no flags
        &[0],                   // nothing where a ClientHello has to be
        &half,                  // a part of it without M
        &[0x80, 0, 0],          // a length that is cut off
        &[0x40, 1],             // the first fragment without a length
        &[0xc0, 1, 0, 0, 1, 1], // too long
        &[0xc0, 0, 0, 1, 0],    // a fragment of nothing
    ] {
        let mut run = server.run().unwrap();
        run.begin();
        let step = run.respond(response);
        assert!(matches!(step, MethodStep::Malformed), "{response:02x?}: {step:?}");
    }
    // The server's flight is not sent yet: only an acknowledgement may come.
    let mut run = server.run().unwrap();
    run.begin();
    assert!(matches!(run.respond(&hello), MethodStep::Request(_)));
    assert!(matches!(run.respond(&TLS_EMPTY), MethodStep::Request(_)));
    assert!(matches!(run.respond(&hello), MethodStep::Malformed));
}

#[test]
fn what_is_no_tls_is_answered_with_an_alert() {
    let pki = Pki::new();
    let mut run = pki.server(4096).run().unwrap();
    run.begin();
    let MethodStep::Request(alert) = run.respond(b"\x00GET / HTTP/1.1\r\n") else { panic!() };
    // ContentType alert, level fatal.
    assert_eq!((alert[1], alert[6]), (21, 2));
    assert!(matches!(run.respond(&TLS_EMPTY), MethodStep::Failure));
    assert!(matches!(run.respond(&TLS_EMPTY), MethodStep::Malformed));
}

/// RFC 9190 s.2.1.1: application data is not used in EAP-TLS; and data behind the end is a failure.
#[test]
fn application_data_of_the_peer_is_refused() {
    let pki = Pki::new();
    for version in BOTH {
        let (mut run, mut peer) = (pki.server(4096).run().unwrap(), pki.peer(version, "client"));
        let mut request = run.begin();
        for _ in 0..2 {
            let response = peer.answer(&request);
            let MethodStep::Request(next) = run.respond(&response) else { panic!() };
            request = next;
        }
        peer.answer(&request);
        peer.tls.writer().write_all(b"data").unwrap();
        let response = peer.answer(&TLS_START);
        assert!(response.len() > 1);
        assert!(matches!(run.respond(&response), MethodStep::Failure));
    }
}

/// One wrong octet anywhere in what the peer says: nothing panics, and who is authenticated all the
/// same (the version in a record's header counts for nothing) has the same MSK.
#[test]
fn a_wrong_octet_authenticates_nobody_else() {
    let pki = Pki::new();
    let server = pki.server(4096);
    let mut refused = 0;
    for version in BOTH {
        for (turn, position) in
            (0..2).flat_map(|turn| (1..900).step_by(29).map(move |at| (turn, at)))
        {
            let (mut run, mut peer) = (server.run().unwrap(), pki.peer(version, "client"));
            let mut request = run.begin();
            for now in 0.. {
                let mut response = peer.answer(&request);
                if let Some(octet) = response.get_mut(position).filter(|_| now == turn) {
                    *octet ^= 1;
                }
                match run.respond(&response) {
                    MethodStep::Request(next) => request = next,
                    MethodStep::Success(proof) => {
                        assert!(proves(&proof, "mn1@example.net"));
                        assert!(proof.msk.unwrap().is(&peer.msk(version)));
                        break;
                    }
                    _ => {
                        refused += 1;
                        break;
                    }
                }
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn only_the_versions_that_are_named_are_spoken() {
    let pki = Pki::new();
    let only12 = Policy { tls13: false, ..policy(4096) };
    let server = EapTls::load(pki.files(), only12, NOW).unwrap();
    let end = |version| converse(&mut server.run().unwrap(), &mut pki.peer(version, "client")).0;
    proof(end(&TLS12));
    assert!(matches!(end(&TLS13), MethodStep::Failure));
}

#[test]
fn files_are_read_again() {
    let pki = Pki::new();
    pki.revoke(&[], 2200);
    let server = pki.server(4096);
    let accepted = || {
        let run = &mut server.run().unwrap();
        matches!(converse(run, &mut pki.peer(&TLS13, "client")).0, MethodStep::Success(_))
    };
    assert!(accepted());
    // What can't be read leaves what was.
    fs::write(pki.path("crl.pem"), "-----BEGIN X509 CRL-----\n").unwrap();
    server.reload(true, NOW);
    assert!(accepted());
    pki.revoke(&["client"], 2200);
    server.reload(false, NOW);
    assert!(!accepted());
}

#[test]
fn files_that_can_not_serve_are_named() {
    let pki = Pki::new();
    let load = |change: &dyn Fn(&mut Files)| {
        let mut files = pki.files();
        change(&mut files);
        EapTls::load(files, policy(4096), NOW).err()
    };
    let gone = pki.path("gone.pem");
    assert!(load(&|_| ()).is_none());
    let error = load(&|files| files.certificate = gone.clone());
    assert!(matches!(error, Some(LoadError::Certificate(_))));
    // Not a server's, and without a name that a server can have.
    let error = load(&|files| files.certificate = pki.path("client.pem"));
    assert!(matches!(error, Some(LoadError::Certificate(_))));
    // Another certificate's key; no key.
    for name in ["client.key", "ca.pem"] {
        let error = load(&|files| files.key = pki.path(name));
        assert!(matches!(error, Some(LoadError::Key(_))), "{name}");
    }
    for name in ["server.key", "gone.pem"] {
        let error = load(&|files| files.client_ca = pki.path(name));
        assert!(matches!(error, Some(LoadError::ClientCa(_))), "{name}");
        let error = load(&|files| files.crls = vec![pki.path(name)]);
        assert!(matches!(error, Some(LoadError::Crl(0, _))), "{name}");
    }
}
