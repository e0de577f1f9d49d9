//! The YAML of a crypto device.

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_dataplane::CryptoDeviceConfig;
use hearth_dpdk::CryptoError;
use serde::Deserialize;

use crate::config::{Config, Device, is_pci_address};

/// Queues that DPDK's virtual devices have where nobody says otherwise.
const USUAL_QUEUES: usize = 8;

/// A crypto device. SAs whose suite it offers go by it, all others by ipsec-mb on the workers.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Crypto {
    /// PCI address (`0000:3d:01.0`), or DPDK virtual device and its arguments
    /// (`crypto_openssl0`).
    pub device: Spanned<String>,
    /// SAs that are in it at the same time; those beyond go by ipsec-mb. Each takes 2 to 6 KiB of
    /// `eal.memory_mb`, all of it at the start. Default: 4096.
    #[serde(default = "default_max_sas")]
    pub max_sas: Spanned<u32>,
}

fn default_max_sas() -> Spanned<u32> {
    Spanned::new(4096, Location::UNKNOWN, Location::UNKNOWN)
}

impl Crypto {
    /// Its PCI address, where it has one.
    #[must_use]
    pub fn pci_address(&self) -> Option<String> {
        let text = &self.device.value;
        is_pci_address(text).then(|| text.to_ascii_lowercase())
    }

    /// The device for so many workers, each of which needs a queue.
    #[must_use]
    pub fn dataplane_config(&self, workers: usize) -> CryptoDeviceConfig {
        let max_sas = self.max_sas.value;
        let device = match self.pci_address() {
            Some(address) => address,
            None if workers > USUAL_QUEUES
                && !self.device.value.contains("max_nb_queue_pairs=") =>
            {
                format!("{},max_nb_queue_pairs={workers}", self.device.value)
            }
            None => self.device.value.clone(),
        };
        CryptoDeviceConfig { device, max_sas }
    }
}

/// Checks the section.
pub(crate) fn check(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let Some(crypto) = &config.crypto else { return Ok(()) };
    let device = &crypto.device;
    let error = |message: String| document.error(device.referenced, "crypto.device", message);
    if let Some(address) = crypto.pci_address() {
        let is_same = |port: &&crate::config::Port| {
            Device::parse(&port.device.value) == Some(Device::Pci(address.clone()))
        };
        if let Some(port) = config.ports.iter().find(is_same) {
            let line = port.device.referenced.line();
            return Err(error(format!(
                "{address} is the device of the port in line {line}; give a crypto device"
            )));
        }
    } else if !is_virtual_device(&device.value) {
        return Err(error(
            "neither a PCI address (0000:3d:01.0) nor a DPDK virtual device (crypto_openssl0)"
                .into(),
        ));
    }
    if !(1..=1_000_000).contains(&crypto.max_sas.value) {
        let message = format!("{} is out of range; 1 to 1000000", crypto.max_sas.value);
        return Err(document.error(crypto.max_sas.referenced, "crypto.max_sas", message));
    }
    Ok(())
}

fn is_virtual_device(text: &str) -> bool {
    let driver = text.split(',').next().unwrap_or(text);
    driver.strip_prefix("crypto_").is_some_and(|rest| !rest.is_empty())
        && driver.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.contains(['\0', ' '])
}

/// What is wrong with the device, which only shows when it is opened.
pub(crate) fn unusable(config: &Config, error: CryptoError) -> ConfigError {
    let workers = config.workers.len();
    let remedy = match error {
        CryptoError::Attach(_) | CryptoError::NoSuchDevice => {
            "; is its driver installed, and a PCI device bound to vfio-pci?".to_owned()
        }
        CryptoError::Queues { .. } => format!(" for each of {workers} workers"),
        CryptoError::Memory(_) => "; lower crypto.max_sas or raise eal.memory_mb".to_owned(),
        _ => String::new(),
    };
    let at = config.crypto.as_ref().map_or(Location::UNKNOWN, |crypto| crypto.device.referenced);
    hearth_config::error_in(&config.file, at, "crypto.device", format!("{error}{remedy}"))
}
