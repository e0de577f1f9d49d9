//! The mobile node's EAP: identity, the choice of a method, and the method.
//!
//! Read first: RFC 3748 s.4, 5; RFC 4137 s.4; reading R-10.
//!
//! | module | method |
//! |---|---|
//! | `gpsk` | EAP-GPSK, with the pre-shared key |
//! | `tls` | EAP-TLS 1.2 and 1.3, with a certificate |
//! | `ttls` | EAP-TTLS, with a password: PAP, or MS-CHAP-V2 by `mschapv2`; its `avp` |
//! | [`aka_prime`] | EAP-AKA', with a USIM in software |
//! | `carrier` | TLS in fragments, for the methods that carry it |
//!
//! A node is configured with one method; a Request for another one is answered with a Nak that asks
//! for it.

use core::fmt;

use hearth_wire::MobileNodeId;
use hearth_wire::eap::{Body, Code, EapType, Packet, encode};
use zeroize::Zeroizing;

use crate::tls::TlsFault;

pub mod aka_prime;
mod avp;
mod carrier;
mod gpsk;
mod mschapv2;
mod tls;
mod ttls;

pub use aka_prime::AkaCredentials;
pub use tls::TlsCredentials;
pub use ttls::{Inner, TtlsCredentials};

/// What both ends have at the end of a method (RFC 3748 s.7.10).
pub type Msk = Zeroizing<[u8; 64]>;

/// What the peer says to a packet of the server.
pub enum Answer {
    /// This Response; the method goes on.
    Response(Vec<u8>),
    /// This Response is the method's last; its MSK.
    Last(Vec<u8>, Msk),
    /// EAP-Success, and the method had all it wanted.
    Succeeded(Msk),
    /// This Response tells the server that it is over, and why it is.
    GiveUp(Vec<u8>, EapFault),
}

/// Without the MSK, and without a Response, which may hold a password.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(packet) => write!(f, "Response({} octets)", packet.len()),
            Self::Last(packet, _) => write!(f, "Last({} octets)", packet.len()),
            Self::Succeeded(_) => f.write_str("Succeeded"),
            Self::GiveUp(packet, fault) => write!(f, "GiveUp({} octets, {fault:?})", packet.len()),
        }
    }
}

/// Why there is no SA by EAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EapFault {
    /// It is no EAP-Request, or none that comes now.
    Malformed,
    /// The server has not proved that it knows our key.
    NotAuthentic,
    /// EAP-Success before the method had come to its end.
    Early,
    /// TLS inside EAP.
    Tls(TlsFault),
    /// TLS can't be set up here.
    NoTls,
    /// The server refuses the password, with this error of MS-CHAP-V2 (0: none said).
    Password(u16),
    /// The server does not prove that it knows the password.
    NoMutualProof,
    /// The password is no UTF-8, or far too long.
    NotText,
    /// The network does not prove that it knows the USIM's key.
    Network,
    /// The file of the USIM's sequence number can't be used.
    CardState,
    /// The AAA server says that it will not, with this code (RFC 4187 s.10.19).
    Notified(u16),
}

impl fmt::Display for EapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the EAP server's request is malformed"),
            Self::NotAuthentic => f.write_str("the EAP server does not prove who it is"),
            Self::Early => f.write_str("the EAP server says success before it has proved itself"),
            Self::Tls(fault) => fault.fmt(f),
            Self::NoTls => f.write_str("TLS can't be set up for EAP"),
            // RFC 2759 s.6.
            Self::Password(error) => f.write_str(match error {
                646 => "the AAA server takes no log-on at this hour (646)",
                647 => "the account is disabled (647)",
                648 => "the password has expired (648)",
                649 => "the account may not dial in (649)",
                _ => "wrong user or password",
            }),
            Self::NoMutualProof => {
                f.write_str("the AAA server does not prove that it knows the password")
            }
            Self::Network => f.write_str(
                "the AAA server does not prove that it knows the USIM's key: other k, op or opc, or \
                 another network",
            ),
            Self::CardState => f.write_str(
                "the USIM's state file can't be read or written: is it cut, its folder read-only, the disk \
                 full? Once it is removed the card begins at SQN 0, and the network resynchronises it",
            ),
            Self::Notified(code) => write!(f, "the AAA server says no (AT_NOTIFICATION {code})"),
            Self::NotText => f.write_str("the password can't be used: it is no UTF-8"),
        }
    }
}

