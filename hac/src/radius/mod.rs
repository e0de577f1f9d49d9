//! The AAA server behind the HAC: EAP passed through to RADIUS, and accounting.
//!
//! Read first: RFC 2865, RFC 3579, RFC 2548 s.2.4, RFC 5997; readings.
//!
//! A session hands over each EAP packet of the mobile node as a [`Relay`] and gets a [`Relayed`], or
//! a [`RelayError`] where no server answered.
//!
//! | module | what it is |
//! |---|---|
//! | [`attribute`], [`packet`], [`mppe`], [`authorisation`] | formats, without I/O |
//! | [`health`] | whether a server is dead, without I/O |
//! | [`server`], [`radsec`], [`counters`] | one server: sockets, retransmission, Status-Server |
//! | [`client`] | several servers in their order: EAP passed through |
//! | [`accounting`] | what was issued, told to accounting servers |

pub mod accounting;
pub mod attribute;
pub mod authorisation;
pub mod client;
pub mod counters;
pub mod health;
mod link;
pub mod mppe;
pub mod packet;
pub mod radsec;
pub mod server;

use std::fmt;
use std::net::SocketAddr;

use hearth_wire::MobileNodeId;
use zeroize::Zeroizing;

pub use accounting::Accounting;
pub use authorisation::Authorisation;
pub use client::Client;
pub use server::{ServerConfig, Transport};

/// One EAP packet of the mobile node for the AAA server.
#[derive(Debug)]
pub struct Relay {
    /// The packet, from its Code on; the first one of a conversation is the EAP-Response/Identity.
    pub eap: Vec<u8>,
    /// Who the mobile node says it is.
    pub mn_id: MobileNodeId,
    /// What came with the last [`Relayed::Challenge`]; `None` begins a conversation.
    pub state: Option<RelayState>,
}

/// A conversation with one AAA server, between a challenge and its answer. Only the server that
/// challenged can judge the answer, so a conversation never moves to another one.
pub struct RelayState {
    /// Where the server listens.
    pub server: SocketAddr,
    /// Its State attributes, in order (RFC 2865 s.5.24).
    pub state: Vec<Box<[u8]>>,
    /// What the conversation began with: the same in each of its requests (RFC 3579 s.2.1).
    pub user_name: Box<[u8]>,
}

impl fmt::Debug for RelayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayState").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What the AAA server made of a [`Relay`]. The packet type rules, never the EAP packet inside
/// (RFC 3579 s.2.6.3).
#[derive(Debug)]
pub enum Relayed {
    /// Access-Challenge: the next EAP-Request, and what its answer is to be relayed with.
    Challenge {
        /// The EAP-Request.
        eap: Vec<u8>,
        /// For the next [`Relay`].
        state: RelayState,
    },
    /// Access-Accept.
    Accept {
        /// The EAP-Success.
        eap: Vec<u8>,
        /// Who was authenticated: the User-Name of the Access-Accept, and only where YAML states
        /// that this server returns the authenticated name.
        user_name: Option<String>,
        /// `None`: the method made no keys, or the server does not hand them out.
        msk: Option<MppeKeys>,
        /// What the server says that this mobile node gets.
        authorisation: Box<Authorisation>,
    },
    /// Access-Reject.
    Reject {
        /// The EAP-Failure.
        eap: Vec<u8>,
    },
}

/// MS-MPPE-Recv-Key | MS-MPPE-Send-Key of an Access-Accept: the MSK. No `Debug` of the
/// octets, no `Clone`; wiped on drop.
pub struct MppeKeys(Zeroizing<[u8; 64]>);

impl MppeKeys {
    /// Takes the 64 octets.
    #[must_use]
    pub const fn new(octets: Zeroizing<[u8; 64]>) -> Self {
        Self(octets)
    }

    /// Hands them over.
    #[must_use]
    pub fn into_octets(self) -> Zeroizing<[u8; 64]> {
        self.0
    }
}

impl fmt::Debug for MppeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MppeKeys(..)")
    }
}

/// Why there is no answer of an AAA server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayError {
    /// No server answered: 504.
    Silent,
    /// All servers are known to be dead: 503.
    AllDead {
        /// Seconds until one may be back.
        retry_after: u64,
    },
}
