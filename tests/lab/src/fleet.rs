//! Home agents and HACs on machines of their own, beside the mobile nodes of a lab.
//!
//! ```text
//!                 +--[access-0]-- fleet-ha0: hearthd "ha0" --[home-0]--+
//!  hearth-mn ..   +--[access-1]-- fleet-ha1: hearthd "ha1" --[home-1]--+-- hearth-cn
//!  --[visit6]-- hearth-net6
//!                 +--[hac-0]----- fleet-hac0: hearth-hac, replica 0
//!                 +--[hac-1]----- fleet-hac1: hearth-hac, replica 1
//!  The operator's network, 2001:db8:f::/64, joins all of fleet-*: the SA directory goes by it.
//! ```
//!
//! IPv6 alone. Home agent N serves 2001:db8:a:N+1::10 and has the home prefix 2001:db8:b:N+1::/64; a
//! HAC answers mobile nodes at 2001:db8:e:N::7.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    process::Output,
    time::Duration,
};

use hearth_api::{BindingRow, CounterRow, SaRow};
use serde::de::DeserializeOwned;

use crate::{
    Lab, LabOptions,
    config::{self, Files},
    error::{LabError, Result},
    netns::{Netns, output},
    network::{Network, add_address, deafen, no_unreachables, plain_frames, veth},
    pki::{Authority, Server},
    plan::{HA_PORT, HAC_PORT, Subscriber},
    program::Program,
    wait,
};

/// TCP port of the SA directory.
pub const DIRECTORY_PORT: u16 = 7874;
/// The name in HACs' certificates for home agents.
pub const DIRECTORY_NAME: &str = "directory.example.net";
/// SPIs of one home agent.
const SPIS: u32 = 4096;
/// How long a daemon may take to serve.
const START: Duration = Duration::from_secs(30);

/// How many there are of each.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Controllers: replicas of one deployment, where several.
    pub hacs: u8,
    /// Home agents.
    pub agents: u8,
}

/// One machine of the fleet.
pub struct Machine {
    /// Its namespace.
    pub namespace: Netns,
    /// Its daemon, where it runs.
    pub program: Option<Program>,
    files: Files,
    name: String,
    index: u8,
}

/// Home agents and HACs.
pub struct Fleet {
    options: LabOptions,
    network: Network,
    size: Size,
    operators: Netns,
    /// The controllers.
    pub hacs: Vec<Machine>,
    /// The home agents.
    pub agents: Vec<Machine>,
}

/// The address of home agent `index` for mobile nodes.
#[must_use]
pub fn agent_address(index: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1 + u16::from(index), 0, 0, 0, 0x10)
}

/// The address of HAC `index` for mobile nodes.
#[must_use]
pub fn hac_address(index: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xe, u16::from(index), 0, 0, 0, 7).into()
}

/// The correspondent's address behind home agent `index`.
#[must_use]
pub fn correspondent(index: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xc, 1 + u16::from(index), 0, 0, 0, 2)
}

fn home_prefix(index: u8) -> String {
    format!("2001:db8:b:{}::/64", 1 + index)
}

/// The address of a HAC in the operator's network.
fn directory_address(index: u8) -> String {
    format!("2001:db8:f::2{index}")
}

impl Fleet {
    /// Makes namespaces, certificates and YAML beside a lab without daemons. `subscribers` get their
    /// home addresses from pools.
    ///
    /// # Errors
    /// The step that failed.
    pub fn prepare(lab: &Lab, size: Size, subscribers: &[Subscriber]) -> Result<Self> {
        let options = lab.options.clone();
        let machine = |kind: &str, index: u8| {
            let name = format!("{kind}{index}");
            let namespace = Netns::named(format!("{}-fleet-{name}", options.prefix));
            let files = Files { run: options.files.run.join(&name), ..options.files.clone() };
            Machine { namespace, program: None, files, name, index }
        };
        let fleet = Self {
            operators: Netns::named(format!("{}-fleet-ops", options.prefix)),
            hacs: (0..size.hacs).map(|index| machine("hac", index)).collect(),
            agents: (0..size.agents).map(|index| machine("ha", index)).collect(),
            network: lab.network.clone(),
            options,
            size,
        };
        fleet.delete()?;
        fleet.join()?;
        fleet.certify(&lab.authority)?;
        for machine in fleet.machines() {
            std::fs::create_dir_all(&machine.files.run)
                .map_err(crate::error::file(&machine.files.run))?;
        }
        for hac in &fleet.hacs {
            config::write(&hac.yaml(), &fleet.hac_yaml(hac, subscribers))?;
        }
        for agent in &fleet.agents {
            config::write(&agent.yaml(), &fleet.agent_yaml(agent))?;
        }
        Ok(fleet)
    }

    fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.hacs.iter().chain(&self.agents)
    }

    /// Takes its namespaces away, with all that runs in them.
    ///
    /// # Errors
    /// Where a process cannot be ended or `ip` fails.
    pub fn delete(&self) -> Result<()> {
        for namespace in self.machines().map(|machine| &machine.namespace).chain([&self.operators])
        {
            namespace.delete()?;
        }
        Ok(())
    }

    /// The namespaces and what joins them.
    fn join(&self) -> Result<()> {
        self.operators.create()?;
        self.operators.ip("link add bridge type bridge")?;
        self.operators.ip("link set bridge up")?;
        for machine in self.machines() {
            let Machine { namespace, name, .. } = machine;
            namespace.create()?;
            veth(&self.operators, name, namespace, "ops")?;
            self.operators.ip(&format!("link set {name} master bridge up"))?;
            namespace.ip("link set ops up")?;
            add_address(namespace, "ops", &format!("{}/64", machine.operators_address()))?;
        }
        for hac in &self.hacs {
            let (link, index) = (format!("hac-{}", hac.index), hac.index);
            veth(&self.network.net6, &link, &hac.namespace, "front")?;
            add_address(&self.network.net6, &link, &format!("2001:db8:e:{index}::1/64"))?;
            add_address(&hac.namespace, "front", &format!("{}/64", hac_address(index)))?;
            self.network.net6.ip(&format!("link set {link} up"))?;
            hac.namespace.ip("link set front up")?;
            hac.namespace.ip(&format!("-6 route add default via 2001:db8:e:{index}::1"))?;
        }
        self.agents.iter().try_for_each(|agent| self.join_agent(agent))
    }

    fn join_agent(&self, agent: &Machine) -> Result<()> {
        let (net6, cn, number) = (&self.network.net6, &self.network.cn, 1 + agent.index);
        let (access, home) = (format!("access-{}", agent.index), format!("home-{}", agent.index));
        veth(net6, &access, &agent.namespace, "acc0")?;
        veth(cn, &home, &agent.namespace, "home0")?;
        plain_frames(net6, &access)?;
        plain_frames(cn, &home)?;
        add_address(net6, &access, &format!("2001:db8:a:{number}::1/64"))?;
        add_address(cn, &home, &format!("{}/64", correspondent(agent.index)))?;
        no_unreachables(net6, &access)?;
        net6.ip(&format!("link set {access} up"))?;
        cn.ip(&format!("link set {home} up"))?;
        let prefix = home_prefix(agent.index);
        cn.ip(&format!("-6 route replace {prefix} via 2001:db8:c:{number}::1"))?;
        deafen(&agent.namespace, "acc0", "hearth_acc0")?;
        deafen(&agent.namespace, "home0", "hearth_home0")
    }

    fn certify(&self, authority: &Authority) -> Result<()> {
        let pki = self.options.files.dir.join("pki");
        let server = Server { common_name: "x", alt_names: &[DIRECTORY_NAME] };
        authority.write_server(server, &pki.join("directory.pem"), &pki.join("directory.key"))?;
        for agent in &self.agents {
            let name = format!("{}.example.net", agent.name);
            let (certificate, key) = (agent.certificate(), agent.key());
            authority.write_client(&name, &certificate, &key)?;
        }
        Ok(())
    }

    fn hac_yaml(&self, hac: &Machine, subscribers: &[Subscriber]) -> String {
        let (run, files) = (&hac.files.run.display(), &hac.files);
        let pki = files.dir.join("pki");
        let mut text = format!(
            r#"listen: ["[{address}]:{HAC_PORT}"]
tls:
  certificate: {certificate}
  key: {key}
directory:
  store: {run}/hac.redb
  socket: {socket}
  listen: ["[{directory}]:{DIRECTORY_PORT}"]
  certificate: {pki}/directory.pem
  key: {pki}/directory.key
  ca: {ca}
admin:
  socket: {admin}
replica: {{index: {index}, of: {of}}}
limits:
  retry_after: 1
policy:
  home_agent_choice: least-loaded
home_agents:
"#,
            address = hac_address(hac.index),
            certificate = files.certificate().display(),
            key = files.key().display(),
            socket = files.directory_socket().display(),
            directory = directory_address(hac.index),
            pki = pki.display(),
            ca = files.ca().display(),
            admin = files.admin_socket().display(),
            index = hac.index,
            of = self.size.hacs,
        );
        for agent in &self.agents {
            let (first, number) = (1 + SPIS * u32::from(agent.index), 1 + agent.index);
            text += &format!(
                r#"  - name: {name}
    ip6: "{ip6}"
    port: {HA_PORT}
    spi_range: [{first}, {last}]
    certificate_name: {name}.example.net
    home_prefix_ip6: "{prefix}"
    pools:
      ip6: ["2001:db8:b:{number}::1000", "2001:db8:b:{number}::1fff"]
"#,
                name = agent.name,
                ip6 = agent_address(agent.index),
                last = first + SPIS - 1,
                prefix = home_prefix(agent.index),
            );
        }
        text += "subscribers:\n";
        for subscriber in subscribers {
            let Subscriber { mn_id, psk, suite, scope, .. } = subscriber;
            text += &format!(
                "  - mn_id: {mn_id}\n    psk: {{hex: \"{psk}\"}}\n    suites: [{}]\n    \
                 scope: {scope}\n",
                suite.name()
            );
        }
        text
    }

    fn agent_yaml(&self, agent: &Machine) -> String {
        let (number, first) = (1 + agent.index, 1 + SPIS * u32::from(agent.index));
        let replicas: Vec<_> = (1..self.size.hacs)
            .map(|hac| format!("{{address: \"[{}]:{DIRECTORY_PORT}\"}}", directory_address(hac)))
            .collect();
        format!(
            r#"eal:
  huge_pages: false
  memory_mb: 512
  file_prefix: {prefix}-{name}
  control_core: 0
workers:
  - core: {worker}
ports:
  - name: access
    device: "net_af_packet,iface=acc0"
    mtu: 1500
    addresses: ["{ip6}/64"]
  - name: home
    device: "net_af_packet,iface=home0"
    mtu: 1500
    addresses: ["2001:db8:c:{number}::1/64"]
home_agent:
  name: {name}
  address_ip6: "{ip6}"
  port: {HA_PORT}
  home_prefixes: ["{home}"]
  spi_range: [{first}, {last}]
  max_lifetime: 600
sa_directory:
  address: "[{directory}]:{DIRECTORY_PORT}"
  name: {DIRECTORY_NAME}
  ca: {ca}
  certificate: {certificate}
  key: {key}
  replicas: [{replicas}]
tables:
  max_bindings: 1024
  mbufs: 8192
api:
  socket: {api}
state:
  folder: {run}/state
"#,
            prefix = self.options.prefix,
            name = agent.name,
            worker = self.options.tuning.workers.first().copied().unwrap_or_default(),
            ip6 = agent_address(agent.index),
            home = home_prefix(agent.index),
            last = first + SPIS - 1,
            directory = directory_address(0),
            ca = agent.files.ca().display(),
            certificate = agent.certificate().display(),
            key = agent.key().display(),
            replicas = replicas.join(", "),
            api = agent.files.api_socket().display(),
            run = agent.files.run.display(),
        )
    }

    /// Starts HAC `index`, and waits until mobile nodes can connect.
    ///
    /// # Errors
    /// Where it ends or does not serve.
    pub fn start_hac(&mut self, index: usize) -> Result<()> {
        let hac = self.start(true, index, "hearth-hac")?;
        let port = format!("sport = :{HAC_PORT}");
        let namespace = hac.namespace.clone();
        let Some(program) = &mut hac.program else { return Ok(()) };
        program.until("a listener on the HAC's port", START, |_| {
            let sockets = output(namespace.command("ss").args(["-Hltn", &port]))?.stdout;
            Ok((!sockets.is_empty()).then_some(()))
        })
    }

    /// Starts home agent `index`, waits until it answers, and gives its kernel the way out.
    ///
    /// # Errors
    /// Where it ends or does not serve.
    pub fn start_hearthd(&mut self, index: usize) -> Result<()> {
        let agent = self.start(false, index, "hearthd")?;
        let (namespace, number) = (agent.namespace.clone(), 1 + agent.index);
        let Some(mut program) = agent.program.take() else { return Ok(()) };
        let served = program.until("hearthd's answer on its socket", START, |_| {
            let ports = self.show::<serde_json::Value>(index, "ports");
            Ok(ports.ok().filter(|ports| !ports.is_empty()).map(drop))
        });
        if let Some(agent) = self.agents.get_mut(index) {
            agent.program = Some(program);
        }
        served?;
        let route = format!("-6 route replace default via 2001:db8:a:{number}::1 dev access");
        wait::until("the TAP of the access port", Duration::from_secs(5), || {
            Ok(namespace.ip(&route).ok())
        })?;
        // It is in use a moment later. A home agent that had it before has no more than that.
        let _had_it = wait::until("the route in use", Duration::from_secs(1), || {
            let rows: Vec<CounterRow> = self.show(index, "counters")?;
            Ok(rows.iter().any(|row| row.counter == "routes" && row.count > 2).then_some(()))
        });
        Ok(())
    }

    fn start(&mut self, is_hac: bool, index: usize, program: &str) -> Result<&mut Machine> {
        let path = self.options.programs.path(program)?;
        let machines = if is_hac { &mut self.hacs } else { &mut self.agents };
        let missing = || LabError::Wrong(format!("the fleet has no {program} {index}"));
        let machine = machines.get_mut(index).ok_or_else(missing)?;
        let config = machine.yaml().display().to_string();
        let log = machine.files.log_of(&machine.name);
        let arguments = ["--config", &config];
        machine.program = Some(Program::start(&machine.namespace, &path, &arguments, &log)?);
        Ok(machine)
    }

    /// Runs `hearth` on home agent `index` to its end, whatever its exit code.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn hearth(&self, index: usize, arguments: &[&str]) -> Result<Output> {
        let mut hearth = self.options.programs.command("hearth")?;
        if let Some(agent) = self.agents.get(index) {
            hearth.arg("--socket").arg(agent.files.api_socket());
        }
        output(hearth.args(arguments))
    }

    /// Runs `hearth` on HAC `index` to its end, whatever its exit code.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn hearth_hac(&self, index: usize, arguments: &[&str]) -> Result<Output> {
        let mut hearth = self.options.programs.command("hearth")?;
        if let Some(hac) = self.hacs.get(index) {
            hearth.arg("--hac-socket").arg(hac.files.admin_socket());
        }
        output(hearth.args(arguments))
    }

    /// What `hearth show WHAT --json` prints of home agent `index`.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn show<T: DeserializeOwned>(&self, index: usize, what: &str) -> Result<Vec<T>> {
        let output = self.hearth(index, &["show", what, "--json"])?;
        let from = || format!("hearth show {what}");
        serde_json::from_slice(&output.stdout)
            .map_err(|source| LabError::Json { from: from(), source })
    }

    /// The SAs of home agent `index`.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn sas(&self, index: usize) -> Result<Vec<SaRow>> {
        self.show(index, "sas")
    }

    /// The bindings of home agent `index`.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn bindings(&self, index: usize) -> Result<Vec<BindingRow>> {
        self.show(index, "bindings")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Err(error) = self.delete() {
            eprintln!("the fleet did not go down: {error}");
        }
        for agent in &self.agents {
            let eal = format!("/var/run/dpdk/{}-{}", self.options.prefix, agent.name);
            let _ = std::fs::remove_dir_all(eal);
        }
    }
}

impl Machine {
    fn operators_address(&self) -> String {
        if self.name.starts_with("hac") {
            return directory_address(self.index);
        }
        format!("2001:db8:f::1{}", self.index)
    }

    /// Its YAML.
    #[must_use]
    pub fn yaml(&self) -> PathBuf {
        self.files.config(&self.name)
    }

    /// Its certificate for HACs, where it is a home agent.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.files.dir.join(format!("pki/{}.pem", self.name))
    }

    /// The key of that.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.files.dir.join(format!("pki/{}.key", self.name))
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.log_of(&self.name)).unwrap_or_default()
    }

    /// Kills its daemon as a crash would.
    ///
    /// # Errors
    /// Where it does not run, or does not let go.
    pub fn crash(&mut self) -> Result<()> {
        let missing = || LabError::Wrong(format!("{} does not run", self.name));
        self.program.take().ok_or_else(missing)?.crash()
    }
}
