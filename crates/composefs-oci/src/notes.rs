//! What is noted beside a repository, of whatever kind.

use composefs::repo::Repository;

use crate::{error::Error, export::known, stored::origins, trust::record};

/// Removes the notes about what is not here any more; returns how many. Whoever collects garbage does it afterwards.
///
/// # Errors
/// What listing and removing give.
pub fn prune(repo: &Repository) -> Result<usize, Error> {
    let of_each = [origins::prune(repo)?, record::prune(repo)?, known::prune(repo)?];
    Ok(of_each.into_iter().fold(0, usize::saturating_add))
}
