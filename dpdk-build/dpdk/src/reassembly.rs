//! Reassembly of IP fragments in bounded memory, by DPDK's rte_ip_frag.
//!
//! Read first: RFC 791 s.3.2, RFC 8200 s.4.5, RFC 5722, RFC 6946.
//!
//! What rte_ip_frag does with a set of fragments: it takes 8 at most, and gives a packet only out
//! of fragments that join exactly. A set with an overlap, with a duplicate or with a ninth
//! fragment is dropped as a whole (RFC 5722 s.3; RFC 8200 allows that for exact duplicates too);
//! a fragment that comes after its packet was whole waits for its timeout. Fragments belong
//! together by addresses and identification; under IPv4 not by protocol too.
//! The checks that it leaves out are made here: that the headers lie within the packet, that all
//! but the last fragment end on 8 octets, and that the whole is no longer than 65535.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use hearth_dpdk_sys as sys;

use crate::eal::Eal;
use crate::errno::Errno;
use crate::mbuf::Mbuf;

/// Longest IPv4 packet, and longest payload of an IPv6 packet.
const MAX_LEN: usize = 65535;

/// Octets of the IPv6 header.
const IPV6_HEADER: usize = 40;

/// Octets of the Fragment header.
const FRAGMENT_HEADER: usize = 8;

/// Next Header of the Fragment header.
const FRAGMENT: u8 = 44;

/// What became of a packet ([`Reassembly::reassemble4`]).
#[derive(Debug)]
pub enum Reassembled {
    /// The whole packet: the last fragment came, or it was no fragment. Reassembled, it is in
    /// several segments, its private area is that of the first fragment, its IPv4 checksum is
    /// right and the NIC's findings are [`crate::RxChecksum::Unknown`].
    Whole(Mbuf),
    /// A fragment that waits for others.
    Held,
    /// A fragment that is gone, and with it the others of its set.
    Dropped(FragmentDrop, u32),
}

/// Why a fragment was dropped. The number beside it counts the mbufs that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FragmentDrop {
    /// Its headers do not fit the packet or the protocol.
    Malformed,
    /// The whole packet would be longer than IP can say.
    TooLong,
    /// As many packets as the table takes wait for their fragments, or its bucket is full.
    TableFull,
    /// It overlaps or doubles another, or is the ninth.
    Overlap,
}

/// A table of the fragments that wait for others, of IPv4 and IPv6. It belongs to one worker at a
/// time.
#[derive(Debug)]
pub struct Reassembly {
    raw: NonNull<sys::hearth_reassembly>,
    held: u32,
    expired: u64,
    _eal: Eal,
    _one_thread: PhantomData<Cell<()>>,
}

// SAFETY: the table is plain memory without ties to a thread, and the mbufs in it are Send.
unsafe impl Send for Reassembly {}

impl Reassembly {
    /// A table for `flows` packets that wait for fragments at the same time, each with up to 8
    /// fragments and so up to 8 mbufs of the pool, for up to `timeout` cycles ([`crate::tsc`]) from the first that came. It takes
    /// 512 to 1024 octets of DPDK's heap per flow.
    ///
    /// # Errors
    /// `ENOMEM`, and `EINVAL` for no flows or more than 2^20.
    pub fn new(eal: &Eal, flows: u32, timeout: u64) -> Result<Self, Errno> {
        if flows == 0 || flows > 1 << 20 {
            return Err(Errno::INVALID);
        }
        // SAFETY: the EAL runs; null is checked.
        let raw = unsafe { sys::hearth_reassembly_create(flows, timeout) };
        let raw = NonNull::new(raw).ok_or(Errno::NO_MEMORY)?;
        let eal = eal.clone();
        Ok(Self { raw, held: 0, expired: 0, _eal: eal, _one_thread: PhantomData })
    }