/// What the node proves who it is with.
pub enum Credentials<'a> {
    /// The pre-shared key as it is: no EAP.
    Psk(&'a [u8]),
    /// The pre-shared key, by EAP-GPSK.
    Gpsk(&'a [u8]),
    /// A certificate, by EAP-TLS.
    Tls(TlsCredentials),
    /// A password, by EAP-TTLS.
    Ttls(TtlsCredentials),
    /// A USIM, by EAP-AKA'.
    AkaPrime(AkaCredentials<'a>),
}

/// What a refusal may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A pre-shared key.
    Key,
    /// A certificate.
    Certificate,
    /// A password.
    Password,
    /// A USIM.
    Usim,
}

impl Credentials<'_> {
    /// Whether this is EAP.
    #[must_use]
    pub const fn is_eap(&self) -> bool {
        !matches!(self, Self::Psk(_))
    }

    /// The pre-shared key where it is used as it is.
    #[must_use]
    pub const fn psk(&self) -> Option<&[u8]> {
        match self {
            Self::Psk(psk) => Some(psk),
            _ => None,
        }
    }

    /// What it is that is proved.
    #[must_use]
    pub const fn proof(&self) -> Proof {
        match self {
            Self::Psk(_) | Self::Gpsk(_) => Proof::Key,
            Self::Tls(_) => Proof::Certificate,
            Self::Ttls(_) => Proof::Password,
            Self::AkaPrime(_) => Proof::Usim,
        }
    }

    /// What EAP-Response/Identity says.
    fn identity(&self, mn_id: &MobileNodeId) -> Vec<u8> {
        match self {
            Self::Psk(_) | Self::Gpsk(_) => mn_id.as_str().as_bytes().to_vec(),
            Self::Tls(tls) => tls.identity.clone().into_bytes(),
            Self::Ttls(ttls) => ttls.identity.clone().into_bytes(),
            Self::AkaPrime(aka) => aka.identity.clone().into_bytes(),
        }
    }

    /// The method; `None` where there is none.
    const fn eap_type(&self) -> Option<EapType> {
        match self {
            Self::Psk(_) => None,
            Self::Gpsk(_) => Some(EapType::GPSK),
            Self::Tls(_) => Some(EapType::TLS),
            Self::Ttls(_) => Some(EapType::TTLS),
            Self::AkaPrime(_) => Some(EapType::AKA_PRIME),
        }
    }
}

/// A method's Request.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Of the packet.
    pub(crate) identifier: u8,
    /// The whole packet.
    pub(crate) octets: &'a [u8],
    /// Type-Data.
    pub(crate) data: &'a [u8],
}

/// What a method says to a Request; octets are Type-Data.
pub(crate) enum Step {
    /// Say this; it goes on, or EAP-Success comes.
    Response(Vec<u8>),
    /// Say this as the last.
    Last(Vec<u8>, Msk),
    /// Say this; it is over.
    GiveUp(Vec<u8>, EapFault),
    /// There is nothing in common (RFC 3748 s.5.3.1).
    Nak,
}

/// One run of a method.
pub(crate) trait Method {
    /// Answers a Request.
    fn request(&mut self, request: Request<'_>) -> Result<Step, EapFault>;

    /// EAP-Success came: the MSK, if all is proved by now.
    fn success(&mut self) -> Option<Msk> {
        None
    }
}

/// One conversation.
pub struct Peer<'a> {
    mn_id: &'a MobileNodeId,
    credentials: &'a Credentials<'a>,
    random: [u8; 32],
    method: Option<Box<dyn Method + Send + 'a>>,
}

