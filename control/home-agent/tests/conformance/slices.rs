//! What is due is done in slices, and has ended at its instant all the same (R-43; RFC 6275
//! s.10.3.1, 10.3.2).

use core::net::Ipv6Addr;

use hearth_home_agent::{Action, Event, HomeAgent, Notice, Policy, Refusal, SaInfo, Timestamp};
use hearth_wire::MobileNodeId;
use hearth_wire::directory::SpiRange;

use crate::lab::{
    Bu, COA, COA2, HOA, HOA4, Lab, OTHER_HOA, Outcome, addr, hoa, hoa4, other_sa, policy, sa,
    seconds, spi,
};

/// Enough that nothing of what is due at the same instant is done beside an event.
const MANY: u32 = 2_000;

fn home_of(number: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(hoa(0)) + u128::from(number) * 0x1_0000)
}

/// SAs 1000, 1001, … of as many mobile nodes, of which half the bindings end at 400 s.
fn many(policy: Policy) -> Lab {
    let mut lab = Lab::with(policy);
    for number in 1000..1000 + MANY {
        let home_address = home_of(number);
        let mn_id = MobileNodeId::new(&format!("{number}@example.org")).unwrap();
        let info = SaInfo { mn_id, home_address, ipv4_home_address: None, ..sa(number) };
        lab.issue(info);
        let bu = Bu::new(1).spi(number).home_address(Some(home_address));
        assert_eq!(lab.bu(bu).status(), 0, "{number}");
    }
    lab
}

#[test]
fn expiry_takes_no_more_steps_than_it_may() {
    let mut lab = many(policy());
    let end = Timestamp::from_secs(400);
    let (mut calls, mut unbound, mut most) = (0, 0, 0);
    loop {
        let mut actions = Vec::new();
        let more = lab.ha.tick(end, 100, &mut actions);
        let outcome = Outcome(actions);
        (calls, most) = (calls + 1, most.max(outcome.0.len()));
        unbound += outcome.unbinds().len();
        // Whatever its timer has not reached yet is not shown any more.
        assert_eq!(lab.ha.bindings().count(), 0);
        assert_eq!(more, lab.ha.next_deadline().is_some_and(|deadline| deadline <= end));
        if !more {
            break;
        }
    }
    assert_eq!((unbound, lab.ha.binding_count()), (MANY as usize, 0));
    assert!(calls >= MANY / 100 && most <= 200, "{calls} calls, {most} actions in one");
}

#[test]
fn what_has_lapsed_is_gone_before_its_timer_runs() {
    let mut lab = many(policy());
    lab.now = Timestamp::from_secs(400);
    let last = 1000 + MANY - 1;
    let home = Some(home_of(last));
    let bu = |seq| Bu::new(seq).spi(last).home_address(home);
    // De-registered is what was there; any sequence number begins anew.
    let outcome = lab.bu(bu(2).lifetime(0));
    assert_eq!(outcome.status(), 133);
    assert!(outcome.unbinds().contains(&home_of(last)));
    let outcome = lab.bu(bu(1));
    assert_eq!((outcome.answer(), outcome.binds().len()), ((0, 1, 100), 1));
    let registered = |notice: &&Notice| matches!(notice, Notice::Registered { .. });
    assert!(outcome.notices().iter().any(registered), "a first registration");
    assert!(lab.ha.binding_count() > 1000, "the others' timers have not run");
    // A timer of before does not end what came since.
    lab.wait(seconds(399));
    assert!(lab.ha.binding(home_of(last)).is_some());
    assert_eq!(lab.ha.binding_count(), 1);
}

#[test]
fn lapsed_bindings_take_nobodys_place() {
    let mut lab = many(Policy { max_bindings: MANY as usize, ..policy() });
    assert_eq!(lab.bu(Bu::new(1)).status(), 130);
    lab.now = Timestamp::from_secs(400);
    assert_eq!(lab.bu(Bu::new(2)).status(), 0);
}

