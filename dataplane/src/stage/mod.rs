//! The stages of a packet's path: one file each, exits first.
//!
//! | stage | takes | gives |
//! |---|---|---|
//! | [`receive`] | frames from ports, peers, control | sorted by [`express`] or [`classify`] |
//! | [`tunnel_in`] | envelopes | jobs, or inner packets (PType 0) |
//! | [`settle`] | what crypto has finished | inner packets, signalling, outgoing packets |
//! | [`forward`] | IP packets | to tunnels, the host, neighbours |
//! | [`tunnel_out`] | packets to bound home addresses | jobs, or outgoing packets (PType 0) |
//! | [`egress`] | outgoing IP packets | Ethernet frames at ports |

pub(crate) mod classify;
pub(crate) mod egress;
pub(crate) mod express;
pub(crate) mod forward;
pub(crate) mod host;
#[allow(dead_code)]
pub(crate) mod icmp;
#[allow(dead_code)]
pub(crate) mod icmp_outer;
pub(crate) mod inner;
#[allow(dead_code)]
pub(crate) mod limiter;
#[allow(dead_code)]
pub(crate) mod mss;
pub(crate) mod neighbour;
#[allow(dead_code)]
pub(crate) mod quote;
pub(crate) mod receive;
pub(crate) mod settle;
pub(crate) mod tunnel_in;
pub(crate) mod tunnel_out;
