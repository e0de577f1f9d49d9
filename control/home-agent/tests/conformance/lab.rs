//! The harness: one home agent, a clock, and a mobile node that builds and reads packets.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use hearth_home_agent::{
    Action, Event, HomeAgent, Notice, Policy, Refusal, SaInfo, SignallingPacket, Timestamp, Tunnels,
};
use hearth_wire::directory::Services;
use hearth_wire::mh::{
    self, BaOptions, BindingError, BindingUpdate, BuFlags, BuOptions, Heartbeat, Ipv4HomeAddress,
    Message, RevocationFlags,
};
use hearth_wire::{MobileNodeId, Scope, Spi, Suite, exthdr};

pub(crate) const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x6618, 0, 0, 0, 0, 1);
pub(crate) const HA4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const HOA: Ipv6Addr = hoa(0xa);
pub(crate) const HOA4: Ipv4Addr = hoa4(130);
pub(crate) const OTHER_HOA: Ipv6Addr = hoa(0xb);
pub(crate) const OTHER_HOA4: Ipv4Addr = hoa4(131);
pub(crate) const COA: &str = "[2001:db8:1::c]:5000";
pub(crate) const COA2: &str = "[2001:db8:2::c]:5000";
pub(crate) const COA4: &str = "198.51.100.7:5000";

pub(crate) const fn hoa(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x6618, 0x100, 0, 0, 0, last)
}

pub(crate) const fn hoa4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

pub(crate) fn spi(value: u32) -> Spi {
    Spi::new(value).unwrap()
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The policy of the drawing.
pub(crate) fn policy() -> Policy {
    Policy {
        home_prefixes: vec![
            "2001:db8:6618:100::/64".parse().unwrap(),
            "203.0.113.128/25".parse().unwrap(),
        ],
        ha_addresses: vec![HA.into(), HA4.into()],
        ..Policy::default()
    }
}

/// The SA `number`, which is also its generation: of mobile node a, for an hour from the start.
pub(crate) fn sa(number: u32) -> SaInfo {
    SaInfo {
        spi: spi(number),
        mn_id: MobileNodeId::new("a@example.org").unwrap(),
        suite: Suite::Aes128CbcSha,
        scope: Scope::SignallingAndData,
        home_address: HOA,
        ipv4_home_address: Some(HOA4),
        ha_address: HA,
        validity_end: Timestamp::from_secs(3600),
        generation: u64::from(number),
        services: Services::default(),
    }
}

/// An SA of mobile node b.
pub(crate) fn other_sa(number: u32) -> SaInfo {
    SaInfo {
        mn_id: MobileNodeId::new("b@example.org").unwrap(),
        home_address: OTHER_HOA,
        ipv4_home_address: Some(OTHER_HOA4),
        ..sa(number)
    }
}

/// A Binding Update to be sent: from [`COA`] under SPI 1, flags A and H, 400 s, with a Home
/// Address option, unless said otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bu<'a> {
    pub(crate) spi: u32,
    pub(crate) from: &'a str,
    pub(crate) home_address: Option<Ipv6Addr>,
    pub(crate) update: BindingUpdate<'a>,
}

impl<'a> Bu<'a> {
    pub(crate) fn new(seq: u16) -> Self {
        let flags = BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() };
        let options = BuOptions::default();
        let update = BindingUpdate { seq, flags, lifetime: 100, options };
        Self { spi: 1, from: COA, home_address: Some(HOA), update }
    }

    pub(crate) fn lifetime(mut self, units: u16) -> Self {
        self.update.lifetime = units;
        self
    }

    pub(crate) fn spi(mut self, spi: u32) -> Self {
        self.spi = spi;
        self
    }

    pub(crate) fn from(mut self, from: &'a str) -> Self {
        self.from = from;
        self
    }

    pub(crate) fn home_address(mut self, home_address: Option<Ipv6Addr>) -> Self {
        self.home_address = home_address;
        self
    }

    pub(crate) fn flags(mut self, change: impl FnOnce(&mut BuFlags)) -> Self {
        change(&mut self.update.flags);
        self
    }

    pub(crate) fn options(mut self, change: impl FnOnce(&mut BuOptions<'a>)) -> Self {
        change(&mut self.update.options);
        self
    }

    pub(crate) fn alternate(self, coa: &str) -> Self {
        let coa = coa.parse().unwrap();
        self.options(|options| options.alternate_coa = Some(coa))
    }

    pub(crate) fn ipv4(self, address: Ipv4Addr) -> Self {
        self.ipv4_option(32, false, address)
    }

    pub(crate) fn ipv4_option(
        self,
        prefix_len: u8,
        prefix_request: bool,
        address: Ipv4Addr,
    ) -> Self {
        let option = Ipv4HomeAddress { prefix_len, prefix_request, address };
        self.options(|options| options.ipv4_hoa = Some(option))
    }
}

