//! ARP requests and neighbour solicitations for bound home addresses: the home agent answers in
//! the mobile node's place. All others are the kernel's. And what others say of such addresses.
//!
//! Read first: RFC 6275 s.10.4.1; RFC 3963 s.6.2; RFC 4861 s.4.3, 4.4, 7.1, 7.2.4, 7.2.8; RFC 826;
//! RFC 5227 s.2.1, 2.4.
//!
//! Whether an address is bound, and on which link, is the caller's to look up.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_wire::ip::pseudo_v6;

use crate::layout::{ETHERNET_LEN, IPV6_LEN, Ip, ethertype, len16, proto};
use crate::table::defended::Guard;

/// Octets of an ARP packet for Ethernet and IPv4, and of the frame.
const ARP_LEN: usize = 28;
const ARP_FRAME: usize = ETHERNET_LEN + ARP_LEN;
/// Octets of a Neighbour Advertisement with a link-layer address option, and of the frame.
const NA_LEN: usize = 32;
const NA_FRAME: usize = ETHERNET_LEN + IPV6_LEN + NA_LEN;
/// Room that an answer needs.
pub(crate) const ANSWER_ROOM: usize = NA_FRAME;

/// Somebody asks who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    /// The address asked for.
    pub(crate) target: IpAddr,
    /// Who asks; `None` for duplicate address detection.
    asker: Option<IpAddr>,
    asker_mac: [u8; 6],
}

impl Query {
    /// Reads a valid ARP request or neighbour solicitation; `None` for any other frame.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let header = frame.first_chunk::<ETHERNET_LEN>()?;
        match [header[12], header[13]] {
            ethertype::ARP => read_arp(frame),
            ethertype::IPV6 => read_solicitation(frame),
            _ => None,
        }
    }

    /// Whether it is duplicate address detection.
    pub(crate) const fn is_detection(&self) -> bool {
        self.asker.is_none()
    }

    /// Writes the answer that gives `mac` as the target's address; returns its length. `source`
    /// is the home agent's own IPv6 address, if it has one.
    pub(crate) fn answer(
        &self,
        space: &mut [u8; ANSWER_ROOM],
        mac: [u8; 6],
        guard: Guard,
        source: Option<Ipv6Addr>,
    ) -> usize {
        match (self.target, self.asker) {
            (IpAddr::V4(target), Some(IpAddr::V4(asker))) => {
                write_arp(space, mac, target, self.asker_mac, asker)
            }
            (IpAddr::V4(target), _) => {
                write_arp(space, mac, target, self.asker_mac, Ipv4Addr::UNSPECIFIED)
            }
            (IpAddr::V6(target), asker) => {
                let to = match asker {
                    Some(IpAddr::V6(asker)) => Some(asker),
                    _ => None,
                };
                let source = source.unwrap_or(target);
                write_advertisement(space, mac, (target, guard), (source, to), self.asker_mac)
            }
        }
    }
}

fn read_arp(frame: &[u8]) -> Option<Query> {
    let arp = frame.get(ETHERNET_LEN..)?.first_chunk::<ARP_LEN>()?;
    // Ethernet, IPv4, 6 and 4 octets, request.
    if arp[..8] != [0, 1, 8, 0, 6, 4, 0, 1] {
        return None;
    }
    Some(Query {
        target: Ipv4Addr::new(arp[24], arp[25], arp[26], arp[27]).into(),
        asker: Some(Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]).into()),
        asker_mac: [arp[8], arp[9], arp[10], arp[11], arp[12], arp[13]],
    })
}

/// The checks of RFC 4861 s.7.1.1.
fn read_solicitation(frame: &[u8]) -> Option<Query> {
    let Discovery { source, destination, target, options, .. } =
        Discovery::read(frame, SOLICITATION)?;
    // Duplicate address detection comes to the solicited-node group only, and has no link-layer
    // address; a nonce it may have (RFC 7527 s.4.1).
    let asker = (!source.is_unspecified()).then_some(IpAddr::V6(source));
    let source_mac = options.link_layer(SOURCE_LINK_LAYER_ADDRESS);
    if asker.is_none() && (destination != solicited_node(target) || source_mac.is_some()) {
        return None;
    }
    let mut asker_mac = [0; 6];
    asker_mac.copy_from_slice(frame.get(6..12)?);
    // The option says where to answer (RFC 4861 s.7.2.4); without it the frame's source does.
    let asker_mac = source_mac.unwrap_or(asker_mac);
    Some(Query { target: target.into(), asker, asker_mac })
}

