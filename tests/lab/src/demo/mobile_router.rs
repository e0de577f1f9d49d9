//! A network that moves as a whole: a host behind a mobile router (RFC 3963).

use std::net::SocketAddr;

use super::{Demo, PATIENCE, PROBE_PERIOD, milliseconds};
use crate::{
    config::NodeTuning,
    error::{LabError, Result},
    lab::Lab,
    plan::{BEHIND6, CN6, MOBILE_NETWORK6, Visited},
    report::MobileRouterReport,
    traffic::{Direction, Echo, Probe, Transfer, TransferPlan},
    wait,
};

/// The transfer of the host behind the mobile router: about two seconds.
const OCTETS: u64 = 30_000_000;
const RATE: u64 = 15_000_000;

impl Demo {
    pub(super) fn mobile_router(&mut self, lab: &Lab) -> Result<()> {
        self.step("a mobile router registers the network behind it");
        let subscriber = lab.subscriber("mobile-router")?;
        let tuning = NodeTuning {
            mobile_router: Some((vec![MOBILE_NETWORK6], "explicit")),
            ..NodeTuning::default()
        };
        let mut node = lab.start_node(0, subscriber, &tuning)?;
        node.registered_at(Visited::Net6, PATIENCE)?;

        let network = &lab.network;
        let host = SocketAddr::new(BEHIND6.into(), 0);
        let echo = Echo::start(&network.cn, SocketAddr::new(CN6.into(), 0))?;
        let probe = Probe::start(&network.lan, host, echo.address(), PROBE_PERIOD)?;
        let transfer = Transfer::start(&TransferPlan {
            client: &network.lan,
            from: host,
            server: &network.cn,
            to: SocketAddr::new(CN6.into(), 0),
            direction: Direction::Download,
            octets: OCTETS,
            rate: RATE,
        })?;
        wait::until("a quarter of the transfer", PATIENCE, || {
            Ok((transfer.progress() >= OCTETS / 4 || transfer.ended()).then_some(()))
        })?;
        self.step("the mobile router moves behind the NAT; its host notices nothing");
        let begin = probe.now();
        network.detach(0, Visited::Net6)?;
        network.attach(0, Visited::Nat4)?;
        node.registered_at(Visited::Nat4, PATIENCE)?;
        let registered = probe.now();
        wait::until("an answer to the host after the move", PATIENCE, || {
            Ok(probe.answered_since(registered).then_some(()))
        })?;
        let period = begin..probe.now();
        let outcome = transfer.finish()?;
        let samples = probe.finish();
        let intact = outcome.intact() && outcome.received.octets == OCTETS;
        self.report.mobile_router = Some(MobileRouterReport {
            prefix: MOBILE_NETWORK6.into(),
            gap_ms: milliseconds(samples.gap(&period)),
            packets_lost: samples.lost(&period),
            octets: outcome.received.octets,
            intact,
        });
        node.stop()?;
        network.detach(0, Visited::Nat4)?;
        network.attach(0, Visited::Net6)?;
        if intact {
            Ok(())
        } else {
            Err(LabError::Wrong("checksums behind the router differ".into()))
        }
    }
}
