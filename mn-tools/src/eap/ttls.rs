//! EAP-TTLS version 0: a password inside TLS, by PAP or by MS-CHAP-V2.
//!
//! Read first: RFC 5281 s.7, 8, 9, 11.2.4, 11.2.5; RFC 9427 s.2.1 for TLS 1.3; reading R-10.
//!
//! ```text
//!  handshake --> PAP:        name, password  --> EAP-Success
//!           +--> MS-CHAP-V2: name, challenge, response --> MS-CHAP2-Success --> empty, the last
//! ```

use std::sync::Arc;

use hearth_wire::eap::tls::TLS_EMPTY;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use super::avp::{self, Avp, Name};
use super::carrier::{Carrier, Heard};
use super::mschapv2::{self, Exchange};
use super::{EapFault, Method, Msk, Request, Step};

/// RFC 5281 s.8.
const LABEL: &[u8] = b"ttls keying material";
/// RFC 5281 s.11.1.
const CHALLENGE_LABEL: &[u8] = b"ttls challenge";
const EAP_TYPE: u8 = 21;

/// How the password is proved inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// It is told.
    Pap,
    /// A challenge is answered with it, and the server proves that it knows it, too.
    MsChapV2,
}

/// What EAP-TTLS needs.
pub struct TtlsCredentials {
    /// What EAP-Response/Identity says, for all to see.
    pub identity: String,
    /// The authorities that the server's certificate is to be under.
    pub config: Arc<ClientConfig>,
    /// What the server's certificate must say.
    pub server_name: ServerName<'static>,
    /// Octets of the longest Type-Data.
    pub mtu: usize,
    /// How the password is proved.
    pub inner: Inner,
    /// Whose it is, said inside.
    pub user: String,
    /// The password.
    pub password: Zeroizing<Vec<u8>>,
}

/// What the server was told inside.
enum Stage {
    Nothing,
    /// The password: EAP-Success may come.
    Password,
    /// An answer to the challenge: the server's proof is awaited.
    Response {
        challenge: [u8; 16],
        identifier: u8,
        nt_response: [u8; 24],
    },
}

/// One run.
pub(super) struct EapTtls<'a> {
    credentials: &'a TtlsCredentials,
    peer_challenge: [u8; 16],
    carrier: Carrier,
    stage: Stage,
}

impl<'a> EapTtls<'a> {
    pub(super) fn new(
        credentials: &'a TtlsCredentials,
        random: [u8; 32],
    ) -> Result<Self, EapFault> {
        let TtlsCredentials { config, server_name, mtu, .. } = credentials;
        let carrier = Carrier::new(Arc::clone(config), server_name.clone(), *mtu)?;
        let mut peer_challenge = [0; 16];
        for (to, from) in peer_challenge.iter_mut().zip(random) {
            *to = from;
        }
        Ok(Self { credentials, peer_challenge, carrier, stage: Stage::Nothing })
    }

    /// What is said inside once TLS stands.
    fn prove(&mut self) -> Result<Step, EapFault> {
        let TtlsCredentials { user, password, inner, .. } = self.credentials;
        let mut avps = Zeroizing::new(Vec::with_capacity(256 + 2 * password.len()));
        let mut fits = avp::put(&mut avps, Name::USER_NAME, user.as_bytes());
        match inner {
            Inner::Pap => {
                // RFC 5281 s.11.2.5: zeros hide how long it is.
                let len = password.len().next_multiple_of(16).max(16);
                let mut padded = Zeroizing::new(Vec::with_capacity(len));
                padded.extend_from_slice(password);
                padded.resize(len, 0);
                fits &= avp::put(&mut avps, Name::USER_PASSWORD, &padded);
                self.stage = Stage::Password;
            }
            Inner::MsChapV2 => {
                let material = self.carrier.export::<17>(CHALLENGE_LABEL)?;
                let (challenge, identifier) =
                    material.split_first_chunk::<16>().ok_or(EapFault::NoTls)?;
                let identifier = identifier.first().copied().unwrap_or_default();
                let exchange = Exchange {
                    authenticator_challenge: *challenge,
                    peer_challenge: self.peer_challenge,
                    user,
                };
                let hash = mschapv2::password_hash(password).ok_or(EapFault::NotText)?;
                let nt_response = exchange.nt_response(&hash);
                let response =
                    [&[identifier, 0][..], &self.peer_challenge, &[0; 8], &nt_response].concat();
                fits &= avp::put(&mut avps, Name::MS_CHAP_CHALLENGE, challenge)
                    && avp::put(&mut avps, Name::MS_CHAP2_RESPONSE, &response);
                self.stage = Stage::Response { challenge: *challenge, identifier, nt_response };
            }
        }
        if fits { self.carrier.tell(&avps).map(Step::Response) } else { Err(EapFault::NotText) }
    }