impl Bu<'_> {
    /// The Mobility Header.
    pub(crate) fn mobility_header(&self) -> Vec<u8> {
        let source = self.home_address.unwrap_or(HOA);
        mobility_header(&Message::BindingUpdate(self.update), source)
    }

    fn payload(&self) -> (u8, Vec<u8>) {
        let header = self.mobility_header();
        match self.home_address {
            Some(home) => (exthdr::DESTINATION_OPTIONS, with_home_address(&header, home)),
            None => (mh::PROTO, header),
        }
    }
}

/// A Mobility Header, checksum and all, as a mobile node sends it.
pub(crate) fn mobility_header(message: &Message<'_>, source: Ipv6Addr) -> Vec<u8> {
    let mut bytes = [0; 2048];
    let len = mh::emit(message, source, HA, &mut bytes).unwrap();
    bytes[..len].to_vec()
}

/// Puts the right checksum into a Mobility Header that a test has changed.
pub(crate) fn fix_checksum(bytes: &mut [u8], source: Ipv6Addr) {
    bytes[4..6].fill(0);
    let len = u32::try_from(bytes.len()).unwrap();
    let sum = hearth_wire::ip::pseudo_v6(source, HA, len, mh::PROTO).plus(bytes).finish();
    bytes[4..6].copy_from_slice(&sum.to_be_bytes());
}

/// A Mobility Header of any type and content, checksum valid.
pub(crate) fn raw_header(mh_type: u8, data: &[u8], source: Ipv6Addr) -> Vec<u8> {
    let mut bytes = vec![exthdr::NO_NEXT_HEADER, 0, mh_type, 0, 0, 0];
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes[1] = u8::try_from(bytes.len() / 8 - 1).unwrap();
    fix_checksum(&mut bytes, source);
    bytes
}

/// `mobility_header` behind a Home Address option.
pub(crate) fn with_home_address(mobility_header: &[u8], home_address: Ipv6Addr) -> Vec<u8> {
    [&exthdr::home_address_header(mh::PROTO, home_address)[..], mobility_header].concat()
}

/// A Binding Acknowledgement as the mobile node read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) status: u8,
    pub(crate) seq: u16,
    pub(crate) lifetime: u16,
    /// R (RFC 3963 s.4.2).
    pub(crate) mobile_router: bool,
    pub(crate) options: BaOptions<'static>,
}

/// A message from the home agent and how it travelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent<T> {
    pub(crate) spi: Spi,
    pub(crate) to: SocketAddr,
    pub(crate) from: SocketAddr,
    /// The address in the type 2 routing header.
    pub(crate) routing: Option<Ipv6Addr>,
    pub(crate) message: T,
}

/// A Binding Revocation Indication as the mobile node read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Indication {
    pub(crate) trigger: u8,
    pub(crate) seq: u16,
    pub(crate) flags: RevocationFlags,
    pub(crate) bids: Vec<u16>,
    pub(crate) ipv4: Option<Ipv4Addr>,
}

/// What one event brought about.
#[derive(Debug)]
pub(crate) struct Outcome(pub(crate) Vec<Action>);

