//! Crypto for another worker: packets go there by its ring, are worked on between its own, and come
//! back by the ring of their owner, who settles them in the order in which they went out.
//!
//! Read first: [`crate::sharing`]. Nothing but crypto and the outer checksum is done away from the
//! owner: it alone draws sequence numbers and moves windows.

use hearth_dpdk::{Burst, Mbuf, Op, Tag};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::crypto::engine::Job;
use crate::crypto::frame::{Frame, operation};
use crate::drop_reason::DropReason;
use crate::layout::{len16, len32};
use crate::outer::seal;
use crate::private_area::{TAG, TAG_LEN};
use crate::sa::keys::{KeySchedule, Material, PerSuite};
use crate::sharing::{LOT, Sharing, WORTH_SHARING};
use crate::stage::receive::LINES_AHEAD;
use crate::trace::Verdict;
use crate::view::View;
use crate::work::Work;

/// What goes along in the private area. The first 16 octets are the tag's when it comes back.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Task {
    tag: [u8; TAG_LEN],
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

/// Octets of the private area that it takes.
pub(crate) const TASK_LEN: usize = size_of::<Task>();
const _: () = assert!(core::mem::offset_of!(Task, tag) == TAG);

const TO_DO: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

/// Lets a packet go into the lanes: this worker's or, while it shares its work, another one's; or
/// into a device. `false` where it was dropped, because the operation does not fit it or nothing
/// has room for it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the suite is known where it is called")]
pub(crate) fn stage(
    view: &View,
    work: &mut Work,
    mut mbuf: Mbuf,
    material: &Material<'static>,
    job: impl FnOnce() -> Job,
    frame: Frame,
) -> bool {
    // 3DES keeps its own lanes: it would hold up what is shared.
    let is_shared = work.sharing.is_on() && !material.is_triple_des();
    let refused = if is_shared || material.session.is_some() {
        elsewhere(view, work, mbuf, job(), frame)
    } else if let Some(op) = operation(material, &mut mbuf, &frame, Tag::Kept) {
        work.engine.stage(mbuf, &op, job, work.now)
    } else {
        Err((mbuf, DropReason::FrameShort))
    };
    match refused {
        Ok(()) => true,
        Err((mbuf, reason)) => {
            view.drop(mbuf, reason);
            false
        }
    }
}

/// Lets a packet go into a device, or into another worker's lanes.
#[inline(never)]
fn elsewhere(
    view: &View,
    work: &mut Work,
    mut mbuf: Mbuf,
    job: Job,
    frame: Frame,
) -> Result<(), (Mbuf, DropReason)> {
    let material = frame.keys.material();
    let Some(op) = operation(&material, &mut mbuf, &frame, Tag::Kept) else {
        return Err((mbuf, DropReason::FrameShort));
    };
    // A device is there to take the load; what goes into it is not shared.
    match material.session {
        Some(session) => work.engine.stage_in_device(mbuf, &op, session, job, work.now),
        None => share(view, work, mbuf, &op, job, frame)
            .map_err(|mbuf| (mbuf, DropReason::CryptoFailed)),
    }
}

/// Lets a packet go into another worker's lanes, or into this one's behind those that did.
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
    {
        let number = shared.reserve(job, sharing.time());
        *mbuf.meta_mut() = Task {
            tag: [0; TAG_LEN],
            keys: core::ptr::from_ref(frame.keys).expose_provenance() as u64,
            number,
            frame_offset: len16(frame.offset),
            frame_len: len16(frame.len),
            owner: worker_number(view.index),
            helper: worker_number(peer),
            inbound: u8::from(frame.inbound),
            state: TO_DO,
        };
        let traced = view.watch.is_on().then(|| view.watch.number(&mbuf));
        match sharing.lend(peer, mbuf) {
            Ok(()) => {
                if let Some(number) = traced {
                    view.watch.ended(number, Verdict::Lent(peer));
                }
                view.counters.lent.add(1);
                if sharing.lot_is_full() {
                    hand_over(view, work);
                }
                return Ok(());
            }
            Err(refused) => {
                shared.cancel();
                mbuf = refused;
            }
        }
    }
    mbuf.prefetch_rest(LINES_AHEAD * 64);
    shared.stage(mbuf, op, || job, *now)
}

/// Sends what was staged on its way: into this worker's lanes, and to another one's.
#[inline]
pub(crate) fn submit(view: &View, work: &mut Work) {
    if work.sharing.is_on() && !work.sharing.lot_is_empty() {
        hand_over(view, work);
    }
    work.engine.submit();
}

/// Hands the lot over. What its ring has no room for goes into this worker's own lanes, as if it
/// were another one's, and comes back by this worker's own ring.
#[inline(never)]
fn hand_over(view: &View, work: &mut Work) {
    work.sharing.hand_over(&view.assist);
    while let Some(mbuf) = work.sharing.take_from_lot() {
        let task = *mbuf.meta::<Task>();
        carry_out(view, work, mbuf, &task);
    }
}

