//! SA: the life of the security associations (RFC 6618 s.4.3, 5.6, 9.3).

use core::time::Duration;

use hearth_home_agent::{
    Action, Event, Notice, Policy, Refusal, Reinit, SaEnd, SaInfo, SaState, Timestamp, Tunnels,
    WallClock,
};
use hearth_wire::Scope;
use hearth_wire::directory::SpiRange;

use crate::lab::{
    Bu, COA, COA2, HA, HOA, Lab, OTHER_HOA, Outcome, addr, hoa, other_sa, policy, sa, seconds, spi,
};

/// Lasts `n` seconds from the start.
fn lasting(n: u64, info: SaInfo) -> SaInfo {
    SaInfo { validity_end: Timestamp::from_secs(n), ..info }
}

fn carriers(outcome: &Outcome) -> Vec<Vec<u32>> {
    let list = |bind: &&Tunnels| bind.carriers.iter().map(|spi| spi.get()).collect();
    outcome.binds().iter().map(list).collect()
}

#[test]
fn sa_03_the_answer_comes_under_the_same_spi() {
    let mut lab = Lab::new();
    lab.issue(sa(2));
    assert_eq!(lab.bu(Bu::new(1)).ack().spi, spi(1));
    assert_eq!(lab.bu(Bu::new(2).spi(2)).ack().spi, spi(2));
}

#[test]
fn sa_06_one_second_before_and_after_the_end() {
    // seconds of the wall clock, which read 0.6 s past a second at the start.
    let clock = WallClock::new(Timestamp::ZERO, Duration::from_millis(1_700_000_000_600));
    let mut lab = Lab::new();
    lab.event(Event::SaRevoked(spi(1)));
    lab.issue(SaInfo { validity_end: clock.timestamp(1_700_000_100), ..sa(2) });
    lab.wait(Duration::from_millis(98_400));
    // The least lifetime that can be said; the binding ends with the SA all the same.
    assert_eq!(lab.bu(Bu::new(1).spi(2)).answer(), (0, 1, 1));
    assert!(lab.wait(Duration::from_millis(999)).0.is_empty());
    let outcome = lab.wait(Duration::from_millis(1));
    assert_eq!((outcome.unbinds(), outcome.removed_sas()), (vec![HOA], vec![2]));
    assert_eq!(lab.bu(Bu::new(2).spi(2)).refusal(), Refusal::UnknownSpi);
}

#[test]
fn the_end_is_kept_without_a_tick() {
    let mut lab = Lab::registered();
    lab.now = Timestamp::from_secs(3600);
    let outcome = lab.bu(Bu::new(16));
    assert_eq!(outcome.removed_sas(), [1]);
    assert_eq!(outcome.refusal(), Refusal::UnknownSpi);
}

#[test]
fn a_binding_never_outlives_its_sa() {
    let mut lab = Lab::new();
    lab.issue(lasting(42, sa(2)));
    // 42 s are ten whole units.
    assert_eq!(lab.bu(Bu::new(1).spi(2).lifetime(100)).answer(), (0, 1, 10));
    assert_eq!(
        lab.wait(seconds(40)).notices()[0],
        &Notice::SaEnded { spi: spi(1), why: SaEnd::Superseded }
    );
    assert!(lab.binding().is_none());
}

#[test]
fn sa_07_and_sa_08_reinit_on_the_operators_wish() {
    let mut lab = Lab::registered();
    assert!(lab.event(Event::ReinitWanted(spi(1))).0.is_empty());
    assert_eq!(lab.ha.sa(spi(1)).unwrap().reinit, Some(Reinit::Operator));
    assert_eq!(lab.bu(Bu::new(16)).answer(), (176, 16, 0));
    // A rejection: the binding is as it was, sequence number included; the old SA is usable.
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
    // Once per binding lifetime.
    assert_eq!(lab.bu(Bu::new(17)).answer(), (0, 17, 100));
    assert_eq!(lab.bu(Bu::new(18)).answer(), (176, 18, 0));
    // A new SA needs no replacement.
    lab.issue(sa(2));
    assert_eq!(lab.bu(Bu::new(19).spi(2)).answer(), (0, 19, 100));
    assert_eq!(lab.bu(Bu::new(20).spi(2)).answer(), (0, 20, 100));
}

