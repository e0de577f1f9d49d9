//! What happened: told to who listens, and the last of it kept for each mobile node.
//!
//! The control thread writes and never waits: a listener that is slow loses events and hears how
//! many. What is kept is bounded, for each mobile node and for all.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hearth_api::events::{EventRow, KEPT_EVENTS, MobileNodeRow, What};
use hearth_api::server::Refused;
use hearth_home_agent::{HomeAgent, Notice, OperationNotice, SaEnd};
use hearth_wire::directory::SaRecord;
use hearth_wire::{MobileNodeId, Spi};
use rustc_hash::FxHashMap;
use tokio::sync::broadcast;

use crate::control::Control;
use crate::pages::binding_row;
use crate::watchdog::Incident;

/// Events that may wait for a listener.
const WAITING: usize = 1024;
/// Listeners at one time.
const LISTENERS: usize = 32;
/// Mobile nodes that are remembered; the one of which nothing was heard for the longest time makes
/// room. Some 100 MB if all have had as many events as are kept.
const LIVES: usize = 1 << 14;

/// A listener's end.
pub type Listening = broadcast::Receiver<Arc<EventRow>>;

/// What happened.
#[derive(Debug)]
pub struct Chronicle {
    number: u64,
    to: broadcast::Sender<Arc<EventRow>>,
    /// By home address: notices of a binding that is gone know nothing else.
    lives: FxHashMap<Ipv6Addr, Life>,
    /// Home addresses by the number of their last event.
    by_age: BTreeMap<u64, Ipv6Addr>,
    homes: FxHashMap<Spi, Ipv6Addr>,
    most: usize,
}

/// What is remembered of a mobile node.
#[derive(Debug)]
struct Life {
    mn_id: MobileNodeId,
    handovers: u64,
    refused: u64,
    spis: Vec<Spi>,
    events: VecDeque<Arc<EventRow>>,
}

impl Default for Chronicle {
    fn default() -> Self {
        Self::with_room(LIVES)
    }
}

impl Chronicle {
    fn with_room(most: usize) -> Self {
        let (lives, homes) = Default::default();
        let (to, by_age) = (broadcast::Sender::new(WAITING), BTreeMap::new());
        Self { number: 0, to, lives, by_age, homes, most }
    }

    /// What happens from now on.
    ///
    /// # Errors
    /// Too many listen.
    pub(crate) fn listen(&self) -> Result<Listening, Refused> {
        if self.to.receiver_count() < LISTENERS {
            return Ok(self.to.subscribe());
        }
        Err(Refused::Busy(format!("{LISTENERS} listen to events already; end one of them")))
    }

    /// An SA is installed.
    pub(crate) fn provisioned(&mut self, record: &SaRecord) {
        let (spi, home_address) = (record.spi, record.home_address);
        let what = What::SaProvisioned { spi: spi.get(), suite: record.suite.to_string() };
        self.write(Some((home_address, &record.mn_id)), what);
        if let Some(life) = self.lives.get_mut(&home_address) {
            life.spis.push(spi);
            self.homes.insert(spi, home_address);
        }
    }

    /// A worker is stuck, or no longer.
    pub(crate) fn incident(&mut self, incident: Incident) {
        self.write(
            None,
            match incident {
                Incident::Stuck { worker, .. } => {
                    What::Alarm { text: format!("worker {worker} is stuck: it takes no turns") }
                }
                Incident::Recovered { worker, .. } => {
                    What::AlarmEnded { text: format!("worker {worker} takes turns again") }
                }
            },
        );
    }

    /// An alarm begins or ends.
    pub(crate) fn alarm(&mut self, what: What) {
        self.write(None, what);
    }

    /// The home agent noticed something.
    pub(crate) fn notice(&mut self, notice: &Notice, home_agent: &HomeAgent) {
        let why = |text: &str| text.to_owned();
        let (home_address, what) = match notice {
            Notice::Registered { mn_id, home_address, care_of, lifetime } => {
                let what = What::registered(*care_of, seconds(*lifetime));
                return self.write(Some((*home_address, mn_id)), what);
            }
            Notice::HandedOver { home_address, from, to, lifetime } => {
                (home_address, What::handed_over(*from, *to, seconds(*lifetime)))
            }
            Notice::Deregistered { home_address } => {
                (home_address, What::BindingEnded { why: why("deregistered") })
            }
            Notice::Expired { home_address } => {
                (home_address, What::BindingEnded { why: why("expired") })
            }
            Notice::EndedWithSa { home_address, .. } => {
                (home_address, What::BindingEnded { why: why("sa_ended") })
            }
            Notice::CareOfEnded { home_address, bid } => {
                (home_address, What::CareOfEnded { bid: *bid })
            }
            Notice::Refused { mn_id, home_address, status } => {
                let what = What::Refused { why: format!("status {status}") };
                return self.write(Some((*home_address, mn_id)), what);
            }
            Notice::MovesTooOften { mn_id, home_address, .. } => {
                let what = What::Refused { why: why("its care-of address moves too often") };
                return self.write(Some((*home_address, mn_id)), what);
            }
            Notice::SaEnded { spi, why } => return self.sa_ended(*spi, *why),
            Notice::AddressContested { address, .. } => {
                let text = format!("a host on the home link claims {address}, a mobile node's");
                return self.write(None, What::Alarm { text });
            }
            Notice::Operation(OperationNotice::Revoked { home_address, .. }) => {
                (home_address, What::Revoked)
            }
            Notice::Operation(OperationNotice::Unreachable { home_address }) => {
                (home_address, What::Unreachable)
            }
            Notice::Operation(OperationNotice::Restarted { home_address, .. }) => {
                (home_address, What::Restarted)
            }
            _ => return,
        };
        let bound = home_agent.binding(*home_address).map(|binding| binding.mn_id.clone());
        let remembered = || self.lives.get(home_address).map(|life| life.mn_id.clone());
        let mn_id = bound.or_else(remembered);
        match mn_id {
            Some(mn_id) => self.write(Some((*home_address, &mn_id)), what),
            None => self.publish(None, Some(*home_address), what),
        }
    }