impl<'a> Peer<'a> {
    /// A peer with this identity and these credentials; `random` is used once, by the methods that
    /// need a number of their own.
    #[must_use]
    pub const fn new(
        mn_id: &'a MobileNodeId,
        credentials: &'a Credentials<'a>,
        random: [u8; 32],
    ) -> Self {
        Self { mn_id, credentials, random, method: None }
    }

    /// Answers a packet.
    ///
    /// # Errors
    /// [`EapFault`]; the conversation is over.
    pub fn answer(&mut self, octets: &[u8]) -> Result<Answer, EapFault> {
        let packet = Packet::parse(octets).map_err(|_| EapFault::Malformed)?;
        let (identifier, Body { eap_type, data }) = match (packet.code, packet.body) {
            (Code::Request, Some(body)) => (packet.identifier, body),
            (Code::Success, _) => {
                let msk = self.method.as_mut().and_then(|method| method.success());
                return msk.map(Answer::Succeeded).ok_or(EapFault::Early);
            }
            _ => return Err(EapFault::Malformed),
        };
        match eap_type {
            EapType::IDENTITY => {
                response(identifier, EapType::IDENTITY, &self.credentials.identity(self.mn_id))
            }
            EapType::NOTIFICATION => response(identifier, EapType::NOTIFICATION, &[]),
            _ if Some(eap_type) == self.credentials.eap_type() => {
                self.run(eap_type, Request { identifier, octets, data })
            }
            // RFC 3748 s.5.3.1: a Nak answers a method's first Request only.
            _ if self.method.is_some() => Err(EapFault::Malformed),
            _ => self.nak(identifier, eap_type),
        }
    }

    fn run(&mut self, eap_type: EapType, request: Request<'_>) -> Result<Answer, EapFault> {
        let identifier = request.identifier;
        let fresh = self.method.is_none();
        let method = match &mut self.method {
            Some(method) => method,
            none => none.insert(begin(self.mn_id, self.credentials, self.random)?),
        };
        let packet = |data: &[u8]| {
            encode(Code::Response, identifier, eap_type, data).ok_or(EapFault::Malformed)
        };
        Ok(match method.request(request)? {
            Step::Response(data) => Answer::Response(packet(&data)?),
            Step::Last(data, msk) => Answer::Last(packet(&data)?, msk),
            Step::GiveUp(data, fault) => Answer::GiveUp(packet(&data)?, fault),
            Step::Nak if fresh => return response(identifier, EapType::NAK, &[0]),
            Step::Nak => return Err(EapFault::Malformed),
        })
    }

    /// What we would rather do (RFC 3748 s.5.3.1; s.5.3.2 for an Expanded Type).
    fn nak(&self, identifier: u8, refused: EapType) -> Result<Answer, EapFault> {
        let wanted = self.credentials.eap_type().and_then(EapType::as_legacy).unwrap_or(0);
        match refused.as_legacy() {
            Some(_) => response(identifier, EapType::NAK, &[wanted]),
            None => {
                let expanded = [254, 0, 0, 0, 0, 0, 0, wanted];
                response(identifier, EapType::EXPANDED_NAK, &expanded)
            }
        }
    }
}

fn begin<'a>(
    mn_id: &'a MobileNodeId,
    credentials: &'a Credentials<'a>,
    random: [u8; 32],
) -> Result<Box<dyn Method + Send + 'a>, EapFault> {
    Ok(match credentials {
        Credentials::Psk(_) => return Err(EapFault::Malformed),
        Credentials::Gpsk(psk) => Box::new(gpsk::Gpsk::new(mn_id, psk, random)),
        Credentials::Tls(tls) => Box::new(tls::EapTls::new(tls)?),
        Credentials::Ttls(ttls) => Box::new(ttls::EapTtls::new(ttls, random)?),
        Credentials::AkaPrime(aka) => Box::new(aka_prime::AkaPrime::new(aka)),
    })
}

fn response(identifier: u8, eap_type: EapType, data: &[u8]) -> Result<Answer, EapFault> {
    encode(Code::Response, identifier, eap_type, data)
        .map(Answer::Response)
        .ok_or(EapFault::Malformed)
}

#[cfg(test)]
pub(crate) mod tests;
