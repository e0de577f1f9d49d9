//! The keys that a capture is opened with.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hearth_api::keys::{DirectionKeys, KeyFile, SaKeys, VERSION};
use hearth_esp::Transform;
use hearth_wire::Suite;
use zeroize::Zeroizing;

/// The longest file that is taken: 64 MiB, some 100,000 SAs.
const LONGEST: u64 = 64 << 20;

/// An SA, ready to open frames of both directions.
#[derive(Debug)]
pub(super) struct Sa {
    pub(super) mn_id: Box<str>,
    pub(super) ha_address: Ipv6Addr,
    pub(super) mn_to_ha: Transform,
    pub(super) ha_to_mn: Transform,
}

/// SAs by SPI, of which there may be several one after the other.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<u32, Vec<Sa>>);

impl Keys {
    /// Reads the file that `hearth hac export-keys` made, and says on standard error where others may
    /// read it too.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let wrong = |text: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {text}", path.display()))
        };
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(named)?;
        let metadata = file.metadata().map_err(named)?;
        if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
            eprintln!("{}: others may read these keys; chmod 600 it", path.display());
        }
        if metadata.len() > LONGEST {
            return Err(wrong("is too long to be a file of keys".into()));
        }
        // One octet more than it has, so that nothing moves and leaves a copy behind.
        let length = usize::try_from(metadata.len()).unwrap_or(0) + 1;
        let mut json = Zeroizing::new(Vec::with_capacity(length));
        file.take(LONGEST).read_to_end(&mut json).map_err(named)?;
        let file: KeyFile = serde_json::from_slice(&json)
            .map_err(|error| wrong(format!("is no file of hearth hac export-keys: {error}")))?;
        if file.version != VERSION {
            return Err(wrong(format!(
                "has version {}; this hearth reads {VERSION}",
                file.version
            )));
        }
        Self::of(&file).map_err(wrong)
    }

    fn of(file: &KeyFile) -> Result<Self, String> {
        let mut all = Self::default();
        for sa in &file.sas {
            let SaKeys { spi, mn_id, suite, ha_address, mn_to_ha, ha_to_mn, .. } = sa;
            let known = Suite::from_name(suite);
            let known =
                known.ok_or_else(|| format!("SPI {spi}: there is no ciphersuite {suite}"))?;
            let transform = |keys: &DirectionKeys| {
                Transform::new(known, keys.ikey.expose(), keys.ekey.expose())
                    .ok_or_else(|| format!("SPI {spi}: the keys don't have the lengths of {suite}"))
            };
            let sa = Sa {
                mn_id: mn_id.as_str().into(),
                ha_address: *ha_address,
                mn_to_ha: transform(mn_to_ha)?,
                ha_to_mn: transform(ha_to_mn)?,
            };
            all.0.entry(*spi).or_default().push(sa);
        }
        Ok(all)
    }

    /// The SAs that have had this SPI.
    pub(super) fn of_spi(&self, spi: u32) -> &[Sa] {
        self.0.get(&spi).map_or(&[], Vec::as_slice)
    }
}
