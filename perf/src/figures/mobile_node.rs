//! `mobile_node`: a single TCP stream through `hearth-mn` and a home agent, in turns with the same
//! through strongSwan's userspace ESP and through boringtun, between the same namespaces.
//!
//! iperf3 sends and receives. All programs run with the priority and on the cores that a user's
//! would have; while others are measured hearthd is stopped, so that its worker takes no core.

use std::time::Duration;

use hearth_wire::Suite;

use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::Direction;
use crate::lab::{self, Lab};
use crate::report::{Row, Target, rounded};
use crate::stats::{LEAST_ROUNDS, Round, Rounds, alternate};
use crate::tunnels::{Absent, Flow, Tunnels};

const SUITE: Suite = Suite::Aes128CbcSha;

/// What we are compared with, and what our rate has to be in theirs.
const PEERS: [(&str, Target); 2] = [
    ("strongSwan, kernel-libipsec", Target { must: 2.0, aim: None, at_most: false }),
    ("boringtun-cli", Target::at_least(1.0, 1.5)),
];
/// Tunnels: ours and the peers'.
const SIDES: usize = 1 + PEERS.len();

/// Measures rounds of about `time`.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    // The thread that measures in memory has a core and precedence, which programs would inherit.
    let measured = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            lab::be_as_others(&lab.cores);
            measure(time)
        });
        thread.join().unwrap_or(Err(Fault::Thread))
    });
    for (direction, flow) in [Flow::Up, Flow::Down].into_iter().enumerate() {
        for (peer, (name, target)) in PEERS.into_iter().enumerate() {
            let mut row = Row::new("mobile_node", name).asked(Some(target));
            row.suite = Some(SUITE.name().to_owned());
            row.direction = Some(match flow {
                Flow::Up => Direction::Uplink,
                Flow::Down => Direction::Downlink,
            });
            rows.push(match &measured {
                Ok(Measured { rounds, absent }) => match absent.of(peer) {
                    Some(why) => row.absent(why),
                    None => compared(row, rounds, direction, peer),
                },
                Err(fault) => row.failed(*fault),
            });
        }
    }
}

/// Rounds of two rates and two costs for each tunnel and direction; those of absent ones are NaN.
struct Measured {
    rounds: Rounds,
    absent: Absent,
}

/// Where in a round a rate stands; the cost stands behind all rates.
const fn place(direction: usize, side: usize) -> usize {
    direction * SIDES + side
}

fn compared(row: Row, rounds: &Rounds, direction: usize, peer: usize) -> Row {
    let (ours, theirs) = (place(direction, 0), place(direction, 1 + peer));
    let cost = |side| rounded(rounds.side(side + 2 * SIDES), 3);
    row.measured(&rounds.quotient(ours, theirs))
        .with("mbit_per_s", rounded(rounds.side(ours), 0))
        .with("reference_mbit_per_s", rounded(rounds.side(theirs), 0))
        .with("cpu_s_per_gib", cost(ours))
        .with("reference_cpu_s_per_gib", cost(theirs))
}

fn measure(time: Duration) -> Result<Measured, Fault> {
    let said = |error: hearth_lab::LabError| {
        eprintln!("hearth-perf: {error}");
        Fault::Lab
    };
    let mut tunnels = Tunnels::up().map_err(said)?;
    let absent = tunnels.absent();
    // iperf3 counts whole seconds.
    let stream = Duration::from_secs((time.as_secs() / 2).max(1));
    let runs = u32::try_from(2 * SIDES * LEAST_ROUNDS).unwrap_or(u32::MAX);
    let rounds = alternate(stream * runs, || {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for flow in [Flow::Up, Flow::Down] {
            for side in 0..SIDES {
                let stream = tunnels.stream(side, flow, stream).map_err(said)?;
                rates.push(stream.map_or(f64::NAN, |it| it.mbit_per_s));
                costs.push(stream.map_or(f64::NAN, |it| it.cpu_s_per_gib));
            }
        }
        rates.append(&mut costs);
        Ok(Round { values: rates, disturbed: false })
    })?;
    tunnels.down().map_err(said)?;
    Ok(Measured { rounds, absent })
}
