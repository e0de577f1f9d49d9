//! EAP-TLS 1.2 and 1.3.
//!
//! Read first: RFC 5216 s.2; RFC 9190 s.2.

use std::sync::Arc;

use hearth_wire::eap::tls::TLS_EMPTY;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::carrier::{Carrier, Heard};
use super::{EapFault, Method, Request, Step};

/// The protected success indication of TLS 1.3 (RFC 9190 s.2.1.1).
const SUCCESS_INDICATION: [u8; 1] = [0];
/// RFC 5216 s.2.3.
const LABEL: &[u8] = b"client EAP encryption";
/// RFC 9190 s.2.3.
const EAP_TYPE: u8 = 13;

/// What EAP-TLS needs.
pub struct TlsCredentials {
    /// What EAP-Response/Identity says: who we are is in the certificate.
    pub identity: String,
    /// Our certificate, and the authorities that the server's is to be under.
    pub config: Arc<ClientConfig>,
    /// What the server's certificate must say.
    pub server_name: ServerName<'static>,
    /// Octets of the longest Type-Data.
    pub mtu: usize,
}

/// One run.
pub(super) struct EapTls {
    carrier: Carrier,
}

impl EapTls {
    pub(super) fn new(credentials: &TlsCredentials) -> Result<Self, EapFault> {
        let TlsCredentials { config, server_name, mtu, .. } = credentials;
        Ok(Self { carrier: Carrier::new(Arc::clone(config), server_name.clone(), *mtu)? })
    }

    /// The handshake is complete.
    fn complete(&self, inside: &[u8]) -> Result<Step, EapFault> {
        let acknowledgement = TLS_EMPTY.to_vec();
        match (self.carrier.is_tls13(), inside) {
            // TLS 1.2: the server's Finished was its last word. TLS 1.3: this octet is.
            (false, []) => {}
            (true, inside) if inside == SUCCESS_INDICATION => {}
            // Tickets, which nothing is resumed with.
            (true, []) => return Ok(Step::Response(acknowledgement)),
            _ => return Err(EapFault::Malformed),
        }
        Ok(Step::Last(acknowledgement, self.carrier.msk(LABEL, EAP_TYPE)?))
    }
}

impl Method for EapTls {
    fn request(&mut self, request: Request<'_>) -> Result<Step, EapFault> {
        match self.carrier.hear(request.data)? {
            Heard::Say(data) => Ok(Step::Response(data)),
            Heard::GiveUp(data, fault) => Ok(Step::GiveUp(data, EapFault::Tls(fault))),
            Heard::Flight(inside) => self.complete(&inside),
        }
    }
}
