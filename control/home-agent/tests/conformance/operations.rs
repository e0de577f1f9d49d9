//! What the home agent says of its own accord: revocation, shutdown, heartbeats, refresh requests
//! (RFC 5846, 5142, 5847, RFC 6275 s.9.5.5), and the operator's commands.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use hearth_home_agent::{
    Action, Answer, Begun, Command, CommandError, Event, Notice, OperationNotice, OperationsPolicy,
    Policy, Refusal, Revoke, SaInfo, Selector,
};
use hearth_wire::directory::Services;
use hearth_wire::mh::{
    Bid, BindingError, Heartbeat, Message, Repeated, RevocationAck, RevocationFlags,
    RevocationStatus, Status, trigger,
};
use hearth_wire::{MobileNodeId, Spi};

use crate::lab::{
    Bu, COA, COA2, HOA, HOA4, Lab, OTHER_HOA, Outcome, addr, hoa, mobility_header, other_sa,
    policy, sa, seconds, spi,
};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn with_operations(change: impl FnOnce(&mut OperationsPolicy)) -> Policy {
    let mut policy = policy();
    change(&mut policy.operations);
    policy
}

fn registered_with(policy: Policy) -> Lab {
    let mut lab = Lab::with(policy);
    assert_eq!(lab.bu(Bu::new(15)).status(), 0);
    lab
}

fn revoke(who: Selector, what: Revoke) -> Event<'static> {
    Event::Operator(Command::Revoke { who, what, trigger: trigger::ADMINISTRATIVE })
}

/// An event, and whatever goes on at the same instant.
fn begin(lab: &mut Lab, event: Event<'_>) -> Outcome {
    let mut outcome = lab.event(event);
    outcome.0.extend(lab.wait(Duration::ZERO).0);
    outcome
}

fn home(address: Ipv6Addr) -> Selector {
    Selector::HomeAddress(IpAddr::V6(address))
}

fn ack(lab: &mut Lab, status: u8, seq: u16) -> Outcome {
    let message = Message::RevocationAck(RevocationAck {
        status: RevocationStatus(status),
        seq,
        flags: RevocationFlags::default(),
        bids: Repeated::default(),
    });
    lab.header(&mobility_header(&message, HOA))
}

fn binding_error(lab: &mut Lab, status: u8) -> Outcome {
    let error = BindingError { status, home_address: Ipv6Addr::UNSPECIFIED };
    lab.header(&mobility_header(&Message::BindingError(error), HOA))
}

fn operations(outcome: &Outcome) -> Vec<OperationNotice> {
    let of_it = |notice: &Notice| match notice {
        Notice::Operation(operation) => Some(operation.clone()),
        _ => None,
    };
    outcome.notices().into_iter().filter_map(of_it).collect()
}

fn revoked(what: Revoke, answer: Answer) -> OperationNotice {
    OperationNotice::Revoked { home_address: HOA, what, answer }
}

/// EXT-03: to the care-of address with a type 2 routing header, after a second once more, and the
/// binding goes with the acknowledgement.
#[test]
fn ext_03_a_revocation_that_is_acknowledged() {
    let mut lab = Lab::registered();
    let outcome = lab.event(revoke(home(HOA), Revoke::Binding));
    let [indication] = &outcome.revocations()[..] else { panic!("{outcome:?}") };
    assert_eq!((indication.to, indication.routing), (addr(COA), Some(HOA)));
    assert_eq!(indication.spi, spi(1));
    let (trigger, flags, ..) = (indication.message.trigger, indication.message.flags);
    assert_eq!((trigger, flags), (trigger::ADMINISTRATIVE, RevocationFlags::default()));
    assert!(outcome.unbinds().is_empty() && lab.binding().is_some());
    // Neither another number nor another mobile node's acknowledgement ends it.
    let seq = indication.message.seq;
    assert_eq!(ack(&mut lab, 0, seq.wrapping_add(1)).refusal(), Refusal::MhUnexpected);
    assert_eq!(lab.wait(millis(999)).revocations().len(), 0);
    assert_eq!(lab.wait(millis(1)).revocations()[0].message, indication.message);
    let outcome = ack(&mut lab, 0, seq);
    assert_eq!(outcome.unbinds(), [HOA]);
    let success = Answer::Acknowledged(RevocationStatus::SUCCESS);
    assert_eq!(operations(&outcome), [revoked(Revoke::Binding, success)]);
    assert_eq!(ack(&mut lab, 0, seq).refusal(), Refusal::MhUnexpected);
    assert!(lab.wait(seconds(30)).0.is_empty());
    assert_eq!(lab.ha.binding_count(), 0);
    // Nothing else forbids the mobile node to come back.
    assert_eq!(lab.bu(Bu::new(16)).status(), 0);
}

