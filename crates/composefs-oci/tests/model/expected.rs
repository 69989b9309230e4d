//! The model: which names there are and what they stand for.

use std::collections::{BTreeMap, BTreeSet};

use crate::family::{FAMILY, Kind, Name, facts};

/// What a tag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tagged {
    pub(crate) image: Name,
    /// Whether it has its EROFS images for certain.
    pub(crate) built: bool,
}

/// The names of a repository.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) tags: BTreeMap<char, Tagged>,
    /// The tags with which the index is kept.
    pub(crate) indexes: BTreeSet<char>,
    /// Names of sealed configs, and the images that were sealed.
    pub(crate) sealed: BTreeMap<char, Name>,
    /// Records of mounts by the names of their refs, and the image's id.
    pub(crate) mounts: BTreeMap<String, String>,
    /// Artifacts that were pulled and are about something: kept for ever.
    pub(crate) referrers: BTreeSet<Name>,
}

pub(crate) fn tag_ref(tag: char) -> String {
    format!("streams/refs/oci/{tag}")
}

pub(crate) fn index_ref(tag: char) -> String {
    format!("streams/refs/x-oci-index/{tag}")
}

pub(crate) fn sealed_ref(name: char) -> String {
    format!("streams/refs/sealed/{name}")
}

fn referrer_ref(name: Name) -> String {
    format!("streams/refs/oci-referrers/{}/{}", FAMILY.manifest(Name::App), FAMILY.manifest(name))
}

pub(crate) fn manifest_entry(name: Name) -> String {
    format!("oci-manifest-{}", FAMILY.manifest(name))
}

pub(crate) fn index_entry() -> String {
    format!("oci-index-{}", FAMILY.index)
}

impl Model {
    /// The refs there must be, and where each leads.
    pub(crate) fn refs(&self, kind: Kind) -> BTreeMap<String, String> {
        let mut refs = BTreeMap::new();
        for (tag, tagged) in &self.tags {
            refs.insert(tag_ref(*tag), manifest_entry(tagged.image));
        }
        for tag in &self.indexes {
            refs.insert(index_ref(*tag), index_entry());
        }
        for (name, image) in &self.sealed {
            let (config, _) = facts(kind, *image).sealed.unwrap();
            refs.insert(sealed_ref(*name), format!("oci-config-{config}"));
        }
        for (record, image) in &self.mounts {
            refs.insert(record.clone(), image.clone());
        }
        for name in &self.referrers {
            refs.insert(referrer_ref(*name), manifest_entry(*name));
        }
        refs
    }
}
