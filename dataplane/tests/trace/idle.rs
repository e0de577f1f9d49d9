//! Workers with nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::codec;
use crate::rig::{ACCESS, HOME, MobileNode, Rig};

/// Turns that the first worker has taken.
fn turns(rig: &Rig) -> u64 {
    let worker = rig.counters().workers[0];
    worker.busy_turns + worker.idle_turns
}

/// Turns in a quarter of a second, after a silence of more than one.
fn idle_turns(busy_poll: bool) -> u64 {
    let mut rig = Rig::with(|config| config.busy_poll = busy_poll);
    let mut mn = rig.attach(MobileNode::usual());
    let stop = Arc::new(AtomicBool::new(false));
    let worker = rig.workers.pop().unwrap();
    let running = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || worker.run(&stop))
    };
    // The time itself is what is tested.
    thread::sleep(Duration::from_millis(1200));
    let before = turns(&rig);
    thread::sleep(Duration::from_millis(250));
    let idle = turns(&rig) - before;
    // It wakes for a packet all the same.
    let frame = codec::ethernet(rig.mac(ACCESS), [2; 6], &mn.data(&mn.inner6()));
    rig.inject(ACCESS, 0, &frame);
    let sent = Instant::now();
    while rig.received(HOME).is_empty() {
        assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", rig.drops());
        thread::yield_now();
    }
    let counted = rig.counters().workers[0];
    assert_eq!(counted.packets, 1);
    assert!(counted.busy_turns >= 1 && counted.busy_cycles > 0);
    stop.store(true, Ordering::Relaxed);
    running.join().unwrap();
    rig.finish();
    idle
}

/// An idle worker naps a millisecond at a time, and takes turns all the while: the watchdog would
/// see one that does not.
#[test]
fn an_idle_worker_naps_and_goes_on() {
    let turns = idle_turns(false);
    // 250 on a machine with nothing else to do.
    assert!((10..=260).contains(&turns), "{turns}");
}

#[test]
fn busy_poll_never_naps() {
    let turns = idle_turns(true);
    assert!(turns > 10_000, "{turns}");
}

/// What the watchdog looks at.
#[test]
fn a_worker_that_takes_no_turns_is_seen_to_stand_still() {
    let mut rig = Rig::with(|config| config.workers = 2);
    let taken = |rig: &Rig| rig.counters().workers.iter().map(|w| w.idle_turns).collect::<Vec<_>>();
    let before = taken(&rig);
    for _ in 0..3 {
        rig.workers[0].turn();
    }
    assert_eq!(taken(&rig), [before[0] + 3, before[1]]);
    rig.finish();
}
