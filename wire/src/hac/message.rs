//! MHAuth messages: the union of what requests and responses carry.
//!
//! Read first: RFC 6618 s.5.3, 5.5 to 5.9; readings.
//!
//! The kind of a message is not on the wire, and neither is its direction: which headers a
//! peer may send, and which it must, is for the session to judge.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::auth::{AUTH_LEN, Side, authenticator};
use super::header::Lines;
use super::value::Value;
use super::{HeaderName, MessageError};
use crate::ids::{MobileNodeId, Spi};
use crate::suite::{Scope, Suite};

/// Authentication method (RFC 6618 s.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// `psk`
    Psk,
    /// `eap`
    Eap,
}

impl AuthMethod {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Psk => "psk",
            Self::Eap => "eap",
        }
    }

    /// The method of this name; literals are case-insensitive.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Psk, Self::Eap]
            .into_iter()
            .find(|method| method.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Status code of the response that ends an exchange (RFC 6618 s.5.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusCode {
    /// 100; never ends an exchange (HAC-37).
    Continue = 100,
    /// 200
    Ok = 200,
    /// 400
    BadRequest = 400,
    /// 401
    Unauthorized = 401,
    /// 500
    InternalServerError = 500,
    /// 501
    NotImplemented = 501,
    /// 503
    ServiceUnavailable = 503,
    /// 504
    GatewayTimeout = 504,
}

impl StatusCode {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Continue,
        Self::Ok,
        Self::BadRequest,
        Self::Unauthorized,
        Self::InternalServerError,
        Self::NotImplemented,
        Self::ServiceUnavailable,
        Self::GatewayTimeout,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The status of this number, if RFC 6618 lists it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::Continue => "Continue",
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::InternalServerError => "Internal Server Error",
            Self::NotImplemented => "Not Implemented",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::GatewayTimeout => "Gateway Time-out",
        };
        write!(f, "{} {reason}", self.code())
    }
}

/// The TV-headers of one message, `auth` aside. No `Debug` of the keys; they are wiped on drop.
#[derive(Default, PartialEq, Eq)]
pub struct Message {
    /// `mn-id`
    pub mn_id: Option<MobileNodeId>,
    /// `auth-method`: the known methods in their order, each once; empty where there is no header,
    /// and where it names only others.
    pub auth_methods: Vec<AuthMethod>,
    /// `eap-payload`: one EAP packet.
    pub eap_payload: Option<Vec<u8>>,
    /// `status-code`
    pub status: Option<StatusCode>,
    /// `retry-after`, in seconds since 1970-01-01 UTC.
    pub retry_after: Option<u64>,
    /// `mn-rand`
    pub mn_rand: Option<[u8; 32]>,
    /// `hac-rand`
    pub hac_rand: Option<[u8; 32]>,
    /// `mip6-sas`
    pub scope: Option<Scope>,
    /// `mip6-suitelist`: the known suites in their order, each once; may be empty, which is sent
    /// as no header.
    pub suite_list: Option<Vec<Suite>>,
    /// `mip6-ciphersuite`
    pub suite: Option<Suite>,
    /// `mip6-spi`
    pub spi: Option<Spi>,
    /// `mip6-mn-to-ha-ikey`
    pub mn_to_ha_ikey: Option<Zeroizing<Vec<u8>>>,
    /// `mip6-ha-to-mn-ikey`
    pub ha_to_mn_ikey: Option<Zeroizing<Vec<u8>>>,
    /// `mip6-mn-to-ha-ekey`; no header under NULL.
    pub mn_to_ha_ekey: Option<Zeroizing<Vec<u8>>>,
    /// `mip6-ha-to-mn-ekey`; no header under NULL.
    pub ha_to_mn_ekey: Option<Zeroizing<Vec<u8>>>,
    /// `mip6-sa-validity-end`, in seconds since 1970-01-01 UTC.
    pub validity_end: Option<u64>,
    /// `mip6-haa-ip6`
    pub ha_ip6: Option<Ipv6Addr>,
    /// `mip6-haa-ip4`
    pub ha_ip4: Option<Ipv4Addr>,
    /// `mip6-port`; never 0.
    pub port: Option<u16>,
    /// `mip6-ip6-hoa`
    pub hoa_ip6: Option<Ipv6Addr>,
    /// `mip6-ip4-hoa`
    pub hoa_ip4: Option<Ipv4Addr>,
    /// `mip6-ip6-hnp`: prefix and its length, 0 to 128; bits behind the length as they were sent.
    pub hnp_ip6: Option<(Ipv6Addr, u8)>,
    /// `mip6-ip4-hnp`: prefix and its length, 0 to 32; bits behind the length as they were sent.
    pub hnp_ip4: Option<(Ipv4Addr, u8)>,
    /// `dns-ip6`, which may repeat.
    pub dns_ip6: Vec<Ipv6Addr>,
    /// `dns-ip4`, which may repeat.
    pub dns_ip4: Vec<Ipv4Addr>,
}

