//! Multicast listeners at the other end of tunnels: reports taken in, questions sent.
//!
//! Read first: RFC 6275 s.10.4.2, 10.4.3; RFC 3810 s.7, 9; RFC 3376 s.6, 8; reading R-27.
//!
//! Reports are attributed by the SA that they came under, never by their source address, which two
//! mobile nodes may have in common. Every bound mobile node is asked in turn, so that what was lost
//! is made up for.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeSet;

use hearth_wire::addresses::{Address, Addresses};
use hearth_wire::group::{GroupRecord, GroupRecords, RecordType, SourceQuery};
use hearth_wire::icmp6::{self, ListenerQuery};
use hearth_wire::igmp;
use hearth_wire::ip::{Ipv6Header, checksum};
use zerocopy::IntoBytes;

use crate::HomeAgent;
use crate::binding::Binding;
use crate::event::Action;
use crate::membership::{Member, Reported, Wish, is_global};
use crate::operations::Due;
use crate::refusal::Refusal;
use crate::slab::Id;
use crate::time::Timestamp;

/// Robustness Variable, Query Response Interval, and Last Listener Query Interval and Count
/// (RFC 3810 s.9.1, 9.3, 9.8, 9.9; RFC 3376 s.8 has the same).
const ROBUSTNESS: u8 = 2;
const RESPONSE: Duration = Duration::from_secs(10);
const LAST_QUERY: Duration = Duration::from_secs(1);
const LAST_QUERIES: u8 = ROBUSTNESS;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const HOP_BY_HOP: u8 = 0;
/// Hop-by-Hop Options header with a Router Alert for MLD (RFC 2711 s.2.1), padded.
const ROUTER_ALERT: [u8; 8] = [icmp6::PROTO, 0, 5, 2, 0, 0, 1, 0];
/// Router Alert option of IPv4 (RFC 2113 s.2.1).
const ROUTER_ALERT4: [u8; 4] = [0x94, 4, 0, 0];
/// Internetwork Control (RFC 3376 s.4).
const TOS: u8 = 0xc0;
/// Octets of the longest question.
const LONGEST: usize = 64;

/// Where the round of questions is.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    is_on: bool,
    /// The next place that is looked at.
    next: usize,
    /// The first round is over.
    started: bool,
}

/// A multicast listener, to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerView<'a> {
    /// The group.
    pub group: IpAddr,
    /// The home address of the mobile node.
    pub home_address: Ipv6Addr,
    /// The sources that it wants; `None`: any.
    pub sources: Option<&'a BTreeSet<IpAddr>>,
    /// When it is forgotten unless it says so again.
    pub expires: Timestamp,
}

/// A mobile node, by its binding and home address.
pub(crate) type Listener = (Id<Binding>, Ipv6Addr);

