//! The TLS server: certificates side by side, names, staples, suites, and changes while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod peer;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hearth_hac::counters::Counter;
use hearth_hac::daemon::system_clock;
use hearth_hac::tls::ocsp::{self, StapleError};
use hearth_hac::tls::{Files, Server, Settings, UnknownName};
use peer::{Client, ECDSA, NAME, RSA, Running, connector, connector_with, identity, openssl};
use rustls::SignatureAlgorithm;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Moves `new.pem` and `new.key` to where the HAC reads them.
fn swap(folder: &Path) {
    fs::rename(folder.join("new.key"), folder.join("hac.key")).unwrap();
    fs::rename(folder.join("new.pem"), folder.join("hac.pem")).unwrap();
}

/// HAC-26: ECDSA and RSA side by side. Each client meets the certificate that it can
/// verify, and the channel binding is that of the certificate which it met.
#[tokio::test(flavor = "multi_thread")]
async fn hac_26_the_client_gets_a_certificate_that_it_can_verify() {
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path(), "hac", NAME, ECDSA);
    identity(folder.path(), "rsa", NAME, RSA);
    let tls = "certificate: hac.pem, key: hac.key, \
               more_certificates: [{certificate: rsa.pem, key: rsa.key}]";
    let running = Running::start(folder, tls, "");
    for (options, kind) in [
        ("-tls1_3", "ECDSA"),
        ("-tls1_3 -sigalgs rsa_pss_rsae_sha256", "RSA-PSS"),
        ("-tls1_3 -sigalgs ecdsa_secp256r1_sha256", "ECDSA"),
        ("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "RSA-PSS"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"),
        ("-tls1_2 -sigalgs RSA+SHA256", "RSA"),
    ] {
        let (ok, text) = running.s_client(&format!("-servername {NAME} {options}")).await;
        let expected = format!("Peer signature type: {kind}\n");
        assert!(ok && text.contains(&expected), "{options}: {text}");
    }
    // Who trusts one of them alone still bootstraps, each over its own channel binding.
    assert_eq!(
        Client::connect(&connector(&[running.path("hac.pem")]), running.address())
            .await
            .bootstrap()
            .await,
        200
    );
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        suite.tls13().is_none() && suite.usable_for_signature_algorithm(SignatureAlgorithm::RSA)
    });
    let connector = connector_with(provider, &[running.path("rsa.pem")]);
    assert_eq!(Client::connect(&connector, running.address()).await.bootstrap().await, 200);
}

/// HAC-41, RFC 6066 s.3: each name has its certificate; an unknown name gets the first, or an alert.
#[tokio::test(flavor = "multi_thread")]
async fn names_have_certificates_of_their_own() {
    for (unknown, refused) in [("default", false), ("refuse", true)] {
        let folder = tempfile::tempdir().unwrap();
        identity(folder.path(), "hac", NAME, ECDSA);
        identity(folder.path(), "other", "other.example.net", ECDSA);
        let tls = format!(
            "certificate: hac.pem, key: hac.key, unknown_name: {unknown}, \
             more_certificates: [{{certificate: other.pem, key: other.key}}]"
        );
        let running = Running::start(folder, &tls, "");
        let shown = |name: &str, file: &str| {
            let options = format!(
                "-CAfile {file} -verify_return_error {}",
                if name.is_empty() {
                    "-noservername".into()
                } else {
                    format!("-servername {name}")
                }
            );
            let running = &running;
            async move { running.s_client(&options).await }
        };
        assert!(shown(NAME, "hac.pem").await.0);
        assert!(shown("OTHER.example.net", "other.pem").await.0);
        assert!(shown("", "hac.pem").await.0, "no name is the first one's");
        let (ok, text) = shown("third.example.net", "hac.pem").await;
        assert_eq!(ok, !refused, "{text}");
        assert_eq!(text.contains("unrecognized name"), refused, "{text}");
        assert_eq!(running.hac.counters().get(Counter::HandshakesFailed), u64::from(refused));
    }
}

