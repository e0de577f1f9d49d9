//! What is shown of home links: prefixes, other home agents, counters.

use std::net::IpAddr;
use std::time::Duration;

use hearth_api::CounterRow;
use hearth_api::home_link::{HomeAgentRow, HomeLinkRow};
use hearth_home_agent::LinkCounters;

use crate::control::{Control, Parts};

impl Control {
    pub(crate) fn home_links(&self) -> Vec<HomeLinkRow> {
        let Parts { config, home_agent, .. } = &self.parts;
        let name = |place: usize| config.ports.get(place).map(|port| port.name.value.clone());
        let row = |home: &crate::home_link_config::HomePrefix| {
            let lifetimes = match home.prefix.addr() {
                IpAddr::V6(address) => home_agent.prefix_lifetimes(address),
                // An IPv4 prefix has none.
                IpAddr::V4(_) => (None, None),
            };
            HomeLinkRow {
                prefix: home.prefix.to_string(),
                port: home.port(&config.ports).and_then(name),
                valid_lifetime: lifetimes.0.map(seconds),
                preferred_lifetime: lifetimes.1.map(seconds),
            }
        };
        config.home_agent.home_prefixes.iter().map(|home| row(&home.value)).collect()
    }

    pub(crate) fn home_agents(&self) -> Vec<HomeAgentRow> {
        let (now, Parts { config, home_agent, .. }) = (self.now(), &self.parts);
        let name = |place: u16| {
            let port = config.ports.get(usize::from(place));
            port.map_or_else(|| place.to_string(), |port| port.name.value.clone())
        };
        let mut rows: Vec<_> = home_agent
            .home_agents()
            .map(|it| HomeAgentRow {
                port: name(it.link.0),
                link_local_address: it.link_local,
                addresses: it.addresses.to_vec(),
                preference: it.preference,
                mobile_routers: it.mobile_routers,
                remaining: seconds(it.ends.since(now)),
            })
            .collect();
        rows.sort_by(|a, b| (&a.port, a.link_local_address).cmp(&(&b.port, b.link_local_address)));
        rows
    }

    pub(crate) fn link_counters(&self) -> Vec<CounterRow> {
        let home_agent = &self.parts.home_agent;
        let probing = u64::try_from(home_agent.probing()).unwrap_or(u64::MAX);
        let rows = counters(&home_agent.link_counters(), probing);
        let rows = rows.map(|(counter, count, description)| CounterRow {
            counter: counter.into(),
            count,
            description: description.into(),
        });
        rows.into()
    }
}

/// What is counted on home links; `probing` registrations wait now.
const fn counters(links: &LinkCounters, probing: u64) -> [(&'static str, u64, &'static str); 10] {
    [
        ("dad_waiting", probing, "Registrations that wait for duplicate address detection now."),
        ("dad_probes", links.probes, "Registrations that waited for duplicate address detection."),
        ("dad_duplicates", links.duplicates, "Registrations that it refused with status 134."),
        ("announcements", links.announcements, "Home addresses announced on their links."),
        ("announcements_lost", links.announcements_lost, "Announcements that found no room."),
        ("addresses_contested", links.contested, "Claims of others to bound home addresses."),
        (
            "prefix_advertisements",
            links.prefix_advertisements,
            "Mobile Prefix Advertisements sent.",
        ),
        ("discovery_replies", links.discovery_replies, "Home agent discovery replies sent."),
        (
            "stranger_binding_errors",
            links.binding_errors,
            "Binding Errors to nodes without binding.",
        ),
        (
            "stranger_answers_limited",
            links.answers_limited,
            "Answers that the rate limit held back.",
        ),
    ]
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_shown_under_its_name() {
        let links = LinkCounters {
            probes: 1,
            duplicates: 2,
            announcements: 3,
            announcements_lost: 4,
            contested: 5,
            prefix_advertisements: 6,
            discovery_replies: 7,
            binding_errors: 8,
            answers_limited: 9,
        };
        let rows = counters(&links, 0);
        assert_eq!(rows.map(|(_, count, _)| count), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(rows.iter().all(|(_, _, meaning)| meaning.ends_with('.')));
    }
}
