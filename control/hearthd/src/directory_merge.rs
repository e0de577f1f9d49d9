//! The directories of several HACs of one deployment, as one.
//!
//! Read first: readings.
//!
//! Each replica deals out SPIs of its own, says at the end of its replay which, and its replay tells of
//! these alone: what it no longer names is gone, and what the others named stays. So what is there is
//! true of a HAC's SPIs when that one has told, though another one is dead, and the whole is complete
//! once, when all have; later replays, after a HAC was away, are told as what has changed.
//!
//! Two HACs that deal out the same SPIs are a mistake of their configuration. The one that was first is
//! believed, until it says otherwise: a replay of the other one ends nothing, and a record of it whose
//! SPI is taken is refused.

use std::collections::HashSet;

use hearth_wire::Spi;
use hearth_wire::directory::{SpiRange, Update};
use tracing::error;

use crate::directory::FromDirectory;

/// What one HAC has told.
#[derive(Debug, Default)]
struct Source {
    /// Where it is, for the log.
    name: String,
    known: HashSet<Spi>,
    /// What it has named since its replay began, while that lasts.
    replayed: Option<HashSet<Spi>>,
    synced: bool,
    /// What it says that it deals out.
    spis: Option<SpiRange>,
    standing: Standing,
    /// That it names SPIs of another one was logged, in this watch of it.
    complained: bool,
}

/// Whether the SPIs that a HAC says are its own are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Standing {
    #[default]
    Unjudged,
    Believed,
    Refused,
}

/// Makes one stream of updates of several.
#[derive(Debug)]
pub(crate) struct Merge {
    sources: Vec<Source>,
    begun: bool,
    complete: bool,
}

impl Merge {
    /// Of HACs with these names.
    pub(crate) fn of(names: impl Iterator<Item = String>) -> Self {
        let sources = names.map(|name| Source { name, ..Source::default() }).collect();
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
        let holder = spi_of(&update).and_then(|spi| self.other_holder(number, spi));
        let holder = holder.map(|holder| holder.name.clone());
        let Some(source) = self.sources.get_mut(number) else { return true };
        if let Some(holder) = holder {
            return source.contradicts(&update, &holder, tell);
        }
        match update {
            FromDirectory::WatchBegun => {
                source.replayed = Some(HashSet::new());
                source.complained = false;
                std::mem::replace(&mut self.begun, true) || tell(FromDirectory::WatchBegun)
            }
            FromDirectory::Update(Update::Synced(spis)) => {
                for spi in source.sync(spis) {
                    if !tell(FromDirectory::Update(Update::Revoked(spi))) {
                        return false;
                    }
                }
                self.judge(&mut tell) && self.complete(&mut tell)
            }
            FromDirectory::Update(Update::Issued(_)) | FromDirectory::Refused { .. } => {
                source.note(&update);
                tell(update)
            }
            FromDirectory::Update(Update::Revoked(spi) | Update::Unknown(spi)) => {
                source.forget(spi);
                tell(update)
            }
            _ => tell(update),
        }
    }

    /// Another source that has named this SPI.
    fn other_holder(&self, number: usize, spi: Spi) -> Option<&Source> {
        let others = self.sources.iter().enumerate().filter(|(other, _)| *other != number);
        others.map(|(_, source)| source).find(|source| source.known.contains(&spi))
    }

    /// Hands on of which SPIs everything has been told, and refuses those that two say are their own:
    /// there, a replay of one would end what the other has issued.
    fn judge(&mut self, tell: &mut impl FnMut(FromDirectory) -> bool) -> bool {
        for number in 0..self.sources.len() {
            let Some(Source { spis: Some(spis), standing, name, .. }) = self.sources.get(number)
            else {
                continue;
            };
            let (spis, was) = (*spis, *standing);
            if was == Standing::Believed {
                continue;
            }
            let believed = self.sources.iter().filter(|one| one.standing == Standing::Believed);
            let mut believed = believed.filter_map(|one| Some((&one.name, one.spis?)));
            let other = believed.find(|(_, other)| other.overlaps(spis));
            if let Some((other, theirs)) = other.filter(|_| was == Standing::Unjudged) {
                let [first, last] = [spis.first(), spis.last()];
                let [their_first, their_last] = [theirs.first(), theirs.last()];
                error!(
                    hac = %name, %other, %first, %last, %their_first, %their_last,
                    "two HACs deal out the same SPIs: give each of them a replica.index of its own"
                );
            }
            let (standing, told) = match (other.is_some(), was) {
                (false, _) => (Standing::Believed, Some(FromDirectory::SpisSynced(spis))),
                (true, Standing::Refused) => (Standing::Refused, None),
                (true, _) => (Standing::Refused, Some(FromDirectory::SpisRefused)),
            };
            if let Some(source) = self.sources.get_mut(number) {
                source.standing = standing;
            }
            if told.is_some_and(|told| !tell(told)) {
                return false;
            }
        }
        true
    }

    fn complete(&mut self, tell: &mut impl FnMut(FromDirectory) -> bool) -> bool {
        let is_complete = self.sources.iter().all(|source| source.synced);
        let is_first = is_complete && !std::mem::replace(&mut self.complete, is_complete);
        !is_first || tell(FromDirectory::Update(Update::Synced(None)))
    }
}