    /// Takes an IPv4 packet at `l2_len` octets (127 at most) from the start of the data, at the
    /// time `now` in cycles. Octets behind the packet's own length are cut off a fragment.
    pub fn reassemble4(&mut self, mbuf: Mbuf, l2_len: u8, now: u64) -> Reassembled {
        match parse4(&mbuf, l2_len.into()) {
            Ok(Some(fragment)) => self.add(mbuf, &fragment, l2_len, now),
            Ok(None) => Reassembled::Whole(mbuf),
            Err(why) => dropped(&mbuf, why),
        }
    }

    /// Takes an IPv6 packet, like [`Reassembly::reassemble4`]. A fragment's Fragment header must
    /// follow the IPv6 header; a packet that has another header there is taken for whole. One
    /// that is all of its set comes back without the header (RFC 6946).
    pub fn reassemble6(&mut self, mut mbuf: Mbuf, l2_len: u8, now: u64) -> Reassembled {
        match parse6(&mbuf, l2_len.into()) {
            Ok(Some(fragment)) if fragment.is_atomic() => {
                match remove_fragment_header(&mut mbuf, l2_len.into()) {
                    Some(()) => Reassembled::Whole(mbuf),
                    None => dropped(&mbuf, FragmentDrop::Malformed),
                }
            }
            Ok(Some(fragment)) => self.add(mbuf, &fragment, l2_len, now),
            Ok(None) => Reassembled::Whole(mbuf),
            Err(why) => dropped(&mbuf, why),
        }
    }

    fn add(&mut self, mut mbuf: Mbuf, fragment: &Fragment, l2_len: u8, now: u64) -> Reassembled {
        if let Err(why) = fragment.check() {
            return dropped(&mbuf, why);
        }
        if !mbuf.trim_chain(mbuf.len() - fragment.end) {
            return dropped(&mbuf, FragmentDrop::Malformed);
        }
        let segments = u32::from(mbuf.segments());
        let (mut whole, mut freed) = (ptr::null_mut(), 0);
        // SAFETY: the mbuf is handed over; its headers lie within its first segment and its
        // length within the packet, as was checked; this thread is the table's only user.
        let outcome = unsafe {
            sys::hearth_reassembly_add(
                self.raw.as_ptr(),
                mbuf.into_raw().cast().as_ptr(),
                l2_len,
                fragment.l3_len,
                fragment.ipv6.into(),
                now,
                &raw mut whole,
                &raw mut freed,
            )
        };
        self.held = (self.held + segments).saturating_sub(freed);
        match outcome {
            sys::HEARTH_FRAGMENT_TABLE_FULL => Reassembled::Dropped(FragmentDrop::TableFull, freed),
            sys::HEARTH_FRAGMENT_BAD_SET => Reassembled::Dropped(FragmentDrop::Overlap, freed),
            _ => {
                // Others, that had timed out.
                self.expired += u64::from(freed);
                // SAFETY: null, or a chain of mbufs that were handed over and are ours again.
                match unsafe { Mbuf::from_nullable(whole) } {
                    Some(whole) => {
                        self.held = self.held.saturating_sub(u32::from(whole.segments()));
                        Reassembled::Whole(whole)
                    }
                    None => Reassembled::Held,
                }
            }
        }
    }

    /// Frees the fragments that have waited for longer than the timeout; returns how many mbufs
    /// that were. To be called now and then: a table that is not asked keeps what it has.
    pub fn free_expired(&mut self, now: u64) -> u32 {
        // SAFETY: this thread is the table's only user.
        let freed = unsafe { sys::hearth_reassembly_expire(self.raw.as_ptr(), now) };
        self.held = self.held.saturating_sub(freed);
        self.expired += u64::from(freed);
        freed
    }

    /// Mbufs that wait in the table; a fragment in several segments counts as so many.
    #[must_use]
    pub const fn held(&self) -> u32 {
        self.held
    }

    /// Mbufs that have timed out since the table was made.
    #[must_use]
    pub const fn expired(&self) -> u64 {
        self.expired
    }
}

impl Drop for Reassembly {
    fn drop(&mut self) {
        // SAFETY: nobody else uses it; the fragments in it go back to their pools.
        unsafe { sys::hearth_reassembly_free(self.raw.as_ptr()) };
    }
}

