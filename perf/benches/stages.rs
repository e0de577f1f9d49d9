//! What single stages and their parts cost a packet, so that a regression has an address.
//!
//!     cargo bench -p hearth-perf --profile dist

use std::process::ExitCode;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use hearth_perf::stages::{PASS, Stages};

fn main() -> ExitCode {
    let mut stages = match Stages::new() {
        Ok(stages) => stages,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    // What is timed is a small part of what a pass takes: packets have to be made.
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Elements(PASS));
    for number in 0..stages.stages.len() {
        let name = stages.stages.get(number).map(|stage| stage.name().to_owned());
        group.bench_function(name.unwrap_or_default(), |bencher| {
            bencher.iter_custom(|times| stages.time(number, times));
        });
    }
    group.finish();
    criterion.final_summary();
    ExitCode::SUCCESS
}