impl HomeAgent {
    /// Multicast listeners, in no order.
    pub fn listeners(&self) -> impl Iterator<Item = ListenerView<'_>> {
        self.operations.membership.iter().map(|member| ListenerView {
            group: member.group,
            home_address: member.home_address,
            sources: member.only.as_ref(),
            expires: member.expires,
        })
    }

    /// A report of version 2 of MLD, or 3 of IGMP. Records are taken one by one: one that is refused
    /// is counted and keeps the others from nothing.
    pub(crate) fn group_records<A: Address + Into<IpAddr>>(
        &mut self,
        now: Timestamp,
        listener: Listener,
        records: GroupRecords<'_, A>,
        out: &mut Vec<Action>,
    ) {
        for record in records.iter() {
            // "Unrecognized Record Type values MUST be silently ignored" (RFC 3810 s.5.2.12).
            let Some(wish) = wish(&record) else { continue };
            self.listener_says(now, listener, record.group.into(), wish, out);
        }
    }

    /// What a mobile node says of one group.
    pub(crate) fn listener_says(
        &mut self,
        now: Timestamp,
        listener: Listener,
        group: IpAddr,
        wish: Wish,
        out: &mut Vec<Action>,
    ) {
        if let Err(refusal) = self.heed_listener(now, listener, group, wish, out) {
            self.counters.refuse(refusal);
            out.push(Action::Count(refusal));
        }
    }

    fn heed_listener(
        &mut self,
        now: Timestamp,
        listener: Listener,
        group: IpAddr,
        wish: Wish,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        // Every host is in groups of its link, and says so to snooping switches.
        if !is_global(group) {
            return Ok(());
        }
        let policy = self.policy.multicast.as_ref().ok_or(Refusal::MulticastOff)?;
        // RFC 3810 s.9.4: "((the Robustness Variable) times (the Query Interval)) plus (one Query
        // Response Interval)"
        let lifetime = policy.query_interval * u32::from(ROBUSTNESS) + RESPONSE;
        let membership = &mut self.operations.membership;
        match membership.report(listener, group, wish, now.after(lifetime), policy)? {
            Reported::Nothing | Reported::Stays(_) => {}
            Reported::Changed(_) => self.tell_group(group, out),
            Reported::Joined(id) => {
                let timer = self.operations.wheel.set(now.after(lifetime), Due::Member(id));
                if let Some(member) = self.operations.membership.get_mut(id) {
                    member.timer = timer;
                }
                self.tell_group(group, out);
            }
            Reported::Leaves(id) => self.ask_whether_it_leaves(now, id, out),
        }
        Ok(())
    }

    /// RFC 3810 s.7.6.3: what was left is asked for before it is gone, as a report that says
    /// otherwise may have been overtaken.
    fn ask_whether_it_leaves(&mut self, now: Timestamp, id: Id<Member>, out: &mut Vec<Action>) {
        let end = now.after(LAST_QUERY * u32::from(LAST_QUERIES));
        let Some(member) = self.operations.membership.get_mut(id) else { return };
        if member.questions > 0 {
            return;
        }
        member.expires = member.expires.min(end);
        member.questions = LAST_QUERIES;
        let timer = member.timer;
        self.operations.wheel.cancel(timer);
        self.member_due(now, id, out);
    }

    /// A member's time may be over, or it is to be asked again.
    pub(crate) fn member_due(&mut self, now: Timestamp, id: Id<Member>, out: &mut Vec<Action>) {
        let Some(member) = self.operations.membership.get_mut(id) else { return };
        if member.expires <= now {
            let group = member.group;
            self.operations.membership.remove(id);
            return self.tell_group(group, out);
        }
        let mut next = member.expires;
        let (binding, group) = (member.binding, member.group);
        if member.questions > 0 {
            member.questions -= 1;
            next = next.min(now.after(LAST_QUERY));
            self.ask_listener(binding, Some(group), out);
        }
        let timer = self.operations.wheel.set(next, Due::Member(id));
        if let Some(member) = self.operations.membership.get_mut(id) {
            member.timer = timer;
        }
    }

    /// A binding is gone, and its mobile node out of all groups.
    pub(crate) fn leave_groups(&mut self, binding: Id<Binding>, out: &mut Vec<Action>) {
        if self.operations.membership.is_empty() {
            return;
        }
        for id in self.operations.membership.of(binding) {
            if let Some(member) = self.operations.membership.remove(id) {
                self.operations.wheel.cancel(member.timer);
                self.tell_group(member.group, out);
            }
        }
    }

    fn tell_group(&self, group: IpAddr, out: &mut Vec<Action>) {
        let membership = &self.operations.membership;
        let (members, only) = (membership.members_of(group), membership.sources_of(group));
        out.push(Action::Group { group, members, only });
    }

    /// Whether a mobile node may listen to groups, and is asked for them.
    pub(crate) fn may_listen(&self, now: Timestamp, binding: Id<Binding>) -> bool {
        let alive = |it: &&Binding| it.is_bound() && it.expires > now;
        let node = self.cache.at(binding).filter(alive).map(|it| it.node);
        let services = node.and_then(|node| self.sas.services(node));
        self.policy.multicast.is_some() && services.is_some_and(|services| services.multicast)
    }

    /// Asks a mobile node for all its groups, of both families.
    pub(crate) fn ask_for_groups(
        &mut self,
        now: Timestamp,
        binding: Id<Binding>,
        out: &mut Vec<Action>,
    ) {
        if self.may_listen(now, binding) {
            self.ask_listener(binding, None, out);
        }
    }

    /// Sees to it that the round of questions goes on, where there is to be one.
    pub(crate) fn begin_questions(&mut self, now: Timestamp) {
        if self.policy.multicast.is_some() && !self.operations.questions.is_on {
            self.operations.questions.is_on = true;
            self.operations.wheel.set(now, Due::Questions);
        }
    }

    /// "the home agent must periodically transmit MLD Query messages through the tunnel to the
    /// mobile node" (RFC 6275 s.10.4.3): each in its turn, spread evenly over the interval. The
    /// first round takes a quarter of it (RFC 3810 s.9.6).
    pub(crate) fn ask_more(&mut self, now: Timestamp, left: &mut usize, out: &mut Vec<Action>) {
        let Some(policy) = &self.policy.multicast else { return };
        let whole = policy.query_interval;
        let interval = if self.operations.questions.started { whole } else { whole / 4 };
        let places = self.cache.places().max(1);
        let millis = usize::try_from(interval.as_millis()).unwrap_or(usize::MAX).max(1);
        let (steps, gap) = (places.div_ceil(millis), millis / places);
        for _ in 0..steps {
            let questions = &mut self.operations.questions;
            let place = questions.next;
            questions.next += 1;
            if questions.next >= places {
                (questions.next, questions.started) = (0, true);
            }
            *left = left.saturating_sub(1);
            if let Some(binding) = Id::from_index(place) {
                self.ask_for_groups(now, binding, out);
            }
        }
        let gap = Duration::from_millis(u64::try_from(gap.max(1)).unwrap_or(u64::MAX));
        self.operations.wheel.set(now.after(gap), Due::Questions);
    }

    /// Asks a mobile node for one group, or for all.
    fn ask_listener(&mut self, binding: Id<Binding>, group: Option<IpAddr>, out: &mut Vec<Action>) {
        let Some(entry) = self.cache.at(binding).filter(|entry| entry.is_bound()) else { return };
        let (home_address, has_ipv4) = (entry.home_address, entry.ipv4_home_address.is_some());
        let Some(sa) = self.sas.at(entry.sa) else { return };
        let own6 = link_local(self.sas.ha_address(sa));
        let own4 = self.policy.ha_addresses.iter().find_map(|address| match address {
            IpAddr::V4(ipv4) => Some(*ipv4),
            IpAddr::V6(_) => None,
        });
        let own4 = own4.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let interval = self.policy.multicast.as_ref().map(|policy| policy.query_interval);
        let code = interval_code(interval.unwrap_or_default());
        let packets = match group {
            Some(IpAddr::V6(group)) => [mld_query(own6, Some(group), code), None],
            Some(IpAddr::V4(group)) => [igmp_query(own4, Some(group), code), None],
            None => {
                [mld_query(own6, None, code), igmp_query(own4, None, code).filter(|_| has_ipv4)]
            }
        };
        for packet in packets.into_iter().flatten() {
            self.counters.operations.group_queries += 1;
            out.push(Action::SendData { home_address, packet });
        }
    }
}

