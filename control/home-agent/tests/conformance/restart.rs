//! What is written of a home agent makes another one that is its equal (SA-14, REG-16).

use std::collections::BTreeMap;

use core::net::Ipv6Addr;

use hearth_home_agent::{
    Action, Change, Cursor, Event, HomeAgent, NotRestored, Policy, Reinit, SaInfo, SaLife, SaState,
    Timestamp,
};
use hearth_wire::Spi;
use hearth_wire::directory::Services;

use crate::lab::{
    Bu, COA, COA2, COA4, HOA, HOA4, Lab, OTHER_HOA, addr, hoa, other_sa, policy, sa, seconds, spi,
};

/// What a log would hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Log {
    sas: BTreeMap<(Spi, u64), (SaInfo, SaLife)>,
    bindings: BTreeMap<Ipv6Addr, Vec<u8>>,
    written: usize,
}

impl Log {
    fn take(&mut self, change: Change<'_>) {
        self.written += 1;
        match change {
            Change::Sa { info, life } => {
                let life = SaLife::from_octets(&life.to_octets()).unwrap();
                self.sas.insert((info.spi, info.generation), (info.clone(), life));
            }
            Change::SaGone { spi, generation } => _ = self.sas.remove(&(spi, generation)),
            Change::Binding { home_address, octets, .. } => {
                self.bindings.insert(home_address, octets.to_vec());
            }
            Change::BindingGone { home_address } => _ = self.bindings.remove(&home_address),
        }
    }

    /// Everything handed in again, three records at a time.
    fn rewritten(ha: &HomeAgent) -> Self {
        let (mut log, mut cursor) = (Self::default(), Some(Cursor::default()));
        while let Some(from) = cursor {
            let before = log.written;
            cursor = ha.rewrite(from, 3, |change| log.take(change));
            assert!(log.written - before <= 6);
        }
        log
    }

    /// Another home agent, `later`, and what its dataplane is told.
    fn restored(&self, now: Timestamp, policy: Policy) -> (Lab, Vec<Action>) {
        let (mut ha, mut out) = (HomeAgent::new(policy), Vec::new());
        for (info, life) in self.sas.values() {
            let done = ha.restore_sa(now, info, *life);
            assert!(matches!(done, Ok(()) | Err(NotRestored::Ended)), "{done:?}");
        }
        for (home_address, octets) in &self.bindings {
            let done = ha.restore_binding(now, *home_address, octets, &mut out);
            let over = Err(NotRestored::Ended);
            assert!(done == Ok(()) || done == over || done == Err(NotRestored::NoSa), "{done:?}");
        }
        ha.keep_changes();
        (Lab { ha, now }, out)
    }
}

/// A home agent whose every change is written down.
struct Kept {
    lab: Lab,
    log: Log,
}

impl Kept {
    fn new() -> Self {
        Self::with(policy())
    }

    fn with(policy: Policy) -> Self {
        let mut lab = Lab { ha: HomeAgent::new(policy), now: Timestamp::ZERO };
        lab.ha.keep_changes();
        let mut this = Self { lab, log: Log::default() };
        this.act(|lab| lab.issue(sa(1)));
        this
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Lab) -> T) -> T {
        let outcome = act(&mut self.lab);
        self.lab.ha.changes(|change| self.log.take(change));
        outcome
    }

    /// The same after a restart.
    fn restart(&self) -> (Lab, Vec<Action>) {
        self.log.restored(self.lab.now, self.lab.ha.policy().clone())
    }
}

/// All that can be seen, in an order of its own.
fn digest(ha: &HomeAgent) -> Vec<String> {
    let bindings = ha.bindings().map(|binding| format!("{binding:?}"));
    let mut all: Vec<_> = bindings.chain(ha.sas().map(|sa| format!("{sa:?}"))).collect();
    all.sort();
    all
}

