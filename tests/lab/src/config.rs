//! The YAML files of one lab; every key is explained in `configs/`.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    error::{Result, file},
    network::DPDK_LINKS,
    plan::{
        DASHBOARD, HA_HOME4, HA_HOME6, HA_ON_LINK4, HA_ON_LINK6, HA_PORT, HA4, HA6, HAC_METRICS,
        HAC_NAME, HAC_PORT, HOME_PREFIX4, HOME_PREFIX6, METRICS, SPI_RANGE, Subscriber,
    },
};

/// The files of one lab.
#[derive(Debug, Clone)]
pub struct Files {
    /// Certificates, YAML, logs and `lab.json`.
    pub dir: PathBuf,
    /// Sockets and stores. Short, for a Unix socket's path ends at 107 octets.
    pub run: PathBuf,
}

impl Files {
    /// Makes both folders anew.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub fn create(&self) -> Result<()> {
        self.remove()?;
        for folder in [&self.pki(), &self.yaml(), &self.log(), &self.run] {
            fs::create_dir_all(folder).map_err(file(folder))?;
        }
        Ok(())
    }

    /// Removes both folders; does nothing where they do not exist.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub fn remove(&self) -> Result<()> {
        for folder in [&self.dir, &self.run] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(file(folder)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    fn yaml(&self) -> PathBuf {
        self.dir.join("config")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Certificate of the lab's authority.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.pki().join("ca.pem")
    }

    /// The HAC's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.pki().join("hac.pem")
    }

    /// The HAC's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.pki().join("hac.key")
    }

    /// YAML of one role: `hac`, `hearthd` or `mn-` and a subscriber's label.
    #[must_use]
    pub fn config(&self, role: &str) -> PathBuf {
        self.yaml().join(format!("{role}.yaml"))
    }

    /// Log of one role.
    #[must_use]
    pub fn log_of(&self, role: &str) -> PathBuf {
        self.log().join(format!("{role}.log"))
    }

    /// The SA directory's socket.
    #[must_use]
    pub fn directory_socket(&self) -> PathBuf {
        self.run.join("directory.sock")
    }

    /// The socket that the CLI talks to.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.run.join("hearthd.sock")
    }

    /// The HAC's admin socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.run.join("hac.sock")
    }

    /// The description for other programs.
    #[must_use]
    pub fn description(&self) -> PathBuf {
        self.dir.join("lab.json")
    }
}

/// What a test may want otherwise.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Seconds that an SA is valid.
    pub sa_validity: u32,
    /// Longest binding in seconds.
    pub max_lifetime: u32,
    /// Whether the HAC speaks TLS 1.3 beside 1.2.
    pub tls13: bool,
    /// UDP port of the home agent: what hearthd serves and the HAC hands out.
    pub port: u16,
    /// The cores of hearthd's workers.
    pub workers: Vec<usize>,
    /// DPDK's devices of the access and of the home link.
    pub devices: [String; 2],
    /// Where hearthd looks for the SA directory, where not at the HAC itself.
    pub directory: Option<PathBuf>,
    /// How the HAC authenticates: `auth` and the sections that go with it, as they stand in
    /// `hac.yaml`.
    pub auth: String,
    /// Subscribers beyond the lab's own.
    pub more_subscribers: Vec<Subscriber>,
    /// A crypto device for hearthd.
    pub crypto: Option<String>,
    /// The home prefixes are on the home link, where mobile node 0 can be too: see
    /// [`crate::network::Network::share_home_link`].
    pub home_on_link: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            sa_validity: 3600,
            max_lifetime: 600,
            tls13: true,
            port: HA_PORT,
            workers: vec![usize::from(cores > 1)],
            devices: DPDK_LINKS.map(|link| format!("net_af_packet,iface={link}")),
            directory: None,
            auth: "auth: {methods: [psk, eap]}".into(),
            more_subscribers: Vec::new(),
            crypto: None,
            home_on_link: false,
        }
    }
}

/// Writes a file of the lab, for its owner alone: most of them hold keys.
///
/// # Errors
/// Where that is not allowed.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let write = |mut file: fs::File| {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    };
    options.open(path).and_then(write).map_err(file(path))
}

