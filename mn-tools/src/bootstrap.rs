//! The mobile node's side of the MN-HAC exchange, over message octets: no socket, no clock.
//!
//! Read first: RFC 6618 s.5.1 to 5.9; readings R-2 to R-10, R-13, R-14.
//!
//! With the pre-shared key itself, and with EAP:
//!
//! ```text
//!   Request/MHAuth-Init   mn-id, mn-rand, auth-method            ->
//!                      <- mn-rand, hac-rand, auth-method, auth   Response/MHAuth-Init
//!   Request/MHAuth-Done   mn-rand, hac-rand, sas, suitelist, auth ->
//!                      <- SA and addresses, mn-rand, hac-rand, status-code, auth
//!
//!   Request/MHAuth-Init   mn-id, mn-rand, auth-method            ->
//!                      <- auth-method, eap-payload, auth          Response/MHAuth-Init
//!   Request/MHAuth-Mid    eap-payload, auth                      ->
//!                      <- eap-payload, auth                       Response/MHAuth-Mid
//!   Request/MHAuth-Done   sas, suitelist, eap-payload, auth       ->
//!                      <- SA and addresses, eap-payload, status-code, auth
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_wire::hac::{AuthMethod, Message, Parsed, Side, StatusCode};
use hearth_wire::hac::{container, message};
use hearth_wire::{MIPV6TLS_PORT, MobileNodeId, Scope, Spi, Suite};
use zeroize::{Zeroize, Zeroizing};

use crate::eap::{self, Credentials, EapFault, Proof};
use hearth_esp::Transform;

mod with_eap;
#[cfg(test)]
mod with_eap_tests;

#[cfg(test)]
pub(crate) mod tests;

/// What the mobile node says of itself and asks for.
#[derive(Clone, Copy)]
pub struct Proposal<'a> {
    /// Who it is.
    pub mn_id: &'a MobileNodeId,
    /// What it proves that with.
    pub credentials: &'a Credentials<'a>,
    /// Ciphersuites, the most wanted first.
    pub suites: &'a [Suite],
    /// Scope; the HAC decides.
    pub scope: Scope,
}

/// What the HAC issued: a security association, its keys expanded, and addresses.
#[derive(Debug)]
pub struct Grant {
    /// Index of the SA.
    pub spi: Spi,
    /// Its ciphersuite.
    pub suite: Suite,
    /// Its scope.
    pub scope: Scope,
    /// From here to the home agent.
    pub outbound: Transform,
    /// From the home agent.
    pub inbound: Transform,
    /// End of validity, Unix seconds.
    pub validity_end: u64,
    /// The home agent.
    pub home_agent: Ipv6Addr,
    /// The home agent, from IPv4 networks.
    pub home_agent_ip4: Option<Ipv4Addr>,
    /// Its UDP port (RFC 6618 s.5.7.2).
    pub port: u16,
    /// The home address.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address.
    pub home_address_ip4: Option<Ipv4Addr>,
    /// DNS servers that the home agent leads to (RFC 6618 s.5.7.4).
    pub dns: Vec<IpAddr>,
}

/// Why a bootstrap failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootstrapError {
    /// The response breaks the format of RFC 6618 s.5.1, 5.2.
    Malformed,
    /// The response's Identifier is not the request's.
    Identifier,
    /// The response is not signed with our pre-shared key.
    NotAuthentic,
    /// The HAC refused.
    Refused {
        /// Its status code.
        status: StatusCode,
        /// When it wants to be asked again, Unix seconds.
        retry_after: Option<u64>,
    },
    /// The HAC refused with a 401, and this is not about a pre-shared key.
    Rejected(Proof),
    /// EAP failed here.
    Eap(EapFault),
    /// The response repeats another random value than was sent.
    Nonce,
    /// A header that must be there is not.
    Missing(&'static str),
    /// The HAC chose an authentication method or a ciphersuite that was not offered.
    NotOffered,
    /// A key's length is not that of the suite (R-13).
    KeyLength,
    /// Our own request does not fit into a container.
    TooLong,
}

