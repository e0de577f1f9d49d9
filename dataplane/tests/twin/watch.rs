//! Both twins side by side: the same packets, and what came out compared.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use hearth_dataplane::{DropReason, PortId, Snapshot};
use hearth_wire::Spi;

use crate::model::fragment;
use crate::model::{self, Content, Out, Tally, Verdict, Way, World};
use crate::rig::{Event, Rig};

/// A packet on its way in.
#[derive(Debug, Clone)]
pub enum Input {
    Wire {
        port: PortId,
        queue: usize,
        frame: Vec<u8>,
    },
    Host {
        port: PortId,
        frame: Vec<u8>,
    },
    Signalling {
        spi: u32,
        local: SocketAddr,
        remote: SocketAddr,
        next_header: u8,
        payload: Vec<u8>,
    },
}

/// The two, and what has been seen of them.
pub struct Twins {
    pub rig: Rig,
    pub world: World,
    before: Snapshot,
    /// Every sequence number and IV that was ever sent, by SPI and incarnation.
    numbers: HashSet<(u32, u32)>,
    ivs: HashSet<(u32, Vec<u8>)>,
    /// A packet that the home agent sent under an SA.
    pub sent: Option<Vec<u8>>,
}

/// What a burst had in it that came out of one twin only.
#[derive(Default)]
pub struct Differences(Vec<String>);

impl Differences {
    fn note(&mut self, what: String) {
        self.0.push(what);
    }

    pub fn list(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("\n"))
    }
}

impl Twins {
    pub fn new(rig: Rig, world: World) -> Self {
        let before = rig.counters();
        Self { rig, world, before, numbers: HashSet::new(), ivs: HashSet::new(), sent: None }
    }

    /// An SPI is dealt out anew: numbers start again, under other keys.
    pub fn forget(&mut self, spi: u32) {
        self.numbers.retain(|(of, _)| *of != spi);
        self.ivs.retain(|(of, _)| *of != spi);
    }

    /// Sends a burst, cut into turns after the inputs that `cuts` names, and compares.
    pub fn burst(
        &mut self,
        inputs: &[Input],
        cuts: &HashSet<usize>,
    ) -> (Vec<Verdict>, Differences) {
        self.world.begin_burst();
        let drawn_before: BTreeMap<u32, u64> =
            self.world.sas.iter().map(|(spi, sa)| (*spi, sa.next_outbound)).collect();
        let mut verdicts = Vec::new();
        for (place, input) in inputs.iter().enumerate() {
            let verdict = self.model(input);
            // A fragment that would wait.
            if verdict != Verdict::All(Vec::new()) {
                self.give(input);
            }
            verdicts.push(verdict);
            if cuts.contains(&place) {
                self.rig.workers.iter_mut().for_each(|worker| _ = (self.rig.turn)(worker));
            }
        }
        self.rig.turns();

        let mut differences = Differences::default();
        let mut expected: Vec<Out> = verdicts
            .iter()
            .flat_map(Verdict::ends)
            .filter_map(|verdict| match verdict {
                Verdict::Out(out) => Some(self.canonical(out.clone())),
                _ => None,
            })
            .collect();
        let mut seen = self.collect(&drawn_before, &mut differences);
        if self.rig.in_use() as usize != self.world.held() {
            differences.note(format!("{} mbufs are not back", self.rig.in_use()));
        }
        expected.sort();
        seen.sort();
        compare(&expected, &seen, &mut differences);
        self.compare_drops(&verdicts, &mut differences);
        self.compare_tally(&mut differences);
        (verdicts, differences)
    }

    fn model(&mut self, input: &Input) -> Verdict {
        match input {
            Input::Wire { port, frame, .. } => self.world.take_from_wire(*port, frame),
            Input::Host { port, frame } => self.world.take_from_host(*port, frame),
            Input::Signalling { spi, local, remote, next_header, payload } => {
                self.world.signalling_out(*spi, *local, *remote, *next_header, payload)
            }
        }
    }

    fn give(&mut self, input: &Input) {
        match input {
            Input::Wire { port, queue, frame } => self.rig.inject(*port, *queue, frame),
            Input::Host { port, frame } => self.rig.control.send_from_host(*port, frame).unwrap(),
            Input::Signalling { spi, local, remote, next_header, payload } => {
                let spi = Spi::new(*spi).unwrap();
                let control = &mut self.rig.control;
                control.send_signalling(spi, *local, *remote, *next_header, payload).unwrap();
            }
        }
    }

