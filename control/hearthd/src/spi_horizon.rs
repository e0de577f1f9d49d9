//! Which SAs this home agent may have used before it was started.
//!
//! Read first: readings.
//!
//! An SA that was in use goes on after a restart where the state says behind which numbers
//! (`persist`). One that the state does not know, since it was damaged, lost or never had it, must not
//! be used again: its outbound numbers would repeat and its replay window would be empty.
//!
//! SPIs are dealt out densely, so that one number on disk, the horizon, tells: an SPI beyond it was
//! never used here. Of those up to it, the SAs that the directory replays when the daemon first
//! watches it are taken for used; what the HAC issues later is new, also where an SPI has rested
//! and comes back. An SA is told from a later one with its SPI by the end of its validity, which
//! only grows.
//!
//! The horizon is kept ahead of the SPIs in use, so that installing an SA does not wait for a disk.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use hearth_wire::Spi;
use hearth_wire::directory::SpiRange;

/// How far the horizon is moved ahead. After a restart at most this many SAs that were never used
/// are refused, and their mobile nodes bootstrap anew.
const STRIDE: u32 = 1024;

/// The horizon, on disk.
#[derive(Debug)]
pub struct SpiHorizon {
    file: PathBuf,
    /// SPIs up to here may have been used before this start.
    used_before: u32,
    /// What the file says now.
    written: u32,
    /// The highest SPI installed since the start.
    highest: u32,
    /// SAs of before the start that the directory still holds, and the end of their validity.
    refused: HashMap<Spi, u64>,
    /// The first watch has replayed everything.
    synced: bool,
    /// Or everything of these, which one of several HACs deals out.
    synced_spis: Vec<SpiRange>,
}

