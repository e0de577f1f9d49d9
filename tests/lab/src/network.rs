//! The namespaces and what joins them; see [`crate::plan`] for the map.

use std::{process::Command, thread, time::Duration};

use crate::{
    error::{LabError, Result},
    netns::{Netns, run},
    plan::{
        AAA4, AAA6, ACCESS_ROUTER4, ACCESS_ROUTER6, BEHIND6, CN_ON_LINK4, CN_ON_LINK6, CN4, CN6,
        GUEST_ON_LINK6, HA_HOME4, HA_HOME6, HA_ON_LINK6, HAC_OPERATOR4, HAC_OPERATOR6,
        HOME_INTERFACE, HOME_PREFIX4, HOME_PREFIX6, MOBILE_NETWORK6, MOBILE_ROUTER6, NAT_OUTSIDE,
        NAT_ROUTER, Visited,
    },
    wait,
};

/// veths in the home agent's namespace that DPDK reads.
pub const DPDK_LINKS: [&str; 2] = ["acc0", "home0"];

/// The namespaces of one lab.
#[derive(Debug, Clone)]
pub struct Network {
    /// Mobile nodes, each in a namespace of its own.
    pub mobile_nodes: Vec<Netns>,
    /// Router to the IPv6-only visited networks, and of the access link.
    pub net6: Netns,
    /// Address translator of the IPv4 visited networks.
    pub nat4: Netns,
    /// The home agent and the HAC.
    pub ha: Netns,
    /// The correspondent.
    pub cn: Netns,
    /// A host behind mobile node 0, where that is a mobile router.
    pub lan: Netns,
    /// AAA servers, where there are any.
    pub aaa: Netns,
}

impl Network {
    /// The handles of a lab whose namespaces start with `prefix`.
    #[must_use]
    pub fn named(prefix: &str, mobile_nodes: u8) -> Self {
        let name = |role: &str| Netns::named(format!("{prefix}-{role}"));
        let mn = |index| if index == 0 { name("mn") } else { name(&format!("mn{}", index + 1)) };
        Self {
            mobile_nodes: (0..mobile_nodes).map(mn).collect(),
            net6: name("net6"),
            nat4: name("nat4"),
            ha: name("ha"),
            cn: name("cn"),
            lan: name("lan"),
            aaa: name("aaa"),
        }
    }

    /// All namespaces, in the order in which their processes should end.
    pub fn all(&self) -> impl Iterator<Item = &Netns> {
        self.mobile_nodes
            .iter()
            .chain([&self.lan, &self.cn, &self.ha, &self.nat4, &self.net6, &self.aaa])
    }

    /// Makes all of it. What an earlier lab of the same name left is taken away first.
    ///
    /// # Errors
    /// Where `ip`, `nft` or `ethtool` fails, as without root.
    pub fn create(&self) -> Result<()> {
        self.delete()?;
        for namespace in self.all().filter(|namespace| **namespace != self.aaa) {
            namespace.create()?;
        }
        self.access()?;
        self.home()?;
        self.translator()?;
        for (node, index) in self.mobile_nodes.iter().zip(0..) {
            self.visited(node, index)?;
        }
        self.mobile_network()
    }

    /// Makes the operator's network, in which the HAC reaches AAA servers over a link.
    ///
    /// # Errors
    /// Where `ip` fails.
    pub fn operator(&self) -> Result<()> {
        self.aaa.create()?;
        veth(&self.aaa, "operator", &self.ha, "operator")?;
        for (namespace, ip4, ip6) in
            [(&self.aaa, AAA4, AAA6), (&self.ha, HAC_OPERATOR4, HAC_OPERATOR6)]
        {
            add_address(namespace, "operator", &format!("{ip4}/24"))?;
            add_address(namespace, "operator", &format!("{ip6}/64"))?;
            namespace.ip("link set operator up")?;
        }
        Ok(())
    }

