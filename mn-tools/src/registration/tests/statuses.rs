//! What the node does about each status of a Binding Acknowledgement (RFC 6275 s.6.1.8, 11.7.3; RFC
//! 3963 s.7.4; RFC 5555 s.3.2; RFC 6618 s.6.5, 9.4). 135 and 176 have tests of their own beside this.

use super::*;

/// A node that has a binding and whose refresh is refused: what it has done by the time that it
/// would send again, and when that is.
fn refused(status: u8) -> (Bench, Vec<Action>) {
    let mut bench = Bench::registered(&[net6()]);
    bench.next();
    let update = bench.update();
    assert!(bench.answer(&update, Status(status), 0));
    let actions = bench.done();
    (bench, actions)
}

/// The old binding stays as it is, a person is told, and the same is asked again with growing pauses and
/// new numbers.
fn is_told_and_asked_again(status: u8) {
    let (mut bench, actions) = refused(status);
    let told = Report::Refused(Purpose::Refresh, Status(status));
    assert_eq!(reports(&actions), [&told], "status {status}");
    assert!(bench.node.binding().is_some(), "status {status}");
    let mut pauses = vec![];
    for _ in 0..3 {
        let before = (bench.now - bench.begin).as_secs_f64();
        pauses.push(bench.next() - before);
        let update = bench.update();
        assert!(bench.answer(&update, Status(status), 0));
        bench.done();
    }
    assert_eq!(pauses, [2.0, 8.0, 32.0], "status {status}");
}

/// A lifetime is granted with statuses below 128, 1 (a prefix discovery is needed) among them.
#[test]
fn statuses_0_and_1_are_a_binding() {
    for status in [Status::ACCEPTED, Status(1)] {
        let mut bench = Bench::with_paths(&[net6()]);
        let update = bench.update();
        assert!(bench.answer(&update, status, 150));
        assert_eq!(bench.node.binding().unwrap().lifetime, Duration::from_secs(600));
        let actions = bench.done();
        let [Report::Registered(registered)] = reports(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!(registered.status, status);
    }
}

#[test]
fn status_128_reason_unspecified() {
    is_told_and_asked_again(128);
}

#[test]
fn status_129_administratively_prohibited() {
    is_told_and_asked_again(129);
}

#[test]
fn status_130_insufficient_resources() {
    is_told_and_asked_again(130);
}

#[test]
fn status_131_home_registration_not_supported() {
    is_told_and_asked_again(131);
}

#[test]
fn status_132_not_home_subnet() {
    is_told_and_asked_again(132);
}

#[test]
fn status_133_not_home_agent_for_this_mobile_node() {
    is_told_and_asked_again(133);
}

/// The home address is another's: the HAC may give a better one, which is registered at once.
#[test]
fn status_134_duplicate_address_asks_the_hac() {
    let (mut bench, actions) = refused(134);
    assert!(actions.contains(&Action::Bootstrap));
    bench.issue(2, 86400);
    assert_eq!(bench.update().spi, spi(2));
}

/// Those of correspondents (136 to 138), and of others' extensions (139 to 145).
#[test]
fn statuses_136_to_145_that_no_home_agent_of_ours_sends() {
    for status in [136, 137, 138, 139, 144, 145] {
        is_told_and_asked_again(status);
    }
}

/// RFC 3963 s.7.4: a mobile network prefix that is not ours, or no forwarding for it.
#[test]
fn statuses_140_to_143_of_mobile_networks() {
    for status in 140..=143 {
        is_told_and_asked_again(status);
    }
}

/// RFC 5648 s.4.1: several care-of addresses are not wanted, or not like this.
#[test]
fn statuses_164_to_169_of_several_care_of_addresses() {
    for status in 164..=169 {
        is_told_and_asked_again(status);
    }
}

/// 174: this care-of address is not to be; another one may.
#[test]
fn status_174_invalid_care_of_address_changes_the_path() {
    let mut bench = Bench::registered(&[net6(), net4()]);
    bench.next();
    let update = bench.update();
    assert!(bench.answer(&update, Status::INVALID_COA, 0));
    let update = bench.update();
    assert_eq!((update.path, update.purpose), (net4(), Purpose::Handover));
    let (bench, actions) = refused(174);
    assert!(reports(&actions).contains(&&Report::Refused(Purpose::Refresh, Status(174))));
    assert!(bench.node.binding().is_some(), "there is no other");
}

/// A code that nobody has defined yet is a refusal from 128 on, and a success below (s.6.1.8).
#[test]
fn statuses_of_the_future() {
    is_told_and_asked_again(255);
    let mut bench = Bench::with_paths(&[net6()]);
    let update = bench.update();
    assert!(bench.answer(&update, Status(127), 150));
    assert!(bench.node.binding().is_some());
}

/// A refused de-registration is no reason to stay.
#[test]
fn a_refused_deregistration_ends_the_node_all_the_same() {
    let mut bench = Bench::registered(&[net6()]);
    bench.node.on_stop(bench.now);
    let update = bench.update();
    assert!(bench.answer(&update, Status(129), 0));
    let actions = bench.done();
    assert!(
        actions.contains(&Action::Report(Report::Refused(Purpose::Deregistration, Status(129))))
    );
    assert_eq!(actions.last(), Some(&Action::Stopped));
}
