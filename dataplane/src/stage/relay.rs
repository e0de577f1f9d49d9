//! Carrying out what an ICMP error about an outer packet asks for: a smaller path MTU, and an
//! error of our own to the inner sender.
//!
//! Read first: RFC 2473 s.8; RFC 8201 s.4; the reasoning in [`super::icmp_outer`].

use core::net::IpAddr;

use hearth_dpdk::Mbuf;
use hearth_wire::frame::{FrameHeader, PType};
use hearth_wire::{Scope, SeqNo};
use zerocopy::FromBytes;

use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, IPV6_LEN, Ip};
use crate::sa::keys::Direction;
use crate::sa::table::SaRef;
use crate::stage::icmp::{IPV6_MIN_MTU, Problem};
use crate::stage::icmp_outer::{self, Complaint, OuterError};
use crate::stage::refuse::{error, route_error};
use crate::table::binding::BindingEntry;
use crate::view::View;
use crate::work::Work;

/// How far behind the last number sent an error may come. A mobile node on a fast path uses up as
/// many while an error travels.
const LATELY: u64 = 1 << 20;

/// Why an error is not believed, or not looked at.
type Disbelief = (Option<Mbuf>, DropReason);

/// Takes an ICMP error in an Ethernet frame.
#[cold]
pub(crate) fn relay(view: &View, work: &mut Work, mut mbuf: Mbuf, told: &OuterError) {
    if mbuf.adj(ETHERNET_LEN).is_none() {
        return view.drop(mbuf, DropReason::EthernetShort);
    }
    heed(view, work, mbuf, told);
}

/// Takes an ICMP error that starts with its IP header.
#[cold]
pub(crate) fn heed(view: &View, work: &mut Work, mbuf: Mbuf, told: &OuterError) {
    let admits = |work: &mut Work| work.side.outer_errors.admits(told.remote.ip(), work.now);
    match open(view, work, mbuf, told, admits) {
        Ok((mbuf, binding, protected)) => carry_out(view, work, mbuf, told, (binding, protected)),
        Err((Some(mbuf), reason)) => view.drop(mbuf, reason),
        Err((None, reason)) => view.counters.stopped(reason),
    }
}

/// Brings the quoted inner packet to the front of the mbuf, when it is one that this home agent
/// sent: with its binding, and whether it was protected. `admits` is asked once all that costs no
/// crypto speaks for it: else anybody could use up what a tunnel's genuine errors are admitted by.
pub(super) fn open<'v>(
    view: &'v View,
    work: &mut Work,
    mbuf: Mbuf,
    told: &OuterError,
    admits: impl Fn(&mut Work) -> bool,
) -> Result<(Mbuf, &'v BindingEntry, bool), Disbelief> {
    let (offset, len) = (usize::from(told.frame.0), usize::from(told.frame.1));
    let frame = mbuf.data().get(offset..offset + len);
    let Some(header) = frame.and_then(|frame| FrameHeader::read_from_prefix(frame).ok()) else {
        return Err((Some(mbuf), DropReason::OuterErrorTooShort));
    };
    let (header, _) = header;
    let protected = match PType::from_bits(header.ptype_bits()) {
        Some(PType::PlainData) if header == FrameHeader::plain() => false,
        Some(PType::ProtectedData) => true,
        Some(PType::PlainData | PType::MobilityHeader) | None => {
            return Err((Some(mbuf), DropReason::OuterErrorUnrelated));
        }
    };
    let sa = view.tables.sas.find(header.spi_bits());
    let (mut mbuf, (inner, len)) = if protected {
        let is_related =
            |sa: &SaRef<'_>| sent_lately(*sa, header.seq()) && leads_to(view, *sa, told);
        let Some(sa) = sa.filter(is_related) else {
            return Err((Some(mbuf), DropReason::OuterErrorUnrelated));
        };
        if !admits(work) {
            return Err((Some(mbuf), DropReason::OuterErrorLimited));
        }
        // SAFETY: `find` has just seen the SA published, and the keys are used before this worker
        // reports quiescent.
        let keys = unsafe { sa.slot.keys(Direction::Outbound) };
        let opened = work.side.opener.open(mbuf, keys, (offset, len));
        opened.map_err(|mbuf| (mbuf, DropReason::OuterErrorTooShort))?
    } else {
        (mbuf, (offset + FrameHeader::LEN, len - FrameHeader::LEN))
    };
    let Some(to) = mbuf.keep(inner, len).and_then(|()| destination(mbuf.data())) else {
        return Err((Some(mbuf), DropReason::OuterErrorTooShort));
    };
    // The proof: nobody else knows what decrypts to this address.
    let sent_by = |tunnel: &&BindingEntry| sent_by(tunnel, told, sa, protected);
    let tunnel = view.carried_to(to).and_then(|(_, binding)| view.tunnels(binding).find(sent_by));
    match tunnel {
        Some(_) if !protected && !admits(work) => Err((Some(mbuf), DropReason::OuterErrorLimited)),
        Some(tunnel) => Ok((mbuf, tunnel, protected)),
        None => Err((Some(mbuf), DropReason::OuterErrorUnrelated)),
    }
}

