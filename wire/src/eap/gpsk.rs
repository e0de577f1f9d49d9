//! EAP-GPSK: messages and their MACs.
//!
//! Read first: RFC 5433 s.3, 8 to 10.
//!
//! ```text
//! GPSK-1  <-  ID_Server, RAND_Server, CSuite_List
//! GPSK-2  ->  ID_Peer, ID_Server, RAND_Peer, RAND_Server, CSuite_List, CSuite_Sel, [PD], MAC
//! GPSK-3  <-  RAND_Peer, RAND_Server, ID_Server, CSuite_Sel, [PD], MAC
//! GPSK-4  ->  [PD], MAC
//! ```
//!
//! Octet strings of variable length have two octets of length in front. A MAC covers everything
//! between the OP-Code and itself.

mod keys;

pub use keys::{Keys, MIN_PSK};

use super::EapType;
use crate::eap::{Code, encode};

/// Octets of RAND_Peer and RAND_Server.
pub const RAND_LEN: usize = 32;

/// Octets of the longest ID_Peer and ID_Server (RFC 5433 s.5).
pub const MAX_ID: usize = 254;

/// Octets of a ciphersuite on the wire.
const SUITE_LEN: usize = 6;

/// A ciphersuite (RFC 5433 s.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ciphersuite {
    /// 0x0001: AES-CBC-128 and AES-CMAC-128.
    Aes = 1,
    /// 0x0002: no encryption, HMAC-SHA256.
    Sha256 = 2,
}

impl Ciphersuite {
    /// All of them, the one that everybody has first.
    pub const ALL: [Self; 2] = [Self::Aes, Self::Sha256];

    /// The name in YAML.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes => "aes",
            Self::Sha256 => "sha256",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// KS: octets of its keys, and of the shortest pre-shared key that it works with.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes => 16,
            Self::Sha256 => 32,
        }
    }

    /// ML: octets of its MAC.
    #[must_use]
    pub const fn mac_len(self) -> usize {
        match self {
            Self::Aes => 16,
            Self::Sha256 => 32,
        }
    }

    /// CSuite_Sel: vendor 0 and the specifier (RFC 5433 s.9.2).
    #[must_use]
    pub const fn octets(self) -> [u8; SUITE_LEN] {
        [0, 0, 0, 0, 0, self as u8]
    }

    fn from_octets(octets: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.octets() == octets)
    }

    /// CSuite_List of these.
    #[must_use]
    pub fn list(suites: &[Self]) -> Vec<u8> {
        suites.iter().flat_map(|suite| suite.octets()).collect()
    }
}

/// Why a peer or server gives up (RFC 5433 s.9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// 1
    PskNotFound,
    /// 2
    AuthenticationFailure,
    /// 3
    AuthorizationFailure,
    /// Another one.
    Other(u32),
}

impl FailureCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::PskNotFound => 1,
            Self::AuthenticationFailure => 2,
            Self::AuthorizationFailure => 3,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::PskNotFound,
            2 => Self::AuthenticationFailure,
            3 => Self::AuthorizationFailure,
            other => Self::Other(other),
        }
    }
}

/// What a MAC covers, and the MAC. [`Keys::verify`] compares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// The octets covered.
    pub covered: &'a [u8],
    /// The MAC.
    pub mac: &'a [u8],
    /// PD_Payload_Block; empty where there is none. [`Keys::opens`] judges it.
    pub protected_data: &'a [u8],
}

/// GPSK-1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Gpsk1<'a> {
    /// ID_Server.
    pub id_server: &'a [u8],
    /// RAND_Server.
    pub rand_server: &'a [u8; RAND_LEN],
    /// CSuite_List as it was sent.
    pub suite_list: &'a [u8],
}

/// GPSK-2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Gpsk2<'a> {
    /// ID_Peer.
    pub id_peer: &'a [u8],
    /// ID_Server.
    pub id_server: &'a [u8],
    /// RAND_Peer.
    pub rand_peer: &'a [u8; RAND_LEN],
    /// RAND_Server.
    pub rand_server: &'a [u8; RAND_LEN],
    /// CSuite_List as it was sent.
    pub suite_list: &'a [u8],
    /// CSuite_Sel.
    pub suite: Ciphersuite,
    /// MAC and protected data.
    pub sealed: Sealed<'a>,
}