/// What identifies a message in a log. Keys, randoms and EAP packets stay out.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("mn_id", &self.mn_id)
            .field("auth_methods", &self.auth_methods)
            .field("status", &self.status)
            .field("scope", &self.scope)
            .field("suite_list", &self.suite_list)
            .field("suite", &self.suite)
            .field("spi", &self.spi)
            .field("validity_end", &self.validity_end)
            .field("ha_ip6", &self.ha_ip6)
            .field("hoa_ip6", &self.hoa_ip6)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// Takes over one header, which the caller knows not to be there yet unless it may repeat.
    fn take(&mut self, value: Value<'_>) -> Result<(), MessageError> {
        match value.name {
            HeaderName::MnId => self.mn_id = Some(value.mn_id()?),
            HeaderName::AuthMethod => self.auth_methods = value.auth_methods()?,
            HeaderName::EapPayload => self.eap_payload = Some(value.eap_payload()?),
            HeaderName::StatusCode => self.status = Some(value.status()?),
            HeaderName::RetryAfter => self.retry_after = Some(value.date()?),
            HeaderName::MnRand => self.mn_rand = Some(value.octets_32()?),
            HeaderName::HacRand => self.hac_rand = Some(value.octets_32()?),
            HeaderName::Spi => self.spi = Some(value.spi()?),
            HeaderName::MnToHaIkey => self.mn_to_ha_ikey = Some(value.key()?),
            HeaderName::HaToMnIkey => self.ha_to_mn_ikey = Some(value.key()?),
            HeaderName::MnToHaEkey => self.mn_to_ha_ekey = Some(value.key()?),
            HeaderName::HaToMnEkey => self.ha_to_mn_ekey = Some(value.key()?),
            HeaderName::ValidityEnd => self.validity_end = Some(value.date()?),
            HeaderName::Scope => self.scope = Some(value.scope()?),
            HeaderName::Ciphersuite => self.suite = Some(value.suite()?),
            HeaderName::SuiteList => self.suite_list = Some(value.suites()?),
            HeaderName::HaIp6 => self.ha_ip6 = Some(value.ip6()?),
            HeaderName::HaIp4 => self.ha_ip4 = Some(value.ip4()?),
            HeaderName::Port => self.port = Some(value.port()?),
            HeaderName::HoaIp6 => self.hoa_ip6 = Some(value.ip6()?),
            HeaderName::HoaIp4 => self.hoa_ip4 = Some(value.ip4()?),
            HeaderName::HnpIp6 => self.hnp_ip6 = Some(value.ip6_prefix()?),
            HeaderName::HnpIp4 => self.hnp_ip4 = Some(value.ip4_prefix()?),
            HeaderName::DnsIp6 => self.dns_ip6.push(value.ip6()?),
            HeaderName::DnsIp4 => self.dns_ip4.push(value.ip4()?),
            // Not a field of the message: parse keeps it apart.
            HeaderName::Auth => {}
        }
        Ok(())
    }
}

/// A message that was read, with what [`verify`] needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The headers.
    pub message: Message,
    /// The value of `auth`, which was the last header.
    pub auth: Option<[u8; AUTH_LEN]>,
    /// Octets of the content in front of the `auth` header line, or in front of the
    /// end-of-message where there is no `auth`: `msg-octets`.
    pub signed_len: usize,
}

/// Reads the content portion of a container. Unknown headers are ignored.
///
/// # Errors
/// [`MessageError`]; the answer to each is 400.
pub fn parse(content: &[u8]) -> Result<Parsed, MessageError> {
    let mut message = Message::default();
    let mut auth = None;
    let mut seen: u32 = 0;
    let mut lines = Lines::new(content);
    while let Some(line) = lines.next_line()? {
        let name = HeaderName::from_name(line.name);
        if let Some(name) = name.filter(|name| !name.repeats()) {
            let bit = 1 << name as u32;
            if seen & bit != 0 {
                return Err(MessageError::Duplicate(name));
            }
            seen |= bit;
        }
        // RFC 6618 s.5.5.5: the last TV-header, unknown ones included.
        if auth.is_some() {
            return Err(MessageError::AuthNotLast);
        }
        match name.map(|name| Value { name, octets: line.value }) {
            Some(value) if value.name == HeaderName::Auth => {
                auth = Some((value.octets_32()?, line.start));
            }
            Some(value) => message.take(value)?,
            None => {}
        }
    }
    Ok(match auth {
        Some((auth, start)) => Parsed { message, auth: Some(auth), signed_len: start },
        None => Parsed { message, auth: None, signed_len: lines.place() },
    })
}

/// Whether `content`, of which `parsed` was made, carries the `auth` of `side` under `key` and the
/// channel binding `cb` (RFC 6618 s.5.8). Takes the same time wherever octets differ.
#[must_use]
pub fn verify(content: &[u8], parsed: &Parsed, side: Side, key: &[u8], cb: &[u8]) -> bool {
    let (Some(auth), Some(msg)) = (parsed.auth, content.get(..parsed.signed_len)) else {
        return false;
    };
    authenticator(side, key, msg, cb).ct_eq(&auth).into()
}