/// `hac.yaml` with every subscriber of the lab.
#[must_use]
pub fn hac(files: &Files, tuning: &Tuning, subscribers: &[Subscriber]) -> String {
    let (first, last) = SPI_RANGE;
    let mut text = format!(
        r#"listen: ["[::]:{HAC_PORT}", "0.0.0.0:{HAC_PORT}"]
tls:
  certificate: {certificate}
  key: {key}
  tls13: {tls13}
directory:
  store: {store}
  socket: {socket}
admin:
  socket: {admin}
  key_export: true
metrics:
  listen: "{HAC_METRICS}"
home_agents:
  - name: lab
    ip6: "{HA6}"
    ip4: {HA4}
    port: {port}
    spi_range: [{first}, {last}]
    home_prefix_ip6: "{HOME_PREFIX6}"
    home_prefix_ip4: {HOME_PREFIX4}
policy:
  sa_validity: {validity}
{auth}
subscribers:
"#,
        certificate = files.certificate().display(),
        key = files.key().display(),
        tls13 = tuning.tls13,
        port = tuning.port,
        store = files.run.join("hac.redb").display(),
        socket = files.directory_socket().display(),
        admin = files.admin_socket().display(),
        validity = tuning.sa_validity,
        auth = tuning.auth,
    );
    for subscriber in subscribers {
        let Subscriber { mn_id, psk, home6, home4, suite, scope, services } = subscriber;
        let suite = suite.name();
        let _infallible = write!(
            text,
            r#"  - mn_id: {mn_id}
    psk: {{ hex: "{psk}" }}
    home_address_ip6: "{home6}"
    home_address_ip4: {home4}
    suites: ["{suite}"]
    scope: {scope}
"#
        );
        for service in *services {
            let _infallible = writeln!(text, "    {service}");
        }
    }
    text
}

/// `hearthd.yaml`. `name` tells several DPDK processes of one machine apart.
#[must_use]
pub fn hearthd(files: &Files, tuning: &Tuning, name: &str) -> String {
    let (first, last) = SPI_RANGE;
    let [access, home] = &tuning.devices;
    let directory = tuning.directory.clone().unwrap_or_else(|| files.directory_socket());
    let device = |device| format!("crypto:\n  device: \"{device}\"\n");
    let crypto = tuning.crypto.as_deref().map(device).unwrap_or_default();
    let (on_link, prefixes) = home_link(tuning);
    let workers: String = tuning.workers.iter().map(|core| format!("  - core: {core}\n")).collect();
    format!(
        r#"eal:
  huge_pages: false
  memory_mb: 1024
  file_prefix: {name}
  control_core: 0
workers:
{workers}{crypto}ports:
  - name: access
    device: "{access}"
    mtu: 1500
    addresses: ["{HA6}/64", "{HA4}/27"]
  - name: home
    device: "{home}"
    mtu: 1500
    addresses: ["{HA_HOME6}/64", "{HA_HOME4}/27"{on_link}]
home_agent:
  name: lab
  address_ip6: "{HA6}"
  address_ip4: "{HA4}"
  port: {port}
  home_prefixes: {prefixes}
  spi_range: [{first}, {last}]
  max_lifetime: {lifetime}
sa_directory:
  socket: {directory}
tables:
  max_bindings: 1024
  mbufs: 8192
api:
  socket: {api}
metrics:
  listen: "{METRICS}"
dashboard:
  listen: "{DASHBOARD}"
state:
  folder: {state}
"#,
        port = tuning.port,
        lifetime = tuning.max_lifetime,
        directory = directory.display(),
        api = files.api_socket().display(),
        state = files.run.join("state").display(),
    )
}

/// Further addresses of the home port, and the home prefixes.
fn home_link(tuning: &Tuning) -> (String, String) {
    if !tuning.home_on_link {
        return (String::new(), format!("[\"{HOME_PREFIX6}\", \"{HOME_PREFIX4}\"]"));
    }
    let section = |prefix| format!("\n    - {{prefix: \"{prefix}\", mode: link, port: home}}");
    let on_link = format!(", \"{HA_ON_LINK6}/64\", \"{HA_ON_LINK4}/25\"");
    (on_link, [section(HOME_PREFIX6), section(HOME_PREFIX4)].concat())
}