impl Outcome {
    fn messages<T>(&self, pick: impl Fn(Message<'_>) -> Option<T>) -> Vec<Sent<T>> {
        let read = |action: &Action| {
            let Action::SendSignalling { spi, local, remote, next_header, payload } = action else {
                return None;
            };
            let chain = exthdr::parse_chain(*next_header, payload).unwrap();
            assert_eq!(chain.home_address, None);
            // The home address of the SA, where no routing header names it.
            let destination = chain.routing_home_address.unwrap_or(HOA);
            let message = mh::parse(chain.mobility_header, HA, destination).unwrap();
            pick(message).map(|message| Sent {
                spi: *spi,
                to: *remote,
                from: *local,
                routing: chain.routing_home_address,
                message,
            })
        };
        self.0.iter().filter_map(read).collect()
    }

    /// The one Binding Acknowledgement.
    pub(crate) fn ack(&self) -> Sent<Ack> {
        let acks = self.messages(|message| match message {
            Message::BindingAck(ack) => {
                assert!(!ack.key_management, "R-37");
                assert_eq!(ack.options.mn_id, None);
                let options = BaOptions {
                    refresh_advice: ack.options.refresh_advice,
                    mn_id: None,
                    ipv4_ack: ack.options.ipv4_ack,
                    nat_detection: ack.options.nat_detection,
                    ..BaOptions::default()
                };
                let (status, seq, lifetime) = (ack.status.0, ack.seq, ack.lifetime);
                Some(Ack { status, seq, lifetime, mobile_router: ack.mobile_router, options })
            }
            _ => None,
        });
        assert_eq!(acks.len(), 1, "{:?}", self.0);
        acks[0]
    }

    /// Binding ID and status of each Binding Identifier option of the one Binding
    /// Acknowledgement, and the message's own status.
    pub(crate) fn bids(&self) -> (u8, Vec<(u16, u8)>) {
        let bid = |bid: Result<mh::Bid, _>| bid.map(|bid| (bid.id, bid.status.0)).unwrap();
        let mut acks = self.messages(|message| match message {
            Message::BindingAck(ack) => {
                Some((ack.status.0, ack.options.bids.iter().map(bid).collect()))
            }
            _ => None,
        });
        assert_eq!(acks.len(), 1, "{:?}", self.0);
        acks.remove(0).message
    }

    /// Flow Identifier and status of each Flow Identification option of the one Binding
    /// Acknowledgement, which accepts.
    pub(crate) fn flows(&self) -> Vec<(u16, u8)> {
        let flow =
            |flow: Result<mh::Flow<'_>, _>| flow.map(|flow| (flow.id, flow.status.0)).unwrap();
        let mut acks = self.messages(|message| match message {
            Message::BindingAck(ack) => {
                assert!(ack.status.is_accepted(), "{ack:?}");
                Some(ack.options.flows.iter().map(flow).collect::<Vec<_>>())
            }
            _ => None,
        });
        assert_eq!(acks.len(), 1, "{:?}", self.0);
        acks.remove(0).message
    }

    /// Status, sequence number and lifetime of the one Binding Acknowledgement.
    pub(crate) fn answer(&self) -> (u8, u16, u16) {
        let ack = self.ack().message;
        (ack.status, ack.seq, ack.lifetime)
    }

    pub(crate) fn status(&self) -> u8 {
        self.ack().message.status
    }

    pub(crate) fn errors(&self) -> Vec<Sent<BindingError>> {
        self.messages(|message| match message {
            Message::BindingError(error) => Some(error),
            _ => None,
        })
    }

    pub(crate) fn refresh_requests(&self) -> Vec<Sent<()>> {
        self.messages(|message| {
            matches!(message, Message::BindingRefreshRequest { .. }).then_some(())
        })
    }

    pub(crate) fn revocations(&self) -> Vec<Sent<Indication>> {
        self.messages(|message| match message {
            Message::Revocation(it) => Some(Indication {
                trigger: it.trigger,
                seq: it.seq,
                flags: it.flags,
                bids: it.bids.iter().map(|bid| bid.unwrap().id).collect(),
                ipv4: it.ipv4_hoa.map(|option| option.address),
            }),
            _ => None,
        })
    }

    /// Home agents named, and the time that is left in units of 4 s.
    pub(crate) fn switches(&self) -> Vec<Sent<(Vec<Ipv6Addr>, Option<u16>)>> {
        self.messages(|message| match message {
            Message::HomeAgentSwitch(it) => {
                Some((it.addresses.iter().collect(), it.refresh_advice))
            }
            _ => None,
        })
    }

    pub(crate) fn heartbeats(&self) -> Vec<Sent<Heartbeat>> {
        self.messages(|message| match message {
            Message::Heartbeat(heartbeat) => Some(heartbeat),
            _ => None,
        })
    }

    /// The one refusal without an answer.
    pub(crate) fn refusal(&self) -> Refusal {
        assert!(self.messages(|_| Some(())).is_empty(), "{:?}", self.0);
        self.counted()
    }

    /// The one refusal.
    pub(crate) fn counted(&self) -> Refusal {
        let counted = self.0.iter().filter_map(|action| match action {
            Action::Count(refusal) => Some(*refusal),
            _ => None,
        });
        let counted: Vec<_> = counted.collect();
        assert_eq!(counted.len(), 1, "{:?}", self.0);
        counted[0]
    }

    pub(crate) fn binds(&self) -> Vec<&Tunnels> {
        let mut binds = Vec::new();
        for action in &self.0 {
            if let Action::Bind(tunnels) = action {
                binds.push(&**tunnels);
            }
        }
        binds
    }

    /// The one binding that the dataplane was told.
    pub(crate) fn bind(&self) -> &Tunnels {
        let [bind] = self.binds()[..] else { panic!("{:?}", self.0) };
        bind
    }

    pub(crate) fn unbinds(&self) -> Vec<Ipv6Addr> {
        let unbind = |action: &Action| match action {
            Action::Unbind { home_address } => Some(*home_address),
            _ => None,
        };
        self.0.iter().filter_map(unbind).collect()
    }

    pub(crate) fn removed_sas(&self) -> Vec<u32> {
        let removed = |action: &Action| match action {
            Action::RemoveSa(spi) => Some(spi.get()),
            _ => None,
        };
        self.0.iter().filter_map(removed).collect()
    }

    pub(crate) fn notices(&self) -> Vec<&Notice> {
        let notice = |action: &'_ Action| matches!(action, Action::Notice(_));
        self.0
            .iter()
            .filter(|action| notice(action))
            .map(|action| match action {
                Action::Notice(notice) => notice,
                _ => unreachable!(),
            })
            .collect()
    }
}

/// The home agent under test, with SA 1 of mobile node a.
pub(crate) struct Lab {
    pub(crate) ha: HomeAgent,
    pub(crate) now: Timestamp,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(policy())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        let mut lab = Self { ha: HomeAgent::new(policy), now: Timestamp::ZERO };
        lab.issue(sa(1));
        lab
    }

