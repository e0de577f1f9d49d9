//! `peers`, second part: DPDK's cryptodev alone, by Debian's `dpdk-test-crypto-perf`.
//!
//! It encrypts buffers in place and does no packet work at all. It runs as a program of its own, in
//! turns with our passes.

use std::process::Command;
use std::time::Duration;

use hearth_wire::Suite;
use hearth_wire::frame::padding_len;

use crate::buffers::BUFFERS;
use crate::fault::Fault;
use crate::figures::{Rows, SIZES};
use crate::frames::{Direction, Station};
use crate::lab::Lab;
use crate::pipeline::Pipeline;
use crate::report::Row;
use crate::stats::{Round, Rounds, alternate, undisturbed};
use crate::traffic::{Parcel, Traffic};

const PROGRAM: &str = "dpdk-test-crypto-perf";
const SUITE: Suite = Suite::Aes128CbcSha;
/// A run of the program takes half a second, of which it measures a part.
const TIME: Duration = Duration::from_secs(6);
/// Operations per size and run.
const OPERATIONS: u32 = 200_000;

/// Measures all sizes, encrypting: to decrypt, the program wants packets that are valid already.
pub(crate) fn rows(lab: &Lab, rows: &mut Rows) {
    let row = |inner: usize| {
        Row::new("peers", "DPDK cryptodev crypto_aesni_mb, crypto alone").of(
            SUITE,
            Direction::Downlink,
            inner,
        )
    };
    let found = measure(lab);
    for (place, inner) in SIZES.into_iter().enumerate() {
        rows.push(match &found {
            Ok(rounds) => row(inner)
                .cycles(rounds.side(place + SIZES.len()), rounds.side(place))
                .measured(&rounds.quotient(place, place + SIZES.len())),
            Err(Fault::Program) => row(inner).absent(&format!(
                "{PROGRAM} is not installed or did not run (Debian package dpdk-dev)"
            )),
            Err(fault) => row(inner).failed(*fault),
        });
    }
}

/// Cycles per packet of cryptodev at all sizes, then ours.
fn measure(lab: &Lab) -> Result<Rounds, Fault> {
    let direction = Direction::Downlink;
    let &[first, .., last] = &lab.cores[..] else { return Err(Fault::Cores(2)) };
    let station = Station::new(1, SUITE)?;
    let mut pipeline = Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &[station])?;
    let mac = pipeline.ingress_mac(direction);
    let mut traffic = Traffic::new(&lab.pool);
    alternate(TIME, || {
        let mut round = Round { values: run([first, last])?, disturbed: false };
        for inner_len in SIZES {
            undisturbed(&mut round, |watch| {
                traffic.prepare(direction, mac, &[Parcel { station, inner_len }])?;
                let ticks = watch.over(|| pipeline.pass(direction, &mut traffic.slots))?;
                Ok(ticks as f64 / BUFFERS as f64)
            })?;
        }
        Ok(round)
    })
}

/// One run: cycles per buffer at every size.
fn run(cores: [usize; 2]) -> Result<Vec<f64>, Fault> {
    // What is encrypted has the length that it has in a frame.
    let lengths = SIZES.map(|inner| (inner + padding_len(SUITE, inner) + 2).to_string()).join(",");
    let cores = cores.map(|core| core.to_string()).join(",");
    let prefix = format!("--file-prefix=hearth-perf-peer-{}", std::process::id());
    let operations = OPERATIONS.to_string();
    let output = Command::new(PROGRAM)
        .args(["--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--no-shconf", &prefix])
        .args(["-l", &cores, "--vdev", "crypto_aesni_mb0", "--"])
        .args(["--ptest", "throughput", "--devtype", "crypto_aesni_mb"])
        .args(["--optype", "cipher-then-auth", "--cipher-algo", "aes-cbc"])
        .args(["--cipher-op", "encrypt", "--cipher-key-sz", "16", "--cipher-iv-sz", "16"])
        .args(["--auth-algo", "sha1-hmac", "--auth-op", "generate", "--auth-key-sz", "20"])
        .args(["--digest-sz", "12", "--burst-sz", "32", "--buffer-sz", &lengths])
        .args(["--total-ops", &operations, "--silent"])
        .output();
    let output = output.map_err(|_| Fault::Program)?;
    let cycles = parse(&String::from_utf8_lossy(&output.stdout));
    if cycles.len() == SIZES.len() { Ok(cycles) } else { Err(Fault::Program) }
}

/// The last column of the lines that are all numbers.
fn parse(output: &str) -> Vec<f64> {
    let numbers = |line: &str| -> Option<Vec<f64>> {
        line.split_whitespace().map(|word| word.parse().ok()).collect()
    };
    let lines = output.lines().filter_map(numbers).filter(|numbers| numbers.len() == 10);
    lines.filter_map(|numbers| numbers.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_table_is_read() {
        let output = "Allocated pool \"sess_mp_0\" on socket 0\n\
            \x20   lcore id    Buf Size  Burst Size    Enqueued    Dequeued  Failed Enq  Failed Deq        MOps        Gbps  Cycles/Buf\n\n\
            \x20          1          80          32      300000      300000           0           0      8.3835      5.3654      310.13\n\
            \x20          1         592          32      300000      300000           0           0      5.1769     24.5179      502.23\n";
        assert_eq!(parse(output), [310.13, 502.23]);
    }
}
