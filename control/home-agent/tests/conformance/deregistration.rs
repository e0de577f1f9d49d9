//! DRG: de-registration (RFC 6275 s.10.3.2).

use hearth_home_agent::{Action, Event, Notice, Policy};

use crate::lab::{Bu, COA, COA2, HOA, HOA4, Lab, addr, policy, sa, seconds, spi};

const AT_HOME: &str = "[2001:db8:6618:100::a]:5000";

#[test]
fn drg_01_from_the_care_of_address() {
    let mut lab = Lab::registered();
    let outcome = lab.bu(Bu::new(16).lifetime(0));
    assert_eq!(outcome.answer(), (0, 16, 0));
    assert_eq!(outcome.ack().message.options.refresh_advice, None);
    assert_eq!((outcome.ack().to, outcome.ack().routing), (addr(COA), Some(HOA)));
    assert_eq!(outcome.0[0], Action::Unbind { home_address: HOA });
    assert_eq!(outcome.notices(), [&Notice::Deregistered { home_address: HOA }]);
    assert_eq!((lab.binding(), lab.ha.binding_count()), (None, 0));
    // Nothing ends a second time.
    assert!(lab.wait(seconds(1000)).unbinds().is_empty());
}

#[test]
fn drg_02_without_a_binding() {
    let mut lab = Lab::new();
    assert_eq!(lab.bu(Bu::new(1).lifetime(0)).answer(), (133, 1, 0));
    let mut lab = Lab::registered();
    lab.bu(Bu::new(16).lifetime(0));
    assert_eq!(lab.bu(Bu::new(17).lifetime(0)).answer(), (133, 17, 0));
}

#[test]
fn drg_03_at_home_without_home_address_option() {
    let mut lab = Lab::registered();
    let outcome = lab.bu(Bu::new(16).lifetime(0).home_address(None).from(AT_HOME));
    let ack = outcome.ack();
    assert_eq!((ack.message.status, ack.message.lifetime), (0, 0));
    assert_eq!((ack.to, ack.routing), (addr(AT_HOME), None));
    assert_eq!(outcome.unbinds(), [HOA]);
    // At home there is no tunnel, and no NAT to speak of.
    let mut lab = Lab::with(Policy { nat66_follow_source: true, ..policy() });
    lab.bu(Bu::new(15));
    let ack = lab.bu(Bu::new(16).lifetime(0).home_address(None).from(AT_HOME)).ack();
    assert_eq!(ack.message.options.nat_detection, None);
    // With the option it is answered as any other, with a routing header.
    let mut lab = Lab::registered();
    let ack = lab.bu(Bu::new(16).lifetime(0).from(AT_HOME)).ack();
    assert_eq!((ack.message.status, ack.routing), (0, Some(HOA)));
}

#[test]
fn drg_04_refused_at_home() {
    let mut lab = Lab::new();
    let ack = lab.bu(Bu::new(1).lifetime(0).home_address(None).from(AT_HOME)).ack();
    assert_eq!((ack.message.status, ack.to, ack.routing), (133, addr(AT_HOME), None));
}

#[test]
fn drg_05_and_drg_06_delayed_update_during_the_hold() {
    let mut lab = Lab::registered();
    let outcome = lab.bu(Bu::new(20).lifetime(0).home_address(None).from(AT_HOME));
    assert_eq!(outcome.unbinds(), [HOA]);
    lab.wait(seconds(9));
    let outcome = lab.bu(Bu::new(19));
    assert_eq!(outcome.answer(), (135, 20, 0));
    assert_eq!(outcome.ack().to, addr(COA));
    assert!(outcome.binds().is_empty());
    assert_eq!(lab.binding(), None);
}

#[test]
fn the_hold_is_that_of_the_sa_that_ended_the_binding() {
    let mut lab = Lab::registered();
    lab.issue(sa(2));
    lab.bu(Bu::new(20).spi(2).lifetime(0));
    lab.event(Event::SaRevoked(spi(1)));
    assert_eq!(lab.bu(Bu::new(19).spi(2)).answer(), (135, 20, 0));
}

#[test]
fn a_newer_update_during_the_hold_registers() {
    let mut lab = Lab::registered();
    lab.bu(Bu::new(20).lifetime(0));
    let outcome = lab.bu(Bu::new(21).from(COA2));
    assert_eq!(outcome.answer(), (0, 21, 100));
    assert!(matches!(outcome.notices()[..], [Notice::Registered { .. }]));
    // The hold's end does not end the binding.
    assert!(lab.wait(seconds(399)).unbinds().is_empty());
    assert_eq!(lab.binding(), Some((addr(COA2), 21)));
}

#[test]
fn drg_07_after_the_hold() {
    let mut lab = Lab::registered();
    lab.bu(Bu::new(20).lifetime(0));
    lab.wait(seconds(10));
    assert_eq!(lab.bu(Bu::new(5)).answer(), (0, 5, 100));
}

#[test]
fn drg_08_with_an_old_sequence_number() {
    for seq in [15, 14, 32783] {
        let mut lab = Lab::registered();
        let outcome = lab.bu(Bu::new(seq).lifetime(0));
        assert_eq!(outcome.answer(), (135, 15, 0));
        assert!(outcome.unbinds().is_empty());
        assert_eq!(lab.binding(), Some((addr(COA), 15)));
    }
}

#[test]
fn drg_09_care_of_address_equal_to_the_home_address() {
    // a lifetime makes it a registration, and that care-of address is none.
    let mut lab = Lab::registered();
    assert_eq!(lab.bu(Bu::new(16).from(AT_HOME)).answer(), (174, 16, 0));
    assert_eq!(lab.bu(Bu::new(17).alternate(&HOA.to_string())).answer(), (174, 17, 0));
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
    // Lifetime 0 is one, whatever care-of address it names.
    assert_eq!(lab.bu(Bu::new(18).alternate(&HOA.to_string()).lifetime(0)).answer(), (0, 18, 0));
}

#[test]
fn drg_10_and_dsm_16_both_families_end() {
    let mut lab = Lab::registered();
    lab.bu(Bu::new(16).ipv4(HOA4));
    assert_eq!(lab.ha.binding(HOA).unwrap().ipv4_home_address, Some(HOA4));
    let outcome = lab.bu(Bu::new(17).lifetime(0).ipv4(HOA4));
    assert_eq!(outcome.unbinds(), [HOA]);
    assert_eq!(outcome.ack().message.options.ipv4_ack, None);
    assert_eq!(lab.binding(), None);
}
