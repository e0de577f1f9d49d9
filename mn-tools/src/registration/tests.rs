//! Recorded steps: what goes in, at which second, and what comes out.

use super::*;
use hearth_wire::mh::{NatDetection, Status};

mod home;
mod probing;
mod statuses;

/// A node, a clock and what the node wants done.
struct Bench {
    node: Registration,
    begin: Instant,
    now: Instant,
}

fn spi(number: u32) -> Spi {
    Spi::new(number).unwrap()
}

fn path(care_of: &str) -> Path {
    let care_of: std::net::IpAddr = care_of.parse().unwrap();
    let home_agent = if care_of.is_ipv6() { "[2001:db8:a::10]:7872" } else { "198.51.100.10:7872" };
    let interface = if care_of.is_ipv6() { "visit6" } else { "visit4" };
    let home_agent = home_agent.parse().unwrap();
    Path { interface: interface.into(), index: 1, epoch: 0, care_of, home_agent }
}

fn net6() -> Path {
    path("2001:db8:6::100")
}

fn net4() -> Path {
    path("198.51.100.70")
}

impl Bench {
    fn new() -> Self {
        let begin = Instant::now();
        Self { node: Registration::new(Timers::default(), 100), begin, now: begin }
    }

    /// A node with an SA (valid for a day) and these paths, whose first update is out.
    fn with_paths(paths: &[Path]) -> Self {
        let mut bench = Self::new();
        bench.node.start();
        bench.paths(paths);
        bench.issue(1, 86400);
        bench
    }

    /// The same, registered for 600 s.
    fn registered(paths: &[Path]) -> Self {
        let mut bench = Self::with_paths(paths);
        let update = bench.update();
        bench.accept(&update, 150);
        bench.done();
        bench
    }

    fn at(&self, seconds: f64) -> Instant {
        self.begin + Duration::from_secs_f64(seconds)
    }

    fn paths(&mut self, paths: &[Path]) {
        self.node.on_paths(paths.to_vec(), self.now);
    }

    fn issue(&mut self, number: u32, validity: u64) {
        let valid_until = self.now + Duration::from_secs(validity);
        let renew_at = self.now + Duration::from_secs(validity) * 4 / 5;
        self.node.on_association(Association { spi: spi(number), valid_until, renew_at }, self.now);
    }

    /// All actions until now.
    fn done(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.node.action()).collect()
    }

    /// The one Binding Update among the actions until now.
    fn update(&mut self) -> Update {
        let updates: Vec<_> = self.done().into_iter().filter_map(sent).collect();
        assert_eq!(updates.len(), 1, "{updates:?}");
        updates[0].clone()
    }

    fn ack(&self, update: &Update, status: Status, lifetime: u16) -> Ack {
        let nat_detection = update
            .path
            .care_of
            .is_ipv4()
            .then_some(NatDetection { force_udp: true, refresh_time: 110 });
        let seq = update.seq;
        Ack { spi: update.spi, status, seq, lifetime, refresh_advice: None, nat_detection }
    }

    fn answer(&mut self, update: &Update, status: Status, lifetime: u16) -> bool {
        self.node.on_ack(&self.ack(update, status, lifetime), self.now)
    }

    fn accept(&mut self, update: &Update, lifetime: u16) {
        assert!(self.answer(update, Status::ACCEPTED, lifetime));
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.node.on_timer(self.now);
    }

    /// Goes on to the node's next deadline: the seconds since the beginning.
    fn next(&mut self) -> f64 {
        self.now = self.node.deadline().expect("a deadline");
        self.node.on_timer(self.now);
        (self.now - self.begin).as_secs_f64()
    }
}

fn sent(action: Action) -> Option<Update> {
    match action {
        Action::Send(update) => Some(update),
        _ => None,
    }
}

fn reports(actions: &[Action]) -> Vec<&Report> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Report(report) => Some(report),
            _ => None,
        })
        .collect()
}

