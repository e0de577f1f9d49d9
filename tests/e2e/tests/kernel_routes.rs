//! The routes that the box's kernel is given by `hearth0`, whatever others do to them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, process::Command, thread};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::NodeTuning,
    netns::run,
    plan::{HA6, HOME_PREFIX4, HOME_PREFIX6, MOBILE_NETWORK6, Visited},
    wait,
};
use rustix::process::{Pid, Signal, kill_process};

/// The prefixes that the kernel has by `hearth0`.
fn routes(lab: &TestLab) -> Vec<String> {
    let show = |family| {
        let mut ip = Command::new("ip");
        ip.args(["-n", lab.network.ha.name(), family, "route", "show", "proto", "201"]);
        run(&mut ip).unwrap()
    };
    let text = [show("-4"), show("-6")].concat();
    let mut prefixes: Vec<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(Into::into).collect();
    prefixes.sort();
    prefixes
}

fn until(lab: &TestLab, what: &str, wanted: &[&str]) {
    let mut wanted: Vec<String> = wanted.iter().map(|&prefix| prefix.into()).collect();
    wanted.sort();
    wait::until(format!("{what}: {wanted:?}"), PATIENCE, || {
        Ok((routes(lab) == wanted).then_some(()))
    })
    .unwrap();
}

/// NEM-08, TUN-02: whoever takes the device down and up or deletes a route has not the last word.
#[test]
fn routes_that_somebody_takes_from_the_kernel_are_put_back() {
    let lab = TestLab::up("kernel-routes");
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, HA6.into()).unwrap();
    let mobile_router = Some((vec![MOBILE_NETWORK6], "explicit"));
    let tuning = NodeTuning { mobile_router, ..NodeTuning::default() };
    let mut node = lab.start_node(0, lab.lab_subscriber("mobile-router"), &tuning).unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    let all = [HOME_PREFIX4, HOME_PREFIX6, MOBILE_NETWORK6];
    until(&lab, "given", &all);
    let ha = &lab.network.ha;
    for (family, prefix) in [("-4", HOME_PREFIX4), ("-6", HOME_PREFIX6), ("-6", MOBILE_NETWORK6)] {
        ha.ip(&format!("{family} route del {prefix} dev hearth0 proto 201")).unwrap();
        until(&lab, "deleted", &all);
    }
    ha.ip("link set hearth0 down").unwrap();
    assert_eq!(routes(&lab), [""; 0]);
    ha.ip("link set hearth0 up").unwrap();
    until(&lab, "down and up", &all);
    // A home prefix that is served no more.
    let path = lab.options.files.config("hearthd");
    let text = fs::read_to_string(&path).unwrap();
    let both = format!("home_prefixes: [\"{HOME_PREFIX6}\", \"{HOME_PREFIX4}\"]");
    assert!(text.contains(&both), "{text}");
    let one = format!("home_prefixes: [\"{HOME_PREFIX6}\"]");
    fs::write(&path, text.replace(&both, &one)).unwrap();
    lab.hearthd.as_ref().unwrap().signal(Signal::HUP);
    until(&lab, "read again", &[HOME_PREFIX6, MOBILE_NETWORK6]);
    node.stop().unwrap();
    until(&lab, "the router has gone", &[HOME_PREFIX6]);
}

/// Whoever has hearthd read its YAML again while it starts does not end it.
#[test]
fn a_sighup_during_the_start_waits() {
    let mut lab = TestLab::prepare("early-reload");
    lab.start_hac().unwrap();
    let (namespace, socket) = (lab.network.ha.clone(), lab.options.files.api_socket());
    thread::scope(|scope| {
        // It is there before the ports are.
        scope.spawn(move || {
            wait::until("the API's socket", PATIENCE, || Ok(socket.exists().then_some(())))
                .unwrap();
            let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            for pid in namespace.pids().unwrap() {
                if name(pid).trim() == "hearthd" {
                    kill_process(Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();
                }
            }
        });
        lab.start_hearthd().unwrap();
    });
    let hearthd = lab.hearthd.as_mut().unwrap();
    hearthd
        .until("the second reading", PATIENCE, |program| {
            Ok(program
                .log()
                .contains("home prefixes and certificates are read again")
                .then_some(()))
        })
        .unwrap();
}
