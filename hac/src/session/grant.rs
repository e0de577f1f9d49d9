//! What an authenticated mobile node gets: by its subscriber's entry, or as an AAA server says.
//!
//! Read first: RFC 6618 s.5.6.3, 5.7; reading R-14.

use std::net::{IpAddr, Ipv6Addr};

use hearth_wire::MobileNodeId;
use hearth_wire::directory::Services;
use hearth_wire::hac::StatusCode;
use ipnet::{IpNet, Ipv6Net};

use super::Session;
use crate::config::{Base, HomeAddress, LeasedNetworks};
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

/// What an AAA server says that this deployment can't give. Nothing of it is granted then: half of it
/// is not what the server has allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// PMIP6-Home-LMA-IPv6-Address.
    #[error("PMIP6-Home-LMA-IPv6-Address {0} is none of home_agents")]
    HomeAgent(Ipv6Addr),
    /// Filter-Id.
    #[error("Filter-Id {0} is none of realms")]
    Policy(Box<str>),
    /// Framed-IPv6-Address, Framed-IP-Address and their likes.
    #[error("{0} is no home address that the home agent has")]
    Address(IpAddr),
    /// Delegated-IPv6-Prefix.
    #[error("Delegated-IPv6-Prefix {0} lies in no pools.delegated_ip6 of the home agent")]
    Prefix(Ipv6Net),
    /// Delegated-IPv6-Prefix.
    #[error("more than {} mobile networks", Services::MAX_PREFIXES)]
    Prefixes,
}

/// Why there is nothing to grant.
pub(super) enum Refusal {
    /// Nobody has this mn-id.
    Nobody,
    Misfit(Misfit),
}

impl Refusal {
    /// 401, or 500: it is our operators' mistake.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Nobody => StatusCode::Unauthorized,
            Self::Misfit(_) => StatusCode::InternalServerError,
        }
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(misfit)
    }
}