#[test]
fn bootstraps_opens_registers_and_carries() {
    let mut bench = Bench::new();
    bench.node.start();
    assert_eq!(bench.done(), [Action::Bootstrap]);
    bench.paths(&[net6()]);
    bench.issue(7, 86400);
    let update = Update {
        path: net6(),
        spi: spi(7),
        seq: 100,
        lifetime: 150,
        purpose: Purpose::Initial,
        withdraws: Vec::new(),
    };
    assert_eq!(
        bench.done(),
        [
            Action::Open(net6()),
            Action::Report(Report::Registering(Purpose::Initial, net6())),
            Action::Send(update.clone()),
        ]
    );
    bench.now += Duration::from_millis(30);
    bench.accept(&update, 150);
    let actions = bench.done();
    assert_eq!(actions[0], Action::Carry(Some((net6(), spi(7)))));
    let Action::Report(Report::Registered(registered)) = &actions[1] else { panic!("{actions:?}") };
    assert_eq!(registered.round_trip, Duration::from_millis(30));
    assert_eq!((registered.tries, registered.nat, &registered.previous), (1, None, &None));
    assert_eq!(actions.len(), 2);
    assert_eq!(bench.node.binding().unwrap().expires, bench.at(600.0));
}

/// RFC 6275 s.11.8: 1.5 s without a binding, doubled up to 32 s, a new number each time.
#[test]
fn first_registration_backs_off_from_one_and_a_half_seconds() {
    let mut bench = Bench::with_paths(&[net6()]);
    let mut seqs = vec![bench.update().seq];
    let mut times = vec![];
    while times.len() < 8 {
        let time = bench.next();
        let actions = bench.done();
        if actions.contains(&Action::Bootstrap) {
            // The SA is doubted after six; the same goes on while a new one is fetched.
            assert!(reports(&actions).contains(&&Report::Unanswered(6)));
        }
        for update in actions.into_iter().filter_map(sent) {
            times.push(time);
            seqs.push(update.seq);
        }
    }
    assert_eq!(times, [1.5, 4.5, 10.5, 22.5, 46.5, 78.5, 110.5, 142.5]);
    assert_eq!(seqs, (100..109).collect::<Vec<u16>>());
}

#[test]
fn refresh_starts_at_one_second() {
    let mut bench = Bench::registered(&[net6()]);
    assert_eq!(bench.next(), 450.0, "three quarters of 600 s");
    bench.update();
    assert_eq!(bench.next(), 451.0);
    let update = bench.update();
    assert_eq!(bench.next(), 453.0);
    // An answer to any transmission of the exchange counts.
    bench.accept(&update, 150);
    assert_eq!(bench.node.binding().unwrap().expires, bench.at(451.0 + 600.0));
}

/// RFC 6275 s.11.7.3: the lifetime counts from when the update was sent, and a shorter one that was
/// granted shortens it; a refresh advice brings the refresh forward.
#[test]
fn granted_lifetime_and_advice_rule() {
    let mut bench = Bench::with_paths(&[net6()]);
    let update = bench.update();
    bench.wait(1.0);
    let ack = Ack { refresh_advice: Some(5), ..bench.ack(&update, Status::ACCEPTED, 25) };
    assert!(bench.node.on_ack(&ack, bench.now));
    let binding = bench.node.binding().unwrap();
    assert_eq!(binding.expires, bench.at(100.0));
    assert_eq!(binding.refresh_at, bench.at(20.0));
}