/// Somebody uses an address, or asks for it in order to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) address: IpAddr,
    pub(crate) mac: [u8; 6],
    /// It asks: duplicate address detection, or an ARP Probe.
    pub(crate) probing: bool,
    /// It claims no more than to ask for somebody else under this address.
    pub(crate) in_passing: bool,
}

impl Claim {
    /// What a frame claims, if it does.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let header = frame.first_chunk::<ETHERNET_LEN>()?;
        match [header[12], header[13]] {
            ethertype::ARP => read_arp_claim(frame),
            ethertype::IPV6 => match frame.get(ETHERNET_LEN + IPV6_LEN) {
                Some(&ADVERTISEMENT) => read_advertisement(frame),
                Some(&SOLICITATION) => {
                    read_solicitation(frame).filter(Query::is_detection).map(|query| Self {
                        address: query.target,
                        mac: query.asker_mac,
                        probing: true,
                        in_passing: false,
                    })
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// RFC 5227 s.1.1: a Probe has no sender address; whatever has one claims it.
fn read_arp_claim(frame: &[u8]) -> Option<Claim> {
    let arp = frame.get(ETHERNET_LEN..)?.first_chunk::<ARP_LEN>()?;
    if arp[..7] != [0, 1, 8, 0, 6, 4, 0] || !matches!(arp[7], 1 | 2) {
        return None;
    }
    let sender = Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]);
    let target = Ipv4Addr::new(arp[24], arp[25], arp[26], arp[27]);
    let (is_request, probing) = (arp[7] == 1, sender.is_unspecified());
    if probing && !is_request {
        return None;
    }
    Some(Claim {
        address: if probing { target } else { sender }.into(),
        mac: [arp[8], arp[9], arp[10], arp[11], arp[12], arp[13]],
        probing,
        in_passing: is_request && !probing && sender != target,
    })
}

/// The checks of RFC 4861 s.7.1.2.
fn read_advertisement(frame: &[u8]) -> Option<Claim> {
    let Discovery { destination, target, flags, options, .. } =
        Discovery::read(frame, ADVERTISEMENT)?;
    if destination.is_multicast() && flags & SOLICITED != 0 {
        return None;
    }
    let mut mac = [0; 6];
    mac.copy_from_slice(frame.get(6..12)?);
    let mac = options.link_layer(TARGET_LINK_LAYER_ADDRESS).unwrap_or(mac);
    Some(Claim { address: target.into(), mac, probing: false, in_passing: false })
}

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// Flags of an advertisement.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// What solicitations and advertisements have in common.
struct Discovery<'a> {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    flags: u8,
    options: Options<'a>,
}

impl<'a> Discovery<'a> {
    /// Reads a valid message of this type.
    fn read(frame: &'a [u8], kind: u8) -> Option<Self> {
        let packet = frame.get(ETHERNET_LEN..)?;
        let ip = Ip::parse(packet).ok()?;
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (ip.source, ip.destination) else {
            return None;
        };
        let message = packet.get(IPV6_LEN..usize::from(ip.total_len))?;
        let fixed = message.first_chunk::<24>()?;
        let sound = ip.proto == proto::ICMPV6
            && ip.hop_limit == 255
            && fixed[..2] == [kind, 0]
            && icmp_sum(source, destination, message) == 0;
        if !sound {
            return None;
        }
        let mut octets = [0; 16];
        octets.copy_from_slice(&fixed[8..24]);
        let target = Ipv6Addr::from(octets);
        let options = Options::read(message.get(24..)?)?;
        (!target.is_multicast()).then_some(Self {
            source,
            destination,
            target,
            flags: fixed[4],
            options,
        })
    }
}

/// The options of a message; unknown ones say nothing.
struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// `None` where an option has the length 0, or runs past the end (RFC 4861 s.7.1).
    fn read(options: &'a [u8]) -> Option<Self> {
        let mut rest = options;
        while let Some(&[_, len]) = rest.first_chunk::<2>() {
            let (option, behind) = rest.split_at_checked(usize::from(len) * 8)?;
            if option.is_empty() {
                return None;
            }
            rest = behind;
        }
        rest.is_empty().then_some(Self(options))
    }

