//! Which SPIs this home agent may have used already.
//!
//! Read first: readings.
//!
//! Sequence numbers live in memory. After a restart an SA that was in use must not be used again:
//! its outbound numbers would repeat and its replay window would be empty. SPIs are dealt out
//! densely and growing, so that one number on disk tells old from new: an SPI up to the horizon
//! may have been used. It is written before the first SA beyond it is installed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use hearth_wire::Spi;

/// SPIs that one write covers. At a restart at most this many that were never used are refused,
/// and their mobile nodes bootstrap anew.
const STRIDE: u32 = 64;

/// The horizon, on disk.
#[derive(Debug)]
pub struct SpiHorizon {
    file: PathBuf,
    /// SPIs up to here may have been used before this start.
    used_before: u32,
    /// What the file says now.
    written: u32,
}

impl SpiHorizon {
    /// Reads the horizon in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// The folder or the file can't be used, or the file holds no number.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let file = folder.join("spi-horizon");
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        fs::create_dir_all(folder).map_err(named)?;
        let written = match fs::read_to_string(&file) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| named(io::Error::new(ErrorKind::InvalidData, "holds no number")))?,
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(named(error)),
        };
        Ok(Self { file, used_before: written, written })
    }

    /// Whether `spi` may be installed: it was never used before this start. The horizon is on disk
    /// when this returns.
    ///
    /// # Errors
    /// The horizon can't be written; the SA must not be used then.
    pub fn admit(&mut self, spi: Spi) -> io::Result<bool> {
        if spi.get() <= self.used_before {
            return Ok(false);
        }
        if spi.get() > self.written {
            let horizon = spi.get().saturating_add(STRIDE - 1);
            self.write(horizon)?;
            self.written = horizon;
        }
        Ok(true)
    }

    /// Replaces the file as a whole: a power cut leaves the old or the new number.
    fn write(&self, horizon: u32) -> io::Result<()> {
        let fresh = self.file.with_extension("new");
        let mut file = File::create(&fresh)?;
        writeln!(file, "{horizon}")?;
        file.sync_all()?;
        fs::rename(&fresh, &self.file)?;
        match self.file.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spi(value: u32) -> Spi {
        Spi::new(value).unwrap()
    }

    #[test]
    fn what_was_used_before_a_restart_is_not_admitted_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut horizon = SpiHorizon::open(folder.path()).unwrap();
        assert!(horizon.admit(spi(1)).unwrap());
        assert!(horizon.admit(spi(70)).unwrap());
        assert!(horizon.admit(spi(3)).unwrap(), "order does not matter while it runs");

        let mut restarted = SpiHorizon::open(folder.path()).unwrap();
        assert!(!restarted.admit(spi(1)).unwrap());
        assert!(!restarted.admit(spi(70)).unwrap());
        assert!(!restarted.admit(spi(133)).unwrap(), "within the stride of 70");
        assert!(restarted.admit(spi(134)).unwrap());
    }

    #[test]
    fn the_horizon_is_on_disk_before_the_sa_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let mut horizon = SpiHorizon::open(folder.path()).unwrap();
        assert!(horizon.admit(spi(1000)).unwrap());
        let text = fs::read_to_string(folder.path().join("spi-horizon")).unwrap();
        assert_eq!(text.trim(), "1063");
    }

    #[test]
    fn a_damaged_file_is_an_error_not_a_zero() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("spi-horizon"), "x").unwrap();
        let error = SpiHorizon::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("spi-horizon: holds no number"), "{error}");
    }
}
