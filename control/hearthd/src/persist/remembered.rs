//! What a start finds in the log.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::mpsc::SyncSender;

use hearth_home_agent::SaLife;
use hearth_store::{Kind, OpenError, Recovered, Room};
use hearth_wire::Spi;
use hearth_wire::directory::{SaRecord, Update, decode_update};
use rustc_hash::{FxBuildHasher, FxHashMap};
use tracing::{error, warn};

use super::FIRST_GRANT;
use super::records::{
    GRANT, INBOUND, Numbers, SA_HEAD, SA_VERSION, WITHOUT_KEYS, read_grant, read_inbound, sa_name,
};

pub(super) const STARTS: &[u8] = b"starts";
pub(super) const LOSSES: &[u8] = b"losses";
pub(super) const BOOT: &[u8] = b"boot";
pub(super) const HIGHEST: &[u8] = b"spi";
pub(super) const EPOCH: &[u8] = b"epoch";
pub(super) const CLEAN: &[u8] = b"clean";

/// What was found at the start.
pub struct Remembered {
    pub(super) recovered: Recovered,
    pub(super) grants: FxHashMap<(Spi, u64), (u16, u32)>,
    pub(super) inbound: FxHashMap<(Spi, u64), Numbers>,
    pub(super) starts: u32,
    pub(super) losses: u32,
    /// The highest SPI that was ever installed, where nothing was lost since: what the HAC issued
    /// beyond it while nobody was there is new.
    pub highest_spi: Option<u32>,
}

/// An SA as it was kept.
pub(crate) struct SaLifted {
    pub(crate) record: Box<SaRecord>,
    pub(crate) life: SaLife,
    /// Whether its keys are the directory's to say.
    pub(crate) without_keys: bool,
    pub(super) numbers: Numbers,
}

/// Records that are handed over at a time: keys are expanded on all cores.
const PART: usize = 8192;

/// Some of what was kept, as [`Remembered::hand_over`] gives it.
pub(crate) enum Part {
    Sas(Vec<SaLifted>),
    Bindings(Bindings),
}

/// Some bindings.
#[derive(Default)]
pub(crate) struct Bindings {
    /// Home addresses, and where in `octets` the binding of each ends.
    ends: Vec<(Ipv6Addr, usize)>,
    octets: Vec<u8>,
}

impl Bindings {
    fn push(&mut self, home_address: Ipv6Addr, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
        self.ends.push((home_address, self.octets.len()));
    }

    /// Home address and octets of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ipv6Addr, &[u8])> {
        let begins = core::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let of = |(begin, (home, end)): (usize, &(Ipv6Addr, usize))| {
            (*home, self.octets.get(begin..*end).unwrap_or_default())
        };
        begins.zip(&self.ends).map(of)
    }
}

/// What the log says besides SAs and bindings; and the epoch of the last start.
pub(super) fn remember(recovered: Recovered) -> Result<(Remembered, Option<u32>), OpenError> {
    let room = |kind| usize::try_from(recovered.live.count(kind)).unwrap_or(0);
    let mut grants = FxHashMap::with_capacity_and_hasher(room(Kind::Grant), FxBuildHasher);
    let mut inbound = FxHashMap::with_capacity_and_hasher(room(Kind::Inbound), FxBuildHasher);
    let mut names: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut room = Room::default();
    for batch in recovered.live.batches() {
        batch.read(&mut room, |record| match record.kind {
            Kind::Grant => grants.extend(sa_name(record.key).zip(read_grant(record.value))),
            Kind::Inbound => inbound.extend(sa_name(record.key).zip(read_inbound(record.value))),
            Kind::HomeAgent => _ = names.insert(record.key.into(), record.value.into()),
            Kind::Sa | Kind::Binding => {}
        })?;
    }
    let number = |name: &[u8]| {
        let octets = names.get(name)?.as_slice().try_into().ok()?;
        Some(u32::from_be_bytes(octets))
    };
    let starts = number(STARTS).unwrap_or(0).saturating_add(1);
    // Within one boot, what was written is there, whether or not the disk had it.
    let same_boot = boot().is_some_and(|boot| names.get(BOOT) == Some(&boot));
    let whole = recovered.lost.is_none() && (same_boot || names.contains_key(CLEAN));
    let losses = number(LOSSES).unwrap_or(0).saturating_add(u32::from(!whole));
    let (highest_spi, epoch) = (number(HIGHEST).filter(|_| whole), number(EPOCH));
    Ok((Remembered { recovered, grants, inbound, starts, losses, highest_spi }, epoch))
}

