//! Which way packets go to a mobile node that has several: by its flow rules, else the preferred one.
//!
//! Read first: RFC 6089 s.5.3.6; RFC 5648 s.6.3; RFC 8200 s.4.5; RFC 791 s.3.2.
//!
//! Only packets to such mobile nodes come here. What they get is another cell of the binding table,
//! that of a tunnel; the stages behind do not tell the difference.
//!
//! Fragments other than the first have no ports, and "HAs [...] SHOULD take care to forward all fragments
//! of a given packet the same way": the way of the last few first fragments is remembered.

use hearth_dpdk::Mbuf;
use hearth_wire::flow_key::FlowKey;

use crate::drop_reason::DropReason;
use crate::layout::{Address6, IPV4_LEN, Ip, be16, mapped, proto, upper_layer_v6};
use crate::side::Pools;
use crate::table::fan::{Fan, MOST_COPIES, Way};
use crate::view::View;
use crate::work::{Chosen, Downlink, Lanes, Routed, Via, Work};

/// First fragments that are remembered, a power of two.
const PLACES: usize = 256;
/// Copies that one turn makes at most.
const COPIES_IN_A_TURN: u16 = 64;

/// What the fragments of one packet have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whole {
    source: Address6,
    destination: Address6,
    id: u32,
    /// Of IPv4; two packets of one identification may differ in it (RFC 791 s.3.2).
    protocol: u8,
}

/// A fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    whole: Whole,
    is_first: bool,
}

/// Where the fragments of a packet go: Binding IDs, 0 for none.
#[derive(Debug, Clone, Copy)]
struct Place {
    whole: Whole,
    bids: [u16; MOST_COPIES],
}

/// What a worker keeps for the choice.
pub(crate) struct Selection {
    /// The ways of the last first fragments.
    places: Box<[Option<Place>; PLACES]>,
    /// Copies that this turn may still make.
    copies: u16,
}

impl Default for Selection {
    fn default() -> Self {
        Self { places: Box::new([None; PLACES]), copies: COPIES_IN_A_TURN }
    }
}

impl Selection {
    /// Starts a turn.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.copies = COPIES_IN_A_TURN;
    }

    fn put(&mut self, whole: Whole, ways: &[Way]) {
        let mut bids = [0; MOST_COPIES];
        for (place, way) in bids.iter_mut().zip(ways) {
            *place = way.bid;
        }
        if let Some(place) = self.places.get_mut(whole.place()) {
            *place = Some(Place { whole, bids });
        }
    }

    fn get(&self, whole: Whole) -> Option<[u16; MOST_COPIES]> {
        let place = self.places.get(whole.place())?.as_ref()?;
        (place.whole == whole).then_some(place.bids)
    }
}

impl Whole {
    fn place(self) -> usize {
        let [high, low] = self.source.words();
        let mixed = Address6::of_words([high ^ u64::from(self.id) << 8, low]);
        let mixed =
            mixed.mix(PLACES.trailing_zeros()) ^ self.destination.mix(PLACES.trailing_zeros());
        #[expect(clippy::cast_possible_truncation, reason = "below PLACES")]
        let place = mixed as usize % PLACES;
        place
    }
}

/// What a fragment is one of; `None` for a whole packet.
fn piece(packet: &[u8]) -> Option<Piece> {
    let (source, destination) = Ip::addresses(packet)?;
    let whole = |id, protocol| Whole {
        source: mapped(source).into(),
        destination: mapped(destination).into(),
        id,
        protocol,
    };
    if source.is_ipv4() {
        let header = packet.first_chunk::<IPV4_LEN>()?;
        let flags = be16(header, 6);
        let is_piece = flags & 0x3fff != 0;
        return is_piece.then(|| Piece {
            whole: whole(be16(header, 4).into(), header[9]),
            is_first: flags & 0x1fff == 0,
        });
    }
    let upper = upper_layer_v6(packet).filter(|upper| upper.proto == proto::FRAGMENT)?;
    let &[_, _, high, low, a, b, c, d] = packet.get(upper.offset..)?.first_chunk::<8>()?;
    let flags = u16::from_be_bytes([high, low]);
    // One that is the whole packet is no fragment (RFC 6946).
    (flags & 0xfff9 != 0).then(|| Piece {
        whole: whole(u32::from_be_bytes([a, b, c, d]), 0),
        is_first: flags >> 3 == 0,
    })
}