/// Mobile nodes in every state: bound in both families, moved, at home, with an SA to replace.
fn populated() -> Kept {
    let mut kept = Kept::new();
    kept.act(|lab| lab.bu(Bu::new(15).from(COA4).ipv4(HOA4)));
    kept.act(|lab| lab.issue(other_sa(7)));
    kept.act(|lab| lab.bu(Bu::new(3).spi(7).home_address(Some(OTHER_HOA))));
    kept.act(|lab| lab.wait(seconds(5)));
    kept.act(|lab| lab.bu(Bu::new(4).spi(7).home_address(Some(OTHER_HOA)).from(COA2)));
    // A newer SA, not used yet, and one of a third mobile node that never was.
    kept.act(|lab| lab.issue(sa(2)));
    kept.act(|lab| {
        lab.issue(SaInfo { home_address: hoa(0xc), ipv4_home_address: None, ..other_sa(9) })
    });
    kept.act(|lab| lab.event(Event::ReinitWanted(spi(7))));
    kept
}

#[test]
fn sa_14_a_restart_changes_nothing_that_can_be_seen() {
    let kept = populated();
    let (lab, told) = kept.restart();
    assert_eq!(digest(&lab.ha), digest(&kept.lab.ha));
    assert_eq!((lab.ha.binding_count(), lab.ha.sa_count()), (2, 4));
    // The dataplane is told of each binding as it was, its other SA included.
    let binds: Vec<_> = told
        .iter()
        .map(|action| match action {
            Action::Bind(bound) => {
                let remote = bound.tunnels[0].remote;
                (bound.home_address, bound.ipv4_home_address, remote, bound.carriers.len())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(binds, [(HOA, Some(HOA4), addr(COA4), 2), (OTHER_HOA, None, addr(COA2), 1)]);
}

#[test]
fn everything_handed_in_again_is_what_was_written_change_by_change() {
    let mut kept = populated();
    kept.act(|lab| lab.bu(Bu::new(16).spi(2).from(COA4)));
    kept.act(|lab| lab.bu(Bu::new(5).spi(7).home_address(Some(OTHER_HOA)).lifetime(0)));
    kept.act(|lab| lab.wait(seconds(11)));
    let rewritten = Log::rewritten(&kept.lab.ha);
    assert_eq!(rewritten.sas, kept.log.sas);
    assert_eq!(rewritten.bindings, kept.log.bindings);
    // SA 1 ended behind SA 2, the hold behind the de-registration.
    assert_eq!((kept.log.sas.len(), kept.log.bindings.len()), (3, 1));
}

#[test]
fn reg_16_sequence_numbers_go_on_after_a_restart() {
    let mut kept = populated();
    // A refresh, and what is held behind a de-registration.
    kept.act(|lab| lab.bu(Bu::new(16).from(COA4).ipv4(HOA4)));
    kept.act(|lab| lab.bu(Bu::new(9).spi(7).home_address(Some(OTHER_HOA)).lifetime(0)));
    let (mut lab, _) = kept.restart();
    assert_eq!(lab.bu(Bu::new(16).from(COA4)).answer(), (135, 16, 0));
    let old = Bu::new(9).spi(7).home_address(Some(OTHER_HOA));
    let outcome = lab.bu(old);
    assert!(outcome.binds().is_empty(), "RFC 6275 s.10.3.2: {outcome:?}");
    assert_eq!(lab.bu(Bu::new(17).from(COA4).ipv4(HOA4)).answer(), (0, 17, 100));
}

#[test]
fn a_refresh_writes_one_record_and_a_replay_none() {
    let mut kept = populated();
    let before = kept.log.written;
    kept.act(|lab| lab.bu(Bu::new(16).from(COA4).ipv4(HOA4)));
    assert_eq!(kept.log.written - before, 1);
    let before = kept.log.written;
    kept.act(|lab| lab.event(Event::WatchBegun));
    for info in [sa(1), sa(2), other_sa(7)] {
        kept.act(|lab| lab.issue(info));
    }
    kept.act(|lab| lab.bu(Bu::new(16)));
    assert_eq!(kept.log.written, before, "nothing changed");
    // What is not replayed goes, and from the log too.
    kept.act(|lab| lab.event(Event::WatchSynced));
    assert_eq!(kept.log.sas.len(), 3);
}

#[test]
fn what_is_replayed_after_a_restart_changes_nothing_and_what_is_not_goes() {
    let kept = populated();
    let (mut lab, _) = kept.restart();
    let before = digest(&lab.ha);
    lab.event(Event::WatchBegun);
    for info in [sa(1), sa(2), other_sa(7)] {
        assert!(lab.issue(info).0.is_empty());
    }
    assert_eq!(digest(&lab.ha), before);
    assert_eq!(lab.event(Event::WatchSynced).removed_sas(), [9]);
    assert_eq!(lab.ha.binding_count(), 2);
}

#[test]
fn r_15_what_was_superseded_stays_so() {
    let mut kept = populated();
    kept.act(|lab| lab.bu(Bu::new(20).spi(2).from(COA)));
    let (mut lab, _) = kept.restart();
    assert_eq!(lab.ha.sa(spi(1)).unwrap().state, SaState::Superseded);
    // The grace time goes on where it was.
    assert_eq!(lab.wait(seconds(10)).removed_sas(), [1]);
    assert!(lab.issue(sa(1)).0.iter().all(|action| !matches!(action, Action::InstallSa(_))));
    assert_eq!(lab.ha.sa(spi(7)).unwrap().reinit, Some(Reinit::Operator));
}

#[test]
fn what_ended_while_nobody_was_there_is_not_taken_in() {
    let kept = populated();
    let (mut lab, told) = kept.log.restored(kept.lab.now.after(seconds(396)), policy());
    assert_eq!((lab.ha.binding_count(), told.len()), (1, 1), "the other was made 5 s later");
    assert_eq!(lab.wait(seconds(5)).unbinds(), [OTHER_HOA]);
    let (lab, told) = kept.log.restored(Timestamp::from_secs(3600), policy());
    assert_eq!((lab.ha.sa_count(), told.len()), (0, 0));
}

#[test]
fn no_binding_outlives_the_lifetime_that_was_granted() {
    let mut kept = populated();
    // The record says an hour from now: written under a clock that was ahead.
    kept.log.bindings.values_mut().for_each(|octets| {
        octets[80..88].copy_from_slice(&3_605_000_u64.to_be_bytes());
    });
    let (lab, _) = kept.restart();
    for binding in lab.ha.bindings() {
        assert_eq!(binding.expires.since(lab.now), seconds(400));
    }
}

#[test]
fn mobile_networks_and_what_a_subscriber_may_come_back() {
    let mut kept = Kept::new();
    let prefixes: Box<[_]> =
        ["203.0.113.0/28", "2001:db8:f1::/48"].map(|text| text.parse().unwrap()).into();
    let services = Services { mobile_router: true, prefixes, ..Services::default() };
    let router = SaInfo { services: services.clone(), ..other_sa(7) };
    kept.act(|lab| lab.issue(router));
    let bu = |seq| {
        let bu = Bu::new(seq).spi(7).home_address(Some(OTHER_HOA));
        bu.flags(|flags| flags.mobile_router = true)
    };
    assert_eq!(kept.act(|lab| lab.bu(bu(1))).status(), 0);
    let (mut lab, told) = kept.restart();
    assert_eq!(digest(&lab.ha), digest(&kept.lab.ha));
    let Action::Bind(bound) = &told[0] else { panic!("{told:?}") };
    assert_eq!(bound.prefixes, *services.prefixes);
    // What was restored is nobody else's, and a refresh in implicit mode is a refresh.
    assert!(lab.bu(bu(2)).binds().is_empty());
    // A record with other services is written down again.
    let before = kept.log.written;
    kept.act(|lab| lab.event(Event::WatchBegun));
    kept.act(|lab| lab.issue(other_sa(7)));
    assert!(kept.log.written > before);
    let (lab, told) = kept.restart();
    assert_eq!(digest(&lab.ha), digest(&kept.lab.ha));
    let Action::Bind(bound) = &told[0] else { panic!("{told:?}") };
    assert!(bound.prefixes.is_empty());
}

#[test]
fn care_of_addresses_and_flows_come_back() {
    use hearth_wire::mh::selector::Range;
    use hearth_wire::mh::{
        Bid, Flow, FlowStatus, Ids, Repeated, Selector, Status, TrafficSelector,
    };

    let bid = |id, care_of: &str| {
        let care_of = Some(care_of.parse().unwrap());
        Bid { id, status: Status::ACCEPTED, home: false, priority: 10, care_of }
    };
    let protocol = Some(Range::only(17));
    let flow = |id, selector, bids| Flow {
        id,
        priority: 7 + id,
        status: FlowStatus::SUCCESS,
        bids: Ids::List(bids),
        selector: Some(Selector::Binary(TrafficSelector { protocol, ..selector })),
    };
    let mut kept = Kept::new();
    let services = Services { care_of_addresses: 3, bulk: true, flows: 2, ..Services::default() };
    kept.act(|lab| lab.issue(SaInfo { services, ..other_sa(7) }));
    let bids = [bid(1, "2001:db8:1::c"), bid(2, "2001:db8:2::c")];
    let flows =
        [flow(1, TrafficSelector::ANY_IPV4, &[2]), flow(2, TrafficSelector::ANY_IPV6, &[1, 2])];
    let bu = |seq, bids| {
        let bu = Bu::new(seq).spi(7).home_address(Some(OTHER_HOA));
        bu.options(|options| {
            options.bids = Repeated::List(bids);
            options.flows = Repeated::List(&flows);
        })
    };
    assert_eq!(kept.act(|lab| lab.bu(bu(1, &bids[1..]).lifetime(10))).status(), 0);
    assert_eq!(kept.act(|lab| lab.bu(bu(2, &bids[..1]))).status(), 0);
    let (lab, told) = kept.restart();
    assert_eq!(digest(&lab.ha), digest(&kept.lab.ha));
    let Action::Bind(bound) = &told[0] else { panic!("{told:?}") };
    assert_eq!((bound.tunnels.len(), bound.flows.len()), (2, 2));
    // One has ended meanwhile.
    let later = kept.lab.now.after(seconds(40));
    let (lab, told) = kept.log.restored(later, policy());
    let Action::Bind(bound) = &told[0] else { panic!("{told:?}") };
    let bids: Vec<_> = bound.tunnels.iter().map(|tunnel| tunnel.bid).collect();
    assert_eq!((bids, bound.flows.len()), (vec![1], 1));
    assert_eq!(lab.ha.binding(OTHER_HOA).unwrap().expires, kept.lab.now.after(seconds(400)));
}

#[test]
fn octets_that_nobody_wrote_are_refused_without_harm() {
    let kept = populated();
    for (home_address, good) in &kept.log.bindings {
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let mut cut = kept.log.clone();
                cut.bindings.clear();
                let (mut lab, _) = cut.restored(kept.lab.now, policy());
                let _ = lab.ha.restore_binding(lab.now, *home_address, &bad, &mut Vec::new());
                assert!(lab.ha.binding_count() <= 1);
                let _ =
                    lab.ha.restore_binding(lab.now, *home_address, &good[..at], &mut Vec::new());
            }
        }
        let (mut lab, _) = kept.restart();
        let again = lab.ha.restore_binding(lab.now, *home_address, good, &mut Vec::new());
        assert_eq!(again, Err(NotRestored::NoPlace));
        let other = lab.ha.restore_binding(lab.now, hoa(0xdd), good, &mut Vec::new());
        assert_eq!(other, Err(NotRestored::NoSa));
    }
}
