//! Which packets a trace or a capture is about, and what may be shown of a packet.

use core::fmt;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use hearth_wire::Spi;
use hearth_wire::frame::{FrameHeader, PType};
use zerocopy::FromBytes;

use crate::config::Service;
use crate::layout::{IPV4_LEN, IPV6_LEN, Ip, UDP_LEN, ethertype, mapped, proto};

/// SPIs that a filter names at most: all that one mobile node can have.
pub const FILTER_SPIS: usize = 64;
/// Prefixes that a filter names at most.
pub const FILTER_PREFIXES: usize = 16;

/// Which packets are meant: those under one of the SPIs, and those from or to one of the prefixes,
/// as outer or as inner address. A filter that names nothing means none.
///
/// What is beyond [`FILTER_SPIS`] and [`FILTER_PREFIXES`] is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Every packet, whatever else is said.
    pub everything: bool,
    /// Envelopes under these SPIs.
    pub spis: Vec<Spi>,
    /// Packets with a source or a destination in these: address and prefix length.
    pub prefixes: Vec<(IpAddr, u8)>,
}

impl Filter {
    /// Every packet.
    pub const EVERYTHING: Self = Self { everything: true, spis: Vec::new(), prefixes: Vec::new() };
}

/// The header of RFC 6618 s.6 of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeFacts {
    /// Packet type.
    pub ptype: u8,
    /// Security Parameter Index.
    pub spi: u32,
    /// Sequence number.
    pub seq: u32,
    /// Source and destination of the inner packet of PType 0, which travels in the clear.
    pub inner: Option<(IpAddr, IpAddr)>,
}

/// What a trace shows of a packet: headers that anybody on its path can read, never payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Source and destination of the first IP header; `None` where there is none.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Its protocol or first Next Header.
    pub proto: u8,
    /// Octets from there to the packet's end.
    pub len: u16,
    /// Where it is an envelope to or from the service address and port.
    pub envelope: Option<EnvelopeFacts>,
}

impl Facts {
    /// Of something without an IP header.
    pub(crate) fn of_content(len: usize) -> Self {
        Self { len: clamp(len), ..Self::default() }
    }

    /// Of an Ethernet frame.
    pub(crate) fn of_frame(frame: &[u8], service: &Service) -> Self {
        match frame.split_at_checked(14) {
            Some((header, packet))
                if matches!([header[12], header[13]], ethertype::IPV4 | ethertype::IPV6) =>
            {
                Self::of_packet(packet, service)
            }
            _ => Self::of_content(frame.len()),
        }
    }

    /// Of a packet that starts with its IP header. It may be broken in any way.
    pub(crate) fn of_packet(packet: &[u8], service: &Service) -> Self {
        let Some((source, destination)) = Ip::addresses(packet) else {
            return Self::of_content(packet.len());
        };
        let (proto, header_len) = match destination {
            IpAddr::V6(_) => (packet.get(6), IPV6_LEN),
            IpAddr::V4(_) => {
                let words = packet.first().map_or(0, |first| usize::from(first & 0x0f));
                (packet.get(9), (words * 4).max(IPV4_LEN))
            }
        };
        let proto = proto.copied().unwrap_or_default();
        let addresses = (source, destination);
        let envelope = (proto == proto::UDP)
            .then(|| packet.get(header_len..))
            .flatten()
            .and_then(|udp| envelope(udp, addresses, service));
        Self { addresses: Some(addresses), proto, len: clamp(packet.len()), envelope }
    }
}

fn envelope(
    udp: &[u8],
    (source, destination): (IpAddr, IpAddr),
    service: &Service,
) -> Option<EnvelopeFacts> {
    let (header, frame) = udp.split_first_chunk::<UDP_LEN>()?;
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let to_us = service.is_at(destination) && port(2) == service.port;
    let from_us = service.is_at(source) && port(0) == service.port;
    let (header, content) = FrameHeader::read_from_prefix(frame).ok()?;
    let ptype = header.ptype_bits();
    let plain = ptype == PType::PlainData.bits();
    (to_us || from_us).then(|| EnvelopeFacts {
        ptype,
        spi: header.spi_bits(),
        seq: header.seq().0,
        inner: plain.then(|| Ip::addresses(content)).flatten(),
    })
}

fn clamp(octets: usize) -> u16 {
    u16::try_from(octets).unwrap_or(u16::MAX)
}