    /// Everything that the dataplane gave out.
    fn collect(
        &mut self,
        drawn_before: &BTreeMap<u32, u64>,
        differences: &mut Differences,
    ) -> Vec<Out> {
        let mut outs = Vec::new();
        let mut drawn = Vec::new();
        let services: Vec<IpAddr> = self.world.service.values().copied().collect();
        for port in (0..self.world.macs.len() as u16).map(PortId) {
            let frames = self.rig.received(port).into_iter().map(|frame| frame.0).collect();
            for frame in fragment::join_sent(frames, &services, self.world.path_mtu) {
                outs.push(self.recognise_frame(port, &frame, &mut drawn));
                if let Some(Content::Envelope { ptype: 1 | 8, .. }) =
                    outs.last().map(|out| &out.content)
                {
                    self.sent = Some(frame);
                }
            }
        }
        let mut hints = HashSet::new();
        let mut held: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event in self.rig.events() {
            let (way, octets) = match event {
                Event::Host { port, frame } => (Way::Host { port }, trimmed(frame)),
                Event::Signalling { spi, remote, local, next_header, payload } => {
                    (Way::Signalling { spi, remote, local, next_header }, payload)
                }
                Event::Unresolved { port, next_hop, packet } => {
                    // With an Ethernet header, as on a wire.
                    let packet = packet.packet();
                    let ethertype = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
                    let frame = [&[0; 12][..], &ethertype, packet].concat();
                    held.entry((port, next_hop)).or_default().push(frame);
                    continue;
                }
                Event::UnknownSpi(spi) => {
                    hints.insert(spi);
                    continue;
                }
                Event::Inner { spi, home_address, packet } => {
                    (Way::ForControl { spi, home_address }, packet)
                }
                Event::HomeAgentDiscovery(_) | Event::PlainHomeAddress { .. } => {
                    differences.note("what nobody sent, for control".into());
                    continue;
                }
            };
            outs.push(Out { way, content: Content::Octets(octets) });
        }
        for ((port, next_hop), frames) in held {
            for frame in fragment::join_sent(frames, &services, self.world.path_mtu) {
                let content = self.recognise(&frame[14..], &mut drawn);
                outs.push(Out { way: Way::Unresolved { port, next_hop }, content });
            }
        }
        if !hints.iter().all(|spi| self.world.missing.contains(spi)) {
            differences.note(format!("asked for {hints:?}, missing {:?}", self.world.missing));
        }
        for Drawn { spi, seq, iv } in drawn {
            let range = drawn_before.get(&spi).copied().unwrap_or(0)
                ..self.world.sas.get(&spi).map_or(0, |sa| sa.next_outbound);
            if !range.contains(&seq.into()) || !self.numbers.insert((spi, seq)) {
                differences.note(format!("number {seq} of SPI {spi}: drawn {range:?}"));
            }
            if !iv.is_empty() && !self.ivs.insert((spi, iv)) {
                differences.note(format!("an IV of SPI {spi} was used twice"));
            }
        }
        outs
    }

    /// An expected output as `recognise` would see it.
    fn canonical(&self, out: Out) -> Out {
        match out {
            Out { way: Way::Untouched { port }, content: Content::Octets(frame) } => {
                self.recognise_frame(port, &frame, &mut Vec::new())
            }
            Out {
                way: way @ (Way::Wire { .. } | Way::Unresolved { .. }),
                content: Content::Octets(packet),
            } => Out { way, content: self.recognise(&packet, &mut Vec::new()) },
            Out { way: way @ Way::Host { .. }, content: Content::Octets(frame) } => {
                Out { way, content: Content::Octets(trimmed(frame)) }
            }
            out => out,
        }
    }

    fn recognise_frame(&self, port: PortId, frame: &[u8], drawn: &mut Vec<Drawn>) -> Out {
        let is_ip = frame.len() >= 34
            && (frame[12..14] == [8, 0] && frame[14] >> 4 == 4
                || frame[12..14] == [0x86, 0xdd] && frame[14] >> 4 == 6);
        if !is_ip {
            let content = Content::Octets(frame.to_vec());
            return Out { way: Way::Untouched { port }, content };
        }
        let mac = |at: usize| <[u8; 6]>::try_from(&frame[at..at + 6]).unwrap();
        let way = Way::Wire { port, to: mac(0), from: mac(6) };
        Out { way, content: self.recognise(&frame[14..], drawn) }
    }

    /// Opens what only the home agent can have sent; all else is octets.
    fn recognise(&self, packet: &[u8], drawn: &mut Vec<Drawn>) -> Content {
        match model::sent::open(&self.world, packet) {
            Some((content, seq, iv)) => {
                if let Content::Envelope { ptype: 1 | 8, spi, .. } = content {
                    drawn.push(Drawn { spi, seq, iv });
                }
                content
            }
            None => Content::Octets(packet.to_vec()),
        }
    }