/// HAC-40, R-2: a ticket outlives a reload, but not the certificate that it was given under.
#[tokio::test(flavor = "multi_thread")]
async fn hac_40_tickets_end_with_their_certificate() {
    let running = Running::plain("limits: {request_timeout: 1}");
    let resume = |version| {
        let options = format!("-{version} -sess_in {version}");
        let running = &running;
        async move { running.s_client(&options).await.1 }
    };
    let versions = ["tls1_2", "tls1_3"];
    for version in versions {
        // The server's close, after its wait for a request, is what ends these.
        let (_, text) = running.s_client(&format!("-{version} -sess_out {version} -ign_eof")).await;
        assert!(text.contains("New, "), "{text}");
        assert!(resume(version).await.contains("Reused, "));
    }
    let _ = running.hac.reload().await;
    for version in versions {
        assert!(resume(version).await.contains("Reused, "), "the certificate is the same");
    }
    identity(running.folder.path(), "new", NAME, ECDSA);
    swap(running.folder.path());
    let _ = running.hac.reload().await;
    for version in versions {
        let text = resume(version).await;
        assert!(text.contains("New, ") && !text.contains("Reused, "), "{text}");
    }
}

/// Tickets can be switched off.
#[tokio::test(flavor = "multi_thread")]
async fn without_tickets_nothing_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path(), "hac", NAME, ECDSA);
    let tls = "certificate: hac.pem, key: hac.key, tickets: false";
    let running = Running::start(folder, tls, "limits: {request_timeout: 1}");
    for version in ["tls1_2", "tls1_3"] {
        running.s_client(&format!("-{version} -sess_out {version} -ign_eof")).await;
        if running.path(version).exists() {
            let (_, text) = running.s_client(&format!("-{version} -sess_in {version}")).await;
            assert!(!text.contains("Reused, "), "{text}");
        }
    }
}

/// A certificate is swapped again and again while mobile nodes bootstrap: no session fails, also
/// those that began before a swap and end after it.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_swapped_under_load() {
    let running = Arc::new(Running::plain(""));
    let folder = running.folder.path().to_owned();
    let mut trusted = vec![running.path("hac0.pem")];
    fs::copy(running.path("hac.pem"), &trusted[0]).unwrap();
    for number in 1..=6 {
        let file = format!("hac{number}");
        identity(&folder, &file, NAME, if number % 2 == 0 { ECDSA } else { RSA });
        trusted.push(folder.join(format!("{file}.pem")));
    }
    let connector = connector(&trusted);
    let mut early = Client::connect(&connector, running.address()).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            let (running, connector) = (running.clone(), connector.clone());
            let (stop, done) = (stop.clone(), done.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Client::connect(&connector, running.address()).await;
                    assert_eq!(client.bootstrap().await, 200);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 1..=6 {
        for kind in ["pem", "key"] {
            fs::copy(
                folder.join(format!("hac{number}.{kind}")),
                folder.join(format!("new.{kind}")),
            )
            .unwrap();
        }
        swap(&folder);
        let _ = running.hac.reload().await;
        let before = done.load(Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < before + 8 {
            tokio::task::yield_now().await;
        }
        let met = Client::connect(&connector, running.address()).await;
        let certificates = met.stream.get_ref().1.peer_certificates().unwrap();
        let expected = CertificateDer::from_pem_file(running.path("hac.pem")).unwrap();
        assert_eq!(certificates[0], expected, "swap {number}");
    }
    assert_eq!(early.bootstrap().await, 200, "it has met the first of them");
    stop.store(true, Ordering::Relaxed);
    for node in nodes {
        node.await.unwrap();
    }
    assert_eq!(running.hac.counters().get(Counter::HandshakesFailed), 0);
}

/// What can't serve leaves in place what was there: a key that is another's, an expired certificate,
/// a wildcard.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_certificate_changes_nothing() {
    let running = Running::plain("");
    let folder = running.folder.path().to_owned();
    fs::copy(folder.join("hac.pem"), folder.join("old.pem")).unwrap();
    let connector = connector(&[folder.join("old.pem")]);
    identity(&folder, "new", NAME, ECDSA);
    fs::copy(folder.join("new.pem"), folder.join("hac.pem")).unwrap();
    let _ = running.hac.reload().await;
    assert_eq!(Client::connect(&connector, running.address()).await.bootstrap().await, 200);
    identity(&folder, "new", "*.example.net", ECDSA);
    swap(&folder);
    let _ = running.hac.reload().await;
    fs::write(folder.join("hac.pem"), "no certificate").unwrap();
    let _ = running.hac.reload().await;
    assert_eq!(Client::connect(&connector, running.address()).await.bootstrap().await, 200);
    // Then one that is right.
    identity(&folder, "new", NAME, ECDSA);
    swap(&folder);
    let _ = running.hac.reload().await;
    let (ok, _) = running.s_client("-CAfile hac.pem -verify_return_error").await;
    assert!(ok);
}

