//! Addresses that are answered for on a home link: those of mobile nodes that are away, and the
//! home agents' anycast addresses.
//!
//! Read first: RFC 6275 s.10.4.1, 10.5.1; RFC 3963 s.6.2; RFC 4861 s.7.2.4.
//!
//! An address is defended on one link. A link-local address means another node on each link, so the
//! port is part of its key, where its prefix has 54 bits of nothing. What has anything else there is
//! nobody's (RFC 4291 s.2.5.6).

use core::cell::Cell;
use core::net::IpAddr;

use crate::config::PortId;
use crate::layout::Address6;
use crate::sa::slot::BindingIndex;
use crate::table::homes::{Full, HomeTable};

/// How an address is answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guard {
    /// As a router's (RFC 3963 s.6.2).
    pub(crate) router: bool,
    /// Others may answer for it as well.
    pub(crate) anycast: bool,
}

/// Numbers that tell values of the same guard apart: a value does not come back while somebody may
/// still be reading (see [`HomeTable`]).
const SERIALS: u32 = 1 << 21;

/// The first half of an address of fe80::/64.
const LINK_LOCAL: u64 = 0xfe80 << 48;

/// Whether the address is one of its link, by its number there.
fn key(port: PortId, address: IpAddr) -> Option<Address6> {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let [high, low] = Address6::from(v6).words();
            (high == LINK_LOCAL)
                .then_some(Address6::of_words([high | (u64::from(port.0) + 1), low]))
        }
        _ => Address6::of_home(address),
    }
}

/// The table.
pub(crate) struct DefendedTable {
    entries: HomeTable,
}

/// What only control needs of it.
#[derive(Debug, Default)]
pub(crate) struct Serial(Cell<u32>);

impl DefendedTable {
    /// Room for so many addresses; `None` where memory forbids it.
    pub(crate) fn new(addresses: usize) -> Option<Self> {
        HomeTable::new(addresses).map(|entries| Self { entries })
    }

    /// How an address is answered for on a link, if it is.
    pub(crate) fn get(&self, port: PortId, address: IpAddr) -> Option<Guard> {
        let (home, guard) = unpack(self.entries.get(key(port, address)?)?);
        (home == port).then_some(guard)
    }

    /// Whether the address is a home agents' anycast address, on any link.
    pub(crate) fn is_anycast(&self, address: IpAddr) -> bool {
        let value = Address6::of_home(address).and_then(|key| self.entries.get(key));
        value.is_some_and(|value| unpack(value).1.anycast)
    }

    /// Answers for an address from now on. Control only.
    pub(crate) fn insert(
        &self,
        serial: &Serial,
        (port, address): (PortId, IpAddr),
        guard: Guard,
    ) -> Result<(), Full> {
        let Ok(number) = u8::try_from(port.0) else { return Err(Full) };
        let Some(key) = key(port, address) else { return Err(Full) };
        let next = (serial.0.get() + 1) % SERIALS;
        serial.0.set(next);
        let flags = u32::from(guard.router) | u32::from(guard.anycast) << 1;
        self.entries.insert(key, BindingIndex(next << 10 | u32::from(number) << 2 | flags))
    }

    /// Answers for it no more. Control only.
    pub(crate) fn remove(&self, (port, address): (PortId, IpAddr)) {
        if let Some(key) = key(port, address) {
            self.entries.remove(key);
        }
    }
}

const fn unpack(BindingIndex(value): BindingIndex) -> (PortId, Guard) {
    let guard = Guard { router: value & 1 != 0, anycast: value & 2 != 0 };
    (PortId((value >> 2 & 0xff) as u16), guard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_defended_on_its_link_alone() {
        let (table, serial) = (DefendedTable::new(8).unwrap(), Serial::default());
        let host = Guard { router: false, anycast: false };
        let router = Guard { router: true, anycast: false };
        let anycast = Guard { router: true, anycast: true };
        let [home, v4, local, any]: [IpAddr; 4] =
            ["2001:db8::7", "203.0.113.7", "fe80::7", "2001:db8::fdff:ffff:ffff:fffe"]
                .map(|address| address.parse().unwrap());
        for port in [PortId(0), PortId(255)] {
            for (address, guard) in [(home, host), (v4, router), (local, host), (any, anycast)] {
                table.insert(&serial, (port, address), guard).unwrap();
                assert_eq!(table.get(port, address), Some(guard));
                assert_eq!(table.get(PortId(1), address), None);
                assert_eq!(table.is_anycast(address), guard.anycast);
            }
        }
        // Of a link-local address each link has its own.
        assert_eq!(table.get(PortId(0), local), Some(host));
        assert_eq!(table.get(PortId(0), home), None);
        table.remove((PortId(255), local));
        assert_eq!(table.get(PortId(255), local), None);
        assert_eq!(table.get(PortId(0), local), Some(host));
        assert_eq!(table.insert(&serial, (PortId(256), home), host), Err(Full));
        // fe80::/10 has addresses beyond fe80::/64, one of which is the key of another.
        for beyond in ["fe80:0:0:1::7", "fe80:0:0:2::7", "fe81::7", "febf::7"] {
            let beyond: IpAddr = beyond.parse().unwrap();
            assert_eq!(table.get(PortId(0), beyond), None, "{beyond}");
            assert_eq!(table.insert(&serial, (PortId(0), beyond), host), Err(Full), "{beyond}");
        }
    }
}