/// A [`Filter`] where workers find it. Control may write it while workers read: a worker then sees
/// a part of either filter for the moment, which costs or adds a packet and breaks nothing.
pub(crate) struct SharedFilter {
    everything: AtomicBool, // here and below: control: wo, workers: ro
    spi_count: AtomicUsize,
    spis: [AtomicU32; FILTER_SPIS],
    prefix_count: AtomicUsize,
    prefixes: [SharedPrefix; FILTER_PREFIXES],
}

/// Upper and lower half of a prefix, IPv4 in its mapped form, and of its mask.
#[derive(Default)]
struct SharedPrefix([AtomicU64; 4]);

impl Default for SharedFilter {
    fn default() -> Self {
        Self {
            everything: AtomicBool::new(false),
            spi_count: AtomicUsize::new(0),
            spis: core::array::from_fn(|_| AtomicU32::new(0)),
            prefix_count: AtomicUsize::new(0),
            prefixes: core::array::from_fn(|_| SharedPrefix::default()),
        }
    }
}

impl SharedFilter {
    pub(crate) fn set(&self, filter: &Filter) {
        for (place, spi) in self.spis.iter().zip(&filter.spis) {
            place.store(spi.get(), Ordering::Relaxed);
        }
        for (place, (address, len)) in self.prefixes.iter().zip(&filter.prefixes) {
            place.set(*address, *len);
        }
        self.spi_count.store(filter.spis.len().min(FILTER_SPIS), Ordering::Relaxed);
        self.prefix_count.store(filter.prefixes.len().min(FILTER_PREFIXES), Ordering::Relaxed);
        self.everything.store(filter.everything, Ordering::Relaxed);
    }

    /// Whether a packet is meant. `spi` is the SA it travels under, where its header does not say.
    pub(crate) fn matches(&self, facts: &Facts, spi: Option<Spi>) -> bool {
        if self.everything.load(Ordering::Relaxed) {
            return true;
        }
        let spi = spi.map(Spi::get).or(facts.envelope.map(|envelope| envelope.spi));
        let spis = self.spis.iter().take(self.spi_count.load(Ordering::Relaxed));
        if spi.is_some_and(|spi| spis.into_iter().any(|s| s.load(Ordering::Relaxed) == spi)) {
            return true;
        }
        let inner = facts.envelope.and_then(|envelope| envelope.inner);
        facts.addresses.is_some_and(|pair| self.holds(pair))
            || inner.is_some_and(|pair| self.holds(pair))
    }

    fn holds(&self, (source, destination): (IpAddr, IpAddr)) -> bool {
        let (source, destination) = (mapped(source).to_bits(), mapped(destination).to_bits());
        let mut prefixes = self.prefixes.iter().take(self.prefix_count.load(Ordering::Relaxed));
        prefixes.any(|prefix| prefix.holds(source) || prefix.holds(destination))
    }
}

impl SharedPrefix {
    fn set(&self, address: IpAddr, len: u8) {
        let len = match address {
            IpAddr::V4(_) => 96 + u32::from(len.min(32)),
            IpAddr::V6(_) => u32::from(len.min(128)),
        };
        let address = mapped(address).to_bits();
        let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
        let halves = [address & mask, mask].map(halves);
        for (place, half) in self.0.iter().zip(halves.as_flattened()) {
            place.store(*half, Ordering::Relaxed);
        }
    }

    fn holds(&self, address: u128) -> bool {
        let [high, low, mask_high, mask_low] = &self.0;
        let [upper, lower] = halves(address);
        upper & mask_high.load(Ordering::Relaxed) == high.load(Ordering::Relaxed)
            && lower & mask_low.load(Ordering::Relaxed) == low.load(Ordering::Relaxed)
    }
}

fn halves(bits: u128) -> [u64; 2] {
    let octets = bits.to_be_bytes();
    let half = |from: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&octets[from..from + 8]);
        u64::from_be_bytes(half)
    };
    [half(0), half(8)]
}

