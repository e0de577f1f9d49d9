//! Status codes of Binding Acknowledgements and of the IPv4 address acknowledgement option.

use core::fmt;

/// Status of a Binding Acknowledgement. Below 128 the BU was accepted (RFC 6275 s.6.1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

codes! {
    Status {
        /// Binding Update accepted.
        ACCEPTED = 0,
        /// Accepted but prefix discovery necessary.
        ACCEPTED_PREFIX_DISCOVERY = 1,
        /// MCOA NOTCOMPLETE: some of several bindings were refused (RFC 5648 s.4.4).
        MCOA_NOT_COMPLETE = 4,
        /// MCOA RETURNHOME WO/NDP: at home, but without Neighbour Discovery for the home address.
        MCOA_RETURN_HOME_WITHOUT_NDP = 5,
        /// Reason unspecified.
        REASON_UNSPECIFIED = 128,
        /// Administratively prohibited.
        ADMINISTRATIVELY_PROHIBITED = 129,
        /// Insufficient resources.
        INSUFFICIENT_RESOURCES = 130,
        /// Home registration not supported.
        HOME_REGISTRATION_NOT_SUPPORTED = 131,
        /// Not home subnet.
        NOT_HOME_SUBNET = 132,
        /// Not home agent for this mobile node.
        NOT_HOME_AGENT = 133,
        /// Duplicate Address Detection failed.
        DAD_FAILED = 134,
        /// Sequence number out of window.
        SEQUENCE_OUT_OF_WINDOW = 135,
        /// Expired home nonce index.
        EXPIRED_HOME_NONCE = 136,
        /// Expired care-of nonce index.
        EXPIRED_CARE_OF_NONCE = 137,
        /// Expired nonces.
        EXPIRED_NONCES = 138,
        /// Registration type change disallowed.
        REGISTRATION_TYPE_CHANGE = 139,
        /// Mobile router operation not permitted (RFC 3963 s.4.2).
        MOBILE_ROUTER_NOT_PERMITTED = 140,
        /// Invalid prefix.
        INVALID_PREFIX = 141,
        /// Not authorized for prefix.
        NOT_AUTHORIZED_FOR_PREFIX = 142,
        /// Forwarding setup failed.
        FORWARDING_SETUP_FAILED = 143,
        /// MCOA MALFORMED (RFC 5648 s.4.4).
        MCOA_MALFORMED = 164,
        /// MCOA NON-MCOA BINDING EXISTS.
        MCOA_NON_MCOA_BINDING_EXISTS = 165,
        /// MCOA PROHIBITED.
        MCOA_PROHIBITED = 166,
        /// MCOA UNKNOWN COA.
        MCOA_UNKNOWN_COA = 167,
        /// MCOA BULK REGISTRATION PROHIBITED.
        MCOA_BULK_PROHIBITED = 168,
        /// MCOA SIMULTANEOUS HOME AND FOREIGN PROHIBITED.
        MCOA_HOME_AND_FOREIGN_PROHIBITED = 169,
        /// Invalid care-of address (RFC 6275 s.6.1.8).
        INVALID_COA = 174,
        /// `REINIT_SA_WITH_HAC` (RFC 6618 s.8.2): refused by its number, so the BU changes nothing.
        REINIT_SA_WITH_HAC = 176,
    }
}

impl Status {
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

codes! {
    Ipv4AckStatus {
        /// Success.
        SUCCESS = 0,
        /// Failure, reason unspecified.
        REASON_UNSPECIFIED = 128,
        /// Administratively prohibited.
        ADMINISTRATIVELY_PROHIBITED = 129,
        /// Incorrect IPv4 home address.
        INCORRECT_HOME_ADDRESS = 130,
        /// Invalid IPv4 address.
        INVALID_ADDRESS = 131,
        /// Dynamic IPv4 home address assignment not available.
        DYNAMIC_NOT_AVAILABLE = 132,
        /// Prefix allocation unauthorized.
        PREFIX_UNAUTHORIZED = 133,
    }
}

impl Ipv4AckStatus {
    /// Whether the IPv4 home address is bound.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 < 128
    }
}