#[test]
fn ext_03_a_revocation_that_is_not_answered() {
    let mut lab = Lab::registered();
    lab.event(revoke(home(HOA), Revoke::Binding));
    let outcome = lab.wait(millis(2_999));
    assert_eq!((outcome.revocations().len(), outcome.unbinds().len()), (1, 0));
    let outcome = lab.wait(millis(1));
    assert_eq!(outcome.unbinds(), [HOA]);
    assert_eq!(operations(&outcome), [revoked(Revoke::Binding, Answer::Missing)]);
    // More often, and no longer apart than 2 s (s.11, MAX_BRACK_TIMEOUT).
    let mut lab = registered_with(with_operations(|it| it.revocation_retries = 3));
    lab.event(revoke(home(HOA), Revoke::Binding));
    let times: Vec<_> = (1..=7).map(|_| lab.wait(seconds(1)).revocations().len()).collect();
    assert_eq!(times, [1, 0, 1, 0, 1, 0, 0]);
    assert_eq!(lab.binding(), None);
}

#[test]
fn ext_03_another_mobile_nodes_acknowledgement_ends_nothing() {
    let mut lab = Lab::registered();
    lab.issue(other_sa(2));
    lab.bu(Bu::new(1).spi(2).home_address(Some(OTHER_HOA)));
    let outcome = lab.event(revoke(home(HOA), Revoke::Binding));
    let seq = outcome.revocations()[0].message.seq;
    let message = Message::RevocationAck(RevocationAck {
        status: RevocationStatus::SUCCESS,
        seq,
        flags: RevocationFlags::default(),
        bids: Repeated::default(),
    });
    let outcome = lab.header_of(2, OTHER_HOA, &message);
    assert_eq!(outcome.refusal(), Refusal::MhUnexpected);
    assert!(lab.binding().is_some());
}

/// Whatever the mobile node says: it is the operator's binding.
#[test]
fn ext_03_a_status_that_is_no_success_is_noted() {
    let mut lab = Lab::registered();
    let seq = lab.event(revoke(home(HOA), Revoke::Binding)).revocations()[0].message.seq;
    let outcome = ack(&mut lab, 132, seq);
    let answer = Answer::Acknowledged(RevocationStatus::ATTACHED);
    assert_eq!(operations(&outcome), [revoked(Revoke::Binding, answer)]);
    assert_eq!(lab.binding(), None);
    // It does not know the message at all (RFC 5846 s.6.2).
    let mut lab = Lab::registered();
    lab.event(revoke(home(HOA), Revoke::Binding));
    let outcome = binding_error(&mut lab, 2);
    assert_eq!(outcome.unbinds(), [HOA]);
    assert_eq!(operations(&outcome), [revoked(Revoke::Binding, Answer::NotUnderstood)]);
}

