//! Crypto for another worker: packets go there by its ring, are worked on between its own, and come
//! back by the ring of their owner, who settles them in the order in which they went out.
//!
//! Read first: [`crate::sharing`]. Nothing but crypto and the outer checksum is done away from the
//! owner: it alone draws sequence numbers and moves windows.

use hearth_dpdk::{Burst, CryptoSession, Mbuf, Op, Tag};
use hearth_wire::frame::FrameHeader;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::crypto::engine::{Done, Job};
use crate::crypto::gcm;
use crate::drop_reason::DropReason;
use crate::layout::{len16, len32};
use crate::outer::seal;
use crate::sa::keys::{KeySchedule, Material, PerSuite};
use crate::sharing::{Sharing, WORTH_SHARING};
use crate::view::View;
use crate::work::Work;

/// What goes along in the private area. The first 16 octets are the tag's when it comes back.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Task {
    tag: [u8; 16],
    /// Address of the [`KeySchedule`].
    keys: u64,
    /// The owner's number of the packet.
    number: u64,
    frame_offset: u16,
    frame_len: u16,
    owner: u8,
    helper: u8,
    inbound: u8,
    state: u8,
}

const TO_DO: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

/// A frame in its packet, and whose keys are for it.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) keys: &'static KeySchedule,
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) inbound: bool,
}

