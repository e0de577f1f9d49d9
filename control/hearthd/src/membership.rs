//! Multicast groups that mobile nodes listen to, as the kernel and the dataplane know them.

use std::net::{IpAddr, Ipv6Addr};

use crate::control::Control;

impl Control {
    /// These home addresses are all that listen to `group`.
    pub(crate) fn set_group(&mut self, group: IpAddr, members: &[Ipv6Addr]) {
        tracing::debug!(%group, members = members.len(), "multicast group");
    }
}
