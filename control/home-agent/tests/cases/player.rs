//! Plays a case against the core.

use core::fmt::Write;
use core::net::{Ipv6Addr, SocketAddr};
use std::collections::HashMap;

use hearth_conformance::case::{Case, Head, Kind, Octets, Step, hex};
use hearth_conformance::notation::{self, Way};
use hearth_conformance::packet;
use hearth_conformance::plan::{self, Node};
use hearth_home_agent::{
    Action, Event, HomeAgent, InnerPacket, LinkEvent, LinkId, LinkPolicy, Policy, Refusal,
    SignallingPacket, Timestamp,
};
use hearth_wire::icmp6::Envelope;
use hearth_wire::mh::{self, BindingUpdate, BuFlags, BuOptions, Message};
use hearth_wire::{Spi, exthdr};

use crate::actions::Line;
use crate::{commands, given, home_link};

/// Where the mobile node is unless a case says otherwise.
const CARE_OF: &str = "[2001:db8:1::c]:5000";

/// Plays `case`.
///
/// # Errors
/// What was expected and what came instead, line by line.
pub(crate) fn play(case: &Case) -> Result<(), String> {
    let mut policy = given::policy();
    let is_policy = |step: &&Step| step.kind == Kind::Given && step.text.starts_with("policy ");
    for step in case.steps.iter().filter(is_policy) {
        given::change_policy(&mut policy, step).map_err(|error| at(case, step, &error))?;
    }
    let mut player = Player::new(policy);
    for step in case.steps.iter().filter(|step| step.kind == Kind::Given) {
        home_link::given(&mut player.links, step).map_err(|error| at(case, step, &error))?;
    }
    player.configure_links();
    let is_done = |step: &&Step| is_policy(step) || home_link::is_given(step);
    let mut steps = case.steps.iter().filter(|step| !is_done(step)).peekable();
    while let Some(step) = steps.next() {
        player.take(step).map_err(|error| at(case, step, &error))?;
        let mut expected = Vec::new();
        while let Some(action) = steps.next_if(|next| next.kind == Kind::Action) {
            expected.push(action);
        }
        if step.kind != Kind::State || !expected.is_empty() {
            player.compare(&expected).map_err(|error| at(case, step, &error))?;
        }
    }
    Ok(())
}

fn at(case: &Case, step: &Step, what: &str) -> String {
    format!("{}\n{}:{}: {}\n{what}", case.title, case.path.display(), step.line, step.text)
}

struct Player {
    ha: HomeAgent,
    links: LinkPolicy,
    now: Timestamp,
    /// The home address that the cases have for the mobile node of an SA.
    home_of: HashMap<Spi, Ipv6Addr>,
    /// What was done and not yet compared.
    done: Vec<Line>,
}

impl Player {
    fn new(policy: Policy) -> Self {
        let (now, home_of) = (Timestamp::ZERO, HashMap::new());
        let (ha, links) = (HomeAgent::new(policy), LinkPolicy::default());
        Self { ha, links, now, home_of, done: Vec::new() }
    }

