//! An address of either family and a port, in 18 octets.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A `SocketAddr` without what no outer header carries; half its size. An IPv4 address stands in
/// its IPv4-mapped form, which as an IPv6 address is no endpoint (`dsmipv6::is_routable_v6`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    ip: [u8; 16],
    port: u16,
}

impl Endpoint {
    /// As it is kept across a restart.
    pub(crate) fn to_octets(self) -> [u8; 18] {
        let mut octets = [0; 18];
        octets[..16].copy_from_slice(&self.ip);
        octets[16..].copy_from_slice(&self.port.to_be_bytes());
        octets
    }

    pub(crate) fn from_octets(octets: [u8; 18]) -> Self {
        let [ip @ .., high, low] = octets;
        Self { ip, port: u16::from_be_bytes([high, low]) }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self { ip: ip.octets(), port: address.port() }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(Ipv6Addr::from(endpoint.ip).to_canonical(), endpoint.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_come_back() {
        for text in ["198.51.100.7:5000", "0.0.0.0:0", "[2001:db8::1]:7872", "[::]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Endpoint::from(address)), address);
        }
        assert_eq!(size_of::<Endpoint>(), 18);
    }
}
