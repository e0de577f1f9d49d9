//! Groups on home links, and the mobile nodes that listen to them through their tunnels.
//!
//! Read first: RFC 6275 s.10.4.2, 10.4.3.
//!
//! Control writes a new list for each change and swaps it in; the old one is freed after a grace
//! period. Groups are dealt out to shards by a hash, so that a change copies few pointers.

use core::net::{IpAddr, Ipv6Addr};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::Arc;

use crate::config::{GroupMember, PortId};
use crate::layout::{Address6, mapped};

const SHARDS: usize = 256;
/// Groups at one time, on all links.
pub(crate) const GROUPS: u32 = 65_536;
/// Members of one group.
pub(crate) const MEMBERS: usize = 65_536;

/// One group on one link.
struct Group {
    port: PortId,
    address: Ipv6Addr,
    /// Growing by home address, without repetition.
    members: Box<[GroupMember]>,
}

/// Groups that share a hash.
type Shard = Vec<Arc<Group>>;

/// All groups.
pub(crate) struct GroupTable {
    /// Null: empty. control: swaps, workers: ro
    shards: Box<[AtomicPtr<Shard>]>,
    /// control: rw, workers: ro
    groups: AtomicU32,
}

impl Default for GroupTable {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        Self { shards, groups: AtomicU32::new(0) }
    }
}

impl GroupTable {
    /// Whether there is none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.load(Ordering::Relaxed) == 0
    }

    fn shard(&self, port: PortId, group: Ipv6Addr) -> Option<&AtomicPtr<Shard>> {
        let [high, low] = Address6::from(group).words();
        let mixed = Address6::of_words([high ^ u64::from(port.0) << 17, low]).mix(8);
        self.shards.get(usize::try_from(mixed).unwrap_or(0))
    }

    /// The members of a group on a link, growing; none where nobody listens. A worker may use them
    /// until it reports quiescent.
    pub(crate) fn members(&self, port: PortId, group: IpAddr) -> &[GroupMember] {
        let group = mapped(group);
        let Some(shard) = self.shard(port, group) else { return &[] };
        // SAFETY: null, or a box that `set` published and that is freed after a grace period or
        // with `self`.
        let shard = unsafe { shard.load(Ordering::Acquire).as_ref() };
        let mut groups = shard.into_iter().flatten();
        let found = groups.find(|entry| entry.port == port && entry.address == group);
        found.map_or(&[], |found| &found.members)
    }

    /// Replaces the members of a group; with none it is gone. `None` where there are too many
    /// groups. Control only.
    pub(crate) fn set(
        &self,
        port: PortId,
        group: IpAddr,
        mut members: Vec<GroupMember>,
    ) -> Option<Option<RetiredGroups>> {
        let group = mapped(group);
        let place = self.shard(port, group)?;
        // SAFETY: as in `members`; this is the only writer.
        let before = unsafe { place.load(Ordering::Relaxed).as_ref() };
        let others = before.into_iter().flatten();
        let mut now: Shard = others
            .filter(|entry| (entry.port, entry.address) != (port, group))
            .map(Arc::clone)
            .collect();
        let groups = self.groups.load(Ordering::Relaxed);
        let was = before.map_or(0, Vec::len);
        if !members.is_empty() {
            members.sort_by_key(|member| member.home_address);
            members.dedup_by_key(|member| member.home_address);
            let is_new = now.len() == was;
            if is_new && groups >= GROUPS {
                return None;
            }
            now.push(Arc::new(Group { port, address: group, members: members.into() }));
        }
        let count = u32::try_from(now.len()).unwrap_or(u32::MAX);
        let groups = (groups + count).saturating_sub(u32::try_from(was).unwrap_or(u32::MAX));
        self.groups.store(groups, Ordering::Relaxed);
        let now = if now.is_empty() { ptr::null_mut() } else { Box::into_raw(Box::new(now)) };
        let old = place.swap(now, Ordering::AcqRel);
        Some((!old.is_null()).then_some(RetiredGroups(old)))
    }
}

impl Drop for GroupTable {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            let shard = *shard.get_mut();
            if !shard.is_null() {
                // SAFETY: the box was made by `set`, and `&mut self` says that nobody has it.
                drop(unsafe { Box::from_raw(shard) });
            }
        }
    }
}

/// Groups that are no longer published but may still be in use.
pub(crate) struct RetiredGroups(*mut Shard);

// SAFETY: a `Shard` is Send; the pointer is the only owner's.
unsafe impl Send for RetiredGroups {}

impl RetiredGroups {
    /// Frees them.
    ///
    /// # Safety
    /// Every worker has been quiescent since they were swapped out, and this is the only call.
    pub(crate) unsafe fn free(&self) {
        // SAFETY: made by `GroupTable::set`; nobody uses it any more.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn member(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n)
    }

    fn set(table: &GroupTable, port: u16, group: IpAddr, members: &[Ipv6Addr]) {
        let members = members.iter().copied().map(GroupMember::from).collect();
        if let Some(old) = table.set(PortId(port), group, members).unwrap() {
            // SAFETY: single-threaded, nobody reads.
            unsafe { old.free() };
        }
    }

    fn homes(table: &GroupTable, port: u16, group: IpAddr) -> Vec<Ipv6Addr> {
        table.members(PortId(port), group).iter().map(|member| member.home_address).collect()
    }

    #[test]
    fn agrees_with_a_map() {
        let (table, mut map) = (GroupTable::default(), HashMap::new());
        for step in 0..4000_u32 {
            let mixed = step.wrapping_mul(2_654_435_761) >> 8;
            let (port, number) = ((mixed % 3) as u16, (mixed >> 4) as u16 % 400);
            let group: IpAddr = if number % 2 == 0 {
                Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 1, number).into()
            } else {
                [233, 1, (number >> 8) as u8, number as u8].into()
            };
            let members: Vec<_> = (0..(mixed >> 16) as u16 % 4).map(|n| member(9 - n)).collect();
            set(&table, port, group, &members);
            map.insert((port, group), members.into_iter().rev().collect::<Vec<_>>());
            assert_eq!(table.is_empty(), map.values().all(Vec::is_empty));
        }
        for ((port, group), members) in &map {
            assert_eq!(homes(&table, *port, *group), *members);
        }
        let groups = map.values().filter(|members| !members.is_empty()).count();
        assert_eq!(table.groups.load(Ordering::Relaxed) as usize, groups);
    }

    #[test]
    fn a_member_is_in_a_group_once_and_a_full_table_says_so() {
        let table = GroupTable::default();
        let group: IpAddr = "ff0e::1".parse().unwrap();
        set(&table, 1, group, &[member(2), member(1), member(2)]);
        assert_eq!(homes(&table, 1, group), [member(1), member(2)]);
        assert!(table.members(PortId(2), group).is_empty());
        table.groups.store(GROUPS, Ordering::Relaxed);
        assert!(table.set(PortId(2), group, vec![member(1).into()]).is_none());
        set(&table, 1, group, &[member(3)]);
        assert_eq!(homes(&table, 1, group), [member(3)]);
    }
}
