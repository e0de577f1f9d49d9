//! EAP inside MHAuth: what a method is, what it proves, and its one key.
//!
//! Read first: RFC 6618 s.5.9; RFC 3748 s.2, 7.10; RFC 5247 s.1.4; readings R-10, R-11.
//!
//! | module | what it is |
//! |---|---|
//! | [`gpsk`] | EAP-GPSK (RFC 5433) |
//! | [`server`] | the authenticator: Identity, negotiation, the method's run, success or failure |
//! | [`tls`] | EAP-TLS |
//!
//! A method sees Type-Data only; Code, Identifier, Length and Type are the server's.

pub mod gpsk;
pub mod server;
pub mod tls;

use core::fmt;

use hearth_wire::MobileNodeId;
use hearth_wire::eap::EapType;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// One run of an EAP method at the server, without I/O and clock. What randomness and keys it
/// needs it has got when it was made.
pub trait Method: Send {
    /// Its type.
    fn eap_type(&self) -> EapType;

    /// Type-Data of its first Request. Called once, before everything else.
    fn begin(&mut self) -> Vec<u8>;

    /// Takes the Type-Data of the Response to its last Request.
    fn respond(&mut self, type_data: &[u8]) -> MethodStep;
}

/// What a method does after a Response.
#[derive(Debug)]
pub enum MethodStep {
    /// Sends this Type-Data in the next Request.
    Request(Vec<u8>),
    /// Has authenticated the peer: EAP-Success.
    Success(Proof),
    /// Has not: EAP-Failure and 401.
    Failure,
    /// What the method's RFC silently discards because it has not the method's form, or is not what
    /// comes now: 400 (R-10).
    Malformed,
    /// What the method's RFC silently discards because a MAC or a nonce is wrong: 401 (R-10).
    Discarded,
    /// Can't go on by a fault of this server: 500.
    Fault,
}

/// What a method has proved.
#[derive(Debug)]
pub struct Proof {
    /// Who the peer is (R-11).
    pub identity: Identity,
    /// The Master Session Key, where the method derives one.
    pub msk: Option<Msk>,
}

/// The names that a method has proved for its peer: GPSK's ID_Peer, the subjectAltNames of a
/// certificate, the User-Name of an Access-Accept (R-11). Never EAP-Response/Identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(Vec<Box<str>>);

impl Identity {
    /// One name.
    #[must_use]
    pub fn one(name: &str) -> Self {
        Self(vec![name.into()])
    }

    /// Several names of one peer, each as good as the others.
    #[must_use]
    pub fn any_of(names: impl IntoIterator<Item = Box<str>>) -> Self {
        Self(names.into_iter().collect())
    }

    /// No name at all: nothing that an mn-id can map to.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether it is `mn_id`'s: the only SA that it opens is that mn-id's own (R-11, EAP-07).
    #[must_use]
    pub fn proves(&self, mn_id: &MobileNodeId) -> bool {
        self.0.iter().any(|name| **name == *mn_id.as_str())
    }
}

/// A Master Session Key (RFC 5247 s.1.4), wiped on drop.
///
/// RFC 6618 s.5.9: "This MSK MUST NOT be used for any other purpose" than to key the Done messages.
/// So it can't be read, copied or printed; its one consumer takes it by value and lies in this
/// crate:
///
/// ```compile_fail
/// fn second_use(msk: hearth_hac::auth::eap::Msk) -> Vec<u8> {
///     msk.into_done_key().octets().to_vec()
/// }
/// ```
///
/// ```compile_fail
/// fn copy(msk: &hearth_hac::auth::eap::Msk) -> hearth_hac::auth::eap::Msk {
///     msk.clone()
/// }
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Msk([u8; Msk::LEN]);

impl Msk {
    /// Octets of an MSK; RFC 6618 uses all of them (R-10).
    pub const LEN: usize = 64;

    /// The MSK of these octets, which are wiped; `None` where they are not [`Msk::LEN`].
    #[must_use]
    pub fn take(octets: &mut [u8]) -> Option<Self> {
        let msk = <[u8; Self::LEN]>::try_from(&*octets).ok().map(Self);
        octets.zeroize();
        msk
    }

    /// The key of the Done messages: the only use there is (EAP-09).
    pub(crate) fn into_done_key(self) -> DoneKey {
        DoneKey::Msk(self)
    }

    /// Whether two ends have derived the same.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the tests of methods")]
    pub(crate) fn is(&self, octets: &[u8]) -> bool {
        self.0 == *octets
    }
}

impl fmt::Debug for Msk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Msk(..)")
    }
}

/// `shared-key` of messages that no MSK keys (R-10).
pub(crate) const NO_MSK: &[u8] = b"1";

/// `shared-key` of the Done messages (RFC 6618 s.5.9).
#[derive(Debug)]
pub(crate) enum DoneKey {
    Msk(Msk),
    /// The method derived none, and the deployment allows that (EAP-04).
    NoMsk,
}

impl DoneKey {
    pub(crate) fn octets(&self) -> &[u8] {
        match self {
            Self::Msk(msk) => &msk.0,
            Self::NoMsk => NO_MSK,
        }
    }
}