    /// With a binding of mobile node a, sequence number 15.
    pub(crate) fn registered() -> Self {
        let mut lab = Self::new();
        assert_eq!(lab.bu(Bu::new(15)).answer(), (0, 15, 100));
        lab
    }

    pub(crate) fn event(&mut self, event: Event<'_>) -> Outcome {
        let mut actions = Vec::new();
        self.ha.handle(self.now, event, &mut actions);
        Outcome(actions)
    }

    pub(crate) fn issue(&mut self, info: SaInfo) -> Outcome {
        self.event(Event::SaIssued(info))
    }

    /// Lets time pass, calling the home agent when it wants to be called and not otherwise.
    pub(crate) fn wait(&mut self, time: Duration) -> Outcome {
        let end = self.now.after(time);
        let mut actions = Vec::new();
        while let Some(deadline) = self.ha.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.ha.handle(self.now, Event::Tick, &mut actions);
        }
        self.now = end;
        Outcome(actions)
    }

    pub(crate) fn packet(
        &mut self,
        spi: u32,
        from: &str,
        next_header: u8,
        payload: &[u8],
    ) -> Outcome {
        let local = if addr(from).is_ipv4() { (HA4, 7872).into() } else { (HA, 7872).into() };
        self.packet_to(local, spi, from, next_header, payload)
    }

    fn packet_to(
        &mut self,
        local: SocketAddr,
        spi: u32,
        from: &str,
        next_header: u8,
        payload: &[u8],
    ) -> Outcome {
        let (spi, remote) = (Spi::new(spi).unwrap(), addr(from));
        self.event(Event::Signalling(SignallingPacket { spi, remote, local, next_header, payload }))
    }

    pub(crate) fn bu(&mut self, bu: Bu<'_>) -> Outcome {
        let (next_header, payload) = bu.payload();
        self.packet(bu.spi, bu.from, next_header, &payload)
    }

    /// Several, and what came of them in one list.
    pub(crate) fn bus(&mut self, bus: &[Bu<'_>]) -> Outcome {
        let mut actions = Vec::new();
        for bu in bus {
            let (next_header, payload) = bu.payload();
            let (spi, remote, local) = (spi(bu.spi), addr(bu.from), (HA, 7872).into());
            let payload = &payload[..];
            let packet = SignallingPacket { spi, remote, local, next_header, payload };
            self.ha.handle(self.now, Event::Signalling(packet), &mut actions);
        }
        Outcome(actions)
    }

    pub(crate) fn bu_to(&mut self, local: &str, bu: Bu<'_>) -> Outcome {
        let (next_header, payload) = bu.payload();
        self.packet_to(addr(local), bu.spi, bu.from, next_header, &payload)
    }

    /// A Mobility Header behind a Home Address option, from [`COA`] under SPI 1.
    pub(crate) fn header(&mut self, mobility_header: &[u8]) -> Outcome {
        let payload = with_home_address(mobility_header, HOA);
        self.packet(1, COA, exthdr::DESTINATION_OPTIONS, &payload)
    }

    /// A message under another SA, from [`COA`].
    pub(crate) fn header_of(&mut self, spi: u32, home: Ipv6Addr, message: &Message<'_>) -> Outcome {
        let payload = with_home_address(&mobility_header(message, home), home);
        self.packet(spi, COA, exthdr::DESTINATION_OPTIONS, &payload)
    }

    /// Care-of address and sequence number of mobile node a's binding.
    pub(crate) fn binding(&self) -> Option<(SocketAddr, u16)> {
        self.ha.binding(HOA).map(|binding| (binding.care_of, binding.sequence))
    }
}