impl SpiHorizon {
    /// Reads the horizon in `folder`, which is made if it is missing; `first` is the first SPI that
    /// is dealt out for this home agent. The file stays as it is: a start that fails uses no SA.
    /// [`Self::keep_ahead`] moves it on.
    ///
    /// # Errors
    /// The folder or the file can't be read, or the file holds no number.
    pub fn open(folder: &Path, first: u32) -> io::Result<Self> {
        let file = folder.join("spi-horizon");
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        fs::create_dir_all(folder).map_err(named)?;
        let used_before = match fs::read_to_string(&file) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| named(io::Error::new(ErrorKind::InvalidData, "holds no number")))?,
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(named(error)),
        };
        Ok(Self {
            highest: used_before.max(first.saturating_sub(1)),
            file,
            used_before,
            written: used_before,
            refused: HashMap::new(),
            synced: false,
            synced_spis: Vec::new(),
        })
    }

    /// The state that was kept is whole, and SPIs up to `highest` were ever installed: none beyond
    /// was used before this start.
    pub fn whole_up_to(&mut self, highest: u32) {
        self.used_before = self.used_before.min(highest);
        self.highest = self.highest.min(highest);
    }

    /// The highest SPI that may have been used.
    #[must_use]
    pub const fn highest(&self) -> u32 {
        self.highest
    }

    /// Whether the SA of `spi` that is valid until `validity_end` may be installed: it was never
    /// used before this start, or it is `known`: in use here, its numbers go on. The horizon on disk
    /// covers it when this returns.
    ///
    /// # Errors
    /// The horizon can't be written; the SA must not be used then.
    pub fn admit(&mut self, spi: Spi, validity_end: u64, known: bool) -> io::Result<bool> {
        if known {
            return Ok(true);
        }
        if !self.is_synced(spi) && spi.get() <= self.used_before {
            self.refused.insert(spi, validity_end);
        }
        if self.refused.get(&spi) == Some(&validity_end) {
            return Ok(false);
        }
        self.refused.remove(&spi);
        self.highest = self.highest.max(spi.get());
        if spi.get() > self.written {
            self.advance()?;
        }
        Ok(true)
    }

    /// The SA of `spi` is gone from the directory.
    pub fn revoked(&mut self, spi: Spi) {
        self.refused.remove(&spi);
    }

    /// The directory has replayed everything for the first time, or again.
    pub fn synced(&mut self) {
        self.synced = true;
        self.synced_spis = Vec::new();
    }

    /// One of several HACs has replayed everything of the SPIs that it deals out: what it issues later
    /// is new, though another one is away.
    pub fn spis_synced(&mut self, spis: SpiRange) {
        if !self.synced && !self.synced_spis.contains(&spis) {
            self.synced_spis.push(spis);
        }
    }

    fn is_synced(&self, spi: Spi) -> bool {
        self.synced || self.synced_spis.iter().any(|spis| spis.contains(spi))
    }

    /// Moves the horizon ahead where it has come near. To be called when the start has succeeded
    /// and now and then, outside the installation of an SA.
    ///
    /// # Errors
    /// The horizon can't be written.
    pub fn keep_ahead(&mut self) -> io::Result<()> {
        if self.highest.saturating_add(STRIDE / 2) > self.written { self.advance() } else { Ok(()) }
    }

    /// Replaces the file as a whole: a power cut leaves the old or the new number.
    fn advance(&mut self) -> io::Result<()> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.file.display()))
        };
        let horizon = self.highest.saturating_add(STRIDE);
        self.write(horizon).map_err(named)?;
        self.written = horizon;
        Ok(())
    }

    fn write(&self, horizon: u32) -> io::Result<()> {
        let fresh = self.file.with_extension("new");
        let mut file = File::create(&fresh)?;
        writeln!(file, "{horizon}")?;
        file.sync_all()?;
        fs::rename(&fresh, &self.file)?;
        if let Some(folder) = self.file.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spi(value: u32) -> Spi {
        Spi::new(value).unwrap()
    }

    const END: u64 = 1_800_000_000;

    fn on_disk(folder: &Path) -> u32 {
        fs::read_to_string(folder.join("spi-horizon")).unwrap().trim().parse().unwrap()
    }

    #[test]
    fn what_the_directory_replays_after_a_restart_is_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut horizon = SpiHorizon::open(folder.path(), 1).unwrap();
        horizon.keep_ahead().unwrap();
        assert!(horizon.admit(spi(1), END, false).unwrap());
        assert!(horizon.admit(spi(70), END, false).unwrap());
        horizon.synced();
        assert!(horizon.admit(spi(3), END, false).unwrap(), "order does not matter");

        let mut restarted = SpiHorizon::open(folder.path(), 1).unwrap();
        assert!(!restarted.admit(spi(70), END, false).unwrap());
        assert!(
            restarted.admit(spi(STRIDE + 1), END, false).unwrap(),
            "beyond the horizon: never used"
        );
        restarted.synced();
        assert!(restarted.admit(spi(71), END, false).unwrap(), "issued after the restart");
        assert!(!restarted.admit(spi(70), END, false).unwrap(), "replayed again by a later watch");
        assert!(
            restarted.admit(spi(70), END + 900, false).unwrap(),
            "its SPI has rested and comes back"
        );
        assert!(restarted.admit(spi(70), END + 900, false).unwrap(), "and is replayed");
    }

    /// a HAC that is away keeps nobody from using what another one issues.
    #[test]
    fn what_one_of_several_hacs_issues_is_new_when_it_has_told_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = SpiHorizon::open(folder.path(), 1).unwrap();
        before.synced();
        assert!(before.admit(spi(2), END, false).unwrap());
        assert!(before.admit(spi(2049), END, false).unwrap());

        let mut restarted = SpiHorizon::open(folder.path(), 1).unwrap();
        assert!(!restarted.admit(spi(2), END, false).unwrap(), "it may have been used");
        restarted.spis_synced(SpiRange::new(spi(1), spi(2048)).unwrap());
        assert!(restarted.admit(spi(3), END, false).unwrap(), "issued after the restart");
        assert!(!restarted.admit(spi(2), END, false).unwrap());
        assert!(!restarted.admit(spi(2050), END, false).unwrap(), "of the one that is away");
        restarted.synced();
        assert!(restarted.admit(spi(2051), END, false).unwrap());
    }

    #[test]
    fn the_horizon_is_ahead_of_the_spis_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let mut horizon = SpiHorizon::open(folder.path(), 5000).unwrap();
        horizon.keep_ahead().unwrap();
        assert_eq!(on_disk(folder.path()), 4999 + STRIDE);
        assert!(horizon.admit(spi(5000 + STRIDE / 2), END, false).unwrap());
        assert_eq!(on_disk(folder.path()), 4999 + STRIDE, "no write while an SA is installed");
        horizon.keep_ahead().unwrap();
        assert_eq!(on_disk(folder.path()), 5000 + STRIDE / 2 + STRIDE);
        assert!(horizon.admit(spi(100_000), END, false).unwrap());
        assert_eq!(on_disk(folder.path()), 100_000 + STRIDE, "but one beyond it is written first");
    }

    #[test]
    fn a_start_that_fails_leaves_the_horizon_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = SpiHorizon::open(folder.path(), 1).unwrap();
        assert!(!folder.path().join("spi-horizon").exists());
        first.keep_ahead().unwrap();
        let before = on_disk(folder.path());
        drop(SpiHorizon::open(folder.path(), 1).unwrap());
        assert_eq!(on_disk(folder.path()), before);
        // What is admitted before the horizon has been moved is on disk all the same.
        let mut early = SpiHorizon::open(folder.path(), 1).unwrap();
        assert!(early.admit(spi(before + 1), END, false).unwrap());
        assert_eq!(on_disk(folder.path()), before + 1 + STRIDE);
    }

    #[test]
    fn a_damaged_file_is_an_error_not_a_zero() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("spi-horizon"), "x").unwrap();
        let error = SpiHorizon::open(folder.path(), 1).unwrap_err().to_string();
        assert!(error.contains("spi-horizon: holds no number"), "{error}");
    }
}
