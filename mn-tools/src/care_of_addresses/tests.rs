//! Two networks at once, step by step.

use super::*;

fn care_of(bid: u16, interface: &str) -> CareOf {
    CareOf { bid, interface: interface.into(), priority: u8::try_from(bid).unwrap() }
}

fn path(interface: &str, care_of: &str) -> Path {
    let home_agent = "[2001:db8:a::10]:7872".parse().unwrap();
    let care_of = care_of.parse().unwrap();
    Path { interface: interface.into(), index: 1, epoch: 0, care_of, home_agent }
}

fn wire() -> Path {
    path("eth0", "2001:db8:1::1")
}

fn radio() -> Path {
    path("wlan0", "2001:db8:2::1")
}

struct Bench {
    node: CareOfAddresses,
    now: Instant,
}

impl Bench {
    /// A node with an SA and both networks in reach.
    fn new() -> Self {
        let all = [care_of(2, "wlan0"), care_of(1, "eth0")];
        let mut bench =
            Self { node: CareOfAddresses::new(&Timers::default(), &all, 100), now: Instant::now() };
        bench.node.start();
        assert_eq!(bench.done(), [Action::Bootstrap], "one for both");
        bench.paths(&[wire(), radio()]);
        bench.issue(1);
        bench
    }

    /// The same, both registered.
    fn registered() -> Self {
        let mut bench = Self::new();
        for update in bench.updates() {
            bench.accept(&update);
        }
        bench.done();
        bench
    }

    fn issue(&mut self, spi: u32) {
        let day = Duration::from_secs(86400);
        let (valid_until, renew_at) = (self.now + day, self.now + day / 2);
        let spi = Spi::new(spi).unwrap();
        self.node.on_association(Association { spi, valid_until, renew_at }, self.now);
    }

    fn paths(&mut self, paths: &[Path]) {
        self.node.on_paths(paths, self.now);
    }

    fn done(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.node.action()).collect()
    }

    fn updates(&mut self) -> Vec<BidUpdate> {
        let sent = |action| match action {
            Action::Send(update) => Some(update),
            _ => None,
        };
        self.done().into_iter().filter_map(sent).collect()
    }

    fn answer(&mut self, update: &BidUpdate, status: Status, seq: u16) -> bool {
        let Update { spi, lifetime, .. } = update.update;
        let ack = Ack { spi, status, seq, lifetime, refresh_advice: None, nat_detection: None };
        self.node.on_ack(&ack, self.now)
    }

    fn accept(&mut self, update: &BidUpdate) {
        assert!(self.answer(update, Status::ACCEPTED, update.update.seq));
    }
}

fn bids(update: &BidUpdate) -> Vec<u16> {
    update.bids.iter().map(|bid| bid.id).collect()
}

fn ways(actions: &[Action]) -> Vec<u16> {
    let carried = actions.iter().rev().find_map(|action| match action {
        Action::Carry(ways) => Some(ways),
        _ => None,
    });
    carried.expect("data goes another way").iter().map(|way| way.bid).collect()
}

/// RFC 5648 s.5.3: each care-of address speaks for itself, under numbers of one line.
#[test]
fn each_care_of_address_registers_under_its_binding_id() {
    let mut bench = Bench::new();
    let updates = bench.updates();
    let [first, second] = &updates[..] else { panic!("two updates: {updates:?}") };
    assert_eq!((bids(first), bids(second)), (vec![1], vec![2]));
    assert_eq!((&first.update.path, &second.update.path), (&wire(), &radio()));
    assert_eq!((first.update.seq, second.update.seq), (100, 101));
    assert_eq!((first.bids[0].priority, first.bids[0].care_of), (1, Some(wire().care_of)));
    // Flows can only go to what is registered, or is just being.
    assert_eq!((&first.bound, &second.bound), (&vec![1], &vec![2]));
    bench.accept(second);
    assert_eq!(ways(&bench.done()), [2]);
    bench.accept(first);
    assert_eq!(ways(&bench.done()), [1, 2], "the one of the lower priority value is wanted most");
    assert_eq!(bench.node.bindings().count(), 2);
}

