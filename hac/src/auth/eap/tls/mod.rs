//! EAP-TLS: TLS between HAC and mobile node inside EAP, both with certificates.
//!
//! Read first: RFC 5216 s.2; RFC 9190 s.2; readings R-10, R-11.
//!
//! | module | what it is |
//! |---|---|
//! | [`server`] | certificates, CAs and CRLs; reading them again |
//! | [`names`] | whose a client certificate is |
//!
//! ```text
//!  Handshake --> Confirming --> success
//!      |             +--------> failure (the peer's alert)
//!      +--> Alerted --> failure
//! ```
//!
//! There is no resumption: each authentication proves the certificate anew, against the CRL of the
//! day.

pub mod names;
pub mod server;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;

use hearth_wire::eap::EapType;
use hearth_wire::eap::tls::{Fragment, Fragments, Reassembly, TLS_EMPTY, TLS_START};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use tracing::debug;
use zeroize::Zeroizing;

pub use server::EapTls;

use self::names::NameKind;
use super::{Identity, Method, MethodStep, Msk, Proof};

/// RFC 5216 s.2.3: MSK and EMSK together.
const KEY_MATERIAL: usize = 128;

/// The protected success indication of TLS 1.3 (RFC 9190 s.2.1.1).
const SUCCESS_INDICATION: [u8; 1] = [0];

/// One run.
pub struct Run {
    connection: ServerConnection,
    /// Octets of the longest Type-Data.
    mtu: usize,
    names: Arc<[NameKind]>,
    incoming: Reassembly,
    outgoing: Fragments,
    stage: Stage,
}

enum Stage {
    /// The peer's next flight is awaited.
    Handshake,
    /// The handshake is complete and ours was the last word: an empty Response confirms it.
    Confirming(Proof),
    /// An alert is out: whatever comes, it is the end.
    Alerted,
    Ended,
}

impl Run {
    /// A run with these settings; no Type-Data is longer than `mtu` octets.
    ///
    /// # Errors
    /// rustls refuses the settings.
    pub fn new(
        server: Arc<ServerConfig>,
        mtu: usize,
        names: Arc<[NameKind]>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: ServerConnection::new(server)?,
            mtu,
            names,
            incoming: Reassembly::default(),
            outgoing: Fragments::new(Vec::new(), mtu),
            stage: Stage::Handshake,
        })
    }

    /// A fragment of the peer's flight.
    fn take(&mut self, fragment: &Fragment<'_>) -> MethodStep {
        match self.incoming.push(fragment) {
            Ok(None) => {
                self.stage = Stage::Handshake;
                MethodStep::Request(TLS_EMPTY.to_vec())
            }
            Ok(Some(flight)) => self.flight(&flight),
            Err(error) => {
                debug!(%error, "EAP-TLS");
                MethodStep::Malformed
            }
        }
    }

    /// The peer's whole flight.
    fn flight(&mut self, mut records: &[u8]) -> MethodStep {
        while !records.is_empty() {
            // rustls takes nothing more behind a close_notify, or with application data unread.
            if !matches!(self.connection.read_tls(&mut records), Ok(1..)) {
                return MethodStep::Malformed;
            }
            match self.connection.process_new_packets() {
                // The peer gave up; there is nothing to answer (RFC 5216 s.2.1.3).
                Err(error @ rustls::Error::AlertReceived(_)) => {
                    debug!(%error, "EAP-TLS");
                    return MethodStep::Failure;
                }
                Err(error) => {
                    debug!(%error, "EAP-TLS");
                    return self.alert();
                }
                Ok(state) if state.peer_has_closed() => return MethodStep::Failure,
                // RFC 9190 s.2.1.1: application data is not used.
                Ok(state) if state.plaintext_bytes_to_read() > 0 => return MethodStep::Malformed,
                Ok(_) => {}
            }
        }
        if !self.connection.is_handshaking() {
            return self.confirm();
        }
        self.stage = Stage::Handshake;
        // Half a flight without M leaves nothing to say.
        self.send().map_or(MethodStep::Malformed, MethodStep::Request)
    }

    /// The alert that tells the peer why (RFC 9190 s.2.1.4: "it MUST send").
    fn alert(&mut self) -> MethodStep {
        self.stage = Stage::Alerted;
        self.send().map_or(MethodStep::Failure, MethodStep::Request)
    }

    /// The peer's certificate and Finished are right.
    fn confirm(&mut self) -> MethodStep {
        let Some(proof) = self.proof() else { return MethodStep::Fault };
        if self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && self.connection.writer().write_all(&SUCCESS_INDICATION).is_err()
        {
            return MethodStep::Fault;
        }
        self.stage = Stage::Confirming(proof);
        self.send().map_or(MethodStep::Fault, MethodStep::Request)
    }

    fn proof(&self) -> Option<Proof> {
        // RFC 5216 s.2.3 for TLS 1.2, where the exporter makes the same as the PRF does with these
        // randoms (RFC 9190 s.2.3); RFC 9190 s.2.3 for TLS 1.3, with the EAP type as context.
        let (label, context): (&[u8], Option<&[u8]>) = match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => (b"client EAP encryption", None),
            ProtocolVersion::TLSv1_3 => (b"EXPORTER_EAP_TLS_Key_Material", Some(&[13])),
            _ => return None,
        };
        let mut material = Zeroizing::new([0; KEY_MATERIAL]);
        self.connection.export_keying_material(material.as_mut_slice(), label, context).ok()?;
        let msk = Msk::take(material.get_mut(..Msk::LEN)?)?;
        let certificate = self.connection.peer_certificates()?.first()?;
        let names = names::of_certificate(certificate, &self.names);
        Some(Proof { identity: Identity::any_of(names), msk: Some(msk) })
    }

    /// The first fragment of what rustls wants sent; `None`: nothing.
    fn send(&mut self) -> Option<Vec<u8>> {
        let mut records = Vec::new();
        while self.connection.wants_write() {
            // Into memory, which takes it all.
            if !matches!(self.connection.write_tls(&mut records), Ok(1..)) {
                break;
            }
        }
        self.outgoing = Fragments::new(records, self.mtu);
        self.outgoing.next()
    }
}

impl Method for Run {
    fn eap_type(&self) -> EapType {
        EapType::TLS
    }

    fn begin(&mut self) -> Vec<u8> {
        TLS_START.to_vec()
    }

    fn respond(&mut self, type_data: &[u8]) -> MethodStep {
        let Ok(fragment) = Fragment::parse(type_data) else { return MethodStep::Malformed };
        if !self.outgoing.is_sent() {
            // RFC 5216 s.2.1.5: the peer acknowledges each fragment, with no data.
            let next = if fragment.is_empty() { self.outgoing.next() } else { None };
            return next.map_or(MethodStep::Malformed, MethodStep::Request);
        }
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Handshake => self.take(&fragment),
            Stage::Confirming(proof) if fragment.is_empty() => MethodStep::Success(proof),
            // The peer has its say on our last flight: an alert, in one fragment or in several.
            Stage::Confirming(_) | Stage::Alerted => MethodStep::Failure,
            Stage::Ended => MethodStep::Malformed,
        }
    }
}
