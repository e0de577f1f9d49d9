//! What an AAA server says that a mobile node gets.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What an Access-Accept says beyond "yes". What is absent is for the HAC's own configuration to
/// decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorisation {
    /// The IPv6 home address: Framed-IPv6-Address (RFC 6911 s.3.1), or Framed-IPv6-Prefix of 128
    /// bits (RFC 3162 s.2.3).
    pub home_address: Option<Ipv6Addr>,
    /// The IPv4 home address: Framed-IP-Address (RFC 2865 s.5.8), or PMIP6-Home-IPv4-HoA
    /// (RFC 6572 s.4.9).
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// The home agent's IPv6 address: PMIP6-Home-LMA-IPv6-Address (RFC 6572 s.4.2).
    pub home_agent: Option<Ipv6Addr>,
    /// Mobile network prefixes: Delegated-IPv6-Prefix (RFC 4818 s.3).
    pub prefixes: Vec<IpNet>,
    /// The SA's longest validity in seconds: Session-Timeout (RFC 2865 s.5.27).
    pub validity: Option<u32>,
    /// A policy of the HAC by name: Filter-Id (RFC 2865 s.5.11).
    pub policy: Option<String>,
    /// Seconds between interim records: Acct-Interim-Interval (RFC 2869 s.5.16).
    pub interim_interval: Option<u32>,
    /// To be sent back in accounting, unread: Class (RFC 2865 s.5.25).
    pub class: Vec<Box<[u8]>>,
}