    fn sa_ended(&mut self, spi: Spi, why: SaEnd) {
        let why = match why {
            SaEnd::Validity => "validity",
            SaEnd::Revoked => "revoked",
            SaEnd::Superseded => "superseded",
            SaEnd::TooMany => "too_many",
        };
        let what = What::SaEnded { spi: spi.get(), why: why.into() };
        let home = self.homes.remove(&spi);
        let life = home.and_then(|home| Some((home, self.lives.get_mut(&home)?)));
        let Some((home, life)) = life else { return self.publish(None, None, what) };
        life.spis.retain(|other| *other != spi);
        let mn_id = life.mn_id.clone();
        self.write(Some((home, &mn_id)), what);
    }

    /// Tells who listens, and remembers it with the mobile node it is about.
    fn write(&mut self, whose: Option<(Ipv6Addr, &MobileNodeId)>, what: What) {
        let Some((home_address, mn_id)) = whose else { return self.publish(None, None, what) };
        let row = self.tell(Some(mn_id.to_string()), Some(home_address), what);
        if self.lives.get(&home_address).is_some_and(|life| life.mn_id != *mn_id) {
            self.forget(home_address);
        }
        let (number, kind) = (row.number, &row.what);
        let life = self.lives.entry(home_address).or_insert_with(|| Life {
            mn_id: mn_id.clone(),
            handovers: 0,
            refused: 0,
            spis: Vec::new(),
            events: VecDeque::new(),
        });
        life.handovers += u64::from(matches!(kind, What::HandedOver { .. }));
        life.refused += u64::from(matches!(kind, What::Refused { .. }));
        if let Some(before) = life.events.back() {
            self.by_age.remove(&before.number);
        }
        if life.events.len() == KEPT_EVENTS {
            life.events.pop_front();
        }
        life.events.push_back(row);
        self.by_age.insert(number, home_address);
        if self.lives.len() > self.most
            && let Some((_, oldest)) = self.by_age.first_key_value()
        {
            self.forget(*oldest);
        }
    }

    fn publish(&mut self, mn_id: Option<String>, home_address: Option<Ipv6Addr>, what: What) {
        self.tell(mn_id, home_address, what);
    }

    fn tell(
        &mut self,
        mn_id: Option<String>,
        home_address: Option<Ipv6Addr>,
        what: What,
    ) -> Arc<EventRow> {
        self.number += 1;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let row = Arc::new(EventRow { number: self.number, time_ms, mn_id, home_address, what });
        // Nobody listens, most of the time.
        let _heard = self.to.send(Arc::clone(&row));
        row
    }

    fn forget(&mut self, home_address: Ipv6Addr) {
        let Some(life) = self.lives.remove(&home_address) else { return };
        if let Some(last) = life.events.back() {
            self.by_age.remove(&last.number);
        }
        for spi in life.spis {
            self.homes.remove(&spi);
        }
    }

    /// What is remembered of a mobile node, oldest first: events, handovers, refusals.
    fn of(&self, mn_id: &MobileNodeId) -> (Vec<EventRow>, u64, u64) {
        let lives = self.lives.values().filter(|life| life.mn_id == *mn_id);
        let (mut events, mut handovers, mut refused) = (Vec::new(), 0, 0);
        for life in lives {
            events.extend(life.events.iter().map(|event| EventRow::clone(event)));
            handovers += life.handovers;
            refused += life.refused;
        }
        events.sort_unstable_by_key(|event| event.number);
        let surplus = events.len().saturating_sub(KEPT_EVENTS);
        events.drain(..surplus);
        (events, handovers, refused)
    }
}