/// RFC 5555 s.4.3, R-36.
#[test]
fn keepalives_follow_the_nat_detection_option() {
    for (refresh_time, nat, refresh_at) in
        [(20, true, 20.0), (0, true, 110.0), (NatDetection::NO_NAT, false, 450.0)]
    {
        let mut bench = Bench::with_paths(&[net4()]);
        let update = bench.update();
        let option = NatDetection { force_udp: true, refresh_time };
        let ack = bench.ack(&update, Status::ACCEPTED, 150);
        bench.node.on_ack(&Ack { nat_detection: Some(option), ..ack }, bench.now);
        let binding = bench.node.binding().unwrap();
        assert_eq!((binding.nat, binding.refresh_at), (Some(nat), bench.at(refresh_at)));
    }
    let mut bench = Bench::with_paths(&[net4()]);
    let update = bench.update();
    let ack = bench.ack(&update, Status::ACCEPTED, 150);
    bench.node.on_ack(&Ack { nat_detection: None, ..ack }, bench.now);
    assert_eq!(bench.node.binding().unwrap().nat, Some(true), "absent counts as a NAT");
}

#[test]
fn acknowledgements_that_do_not_match_are_ignored() {
    let mut bench = Bench::with_paths(&[net6()]);
    let update = bench.update();
    let other_number = Update { seq: 99, ..update.clone() };
    let other_sa = Update { spi: spi(2), ..update.clone() };
    assert!(!bench.answer(&other_number, Status::ACCEPTED, 150));
    assert!(!bench.answer(&other_sa, Status::ACCEPTED, 150));
    assert!(!bench.answer(&other_sa, Status::SEQUENCE_OUT_OF_WINDOW, 0));
    assert!(bench.node.binding().is_none());
    bench.accept(&update, 150);
    bench.done();
    assert!(!bench.answer(&update, Status::ACCEPTED, 150), "no exchange is under way");
}