impl fmt::Debug for SharedFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFilter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;
    use proptest::prelude::*;

    const SERVICE: Service = Service {
        ip6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ip4: Some(core::net::Ipv4Addr::new(198, 51, 100, 1)),
        port: 7872,
    };

    /// UDP over IPv4 from 192.0.2.1:40000 to the service, PType 8, SPI 7, number 9.
    fn envelope4() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend([192, 0, 2, 1, 198, 51, 100, 1]);
        packet.extend([0x9c, 0x40, 0x1e, 0xc0, 0, 16, 0, 0, 0x80, 0, 0, 7, 0, 0, 0, 9]);
        packet
    }

    fn filter(spis: &[u32], prefixes: &[(&str, u8)]) -> SharedFilter {
        let shared = SharedFilter::default();
        shared.set(&Filter {
            everything: false,
            spis: spis.iter().map(|spi| Spi::new(*spi).unwrap()).collect(),
            prefixes: prefixes.iter().map(|(a, len)| (a.parse().unwrap(), *len)).collect(),
        });
        shared
    }

    #[test]
    fn facts_are_addresses_lengths_and_the_envelope_header() {
        let facts = Facts::of_packet(&envelope4(), &SERVICE);
        let envelope = EnvelopeFacts { ptype: 8, spi: 7, seq: 9, inner: None };
        assert_eq!((facts.proto, facts.len, facts.envelope), (17, 36, Some(envelope)));
        let frame = [&[2; 12], &[8, 0][..], &envelope4()].concat();
        assert_eq!(Facts::of_frame(&frame, &SERVICE), facts);
        // To somebody else's port 7872, and to another port of the home agent's.
        for (at, to) in [(19, 2), (23, 0xc1)] {
            let mut packet = envelope4();
            packet[at] = to;
            let facts = Facts::of_packet(&packet, &SERVICE);
            assert_eq!((facts.envelope, facts.proto), (None, 17));
        }
        let arp = [&[2; 12], &[8, 6][..], &[0; 28]].concat();
        assert_eq!(Facts::of_frame(&arp, &SERVICE), Facts { len: 42, ..Facts::default() });
    }

    #[test]
    fn spis_and_prefixes_match() {
        let facts = Facts::of_packet(&envelope4(), &SERVICE);
        for (filter, expected) in [
            (filter(&[], &[]), false),
            (filter(&[7], &[]), true),
            (filter(&[8], &[]), false),
            (filter(&[8, 7], &[("2001:db8::1", 128)]), true),
            (filter(&[], &[("192.0.2.1", 32)]), true),
            (filter(&[], &[("192.0.2.2", 32)]), false),
            (filter(&[], &[("192.0.2.99", 24)]), true),
            (filter(&[], &[("198.51.100.1", 32)]), true),
            (filter(&[], &[("2001:db8::1", 128)]), false),
            (filter(&[], &[("::", 0)]), true),
            (filter(&[], &[("0.0.0.0", 0)]), true),
        ] {
            assert_eq!(filter.matches(&facts, None), expected, "{filter:?}");
        }
        assert!(filter(&[5], &[]).matches(&Facts::default(), Spi::new(5).ok()));
        assert!(!filter(&[5], &[]).matches(&Facts::default(), None));
        // A filter that replaces a longer one leaves nothing of it.
        let shared = filter(&[7, 8], &[("192.0.2.1", 32), ("::", 0)]);
        shared.set(&Filter { spis: vec![Spi::new(9).unwrap()], ..Filter::default() });
        assert!(!shared.matches(&facts, None));
        shared.set(&Filter::EVERYTHING);
        assert!(shared.matches(&facts, None) && shared.matches(&Facts::default(), None));
    }

    /// PType 0 hides nothing, so its inner addresses are as good as the outer ones.
    #[test]
    fn plain_envelopes_match_by_their_inner_addresses() {
        let mut packet = envelope4();
        packet[28..].fill(0);
        packet.extend(envelope4());
        packet[36 + 12..36 + 16].copy_from_slice(&[203, 0, 113, 5]);
        let facts = Facts::of_packet(&packet, &SERVICE);
        let inner = ("203.0.113.5".parse().unwrap(), "198.51.100.1".parse().unwrap());
        assert_eq!(facts.envelope.unwrap().inner, Some(inner));
        assert!(filter(&[], &[("203.0.113.0", 24)]).matches(&facts, None));
        packet[28] = 0x10;
        let facts = Facts::of_packet(&packet, &SERVICE);
        assert_eq!(facts.envelope.unwrap().inner, None);
        assert!(!filter(&[], &[("203.0.113.0", 24)]).matches(&facts, None));
    }

    proptest! {
        #[test]
        fn any_octets_have_facts(junk in prop::collection::vec(any::<u8>(), 0..100)) {
            Facts::of_frame(&junk, &SERVICE);
            let facts = Facts::of_packet(&junk, &SERVICE);
            prop_assert_eq!(usize::from(facts.len), junk.len());
        }

        #[test]
        fn prefixes_hold_what_they_say(address in any::<u128>(), other in any::<u128>(), len in 0_u8..=128) {
            let prefix = SharedPrefix::default();
            prefix.set(Ipv6Addr::from_bits(address).into(), len);
            let same = len == 0 || (address ^ other) >> (128 - u32::from(len)) == 0;
            prop_assert_eq!(prefix.holds(other), same);
            prop_assert!(prefix.holds(address));
        }
    }
}
