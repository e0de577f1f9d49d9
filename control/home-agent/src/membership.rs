//! Who listens to which multicast group: the table.
//!
//! Bounded per mobile node, per group and in all: an outsider who holds an SA fills no more than
//! that. One mobile node at the other end of a tunnel is one listener, so that what it reports last
//! of a group is all that counts (unlike on a link, where RFC 3810 s.7 has to merge the reports of
//! many).

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::binding::Binding;
use crate::refusal::Refusal;
use crate::slab::{Id, Slab};
use crate::time::Timestamp;
use crate::wheel::TimerId;

/// How multicast groups are listened to through tunnels (RFC 6275 s.10.4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MulticastPolicy {
    /// How often each mobile node is asked which groups it listens to. What it does not confirm
    /// for twice that time, and 10 s more, it no longer listens to. Default: 125 s (RFC 3810 s.9.2).
    pub query_interval: Duration,
    /// Most groups of one mobile node. Default: 32.
    pub groups_per_node: usize,
    /// Most groups in all. Default: 1024.
    pub groups: usize,
    /// Most mobile nodes in one group: each gets a copy of every packet to it. Default: 1024.
    pub members_per_group: usize,
    /// Most sources that a mobile node names for one group. Default: 64.
    pub sources: usize,
}

impl Default for MulticastPolicy {
    fn default() -> Self {
        Self {
            query_interval: Duration::from_secs(125),
            groups_per_node: 32,
            groups: 1024,
            members_per_group: 1024,
            sources: 64,
        }
    }
}

/// What a mobile node says of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// From whatever source; which ones it does not want is its own affair.
    Any,
    /// From these sources alone; none: not at all.
    Only(BTreeSet<IpAddr>),
    /// From these sources too.
    Also(BTreeSet<IpAddr>),
    /// No longer from these.
    NotFrom(BTreeSet<IpAddr>),
}

/// One mobile node in one group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) binding: Id<Binding>,
    pub(crate) home_address: Ipv6Addr,
    pub(crate) group: IpAddr,
    /// The sources that it wants; `None`: any.
    pub(crate) only: Option<BTreeSet<IpAddr>>,
    pub(crate) expires: Timestamp,
    /// Questions whether it still listens that are to come.
    pub(crate) questions: u8,
    pub(crate) timer: TimerId,
}

/// What a report came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// It listens, and did before.
    Stays(Id<Member>),
    /// It listens to other sources than before.
    Changed(Id<Member>),
    /// It listens, and did not before.
    Joined(Id<Member>),
    /// It does not want to listen any more.
    Leaves(Id<Member>),
    /// It did not listen before either.
    Nothing,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    members: Slab<Member>,
    of: HashMap<u32, Vec<Id<Member>>>,
    groups: HashMap<IpAddr, BTreeMap<Ipv6Addr, Id<Member>>>,
}

impl Membership {
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(crate) fn get(&self, id: Id<Member>) -> Option<&Member> {
        self.members.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: Id<Member>) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// The groups of one binding.
    pub(crate) fn of(&self, binding: Id<Binding>) -> Vec<Id<Member>> {
        self.of.get(&binding.number()).cloned().unwrap_or_default()
    }

    /// Home addresses of a group's members, growing.
    pub(crate) fn members_of(&self, group: IpAddr) -> Vec<Ipv6Addr> {
        self.groups.get(&group).map(|members| members.keys().copied().collect()).unwrap_or_default()
    }

    /// The sources of those members that do not listen to all, growing by home address.
    pub(crate) fn sources_of(&self, group: IpAddr) -> Vec<(Ipv6Addr, Vec<IpAddr>)> {
        let members = self.groups.get(&group).into_iter().flatten();
        let only = |id: &Id<Member>| self.get(*id)?.only.as_ref();
        let sources = |(home, id): (&Ipv6Addr, &Id<Member>)| {
            Some((*home, only(id)?.iter().copied().collect()))
        };
        members.filter_map(sources).collect()
    }

    /// Takes in what a mobile node says of a group, until `expires`.
    pub(crate) fn report(
        &mut self,
        (binding, home_address): (Id<Binding>, Ipv6Addr),
        group: IpAddr,
        wish: Wish,
        expires: Timestamp,
        policy: &MulticastPolicy,
    ) -> Result<Reported, Refusal> {
        let there = self.groups.get(&group).and_then(|group| group.get(&home_address)).copied();
        let only = match (wish, there.and_then(|id| self.get(id)).map(|member| &member.only)) {
            (Wish::Any, _) | (Wish::Also(_) | Wish::NotFrom(_), Some(None)) => None,
            (Wish::Only(sources) | Wish::Also(sources), None) | (Wish::Only(sources), Some(_)) => {
                Some(sources)
            }
            (Wish::NotFrom(_), None) => Some(BTreeSet::new()),
            (Wish::Also(sources), Some(Some(before))) => Some(before | &sources),
            (Wish::NotFrom(sources), Some(Some(before))) => Some(before - &sources),
        };
        if only.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(there.map_or(Reported::Nothing, Reported::Leaves));
        }
        if only.as_ref().is_some_and(|only| only.len() > policy.sources) {
            return Err(Refusal::GroupSources);
        }
        if let Some(id) = there {
            let Some(member) = self.get_mut(id) else { return Ok(Reported::Nothing) };
            member.expires = expires;
            member.questions = 0;
            if member.only == only {
                return Ok(Reported::Stays(id));
            }
            member.only = only;
            return Ok(Reported::Changed(id));
        }
        if self.of.get(&binding.number()).map_or(0, Vec::len) >= policy.groups_per_node {
            return Err(Refusal::GroupsOfNode);
        }
        let members = self.groups.get(&group).map(BTreeMap::len);
        if members.is_none() && self.groups.len() >= policy.groups {
            return Err(Refusal::GroupsTooMany);
        }
        if members.is_some_and(|members| members >= policy.members_per_group) {
            return Err(Refusal::GroupFull);
        }
        let (questions, timer) = (0, TimerId::NONE);
        let member = Member { binding, home_address, group, only, expires, questions, timer };
        let id = self.members.insert(member).ok_or(Refusal::GroupsTooMany)?;
        self.of.entry(binding.number()).or_default().push(id);
        self.groups.entry(group).or_default().insert(home_address, id);
        Ok(Reported::Joined(id))
    }

    /// Takes a member out.
    pub(crate) fn remove(&mut self, id: Id<Member>) -> Option<Member> {
        let member = self.members.remove(id)?;
        let number = member.binding.number();
        if let Some(of) = self.of.get_mut(&number) {
            of.retain(|other| *other != id);
            if of.is_empty() {
                self.of.remove(&number);
            }
        }
        if let Some(group) = self.groups.get_mut(&member.group) {
            group.remove(&member.home_address);
            if group.is_empty() {
                self.groups.remove(&member.group);
            }
        }
        Some(member)
    }
}