/// The ways of a packet: its own, and those of its copies.
type Ways = [Option<Way>; MOST_COPIES];

fn of(ways: &[Way]) -> Ways {
    core::array::from_fn(|place| ways.get(place).copied())
}

fn ways(fan: &Fan, selection: &mut Selection, packet: &[u8]) -> Ways {
    let piece = piece(packet);
    if let Some(Piece { whole, is_first: false }) = piece {
        let bids = selection.get(whole).unwrap_or_default();
        // One that has ended since has no effect.
        let mut left = bids.into_iter().filter(|bid| *bid != 0).filter_map(|bid| fan.way(bid));
        let ways = core::array::from_fn(|_| left.next());
        if ways != [None; MOST_COPIES] {
            return ways;
        }
    }
    let ways = match FlowKey::of(packet) {
        Ok(key) => fan.choose(&key),
        Err(_) => fan.preferred(),
    };
    if let Some(Piece { whole, is_first: true }) = piece {
        selection.put(whole, ways);
    }
    of(ways)
}

/// Gives each packet of the lane its tunnel, where its mobile node has several.
#[cold]
#[inline(never)]
pub(crate) fn spread(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.downlink);
    for place in 0..lane.len() {
        let Some(packet) = lane.get_mut(place) else { break };
        let Some(fan) = view.fan(packet.binding) else { continue };
        let [way, copies @ ..] = ways(fan, &mut work.selection, packet.mbuf.data());
        let (from_host, depth) = (packet.from_host, packet.depth);
        for Way { tunnel: binding, .. } in copies.into_iter().flatten() {
            view.counters.sizes.copies.add(1);
            match copy(work, lane.get(place), lane.len() < lane.capacity()) {
                Some(mbuf) => lane.push(Downlink { mbuf, binding, from_host, depth }),
                None => view.counters.stopped(DropReason::FlowCopies),
            }
        }
        if let (Some(packet), Some(way)) = (lane.get_mut(place), way) {
            packet.binding = way.tunnel;
        }
    }
    work.lanes.downlink = lane;
}

/// A copy of a packet, while this turn has some left and the lane has room.
fn copy(work: &mut Work, packet: Option<&Downlink>, has_room: bool) -> Option<Mbuf> {
    let left = work.selection.copies.checked_sub(1).filter(|_| has_room)?;
    work.selection.copies = left;
    let Pools { packets, large, .. } = &work.side.pools;
    let mbuf = &packet?.mbuf;
    mbuf.copy(packets, usize::MAX).or_else(|| mbuf.copy(large, usize::MAX))
}