/// EXT-04: V and the IPv4 home address option; the IPv6 home address stays bound.
#[test]
fn ext_04_the_ipv4_home_address_alone() {
    let mut lab = Lab::new();
    lab.bu(Bu::new(1).ipv4(HOA4));
    let by_ipv4 = Selector::HomeAddress(HOA4.into());
    let outcome = lab.event(revoke(by_ipv4, Revoke::Ipv4));
    let message = outcome.revocations()[0].message.clone();
    assert_eq!(message.flags, RevocationFlags { ipv4_only: true, ..RevocationFlags::default() });
    assert_eq!(message.ipv4, Some(HOA4));
    // A refresh meanwhile is answered as ever.
    assert_eq!(lab.bu(Bu::new(2).ipv4(HOA4)).status(), 0);
    let outcome = ack(&mut lab, 0, message.seq);
    assert_eq!((outcome.binds().len(), outcome.unbinds().len()), (1, 0));
    let binding = lab.ha.binding(HOA).unwrap();
    assert_eq!((binding.ipv4_home_address, binding.sequence), (None, 2));
    // It has none any more.
    let command = Command::Revoke { who: home(HOA), what: Revoke::Ipv4, trigger: 1 };
    let now = lab.now;
    assert_eq!(lab.ha.operate(now, &command, &mut Vec::new()), Err(CommandError::Nobody));
}

/// EXT-04: some care-of addresses by their Binding Identifiers; none is named where all end.
#[test]
fn ext_04_some_binding_identifiers() {
    let bid = |id: u16, care_of: &str| Bid {
        id,
        status: Status::ACCEPTED,
        home: false,
        priority: 0,
        care_of: Some(care_of.parse().unwrap()),
    };
    let bids = [bid(1, "2001:db8:1::1"), bid(2, "2001:db8:2::1"), bid(3, "2001:db8:3::1")];
    let services = Services { care_of_addresses: 4, bulk: true, ..Services::default() };
    let several = || {
        let mut lab = Lab::new();
        lab.issue(SaInfo { services: services.clone(), ..sa(1) });
        let bu = Bu::new(15).options(|options| options.bids = Repeated::List(&bids));
        assert_eq!(lab.bu(bu).status(), 0);
        lab
    };
    let mut lab = several();
    // Of those that it has.
    let outcome = lab.event(revoke(home(HOA), Revoke::Bids(vec![3, 1, 9])));
    let message = outcome.revocations()[0].message.clone();
    let mut named = message.bids.clone();
    named.sort_unstable();
    assert_eq!(named, [1, 3]);
    let outcome = ack(&mut lab, 0, message.seq);
    assert!(outcome.unbinds().is_empty());
    let [bind] = outcome.binds()[..] else { panic!("{outcome:?}") };
    let left: Vec<_> = bind.tunnels.iter().map(|tunnel| tunnel.bid).collect();
    assert_eq!(left, [2]);
    let now = lab.now;
    let command = Command::Revoke { who: home(HOA), what: Revoke::Bids(vec![1]), trigger: 1 };
    assert_eq!(lab.ha.operate(now, &command, &mut Vec::new()), Err(CommandError::Nobody));
    // The last one takes the binding with it.
    lab.event(revoke(home(HOA), Revoke::Bids(vec![2])));
    assert_eq!(lab.wait(seconds(3)).unbinds(), [HOA]);
    // A plain Binding Update meanwhile leaves nothing to be revoked.
    let mut lab = several();
    lab.event(revoke(home(HOA), Revoke::Bids(vec![1, 2, 3])));
    assert_eq!(lab.bu(Bu::new(16)).status(), 0);
    assert!(lab.wait(seconds(3)).unbinds().is_empty());
    assert_eq!(lab.binding(), Some((addr(COA), 16)));
    let mut lab = several();
    let outcome = lab.event(revoke(home(HOA), Revoke::Binding));
    assert!(outcome.revocations()[0].message.bids.is_empty());
}

