//! Networks that swallow packets, and NATs that forget.

use super::*;

/// A simulated outside: which paths carry, and what the node makes of it.
struct Outside {
    bench: Bench,
    /// Paths over which the home agent answers.
    alive: Vec<Path>,
    /// Data that the user sends a second, answered where the path in use carries.
    flows: bool,
    traffic: Traffic,
    way: Option<Path>,
    /// Path changes with the time of each, and everything reported.
    moves: Vec<(f64, Path)>,
    reports: Vec<Report>,
    updates: u32,
    heartbeats: u32,
    /// The mapping of the NAT forgets after so many seconds without a packet out.
    nat: Option<f64>,
    heard: Instant,
}

const TICK: f64 = 0.01;
const ROUND_TRIP: f64 = 0.03;

impl Outside {
    fn registered(paths: &[Path]) -> Self {
        let bench = Bench::registered(paths);
        let (way, heard) = (paths.first().cloned(), bench.now);
        let mut outside = Self {
            bench,
            alive: paths.to_vec(),
            flows: true,
            traffic: Traffic::default(),
            way,
            moves: vec![],
            reports: vec![],
            updates: 0,
            heartbeats: 0,
            nat: None,
            heard,
        };
        outside.run(2.0);
        (outside.updates, outside.heartbeats) = (0, 0);
        outside
    }

    fn seconds(&self) -> f64 {
        (self.bench.now - self.bench.begin).as_secs_f64()
    }

    fn carries(&self, path: &Path) -> bool {
        self.alive.contains(path)
    }

    /// The mapping of the registered path, as a packet from outside finds it.
    fn is_mapped(&self) -> bool {
        let idle = (self.bench.now - self.heard).as_secs_f64();
        self.nat.is_none_or(|patience| idle < patience)
    }

    fn run(&mut self, seconds: f64) {
        let end = self.seconds() + seconds;
        let mut due: Vec<(f64, Action)> = vec![];
        while self.seconds() < end {
            self.bench.now += Duration::from_secs_f64(TICK);
            let now = self.seconds();
            if self.flows {
                self.traffic.sent += 1;
                self.heard = self.bench.now;
                let way = self.way.clone();
                self.traffic.received += u64::from(way.is_some_and(|way| self.carries(&way)));
            }
            self.bench.node.on_traffic(self.traffic, self.bench.now);
            self.bench.node.on_timer(self.bench.now);
            for action in self.bench.done() {
                match action {
                    Action::Carry(way) => {
                        let path = way.map(|(path, _)| path);
                        if let Some(path) = &path {
                            self.moves.push((now, path.clone()));
                        }
                        self.way = path;
                    }
                    Action::Report(report) => self.reports.push(report),
                    Action::Send(_) | Action::Probe(_) | Action::Echo(..) => {
                        due.push((now + ROUND_TRIP, action));
                    }
                    _ => {}
                }
            }
            let (ready, later) = due.into_iter().partition(|(at, _)| *at <= now);
            due = later;
            let ready: Vec<(f64, Action)> = ready;
            ready.into_iter().for_each(|(_, action)| self.answer(action));
        }
    }

    fn answer(&mut self, action: Action) {
        match action {
            Action::Send(update) => {
                self.updates += 1;
                if self.carries(&update.path) {
                    self.heard = self.bench.now;
                    self.bench.answer(&update, Status::ACCEPTED, 150);
                }
            }
            Action::Probe(probe) => {
                self.heartbeats += 1;
                if self.carries(&probe.path) {
                    self.heard = self.bench.now;
                    self.bench.node.on_heartbeat(probe.seq, self.bench.now);
                }
            }
            Action::Echo(path, _) => {
                self.traffic.received += u64::from(self.carries(&path) && self.is_mapped());
            }
            _ => {}
        }
    }

    fn in_use(&self) -> &Path {
        &self.bench.node.binding().unwrap().path
    }
}

#[test]
fn a_black_hole_under_traffic_is_left_within_seconds() {
    let mut outside = Outside::registered(&[net6(), net4()]);
    outside.alive = vec![net4()];
    let begin = outside.seconds();
    outside.run(5.0);
    assert_eq!(*outside.in_use(), net4());
    let (at, _) = outside.moves.last().unwrap();
    assert!(at - begin < 2.0, "{}", at - begin);
    let silent = Report::PathSilent(net6());
    assert!(outside.reports.contains(&silent), "{:?}", outside.reports);
}

