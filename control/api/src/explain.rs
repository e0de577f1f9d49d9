//! What status codes mean, what brings them about, and what an operator can do.
//!
//! Drop reasons have their words with them, in [`DropRow`](crate::DropRow).

/// Where a status code stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In a Binding Acknowledgement (RFC 6275 s.6.1.8, RFC 3963 s.4.2, RFC 5648 s.4.4, RFC 6618 s.8.2).
    BindingAcknowledgement,
    /// In an IPv4 address acknowledgement option (RFC 5555 s.3.2.1).
    Ipv4Acknowledgement,
    /// In a Flow Identification option (RFC 6089 s.4.2).
    Flow,
    /// In a Binding Revocation Acknowledgement (RFC 5846 s.5.2).
    Revocation,
    /// In the HAC's last response (RFC 6618 s.5.5.4).
    Hac,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::BindingAcknowledgement,
        Self::Ipv4Acknowledgement,
        Self::Flow,
        Self::Revocation,
        Self::Hac,
    ];

    /// Where it stands, in words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BindingAcknowledgement => "Binding Acknowledgement",
            Self::Ipv4Acknowledgement => "IPv4 address acknowledgement",
            Self::Flow => "Flow Identification",
            Self::Revocation => "Binding Revocation Acknowledgement",
            Self::Hac => "Home Agent Controller",
        }
    }
}

/// A status code and the words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusWords {
    /// Where it stands.
    pub kind: Kind,
    /// The number.
    pub code: u16,
    /// Its name in the RFC.
    pub name: &'static str,
    /// What most often brings it about.
    pub cause: &'static str,
    /// What an operator can do about it.
    pub remedy: &'static str,
}

/// Writes the table, a kind at a time.
macro_rules! statuses {
    ($($kind:ident { $($code:literal $name:literal, $cause:literal, $remedy:literal;)+ })+) => {
        /// Every status code that hearthd, hearth-hac and hearth-mn know by name.
        pub const STATUSES: &[StatusWords] = &[$($(
            StatusWords {
                kind: Kind::$kind, code: $code, name: $name, cause: $cause, remedy: $remedy,
            },
        )+)+];
    };
}