#[test]
fn an_sa_that_has_ended_authenticates_nothing_before_its_timer_runs() {
    let mut lab = many(policy());
    lab.now = Timestamp::from_secs(3600);
    let last = 1000 + MANY - 1;
    let bu = Bu::new(2).spi(last).home_address(Some(home_of(last)));
    let outcome = lab.bu(bu);
    assert_eq!(outcome.refusal(), Refusal::UnknownSpi);
    assert!(outcome.removed_sas().contains(&last));
    assert!(lab.ha.sa_count() > 1000);
    assert_eq!((lab.ha.sas().count(), lab.ha.bindings().count()), (0, 0));
    // Nor is its home address one any more that a care-of address must not be.
    let next = SaInfo { validity_end: Timestamp::from_secs(7200), ..other_sa(9) };
    lab.issue(next);
    let coa = format!("[{}]:5000", home_of(last - 1));
    let outcome = lab.bu(Bu::new(1).spi(9).home_address(Some(OTHER_HOA)).from(&coa));
    assert_eq!(outcome.status(), 0);
}

#[test]
fn an_ipv4_home_address_of_a_lapsed_binding_is_free() {
    let mut lab = many(policy());
    let shared = SaInfo { ipv4_home_address: Some(HOA4), ..other_sa(2) };
    lab.issue(shared);
    assert_eq!(lab.bu(Bu::new(1).ipv4(HOA4)).status(), 0);
    lab.now = Timestamp::from_secs(400);
    let other = Bu::new(1).spi(2).home_address(Some(OTHER_HOA)).ipv4(HOA4);
    let outcome = lab.bu(other);
    assert_eq!(outcome.ack().message.options.ipv4_ack.unwrap().status.0, 0);
    // The dataplane lets go of it before it is given away.
    let at = |pick: fn(&Action) -> bool| outcome.0.iter().position(pick).unwrap();
    let unbound = at(|action| *action == Action::Unbind { home_address: HOA });
    assert!(unbound < at(|action| matches!(action, Action::Bind(_))));
    assert_ne!(HOA4, hoa4(131));
}

/// what a replay did not name is gone, though it takes a while to say so.
#[test]
fn a_replay_is_swept_in_slices() {
    let mut lab = many(policy());
    lab.event(Event::WatchBegun);
    lab.issue(sa(1));
    let first = lab.event(Event::WatchSynced).removed_sas().len();
    assert!((1..1000).contains(&first), "{first} in one call");
    let last = 1000 + MANY - 1;
    let bu = Bu::new(2).spi(last).home_address(Some(home_of(last)));
    let outcome = lab.bu(bu);
    assert_eq!(outcome.refusal(), Refusal::UnknownSpi);
    assert!(outcome.removed_sas().contains(&last));
    let rest = lab.wait(seconds(0)).removed_sas().len();
    assert!(rest > 0);
    assert_eq!((lab.ha.sa_count(), lab.ha.binding_count()), (1, 0));
}

/// a second HAC is through before what the first one did not name has been seen off: all of it goes,
/// and nothing else.
#[test]
fn replays_of_two_hacs_are_swept_together() {
    let mut lab = many(policy());
    let (first, middle, last) = (1000, 1000 + MANY / 2, 1000 + MANY - 1);
    let range = |first, last| SpiRange::new(spi(first), spi(last)).unwrap();
    lab.event(Event::WatchBegun);
    lab.issue(sa(1));
    let begun = lab.event(Event::SpisSynced(range(first, middle))).removed_sas();
    assert!((1..MANY as usize / 2).contains(&begun.len()), "{} in one call", begun.len());
    let more = lab.event(Event::SpisSynced(range(middle + 1, last - 1))).removed_sas();
    let rest = lab.wait(seconds(0)).removed_sas();
    assert_eq!(begun.len() + more.len() + rest.len(), MANY as usize - 1);
    let left: Vec<u32> = lab.ha.sas().map(|sa| sa.spi.get()).collect();
    assert!(left.len() == 2 && left.contains(&1) && left.contains(&last), "{left:?}");
}

fn shown(ha: &HomeAgent) -> Vec<String> {
    let sas = ha.sas().map(|sa| format!("{sa:?}"));
    ha.bindings().map(|binding| format!("{binding:?}")).chain(sas).collect()
}

