//! Neighbours: MAC addresses by port and IP address, as the kernel has resolved them.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::config::PortId;
use crate::layout::mapped;
use crate::table::next_hop::NeighbourIndex;
use crate::table::reserve::Reserve;

/// Octets of a key.
pub(crate) const KEY_LEN: usize = 20;

/// The key of a neighbour in the hash table: port, padding, address in IPv6 form.
pub(crate) fn key(port: PortId, address: IpAddr) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    key[..2].copy_from_slice(&port.0.to_be_bytes());
    key[4..].copy_from_slice(&mapped(address).octets());
    key
}

/// Ports and MAC addresses by the number that the hash table gives. A changed address is one store.
pub(crate) struct MacTable(Reserve<AtomicU64>); // control: rw, workers: ro

impl MacTable {
    pub(crate) fn new(entries: usize) -> Option<Self> {
        Reserve::new(entries).map(Self)
    }

    pub(crate) fn set(&self, index: u32, port: PortId, mac: [u8; 6]) {
        let [high, low] = port.0.to_be_bytes();
        let [a, b, c, d, e, f] = mac;
        if let Some(cell) = self.0.get(index as usize) {
            cell.store(u64::from_be_bytes([high, low, a, b, c, d, e, f]), Ordering::Relaxed);
        }
    }

    /// Port, and MAC address in the upper 48 bits.
    #[inline]
    pub(crate) fn get(&self, index: NeighbourIndex) -> Option<(PortId, u64)> {
        let packed = self.0.get(index.0 as usize)?.load(Ordering::Relaxed);
        let port = (packed >> 48) as u16;
        Some((PortId(port), packed << 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_port_and_address() {
        let v4: IpAddr = "198.51.100.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let keys = [key(PortId(0), v4), key(PortId(1), v4), key(PortId(0), v6), key(PortId(1), v6)];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn a_mac_address_survives() {
        let table = MacTable::new(2).unwrap();
        table.set(1, PortId(9), [2, 3, 4, 5, 6, 7]);
        assert_eq!(table.get(NeighbourIndex(1)), Some((PortId(9), 0x0203_0405_0607_0000)));
        assert_eq!(table.get(NeighbourIndex(2)), None);
    }
}
