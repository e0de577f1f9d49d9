//! What the HAC mandates: ciphersuite, scope and validity of an SA.
//!
//! Read first: RFC 6618 s.5.6.3 to 5.6.5; reading R-12.

use hearth_wire::directory::MAX_SAS_PER_NODE;
use hearth_wire::{Scope, Suite};

/// Who decides the scope of an SA (RFC 6618 s.5.6.4: in the end always the HAC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopePolicy {
    /// This scope, whatever the mobile node proposes.
    Mandated(Scope),
    /// What the mobile node proposes.
    Proposed,
}

/// Which home agent a subscriber is sent to that names none of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HomeAgentChoice {
    /// The only one there is.
    Fixed,
    /// Of those that are alive and have room, the one with the fewest SAs for the room it has.
    LeastLoaded,
    /// The same among those of the subscriber's region; among all where that region has none.
    Region,
}

impl HomeAgentChoice {
    /// Every choice, for messages.
    pub const ALL: [Self; 3] = [Self::Fixed, Self::LeastLoaded, Self::Region];

    /// Its name in YAML.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::LeastLoaded => "least-loaded",
            Self::Region => "region",
        }
    }
}

/// Policy for the SAs of one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Allowed suites, the most wanted first. NULL, 3DES and AES_128_GCM are here
    /// only if the deployment named them.
    pub suites: Vec<Suite>,
    /// The scope.
    pub scope: ScopePolicy,
    /// How long an SA is valid, in seconds.
    pub sa_validity: u64,
    /// SAs that one mobile node holds at most; the next one ends the oldest.
    pub max_sas: usize,
    /// How a home agent is chosen for who names none.
    pub home_agent_choice: HomeAgentChoice,
}

impl Policy {
    /// SAs of one mobile node where nothing else is said, and the most that can be.
    ///
    /// This bounds memory and nothing else: the limit of R-15, of which the oldest *unused* go first, is
    /// the home agent's to keep, as only it knows which SAs are in use. Twice as many are known here, so
    /// that who fetches SAs and uses them, however restless, never meets it.
    pub const MAX_SAS: usize = 2 * MAX_SAS_PER_NODE as usize;

    /// The suites of a deployment that names none: those of RFC 6618 with confidentiality and a
    /// modern cipher.
    pub const DEFAULT_SUITES: [Suite; 2] = [Suite::Aes128CbcSha, Suite::Aes128CbcSha256];

    /// The suite for a mobile node that supports `offered`: the first of ours, not of its own.
    #[must_use]
    pub fn choose_suite(&self, offered: &[Suite]) -> Option<Suite> {
        self.suites.iter().copied().find(|suite| offered.contains(suite))
    }

    /// The scope for a mobile node that proposes `proposed`.
    #[must_use]
    pub const fn choose_scope(&self, proposed: Scope) -> Scope {
        match self.scope {
            ScopePolicy::Mandated(scope) => scope,
            ScopePolicy::Proposed => proposed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(suites: &[Suite], scope: ScopePolicy) -> Policy {
        let home_agent_choice = HomeAgentChoice::Fixed;
        Policy {
            suites: suites.to_vec(),
            scope,
            sa_validity: 60,
            max_sas: Policy::MAX_SAS,
            home_agent_choice,
        }
    }

    /// HAC-29: the common suite is chosen, by our order; none common is none.
    #[test]
    fn our_order_of_suites_rules() {
        let policy = policy(
            &[Suite::Aes128CbcSha256, Suite::Aes128CbcSha],
            ScopePolicy::Mandated(Scope::SignallingAndData),
        );
        let both = [Suite::Aes128CbcSha, Suite::Aes128CbcSha256];
        assert_eq!(policy.choose_suite(&both), Some(Suite::Aes128CbcSha256));
        assert_eq!(policy.choose_suite(&both[..1]), Some(Suite::Aes128CbcSha));
        assert_eq!(policy.choose_suite(&[Suite::NullSha, Suite::TripleDesEdeCbcSha]), None);
        assert_eq!(policy.choose_suite(&[]), None);
    }

    /// HAC-31.
    #[test]
    fn a_mandated_scope_overrides_the_proposal() {
        for (scope, proposed, chosen) in [
            (
                ScopePolicy::Mandated(Scope::SignallingAndData),
                Scope::Signalling,
                Scope::SignallingAndData,
            ),
            (ScopePolicy::Mandated(Scope::Signalling), Scope::SignallingAndData, Scope::Signalling),
            (ScopePolicy::Proposed, Scope::Signalling, Scope::Signalling),
            (ScopePolicy::Proposed, Scope::SignallingAndData, Scope::SignallingAndData),
        ] {
            assert_eq!(policy(&[], scope).choose_scope(proposed), chosen);
        }
    }

    /// NULL, 3DES and AES_128_GCM are never offered by default.
    #[test]
    fn default_suites_encrypt_with_aes() {
        let policy = policy(&Policy::DEFAULT_SUITES, ScopePolicy::Proposed);
        let chosen: Vec<_> =
            Suite::known().filter(|suite| policy.choose_suite(&[*suite]).is_some()).collect();
        assert_eq!(chosen, [Suite::Aes128CbcSha, Suite::Aes128CbcSha256]);
    }
}