/// Puts a packet whose tunnel was chosen, by another worker or before it had to wait, among those
/// that are to be encapsulated.
pub(crate) fn take_up(view: &View, lanes: &mut Lanes, chosen: Chosen) {
    let Chosen { mbuf, from_host, bid, depth } = chosen;
    let found = Ip::addresses(mbuf.data()).and_then(|(_, to)| view.carried_to(to));
    let Some((head, _)) = found.filter(|_| bid != 0 || depth != 0) else {
        let via = if from_host { Via::Host } else { Via::Inside };
        return lanes.routed.push(Routed { mbuf, via });
    };
    let way = view.fan(head).filter(|_| bid != 0).and_then(|fan| {
        // One that has ended since has no effect.
        fan.way(bid).or_else(|| fan.preferred().first().copied())
    });
    let binding = way.map_or(head, |way| way.tunnel);
    lanes.downlink.push(Downlink { mbuf, binding, from_host, depth });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sa::slot::BindingIndex;
    use crate::table::fan::Rule;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use hearth_wire::ip::{Ipv4Header, Ipv6Header};
    use hearth_wire::mh::TrafficSelector;
    use hearth_wire::mh::selector::Range;
    use zerocopy::IntoBytes;

    const UDP: [u8; 16] = [0, 9, 0, 53, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let [from, to] = [1, 2].map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        let header = Ipv6Header::new(from, to, next_header, 64, payload.len()).unwrap();
        [header.as_bytes(), payload].concat()
    }

    /// With this offset in octets and, where it is not the last, more to come.
    fn fragment6(id: u8, offset: u16, more: bool) -> Vec<u8> {
        let [high, low] = (offset | u16::from(more)).to_be_bytes();
        v6(44, &[&[17, 0, high, low, 0, 0, 0, id], &UDP[..]].concat())
    }

    fn fragment4(id: u8, offset: u16, more: bool) -> Vec<u8> {
        let [from, to] = [1, 2].map(|n| Ipv4Addr::new(10, 0, 0, n));
        let mut header = Ipv4Header::new(from, to, 17, 64, UDP.len()).unwrap();
        header.identification = u16::from(id).into();
        header.flags_fragment = (u16::from(more) << 13 | (offset / 8)).into();
        header.checksum = 0.into();
        header.checksum = hearth_wire::ip::checksum(header.as_bytes()).into();
        [header.as_bytes(), &UDP].concat()
    }

    fn way(bid: u16) -> Way {
        Way { bid, tunnel: BindingIndex(bid.into()) }
    }

    /// Packets to port 53 go by 2 and 3, others by 1.
    fn fan() -> Fan {
        let to_53 = |any| TrafficSelector { destination_port: Some(Range::only(53)), ..any };
        let rule = |any| Rule { selector: to_53(any), ways: [way(2), way(3)].into() };
        Fan {
            ways: [way(1), way(2), way(3)].into(),
            rules: [rule(TrafficSelector::ANY_IPV6), rule(TrafficSelector::ANY_IPV4)].into(),
        }
    }

    fn bids(fan: &Fan, selection: &mut Selection, packet: &[u8]) -> Vec<u16> {
        ways(fan, selection, packet).into_iter().flatten().map(|way| way.bid).collect()
    }

    #[test]
    fn fragments_follow_their_first() {
        let (mut fan, mut selection) = (fan(), Selection::default());
        for fragment in [fragment6, fragment4] {
            // Nobody knows of what it is.
            assert_eq!(bids(&fan, &mut selection, &fragment(7, 16, true)), [1]);
            assert_eq!(bids(&fan, &mut selection, &fragment(7, 0, true)), [2, 3]);
            assert_eq!(bids(&fan, &mut selection, &fragment(7, 16, true)), [2, 3]);
            assert_eq!(bids(&fan, &mut selection, &fragment(7, 32, false)), [2, 3]);
            // Another packet's.
            assert_eq!(bids(&fan, &mut selection, &fragment(8, 16, true)), [1]);
        }
        // A way that has ended since.
        fan.ways = [way(1), way(3)].into();
        assert_eq!(bids(&fan, &mut selection, &fragment6(7, 16, true)), [3]);
        fan.ways = [way(1)].into();
        assert_eq!(bids(&fan, &mut selection, &fragment6(7, 16, true)), [1]);
    }

    #[test]
    fn whole_packets_are_no_fragments() {
        assert_eq!(piece(&v6(17, &UDP)), None);
        assert_eq!(piece(&fragment4(7, 0, false)), None);
        // RFC 6946: an atomic fragment.
        assert_eq!(piece(&fragment6(7, 0, false)), None);
        assert_eq!(bids(&fan(), &mut Selection::default(), &fragment6(7, 0, false)), [2, 3]);
        assert_eq!(piece(&[]), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (fan, mut selection) = (fan(), Selection::default());
        for n in 0..=255 {
            bids(&fan, &mut selection, &fragment6(n, 0, true));
            assert_eq!(bids(&fan, &mut selection, &fragment6(n, 16, true)), [2, 3]);
        }
    }
}
