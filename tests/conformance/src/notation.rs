//! A packet's payload in the notation of the cases.
//!
//! One direction only: what is read by [`hearth_wire`] is written in words, and the words are
//! compared. The other direction, words to octets, is Scapy's (`octets.py`), so that no mistake of
//! ours can stand on both sides.

use core::fmt::Write;
use core::net::Ipv6Addr;

use hearth_wire::exthdr;
use hearth_wire::mh::selector::{Addresses, Range, TrafficSelector};
use hearth_wire::mh::{
    self, BaOptions, Bid, BuFlags, BuOptions, Flow, Ipv4HomeAddress, Message, NatDetection,
    Repeated, RevocationFlags, Selector,
};

use crate::case::{Head, Octets};

/// The direction of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the mobile node.
    Up,
    /// To the mobile node.
    Down,
}

/// Writes a payload in words, and again in octets by our own codec. `ha` is the HA's address of the
/// checksum; `home` is the home address of the SA that carries it: an extension header that names it
/// does so by its name alone.
///
/// # Errors
/// What our parser says against it.
pub fn describe(
    octets: &Octets,
    (ha, home): (Ipv6Addr, Ipv6Addr),
    way: Way,
) -> Result<(String, Vec<u8>), String> {
    let Head::Next(next_header) = octets.head else { return Err("no signalling".into()) };
    let chain = exthdr::parse_chain(next_header, &octets.payload).map_err(|e| format!("{e:?}"))?;
    let peer = chain.home_address.or(chain.routing_home_address).unwrap_or(home);
    let (source, destination) = if way == Way::Up { (peer, ha) } else { (ha, peer) };
    let message =
        mh::parse(chain.mobility_header, source, destination).map_err(|e| format!("{e:?}"))?;
    let mut emitted = [0; 2048];
    let len = mh::emit(&message, source, destination, &mut emitted).unwrap_or_default();
    let mut again = emitted.get(..len).unwrap_or_default().to_vec();
    let mut text = message_text(&message);
    let following = mh::PROTO;
    for (name, address) in [("HaO", chain.home_address), ("RH2", chain.routing_home_address)] {
        let Some(address) = address else { continue };
        let header = if name == "HaO" {
            exthdr::home_address_header(following, address)
        } else {
            exthdr::routing_header(following, address)
        };
        again.splice(0..0, header);
        let named = if address == home { name.to_owned() } else { format!("{name}({address})") };
        text.insert_str(first_end(&text), &format!(" {named}"));
    }
    Ok((text, again))
}

/// Where the first item, arguments included, ends.
fn first_end(text: &str) -> usize {
    let open = text.find('(');
    let space = text.find(' ').unwrap_or(text.len());
    match open {
        Some(open) if open < space => text.find(')').map_or(text.len(), |end| end + 1),
        _ => space,
    }
}

fn message_text(message: &Message<'_>) -> String {
    let mut text = Words::default();
    match message {
        Message::BindingUpdate(update) => {
            let flags = bu_flags(update.flags);
            text.item("BU", &format!("seq={} lt={}{flags}", update.seq, update.lifetime));
            text.bu_options(&update.options);
        }
        Message::BindingAck(ack) => {
            let flags = letters(&[(ack.key_management, 'K'), (ack.mobile_router, 'R')]);
            let fields =
                format!("status={} seq={} lt={}{flags}", ack.status, ack.seq, ack.lifetime);
            text.item("BA", &fields);
            text.ba_options(&ack.options);
        }
        Message::BindingError(error) => {
            text.item("BE", &format!("status={} home={}", error.status, error.home_address));
        }
        Message::BindingRefreshRequest { bids } => {
            text.item("BRR", "");
            text.bids(*bids);
        }
        Message::HomeAgentSwitch(switch) => {
            let addresses: Vec<_> = switch.addresses.iter().map(|a| a.to_string()).collect();
            text.item("Switch", &addresses.join(" "));
            text.advice(switch.refresh_advice);
        }
        Message::Heartbeat(heartbeat) => {
            let flags = letters(&[(heartbeat.unsolicited, 'U'), (heartbeat.response, 'R')]);
            // Two words of one letter each, unlike those of others.
            let flags = flags.replace("UR", "U R");
            text.item("Heartbeat", &format!("seq={}{flags}", heartbeat.seq));
            if let Some(counter) = heartbeat.restart_counter {
                text.item("Restart", &counter.to_string());
            }
        }
        Message::Revocation(revocation) => {
            let flags = revocation_flags(revocation.flags);
            let fields = format!("trigger={} seq={}{flags}", revocation.trigger, revocation.seq);
            text.item("BRI", &fields);
            text.ipv4_home_address(revocation.ipv4_hoa);
            text.bids(revocation.bids);
        }
        Message::RevocationAck(ack) => {
            let flags = revocation_flags(ack.flags);
            text.item("BRA", &format!("status={} seq={}{flags}", ack.status.0, ack.seq));
            text.bids(ack.bids);
        }
        Message::ReturnRoutability(message) => {
            text.item("MH", &format!("type={}", message.mh_type()));
        }
    }
    text.0
}

