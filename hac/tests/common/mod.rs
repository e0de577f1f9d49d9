//! What the integration tests share: a realm, the mobile node's side of messages, random sources.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod eap;

use std::sync::Arc;

use hearth_hac::auth::psk::Psk;
use hearth_hac::cert::ChannelBinding;
use hearth_hac::config::{
    Auth, Bases, HomeAddress, HomeAgent, LeasedNetworks, Pools, Realm, Replica, Subscriber,
};
use hearth_hac::directory::IssueRequest;
use hearth_hac::keys::{Entropy, EntropyError};
use hearth_hac::policy::{HomeAgentChoice, Policy, ScopePolicy};
use hearth_hac::subscribers::Subscribers;
use hearth_hac::subscribers::sealed::{SealedPsk, SealingKey};
use hearth_wire::directory::{SaRecord, Services};
use hearth_wire::{MobileNodeId, Scope, Spi};

pub(crate) const PSK: [u8; 32] = [0x5a; 32];
pub(crate) const NOW: u64 = 1_800_000_000;

/// A source that counts: foreseeable, and no two draws are alike.
pub(crate) struct Counting(pub(crate) u64);

impl Entropy for Counting {
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError> {
        for octet in buf {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *octet = self.0.to_be_bytes()[0];
        }
        Ok(())
    }
}

/// A source that is out of order.
pub(crate) struct Broken;

impl Entropy for Broken {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

pub(crate) fn mn_id(text: &str) -> MobileNodeId {
    MobileNodeId::new(text).unwrap()
}

/// [`PSK`] as that of `text`.
pub(crate) fn sealed(text: &str) -> SealedPsk {
    let key = Arc::new(SealingKey::new(&[7; 32]));
    let psk = Psk::new(PSK.to_vec()).unwrap();
    SealedPsk::seal(&key, &mn_id(text), &psk, &mut Counting(3)).unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy {
        suites: Policy::DEFAULT_SUITES.to_vec(),
        scope: ScopePolicy::Mandated(Scope::SignallingAndData),
        sa_validity: 3600,
        home_agent_choice: HomeAgentChoice::Fixed,
        max_sas: Policy::MAX_SAS,
    }
}

pub(crate) fn subscriber() -> Subscriber {
    Subscriber {
        psk: Some(sealed("mn1@example.net")),
        home_agent: Some(0),
        region: None,
        ip6: HomeAddress::Fixed("2001:db8:100::10".parse().unwrap()),
        ip4: HomeAddress::Fixed("203.0.113.10".parse().unwrap()),
        policy: policy(),
        services: Services::default(),
        leased_networks: LeasedNetworks::default(),
    }
}

pub(crate) fn home_agent() -> HomeAgent {
    HomeAgent {
        name: "ha1".into(),
        ip6: "2001:db8:1::1".parse().unwrap(),
        ip4: Some("198.51.100.1".parse().unwrap()),
        port: 7872,
        spis: 1..=1000,
        prefix_ip6: "2001:db8:100::/64".parse().unwrap(),
        prefix_ip4: Some("203.0.113.0/24".parse().unwrap()),
        certificate_name: "ha1.example.net".into(),
        region: None,
        max_sas: None,
        pools: Pools {
            ip6: Some(
                "2001:db8:100::1000".parse().unwrap()..="2001:db8:100::1003".parse().unwrap(),
            ),
            ip4: Some("203.0.113.100".parse().unwrap()..="203.0.113.103".parse().unwrap()),
            ..Pools::default()
        },
    }
}

/// One home agent, and `mn1@example.net` with fixed home addresses.
pub(crate) fn realm() -> Realm {
    let subscribers = Subscribers::new(&mut Counting(9)).unwrap();
    subscribers.insert(mn_id("mn1@example.net"), subscriber());
    Realm {
        home_agents: vec![home_agent()],
        subscribers,
        policy: policy(),
        bases: Bases::of(policy(), Services::default()),
        auth: Auth::default(),
        replica: Replica::default(),
        dns_ip6: vec!["2001:db8:100::53".parse().unwrap()],
        dns_ip4: vec!["203.0.113.53".parse().unwrap(), "203.0.113.54".parse().unwrap()],
    }
}

/// Changes one subscriber.
pub(crate) fn change(realm: &Realm, id: &str, change: impl FnOnce(&mut Subscriber)) {
    let id = mn_id(id);
    let mut subscriber = (*realm.subscribers.find(&id).unwrap()).clone();
    change(&mut subscriber);
    realm.subscribers.insert(id, subscriber);
}

/// The channel binding of a certificate made for the purpose.
pub(crate) fn binding() -> ChannelBinding {
    let identity = rcgen::generate_simple_self_signed(["hac.example.net".to_owned()]).unwrap();
    ChannelBinding::of_certificate(identity.cert.der()).unwrap()
}

/// What would be issued for this, with SPI 7.
pub(crate) fn record(request: IssueRequest) -> Box<SaRecord> {
    Box::new(SaRecord {
        spi: Spi::new(7).unwrap(),
        mn_id: request.mn_id,
        home_agent: "ha1".into(),
        suite: request.suite,
        scope: request.scope,
        mn_to_ha: request.mn_to_ha,
        ha_to_mn: request.ha_to_mn,
        validity_end: request.validity_end,
        home_address: "2001:db8:100::10".parse().unwrap(),
        ipv4_home_address: Some("203.0.113.10".parse().unwrap()),
        ha_address: "2001:db8:1::1".parse().unwrap(),
        generation: 1,
        services: Services::default(),
    })
}