/// Suites are those that YAML names, in its order.
#[tokio::test(flavor = "multi_thread")]
async fn suites_by_policy() {
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path(), "hac", NAME, ECDSA);
    let tls = "certificate: hac.pem, key: hac.key, suites: [TLS_CHACHA20_POLY1305_SHA256, \
               TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]";
    let running = Running::start(folder, tls, "");
    for (options, suite) in [
        (
            "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256",
            Some("TLS_CHACHA20_POLY1305_SHA256"),
        ),
        ("-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384", None),
        ("-tls1_2", Some("ECDHE-ECDSA-AES256-GCM-SHA384")),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", None),
    ] {
        let (ok, text) = running.s_client(options).await;
        assert_eq!(ok, suite.is_some(), "{options}: {text}");
        if let Some(suite) = suite {
            assert!(text.contains(&format!("Cipher is {suite}")), "{text}");
        }
    }
}

/// A CA with an OCSP responder, and a server certificate `hac` of it, in a folder.
fn authority() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &str| {
        let (ok, text) = openssl(folder.path(), arguments);
        assert!(ok, "{arguments}: {text}");
    };
    run(
        "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout ca.key -out ca.pem \
         -days 2 -subj /CN=ca -addext keyUsage=keyCertSign,digitalSignature",
    );
    let extensions = format!("subjectAltName=DNS:{NAME}\nbasicConstraints=critical,CA:FALSE\n");
    fs::write(folder.path().join("extensions"), extensions).unwrap();
    for (name, serial) in [("hac", "0x8001"), ("other", "0x8002")] {
        run(&format!(
            "req -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout {name}.key \
             -out {name}.csr -subj /CN={name}"
        ));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -days 2 \
             -extfile extensions -out {name}.pem"
        ));
    }
    fs::write(
        folder.path().join("index"),
        "V\t400101000000Z\t\t8001\tunknown\t/CN=hac\nR\t400101000000Z\t260101000000Z\t8002\tunknown\t/CN=other\n",
    )
    .unwrap();
    fs::copy(folder.path().join("hac.pem"), folder.path().join("alone.pem")).unwrap();
    let chain = fs::read_to_string(folder.path().join("hac.pem")).unwrap()
        + &fs::read_to_string(folder.path().join("ca.pem")).unwrap();
    fs::write(folder.path().join("hac.pem"), chain).unwrap();
    folder
}

/// Has openssl's responder answer about `certificate`.
fn respond(folder: &Path, certificate: &str, more: &str, output: &str) {
    let (ok, text) = openssl(
        folder,
        &format!("ocsp -issuer ca.pem -cert {certificate} -no_nonce -reqout request"),
    );
    assert!(ok, "{text}");
    let (ok, text) = openssl(
        folder,
        &format!(
            "ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -reqin request \
             -respout {output} {more}"
        ),
    );
    assert!(ok, "{text}");
}

/// What is stapled is what openssl's client gets to see; what is expired, another's, revoked or no
/// response at all is not, and is when a good one has come.
#[tokio::test(flavor = "multi_thread")]
async fn ocsp_responses_are_stapled_while_they_hold() {
    let folder = authority();
    let at = folder.path().to_owned();
    respond(&at, "alone.pem", "-ndays 1", "good");
    respond(&at, "other.pem", "-ndays 1", "foreign");
    respond(&at, "alone.pem", "", "endless");
    fs::copy(at.join("good"), at.join("hac.ocsp")).unwrap();
    let tls = "certificate: hac.pem, key: hac.key, ocsp: hac.ocsp";
    let running = Running::start(folder, tls, "");
    let stapled = || async {
        let mut found = Vec::new();
        for version in ["-tls1_2", "-tls1_3"] {
            let options = format!("{version} -status -CAfile ca.pem -verify_return_error");
            let (ok, text) = running.s_client(&options).await;
            assert!(ok, "{text}");
            found.push(text.contains("Cert Status: good"));
            assert_ne!(found.last(), Some(&text.contains("no response sent")), "{text}");
        }
        assert_eq!(found[0], found[1]);
        found[0]
    };
    assert!(stapled().await);
    for (file, expected) in
        [("foreign", false), ("good", true), ("endless", false), ("ca.pem", false)]
    {
        fs::copy(at.join(file), at.join("hac.ocsp")).unwrap();
        let _ = running.hac.reload().await;
        assert_eq!(stapled().await, expected, "{file}");
    }
    fs::remove_file(at.join("hac.ocsp")).unwrap();
    let _ = running.hac.reload().await;
    assert!(!stapled().await);
}

