//! Who the nodes are, and their pre-shared keys.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use hearth_wire::MobileNodeId;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::Plan;
use crate::config::Psk;

/// Where keys come from.
pub enum Keys {
    /// HMAC-SHA256 of the mn-id under this one, for each node.
    Derived(Zeroizing<Vec<u8>>),
    /// A list.
    Listed(HashMap<String, Psk>),
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Derived(_) => "Derived(..)",
            Self::Listed(_) => "Listed(..)",
        })
    }
}

/// A line of `hearth subscriber import`, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    mn_id: String,
    psk: Digits,
}

#[derive(Deserialize)]
struct Digits {
    hex: String,
}

impl Drop for Digits {
    fn drop(&mut self) {
        self.hex.zeroize();
    }
}

impl Keys {
    /// Reads lines as `hearth subscriber import` does.
    ///
    /// # Errors
    /// What is wrong, with the line's number; never the line itself.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| format!("can't be read: {error}"))?;
        let mut keys = HashMap::new();
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            let form = "give {\"mn_id\": .., \"psk\": {\"hex\": ..}}";
            let read: Line =
                serde_json::from_str(line).map_err(|_| format!("line {number}: {form}"))?;
            let octets = crate::config::unhex(&read.psk.hex);
            let psk = octets.and_then(Psk::new).ok_or_else(|| {
                format!("line {number}: psk.hex: at least 16 octets of hexadecimal digits")
            })?;
            keys.insert(read.mn_id, psk);
        }
        Ok(Self::Listed(keys))
    }

    /// The key of a node; `None` where the list has none.
    #[must_use]
    pub fn of(&self, mn_id: &MobileNodeId) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Listed(keys) => {
                keys.get(mn_id.as_str()).map(|psk| Zeroizing::new(psk.octets().to_vec()))
            }
            Self::Derived(seed) => {
                let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(seed).ok()?;
                mac.update(mn_id.as_str().as_bytes());
                Some(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
            }
        }
    }
}

/// Writes a line for each node, as `hearth subscriber import` reads them.
///
/// # Errors
/// Those of `out`.
pub(super) fn write_subscribers(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    for number in 0..plan.nodes {
        let mn_id = plan.mn_id(number);
        let key = mn_id.as_ref().and_then(|mn_id| plan.keys.of(mn_id));
        let (Some(mn_id), Some(key)) = (mn_id, key) else { continue };
        let name = serde_json::Value::from(mn_id.as_str());
        let mut digits = Zeroizing::new(String::with_capacity(2 * key.len()));
        for octet in key.iter() {
            for nibble in [octet >> 4, octet & 0xf] {
                digits.extend(char::from_digit(nibble.into(), 16));
            }
        }
        writeln!(out, "{{\"mn_id\":{name},\"psk\":{{\"hex\":\"{}\"}}}}", digits.as_str())?;
    }
    out.flush()
}
