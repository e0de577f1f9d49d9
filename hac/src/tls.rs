//! The TLS server's settings.
//!
//! Read first: RFC 6618 s.5.8, 9.2; readings.
//!
//! rustls knows no renegotiation, no compression, no PSK or anonymous suite and nothing older than
//! TLS 1.2, so that only the version, 0-RTT and resumption are left to decide here. Tickets are
//! allowed: their key is drawn when the process starts and the certificate is fixed until it ends,
//! so a ticket never outlives the certificate that the channel binding is made of.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Settings of a server with this certificate chain (end entity first) and key.
///
/// # Errors
/// rustls refuses the key, or it is not the certificate's.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    tls13: bool,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions: &[_] = if tls13 { &[&TLS13, &TLS12] } else { &[&TLS12] };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new()?;
    Ok(Arc::new(config))
}