fn sent_lately(sa: SaRef<'_>, seq: SeqNo) -> bool {
    let next = sa.slot.outbound.sequence();
    let seq = u64::from(seq.0);
    seq < next && next - seq <= LATELY
}

/// Whether the packets of this SA go to where the error says.
fn leads_to(view: &View, sa: SaRef<'_>, told: &OuterError) -> bool {
    let binding = sa.slot.binding().and_then(|index| view.tables.bindings.entry(index));
    binding
        .is_some_and(|binding| view.tunnels(binding).any(|tunnel| tunnel.remote() == told.remote))
}

/// Whether a packet of this kind goes to where the error says, by this tunnel.
fn sent_by(
    binding: &BindingEntry,
    told: &OuterError,
    sa: Option<SaRef<'_>>,
    protected: bool,
) -> bool {
    let kind = match sa.and_then(|sa| sa.slot.spi()) {
        Some(spi) => protected && spi == binding.spi,
        None => !protected && binding.facts.scope == Scope::Signalling,
    };
    kind && binding.remote() == told.remote
}

/// The destination of an IP packet whose end may be missing, but not its header.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        6 if packet.len() < IPV6_LEN => None,
        4 | 6 => Ip::addresses(packet).map(|(_, to)| to),
        _ => None,
    }
}

/// RFC 2473 s.8.1 to 8.3: the mbuf holds the inner packet, as much as was quoted.
fn carry_out(
    view: &View,
    work: &mut Work,
    mut mbuf: Mbuf,
    told: &OuterError,
    (binding, protected): (&BindingEntry, bool),
) {
    let problem = match told.complaint {
        Complaint::Unreachable => Problem::AddressUnreachable,
        Complaint::TooBig(mtu) => {
            // A packet of that size or less can't have been too big.
            let is_plausible = told.outer_len > mtu;
            let lifetime = work.side.path_mtu_lifetime;
            if !is_plausible || !binding.path.learn(mtu, work.now, lifetime) {
                // A router says so of every packet that was under way when it began to.
                let is_known = is_plausible && mtu >= binding.path.path_mtu();
                return view.drop(
                    mbuf,
                    match is_known {
                        true => DropReason::OuterErrorKnown,
                        false => DropReason::OuterErrorUnrelated,
                    },
                );
            }
            view.counters.sizes.path_mtu_lowered.add(1);
            match too_big(mbuf.data(), binding.path.tunnel_mtu(protected)) {
                Some(problem) => problem,
                // It will fit, or go in fragments.
                None => return view.heeded(&mut mbuf),
            }
        }
    };
    view.heeded(&mut mbuf);
    if tell(view, work, mbuf, problem) {
        view.counters.sizes.outer_errors_relayed.add(1);
    }
}

/// Tells the sender of a packet that was in a tunnel. Where it is an outer packet itself, of a mobile
/// node behind the one of that tunnel, the sender of what it carries; returns whether somebody was.
fn tell(view: &View, work: &mut Work, mbuf: Mbuf, problem: Problem) -> bool {
    let complaint = match problem {
        Problem::TooBig(mtu) => Complaint::TooBig(mtu),
        _ => Complaint::Unreachable,
    };
    if icmp_outer::of_own(mbuf.data(), &view.tables.service, complaint).is_some() {
        return own(view, work, mbuf, complaint);
    }
    let error = error(view, work, mbuf, problem);
    let is_told = error.is_some();
    if let Some(mbuf) = error {
        route_error(view, work, mbuf);
    }
    is_told
}

/// Tells the sender of what an outer packet of this box carries why it can't go on, which has been
/// counted; returns whether somebody was told. Each call takes one tunnel off, so that it ends.
#[cold]
pub(crate) fn own(view: &View, work: &mut Work, mbuf: Mbuf, complaint: Complaint) -> bool {
    let Some(outer) = icmp_outer::of_own(mbuf.data(), &view.tables.service, complaint) else {
        return false;
    };
    // Signalling has nobody to be told: it goes no further than this.
    let Ok((inner, tunnel, protected)) = open(view, work, mbuf, &outer, |_| true) else {
        return false;
    };
    let problem = match complaint {
        Complaint::Unreachable => Problem::AddressUnreachable,
        Complaint::TooBig(mtu) => {
            if tunnel.path.learn(mtu, work.now, work.side.path_mtu_lifetime) {
                view.counters.sizes.path_mtu_lowered.add(1);
            }
            match too_big(inner.data(), tunnel.path.tunnel_mtu(protected)) {
                Some(problem) => problem,
                // It will fit, or go in fragments.
                None => return false,
            }
        }
    };
    tell(view, work, inner, problem)
}

/// What the inner sender is told, if its packet is not carried any more.
fn too_big(inner: &[u8], tunnel_mtu: u16) -> Option<Problem> {
    let length = |at: usize| {
        inner.get(at..).and_then(<[u8]>::first_chunk::<2>).copied().map(u16::from_be_bytes)
    };
    if inner.first()? >> 4 == 6 {
        let most = tunnel_mtu.max(IPV6_MIN_MTU);
        return (length(4)?.saturating_add(40) > most).then_some(Problem::TooBig(most));
    }
    let may_be_split = inner.get(6)? & 0x40 == 0;
    (length(2)? > tunnel_mtu && !may_be_split).then_some(Problem::TooBig(tunnel_mtu))
}
