//! Care-of address, NAT detection and the IPv4 home address.
//!
//! Read first: RFC 5555 s.3.1, 3.2, 4.2, 4.5; readings.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hearth_wire::mh::{BuOptions, Ipv4Ack, Ipv4AckStatus, Ipv4HomeAddress, NatDetection};

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
}

/// The answer to an IPv4 home address option; where its status is a success, the address is bound
/// (RFC 5555 s.4.5).
pub(crate) fn acknowledge_ipv4(
    option: Ipv4HomeAddress,
    claim: Ipv4Claim,
    policy: &Policy,
) -> Ipv4Ack {
    match claim_ipv4(option, claim, policy) {
        Ok(address) => Ipv4Ack { status: Ipv4AckStatus::SUCCESS, prefix_len: 32, address },
        // RFC 5555 s.3.2.1: Pref-len is 0 in case of failure, the address copied from the BU.
        Err(status) => Ipv4Ack { status, prefix_len: 0, address: option.address },
    }
}

fn claim_ipv4(
    option: Ipv4HomeAddress,
    claim: Ipv4Claim,
    policy: &Policy,
) -> Result<Ipv4Addr, Ipv4AckStatus> {
    // RFC 5555 s.3.1.1: "A value of zero is invalid and MUST be considered an error."
    if !(1..=32).contains(&option.prefix_len) {
        return Err(Ipv4AckStatus::INVALID_ADDRESS);
    }
    // RFC 5555 s.3.1.1: P "is only relevant for new requests, and must be ignored for binding
    // refreshes". No IPv4 prefixes are given to mobile nodes.
    if option.prefix_request && !claim.bound {
        return Err(Ipv4AckStatus::PREFIX_UNAUTHORIZED);
    }
    let address = match (option.address.is_unspecified(), claim.assigned) {
        // The HAC has assigned the address already: it is returned.
        (true, Some(assigned)) => assigned,
        (true, None) => return Err(Ipv4AckStatus::DYNAMIC_NOT_AVAILABLE),
        (false, _) if !is_routable_v4(option.address) => {
            return Err(Ipv4AckStatus::INVALID_ADDRESS);
        }
        (false, Some(assigned)) if assigned == option.address => assigned,
        (false, _) => return Err(Ipv4AckStatus::INCORRECT_HOME_ADDRESS),
    };
    if claim.taken || !policy.serves(address.into()) {
        return Err(Ipv4AckStatus::ADMINISTRATIVELY_PROHIBITED);
    }
    Ok(address)
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