/// What a record says of its group.
fn wish<A: Address + Into<IpAddr>>(record: &GroupRecord<'_, A>) -> Option<Wish> {
    let sources = || record.sources.iter().map(Into::into).collect();
    Some(match record.record_type {
        RecordType::IS_EXCLUDE | RecordType::TO_EXCLUDE => Wish::Any,
        RecordType::IS_INCLUDE | RecordType::TO_INCLUDE => Wish::Only(sources()),
        RecordType::ALLOW_NEW_SOURCES => Wish::Also(sources()),
        RecordType::BLOCK_OLD_SOURCES => Wish::NotFrom(sources()),
        _ => return None,
    })
}

/// RFC 3810 s.5.1.14: "Queries MUST be sent with a valid IPv6 link-local source address".
fn link_local(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c, d] = address.segments();
    Ipv6Addr::new(0xfe80, 0, 0, 0, a, b, c, d)
}

const fn source_query<'a, A: Address>(interval_code: u8) -> SourceQuery<'a, A> {
    let sources = Addresses::List(&[]);
    SourceQuery { suppress: false, robustness: ROBUSTNESS, interval_code, sources }
}

fn mld_query(source: Ipv6Addr, group: Option<Ipv6Addr>, interval_code: u8) -> Option<Vec<u8>> {
    let response = if group.is_some() { LAST_QUERY } else { RESPONSE };
    let query = icmp6::Message::ListenerQuery(ListenerQuery {
        max_response_code: u16::try_from(response.as_millis()).ok()?,
        group: group.unwrap_or(Ipv6Addr::UNSPECIFIED),
        v2: Some(source_query(interval_code)),
    });
    let destination = group.unwrap_or(ALL_NODES);
    let mut message = [0; LONGEST];
    let len = icmp6::emit(&query, source, destination, &mut message)?;
    let message = message.get(..len)?;
    let payload = ROUTER_ALERT.len() + message.len();
    let header = Ipv6Header::new(source, destination, HOP_BY_HOP, 1, payload)?;
    Some([header.as_bytes(), &ROUTER_ALERT, message].concat())
}