    /// Tells the home agent of links and home prefixes, where a case has any.
    fn configure_links(&mut self) {
        if !self.links.prefixes.is_empty() {
            let links = self.links.clone();
            self.handle(Event::Link(LinkEvent::Configured(&links)));
        }
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match step.kind {
            Kind::Given => {
                self.given(step)?;
                self.done.clear();
                Ok(())
            }
            Kind::Packet => self.packet(step),
            Kind::Event => self.event(step),
            Kind::Time(time) => {
                self.wait(Timestamp::ZERO.after(time));
                Ok(())
            }
            Kind::State => self.state(step),
            Kind::Action => Err("an action in front of everything".into()),
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        let mut actions = Vec::new();
        self.ha.handle(self.now, event, &mut actions);
        self.note(&actions);
    }

    fn note(&mut self, actions: &[Action]) {
        let home_of = |spi| self.home_of.get(&spi).copied().unwrap_or(Ipv6Addr::UNSPECIFIED);
        let lines = actions.iter().map(|action| Line::of(self.now, action, home_of));
        self.done.extend(lines);
    }

    /// Lets time pass, calling the home agent when it wants to be called and not otherwise.
    fn wait(&mut self, end: Timestamp) {
        while let Some(due) = self.ha.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Event::Tick);
        }
        self.now = end;
    }

    /// `sa ...`, or `binding NODE seq N [at ADDRESS] [under SPI] [ipv4]`: a Binding Update that is
    /// accepted.
    fn given(&mut self, step: &Step) -> Result<(), String> {
        let mut words = step.words();
        match words.next() {
            Some("sa") => self.issue(step),
            Some("binding") => {
                let node = words.next().and_then(Node::named).ok_or("no such mobile node")?;
                let seq = step.after("seq").and_then(|seq| seq.parse().ok()).ok_or("no seq")?;
                let update = first_update(node, seq, step.words().any(|word| word == "ipv4"));
                self.signalling(step, exthdr::DESTINATION_OPTIONS, &update, "at")?;
                let bound = self.ha.binding(node.home_address()).map(|binding| binding.sequence);
                if bound == Some(seq) { Ok(()) } else { Err("was not accepted".into()) }
            }
            _ => Err("nothing that can be given".into()),
        }
    }

    fn issue(&mut self, step: &Step) -> Result<(), String> {
        let info = given::sa(step)?;
        let node = step.words().nth(2).and_then(Node::named).ok_or("no such mobile node")?;
        self.home_of.insert(info.spi, node.home_address());
        self.handle(Event::SaIssued(info));
        Ok(())
    }

    /// `NOTATION from ADDRESS [to ADDRESS] under SPI`
    fn packet(&mut self, step: &Step) -> Result<(), String> {
        let octets = step.octets.as_ref().ok_or(
            "no octets: tests/conformance/octets.py --write control/home-agent/tests/cases",
        )?;
        let Head::Next(next_header) = octets.head else { return self.ip(step, octets) };
        let words = step.text.split(" from ").next().unwrap_or_default();
        if notation::is_plain(words) {
            self.agrees(step, words)?;
        }
        self.signalling(step, next_header, &octets.payload, "from")
    }

    /// `link N RA(...)`, `own N RA(...)`, `discovery DHAAD(...)`, `inner SPI MPS(...)`
    fn ip(&mut self, step: &Step, octets: &Octets) -> Result<(), String> {
        let how = step.words().next().unwrap_or_default();
        let (taken, words) = if how == "discovery" {
            ("", step.text.split_once(' ').map_or("", |it| it.1))
        } else {
            let mut parts = step.text.splitn(3, ' ').skip(1);
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        };
        let read = packet::describe(octets)?;
        if read != words {
            return Err(format!("our codec reads\n    {read}"));
        }
        let packet = &octets.payload[..];
        let address = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap().into();
        let (source, destination) = (address(8), address(24));
        let envelope = Envelope { source, destination, hop_limit: packet[7] };
        let octets = &packet[40..];
        let number = || taken.parse::<u16>().map_err(|_| "not a number");
        match how {
            "link" | "own" => {
                let (link, own) = (LinkId(number()?), how == "own");
                let event = LinkEvent::RouterAdvertisement { link, own, envelope, octets };
                self.handle(Event::Link(event));
            }
            "discovery" => {
                self.handle(Event::Link(LinkEvent::HomeAgentDiscovery { envelope, octets }));
            }
            "inner" => {
                let spi = Spi::new(number()?.into()).map_err(|_| "not an SPI")?;
                let home_address = *self.home_of.get(&spi).ok_or("an SPI that nobody has")?;
                self.handle(Event::Inner(InnerPacket { spi, home_address, packet }));
            }
            _ => return Err("nobody gets such a packet".into()),
        }
        Ok(())
    }

    /// Our codec reads in Scapy's octets what stands in the case, and makes the same octets of it.
    fn agrees(&self, step: &Step, words: &str) -> Result<(), String> {
        let octets = step.octets.as_ref().ok_or("no octets")?;
        let home = *self.home_of.get(&spi(step)?).ok_or("an SPI that nobody has")?;
        let (read, again) = notation::describe(octets, (plan::HA, home), Way::Up)?;
        if read != words {
            return Err(format!("our codec reads\n    {read}\n  in the octets of\n    {words}"));
        }
        if again != octets.payload {
            let (ours, scapys) = (hex(&again), hex(&octets.payload));
            return Err(format!(
                "our codec writes\n    {ours}\n  where Scapy writes\n    {scapys}"
            ));
        }
        Ok(())
    }

    fn signalling(
        &mut self,
        step: &Step,
        next_header: u8,
        payload: &[u8],
        from: &str,
    ) -> Result<(), String> {
        let address = |text: &str| text.parse().map_err(|_| format!("not an address: {text}"));
        let remote: SocketAddr = address(step.after(from).unwrap_or(CARE_OF))?;
        let local = step.after("to").map_or_else(|| Ok(plan::local_for(remote)), address)?;
        let spi = spi(step)?;
        let packet = SignallingPacket { spi, remote, local, next_header, payload };
        self.handle(Event::Signalling(packet));
        Ok(())
    }

    fn event(&mut self, step: &Step) -> Result<(), String> {
        let mut words = step.words();
        let (name, argument) = (words.next().unwrap_or_default(), words.next());
        let spi = || -> Result<Spi, String> {
            let number = argument.and_then(|spi| spi.parse().ok());
            number.and_then(|spi| Spi::new(spi).ok()).ok_or_else(|| "not an SPI".into())
        };
        match name {
            "sa" => return self.issue(step),
            "revoked" => self.handle(Event::SaRevoked(spi()?)),
            "near_end" => self.handle(Event::SequenceNearEnd(spi()?)),
            "reinit" => self.handle(Event::ReinitWanted(spi()?)),
            "contested" => {
                let address = argument.and_then(|address| address.parse().ok());
                let address = address.ok_or("not an address")?;
                let probing = step.text.ends_with(" probing");
                let (link, mac) = (LinkId(1), [2, 0, 0, 0, 0, 9]);
                self.handle(Event::Link(LinkEvent::Contested { link, address, mac, probing }));
            }
            "plain_home_address" => {
                let address = |word| step.after(word).and_then(|address| address.parse().ok());
                let all = address("from").zip(address("to")).zip(address("of"));
                let ((from, to), home_address) = all.ok_or("not `from A to A of A`")?;
                let event = LinkEvent::PlainHomeAddress { from, to, home_address };
                self.handle(Event::Link(event));
            }
            "prefix" => {
                home_link::given(&mut self.links, step)?;
                self.configure_links();
            }
            "silent" => self.handle(Event::Silent(spi()?)),
            "revoke" | "drain" | "undrain" | "rekey" => {
                self.handle(Event::Operator(commands::parse(step)?));
            }
            "watch_begun" => self.handle(Event::WatchBegun),
            "watch_synced" => self.handle(Event::WatchSynced),
            _ => return Err("nothing that happens".into()),
        }
        Ok(())
    }

    /// `NODE none`, `NODE at ADDRESS [seq N] [ipv4 ADDRESS|none] [lifetime TIME]`, `bindings N`,
    /// `sas N,N`, `counted NAME N`
    fn state(&self, step: &Step) -> Result<(), String> {
        let words: Vec<_> = step.words().collect();
        let got = match words[..] {
            ["bindings", _] => format!("bindings {}", self.ha.binding_count()),
            ["sas", _] => {
                let known = |spi: &&Spi| self.ha.sa(**spi).is_some();
                let mut known: Vec<_> =
                    self.home_of.keys().filter(known).map(|s| s.get()).collect();
                known.sort_unstable();
                let known: Vec<_> = known.iter().map(u32::to_string).collect();
                format!("sas {}", if known.is_empty() { "none".into() } else { known.join(",") })
            }
            ["counted", name, _] => {
                let refusal = Refusal::ALL.iter().find(|refusal| refusal.name() == name);
                let refusal = refusal.ok_or_else(|| format!("no refusal is called {name}"))?;
                format!("counted {name} {}", self.ha.counters().refused(*refusal))
            }
            [node, ref fields @ ..] => self.binding(node, fields)?,
            [] => return Err("no state".into()),
        };
        if got == step.text { Ok(()) } else { Err(format!("  is\n    {got}")) }
    }

    /// The fields of a binding that were asked for.
    fn binding(&self, name: &str, fields: &[&str]) -> Result<String, String> {
        let node = Node::named(name).ok_or("no such mobile node")?;
        let Some(binding) = self.ha.binding(node.home_address()) else {
            return Ok(format!("{name} none"));
        };
        let mut text = name.to_owned();
        for pair in fields.chunks(2) {
            let value = match pair[0] {
                "at" => binding.care_of.to_string(),
                "seq" => binding.sequence.to_string(),
                "under" => binding.spi.to_string(),
                "lifetime" => format!("{}s", binding.lifetime.as_secs()),
                "ipv4" => {
                    binding.ipv4_home_address.map_or_else(|| "none".to_owned(), |a| a.to_string())
                }
                "nat" => binding.nat.map_or("-", |nat| if nat { "yes" } else { "no" }).to_owned(),
                "none" => return Ok(format!("{name} bound at {}", binding.care_of)),
                other => return Err(format!("no binding has {other}")),
            };
            let _ = write!(text, " {} {value}", pair[0]);
        }
        Ok(text)
    }

    /// Compares what was done with what was expected, in order; notices only where one is named.
    fn compare(&mut self, expected: &[&Step]) -> Result<(), String> {
        let now = self.now;
        let named = |line: &Line| expected.iter().any(|step| step.text == line.text);
        let mut done = std::mem::take(&mut self.done);
        done.retain(|line| !line.is_notice() || named(line));
        let got: Vec<_> = done.iter().map(|line| said(line, now)).collect();
        let wanted: Vec<_> = expected.iter().map(|step| step.text.clone()).collect();
        if got != wanted {
            return Err(side_by_side(&wanted, &got));
        }
        for (step, line) in expected.iter().zip(&done) {
            let (Some(wanted), Some(got)) = (&step.octets, &line.octets) else { continue };
            if wanted != got {
                return Err(format!(
                    "  line {}: {}\n  expected octets {wanted}\n       got octets {got}",
                    step.line, step.text
                ));
            }
        }
        Ok(())
    }
}