/// Drops a packet that never reached the table.
fn dropped(mbuf: &Mbuf, why: FragmentDrop) -> Reassembled {
    Reassembled::Dropped(why, mbuf.segments().into())
}

/// What the headers of a fragment say. All of them are in the first segment.
struct Fragment {
    ipv6: bool,
    /// Octets of the headers in front of the fragment's part.
    l3_len: u16,
    /// Where the fragment ends, counted from the start of the data.
    end: usize,
    /// Where its part stands in the whole, in octets.
    offset: usize,
    /// Octets of its part.
    len: usize,
    more: bool,
}

impl Fragment {
    const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }

    fn check(&self) -> Result<(), FragmentDrop> {
        if self.len == 0 || (self.more && !self.len.is_multiple_of(8)) {
            return Err(FragmentDrop::Malformed);
        }
        let header = if self.ipv6 { 0 } else { usize::from(self.l3_len) };
        if header + self.offset + self.len > MAX_LEN {
            return Err(FragmentDrop::TooLong);
        }
        Ok(())
    }
}

fn be16(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// The fragment that an IPv4 packet is, if it is one (RFC 791 s.3.1).
fn parse4(mbuf: &Mbuf, l2_len: usize) -> Result<Option<Fragment>, FragmentDrop> {
    let parse = || {
        let header = mbuf.data().get(l2_len..)?;
        let first = *header.first()?;
        let l3_len = u16::from(first & 0xf) * 4;
        let (total, flags) = (be16(header, 2)?, be16(header, 6)?);
        let end = l2_len + usize::from(total);
        let len = total.checked_sub(l3_len)?;
        if first >> 4 != 4 || !(20..=header.len()).contains(&l3_len.into()) || end > mbuf.len() {
            return None;
        }
        Some(Fragment {
            ipv6: false,
            l3_len,
            end,
            offset: usize::from(flags & 0x1fff) * 8,
            len: len.into(),
            more: flags & 0x2000 != 0,
        })
    };
    let fragment = parse().ok_or(FragmentDrop::Malformed)?;
    Ok((!fragment.is_atomic()).then_some(fragment))
}

/// The fragment that an IPv6 packet is, if it is one (RFC 8200 s.4.5).
fn parse6(mbuf: &Mbuf, l2_len: usize) -> Result<Option<Fragment>, FragmentDrop> {
    let next_header = || {
        let header = mbuf.data().get(l2_len..l2_len + IPV6_HEADER)?;
        (header.first()? >> 4 == 6).then_some(*header.get(6)?)
    };
    if next_header().ok_or(FragmentDrop::Malformed)? != FRAGMENT {
        return Ok(None);
    }
    let parse = || {
        const HEADERS: u16 = 48;
        let headers = mbuf.data().get(l2_len..l2_len + IPV6_HEADER + FRAGMENT_HEADER)?;
        let payload = usize::from(be16(headers, 4)?);
        let offset_and_flags = be16(headers, IPV6_HEADER + 2)?;
        let end = l2_len + IPV6_HEADER + payload;
        if end > mbuf.len() {
            return None;
        }
        Some(Fragment {
            ipv6: true,
            l3_len: HEADERS,
            end,
            offset: usize::from(offset_and_flags >> 3) * 8,
            len: payload.checked_sub(FRAGMENT_HEADER)?,
            more: offset_and_flags & 1 != 0,
        })
    };
    parse().map(Some).ok_or(FragmentDrop::Malformed)
}

/// Takes the Fragment header out of a packet that is whole.
fn remove_fragment_header(mbuf: &mut Mbuf, l2_len: usize) -> Option<()> {
    let data = mbuf.data_mut();
    let next_header = *data.get(l2_len + IPV6_HEADER)?;
    let payload = be16(data, l2_len + 4)?.checked_sub(8)?;
    *data.get_mut(l2_len + 6)? = next_header;
    data.get_mut(l2_len + 4..l2_len + 6)?.copy_from_slice(&payload.to_be_bytes());
    data.copy_within(..l2_len + IPV6_HEADER, FRAGMENT_HEADER);
    mbuf.adj(FRAGMENT_HEADER)
}