#[test]
fn r_31_only_a_plain_refresh_gets_176() {
    type Change = fn(Bu<'static>) -> Bu<'static>;
    let rows: [(&str, Change, u8); 6] = [
        ("refresh", |bu| bu, 176),
        ("other care-of address", |bu| bu.from(COA2), 0),
        ("other port", |bu| bu.from("[2001:db8:1::c]:5001"), 0),
        ("alternate care-of address", |bu| bu.alternate("2001:db8:9::9"), 0),
        ("de-registration", |bu| bu.lifetime(0), 0),
        (
            "old sequence number",
            |mut bu| {
                bu.update.seq = 15;
                bu
            },
            135,
        ),
    ];
    for (name, change, status) in rows {
        let mut lab = Lab::registered();
        lab.event(Event::ReinitWanted(spi(1)));
        assert_eq!(lab.bu(change(Bu::new(16))).status(), status, "{name}");
    }
    let mut lab = Lab::new();
    lab.event(Event::ReinitWanted(spi(1)));
    assert_eq!(lab.bu(Bu::new(1)).status(), 0, "first registration");
}

#[test]
fn r_31_a_move_to_another_sa_is_no_refresh() {
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    lab.event(Event::ReinitWanted(spi(2)));
    assert_eq!(lab.bu(Bu::new(16).spi(2)).status(), 0);
    assert_eq!(lab.bu(Bu::new(17).spi(2)).status(), 176);
}

#[test]
fn r_31_not_while_the_binding_is_about_to_end() {
    for (waited, status) in [(393, 176), (394, 0)] {
        let mut lab = Lab::registered();
        lab.event(Event::ReinitWanted(spi(1)));
        lab.wait(seconds(waited));
        assert_eq!(lab.bu(Bu::new(16)).status(), status, "{waited}");
    }
}

#[test]
fn r_31_in_the_last_tenth_of_the_validity() {
    for (waited, status) in [(3239, 0), (3240, 176)] {
        let mut lab = Lab::new();
        lab.wait(seconds(waited - 100));
        lab.bu(Bu::new(1));
        lab.wait(seconds(100));
        lab.event(Event::Tick);
        assert_eq!(lab.bu(Bu::new(2)).status(), status, "{waited}");
        assert_eq!(lab.ha.sa(spi(1)).unwrap().reinit.is_some(), status == 176);
    }
}

#[test]
fn r_31_sequence_limit_invites_a_refresh() {
    let mut lab = Lab::registered();
    let outcome = lab.event(Event::SequenceNearEnd(spi(1)));
    let [request] = outcome.refresh_requests()[..] else { panic!("{outcome:?}") };
    assert_eq!(
        (request.to, request.from, request.routing),
        (addr(COA), (HA, 7872).into(), Some(HOA))
    );
    // The dataplane may say it for every packet.
    assert!(lab.event(Event::SequenceNearEnd(spi(1))).0.is_empty());
    // Unanswered it is repeated after 1 and 2 s more, and no more.
    for (after, sent) in [(999, 0), (1, 1), (1999, 0), (1, 1), (60_000, 0)] {
        let outcome = lab.wait(Duration::from_millis(after));
        assert_eq!(outcome.refresh_requests().len(), sent, "{after}");
    }
    assert_eq!(lab.ha.counters().refresh_requests(), 3);
    assert_eq!(lab.bu(Bu::new(16)).status(), 176);
}

/// ENC-30: it was lost, or the mobile node did not heed it.
#[test]
fn r_31_a_sequence_limit_is_told_again() {
    let mut lab = Lab::registered();
    assert_eq!(lab.event(Event::SequenceNearEnd(spi(1))).refresh_requests().len(), 1);
    lab.wait(seconds(60));
    let outcome = lab.event(Event::SequenceNearEnd(spi(1)));
    assert_eq!(outcome.refresh_requests().len(), 1);
    assert!(lab.event(Event::SequenceNearEnd(spi(1))).0.is_empty(), "one at a time");
    assert_eq!(lab.wait(seconds(60)).refresh_requests().len(), 2);
    // A mobile node that hears 176 and stays: a refresh is good again, and the next one is not.
    for (seq, status) in [(16, 176), (17, 0), (18, 176), (19, 0)] {
        assert_eq!(lab.bu(Bu::new(seq)).status(), status);
    }
    assert!(lab.wait(seconds(60)).refresh_requests().is_empty(), "nobody is nagged");
    assert_eq!(lab.event(Event::SequenceNearEnd(spi(1))).refresh_requests().len(), 1);
    // An operator's wish takes nothing back.
    lab.event(Event::ReinitWanted(spi(1)));
    assert_eq!(lab.ha.sa(spi(1)).unwrap().reinit, Some(Reinit::SequenceLimit));
}

/// ENC-30: a move comes in the place of the refresh, and is processed normally.
#[test]
fn r_31_a_move_at_a_sequence_limit_is_asked_for_a_refresh() {
    let mut lab = Lab::registered();
    lab.event(Event::SequenceNearEnd(spi(1)));
    let outcome = lab.bu(Bu::new(16).from(COA2));
    assert_eq!(outcome.status(), 0);
    let [request] = outcome.refresh_requests()[..] else { panic!("{outcome:?}") };
    assert_eq!(request.to, addr(COA2));
    let outcome = lab.bu(Bu::new(17).from(COA2));
    assert_eq!((outcome.status(), outcome.refresh_requests().len()), (176, 0));
    // The new SA is not worn.
    lab.issue(sa(2));
    let outcome = lab.bu(Bu::new(18).from(COA2).spi(2));
    assert_eq!((outcome.status(), outcome.refresh_requests().len()), (0, 0));
}

#[test]
fn reg_32_a_binding_update_stops_the_requests() {
    let mut lab = Lab::registered();
    // to where the last accepted update came from, not to the alternate care-of address.
    lab.bu(Bu::new(16).from(COA2).alternate("2001:db8:9::9"));
    let outcome = lab.event(Event::SequenceNearEnd(spi(1)));
    assert_eq!(outcome.refresh_requests()[0].to, addr(COA2));
    assert_eq!(lab.bu(Bu::new(17).from(COA2).alternate("2001:db8:9::9")).status(), 176);
    assert!(lab.wait(seconds(60)).refresh_requests().is_empty());
}

#[test]
fn a_sequence_limit_without_a_binding_asks_nobody() {
    let mut lab = Lab::new();
    assert!(lab.event(Event::SequenceNearEnd(spi(1))).0.is_empty());
    assert!(lab.event(Event::SequenceNearEnd(spi(99))).0.is_empty());
}

#[test]
fn sa_09_make_before_break() {
    let mut lab = Lab::registered();
    // Issued: data may come under it at once, signalling under both.
    let outcome = lab.issue(sa(2));
    assert_eq!(outcome.0[0], Action::InstallSa(spi(2)));
    assert_eq!(carriers(&outcome), [[1, 2]]);
    assert_eq!(lab.bu(Bu::new(16)).status(), 0);
    // The first accepted update under the newer one moves the binding; the older one still
    // carries data, and data only.
    let outcome = lab.bu(Bu::new(17).spi(2));
    assert_eq!(outcome.status(), 0);
    assert_eq!(carriers(&outcome), [[1, 2]]);
    assert_eq!(outcome.bind().tunnels[0].spi, spi(2));
    assert!(outcome.removed_sas().is_empty());
    assert_eq!(lab.bu(Bu::new(18)).refusal(), Refusal::SupersededSa);
    assert_eq!(lab.ha.sa(spi(1)).unwrap().state, SaState::Superseded);
    assert_eq!(lab.ha.sa(spi(2)).unwrap().state, SaState::Used);
    // And is gone after the grace time.
    assert!(lab.wait(Duration::from_millis(9_999)).0.is_empty());
    let outcome = lab.wait(Duration::from_millis(1));
    assert_eq!(carriers(&outcome), [[2]]);
    assert_eq!(outcome.removed_sas(), [1]);
    assert_eq!(lab.bu(Bu::new(18)).refusal(), Refusal::UnknownSpi);
    assert_eq!(lab.binding(), Some((addr(COA), 17)));
}

#[test]
fn r_15_a_de_registration_under_the_newer_one_counts() {
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    assert_eq!(lab.bu(Bu::new(16).spi(2).lifetime(0)).status(), 0);
    assert_eq!(lab.bu(Bu::new(17)).refusal(), Refusal::SupersededSa);
    assert_eq!(lab.wait(seconds(10)).removed_sas(), [1]);
}

#[test]
fn r_15_a_refused_update_supersedes_nothing() {
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    assert_eq!(lab.bu(Bu::new(15).spi(2)).status(), 135);
    assert_eq!(lab.ha.sa(spi(1)).unwrap().state, SaState::Used);
    assert_eq!(lab.bu(Bu::new(16)).status(), 0);
}

#[test]
fn r_15_superseded_while_the_validity_ends_sooner() {
    let mut lab = Lab::new();
    lab.issue(lasting(5, sa(2)));
    lab.bu(Bu::new(1).spi(2).lifetime(1));
    lab.issue(sa(3));
    lab.bu(Bu::new(2).spi(3));
    let outcome = lab.wait(seconds(5));
    assert_eq!(outcome.removed_sas(), [2]);
    let ended = Notice::SaEnded { spi: spi(2), why: SaEnd::Validity };
    assert!(outcome.notices().contains(&&ended));
}

#[test]
fn r_15_without_grace_the_older_one_goes_at_once() {
    let mut lab = Lab::with(Policy { sa_grace: Duration::ZERO, ..policy() });
    lab.issue(sa(2));
    assert_eq!(lab.bu(Bu::new(1).spi(2)).removed_sas(), [1]);
}

#[test]
fn r_15_at_most_64_and_the_oldest_unused_go_first() {
    let mut lab = Lab::registered();
    for number in 2..=64 {
        assert!(lab.issue(sa(number)).removed_sas().is_empty(), "{number}");
    }
    assert_eq!(lab.issue(sa(65)).removed_sas(), [2]);
    assert_eq!(lab.issue(sa(66)).removed_sas(), [3]);
    assert_eq!(lab.ha.sa_count(), 64);
    // The one in use stays.
    assert_eq!(lab.bu(Bu::new(16)).status(), 0);
    // Another mobile node's do not count.
    assert!(lab.issue(other_sa(67)).removed_sas().is_empty());
}

#[test]
fn r_15_a_replayed_record_does_not_lengthen_the_grace() {
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    lab.bu(Bu::new(16).spi(2));
    lab.issue(lasting(7200, sa(1)));
    assert_eq!(lab.wait(seconds(10)).removed_sas(), [1]);
}

#[test]
fn r_15_what_was_superseded_does_not_come_back() {
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    lab.bu(Bu::new(16).spi(2));
    lab.wait(seconds(10));
    // A directory replays it.
    let outcome = lab.issue(sa(1));
    assert!(!outcome.0.contains(&Action::InstallSa(spi(1))));
    assert_eq!(lab.bu(Bu::new(17)).refusal(), Refusal::UnknownSpi);
}

#[test]
fn r_15_what_was_superseded_stays_gone_after_the_newer_one() {
    let mut lab = Lab::registered();
    lab.issue(lasting(100, sa(2)));
    lab.bu(Bu::new(16).spi(2));
    // The older one goes with its grace time, the newer one with its validity.
    lab.wait(seconds(100));
    assert_eq!(lab.ha.sa_count(), 0);
    // It is valid at the HAC for an hour: a lookup or a replay of the watch names it again.
    for _ in 0..2 {
        let ended = Notice::SaEnded { spi: spi(1), why: SaEnd::Superseded };
        assert_eq!(lab.issue(sa(1)).0, [Action::Notice(ended)]);
        lab.event(Event::WatchBegun);
    }
    assert_eq!(lab.bu(Bu::new(17)).refusal(), Refusal::UnknownSpi);
    // The mobile node's next SA is welcome.
    assert_eq!(lab.issue(sa(3)).0, [Action::InstallSa(spi(3))]);
}

#[test]
fn r_23_no_sa_is_installed_twice() {
    type End = fn(&mut Lab);
    let ends: [(End, SaEnd); 4] = [
        (|lab| drop(lab.event(Event::SaRevoked(spi(1)))), SaEnd::Revoked),
        (
            |lab| {
                lab.event(Event::WatchBegun);
                lab.event(Event::WatchSynced);
            },
            SaEnd::Revoked,
        ),
        (|lab| drop((2..=65).map(|n| lab.issue(sa(n))).collect::<Vec<_>>()), SaEnd::TooMany),
        // The wall clock is stepped back behind the end.
        (|lab| drop(lab.wait(seconds(3600))), SaEnd::Validity),
    ];
    for (end, why) in ends {
        let mut lab = Lab::new();
        end(&mut lab);
        assert!(lab.ha.sa(spi(1)).is_none(), "{why:?}");
        let ended = Action::Notice(Notice::SaEnded { spi: spi(1), why });
        assert_eq!(lab.issue(lasting(7000, sa(1))).0, [ended]);
    }
    // Nor under another description of the same issue.
    let mut lab = Lab::registered();
    let outcome = lab.issue(SaInfo { scope: Scope::Signalling, ..sa(1) });
    assert!(!outcome.0.contains(&Action::InstallSa(spi(1))), "{outcome:?}");
    assert_eq!((outcome.removed_sas(), lab.ha.sa_count()), (vec![1], 0));
}

#[test]
fn a_new_sa_with_another_home_address() {
    let mut lab = Lab::registered();
    let elsewhere = SaInfo { home_address: hoa(0xcc), ipv4_home_address: None, ..sa(2) };
    assert!(lab.issue(elsewhere).binds().is_empty());
    let outcome = lab.bu(Bu::new(1).spi(2).home_address(Some(hoa(0xcc))));
    assert_eq!((outcome.status(), carriers(&outcome)), (0, vec![vec![2]]));
    // The old binding ends with its SA, and says so.
    assert_eq!(lab.ha.binding(HOA).unwrap().expires, Timestamp::from_secs(10));
    let outcome = lab.wait(seconds(10));
    assert_eq!((outcome.unbinds(), outcome.removed_sas()), (vec![HOA], vec![1]));
    assert_eq!(lab.ha.binding_count(), 1);
}

#[test]
fn sa_10_revoked() {
    let mut lab = Lab::registered();
    let outcome = lab.event(Event::SaRevoked(spi(1)));
    assert_eq!((outcome.unbinds(), outcome.removed_sas()), (vec![HOA], vec![1]));
    assert_eq!(outcome.notices()[0], &Notice::EndedWithSa { home_address: HOA, spi: spi(1) });
    assert_eq!(lab.bu(Bu::new(16)).refusal(), Refusal::UnknownSpi);
    assert!(lab.event(Event::SaRevoked(spi(1))).0.is_empty());
    assert_eq!((lab.ha.sa_count(), lab.ha.next_deadline()), (0, None));
}

#[test]
fn sa_13_another_mobile_nodes_home_address() {
    let mut lab = Lab::registered();
    lab.issue(other_sa(2));
    let outcome = lab.bu(Bu::new(99).spi(2).from(COA2));
    assert_eq!(outcome.refusal(), Refusal::HomeAddressForeign);
    let [Notice::ForeignHomeAddress { claimed, mn_id, spi: under, remote }] = outcome.notices()[..]
    else {
        panic!("{outcome:?}")
    };
    assert_eq!((*claimed, mn_id.as_str()), (HOA, "b@example.org"));
    assert_eq!((*under, *remote), (spi(2), addr(COA2)));
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
    // Whether or not that address is known, registered or to be de-registered.
    let free = Bu::new(1).home_address(Some(hoa(0xdead)));
    assert_eq!(lab.bu(free).refusal(), Refusal::HomeAddressForeign);
    let end = Bu::new(99).spi(2).lifetime(0);
    assert_eq!(lab.bu(end).refusal(), Refusal::HomeAddressForeign);
}

#[test]
fn r_50_a_replay_drops_what_it_does_not_name_and_restarts_nothing() {
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    lab.issue(other_sa(3));
    lab.event(Event::WatchBegun);
    // Known: its keys and its replay window stay.
    assert!(lab.issue(sa(1)).0.is_empty());
    assert!(lab.issue(sa(2)).0.is_empty());
    assert_eq!(lab.issue(sa(4)).0[0], Action::InstallSa(spi(4)));
    let outcome = lab.event(Event::WatchSynced);
    assert_eq!(outcome.removed_sas(), [3]);
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
    assert!(lab.event(Event::WatchSynced).0.is_empty());
}

/// one of several HACs is through with its replay; what another one deals out waits for that one.
#[test]
fn r_51_a_replay_of_one_hac_drops_only_what_that_one_deals_out() {
    let range = |first, last| SpiRange::new(spi(first), spi(last)).unwrap();
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    lab.issue(other_sa(7));
    lab.issue(other_sa(8));
    lab.event(Event::WatchBegun);
    lab.issue(sa(2));
    let outcome = lab.event(Event::SpisSynced(range(1, 5)));
    assert_eq!(outcome.removed_sas(), [1]);
    assert_eq!(lab.binding(), None, "a binding never outlives its SA");
    // The other one is back.
    lab.issue(other_sa(8));
    assert_eq!(lab.event(Event::SpisSynced(range(6, 9))).removed_sas(), [7]);
    assert!(lab.event(Event::WatchSynced).0.is_empty());
    assert_eq!(lab.bu(Bu::new(9).spi(2)).ack().spi, spi(2));
}

#[test]
fn a_replayed_record_may_move_the_end() {
    let mut lab = Lab::registered();
    assert!(lab.issue(lasting(50, sa(1))).0.is_empty());
    assert_eq!(lab.wait(seconds(50)).removed_sas(), [1]);
    // Of another SA's end the binding takes no notice.
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    lab.issue(lasting(50, sa(2)));
    assert_eq!(lab.wait(seconds(50)).removed_sas(), [2]);
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
    let mut lab = Lab::registered();
    lab.issue(lasting(7200, sa(1)));
    assert!(lab.wait(seconds(7199)).removed_sas().is_empty());
    assert_eq!(lab.wait(seconds(1)).removed_sas(), [1]);
}

#[test]
fn an_spi_that_comes_back_as_another_sa() {
    // R-51 rules it out; the newer record counts, under fresh keys.
    let mut lab = Lab::registered();
    let outcome = lab.issue(other_sa(1));
    assert_eq!((outcome.unbinds(), outcome.removed_sas()), (vec![HOA], vec![1]));
    assert_eq!(outcome.0.last(), Some(&Action::InstallSa(spi(1))));
    let other = Bu::new(1).home_address(Some(OTHER_HOA));
    assert_eq!(lab.bu(other).status(), 0);
}

#[test]
fn an_sa_that_has_ended_is_not_installed() {
    let mut lab = Lab::new();
    lab.wait(seconds(100));
    let outcome = lab.issue(lasting(100, sa(2)));
    let ended = Action::Notice(Notice::SaEnded { spi: spi(2), why: SaEnd::Validity });
    assert_eq!(outcome.0, [ended]);
}
