//! The threads that talk to the HAC for the nodes.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::Plan;
use super::mailbox::Mailbox;
use super::shard::Event;
use crate::bootstrap::{Grant, Proposal};
use crate::config::Auth;
use crate::eap::Credentials;
use crate::hac_client::{Failure, HacClient};

/// Octets of a thread's stack: a TLS session fits in.
const STACK: usize = 512 << 10;

/// A node that wants an SA.
pub(super) struct Job {
    /// Its number.
    pub(super) number: u32,
    /// Whom to tell.
    pub(super) shard: Mailbox<Event>,
}

/// Where nodes queue.
#[derive(Clone)]
pub(super) struct Bootstraps(Sender<Job>);

impl Bootstraps {
    /// Starts the threads; they end with the last of the queue's senders.
    pub(super) fn start(plan: &Arc<Plan>, hac: HacClient) -> io::Result<Self> {
        let (sender, jobs) = channel();
        let (jobs, hac) = (Arc::new(Mutex::new(jobs)), Arc::new(hac));
        for _ in 0..plan.bootstraps_at_once {
            let (plan, hac, jobs) = (Arc::clone(plan), Arc::clone(&hac), Arc::clone(&jobs));
            let work = move || {
                while let Some(job) = next(&jobs) {
                    let begun = Instant::now();
                    let outcome = bootstrap(&plan, &hac, job.number).map(Box::new);
                    let took = begun.elapsed();
                    job.shard.send(Event::Bootstrapped { number: job.number, outcome, took });
                }
            };
            let thread = thread::Builder::new().name("bootstrap".to_owned()).stack_size(STACK);
            thread.spawn(work)?;
        }
        Ok(Self(sender))
    }

    /// A queue that nobody works on.
    #[cfg(test)]
    pub(super) fn idle() -> Self {
        Self(channel().0)
    }

    /// Queues; the threads outlive every shard.
    pub(super) fn ask(&self, job: Job) {
        let _ = self.0.send(job);
    }
}

fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn bootstrap(plan: &Plan, hac: &HacClient, number: u32) -> Result<Grant, Failure> {
    let failed = |text: &str| Failure { text: text.into(), retry_after: None, by_network: false };
    let mn_id = plan.mn_id(number).ok_or_else(|| failed("no mn-id"))?;
    let key = plan.keys.of(&mn_id).ok_or_else(|| failed("no key"))?;
    let credentials = match plan.node.auth {
        Auth::Gpsk(_) => Credentials::Gpsk(&key),
        _ => Credentials::Psk(&key),
    };
    let proposal = Proposal {
        mn_id: &mn_id,
        credentials: &credentials,
        suites: &plan.node.suites,
        scope: plan.node.scope,
    };
    hac.bootstrap(proposal).map(|(grant, _)| grant)
}
