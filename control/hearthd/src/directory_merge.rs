//! The directories of several HACs of one deployment, as one.
//!
//! Read first: readings.
//!
//! Each replica deals out SPIs of its own, and its replay tells of these alone: what it no longer
//! names is gone, and what the others named stays. So the whole begins and is complete once, when
//! all have told; later replays, after a HAC was away, are told as what has changed.

use std::collections::HashSet;

use hearth_wire::Spi;
use hearth_wire::directory::Update;

use crate::directory::FromDirectory;

/// What one HAC has told.
#[derive(Debug, Default)]
struct Source {
    known: HashSet<Spi>,
    /// What it has named since its replay began, while that lasts.
    replayed: Option<HashSet<Spi>>,
    synced: bool,
}

/// Makes one stream of updates of several.
#[derive(Debug)]
pub(crate) struct Merge {
    sources: Vec<Source>,
    begun: bool,
    complete: bool,
}

impl Merge {
    pub(crate) fn of(count: usize) -> Self {
        let sources = std::iter::repeat_with(Source::default).take(count).collect();
        Self { sources, begun: false, complete: false }
    }

    /// Takes what the source with this number says; hands on what that means for the whole, until
    /// `tell` wants no more.
    pub(crate) fn take(
        &mut self,
        number: usize,
        update: FromDirectory,
        mut tell: impl FnMut(FromDirectory) -> bool,
    ) -> bool {
        let Some(source) = self.sources.get_mut(number) else { return true };
        match update {
            FromDirectory::WatchBegun => {
                source.replayed = Some(HashSet::new());
                std::mem::replace(&mut self.begun, true) || tell(FromDirectory::WatchBegun)
            }
            FromDirectory::Update(Update::Issued(record)) => {
                source.name(record.spi);
                tell(FromDirectory::Update(Update::Issued(record)))
            }
            FromDirectory::Refused { spi, why } => {
                source.name(spi);
                tell(FromDirectory::Refused { spi, why })
            }
            FromDirectory::Update(Update::Revoked(spi)) => {
                source.forget(spi);
                tell(FromDirectory::Update(Update::Revoked(spi)))
            }
            FromDirectory::Update(Update::UsageWanted(spi)) => {
                tell(FromDirectory::Update(Update::UsageWanted(spi)))
            }
            FromDirectory::Update(Update::Unknown(spi)) => {
                source.forget(spi);
                let is_known = self.sources.iter().any(|source| source.known.contains(&spi));
                is_known || tell(FromDirectory::Update(Update::Unknown(spi)))
            }
            FromDirectory::Update(Update::Synced) => {
                for spi in source.sync() {
                    if !tell(FromDirectory::Update(Update::Revoked(spi))) {
                        return false;
                    }
                }
                let is_complete = self.sources.iter().all(|source| source.synced);
                let is_first = is_complete && !std::mem::replace(&mut self.complete, is_complete);
                !is_first || tell(FromDirectory::Update(Update::Synced))
            }
        }
    }
}

impl Source {
    fn name(&mut self, spi: Spi) {
        self.known.insert(spi);
        if let Some(replayed) = &mut self.replayed {
            replayed.insert(spi);
        }
    }

    fn forget(&mut self, spi: Spi) {
        self.known.remove(&spi);
        if let Some(replayed) = &mut self.replayed {
            replayed.remove(&spi);
        }
    }

    /// The replay is over: what was known and was not named again.
    fn sync(&mut self) -> Vec<Spi> {
        self.synced = true;
        let Some(replayed) = self.replayed.take() else { return Vec::new() };
        let gone = self.known.difference(&replayed).copied().collect();
        self.known = replayed;
        gone
    }
}

#[cfg(test)]
mod tests {
    use hearth_wire::directory::DirectoryError;

    use super::*;

    /// A record, as far as merging looks at it.
    fn named(number: u32) -> FromDirectory {
        FromDirectory::Refused { spi: spi(number), why: DirectoryError::Suite }
    }

    fn spi(number: u32) -> Spi {
        Spi::new(number).unwrap()
    }

    fn update(update: Update) -> FromDirectory {
        FromDirectory::Update(update)
    }

    fn told(merge: &mut Merge, source: usize, updates: Vec<FromDirectory>) -> Vec<String> {
        let mut told = Vec::new();
        for update in updates {
            assert!(merge.take(source, update, |update| {
                told.push(match update {
                    FromDirectory::WatchBegun => "begun".into(),
                    FromDirectory::Refused { spi, .. } => format!("{}", spi.get()),
                    FromDirectory::Update(Update::Revoked(spi)) => format!("-{}", spi.get()),
                    FromDirectory::Update(Update::Unknown(spi)) => format!("?{}", spi.get()),
                    FromDirectory::Update(Update::Synced) => "synced".into(),
                    FromDirectory::Update(Update::Issued(_)) => "issued".into(),
                    FromDirectory::Update(Update::UsageWanted(spi)) => format!("${}", spi.get()),
                });
                true
            }));
        }
        told
    }

    #[test]
    fn the_whole_is_complete_when_all_have_told() {
        let mut merge = Merge::of(2);
        let first = vec![FromDirectory::WatchBegun, named(1), update(Update::Synced)];
        assert_eq!(told(&mut merge, 0, first), ["begun", "1"]);
        let second = vec![FromDirectory::WatchBegun, named(7), update(Update::Synced)];
        assert_eq!(told(&mut merge, 1, second), ["7", "synced"]);
    }

    /// A replica that comes back ends what it no longer has, and nothing of another's.
    #[test]
    fn a_replay_ends_only_what_its_own_hac_no_longer_has() {
        let mut merge = Merge::of(2);
        let all = |numbers: &[u32]| {
            let mut updates = vec![FromDirectory::WatchBegun];
            updates.extend(numbers.iter().map(|number| named(*number)));
            updates.push(update(Update::Synced));
            updates
        };
        told(&mut merge, 0, all(&[1, 2, 3]));
        told(&mut merge, 1, all(&[7, 8]));
        assert_eq!(told(&mut merge, 0, vec![update(Update::Revoked(spi(1)))]), ["-1"]);
        assert_eq!(told(&mut merge, 0, all(&[3, 4])), ["3", "4", "-2"]);
        assert_eq!(told(&mut merge, 1, all(&[8])), ["8", "-7"]);
    }

    #[test]
    fn an_spi_is_unknown_when_nobody_knows_it() {
        let mut merge = Merge::of(2);
        told(&mut merge, 0, vec![FromDirectory::WatchBegun, named(1)]);
        assert!(told(&mut merge, 1, vec![update(Update::Unknown(spi(1)))]).is_empty());
        assert_eq!(told(&mut merge, 1, vec![update(Update::Unknown(spi(2)))]), ["?2"]);
    }
}