/// Lets a packet go into the lanes: this worker's or, while it shares its work, another one's.
///
/// # Errors
/// The packet, where the operation does not fit it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the suite is known where it is called")]
pub(crate) fn stage(
    view: &View,
    work: &mut Work,
    mbuf: Mbuf,
    op: &Op<'static>,
    (session, job): (Option<&'static CryptoSession>, Job),
    frame: Frame,
) -> Result<(), (Mbuf, DropReason)> {
    // A device is there to take the load; what goes into it is not shared.
    if work.sharing.is_on() && session.is_none() {
        let refused = share(view, work, mbuf, op, job, frame);
        return refused.map_err(|mbuf| (mbuf, DropReason::CryptoFailed));
    }
    work.engine.stage(mbuf, op, session, job, work.now)
}

/// Lets a packet go into another worker's lanes, or into this one's behind those that did.
#[inline(never)]
fn share(
    view: &View,
    work: &mut Work,
    mut mbuf: Mbuf,
    op: &Op<'static>,
    job: Job,
    frame: Frame,
) -> Result<(), Mbuf> {
    let Work { engine, sharing, now, .. } = work;
    let Some(shared) = &mut engine.shared else { return Err(mbuf) };
    if frame.len >= usize::from(WORTH_SHARING)
        && shared.room() > 0
        && let Some(peer) = sharing.pick()
        && let Some(ring) = view.assist.get(peer)
    {
        let number = shared.reserve(job);
        *mbuf.meta_mut() = Task {
            tag: [0; 16],
            keys: core::ptr::from_ref(frame.keys).expose_provenance() as u64,
            number,
            frame_offset: len16(frame.offset),
            frame_len: len16(frame.len),
            owner: worker_number(view.index),
            helper: worker_number(peer),
            inbound: u8::from(frame.inbound),
            state: TO_DO,
        };
        match ring.push(mbuf) {
            Ok(()) => {
                sharing.lend(peer);
                view.counters.lent.add(1);
                return Ok(());
            }
            Err(refused) => {
                shared.cancel();
                mbuf = refused;
            }
        }
    }
    shared.stage(mbuf, op, job, *now)
}

/// There are 128 workers at most.
fn worker_number(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

/// Takes in what came by this worker's ring: others' packets to work on, and its own, finished.
pub(crate) fn take_in(view: &View, work: &mut Work, burst: &mut Burst) {
    for mbuf in burst.iter() {
        mbuf.prefetch_header();
        mbuf.prefetch_received(2);
    }
    for mbuf in burst.drain() {
        let task = *mbuf.meta::<Task>();
        if task.state == TO_DO {
            carry_out(view, work, mbuf, &task);
        } else {
            work.sharing.returned(task.helper.into());
            match &mut work.engine.shared {
                Some(shared) => shared.put_back(task.number, mbuf, task.state == DONE),
                None => view.drop(mbuf, DropReason::CryptoFailed),
            }
        }
    }
    work.engine.submit();
}

fn carry_out(view: &View, work: &mut Work, mbuf: Mbuf, task: &Task) {
    #[expect(clippy::cast_possible_truncation, reason = "an address of this process")]
    let address = task.keys as usize;
    // SAFETY: the address is of keys that the owner found published; it reports quiescent only for
    // epochs whose jobs have been settled, this one among them (`Worker::quiesce`), so that they
    // stay where they are until the packet is back.
    let keys = unsafe { &*core::ptr::with_exposed_provenance::<KeySchedule>(address) };
    if let Err(mbuf) = keys.with(Errand { work, mbuf, task: *task }) {
        give_back(&mut work.sharing, mbuf, task.owner.into(), false);
    } else {
        view.counters.assisted.add(1);
    }
}

struct Errand<'a> {
    work: &'a mut Work,
    mbuf: Mbuf,
    task: Task,
}

impl PerSuite<'static> for Errand<'_> {
    type Output = Result<(), Mbuf>;

    /// The operation that the owner would have made.
    fn run(self, material: Material<'static>) -> Self::Output {
        let Self { work, mut mbuf, task } = self;
        let at = usize::from(task.frame_offset);
        let inbound = task.inbound != 0;
        let iv_end = FrameHeader::LEN + material.iv_len();
        let Some(covered) = usize::from(task.frame_len).checked_sub(material.icv_len()) else {
            return Err(mbuf);
        };
        let Some(cipher_len) = covered.checked_sub(iv_end) else { return Err(mbuf) };
        let mut op = Op {
            cipher: material.cipher,
            auth: material.auth,
            iv_offset: len32(at + FrameHeader::LEN),
            cipher_offset: len32(at + iv_end),
            cipher_len: if material.encrypts() { len32(cipher_len) } else { 0 },
            auth_offset: len32(at),
            auth_len: len32(covered),
            tag: if inbound { Tag::Meta(0) } else { Tag::Packet(len32(at + covered)) },
        };
        if let Some((salt, _)) = material.nonce {
            let iv = mbuf.data().get(at + FrameHeader::LEN..).and_then(|rest| rest.first_chunk());
            let Some(iv) = iv.copied() else { return Err(mbuf) };
            op = gcm::operation(op, &mut mbuf, *salt, iv);
        }
        let job = Job::Assisted { worker: task.owner, inbound };
        work.engine.stage(mbuf, &op, None, job, work.now).map_err(|(mbuf, _)| mbuf)
    }
}

/// Finishes what this worker's lanes have done for another one.
pub(crate) fn settle(sharing: &mut Sharing, done: Done, owner: usize, inbound: bool) {
    let Done { mut mbuf, ok, .. } = done;
    if !inbound {
        seal(mbuf.data_mut());
    }
    give_back(sharing, mbuf, owner, ok);
}

/// Lets a packet wait for its way back.
fn give_back(sharing: &mut Sharing, mut mbuf: Mbuf, owner: usize, ok: bool) {
    mbuf.meta_mut::<Task>().state = if ok { DONE } else { FAILED };
    sharing.returning.push_back((owner, mbuf));
}

/// Sends back what is done, as far as there is room.
pub(crate) fn send_back(view: &View, work: &mut Work) {
    for _ in 0..work.sharing.returning.len() {
        let Some((owner, mbuf)) = work.sharing.returning.pop_front() else { return };
        match view.assist.get(owner).map(|ring| ring.push(mbuf)) {
            Some(Ok(())) | None => {}
            Some(Err(mbuf)) => work.sharing.returning.push_back((owner, mbuf)),
        }
    }
}