/// DNS servers that are taken, as many as a resolver uses (resolv.conf(5)).
const MAX_DNS: usize = 3;

fn dns_servers(response: &Message) -> Vec<IpAddr> {
    let six = response.dns_ip6.iter().copied().map(IpAddr::from);
    let four = response.dns_ip4.iter().copied().map(IpAddr::from);
    let is_host = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback();
    six.chain(four).filter(is_host).take(MAX_DNS).collect()
}

impl fmt::Display for BootstrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the HAC's response is malformed"),
            Self::Identifier => f.write_str("the HAC's response answers another request"),
            // R-8: an unknown mn-id looks the same on purpose.
            Self::NotAuthentic => f.write_str(
                "not authenticated (401): the HAC does not know this mn_id under this psk",
            ),
            Self::Refused { status, .. } => match status {
                StatusCode::Unauthorized => {
                    write!(f, "not authenticated (401): {}", doubts(Proof::Key))
                }
                StatusCode::NotImplemented => f.write_str(
                    "not offered by the HAC (501): none of our suites, or not our auth method",
                ),
                StatusCode::ServiceUnavailable => f.write_str(
                    "the HAC has no room now (503): too busy, its addresses are given out, or no home \
                     agent is alive; tried again",
                ),
                StatusCode::GatewayTimeout => f.write_str(
                    "the HAC's AAA server does not answer (504); tried again. Its operator has to see to it",
                ),
                other => write!(f, "refused by the HAC with status {}", code(*other)),
            },
            Self::Rejected(proof) => write!(f, "not authenticated (401): {}", doubts(*proof)),
            Self::Eap(fault) => fault.fmt(f),
            Self::Nonce => f.write_str("the HAC's response repeats another random value"),
            Self::Missing(header) => write!(f, "the HAC's response lacks {header}"),
            Self::NotOffered => f.write_str("the HAC chose what was not offered"),
            Self::KeyLength => f.write_str("a key from the HAC has the wrong length"),
            Self::TooLong => f.write_str("our request does not fit into a container"),
        }
    }
}

impl std::error::Error for BootstrapError {}

/// What a 401 can mean.
const fn doubts(proof: Proof) -> &'static str {
    match proof {
        Proof::Key => "wrong psk, or an mn_id the HAC does not know",
        Proof::Certificate => {
            "the certificate is not accepted or does not say the mn_id, or EAP-TLS is not offered"
        }
        Proof::Password => {
            "wrong user or password, a user that is not the mn_id, or EAP-TTLS is not offered"
        }
        Proof::Usim => {
            "the AAA server does not know the imsi, it is not the mn_id's, or EAP-AKA' is not offered"
        }
    }
}

/// The three digits of a status code.
#[must_use]
pub const fn code(status: StatusCode) -> u16 {
    status.code()
}

/// What came of received octets.
#[derive(Debug)]
pub enum Progress {
    /// More octets are needed.
    Wait,
    /// Send these.
    Send(Zeroizing<Vec<u8>>),
    /// The exchange is over.
    Done(Box<Grant>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Init,
    Mid,
    Done,
    /// The end of a method that has failed here.
    Verdict(EapFault),
    Nothing,
}

/// One exchange with a HAC.
pub struct Session<'a> {
    proposal: Proposal<'a>,
    eap: eap::Peer<'a>,
    /// What keys Done under EAP (R-10).
    msk: Option<eap::Msk>,
    channel_binding: Vec<u8>,
    mn_rand: [u8; 32],
    hac_rand: [u8; 32],
    awaited: Awaited,
    identifier: u8,
    received: Zeroizing<Vec<u8>>,
}