    /// The network behind mobile node 0, which forwards for it.
    fn mobile_network(&self) -> Result<()> {
        let Some(router) = self.mobile_nodes.first() else { return Ok(()) };
        veth(&self.lan, "lan", router, "lan")?;
        add_address(router, "lan", &format!("{MOBILE_ROUTER6}/64"))?;
        add_address(&self.lan, "lan", &format!("{BEHIND6}/64"))?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        router.ip("link set lan up")?;
        self.lan.ip("link set lan up")?;
        self.lan.ip(&format!("-6 route add default via {MOBILE_ROUTER6}"))
    }

    /// Takes the addresses of the mobile network away again, from both ends: the mobile router sets its
    /// own, and the host behind it has none until a Router Advertisement comes.
    ///
    /// # Errors
    /// Where `ip` fails.
    pub fn bare_mobile_network(&self) -> Result<()> {
        self.lan.ip("-6 route delete default")?;
        for namespace in [self.mobile_node(0)?, &self.lan] {
            namespace.ip("address flush dev lan scope global")?;
        }
        self.lan.sysctl("net/ipv6/conf/lan/accept_ra", "1")
    }

    /// Takes all of it away.
    ///
    /// # Errors
    /// Where a process cannot be ended or `ip` fails.
    pub fn delete(&self) -> Result<()> {
        // A namespace waits for its own processes alone, so they can all end at once.
        let all: Vec<&Netns> = self.all().collect();
        let (nodes, rest) = all.split_at(self.mobile_nodes.len());
        for group in [nodes, rest] {
            let outcome: Vec<Result<()>> = thread::scope(|scope| {
                let workers: Vec<_> =
                    group.iter().map(|namespace| scope.spawn(|| namespace.delete())).collect();
                let gone = || LabError::Wrong("deleting a namespace panicked".into());
                workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(gone()))).collect()
            });
            outcome.into_iter().collect::<Result<()>>()?;
        }
        Ok(())
    }

    /// The access link, and the routers' forwarding.
    fn access(&self) -> Result<()> {
        veth(&self.net6, "access", &self.ha, "acc0")?;
        for router in [&self.net6, &self.nat4] {
            router.sysctl("net/ipv4/ip_forward", "1")?;
            router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        plain_frames(&self.net6, "access")?;
        for address in [format!("{ACCESS_ROUTER6}/64"), format!("{ACCESS_ROUTER4}/27")] {
            add_address(&self.net6, "access", &address)?;
        }
        no_unreachables(&self.net6, "access")?;
        self.net6.ip("link set access up")?;
        deafen(&self.ha, "acc0", "hearth_acc0")
    }

    /// The home link and the correspondent behind it.
    fn home(&self) -> Result<()> {
        veth(&self.cn, "home", &self.ha, "home0")?;
        plain_frames(&self.cn, "home")?;
        for address in [format!("{CN6}/64"), format!("{CN4}/27")] {
            add_address(&self.cn, "home", &address)?;
        }
        self.cn.ip("link set home up")?;
        self.cn.ip(&format!("-6 route add {HOME_PREFIX6} via {HA_HOME6}"))?;
        self.cn.ip(&format!("-6 route add {MOBILE_NETWORK6} via {HA_HOME6}"))?;
        self.cn.ip(&format!("-4 route add {HOME_PREFIX4} via {HA_HOME4}"))?;
        deafen(&self.ha, "home0", "hearth_home0")
    }

    /// Puts the home prefixes on the home link, and a port for mobile node 0 there, which is down. The
    /// correspondent's end of the link becomes a bridge.
    ///
    /// # Errors
    /// Where `ip` fails.
    pub fn share_home_link(&self) -> Result<()> {
        let (cn, node) = (&self.cn, self.mobile_node(0)?);
        cn.ip("link add hlink type bridge mcast_snooping 0")?;
        cn.ip("address flush dev home scope global")?;
        cn.ip("link set home master hlink")?;
        plain_frames(cn, "hlink")?;
        let addresses = [
            format!("{CN6}/64"),
            format!("{CN4}/27"),
            format!("{CN_ON_LINK6}/64"),
            format!("{CN_ON_LINK4}/25"),
        ];
        for address in addresses {
            add_address(cn, "hlink", &address)?;
        }
        cn.ip("link set hlink up")?;
        veth(node, HOME_INTERFACE, cn, "homeport")?;
        plain_frames(node, HOME_INTERFACE)?;
        cn.ip("link set homeport master hlink")?;
        cn.ip("link set homeport up")
    }

    /// Brings mobile node 0 onto the home link: link, an address in the home prefix, default route.
    ///
    /// # Errors
    /// Where `ip` fails, as without [`Self::share_home_link`].
    pub fn attach_home(&self) -> Result<()> {
        let node = self.mobile_node(0)?;
        node.ip(&format!("link set {HOME_INTERFACE} up"))?;
        add_address(node, HOME_INTERFACE, &format!("{GUEST_ON_LINK6}/64"))?;
        let route = format!("via {HA_ON_LINK6} dev {HOME_INTERFACE} metric 90");
        node.ip(&format!("-6 route replace default {route}"))
    }

    /// Takes it away from there.
    ///
    /// # Errors
    /// Where `ip` fails.
    pub fn detach_home(&self) -> Result<()> {
        let node = self.mobile_node(0)?;
        node.ip(&format!("address flush dev {HOME_INTERFACE} scope global"))?;
        node.ip(&format!("link set {HOME_INTERFACE} down"))
    }

    /// The address translator's outside.
    fn translator(&self) -> Result<()> {
        veth(&self.net6, "wan4", &self.nat4, "wan4")?;
        add_address(&self.net6, "wan4", &format!("{NAT_ROUTER}/27"))?;
        add_address(&self.nat4, "wan4", &format!("{NAT_OUTSIDE}/27"))?;
        no_unreachables(&self.nat4, "wan4")?;
        self.net6.ip("link set wan4 up")?;
        self.nat4.ip("link set wan4 up")?;
        self.nat4.ip(&format!("-4 route add default via {NAT_ROUTER}"))?;
        self.masquerade("10000-19999")
    }

    /// (Re)places the translation rule; `ports` is what UDP flows get outside.
    ///
    /// # Errors
    /// Where `nft` refuses the rule.
    pub fn masquerade(&self, ports: &str) -> Result<()> {
        self.nat4.nft(&format!(
            "add table ip nat\ndelete table ip nat\ntable ip nat {{\n chain postrouting {{\n  \
             type nat hook postrouting priority 100\n  \
             oifname \"wan4\" meta l4proto udp masquerade to :{ports}\n  \
             oifname \"wan4\" masquerade\n }}\n}}\n"
        ))
    }

    /// Makes the translator forget its mappings and hand out `ports` from now on, as one does that
    /// restarts.
    ///
    /// # Errors
    /// Where `nft` or `conntrack` fails.
    pub fn rebind(&self, ports: &str) -> Result<()> {
        self.masquerade(ports)?;
        run(self.nat4.command("conntrack").arg("-F")).map(drop)
    }

    /// Both visited networks of one mobile node, with the node's ends down.
    fn visited(&self, node: &Netns, index: u8) -> Result<()> {
        for (visited, router) in [(Visited::Net6, &self.net6), (Visited::Nat4, &self.nat4)] {
            let outer = format!("{}-{index}", visited.interface());
            veth(node, visited.interface(), router, &outer)?;
            let (address, gateway) = visited.attachment(index);
            let length = address.split_once('/').map_or("64", |(_, length)| length);
            add_address(router, &outer, &format!("{gateway}/{length}"))?;
            router.ip(&format!("link set {outer} up"))?;
        }
        Ok(())
    }

    /// Brings mobile node `index` into a visited network: link, address, default route.
    ///
    /// # Errors
    /// Where `ip` fails.
    pub fn attach(&self, index: u8, visited: Visited) -> Result<()> {
        let node = self.mobile_node(index)?;
        let interface = visited.interface();
        let (address, router) = visited.attachment(index);
        node.ip(&format!("link set {interface} up"))?;
        add_address(node, interface, &address)?;
        // The cost says which network is wanted where both are up.
        node.ip(&format!("route replace default via {router} dev {interface} metric 100"))
    }

    /// Takes mobile node `index` out of a visited network: address, routes and link go.
    ///
    /// # Errors
    /// Where `ip` fails.
    pub fn detach(&self, index: u8, visited: Visited) -> Result<()> {
        let node = self.mobile_node(index)?;
        node.ip(&format!("address flush dev {} scope global", visited.interface()))?;
        node.ip(&format!("link set {} down", visited.interface()))
    }

    /// The namespace of mobile node `index`.
    ///
    /// # Errors
    /// Where the lab has no such node.
    pub fn mobile_node(&self, index: u8) -> Result<&Netns> {
        let missing = || LabError::Wrong(format!("the lab has no mobile node {index}"));
        self.mobile_nodes.get(usize::from(index)).ok_or_else(missing)
    }

    /// Gives the home agent's kernel the routes that hearthd's dataplane learns by netlink. The
    /// TAPs, named after the ports, are hearthd's; the lab waits for them.
    ///
    /// # Errors
    /// Where they do not appear with their addresses.
    pub fn route_home_agent(&self, patience: Duration) -> Result<()> {
        let routes = [
            format!("-6 route replace default via {ACCESS_ROUTER6} dev access"),
            format!("-4 route replace default via {ACCESS_ROUTER4} dev access"),
        ];
        for route in routes {
            let mut refusal = None;
            let added =
                wait::until("the TAP of the access port", patience, || match self.ha.ip(&route) {
                    Ok(()) => Ok(Some(())),
                    Err(error) => {
                        refusal = Some(error);
                        Ok(None)
                    }
                });
            added.map_err(|error| refusal.unwrap_or(error))?;
        }
        Ok(())
    }
}