impl Control {
    /// The life of a mobile node.
    ///
    /// # Errors
    /// Nothing is known of it.
    pub(crate) fn mobile_node(&self, mn_id: &MobileNodeId) -> Result<MobileNodeRow, Refused> {
        let (now, clock, home_agent) = (self.now(), self.wall_clock(), &self.parts.home_agent);
        let (events, handovers, refused) = self.chronicle.of(mn_id);
        let mut homes: Vec<_> = home_agent.sas_of_node(mn_id).map(|sa| sa.home_address).collect();
        homes.sort_unstable();
        homes.dedup();
        let bindings = homes.iter().filter_map(|home| home_agent.binding(*home));
        let bindings = bindings.filter(|binding| binding.mn_id == mn_id);
        let sas: Vec<_> =
            home_agent.sas_of_node(mn_id).map(|sa| self.sa_row(&sa, &clock)).collect();
        if sas.is_empty() && events.is_empty() {
            let text = format!("{mn_id} has no SA here, and nothing is remembered of it");
            return Err(Refused::Unknown(text));
        }
        Ok(MobileNodeRow {
            mn_id: mn_id.to_string(),
            bindings: bindings.map(|binding| binding_row(&binding, now)).collect(),
            sas,
            handovers,
            refused,
            events,
        })
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hearth_home_agent::Policy;
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    fn home(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
    }

    fn registered(who: &str, last: u16) -> Notice {
        Notice::Registered {
            mn_id: MobileNodeId::new(who).unwrap(),
            home_address: home(last),
            care_of: "[2001:db8:1::c]:5000".parse().unwrap(),
            lifetime: Duration::from_secs(600),
        }
    }

    fn moved(last: u16) -> Notice {
        Notice::HandedOver {
            home_address: home(last),
            from: "[2001:db8:1::c]:5000".parse().unwrap(),
            to: "192.0.2.7:5001".parse().unwrap(),
            lifetime: Duration::from_secs(600),
        }
    }

    fn of(chronicle: &Chronicle, who: &str) -> (Vec<EventRow>, u64, u64) {
        chronicle.of(&MobileNodeId::new(who).unwrap())
    }

    #[test]
    fn a_life_is_told_in_order_also_when_the_binding_is_gone() {
        let (mut chronicle, agent) = (Chronicle::default(), HomeAgent::new(Policy::default()));
        for notice in [
            registered("car@example.net", 1),
            registered("bus@example.net", 2),
            moved(1),
            Notice::Expired { home_address: home(1) },
        ] {
            chronicle.notice(&notice, &agent);
        }
        let (events, handovers, refused) = of(&chronicle, "car@example.net");
        assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!((handovers, refused), (1, 0));
        assert_eq!(events[2].what, What::BindingEnded { why: "expired".into() });
        let json = serde_json::to_value(&events[1]).unwrap();
        assert_eq!(json["event"], "handed_over");
        assert_eq!(json["mn_id"], "car@example.net");
        assert_eq!(
            (&json["care_of_address"], &json["care_of_port"]),
            (&"192.0.2.7".into(), &5001.into())
        );
        assert_eq!(serde_json::from_value::<EventRow>(json).unwrap(), events[1]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes() {
        let (mut chronicle, agent) = (Chronicle::with_room(2), HomeAgent::new(Policy::default()));
        chronicle.notice(&registered("car@example.net", 1), &agent);
        chronicle.notice(&registered("bus@example.net", 2), &agent);
        for _ in 0..KEPT_EVENTS + 8 {
            chronicle.notice(&moved(1), &agent);
        }
        chronicle.notice(&registered("van@example.net", 3), &agent);
        let (events, handovers, _) = of(&chronicle, "car@example.net");
        assert_eq!((events.len(), handovers), (KEPT_EVENTS, KEPT_EVENTS as u64 + 8));
        assert!(of(&chronicle, "bus@example.net").0.is_empty());
        assert_eq!(of(&chronicle, "van@example.net").0.len(), 1);
        // The home address is another's now.
        chronicle.notice(&registered("tram@example.net", 1), &agent);
        assert!(of(&chronicle, "car@example.net").0.is_empty());
        assert_eq!((chronicle.lives.len(), chronicle.by_age.len()), (2, 2));
    }

    #[test]
    fn who_is_slow_loses_events_and_hears_how_many() {
        let (mut chronicle, agent) = (Chronicle::default(), HomeAgent::new(Policy::default()));
        let mut slow = chronicle.listen().unwrap();
        for _ in 0..WAITING + 10 {
            chronicle.notice(&moved(1), &agent);
        }
        assert_eq!(slow.try_recv(), Err(TryRecvError::Lagged(10)));
        assert_eq!(slow.try_recv().unwrap().number, 11);
        let others: Vec<_> = (1..LISTENERS).map(|_| chronicle.listen().unwrap()).collect();
        assert!(matches!(chronicle.listen(), Err(Refused::Busy(_))));
        drop(others);
        assert!(chronicle.listen().is_ok());
    }
}
