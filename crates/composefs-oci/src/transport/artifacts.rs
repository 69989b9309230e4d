//! What refers to a manifest on media that have nothing but an index of all they hold.
//!
//! # Format
//! `docs/formats/transports.md`, section 7.

use std::collections::BTreeSet;

use oci_spec::image::{Descriptor, ImageIndex, MediaType};

use crate::{
    digest::Digest,
    error::Error,
    model::{MANIFEST_MAX, Manifest, media_type, parse_index},
};

use super::select::{REF_NAME, ReadDocument};

/// The most manifests of an index that are looked at.
const READ_MAX: usize = 1024;
/// The longest algorithm and encoded digest in a tag that stands for a digest.
const TAG_PARTS_MAX: (usize, usize) = (32, 64);

/// Which artifacts come and go with an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Artifacts {
    /// None.
    #[default]
    None,
    /// Those that seal it. That they cannot be had is a warning: whoever demands a seal misses them.
    Seals,
    /// All.
    All,
}

impl Artifacts {
    /// Returns the type that is asked for, if it is one.
    #[must_use]
    pub const fn kind(self) -> Option<&'static str> {
        match self {
            Self::Seals => Some(ARTIFACT_TYPE),
            Self::None | Self::All => None,
        }
    }
}

/// The type of an artifact with digests of an image.
pub const ARTIFACT_TYPE: &str = "application/vnd.composefs.metadata.v1";

/// Returns the tag that stands for a digest where there is no list of what refers to it.
#[must_use]
pub fn tag_of(digest: &Digest) -> String {
    let part = |text: &str, max: usize| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        text.chars().take(max).map(|c| if good(c) { c } else { '-' }).collect::<String>()
    };
    let (algorithm, encoded) = TAG_PARTS_MAX;
    format!("{}-{}", part(digest.algorithm(), algorithm), part(digest.encoded(), encoded))
}

/// Returns the type of a manifest as an artifact.
#[must_use]
pub fn kind_of(manifest: &Manifest) -> String {
    let own = manifest.parsed().artifact_type().as_ref().map(ToString::to_string);
    own.unwrap_or_else(|| manifest.parsed().config().media_type().to_string())
}

/// Finds what refers to `subject` in the index of a layout, by reading every manifest that may. Of one type alone, what
/// has a name of its own is left out: it is there to be asked for, and several that contradict each other may be.
///
/// # Errors
/// What `read` gives; manifests that cannot be read or parsed refer to nothing.
pub(super) fn in_index(
    index: &ImageIndex,
    subject: &Digest,
    kind: Option<&str>,
    read: &ReadDocument<'_>,
) -> Result<Vec<Descriptor>, Error> {
    let tag = tag_of(subject);
    let named = |entry: &&Descriptor| {
        entry.annotations().as_ref().and_then(|all| all.get(REF_NAME)) == Some(&tag)
            && media_type::is_index(entry.media_type().as_ref())
    };
    let mut candidates: Vec<Descriptor> = index.manifests().clone();
    if let Some(list) = index.manifests().iter().find(named) {
        let list = read(list, MANIFEST_MAX)?;
        candidates.extend(parse_index(&list).map(|list| list.manifests().clone()).unwrap_or_default());
    }
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for entry in candidates.iter().take(READ_MAX) {
        let said = entry.artifact_type().as_ref().map(ToString::to_string);
        let has_name = entry.annotations().as_ref().is_some_and(|all| all.contains_key(REF_NAME));
        let other = (has_name && kind.is_some())
            || said.as_deref().zip(kind).is_some_and(|(said, wanted)| said != wanted);
        if other
            || !media_type::is_manifest(entry.media_type().as_ref())
            || !seen.insert(entry.digest().to_string())
        {
            continue;
        }
        let Ok(manifest) = read(entry, MANIFEST_MAX).map(Manifest::parse) else { continue };
        let Ok(manifest) = manifest else { continue };
        let refers =
            manifest.parsed().subject().as_ref().is_some_and(|to| to.digest().as_ref() == subject.as_str());
        let own = kind_of(&manifest);
        if refers && kind.is_none_or(|wanted| wanted == own) {
            found.push(descriptor_of(entry, &own));
        }
    }
    Ok(found)
}

/// Describes an artifact without the name it had on its medium.
pub(crate) fn descriptor_of(entry: &Descriptor, kind: &str) -> Descriptor {
    let mut descriptor = Descriptor::new(entry.media_type().clone(), entry.size(), entry.digest().clone());
    descriptor.set_artifact_type(Some(MediaType::from(kind)));
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_for_digests() {
        let hex = "a".repeat(64);
        assert_eq!(tag_of(&Digest::new(&format!("sha256:{hex}")).unwrap()), format!("sha256-{hex}"));
        let long = Digest::new(&format!("sha512:{}", "b".repeat(128))).unwrap();
        assert_eq!(tag_of(&long), format!("sha512-{}", "b".repeat(64)));
        assert_eq!(tag_of(&Digest::new("a+b:Z=_-9").unwrap()), "a-b-Z-_-9");
    }
}
