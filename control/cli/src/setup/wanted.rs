//! What `hearthd.yaml` asks of the machine. Everything else in it is hearthd's affair
//! (`hearthd --check`).

use std::path::Path;

use hearth_config::ConfigError;
use serde::Deserialize;

/// What the configuration asks of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Packet memory out of huge pages, in MiB; none where ordinary memory is to do.
    pub huge_mb: Option<u64>,
    /// The core of the control thread.
    pub control_core: u32,
    /// The workers' cores.
    pub workers: Vec<u32>,
    /// Ports: name, and what is behind it.
    pub ports: Vec<(String, Device)>,
    /// A crypto device by PCI address.
    pub crypto: Option<String>,
}

/// What a port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A NIC by PCI address.
    Pci(String),
    /// An interface of the kernel (net_af_packet, net_af_xdp).
    Interface(String),
    /// Another virtual device of DPDK.
    Virtual(String),
}

impl Device {
    /// As YAML names it.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if let Some(address) = pci_address(text) {
            return Self::Pci(address);
        }
        let interface = text.split(',').find_map(|argument| argument.strip_prefix("iface="));
        let by_kernel = ["net_af_packet", "net_af_xdp"].iter().any(|kind| text.starts_with(kind));
        match interface {
            Some(interface) if by_kernel => Self::Interface(interface.to_owned()),
            _ => Self::Virtual(text.to_owned()),
        }
    }
}

/// The PCI address that `text` begins with, as sysfs writes it.
fn pci_address(text: &str) -> Option<String> {
    let address = text.split(',').next()?;
    let is_hex = |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let (domain, rest) = address.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    (is_hex(domain, 4) && is_hex(bus, 2) && is_hex(device, 2) && is_hex(function, 1))
        .then(|| address.to_lowercase())
}

#[derive(Debug, Deserialize)]
struct Yaml {
    #[serde(default)]
    eal: Eal,
    workers: Vec<Worker>,
    ports: Vec<Port>,
    crypto: Option<Crypto>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Eal {
    huge_pages: bool,
    memory_mb: u64,
    control_core: u32,
}

impl Default for Eal {
    fn default() -> Self {
        Self { huge_pages: true, memory_mb: 512, control_core: 0 }
    }
}

#[derive(Debug, Deserialize)]
struct Worker {
    core: u32,
}

#[derive(Debug, Deserialize)]
struct Port {
    name: String,
    device: String,
}

#[derive(Debug, Deserialize)]
struct Crypto {
    device: String,
}

impl Wanted {
    /// Reads hearthd's configuration.
    ///
    /// # Errors
    /// It can't be read, or has no workers or ports.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let Yaml { eal, workers, ports, crypto } = hearth_config::load(path)?.value;
        Ok(Self {
            huge_mb: eal.huge_pages.then_some(eal.memory_mb),
            control_core: eal.control_core,
            workers: workers.into_iter().map(|worker| worker.core).collect(),
            ports: ports.into_iter().map(|port| (port.name, Device::of(&port.device))).collect(),
            crypto: crypto.and_then(|crypto| pci_address(&crypto.device)),
        })
    }

    /// Every device by PCI address: who wants it, and the address.
    pub fn pci_devices(&self) -> impl Iterator<Item = (String, &str)> {
        let ports = self.ports.iter().filter_map(|(name, device)| match device {
            Device::Pci(address) => Some((format!("port {name}"), address.as_str())),
            Device::Interface(_) | Device::Virtual(_) => None,
        });
        ports.chain(self.crypto.as_deref().map(|address| ("crypto device".to_owned(), address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_apart() {
        assert_eq!(Device::of("0000:01:00.0"), Device::Pci("0000:01:00.0".into()));
        assert_eq!(Device::of("0000:3D:00.1,arg=1"), Device::Pci("0000:3d:00.1".into()));
        let eth1 = Device::Interface("eth1".into());
        assert_eq!(Device::of("net_af_packet,iface=eth1,blocksz=4096"), eth1);
        assert_eq!(Device::of("net_tap,iface=tap0"), Device::Virtual("net_tap,iface=tap0".into()));
    }

    /// The defaults are hearthd's: the example names each of them.
    #[test]
    fn the_example_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/hearthd.yaml");
        let wanted = Wanted::read(&path).unwrap();
        assert_eq!((wanted.huge_mb, wanted.control_core), (Some(1024), 0));
        assert_eq!(wanted.workers, [1]);
        let devices: Vec<_> = wanted.pci_devices().collect();
        assert_eq!(devices[0], ("port access".into(), "0000:01:00.0"));
        assert_eq!(devices[1], ("port home".into(), "0000:01:00.1"));
    }
}