    fn compare_drops(&mut self, verdicts: &[Verdict], differences: &mut Differences) {
        let after = self.rig.counters();
        let mut left: BTreeMap<DropReason, i64> = after
            .drops()
            .map(|(reason, count)| (reason, (count - self.before.dropped(reason)) as i64))
            .collect();
        self.before = after;
        let ends: Vec<&Verdict> = verdicts.iter().flat_map(Verdict::ends).collect();
        for verdict in &ends {
            if let Verdict::Drop(reason) = verdict {
                *left.get_mut(reason).unwrap() -= 1;
            }
        }
        let either: Vec<&[DropReason]> = ends
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::DropOneOf(reasons) => Some(&reasons[..]),
                _ => None,
            })
            .collect();
        settle(&either, &mut left);
        for (reason, count) in left.into_iter().filter(|(_, count)| *count != 0) {
            let whose = if count > 0 { "the dataplane" } else { "the model" };
            differences.note(format!("{} more {} in {whose}", count.abs(), reason.name()));
        }
    }

    /// Compares the counters of all packets since the beginning.
    fn compare_tally(&self, differences: &mut Differences) {
        let counters = &self.before;
        let seen = Tally {
            uplink: counters.uplink.packets,
            uplink_plain: counters.uplink_plain.packets,
            uplink_protected_under_scope_0: counters.uplink_protected_under_scope_0,
            downlink: counters.downlink.packets,
            downlink_plain: counters.downlink_plain.packets,
            signalling_in: counters.signalling_in,
            signalling_out: counters.signalling_out,
            neighbour_answers: counters.neighbour_answers,
            unregistered_ptypes: counters.unregistered_ptypes,
        };
        if seen != self.world.tally {
            differences.note(format!("counters: {seen:?}\n  should be {:?}", self.world.tally));
        }
    }
}

/// Without what the link layer put behind a packet: the kernel takes no notice of it.
fn trimmed(mut frame: Vec<u8>) -> Vec<u8> {
    let word = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let len = match frame.get(12..14) {
        Some([8, 0]) if frame.len() > 34 => 14 + word(16),
        Some([0x86, 0xdd]) if frame.len() > 54 => 54 + word(18),
        _ => return frame,
    };
    frame.truncate(len);
    frame
}

struct Drawn {
    spi: u32,
    seq: u32,
    iv: Vec<u8>,
}

fn compare(expected: &[Out], seen: &[Out], differences: &mut Differences) {
    let count = |outs: &[Out]| {
        let mut counts: BTreeMap<Out, i64> = BTreeMap::new();
        outs.iter().for_each(|out| *counts.entry(out.clone()).or_default() += 1);
        counts
    };
    let (expected, seen) = (count(expected), count(seen));
    for (out, n) in &expected {
        if seen.get(out).unwrap_or(&0) < n {
            differences.note(format!("only of the model:     {}", show(out)));
        }
    }
    for (out, n) in &seen {
        if expected.get(out).unwrap_or(&0) < n {
            differences.note(format!("only of the dataplane: {}", show(out)));
        }
    }
}

/// The beginning of it, which has all headers.
fn hex(octets: &[u8]) -> String {
    let text: String = octets.iter().take(160).map(|octet| format!("{octet:02x}")).collect();
    if octets.len() > 160 { format!("{text}... ({} octets)", octets.len()) } else { text }
}

fn show(out: &Out) -> String {
    format!("{:?} {}", out.way, show_content(&out.content))
}

fn show_content(content: &Content) -> String {
    match content {
        Content::Octets(octets) => hex(octets),
        Content::Envelope { local, remote, hop_limit, class, ptype, spi, next_header, payload } => {
            format!(
                "{local} to {remote}, hop limit {hop_limit}, class {class:#x}, PType {ptype}, \
                 SPI {spi}, next header {next_header}: {}",
                show_content(payload)
            )
        }
    }
}

/// Gives each packet one of its reasons, so that as few as possible are left over.
fn settle(either: &[&[DropReason]], left: &mut BTreeMap<DropReason, i64>) {
    let mut taken: Vec<Option<DropReason>> = vec![None; either.len()];
    for packet in 0..either.len() {
        if !place(packet, either, &mut taken, left, &mut HashSet::new()) {
            *left.get_mut(&either[packet][0]).unwrap() -= 1;
        }
    }
}

/// Finds a reason for a packet, moving others to their other reasons where that helps.
fn place(
    packet: usize,
    either: &[&[DropReason]],
    taken: &mut [Option<DropReason>],
    left: &mut BTreeMap<DropReason, i64>,
    tried: &mut HashSet<DropReason>,
) -> bool {
    for reason in either[packet] {
        if left[reason] > 0 {
            *left.get_mut(reason).unwrap() -= 1;
            taken[packet] = Some(*reason);
            return true;
        }
    }
    for reason in either[packet] {
        if !tried.insert(*reason) {
            continue;
        }
        for other in (0..taken.len()).filter(|other| *other != packet) {
            if taken[other] == Some(*reason) && place(other, either, taken, left, tried) {
                taken[packet] = Some(*reason);
                return true;
            }
        }
    }
    false
}

/// One line about an input and its verdict.
pub fn describe(input: &Input, verdict: &Verdict) -> String {
    let input = match input {
        Input::Wire { port, queue, frame } => format!("wire {}.{queue} {}", port.0, hex(frame)),
        Input::Host { port, frame } => format!("host {} {}", port.0, hex(frame)),
        Input::Signalling { spi, remote, payload, .. } => {
            format!("signalling {spi} to {remote} {}", hex(payload))
        }
    };
    let verdict = match verdict {
        Verdict::Out(out) => format!("{:?}", out.way),
        other => format!("{other:?}"),
    };
    format!("{verdict} <- {input}")
}