/// There are 128 workers at most.
fn worker_number(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

/// Takes in what came by this worker's ring: others' packets to work on, and its own, finished.
pub(crate) fn take_in(view: &View, work: &mut Work, burst: &mut Burst) {
    for mbuf in burst.iter() {
        mbuf.prefetch_header();
        mbuf.prefetch_received(LINES_AHEAD);
    }
    for mbuf in burst.drain() {
        let task = *mbuf.meta::<Task>();
        if task.state == TO_DO {
            carry_out(view, work, mbuf, &task);
        } else {
            work.sharing.returned(task.helper.into());
            put_back(view, work, mbuf, &task);
        }
    }
    submit(view, work);
}

/// Puts a packet of this worker's own back in its place.
fn put_back(view: &View, work: &mut Work, mbuf: Mbuf, task: &Task) {
    if task.inbound != 0 {
        // Where the ICV stands, and the trailer.
        mbuf.prefetch_at(usize::from(task.frame_offset) + usize::from(task.frame_len) - 1);
    }
    match &mut work.engine.shared {
        Some(shared) => {
            if let Some(late) = shared.put_back(task.number, mbuf, task.state == DONE) {
                view.counted(late, DropReason::HelperStalled);
            }
        }
        None => view.drop(mbuf, DropReason::CryptoFailed),
    }
}

/// Gives up what other workers have had for too long, so that the others behind it go on. The
/// numbers of what is given up stay used, and no window moves for them.
pub(crate) fn give_up(view: &View, work: &mut Work) -> bool {
    let Work { engine, sharing, .. } = work;
    let (Some(shared), Some(overdue)) = (&mut engine.shared, sharing.overdue()) else {
        return false;
    };
    let count = shared.give_up(overdue);
    if count > 0 {
        view.counters.stopped_many(DropReason::HelperStalled, count);
    }
    count > 0
}

/// Takes in what came by the ring of a worker that stops: others' packets go back as they are.
pub(crate) fn refuse_all(view: &View, work: &mut Work, burst: &mut Burst) {
    for mbuf in burst.drain() {
        let task = *mbuf.meta::<Task>();
        if task.state == TO_DO {
            go_back(view, &work.sharing, mbuf, task.owner.into());
        } else {
            put_back(view, work, mbuf, &task);
        }
    }
}

/// Sends another worker's packet back from one that stops, done or not.
pub(crate) fn go_back(view: &View, sharing: &Sharing, mut mbuf: Mbuf, owner: usize) {
    let task = mbuf.meta_mut::<Task>();
    if task.state == TO_DO {
        task.state = FAILED;
    }
    if sharing.is_gone(owner) {
        return view.drop(mbuf, DropReason::Stopped);
    }
    // What finds no room its owner counts, who does not get it back.
    if let Some(ring) = view.assist.get(owner)
        && let Err(mbuf) = ring.push(mbuf)
    {
        view.counted(mbuf, DropReason::HelperStalled);
    }
}

fn carry_out(view: &View, work: &mut Work, mbuf: Mbuf, task: &Task) {
    #[expect(clippy::cast_possible_truncation, reason = "an address of this process")]
    let address = task.keys as usize;
    // SAFETY: the address is of keys that the owner found published. While it lives it reports
    // quiescent only for epochs whose jobs have been settled, and not at all while one that it has
    // given up is out (`Engine::has_passed`), so that they stay where they are until the packet is
    // back. An owner that is dropped reports nothing more and holds nothing up: whoever drops one
    // while others run must not remove SAs before those have stopped, too. hearthd stops all its
    // workers at once, removes nothing any more then, and a panic ends the process.
    let keys = unsafe { &*core::ptr::with_exposed_provenance::<KeySchedule>(address) };
    let frame = Frame {
        keys,
        offset: task.frame_offset.into(),
        len: task.frame_len.into(),
        inbound: task.inbound != 0,
    };
    // The owner has left it to the worker whose lanes it goes into.
    mbuf.prefetch_rest(LINES_AHEAD * 64);
    match keys.with(Errand { work, mbuf, frame, owner: task.owner }) {
        Ok(()) => view.counters.assisted.add(1),
        Err(mbuf) => give_back(&mut work.sharing, mbuf, task.owner.into(), false),
    }
}

struct Errand<'a> {
    work: &'a mut Work,
    mbuf: Mbuf,
    frame: Frame,
    owner: u8,
}

impl PerSuite<'static> for Errand<'_> {
    type Output = Result<(), Mbuf>;

    fn run(self, material: Material<'static>) -> Self::Output {
        let Self { work, mut mbuf, frame, owner } = self;
        let Some(op) = operation(&material, &mut mbuf, &frame, Tag::Meta(len32(TAG))) else {
            return Err(mbuf);
        };
        let job = Job::Assisted { worker: owner, inbound: frame.inbound, ok: true };
        work.engine.stage(mbuf, &op, || job, work.now).map_err(|(mbuf, _)| mbuf)
    }
}

/// Finishes what this worker's lanes have done for another one.
#[inline(never)]
pub(crate) fn settle(sharing: &mut Sharing, mut mbuf: Mbuf, owner: usize, inbound: bool, ok: bool) {
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

/// Sends back what is done, as far as there is room: what is one owner's together.
pub(crate) fn send_back(view: &View, work: &mut Work) {
    let returning = &mut work.sharing.returning;
    let mut lot = Burst::<LOT>::new();
    let mut left = returning.len();
    while left > 0 {
        let Some((owner, _)) = returning.front() else { return };
        let owner = *owner;
        while left > 0
            && !lot.is_full()
            && let Some((_, mbuf)) = returning.pop_front_if(|(whose, _)| *whose == owner)
        {
            left -= 1;
            // It has room.
            drop(lot.push(mbuf));
        }
        match view.assist.get(owner) {
            Some(ring) => {
                ring.send(&mut lot);
            }
            None => lot.clear(),
        }
        returning.extend(lot.drain().map(|mbuf| (owner, mbuf)));
    }
}