    /// What the server says inside.
    fn judge(&self, inside: &[u8]) -> Result<Step, EapFault> {
        let avps = avp::parse(inside).ok_or(EapFault::Malformed)?;
        let of = |name| avps.iter().find(|avp| avp.name == name).map(|avp| avp.data);
        if let Some(error) = of(Name::MS_CHAP_ERROR) {
            let fault = EapFault::Password(ms_chap_error(error));
            return Ok(Step::GiveUp(TLS_EMPTY.to_vec(), fault));
        }
        if let (Stage::Response { .. }, Some(success)) = (&self.stage, of(Name::MS_CHAP2_SUCCESS)) {
            return self.server_is_authentic(success);
        }
        // RFC 5281 s.10.1: what must be understood and is not ends it.
        if avps.iter().any(|Avp { mandatory, .. }| *mandatory) {
            return Err(EapFault::Malformed);
        }
        Ok(Step::Response(TLS_EMPTY.to_vec()))
    }

    fn server_is_authentic(&self, success: &[u8]) -> Result<Step, EapFault> {
        let Stage::Response { challenge, identifier, nt_response } = &self.stage else {
            return Err(EapFault::Malformed);
        };
        let TtlsCredentials { user, password, .. } = self.credentials;
        let exchange = Exchange {
            authenticator_challenge: *challenge,
            peer_challenge: self.peer_challenge,
            user,
        };
        let hash = mschapv2::password_hash(password).ok_or(EapFault::NotText)?;
        match success.split_first() {
            Some((this, message))
                if this == identifier && exchange.is_authentic(&hash, nt_response, message) =>
            {
                Ok(Step::Last(TLS_EMPTY.to_vec(), self.carrier.msk(LABEL, EAP_TYPE)?))
            }
            _ => Ok(Step::GiveUp(TLS_EMPTY.to_vec(), EapFault::NoMutualProof)),
        }
    }
}

/// The number behind `E=` (RFC 2759 s.6, RFC 2548 s.2.1.5).
fn ms_chap_error(data: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(data);
    let digits = text.split_once("E=").map_or("", |(_, behind)| behind);
    digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Method for EapTtls<'_> {
    fn request(&mut self, request: Request<'_>) -> Result<Step, EapFault> {
        match self.carrier.hear(request.data)? {
            Heard::Say(data) => Ok(Step::Response(data)),
            Heard::GiveUp(data, fault) => Ok(Step::GiveUp(data, EapFault::Tls(fault))),
            Heard::Flight(inside) => match self.stage {
                Stage::Nothing if inside.is_empty() => self.prove(),
                Stage::Nothing => Err(EapFault::Malformed),
                Stage::Password | Stage::Response { .. } => self.judge(&inside),
            },
        }
    }

    /// PAP ends with EAP-Success. With MS-CHAP-V2 the server is to prove itself before.
    fn success(&mut self) -> Option<Msk> {
        match self.stage {
            Stage::Password => self.carrier.msk(LABEL, EAP_TYPE).ok(),
            Stage::Nothing | Stage::Response { .. } => None,
        }
    }
}
