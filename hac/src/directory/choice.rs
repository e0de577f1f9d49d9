//! Which home agent a mobile node is sent to.
//!
//! To one that is alive, and else to none: an SA at a home agent that is gone is of no use, and a mobile
//! node with a 503 asks another HAC, or comes back. A home agent that is merely restarted, and all of
//! them when this HAC has been, are away for a moment: for so long ([`GRACE`]) who belongs to one of
//! them is still sent there.

use super::issue::{Grant, IssueError};
use super::tables::Change;
use crate::config::{HomeAgent, Realm};
use crate::policy::HomeAgentChoice;

/// Seconds that a home agent may be away and be expected back: as long as a restart of `hearthd` with a
/// large table takes, and longer than it waits before it connects again.
pub(super) const GRACE: u64 = 15;

/// Whether a home agent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It watches the directory.
    Here,
    /// It has watched within [`GRACE`], or nobody can have watched yet for so long.
    Expected,
    /// It does not watch.
    Gone,
}

/// SAs of each home agent, in the order of the realm's.
#[derive(Debug, Clone, Default)]
pub(super) struct Loads {
    sas: Vec<u32>,
    followed: usize,
}

impl Loads {
    pub(super) fn of(sas: Vec<u32>) -> Self {
        Self { sas, followed: 0 }
    }

    pub(super) fn at(&self, index: usize) -> u32 {
        self.sas.get(index).copied().unwrap_or(0)
    }

    /// Takes in what one transaction has changed since it was asked last.
    pub(super) fn follow(&mut self, realm: &Realm, changes: &[Change]) {
        for change in changes.get(self.followed..).unwrap_or_default() {
            let (home_agent, is_new) = match change {
                Change::Issued { home_agent, is_new, .. } => (home_agent, *is_new),
                Change::Revoked { home_agent, .. } => (home_agent, false),
            };
            let index = realm.home_agents.iter().position(|agent| agent.name == *home_agent);
            let Some(sas) = index.and_then(|index| self.sas.get_mut(index)) else { continue };
            match change {
                Change::Issued { .. } if is_new => *sas = sas.saturating_add(1),
                Change::Issued { .. } => {}
                Change::Revoked { .. } => *sas = sas.saturating_sub(1),
            }
        }
        self.followed = changes.len();
    }

    /// The transaction is over.
    pub(super) fn settle(&mut self) {
        self.followed = 0;
    }
}

/// What is known of home agents when one is chosen.
pub(super) struct Candidates<'a> {
    pub(super) realm: &'a Realm,
    pub(super) loads: &'a Loads,
    /// Whether each is there, in the order of the realm's.
    pub(super) presence: &'a [Presence],
}

impl<'a> Candidates<'a> {
    /// The home agent for `grant`; where there is a choice, `former`, which the mobile node has
    /// SAs or a home address of, as long as that is possible: it keeps its address (HAC-35).
    pub(super) fn choose(
        &self,
        grant: &Grant,
        former: &[Box<str>],
    ) -> Result<&'a HomeAgent, IssueError> {
        let agents = &self.realm.home_agents;
        if let Some(index) = grant.home_agent {
            let agent = agents.get(index).ok_or(IssueError::Store)?;
            return if self.is_usable(index, agent) {
                Ok(agent)
            } else {
                Err(IssueError::NoHomeAgent)
            };
        }
        let usable: Vec<(usize, &HomeAgent)> = agents
            .iter()
            .enumerate()
            .filter(|(_, agent)| agent.serves(grant.ip6, grant.ip4))
            .filter(|(_, agent)| agent.delegates(&grant.delegated))
            .filter(|(index, agent)| self.is_usable(*index, agent))
            .collect();
        for name in former {
            if let Some((_, agent)) = usable.iter().find(|(_, agent)| agent.name == *name) {
                return Ok(agent);
            }
        }
        let is_here = |index| self.presence.get(index) == Some(&Presence::Here);
        let is_near = |agent: &HomeAgent| {
            grant.choice == HomeAgentChoice::Region && agent.region == grant.region
        };
        usable
            .into_iter()
            .min_by(|(a, agent_a), (b, agent_b)| {
                // By SAs per room, without a division.
                let (load_a, load_b) = (self.at(*a, agent_b), self.at(*b, agent_a));
                let by_region = is_near(agent_b).cmp(&is_near(agent_a));
                is_here(*b).cmp(&is_here(*a)).then(by_region).then(load_a.cmp(&load_b))
            })
            .map(|(_, agent)| agent)
            .ok_or(IssueError::NoHomeAgent)
    }

    fn at(&self, index: usize, other: &HomeAgent) -> u64 {
        u64::from(self.loads.at(index)) * u64::from(other.room())
    }

    fn is_usable(&self, index: usize, agent: &HomeAgent) -> bool {
        let is_there = self.presence.get(index).is_some_and(|it| *it != Presence::Gone);
        is_there && self.has_room(index, agent)
    }

    fn has_room(&self, index: usize, agent: &HomeAgent) -> bool {
        agent.max_sas.is_none_or(|most| self.loads.at(index) < most)
    }
}

#[cfg(test)]
mod tests {
    use hearth_wire::directory::Services;

    use super::Presence::{Expected, Gone, Here};
    use super::*;
    use crate::config::{Auth, Bases, HomeAddress, LeasedNetworks, Pools, Replica};
    use crate::policy::{Policy, ScopePolicy};
    use crate::subscribers::Subscribers;
    use crate::testing::Counting;

