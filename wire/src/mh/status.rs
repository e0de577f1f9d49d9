//! Status codes of Binding Acknowledgements and of the IPv4 address acknowledgement option.

use core::fmt;

/// Status of a Binding Acknowledgement. Below 128 the BU was accepted (RFC 6275 s.6.1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// Binding Update accepted.
    pub const ACCEPTED: Self = Self(0);
    /// Accepted but prefix discovery necessary.
    pub const ACCEPTED_PREFIX_DISCOVERY: Self = Self(1);
    /// MCOA NOTCOMPLETE: some of several bindings were refused (RFC 5648 s.4.4).
    pub const MCOA_NOT_COMPLETE: Self = Self(4);
    /// MCOA RETURNHOME WO/NDP: at home, but without Neighbour Discovery for the home address.
    pub const MCOA_RETURN_HOME_WITHOUT_NDP: Self = Self(5);
    /// Reason unspecified.
    pub const REASON_UNSPECIFIED: Self = Self(128);
    /// Administratively prohibited.
    pub const ADMINISTRATIVELY_PROHIBITED: Self = Self(129);
    /// Insufficient resources.
    pub const INSUFFICIENT_RESOURCES: Self = Self(130);
    /// Home registration not supported.
    pub const HOME_REGISTRATION_NOT_SUPPORTED: Self = Self(131);
    /// Not home subnet.
    pub const NOT_HOME_SUBNET: Self = Self(132);
    /// Not home agent for this mobile node.
    pub const NOT_HOME_AGENT: Self = Self(133);
    /// Duplicate Address Detection failed.
    pub const DAD_FAILED: Self = Self(134);
    /// Sequence number out of window.
    pub const SEQUENCE_OUT_OF_WINDOW: Self = Self(135);
    /// Expired home nonce index.
    pub const EXPIRED_HOME_NONCE: Self = Self(136);
    /// Expired care-of nonce index.
    pub const EXPIRED_CARE_OF_NONCE: Self = Self(137);
    /// Expired nonces.
    pub const EXPIRED_NONCES: Self = Self(138);
    /// Registration type change disallowed.
    pub const REGISTRATION_TYPE_CHANGE: Self = Self(139);
    /// Mobile router operation not permitted (RFC 3963 s.4.2).
    pub const MOBILE_ROUTER_NOT_PERMITTED: Self = Self(140);
    /// Invalid prefix.
    pub const INVALID_PREFIX: Self = Self(141);
    /// Not authorized for prefix.
    pub const NOT_AUTHORIZED_FOR_PREFIX: Self = Self(142);
    /// Forwarding setup failed.
    pub const FORWARDING_SETUP_FAILED: Self = Self(143);
    /// MCOA MALFORMED (RFC 5648 s.4.4).
    pub const MCOA_MALFORMED: Self = Self(164);
    /// MCOA NON-MCOA BINDING EXISTS.
    pub const MCOA_NON_MCOA_BINDING_EXISTS: Self = Self(165);
    /// MCOA PROHIBITED.
    pub const MCOA_PROHIBITED: Self = Self(166);
    /// MCOA UNKNOWN COA.
    pub const MCOA_UNKNOWN_COA: Self = Self(167);
    /// MCOA BULK REGISTRATION PROHIBITED.
    pub const MCOA_BULK_PROHIBITED: Self = Self(168);
    /// MCOA SIMULTANEOUS HOME AND FOREIGN PROHIBITED.
    pub const MCOA_HOME_AND_FOREIGN_PROHIBITED: Self = Self(169);
    /// Invalid care-of address (RFC 6275 s.6.1.8).
    pub const INVALID_COA: Self = Self(174);
    /// `REINIT_SA_WITH_HAC` (RFC 6618 s.8.2): refused by its number, so the BU changes nothing.
    pub const REINIT_SA_WITH_HAC: Self = Self(176);

    /// Whether the BU was accepted.
    #[must_use]
    pub const fn is_accepted(self) -> bool {
        self.0 < 128
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Status of the IPv4 address acknowledgement option (RFC 5555 s.3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4AckStatus(pub u8);

impl Ipv4AckStatus {
    /// Success.
    pub const SUCCESS: Self = Self(0);
    /// Failure, reason unspecified.
    pub const REASON_UNSPECIFIED: Self = Self(128);
    /// Administratively prohibited.
    pub const ADMINISTRATIVELY_PROHIBITED: Self = Self(129);
    /// Incorrect IPv4 home address.
    pub const INCORRECT_HOME_ADDRESS: Self = Self(130);
    /// Invalid IPv4 address.
    pub const INVALID_ADDRESS: Self = Self(131);
    /// Dynamic IPv4 home address assignment not available.
    pub const DYNAMIC_NOT_AVAILABLE: Self = Self(132);
    /// Prefix allocation unauthorized.
    pub const PREFIX_UNAUTHORIZED: Self = Self(133);

    /// Whether the IPv4 home address is bound.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 < 128
    }
}
