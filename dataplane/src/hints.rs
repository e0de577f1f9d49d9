//! What workers tell control without a packet.

use crate::contests::{Contested, Contests, contests};
use crate::grants::{Grants, NearGrants, grants};

/// A worker's side.
pub(crate) struct Hints {
    pub(crate) grants: Grants,
    pub(crate) contests: Contests,
}

/// Control's side.
pub(crate) struct Hinted {
    pub(crate) near_grants: NearGrants,
    pub(crate) contested: Contested,
}

/// Both sides: one for each worker, and control's.
pub(crate) fn hints(workers: usize) -> (Vec<Hints>, Hinted) {
    let ((grants, near_grants), (contests, contested)) = (grants(workers), contests(workers));
    let sides = grants.into_iter().zip(contests);
    let sides = sides.map(|(grants, contests)| Hints { grants, contests }).collect();
    (sides, Hinted { near_grants, contested })
}
