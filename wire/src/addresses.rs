//! Lists of addresses that stand one behind the other.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// An IP address of one version.
pub trait Address: fmt::Debug + Copy + Eq + Ord + 'static {
    /// Its octets on the wire.
    type Octets: fmt::Debug + Copy + AsRef<[u8]> + 'static;

    /// The address with these octets.
    fn from_wire(octets: Self::Octets) -> Self;

    /// The octets of the address.
    fn to_wire(self) -> Self::Octets;

    /// Splits `count` addresses off `octets`; `None` where there are fewer.
    fn split(octets: &[u8], count: usize) -> Option<(&[Self::Octets], &[u8])>;
}

impl Address for Ipv6Addr {
    type Octets = [u8; 16];

    fn from_wire(octets: [u8; 16]) -> Self {
        octets.into()
    }

    fn to_wire(self) -> [u8; 16] {
        self.octets()
    }

    fn split(octets: &[u8], count: usize) -> Option<(&[[u8; 16]], &[u8])> {
        let (addresses, rest) = octets.split_at_checked(count.checked_mul(16)?)?;
        Some((addresses.as_chunks().0, rest))
    }
}

impl Address for Ipv4Addr {
    type Octets = [u8; 4];

    fn from_wire(octets: [u8; 4]) -> Self {
        octets.into()
    }

    fn to_wire(self) -> [u8; 4] {
        self.octets()
    }

    fn split(octets: &[u8], count: usize) -> Option<(&[[u8; 4]], &[u8])> {
        let (addresses, rest) = octets.split_at_checked(count.checked_mul(4)?)?;
        Some((addresses.as_chunks().0, rest))
    }
}

/// Addresses as they stand in a message that was received, or as values to be sent.
#[derive(Clone, Copy)]
pub enum Addresses<'a, A: Address = Ipv6Addr> {
    /// As on the wire.
    Wire(&'a [A::Octets]),
    /// Values.
    List(&'a [A]),
}

impl<'a, A: Address> Addresses<'a, A> {
    /// The addresses in their order.
    pub fn iter(self) -> impl Iterator<Item = A> + use<'a, A> {
        let (wire, list): (&[A::Octets], &[A]) = match self {
            Self::Wire(addresses) => (addresses, &[]),
            Self::List(addresses) => (&[], addresses),
        };
        wire.iter().map(|octets| A::from_wire(*octets)).chain(list.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Wire(addresses) => addresses.len(),
            Self::List(addresses) => addresses.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl<A: Address> Default for Addresses<'_, A> {
    fn default() -> Self {
        Self::List(&[])
    }
}

impl<A: Address> PartialEq for Addresses<'_, A> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<A: Address> Eq for Addresses<'_, A> {}

impl<A: Address> fmt::Debug for Addresses<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
