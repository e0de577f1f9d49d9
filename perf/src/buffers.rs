//! The buffers that both sides of a pair work on.

use hearth_dpdk::{HEADROOM, Mbuf, Mempool};

use crate::fault::Fault;

/// Buffers of one row: more than any L1 cache holds.
pub(crate) const BUFFERS: usize = 4096;

/// Mbufs in a fixed order. A place is empty while its packet is under way.
pub(crate) type Slots = Vec<Option<Mbuf>>;

/// Fills every empty place from the pool.
pub(crate) fn fill(slots: &mut Slots, pool: &Mempool) -> Result<(), Fault> {
    slots.resize_with(BUFFERS, || None);
    for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
        *slot = Some(pool.alloc().ok_or(Fault::Pool)?);
    }
    Ok(())
}

/// Lays `octets` into the buffer, `ahead` octets before or `-ahead` behind where a received packet
/// starts.
pub(crate) fn lay(mbuf: &mut Mbuf, ahead: usize, octets: &[u8]) -> Result<(), Fault> {
    place(mbuf, HEADROOM.saturating_sub(ahead), octets.len()).ok_or(Fault::Room)?;
    mbuf.data_mut().copy_from_slice(octets);
    mbuf.clear_offloads();
    Ok(())
}

/// Lets the data start at `offset` of the buffer and have `len` octets, whatever it was before.
fn place(mbuf: &mut Mbuf, offset: usize, len: usize) -> Option<()> {
    mbuf.trim(mbuf.len())?;
    match mbuf.headroom().checked_sub(offset) {
        Some(before) => {
            mbuf.prepend(before)?;
        }
        None => {
            let behind = offset - mbuf.headroom();
            mbuf.append(behind)?;
            mbuf.adj(behind)?;
        }
    }
    mbuf.trim(mbuf.len())?;
    mbuf.append(len)?;
    Some(())
}