/// A walk in parts sees each binding once that is there all the while, whatever comes and goes.
#[test]
fn a_walk_in_parts_sees_all_that_stays() {
    let mut lab = many(policy());
    let (mut homes, mut spis) = (Vec::new(), Vec::new());
    let mut from = 0;
    while from < lab.ha.binding_places().max(lab.ha.sa_places()) {
        let part = from..from + 100;
        let seen = homes.len();
        homes.extend(lab.ha.bindings_at(part.clone()).map(|binding| binding.home_address));
        spis.extend(lab.ha.sas_at(part).map(|sa| sa.spi.get()));
        assert!(homes.len() - seen <= 100);
        if from == 500 {
            lab.issue(SaInfo { validity_end: Timestamp::from_secs(7200), ..sa(1) });
            assert_eq!(lab.bu(Bu::new(1)).status(), 0);
            let leaves = Bu::new(2).spi(1000).home_address(Some(home_of(1000))).lifetime(0);
            assert_eq!(lab.bu(leaves).status(), 0);
        }
        from += 100;
    }
    for number in 1000..1000 + MANY {
        assert_eq!(homes.iter().filter(|home| **home == home_of(number)).count(), 1, "{number}");
        assert_eq!(spis.iter().filter(|spi| **spi == number).count(), 1, "{number}");
    }
    assert_eq!(lab.ha.bindings_at(0..usize::MAX).count(), lab.ha.bindings().count());
    assert_eq!(lab.ha.sas_at(0..usize::MAX).count(), lab.ha.sas().count());
}

/// REG-10: a dataplane that is full refuses as a full cache does.
#[test]
fn reg_10_the_dataplane_has_no_room() {
    // A first registration: nothing is left of it.
    let mut lab = Lab::new();
    let before = shown(&lab.ha);
    assert_eq!(lab.bu(Bu::new(15)).binds().len(), 1);
    let outcome = lab.event(Event::BindRefused(HOA));
    assert_eq!(outcome.answer(), (130, 15, 0));
    assert_eq!((outcome.ack().to, outcome.ack().routing), (addr(COA), Some(HOA)));
    assert!(outcome.unbinds().is_empty() && outcome.binds().is_empty());
    assert!(matches!(outcome.notices()[..], [Notice::Refused { .. }]));
    assert_eq!((shown(&lab.ha), lab.ha.binding_count()), (before, 0));
    let status = |value| hearth_wire::mh::Status(value);
    assert_eq!(lab.ha.counters().answered(status(0)), 0);
    assert_eq!(lab.ha.counters().answered(status(130)), 1);
    // The same number is good for the next try.
    assert_eq!(lab.bu(Bu::new(15)).status(), 0);

    // A move: the binding stays where it is, and as long.
    lab.wait(seconds(100));
    let before = shown(&lab.ha);
    lab.bu(Bu::new(16).from(COA2).ipv4(HOA4));
    let outcome = lab.event(Event::BindRefused(HOA));
    assert_eq!((outcome.answer(), outcome.ack().to), ((130, 16, 0), addr(COA2)));
    assert_eq!(shown(&lab.ha), before);
    // The IPv4 home address is nobody's again.
    let shared = SaInfo { ipv4_home_address: Some(HOA4), ..other_sa(2) };
    lab.issue(shared);
    let other = Bu::new(1).spi(2).home_address(Some(OTHER_HOA)).ipv4(HOA4);
    assert_eq!(lab.bu(other).ack().message.options.ipv4_ack.unwrap().status.0, 0);
    assert!(lab.wait(seconds(299)).unbinds().is_empty());
    assert_eq!(lab.wait(seconds(1)).unbinds(), [HOA]);
}

#[test]
fn reg_10_what_the_dataplane_refuses_supersedes_nothing() {
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    let before = shown(&lab.ha);
    lab.bu(Bu::new(16).spi(2).from(COA2));
    assert_eq!(lab.event(Event::BindRefused(HOA)).answer(), (130, 16, 0));
    assert_eq!(shown(&lab.ha), before);
    assert!(lab.wait(seconds(60)).removed_sas().is_empty());
    assert_eq!(lab.bu(Bu::new(16)).status(), 0);
    assert_eq!(lab.bu(Bu::new(17).spi(2)).status(), 0);
}