#[test]
fn the_better_path_is_taken_again_when_it_answers_for_a_while() {
    let mut outside = Outside::registered(&[net6(), net4()]);
    outside.alive = vec![net4()];
    outside.run(20.0);
    assert_eq!(*outside.in_use(), net4());
    outside.alive = vec![net6(), net4()];
    outside.run(30.0);
    assert_eq!(*outside.in_use(), net6());
    assert!(outside.reports.contains(&Report::PathBack(net6())));
}

/// A network that comes and goes is wanted less and less.
#[test]
fn a_flapping_path_is_left_alone_for_longer_and_longer() {
    let mut outside = Outside::registered(&[net6(), net4()]);
    for _ in 0..60 {
        outside.alive = vec![net4()];
        outside.run(5.0);
        outside.alive = vec![net6(), net4()];
        outside.run(5.0);
    }
    let returns = outside.moves.iter().filter(|(_, path)| *path == net6()).count();
    assert!((2..8).contains(&returns), "{returns} times in ten minutes: {:?}", outside.moves);
}

/// Nothing answers anywhere: no storm, no dance, and back at once where something does.
#[test]
fn two_silent_paths_cost_little_and_end_soon_after_one_is_back() {
    let mut outside = Outside::registered(&[net6(), net4()]);
    outside.alive.clear();
    outside.run(120.0);
    let (updates, heartbeats) = (outside.updates, outside.heartbeats);
    assert!(updates < 25 && heartbeats < 160, "{updates} updates, {heartbeats} Heartbeats");
    outside.alive = vec![net4()];
    outside.run(3.0);
    assert_eq!((outside.in_use(), outside.way.as_ref()), (&net4(), Some(&net4())));
}

/// A stream in one direction is no black hole: it costs a question now and then.
#[test]
fn one_way_traffic_is_not_mistaken_for_a_black_hole() {
    for path in [net6(), net4()] {
        let mut outside = Outside::registered(std::slice::from_ref(&path));
        outside.way = None;
        outside.run(60.0);
        let asked = outside.updates + outside.heartbeats;
        assert!((4..16).contains(&asked), "{asked} questions in a minute over {path}");
        assert!(!outside.reports.contains(&Report::PathSilent(path)));
    }
}

#[test]
fn an_idle_node_asks_nothing() {
    let mut outside = Outside::registered(&[net6(), net4()]);
    outside.flows = false;
    outside.run(300.0);
    assert_eq!((outside.updates, outside.heartbeats), (0, 0));
    assert!(outside.bench.node.deadline().unwrap() - outside.bench.now > Duration::from_secs(1));
}

/// RFC 5555 s.4.3, and a carrier's NAT that forgets after 25 s of the 110 that the home agent allows.
#[test]
fn the_keepalive_finds_out_what_the_nat_bears() {
    for (patience, why, least) in [(25.0, Why::NatForgot, 18.0), (200.0, Why::HomeAgent, 110.0)] {
        let mut outside = Outside::registered(&[net4()]);
        outside.nat = Some(patience);
        outside.flows = false;
        outside.run(600.0);
        let (interval, said) = outside.bench.node.nat_keepalive().unwrap();
        assert_eq!(said, why);
        let interval = interval.as_secs_f64();
        assert!((least..patience).contains(&interval), "{interval} s under a NAT of {patience} s");
        let forgot =
            outside.reports.iter().filter(|it| matches!(it, Report::NatForgot { .. })).count();
        assert_eq!(forgot, usize::from(why == Why::NatForgot));
    }
}

/// A NAT that deals out another port under traffic: the home agent still sends to the old one. A
/// Heartbeat would come back and say that all is well; a Binding Update mends it.
#[test]
fn silence_behind_a_nat_is_answered_with_a_binding_update() {
    let mut outside = Outside::registered(&[net4()]);
    outside.way = None;
    outside.run(1.0);
    assert_eq!((outside.updates, outside.heartbeats), (1, 0));
}
