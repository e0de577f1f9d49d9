//! What happens in that hour.

use std::{net::IpAddr, time::Duration};

use super::{Length, PATIENCE, PERIOD, Roamer};
use crate::{
    error::Result,
    network::add_address,
    plan::Visited::{Nat4, Net6},
    wait,
};

/// An address that the mobile node has in the IPv6 network after a renumbering.
const RENUMBERED: &str = "2001:db8:6::200";
/// What the carrier's NAT of the compressed hour bears, in seconds: 30 s, compressed.
const CARRIER_S: u32 = 4;
/// Probes that go unanswered while there is no network at all: two seconds of them.
const OFFLINE_PROBES: usize = 200;

impl Roamer<'_> {
    pub(super) fn all(&mut self, length: Length) -> Result<()> {
        self.between_two_networks()?;
        self.black_holes()?;
        self.offline()?;
        if length == Length::Full {
            self.renumbering()?;
            self.rebinding()?;
            self.carrier()?;
            self.bad_radio()?;
        }
        let name = "back to IPv6, the NAT'd network stays";
        self.event(name, |it| it.lab.network.attach(0, Net6), |it| it.at_visited(Net6))?;
        self.home()?;
        self.calm()
    }

    fn between_two_networks(&mut self) -> Result<()> {
        self.event(
            "IPv6 gone, then NAT'd IPv4",
            |it| {
                it.lab.network.detach(0, Net6)?;
                it.lab.network.attach(0, Nat4)
            },
            |it| it.at_visited(Nat4),
        )?;
        self.event(
            "IPv6 comes up beside NAT'd IPv4",
            |it| it.lab.network.attach(0, Net6),
            |it| it.at_visited(Net6),
        )
    }

    fn black_holes(&mut self) -> Result<()> {
        self.event(
            "IPv6 swallows packets, its link stays up",
            |it| {
                it.lab.network.net6.nft(
                    "table inet hole {\n chain forward {\n  type filter hook forward priority 0\n  \
                     iifname \"visit6-0\" drop\n  oifname \"visit6-0\" drop\n }\n}\n",
                )
            },
            |it| it.at_visited(Nat4),
        )?;
        self.event(
            "IPv6 carries again",
            |it| it.lab.network.net6.nft("delete table inet hole"),
            |it| it.at_visited(Net6),
        )
    }

    fn offline(&mut self) -> Result<()> {
        self.event(
            "no network at all, then NAT'd IPv4",
            |it| {
                it.lab.network.detach(0, Net6)?;
                it.lab.network.detach(0, Nat4)?;
                it.node.until("no network", PATIENCE, |status| status.state == "no_network")?;
                let begin = it.probe.now();
                let long = PERIOD * u32::try_from(OFFLINE_PROBES).unwrap_or(0);
                wait::until("two seconds without a network", PATIENCE, || {
                    Ok((it.probe.now() > begin + long).then_some(()))
                })?;
                it.lab.network.attach(0, Nat4)
            },
            |it| it.at_visited(Nat4),
        )
    }

    fn renumbering(&mut self) -> Result<()> {
        let name = "IPv6 comes up beside NAT'd IPv4, again";
        self.event(name, |it| it.lab.network.attach(0, Net6), |it| it.at_visited(Net6))?;
        let new: IpAddr = match RENUMBERED.parse() {
            Ok(new) => new,
            Err(_) => return Ok(()),
        };
        self.event(
            "IPv6 is renumbered",
            |it| {
                let node = it.lab.network.mobile_node(0)?;
                let (old, _) = Net6.attachment(0);
                add_address(node, Net6.interface(), &format!("{new}/64"))?;
                node.ip(&format!("address del {old} dev {}", Net6.interface()))
            },
            |it| it.at(new),
        )?;
        self.event(
            "IPv6 gone, NAT'd IPv4 is there already",
            |it| it.lab.network.detach(0, Net6),
            |it| it.at_visited(Nat4),
        )
    }

    fn rebinding(&mut self) -> Result<()> {
        self.event(
            "the NAT forgets and deals out another port",
            |it| it.lab.network.rebind("20000-29999"),
            |it| {
                wait::until("a binding at the new port", PATIENCE, || {
                    Ok((20_000..30_000).contains(&it.port()?).then_some(()))
                })
            },
        )
    }

    /// The connection is idle behind a NAT that forgets soon; in the end its far end speaks first.
    fn carrier(&mut self) -> Result<()> {
        let patience = |it: &Self, seconds: u32| {
            for key in ["udp_timeout", "udp_timeout_stream"] {
                let key = format!("net/netfilter/nf_conntrack_{key}");
                it.lab.network.nat4.sysctl(&key, &seconds.to_string())?;
            }
            Ok(())
        };
        self.event(
            "traffic rests behind a carrier's NAT",
            |it| {
                patience(it, CARRIER_S)?;
                it.rest(true);
                let what = "an interval that this NAT bears";
                it.node.until(what, 3 * PATIENCE, |status| {
                    let interval = status.nat_keepalive_s.unwrap_or(f64::MAX);
                    status.nat_keepalive_why.as_deref() == Some("nat_forgot")
                        && interval < f64::from(CARRIER_S)
                })?;
                // Twice as long as the NAT bears: only keepalives hold the mapping now.
                let idle = std::time::Instant::now();
                let long = Duration::from_secs(u64::from(2 * CARRIER_S));
                wait::until("a time longer than the NAT bears", PATIENCE, || {
                    Ok((idle.elapsed() > long).then_some(()))
                })?;
                it.speak_from_afar()
            },
            |it| {
                it.rest(false);
                Ok(())
            },
        )?;
        patience(self, 120)
    }

    /// The correspondent sends before the mobile node does: what arrives came by the mapping.
    fn speak_from_afar(&mut self) -> Result<()> {
        let home: IpAddr = self.who.home6.into();
        let answered = self.lab.ping(&self.lab.network.cn, crate::plan::CN6.into(), home, 3)?;
        if answered == 3 {
            return Ok(());
        }
        Err(crate::LabError::Wrong(format!("{answered} of 3 pings from outside came through")))
    }

    fn home(&mut self) -> Result<()> {
        self.event(
            "comes home",
            |it| it.lab.network.attach_home(),
            |it| it.node.until("home", PATIENCE, |status| status.state == "at_home").map(drop),
        )?;
        if !self.lab.bindings()?.is_empty() {
            return Err(crate::LabError::Wrong("a binding is left of a node at home".into()));
        }
        // RFC 6275 s.10.3.1: a new binding waits for duplicate address detection, and so do its packets.
        self.event(
            "leaves home; a duplicate is looked for",
            |it| it.lab.network.detach_home(),
            |it| it.at_visited(Net6),
        )
    }

    /// Loss alone is no reason to move.
    fn bad_radio(&mut self) -> Result<()> {
        let handovers = self.handovers();
        self.event(
            "one packet in fifty is lost for a while",
            |it| {
                it.lab.network.nat4.nft(
                    "table inet radio {\n chain forward {\n  type filter hook forward priority 0\n  \
                     meta l4proto udp numgen random mod 50 == 0 drop\n }\n}\n",
                )?;
                let begin = it.probe.now();
                wait::until("three seconds of loss", PATIENCE, || {
                    Ok((it.probe.now() > begin + Duration::from_secs(3)).then_some(()))
                })?;
                it.lab.network.nat4.nft("delete table inet radio")
            },
            |_| Ok(()),
        )?;
        if self.handovers() == handovers {
            return Ok(());
        }
        Err(crate::LabError::Wrong("loss alone made the node move".into()))
    }
}