/// The bindings under the older SAs end with them, and with nothing else.
#[test]
fn reg_10_what_the_dataplane_refuses_shortens_nothing() {
    let mut lab = Lab::registered();
    let elsewhere = hoa(0xcc);
    lab.issue(SaInfo { home_address: elsewhere, ipv4_home_address: None, ..sa(2) });
    lab.bu(Bu::new(1).spi(2).home_address(Some(elsewhere)));
    assert_eq!(lab.ha.binding(HOA).unwrap().expires, Timestamp::from_secs(10));
    assert_eq!(lab.event(Event::BindRefused(elsewhere)).status(), 130);
    assert_eq!(lab.ha.binding(HOA).unwrap().expires, Timestamp::from_secs(400));
    assert!(lab.wait(seconds(399)).unbinds().is_empty());
    assert_eq!(lab.wait(seconds(1)).unbinds(), [HOA]);
}

#[test]
fn reg_10_a_held_number_is_held_again() {
    let mut lab = Lab::registered();
    lab.bu(Bu::new(16).lifetime(0));
    lab.bu(Bu::new(17));
    assert_eq!(lab.event(Event::BindRefused(HOA)).status(), 130);
    assert_eq!((lab.binding(), lab.ha.binding_count()), (None, 0));
    assert_eq!(lab.bu(Bu::new(16)).answer(), (135, 16, 0));
    lab.wait(seconds(10));
    assert_eq!(lab.bu(Bu::new(16)).status(), 0);
}

/// Another SA to take data from: no registration that could be answered.
#[test]
fn what_the_dataplane_refuses_beside_a_registration_it_is_told_again() {
    let mut lab = Lab::registered();
    let bind = lab.issue(sa(2)).binds()[0].clone();
    // However often, it is told once.
    for _ in 0..3 {
        assert!(lab.event(Event::BindRefused(HOA)).0.is_empty());
    }
    assert!(lab.wait(core::time::Duration::from_millis(999)).0.is_empty());
    assert_eq!(lab.wait(seconds(1)).0, [Action::Bind(Box::new(bind))]);
    assert!(lab.wait(seconds(60)).0.is_empty());
    // And again when it refuses again.
    assert!(lab.event(Event::BindRefused(HOA)).0.is_empty());
    assert_eq!(lab.wait(seconds(1)).binds().len(), 1);
    // Nor of a home address that is not bound.
    assert!(lab.event(Event::BindRefused(OTHER_HOA)).0.is_empty());
    assert_eq!(lab.ha.sa(spi(2)).unwrap().spi, spi(2));
}

/// Several updates of one mobile node in one list of actions.
#[test]
fn reg_10_each_of_several_updates_is_taken_back() {
    let mut lab = Lab::registered();
    let outcome = lab.bus(&[Bu::new(16).from(COA2), Bu::new(17)]);
    assert_eq!(outcome.binds().len(), 2);
    assert_eq!(lab.event(Event::BindRefused(HOA)).answer(), (130, 17, 0));
    assert_eq!(lab.binding(), Some((addr(COA2), 16)));
    assert_eq!(lab.event(Event::BindRefused(HOA)).answer(), (130, 16, 0));
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
    assert!(lab.event(Event::BindRefused(HOA)).0.is_empty(), "none is left");
    // A refresh behind it was accepted: the dataplane is told again.
    let mut lab = Lab::new();
    assert_eq!(lab.bus(&[Bu::new(1), Bu::new(2)]).binds().len(), 1);
    assert!(lab.event(Event::BindRefused(HOA)).0.is_empty());
    assert_eq!(lab.wait(seconds(2)).binds().len(), 1);
}

#[test]
fn reg_10_actions_that_were_carried_out_are_not_taken_back() {
    let mut lab = Lab::registered();
    lab.bu(Bu::new(16).from(COA2));
    lab.bu(Bu::new(17));
    // Each call began with an empty list.
    assert_eq!(lab.event(Event::BindRefused(HOA)).answer(), (130, 17, 0));
    assert_eq!(lab.binding(), Some((addr(COA2), 16)));
    assert!(lab.event(Event::BindRefused(HOA)).0.is_empty(), "once");
}