/// The text of a line, its time in front where that is not now.
fn said(line: &Line, now: Timestamp) -> String {
    if line.at == now { line.text.clone() } else { format!("[{}] {}", line.at, line.text) }
}

/// What was expected and what came, the lines that differ marked.
fn side_by_side(wanted: &[String], got: &[String]) -> String {
    let mut text = String::new();
    for (title, lines, others) in [("expected", wanted, got), ("got", got, wanted)] {
        let _ = writeln!(text, "  {title}{}", if lines.is_empty() { " nothing" } else { "" });
        for (place, line) in lines.iter().enumerate() {
            let sign = if others.get(place) == Some(line) { "    " } else { " => " };
            let _ = writeln!(text, "  {sign}{line}");
        }
    }
    text
}

fn spi(step: &Step) -> Result<Spi, String> {
    let number = step.after("under").unwrap_or("1").parse().map_err(|_| "not an SPI")?;
    Spi::new(number).map_err(|_| "not an SPI".into())
}

/// A first Binding Update, behind its Home Address option.
fn first_update(node: Node, seq: u16, ipv4: bool) -> Vec<u8> {
    let home = node.home_address();
    let address = node.ipv4_home_address();
    let ipv4_hoa =
        ipv4.then_some(mh::Ipv4HomeAddress { prefix_len: 32, prefix_request: false, address });
    let update = Message::BindingUpdate(BindingUpdate {
        seq,
        flags: BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() },
        lifetime: 100,
        options: BuOptions { ipv4_hoa, ..BuOptions::default() },
    });
    let mut header = [0; 256];
    let len = mh::emit(&update, home, plan::HA, &mut header).unwrap();
    [&exthdr::home_address_header(mh::PROTO, home)[..], &header[..len]].concat()
}
