//! Returning home (RFC 6275 s.11.5.5).

use super::*;

fn home() -> Path {
    Path { interface: "home".into(), ..path("2001:db8:b:1::10") }
}

fn door() -> Path {
    Path { interface: "home".into(), ..path("2001:db8:b:1::1234") }
}

fn arrives(bench: &mut Bench) {
    bench.node.on_home(Some((home(), door())), bench.now);
}

/// The number of the one Heartbeat, which goes by the door.
fn knock(actions: &[Action]) -> u32 {
    let probes: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Probe(probe) => Some(probe),
            _ => None,
        })
        .collect();
    assert_eq!((probes.len(), &probes[0].path), (1, &door()));
    probes[0].seq
}

/// Nothing leaves from the home address before the link-layer address of the next hop is known, and the
/// tunnel carries data until the home agent has stopped.
#[test]
fn knocks_then_deregisters_from_the_home_address() {
    let mut bench = Bench::registered(&[net6()]);
    arrives(&mut bench);
    let actions = bench.done();
    let seq = knock(&actions);
    assert!(!actions.iter().any(|action| matches!(action, Action::Send(_) | Action::Carry(_))));
    bench.node.on_heartbeat(seq, bench.now);
    let actions = bench.done();
    assert!(actions.contains(&Action::Open(home())));
    let update = actions.iter().cloned().find_map(sent).unwrap();
    assert_eq!((update.path.clone(), update.lifetime), (home(), 0));
    assert_eq!(update.purpose, Purpose::Return);
    assert!(!actions.iter().any(|action| matches!(action, Action::Carry(_))));
    bench.accept(&update, 0);
    let actions = bench.done();
    assert!(actions.contains(&Action::Carry(None)) && bench.node.is_at_home());
    assert!(bench.node.binding().is_none());
    // It rests: no refresh, whatever the other networks do.
    bench.paths(&[net6(), net4()]);
    bench.wait(600.0);
    assert_eq!(bench.done().into_iter().filter_map(sent).count(), 0);
}

/// RFC 6275 s.10.3.2: a home agent without a binding says 133, and defends nothing.
#[test]
fn status_133_is_as_good_as_accepted_at_home() {
    let mut bench = Bench::registered(&[net6()]);
    arrives(&mut bench);
    let seq = knock(&bench.done());
    bench.node.on_heartbeat(seq, bench.now);
    let update = bench.update();
    assert!(bench.answer(&update, Status::NOT_HOME_AGENT, 0));
    assert!(bench.node.is_at_home());
}

/// Refused or unanswered it is said again, with a new number, and no other path takes it over.
#[test]
fn the_deregistration_is_retransmitted_on_the_home_link() {
    let mut bench = Bench::registered(&[net6(), net4()]);
    arrives(&mut bench);
    let seq = knock(&bench.done());
    bench.node.on_heartbeat(seq, bench.now);
    let mut last = bench.update().seq;
    for _ in 0..6 {
        bench.next();
        for update in bench.done().into_iter().filter_map(sent) {
            assert_eq!((update.path, update.purpose), (home(), Purpose::Return));
            assert_eq!(update.seq, last.wrapping_add(1));
            last = update.seq;
        }
    }
    assert!(!bench.node.is_at_home() && last > 104);
}

#[test]
fn a_home_agent_that_answers_no_heartbeat_is_told_after_three() {
    let mut bench = Bench::registered(&[net6()]);
    arrives(&mut bench);
    knock(&bench.done());
    let mut knocks = 1;
    let update = loop {
        bench.next();
        let actions = bench.done();
        knocks += actions.iter().filter(|action| matches!(action, Action::Probe(_))).count();
        if let Some(update) = actions.into_iter().find_map(sent) {
            break update;
        }
    };
    assert_eq!((knocks, update.path), (3, home()));
}

#[test]
fn leaving_home_is_a_first_registration() {
    let mut bench = Bench::registered(&[net6()]);
    arrives(&mut bench);
    let seq = knock(&bench.done());
    bench.node.on_heartbeat(seq, bench.now);
    let update = bench.update();
    bench.accept(&update, 0);
    bench.done();
    bench.node.on_home(None, bench.now);
    let update = bench.update();
    assert_eq!((update.path.clone(), update.purpose), (net6(), Purpose::Initial));
    bench.accept(&update, 150);
    assert!(bench.done().contains(&Action::Carry(Some((net6(), spi(1))))));
}

/// The link is gone before the home agent has answered: whatever it knows, it hears of the old network.
#[test]
fn a_return_that_is_called_off_is_undone() {
    let mut bench = Bench::registered(&[net6()]);
    arrives(&mut bench);
    let seq = knock(&bench.done());
    bench.node.on_heartbeat(seq, bench.now);
    bench.update();
    bench.node.on_home(None, bench.now);
    let update = bench.update();
    assert_eq!((update.path, update.lifetime), (net6(), 150));
}