/// What a mobile node may be told otherwise, mostly by tests of what goes wrong.
#[derive(Debug, Clone)]
pub struct NodeTuning {
    /// Certificate authority to trust; the lab's by default.
    pub ca: Option<PathBuf>,
    /// Name to look for in the HAC's certificate.
    pub hac_name: String,
    /// Where HACs are, in the order in which they are tried.
    pub hac_addresses: Vec<IpAddr>,
    /// Pre-shared key in hexadecimal, where not the subscriber's.
    pub psk: Option<String>,
    /// How it proves who it is, as `mn.yaml` says it: `psk`, `eap-gpsk`, or a `{..}` with what another
    /// method needs, and then it gets no pre-shared key.
    pub auth: String,
    /// Seconds of binding lifetime to ask for.
    pub lifetime: u32,
    /// Networks that it uses, the most wanted first.
    pub interfaces: Vec<&'static str>,
    /// Whether it uses all of them at once, under Binding IDs from 1 (RFC 5648).
    pub at_once: bool,
    /// Rules for flows, as they stand in `mn.yaml` (RFC 6089).
    pub flows: Vec<String>,
    /// The networks behind it, and `explicit` or `implicit` (RFC 3963).
    pub mobile_router: Option<(Vec<&'static str>, &'static str)>,
    /// The address with prefix length that a mobile router itself sets on its interface `lan`.
    pub lan: Option<String>,
    /// Seconds before the first retransmission of a Binding Update; RFC 6275 s.12 says 1.
    pub retransmit_after: f32,
    /// Part of an SA's validity that is left when the next one is fetched.
    pub renew_before: f32,
    /// Seconds that an exchange with the HAC may take.
    pub hac_timeout: f32,
    /// Whether it returns home where it finds the home prefix.
    pub home_link: bool,
    /// Shortest interval of NAT keepalives, in seconds.
    pub nat_keepalive_min: f32,
}

impl Default for NodeTuning {
    fn default() -> Self {
        Self {
            ca: None,
            hac_name: HAC_NAME.to_owned(),
            hac_addresses: vec![HA6.into(), HA4.into()],
            psk: None,
            auth: "psk".into(),
            lifetime: 600,
            interfaces: vec!["visit6", "visit4"],
            at_once: false,
            flows: Vec::new(),
            mobile_router: None,
            lan: None,
            retransmit_after: 1.0,
            renew_before: 0.2,
            hac_timeout: 10.0,
            home_link: false,
            nat_keepalive_min: 10.0,
        }
    }
}

/// `mn.yaml` of one subscriber.
#[must_use]
pub fn mobile_node(files: &Files, subscriber: &Subscriber, tuning: &NodeTuning) -> String {
    let mut psk = String::new();
    if !tuning.auth.starts_with('{') {
        let key = tuning.psk.as_ref().unwrap_or(&subscriber.psk);
        psk = format!("psk: {{ hex: \"{key}\" }}\n");
    }
    format!(
        r#"mn_id: {mn_id}
{psk}auth: {auth}
hac:
  name: {name}
  port: {HAC_PORT}
  ca: {ca}
  addresses: [{addresses}]
suites: ["{suite}"]
scope: {scope}
{mobility}timers:
  lifetime: {lifetime}
  initial_timeout: {retransmit}
  first_registration_timeout: {retransmit}
  max_timeout: {longest}
  renew_before: {renew}
  hac_timeout: {patience}
  nat_keepalive_min: {keepalive}
"#,
        mn_id = subscriber.mn_id,
        auth = tuning.auth,
        name = tuning.hac_name,
        addresses = quoted(&tuning.hac_addresses),
        ca = tuning.ca.clone().unwrap_or_else(|| files.ca()).display(),
        suite = subscriber.suite.name(),
        scope = subscriber.scope,
        mobility = mobility(tuning),
        lifetime = tuning.lifetime,
        retransmit = tuning.retransmit_after,
        longest = 32.0 * tuning.retransmit_after.max(0.1),
        renew = tuning.renew_before,
        patience = tuning.hac_timeout,
        keepalive = tuning.nat_keepalive_min,
    )
}

/// Addresses as items of a YAML list.
pub(crate) fn quoted(addresses: &[IpAddr]) -> String {
    addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ")
}

/// Which networks it uses, how, and what is behind it.
fn mobility(tuning: &NodeTuning) -> String {
    let NodeTuning { interfaces, at_once, flows, mobile_router, lan, .. } = tuning;
    let mut text = String::new();
    if tuning.home_link {
        text.push_str("home_link: true\n");
    }
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _infallible = writeln!(text, "{arguments}");
    };
    if *at_once {
        line(format_args!("care_of_addresses:"));
        for (interface, bid) in interfaces.iter().zip(1..) {
            line(format_args!("  - {{bid: {bid}, interface: {interface}}}"));
        }
    } else {
        line(format_args!("interfaces: [{}]", interfaces.join(", ")));
    }
    if !flows.is_empty() {
        line(format_args!("flows:"));
        flows.iter().for_each(|flow| line(format_args!("  - {flow}")));
    }
    if let Some((prefixes, mode)) = mobile_router {
        let prefixes = prefixes.join("\", \"");
        line(format_args!("mobile_router:\n  prefixes: [\"{prefixes}\"]\n  mode: {mode}"));
        if let Some(address) = lan {
            line(format_args!("  lan: [{{interface: lan, address: \"{address}\"}}]"));
        }
    }
    text
}