/// GPSK-3.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Gpsk3<'a> {
    /// RAND_Peer.
    pub rand_peer: &'a [u8; RAND_LEN],
    /// RAND_Server.
    pub rand_server: &'a [u8; RAND_LEN],
    /// ID_Server.
    pub id_server: &'a [u8],
    /// CSuite_Sel.
    pub suite: Ciphersuite,
    /// MAC and protected data.
    pub sealed: Sealed<'a>,
}

/// A message, read from Type-Data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// GPSK-1
    One(Gpsk1<'a>),
    /// GPSK-2
    Two(Gpsk2<'a>),
    /// GPSK-3
    Three(Gpsk3<'a>),
    /// GPSK-4
    Four(Sealed<'a>),
    /// GPSK-Fail
    Fail(FailureCode),
    /// GPSK-Protected-Fail
    ProtectedFail(FailureCode, Sealed<'a>),
}

/// The Type-Data is no EAP-GPSK message that this understands; "silently discarded" (RFC 5433 s.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Malformed;

impl<'a> Message<'a> {
    /// Reads Type-Data. `suite` is the ciphersuite in use, as the lengths of GPSK-4 and
    /// GPSK-Protected-Fail depend on it.
    ///
    /// # Errors
    /// [`Malformed`]; a GPSK-2 or GPSK-3 with an unknown CSuite_Sel is, too.
    pub fn parse(type_data: &'a [u8], suite: Option<Ciphersuite>) -> Result<Self, Malformed> {
        let (op_code, payload) = type_data.split_first().ok_or(Malformed)?;
        let mut reader = Reader { payload, rest: payload };
        let message = match op_code {
            1 => {
                let message = Gpsk1 {
                    id_server: reader.id()?,
                    rand_server: reader.random()?,
                    suite_list: reader.suite_list()?,
                };
                Self::One(message)
            }
            2 => {
                let (id_peer, id_server) = (reader.id()?, reader.id()?);
                let (rand_peer, rand_server) = (reader.random()?, reader.random()?);
                let (suite_list, suite) = (reader.suite_list()?, reader.suite()?);
                let sealed = reader.sealed(suite)?;
                let (id, rand) = ((id_peer, id_server), (rand_peer, rand_server));
                Self::Two(Gpsk2 {
                    id_peer: id.0,
                    id_server: id.1,
                    rand_peer: rand.0,
                    rand_server: rand.1,
                    suite_list,
                    suite,
                    sealed,
                })
            }
            3 => {
                let (rand_peer, rand_server) = (reader.random()?, reader.random()?);
                let (id_server, suite) = (reader.id()?, reader.suite()?);
                let sealed = reader.sealed(suite)?;
                Self::Three(Gpsk3 { rand_peer, rand_server, id_server, suite, sealed })
            }
            4 => Self::Four(reader.sealed(suite.ok_or(Malformed)?)?),
            5 => Self::Fail(reader.failure_code()?),
            6 => {
                let code = reader.failure_code()?;
                let sealed = reader.mac(suite.ok_or(Malformed)?, &[])?;
                Self::ProtectedFail(code, sealed)
            }
            _ => return Err(Malformed),
        };
        if reader.rest.is_empty() { Ok(message) } else { Err(Malformed) }
    }
}

struct Reader<'a> {
    /// Everything behind the OP-Code: what a MAC covers begins here.
    payload: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn variable(&mut self) -> Result<&'a [u8], Malformed> {
        let len = u16::from_be_bytes(*self.chunk()?);
        self.take(usize::from(len))
    }

    fn id(&mut self) -> Result<&'a [u8], Malformed> {
        self.variable().and_then(|id| if id.len() > MAX_ID { Err(Malformed) } else { Ok(id) })
    }

    fn random(&mut self) -> Result<&'a [u8; RAND_LEN], Malformed> {
        self.chunk()
    }

    fn suite_list(&mut self) -> Result<&'a [u8], Malformed> {
        // RFC 5433 s.9.2: a multiple of 6 octets.
        let list = self.variable()?;
        if list.is_empty() || list.len() % SUITE_LEN != 0 { Err(Malformed) } else { Ok(list) }
    }

    fn suite(&mut self) -> Result<Ciphersuite, Malformed> {
        Ciphersuite::from_octets(self.take(SUITE_LEN)?).ok_or(Malformed)
    }

    fn failure_code(&mut self) -> Result<FailureCode, Malformed> {
        Ok(FailureCode::from_code(u32::from_be_bytes(*self.chunk()?)))
    }

    fn sealed(&mut self, suite: Ciphersuite) -> Result<Sealed<'a>, Malformed> {
        let protected_data = self.variable()?;
        self.mac(suite, protected_data)
    }

    fn mac(
        &mut self,
        suite: Ciphersuite,
        protected_data: &'a [u8],
    ) -> Result<Sealed<'a>, Malformed> {
        let covered = self.payload.len() - self.rest.len();
        let covered = self.payload.get(..covered).ok_or(Malformed)?;
        Ok(Sealed { covered, mac: self.take(suite.mac_len())?, protected_data })
    }
}

