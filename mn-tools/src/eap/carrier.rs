//! TLS inside EAP, the peer's end: what EAP-TLS and EAP-TTLS have in common.
//!
//! Read first: RFC 5216 s.2.1.1 to 2.1.5; RFC 5281 s.7, 9.2; RFC 9190 s.2.1.
//!
//! ```text
//!  Start -------> ClientHello, in fragments
//!  fragment ----> acknowledgement
//!  flight ------> what rustls answers; or the plaintext, for the method to judge
//!  alert -------> an empty Response: EAP-Failure follows
//! ```

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use hearth_wire::eap::tls::{Fragment, Fragments, MAX_MESSAGE, Reassembly, TLS_EMPTY};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use super::{EapFault, Msk};
use crate::tls::TlsFault;

/// RFC 5216 s.2.3, RFC 5281 s.8: MSK and EMSK together.
const KEY_MATERIAL: usize = 128;

/// One TLS session, which no other one resumes.
pub(super) struct Carrier {
    connection: ClientConnection,
    /// Octets of the longest Type-Data.
    mtu: usize,
    incoming: Reassembly,
    outgoing: Fragments,
    started: bool,
}

/// What came of a Request.
pub(super) enum Heard {
    /// Say this: a fragment, an acknowledgement, or a flight of the handshake.
    Say(Vec<u8>),
    /// A whole flight of the server's is in, and the handshake complete; what it said inside.
    Flight(Zeroizing<Vec<u8>>),
    /// Say this; TLS has failed.
    GiveUp(Vec<u8>, TlsFault),
}

impl Carrier {
    /// A session with the server of this name.
    pub(super) fn new(
        config: Arc<ClientConfig>,
        server_name: ServerName<'static>,
        mtu: usize,
    ) -> Result<Self, EapFault> {
        let connection = ClientConnection::new(config, server_name).map_err(|_| EapFault::NoTls)?;
        Ok(Self {
            connection,
            mtu,
            incoming: Reassembly::default(),
            outgoing: Fragments::new(Vec::new(), mtu),
            started: false,
        })
    }

    /// Takes the Type-Data of a Request.
    pub(super) fn hear(&mut self, type_data: &[u8]) -> Result<Heard, EapFault> {
        let fragment = Fragment::parse(type_data).map_err(|_| EapFault::Malformed)?;
        if fragment.start == self.started {
            return Err(EapFault::Malformed);
        }
        if fragment.start {
            self.started = true;
            return Ok(Heard::Say(self.say()));
        }
        if !self.outgoing.is_sent() {
            // RFC 5216 s.2.1.5: the server acknowledges each fragment, with no data.
            let next = if fragment.is_empty() { self.outgoing.next() } else { None };
            return next.map(Heard::Say).ok_or(EapFault::Malformed);
        }
        match self.incoming.push(&fragment).map_err(|_| EapFault::Malformed)? {
            None => Ok(Heard::Say(TLS_EMPTY.to_vec())),
            Some(flight) => self.flight(&flight),
        }
    }

    /// The server's whole flight.
    fn flight(&mut self, mut records: &[u8]) -> Result<Heard, EapFault> {
        let handshaking = self.connection.is_handshaking();
        let mut plaintext = Zeroizing::new(Vec::new());
        while !records.is_empty() {
            // rustls takes nothing more behind a close_notify.
            if !matches!(self.connection.read_tls(&mut records), Ok(1..)) {
                return Err(EapFault::Malformed);
            }
            match self.connection.process_new_packets() {
                // RFC 5216 s.2.1.3: the peer answers an alert with an empty Response.
                Err(error @ rustls::Error::AlertReceived(_)) => {
                    return Ok(Heard::GiveUp(TLS_EMPTY.to_vec(), TlsFault::of(&error)));
                }
                Err(error) => return Ok(Heard::GiveUp(self.say(), TlsFault::of(&error))),
                Ok(state) if state.peer_has_closed() => return Err(EapFault::Malformed),
                Ok(state) => self.take(state.plaintext_bytes_to_read(), &mut plaintext)?,
            }
        }
        if handshaking {
            // Nothing is said inside before the server has our Finished; it proves nothing then.
            if !plaintext.is_empty() {
                return Err(EapFault::Malformed);
            }
            if self.connection.wants_write() {
                return Ok(Heard::Say(self.say()));
            }
            // Half a flight, without M.
            if self.connection.is_handshaking() {
                return Err(EapFault::Malformed);
            }
        }
        Ok(Heard::Flight(plaintext))
    }

    fn take(&mut self, octets: usize, plaintext: &mut Vec<u8>) -> Result<(), EapFault> {
        let from = plaintext.len();
        if octets > MAX_MESSAGE {
            return Err(EapFault::Malformed);
        }
        plaintext.resize(from + octets, 0);
        let room = plaintext.get_mut(from..).unwrap_or_default();
        self.connection.reader().read_exact(room).map_err(|_| EapFault::Malformed)
    }

    /// The Type-Data that carries this inside, or its first fragment.
    pub(super) fn tell(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, EapFault> {
        self.connection.writer().write_all(plaintext).map_err(|_| EapFault::NoTls)?;
        Ok(self.say())
    }

    /// The first fragment of what rustls wants sent, else an acknowledgement.
    fn say(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.connection.wants_write() {
            // Into memory, which takes it all.
            if !matches!(self.connection.write_tls(&mut records), Ok(1..)) {
                break;
            }
        }
        self.outgoing = Fragments::new(records, self.mtu);
        self.outgoing.next().unwrap_or_else(|| TLS_EMPTY.to_vec())
    }

    /// Whether this is TLS 1.3.
    pub(super) fn is_tls13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// The MSK: by `label` in TLS 1.2, where the exporter makes what the PRF does with these
    /// randoms; by RFC 9190 s.2.3 with the method's type as context in TLS 1.3.
    pub(super) fn msk(&self, label: &[u8], eap_type: u8) -> Result<Msk, EapFault> {
        let context = [eap_type];
        let (label, context): (&[u8], Option<&[u8]>) = if self.is_tls13() {
            (b"EXPORTER_EAP_TLS_Key_Material", Some(&context))
        } else {
            (label, None)
        };
        let mut material = Zeroizing::new([0; KEY_MATERIAL]);
        self.connection
            .export_keying_material(material.as_mut_slice(), label, context)
            .map_err(|_| EapFault::NoTls)?;
        let mut msk = Msk::new([0; 64]);
        for (to, from) in msk.iter_mut().zip(material.iter()) {
            *to = *from;
        }
        Ok(msk)
    }

    /// Octets that both ends have, by this label and no context.
    pub(super) fn export<const N: usize>(
        &self,
        label: &[u8],
    ) -> Result<Zeroizing<[u8; N]>, EapFault> {
        let mut material = Zeroizing::new([0; N]);
        self.connection
            .export_keying_material(material.as_mut_slice(), label, None)
            .map_err(|_| EapFault::NoTls)?;
        Ok(material)
    }
}