statuses! {
    BindingAcknowledgement {
        0 "Binding Update accepted",
            "All is well.",
            "None.";
        1 "accepted, prefix discovery necessary",
            "The home prefix is valid for less long than the lifetime that was asked for.",
            "None: the mobile node solicits prefixes.";
        4 "MCOA NOTCOMPLETE",
            "Some of several care-of addresses were refused.",
            "Each has a status of its own in the answer; see those.";
        5 "MCOA RETURNHOME WO/NDP",
            "Another home agent than hearthd answered; hearthd does not send it.",
            "See the log of that home agent.";
        128 "reason unspecified",
            "Another home agent than hearthd answered; hearthd does not send it.",
            "See the log of that home agent.";
        129 "administratively prohibited",
            "The mn-id is denied or not the SA's, hearthd drains, the binding is being revoked, or moves too often.",
            "hearthd's log says which; `hearth undrain` ends a drain, `denied` stands in hearthd's YAML.";
        130 "insufficient resources",
            "There are as many bindings, care-of addresses or registrations that wait for DAD as there may be.",
            "Raise the limits in hearthd's YAML, or the subscriber's care_of_addresses in the HAC.";
        131 "home registration not supported",
            "Home registrations are switched off in hearthd's YAML.",
            "Set home_agent.home_registration to true.";
        132 "not home subnet",
            "The home address lies in no home prefix of this home agent, or its prefix is over.",
            "Compare home_agent.home_prefixes of hearthd with the HAC's addresses and pools.";
        133 "not home agent for this mobile node",
            "A de-registration, or one of a care-of address, for which there is no binding.",
            "None: it was over already.";
        134 "Duplicate Address Detection failed",
            "Another host on the home link, another mobile node or the home agent has the home address.",
            "The log names the other's MAC address or mn-id; give one of the two another address.";
        135 "sequence number out of window",
            "The mobile node lost its last sequence number, or two nodes register as one.",
            "None where it is rare: it goes on with the number in the answer. Else two machines have one key.";
        136 "expired home nonce index",
            "A correspondent answers: the home keygen token is too old.",
            "None: the mobile node runs return routability again, and its data goes by the tunnel meanwhile.";
        137 "expired care-of nonce index",
            "A correspondent answers: the care-of keygen token is too old.",
            "None: the mobile node runs return routability again, and its data goes by the tunnel meanwhile.";
        138 "expired nonces",
            "A correspondent answers: both tokens are too old.",
            "None: the mobile node runs return routability again, and its data goes by the tunnel meanwhile.";
        139 "registration type change disallowed",
            "A mobile router registers as a host, or the reverse, while its binding lasts.",
            "De-register first (`hearth-mn down`), then register anew.";
        140 "mobile router operation not permitted",
            "The subscriber may not be a mobile router.",
            "Set mobile_router for the subscriber in the HAC.";
        141 "invalid prefix",
            "A mobile network that can't be one: malformed, too many, inside a home prefix, or another's.",
            "Compare the mobile node's prefixes with the subscriber's in the HAC.";
        142 "not authorized for prefix",
            "A mobile network that is not the subscriber's.",
            "Give the subscriber the prefix in the HAC, or take it out of the mobile node's YAML.";
        143 "forwarding setup failed",
            "In implicit mode: the subscriber has no usable prefix, or another has registered it.",
            "See the subscriber's prefixes in the HAC, and `hearth show bindings`.";
        164 "MCOA MALFORMED",
            "Binding Identifiers that are broken or stand twice.",
            "Update the mobile node.";
        165 "MCOA NON-MCOA BINDING EXISTS",
            "A binding without a Binding Identifier exists, and the mobile node did not ask to overwrite it.",
            "De-register first, or let the mobile node set the O flag.";
        166 "MCOA PROHIBITED",
            "The subscriber may have one care-of address.",
            "Set care_of_addresses for the subscriber in the HAC.";
        167 "MCOA UNKNOWN COA",
            "A Binding Identifier without a care-of address, and none is registered under it.",
            "None where it is rare; else update the mobile node.";
        168 "MCOA BULK REGISTRATION PROHIBITED",
            "The subscriber may not register several care-of addresses in one Binding Update.",
            "Set bulk for the subscriber in the HAC.";
        169 "MCOA SIMULTANEOUS HOME AND FOREIGN PROHIBITED",
            "A mobile node wants to be at home and abroad at a time, which hearthd does not offer.",
            "Register the links abroad alone, or de-register and come home.";
        174 "invalid care-of address",
            "It is the home agent's, a home address, or leads back into the mobile node's own tunnel.",
            "Exclude the tunnel from what the mobile node takes for a care-of address; see its status.";
        176 "REINIT_SA_WITH_HAC",
            "The SA nears its end, has carried much, or an operator asked for a new one.",
            "None: the mobile node fetches a new SA while the old one works. If it repeats, it can't reach the HAC.";
    }
    Ipv4Acknowledgement {
        0 "success",
            "All is well.",
            "None.";
        128 "failure, reason unspecified",
            "Another home agent than hearthd answered; hearthd does not send it.",
            "See the log of that home agent.";
        129 "administratively prohibited",
            "The subscriber's IPv4 home address is bound by another, or in no home prefix.",
            "Compare home_agent.home_prefixes with the HAC's IPv4 addresses and pool.";
        130 "incorrect IPv4 home address",
            "The mobile node asks for another IPv4 home address than it was given.",
            "Let it ask for 0.0.0.0, or give the subscriber that address in the HAC.";
        131 "invalid IPv4 address",
            "An IPv4 home address that can't be one, or a prefix length of 0.",
            "Correct the mobile node.";
        132 "dynamic IPv4 home address assignment not available",
            "The subscriber has no IPv4 home address.",
            "Give the subscriber one in the HAC (home_address_ip4), or a pool.";
        133 "prefix allocation unauthorized",
            "The mobile node asks for an IPv4 prefix that is not its own.",
            "Give the subscriber the prefix in the HAC.";
    }
    Flow {
        0 "flow binding successful",
            "All is well.",
            "None.";
        128 "administratively prohibited",
            "The subscriber has no flow bindings, or no more; or a flow names too many care-of addresses.",
            "Set flow_bindings for the subscriber in the HAC; bind the flow to fewer care-of addresses.";
        129 "rejected, reason unspecified",
            "Two flows have one identifier or one priority.",
            "Give each flow of the mobile node a number and a priority of its own.";
        130 "flow identification option malformed",
            "A flow without a traffic selector or binding reference, or a broken one.",
            "Update the mobile node.";
        131 "BID not found",
            "The flow names a care-of address that is not registered.",
            "None where a link has just gone; else correct the flows of the mobile node.";
        132 "FID not found",
            "A flow binding that is to be removed is not there.",
            "None.";
        133 "traffic selector format not supported",
            "A traffic selector that is not one of RFC 6088.",
            "Let the mobile node use binary traffic selectors.";
    }
    Revocation {
        0 "success",
            "All is well.",
            "None.";
        1 "partial success",
            "Some of the bindings were revoked.",
            "See `hearth show bindings` for those that are left.";
        128 "binding does not exist",
            "The mobile node had given it up already.",
            "None: the binding is gone.";
        129 "IPv4 home address option required",
            "The mobile node wants to be told which IPv4 home address.",
            "None: the binding ends here all the same.";
        130 "global revocation not authorized",
            "The mobile node refuses a revocation of many.",
            "None: hearthd asks for one at a time.";
        131 "revoked mobile node's identity required",
            "The mobile node wants to be told its own name.",
            "None: the binding ends here all the same.";
        132 "revocation failed: the mobile node is attached",
            "The mobile node does not want to lose its binding.",
            "None: the binding ends here all the same.";
        133 "revocation trigger not supported",
            "The mobile node does not know the reason that was given.",
            "None: the binding ends here all the same.";
        134 "revocation function not supported",
            "The mobile node does not know this kind of revocation.",
            "None: the binding ends here all the same.";
        135 "proxy binding revocation not supported",
            "The mobile node takes the message for one about a proxy registration.",
            "Update the mobile node.";
    }
    Hac {
        100 "Continue",
            "The exchange goes on; no exchange ends with it.",
            "None.";
        200 "OK",
            "An SA was issued.",
            "None.";
        400 "Bad Request",
            "A request that is malformed or out of order.",
            "Update the mobile node; the HAC's log says what was wrong.";
        401 "Unauthorized",
            "Wrong key or certificate, an mn-id that is unknown, or a name that is not the mn-id.",
            "Compare mn_id and key with `hearth subscriber show`; the HAC's log has the reason, the answer does not.";
        500 "Internal Server Error",
            "A fault of the HAC: its store does not write, or an AAA server answers what there is not.",
            "The HAC's log says which; look at the disk, or at the AAA server's attributes.";
        501 "Not Implemented",
            "No authentication method or ciphersuite in common.",
            "Compare auth.methods and policy.suites of the HAC with the mobile node's YAML.";
        503 "Service Unavailable",
            "Too many sessions, an exhausted pool, no home agent that is alive, or all AAA servers dead.",
            "See LEASED, ALIVE and STATE in `hearth show hac`. The mobile node comes back by itself.";
        504 "Gateway Timeout",
            "The AAA server did not answer in the middle of an authentication.",
            "Look at the AAA server and the network to it; `hearth show hac` shows its state.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_words_once() {
        for (at, it) in STATUSES.iter().enumerate() {
            assert!(it.cause.ends_with('.') && it.remedy.ends_with('.'), "{it:?}");
            let twice =
                STATUSES.iter().skip(at + 1).any(|b| (b.kind, b.code) == (it.kind, it.code));
            assert!(!twice, "{it:?}");
        }
    }
}