/// EXT-05: behind an operator's wish a Binding Update is refused; behind the end of a session, or a
/// doubt, it ends the revocation.
#[test]
fn ext_05_a_binding_update_races_the_revocation() {
    for (reason, status) in [(0, 129), (1, 129), (5, 0), (6, 0), (7, 0)] {
        let mut lab = Lab::registered();
        let command = Command::Revoke { who: home(HOA), what: Revoke::Binding, trigger: reason };
        lab.event(Event::Operator(command));
        let before = lab.ha.binding(HOA).unwrap().expires;
        lab.wait(millis(500));
        assert_eq!(lab.bu(Bu::new(16)).status(), status, "trigger {reason}");
        let refused = status != 0;
        assert_eq!(lab.ha.binding(HOA).unwrap().expires == before, refused);
        assert_eq!(lab.wait(seconds(10)).unbinds().len(), usize::from(refused));
        assert_eq!(lab.binding().is_none(), refused);
    }
    // A de-registration is what was wanted.
    let mut lab = Lab::registered();
    lab.event(revoke(home(HOA), Revoke::Binding));
    let outcome = lab.bu(Bu::new(16).lifetime(0));
    assert_eq!((outcome.status(), outcome.unbinds().len()), (0, 1));
    assert_eq!(operations(&outcome), [revoked(Revoke::Binding, Answer::Deregistered)]);
    assert!(lab.wait(seconds(5)).revocations().is_empty());
}

fn node(number: u32) -> SaInfo {
    let realm = if number.is_multiple_of(2) { "even.example" } else { "Odd.Example" };
    SaInfo {
        mn_id: MobileNodeId::new(&format!("{number}@{realm}")).unwrap(),
        home_address: hoa(u16::try_from(number).unwrap()),
        ipv4_home_address: None,
        ..sa(number)
    }
}

fn crowd(policy: Policy, numbers: core::ops::Range<u32>) -> Lab {
    let mut lab = Lab::with(policy);
    for number in numbers {
        let info = node(number);
        let home = info.home_address;
        lab.issue(info);
        assert_eq!(lab.bu(Bu::new(1).spi(number).home_address(Some(home))).status(), 0);
    }
    lab
}

#[test]
fn selectors_name_whom_they_say() {
    let mn_id = MobileNodeId::new("101@Odd.Example").unwrap();
    for (who, begun) in [
        (Selector::MnId(mn_id), Ok(Begun::At(1))),
        (Selector::Spi(spi(102)), Ok(Begun::At(1))),
        (home(hoa(103)), Ok(Begun::At(1))),
        (Selector::Spi(spi(99)), Err(CommandError::Nobody)),
        (home(hoa(1)), Err(CommandError::Nobody)),
        (Selector::Realm("odd.example".into()), Ok(Begun::Walk)),
        (Selector::All, Ok(Begun::Walk)),
    ] {
        let mut lab = crowd(policy(), 100..110);
        let now = lab.now;
        let what = Revoke::Binding;
        let command = Command::Revoke { who: who.clone(), what, trigger: 1 };
        assert_eq!(lab.ha.operate(now, &command, &mut Vec::new()), begun, "{who:?}");
    }
    // Realms are compared without regard to case (RFC 4282 s.2.4).
    let mut lab = crowd(policy(), 100..110);
    let mut outcome = lab.event(revoke(Selector::Realm("oDD.example".into()), Revoke::Binding));
    outcome.0.extend(lab.wait(seconds(5)).0);
    assert_eq!(operations(&outcome)[0], OperationNotice::Walked { matched: 5 });
    let gone: Vec<_> = outcome.unbinds().into_iter().collect();
    assert_eq!(gone, [101, 103, 105, 107, 109].map(hoa));
}

/// A command about many goes out at the rate of the policy, and is one at a time.
#[test]
fn revocations_of_many_are_paced() {
    let policy = with_operations(|it| it.revocations_per_second = 10);
    let mut lab = crowd(policy, 100..140);
    let mut sent = lab.event(revoke(Selector::All, Revoke::Binding)).revocations().len();
    let now = lab.now;
    let again = Command::Revoke { who: Selector::All, what: Revoke::Binding, trigger: 1 };
    let refused = lab.ha.operate(now, &again, &mut Vec::new());
    assert_eq!(refused, Err(CommandError::UnderWay));
    for _ in 0..20 {
        let burst = lab.wait(seconds(1)).revocations().len();
        assert!(burst <= 20, "{burst} in one second");
        sent += burst;
    }
    assert!(sent >= 80, "{sent}: each of the 40 twice");
    assert_eq!(lab.ha.binding_count(), 0);
    assert_eq!(lab.ha.operate(now, &again, &mut Vec::new()), Ok(Begun::Walk));
}