/// Both networks are there: data stays on the old path until the new one is registered.
#[test]
fn handover_makes_before_it_breaks() {
    let mut bench = Bench::registered(&[net4()]);
    bench.wait(10.0);
    bench.paths(&[net6(), net4()]);
    let actions = bench.done();
    assert_eq!(actions[0], Action::Open(net6()));
    assert!(!actions.iter().any(|action| matches!(action, Action::Carry(_))));
    let update = actions.into_iter().find_map(sent).unwrap();
    bench.accept(&update, 150);
    let actions = bench.done();
    assert_eq!(actions[0], Action::Carry(Some((net6(), spi(1)))));
    let [Report::Registered(registered)] = reports(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(registered.previous, Some(net4()));
    assert_eq!(registered.purpose, Purpose::Handover);
    // The old socket is listened to a little longer.
    bench.wait(9.9);
    assert!(!bench.done().contains(&Action::Close(net4())));
    bench.wait(0.2);
    assert!(bench.done().contains(&Action::Close(net4())));
}

/// The old network is gone: the update and data go over the new one at once.
#[test]
fn handover_after_a_break_carries_at_once() {
    let mut bench = Bench::registered(&[net4()]);
    bench.wait(10.0);
    bench.paths(&[net6()]);
    let actions = bench.done();
    assert_eq!(
        actions[..3],
        [
            Action::Open(net6()),
            Action::Carry(Some((net6(), spi(1)))),
            Action::Report(Report::Registering(Purpose::Handover, net6())),
        ]
    );
    assert!(matches!(&actions[3], Action::Send(update) if update.path == net6()));
}

/// Behind a NAT the update alone makes the mapping; data follows its acknowledgement.
#[test]
fn handover_to_ipv4_after_a_break_carries_once_acknowledged() {
    let mut bench = Bench::registered(&[net6()]);
    bench.wait(10.0);
    bench.paths(&[net4()]);
    let actions = bench.done();
    assert_eq!(actions[..2], [Action::Open(net4()), Action::Carry(None)]);
    let Some(Action::Send(update)) = actions.last() else { panic!("{actions:?}") };
    let update = update.clone();
    bench.accept(&update, 150);
    assert!(bench.done().contains(&Action::Carry(Some((net4(), spi(1))))));
}

#[test]
fn a_gap_without_any_network_keeps_binding_and_sa() {
    let mut bench = Bench::registered(&[net6()]);
    bench.wait(10.0);
    bench.paths(&[]);
    assert_eq!(bench.done(), [Action::Carry(None), Action::Report(Report::NoNetwork)]);
    assert!(bench.node.binding().is_some());
    bench.wait(5.0);
    assert_eq!(bench.done(), []);
    // Back in the same network, the same binding serves; in another one it moves.
    bench.paths(&[net6()]);
    assert_eq!(bench.done(), [Action::Carry(Some((net6(), spi(1))))]);
    bench.paths(&[]);
    bench.done();
    bench.paths(&[net4()]);
    assert_eq!(bench.update().path, net4());
}

/// The node goes back before the answer from the new network: the home agent may know either, so
/// the old one is registered again.
#[test]
fn a_handover_that_is_called_off_is_undone() {
    let mut bench = Bench::registered(&[net6()]);
    bench.paths(&[net4()]);
    bench.done();
    bench.paths(&[net6(), net4()]);
    let actions = bench.done();
    let update = actions.iter().cloned().find_map(sent).unwrap();
    assert_eq!(update.path, net6());
    assert!(actions.contains(&Action::Close(net4())));
    bench.accept(&update, 150);
    assert!(bench.done().contains(&Action::Carry(Some((net6(), spi(1))))));
}

/// RFC 5555 s.4.4.1: three attempts over IPv6, then IPv4.
#[test]
fn falls_back_to_ipv4_after_three_attempts() {
    let mut bench = Bench::with_paths(&[net6(), net4()]);
    let mut updates = vec![bench.update().path];
    while updates.len() < 4 {
        bench.next();
        updates.extend(bench.done().into_iter().filter_map(sent).map(|update| update.path));
    }
    assert_eq!(updates, [net6(), net6(), net6(), net4()]);
    assert_eq!(bench.now, bench.at(1.5 + 3.0 + 6.0));
}

/// A path that failed is tried again later, without giving up the one that works.
#[test]
fn the_failed_path_gets_another_chance() {
    let mut bench = Bench::with_paths(&[net6(), net4()]);
    bench.done();
    let update = loop {
        bench.next();
        let found = bench.done().into_iter().filter_map(sent).find(|u| u.path == net4());
        if let Some(update) = found {
            break update;
        }
    };
    bench.accept(&update, 150);
    bench.done();
    let failed = bench.now;
    loop {
        bench.next();
        let updates: Vec<_> = bench.done().into_iter().filter_map(sent).collect();
        if let Some(update) = updates.iter().find(|update| update.path == net6()) {
            assert_eq!(bench.now - failed, Duration::from_secs(300));
            assert_eq!(bench.node.pending(), Some(Purpose::Handover));
            assert_eq!(update.path, net6());
            break;
        }
        for update in updates {
            bench.accept(&update, 150);
        }
    }
}

/// RFC 6275 s.11.7.1, 11.7.3.
#[test]
fn status_135_is_adopted_at_once_and_without_a_storm() {
    let mut bench = Bench::with_paths(&[net6()]);
    let update = bench.update();
    let ack = Ack { seq: 5000, ..bench.ack(&update, Status::SEQUENCE_OUT_OF_WINDOW, 0) };
    for round in 0..5 {
        assert!(bench.node.on_ack(&ack, bench.now));
        let updates: Vec<_> = bench.done().into_iter().filter_map(sent).collect();
        if round < 2 {
            assert_eq!(updates[0].seq, 5001 + round);
        } else {
            assert_eq!(updates, [], "the timer paces now");
        }
    }
    bench.next();
    let update = bench.update();
    assert_eq!(update.seq, 5003);
    bench.accept(&update, 150);
    assert!(bench.node.binding().is_some());
}

/// 176 changes nothing at the home agent; R-15: the next update is under the new SA, and the
/// old one is listened to a little longer.
#[test]
fn status_176_fetches_a_new_sa_and_keeps_the_old_one_until_then() {
    let mut bench = Bench::registered(&[net6()]);
    bench.next();
    let update = bench.update();
    assert!(bench.answer(&update, Status::REINIT_SA_WITH_HAC, 0));
    let actions = bench.done();
    assert_eq!(actions, [Action::Report(Report::NewSaWanted), Action::Bootstrap]);
    assert!(bench.node.binding().is_some());
    bench.node.on_bootstrap_failed(None, true, 0.5, bench.now);
    bench.wait(1.0);
    assert!(bench.done().contains(&Action::Bootstrap));
    bench.issue(2, 86400);
    let update = bench.update();
    assert_eq!((update.spi, bench.node.pending()), (spi(2), Some(Purpose::NewSa)));
    bench.accept(&update, 150);
    let actions = bench.done();
    assert_eq!(actions[0], Action::Carry(Some((net6(), spi(2)))));
    assert!(!actions.contains(&Action::Forget(spi(1))));
    bench.wait(10.0);
    assert!(bench.done().contains(&Action::Forget(spi(1))));
}

#[test]
fn a_new_sa_is_fetched_before_the_old_one_ends() {
    let mut bench = Bench::with_paths(&[net6()]);
    bench.done();
    let mut bench = {
        bench.issue(2, 1000);
        bench
    };
    let update = bench.update();
    bench.accept(&update, 150);
    bench.done();
    loop {
        let time = bench.next();
        let actions = bench.done();
        if actions.contains(&Action::Bootstrap) {
            assert_eq!(time, 800.0);
            break;
        }
        for update in actions.into_iter().filter_map(sent) {
            bench.accept(&update, 150);
            bench.done();
        }
    }
}

/// with its SA the binding ends; updates never ask for more than the SA's rest.
#[test]
fn the_binding_does_not_outlive_its_sa() {
    let mut bench = Bench::new();
    bench.node.start();
    bench.paths(&[net6()]);
    bench.issue(1, 100);
    let update = bench.update();
    assert_eq!(update.lifetime, 25);
    bench.accept(&update, 25);
    bench.wait(100.0);
    let actions = bench.done();
    assert!(actions.contains(&Action::Forget(spi(1))));
    assert!(actions.contains(&Action::Carry(None)));
    assert!(bench.node.binding().is_none());
}

#[test]
fn refusals_are_retried_with_patience_and_a_new_number() {
    let mut bench = Bench::with_paths(&[net6()]);
    let first = bench.update();
    assert!(bench.answer(&first, Status::INSUFFICIENT_RESOURCES, 0));
    let actions = bench.done();
    assert_eq!(
        reports(&actions),
        [&Report::Refused(Purpose::Initial, Status::INSUFFICIENT_RESOURCES)]
    );
    assert_eq!(bench.next(), 2.0);
    let second = bench.update();
    assert_eq!(second.seq, first.seq + 1);
    assert!(bench.answer(&second, Status::INSUFFICIENT_RESOURCES, 0));
    bench.done();
    assert_eq!(bench.next(), 10.0);
}

#[test]
fn a_refused_care_of_address_gives_way_to_another() {
    let mut bench = Bench::with_paths(&[net6(), net4()]);
    let update = bench.update();
    assert!(bench.answer(&update, Status::INVALID_COA, 0));
    assert_eq!(bench.update().path, net4());
}

#[test]
fn deregisters_and_stops() {
    let mut bench = Bench::registered(&[net6()]);
    bench.node.on_stop(bench.now);
    let update = bench.update();
    assert_eq!(update.lifetime, 0);
    assert!(bench.answer(&update, Status::ACCEPTED, 0));
    assert_eq!(bench.done().last(), Some(&Action::Stopped));
    assert_eq!(bench.node.deadline(), None);
}

#[test]
fn stops_without_an_answer_after_the_limit() {
    let mut bench = Bench::registered(&[net6()]);
    bench.node.on_stop(bench.now);
    bench.done();
    let mut updates = 1;
    loop {
        let time = bench.next();
        let actions = bench.done();
        updates += actions.iter().cloned().filter_map(sent).count();
        if actions.contains(&Action::Stopped) {
            assert_eq!((time, updates), (3.0, 2));
            break;
        }
    }
}

#[test]
fn stops_at_once_where_nothing_was_registered() {
    let mut bench = Bench::new();
    bench.node.start();
    bench.done();
    bench.node.on_stop(bench.now);
    assert_eq!(bench.done(), [Action::Stopped]);
}

#[test]
fn bootstrap_failures_back_off_with_jitter_and_heed_retry_after() {
    let mut bench = Bench::new();
    bench.node.start();
    bench.done();
    let mut pauses = vec![];
    for _ in 0..8 {
        let pause = bench.node.on_bootstrap_failed(None, false, 0.5, bench.now);
        pauses.push(pause.as_secs());
        assert_eq!(bench.node.deadline(), Some(bench.now + pause));
        bench.next();
        assert_eq!(bench.done(), [Action::Bootstrap]);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    let retry_after = Some(Duration::from_secs(90));
    let pause = bench.node.on_bootstrap_failed(retry_after, false, 0.0, bench.now);
    assert_eq!(pause, Duration::from_secs(90));
    // RFC 6618 s.5.5.6: a date of the HAC's. For a clock that is slow here it is far away.
    let by_a_slow_clock = Some(Duration::from_secs(40 * 86_400));
    let pause = bench.node.on_bootstrap_failed(by_a_slow_clock, false, 0.0, bench.now);
    assert_eq!(pause, Duration::from_secs(3600));
    for (jitter, factor) in [(0.0, 0.75), (1.0, 1.25)] {
        let mut bench = Bench::new();
        bench.node.start();
        let pause = bench.node.on_bootstrap_failed(None, false, jitter, bench.now);
        assert_eq!(pause, Duration::from_secs_f64(factor));
    }
}

/// Only where the network was the trouble is a change of it worth another try.
#[test]
fn a_new_network_is_tried_at_once() {
    for (by_network, expected) in [(true, vec![Action::Bootstrap]), (false, vec![])] {
        let mut bench = Bench::new();
        bench.node.start();
        bench.done();
        bench.node.on_bootstrap_failed(Some(Duration::from_secs(30)), by_network, 0.5, bench.now);
        bench.paths(&[]);
        bench.wait(0.0);
        assert_eq!(bench.done(), expected);
    }
}

/// A certificate is not valid yet for a clock that is slow; and a pause by the time of day is another.
#[test]
fn a_clock_that_is_set_brings_a_try_at_once() {
    let mut bench = Bench::new();
    bench.node.start();
    bench.done();
    bench.node.on_bootstrap_failed(Some(Duration::from_secs(3000)), false, 0.5, bench.now);
    bench.wait(1.0);
    assert_eq!(bench.done(), []);
    bench.node.on_clock(bench.now);
    bench.wait(0.0);
    assert_eq!(bench.done(), [Action::Bootstrap]);
    // None is begun beside one that is under way, and none where an SA is there.
    bench.node.on_clock(bench.now);
    bench.wait(1.0);
    assert_eq!(bench.done(), []);
}

#[test]
fn refresh_request_and_binding_error_bring_updates() {
    let mut bench = Bench::registered(&[net6()]);
    bench.node.on_refresh_request(bench.now);
    let update = bench.update();
    bench.node.on_refresh_request(bench.now);
    assert_eq!(bench.done(), [], "one is under way");
    bench.accept(&update, 150);
    bench.done();
    bench.node.on_binding_error(bench.now);
    let update = bench.update();
    assert_eq!((update.path, bench.node.pending()), (net6(), Some(Purpose::Initial)));
}

#[test]
fn a_worn_sa_is_replaced_once() {
    let mut bench = Bench::registered(&[net6()]);
    bench.node.on_worn(spi(1));
    bench.node.on_worn(spi(1));
    assert_eq!(bench.done(), [Action::Bootstrap]);
    bench.issue(2, 86400);
    bench.done();
    bench.node.on_worn(spi(1));
    assert_eq!(bench.done(), [], "that one is on its way out");
}

/// A dead home agent: each new SA, which does not help, makes the next one come later, up to about
/// an hour; an answer makes it as soon as ever.
#[test]
fn a_dead_home_agent_costs_ever_fewer_sas() {
    for paths in [&[net6()][..], &[net6(), net4()]] {
        let mut bench = Bench::with_paths(paths);
        bench.done();
        let (mut number, mut updates, mut asked) = (1, 1, vec![]);
        let mut begun = bench.now;
        while asked.len() < 8 {
            bench.next();
            let actions = bench.done();
            if actions.contains(&Action::Bootstrap) {
                asked.push(updates);
                let silence = (bench.now - begun).as_secs();
                assert!(silence < 3800, "{silence} s until the next SA");
                // The HAC takes its time, and fails once; both are no reason to ask again.
                bench.node.on_bootstrap_failed(None, true, 0.5, bench.now);
                number += 1;
                bench.issue(number, 86400);
                assert_eq!(bench.done().into_iter().filter_map(sent).count(), 1);
                (updates, begun) = (1, bench.now);
            } else {
                updates += actions.into_iter().filter_map(sent).count();
            }
        }
        assert_eq!(asked, [6, 12, 24, 48, 96, 112, 112, 112]);
        let hours = (bench.now - bench.begin).as_secs_f64() / 3600.0;
        assert!(hours > 3.0, "eight SAs in {hours} hours");

        let update = loop {
            bench.next();
            if let Some(update) = bench.done().into_iter().find_map(sent) {
                break update;
            }
        };
        bench.accept(&update, 150);
        bench.done();
        let mut updates = 0;
        loop {
            bench.next();
            let actions = bench.done();
            if actions.contains(&Action::Bootstrap) {
                break;
            }
            updates += actions.into_iter().filter_map(sent).count();
        }
        assert_eq!(updates, 6);
    }
}

/// A silent home agent brings new SAs without end; the binding's own stays among the few kept.
#[test]
fn unused_sas_do_not_pile_up() {
    let mut bench = Bench::registered(&[net6()]);
    let mut forgotten = vec![];
    for number in 2..=9 {
        bench.issue(number, 86400);
        forgotten.extend(bench.done().into_iter().filter_map(|action| match action {
            Action::Forget(spi) => Some(spi.get()),
            _ => None,
        }));
    }
    assert_eq!(forgotten, [2, 3, 4, 5, 6]);
}

/// The monotonic clock stands still while the machine sleeps; bindings end and NATs forget.
#[test]
fn after_a_sleep_the_binding_is_refreshed_at_once_or_has_ended() {
    let mut bench = Bench::registered(&[net6()]);
    bench.node.on_sleep(Duration::from_secs(60), bench.now);
    bench.node.on_timer(bench.now);
    assert_eq!(bench.update().purpose, Purpose::Refresh);
    let mut bench = Bench::registered(&[net6()]);
    bench.node.on_sleep(Duration::from_secs(700), bench.now);
    bench.node.on_timer(bench.now);
    let done = bench.done();
    assert!(done.contains(&Action::Report(Report::BindingExpired)), "{done:?}");
    let update = done.into_iter().find_map(sent).unwrap();
    assert_eq!(update.purpose, Purpose::Initial);
}

/// a clock that was wrong when the SA came and is set now shows that it has ended.
#[test]
fn an_sa_ends_by_the_clock_as_it_is_set() {
    let mut bench = Bench::registered(&[net6()]);
    let ended = Association { spi: spi(1), valid_until: bench.now, renew_at: bench.now };
    bench.node.on_validity(ended);
    bench.node.on_timer(bench.now);
    let done = bench.done();
    assert!(done.contains(&Action::Report(Report::AssociationExpired(spi(1)))), "{done:?}");
    assert!(done.contains(&Action::Bootstrap), "{done:?}");
}
