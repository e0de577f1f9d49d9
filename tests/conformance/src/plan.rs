//! The addresses that all cases use.
//!
//! ```text
//!   a to f: 2001:db8:6618:100::a to ::f, 203.0.113.130 to .135
//!    |  care-of addresses, 2001:db8:1::c and others
//!    |                        HA 2001:db8:6618::1 and 192.0.2.1, port 7872
//!    +------- visited network -------+------- home prefixes 2001:db8:6618:100::/64,
//!                                             203.0.113.128/25
//! ```

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The home agent's IPv6 address.
pub const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x6618, 0, 0, 0, 0, 1);
/// The home agent's IPv4 address.
pub const HA4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The service port.
pub const PORT: u16 = 7872;

/// A mobile node of the cases, by its letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(u8);

impl Node {
    /// The mobile node of this name; `None` for any other word.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.as_bytes() {
            [letter @ b'a'..=b'f'] => Some(Self(letter - b'a')),
            _ => None,
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..6).map(Self)
    }

    /// Its letter.
    #[must_use]
    pub fn letter(self) -> char {
        char::from(b'a' + self.0)
    }

    /// Its NAI.
    #[must_use]
    pub fn nai(self) -> String {
        format!("{}@example.org", self.letter())
    }

    /// Its home address.
    #[must_use]
    pub fn home_address(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0x6618, 0x100, 0, 0, 0, 0xa + u16::from(self.0))
    }

    /// Its IPv4 home address.
    #[must_use]
    pub fn ipv4_home_address(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 130 + self.0)
    }
}

/// A home address by the letter of its mobile node, any other as it is.
#[must_use]
pub fn name_of(home_address: Ipv6Addr) -> String {
    let node = Node::all().find(|node| node.home_address() == home_address);
    node.map_or_else(|| home_address.to_string(), |node| node.letter().to_string())
}

/// The address and port of the home agent that a packet from `remote` goes to.
#[must_use]
pub fn local_for(remote: SocketAddr) -> SocketAddr {
    if remote.is_ipv4() { (HA4, PORT).into() } else { (HA, PORT).into() }
}
