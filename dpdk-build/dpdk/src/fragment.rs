//! Fragmentation of IP packets that are to be sent, by DPDK's rte_ip_frag.
//!
//! Read first: RFC 791 s.3.2, RFC 8200 s.4.5; `readings.md` R-42.
//!
//! ```text
//!   packet    [ IP header | payload .................................. ]
//!   fragments [ IP header ]->[ payload .......... ]    each a segment with headers of its own,
//!             [ IP header ]->[ .................. ]    from the direct pool, and segments of the
//!             [ IP header ]->[ ...... ]                indirect pool that point into the packet
//! ```
//!
//! The packet's buffer goes back to its pool with its last fragment. A port has to take packets
//! in several segments ([`crate::Offloads::tx_segments`]): net_ring passes them on as they are,
//! net_af_packet copies them together.

use hearth_dpdk_sys as sys;
use thiserror::Error;

use crate::burst::Burst;
use crate::mbuf::{HEADROOM, Mbuf};
use crate::mempool::Mempool;

/// Octets of headers that a fragment starts with at most.
const MAX_HEADER: usize = 60;

/// Where fragments get their mbufs from.
#[derive(Debug, Clone, Copy)]
pub struct FragmentPools<'a> {
    /// For the headers: a data room of 192 octets or more.
    pub direct: &'a Mempool,
    /// For the segments that point into the packet: a data room of 0 will do.
    pub indirect: &'a Mempool,
}

/// Why a packet was not fragmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FragmentError {
    /// It is no IP packet of that family, or its length is not that of its header.
    #[error("the packet's length or header is wrong")]
    Malformed,
    /// It must not be fragmented (DF).
    #[error("the packet must not be fragmented")]
    DontFragment,
    /// The MTU is below what the protocol demands: 68 for IPv4, 1280 for IPv6.
    #[error("the MTU is too small")]
    Mtu,
    /// The burst has no room for all fragments.
    #[error("the burst has no room for all fragments")]
    NoRoom,
    /// A pool is empty, or its mbufs are too small.
    #[error("no mbufs for the fragments")]
    NoMbufs,
}

/// Fragments an IPv4 packet, which starts with its header (no Ethernet header in front) and has
/// the identification that its fragments are to share. They are put at the end of `out`, with
/// right header checksums and copies of the packet's private area; one that fits the MTU goes
/// there unchanged. The checksum of what it carries has to be in it already. Returns how many
/// there are.
///
/// # Errors
/// The packet, and why.
pub fn fragment4<const N: usize>(
    packet: Mbuf,
    mtu: u16,
    pools: FragmentPools<'_>,
    out: &mut Burst<N>,
) -> Result<usize, (Mbuf, FragmentError)> {
    let header = |mbuf: &Mbuf| {
        let data = mbuf.data();
        let header_len = usize::from(data.first()? & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([*data.get(2)?, *data.get(3)?]));
        let sound = data.first()? >> 4 == 4
            && (20..=data.len()).contains(&header_len)
            && total == mbuf.len();
        sound.then_some((header_len, data.get(6)? & 0x40 != 0))
    };
    let Some((header_len, dont_fragment)) = header(&packet) else {
        return Err((packet, FragmentError::Malformed));
    };
    if dont_fragment && packet.len() > mtu.into() {
        return Err((packet, FragmentError::DontFragment));
    }
    let plan = Plan { mtu, smallest_mtu: 68, header_len, extra: 0 };
    plan.carry_out(packet, pools, out, |raw, slots, room| {
        // SAFETY: the packet is owned and starts with an IPv4 header of this length; the pools
        // live, their mbufs take the header; `slots` has place for `room` pointers.
        unsafe {
            let (direct, indirect) = (pools.direct.as_ptr(), pools.indirect.as_ptr());
            sys::hearth_fragment4(raw, slots, room, mtu, direct, indirect)
        }
    })
}

/// Fragments an IPv6 packet like [`fragment4`]. All headers behind the IPv6 header are taken for
/// fragmentable; `id` goes into the Fragment headers and must not be used again between the
/// same two addresses for as long as fragments may live (RFC 8200 s.4.5).
///
/// # Errors
/// The packet, and why.
pub fn fragment6<const N: usize>(
    packet: Mbuf,
    mtu: u16,
    id: u32,
    pools: FragmentPools<'_>,
    out: &mut Burst<N>,
) -> Result<usize, (Mbuf, FragmentError)> {
    const HEADER: usize = 40;
    let sound = |data: &[u8]| {
        let payload = usize::from(u16::from_be_bytes([*data.get(4)?, *data.get(5)?]));
        (data.first()? >> 4 == 6 && data.len() >= HEADER && HEADER + payload == packet.len())
            .then_some(())
    };
    if sound(packet.data()).is_none() {
        return Err((packet, FragmentError::Malformed));
    }
    let plan = Plan { mtu, smallest_mtu: 1280, header_len: HEADER, extra: 8 };
    plan.carry_out(packet, pools, out, |raw, slots, room| {
        // SAFETY: as in `fragment4`.
        unsafe {
            let (direct, indirect) = (pools.direct.as_ptr(), pools.indirect.as_ptr());
            sys::hearth_fragment6(raw, slots, room, mtu, id, direct, indirect)
        }
    })
}

/// How a packet is to be cut.
struct Plan {
    mtu: u16,
    smallest_mtu: u16,
    /// Octets of the header that every fragment repeats.
    header_len: usize,
    /// Octets that are added to it.
    extra: usize,
}

impl Plan {
    fn carry_out<const N: usize>(
        &self,
        packet: Mbuf,
        pools: FragmentPools<'_>,
        out: &mut Burst<N>,
        cut: impl FnOnce(*mut sys::rte_mbuf, *mut *mut sys::rte_mbuf, u16) -> i32,
    ) -> Result<usize, (Mbuf, FragmentError)> {
        let mtu = usize::from(self.mtu);
        if packet.len() <= mtu {
            return out.push(packet).map(|()| 1).map_err(|packet| (packet, FragmentError::NoRoom));
        }
        // The header of the smallest MTU is 60 octets at most, so that 8 are left.
        if self.mtu < self.smallest_mtu {
            return Err((packet, FragmentError::Mtu));
        }
        let part = (mtu - self.header_len - self.extra) & !7;
        if (packet.len() - self.header_len).div_ceil(part) > out.room() {
            return Err((packet, FragmentError::NoRoom));
        }
        if usize::from(pools.direct.data_room()) < HEADROOM + MAX_HEADER {
            return Err((packet, FragmentError::NoMbufs));
        }
        let first = out.len();
        let made =
            out.fill_with(|slots, room| u16::try_from(cut(packet.raw(), slots, room)).unwrap_or(0));
        if made == 0 {
            return Err((packet, FragmentError::NoMbufs));
        }
        for fragment in out.iter_mut().skip(first) {
            fragment.copy_meta(&packet);
        }
        Ok(made)
    }
}