impl<'a> Session<'a> {
    /// Begins an exchange over a TLS session with this `tls-server-end-point` binding; the session
    /// and its first request. `rand_peer` is a random value for the EAP method.
    ///
    /// # Errors
    /// [`BootstrapError::TooLong`].
    pub fn begin(
        proposal: Proposal<'a>,
        channel_binding: Vec<u8>,
        mn_rand: [u8; 32],
        rand_peer: [u8; 32],
    ) -> Result<(Self, Zeroizing<Vec<u8>>), BootstrapError> {
        let session = Self {
            proposal,
            eap: eap::Peer::new(proposal.mn_id, proposal.credentials, rand_peer),
            msk: None,
            channel_binding,
            mn_rand,
            hac_rand: [0; 32],
            awaited: Awaited::Init,
            identifier: container::FIRST_IDENTIFIER,
            received: Zeroizing::default(),
        };
        // R-7: this request carries no auth.
        let request = Message {
            mn_id: Some(proposal.mn_id.clone()),
            mn_rand: Some(mn_rand),
            auth_methods: vec![auth_method(proposal.credentials)],
            ..Message::default()
        };
        let request = session.contain(&request.encode_unsigned())?;
        Ok((session, request))
    }

    /// Octets from the HAC.
    ///
    /// # Errors
    /// [`BootstrapError`]; the session is then over.
    pub fn receive(&mut self, octets: &[u8]) -> Result<Progress, BootstrapError> {
        self.received.extend_from_slice(octets);
        let mut received = std::mem::take(&mut self.received);
        let outcome = match container::decode(&received) {
            Err(_) => Err(BootstrapError::Malformed),
            Ok(None) => {
                self.received = received;
                return Ok(Progress::Wait);
            }
            Ok(Some((response, _))) if response.identifier != self.identifier => {
                Err(BootstrapError::Identifier)
            }
            Ok(Some((response, _))) => self.respond(response.content),
        };
        received.zeroize();
        outcome
    }

    fn respond(&mut self, content: &[u8]) -> Result<Progress, BootstrapError> {
        let parsed = message::parse(content).map_err(|_| BootstrapError::Malformed)?;
        match std::mem::replace(&mut self.awaited, Awaited::Nothing) {
            Awaited::Init if self.proposal.credentials.is_eap() => {
                self.on_eap_init(content, &parsed).map(Progress::Send)
            }
            Awaited::Init => self.on_init(content, &parsed).map(Progress::Send),
            Awaited::Mid => self.on_eap_mid(content, &parsed).map(Progress::Send),
            Awaited::Done => {
                self.on_done(content, parsed).map(|grant| Progress::Done(Box::new(grant)))
            }
            // What the HAC makes of it matters no more.
            Awaited::Verdict(fault) => Err(BootstrapError::Eap(fault)),
            Awaited::Nothing => Err(BootstrapError::Malformed),
        }
    }

    /// Response/MHAuth-Init.
    fn on_init(
        &mut self,
        content: &[u8],
        parsed: &Parsed,
    ) -> Result<Zeroizing<Vec<u8>>, BootstrapError> {
        let psk = self.proposal.credentials.psk().ok_or(BootstrapError::NotOffered)?;
        self.authenticate(content, parsed, psk)?;
        let response = &parsed.message;
        match response.status {
            None | Some(StatusCode::Continue) => {}
            Some(status) => return Err(self.refusal(status, response)),
        }
        self.check_nonce(response.mn_rand, self.mn_rand, "mn-rand")?;
        self.hac_rand = response.hac_rand.ok_or(BootstrapError::Missing("hac-rand"))?;
        if response.auth_methods != [AuthMethod::Psk] {
            return Err(BootstrapError::NotOffered);
        }
        self.identifier += 1;
        self.awaited = Awaited::Done;
        let request = Message {
            mn_rand: Some(self.mn_rand),
            hac_rand: Some(self.hac_rand),
            scope: Some(self.proposal.scope),
            suite_list: Some(self.proposal.suites.to_vec()),
            ..Message::default()
        };
        let signed = request.encode_signed(Side::Mn, psk, &self.channel_binding);
        self.contain(&signed)
    }