/// The home agent moves the flows at once, not when the lifetime ends.
#[test]
fn the_other_one_tells_the_home_agent_who_is_gone() {
    let mut bench = Bench::registered();
    bench.paths(&[wire()]);
    let actions = bench.done();
    assert_eq!(ways(&actions), [1]);
    let sent: Vec<_> = actions
        .iter()
        .filter_map(|a| if let Action::Send(u) = a { Some(u) } else { None })
        .collect();
    let [update] = &sent[..] else { panic!("one update: {actions:?}") };
    assert_eq!((bids(update), update.update.lifetime), (vec![2], 0));
    assert_eq!((&update.update.path, update.update.purpose), (&wire(), Purpose::Withdrawal));
    assert!(!actions.contains(&Action::Report(Report::NoNetwork)), "the other one is there");
    // Until it is answered it is sent again.
    bench.now += Duration::from_secs(2);
    bench.node.on_timer(bench.now);
    let again = bench.updates();
    assert_eq!(again.iter().map(bids).collect::<Vec<_>>(), [vec![2]]);
    bench.accept(&again[0]);
    bench.now += Duration::from_secs(60);
    bench.node.on_timer(bench.now);
    assert!(bench.updates().is_empty());
    assert_eq!(bench.node.bindings().count(), 1);
}

#[test]
fn who_comes_back_in_time_is_not_withdrawn() {
    let mut bench = Bench::registered();
    bench.paths(&[wire()]);
    bench.done();
    bench.paths(&[wire(), radio()]);
    let updates = bench.updates();
    assert_eq!(updates.iter().map(bids).collect::<Vec<_>>(), [vec![2]]);
    assert_eq!(updates[0].update.purpose, Purpose::Initial);
    assert_eq!(updates[0].bound, [1, 2]);
    bench.accept(&updates[0]);
    bench.now += Duration::from_secs(60);
    bench.node.on_timer(bench.now);
    assert!(bench.updates().is_empty(), "the withdrawal is not sent again");
    assert_eq!(bench.node.bindings().count(), 2);
}

/// Two updates on ways of different length may change places.
#[test]
fn an_update_that_was_overtaken_is_sent_again_behind_the_other() {
    let mut bench = Bench::new();
    let updates = bench.updates();
    bench.accept(&updates[1]);
    assert!(bench.answer(&updates[0], Status::SEQUENCE_OUT_OF_WINDOW, 101));
    let again = bench.updates();
    assert_eq!(again.iter().map(|u| (bids(u), u.update.seq)).collect::<Vec<_>>(), [(vec![1], 102)]);
}

#[test]
fn one_update_without_binding_ids_takes_all_away() {
    let mut bench = Bench::registered();
    bench.node.on_stop(bench.now);
    let updates = bench.updates();
    let [update] = &updates[..] else { panic!("one update: {updates:?}") };
    assert_eq!((bids(update), update.update.lifetime), (vec![], 0));
    bench.accept(update);
    assert_eq!(bench.done().last(), Some(&Action::Stopped));
    assert_eq!(bench.node.deadline(), None);
}

/// the older SA goes when the last care-of address is under the newer one.
#[test]
fn an_sa_goes_when_nobody_needs_it() {
    let mut bench = Bench::registered();
    bench.issue(2);
    let updates = bench.updates();
    assert_eq!(updates.len(), 2);
    bench.accept(&updates[0]);
    bench.now += Duration::from_secs(11);
    bench.node.on_timer(bench.now);
    let forgets = |actions: &[Action]| {
        actions.iter().filter(|action| matches!(action, Action::Forget(_))).count()
    };
    let actions = bench.done();
    assert_eq!(forgets(&actions), 0, "{actions:?}");
    let again = actions.into_iter().find_map(|a| match a {
        Action::Send(update) => Some(update),
        _ => None,
    });
    bench.accept(&again.unwrap());
    bench.now += Duration::from_secs(11);
    bench.node.on_timer(bench.now);
    assert_eq!(forgets(&bench.done()), 1);
}

/// RFC 5846 s.7.3: of one binding, or of all.
#[test]
fn a_revoked_binding_ends_and_is_asked_for_again_after_a_pause() {
    let mut bench = Bench::registered();
    bench.node.on_revocation(&[2], bench.now);
    assert_eq!(ways(&bench.done()), [1]);
    assert_eq!(bench.node.bindings().count(), 1);
    bench.now += Duration::from_secs(29);
    bench.node.on_timer(bench.now);
    assert!(bench.updates().is_empty());
    bench.now += Duration::from_secs(2);
    bench.node.on_timer(bench.now);
    assert_eq!(bench.updates().iter().map(bids).collect::<Vec<_>>(), [vec![2]]);
    bench.node.on_revocation(&[], bench.now);
    assert_eq!(bench.node.bindings().count(), 0);
}