    /// The link-layer address in the last option of this type.
    fn link_layer(&self, wanted: u8) -> Option<[u8; 6]> {
        let (mut rest, mut found) = (self.0, None);
        while let Some(&[kind, len]) = rest.first_chunk::<2>()
            && let Some((option, behind)) = rest.split_at_checked(usize::from(len) * 8)
        {
            if let (true, &[_, _, a, b, c, d, e, f]) = (kind == wanted, option) {
                found = Some([a, b, c, d, e, f]);
            }
            rest = behind;
        }
        found
    }
}

/// The group that asks for an address (RFC 4291 s.2.7.1).
fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    const GROUP: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(GROUP | target.to_bits() & 0x00ff_ffff)
}

fn icmp_sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    pseudo_v6(source, destination, len, proto::ICMPV6).plus(message).finish()
}

fn write_arp(
    space: &mut [u8; ANSWER_ROOM],
    mac: [u8; 6],
    target: Ipv4Addr,
    asker_mac: [u8; 6],
    asker: Ipv4Addr,
) -> usize {
    space[..6].copy_from_slice(&asker_mac);
    space[6..12].copy_from_slice(&mac);
    space[12..14].copy_from_slice(&ethertype::ARP);
    space[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 2]);
    space[22..28].copy_from_slice(&mac);
    space[28..32].copy_from_slice(&target.octets());
    space[32..38].copy_from_slice(&asker_mac);
    space[38..42].copy_from_slice(&asker.octets());
    ARP_FRAME
}