/// SA-07, SA-08: the operator's wish shows at the next refresh, or at one that is asked for.
#[test]
fn sa_07_reinit_by_command() {
    for invite in [false, true] {
        let mut lab = Lab::registered();
        let who = Selector::MnId(MobileNodeId::new("a@example.org").unwrap());
        let outcome = lab.event(Event::Operator(Command::Reinit { who, invite }));
        assert_eq!(outcome.refresh_requests().len(), usize::from(invite));
        let before = lab.ha.binding(HOA).unwrap().expires;
        assert_eq!(lab.bu(Bu::new(16)).answer(), (176, 16, 0));
        assert_eq!(lab.ha.binding(HOA).unwrap().expires, before);
        assert!(lab.wait(seconds(3)).refresh_requests().is_empty());
    }
    let mut lab = crowd(policy(), 100..110);
    let who = Selector::Realm("even.example".into());
    lab.event(Event::Operator(Command::Reinit { who, invite: false }));
    let status = |lab: &mut Lab, number: u32| {
        let home = node(number).home_address;
        lab.bu(Bu::new(2).spi(number).home_address(Some(home))).status()
    };
    lab.wait(seconds(1));
    assert_eq!((status(&mut lab, 104), status(&mut lab, 105)), (176, 0));
}

fn drain(to: &[Ipv6Addr], within: u64) -> Event<'static> {
    Event::Operator(Command::Drain { to: to.to_vec(), within: seconds(within) })
}

const OTHERS: [Ipv6Addr; 2] = [hoa(0xf001), hoa(0xf002)];

/// EXT-01: alternatives, 5 s doubling to 20 s, the time that is left; the de-registration answers.
#[test]
fn ext_01_home_agent_switch() {
    let mut lab = Lab::registered();
    let outcome = begin(&mut lab, drain(&OTHERS, 400));
    let [switch] = &outcome.switches()[..] else { panic!("{outcome:?}") };
    assert_eq!((switch.to, switch.routing), (addr(COA), Some(HOA)));
    assert_eq!(switch.message.1, Some(100));
    let mut told = switch.message.0.clone();
    told.sort_unstable();
    assert_eq!(told, OTHERS);
    let times: Vec<_> = (0..60).filter(|_| !lab.wait(seconds(1)).switches().is_empty()).collect();
    assert_eq!(times, [4, 14, 34]);
    // Unreachable or not, it is served to the end of its binding (s.5.3).
    assert!(lab.binding().is_some());
    let outcome = lab.bu(Bu::new(16).lifetime(0));
    assert_eq!((outcome.status(), lab.ha.binding_count()), (0, 0));
    assert!(lab.wait(seconds(60)).switches().is_empty());
}

#[test]
fn ext_01_a_deregistration_ends_the_repetition() {
    let mut lab = Lab::registered();
    let switch = begin(&mut lab, drain(&[], 0)).switches()[0].message.clone();
    // None known, and no time to say: the mobile node has to find one at once.
    assert_eq!(switch, (vec![], None));
    lab.bu(Bu::new(16).lifetime(0));
    assert!(lab.wait(seconds(60)).switches().is_empty());
}

/// RFC 5142 s.7: at most so many a second; the lists begin with another home agent each.
#[test]
fn ext_01_the_rate_is_bounded() {
    let mut lab = crowd(policy(), 100..104);
    let mut outcome = begin(&mut lab, drain(&OTHERS, 4000));
    let mut firsts = Vec::new();
    for second in 0..4 {
        if second > 0 {
            outcome = lab.wait(seconds(1));
        }
        let switches = outcome.switches();
        assert_eq!(switches.len(), 1, "second {second}");
        firsts.push(switches[0].message.0[0]);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, [OTHERS[0], OTHERS[0], OTHERS[1], OTHERS[1]]);
    for _ in 0..60 {
        assert!(lab.wait(seconds(1)).switches().len() <= 1);
    }
}