/// Whether packets to a group are tunnelled: only those of global scope, of which RFC 6275 s.10.4.2
/// says so. Of IPv4 neither the local block (RFC 5771 s.4) nor what is administratively scoped (RFC
/// 2365), which stands for the scopes between.
pub(crate) fn is_global(group: IpAddr) -> bool {
    match group {
        IpAddr::V6(group) => {
            let [first, second, ..] = group.octets();
            first == 0xff && second & 0x0f == 0x0e
        }
        IpAddr::V4(group) => match group.octets() {
            [224, 0, 0, _] | [239, ..] => false,
            _ => group.is_multicast(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1));
    const END: Timestamp = Timestamp::from_secs(260);

    fn sources<const N: usize>(last: [u16; N]) -> BTreeSet<IpAddr> {
        last.map(|last| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))).into()
    }

    fn node(number: usize) -> (Id<Binding>, Ipv6Addr) {
        let last = u16::try_from(number).unwrap();
        (Id::from_index(number).unwrap(), Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last))
    }

    fn group(number: u16) -> IpAddr {
        Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 1, number).into()
    }

    #[test]
    fn scopes() {
        for (text, global) in [
            ("ff0e::1", true),
            ("ff1e::1", true),
            ("ff3e::8000:1", true),
            ("ff02::16", false),
            ("ff05::2", false),
            ("ff08::1", false),
            ("ff0f::1", false),
            ("2001:db8::1", false),
            ("224.0.0.22", false),
            ("224.0.1.1", true),
            ("232.1.1.1", true),
            ("239.255.0.1", false),
            ("203.0.113.1", false),
        ] {
            assert_eq!(is_global(text.parse().unwrap()), global, "{text}");
        }
    }

    #[test]
    fn what_is_reported_last_counts() {
        let policy = MulticastPolicy::default();
        let mut table = Membership::default();
        let mut say = |wish| table.report(node(1), GROUP, wish, END, &policy).unwrap();
        assert_eq!(say(Wish::NotFrom(sources([1]))), Reported::Nothing);
        assert_eq!(say(Wish::Only(sources([]))), Reported::Nothing);
        let Reported::Joined(id) = say(Wish::Also(sources([1, 2]))) else { panic!() };
        assert_eq!(say(Wish::NotFrom(sources([1]))), Reported::Changed(id));
        assert_eq!(say(Wish::Also(sources([3]))), Reported::Changed(id));
        assert_eq!(say(Wish::Also(sources([3]))), Reported::Stays(id));
        assert_eq!(say(Wish::NotFrom(sources([2, 3]))), Reported::Leaves(id));
        assert_eq!(table.get(id).unwrap().only, Some(sources([2, 3])), "until it has not answered");
        let mut say = |wish| table.report(node(1), GROUP, wish, END, &policy).unwrap();
        assert_eq!(say(Wish::Any), Reported::Changed(id));
        assert_eq!(say(Wish::NotFrom(sources([1]))), Reported::Stays(id));
        assert_eq!(say(Wish::Only(sources([7]))), Reported::Changed(id));
        assert_eq!(say(Wish::Only(sources([]))), Reported::Leaves(id));
        assert_eq!(table.remove(id).unwrap().only, Some(sources([7])));
        assert!(table.is_empty() && table.groups.is_empty());
    }

    #[test]
    fn everything_is_bounded() {
        let policy = MulticastPolicy {
            groups_per_node: 3,
            groups: 4,
            members_per_group: 2,
            sources: 2,
            ..MulticastPolicy::default()
        };
        let mut table = Membership::default();
        let mut join =
            |of, number| table.report(node(of), group(number), Wish::Any, END, &policy).err();
        assert_eq!([1, 2, 3].map(|number| join(1, number)), [None; 3]);
        assert_eq!(join(1, 4), Some(Refusal::GroupsOfNode));
        assert_eq!([join(2, 1), join(3, 1)], [None, Some(Refusal::GroupFull)]);
        assert_eq!([join(2, 4), join(3, 5)], [None, Some(Refusal::GroupsTooMany)]);
        assert_eq!(join(1, 1), None, "it is in there");
        let three = Wish::Also(sources([1, 2, 3]));
        let refused = table.report(node(3), group(2), three, END, &policy);
        assert_eq!(refused, Err(Refusal::GroupSources));
        assert_eq!(table.members_of(group(1)), [node(1).1, node(2).1]);
    }
}
