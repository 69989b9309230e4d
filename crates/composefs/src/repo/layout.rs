//! Where things are in a repository, and what its symlinks hold.
//!
//! # Format
//! `docs/formats/repository.md`, section 1.

use crate::{
    digest::{Algorithm, ObjectId},
    error::{Category, LinkFault},
};

/// The file that names format, algorithm and features.
pub(crate) const META: &str = "meta.json";
/// The directory of objects.
pub(crate) const OBJECTS: &str = "objects";
/// The directory of refs inside a category's.
pub(crate) const REFS: &str = "refs";
/// The first component of refs that are records of mounts, below `images/refs/`.
pub const MOUNTS: &str = "x-mounts";
/// The first component of refs that are records of pulls at work, below `streams/refs/`.
pub const PULLS: &str = "x-pulls";
/// The directory for what only we know of; others never look at it.
pub(crate) const BESIDE: &str = ".cfs";
/// The directory in it with a file for each pull at work.
pub(crate) const BESIDE_PULLS: &str = "pulls";
/// The directory in it with a file for each entry of which it is known when it was used.
pub(crate) const BESIDE_USED: &str = "used";

/// Returns the target of an entry's symlink: `../objects/xx/rest`.
pub(crate) fn entry_target(id: &ObjectId) -> String {
    format!("../{OBJECTS}/{}", id.object_path())
}

/// Returns the target of a ref's symlink: as many `../` as the ref has components, then the entry's name.
pub(crate) fn ref_target(components: usize, entry: &str) -> String {
    let mut target = "../".repeat(components);
    target.push_str(entry);
    target
}

/// Reads an entry's target: its last two components must be an id.
pub(crate) fn parse_entry_target(algorithm: Algorithm, target: &[u8]) -> Result<ObjectId, LinkFault> {
    ObjectId::from_object_path(algorithm, target).map_err(|_| LinkFault::NotAnObjectPath)
}

/// Reads a ref's target: its last component is the entry's name.
pub(crate) fn parse_ref_target(target: &[u8]) -> Result<String, LinkFault> {
    let name = target.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match std::str::from_utf8(name) {
        Ok(name) if !matches!(name, "" | "." | ".." | REFS) => Ok(name.to_owned()),
        _ => Err(LinkFault::NoEntryName),
    }
}

/// Returns the path of an entry below the repository.
pub(crate) fn entry_path(category: Category, name: &str) -> String {
    format!("{}/{name}", category.directory())
}

/// Returns the path of a ref below the repository.
pub(crate) fn ref_path(category: Category, name: &str) -> String {
    format!("{}/{REFS}/{name}", category.directory())
}

/// Returns the path of an object below the repository.
pub(crate) fn object_path(id: &ObjectId) -> String {
    format!("{OBJECTS}/{}", id.object_path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_relative_and_minimal() {
        let id = ObjectId::from_bytes(Algorithm::Sha256, &[0xab; 32]).unwrap();
        assert_eq!(entry_target(&id), format!("../objects/ab/{}", "ab".repeat(31)));
        assert_eq!(ref_target(2, "oci-manifest-sha256:00"), "../../oci-manifest-sha256:00");
        assert_eq!(parse_entry_target(Algorithm::Sha256, entry_target(&id).as_bytes()), Ok(id));
        assert_eq!(parse_ref_target(b"../../../x"), Ok("x".to_owned()));
    }

    #[test]
    fn targets_that_lead_nowhere_are_refused() {
        for bad in ["", "ab", "../objects/ab/cd", "../../etc/passwd", "../objects/ab/.."] {
            assert_eq!(
                parse_entry_target(Algorithm::Sha256, bad.as_bytes()),
                Err(LinkFault::NotAnObjectPath)
            );
        }
        for bad in [&b""[..], b"..", b"../", b"../refs", b"../\xff"] {
            assert_eq!(parse_ref_target(bad), Err(LinkFault::NoEntryName));
        }
    }
}