    /// Response/MHAuth-Done.
    fn on_done(&self, content: &[u8], parsed: Parsed) -> Result<Grant, BootstrapError> {
        // R-10: the MSK keys Done under EAP, and is as fresh as the nonces under PSK.
        let msk = self.msk.as_ref().map(|msk| msk.as_slice());
        let key = msk.or(self.proposal.credentials.psk()).ok_or(BootstrapError::NotAuthentic)?;
        self.authenticate(content, &parsed, key)?;
        let response = parsed.message;
        match response.status {
            None => return Err(BootstrapError::Missing("status-code")),
            Some(StatusCode::Ok) => {}
            Some(status) => return Err(self.refusal(status, &response)),
        }
        if self.msk.is_none() {
            self.check_nonce(response.mn_rand, self.mn_rand, "mn-rand")?;
            self.check_nonce(response.hac_rand, self.hac_rand, "hac-rand")?;
        }
        let suite = response.suite.ok_or(BootstrapError::Missing("mip6-ciphersuite"))?;
        if !self.proposal.suites.contains(&suite) {
            return Err(BootstrapError::NotOffered);
        }
        let missing = BootstrapError::Missing;
        let direction = |ikey: Option<&Zeroizing<Vec<u8>>>, ekey: Option<&Zeroizing<Vec<u8>>>| {
            let octets = |key: Option<&Zeroizing<Vec<u8>>>| -> Zeroizing<Vec<u8>> {
                key.cloned().unwrap_or_default()
            };
            Transform::new(suite, &octets(ikey), &octets(ekey)).ok_or(BootstrapError::KeyLength)
        };
        Ok(Grant {
            spi: response.spi.ok_or(missing("mip6-spi"))?,
            suite,
            scope: response.scope.ok_or(missing("mip6-sas"))?,
            outbound: direction(response.mn_to_ha_ikey.as_ref(), response.mn_to_ha_ekey.as_ref())?,
            inbound: direction(response.ha_to_mn_ikey.as_ref(), response.ha_to_mn_ekey.as_ref())?,
            validity_end: response.validity_end.ok_or(missing("mip6-sa-validity-end"))?,
            // R-14: the HAC always hands out both, for the checksum of R-30.
            home_agent: response.ha_ip6.ok_or(missing("mip6-haa-ip6"))?,
            home_agent_ip4: response.ha_ip4,
            port: response.port.unwrap_or(MIPV6TLS_PORT),
            home_address: response.hoa_ip6.ok_or(missing("mip6-ip6-hoa"))?,
            home_address_ip4: response.hoa_ip4,
            dns: dns_servers(&response),
        })
    }

    /// Everything but a refusal must be signed: with the pre-shared key, which only the HAC knows,
    /// or as EAP has it. A refusal can be unsigned (R-8); TLS says who sent it.
    fn authenticate(
        &self,
        content: &[u8],
        parsed: &Parsed,
        key: &[u8],
    ) -> Result<(), BootstrapError> {
        if message::verify(content, parsed, Side::Hac, key, &self.channel_binding) {
            return Ok(());
        }
        match parsed.message.status {
            Some(status) if code(status) >= 400 => Err(self.refusal(status, &parsed.message)),
            _ => Err(BootstrapError::NotAuthentic),
        }
    }

    fn check_nonce(
        &self,
        repeated: Option<[u8; 32]>,
        sent: [u8; 32],
        header: &'static str,
    ) -> Result<(), BootstrapError> {
        match repeated {
            None => Err(BootstrapError::Missing(header)),
            Some(value) if value == sent => Ok(()),
            Some(_) => Err(BootstrapError::Nonce),
        }
    }

    const fn refusal(&self, status: StatusCode, response: &Message) -> BootstrapError {
        match (status, self.proposal.credentials.proof()) {
            (StatusCode::Unauthorized, proof) if !matches!(proof, Proof::Key) => {
                BootstrapError::Rejected(proof)
            }
            _ => BootstrapError::Refused { status, retry_after: response.retry_after },
        }
    }

    fn contain(&self, content: &[u8]) -> Result<Zeroizing<Vec<u8>>, BootstrapError> {
        container::encode(self.identifier, content).ok_or(BootstrapError::TooLong)
    }
}

const fn auth_method(credentials: &Credentials<'_>) -> AuthMethod {
    if credentials.is_eap() { AuthMethod::Eap } else { AuthMethod::Psk }
}
