//! Care-of address, NAT detection and the IPv4 home address.
//!
//! Read first: RFC 5555 s.3.1, 3.2, 4.2, 4.5; readings.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hearth_wire::mh::{BuOptions, Ipv4Ack, Ipv4AckStatus, Ipv4HomeAddress, NatDetection};

use ipnet::IpNet;

use crate::policy::Policy;

/// The care-of address of a Binding Update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CareOf {
    /// The address, and the port that data goes to.
    pub(crate) address: SocketAddr,
    /// Whether a NAT is on the path; `None` where none is looked for.
    pub(crate) nat: Option<bool>,
}

impl CareOf {
    /// The care-of address by R-36, from the outer source and the options; `None` where it is not
    /// unicast routable (RFC 6275 s.6.1.7: discarded silently).
    pub(crate) fn of(remote: SocketAddr, options: &BuOptions<'_>, policy: &Policy) -> Option<Self> {
        let (address, nat) = match remote.ip() {
            // outer IPv4: always the outer source; RFC 5555 s.4.2: a NAT is where the option
            // differs from it. Absent counts as NAT.
            IpAddr::V4(source) => (remote.ip(), Some(options.ipv4_coa != Some(source))),
            IpAddr::V6(source) if policy.nat66_follow_source => {
                (remote.ip(), Some(options.alternate_coa != Some(source)))
            }
            // The ICV does not cover the outer header, so the option is the authenticated one.
            IpAddr::V6(source) => (options.alternate_coa.unwrap_or(source).into(), None),
        };
        is_routable(address).then(|| Self { address: SocketAddr::new(address, remote.port()), nat })
    }

    /// The NAT detection option of the answer: always there over IPv4. F says that UDP
    /// encapsulation stays, NAT or not: there is no other.
    pub(crate) fn nat_detection(&self, policy: &Policy) -> Option<NatDetection> {
        self.nat.map(|nat| NatDetection {
            force_udp: true,
            refresh_time: if nat { policy.nat_refresh_time } else { NatDetection::NO_NAT },
        })
    }
}

/// What decides over an IPv4 home address option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ipv4Claim {
    /// The address that the SA names.
    pub(crate) assigned: Option<Ipv4Addr>,
    /// Whether this binding has an IPv4 home address already.
    pub(crate) bound: bool,
    /// Whether the assigned address is bound together with another home address.
    pub(crate) taken: bool,
    /// The prefix that is bound already.
    pub(crate) bound_prefix: Option<IpNet>,
    /// The prefix that the subscriber has, where it asks for one of the option's length.
    pub(crate) prefix: Option<IpNet>,
}

/// What of an IPv4 home address option is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ipv4Grant {
    /// The answer.
    pub(crate) ack: Ipv4Ack,
    /// The home address that is bound.
    pub(crate) home_address: Option<Ipv4Addr>,
    /// The mobile network prefix that is bound.
    pub(crate) prefix: Option<IpNet>,
}

/// The answer to an IPv4 home address option, and what is bound (RFC 5555 s.4.5).
pub(crate) fn acknowledge_ipv4(
    option: Ipv4HomeAddress,
    claim: Ipv4Claim,
    policy: &Policy,
) -> Ipv4Grant {
    claim_ipv4(option, claim, policy).unwrap_or_else(|status| Ipv4Grant {
        // RFC 5555 s.3.2.1: Pref-len is 0 in case of failure, the address copied from the BU.
        ack: Ipv4Ack { status, prefix_len: 0, address: option.address },
        home_address: None,
        prefix: None,
    })
}

fn claim_ipv4(
    option: Ipv4HomeAddress,
    claim: Ipv4Claim,
    policy: &Policy,
) -> Result<Ipv4Grant, Ipv4AckStatus> {
    // RFC 5555 s.3.1.1: "A value of zero is invalid and MUST be considered an error."
    if !(1..=32).contains(&option.prefix_len) {
        return Err(Ipv4AckStatus::INVALID_ADDRESS);
    }
    let prefix = claim_prefix(option, claim)?;
    let in_prefix =
        |address: Ipv4Addr| prefix.is_some_and(|net| net.contains(&IpAddr::V4(address)));
    let address = match (option.address.is_unspecified(), claim.assigned) {
        // The HAC has assigned the address already: it is returned.
        (true, Some(assigned)) => assigned,
        (true, None) => match prefix.map(|prefix| prefix.network()) {
            Some(IpAddr::V4(network)) => network,
            _ => return Err(Ipv4AckStatus::DYNAMIC_NOT_AVAILABLE),
        },
        (false, _) if !is_routable_v4(option.address) => {
            return Err(Ipv4AckStatus::INVALID_ADDRESS);
        }
        (false, Some(assigned)) if assigned == option.address => assigned,
        // The mobile node has made itself an address out of its prefix.
        (false, _) if in_prefix(option.address) => option.address,
        (false, _) => return Err(Ipv4AckStatus::INCORRECT_HOME_ADDRESS),
    };
    let is_free = |assigned: &Ipv4Addr| !claim.taken && policy.serves((*assigned).into());
    let usable = claim.assigned.filter(is_free);
    if claim.assigned == Some(address) && usable.is_none() {
        return Err(Ipv4AckStatus::ADMINISTRATIVELY_PROHIBITED);
    }
    // The option has room for one address: that of a prefix does not stand for the home address.
    let home_address = usable.filter(|usable| *usable == address || prefix.is_some());
    let prefix_len = prefix.map_or(32, |prefix| prefix.prefix_len());
    // Of a prefix, the address says which one: the mobile node has no other field to learn it from.
    let address = match prefix.map(|prefix| prefix.network()) {
        Some(IpAddr::V4(network)) if !in_prefix(address) => network,
        _ => address,
    };
    let ack = Ipv4Ack { status: Ipv4AckStatus::SUCCESS, prefix_len, address };
    Ok(Ipv4Grant { ack, home_address, prefix })
}

/// RFC 5555 s.3.1.1: P "is only relevant for new requests, and must be ignored for binding
/// refreshes", in which "this field must contain the length of the prefix allocated".
fn claim_prefix(option: Ipv4HomeAddress, claim: Ipv4Claim) -> Result<Option<IpNet>, Ipv4AckStatus> {
    let stays = claim.bound_prefix.filter(|bound| bound.prefix_len() == option.prefix_len);
    if stays.is_some() || !option.prefix_request || claim.bound {
        return Ok(stays);
    }
    claim.prefix.map(Some).ok_or(Ipv4AckStatus::PREFIX_UNAUTHORIZED)
}

/// Whether `address` can be a care-of address: unicast and more than link-local. Private
/// and documentation ranges can.
pub(crate) fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_routable_v4(address),
        IpAddr::V6(address) => is_routable_v6(address),
    }
}

fn is_routable_v4(address: Ipv4Addr) -> bool {
    !(address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast())
}

/// Whether `address` is a unicast routable IPv6 address (RFC 6275 s.9.3.1, 9.5.1).
pub(crate) fn is_routable_v6(address: Ipv6Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some())
}
