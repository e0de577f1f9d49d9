//! The stages of a packet's path: one file each, exits first.
//!
//! | stage | takes | gives |
//! |---|---|---|
//! | [`receive`] | frames from ports, peers, control | sorted by [`express`] or [`classify`] |
//! | [`tunnel_in`] | envelopes | jobs, or inner packets (PType 0) |
//! | [`settle`] | what crypto has finished | inner packets, signalling, outgoing packets |
//! | [`forward`] | IP packets | to tunnels, the host, neighbours |
//! | [`tunnel_out`] | packets to bound home addresses | jobs, or outgoing packets (PType 0) |
//! | [`train`] | of those, trains to one mobile node | jobs |
//! | [`egress`] | outgoing IP packets | Ethernet frames at ports |
//!
//! Beside the path, for packets out of the ordinary:
//!
//! | module | takes | gives |
//! |---|---|---|
//! | [`select`] | packets to mobile nodes with several care-of addresses | the same, with a tunnel |
//! | [`pieces`] | frames in several buffers, fragments of outer packets | whole frames, to [`receive`] |
//! | [`sizes`] | packets that are too large | fragments, or ICMP errors |
//! | [`refuse`] | packets that can't be carried | ICMP errors ([`icmp`]) to their senders |
//! | [`relay`] | ICMP errors about outer packets ([`icmp_outer`]) | ICMP errors to inner senders |
//! | [`unresolved`] | packets whose next hop could not be found | ICMP errors to their senders |
//! | [`host`], [`neighbour`] | frames of the kernel, and questions for bound addresses | answers |
//! | [`for_control`] | what the home agent itself wants | to control |
//! | [`members`] | packets to groups | copies to mobile nodes that listen |
//! | [`mss`] | TCP's SYN, where a deployment wants it | with a smaller MSS |

pub(crate) mod assist;
pub(crate) mod classify;
pub(crate) mod egress;
pub(crate) mod envelope;
pub(crate) mod express;
pub(crate) mod for_control;
pub(crate) mod forward;
pub(crate) mod host;
pub(crate) mod icmp;
pub(crate) mod icmp_outer;
pub(crate) mod inner;
pub(crate) mod members;
pub(crate) mod mss;
pub(crate) mod neighbour;
pub(crate) mod pieces;
pub(crate) mod receive;
pub(crate) mod refuse;
pub(crate) mod relay;
pub(crate) mod select;
pub(crate) mod settle;
pub(crate) mod sizes;
pub(crate) mod train;
pub(crate) mod tunnel_in;
pub(crate) mod tunnel_out;
pub(crate) mod unresolved;