/// EXT-02: the home agent keeps serving and stops sending; it extends no binding (s.5.3).
#[test]
fn ext_02_a_mobile_node_that_does_not_know_the_message() {
    let mut lab = Lab::registered();
    begin(&mut lab, drain(&OTHERS, 400));
    let outcome = binding_error(&mut lab, 2);
    let notice = OperationNotice::SwitchNotUnderstood { home_address: HOA };
    assert_eq!(operations(&outcome), [notice]);
    assert!(lab.wait(seconds(60)).switches().is_empty());
    assert_eq!(lab.bu(Bu::new(16)).status(), 129);
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
    // Nor are new ones made.
    lab.issue(other_sa(2));
    let other = Bu::new(1).spi(2).home_address(Some(OTHER_HOA));
    assert_eq!(lab.bu(other).status(), 129);
    // Until the shutdown is called off.
    lab.event(Event::Operator(Command::Undrain));
    assert_eq!(lab.bu(Bu::new(17).from(COA2)).status(), 0);
    assert_eq!(lab.bu(other).status(), 0);
}

/// MHP-12: consumed where something is outstanding, and not otherwise.
#[test]
fn mhp_12_a_binding_error_that_answers_nothing() {
    let mut lab = Lab::registered();
    assert_eq!(binding_error(&mut lab, 2).refusal(), Refusal::MhUnexpected);
    lab.event(revoke(home(HOA), Revoke::Binding));
    assert_eq!(binding_error(&mut lab, 1).refusal(), Refusal::MhUnexpected);
    assert!(lab.binding().is_some());
    assert_eq!(binding_error(&mut lab, 2).unbinds(), [HOA]);
    assert_eq!(binding_error(&mut lab, 2).refusal(), Refusal::MhUnexpected);
}

fn heartbeat(lab: &mut Lab, heartbeat: Heartbeat) -> Outcome {
    lab.header(&mobility_header(&Message::Heartbeat(heartbeat), HOA))
}

const ASKS: Heartbeat =
    Heartbeat { unsolicited: false, response: false, seq: 0, restart_counter: None };

/// EXT-06: the same sequence number, and the restart counter; with a binding or without.
#[test]
fn ext_06_heartbeat_requests_are_answered() {
    let counting = with_operations(|it| it.restart_counter = Some(7));
    for mut lab in [Lab::with(counting.clone()), registered_with(counting)] {
        let outcome = heartbeat(&mut lab, Heartbeat { seq: 0xdead_beef, ..ASKS });
        let [answer] = outcome.heartbeats()[..] else { panic!("{outcome:?}") };
        let expected = Heartbeat {
            unsolicited: false,
            response: true,
            seq: 0xdead_beef,
            restart_counter: Some(7),
        };
        assert_eq!((answer.message, answer.to, answer.routing), (expected, addr(COA), Some(HOA)));
    }
    let mut lab = Lab::new();
    let outcome = heartbeat(&mut lab, ASKS);
    assert_eq!(outcome.heartbeats()[0].message.restart_counter, None);
    // No more a second than of error messages.
    let answered = (0..50).filter(|_| !heartbeat(&mut lab, ASKS).heartbeats().is_empty()).count();
    assert_eq!(answered, 9);
    assert_eq!(lab.ha.counters().refused(Refusal::HeartbeatLimited), 41);
}