fn igmp_query(source: Ipv4Addr, group: Option<Ipv4Addr>, interval_code: u8) -> Option<Vec<u8>> {
    let response = if group.is_some() { LAST_QUERY } else { RESPONSE };
    let query = igmp::Message::Query(igmp::Query {
        max_response_code: u8::try_from(response.as_millis() / 100).ok()?,
        group: group.unwrap_or(Ipv4Addr::UNSPECIFIED),
        v3: Some(source_query(interval_code)),
    });
    let mut message = [0; LONGEST];
    let len = igmp::emit(&query, &mut message)?;
    let message = message.get(..len)?;
    let total = u16::try_from(24 + message.len()).ok()?.to_be_bytes();
    let destination = group.unwrap_or(ALL_SYSTEMS);
    let mut header =
        [&[0x46, TOS, total[0], total[1], 0, 0, 0, 0, 1, igmp::PROTO, 0, 0][..]].concat();
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    header.extend_from_slice(&ROUTER_ALERT4);
    let sum = checksum(&header).to_be_bytes();
    header.get_mut(10..12)?.copy_from_slice(&sum);
    Some([&header, message].concat())
}

/// The code of a Query Interval in seconds, rounded down (RFC 3810 s.5.1.9, RFC 3376 s.4.1.7).
fn interval_code(interval: Duration) -> u8 {
    let seconds = interval.as_secs();
    if let Ok(code @ ..0x80) = u8::try_from(seconds) {
        return code;
    }
    let fits = (0..8_u8).find_map(|exponent| {
        let mantissa = u8::try_from(seconds >> (exponent + 3)).ok().filter(|it| *it < 0x20)?;
        Some(0x80 | exponent << 4 | mantissa & 0x0f)
    });
    fits.unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use hearth_wire::group::code_value;

    use super::*;

    #[test]
    fn interval_codes() {
        for (seconds, said) in [(1, 1), (127, 127), (128, 128), (250, 248), (1000, 992)] {
            let code = interval_code(Duration::from_secs(seconds));
            assert_eq!(u64::from(code_value(code)), said, "{seconds}");
        }
        assert_eq!(interval_code(Duration::from_secs(1_000_000)), u8::MAX);
    }
}
