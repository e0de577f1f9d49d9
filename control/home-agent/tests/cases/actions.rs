//! What the home agent does, in the words of a case.

use core::fmt::Write;
use core::net::{Ipv6Addr, SocketAddr};

use hearth_conformance::case::{Head, Octets};
use hearth_conformance::notation::{self, Way};
use hearth_conformance::{packet, plan};
use hearth_home_agent::{Action, Notice, Timestamp, Tunnel, Tunnels};
use hearth_wire::Spi;

/// An action in words, when it was taken, and the octets of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) text: String,
    pub(crate) octets: Option<Octets>,
}

impl Line {
    /// `home_of` says whose an SA is.
    pub(crate) fn of(at: Timestamp, action: &Action, home_of: impl Fn(Spi) -> Ipv6Addr) -> Self {
        let plain = |text: String| Self { at, text, octets: None };
        match action {
            Action::SendSignalling { spi, local, remote, next_header, payload } => {
                let head = Head::Next(*next_header);
                let octets = Octets { head, payload: payload.clone() };
                let text = match notation::describe(&octets, (plan::HA, home_of(*spi)), Way::Down) {
                    Ok((text, _)) => text,
                    Err(error) => format!("what nobody can read: {error}"),
                };
                let text = format!("{text} to {remote}{} under {spi}", from(*local, *remote));
                Self { at, text, octets: Some(octets) }
            }
            Action::SendData { home_address, packet } => {
                packet_line(at, &format!("data {}", plan::name_of(*home_address)), Head::Ip, packet)
            }
            Action::Bind(tunnels) => plain(bind_text(tunnels)),
            Action::Unbind { home_address } => {
                plain(format!("unbind {}", plan::name_of(*home_address)))
            }
            Action::Frame { link, frame } => {
                packet_line(at, &format!("frame {}", link.0), Head::Ethernet, frame)
            }
            Action::SendPlain { packet } => packet_line(at, "plain", Head::Ip, packet),
            Action::InstallSa(spi) => plain(format!("install {spi}")),
            Action::RemoveSa(spi) => plain(format!("remove {spi}")),
            Action::Group { group, members, .. } => {
                let members: Vec<_> = members.iter().map(|it| plan::name_of(*it)).collect();
                plain(format!("group {group} {}", members.join(",")))
            }
            Action::Notice(notice) => plain(notice_text(notice)),
            Action::Count(refusal) => plain(format!("refused {}", refusal.name())),
        }
    }

    pub(crate) fn is_notice(&self) -> bool {
        self.text.starts_with("notice ")
    }
}

/// A packet that is no signalling: how it leaves, its words, its octets.
fn packet_line(at: Timestamp, how: &str, head: Head, packet: &[u8]) -> Line {
    let octets = Octets { head, payload: packet.to_vec() };
    let text = match packet::describe(&octets) {
        Ok(words) => format!("{how} {words}"),
        Err(error) => format!("{how} what nobody can read: {error}: {octets}"),
    };
    Line { at, text, octets: Some(octets) }
}

/// `bind NODE at ADDRESS under SPI`, or for a mobile node with Binding IDs `bind NODE via
/// BID:ADDRESS[/PRIORITY] ... under SPI`; then what there is beyond.
fn bind_text(tunnels: &Tunnels) -> String {
    let mut text = format!("bind {}", plan::name_of(tunnels.home_address));
    let mut spis: Vec<_> = tunnels.tunnels.iter().map(|tunnel| tunnel.spi.to_string()).collect();
    spis.dedup();
    if let [only] = &tunnels.tunnels[..]
        && only.bid == 0
    {
        let _ = write!(text, " at {}{}", only.remote, from(only.local, only.remote));
    } else {
        text.push_str(" via");
        for tunnel in &tunnels.tunnels {
            let _ = write!(text, " {}:{}", tunnel.bid, tunnel.remote);
            if tunnel.priority != Tunnel::NO_PRIORITY {
                let _ = write!(text, "/{}", tunnel.priority);
            }
            text.push_str(&from(tunnel.local, tunnel.remote));
        }
    }
    let spis = spis.join(",");
    let _ = write!(text, " under {spis}");
    if let Some(ipv4) = tunnels.ipv4_home_address {
        let _ = write!(text, " ipv4 {ipv4}");
    }
    if !tunnels.prefixes.is_empty() {
        let prefixes: Vec<_> = tunnels.prefixes.iter().map(ToString::to_string).collect();
        let _ = write!(text, " prefixes {}", prefixes.join(","));
    }
    for flow in &tunnels.flows {
        let bids: Vec<_> = flow.tunnels.iter().map(ToString::to_string).collect();
        let selector = notation::selector(&flow.selector);
        let _ = write!(text, " flow({} bids={} {selector})", flow.priority, bids.join(","));
    }
    if let Some(link) = tunnels.link {
        let _ = write!(text, " link {}", link.link.0);
        if let Some(address) = link.link_local {
            let _ = write!(text, " and {address}");
        }
        text.push_str(if link.router { " router" } else { "" });
    }
    let carriers: Vec<_> = tunnels.carriers.iter().map(ToString::to_string).collect();
    let carriers = carriers.join(",");
    if carriers != spis {
        let _ = write!(text, " carriers {carriers}");
    }
    text
}

/// The home agent's own end, where it is not the one that the cases have for that family.
fn from(local: SocketAddr, remote: SocketAddr) -> String {
    if local == plan::local_for(remote) { String::new() } else { format!(" from {local}") }
}

/// The name alone: what a notice says is for a reader of the log.
fn notice_text(notice: &Notice) -> String {
    let notice = match notice {
        Notice::Operation(notice) => format!("{notice:?}"),
        notice => format!("{notice:?}"),
    };
    let name: String = notice.chars().take_while(char::is_ascii_alphanumeric).collect();
    format!("notice {name}")
}