/// Nobody has to say that a certificate was renewed, or that what is stapled has expired.
#[test]
fn what_changes_is_read_again_and_nothing_else() {
    let folder = authority();
    let at = folder.path();
    respond(at, "alone.pem", "-ndays 1", "good");
    let files = Files {
        certificate: at.join("hac.pem"),
        key: at.join("hac.key"),
        ocsp: Some(at.join("good")),
    };
    let now = system_clock()();
    let settings = Settings::new(true, None, true);
    let server = Server::load(vec![files], settings, UnknownName::Default, now).unwrap();
    let identity = || server.identities()[0].clone();
    let first = identity();
    let until = first.staple().unwrap().unwrap();
    server.reload(false, now);
    assert!(Arc::ptr_eq(&first, &identity()), "nothing has changed");
    server.reload(false, until);
    assert_eq!(identity().staple(), Some(Err(StapleError::Expired)));
    assert_eq!(identity().certificate(), first.certificate());
    peer::identity(at, "new", NAME, ECDSA);
    swap(at);
    server.reload(false, now);
    let second = identity();
    assert_ne!(second.certificate(), first.certificate());
    assert_eq!(second.staple(), Some(Err(StapleError::Foreign)));
    // Half of a renewal: the key is yet to come.
    peer::identity(at, "new", NAME, ECDSA);
    fs::rename(at.join("new.pem"), at.join("hac.pem")).unwrap();
    server.reload(false, now);
    assert!(Arc::ptr_eq(&second, &identity()));
    fs::rename(at.join("new.key"), at.join("hac.key")).unwrap();
    server.reload(false, now);
    assert_ne!(identity().certificate(), second.certificate());
}

/// The checks one by one, with time and issuer as parameters, on responses of openssl's.
#[test]
fn an_ocsp_response_is_judged() {
    let folder = authority();
    let at = folder.path();
    respond(at, "alone.pem", "-ndays 1", "good");
    respond(at, "other.pem", "-ndays 1", "revoked");
    let (good, revoked) =
        (fs::read(at.join("good")).unwrap(), fs::read(at.join("revoked")).unwrap());
    let der = |name: &str| CertificateDer::from_pem_file(at.join(name)).unwrap();
    let (hac, other, ca) = (der("alone.pem"), der("other.pem"), der("ca.pem"));
    let now = system_clock()();
    let until = ocsp::check(&good, &hac, Some(&ca), now).unwrap();
    assert!((now + 86_000..=now + 86_400).contains(&until));
    assert_eq!(ocsp::check(&good, &hac, None, now), Ok(until));
    assert_eq!(ocsp::check(&good, &hac, Some(&ca), until - 1), Ok(until));
    assert_eq!(ocsp::check(&good, &hac, Some(&ca), until), Err(StapleError::Expired));
    assert_eq!(ocsp::check(&good, &hac, Some(&ca), now - 3600), Err(StapleError::NotYetValid));
    assert_eq!(ocsp::check(&good, &other, Some(&ca), now), Err(StapleError::Foreign));
    // The same name, the same number, another CA's key.
    assert_eq!(ocsp::check(&good, &hac, Some(&other), now), Err(StapleError::Foreign));
    assert_eq!(ocsp::check(&revoked, &other, Some(&ca), now), Err(StapleError::NotGood));
    for length in 0..good.len() {
        assert!(ocsp::check(&good[..length], &hac, Some(&ca), now).is_err(), "{length}");
    }
    // tryLater: a response without content.
    let later = [0x30, 3, 0x0a, 1, 3];
    assert_eq!(ocsp::check(&later, &hac, Some(&ca), now), Err(StapleError::Malformed));
}