    fn realm(count: u16) -> Realm {
        let first = "2001:db8:100::1000".parse().unwrap();
        let agent = |number| HomeAgent {
            name: format!("ha{number}").into(),
            ip6: "2001:db8:1::1".parse().unwrap(),
            ip4: None,
            port: 7872,
            spis: 1..=1000,
            prefix_ip6: "2001:db8:100::/64".parse().unwrap(),
            prefix_ip4: None,
            certificate_name: "ha".into(),
            region: None,
            max_sas: None,
            pools: Pools { ip6: Some(first..=first), ..Pools::default() },
        };
        let policy = Policy {
            suites: Policy::DEFAULT_SUITES.to_vec(),
            scope: ScopePolicy::Proposed,
            sa_validity: 60,
            home_agent_choice: HomeAgentChoice::LeastLoaded,
            max_sas: Policy::MAX_SAS,
        };
        Realm {
            home_agents: (0..count).map(agent).collect(),
            subscribers: Subscribers::new(&mut Counting::from(1)).unwrap(),
            bases: Bases::of(policy.clone(), Services::default()),
            policy,
            auth: Auth::default(),
            replica: Replica::default(),
            dns_ip6: Vec::new(),
            dns_ip4: Vec::new(),
        }
    }

    fn grant(choice: HomeAgentChoice, region: Option<&str>) -> Grant {
        Grant {
            home_agent: None,
            choice,
            region: region.map(Box::from),
            ip6: HomeAddress::Pool,
            ip4: HomeAddress::None,
            services: Services::default(),
            leased_networks: LeasedNetworks::default(),
            delegated: Vec::new(),
            max_sas: Policy::MAX_SAS,
        }
    }

    fn chosen(
        realm: &Realm,
        sas: &[u32],
        presence: &[Presence],
        grant: &Grant,
        former: &[&str],
    ) -> String {
        let loads = Loads::of(sas.to_vec());
        let former: Vec<Box<str>> = former.iter().map(|name| Box::from(*name)).collect();
        match (Candidates { realm, loads: &loads, presence }).choose(grant, &former) {
            Ok(agent) => agent.name.to_string(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn the_least_loaded_for_its_room_of_those_alive() {
        let mut realm = realm(3);
        let any = grant(HomeAgentChoice::LeastLoaded, None);
        assert_eq!(chosen(&realm, &[5, 3, 4], &[Here; 3], &any, &[]), "ha1");
        assert_eq!(chosen(&realm, &[5, 3, 4], &[Here, Gone, Here], &any, &[]), "ha2");
        // 3 of 6 is more than 4 of 1000.
        realm.home_agents[1].max_sas = Some(6);
        assert_eq!(chosen(&realm, &[5, 3, 4], &[Here; 3], &any, &[]), "ha2");
        // No room: passed over, even by who had it before.
        realm.home_agents[2].max_sas = Some(4);
        realm.home_agents[1].max_sas = Some(3);
        assert_eq!(chosen(&realm, &[5, 3, 4], &[Here; 3], &any, &["ha2"]), "ha0");
        assert_eq!(chosen(&realm, &[5, 3, 4], &[Gone; 3], &any, &[]), "NoHomeAgent");
    }

    #[test]
    fn a_mobile_node_goes_back_where_it_was_while_that_is_alive() {
        let realm = realm(3);
        let any = grant(HomeAgentChoice::LeastLoaded, None);
        assert_eq!(chosen(&realm, &[0, 0, 9], &[Here; 3], &any, &["ha2"]), "ha2");
        assert_eq!(chosen(&realm, &[1, 0, 9], &[Here, Here, Gone], &any, &["ha2"]), "ha1");
    }

    #[test]
    fn ones_own_region_comes_first_and_others_where_it_has_none() {
        let mut realm = realm(3);
        realm.home_agents[2].region = Some("north".into());
        let north = grant(HomeAgentChoice::Region, Some("north"));
        assert_eq!(chosen(&realm, &[0, 0, 9], &[Here; 3], &north, &[]), "ha2");
        assert_eq!(chosen(&realm, &[1, 0, 9], &[Here, Here, Gone], &north, &[]), "ha1");
        let south = grant(HomeAgentChoice::Region, Some("south"));
        assert_eq!(chosen(&realm, &[2, 3, 1], &[Here; 3], &south, &[]), "ha2");
    }

    /// A home agent that a subscriber names is no choice, and must be there and have room as any.
    #[test]
    fn a_named_home_agent_is_alive_and_has_room_or_there_is_none() {
        let mut realm = realm(2);
        let named = Grant { home_agent: Some(1), ..grant(HomeAgentChoice::Fixed, None) };
        assert_eq!(chosen(&realm, &[0, 5], &[Gone, Here], &named, &[]), "ha1");
        assert_eq!(chosen(&realm, &[0, 5], &[Gone, Expected], &named, &[]), "ha1");
        assert_eq!(chosen(&realm, &[0, 5], &[Here, Gone], &named, &[]), "NoHomeAgent");
        realm.home_agents[1].max_sas = Some(5);
        assert_eq!(chosen(&realm, &[0, 5], &[Here; 2], &named, &[]), "NoHomeAgent");
    }

    /// Those that are away for a moment keep who is theirs, and get nobody else while one is there.
    #[test]
    fn one_that_is_expected_back_gets_its_own() {
        let mut realm = realm(3);
        realm.home_agents[2].region = Some("north".into());
        let north = grant(HomeAgentChoice::Region, Some("north"));
        let presence = [Here, Gone, Expected];
        assert_eq!(chosen(&realm, &[9, 0, 0], &presence, &north, &["ha2"]), "ha2");
        assert_eq!(chosen(&realm, &[9, 0, 0], &presence, &north, &[]), "ha0");
        assert_eq!(chosen(&realm, &[9, 0, 0], &[Gone, Gone, Expected], &north, &[]), "ha2");
        assert_eq!(chosen(&realm, &[9, 0, 0], &[Expected; 3], &north, &["ha0"]), "ha0");
    }
}