/// Router flag 0, as RFC 6275 s.10.4.1 wants, but 1 for a mobile router (RFC 3963 s.6.2); Override 1:
/// the mobile node is away and nobody else answers for it, as others may for an anycast address. To a
/// duplicate address detection the answer goes to all nodes, not Solicited.
fn write_advertisement(
    space: &mut [u8; ANSWER_ROOM],
    mac: [u8; 6],
    (target, guard): (Ipv6Addr, Guard),
    (source, asker): (Ipv6Addr, Option<Ipv6Addr>),
    asker_mac: [u8; 6],
) -> usize {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
    let (destination, destination_mac, solicited) = match asker {
        Some(asker) => (asker, asker_mac, SOLICITED),
        None => (ALL_NODES, ALL_NODES_MAC, 0),
    };
    let router = if guard.router { ROUTER } else { 0 };
    let flags = solicited | router | if guard.anycast { 0 } else { OVERRIDE };
    let mut message = [0; NA_LEN];
    message[..8].copy_from_slice(&[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    message[8..24].copy_from_slice(&target.octets());
    message[24..26].copy_from_slice(&[2, 1]);
    message[26..32].copy_from_slice(&mac);
    let sum = icmp_sum(source, destination, &message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    space[..6].copy_from_slice(&destination_mac);
    space[6..12].copy_from_slice(&mac);
    space[12..14].copy_from_slice(&ethertype::IPV6);
    const LEN: [u8; 2] = len16(NA_LEN).to_be_bytes();
    space[14..18].copy_from_slice(&[0x60, 0, 0, 0]);
    space[18..22].copy_from_slice(&[LEN[0], LEN[1], proto::ICMPV6, 255]);
    space[22..38].copy_from_slice(&source.octets());
    space[38..54].copy_from_slice(&destination.octets());
    space[54..].copy_from_slice(&message);
    NA_FRAME
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MN_HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 7);
    const ASKER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 7);
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const ASKER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn solicitation(source: Ipv6Addr, options: &[u8]) -> Vec<u8> {
        solicitation_to(GROUP, source, options)
    }

    fn solicitation_to(group: Ipv6Addr, source: Ipv6Addr, options: &[u8]) -> Vec<u8> {
        let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
        message.extend(MN_HOME.octets());
        message.extend(options);
        let sum = icmp_sum(source, group, &message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        let mut frame = vec![0x33, 0x33, 0xff, 0, 0, 7];
        frame.extend(ASKER_MAC);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0]);
        frame.extend([message.len() as u8, 58, 255]);
        frame.extend(source.octets());
        frame.extend(group.octets());
        frame.extend(message);
        frame
    }

    fn answer(query: Query) -> Vec<u8> {
        let mut space = [0; ANSWER_ROOM];
        let host = Guard { router: false, anycast: false };
        let len = query.answer(&mut space, MAC, host, None);
        space[..len].to_vec()
    }

    #[test]
    fn a_solicitation_is_answered_with_the_home_agents_mac() {
        let option = [1, 1, 2, 0, 0, 0, 0, 9];
        let query = Query::read(&solicitation(ASKER, &option)).unwrap();
        assert_eq!(query.target, IpAddr::V6(MN_HOME));
        let frame = answer(query);
        assert_eq!(frame[..12], [ASKER_MAC, MAC].concat());
        let ip = Ip::parse(&frame[14..]).unwrap();
        assert_eq!((ip.destination, ip.hop_limit), (IpAddr::V6(ASKER), 255));
        let message = &frame[54..];
        assert_eq!(icmp_sum(MN_HOME, ASKER, message), 0);
        assert_eq!((message[0], message[4]), (136, 0x60));
        assert_eq!(message[8..24], MN_HOME.octets());
        assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn duplicate_address_detection_is_answered_to_all_nodes() {
        let query = Query::read(&solicitation(Ipv6Addr::UNSPECIFIED, &[])).unwrap();
        let frame = answer(query);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[58], 0x20);
    }

    /// Linux puts a nonce into every one (RFC 7527 s.4.1).
    #[test]
    fn duplicate_address_detection_with_a_nonce_is_answered() {
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        let query = Query::read(&solicitation(Ipv6Addr::UNSPECIFIED, &nonce)).unwrap();
        assert_eq!((query.target, query.asker), (IpAddr::V6(MN_HOME), None));
        let with_mac = [&nonce[..], &[1, 1, 2, 0, 0, 0, 0, 9]].concat();
        assert_eq!(Query::read(&solicitation(Ipv6Addr::UNSPECIFIED, &with_mac)), None);
        // Of somebody who has an address, the link-layer address is found behind others.
        let with_mac = [&nonce[..], &[1, 1, 2, 0, 0, 0, 0, 8]].concat();
        let query = Query::read(&solicitation(ASKER, &with_mac)).unwrap();
        assert_eq!(query.asker_mac, [2, 0, 0, 0, 0, 8]);
        // Not to the group of the address.
        for elsewhere in [MN_HOME, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 8)] {
            let frame = solicitation_to(elsewhere, Ipv6Addr::UNSPECIFIED, &nonce);
            assert_eq!(Query::read(&frame), None);
        }
    }

    #[test]
    fn unsound_solicitations_are_no_queries() {
        let good = solicitation(ASKER, &[]);
        assert!(Query::read(&good).is_some());
        for (at, what) in [(21, "hop limit"), (55, "code"), (56, "checksum"), (62, "target")] {
            let mut frame = good.clone();
            frame[at] ^= 0xff;
            assert_eq!(Query::read(&frame), None, "{what}");
        }
        assert_eq!(Query::read(&solicitation(ASKER, &[1, 0, 0, 0, 0, 0, 0, 0])), None);
        assert_eq!(Query::read(&solicitation(ASKER, &[1, 2, 0, 0, 0, 0, 0, 0])), None);
        assert_eq!(
            Query::read(&solicitation(Ipv6Addr::UNSPECIFIED, &[1, 1, 2, 0, 0, 0, 0, 9])),
            None
        );
    }

    #[test]
    fn an_arp_request_is_answered() {
        let mut frame = vec![0xff; 6];
        frame.extend(ASKER_MAC);
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(ASKER_MAC);
        frame.extend([203, 0, 113, 1, 0, 0, 0, 0, 0, 0, 203, 0, 113, 7]);
        let query = Query::read(&frame).unwrap();
        assert_eq!(query.target, IpAddr::from([203, 0, 113, 7]));
        let reply = answer(query);
        assert_eq!(reply[..14], [&ASKER_MAC[..], &MAC, &[8, 6]].concat());
        assert_eq!(reply[14..22], [0, 1, 8, 0, 6, 4, 0, 2]);
        assert_eq!(reply[22..32], [&MAC[..], &[203, 0, 113, 7]].concat());
        assert_eq!(reply[32..], [&ASKER_MAC[..], &[203, 0, 113, 1]].concat());
        frame[21] = 2;
        assert_eq!(Query::read(&frame), None, "a reply");
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(octets in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Query::read(&octets);
            let mut frame = vec![0; 12];
            frame.extend(ethertype::ARP);
            frame.extend(&octets);
            let _ = Query::read(&frame);
        }
    }
}
