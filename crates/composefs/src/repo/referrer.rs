//! Artifacts about a manifest: the refs that keep one for as long as its subject is kept.
//!
//! # Format
//! `docs/formats/oci.md`, section 10.

use crate::name::decode_component;

/// Their directory below `streams/refs/`.
pub const REFERRERS: &str = "oci-referrers";

/// How entries of manifests begin.
const MANIFEST: &str = "oci-manifest-";
/// How entries of indexes begin.
const INDEX: &str = "oci-index-";

/// A ref that keeps an artifact with its subject: `oci-referrers/SUBJECT/ARTIFACT`, both digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    subject: String,
}

impl Referrer {
    /// Reads a ref's name, below `streams/refs/`, and the entry that it leads to. `None` for any other ref, and for one
    /// that leads to something else than its name says: such a ref keeps what it leads to, whatever becomes of others.
    #[must_use]
    pub fn parse(name: &str, target: &str) -> Option<Self> {
        let (subject, artifact) = name.strip_prefix(REFERRERS)?.strip_prefix('/')?.split_once('/')?;
        if artifact.contains('/') || target.strip_prefix(MANIFEST)? != decode_component(artifact) {
            return None;
        }
        Some(Self { subject: decode_component(subject) })
    }

    /// Returns the entries in `streams/` of what it is about: as a manifest, and as an index.
    #[must_use]
    pub fn subjects(&self) -> [String; 2] {
        [MANIFEST, INDEX].map(|prefix| format!("{prefix}{}", self.subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_that_are_what_they_say() {
        let name = "oci-referrers/sha256:1/sha256:2";
        let referrer = Referrer::parse(name, "oci-manifest-sha256:2").unwrap();
        assert_eq!(referrer.subjects(), ["oci-manifest-sha256:1", "oci-index-sha256:1"]);
        for (name, target) in [
            (name, "oci-manifest-sha256:1"),
            (name, "oci-config-sha256:2"),
            ("oci-referrers/sha256:1", "oci-manifest-sha256:1"),
            ("oci-referrers/sha256:1/x/sha256:2", "oci-manifest-sha256:2"),
            ("oci-referrersx/sha256:1/sha256:2", "oci-manifest-sha256:2"),
            ("oci/sha256:1/sha256:2", "oci-manifest-sha256:2"),
        ] {
            assert_eq!(Referrer::parse(name, target), None, "{name} {target}");
        }
    }
}
