//! Where an AAA server runs: on loopback, or in a network namespace.

use std::{
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
    process::Command,
};

/// Where an AAA server runs, and who may ask it.
#[derive(Debug)]
pub struct Place {
    namespace: Option<String>,
    /// The server's address.
    pub ip4: Ipv4Addr,
    /// The same for IPv6.
    pub ip6: Ipv6Addr,
    /// Its clients: a prefix, and one of IPv6.
    pub(super) clients: [String; 2],
    /// A socket of a client's, to see whether it answers.
    pub(super) probe: UdpSocket,
}

impl Place {
    /// This process's own loopback, on ports that nobody else uses.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            namespace: None,
            ip4: Ipv4Addr::LOCALHOST,
            ip6: Ipv6Addr::LOCALHOST,
            clients: ["127.0.0.0/8", "::1"].map(Into::into),
            probe: UdpSocket::bind("127.0.0.1:0").unwrap(),
        }
    }

    /// The network namespace of this name, in which the server alone runs and has these addresses,
    /// with its clients in these prefixes. `probe` is a socket of one of them.
    #[must_use]
    pub fn namespace(
        name: &str,
        (ip4, ip6): (Ipv4Addr, Ipv6Addr),
        clients: [&str; 2],
        probe: UdpSocket,
    ) -> Self {
        Self { namespace: Some(name.into()), ip4, ip6, clients: clients.map(Into::into), probe }
    }

    /// A command that runs there.
    pub(super) fn command(&self, program: &str) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]);
        command
    }

    /// `usual`, where nobody else can have it; else one that was free just now, for UDP and TCP.
    pub(super) fn port(&self, usual: u16) -> u16 {
        if self.namespace.is_some() {
            return usual;
        }
        crate::free_port()
    }
}