/// The ciphersuites of a CSuite_List that are known, in its order.
pub fn known_suites(list: &[u8]) -> impl Iterator<Item = Ciphersuite> {
    list.chunks_exact(SUITE_LEN).filter_map(Ciphersuite::from_octets)
}

/// Type-Data, written. What can't be written (a string longer than 65535 octets) is cut off by
/// nobody: the lengths of identities are checked where they are configured.
struct Writer(Vec<u8>);

impl Writer {
    fn new(op_code: u8) -> Self {
        Self(vec![op_code])
    }

    fn put(mut self, octets: &[u8]) -> Self {
        self.0.extend_from_slice(octets);
        self
    }

    fn variable(self, octets: &[u8]) -> Self {
        let octets = octets.get(..octets.len().min(usize::from(u16::MAX))).unwrap_or_default();
        let len = u16::try_from(octets.len()).unwrap_or(u16::MAX);
        self.put(&len.to_be_bytes()).put(octets)
    }

    /// The MAC over everything behind the OP-Code.
    fn sealed(self, keys: &Keys) -> Vec<u8> {
        let mac = keys.mac(self.0.get(1..).unwrap_or_default());
        self.put(&mac).0
    }
}

impl Gpsk1<'_> {
    /// Type-Data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new(1).variable(self.id_server).put(self.rand_server).variable(self.suite_list).0
    }
}

/// Type-Data of GPSK-2 that answers `one`, without protected data.
#[must_use]
pub fn encode_2(
    one: &Gpsk1<'_>,
    id_peer: &[u8],
    rand_peer: &[u8; RAND_LEN],
    suite: Ciphersuite,
    keys: &Keys,
) -> Vec<u8> {
    Writer::new(2)
        .variable(id_peer)
        .variable(one.id_server)
        .put(rand_peer)
        .put(one.rand_server)
        .variable(one.suite_list)
        .put(&suite.octets())
        .variable(&[])
        .sealed(keys)
}

/// Type-Data of GPSK-3 that answers `two`, without protected data.
#[must_use]
pub fn encode_3(two: &Gpsk2<'_>, keys: &Keys) -> Vec<u8> {
    Writer::new(3)
        .put(two.rand_peer)
        .put(two.rand_server)
        .variable(two.id_server)
        .put(&two.suite.octets())
        .variable(&[])
        .sealed(keys)
}

/// Type-Data of GPSK-4, without protected data.
#[must_use]
pub fn encode_4(keys: &Keys) -> Vec<u8> {
    Writer::new(4).variable(&[]).sealed(keys)
}

/// Type-Data of GPSK-Fail.
#[must_use]
pub fn encode_fail(code: FailureCode) -> Vec<u8> {
    Writer::new(5).put(&code.code().to_be_bytes()).0
}

/// Type-Data of GPSK-Protected-Fail.
#[must_use]
pub fn encode_protected_fail(code: FailureCode, keys: &Keys) -> Vec<u8> {
    Writer::new(6).put(&code.code().to_be_bytes()).sealed(keys)
}

/// An EAP packet with this Type-Data; `None` where it is too long for one.
#[must_use]
pub fn packet(code: Code, identifier: u8, type_data: &[u8]) -> Option<Vec<u8>> {
    encode(code, identifier, EapType::GPSK, type_data)
}

#[cfg(test)]
mod tests;
