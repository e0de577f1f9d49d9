//! The generator's NICs, by PCI address.

use core::str::FromStr;

use hearth_dpdk::{Eal, Mempool, Port, PortConfig};

use crate::fault::Fault;
use crate::trial::Side;

/// Two ports that are wired to the device under test, and its MAC addresses behind them.
#[derive(Debug, Clone)]
pub(crate) struct Nics {
    /// Towards the side of the mobile nodes, then towards the home network.
    pub(crate) ports: [String; 2],
    pub(crate) macs: [[u8; 6]; 2],
}

impl Nics {
    /// From the command line: both lists have two entries.
    pub(crate) fn new(ports: &[String], macs: &[Mac]) -> Option<Self> {
        let ([access, home], [access_mac, home_mac]) = (ports, macs) else { return None };
        Some(Self { ports: [access.clone(), home.clone()], macs: [access_mac.0, home_mac.0] })
    }

    /// Opens both; with the rate of the slower link in megabits a second.
    pub(crate) fn open(&self, eal: &Eal, pool: &Mempool) -> Result<([Side; 2], u32), Fault> {
        let open = |name: &str| {
            let config = PortConfig { promiscuous: true, ..PortConfig::default() };
            let (port, queues) = Port::open(eal, name, &config, pool)?;
            let mbps = port.link().map_err(|errno| Fault::Dpdk("a link", errno))?.mbps;
            let tx = queues.tx.into_iter().next().ok_or(Fault::Thread)?;
            Ok::<_, Fault>((Side { rx: queues.rx, tx }, mbps))
        };
        let [access, home] = &self.ports;
        let ((access, access_mbps), (home, home_mbps)) = (open(access)?, open(home)?);
        Ok(([access, home], access_mbps.min(home_mbps)))
    }
}

/// A MAC address as six pairs of hexadecimal digits with colons between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octet = |text: &str| match text.len() {
            2 => u8::from_str_radix(text, 16).ok(),
            _ => None,
        };
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        let octets = octets.and_then(|octets| octets.try_into().ok());
        octets.map(Self).ok_or_else(|| "as 02:00:00:00:00:01".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_read() {
        assert_eq!("02:00:00:AA:00:ff".parse(), Ok(Mac([2, 0, 0, 0xaa, 0, 0xff])));
        for wrong in ["", "02:00:00:00:00", "2:0:0:0:0:1", "02-00-00-00-00-01", "0g:00:00:00:00:00"]
        {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
