//! What holds for every certificate: versions, cipher suites, tickets.
//!
//! rustls knows no renegotiation, no compression, no PSK or anonymous suite and nothing older than
//! TLS 1.2, so that only the version, the suites, 0-RTT and resumption are left to decide.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};

/// Tickets that a TLS 1.3 client gets: it bootstraps seldom, so that one is enough.
const TICKETS: usize = 1;

/// Settings of the TLS server.
#[derive(Debug, Clone)]
pub struct Settings {
    provider: Arc<CryptoProvider>,
    tls13: bool,
    tickets: bool,
    /// Whether our order of suites rules, not the client's.
    own_order: bool,
}

impl Settings {
    /// TLS 1.2 and, if so wanted, 1.3; `suites`, the most wanted first, where a deployment names
    /// them; `tickets` where clients may resume sessions (RFC 5077).
    #[must_use]
    pub fn new(tls13: bool, suites: Option<Vec<SupportedCipherSuite>>, tickets: bool) -> Self {
        let mut provider = ring::default_provider();
        let own_order = suites.is_some();
        if let Some(suites) = suites {
            provider.cipher_suites = suites;
        }
        Self { provider: Arc::new(provider), tls13, tickets, own_order }
    }

    /// The cipher suites that can be named.
    #[must_use]
    pub fn known_suites() -> &'static [SupportedCipherSuite] {
        ring::ALL_CIPHER_SUITES
    }

    /// The name of a suite in the registry of IANA.
    #[must_use]
    pub fn suite_name(suite: SupportedCipherSuite) -> String {
        suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_")
    }

    /// The cryptography that certificates and handshakes use.
    #[must_use]
    pub fn provider(&self) -> &CryptoProvider {
        &self.provider
    }

    /// What encrypts the tickets of one certificate. Its key is drawn here and changes every six
    /// hours; a ticket lives twice as long at the most.
    ///
    /// # Errors
    /// No randomness.
    pub fn ticketer(&self) -> Result<Option<Arc<dyn ProducesTickets>>, rustls::Error> {
        self.tickets.then(ring::Ticketer::new).transpose()
    }

    /// A server with this certificate and these tickets only.
    ///
    /// # Errors
    /// No suite is left for a version.
    pub fn server_config(
        &self,
        key: CertifiedKey,
        ticketer: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let versions: &[_] = if self.tls13 { &[&TLS13, &TLS12] } else { &[&TLS12] };
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ignore_client_order = self.own_order;
        config.send_tls13_tickets = if ticketer.is_some() { TICKETS } else { 0 };
        if let Some(ticketer) = ticketer {
            config.ticketer = ticketer;
        }
        Ok(Arc::new(config))
    }
}
