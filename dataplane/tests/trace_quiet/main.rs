//! A trace and a capture of everything cost a worker time, and nothing else: its turn allocates
//! nothing, takes no lock and makes no system call all the same.
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::too_many_lines)]
#![allow(missing_docs, unreachable_pub, dead_code)]
// The watchmen: an allocator, C symbols, a signal handler.
#![allow(unsafe_code)]

#[path = "../watched/mod.rs"]
mod watched;

use hearth_dataplane::Filter;
use hearth_dataplane::capture::CaptureStage;
use rig::{ACCESS, CN6, HOME, MobileNode};
use watched::watchmen::Watch;
use watched::{codec, rig, watched_rig};

/// With a client that keeps up, and with one that does not.
#[test]
fn a_turn_that_is_followed_and_copied_is_quiet() {
    let _watch = Watch::set_up();
    for keeps_up in [true, false] {
        let mut rig = watched_rig(|_| ());
        let mut mn = rig.attach(MobileNode::usual());
        rig.control.start_trace(&Filter::EVERYTHING, u32::MAX);
        rig.control.start_capture(&CaptureStage::ALL, &Filter::EVERYTHING, u64::MAX).unwrap();
        for number in 0..2000 {
            let packet = mn.data(&mn.inner6());
            rig.send(ACCESS, &packet);
            rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"x"));
            if number % 10 == 0 {
                rig.send(ACCESS, &mn.sealed(&mn.plain(8, mn.seq, 135, &[59; 8])));
                mn.seq += 1;
            }
            if keeps_up {
                assert_eq!(rig.control.trace_steps(usize::MAX, drop).lost, 0);
                assert_eq!(rig.control.captured(usize::MAX, drop).lost, 0);
            }
            rig.received(ACCESS);
            rig.received(HOME);
            rig.events();
        }
        let lost = (rig.control.stop_trace(drop).lost, rig.control.stop_capture(drop).lost);
        assert_eq!((lost.0 > 0, lost.1 > 0), (!keeps_up, !keeps_up));
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        rig.finish();
    }
}