#[test]
fn ext_06_silent_mobile_nodes_are_asked() {
    let probing = with_operations(|it| it.heartbeat_interval = seconds(60));
    let mut lab = registered_with(probing.clone());
    let outcome = lab.event(Event::Silent(spi(1)));
    let asked = outcome.heartbeats()[0].message;
    assert!(!asked.response);
    // Another number, and a response to nothing.
    let says = |seq| Heartbeat { response: true, seq, ..ASKS };
    let other = heartbeat(&mut lab, says(asked.seq.wrapping_add(1)));
    assert_eq!(other.refusal(), Refusal::MhUnexpected);
    assert!(heartbeat(&mut lab, says(asked.seq)).0.is_empty());
    assert_eq!(heartbeat(&mut lab, says(asked.seq)).refusal(), Refusal::MhUnexpected);
    assert!(lab.wait(seconds(200)).heartbeats().is_empty());

    let mut lab = registered_with(probing);
    lab.event(Event::Silent(spi(1)));
    let outcome = lab.wait(seconds(179));
    assert_eq!((outcome.heartbeats().len(), operations(&outcome).len()), (2, 0));
    let missing = OperationNotice::Unreachable { home_address: HOA };
    assert_eq!(operations(&lab.wait(seconds(1))), [missing]);
    assert!(lab.binding().is_some(), "it may come back");
    // Off by default.
    let mut lab = Lab::registered();
    assert!(lab.event(Event::Silent(spi(1))).0.is_empty());
}

#[test]
fn ext_06_a_restart_that_is_told_unasked() {
    let mut lab = Lab::registered();
    let told = Heartbeat { unsolicited: true, response: true, seq: 1, restart_counter: Some(2) };
    let notice = OperationNotice::Restarted { home_address: HOA, counter: Some(2) };
    assert_eq!(operations(&heartbeat(&mut lab, told)), [notice]);
}

/// REG-32: asked for in time, at most three times, and no more once a Binding Update came.
#[test]
fn reg_32_a_refresh_is_asked_for_before_the_end() {
    let asking = with_operations(|it| it.refresh_request_before = seconds(20));
    let mut lab = registered_with(asking.clone());
    assert!(lab.wait(millis(379_999)).refresh_requests().is_empty());
    let times: Vec<_> = (0..20)
        .filter(|n| !lab.wait(millis(if *n == 0 { 1 } else { 1000 })).refresh_requests().is_empty())
        .collect();
    assert_eq!(times, [0, 1, 3]);
    assert_eq!(lab.wait(seconds(1)).unbinds(), [HOA]);

    let mut lab = registered_with(asking.clone());
    // Refreshed in time, it is not asked for.
    lab.wait(seconds(300));
    lab.bu(Bu::new(16));
    assert!(lab.wait(seconds(379)).refresh_requests().is_empty());
    assert_eq!(lab.wait(seconds(1)).refresh_requests().len(), 1);
    lab.bu(Bu::new(17));
    assert!(lab.wait(seconds(300)).refresh_requests().is_empty());
    // Of a short lifetime three quarters pass first.
    lab.bu(Bu::new(18).lifetime(4));
    assert!(lab.wait(millis(11_999)).refresh_requests().is_empty());
    assert_eq!(lab.wait(millis(1)).refresh_requests().len(), 1);
    // Not what was de-registered.
    lab.bu(Bu::new(19).lifetime(0));
    assert!(lab.wait(seconds(400)).refresh_requests().is_empty());
}

#[test]
fn reg_32_refresh_requests_are_paced() {
    let pace = with_operations(|it| {
        it.refresh_request_before = seconds(20);
        it.refresh_requests_per_second = 10;
    });
    let mut lab = crowd(pace, 100..130);
    lab.wait(seconds(379));
    for _ in 0..20 {
        let burst = lab.wait(seconds(1)).refresh_requests().len();
        assert!(burst <= 20, "{burst}");
    }
    assert!(lab.ha.counters().refresh_requests() >= 60);
}

/// A binding's messages end with it, whoever has its place then.
#[test]
fn nothing_is_said_to_whoever_comes_after() {
    let mut lab = Lab::registered();
    lab.event(revoke(home(HOA), Revoke::Binding));
    lab.event(Event::SaRevoked(Spi::new(1).unwrap()));
    lab.issue(other_sa(2));
    assert_eq!(lab.bu(Bu::new(1).spi(2).home_address(Some(OTHER_HOA))).status(), 0);
    let outcome = lab.wait(seconds(10));
    assert!(outcome.0.iter().all(|it| !matches!(it, Action::SendSignalling { .. })), "{outcome:?}");
    assert!(lab.ha.binding(OTHER_HOA).is_some());
}
