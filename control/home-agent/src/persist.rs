//! What outlives a restart: handed out when it has changed, and taken in again at the start.
//!
//! Read first: readings.
//!
//! The home agent keeps no copy of what was written: [`HomeAgent::changes`] gives what is so now of
//! everything that was touched, [`HomeAgent::rewrite`] walks over all of it in parts. Times are
//! [`Timestamp`]s as they stand, so the caller's line of time has to go on across restarts.
//!
//! Not kept: what the directory replays, allowances, and Binding Refresh Requests under way.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_wire::Spi;
use hearth_wire::mh::TrafficSelector;
use ipnet::IpNet;

use crate::HomeAgent;
use crate::binding::{Binding, More, State};
use crate::endpoint::Endpoint;
use crate::event::{Action, SaInfo};
use crate::flows::FlowBinding;
use crate::mcoa::CareOfAddress;
use crate::policy::LIFETIME_UNIT;
use crate::refresh::first_look;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::view::{Reinit, SaState};
use crate::wheel::TimerId;

/// What is to be kept, or not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// An SA is as said; the keys are the caller's to add.
    Sa {
        /// What the directory said of it.
        info: &'a SaInfo,
        /// What became of it here.
        life: SaLife,
    },
    /// There is no such SA any more.
    SaGone {
        /// Its SPI.
        spi: Spi,
        /// Number of the issue: SPIs come back.
        generation: u64,
    },
    /// A binding, or what is held of one that was de-registered.
    Binding {
        /// Its key.
        home_address: Ipv6Addr,
        /// The SA that it is under.
        spi: Spi,
        /// It has ended: whoever is told so must not hear of it again after a power cut, so the
        /// answer waits until this is durable.
        ended: bool,
        /// The rest, for [`HomeAgent::restore_binding`].
        octets: &'a [u8],
    },
    /// Nothing is known of this home address any more.
    BindingGone {
        /// The home address.
        home_address: Ipv6Addr,
    },
}

/// What has become of an SA here since it was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaLife {
    /// Where it is in its life.
    pub state: SaState,
    /// Why it is to be replaced, apart from its age.
    pub wanted: Option<Reinit>,
    /// When it came: its last tenth is counted from here.
    pub learned: Timestamp,
    /// When it ends: its validity, or its grace time.
    pub ends: Timestamp,
}

/// Octets of an [`SaLife`].
pub const SA_LIFE_LEN: usize = 18;

impl SaLife {
    /// As octets.
    #[must_use]
    pub fn to_octets(self) -> [u8; SA_LIFE_LEN] {
        let state = match self.state {
            SaState::Unused => 0,
            SaState::Used => 1,
            SaState::Superseded => 2,
        };
        let wanted = match self.wanted {
            None => 0,
            Some(Reinit::Validity) => 1,
            Some(Reinit::SequenceLimit) => 2,
            Some(Reinit::Operator) => 3,
        };
        let mut octets = [0; SA_LIFE_LEN];
        octets[..2].copy_from_slice(&[state, wanted]);
        octets[2..10].copy_from_slice(&self.learned.as_millis().to_be_bytes());
        octets[10..].copy_from_slice(&self.ends.as_millis().to_be_bytes());
        octets
    }

    /// From octets; `None` where they say nothing that [`Self::to_octets`] says.
    #[must_use]
    pub fn from_octets(octets: &[u8; SA_LIFE_LEN]) -> Option<Self> {
        let mut fields = Fields(octets);
        let [state, wanted] = fields.array()?;
        Some(Self {
            state: match state {
                0 => SaState::Unused,
                1 => SaState::Used,
                2 => SaState::Superseded,
                _ => return None,
            },
            wanted: match wanted {
                0 => None,
                1 => Some(Reinit::Validity),
                2 => Some(Reinit::SequenceLimit),
                3 => Some(Reinit::Operator),
                _ => return None,
            },
            learned: fields.timestamp()?,
            ends: fields.timestamp()?,
        })
    }
}

/// How far a walk by [`HomeAgent::rewrite`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    sas: usize,
    bindings: usize,
}

/// Why something is not taken in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotRestored {
    /// Its time is over.
    Ended,
    /// It is there already, or there is no room for it.
    NoPlace,
    /// The SA that it was under is not there.
    NoSa,
    /// The octets are none that this version writes.
    Malformed,
}

