//! What workers read and control writes.

pub(crate) mod binding;
pub(crate) mod defended;
pub(crate) mod fan;
pub(crate) mod fib;
pub(crate) mod grace;
pub(crate) mod group;
pub(crate) mod homes;
pub(crate) mod neighbour;
pub(crate) mod next_hop;
pub(crate) mod path_mtu;
pub(crate) mod prefix;
pub(crate) mod reserve;
pub(crate) mod route_builder;
pub(crate) mod shared;
pub(crate) mod writer;