impl Session {
    /// What `mn_id` gets. One without an entry gets something only where an AAA server has
    /// authenticated it whose word is enough by YAML; then what holds for its realm does.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn granted(
        &self,
        mn_id: &MobileNodeId,
        authorisation: Option<&Authorisation>,
    ) -> Result<Granted, Refusal> {
        let subscriber = self.subscriber(mn_id);
        let Some(authorisation) = authorisation else {
            let policy = subscriber.ok_or(Refusal::Nobody)?.policy.clone();
            return Ok(Granted { validity: policy.sa_validity, policy, grant: None });
        };
        let is_known = subscriber.is_some();
        let (mut policy, mut grant) = match subscriber {
            Some(subscriber) => (subscriber.policy.clone(), Grant::from(&*subscriber)),
            // Accepted by a server that others use as well, for what it may be.
            None if !authorisation.unlisted => return Err(Refusal::Nobody),
            None => {
                let base = self.realm.bases.base(mn_id);
                (base.policy.clone(), self.unknown_to_us(base))
            }
        };
        if let Some(name) = &authorisation.policy {
            let base = self.realm.bases.named(name);
            let base = base.ok_or_else(|| Misfit::Policy(name.clone()))?;
            policy = base.policy.clone();
            grant.follow(base);
        }
        // The shorter one: the AAA server can't lengthen what the operator allows.
        let longest = authorisation.validity.filter(|seconds| *seconds > 0);
        let validity =
            longest.map_or(policy.sa_validity, |seconds| policy.sa_validity.min(seconds.into()));
        if is_known && !names_something(authorisation) {
            return Ok(Granted { policy, validity, grant: None });
        }
        if let Some(address) = authorisation.home_address {
            grant.ip6 = HomeAddress::Fixed(address);
        }
        if let Some(address) = authorisation.ipv4_home_address {
            grant.ip4 = HomeAddress::Fixed(address);
        }
        if !authorisation.prefixes.is_empty() {
            grant.delegate(&authorisation.prefixes);
        }
        if let Some(address) = authorisation.home_agent {
            let mut agents = self.realm.home_agents.iter();
            let named = agents.position(|agent| agent.ip6 == address);
            grant.home_agent = Some(named.ok_or(Misfit::HomeAgent(address))?);
        }
        self.fits(&grant)?;
        Ok(Granted { policy, validity, grant: Some(Box::new(grant)) })
    }

    /// Whether some home agent that it could have can give all of this.
    fn fits(&self, grant: &Grant) -> Result<(), Misfit> {
        let leased = [grant.leased_networks.ip6, grant.leased_networks.ip4];
        let leased = leased.into_iter().filter(|is_leased| *is_leased).count();
        let networks = grant.services.prefixes.len() + grant.delegated.len() + leased;
        if networks > Services::MAX_PREFIXES {
            return Err(Misfit::Prefixes);
        }
        let agents = self.realm.home_agents.iter().enumerate();
        let mut agents =
            agents.filter(|(index, _)| grant.home_agent.is_none_or(|named| named == *index));
        let mut serving = agents.clone().filter(|(_, agent)| agent.serves(grant.ip6, grant.ip4));
        if serving.any(|(_, agent)| agent.delegates(&grant.delegated)) {
            return Ok(());
        }
        let ip6_alone = agents.clone().any(|(_, agent)| agent.serves(grant.ip6, HomeAddress::None));
        let serves = agents.any(|(_, agent)| agent.serves(grant.ip6, grant.ip4));
        let ip6 = grant.ip6.fixed().map_or(IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from);
        Err(match grant.ip4.fixed() {
            Some(ip4) if !serves && ip6_alone => Misfit::Address(ip4.into()),
            _ if !serves => Misfit::Address(ip6),
            _ => grant.delegated.first().map_or(Misfit::Address(ip6), |network| {
                let mut networks = grant.delegated.iter();
                let agents = &self.realm.home_agents;
                let alone = networks
                    .find(|network| !agents.iter().any(|agent| agent.delegates(&[**network])));
                Misfit::Prefix(*alone.unwrap_or(network))
            }),
        })
    }

    /// What somebody gets whom only the AAA server knows: addresses from the pools there are.
    fn unknown_to_us(&self, base: &Base) -> Grant {
        let agents = &self.realm.home_agents;
        let pool_ip6 = agents.iter().any(|agent| agent.pools.ip6.is_some());
        let ip6 = if pool_ip6 { HomeAddress::Pool } else { HomeAddress::Prefix };
        let pool_ip4 = agents.iter().any(|agent| agent.serves(ip6, HomeAddress::Pool));
        Grant {
            home_agent: base.home_agent,
            choice: base.policy.home_agent_choice,
            region: base.region.clone(),
            ip6,
            ip4: if pool_ip4 { HomeAddress::Pool } else { HomeAddress::None },
            services: base.services.clone(),
            leased_networks: LeasedNetworks::default(),
            delegated: Vec::new(),
            max_sas: base.policy.max_sas,
        }
    }
}

impl Grant {
    /// Takes over what holds for a realm, but for networks, and a home agent where it has one.
    fn follow(&mut self, base: &Base) {
        let prefixes = std::mem::take(&mut self.services.prefixes);
        let has_networks =
            !prefixes.is_empty() || self.leased_networks != LeasedNetworks::default();
        self.services = Services {
            mobile_router: base.services.mobile_router || has_networks,
            prefixes,
            ..base.services.clone()
        };
        self.choice = base.policy.home_agent_choice;
        self.max_sas = base.policy.max_sas;
        self.home_agent = self.home_agent.or(base.home_agent);
        self.region = self.region.take().or_else(|| base.region.clone());
    }

    /// Takes these in the place of its IPv6 mobile networks.
    fn delegate(&mut self, networks: &[Ipv6Net]) {
        let is_its = |network: &IpNet| match network {
            IpNet::V4(_) => true,
            IpNet::V6(network) => networks.contains(network),
        };
        let own: Vec<IpNet> = self.services.prefixes.iter().copied().filter(is_its).collect();
        for network in networks {
            let is_new = !own.contains(&IpNet::V6(*network)) && !self.delegated.contains(network);
            self.delegated.extend(is_new.then_some(*network));
        }
        self.services.prefixes = own.into();
        self.services.mobile_router = true;
        self.leased_networks.ip6 = false;
    }
}

/// Whether the AAA server says more than "yes, for so long".
const fn names_something(authorisation: &Authorisation) -> bool {
    authorisation.home_address.is_some()
        || authorisation.ipv4_home_address.is_some()
        || authorisation.home_agent.is_some()
        || authorisation.policy.is_some()
        || !authorisation.prefixes.is_empty()
}
