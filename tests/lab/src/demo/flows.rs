//! Two networks at once, and flows that move when one of them dies (RFC 5648, RFC 6089).

use std::net::SocketAddr;

use super::{Demo, PATIENCE, PROBE_PERIOD, milliseconds};
use crate::{
    config::NodeTuning,
    error::{LabError, Result},
    lab::Lab,
    netns::Netns,
    node::MobileNode,
    plan::{CN6, Visited},
    report::FlowReport,
    traffic::{Echo, Probe},
    wait,
};

/// How long the flows run undisturbed while their links are told apart.
const SETTLED: usize = 100;
/// Of so many probes a link may also have carried a few packets of others, Binding Updates say.
const FOREIGN: u64 = 40;

/// The mobile node's own count of what it sent and got over its links.
fn packets(node: &Netns, visited: Visited) -> Result<u64> {
    let of = |direction| {
        let path = format!("/sys/class/net/{}/statistics/{direction}_packets", visited.interface());
        let text = crate::netns::run(node.command("cat").arg(path))?;
        text.trim().parse::<u64>().map_err(|_| LabError::Wrong(format!("no count: {text:?}")))
    };
    // Both directions of a flow go the same way.
    Ok(of("rx")?.min(of("tx")?))
}

impl Demo {
    pub(super) fn flows(&mut self, lab: &Lab) -> Result<()> {
        self.step("a node registers from both networks at once, and binds a flow to each");
        let network = &lab.network;
        let namespace = network.mobile_node(0)?;
        network.attach(0, Visited::Nat4)?;
        let subscriber = lab.subscriber("multihomed")?;
        let echoes = [(); 2].map(|()| Echo::start(&network.cn, SocketAddr::new(CN6.into(), 0)));
        let [first, second] = echoes;
        let (first, second) = (first?, second?);
        let port = second.address().port();
        let tuning = NodeTuning {
            at_once: true,
            flows: vec![format!("{{bid: 2, protocol: udp, remote_port: {port}}}")],
            ..NodeTuning::default()
        };
        let mut node = lab.start_node(0, subscriber, &tuning)?;
        both(&mut node)?;
        let home = SocketAddr::new(subscriber.home6.into(), 0);
        let flows = [
            (Visited::Net6, Probe::start(namespace, home, first.address(), PROBE_PERIOD)?),
            (Visited::Nat4, Probe::start(namespace, home, second.address(), PROBE_PERIOD)?),
        ];
        self.each_on_its_link(namespace, &flows)?;
        let mut gaps = Vec::new();
        for (dies, other) in [(Visited::Nat4, Visited::Net6), (Visited::Net6, Visited::Nat4)] {
            self.step(match dies {
                Visited::Nat4 => "the IPv4 network dies: its flow moves to the other link",
                Visited::Net6 => "the IPv6 network dies: its flow moves to the other link",
            });
            let Some((_, moved)) = flows.iter().find(|(visited, _)| *visited == dies) else {
                continue;
            };
            let begin = moved.now();
            network.detach(0, dies)?;
            node.until("the end of the care-of address that died", PATIENCE, |status| {
                let left: Vec<_> = status.care_of_addresses.iter().map(|c| &*c.interface).collect();
                left == [other.interface()]
            })?;
            let told = moved.now();
            wait::until("an answer to the flow that moved", PATIENCE, || {
                Ok(moved.answered_since(told).then_some(()))
            })?;
            gaps.push((dies, other, begin..moved.now()));
            network.attach(0, dies)?;
            both(&mut node)?;
            // It goes back to its own network, and both flows are there.
            let back = moved.now();
            wait::until("an answer to both flows", PATIENCE, || {
                Ok(flows.iter().all(|(_, probe)| probe.answered_since(back)).then_some(()))
            })?;
        }
        let samples = flows.map(|(visited, probe)| (visited, probe.finish()));
        for (dies, other, period) in gaps {
            let of = |visited| samples.iter().find(|(own, _)| *own == visited).map(|(_, s)| s);
            let (Some(moved), Some(stayed)) = (of(dies), of(other)) else { continue };
            self.report.flows.push(FlowReport {
                from: dies.name().into(),
                to: other.name().into(),
                gap_ms: milliseconds(moved.gap(&period)),
                packets_lost: moved.lost(&period),
                packets_lost_of_the_other: stayed.lost(&period),
            });
        }
        node.stop()?;
        network.detach(0, Visited::Nat4)
    }

    /// Each flow goes by its own network, in both directions.
    fn each_on_its_link(&self, namespace: &Netns, flows: &[(Visited, Probe)]) -> Result<()> {
        for (_, probe) in flows {
            let now = probe.now();
            wait::until("an answer to a flow", PATIENCE, || {
                Ok(probe.answered_since(now).then_some(()))
            })?;
        }
        let count = || -> Result<Vec<u64>> {
            flows.iter().map(|(visited, _)| packets(namespace, *visited)).collect()
        };
        let before = count()?;
        let begin = flows.first().map(|(_, probe)| probe.now()).unwrap_or_default();
        let undisturbed = PROBE_PERIOD * u32::try_from(SETTLED).unwrap_or(u32::MAX);
        wait::until("a hundred probes", PATIENCE, || {
            let now = flows.first().map(|(_, probe)| probe.now()).unwrap_or_default();
            Ok((now >= begin + undisturbed).then_some(()))
        })?;
        let carried: Vec<_> =
            count()?.iter().zip(&before).map(|(after, before)| after - before).collect();
        self.say(&format!("  packets each way in {undisturbed:?}: {carried:?} on net6 and nat4"));
        let least = u64::try_from(SETTLED).unwrap_or(u64::MAX) - FOREIGN;
        if carried.iter().all(|packets| *packets >= least) {
            return Ok(());
        }
        Err(LabError::Wrong(format!("the flows did not take a network each: {carried:?}")))
    }
}

/// Waits for both care-of addresses.
fn both(node: &mut MobileNode) -> Result<()> {
    node.until("two care-of addresses", PATIENCE, |s| s.care_of_addresses.len() == 2).map(drop)
}
