//! Which packets a trace or a capture means: what the operator named, as SPIs and addresses.

use std::fmt;
use std::net::IpAddr;

use hearth_api::follow::Target;
use hearth_dataplane::Filter;
use hearth_home_agent::{HomeAgent, SaView};
use hearth_wire::Spi;

/// Nothing has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The number is no SPI.
    Spi,
    /// The mobile node has no SA.
    MnId,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spi => "the SPI is out of range; 1 to 268435455",
            Self::MnId => "no SA of this mn-id is here; `hearth show sas` lists them",
        })
    }
}

/// The filter for a target, as of now. Packets to a mobile node are known by its home addresses,
/// and those from it by the SPI as long as they are encrypted.
///
/// # Errors
/// [`Unknown`].
pub fn filter(home_agent: &HomeAgent, target: &Target) -> Result<Filter, Unknown> {
    let mut filter = Filter::default();
    match target {
        Target::All => filter = Filter::EVERYTHING,
        Target::Spi(spi) => {
            let spi = Spi::new(*spi).map_err(|_| Unknown::Spi)?;
            // One that nobody has is worth following too.
            filter.spis.push(spi);
            home_agent.sa(spi).into_iter().for_each(|sa| add(&mut filter, &sa));
        }
        Target::MnId(mn_id) => {
            let sas = home_agent.sas().filter(|sa| sa.mn_id.as_str() == mn_id);
            sas.for_each(|sa| add(&mut filter, &sa));
            if filter == Filter::default() {
                return Err(Unknown::MnId);
            }
        }
        Target::Address(prefix) => {
            filter.prefixes.push((prefix.address, prefix.length));
            let sas = home_agent.sas().filter(|sa| homes(sa).any(|home| prefix.contains(home)));
            sas.for_each(|sa| add(&mut filter, &sa));
        }
    }
    Ok(filter)
}

fn homes(sa: &SaView<'_>) -> impl Iterator<Item = IpAddr> + use<> {
    [Some(sa.home_address.into()), sa.ipv4_home_address.map(IpAddr::from)].into_iter().flatten()
}

fn add(filter: &mut Filter, sa: &SaView<'_>) {
    if !filter.spis.contains(&sa.spi) {
        filter.spis.push(sa.spi);
    }
    for home in homes(sa) {
        let prefix = (home, if home.is_ipv4() { 32 } else { 128 });
        if !filter.prefixes.contains(&prefix) {
            filter.prefixes.push(prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use hearth_home_agent::{Event, Policy, SaInfo, Timestamp};
    use hearth_wire::directory::Services;
    use hearth_wire::{MobileNodeId, Scope, Suite};

    const HOME6: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 2),
    ];

    /// Two SAs of one mobile node, one of another without an IPv4 home address.
    fn home_agent() -> HomeAgent {
        let mut home_agent = HomeAgent::new(Policy {
            home_prefixes: vec!["2001:db8:b::/64".parse().unwrap()],
            ..Policy::default()
        });
        let now = Timestamp::from_millis(0);
        for (spi, mn_id, home, generation) in [
            (1, "car@example.net", 0, 1),
            (2, "car@example.net", 0, 2),
            (3, "bus@example.net", 1, 1),
        ] {
            let info = SaInfo {
                spi: Spi::new(spi).unwrap(),
                mn_id: MobileNodeId::new(mn_id).unwrap(),
                suite: Suite::Aes128CbcSha,
                scope: Scope::SignallingAndData,
                home_address: HOME6[home],
                ipv4_home_address: (home == 0).then_some(Ipv4Addr::new(203, 0, 113, 130)),
                ha_address: Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1),
                validity_end: Timestamp::from_millis(600_000),
                generation,
                services: Services::default(),
            };
            home_agent.handle(now, Event::SaIssued(info), &mut Vec::new());
        }
        assert_eq!(home_agent.sas().count(), 3);
        home_agent
    }

    fn named(target: &Target) -> (Vec<u32>, Vec<String>) {
        let filter = filter(&home_agent(), target).unwrap();
        assert_eq!(filter.everything, *target == Target::All);
        let mut spis: Vec<u32> = filter.spis.iter().map(|spi| spi.get()).collect();
        spis.sort_unstable();
        let prefixes = filter.prefixes.iter().map(|(address, len)| format!("{address}/{len}"));
        (spis, prefixes.collect())
    }

    #[test]
    fn names_become_spis_and_home_addresses() {
        let car = ["2001:db8:b::1/128", "203.0.113.130/32"].map(String::from).to_vec();
        let address = |text: &str| Target::Address(text.parse().unwrap());
        for (target, spis, prefixes) in [
            (Target::All, vec![], vec![]),
            (Target::Spi(1), vec![1], car.clone()),
            (Target::Spi(77), vec![77], vec![]),
            (Target::MnId("car@example.net".into()), vec![1, 2], car.clone()),
            (Target::MnId("bus@example.net".into()), vec![3], vec!["2001:db8:b::2/128".into()]),
            (address("2001:db8:c::2"), vec![], vec!["2001:db8:c::2/128".into()]),
        ] {
            assert_eq!(named(&target), (spis, prefixes), "{target}");
        }
        assert_eq!(named(&address("203.0.113.130")).0, [1, 2]);
        assert_eq!(named(&address("2001:db8:b::/64")).0, [1, 2, 3]);
    }

    #[test]
    fn a_name_that_nothing_has_is_refused() {
        let home_agent = home_agent();
        for (target, expected) in [
            (Target::Spi(0), Unknown::Spi),
            (Target::Spi(u32::MAX), Unknown::Spi),
            (Target::MnId("ship@example.net".into()), Unknown::MnId),
        ] {
            assert_eq!(filter(&home_agent, &target), Err(expected));
        }
    }
}