impl core::fmt::Display for NotRestored {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Ended => "its time is over",
            Self::NoPlace => "there is no place for it",
            Self::NoSa => "its SA is gone",
            Self::Malformed => "the record is malformed",
        })
    }
}

impl std::error::Error for NotRestored {}

impl HomeAgent {
    /// Notes from now on what changes, for [`Self::changes`]. To be called when what was kept has
    /// been taken in again.
    pub fn keep_changes(&mut self) {
        self.sas.touched.keep();
        self.cache.touched.keep();
    }

    /// Hands out what has changed since the last time, in an order in which it may be written.
    pub fn changes(&mut self, mut each: impl FnMut(Change<'_>)) {
        let mut sas = core::mem::take(&mut self.sas.touched);
        let mut bindings = core::mem::take(&mut self.cache.touched);
        let mut ids = Vec::new();
        sas.take(|(spi, generation)| each(Change::SaGone { spi, generation }), |id| ids.push(id));
        ids.into_iter().for_each(|id| self.hand_out_sa(id, &mut each));
        let mut ids = Vec::new();
        bindings.take(|home_address| each(Change::BindingGone { home_address }), |id| ids.push(id));
        let mut octets = Vec::new();
        ids.into_iter().for_each(|id| self.hand_out_binding(id, &mut octets, &mut each));
        (self.sas.touched, self.cache.touched) = (sas, bindings);
    }

    /// Hands out everything that is to be kept, some `most` records at a time; `None` when it has
    /// come round. What changes meanwhile is [`Self::changes`]' to tell.
    pub fn rewrite(
        &self,
        from: Cursor,
        most: usize,
        mut each: impl FnMut(Change<'_>),
    ) -> Option<Cursor> {
        let mut octets = Vec::new();
        let Cursor { sas, bindings } = from;
        let to = sas.saturating_add(most).min(self.sas.places());
        for id in (sas..to).filter_map(Id::from_index) {
            self.hand_out_sa(id, &mut each);
        }
        if sas < to {
            return Some(Cursor { sas: to, bindings });
        }
        let to = bindings.saturating_add(most).min(self.cache.places());
        for id in (bindings..to).filter_map(Id::from_index) {
            self.hand_out_binding(id, &mut octets, &mut each);
        }
        (bindings < to).then_some(Cursor { sas, bindings: to })
    }

    fn hand_out_sa(&self, id: Id<Sa>, each: &mut impl FnMut(Change<'_>)) {
        let Some(sa) = self.sas.at(id) else { return };
        let Some(info) = self.info_of(sa) else { return };
        let Sa { state, wanted, learned, ends, .. } = *sa;
        each(Change::Sa { info: &info, life: SaLife { state, wanted, learned, ends } });
    }

    fn hand_out_binding(
        &self,
        id: Id<Binding>,
        octets: &mut Vec<u8>,
        each: &mut impl FnMut(Change<'_>),
    ) {
        let Some(binding) = self.cache.at(id) else { return };
        let Some(sa) = self.sas.at(binding.sa) else { return };
        octets.clear();
        let link_local = self.defended(binding).is_some_and(|on| on.link_local.is_some());
        write((binding, link_local), sa, octets);
        let (home_address, ended) = (binding.home_address, !binding.is_bound());
        each(Change::Binding { home_address, spi: sa.spi, ended, octets });
    }

    /// What the directory said of an SA.
    fn info_of(&self, sa: &Sa) -> Option<SaInfo> {
        Some(SaInfo {
            spi: sa.spi,
            mn_id: self.sas.mn_id(sa.node)?.clone(),
            suite: sa.suite,
            scope: sa.scope,
            home_address: sa.home_address,
            ipv4_home_address: sa.ipv4_home_address,
            ha_address: self.sas.ha_address(sa),
            validity_end: sa.validity_end,
            generation: sa.generation,
            services: self.sas.services(sa.node).cloned().unwrap_or_default(),
        })
    }

    /// Takes an SA in again, before any event and before any binding. Its keys are the caller's to
    /// install.
    ///
    /// # Errors
    /// [`NotRestored::Ended`], [`NotRestored::NoPlace`].
    pub fn restore_sa(
        &mut self,
        now: Timestamp,
        info: &SaInfo,
        life: SaLife,
    ) -> Result<(), NotRestored> {
        let now = self.advance(now);
        // The wheel's time comes along, so that no timer has to come down all of it.
        let _none = self.wheel.pop(now, &mut 0);
        let ends = life.ends.min(info.validity_end);
        if ends <= now {
            return Err(NotRestored::Ended);
        }
        if self.sas.find(info.spi).is_some() {
            return Err(NotRestored::NoPlace);
        }
        let ha_address = self.sas.number_ha_address(info.ha_address);
        let ha_address = ha_address.ok_or(NotRestored::NoPlace)?;
        let node = self.sas.nodes.find_or_add(&info.mn_id).ok_or(NotRestored::NoPlace)?;
        let id = self.sas.insert(Sa {
            spi: info.spi,
            node,
            next: None,
            binding: None,
            watch: self.sas.watch,
            suite: info.suite,
            scope: info.scope,
            state: life.state,
            wanted: life.wanted,
            home_address: info.home_address,
            ha_address,
            ipv4_home_address: info.ipv4_home_address,
            generation: info.generation,
            learned: life.learned,
            validity_end: info.validity_end,
            ends,
            timer: TimerId::NONE,
        });
        let id = id.ok_or(NotRestored::NoPlace)?;
        let timer = self.wheel.set(ends, Timer::SaEnd(id).into());
        if let Some(sa) = self.sas.fleeting_mut(id) {
            sa.timer = timer;
        }
        self.sas.set_services(node, info);
        // what was superseded stays so, whether or not the newer one is still there.
        let used = match life.state {
            SaState::Unused => None,
            SaState::Used => Some(info.generation),
            SaState::Superseded => info.generation.checked_add(1),
        };
        if let Some(node) = self.sas.nodes.get_mut(node) {
            node.set_used_generation(node.used_generation().max(used));
        }
        Ok(())
    }

    /// Takes a binding in again, when all SAs are there; says in `out` what the dataplane has to
    /// know. It ends when it would have ended, and never later than its lifetime from now.
    ///
    /// # Errors
    /// [`NotRestored`].
    pub fn restore_binding(
        &mut self,
        now: Timestamp,
        home_address: Ipv6Addr,
        octets: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), NotRestored> {
        let now = self.advance(now);
        let (spi, generation, mut kept) = Kept::read(octets).ok_or(NotRestored::Malformed)?;
        let id = self.sas.find(spi).ok_or(NotRestored::NoSa)?;
        let sa = self.sas.at(id).ok_or(NotRestored::NoSa)?;
        if sa.generation != generation || sa.home_address != home_address {
            return Err(NotRestored::NoSa);
        }
        let most = match kept.state {
            State::Bound => LIFETIME_UNIT * u32::from(kept.most_units()),
            State::Held => self.policy.deregistration_hold,
        };
        let mut expires = kept.expires.min(now.after(most));
        if kept.state == State::Bound {
            expires = expires.min(sa.ends).min(self.prefix_end(now, home_address));
        }
        if expires <= now || !kept.settle_care_of(now) {
            return Err(NotRestored::Ended);
        }
        let full = kept.state == State::Bound && self.cache.live() >= self.policy.max_bindings;
        let taken = kept.ipv4_home_address.is_some_and(|v4| self.cache.holder_of(v4).is_some());
        let prefixes = kept.more.prefixes.iter();
        let overlapping =
            |prefix: &IpNet| self.cache.prefixes.overlapping(*prefix).next().is_some();
        let taken = taken || prefixes.copied().any(|prefix| overlapping(&prefix));
        if full || taken || self.cache.find(home_address).is_some() {
            return Err(NotRestored::NoPlace);
        }
        let link_local = kept.link_local;
        let binding = kept.binding(home_address, sa, id, expires);
        let look = first_look(&self.policy, &binding);
        let entry = self.cache.insert(binding).ok_or(NotRestored::NoPlace)?;
        let timer = self.wheel.set(look, Timer::BindingEnd(entry).into());
        if let Some(binding) = self.cache.fleeting_mut(entry) {
            binding.timer = timer;
        }
        if let Some(sa) = self.sas.fleeting_mut(id) {
            sa.binding = Some(entry);
        }
        if link_local {
            self.links.hold_link_local(home_address);
        }
        self.rebind(home_address, out);
        Ok(())
    }
}

/// The version of a binding's octets.
const VERSION: u8 = 1;

/// What is kept of a binding besides its home address and its SA.
struct Kept {
    state: State,
    nat: Option<bool>,
    reinit_sent: bool,
    /// The link-local address of the same interface identifier is defended as well.
    link_local: bool,
    sequence: u16,
    units: u16,
    care_of: Endpoint,
    signalling: Endpoint,
    local: Endpoint,
    registered: Timestamp,
    expires: Timestamp,
    ipv4_home_address: Option<Ipv4Addr>,
    more: More,
}

/// Fields that not every binding has: a tag, an octet of length, the value.
mod tag {
    pub(super) const IPV4_HOME_ADDRESS: u8 = 1;
    /// Without a value.
    pub(super) const MOBILE_ROUTER: u8 = 2;
    /// Prefix length, then the 4 or 16 octets of an address.
    pub(super) const PREFIX: u8 = 3;
    /// One of several care-of addresses.
    pub(super) const CARE_OF: u8 = 4;
    /// Flow Identifier, FID-PRI, how many Binding IDs, those, and a traffic selector as in its
    /// sub-option (RFC 6089 s.4.2.1.4).
    pub(super) const FLOW: u8 = 5;
}

fn write((binding, link_local): (&Binding, bool), sa: &Sa, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.extend_from_slice(&sa.spi.get().to_be_bytes());
    out.extend_from_slice(&sa.generation.to_be_bytes());
    let nat = nat_octet(binding.nat);
    let held = u8::from(binding.state == State::Held);
    let (reinit, link_local) = (u8::from(binding.reinit_sent), u8::from(link_local));
    out.push(held | nat << 1 | reinit << 3 | link_local << 4);
    out.extend_from_slice(&binding.sequence.to_be_bytes());
    out.extend_from_slice(&binding.units.to_be_bytes());
    for endpoint in [binding.care_of, binding.signalling, binding.local] {
        out.extend_from_slice(&endpoint.to_octets());
    }
    for time in [binding.registered, binding.expires] {
        out.extend_from_slice(&time.as_millis().to_be_bytes());
    }
    if let Some(ipv4) = binding.ipv4_home_address {
        out.extend_from_slice(&[tag::IPV4_HOME_ADDRESS, 4]);
        out.extend_from_slice(&ipv4.octets());
    }
    if binding.is_mobile_router() {
        out.extend_from_slice(&[tag::MOBILE_ROUTER, 0]);
    }
    for prefix in binding.prefixes() {
        match prefix {
            IpNet::V4(v4) => {
                out.extend_from_slice(&[tag::PREFIX, 5, v4.prefix_len()]);
                out.extend_from_slice(&v4.addr().octets());
            }
            IpNet::V6(v6) => {
                out.extend_from_slice(&[tag::PREFIX, 17, v6.prefix_len()]);
                out.extend_from_slice(&v6.addr().octets());
            }
        }
    }
    for care_of in binding.care_of_addresses() {
        out.extend_from_slice(&[tag::CARE_OF, CARE_OF_LEN]);
        out.extend_from_slice(&care_of.bid.to_be_bytes());
        out.extend_from_slice(&[care_of.priority, nat_octet(care_of.nat)]);
        out.extend_from_slice(&care_of.units.to_be_bytes());
        out.extend_from_slice(&care_of.address.to_octets());
        out.extend_from_slice(&care_of.local.to_octets());
        out.extend_from_slice(&care_of.expires.as_millis().to_be_bytes());
    }
    for flow in binding.flows() {
        let mut value = [flow.id.to_be_bytes(), flow.priority.to_be_bytes()].concat();
        value.extend(u8::try_from(flow.bids.len()));
        value.extend(flow.bids.iter().flat_map(|bid| bid.to_be_bytes()));
        let mut selector = [0; 128];
        let written = flow.selector.write(&mut selector).and_then(|len| selector.get(..len));
        value.extend_from_slice(written.unwrap_or_default());
        if let Ok(len) = u8::try_from(value.len()) {
            out.extend_from_slice(&[tag::FLOW, len]);
            out.extend_from_slice(&value);
        }
    }
}

impl Kept {
    fn read(octets: &[u8]) -> Option<(Spi, u64, Self)> {
        let mut fields = Fields(octets);
        if fields.array::<1>()? != [VERSION] {
            return None;
        }
        let spi = Spi::new(u32::from_be_bytes(fields.array()?)).ok()?;
        let generation = u64::from_be_bytes(fields.array()?);
        let [flags] = fields.array()?;
        let mut kept = Self {
            state: if flags & 1 == 0 { State::Bound } else { State::Held },
            nat: nat_of(flags >> 1 & 3)?,
            reinit_sent: flags & 8 != 0,
            link_local: flags & 16 != 0,
            sequence: u16::from_be_bytes(fields.array()?),
            units: u16::from_be_bytes(fields.array()?),
            care_of: Endpoint::from_octets(fields.array()?),
            signalling: Endpoint::from_octets(fields.array()?),
            local: Endpoint::from_octets(fields.array()?),
            registered: fields.timestamp()?,
            expires: fields.timestamp()?,
            ipv4_home_address: None,
            more: More::default(),
        };
        while let Some((tag, mut value)) = fields.tagged()? {
            match tag {
                tag::IPV4_HOME_ADDRESS => kept.ipv4_home_address = Some(value.array::<4>()?.into()),
                tag::MOBILE_ROUTER => kept.more.mobile_router = true,
                tag::PREFIX => kept.more.prefixes.push(value.prefix()?),
                tag::CARE_OF => kept.more.care_of.push(value.care_of()?),
                tag::FLOW => kept.more.flows.push(value.flow()?),
                _ => return None,
            }
            value.end()?;
        }
        Some((spi, generation, kept))
    }

    /// The longest lifetime that was granted, in units of 4 s.
    fn most_units(&self) -> u16 {
        let of_several = self.more.care_of.iter().map(|care_of| care_of.units).max();
        of_several.unwrap_or(self.units)
    }

    /// Lets go of those of several care-of addresses that have ended; whether one is left.
    fn settle_care_of(&mut self, now: Timestamp) -> bool {
        let several = !self.more.care_of.is_empty();
        self.more.care_of.retain(|care_of| care_of.expires > now);
        if let Some(first) = self.more.care_of.first() {
            self.care_of = first.address;
        }
        !several || !self.more.care_of.is_empty()
    }

    fn binding(self, home_address: Ipv6Addr, sa: &Sa, id: Id<Sa>, expires: Timestamp) -> Binding {
        Binding {
            home_address,
            node: sa.node,
            sa: id,
            ipv4_home_address: self.ipv4_home_address,
            state: self.state,
            nat: self.nat,
            reinit_sent: self.reinit_sent,
            sequence: self.sequence,
            units: self.units,
            care_of: self.care_of,
            signalling: self.signalling,
            local: self.local,
            registered: self.registered,
            expires,
            timer: TimerId::NONE,
            more: self.more.boxed(),
        }
    }
}

/// Octets of one of several care-of addresses.
const CARE_OF_LEN: u8 = 50;

const fn nat_octet(nat: Option<bool>) -> u8 {
    match nat {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    }
}

/// What [`nat_octet`] was given.
const fn nat_of(octet: u8) -> Option<Option<bool>> {
    match octet {
        0 => Some(None),
        1 => Some(Some(false)),
        2 => Some(Some(true)),
        _ => None,
    }
}

/// Octets that are left to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn timestamp(&mut self) -> Option<Timestamp> {
        self.array().map(u64::from_be_bytes).map(Timestamp::from_millis)
    }

    fn prefix(&mut self) -> Option<IpNet> {
        let [length] = self.array()?;
        let address: IpAddr = match self.0.len() {
            4 => self.array::<4>()?.into(),
            _ => self.array::<16>()?.into(),
        };
        IpNet::new(address, length).ok().filter(|prefix| prefix.trunc() == *prefix)
    }

    fn care_of(&mut self) -> Option<CareOfAddress> {
        let bid = u16::from_be_bytes(self.array()?);
        let [priority, nat] = self.array()?;
        Some(CareOfAddress {
            bid,
            priority,
            nat: nat_of(nat)?,
            units: u16::from_be_bytes(self.array()?),
            address: Endpoint::from_octets(self.array()?),
            local: Endpoint::from_octets(self.array()?),
            expires: self.timestamp()?,
        })
    }

    fn flow(&mut self) -> Option<FlowBinding> {
        let id = u16::from_be_bytes(self.array()?);
        let priority = u16::from_be_bytes(self.array()?);
        let [count] = self.array()?;
        let mut bids = Vec::new();
        for _ in 0..count {
            bids.push(u16::from_be_bytes(self.array()?));
        }
        let [format, _] = self.array()?;
        let selector = TrafficSelector::parse(format, core::mem::take(&mut self.0))?;
        Some(FlowBinding { id, priority, selector, bids: bids.into() })
    }

    /// The next field with a tag, `Some(None)` at the end.
    fn tagged(&mut self) -> Option<Option<(u8, Fields<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let [tag, length] = self.array()?;
        let (value, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(Some((tag, Fields(value))))
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