pub(crate) fn veth(a: &Netns, a_name: &str, b: &Netns, b_name: &str) -> Result<()> {
    a.ip(&format!("link add {a_name} type veth peer name {b_name} netns {}", b.name()))
}

pub(crate) fn add_address(namespace: &Netns, link: &str, address: &str) -> Result<()> {
    let nodad = if address.contains(':') { " nodad" } else { "" };
    namespace.ip(&format!("address replace {address} dev {link}{nodad}"))
}

/// Switches off what would hand the peer unfinished checksums and super-frames.
pub(crate) fn plain_frames(namespace: &Netns, link: &str) -> Result<()> {
    let off = ["tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off"];
    run(namespace.command("ethtool").args(["-K", link]).args(off)).map(drop)
}

/// Makes a router drop packets for a mobile node that has just left without telling the home agent,
/// as many do: what is on the access link is then TLS and UDP 7872 alone.
pub(crate) fn no_unreachables(router: &Netns, link: &str) -> Result<()> {
    router.nft(&format!(
        "table inet quiet {{\n chain output {{\n  type filter hook output priority 0\n  \
         oifname \"{link}\" icmpv6 type destination-unreachable drop\n  \
         oifname \"{link}\" icmp type destination-unreachable drop\n }}\n}}\n"
    ))
}

/// Keeps the kernel from answering on a veth that DPDK reads: no addresses, no IPv6, and nothing
/// passes ingress. AF_PACKET sees every frame before that chain does.
pub(crate) fn deafen(namespace: &Netns, link: &str, table: &str) -> Result<()> {
    plain_frames(namespace, link)?;
    namespace.sysctl(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1")?;
    namespace.nft(&format!(
        "table netdev {table} {{\n chain ingress {{\n  \
         type filter hook ingress device \"{link}\" priority 0\n  policy drop\n }}\n}}\n"
    ))?;
    namespace.ip(&format!("link set {link} up"))
}

/// Whether the lab's system programs can run at all, with words for who lacks root.
///
/// # Errors
/// Where this process may not make namespaces.
pub fn check_privileges() -> Result<()> {
    run(Command::new("ip").args(["netns", "list"]))?;
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(LabError::Wrong("the lab makes network namespaces and needs root (sudo)".into()))
}
