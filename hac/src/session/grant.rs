//! What an authenticated mobile node gets: by its subscriber's entry, or as an AAA server says.
//!
//! Read first: RFC 6618 s.5.6.3, 5.7; reading R-14.

use hearth_wire::MobileNodeId;
use hearth_wire::directory::Services;
use hearth_wire::hac::StatusCode;

use super::Session;
use crate::config::{HomeAddress, LeasedNetworks};
use crate::directory::Grant;
use crate::policy::Policy;
use crate::radius::Authorisation;

/// Policy of an SA, and what the directory is to grant beside the subscriber's entry.
pub(super) struct Granted {
    pub(super) policy: Policy,
    /// Seconds that the SA is valid.
    pub(super) validity: u64,
    pub(super) grant: Option<Box<Grant>>,
}

impl Session {
    /// What `mn_id` gets. One without an entry gets something only where an AAA server has
    /// authenticated it whose word is enough by YAML; then the deployment's policy holds.
    ///
    /// # Errors
    /// 401: nobody has this mn-id. 500: the AAA server names a home agent that there is not, or
    /// home addresses that are not of its home agent's prefixes.
    pub(super) fn granted(
        &self,
        mn_id: &MobileNodeId,
        authorisation: Option<&Authorisation>,
    ) -> Result<Granted, StatusCode> {
        let subscriber = self.subscriber(mn_id);
        let Some(authorisation) = authorisation else {
            let policy = subscriber.ok_or(StatusCode::Unauthorized)?.policy.clone();
            return Ok(Granted { validity: policy.sa_validity, policy, grant: None });
        };
        let known = subscriber.is_some();
        let (policy, mut grant) = match subscriber {
            Some(subscriber) => (subscriber.policy.clone(), Grant::from(&*subscriber)),
            // Accepted by a server that others use as well, for what it may be.
            None if !authorisation.unlisted => return Err(StatusCode::Unauthorized),
            None => (self.realm.policy.clone(), self.unknown_to_us()),
        };
        // The shorter one: the AAA server can't lengthen what the operator allows.
        let longest = authorisation.validity.filter(|seconds| *seconds > 0);
        let validity =
            longest.map_or(policy.sa_validity, |seconds| policy.sa_validity.min(seconds.into()));
        if known && !names_something(authorisation) {
            return Ok(Granted { policy, validity, grant: None });
        }
        if let Some(address) = authorisation.home_address {
            grant.ip6 = HomeAddress::Fixed(address);
        }
        if let Some(address) = authorisation.ipv4_home_address {
            grant.ip4 = HomeAddress::Fixed(address);
        }
        let agents = &self.realm.home_agents;
        if let Some(address) = authorisation.home_agent {
            let named = agents.iter().position(|agent| agent.ip6 == address);
            grant.home_agent = Some(named.ok_or(StatusCode::InternalServerError)?);
        }
        let named = grant.home_agent.and_then(|index| agents.get(index));
        let fits = match named {
            Some(agent) => agent.serves(grant.ip6, grant.ip4),
            None => agents.iter().any(|agent| agent.serves(grant.ip6, grant.ip4)),
        };
        let grant = fits.then(|| Box::new(grant)).ok_or(StatusCode::InternalServerError)?;
        Ok(Granted { policy, validity, grant: Some(grant) })
    }

    /// What somebody gets whom only the AAA server knows: addresses from the pools there are.
    fn unknown_to_us(&self) -> Grant {
        let agents = &self.realm.home_agents;
        let pool_ip6 = agents.iter().any(|agent| agent.pools.ip6.is_some());
        let pool_ip4 = agents.iter().any(|agent| {
            agent.serves(
                if pool_ip6 { HomeAddress::Pool } else { HomeAddress::Prefix },
                HomeAddress::Pool,
            )
        });
        Grant {
            home_agent: None,
            choice: self.realm.policy.home_agent_choice,
            region: None,
            ip6: if pool_ip6 { HomeAddress::Pool } else { HomeAddress::Prefix },
            ip4: if pool_ip4 { HomeAddress::Pool } else { HomeAddress::None },
            services: Services::default(),
            leased_networks: LeasedNetworks::default(),
        }
    }
}

/// Whether the AAA server says more than "yes, for so long".
const fn names_something(authorisation: &Authorisation) -> bool {
    authorisation.home_address.is_some()
        || authorisation.ipv4_home_address.is_some()
        || authorisation.home_agent.is_some()
}