/// The SPI that an update says something of.
fn spi_of(update: &FromDirectory) -> Option<Spi> {
    match update {
        FromDirectory::Update(Update::Issued(record)) => Some(record.spi),
        FromDirectory::Refused { spi, .. }
        | FromDirectory::Update(Update::Revoked(spi) | Update::Unknown(spi)) => Some(*spi),
        _ => None,
    }
}

impl Source {
    /// It says something of an SA that another one has issued. That it does not know it is no wonder;
    /// it can neither replace it nor end it.
    fn contradicts(
        &mut self,
        update: &FromDirectory,
        holder: &str,
        mut tell: impl FnMut(FromDirectory) -> bool,
    ) -> bool {
        let spi = match update {
            FromDirectory::Update(Update::Issued(record)) => record.spi,
            FromDirectory::Refused { spi, .. } => *spi,
            _ => return true,
        };
        if !std::mem::replace(&mut self.complained, true) {
            error!(
                hac = %self.name, %holder, %spi,
                "an SA is refused whose SPI another HAC has dealt out, and so is every one like it"
            );
        }
        tell(FromDirectory::Taken(spi))
    }

    fn note(&mut self, update: &FromDirectory) {
        let Some(spi) = spi_of(update) else { return };
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
    fn sync(&mut self, spis: Option<SpiRange>) -> Vec<Spi> {
        self.synced = true;
        if self.spis != spis {
            self.spis = spis;
            self.standing = Standing::Unjudged;
        }
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

    fn two() -> Merge {
        Merge::of(["a", "b"].map(String::from).into_iter())
    }

    /// A whole replay of a HAC that deals out these SPIs.
    fn replay(numbers: &[u32], [first, last]: [u32; 2]) -> Vec<FromDirectory> {
        let mut updates = vec![FromDirectory::WatchBegun];
        updates.extend(numbers.iter().map(|number| named(*number)));
        updates.push(update(Update::Synced(SpiRange::new(spi(first), spi(last)))));
        updates
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
                    FromDirectory::Update(Update::Synced(_)) => "synced".into(),
                    FromDirectory::SpisSynced(spis) => format!("{}+", spis.first()),
                    FromDirectory::SpisRefused => "refused".into(),
                    FromDirectory::Taken(spi) => format!("!{spi}"),
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
        let mut merge = two();
        let first = vec![FromDirectory::WatchBegun, named(1), update(Update::Synced(None))];
        assert_eq!(told(&mut merge, 0, first), ["begun", "1"]);
        let second = vec![FromDirectory::WatchBegun, named(7), update(Update::Synced(None))];
        assert_eq!(told(&mut merge, 1, second), ["7", "synced"]);
    }

    /// A replica that comes back ends what it no longer has, and nothing of another's.
    #[test]
    fn a_replay_ends_only_what_its_own_hac_no_longer_has() {
        let mut merge = two();
        let all = |numbers: &[u32]| {
            let mut updates = vec![FromDirectory::WatchBegun];
            updates.extend(numbers.iter().map(|number| named(*number)));
            updates.push(update(Update::Synced(None)));
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
        let mut merge = two();
        told(&mut merge, 0, vec![FromDirectory::WatchBegun, named(1)]);
        assert!(told(&mut merge, 1, vec![update(Update::Unknown(spi(1)))]).is_empty());
        assert_eq!(told(&mut merge, 1, vec![update(Update::Unknown(spi(2)))]), ["?2"]);
    }

    /// of its own SPIs a HAC has told all, though another one is dead.
    #[test]
    fn what_a_hac_deals_out_is_complete_when_it_has_told() {
        let mut merge = two();
        assert_eq!(told(&mut merge, 1, replay(&[7], [6, 10])), ["begun", "7", "6+"]);
        assert_eq!(told(&mut merge, 1, replay(&[], [6, 10])), ["-7"], "as what has changed");
        assert_eq!(told(&mut merge, 0, replay(&[1], [1, 5])), ["1", "1+", "synced"]);
        assert!(told(&mut merge, 1, replay(&[], [6, 10])).is_empty());
    }

    /// Two HACs with the same `replica.index`: the first is believed, and when it has another one, so is
    /// the second.
    #[test]
    fn spis_that_two_hacs_say_are_their_own_are_the_first_ones() {
        let mut merge = two();
        assert_eq!(told(&mut merge, 0, replay(&[1], [1, 5])), ["begun", "1", "1+"]);
        assert_eq!(told(&mut merge, 1, replay(&[], [5, 9])), ["refused", "synced"]);
        assert!(told(&mut merge, 1, replay(&[], [5, 9])).is_empty(), "said once");
        assert_eq!(told(&mut merge, 0, replay(&[1], [1, 4])), ["1", "1+", "5+"]);
    }

    /// an SPI is one HAC's. Another one can neither replace its SA nor end it.
    #[test]
    fn an_sa_is_not_another_hacs_to_replace_or_to_end() {
        let mut merge = two();
        told(&mut merge, 0, replay(&[1, 2], [1, 5]));
        assert_eq!(told(&mut merge, 1, replay(&[2, 7], [6, 9])), ["!2", "7", "6+", "synced"]);
        assert!(told(&mut merge, 1, vec![update(Update::Revoked(spi(2)))]).is_empty());
        assert_eq!(told(&mut merge, 1, replay(&[], [6, 9])), ["-7"], "2 never was its own");
        assert_eq!(told(&mut merge, 0, vec![update(Update::Revoked(spi(2)))]), ["-2"]);
        assert_eq!(told(&mut merge, 1, vec![named(2)]), ["2"], "nobody's any more");
    }
}