fn letters(flags: &[(bool, char)]) -> String {
    let set: String = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).collect();
    if set.is_empty() { set } else { format!(" {set}") }
}

fn bu_flags(flags: BuFlags) -> String {
    letters(&[
        (flags.acknowledge, 'A'),
        (flags.home_registration, 'H'),
        (flags.link_local_compat, 'L'),
        (flags.key_management, 'K'),
        (flags.mobile_router, 'R'),
        (flags.force_udp, 'F'),
        (flags.overwrite, 'O'),
    ])
}

fn revocation_flags(flags: RevocationFlags) -> String {
    letters(&[(flags.proxy, 'P'), (flags.ipv4_only, 'V'), (flags.global, 'G')])
}

#[derive(Default)]
struct Words(String);

impl Words {
    fn item(&mut self, name: &str, arguments: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(name);
        if !arguments.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(self.0, "({arguments})");
        }
    }

    fn bu_options(&mut self, options: &BuOptions<'_>) {
        if let Some(address) = options.alternate_coa {
            self.item("AltCoA", &address.to_string());
        }
        self.ipv4_home_address(options.ipv4_hoa);
        if let Some(address) = options.ipv4_coa {
            self.item("IPv4CoA", &address.to_string());
        }
        if options.nonce_indices.is_some() {
            self.item("Nonces", "");
        }
        for prefix in options.prefixes {
            match prefix {
                Ok(prefix) => self.item("MNP", &format!("{}/{}", prefix.prefix, prefix.len)),
                Err(malformed) => self.item("Malformed", &format!("{malformed:?}")),
            }
        }
        self.bids(options.bids);
        self.flows(options.flows);
        for summary in options.flow_summaries.iter().flatten() {
            let flows: Vec<_> = summary.flows.iter().map(|flow| flow.to_string()).collect();
            self.item("Summary", &flows.join(" "));
        }
        if let Some(address) = options.link_layer {
            let octets: Vec<_> = address.iter().map(|octet| format!("{octet:02x}")).collect();
            self.item("LLA", &octets.join(":"));
        }
        self.mn_id(options.mn_id);
    }

    fn ba_options(&mut self, options: &BaOptions<'_>) {
        self.advice(options.refresh_advice);
        if let Some(ack) = options.ipv4_ack {
            let (address, len, status) = (ack.address, ack.prefix_len, ack.status.0);
            self.item("IPv4Ack", &format!("{address}/{len} status={status}"));
        }
        if let Some(nat) = options.nat_detection {
            let time = match nat.refresh_time {
                NatDetection::NO_NAT => "none".to_owned(),
                time => time.to_string(),
            };
            let force = if nat.force_udp { " F" } else { "" };
            self.item("NAT", &format!("{time}{force}"));
        }
        self.bids(options.bids);
        self.flows(options.flows);
        self.mn_id(options.mn_id);
    }

    fn advice(&mut self, interval: Option<u16>) {
        if let Some(interval) = interval {
            self.item("Advice", &interval.to_string());
        }
    }

    fn mn_id(&mut self, mn_id: Option<(u8, &[u8])>) {
        if let Some((subtype, id)) = mn_id {
            self.item("MNID", &format!("{subtype} {}", String::from_utf8_lossy(id)));
        }
    }

    fn ipv4_home_address(&mut self, option: Option<Ipv4HomeAddress>) {
        if let Some(option) = option {
            let prefix = if option.prefix_request { " P" } else { "" };
            self.item("IPv4HoA", &format!("{}/{}{prefix}", option.address, option.prefix_len));
        }
    }

    fn bids(&mut self, bids: Repeated<'_, Bid>) {
        for bid in bids {
            let bid = match bid {
                Ok(bid) => bid,
                Err(malformed) => {
                    self.item("Malformed", &format!("{malformed:?}"));
                    continue;
                }
            };
            let mut fields = bid.id.to_string();
            if let Some(care_of) = bid.care_of {
                let _ = write!(fields, " {care_of}");
            }
            if bid.home {
                fields.push_str(" H");
            }
            if bid.status.0 != 0 {
                let _ = write!(fields, " status={}", bid.status);
            }
            if bid.priority != 0 {
                let _ = write!(fields, " pri={}", bid.priority);
            }
            self.item("BID", &fields);
        }
    }

    fn flows(&mut self, flows: Repeated<'_, Flow<'_>>) {
        for flow in flows {
            let flow = match flow {
                Ok(flow) => flow,
                Err(malformed) => {
                    self.item("Malformed", &format!("{malformed:?}"));
                    continue;
                }
            };
            let mut fields = format!("{} pri={}", flow.id, flow.priority);
            if flow.status.0 != 0 {
                let _ = write!(fields, " status={}", flow.status.0);
            }
            if !flow.bids.is_empty() {
                let bids: Vec<_> = flow.bids.iter().map(|bid| bid.to_string()).collect();
                let _ = write!(fields, " bids={}", bids.join(","));
            }
            match flow.selector {
                Some(Selector::Binary(selector)) => selector_fields(&mut fields, &selector),
                Some(Selector::Other { format, octets }) => {
                    let octets: String =
                        octets.iter().map(|octet| format!("{octet:02x}")).collect();
                    let _ = write!(fields, " format={format}:{octets}");
                }
                None => {}
            }
            self.item("Flow", &fields);
        }
    }
}