impl Remembered {
    /// Hands out the SAs. Where the disk has lost what it had taken, none: they may have used
    /// numbers beyond what the log says.
    pub(crate) fn sas(&self, mut each: impl FnMut(SaLifted)) {
        if self.is_damaged() {
            return;
        }
        self.read(Kind::Sa, |key, value| {
            match sa_name(key).and_then(|name| self.lifted(name, value)) {
                Some(sa) => each(sa),
                None => error!("a record of an SA can't be read; its mobile node has to come anew"),
            }
        });
    }

    /// Hands out the bindings: home address, octets.
    fn bindings(&self, mut each: impl FnMut(Ipv6Addr, &[u8])) {
        if self.is_damaged() {
            return;
        }
        self.read(Kind::Binding, |key, value| {
            if let Ok(home_address) = <[u8; 16]>::try_from(key) {
                each(home_address.into(), value);
            }
        });
    }

    /// Hands out the SAs and then the bindings, part by part, until nobody wants them.
    pub(crate) fn hand_over(&self, to: &SyncSender<Part>) {
        let mut sas = Vec::with_capacity(PART);
        self.sas(|sa| {
            sas.push(sa);
            if sas.len() >= PART {
                let part = std::mem::replace(&mut sas, Vec::with_capacity(PART));
                let _taken = to.send(Part::Sas(part));
            }
        });
        let _taken = to.send(Part::Sas(sas));
        let mut bindings = Bindings::default();
        self.bindings(|home_address, octets| {
            bindings.push(home_address, octets);
            if bindings.ends.len() >= PART {
                let _taken = to.send(Part::Bindings(std::mem::take(&mut bindings)));
            }
        });
        let _taken = to.send(Part::Bindings(bindings));
    }

    fn is_damaged(&self) -> bool {
        self.recovered.lost.as_ref().is_some_and(|lost| lost.durable)
    }

    fn read(&self, kind: Kind, mut each: impl FnMut(&[u8], &[u8])) {
        let mut room = Room::default();
        for batch in self.recovered.live.batches() {
            let read = batch.read(&mut room, |record| {
                if record.kind == kind {
                    each(record.key, record.value);
                }
            });
            if let Err(error) = read {
                error!(%error, "a part of the state can't be read any more");
            }
        }
    }

    fn lifted(&self, name: (Spi, u64), value: &[u8]) -> Option<SaLifted> {
        let (head, frame) = value.split_first_chunk::<SA_HEAD>()?;
        let ([version, flags], rest) = head.split_first_chunk::<2>()?;
        let (grant, rest) = rest.split_first_chunk::<GRANT>()?;
        let (inbound, life) = rest.split_first_chunk::<INBOUND>()?;
        let Ok(Update::Issued(record)) = decode_update(frame) else { return None };
        if *version != SA_VERSION || (record.spi, record.generation) != name {
            return None;
        }
        let mut numbers = read_inbound(inbound)?;
        if let Some(later) = self.inbound.get(&name).filter(|later| later.floor >= numbers.floor) {
            numbers = *later;
        }
        let grants = [read_grant(grant), self.grants.get(&name).copied()];
        numbers.grant = grants.into_iter().flatten().map(|grant| self.used(grant)).max()?;
        let life = SaLife::from_octets(life.first_chunk()?)?;
        Some(SaLifted { record, life, without_keys: flags & WITHOUT_KEYS != 0, numbers })
    }

    /// What may have been used of a grant that was made at the start `of`: each start since has
    /// added to it.
    fn used(&self, (units, of): (u16, u32)) -> u16 {
        let since = self.starts.saturating_sub(of).saturating_sub(1);
        let added = since.saturating_mul(FIRST_GRANT.into());
        u16::try_from(u32::from(units).saturating_add(added)).unwrap_or(u16::MAX)
    }
}

pub(super) fn report_loss(recovered: &Recovered) {
    match &recovered.lost {
        Some(lost) if lost.durable => error!(
            %lost,
            "the state is damaged: SAs of before are not used again (R-23), and mobile nodes have \
             to fetch new ones"
        ),
        Some(lost) => warn!(%lost, "the end of the state is missing"),
        None => {}
    }
}

/// What tells one boot of the machine from another.
pub(super) fn boot() -> Option<Vec<u8>> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().into())
}
