//! IPv6 packets and Ethernet frames in the notation of the cases.

use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

use hearth_wire::exthdr;
use hearth_wire::icmp6::{self, Envelope, Message, PrefixInformation};
use hearth_wire::mh;

use crate::case::{Head, Octets};

const HEADER: usize = 40;
const ETHERNET: usize = 14;

/// Writes an IPv6 packet, or a frame, in words.
///
/// # Errors
/// What is none that a case has words for.
pub fn describe(octets: &Octets) -> Result<String, String> {
    match octets.head {
        Head::Ip => ip(&octets.payload),
        Head::Ethernet => frame(&octets.payload),
        Head::Next(_) => Err("signalling".into()),
    }
}

fn frame(frame: &[u8]) -> Result<String, String> {
    let (header, packet) = frame.split_at_checked(ETHERNET).ok_or("a short frame")?;
    if header.ends_with(&[0x08, 0x06]) {
        return arp(packet);
    }
    ip(packet)
}

/// An ARP request: a probe, an announcement or a question.
fn arp(packet: &[u8]) -> Result<String, String> {
    let address = |at: usize| -> Result<Ipv4Addr, String> {
        let octets: [u8; 4] =
            packet.get(at..at + 4).and_then(|o| o.try_into().ok()).ok_or("a short ARP packet")?;
        Ok(octets.into())
    };
    Ok(format!("ARP(sender={} target={})", address(14)?, address(24)?))
}

fn address(packet: &[u8], at: usize) -> Result<Ipv6Addr, String> {
    let octets = packet.get(at..at + 16).and_then(|octets| <[u8; 16]>::try_from(octets).ok());
    octets.map(Ipv6Addr::from).ok_or_else(|| "a short packet".into())
}

fn ip(packet: &[u8]) -> Result<String, String> {
    let (source, destination) = (address(packet, 8)?, address(packet, 24)?);
    let [_, _, _, _, _, _, mut next_header, hop_limit, ..] = *packet else {
        return Err("a short packet".into());
    };
    let mut at = HEADER;
    let mut routing = None;
    if next_header == exthdr::ROUTING {
        routing = Some(address(packet, at + 8)?);
        next_header = packet.get(at).copied().unwrap_or_default();
        at += 24;
    }
    let octets = packet.get(at..).unwrap_or_default();
    let last = routing.unwrap_or(destination);
    let mut text = if next_header == mh::PROTO {
        match mh::parse(octets, source, last).map_err(|error| format!("{error:?}"))? {
            mh::Message::BindingError(error) => {
                let (status, home) = (error.status, error.home_address);
                format!("BE(src={source} dst={destination} status={status} home={home})")
            }
            other => return Err(format!("{other:?}")),
        }
    } else if let [4, code, _, _, a, b, c, d, ..] = *octets {
        let pointer = u32::from_be_bytes([a, b, c, d]);
        let len = packet.len();
        format!(
            "ParamProblem(src={source} dst={destination} code={code} pointer={pointer} octets={len})"
        )
    } else {
        let envelope = Envelope { source, destination: last, hop_limit };
        let message = icmp6::parse(octets, &envelope).map_err(|error| format!("{error:?}"))?;
        icmp(&message, source, destination).ok_or("no words for it")?
    };
    if let Some(home) = routing {
        let at = text.find(')').map_or(text.len(), |end| end + 1);
        text.insert_str(at, &format!(" RH2({home})"));
    }
    Ok(text)
}

fn icmp(message: &Message<'_>, source: Ipv6Addr, destination: Ipv6Addr) -> Option<String> {
    let ends = format!("src={source} dst={destination}");
    let letters = |flags: &[(bool, char)]| {
        let set: String = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).collect();
        if set.is_empty() { set } else { format!(" {set}") }
    };
    match message {
        Message::NeighbourSolicitation(ns) => Some(format!("NS({ends} target={})", ns.target)),
        Message::NeighbourAdvertisement(na) => {
            let flags = letters(&[(na.router, 'R'), (na.solicited, 'S'), (na.overrides, 'O')]);
            let mut text = format!("NA({ends} target={}{flags})", na.target);
            if let Some(mac) = na.target_link_layer {
                let mac: Vec<_> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
                let _ = write!(text, " TLLA({})", mac.join(":"));
            }
            Some(text)
        }
        Message::RouterAdvertisement(ra) => {
            let flags = letters(&[(ra.managed, 'M'), (ra.other, 'O'), (ra.home_agent, 'H')]);
            let mut text = format!("RA({ends} lifetime={}{flags})", ra.router_lifetime);
            if let Some(info) = ra.home_agent_information {
                let flags = letters(&[(info.mobile_routers, 'R')]);
                let (preference, lifetime) = (info.preference, info.lifetime);
                let _ = write!(text, " HAInfo(pref={preference} lifetime={lifetime}{flags})");
            }
            prefixes(&mut text, ra.prefixes.iter());
            Some(text)
        }
        Message::MobilePrefixSolicitation(mps) => Some(format!("MPS({ends} id={})", mps.id)),
        Message::MobilePrefixAdvertisement(mpa) => {
            let flags = letters(&[(mpa.managed, 'M'), (mpa.other, 'O')]);
            let mut text = format!("MPA({ends} id={}{flags})", mpa.id);
            prefixes(&mut text, mpa.prefixes.iter());
            Some(text)
        }
        Message::HomeAgentDiscoveryRequest(request) => {
            let flags = letters(&[(request.mobile_routers, 'R')]);
            Some(format!("DHAAD({ends} id={}{flags})", request.id))
        }
        Message::HomeAgentDiscoveryReply(reply) => {
            let flags = letters(&[(reply.mobile_routers, 'R')]);
            let addresses: Vec<_> = reply.addresses.iter().map(|a| a.to_string()).collect();
            let addresses = addresses.join(",");
            Some(format!("DHAADReply({ends} id={} list={addresses}{flags})", reply.id))
        }
        _ => None,
    }
}

fn prefixes(text: &mut String, prefixes: impl Iterator<Item = PrefixInformation>) {
    for prefix in prefixes {
        let flags: String =
            [(prefix.on_link, 'L'), (prefix.autonomous, 'A'), (prefix.router_address, 'R')]
                .iter()
                .filter(|flag| flag.0)
                .map(|flag| flag.1)
                .collect();
        let flags = if flags.is_empty() { flags } else { format!(" {flags}") };
        let (address, len) = (prefix.prefix, prefix.len);
        let (valid, preferred) = (prefix.valid, prefix.preferred);
        let _ = write!(text, " Prefix({address}/{len} valid={valid} pref={preferred}{flags})");
    }
}