/// A traffic selector in words.
#[must_use]
pub fn selector(selector: &TrafficSelector) -> String {
    let mut text = String::new();
    selector_fields(&mut text, selector);
    text.trim_start().to_owned()
}

fn selector_fields(text: &mut String, selector: &TrafficSelector) {
    match selector.addresses {
        Addresses::V4 { source, destination } => {
            text.push_str(" v4");
            range(text, "src", source);
            range(text, "dst", destination);
            range(text, "spi", selector.spi);
        }
        Addresses::V6 { source, destination, flow_label } => {
            text.push_str(" v6");
            range(text, "src", source);
            range(text, "dst", destination);
            range(text, "spi", selector.spi);
            range(text, "label", flow_label);
        }
    }
    range(text, "sport", selector.source_port);
    range(text, "dport", selector.destination_port);
    range(text, "dscp", selector.dscp);
    range(text, "proto", selector.protocol);
}

fn range<T: ToString + PartialEq>(text: &mut String, name: &str, range: Option<Range<T>>) {
    let Some(Range { first, last }) = range else { return };
    let _ = write!(text, " {name}={}", first.to_string());
    if first != last {
        let _ = write!(text, "-{}", last.to_string());
    }
}

/// Whether our parser has to see this packet as its words say. A packet with an option, a message
/// or a field of its own making is there to be refused, or to be read in part.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    const RAW: [&str; 9] =
        ["Opt(", "MH(", "Payload(", "proto=", "len=", "sum=", "reserved=", "bits=", "over="];
    !RAW.iter().any(|raw| text.contains(raw))
}
